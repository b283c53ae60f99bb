// SPDX-License-Identifier: Apache-2.0
#include "node/firewall/firewall.h"

#include <errno.h>
#include <linux/netlink.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/netlink.h"
#include "node/firewall/legacy.h"
#include "node/firewall/mend.h"

#define TRIES       5     // while others change the rules under our hands
#define MOST_WRITES 12    // of one look: three hooks of four tables
#define FULL_MS     15000 // a table that goes with its owner is no change of the generation
#define LEGACY_MS   3000  // iptables-legacy has no sign of change, and asking it costs a process

struct fl_firewall {
	struct fw_host h;
	char *dir;
	struct fl_netlink *nl;
	uint32_t generation;         // of the ruleset that was looked at; 0: none
	uint64_t legacy_ms, full_ms; // when to look again without a sign
	char *blocked;               // by the rules of that generation
	char *problem;               // that, and what sysctls block
	char *failure;               // of the look itself, told once
	unsigned serial;
};

int fl_firewall_new(const struct fw_host *h, const char *dir, struct fl_firewall **ret, struct fl_err *err)
{
	struct fl_netlink *nl = NULL;
	int rc = fl_netlink_open(NETLINK_NETFILTER, &nl, err);

	if (rc < 0)
		return rc;
	struct fl_firewall *f = FL_NEW(struct fl_firewall);
	f->h = *h;
	f->dir = fl_strdup(dir);
	f->nl = nl;
	*ret = f;
	return 0;
}

void fl_firewall_free(struct fl_firewall **fp)
{
	struct fl_firewall *f = TAKE_PTR(*fp);

	if (!f)
		return;
	fl_netlink_free(&f->nl);
	free(f->dir);
	free(f->blocked);
	free(f->problem);
	free(f->failure);
	free(f);
}

const char *fl_firewall_problem(const struct fl_firewall *f, unsigned *ret_serial)
{
	*ret_serial = f->serial;
	return f->problem;
}

static void set_problem(struct fl_firewall *f, const char *text)
{
	if (fl_streq(f->problem, text))
		return;
	if (text)
		fl_warn("host firewall: %s", text);
	else
		fl_info("host firewall: nothing blocks pods any more");
	free(f->problem);
	f->problem = text ? fl_strdup(text) : NULL;
	f->serial++;
}

static void fail(struct fl_firewall *f, const struct fl_err *err)
{
	if (fl_streq(f->failure, err->text))
		return;
	fl_warn("host firewall: %s", err->text);
	free(f->failure);
	f->failure = fl_strdup(err->text);
}

static bool forwards(int family)
{
	const char *path = family == AF_INET ? "net/ipv4/ip_forward" : "net/ipv6/conf/all/forwarding";
	char value[16];

	return fl_sysctl_read(path, value, sizeof(value), NULL) < 0 || !fl_streq(value, "0");
}

static void add_sysctls(const struct fl_firewall *f, struct fl_buf *b)
{
	for (unsigned i = 0; i < f->h.n_pods; i++) {
		int family = f->h.pods[i].ip.family;

		if (!forwards(family))
			fl_buf_printf(b, "%spod to pod blocked by sysctl %s=0; set it to 1", b->len ? "; " : "",
				      family == AF_INET ? "net.ipv4.ip_forward" : "net.ipv6.conf.all.forwarding");
	}
}

static void told(const struct fw_fix *x)
{
	if (x->places.n)
		fl_info("host firewall: pods are let through hook=%s table=%s %s chain=%s", fw_hook_name(x->hook),
			fw_family_name(x->table->family), x->table->name, x->own);
}

// Mends at most one chain, since the rest of the plan speaks of the ruleset as it was before; *ret_wrote says so then.
// -EAGAIN, -EINTR: the rules changed meanwhile.
static int look_once(struct fl_firewall *f, bool may_write, struct fl_buf *problems, bool *ret_wrote,
		     struct fl_err *err)
{
	struct fw_ruleset r;
	struct fw_plan p;
	uint32_t generation = 0;
	int rc = fw_generation(f->nl, &generation, err);

	if (rc == 0)
		rc = fw_ruleset_read(f->nl, &r, err);
	if (rc < 0)
		return rc;
	fw_plan_make(&f->h, &r, &p);
	for (size_t i = 0; i < p.problems.n; i++)
		fl_buf_printf(problems, "%s%s", problems->len ? "; " : "", p.problems.v[i]);
	for (size_t i = 0; i < p.fixes.n && rc == 0 && !*ret_wrote; i++) {
		if (p.fixes.v[i].done)
			continue;
		if (may_write)
			rc = fw_mend(f->nl, &f->h, &p.fixes.v[i], generation, err);
		if (may_write && rc == 0) {
			*ret_wrote = true;
			told(&p.fixes.v[i]);
		} else if (rc != -EAGAIN) {
			fl_buf_printf(problems, "%spods may be blocked in nftables table %s %s: %s",
				      problems->len ? "; " : "", fw_family_name(p.fixes.v[i].table->family),
				      p.fixes.v[i].table->name, rc < 0 ? err->text : "the accepts there do not help");
			rc = 0;
		}
	}
	if (rc == 0)
		f->generation = *ret_wrote ? 0 : generation;
	fw_plan_deinit(&p);
	fw_ruleset_deinit(&r);
	return rc;
}

static void look_nft(struct fl_firewall *f)
{
	AUTO(fl_buf_deinit) struct fl_buf problems = {0};
	struct fl_err err = {0};
	int rc = -EAGAIN, failed = 0;

	for (unsigned writes = 0; failed < TRIES;) {
		bool wrote = false;

		problems.len = 0;
		rc = look_once(f, writes < MOST_WRITES, &problems, &wrote, &err);
		if (rc == -EAGAIN || rc == -EINTR) {
			failed++;
			continue;
		}
		if (rc < 0 || !wrote)
			break;
		writes++;
	}
	if (rc < 0) {
		fail(f, &err);
		return;
	}
	free(f->blocked);
	f->blocked = problems.len ? fl_strdup(problems.data) : NULL;
}

static void look_legacy(struct fl_firewall *f)
{
	struct fl_err err = {0};
	bool changed = false;

	f->legacy_ms = fl_mono_ms() + LEGACY_MS;
	if (fw_legacy_mend(&f->h, f->dir, &changed, &err) < 0)
		fail(f, &err);
	else if (changed)
		fl_info("host firewall: pods are let through by iptables-legacy");
}

void fl_firewall_look(struct fl_firewall *f)
{
	AUTO(fl_buf_deinit) struct fl_buf problems = {0};
	uint32_t generation = 0;
	bool same = f->generation && fl_mono_ms() < f->full_ms && fw_generation(f->nl, &generation, NULL) == 0 &&
		    generation == f->generation;

	if (fl_mono_ms() >= f->legacy_ms)
		look_legacy(f);
	if (!same) {
		f->full_ms = fl_mono_ms() + FULL_MS;
		look_nft(f);
	}
	if (f->blocked)
		fl_buf_puts(&problems, f->blocked);
	add_sysctls(f, &problems);
	set_problem(f, problems.len ? problems.data : NULL);
}

int fl_firewall_cleanup(const char *dir, struct fl_err *err)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	int rc = fl_netlink_open(NETLINK_NETFILTER, &nl, err);

	for (int i = 0; rc == 0 || ((rc == -EAGAIN || rc == -EINTR) && i < TRIES); i++) {
		struct fw_ruleset r;
		uint32_t generation = 0;

		rc = fw_generation(nl, &generation, err);
		if (rc == 0)
			rc = fw_ruleset_read(nl, &r, err);
		if (rc < 0)
			continue;
		rc = fw_unmend(nl, &r, generation, err);
		fw_ruleset_deinit(&r);
		if (rc == 0)
			break;
	}
	return rc < 0 ? rc : fw_legacy_unmend(dir, err);
}
