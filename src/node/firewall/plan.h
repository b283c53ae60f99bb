// SPDX-License-Identifier: Apache-2.0
// From a ruleset to what is to be done about it. Pure.
//
//   base chain that drops pods' traffic ---- of iptables-nft, ufw, Docker, firewalld: a chain of ours, jumped to right
//                                      |     before the rule that would drop, so that whatever the user wrote above
//                                      |     it still decides first
//                                      \---- anything else, or dropped on purpose: one line of text that says what to
//                                      do
//
// An accept in one table does not overrule a drop in another one, so the accepts have to go where the drop is.
#pragma once

#include "base/str.h"
#include "node/firewall/judge.h"

enum fw_ct { FW_CT_ANY, FW_CT_ANSWER, FW_CT_DNAT }; // DNAT: the connection goes through a Service

struct fw_accept { // what all of these hold for is let through
	bool in_pods, out_pods;
	struct fl_cidr src, dst; // ip.family 0: any
	uint8_t proto;           // 0: any
	uint16_t dport;          // 0: any
	enum fw_ct ct;
	const char *why; // comment of the rule
};

#define FW_MAX_ACCEPTS 16
// What must pass at a hook (NF_INET_*), for one family or, with 0, for all. Returns how many were written.
unsigned fw_accepts(const struct fw_host *h, int hook, int family, struct fw_accept ret[static FW_MAX_ACCEPTS]);
void fw_accept_print_iptables(struct fl_buf *b,
			      const struct fw_accept *a); // as `iptables -S` writes it, without the chain

struct fw_place { // of one jump to our chain
	const struct fw_chain *chain;
	uint64_t before; // handle of a rule; 0 = at the end of the chain
};

struct fw_fix {
	const struct fw_table *table;
	int hook;
	const char *own;                // name of our chain
	FL_VEC(struct fw_place) places; // empty: nothing is dropped, what is ours can go
	bool present;                   // something of ours is there
	bool done;                      // and it is as it should be: nothing to write
};

struct fw_plan {
	FL_VEC(struct fw_fix) fixes; // for each hook of each table that we may write to
	FL_VEC(char *) problems;     // free text, one line each: what is blocked by what, what to do
};

void fw_plan_make(const struct fw_host *h, const struct fw_ruleset *r, struct fw_plan *ret);
void fw_plan_deinit(struct fw_plan *p);

bool fw_is_iptables(const struct fw_table *t);
const char *fw_own_chain(int hook);
const char *fw_hook_name(int hook);
const char *fw_family_name(uint8_t nfproto);
