// SPDX-License-Identifier: Apache-2.0
#include "io/nft.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

#include "base/mem.h"

#define ELEMS_BYTES 48000 // of elements in one message: the attribute around them counts its length in 16 bits

// nft(8)'s user data: type, length, value.
enum { UDATA_COMMENT = 0 };

static size_t align4(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

static void pad(struct fl_buf *buf)
{
	static const char zero[4];

	fl_buf_append(buf, zero, align4(buf->len) - buf->len);
}

static void begin_message(struct nft_batch *b, uint16_t type, uint16_t flags, uint8_t family, uint16_t res_id)
{
	struct nlmsghdr h = {
	    .nlmsg_type = type,
	    .nlmsg_flags = NLM_F_REQUEST | flags,
	    .nlmsg_seq = b->nl ? fl_netlink_next_seq(b->nl) : 0,
	};
	struct nfgenmsg g = {.nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(res_id)};

	b->msg = b->buf.len;
	fl_buf_append(&b->buf, &h, sizeof(h));
	fl_buf_append(&b->buf, &g, sizeof(g));
}

void nft_msg_end(struct nft_batch *b)
{
	uint32_t len = (uint32_t)(b->buf.len - b->msg);

	memcpy(b->buf.data + b->msg, &len, sizeof(len)); // nlmsg_len is the first member
}

void nft_msg_begin(struct nft_batch *b, uint16_t type, uint16_t flags)
{
	begin_message(b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, b->family, 0);
}

void nft_batch_init(struct nft_batch *b, struct fl_netlink *nl, const char *table)
{
	*b = (struct nft_batch){.nl = nl, .table = table};
	begin_message(b, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	nft_msg_end(b);
}

void nft_batch_deinit(struct nft_batch *b)
{
	fl_buf_deinit(&b->buf);
}

static const char *type_name(unsigned type)
{
	static const char *const names[] = {
	    [NFT_MSG_NEWTABLE] = "add table",         [NFT_MSG_DELTABLE] = "delete table",
	    [NFT_MSG_NEWCHAIN] = "add chain",         [NFT_MSG_DELCHAIN] = "delete chain",
	    [NFT_MSG_NEWRULE] = "add rule in",        [NFT_MSG_NEWSET] = "add set",
	    [NFT_MSG_NEWSETELEM] = "add elements of", [NFT_MSG_DELSETELEM] = "delete elements of",
	    [NFT_MSG_DELSET] = "delete set",          [NFT_MSG_NEWOBJ] = "add counter",
	    [NFT_MSG_DELRULE] = "delete rules of",
	};

	return type < FL_COUNT(names) && names[type] ? names[type] : "message";
}

// What message `seq` of the batch was about: its type and the name in its second attribute.
static void describe(const struct nft_batch *b, uint32_t seq, struct fl_err *err)
{
	for (size_t at = 0; at + sizeof(struct nlmsghdr) <= b->buf.len;) {
		struct nlmsghdr h;
		struct nlattr first, second;
		size_t attr = at + sizeof(h) + sizeof(struct nfgenmsg);

		memcpy(&h, b->buf.data + at, sizeof(h));
		if (h.nlmsg_seq != seq || h.nlmsg_len < sizeof(h) + sizeof(struct nfgenmsg) + sizeof(first)) {
			at += align4(h.nlmsg_len);
			continue;
		}
		memcpy(&first, b->buf.data + attr, sizeof(first));
		attr += align4(first.nla_len);
		if (attr + sizeof(second) > at + h.nlmsg_len) {
			(void)fl_err_prefix(err, "nftables: %s", type_name(h.nlmsg_type & 0xff));
			return;
		}
		memcpy(&second, b->buf.data + attr, sizeof(second));
		(void)fl_err_prefix(err, "nftables: %s %.*s", type_name(h.nlmsg_type & 0xff),
				    (int)(second.nla_len - sizeof(second)), b->buf.data + attr + sizeof(second));
		return;
	}
	(void)fl_err_prefix(err, "nftables");
}

int nft_batch_send(struct nft_batch *b, struct fl_err *err)
{
	uint32_t failed = 0;

	begin_message(b, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	nft_msg_end(b);
	int rc = fl_netlink_batch(b->nl, b->buf.data, b->buf.len, &failed, err);
	if (rc < 0)
		describe(b, failed, err);
	return rc;
}

// ---- attributes

static void begin_attr(struct nft_batch *b, uint16_t type, size_t len)
{
	struct nlattr a = {.nla_len = (uint16_t)(sizeof(a) + len), .nla_type = type};

	fl_buf_append(&b->buf, &a, sizeof(a));
}

void nft_attr(struct nft_batch *b, uint16_t type, const void *data, size_t len)
{
	begin_attr(b, type, len);
	fl_buf_append(&b->buf, data, len);
	pad(&b->buf);
}

void nft_attr_str(struct nft_batch *b, uint16_t type, const char *s)
{
	nft_attr(b, type, s, strlen(s) + 1);
}

void nft_attr_u32(struct nft_batch *b, uint16_t type, uint32_t host_order)
{
	uint32_t v = htonl(host_order);

	nft_attr(b, type, &v, sizeof(v));
}

static void attr_u64(struct nft_batch *b, uint16_t type, uint64_t host_order)
{
	uint64_t v = htobe64(host_order);

	nft_attr(b, type, &v, sizeof(v));
}

size_t nft_nest(struct nft_batch *b, uint16_t type)
{
	size_t at = b->buf.len;

	begin_attr(b, type | NLA_F_NESTED, 0);
	return at;
}

void nft_nest_end(struct nft_batch *b, size_t nest)
{
	uint16_t len = (uint16_t)(b->buf.len - nest);

	memcpy(b->buf.data + nest, &len, sizeof(len)); // nla_len is the first member
}

static void attr_value(struct nft_batch *b, uint16_t type, const void *data, size_t len)
{
	size_t nest = nft_nest(b, type);

	nft_attr(b, NFTA_DATA_VALUE, data, len);
	nft_nest_end(b, nest);
}

static void attr_verdict(struct nft_batch *b, uint16_t type, int32_t code, const char *chain)
{
	size_t nest = nft_nest(b, type), verdict = nft_nest(b, NFTA_DATA_VERDICT);

	nft_attr_u32(b, NFTA_VERDICT_CODE, (uint32_t)code);
	if (chain)
		nft_attr_str(b, NFTA_VERDICT_CHAIN, chain);
	nft_nest_end(b, verdict);
	nft_nest_end(b, nest);
}

static void attr_comment(struct nft_batch *b, uint16_t type, const char *comment)
{
	char udata[2 + 255];
	size_t n = strlen(comment) + 1;

	if (n > 250) // NFT_USERDATA_MAXLEN counts the header too; cutting a comment hurts nobody
		n = 250;
	udata[0] = UDATA_COMMENT;
	udata[1] = (char)n;
	memcpy(udata + 2, comment, n);
	udata[1 + n] = '\0';
	nft_attr(b, type, udata, 2 + n);
}

// ---- objects

void nft_table(struct nft_batch *b, uint16_t msg_type, const char *comment)
{
	nft_msg_begin(b, msg_type, msg_type == NFT_MSG_NEWTABLE ? NLM_F_CREATE : 0);
	nft_attr_str(b, NFTA_TABLE_NAME, b->table);
	if (comment)
		attr_comment(b, NFTA_TABLE_USERDATA, comment);
	nft_msg_end(b);
}

void nft_base_chain(struct nft_batch *b, const char *name, const char *type, uint32_t hook, int32_t priority)
{
	nft_msg_begin(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
	nft_attr_str(b, NFTA_CHAIN_TABLE, b->table);
	nft_attr_str(b, NFTA_CHAIN_NAME, name);
	size_t nest = nft_nest(b, NFTA_CHAIN_HOOK);
	nft_attr_u32(b, NFTA_HOOK_HOOKNUM, hook);
	nft_attr_u32(b, NFTA_HOOK_PRIORITY, (uint32_t)priority);
	nft_nest_end(b, nest);
	nft_attr_u32(b, NFTA_CHAIN_POLICY, NF_ACCEPT);
	nft_attr_str(b, NFTA_CHAIN_TYPE, type);
	nft_msg_end(b);
}

void nft_chain(struct nft_batch *b, uint16_t msg_type, const char *name)
{
	nft_msg_begin(b, msg_type, msg_type == NFT_MSG_NEWCHAIN ? NLM_F_CREATE : 0);
	nft_attr_str(b, NFTA_CHAIN_TABLE, b->table);
	nft_attr_str(b, NFTA_CHAIN_NAME, name);
	nft_msg_end(b);
}

void nft_flush_chain(struct nft_batch *b, const char *name)
{
	nft_msg_begin(b, NFT_MSG_DELRULE, 0);
	nft_attr_str(b, NFTA_RULE_TABLE, b->table);
	nft_attr_str(b, NFTA_RULE_CHAIN, name);
	nft_msg_end(b);
}

void nft_counter(struct nft_batch *b, const char *name)
{
	nft_msg_begin(b, NFT_MSG_NEWOBJ, NLM_F_CREATE);
	nft_attr_str(b, NFTA_OBJ_TABLE, b->table);
	nft_attr_str(b, NFTA_OBJ_NAME, name);
	nft_attr_u32(b, NFTA_OBJ_TYPE, NFT_OBJECT_COUNTER);
	nft_nest_end(b, nft_nest(b, NFTA_OBJ_DATA));
	nft_msg_end(b);
}

void nft_set(struct nft_batch *b, const struct nft_set_def *def, uint32_t id)
{
	nft_msg_begin(b, NFT_MSG_NEWSET, NLM_F_CREATE);
	nft_attr_str(b, NFTA_SET_TABLE, b->table);
	nft_attr_str(b, NFTA_SET_NAME, def->name);
	nft_attr_u32(b, NFTA_SET_FLAGS, def->flags);
	nft_attr_u32(b, NFTA_SET_KEY_TYPE, def->key_type);
	nft_attr_u32(b, NFTA_SET_KEY_LEN, def->key_len);
	if (def->flags & NFT_SET_MAP) {
		nft_attr_u32(b, NFTA_SET_DATA_TYPE, def->data_type);
		nft_attr_u32(b, NFTA_SET_DATA_LEN, def->data_len);
	}
	nft_attr_u32(b, NFTA_SET_ID, id);
	if (def->max_elems) {
		size_t nest = nft_nest(b, NFTA_SET_DESC);

		nft_attr_u32(b, NFTA_SET_DESC_SIZE, def->max_elems);
		nft_nest_end(b, nest);
	}
	nft_msg_end(b);
}

void nft_del_set(struct nft_batch *b, const char *name)
{
	nft_msg_begin(b, NFT_MSG_DELSET, 0);
	nft_attr_str(b, NFTA_SET_TABLE, b->table);
	nft_attr_str(b, NFTA_SET_NAME, name);
	nft_msg_end(b);
}

static void put_elem(struct nft_batch *b, const struct nft_elem *e, bool with_data)
{
	size_t nest = nft_nest(b, NFTA_LIST_ELEM);

	attr_value(b, NFTA_SET_ELEM_KEY, e->key, e->key_len);
	if (with_data && e->chain)
		attr_verdict(b, NFTA_SET_ELEM_DATA, NFT_GOTO, e->chain);
	else if (with_data && e->data_len)
		attr_value(b, NFTA_SET_ELEM_DATA, e->data, e->data_len);
	if (with_data && e->comment)
		attr_comment(b, NFTA_SET_ELEM_USERDATA, e->comment);
	nft_nest_end(b, nest);
}

void nft_elems(struct nft_batch *b, uint16_t msg_type, const char *set, const struct nft_elem *const *list, size_t n)
{
	bool add = msg_type == NFT_MSG_NEWSETELEM;

	for (size_t i = 0; i < n;) {
		nft_msg_begin(b, msg_type, add ? NLM_F_CREATE | NLM_F_EXCL : 0);
		nft_attr_str(b, NFTA_SET_ELEM_LIST_TABLE, b->table);
		nft_attr_str(b, NFTA_SET_ELEM_LIST_SET, set);
		size_t nest = nft_nest(b, NFTA_SET_ELEM_LIST_ELEMENTS);
		while (i < n && b->buf.len - nest < ELEMS_BYTES)
			put_elem(b, list[i++], add);
		nft_nest_end(b, nest);
		nft_msg_end(b);
	}
}

// ---- rules

void nft_rule(struct nft_batch *b, const char *chain)
{
	nft_msg_begin(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
	nft_attr_str(b, NFTA_RULE_TABLE, b->table);
	nft_attr_str(b, NFTA_RULE_CHAIN, chain);
	b->rule_exprs = nft_nest(b, NFTA_RULE_EXPRESSIONS);
}

void nft_rule_end(struct nft_batch *b)
{
	nft_nest_end(b, b->rule_exprs);
	nft_msg_end(b);
}

struct expr {
	size_t elem, data;
};

static struct expr begin_expr(struct nft_batch *b, const char *name)
{
	struct expr e = {.elem = nft_nest(b, NFTA_LIST_ELEM)};

	nft_attr_str(b, NFTA_EXPR_NAME, name);
	e.data = nft_nest(b, NFTA_EXPR_DATA);
	return e;
}

static void end_expr(struct nft_batch *b, struct expr e)
{
	nft_nest_end(b, e.data);
	nft_nest_end(b, e.elem);
}

void nft_expr_payload(struct nft_batch *b, uint32_t base, uint32_t offset, uint32_t len, uint32_t dreg)
{
	struct expr e = begin_expr(b, "payload");

	nft_attr_u32(b, NFTA_PAYLOAD_DREG, dreg);
	nft_attr_u32(b, NFTA_PAYLOAD_BASE, base);
	nft_attr_u32(b, NFTA_PAYLOAD_OFFSET, offset);
	nft_attr_u32(b, NFTA_PAYLOAD_LEN, len);
	end_expr(b, e);
}

void nft_expr_meta(struct nft_batch *b, uint32_t key, uint32_t dreg)
{
	struct expr e = begin_expr(b, "meta");

	nft_attr_u32(b, NFTA_META_DREG, dreg);
	nft_attr_u32(b, NFTA_META_KEY, key);
	end_expr(b, e);
}

void nft_expr_ct(struct nft_batch *b, uint32_t key, bool original, uint32_t dreg)
{
	struct expr e = begin_expr(b, "ct");
	uint8_t direction = 0; // IP_CT_DIR_ORIGINAL

	nft_attr_u32(b, NFTA_CT_DREG, dreg);
	nft_attr_u32(b, NFTA_CT_KEY, key);
	if (original)
		nft_attr(b, NFTA_CT_DIRECTION, &direction, 1);
	end_expr(b, e);
}

void nft_expr_fib_type(struct nft_batch *b, uint32_t fib_flags, uint32_t dreg)
{
	struct expr e = begin_expr(b, "fib");

	nft_attr_u32(b, NFTA_FIB_DREG, dreg);
	nft_attr_u32(b, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
	nft_attr_u32(b, NFTA_FIB_FLAGS, fib_flags);
	end_expr(b, e);
}

void nft_expr_cmp(struct nft_batch *b, uint32_t op, uint32_t sreg, const void *data, size_t len)
{
	struct expr e = begin_expr(b, "cmp");

	nft_attr_u32(b, NFTA_CMP_SREG, sreg);
	nft_attr_u32(b, NFTA_CMP_OP, op);
	attr_value(b, NFTA_CMP_DATA, data, len);
	end_expr(b, e);
}

void nft_expr_mask(struct nft_batch *b, uint32_t sreg, uint32_t dreg, const void *mask, size_t len)
{
	static const uint8_t zero[16];
	struct expr e = begin_expr(b, "bitwise");

	nft_attr_u32(b, NFTA_BITWISE_SREG, sreg);
	nft_attr_u32(b, NFTA_BITWISE_DREG, dreg);
	nft_attr_u32(b, NFTA_BITWISE_LEN, (uint32_t)len);
	nft_attr_u32(b, NFTA_BITWISE_OP, NFT_BITWISE_BOOL);
	attr_value(b, NFTA_BITWISE_MASK, mask, len);
	attr_value(b, NFTA_BITWISE_XOR, zero, len);
	end_expr(b, e);
}

void nft_expr_immediate(struct nft_batch *b, uint32_t dreg, const void *data, size_t len)
{
	struct expr e = begin_expr(b, "immediate");

	nft_attr_u32(b, NFTA_IMMEDIATE_DREG, dreg);
	attr_value(b, NFTA_IMMEDIATE_DATA, data, len);
	end_expr(b, e);
}

void nft_expr_numgen(struct nft_batch *b, uint32_t dreg, uint32_t modulus, uint32_t offset)
{
	struct expr e = begin_expr(b, "numgen");

	nft_attr_u32(b, NFTA_NG_DREG, dreg);
	nft_attr_u32(b, NFTA_NG_MODULUS, modulus);
	nft_attr_u32(b, NFTA_NG_TYPE, NFT_NG_RANDOM);
	nft_attr_u32(b, NFTA_NG_OFFSET, offset);
	end_expr(b, e);
}

void nft_expr_lookup(struct nft_batch *b, const char *set, uint32_t sreg, uint32_t dreg, bool is_map)
{
	struct expr e = begin_expr(b, "lookup");

	nft_attr_str(b, NFTA_LOOKUP_SET, set);
	nft_attr_u32(b, NFTA_LOOKUP_SREG, sreg);
	if (is_map)
		nft_attr_u32(b, NFTA_LOOKUP_DREG, dreg);
	end_expr(b, e);
}

void nft_expr_dynset(struct nft_batch *b, const char *set, uint32_t op, uint32_t sreg_key, uint32_t sreg_data,
		     uint64_t timeout_ms)
{
	struct expr e = begin_expr(b, "dynset");

	nft_attr_str(b, NFTA_DYNSET_SET_NAME, set);
	nft_attr_u32(b, NFTA_DYNSET_OP, op);
	nft_attr_u32(b, NFTA_DYNSET_SREG_KEY, sreg_key);
	if (sreg_data)
		nft_attr_u32(b, NFTA_DYNSET_SREG_DATA, sreg_data);
	if (timeout_ms)
		attr_u64(b, NFTA_DYNSET_TIMEOUT, timeout_ms);
	end_expr(b, e);
}

void nft_expr_counter(struct nft_batch *b, const char *name)
{
	struct expr e = begin_expr(b, "objref");

	nft_attr_u32(b, NFTA_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER);
	nft_attr_str(b, NFTA_OBJREF_IMM_NAME, name);
	end_expr(b, e);
}

void nft_expr_verdict(struct nft_batch *b, int32_t code, const char *chain)
{
	struct expr e = begin_expr(b, "immediate");

	nft_attr_u32(b, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	attr_verdict(b, NFTA_IMMEDIATE_DATA, code, chain);
	end_expr(b, e);
}

void nft_expr_reject(struct nft_batch *b, uint32_t type, uint8_t icmp_code)
{
	struct expr e = begin_expr(b, "reject");

	nft_attr_u32(b, NFTA_REJECT_TYPE, type);
	nft_attr(b, NFTA_REJECT_ICMP_CODE, &icmp_code, 1);
	end_expr(b, e);
}

void nft_expr_dnat(struct nft_batch *b, uint32_t family, uint32_t addr_reg, uint32_t port_reg)
{
	struct expr e = begin_expr(b, "nat");

	nft_attr_u32(b, NFTA_NAT_TYPE, NFT_NAT_DNAT);
	nft_attr_u32(b, NFTA_NAT_FAMILY, family);
	nft_attr_u32(b, NFTA_NAT_REG_ADDR_MIN, addr_reg);
	nft_attr_u32(b, NFTA_NAT_REG_PROTO_MIN, port_reg);
	end_expr(b, e);
}

void nft_expr_masquerade(struct nft_batch *b)
{
	struct expr e = begin_expr(b, "masq");

	nft_attr_u32(b, NFTA_MASQ_FLAGS, NF_NAT_RANGE_PROTO_RANDOM_FULLY);
	end_expr(b, e);
}

// ---- what stands in the kernel

static struct nlmsghdr *begin_question(char *buf, uint16_t type, uint8_t family)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);

	h->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	h->nlmsg_flags = NLM_F_REQUEST;
	struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	*g = (struct nfgenmsg){.nfgen_family = family, .version = NFNETLINK_V0};
	return h;
}

bool nft_table_stands(struct fl_netlink *nl, uint8_t family, const char *table)
{
	char buf[256] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *h = begin_question(buf, NFT_MSG_GETTABLE, family);

	mnl_attr_put_strz(h, NFTA_TABLE_NAME, table);
	return fl_netlink_talk(nl, h, NULL, NULL, NULL) != -ENOENT;
}

static int take_use(const struct nlmsghdr *msg, void *arg)
{
	const struct nlattr *attr;

	mnl_attr_for_each (attr, msg, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(attr) == NFTA_CHAIN_USE)
			*(uint32_t *)arg = ntohl(mnl_attr_get_u32(attr));
	}
	return 0;
}

int nft_read_chain_use(struct fl_netlink *nl, uint8_t family, const char *table, const char *chain, uint32_t *ret,
		       struct fl_err *err)
{
	char buf[256] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *h = begin_question(buf, NFT_MSG_GETCHAIN, family);
	uint32_t use = 0;

	mnl_attr_put_strz(h, NFTA_CHAIN_TABLE, table);
	mnl_attr_put_strz(h, NFTA_CHAIN_NAME, chain);
	int rc = fl_netlink_talk(nl, h, take_use, &use, err);
	if (rc < 0) {
		(void)fl_err_prefix(err, "nftables: read chain %s of table %s", chain, table);
		return rc;
	}
	*ret = use;
	return 0;
}
