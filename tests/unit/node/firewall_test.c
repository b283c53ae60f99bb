// SPDX-License-Identifier: Apache-2.0
// Golden cases, tests/golden/firewall/*.txt: a host's firewall as its own programs write it, in; what is made of it,
// out.
//
//   # what the case shows
//   == nft | iptables | ip6tables | iptables-legacy | shell     rules for nft -f, *-restore, or commands
//   == plan         what is to be written where, and what can only be told
//   == added        lines that the host's firewall has more after the look, as nft and iptables-save list them
//   == told         the problem in the end
//
// After each: a second look writes nothing, and clean-up leaves the firewall as it was before, line by line.
// FL_GOLDEN_UPDATE=1 writes what came out into the files instead: read the difference before you commit it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <linux/netlink.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "io/netlink.h"
#include "node/firewall/firewall.h"
#include "node/firewall/legacy.h"

#define FOLDER "tests/golden/firewall"

static char dir[] = "/tmp/fl-firewall-test-XXXXXX";

static struct fw_host host(void)
{
	struct fw_host h = {.n_pods = 2, .n_node_ips = 2, .api_port = 6443};

	fl_cidr_parse("10.244.0.0/24", &h.pods[0], false);
	fl_cidr_parse("10.244.0.0/16", &h.cluster[0], false);
	fl_cidr_parse("fd00:10:244::/64", &h.pods[1], false);
	fl_cidr_parse("fd00:10:244::/56", &h.cluster[1], false);
	fl_ip_parse("192.0.2.1", &h.node_ips[0]);
	fl_ip_parse("2001:db8::1", &h.node_ips[1]);
	return h;
}

static char *output_of(const char *command)
{
	struct fl_buf b = {0};
	char part[4096];
	FILE *p = popen(command, "re");

	assert_non_null(p);
	fl_buf_puts(&b, "");
	for (size_t n; (n = fread(part, 1, sizeof(part), p)) > 0;)
		fl_buf_append(&b, part, n);
	assert_int_equal(pclose(p), 0);
	return fl_buf_take(&b);
}

static void feed(const char *command, const char *input)
{
	FILE *p = popen(command, "we");

	assert_non_null(p);
	fputs(input, p);
	if (pclose(p) != 0)
		fail_msg("%s failed", command);
}

// All of the host's rules, without what counts. iptables-save for legacy loads tables by looking, so it is asked for
// those in use alone.
static char *listing(void)
{
	static const char script[] =
	    "nft -s list ruleset\n"
	    "if nft list tables | grep -q '^table ip filter'; then iptables-nft-save -t filter; fi\n"
	    "if nft list tables | grep -q '^table ip6 filter'; then ip6tables-nft-save -t filter; fi\n"
	    "if grep -qs filter /proc/net/ip_tables_names; then iptables-legacy-save -t filter; fi";
	AUTO_FREE char *command =
	    fl_asprintf("{ %s\n} 2>&1 | sed -E 's/ *\\[[0-9]+:[0-9]+\\]$//; /^# (Gen|Comp|Warning)/d'", script);

	return output_of(command);
}

static char *plan_text(const struct fw_host *h)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	struct fl_buf b = {0};
	struct fw_ruleset r;
	struct fw_plan p;
	struct fl_err err = {0};

	fl_buf_puts(&b, "");
	if (fl_netlink_open(NETLINK_NETFILTER, &nl, &err) < 0 || fw_ruleset_read(nl, &r, &err) < 0)
		fail_msg("%s", err.text);
	fw_plan_make(h, &r, &p);
	for (size_t i = 0; i < p.fixes.n; i++) {
		const struct fw_fix *f = &p.fixes.v[i];

		for (size_t j = 0; j < f->places.n; j++) {
			const struct fw_place *at = &f->places.v[j];
			unsigned n = 1;

			while (at->before && at->chain->rules.v[n - 1].handle != at->before)
				n++;
			fl_buf_printf(&b, "%s %s %s: ", fw_family_name(f->table->family), f->table->name,
				      at->chain->name);
			if (at->before)
				fl_buf_printf(&b, "before rule %u\n", n);
			else
				fl_buf_puts(&b, "at the end\n");
		}
	}
	for (size_t i = 0; i < p.problems.n; i++)
		fl_buf_printf(&b, "%s\n", p.problems.v[i]);
	fw_plan_deinit(&p);
	fw_ruleset_deinit(&r);
	return fl_buf_take(&b);
}

// Lines of `after` that are more than in `before`; nothing may be missing.
static char *added_text(const char *before, const char *after)
{
	AUTO_FREE char *a = fl_asprintf("%s/before", dir), *b = fl_asprintf("%s/after", dir),
		       *gone = fl_asprintf("diff %s %s | grep '^<' || true", a, b),
		       *more = fl_asprintf("diff %s %s | sed -n 's/^> //p'", a, b);

	assert_int_equal(fl_file_write(a, before, strlen(before), 0600, NULL), 0);
	assert_int_equal(fl_file_write(b, after, strlen(after), 0600, NULL), 0);
	AUTO_FREE char *missing = output_of(gone);
	assert_string_equal(missing, "");
	return output_of(more);
}

struct outcome {
	char *before, *after, *told;
};

// Looks, looks again, cleans up.
static struct outcome go_through(const struct fw_host *h)
{
	struct fl_firewall *f = NULL;
	struct fl_err err = {0};
	struct outcome o = {.before = listing()};
	unsigned serial;

	if (fl_firewall_new(h, dir, &f, &err) < 0)
		fail_msg("%s", err.text);
	fl_firewall_look(f);
	const char *problem = fl_firewall_problem(f, &serial);
	o.told = problem ? fl_asprintf("%s\n", problem) : fl_strdup("");
	o.after = listing();
	fl_firewall_free(&f);

	uint32_t was = 0, is = 0; // another process of ours finds all as it should be
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	assert_int_equal(fl_netlink_open(NETLINK_NETFILTER, &nl, NULL), 0);
	assert_int_equal(fw_generation(nl, &was, NULL), 0);
	assert_int_equal(fl_firewall_new(h, dir, &f, &err), 0);
	fl_firewall_look(f);
	fl_firewall_look(f);
	assert_int_equal(fw_generation(nl, &is, NULL), 0);
	assert_int_equal(was, is);
	fl_firewall_free(&f);

	for (int i = 0; i < 2; i++) { // idempotent
		if (fl_firewall_cleanup(dir, &err) < 0)
			fail_msg("%s", err.text);
		AUTO_FREE char *cleaned = listing();
		assert_string_equal(cleaned, o.before);
	}
	return o;
}

static char *next_section(char *text)
{
	if (fl_starts_with(text, "== "))
		return text;
	char *at = strstr(text, "\n== ");
	return at ? at + 1 : NULL;
}

static bool own_netns(void)
{
	return unshare(CLONE_NEWNET) == 0 && system("ip link set lo up") == 0 &&
	       fl_sysctl_write("net/ipv4/ip_forward", "1", NULL) == 0 &&
	       fl_sysctl_write("net/ipv6/conf/all/forwarding", "1", NULL) == 0;
}

static void load(const char *section, const char *body)
{
	static const struct {
		const char *section, *command;
	} loaders[] = {
	    {"nft", "nft -f -"},
	    {"iptables", "iptables-nft-restore"},
	    {"ip6tables", "ip6tables-nft-restore"},
	    {"iptables-legacy", "iptables-legacy-restore"},
	    {"shell", "sh -e"},
	};

	for (size_t i = 0; i < FL_COUNT(loaders); i++) {
		if (fl_streq(section, loaders[i].section)) {
			feed(loaders[i].command, body);
			return;
		}
	}
	fail_msg("unknown section %s", section);
}

static void run_case(void **state)
{
	const char *path = *state;
	AUTO_FREE char *text = NULL;
	AUTO(fl_buf_deinit) struct fl_buf now = {0};
	struct fw_host h = host();
	struct outcome o = {0};
	struct fl_err err = {0};

	if (!own_netns())
		skip(); // needs root
	assert_int_equal(fl_file_read(path, &text, NULL, &err), 0);
	char *section = next_section(text);
	assert_non_null(section);
	fl_buf_append(&now, text, (size_t)(section - text));
	while (section) {
		char *body = strchr(section, '\n') + 1, *next = next_section(body);
		AUTO_FREE char *name = fl_strndup(section + 3, (size_t)(body - section) - 4);
		AUTO_FREE char *rest = next ? fl_strndup(body, (size_t)(next - body)) : fl_strdup(body), *result = NULL;

		fl_buf_printf(&now, "== %s\n", name);
		if (fl_streq(name, "plan")) {
			result = plan_text(&h);
			o = go_through(&h);
		} else if (fl_streq(name, "added")) {
			result = added_text(o.before, o.after);
		} else if (fl_streq(name, "told")) {
			result = fl_strdup(o.told);
		} else {
			load(name, rest);
		}
		fl_buf_puts(&now, result ? result : rest);
		if (result && !getenv("FL_GOLDEN_UPDATE"))
			assert_string_equal(result, rest);
		section = next;
	}
	if (getenv("FL_GOLDEN_UPDATE"))
		assert_int_equal(fl_file_write(path, now.data, now.len, 0644, NULL), 0);
	free(o.before);
	free(o.after);
	free(o.told);
}

// What a firewall's reload takes away comes back, and what the administrator opens makes ours unnecessary.
static void reload_and_change_of_mind(void **state)
{
	struct fw_host h = host();
	struct fl_firewall *f = NULL;

	if (!own_netns())
		skip(); // needs root
	assert_int_equal(system("iptables-nft -P FORWARD DROP"), 0);
	assert_int_equal(fl_firewall_new(&h, dir, &f, NULL), 0);
	fl_firewall_look(f);
	AUTO_FREE char *mended = listing();
	assert_non_null(strstr(mended, "-A FORWARD -m comment --comment \"pods and Services\" -j FAIRLEAD-FORWARD"));
	assert_int_equal(system("iptables-nft -F FORWARD"), 0);
	fl_firewall_look(f);
	AUTO_FREE char *again = listing();
	assert_string_equal(again, mended);
	assert_int_equal(system("iptables-nft -F FAIRLEAD-FORWARD"), 0); // even that
	fl_firewall_look(f);
	AUTO_FREE char *refilled = listing();
	assert_string_equal(refilled, mended);
	assert_int_equal(system("iptables-nft -P FORWARD ACCEPT"), 0);
	fl_firewall_look(f);
	AUTO_FREE char *open = listing();
	assert_null(strstr(open, "FAIRLEAD"));
	fl_firewall_free(&f);
}

// The advice for a firewall that is not ours to change is a command, and it helps.
static void advice_helps(void **state)
{
	struct fw_host h = host();
	struct fl_firewall *f = NULL;
	unsigned serial = 0, later = 0;

	if (!own_netns())
		skip(); // needs root
	feed("nft -f -", "table inet my {\n"
			 " chain ein { type filter hook input priority 0; policy drop; iif lo accept; }\n"
			 " chain weiter { type filter hook forward priority 0; policy drop; }\n"
			 " chain aus { type filter hook output priority 0; policy drop; }\n"
			 "}\n");
	assert_int_equal(fl_firewall_new(&h, dir, &f, NULL), 0);
	fl_firewall_look(f);
	const char *problem = fl_firewall_problem(f, &serial);
	assert_non_null(problem);
	AUTO(fl_buf_deinit) struct fl_buf commands = {0};
	unsigned n = 0;
	for (const char *at = problem; (at = strchr(at, '`')); n++) {
		const char *to = strchr(at + 1, '`');

		assert_non_null(to);
		fl_buf_printf(&commands, "%.*s\n", (int)(to - at - 1), at + 1);
		at = to + 1;
	}
	assert_int_equal(n, 3);
	feed("sh -e", commands.data);
	fl_firewall_look(f);
	assert_null(fl_firewall_problem(f, &later));
	assert_true(later > serial);
	assert_int_equal(fl_sysctl_write("net/ipv4/ip_forward", "0", NULL), 0); // no rule changes
	fl_firewall_look(f);
	problem = fl_firewall_problem(f, &later);
	assert_string_equal(problem, "pod to pod blocked by sysctl net.ipv4.ip_forward=0; set it to 1");
	fl_firewall_free(&f);
}

// firewalld from 2.1 on owns its table: only its own process may change it, so its own command is the remedy.
static void an_owned_table_is_told(void **state)
{
	struct fw_host h = host();
	struct fl_firewall *f = NULL;
	unsigned serial;

	if (!own_netns())
		skip(); // needs root
	FILE *nft = popen("nft -i >/dev/null", "we");
	assert_non_null(nft);
	fputs("add table inet firewalld { flags owner; }\n"
	      "add chain inet firewalld filter_FORWARD { type filter hook forward priority 10; policy accept; }\n"
	      "add rule inet firewalld filter_FORWARD reject with icmpx admin-prohibited\n",
	      nft);
	fflush(nft);
	assert_int_equal(
	    system("for i in $(seq 500); do nft list table inet firewalld | grep -q reject && exit 0; sleep 0.01; "
		   "done; exit 1"),
	    0);
	assert_int_equal(fl_firewall_new(&h, dir, &f, NULL), 0);
	fl_firewall_look(f);
	const char *problem = fl_firewall_problem(f, &serial);
	assert_non_null(problem);
	assert_non_null(strstr(problem, "blocked by rule 1 (handle 2) of chain filter_FORWARD in nftables table inet "
					"firewalld; let it through with `firewall-cmd --permanent --zone=trusted "
					"--add-source=10.244.0.0/16 --add-source=fd00:10:244::/56 && firewall-cmd "
					"--reload`"));
	pclose(nft); // and its table goes with it, which counts as no change
	assert_int_equal(system("nft add table inet other"), 0); // but this does
	fl_firewall_look(f);
	assert_null(fl_firewall_problem(f, &serial));
	fl_firewall_free(&f);
}

static void legacy_listing_is_read(void **state)
{
	static const char drop_all[] = "-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n"
				       "-A FORWARD -s 192.0.2.0/24 -j ACCEPT\n-A FORWARD -j REJECT --reject-with x\n";
	static const char accepts[] = "-P FORWARD DROP\n-A FORWARD -j ACCEPT\n";
	struct fw_host h = host();
	struct fl_buf b = {0};
	bool blocking;

	fw_legacy_plan(&h, AF_INET, drop_all, &b, &blocking);
	assert_true(blocking);
	assert_non_null(strstr(b.data, "*filter\n:FAIRLEAD-FORWARD - [0:0]\n"));
	assert_non_null(strstr(b.data, "-I FORWARD 2 -j FAIRLEAD-FORWARD\nCOMMIT\n"));
	assert_null(strstr(b.data, "FAIRLEAD-INPUT"));
	fl_buf_deinit(&b);
	fw_legacy_plan(&h, AF_INET, accepts, &b, &blocking);
	assert_false(blocking);
	assert_int_equal(b.len, 0);
	fl_buf_deinit(&b);
}

int main(void)
{
	struct CMUnitTest tests[64] = {
	    cmocka_unit_test(reload_and_change_of_mind),
	    cmocka_unit_test(advice_helps),
	    cmocka_unit_test(an_owned_table_is_told),
	    cmocka_unit_test(legacy_listing_is_read),
	};
	size_t n = 4;
	DIR *d = opendir(FOLDER);

	if (!d || !mkdtemp(dir)) {
		fprintf(stderr, "%s: %s\n", FOLDER, strerror(errno));
		return 1;
	}
	for (struct dirent *e; (e = readdir(d)) && n < FL_COUNT(tests);)
		if (fl_ends_with(e->d_name, ".txt"))
			tests[n++] = (struct CMUnitTest){.name = fl_strdup(e->d_name),
							 .test_func = run_case,
							 .initial_state = fl_asprintf(FOLDER "/%s", e->d_name)};
	closedir(d);
	int failed = _cmocka_run_group_tests("firewall", tests, n, NULL, NULL);
	for (size_t i = 4; i < n; i++) {
		free((char *)tests[i].name);
		free(tests[i].initial_state);
	}
	(void)!fl_file_remove_all(dir, NULL);
	return failed;
}
