// SPDX-License-Identifier: Apache-2.0
// Reads our tables back from the kernel.
#pragma once

#include "proxy/nft/layout.h"

struct nft_table_info {
	uint64_t handle; // new for each table that is made
	char comment[256];
};
// -ENOENT when there is no such table (err untouched then).
FL_WUR int nft_read_table(struct fl_netlink *nl, bool is6, struct nft_table_info *ret, struct fl_err *err);

// Each element of a set; `e` and what it points to live for the call. e->data_len 0 and chain NULL: no data.
FL_WUR int nft_read_elems(struct fl_netlink *nl, bool is6, enum nft_set_id set,
			  void (*cb)(void *arg, const struct nft_elem *e), void *arg, struct fl_err *err);
// Each chain by name; `hook` is -1 for one that is no base chain. `use`: its rules and what leads to it.
struct nft_chain_info {
	const char *name;
	int hook, priority;
	uint32_t use;
};
FL_WUR int nft_read_chains(struct fl_netlink *nl, bool is6, void (*cb)(void *arg, const struct nft_chain_info *c),
			   void *arg, struct fl_err *err);
// Each set by name.
FL_WUR int nft_read_sets(struct fl_netlink *nl, bool is6, void (*cb)(void *arg, const char *name), void *arg,
			 struct fl_err *err);
// Adds to the counters in ret, which the caller has zeroed; in the order of nft_layout_counters.
FL_WUR int nft_read_counters(struct fl_netlink *nl, bool is6, struct fl_proxy_counter ret[static NFT_COUNTERS],
			     struct fl_err *err);

// The whole table as text: chains with their rules, then elements, sorted.
FL_WUR int nft_dump(struct fl_netlink *nl, bool is6, struct fl_buf *ret, struct fl_err *err);
