// SPDX-License-Identifier: Apache-2.0
// Reads the ruleset by netlink (linux/netfilter/nf_tables.h). Dumps are kept whole before they are parsed.
#include "node/firewall/ruleset.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "io/netlink.h"

#define MAX_ELEMS        8192 // of a set that is looked into: block lists of the size of a country are not
#define MAX_ATTR         32
#define RELOAD_TABLE     "firewalld_policy_drop" // firewalld's, for the moments in which it reloads
#define OWN_TABLE        "fairlead"
#define TABLE_FLAG_OWNER 2u // NFT_TABLE_F_OWNER, newer than Debian 12's headers may be

struct dump {
	struct fl_buf messages; // each aligned to 8 bytes
};

typedef const struct nlattr *attrs_t[MAX_ATTR + 1];

static int keep(const struct nlmsghdr *msg, void *arg)
{
	static const char zero[8];
	struct dump *d = arg;

	fl_buf_append(&d->messages, msg, msg->nlmsg_len);
	fl_buf_append(&d->messages, zero, (8 - msg->nlmsg_len % 8) % 8);
	return 0;
}

static const struct nlmsghdr *next_message(const struct dump *d, const struct nlmsghdr *msg)
{
	const char *at = msg ? (const char *)msg + (msg->nlmsg_len + 7) / 8 * 8 : d->messages.data;

	return at && at < d->messages.data + d->messages.len ? (const struct nlmsghdr *)(const void *)at : NULL;
}

static void store(attrs_t tb, const struct nlattr *a)
{
	if (mnl_attr_get_type(a) <= MAX_ATTR)
		tb[mnl_attr_get_type(a)] = a;
}

static void parse(const struct nlmsghdr *msg, attrs_t tb)
{
	const struct nlattr *a;

	memset(tb, 0, sizeof(attrs_t));
	mnl_attr_for_each (a, msg, sizeof(struct nfgenmsg))
		store(tb, a);
}

static void parse_nested(const struct nlattr *nest, attrs_t tb)
{
	const struct nlattr *a;

	memset(tb, 0, sizeof(attrs_t));
	if (!nest)
		return;
	mnl_attr_for_each_nested (a, nest)
		store(tb, a);
}

static uint32_t u32(const struct nlattr *a)
{
	return a && mnl_attr_get_payload_len(a) >= 4 ? ntohl(mnl_attr_get_u32(a)) : 0;
}

static uint64_t u64(const struct nlattr *a)
{
	return a && mnl_attr_get_payload_len(a) >= 8 ? be64toh(mnl_attr_get_u64(a)) : 0;
}

static const char *text(struct fl_arena *arena, const struct nlattr *a)
{
	return a ? fl_arena_strndup(arena, mnl_attr_get_payload(a),
				    strnlen(mnl_attr_get_payload(a), mnl_attr_get_payload_len(a)))
		 : "";
}

static const uint8_t *bytes(struct fl_arena *arena, const struct nlattr *a, uint32_t *ret_len)
{
	attrs_t tb;

	parse_nested(a, tb);
	*ret_len = tb[NFTA_DATA_VALUE] ? mnl_attr_get_payload_len(tb[NFTA_DATA_VALUE]) : 0;
	uint8_t *copy = fl_arena_zalloc(arena, *ret_len ? *ret_len : 1);
	if (*ret_len)
		memcpy(copy, mnl_attr_get_payload(tb[NFTA_DATA_VALUE]), *ret_len);
	return copy;
}

static bool verdict(struct fl_arena *arena, const struct nlattr *data, int32_t *ret, const char **ret_chain)
{
	attrs_t tb;

	parse_nested(data, tb);
	if (!tb[NFTA_DATA_VERDICT])
		return false;
	parse_nested(tb[NFTA_DATA_VERDICT], tb);
	*ret = (int32_t)u32(tb[NFTA_VERDICT_CODE]);
	*ret_chain = tb[NFTA_VERDICT_CHAIN] ? text(arena, tb[NFTA_VERDICT_CHAIN]) : "";
	return true;
}

// Registers as bytes: the four of 16 bytes and the sixteen of 4 bytes are the same memory.
static uint32_t reg(const struct nlattr *a)
{
	uint32_t r = u32(a);

	return r >= NFT_REG32_00 ? (r - NFT_REG32_00) * 4 : r >= NFT_REG_1 ? (r - NFT_REG_1) * 16 : 0;
}

// ---- expressions

static struct fw_expr parse_expr(struct fl_arena *arena, const char *name, const struct nlattr *data)
{
	struct fw_expr e = {.kind = FW_OTHER};
	attrs_t tb;

	parse_nested(data, tb);
	if (fl_streq(name, "counter") || fl_streq(name, "log") || fl_streq(name, "notrack")) {
		e.kind = FW_NOTHING;
	} else if (fl_streq(name, "meta") && tb[NFTA_META_DREG]) {
		e = (struct fw_expr){.kind = FW_META, .key = u32(tb[NFTA_META_KEY]), .dreg = reg(tb[NFTA_META_DREG])};
	} else if (fl_streq(name, "meta")) { // sets something
		e.kind = FW_NOTHING;
	} else if (fl_streq(name, "payload") && tb[NFTA_PAYLOAD_DREG]) {
		e = (struct fw_expr){.kind = FW_PAYLOAD,
				     .base = u32(tb[NFTA_PAYLOAD_BASE]),
				     .off = u32(tb[NFTA_PAYLOAD_OFFSET]),
				     .len = u32(tb[NFTA_PAYLOAD_LEN]),
				     .dreg = reg(tb[NFTA_PAYLOAD_DREG])};
	} else if (fl_streq(name, "ct") && tb[NFTA_CT_DREG]) {
		e = (struct fw_expr){.kind = FW_CT, .key = u32(tb[NFTA_CT_KEY]), .dreg = reg(tb[NFTA_CT_DREG])};
	} else if (fl_streq(name, "ct")) {
		e.kind = FW_NOTHING;
	} else if (fl_streq(name, "fib")) {
		e = (struct fw_expr){.kind = FW_FIB,
				     .key = u32(tb[NFTA_FIB_RESULT]),
				     .flags = u32(tb[NFTA_FIB_FLAGS]),
				     .dreg = reg(tb[NFTA_FIB_DREG])};
	} else if (fl_streq(name, "cmp")) {
		e = (struct fw_expr){.kind = FW_CMP, .op = u32(tb[NFTA_CMP_OP]), .sreg = reg(tb[NFTA_CMP_SREG])};
		e.data = bytes(arena, tb[NFTA_CMP_DATA], &e.data_len);
	} else if (fl_streq(name, "range")) {
		uint32_t len;

		e = (struct fw_expr){.kind = FW_RANGE, .op = u32(tb[NFTA_RANGE_OP]), .sreg = reg(tb[NFTA_RANGE_SREG])};
		e.data = bytes(arena, tb[NFTA_RANGE_FROM_DATA], &e.data_len);
		e.data2 = bytes(arena, tb[NFTA_RANGE_TO_DATA], &len);
		if (len != e.data_len)
			e.kind = FW_OTHER;
	} else if (fl_streq(name, "bitwise") && tb[NFTA_BITWISE_MASK]) {
		uint32_t len;

		e = (struct fw_expr){.kind = FW_BITWISE,
				     .sreg = reg(tb[NFTA_BITWISE_SREG]),
				     .dreg = reg(tb[NFTA_BITWISE_DREG]),
				     .len = u32(tb[NFTA_BITWISE_LEN])};
		e.data = bytes(arena, tb[NFTA_BITWISE_MASK], &e.data_len);
		e.data2 = bytes(arena, tb[NFTA_BITWISE_XOR], &len);
		if (len != e.data_len || e.len != len)
			e.kind = FW_OTHER;
	} else if (fl_streq(name, "immediate")) {
		if (verdict(arena, tb[NFTA_IMMEDIATE_DATA], &e.verdict, &e.name)) {
			e.kind = FW_VERDICT;
		} else {
			e = (struct fw_expr){.kind = FW_VALUE, .dreg = reg(tb[NFTA_IMMEDIATE_DREG])};
			e.data = bytes(arena, tb[NFTA_IMMEDIATE_DATA], &e.data_len);
		}
	} else if (fl_streq(name, "lookup")) {
		e = (struct fw_expr){.kind = FW_LOOKUP,
				     .name = text(arena, tb[NFTA_LOOKUP_SET]),
				     .sreg = reg(tb[NFTA_LOOKUP_SREG]),
				     .has_dreg = tb[NFTA_LOOKUP_DREG] != NULL,
				     .dreg = u32(tb[NFTA_LOOKUP_DREG]),
				     .flags = u32(tb[NFTA_LOOKUP_FLAGS])};
	} else if (fl_streq(name, "match") || fl_streq(name, "target")) {
		const struct nlattr *info = tb[NFTA_MATCH_INFO]; // the same numbers for targets

		e = (struct fw_expr){.kind = *name == 'm' ? FW_XT_MATCH : FW_XT_TARGET,
				     .name = text(arena, tb[NFTA_MATCH_NAME]),
				     .key = u32(tb[NFTA_MATCH_REV]),
				     .data_len = info ? mnl_attr_get_payload_len(info) : 0};
		uint8_t *copy = fl_arena_zalloc(arena, e.data_len ? e.data_len : 1);
		if (info)
			memcpy(copy, mnl_attr_get_payload(info), e.data_len);
		e.data = copy;
	} else if (fl_streq(name, "reject")) {
		e.kind = FW_REJECT;
	}
	return e;
}

static struct fw_rule parse_rule(struct fl_arena *arena, attrs_t tb)
{
	FL_VEC(struct fw_expr) exprs = {0};
	struct fw_rule r = {.handle = u64(tb[NFTA_RULE_HANDLE])};
	const struct nlattr *a;

	if (tb[NFTA_RULE_EXPRESSIONS]) {
		mnl_attr_for_each_nested (a, tb[NFTA_RULE_EXPRESSIONS]) {
			attrs_t et;

			parse_nested(a, et);
			fl_vec_push(&exprs, parse_expr(arena, text(arena, et[NFTA_EXPR_NAME]), et[NFTA_EXPR_DATA]));
		}
	}
	for (size_t i = 0; i < exprs.n; i++)
		r.ours |= exprs.v[i].kind == FW_VERDICT && fl_starts_with(exprs.v[i].name, FW_OWN_PREFIX);
	r.exprs = fl_arena_alloc(arena, (exprs.n + 1) * sizeof(*r.exprs));
	if (exprs.n)
		memcpy(r.exprs, exprs.v, exprs.n * sizeof(*r.exprs));
	r.n = (unsigned)exprs.n;
	fl_vec_deinit(&exprs);
	return r;
}

// ---- dumps

// A dump of one kind of object; `table` NULL: of all tables. `set` for elements.
static int dump(struct fl_netlink *nl, uint16_t type, uint8_t family, const char *table, const char *set,
		struct dump *ret, struct fl_err *err)
{
	char buf[512];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);

	h->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	*g = (struct nfgenmsg){.nfgen_family = family, .version = NFNETLINK_V0};
	if (table && !mnl_attr_put_strz_check(h, sizeof(buf), 1, table)) // NFTA_*_TABLE is 1 for all of them
		return fl_err_set(err, -ENAMETOOLONG, "table %s", table);
	if (set && !mnl_attr_put_strz_check(h, sizeof(buf), NFTA_SET_ELEM_LIST_SET, set))
		return fl_err_set(err, -ENAMETOOLONG, "set %s", set);
	ret->messages.len = 0;
	return fl_netlink_talk(nl, h, keep, ret, err);
}

static uint8_t family_of(const struct nlmsghdr *msg)
{
	return ((const struct nfgenmsg *)mnl_nlmsg_get_payload(msg))->nfgen_family;
}

static int read_tables(struct fl_netlink *nl, struct fw_ruleset *r, struct dump *d, struct fl_err *err)
{
	int rc = dump(nl, NFT_MSG_GETTABLE, NFPROTO_UNSPEC, NULL, NULL, d, err);

	for (const struct nlmsghdr *m = NULL; rc == 0 && (m = next_message(d, m));) {
		uint8_t family = family_of(m);
		attrs_t tb;

		parse(m, tb);
		struct fw_table t = {.family = family, .name = text(&r->arena, tb[NFTA_TABLE_NAME])};
		t.foreign_owner = u32(tb[NFTA_TABLE_FLAGS]) & TABLE_FLAG_OWNER;
		if ((family == NFPROTO_IPV4 || family == NFPROTO_IPV6 || family == NFPROTO_INET) &&
		    !fl_streq(t.name, OWN_TABLE) && !fl_streq(t.name, RELOAD_TABLE))
			fl_vec_push(&r->tables, t);
	}
	return rc;
}

static struct fw_table *find_table(struct fw_ruleset *r, uint8_t family, const char *name)
{
	for (size_t i = 0; i < r->tables.n; i++)
		if (r->tables.v[i].family == family && fl_streq(r->tables.v[i].name, name))
			return &r->tables.v[i];
	return NULL;
}

static int filter_hook(struct fl_arena *arena, attrs_t tb, int32_t *ret_priority)
{
	attrs_t hook;
	const char *type = text(arena, tb[NFTA_CHAIN_TYPE]);

	if (!tb[NFTA_CHAIN_HOOK] || !(fl_streq(type, "filter") || fl_streq(type, "route")))
		return -1;
	parse_nested(tb[NFTA_CHAIN_HOOK], hook);
	*ret_priority = (int32_t)u32(hook[NFTA_HOOK_PRIORITY]);
	uint32_t n = u32(hook[NFTA_HOOK_HOOKNUM]);
	return n == NF_INET_LOCAL_IN || n == NF_INET_FORWARD || n == NF_INET_LOCAL_OUT ? (int)n : -1;
}

static int read_chains(struct fl_netlink *nl, struct fw_ruleset *r, struct dump *d, struct fl_err *err)
{
	int rc = dump(nl, NFT_MSG_GETCHAIN, NFPROTO_UNSPEC, NULL, NULL, d, err);

	for (const struct nlmsghdr *m = NULL; rc == 0 && (m = next_message(d, m));) {
		struct fw_chain c = {0};
		attrs_t tb;

		parse(m, tb);
		struct fw_table *t = find_table(r, family_of(m), text(&r->arena, tb[NFTA_CHAIN_TABLE]));
		if (!t)
			continue;
		c.name = text(&r->arena, tb[NFTA_CHAIN_NAME]);
		c.handle = u64(tb[NFTA_CHAIN_HANDLE]);
		c.hook = filter_hook(&r->arena, tb, &c.priority);
		c.drop_policy = tb[NFTA_CHAIN_POLICY] && u32(tb[NFTA_CHAIN_POLICY]) == NF_DROP;
		c.ours = fl_starts_with(c.name, FW_OWN_PREFIX);
		fl_vec_push(&t->chains, c);
	}
	return rc;
}

static void free_table(struct fw_table *t)
{
	for (size_t i = 0; i < t->chains.n; i++)
		fl_vec_deinit(&t->chains.v[i].rules);
	for (size_t i = 0; i < t->sets.n; i++)
		fl_vec_deinit(&t->sets.v[i].elems);
	fl_vec_deinit(&t->chains);
	fl_vec_deinit(&t->sets);
}

static void drop_tables_without_hooks(struct fw_ruleset *r)
{
	for (size_t i = r->tables.n; i-- > 0;) {
		bool hooked = false;

		for (size_t j = 0; j < r->tables.v[i].chains.n; j++)
			hooked |= r->tables.v[i].chains.v[j].hook >= 0 || r->tables.v[i].chains.v[j].ours;
		if (!hooked) {
			free_table(&r->tables.v[i]);
			fl_vec_remove(&r->tables, i);
		}
	}
}

static int read_rules(struct fl_netlink *nl, struct fw_ruleset *r, struct fw_table *t, struct dump *d,
		      struct fl_err *err)
{
	int rc = dump(nl, NFT_MSG_GETRULE, t->family, t->name, NULL, d, err);
	struct fw_chain *c = NULL; // rules come chain by chain

	for (const struct nlmsghdr *m = NULL; rc == 0 && (m = next_message(d, m));) {
		attrs_t tb;

		parse(m, tb);
		const char *table = text(&r->arena, tb[NFTA_RULE_TABLE]), *chain = text(&r->arena, tb[NFTA_RULE_CHAIN]);
		if (!c || !fl_streq(c->name, chain))
			c = (struct fw_chain *)fw_chain_find(t, chain);
		if (c && fl_streq(table, t->name))
			fl_vec_push(&c->rules, parse_rule(&r->arena, tb));
	}
	return rc;
}

static int read_elems(struct fl_netlink *nl, struct fw_ruleset *r, const struct fw_table *t, struct fw_set *s,
		      struct dump *d, struct fl_err *err)
{
	int rc = dump(nl, NFT_MSG_GETSETELEM, t->family, t->name, s->name, d, err);

	for (const struct nlmsghdr *m = NULL; rc == 0 && (m = next_message(d, m));) {
		const struct nlattr *a;
		attrs_t tb;

		parse(m, tb);
		if (!tb[NFTA_SET_ELEM_LIST_ELEMENTS])
			continue;
		mnl_attr_for_each_nested (a, tb[NFTA_SET_ELEM_LIST_ELEMENTS]) {
			struct fw_elem e = {0};
			attrs_t et;
			uint32_t len;

			parse_nested(a, et);
			e.key = bytes(&r->arena, et[NFTA_SET_ELEM_KEY], &e.key_len);
			if (et[NFTA_SET_ELEM_KEY_END])
				e.key_end = bytes(&r->arena, et[NFTA_SET_ELEM_KEY_END], &len);
			e.interval_end = u32(et[NFTA_SET_ELEM_FLAGS]) & NFT_SET_ELEM_INTERVAL_END;
			e.has_verdict = verdict(&r->arena, et[NFTA_SET_ELEM_DATA], &e.verdict, &e.chain);
			if (s->elems.n >= MAX_ELEMS) {
				s->unknown = true;
				return 0;
			}
			fl_vec_push(&s->elems, e);
		}
	}
	return rc;
}

static int read_sets(struct fl_netlink *nl, struct fw_ruleset *r, struct fw_table *t, struct dump *d,
		     struct fl_err *err)
{
	int rc = dump(nl, NFT_MSG_GETSET, t->family, t->name, NULL, d, err);

	for (const struct nlmsghdr *m = NULL; rc == 0 && (m = next_message(d, m));) {
		attrs_t tb;

		parse(m, tb);
		struct fw_set s = {.name = text(&r->arena, tb[NFTA_SET_NAME]),
				   .flags = u32(tb[NFTA_SET_FLAGS]),
				   .key_len = u32(tb[NFTA_SET_KEY_LEN])};
		if (fl_streq(text(&r->arena, tb[NFTA_SET_TABLE]), t->name))
			fl_vec_push(&t->sets, s);
	}
	for (size_t i = 0; rc == 0 && i < t->sets.n; i++)
		rc = read_elems(nl, r, t, &t->sets.v[i], d, err);
	return rc;
}

int fw_ruleset_read(struct fl_netlink *nl, struct fw_ruleset *ret, struct fl_err *err)
{
	struct fw_ruleset r = {0};
	struct dump d = {0};
	int rc = read_tables(nl, &r, &d, err);

	if (rc == 0)
		rc = read_chains(nl, &r, &d, err);
	drop_tables_without_hooks(&r);
	for (size_t i = 0; rc == 0 && i < r.tables.n; i++) {
		rc = read_rules(nl, &r, &r.tables.v[i], &d, err);
		if (rc == 0)
			rc = read_sets(nl, &r, &r.tables.v[i], &d, err);
	}
	fl_buf_deinit(&d.messages);
	if (rc < 0) {
		fw_ruleset_deinit(&r);
		return fl_err_prefix(err, "read the host's firewall");
	}
	*ret = r;
	return 0;
}

void fw_ruleset_deinit(struct fw_ruleset *r)
{
	for (size_t i = 0; i < r->tables.n; i++)
		free_table(&r->tables.v[i]);
	fl_vec_deinit(&r->tables);
	fl_arena_deinit(&r->arena);
}

const struct fw_chain *fw_chain_find(const struct fw_table *t, const char *name)
{
	for (size_t i = 0; i < t->chains.n; i++)
		if (fl_streq(t->chains.v[i].name, name))
			return &t->chains.v[i];
	return NULL;
}

static int on_generation(const struct nlmsghdr *msg, void *arg)
{
	attrs_t tb;

	parse(msg, tb);
	*(uint32_t *)arg = u32(tb[NFTA_GEN_ID]);
	return 0;
}

int fw_generation(struct fl_netlink *nl, uint32_t *ret, struct fl_err *err)
{
	char buf[64];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	uint32_t generation = 0;

	h->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN;
	h->nlmsg_flags = NLM_F_REQUEST;
	struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	*g = (struct nfgenmsg){.version = NFNETLINK_V0};
	int rc = fl_netlink_talk(nl, h, on_generation, &generation, err);
	if (rc == 0)
		*ret = generation;
	return rc;
}
