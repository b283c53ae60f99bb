// SPDX-License-Identifier: Apache-2.0
// Dumps are read whole before the first callback (again when the ruleset changed in between), so that a callback never
// sees an element twice.
#include "proxy/nft/read.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/vec.h"

#define DUMP_RETRIES 20

struct answers {
	struct fl_buf messages; // each aligned to 8 bytes
};

static int keep(const struct nlmsghdr *msg, void *arg)
{
	static const char zero[8];
	struct answers *a = arg;

	fl_buf_append(&a->messages, msg, msg->nlmsg_len);
	fl_buf_append(&a->messages, zero, (8 - msg->nlmsg_len % 8) % 8);
	return 0;
}

static const struct nlmsghdr *next_answer(const struct answers *a, const struct nlmsghdr *msg)
{
	const char *at = msg ? (const char *)msg + (msg->nlmsg_len + 7) / 8 * 8 : a->messages.data;

	return at && at < a->messages.data + a->messages.len ? (const struct nlmsghdr *)(const void *)at : NULL;
}

static void answers_deinit(struct answers *a)
{
	fl_buf_deinit(&a->messages);
}

// Asks with the one message in b.
static int ask(struct fl_netlink *nl, struct nft_batch *b, struct answers *ret, struct fl_err *err)
{
	int rc = -EINTR;

	nft_msg_end(b);
	for (int i = 0; rc == -EINTR && i < DUMP_RETRIES; i++) {
		ret->messages.len = 0;
		rc = fl_netlink_talk(nl, (struct nlmsghdr *)(void *)b->buf.data, keep, ret, err);
	}
	nft_batch_deinit(b);
	return rc;
}

static int ask_dump(struct fl_netlink *nl, bool is6, uint16_t type, struct answers *ret, struct fl_err *err)
{
	struct nft_batch b = {.family = nft_family(is6)};

	nft_msg_begin(&b, type, NLM_F_DUMP);
	nft_attr_str(&b, 1, NFT_TABLE); // NFTA_*_TABLE is 1 for chains, sets and objects
	return ask(nl, &b, ret, err);
}

static void store_attrs(const struct nlattr **tb, unsigned max, const struct nlattr *attr)
{
	if (mnl_attr_get_type(attr) <= max)
		tb[mnl_attr_get_type(attr)] = attr;
}

static void parse_message(const struct nlmsghdr *msg, const struct nlattr **tb, unsigned max)
{
	const struct nlattr *attr;

	memset(tb, 0, (max + 1) * sizeof(*tb));
	mnl_attr_for_each (attr, msg, sizeof(struct nfgenmsg))
		store_attrs(tb, max, attr);
}

static void parse_nest(const struct nlattr *nest, const struct nlattr **tb, unsigned max)
{
	const struct nlattr *attr;

	memset(tb, 0, (max + 1) * sizeof(*tb));
	if (!nest)
		return;
	mnl_attr_for_each_nested (attr, nest)
		store_attrs(tb, max, attr);
}

static uint32_t get_u32(const struct nlattr *attr)
{
	return attr ? ntohl(mnl_attr_get_u32(attr)) : 0;
}

static uint64_t get_u64(const struct nlattr *attr)
{
	return attr ? be64toh(mnl_attr_get_u64(attr)) : 0;
}

static const char *get_str(const struct nlattr *attr)
{
	return attr ? mnl_attr_get_str(attr) : "";
}

// ---- table

int nft_read_table(struct fl_netlink *nl, bool is6, struct nft_table_info *ret, struct fl_err *err)
{
	AUTO(answers_deinit) struct answers a = {0};
	struct fl_err mine = {0};
	struct nft_batch b = {.family = nft_family(is6)};
	const struct nlattr *tb[NFTA_TABLE_MAX + 1];

	nft_msg_begin(&b, NFT_MSG_GETTABLE, 0);
	nft_attr_str(&b, NFTA_TABLE_NAME, NFT_TABLE);
	int rc = ask(nl, &b, &a, &mine);
	const struct nlmsghdr *msg = rc == 0 ? next_answer(&a, NULL) : NULL;
	if (rc == -ENOENT)
		return rc;
	if (rc < 0 || !msg)
		return fl_err_set(err, rc < 0 ? rc : -EPROTO, "nftables: read table " NFT_TABLE ": %s", mine.text);

	parse_message(msg, tb, NFTA_TABLE_MAX);
	*ret = (struct nft_table_info){.handle = get_u64(tb[NFTA_TABLE_HANDLE])};
	if (tb[NFTA_TABLE_USERDATA]) {
		const uint8_t *udata = mnl_attr_get_payload(tb[NFTA_TABLE_USERDATA]);
		size_t n = mnl_attr_get_payload_len(tb[NFTA_TABLE_USERDATA]);

		if (n > 2 && udata[0] == 0 && (size_t)udata[1] + 2 <= n)
			snprintf(ret->comment, sizeof(ret->comment), "%.*s", udata[1], (const char *)udata + 2);
	}
	return 0;
}

// ---- elements

static void copy_value(const struct nlattr *nest, uint8_t *to, size_t room, uint8_t *ret_len)
{
	const struct nlattr *tb[NFTA_DATA_MAX + 1];

	parse_nest(nest, tb, NFTA_DATA_MAX);
	if (!tb[NFTA_DATA_VALUE] || mnl_attr_get_payload_len(tb[NFTA_DATA_VALUE]) > room)
		return;
	*ret_len = (uint8_t)mnl_attr_get_payload_len(tb[NFTA_DATA_VALUE]);
	memcpy(to, mnl_attr_get_payload(tb[NFTA_DATA_VALUE]), *ret_len);
}

static const char *verdict_chain(const struct nlattr *data)
{
	const struct nlattr *tb[NFTA_DATA_MAX + 1], *verdict[NFTA_VERDICT_MAX + 1];

	parse_nest(data, tb, NFTA_DATA_MAX);
	parse_nest(tb[NFTA_DATA_VERDICT], verdict, NFTA_VERDICT_MAX);
	return verdict[NFTA_VERDICT_CHAIN] ? mnl_attr_get_str(verdict[NFTA_VERDICT_CHAIN]) : NULL;
}

static void give_elem(const struct nlattr *nest, bool is6, enum nft_set_id set,
		      void (*cb)(void *, const struct nft_elem *), void *arg)
{
	const struct nlattr *tb[NFTA_SET_ELEM_MAX + 1];
	struct nft_elem e = {.set = (uint8_t)set, .is6 = is6};
	char comment[256];

	parse_nest(nest, tb, NFTA_SET_ELEM_MAX);
	copy_value(tb[NFTA_SET_ELEM_KEY], e.key, sizeof(e.key), &e.key_len);
	if (tb[NFTA_SET_ELEM_DATA]) {
		copy_value(tb[NFTA_SET_ELEM_DATA], e.data, sizeof(e.data), &e.data_len);
		e.chain = verdict_chain(tb[NFTA_SET_ELEM_DATA]);
	}
	if (tb[NFTA_SET_ELEM_USERDATA]) {
		const uint8_t *udata = mnl_attr_get_payload(tb[NFTA_SET_ELEM_USERDATA]);
		size_t n = mnl_attr_get_payload_len(tb[NFTA_SET_ELEM_USERDATA]);

		if (n > 2 && udata[0] == 0 && (size_t)udata[1] + 2 <= n) {
			snprintf(comment, sizeof(comment), "%.*s", udata[1], (const char *)udata + 2);
			e.comment = comment;
		}
	}
	cb(arg, &e);
}

int nft_read_elems(struct fl_netlink *nl, bool is6, enum nft_set_id set,
		   void (*cb)(void *arg, const struct nft_elem *e), void *arg, struct fl_err *err)
{
	AUTO(answers_deinit) struct answers a = {0};
	struct nft_batch b = {.family = nft_family(is6)};
	const char *name = nft_set_def(set, is6).name;

	nft_msg_begin(&b, NFT_MSG_GETSETELEM, NLM_F_DUMP);
	nft_attr_str(&b, NFTA_SET_ELEM_LIST_TABLE, NFT_TABLE);
	nft_attr_str(&b, NFTA_SET_ELEM_LIST_SET, name);
	int rc = ask(nl, &b, &a, err);
	if (rc < 0) {
		(void)fl_err_prefix(err, "nftables: read set %s", name);
		return rc;
	}
	for (const struct nlmsghdr *msg = next_answer(&a, NULL); msg; msg = next_answer(&a, msg)) {
		const struct nlattr *tb[NFTA_SET_ELEM_LIST_MAX + 1], *elem;

		parse_message(msg, tb, NFTA_SET_ELEM_LIST_MAX);
		if (!tb[NFTA_SET_ELEM_LIST_ELEMENTS])
			continue;
		mnl_attr_for_each_nested (elem, tb[NFTA_SET_ELEM_LIST_ELEMENTS])
			give_elem(elem, is6, set, cb, arg);
	}
	return 0;
}

// ---- chains, sets, counters

int nft_read_chains(struct fl_netlink *nl, bool is6, void (*cb)(void *arg, const struct nft_chain_info *c), void *arg,
		    struct fl_err *err)
{
	AUTO(answers_deinit) struct answers a = {0};
	int rc = ask_dump(nl, is6, NFT_MSG_GETCHAIN, &a, err);

	if (rc < 0) {
		(void)fl_err_prefix(err, "nftables: read chains");
		return rc;
	}
	for (const struct nlmsghdr *msg = next_answer(&a, NULL); msg; msg = next_answer(&a, msg)) {
		const struct nlattr *tb[NFTA_CHAIN_MAX + 1], *hook[NFTA_HOOK_MAX + 1];

		parse_message(msg, tb, NFTA_CHAIN_MAX);
		if (!fl_streq(get_str(tb[NFTA_CHAIN_TABLE]), NFT_TABLE))
			continue; // kernels before 6.3 do not filter the dump
		parse_nest(tb[NFTA_CHAIN_HOOK], hook, NFTA_HOOK_MAX);
		struct nft_chain_info info = {
		    .name = get_str(tb[NFTA_CHAIN_NAME]),
		    .hook = tb[NFTA_CHAIN_HOOK] ? (int)get_u32(hook[NFTA_HOOK_HOOKNUM]) : -1,
		    .priority = (int)get_u32(hook[NFTA_HOOK_PRIORITY]),
		    .use = get_u32(tb[NFTA_CHAIN_USE]),
		};
		cb(arg, &info);
	}
	return 0;
}

int nft_read_sets(struct fl_netlink *nl, bool is6, void (*cb)(void *arg, const char *name), void *arg,
		  struct fl_err *err)
{
	AUTO(answers_deinit) struct answers a = {0};
	int rc = ask_dump(nl, is6, NFT_MSG_GETSET, &a, err);

	if (rc < 0) {
		(void)fl_err_prefix(err, "nftables: read sets");
		return rc;
	}
	for (const struct nlmsghdr *msg = next_answer(&a, NULL); msg; msg = next_answer(&a, msg)) {
		const struct nlattr *tb[NFTA_SET_MAX + 1];

		parse_message(msg, tb, NFTA_SET_MAX);
		if (fl_streq(get_str(tb[NFTA_SET_TABLE]), NFT_TABLE))
			cb(arg, get_str(tb[NFTA_SET_NAME]));
	}
	return 0;
}

int nft_read_counters(struct fl_netlink *nl, bool is6, struct fl_proxy_counter ret[static NFT_COUNTERS],
		      struct fl_err *err)
{
	AUTO(answers_deinit) struct answers a = {0};
	int rc = ask_dump(nl, is6, NFT_MSG_GETOBJ, &a, err);
	const char *names[NFT_COUNTERS];

	if (rc < 0) {
		(void)fl_err_prefix(err, "nftables: read counters");
		return rc;
	}
	nft_layout_counters(names);
	for (const struct nlmsghdr *msg = next_answer(&a, NULL); msg; msg = next_answer(&a, msg)) {
		const struct nlattr *tb[NFTA_OBJ_MAX + 1], *data[NFTA_COUNTER_MAX + 1];

		parse_message(msg, tb, NFTA_OBJ_MAX);
		parse_nest(tb[NFTA_OBJ_DATA], data, NFTA_COUNTER_MAX);
		for (unsigned i = 0; i < NFT_COUNTERS; i++) {
			if (!fl_streq(get_str(tb[NFTA_OBJ_TABLE]), NFT_TABLE) ||
			    !fl_streq(get_str(tb[NFTA_OBJ_NAME]), names[i]))
				continue;
			ret[i].name = names[i];
			ret[i].packets += get_u64(data[NFTA_COUNTER_PACKETS]);
			ret[i].bytes += get_u64(data[NFTA_COUNTER_BYTES]);
		}
	}
	return 0;
}
