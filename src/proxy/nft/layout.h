// SPDX-License-Identifier: Apache-2.0
// The table "fairlead": its sets and chains, and how a frontend, an endpoint or an address becomes an element. Drawing
// and reasons: src/proxy/README.md.
//
// All names of sets end in 4 or 6; enum values of the two families follow each other, so `set + is6` is the right one.
#pragma once

#include "proxy/backend.h"
#include "proxy/nft/msg.h"

enum nft_set_id {
	NFT_FRONTENDS4, // address . protocol . port : counts . policy . affinity . pool   (node ports: address 0)
	NFT_FRONTENDS6,
	NFT_SLOTS4, // pool . slot : address . port
	NFT_SLOTS6,
	NFT_VIPS4, // cluster IPs
	NFT_VIPS6,
	NFT_LOCALS4, // address . the same address: endpoints on this node, for hairpin
	NFT_LOCALS6,
	NFT_DISPATCH_SVC4, // counts . policy . affinity : chain, for traffic to a listed address
	NFT_DISPATCH_SVC6,
	NFT_DISPATCH_NP4, // the same for node ports
	NFT_DISPATCH_NP6,
	NFT_MASQ4, // policy : chain of the postrouting decision
	NFT_MASQ6,
	NFT_MEMBERS4, // pool . address . port: endpoints that a remembered client may be sent to
	NFT_MEMBERS6,
	NFT_AFFINITY4, // pool . client : address . port, with a time-out; written by the packet path
	NFT_AFFINITY6,
	NFT_SET_COUNT,
};
extern const struct nft_set_def nft_set_defs[NFT_SET_COUNT];

// What decides the rules that a frontend needs. Few of them exist, however many Services there are: each has one chain,
// made with the first frontend that needs it and removed with the last.
struct nft_shape {
	uint32_t counts; // n_cluster | n_local << 16, of the lists that the policy uses
	uint32_t policy; // NFT_POLICY_*
	uint32_t affinity_s;
	uint8_t is6, node_port;
};
#define NFT_POLICY_EXTERNAL 1u // any kind but cluster IP
#define NFT_POLICY_LOCAL    2u

#define NFT_LOCAL_SLOT 0x10000u // slots of a pool's local list start here

struct nft_shape nft_shape_of(const struct fl_proxy_frontend *f); // padding zeroed: usable as a key
// The chain a shape leads to. False: a chain of the base, which stands always.
bool nft_shape_chain(const struct nft_shape *s, char name[static NFT_MAX_NAME]);
struct nft_elem nft_shape_elem(const struct nft_shape *s, const char *chain); // of its dispatch map
// Adds the chain and its rules; rewrite: it may be there already, with other rules.
void nft_shape_rules(struct nft_batch *b, const struct fl_proxy_backend_config *cfg, const struct nft_shape *s,
		     bool rewrite);

struct nft_elem nft_frontend_elem(const struct fl_proxy_frontend *f);
struct nft_elem nft_slot_elem(const struct fl_proxy_pool *p, uint32_t slot, const struct fl_proxy_endpoint *e);
struct nft_elem nft_member_elem(const struct fl_proxy_pool *p, const struct fl_proxy_endpoint *e);
struct nft_elem nft_vip_elem(const struct fl_ip *ip);
struct nft_elem nft_local_elem(const struct fl_ip *ip);

struct nft_elem nft_masq_elem(bool is6, uint32_t policy); // policy 0..3

#define NFT_COUNTERS 5
unsigned nft_layout_counters(const char *ret[static NFT_COUNTERS]); // names

// What stands always, into a batch that has the (empty) table: the frame is sets, counters and chains, the rules go
// into those chains. rewrite: instead of the rules that are there.
void nft_layout_frame(struct nft_batch *b);
void nft_layout_rules(struct nft_batch *b, const struct fl_proxy_backend_config *cfg, bool rewrite);

// Hashes of what this code and configuration make. The frame's stands in the table's comment: with another frame the
// table is made anew. The rules' names an empty chain, since that can be exchanged: with other rules in the same frame
// only the rules are written, and the elements stay.
struct nft_version {
	char frame[48], rules_chain[NFT_MAX_NAME];
};
#define NFT_RULES_PREFIX "rules-"
struct nft_version nft_layout_version(const struct fl_proxy_backend_config *cfg);
