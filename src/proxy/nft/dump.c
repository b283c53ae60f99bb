// SPDX-License-Identifier: Apache-2.0
// The table as text, in a fixed order: chains by name with their rules, then the elements of each set, sorted. One line
// a rule, its expressions in the order of evaluation; `R3` is a register, `->` what an expression writes.
#include <arpa/inet.h>
#include <endian.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/vec.h"
#include "proxy/model.h"
#include "proxy/nft/read.h"

#define ATTRS 16

struct expr_view {
	const char *name;
	const struct nlattr *tb[ATTRS];
};

static uint32_t u32(const struct nlattr *attr)
{
	return attr ? ntohl(mnl_attr_get_u32(attr)) : 0;
}

static unsigned reg(const struct nlattr *attr)
{
	uint32_t r = u32(attr); // the kernel answers with the 16-byte names of registers where they fit

	return r >= NFT_REG32_00 ? r - NFT_REG32_00 : r ? (r - 1) * 4 : 0;
}

static void parse_nest(const struct nlattr *nest, const struct nlattr **tb)
{
	const struct nlattr *attr;

	memset(tb, 0, ATTRS * sizeof(*tb));
	if (!nest)
		return;
	mnl_attr_for_each_nested (attr, nest) {
		if (mnl_attr_get_type(attr) < ATTRS)
			tb[mnl_attr_get_type(attr)] = attr;
	}
}

static const char *name_in(const char *const *names, size_t n, uint32_t i)
{
	return i < n && names[i] ? names[i] : "?";
}
#define NAME(names, i) name_in(names, FL_COUNT(names), i)

static void put_hex(struct fl_buf *b, const struct nlattr *nest)
{
	const struct nlattr *tb[ATTRS];

	parse_nest(nest, tb);
	if (!tb[NFTA_DATA_VALUE])
		return;
	const uint8_t *p = mnl_attr_get_payload(tb[NFTA_DATA_VALUE]);
	fl_buf_puts(b, "0x");
	for (unsigned i = 0; i < mnl_attr_get_payload_len(tb[NFTA_DATA_VALUE]); i++)
		fl_buf_printf(b, "%02x", p[i]);
}

static void show_immediate(struct fl_buf *b, const struct expr_view *e)
{
	const struct nlattr *data[ATTRS], *verdict[ATTRS];

	parse_nest(e->tb[NFTA_IMMEDIATE_DATA], data);
	parse_nest(data[NFTA_DATA_VERDICT], verdict);
	if (!data[NFTA_DATA_VERDICT]) {
		fl_buf_puts(b, "immediate ");
		put_hex(b, e->tb[NFTA_IMMEDIATE_DATA]);
		fl_buf_printf(b, " -> R%u", reg(e->tb[NFTA_IMMEDIATE_DREG]));
		return;
	}
	int32_t code = (int32_t)u32(verdict[NFTA_VERDICT_CODE]);
	if (code == NFT_GOTO || code == NFT_JUMP)
		fl_buf_printf(b, "%s %s", code == NFT_GOTO ? "goto" : "jump",
			      mnl_attr_get_str(verdict[NFTA_VERDICT_CHAIN]));
	else
		fl_buf_puts(b, code == NF_ACCEPT ? "accept" : code == NF_DROP ? "drop" : "return");
}

static void show_payload(struct fl_buf *b, const struct expr_view *e)
{
	static const char *const bases[] = {"link", "network", "transport"};

	fl_buf_printf(b, "payload %s+%u,%u -> R%u", NAME(bases, u32(e->tb[NFTA_PAYLOAD_BASE])),
		      u32(e->tb[NFTA_PAYLOAD_OFFSET]), u32(e->tb[NFTA_PAYLOAD_LEN]), reg(e->tb[NFTA_PAYLOAD_DREG]));
}

static void show_meta(struct fl_buf *b, const struct expr_view *e)
{
	static const char *const keys[] = {[NFT_META_NFPROTO] = "nfproto", [NFT_META_L4PROTO] = "l4proto"};

	fl_buf_printf(b, "meta %s -> R%u", NAME(keys, u32(e->tb[NFTA_META_KEY])), reg(e->tb[NFTA_META_DREG]));
}

static void show_ct(struct fl_buf *b, const struct expr_view *e)
{
	static const char *const keys[] = {
	    [NFT_CT_STATUS] = "status",
	    [NFT_CT_PROTO_DST] = "dport",
	    [NFT_CT_DST_IP] = "daddr",
	    [NFT_CT_DST_IP6] = "daddr",
	};

	fl_buf_printf(b, "ct %s%s -> R%u", e->tb[NFTA_CT_DIRECTION] ? "original " : "",
		      NAME(keys, u32(e->tb[NFTA_CT_KEY])), reg(e->tb[NFTA_CT_DREG]));
}

static void show_fib(struct fl_buf *b, const struct expr_view *e)
{
	fl_buf_printf(b, "fib %s type -> R%u", u32(e->tb[NFTA_FIB_FLAGS]) & NFTA_FIB_F_SADDR ? "saddr" : "daddr",
		      reg(e->tb[NFTA_FIB_DREG]));
}

static void show_cmp(struct fl_buf *b, const struct expr_view *e)
{
	fl_buf_printf(b, "R%u %s ", reg(e->tb[NFTA_CMP_SREG]), u32(e->tb[NFTA_CMP_OP]) == NFT_CMP_EQ ? "==" : "!=");
	put_hex(b, e->tb[NFTA_CMP_DATA]);
}

static void show_bitwise(struct fl_buf *b, const struct expr_view *e)
{
	fl_buf_printf(b, "R%u & ", reg(e->tb[NFTA_BITWISE_SREG]));
	put_hex(b, e->tb[NFTA_BITWISE_MASK]);
	fl_buf_printf(b, " -> R%u", reg(e->tb[NFTA_BITWISE_DREG]));
}

static void show_numgen(struct fl_buf *b, const struct expr_view *e)
{
	fl_buf_printf(b, "random mod %u + %u -> R%u", u32(e->tb[NFTA_NG_MODULUS]), u32(e->tb[NFTA_NG_OFFSET]),
		      reg(e->tb[NFTA_NG_DREG]));
}

static void show_lookup(struct fl_buf *b, const struct expr_view *e)
{
	fl_buf_printf(b, "@%s[R%u]", mnl_attr_get_str(e->tb[NFTA_LOOKUP_SET]), reg(e->tb[NFTA_LOOKUP_SREG]));
	if (!e->tb[NFTA_LOOKUP_DREG])
		fl_buf_puts(b, " exists");
	else if (u32(e->tb[NFTA_LOOKUP_DREG]) == NFT_REG_VERDICT)
		fl_buf_puts(b, " -> verdict");
	else
		fl_buf_printf(b, " -> R%u", reg(e->tb[NFTA_LOOKUP_DREG]));
}

static void show_dynset(struct fl_buf *b, const struct expr_view *e)
{
	static const char *const ops[] = {"add", "update", "delete"};

	fl_buf_printf(b, "%s @%s[R%u]", NAME(ops, u32(e->tb[NFTA_DYNSET_OP])),
		      mnl_attr_get_str(e->tb[NFTA_DYNSET_SET_NAME]), reg(e->tb[NFTA_DYNSET_SREG_KEY]));
	if (e->tb[NFTA_DYNSET_SREG_DATA] && u32(e->tb[NFTA_DYNSET_OP]) != NFT_DYNSET_OP_DELETE)
		fl_buf_printf(b, " = R%u", reg(e->tb[NFTA_DYNSET_SREG_DATA]));
	if (e->tb[NFTA_DYNSET_TIMEOUT] && be64toh(mnl_attr_get_u64(e->tb[NFTA_DYNSET_TIMEOUT])))
		fl_buf_printf(b, " for %llu ms",
			      (unsigned long long)be64toh(mnl_attr_get_u64(e->tb[NFTA_DYNSET_TIMEOUT])));
}

static void show_objref(struct fl_buf *b, const struct expr_view *e)
{
	fl_buf_printf(b, "count %s", mnl_attr_get_str(e->tb[NFTA_OBJREF_IMM_NAME]));
}

static void show_nat(struct fl_buf *b, const struct expr_view *e)
{
	fl_buf_printf(b, "dnat to R%u:R%u", reg(e->tb[NFTA_NAT_REG_ADDR_MIN]), reg(e->tb[NFTA_NAT_REG_PROTO_MIN]));
}

static void show_masq(struct fl_buf *b, const struct expr_view *e)
{
	fl_buf_puts(b, "masquerade");
}

static void show_reject(struct fl_buf *b, const struct expr_view *e)
{
	fl_buf_puts(b, u32(e->tb[NFTA_REJECT_TYPE]) == NFT_REJECT_TCP_RST ? "reject with tcp reset" : "reject");
}

static const struct {
	const char *name;
	void (*show)(struct fl_buf *b, const struct expr_view *e);
} views[] = {
    {"immediate", show_immediate},
    {"payload", show_payload},
    {"meta", show_meta},
    {"ct", show_ct},
    {"fib", show_fib},
    {"cmp", show_cmp},
    {"bitwise", show_bitwise},
    {"numgen", show_numgen},
    {"lookup", show_lookup},
    {"dynset", show_dynset},
    {"objref", show_objref},
    {"nat", show_nat},
    {"masq", show_masq},
    {"reject", show_reject},
};

static void show_expr(struct fl_buf *b, const struct nlattr *nest)
{
	const struct nlattr *tb[ATTRS];
	struct expr_view e;

	parse_nest(nest, tb);
	e.name = tb[NFTA_EXPR_NAME] ? mnl_attr_get_str(tb[NFTA_EXPR_NAME]) : "?";
	parse_nest(tb[NFTA_EXPR_DATA], e.tb);
	for (size_t i = 0; i < FL_COUNT(views); i++) {
		if (fl_streq(views[i].name, e.name)) {
			views[i].show(b, &e);
			return;
		}
	}
	fl_buf_puts(b, e.name); // somebody else's rule in our table
}

static int show_rule(const struct nlmsghdr *msg, void *arg)
{
	struct fl_buf *b = arg;
	const struct nlattr *attr, *expr;
	const char *separator = "    ";

	mnl_attr_for_each (attr, msg, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(attr) != NFTA_RULE_EXPRESSIONS)
			continue;
		mnl_attr_for_each_nested (expr, attr) {
			fl_buf_puts(b, separator);
			show_expr(b, expr);
			separator = "; ";
		}
	}
	fl_buf_putc(b, '\n');
	return 0;
}

static int show_rules(struct fl_netlink *nl, bool is6, const char *chain, struct fl_buf *ret, struct fl_err *err)
{
	AUTO(nft_batch_deinit) struct nft_batch b = {.family = nft_family(is6)};

	nft_msg_begin(&b, NFT_MSG_GETRULE, NLM_F_DUMP);
	nft_attr_str(&b, NFTA_RULE_TABLE, NFT_TABLE);
	nft_attr_str(&b, NFTA_RULE_CHAIN, chain);
	nft_msg_end(&b);
	return fl_netlink_talk(nl, (struct nlmsghdr *)(void *)b.buf.data, show_rule, ret, err);
}

// ---- sorted lines

struct lines {
	struct fl_arena arena;
	FL_VEC(const char *) v;
};

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void sort(struct lines *l)
{
	if (l->v.n)
		qsort(l->v.v, l->v.n, sizeof(*l->v.v), by_text);
}

static void put_sorted(struct lines *l, struct fl_buf *ret)
{
	sort(l);
	for (size_t i = 0; i < l->v.n; i++)
		fl_buf_printf(ret, "%s\n", l->v.v[i]);
}

static void lines_deinit(struct lines *l)
{
	fl_vec_deinit(&l->v);
	fl_arena_deinit(&l->arena);
}

static void add_chain(void *arg, const struct nft_chain_info *c)
{
	static const char *const hooks[] = {"prerouting", "input", "forward", "output", "postrouting"};
	struct lines *l = arg;
	const char *line = c->hook < 0 ? fl_arena_strdup(&l->arena, c->name)
				       : fl_arena_printf(&l->arena, "%s hook %s priority %d", c->name,
							 NAME(hooks, (uint32_t)c->hook), c->priority);

	fl_vec_push(&l->v, line);
}

// ---- elements in words

struct fields {
	const uint8_t *at;
};

static uint32_t take_word(struct fields *f)
{
	uint32_t v;

	memcpy(&v, f->at, sizeof(v));
	f->at += sizeof(v);
	return v;
}

static const char *take_ip(struct fields *f, bool is6, char text[static FL_IP_STRLEN])
{
	struct fl_ip ip = {.family = AF_INET6};

	memcpy(ip.b, f->at, sizeof(ip.b));
	if (!is6) {
		uint32_t addr_be;

		memcpy(&addr_be, f->at, sizeof(addr_be));
		ip = fl_ip_from4(addr_be);
	}
	f->at += is6 ? 16 : 4;
	return fl_ip_format(&ip, text);
}

static unsigned take_port(struct fields *f)
{
	uint16_t port_be;

	memcpy(&port_be, f->at, sizeof(port_be));
	f->at += 4;
	return ntohs(port_be);
}

static void show_target(struct fl_buf *b, bool is6, const uint8_t *data)
{
	struct fields d = {data};
	char ip[FL_IP_STRLEN];

	fl_buf_printf(b, " : %s", take_ip(&d, is6, ip));
	fl_buf_printf(b, " . %u", take_port(&d));
}

static void show_fields(struct fl_buf *b, const struct nft_elem *e)
{
	struct fields k = {e->key};
	char ip[FL_IP_STRLEN];
	bool has_ip = e->set != NFT_NODE_PORTS && e->set != NFT_NODE_PORT_SLOTS && e->set != NFT_MASQ_NODE_PORTS;

	if (has_ip)
		fl_buf_puts(b, take_ip(&k, e->is6, ip));
	if (e->set == NFT_CLUSTER_IPS || e->set == NFT_LOCALS)
		return;
	fl_buf_printf(b, "%s%s", has_ip ? " . " : "", fl_proxy_proto_name(*k.at));
	k.at += 4;
	fl_buf_printf(b, " . %u", take_port(&k));
	if (e->set == NFT_SLOTS || e->set == NFT_NODE_PORT_SLOTS) {
		fl_buf_printf(b, " . %5u", take_word(&k));
		show_target(b, e->is6, e->data);
	}
	if (e->chain)
		fl_buf_printf(b, " : goto %s", e->chain);
	if (e->comment)
		fl_buf_printf(b, " \"%s\"", e->comment);
}

static void add_elem(void *arg, const struct nft_elem *e)
{
	struct lines *l = arg;
	AUTO(fl_buf_deinit) struct fl_buf b = {0};

	fl_buf_printf(&b, "%s ", nft_set_def(e->set, e->is6).name);
	show_fields(&b, e);
	fl_vec_push(&l->v, (const char *)fl_arena_strdup(&l->arena, b.data));
}

static void add_set(void *arg, const char *name)
{
	struct lines *l = arg;

	if (fl_starts_with(name, NFT_AFFINITY_PREFIX))
		fl_vec_push(&l->v, (const char *)fl_arena_printf(&l->arena, "set %s", name));
}

int nft_dump(struct fl_netlink *nl, bool is6, struct fl_buf *ret, struct fl_err *err)
{
	AUTO(lines_deinit) struct lines chains = {0}, sets = {0};
	int rc = nft_read_chains(nl, is6, add_chain, &chains, err);

	fl_buf_printf(ret, "table %s " NFT_TABLE "\n", is6 ? "ip6" : "ip");
	sort(&chains);
	for (size_t i = 0; rc == 0 && i < chains.v.n; i++) {
		const char *line = chains.v.v[i];

		fl_buf_printf(ret, "chain %s\n", line);
		rc = show_rules(nl, is6, fl_arena_strndup(&chains.arena, line, strcspn(line, " ")), ret, err);
	}
	if (rc == 0)
		rc = nft_read_sets(nl, is6, add_set, &sets, err);
	put_sorted(&sets, ret);
	for (unsigned set = 0; rc == 0 && set < NFT_SET_COUNT; set++) {
		AUTO(lines_deinit) struct lines elems = {0};

		rc = nft_read_elems(nl, is6, set, add_elem, &elems, err);
		put_sorted(&elems, ret);
	}
	return rc;
}
