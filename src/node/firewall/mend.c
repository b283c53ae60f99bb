// SPDX-License-Identifier: Apache-2.0
#include "node/firewall/mend.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_tcpudp.h>
#include <string.h>

#include "base/mem.h"
#include "io/netlink.h"

#define BATCH_BYTES (256 * 1024)
#define ROOM        4096 // more than any one message needs
#define POD_LINKS   "flv"

struct batch {
	struct fl_netlink *nl;
	char *buf; // BATCH_BYTES
	size_t len;
	bool full;
};

// ---- messages

static struct nlmsghdr *begin(struct batch *b, uint16_t type, uint16_t flags, uint8_t family, uint16_t res_id)
{
	if (b->len + ROOM > BATCH_BYTES) {
		b->full = true;
		b->len = 0; // it is not going to be sent
	}
	struct nlmsghdr *h = mnl_nlmsg_put_header(b->buf + b->len);
	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	h->nlmsg_seq = fl_netlink_next_seq(b->nl);
	struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	*g = (struct nfgenmsg){.nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(res_id)};
	return h;
}

static void end(struct batch *b, const struct nlmsghdr *h)
{
	b->len += MNL_ALIGN(h->nlmsg_len);
}

static struct nlmsghdr *begin_nft(struct batch *b, uint16_t type, uint16_t flags, const struct fw_table *t)
{
	struct nlmsghdr *h = begin(b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, t->family, 0);

	mnl_attr_put_strz(h, 1, t->name); // NFTA_*_TABLE is 1 for chains and rules
	return h;
}

static void start_batch(struct batch *b, struct fl_netlink *nl, uint32_t generation)
{
	*b = (struct batch){.nl = nl, .buf = fl_malloc(BATCH_BYTES)};
	struct nlmsghdr *h = begin(b, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	mnl_attr_put_u32(h, NFNL_BATCH_GENID, htonl(generation));
	end(b, h);
}

static int send_batch(struct batch *b, struct fl_err *err)
{
	end(b, begin(b, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
	int rc =
	    b->full ? fl_err_set(err, -E2BIG, "too many places") : fl_netlink_batch(b->nl, b->buf, b->len, NULL, err);
	free(b->buf);
	b->buf = NULL;
	return rc == -ERESTART || rc == -ENOENT ? -EAGAIN : rc;
}

static void delete_rule(struct batch *b, const struct fw_table *t, const char *chain, uint64_t handle)
{
	struct nlmsghdr *h = begin_nft(b, NFT_MSG_DELRULE, 0, t);

	mnl_attr_put_strz(h, NFTA_RULE_CHAIN, chain);
	if (handle) // none: all rules of the chain
		mnl_attr_put_u64(h, NFTA_RULE_HANDLE, htobe64(handle));
	end(b, h);
}

static void chain(struct batch *b, uint16_t type, const struct fw_table *t, const char *name)
{
	struct nlmsghdr *h = begin_nft(b, type, type == NFT_MSG_NEWCHAIN ? NLM_F_CREATE : 0, t);

	mnl_attr_put_strz(h, NFTA_CHAIN_NAME, name);
	end(b, h);
}

// ---- expressions

struct expr {
	struct nlmsghdr *h;
	struct nlattr *elem, *data;
};

static struct expr expr(struct nlmsghdr *h, const char *name)
{
	struct expr e = {.h = h, .elem = mnl_attr_nest_start(h, NFTA_LIST_ELEM)};

	mnl_attr_put_strz(h, NFTA_EXPR_NAME, name);
	e.data = mnl_attr_nest_start(h, NFTA_EXPR_DATA);
	return e;
}

static void put_u32(const struct expr *e, uint16_t type, uint32_t value)
{
	mnl_attr_put_u32(e->h, type, htonl(value));
}

static void put_value(const struct expr *e, uint16_t type, const void *data, size_t len)
{
	struct nlattr *nest = mnl_attr_nest_start(e->h, type);

	mnl_attr_put(e->h, NFTA_DATA_VALUE, len, data);
	mnl_attr_nest_end(e->h, nest);
}

static void done(const struct expr *e)
{
	mnl_attr_nest_end(e->h, e->data);
	mnl_attr_nest_end(e->h, e->elem);
}

static void cmp(struct nlmsghdr *h, uint32_t op, const void *data, size_t len)
{
	struct expr e = expr(h, "cmp");

	put_u32(&e, NFTA_CMP_SREG, NFT_REG_1);
	put_u32(&e, NFTA_CMP_OP, op);
	put_value(&e, NFTA_CMP_DATA, data, len);
	done(&e);
}

static void meta(struct nlmsghdr *h, uint32_t key, const void *data, size_t len)
{
	struct expr e = expr(h, "meta");

	put_u32(&e, NFTA_META_KEY, key);
	put_u32(&e, NFTA_META_DREG, NFT_REG_1);
	done(&e);
	cmp(h, NFT_CMP_EQ, data, len);
}

static void payload(struct nlmsghdr *h, uint32_t base, uint32_t off, uint32_t len)
{
	struct expr e = expr(h, "payload");

	put_u32(&e, NFTA_PAYLOAD_DREG, NFT_REG_1);
	put_u32(&e, NFTA_PAYLOAD_BASE, base);
	put_u32(&e, NFTA_PAYLOAD_OFFSET, off);
	put_u32(&e, NFTA_PAYLOAD_LEN, len);
	done(&e);
}

static void bitwise(struct nlmsghdr *h, const void *mask, size_t len)
{
	static const uint8_t zero[16];
	struct expr e = expr(h, "bitwise");

	put_u32(&e, NFTA_BITWISE_SREG, NFT_REG_1);
	put_u32(&e, NFTA_BITWISE_DREG, NFT_REG_1);
	put_u32(&e, NFTA_BITWISE_LEN, (uint32_t)len);
	put_value(&e, NFTA_BITWISE_MASK, mask, len);
	put_value(&e, NFTA_BITWISE_XOR, zero, len);
	done(&e);
}

static void address(struct nlmsghdr *h, const struct fl_cidr *c, bool src)
{
	uint8_t mask[16] = {0};
	bool v4 = c->ip.family == AF_INET;
	size_t len;
	const uint8_t *raw = fl_ip_raw(&c->ip, &len);

	for (size_t i = 0; i < c->bits; i++)
		mask[i / 8] |= (uint8_t)(0x80 >> i % 8);
	payload(h, NFT_PAYLOAD_NETWORK_HEADER, v4 ? (src ? 12 : 16) : (src ? 8 : 24), (uint32_t)len);
	if (c->bits < len * 8)
		bitwise(h, mask, len);
	cmp(h, NFT_CMP_EQ, raw, len);
}

static void ct(struct nlmsghdr *h, uint32_t key, uint32_t bits)
{
	static const uint32_t none;
	struct expr e = expr(h, "ct");

	put_u32(&e, NFTA_CT_KEY, key);
	put_u32(&e, NFTA_CT_DREG, NFT_REG_1);
	done(&e);
	bitwise(h, &bits, sizeof(bits));
	cmp(h, NFT_CMP_NEQ, &none, sizeof(none));
}

static void xt_match(struct nlmsghdr *h, const char *name, uint32_t revision, const void *info, size_t len)
{
	struct expr e = expr(h, "match");

	mnl_attr_put_strz(h, NFTA_MATCH_NAME, name);
	put_u32(&e, NFTA_MATCH_REV, revision);
	mnl_attr_put(h, NFTA_MATCH_INFO, (len + 7) / 8 * 8, info); // padded as XT_ALIGN does
	done(&e);
}

static void counter(struct nlmsghdr *h)
{
	struct expr e = expr(h, "counter");

	mnl_attr_put_u64(h, NFTA_COUNTER_BYTES, 0);
	mnl_attr_put_u64(h, NFTA_COUNTER_PACKETS, 0);
	done(&e);
}

static void verdict(struct nlmsghdr *h, int32_t code, const char *to)
{
	struct expr e = expr(h, "immediate");

	put_u32(&e, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	struct nlattr *data = mnl_attr_nest_start(h, NFTA_IMMEDIATE_DATA),
		      *v = mnl_attr_nest_start(h, NFTA_DATA_VERDICT);
	put_u32(&e, NFTA_VERDICT_CODE, (uint32_t)code);
	if (to)
		mnl_attr_put_strz(h, NFTA_VERDICT_CHAIN, to);
	mnl_attr_nest_end(h, v);
	mnl_attr_nest_end(h, data);
	done(&e);
}

static void comment(struct nlmsghdr *h, const char *text)
{
	char udata[128];
	size_t n = strlen(text) + 1;

	udata[0] = 0; // NFTNL_UDATA_RULE_COMMENT
	udata[1] = (char)n;
	memcpy(udata + 2, text, n);
	mnl_attr_put(h, NFTA_RULE_USERDATA, n + 2, udata);
}

// ---- rules

static void conntrack_iptables(struct nlmsghdr *h, enum fw_ct want)
{
	struct {
		struct xt_conntrack_mtinfo3 m;
		uint8_t pad[8];
	} info = {.m = {.match_flags = XT_CONNTRACK_STATE}};

	info.m.state_mask = want == FW_CT_DNAT
				? XT_CONNTRACK_STATE_DNAT
				: XT_CONNTRACK_STATE_BIT(IP_CT_ESTABLISHED) | XT_CONNTRACK_STATE_BIT(IP_CT_RELATED);
	xt_match(h, "conntrack", 3, &info, sizeof(info.m));
}

static void dport_iptables(struct nlmsghdr *h, uint8_t proto, uint16_t port)
{
	union {
		struct xt_tcp tcp;
		struct xt_udp udp;
		uint8_t room[32];
	} info = {.room = {0}};

	if (proto == IPPROTO_TCP) {
		info.tcp = (struct xt_tcp){.spts = {0, 0xffff}, .dpts = {port, port}};
		xt_match(h, "tcp", 0, &info, sizeof(info.tcp));
	} else {
		info.udp = (struct xt_udp){.spts = {0, 0xffff}, .dpts = {port, port}};
		xt_match(h, "udp", 0, &info, sizeof(info.udp));
	}
}

static void accept_rule(struct batch *b, const struct fw_fix *f, const struct fw_accept *a)
{
	struct nlmsghdr *h = begin_nft(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, f->table);
	bool iptables = f->table->family != NFPROTO_INET;
	int family = a->src.ip.family ? a->src.ip.family : a->dst.ip.family;

	mnl_attr_put_strz(h, NFTA_RULE_CHAIN, f->own);
	if (a->dport && iptables) { // its port matches ask for the rule's protocol
		struct nlattr *compat = mnl_attr_nest_start(h, NFTA_RULE_COMPAT);

		mnl_attr_put_u32(h, NFTA_RULE_COMPAT_PROTO, htonl(a->proto));
		mnl_attr_put_u32(h, NFTA_RULE_COMPAT_FLAGS, 0);
		mnl_attr_nest_end(h, compat);
	}
	struct nlattr *list = mnl_attr_nest_start(h, NFTA_RULE_EXPRESSIONS);
	if (a->in_pods)
		meta(h, NFT_META_IIFNAME, POD_LINKS, strlen(POD_LINKS));
	if (a->out_pods)
		meta(h, NFT_META_OIFNAME, POD_LINKS, strlen(POD_LINKS));
	if (!iptables && family)
		meta(h, NFT_META_NFPROTO, &(uint8_t){family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6}, 1);
	if (a->src.ip.family)
		address(h, &a->src, true);
	if (a->dst.ip.family)
		address(h, &a->dst, false);
	if (a->proto)
		meta(h, NFT_META_L4PROTO, &a->proto, 1);
	if (a->dport && iptables) {
		dport_iptables(h, a->proto, a->dport);
	} else if (a->dport) {
		uint16_t port_be = htons(a->dport);

		payload(h, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
		cmp(h, NFT_CMP_EQ, &port_be, sizeof(port_be));
	}
	if (a->ct != FW_CT_ANY && iptables)
		conntrack_iptables(h, a->ct);
	else if (a->ct == FW_CT_DNAT)
		ct(h, NFT_CT_STATUS, IPS_DST_NAT);
	else if (a->ct == FW_CT_ANSWER)
		ct(h, NFT_CT_STATE, NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED));
	counter(h);
	verdict(h, NF_ACCEPT, NULL);
	mnl_attr_nest_end(h, list);
	comment(h, a->why);
	end(b, h);
}

static void jump(struct batch *b, const struct fw_fix *f, const struct fw_place *p)
{
	struct nlmsghdr *h = begin_nft(b, NFT_MSG_NEWRULE, NLM_F_CREATE | (p->before ? 0 : NLM_F_APPEND), f->table);

	mnl_attr_put_strz(h, NFTA_RULE_CHAIN, p->chain->name);
	if (p->before)
		mnl_attr_put_u64(h, NFTA_RULE_POSITION, htobe64(p->before));
	struct nlattr *list = mnl_attr_nest_start(h, NFTA_RULE_EXPRESSIONS);
	counter(h);
	verdict(h, NFT_JUMP, f->own);
	mnl_attr_nest_end(h, list);
	comment(h, "pods and Services");
	end(b, h);
}

static bool jumps_to(const struct fw_rule *r, const char *chain)
{
	for (unsigned i = 0; r->ours && i < r->n; i++)
		if (r->exprs[i].kind == FW_VERDICT && (!chain || fl_streq(r->exprs[i].name, chain)))
			return true;
	return false;
}

// chain NULL: all of ours
static unsigned take_out(struct batch *b, const struct fw_table *t, const char *own)
{
	unsigned n = 0;

	for (size_t i = 0; i < t->chains.n; i++)
		for (size_t j = 0; j < t->chains.v[i].rules.n; j++)
			if (jumps_to(&t->chains.v[i].rules.v[j], own)) {
				delete_rule(b, t, t->chains.v[i].name, t->chains.v[i].rules.v[j].handle);
				n++;
			}
	for (size_t i = 0; i < t->chains.n; i++) {
		const struct fw_chain *c = &t->chains.v[i];

		if (!c->ours || (own && !fl_streq(c->name, own)))
			continue;
		delete_rule(b, t, c->name, 0);
		chain(b, NFT_MSG_DELCHAIN, t, c->name);
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
	struct batch b;

	start_batch(&b, nl, generation);
	take_out(&b, fix->table, fix->own);
	if (fix->places.n)
		chain(&b, NFT_MSG_NEWCHAIN, fix->table, fix->own);
	for (unsigned i = 0; i < n; i++)
		accept_rule(&b, fix, &list[i]);
	for (size_t i = 0; i < fix->places.n; i++)
		jump(&b, fix, &fix->places.v[i]);
	int rc = send_batch(&b, err);
	if (rc < 0)
		(void)fl_err_prefix(err, "write chain %s of nftables table %s %s", fix->own,
				    fw_family_name(fix->table->family), fix->table->name);
	return rc;
}

int fw_unmend(struct fl_netlink *nl, const struct fw_ruleset *r, uint32_t generation, struct fl_err *err)
{
	unsigned n = 0;
	struct batch b;

	start_batch(&b, nl, generation);
	for (size_t i = 0; i < r->tables.n; i++)
		n += take_out(&b, &r->tables.v[i], NULL);
	if (n)
		return send_batch(&b, err);
	free(b.buf);
	return 0;
}
