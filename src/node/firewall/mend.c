// SPDX-License-Identifier: Apache-2.0
#include "node/firewall/mend.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "io/nft.h"

#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_tcpudp.h>

#define POD_LINKS   "flv"
#define MAX_COMMENT 100

// ---- messages

static void attr_u64(struct nft_batch *b, uint16_t type, uint64_t host_order)
{
	uint64_t v = htobe64(host_order);

	nft_attr(b, type, &v, sizeof(v));
}

// A transaction that holds only for the ruleset of that generation.
static void start_batch(struct nft_batch *b, struct fl_netlink *nl, uint32_t generation)
{
	nft_batch_init(b, nl, "");
	nft_attr_u32(b, NFNL_BATCH_GENID, generation); // of the message that begins it
	nft_msg_end(b);
}

static int send_batch(struct nft_batch *b, struct fl_err *err)
{
	int rc = nft_batch_send(b, err);

	return rc == -ERESTART || rc == -ENOENT ? -EAGAIN : rc;
}

static void about(struct nft_batch *b, const struct fw_table *t)
{
	b->table = t->name;
	b->family = t->family;
}

static void delete_rule(struct nft_batch *b, const char *chain, uint64_t handle)
{
	nft_msg_begin(b, NFT_MSG_DELRULE, 0);
	nft_attr_str(b, NFTA_RULE_TABLE, b->table);
	nft_attr_str(b, NFTA_RULE_CHAIN, chain);
	attr_u64(b, NFTA_RULE_HANDLE, handle);
	nft_msg_end(b);
}

// before: handle of a rule of the chain; 0: at its end. proto: what iptables' port matches ask for; 0: none.
static void begin_rule(struct nft_batch *b, const char *chain, uint64_t before, uint8_t proto)
{
	nft_msg_begin(b, NFT_MSG_NEWRULE, NLM_F_CREATE | (before ? 0 : NLM_F_APPEND));
	nft_attr_str(b, NFTA_RULE_TABLE, b->table);
	nft_attr_str(b, NFTA_RULE_CHAIN, chain);
	if (before)
		attr_u64(b, NFTA_RULE_POSITION, before);
	if (proto) {
		size_t compat = nft_nest(b, NFTA_RULE_COMPAT);

		nft_attr_u32(b, NFTA_RULE_COMPAT_PROTO, proto);
		nft_attr_u32(b, NFTA_RULE_COMPAT_FLAGS, 0);
		nft_nest_end(b, compat);
	}
	b->rule_exprs = nft_nest(b, NFTA_RULE_EXPRESSIONS);
}

static void end_rule(struct nft_batch *b, const char *comment)
{
	char udata[2 + MAX_COMMENT] = {0}; // type 0 is a comment, as nft(8) and iptables-nft show it
	size_t n = strnlen(comment, MAX_COMMENT - 1) + 1;

	nft_nest_end(b, b->rule_exprs);
	udata[1] = (char)n;
	memcpy(udata + 2, comment, n - 1);
	nft_attr(b, NFTA_RULE_USERDATA, udata, 2 + n);
	nft_msg_end(b);
}

// ---- expressions

static void begin_expr(struct nft_batch *b, const char *name, size_t nests[static 2])
{
	nests[0] = nft_nest(b, NFTA_LIST_ELEM);
	nft_attr_str(b, NFTA_EXPR_NAME, name);
	nests[1] = nft_nest(b, NFTA_EXPR_DATA);
}

static void end_expr(struct nft_batch *b, const size_t nests[static 2])
{
	nft_nest_end(b, nests[1]);
	nft_nest_end(b, nests[0]);
}

static void meta_is(struct nft_batch *b, uint32_t key, const void *data, size_t len)
{
	nft_expr_meta(b, key, R(0));
	nft_expr_cmp(b, NFT_CMP_EQ, R(0), data, len);
}

static void address_is(struct nft_batch *b, const struct fl_cidr *c, bool src)
{
	uint8_t mask[16] = {0};
	bool v4 = c->ip.family == AF_INET;
	size_t len;
	const uint8_t *raw = fl_ip_raw(&c->ip, &len);

	for (size_t i = 0; i < c->bits; i++)
		mask[i / 8] |= (uint8_t)(0x80 >> i % 8);
	nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v4 ? (src ? 12 : 16) : (src ? 8 : 24), (uint32_t)len, R(0));
	if (c->bits < len * 8)
		nft_expr_mask(b, R(0), R(0), mask, len);
	nft_expr_cmp(b, NFT_CMP_EQ, R(0), raw, len);
}

static void ct_has(struct nft_batch *b, uint32_t key, uint32_t bits)
{
	static const uint32_t none;

	nft_expr_ct(b, key, false, R(0));
	nft_expr_mask(b, R(0), R(0), &bits, sizeof(bits));
	nft_expr_cmp(b, NFT_CMP_NEQ, R(0), &none, sizeof(none));
}

static void xt_match(struct nft_batch *b, const char *name, uint32_t revision, const void *info, size_t len)
{
	size_t nests[2];

	begin_expr(b, "match", nests);
	nft_attr_str(b, NFTA_MATCH_NAME, name);
	nft_attr_u32(b, NFTA_MATCH_REV, revision);
	nft_attr(b, NFTA_MATCH_INFO, info, (len + 7) / 8 * 8); // as XT_ALIGN does
	end_expr(b, nests);
}

static void count(struct nft_batch *b)
{
	size_t nests[2];

	begin_expr(b, "counter", nests);
	attr_u64(b, NFTA_COUNTER_BYTES, 0);
	attr_u64(b, NFTA_COUNTER_PACKETS, 0);
	end_expr(b, nests);
}

// ---- rules

static void conntrack_iptables(struct nft_batch *b, enum fw_ct want)
{
	struct {
		struct xt_conntrack_mtinfo3 m;
		uint8_t pad[8];
	} info = {.m = {.match_flags = XT_CONNTRACK_STATE}};

	info.m.state_mask = want == FW_CT_DNAT
				? XT_CONNTRACK_STATE_DNAT
				: XT_CONNTRACK_STATE_BIT(IP_CT_ESTABLISHED) | XT_CONNTRACK_STATE_BIT(IP_CT_RELATED);
	xt_match(b, "conntrack", 3, &info, sizeof(info.m));
}

static void dport_iptables(struct nft_batch *b, uint8_t proto, uint16_t port)
{
	union {
		struct xt_tcp tcp;
		struct xt_udp udp;
		uint8_t room[32];
	} info = {.room = {0}};

	if (proto == IPPROTO_TCP) {
		info.tcp = (struct xt_tcp){.spts = {0, 0xffff}, .dpts = {port, port}};
		xt_match(b, "tcp", 0, &info, sizeof(info.tcp));
	} else {
		info.udp = (struct xt_udp){.spts = {0, 0xffff}, .dpts = {port, port}};
		xt_match(b, "udp", 0, &info, sizeof(info.udp));
	}
}

static void accept_rule(struct nft_batch *b, const char *own, const struct fw_accept *a)
{
	bool iptables = b->family != NFPROTO_INET;
	int family = a->src.ip.family ? a->src.ip.family : a->dst.ip.family;
	uint16_t port_be = htons(a->dport);

	begin_rule(b, own, 0, a->dport && iptables ? a->proto : 0);
	if (a->in_pods)
		meta_is(b, NFT_META_IIFNAME, POD_LINKS, strlen(POD_LINKS));
	if (a->out_pods)
		meta_is(b, NFT_META_OIFNAME, POD_LINKS, strlen(POD_LINKS));
	if (!iptables && family)
		meta_is(b, NFT_META_NFPROTO, &(uint8_t){family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6}, 1);
	if (a->src.ip.family)
		address_is(b, &a->src, true);
	if (a->dst.ip.family)
		address_is(b, &a->dst, false);
	if (a->proto)
		meta_is(b, NFT_META_L4PROTO, &a->proto, 1);
	if (a->dport && iptables) {
		dport_iptables(b, a->proto, a->dport);
	} else if (a->dport) {
		nft_expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, R(0));
		nft_expr_cmp(b, NFT_CMP_EQ, R(0), &port_be, sizeof(port_be));
	}
	if (a->ct != FW_CT_ANY && iptables)
		conntrack_iptables(b, a->ct);
	else if (a->ct == FW_CT_DNAT)
		ct_has(b, NFT_CT_STATUS, IPS_DST_NAT);
	else if (a->ct == FW_CT_ANSWER)
		ct_has(b, NFT_CT_STATE, NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED));
	count(b);
	nft_expr_verdict(b, NF_ACCEPT, NULL);
	end_rule(b, a->why);
}

static void jump(struct nft_batch *b, const char *own, const struct fw_place *p)
{
	begin_rule(b, p->chain->name, p->before, 0);
	count(b);
	nft_expr_verdict(b, NFT_JUMP, own);
	end_rule(b, "pods and Services");
}

static bool jumps_to(const struct fw_rule *r, const char *chain)
{
	for (unsigned i = 0; r->ours && i < r->n; i++)
		if (r->exprs[i].kind == FW_VERDICT && (!chain || fl_streq(r->exprs[i].name, chain)))
			return true;
	return false;
}

// own NULL: all of ours
static unsigned take_out(struct nft_batch *b, const struct fw_table *t, const char *own)
{
	unsigned n = 0;

	about(b, t);
	for (size_t i = 0; i < t->chains.n; i++)
		for (size_t j = 0; j < t->chains.v[i].rules.n; j++)
			if (jumps_to(&t->chains.v[i].rules.v[j], own)) {
				delete_rule(b, t->chains.v[i].name, t->chains.v[i].rules.v[j].handle);
				n++;
			}
	for (size_t i = 0; i < t->chains.n; i++) {
		const struct fw_chain *c = &t->chains.v[i];

		if (!c->ours || (own && !fl_streq(c->name, own)))
			continue;
		nft_flush_chain(b, c->name);
		nft_chain(b, NFT_MSG_DELCHAIN, c->name);
		n++;
	}
	return n;
}

int fw_mend(struct fl_netlink *nl, const struct fw_host *h, const struct fw_fix *fix, uint32_t generation,
	    struct fl_err *err)
{
	struct fw_accept list[FW_MAX_ACCEPTS];
	int family = fix->table->family == NFPROTO_INET ? 0 : fix->table->family == NFPROTO_IPV4 ? AF_INET : AF_INET6;
	unsigned n = fix->places.n ? fw_accepts(h, fix->hook, family, list) : 0;
	struct nft_batch b;

	start_batch(&b, nl, generation);
	take_out(&b, fix->table, fix->own);
	if (fix->places.n)
		nft_chain(&b, NFT_MSG_NEWCHAIN, fix->own);
	for (unsigned i = 0; i < n; i++)
		accept_rule(&b, fix->own, &list[i]);
	for (size_t i = 0; i < fix->places.n; i++)
		jump(&b, fix->own, &fix->places.v[i]);
	int rc = send_batch(&b, err);
	nft_batch_deinit(&b);
	return rc;
}

int fw_unmend(struct fl_netlink *nl, const struct fw_ruleset *r, uint32_t generation, struct fl_err *err)
{
	unsigned n = 0;
	struct nft_batch b;

	start_batch(&b, nl, generation);
	for (size_t i = 0; i < r->tables.n; i++)
		n += take_out(&b, &r->tables.v[i], NULL);
	int rc = n ? send_batch(&b, err) : 0;
	nft_batch_deinit(&b);
	return rc;
}
