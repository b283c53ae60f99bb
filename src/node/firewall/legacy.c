// SPDX-License-Identifier: Apache-2.0
#include "node/firewall/legacy.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "io/subprocess.h"

#define TIMEOUT_MS 10000

static const struct {
	const char *chain;
	int hook;
} hooks[] = {{"INPUT", NF_INET_LOCAL_IN}, {"FORWARD", NF_INET_FORWARD}, {"OUTPUT", NF_INET_LOCAL_OUT}};

// The next line of *at, NUL-terminated in `line`; false at the end.
static bool next_line(const char **at, char *line, size_t size)
{
	size_t len = strcspn(*at, "\n");

	if (!**at)
		return false;
	snprintf(line, size, "%.*s", (int)(len < size - 1 ? len : size - 1), *at);
	*at += len + ((*at)[len] == '\n');
	return true;
}

static bool is_refusal(const char *rule)
{
	return fl_streq(rule, "-j DROP") || fl_starts_with(rule, "-j REJECT");
}

struct chain_look {
	bool drops;      // what comes to its end, or to a rule without condition
	unsigned before; // number of the rule that drops, ours not counted; 0: the policy
	unsigned jumps;  // to our chain
	bool jump_is_ok; // there is one, and nothing drops before it
};

static void look(const char *listed, const char *chain, const char *own, struct chain_look *ret)
{
	AUTO_FREE char *policy = fl_asprintf("-P %s DROP", chain), *prefix = fl_asprintf("-A %s ", chain),
		       *jump = fl_asprintf("-j %s", own);
	unsigned n = 0, ufw = 0;
	bool decided = false;
	char line[1024];

	*ret = (struct chain_look){0};
	for (const char *at = listed; next_line(&at, line, sizeof(line));) {
		if (fl_streq(line, policy))
			ret->drops = true;
		if (!fl_starts_with(line, prefix))
			continue;
		const char *rule = line + strlen(prefix);
		if (fl_streq(rule, jump)) {
			ret->jumps++;
			ret->jump_is_ok |= !decided;
			continue;
		}
		n++;
		if (!ufw && (fl_starts_with(rule, "-j ufw-after-") || fl_starts_with(rule, "-j ufw6-after-")))
			ufw = n;
		if (!decided && (is_refusal(rule) || fl_streq(rule, "-j ACCEPT"))) {
			decided = true;
			ret->drops = is_refusal(rule);
			ret->before = ret->drops ? n : 0;
		}
	}
	if (ret->drops && ufw && (!ret->before || ufw < ret->before))
		ret->before = ufw;
}

static void expected(const struct fw_host *h, int hook, int family, const char *own, struct fl_buf *b)
{
	struct fw_accept list[FW_MAX_ACCEPTS];
	unsigned n = fw_accepts(h, hook, family, list);

	for (unsigned i = 0; i < n; i++) {
		fl_buf_printf(b, "-A %s ", own);
		fw_accept_print_iptables(b, &list[i]);
		fl_buf_putc(b, '\n');
	}
}

static bool holds(const char *listed, const char *own, const char *rules)
{
	AUTO(fl_buf_deinit) struct fl_buf have = {0};
	AUTO_FREE char *prefix = fl_asprintf("-A %s ", own);
	char line[1024];

	for (const char *at = listed; next_line(&at, line, sizeof(line));)
		if (fl_starts_with(line, prefix))
			fl_buf_printf(&have, "%s\n", line);
	return fl_streq(have.data, rules);
}

static void end_input(struct fl_buf *b)
{
	AUTO_FREE char *body = b->len ? fl_buf_take(b) : NULL;

	if (body)
		fl_buf_printf(b, "*filter\n%sCOMMIT\n", body);
}

static void remove_ours(struct fl_buf *b, const char *listed, const char *chain, const char *own, unsigned jumps)
{
	AUTO_FREE char *declared = fl_asprintf("-N %s\n", own);

	for (unsigned i = 0; i < jumps; i++)
		fl_buf_printf(b, "-D %s -j %s\n", chain, own);
	if (strstr(listed, declared))
		fl_buf_printf(b, "-F %s\n-X %s\n", own, own);
}

void fw_legacy_plan(const struct fw_host *h, int family, const char *listed, struct fl_buf *ret, bool *ret_blocking)
{
	*ret_blocking = false;
	for (size_t i = 0; i < FL_COUNT(hooks); i++) {
		AUTO(fl_buf_deinit) struct fl_buf rules = {0};
		const char *own = fw_own_chain(hooks[i].hook), *chain = hooks[i].chain;
		struct chain_look l;

		look(listed, chain, own, &l);
		if (!l.drops) {
			remove_ours(ret, listed, chain, own, l.jumps);
			continue;
		}
		*ret_blocking = true;
		expected(h, hooks[i].hook, family, own, &rules);
		if (l.jump_is_ok && l.jumps == 1 && rules.data && holds(listed, own, rules.data))
			continue;
		for (unsigned j = 0; j < l.jumps; j++)
			fl_buf_printf(ret, "-D %s -j %s\n", chain, own);
		fl_buf_printf(ret, ":%s - [0:0]\n%s", own, rules.data ? rules.data : "");
		if (l.before)
			fl_buf_printf(ret, "-I %s %u -j %s\n", chain, l.before, own);
		else
			fl_buf_printf(ret, "-A %s -j %s\n", chain, own);
	}
	end_input(ret);
}

void fw_legacy_unplan(const char *listed, struct fl_buf *ret)
{
	for (size_t i = 0; i < FL_COUNT(hooks); i++) {
		const char *own = fw_own_chain(hooks[i].hook);
		struct chain_look l;

		look(listed, hooks[i].chain, own, &l);
		remove_ours(ret, listed, hooks[i].chain, own, l.jumps);
	}
	end_input(ret);
}

// ---- the programs

static const char *command(int family, bool restore)
{
	if (family == AF_INET)
		return restore ? "iptables-legacy-restore" : "iptables-legacy";
	return restore ? "ip6tables-legacy-restore" : "ip6tables-legacy";
}

static bool in_use(int family)
{
	AUTO_FREE char *names = NULL;

	return fl_file_read(family == AF_INET ? "/proc/net/ip_tables_names" : "/proc/net/ip6_tables_names", &names,
			    NULL, NULL) == 0 &&
	       strstr(names, "filter\n");
}

// *ret NULL: the old tables are not in use, or cannot be looked at here.
static int list(int family, char **ret, struct fl_err *err)
{
	const char *const argv[] = {command(family, false), "-w", "5", "-S", NULL};
	AUTO_FREE char *out = NULL;
	int status = 0;

	*ret = NULL;
	if (!in_use(family))
		return 0;
	int rc = fl_subprocess_run(argv, TIMEOUT_MS, &status, &out, err);
	if (rc == -ENOENT)
		return 0; // not installed: then nobody changes these rules either
	if (rc < 0)
		return rc;
	if (status != 0)
		return fl_err_set(err, -EIO, "%s -S ended with status %d", argv[0], status);
	*ret = TAKE_PTR(out);
	return 0;
}

static int restore(int family, const char *dir, const struct fl_buf *input, struct fl_err *err)
{
	AUTO_FREE char *path = fl_asprintf("%s/iptables", dir), *out = NULL;
	const char *const argv[] = {command(family, true), "--noflush", "-w", "5", path, NULL};
	int status = 0, rc = fl_file_write(path, input->data, input->len, 0600, err);

	if (rc == 0)
		rc = fl_subprocess_run(argv, TIMEOUT_MS, &status, &out, err);
	unlink(path);
	if (rc == 0 && status != 0)
		rc = fl_err_set(err, -EIO, "%s ended with status %d: %s", argv[0], status, out ? out : "");
	return rc;
}

int fw_legacy_mend(const struct fw_host *h, const char *dir, bool *ret_changed, struct fl_err *err)
{
	*ret_changed = false;
	for (unsigned i = 0; i < h->n_pods; i++) {
		AUTO(fl_buf_deinit) struct fl_buf input = {0};
		AUTO_FREE char *listed = NULL;
		int family = h->pods[i].ip.family;
		bool blocking;
		int rc = list(family, &listed, err);

		if (rc < 0)
			return rc;
		if (!listed)
			continue;
		fw_legacy_plan(h, family, listed, &input, &blocking);
		if (input.len && (rc = restore(family, dir, &input, err)) < 0)
			return rc;
		*ret_changed |= input.len > 0;
	}
	return 0;
}

int fw_legacy_unmend(const char *dir, struct fl_err *err)
{
	static const int families[] = {AF_INET, AF_INET6};

	for (size_t i = 0; i < FL_COUNT(families); i++) {
		AUTO(fl_buf_deinit) struct fl_buf input = {0};
		AUTO_FREE char *listed = NULL;
		int rc = list(families[i], &listed, err);

		if (rc == 0 && listed) {
			fw_legacy_unplan(listed, &input);
			if (input.len)
				rc = restore(families[i], dir, &input, err);
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}
