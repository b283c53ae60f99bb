// SPDX-License-Identifier: Apache-2.0
// The host's nftables ruleset as far as it may hold packets up: every table but ours that has a filter chain at the
// input, forward or output hook, with all its chains, rules and sets. Plain data, read once and judged by judge.h.
// iptables-nft, ufw, Docker and firewalld all end here.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/vec.h"

struct fl_netlink;

enum fw_expr_kind {
	FW_NOTHING, // counter, log and the like: the packet goes on
	FW_META,
	FW_PAYLOAD,
	FW_CT,
	FW_FIB,
	FW_CMP,
	FW_RANGE,
	FW_BITWISE,
	FW_VALUE, // immediate data
	FW_VERDICT,
	FW_LOOKUP,
	FW_XT_MATCH,
	FW_XT_TARGET,
	FW_REJECT,
	FW_OTHER, // anything else: whether it matches is not known
};

struct fw_expr {
	enum fw_expr_kind kind;
	uint32_t key;        // of meta, ct; result of fib; revision of xt
	uint32_t flags;      // of fib; lookup: NFT_LOOKUP_F_INV
	uint32_t base, off;  // payload
	uint32_t len, op;    // op: NFT_CMP_*, NFT_RANGE_*
	uint32_t sreg, dreg; // byte offsets into the registers
	bool has_dreg;
	const uint8_t *data, *data2; // cmp, range: from, to; bitwise: mask, xor
	uint32_t data_len;
	int32_t verdict;
	const char *name; // chain, set, xt extension
};

struct fw_rule {
	uint64_t handle;
	struct fw_expr *exprs;
	unsigned n;
	bool ours; // jumps to a chain of ours
};

struct fw_chain {
	const char *name;
	uint64_t handle;
	int hook; // NF_INET_LOCAL_IN, _FORWARD, _LOCAL_OUT of a filter chain; -1 = none of these
	int32_t priority;
	bool drop_policy, ours;
	FL_VEC(struct fw_rule) rules;
};

struct fw_elem {
	const uint8_t *key, *key_end;
	uint32_t key_len;
	bool interval_end, has_verdict;
	int32_t verdict;
	const char *chain;
};

struct fw_set {
	const char *name;
	uint32_t flags, key_len;
	bool unknown; // too large to be looked at
	FL_VEC(struct fw_elem) elems;
};

struct fw_table {
	uint8_t family; // NFPROTO_IPV4, _IPV6, _INET
	const char *name;
	bool foreign_owner; // only the process that owns it may change it
	FL_VEC(struct fw_chain) chains;
	FL_VEC(struct fw_set) sets;
};

struct fw_ruleset {
	struct fl_arena arena;
	FL_VEC(struct fw_table) tables;
};

#define FW_OWN_PREFIX "FAIRLEAD-" // of the chains that we add to other's tables

// The generation of the whole ruleset: a new one after every change. Cheap.
FL_WUR int fw_generation(struct fl_netlink *nl, uint32_t *ret, struct fl_err *err);
// `nl` was opened with NETLINK_NETFILTER. -EINTR when the rules changed meanwhile: ask again.
FL_WUR int fw_ruleset_read(struct fl_netlink *nl, struct fw_ruleset *ret, struct fl_err *err);
void fw_ruleset_deinit(struct fw_ruleset *r);

const struct fw_chain *fw_chain_find(const struct fw_table *t, const char *name); // NULL: none
