// SPDX-License-Identifier: Apache-2.0
// The tables "ip fairlead" and "ip6 fairlead": their sets and chains, and how a frontend, an endpoint or an address
// becomes an element. Drawing and reasons: src/proxy/README.md. Both tables look alike; `is6` says which one.
//
// Only constructs that nft(8) has words for: an old nft reads every table before it does anything, and must not stumble
// over ours.
#pragma once

#include "io/nft.h"
#include "proxy/backend.h"

#define NFT_TABLE "fairlead"

enum nft_set_id {
	NFT_FRONTENDS,       // address . protocol . port : chain
	NFT_NODE_PORTS,      // protocol . port : chain
	NFT_SLOTS,           // address . protocol . port . slot : endpoint address . port
	NFT_NODE_PORT_SLOTS, // protocol . port . slot : endpoint address . port
	NFT_EMPTY_FRONTENDS, // address . protocol . port of cluster IPs without endpoints: they need no verdict
	NFT_CLUSTER_IPS,
	NFT_LOCALS,          // address . the same address: endpoints that are or may be on this node, for hairpin
	NFT_MASQ_FRONTENDS,  // external addresses . protocol . port : chain that decides on masquerading
	NFT_MASQ_NODE_PORTS, // protocol . port : the same for node ports
	NFT_SET_COUNT,
};
struct nft_set_def nft_set_def(enum nft_set_id set, bool is6);

#define NFT_LOCAL_SLOT 0x10000u // slots of a pool's local list start here

// Which lists of its pool a frontend sends traffic to.
bool nft_uses_cluster(const struct fl_proxy_frontend *f);
bool nft_uses_local(const struct fl_proxy_frontend *f);

// The chain that a frontend leads to. Its name says all that its rules depend on, so a chain of that name is right as
// it is, and few are needed: one for each number of endpoints, however many Services there are. Only session affinity
// needs one for each Service. False: a chain of the base, which stands always.
bool nft_chain_of(const struct fl_proxy_frontend *f, char name[static NFT_MAX_NAME]);
// The chain that stands before it where only some sources are allowed. False: none.
bool nft_guard_of(const struct fl_proxy_frontend *f, char name[static NFT_MAX_NAME]);
void nft_guard_rules(struct nft_batch *b, const struct fl_proxy_frontend *f, bool rewrite);
bool nft_is_own_chain(const char *name); // one that these two name
// Adds the chain and its rules; rewrite: it may be there already, with other rules.
void nft_chain_rules(struct nft_batch *b, const struct fl_proxy_backend_config *cfg, const struct fl_proxy_frontend *f,
		     bool rewrite);

// Session affinity remembers the clients of each endpoint in a set of its own.
#define NFT_AFFINITY_PREFIX "affinity-"
void nft_affinity_set(const struct fl_proxy_pool *p, const struct fl_proxy_endpoint *e, char name[static NFT_MAX_NAME]);
struct nft_set_def nft_affinity_def(const char *name, bool is6);

struct nft_elem nft_frontend_elem(const struct fl_proxy_frontend *f, const char *chain);
bool nft_masq_elem(const struct fl_proxy_frontend *f, struct nft_elem *ret); // false: none needed
struct nft_elem nft_slot_elem(const struct fl_proxy_frontend *f, uint32_t slot, const struct fl_proxy_endpoint *e);
struct nft_elem nft_cluster_ip_elem(const struct fl_ip *ip);
struct nft_elem nft_local_elem(const struct fl_ip *ip);

#define NFT_COUNTERS 6
unsigned nft_layout_counters(const char *ret[static NFT_COUNTERS]); // names

// What stands always, into a batch that has the (empty) table of b->family: the frame is sets, counters and chains, the
// rules go into those chains. rewrite: instead of the rules that are there.
void nft_layout_frame(struct nft_batch *b);
void nft_layout_rules(struct nft_batch *b, const struct fl_proxy_backend_config *cfg, bool rewrite);

// Hashes of what this code and configuration make. The frame's stands in the table's comment: with another frame the
// table is made anew. The rules' names a chain, since that can be exchanged: with other rules in the same frame only
// the rules are written, and the elements stay. Nothing leads to that chain; its one rule goes with the others when
// somebody flushes the table, which leaves the chains: without it the rules are written, too.
struct nft_version {
	char frame[48], rules_chain[NFT_MAX_NAME];
};
#define NFT_RULES_PREFIX "rules-"
struct nft_version nft_layout_version(const struct fl_proxy_backend_config *cfg);
void nft_layout_mark(struct nft_batch *b, const struct nft_version *v); // that chain and its rule

static inline uint8_t nft_family(bool is6)
{
	return is6 ? NFPROTO_IPV6 : NFPROTO_IPV4;
}
