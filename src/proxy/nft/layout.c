// SPDX-License-Identifier: Apache-2.0
// Sets and elements of the table. The rules are in rules.c.
#include "proxy/nft/layout.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

#define MAP            NFT_SET_MAP
#define LEN_FRONTEND   16u        // four words
#define LEN_SHAPE      12u        // three of them
#define AFFINITY_ELEMS (1u << 20) // clients remembered at most, some 150 bytes each; beyond it they are balanced anew

#define TYPE_FRONTEND(addr) NFT_TYPE3(addr, NFT_TYPE_INET_PROTOCOL, NFT_TYPE_INET_SERVICE)
#define TYPE_WORDS4         NFT_TYPE4(NFT_TYPE_MARK, NFT_TYPE_MARK, NFT_TYPE_MARK, NFT_TYPE_MARK)
#define TYPE_WORDS3         NFT_TYPE3(NFT_TYPE_MARK, NFT_TYPE_MARK, NFT_TYPE_MARK)
#define TYPE_WORDS2         NFT_TYPE2(NFT_TYPE_MARK, NFT_TYPE_MARK)
#define TYPE_TARGET(addr)   NFT_TYPE2(addr, NFT_TYPE_INET_SERVICE)

#define BOTH(id, base, ...)                                                                                            \
	[id##4] = {.name = base "4", __VA_ARGS__(4, NFT_TYPE_IPADDR)},                                                 \
	[id##6] = {.name = base "6", __VA_ARGS__(16, NFT_TYPE_IP6ADDR)}

#define FRONTENDS(len, t)                                                                                              \
	.flags = MAP, .key_type = TYPE_FRONTEND(t), .key_len = (len) + 8, .data_type = TYPE_WORDS4,                    \
	.data_len = LEN_FRONTEND
#define SLOTS(len, t)                                                                                                  \
	.flags = MAP, .key_type = TYPE_WORDS2, .key_len = 8, .data_type = TYPE_TARGET(t), .data_len = (len) + 4
#define VIPS(len, t)   .key_type = (t), .key_len = (len)
#define LOCALS(len, t) .key_type = NFT_TYPE2(t, t), .key_len = 2 * (len)
#define DISPATCH(len, t)                                                                                               \
	.flags = MAP, .key_type = TYPE_WORDS3, .key_len = LEN_SHAPE, .data_type = NFT_DATA_VERDICT, .data_len = 0
#define MASQ(len, t)    .flags = MAP, .key_type = NFT_TYPE_MARK, .key_len = 4, .data_type = NFT_DATA_VERDICT, .data_len = 0
#define MEMBERS(len, t) .key_type = NFT_TYPE3(NFT_TYPE_MARK, t, NFT_TYPE_INET_SERVICE), .key_len = (len) + 8
#define AFFINITY(len, t)                                                                                               \
	.flags = MAP | NFT_SET_TIMEOUT | NFT_SET_EVAL, .key_type = NFT_TYPE2(NFT_TYPE_MARK, t), .key_len = (len) + 4,  \
	.data_type = TYPE_TARGET(t), .data_len = (len) + 4, .max_elems = AFFINITY_ELEMS

const struct nft_set_def nft_set_defs[NFT_SET_COUNT] = {
    BOTH(NFT_FRONTENDS, "frontends", FRONTENDS),
    BOTH(NFT_SLOTS, "slots", SLOTS),
    BOTH(NFT_VIPS, "vips", VIPS),
    BOTH(NFT_LOCALS, "locals", LOCALS),
    BOTH(NFT_DISPATCH_SVC, "dispatch-svc", DISPATCH),
    BOTH(NFT_DISPATCH_NP, "dispatch-np", DISPATCH),
    BOTH(NFT_MASQ, "masq", MASQ),
    BOTH(NFT_MEMBERS, "members", MEMBERS),
    BOTH(NFT_AFFINITY, "affinity", AFFINITY),
};

// ---- elements

static void put(uint8_t *to, uint8_t *len, const void *p, size_t n)
{
	memcpy(to + *len, p, n);
	*len = (uint8_t)(*len + ((n + 3) & ~(size_t)3)); // each field fills whole words; e is zeroed
}

static void put_ip(uint8_t *to, uint8_t *len, const struct fl_ip *ip)
{
	size_t n;
	const uint8_t *raw = fl_ip_raw(ip, &n);

	put(to, len, raw, n);
}

static void put_word(uint8_t *to, uint8_t *len, uint32_t host_order)
{
	put(to, len, &host_order, sizeof(host_order));
}

static void put_port(uint8_t *to, uint8_t *len, uint16_t port)
{
	uint16_t port_be = htons(port);

	put(to, len, &port_be, sizeof(port_be));
}

static struct nft_elem elem(enum nft_set_id set4, uint8_t family)
{
	return (struct nft_elem){.set = (uint8_t)(set4 + (family == AF_INET6))};
}

struct nft_shape nft_shape_of(const struct fl_proxy_frontend *f)
{
	bool external = f->kind != FL_PROXY_CLUSTER_IP;
	uint32_t cluster = f->n_cluster, local = f->n_local;
	struct nft_shape s;

	if (!f->local)
		local = 0;
	else if (!external)
		cluster = local ? 0 : f->n_cluster > 0; // only whether there are any elsewhere
	memset(&s, 0, sizeof(s));
	s.counts = cluster | local << 16;
	s.policy = (external ? NFT_POLICY_EXTERNAL : 0) | (f->local ? NFT_POLICY_LOCAL : 0);
	s.affinity_s = s.counts ? f->affinity_s : 0;
	s.is6 = f->ip.family == AF_INET6;
	s.node_port = f->kind == FL_PROXY_NODE_PORT;
	return s;
}

struct nft_elem nft_shape_elem(const struct nft_shape *s, const char *chain)
{
	struct nft_elem e = elem(s->node_port ? NFT_DISPATCH_NP4 : NFT_DISPATCH_SVC4, s->is6 ? AF_INET6 : AF_INET);

	put_word(e.key, &e.key_len, s->counts);
	put_word(e.key, &e.key_len, s->policy);
	put_word(e.key, &e.key_len, s->affinity_s);
	e.chain = chain;
	return e;
}

struct nft_elem nft_frontend_elem(const struct fl_proxy_frontend *f)
{
	struct nft_elem e = elem(NFT_FRONTENDS4, f->ip.family);
	struct nft_shape s = nft_shape_of(f);

	put_ip(e.key, &e.key_len, &f->ip);
	put(e.key, &e.key_len, &f->proto, 1);
	put_port(e.key, &e.key_len, f->port);
	put_word(e.data, &e.data_len, s.counts);
	put_word(e.data, &e.data_len, s.policy);
	put_word(e.data, &e.data_len, s.affinity_s);
	put_word(e.data, &e.data_len, f->pool);
	e.comment = f->name;
	return e;
}

struct nft_elem nft_slot_elem(const struct fl_proxy_pool *p, uint32_t slot, const struct fl_proxy_endpoint *ep)
{
	struct nft_elem e = elem(NFT_SLOTS4, p->family);

	put_word(e.key, &e.key_len, p->id);
	put_word(e.key, &e.key_len, slot);
	put_ip(e.data, &e.data_len, &ep->ip);
	put_port(e.data, &e.data_len, ep->port);
	return e;
}

struct nft_elem nft_member_elem(const struct fl_proxy_pool *p, const struct fl_proxy_endpoint *ep)
{
	struct nft_elem e = elem(NFT_MEMBERS4, p->family);

	put_word(e.key, &e.key_len, p->id);
	put_ip(e.key, &e.key_len, &ep->ip);
	put_port(e.key, &e.key_len, ep->port);
	return e;
}

struct nft_elem nft_vip_elem(const struct fl_ip *ip)
{
	struct nft_elem e = elem(NFT_VIPS4, ip->family);

	put_ip(e.key, &e.key_len, ip);
	return e;
}

struct nft_elem nft_local_elem(const struct fl_ip *ip)
{
	struct nft_elem e = elem(NFT_LOCALS4, ip->family);

	put_ip(e.key, &e.key_len, ip);
	put_ip(e.key, &e.key_len, ip);
	return e;
}

struct nft_elem nft_masq_elem(bool is6, uint32_t policy)
{
	static const char *const chains[2][4] = {
	    {"masq-nonpod4", "masq-always", "masq-nonpod4", "masq-hostsrc"},
	    {"masq-nonpod6", "masq-always", "masq-nonpod6", "masq-hostsrc"},
	};
	struct nft_elem e = elem(NFT_MASQ4, is6 ? AF_INET6 : AF_INET);

	put_word(e.key, &e.key_len, policy);
	e.chain = chains[is6][policy];
	return e;
}

// ---- version

static uint64_t hash_of(const struct nft_batch *b)
{
	static const uint8_t key[16];

	return fl_siphash13(key, b->buf.data, b->buf.len);
}

struct nft_version nft_layout_version(const struct fl_proxy_backend_config *cfg)
{
	// One shape of each kind, so that the hash covers the rules of all.
	static const uint32_t counts[] = {2, 1 | 1 << 16, 2 << 16, 2};
	static const uint32_t policies[] = {0, NFT_POLICY_LOCAL | NFT_POLICY_EXTERNAL, NFT_POLICY_LOCAL,
					    NFT_POLICY_EXTERNAL};
	struct nft_batch frame, rules;
	struct nft_version v;

	nft_batch_init(&frame, NULL);
	nft_layout_frame(&frame);
	nft_batch_init(&rules, NULL);
	nft_layout_rules(&rules, cfg, false);
	for (unsigned i = 0; i < 4 * FL_COUNT(policies); i++) {
		struct nft_shape s = {
		    .counts = counts[i % 4],
		    .policy = policies[i % 4],
		    .affinity_s = i / 4 % 2 ? 60 : 0,
		    .is6 = i / 8 % 2,
		    .node_port = i % 4 == 3,
		};

		nft_shape_rules(&rules, cfg, &s, false);
	}
	snprintf(v.frame, sizeof(v.frame), "fairlead nftables frame %016" PRIx64, hash_of(&frame));
	snprintf(v.rules_chain, sizeof(v.rules_chain), NFT_RULES_PREFIX "%016" PRIx64, hash_of(&rules));
	nft_batch_deinit(&frame);
	nft_batch_deinit(&rules);
	return v;
}
