// SPDX-License-Identifier: Apache-2.0
// nf_tables messages (linux/netfilter/nf_tables.h): a transaction is one buffer of messages between a begin and an end
// mark, which the kernel applies as a whole or not at all.
//
//   nft_batch_init -> nft_table / nft_chain / nft_rule ... nft_rule_end / nft_elems ... -> nft_batch_send
//
// All names are of one table, which the batch knows; each component that has rules has a table of its own.
// Registers are the 32-bit ones, by number: R(0) .. R(15). A value of n bytes fills the next (n + 3) / 4 of them.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "io/netlink.h"

#include <linux/netfilter.h> // after <netinet/in.h>, or the two define the same things twice
#include <linux/netfilter/nf_tables.h>

#define NFT_MAX_NAME 80 // of our chains and sets, NUL included
#define R(n)         ((uint32_t)(NFT_REG32_00 + (n)))

struct nft_batch {
	struct fl_buf buf;
	struct fl_netlink *nl; // gives sequence numbers; NULL leaves them 0 (for hashing what would be sent)
	size_t msg;            // offset of the message that is being built
	size_t rule_exprs;     // offset of its open list of expressions
	const char *table;     // borrowed; messages are about this one
	uint8_t family;        // of the table: NFPROTO_IPV4, _IPV6, _INET; set it before each group
};

void nft_batch_init(struct nft_batch *b, struct fl_netlink *nl, const char *table);
void nft_batch_deinit(struct nft_batch *b);
// Ends the transaction and sends it. The error names the message that the kernel refused.
FL_WUR int nft_batch_send(struct nft_batch *b, struct fl_err *err);

// Whether the kernel has a table of that name: somebody's `nft flush ruleset` takes it. A socket that cannot ask: true.
bool nft_table_stands(struct fl_netlink *nl, uint8_t family, const char *table);
// How many rules a chain that nothing leads to has (its rules and what leads to it are counted as one): 0 after
// somebody's `nft flush table`, which leaves the table and its chains. -ENOENT: no such chain.
FL_WUR int nft_read_chain_use(struct fl_netlink *nl, uint8_t family, const char *table, const char *chain,
			      uint32_t *ret, struct fl_err *err);

// One message outside of a transaction, for dumps: `flags` besides NLM_F_REQUEST.
void nft_msg_begin(struct nft_batch *b, uint16_t type, uint16_t flags);
void nft_msg_end(struct nft_batch *b);
void nft_attr(struct nft_batch *b, uint16_t type, const void *data, size_t len);
void nft_attr_str(struct nft_batch *b, uint16_t type, const char *s);
void nft_attr_u32(struct nft_batch *b, uint16_t type, uint32_t host_order); // goes out in network order
size_t nft_nest(struct nft_batch *b, uint16_t type);
void nft_nest_end(struct nft_batch *b, size_t nest);

// ---- objects of the table
void nft_table(struct nft_batch *b, uint16_t msg_type, const char *comment); // comment: only for NEWTABLE, may be NULL
// type: "nat", "filter", "route". Policy accept.
void nft_base_chain(struct nft_batch *b, const char *name, const char *type, uint32_t hook, int32_t priority);
void nft_chain(struct nft_batch *b, uint16_t msg_type, const char *name);
void nft_flush_chain(struct nft_batch *b, const char *name); // deletes its rules
void nft_counter(struct nft_batch *b, const char *name);

struct nft_set_def {
	const char *name;
	uint32_t flags;    // NFT_SET_*
	uint32_t key_type; // as nft(8) numbers types, so that it can show them; see NFT_TYPE_*
	uint32_t key_len;
	uint32_t data_type; // NFT_DATA_VERDICT for verdict maps
	uint32_t data_len;
	uint32_t max_elems; // 0 = no limit
};
void nft_set(struct nft_batch *b, const struct nft_set_def *def, uint32_t id); // id: any that is once in the batch
void nft_del_set(struct nft_batch *b, const char *name);

// nft(8)'s numbers of types, and how it writes a concatenation of them.
#define NFT_TYPE_IPADDR        7u
#define NFT_TYPE_IP6ADDR       8u
#define NFT_TYPE_INET_PROTOCOL 12u
#define NFT_TYPE_INET_SERVICE  13u
#define NFT_TYPE_MARK          19u
#define NFT_TYPE2(a, b)        ((a) << 6 | (b))
#define NFT_TYPE3(a, b, c)     (NFT_TYPE2(a, b) << 6 | (c))
#define NFT_TYPE4(a, b, c, d)  (NFT_TYPE3(a, b, c) << 6 | (d))

// An element. data_len 0: no data; chain not NULL: the data is `goto chain`.
struct nft_elem {
	bool is6;
	uint8_t set; // enum nft_set_id, for the caller
	uint8_t key_len, data_len;
	uint8_t key[32], data[20];
	const char *chain, *comment;
};
// Writes all of list (elements of one set), in as many messages as they need.
void nft_elems(struct nft_batch *b, uint16_t msg_type, const char *set, const struct nft_elem *const *list, size_t n);

// ---- rules: nft_rule, expressions in the order of evaluation, nft_rule_end
void nft_rule(struct nft_batch *b, const char *chain);
void nft_rule_end(struct nft_batch *b);
void nft_expr_payload(struct nft_batch *b, uint32_t base, uint32_t offset, uint32_t len, uint32_t dreg);
void nft_expr_meta(struct nft_batch *b, uint32_t key, uint32_t dreg);
void nft_expr_ct(struct nft_batch *b, uint32_t key, bool original, uint32_t dreg);
void nft_expr_fib_type(struct nft_batch *b, uint32_t fib_flags, uint32_t dreg);
void nft_expr_cmp(struct nft_batch *b, uint32_t op, uint32_t sreg, const void *data, size_t len);
void nft_expr_mask(struct nft_batch *b, uint32_t sreg, uint32_t dreg, const void *mask, size_t len);
void nft_expr_immediate(struct nft_batch *b, uint32_t dreg, const void *data, size_t len);
void nft_expr_numgen(struct nft_batch *b, uint32_t dreg, uint32_t modulus, uint32_t offset);
// dreg 0: a set, or a verdict map, whose verdict is taken then.
void nft_expr_lookup(struct nft_batch *b, const char *set, uint32_t sreg, uint32_t dreg, bool is_map);
void nft_expr_dynset(struct nft_batch *b, const char *set, uint32_t op, uint32_t sreg_key, uint32_t sreg_data,
		     uint64_t timeout_ms); // sreg_data 0: none
void nft_expr_counter(struct nft_batch *b, const char *name);
void nft_expr_verdict(struct nft_batch *b, int32_t code, const char *chain); // chain NULL but for jump and goto
void nft_expr_reject(struct nft_batch *b, uint32_t type, uint8_t icmp_code);
void nft_expr_dnat(struct nft_batch *b, uint32_t family, uint32_t addr_reg, uint32_t port_reg);
void nft_expr_masquerade(struct nft_batch *b);
