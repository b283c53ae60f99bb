// SPDX-License-Identifier: Apache-2.0
// Sets and elements of the tables. The rules are in rules.c.
#include "proxy/nft/layout.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

#define AFFINITY_ELEMS                                                                                                 \
	65536 // clients remembered of one endpoint, some 100 bytes each; beyond it they are balanced anew

struct nft_set_def nft_set_def(enum nft_set_id set, bool is6)
{
	const uint32_t addr = is6 ? NFT_TYPE_IP6ADDR : NFT_TYPE_IPADDR, len = is6 ? 16 : 4;
	const uint32_t frontend = NFT_TYPE3(addr, NFT_TYPE_INET_PROTOCOL, NFT_TYPE_INET_SERVICE);
	const uint32_t node_port = NFT_TYPE2(NFT_TYPE_INET_PROTOCOL, NFT_TYPE_INET_SERVICE);
	const uint32_t target = NFT_TYPE2(addr, NFT_TYPE_INET_SERVICE);

	switch (set) {
	case NFT_FRONTENDS:
	case NFT_MASQ_FRONTENDS:
		return (struct nft_set_def){.name = set == NFT_FRONTENDS ? "frontends" : "masq-frontends",
					    .flags = NFT_SET_MAP,
					    .key_type = frontend,
					    .key_len = len + 8,
					    .data_type = NFT_DATA_VERDICT};
	case NFT_NODE_PORTS:
	case NFT_MASQ_NODE_PORTS:
		return (struct nft_set_def){.name = set == NFT_NODE_PORTS ? "node-ports" : "masq-node-ports",
					    .flags = NFT_SET_MAP,
					    .key_type = node_port,
					    .key_len = 8,
					    .data_type = NFT_DATA_VERDICT};
	case NFT_SLOTS:
		return (struct nft_set_def){.name = "slots",
					    .flags = NFT_SET_MAP,
					    .key_type = frontend << 6 | NFT_TYPE_MARK,
					    .key_len = len + 12,
					    .data_type = target,
					    .data_len = len + 4};
	case NFT_NODE_PORT_SLOTS:
		return (struct nft_set_def){.name = "node-port-slots",
					    .flags = NFT_SET_MAP,
					    .key_type = node_port << 6 | NFT_TYPE_MARK,
					    .key_len = 12,
					    .data_type = target,
					    .data_len = len + 4};
	case NFT_EMPTY_FRONTENDS:
		return (struct nft_set_def){.name = "empty-frontends", .key_type = frontend, .key_len = len + 8};
	case NFT_CLUSTER_IPS:
		return (struct nft_set_def){.name = "cluster-ips", .key_type = addr, .key_len = len};
	default:
		return (struct nft_set_def){
		    .name = "local-endpoints", .key_type = NFT_TYPE2(addr, addr), .key_len = 2 * len};
	}
}

struct nft_set_def nft_affinity_def(const char *name, bool is6)
{
	return (struct nft_set_def){
	    .name = name,
	    .flags = NFT_SET_TIMEOUT | NFT_SET_EVAL,
	    .key_type = is6 ? NFT_TYPE_IP6ADDR : NFT_TYPE_IPADDR,
	    .key_len = is6 ? 16 : 4,
	    .max_elems = AFFINITY_ELEMS,
	};
}

void nft_affinity_set(const struct fl_proxy_pool *p, const struct fl_proxy_endpoint *e, char name[static NFT_MAX_NAME])
{
	char ip[FL_IP_STRLEN];

	fl_ip_format(&e->ip, ip);
	for (char *c = ip; *c; c++) {
		if (*c == ':')
			*c = '_'; // nft(8) knows no colon in a name
	}
	snprintf(name, NFT_MAX_NAME, NFT_AFFINITY_PREFIX "%08x-%s-%u", p->id, ip, e->port);
}

// ---- which chain

bool nft_uses_cluster(const struct fl_proxy_frontend *f)
{
	return !f->local || f->kind != FL_PROXY_CLUSTER_IP;
}

bool nft_uses_local(const struct fl_proxy_frontend *f)
{
	return f->local;
}

static uint64_t hash_list(uint64_t seed, const struct fl_proxy_endpoint *list, size_t n)
{
	uint8_t key[16] = {0};

	for (size_t i = 0; i < n; i++) {
		uint8_t bytes[18];

		memcpy(key, &seed, sizeof(seed));
		memcpy(bytes, list[i].ip.b, 16);
		memcpy(bytes + 16, &list[i].port, 2);
		seed = fl_siphash13(key, bytes, sizeof(bytes)) + 1;
	}
	return seed;
}

static bool is_empty(const struct fl_proxy_frontend *f)
{
	return !f->pool->n_cluster && !(nft_uses_local(f) && f->pool->n_local);
}

bool nft_chain_of(const struct fl_proxy_frontend *f, char name[static NFT_MAX_NAME])
{
	unsigned cluster = nft_uses_cluster(f) ? f->pool->n_cluster : 0;
	unsigned local = nft_uses_local(f) ? f->pool->n_local : 0;
	char list[32];

	if (is_empty(f)) {
		snprintf(name, NFT_MAX_NAME, "no-endpoints");
		return false;
	}
	if (!cluster && !local) {
		snprintf(name, NFT_MAX_NAME, "no-local-endpoints");
		return false;
	}
	if (!f->local)
		snprintf(list, sizeof(list), "c%u", cluster);
	else if (f->kind == FL_PROXY_CLUSTER_IP)
		snprintf(list, sizeof(list), "l%u", local);
	else
		snprintf(list, sizeof(list), "x%u-%u", cluster, local);
	if (!f->affinity_s) {
		snprintf(name, NFT_MAX_NAME, "%s-%s", f->kind == FL_PROXY_NODE_PORT ? "np" : "svc", list);
		return true;
	}
	uint64_t hash = hash_list(f->affinity_s, f->pool->cluster, cluster);
	hash = hash_list(hash, f->pool->local, local);
	snprintf(name, NFT_MAX_NAME, "aff-%08x-%s-%016" PRIx64, f->pool->id, list, hash);
	return true;
}

bool nft_guard_of(const struct fl_proxy_frontend *f, char name[static NFT_MAX_NAME])
{
	static const uint8_t key[16];
	char inner[NFT_MAX_NAME];
	uint64_t hash = 0;

	if (f->kind != FL_PROXY_LOAD_BALANCER || !f->pool->n_source_ranges)
		return false;
	(void)nft_chain_of(f, inner);
	hash = fl_siphash13(key, inner, strlen(inner));
	for (size_t i = 0; i < f->pool->n_source_ranges; i++) {
		const struct fl_cidr *c = &f->pool->source_ranges[i];
		uint8_t bytes[25];

		memcpy(bytes, &hash, 8);
		memcpy(bytes + 8, c->ip.b, 16);
		bytes[24] = c->bits;
		hash = fl_siphash13(key, bytes, sizeof(bytes));
	}
	snprintf(name, NFT_MAX_NAME, "from-%u-%016" PRIx64, f->pool->n_source_ranges, hash);
	return true;
}

bool nft_is_own_chain(const char *name)
{
	return name && (fl_starts_with(name, "svc-") || fl_starts_with(name, "np-") || fl_starts_with(name, "aff-") ||
			fl_starts_with(name, "from-"));
}

// ---- elements

static void put(uint8_t *to, uint8_t *len, const void *p, size_t n)
{
	memcpy(to + *len, p, n);
	*len = (uint8_t)(*len + ((n + 3) & ~(size_t)3)); // each field fills whole words; the element is zeroed
}

static void put_ip(uint8_t *to, uint8_t *len, const struct fl_ip *ip)
{
	size_t n;
	const uint8_t *raw = fl_ip_raw(ip, &n);

	put(to, len, raw, n);
}

static void put_port(uint8_t *to, uint8_t *len, uint16_t port)
{
	uint16_t port_be = htons(port);

	put(to, len, &port_be, sizeof(port_be));
}

static struct nft_elem elem(enum nft_set_id set, const struct fl_ip *ip)
{
	return (struct nft_elem){.set = (uint8_t)set, .is6 = ip->family == AF_INET6};
}

// The element's key starts as the frontend's does: node ports have no address in it.
static struct nft_elem keyed(const struct fl_proxy_frontend *f, enum nft_set_id set, enum nft_set_id node_port_set)
{
	bool is_node_port = f->kind == FL_PROXY_NODE_PORT;
	struct nft_elem e = elem(is_node_port ? node_port_set : set, &f->ip);

	if (!is_node_port)
		put_ip(e.key, &e.key_len, &f->ip);
	put(e.key, &e.key_len, &f->proto, 1);
	put_port(e.key, &e.key_len, f->port);
	return e;
}

struct nft_elem nft_frontend_elem(const struct fl_proxy_frontend *f, const char *chain)
{
	bool in_set = f->kind == FL_PROXY_CLUSTER_IP && is_empty(f);
	struct nft_elem e = keyed(f, in_set ? NFT_EMPTY_FRONTENDS : NFT_FRONTENDS, NFT_NODE_PORTS);

	e.chain = in_set ? NULL : chain;
	e.comment = f->pool->name;
	return e;
}

bool nft_masq_elem(const struct fl_proxy_frontend *f, struct nft_elem *ret)
{
	if (f->kind == FL_PROXY_CLUSTER_IP)
		return false;
	*ret = keyed(f, NFT_MASQ_FRONTENDS, NFT_MASQ_NODE_PORTS);
	ret->chain = f->local ? "masq-host" : "masq-always";
	return true;
}

struct nft_elem nft_slot_elem(const struct fl_proxy_frontend *f, uint32_t slot, const struct fl_proxy_endpoint *ep)
{
	struct nft_elem e = keyed(f, NFT_SLOTS, NFT_NODE_PORT_SLOTS);

	put(e.key, &e.key_len, &slot, sizeof(slot));
	put_ip(e.data, &e.data_len, &ep->ip);
	put_port(e.data, &e.data_len, ep->port);
	return e;
}

struct nft_elem nft_cluster_ip_elem(const struct fl_ip *ip)
{
	struct nft_elem e = elem(NFT_CLUSTER_IPS, ip);

	put_ip(e.key, &e.key_len, ip);
	return e;
}

struct nft_elem nft_local_elem(const struct fl_ip *ip)
{
	struct nft_elem e = elem(NFT_LOCALS, ip);

	put_ip(e.key, &e.key_len, ip);
	put_ip(e.key, &e.key_len, ip);
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
	static const uint8_t kinds[] = {FL_PROXY_CLUSTER_IP, FL_PROXY_NODE_PORT, FL_PROXY_LOAD_BALANCER};
	struct nft_batch frame, rules;
	struct nft_version v;

	nft_batch_init(&frame, NULL, NFT_TABLE);
	nft_batch_init(&rules, NULL, NFT_TABLE);
	for (unsigned i = 0; i < 2; i++) {
		struct fl_proxy_endpoint e[2] = {{.port = 1}, {.port = 2}};
		struct fl_cidr range = {.ip = {.family = 0}, .bits = 8};
		struct fl_proxy_pool pool = {
		    .name = "",
		    .cluster = e,
		    .local = e,
		    .source_ranges = &range,
		    .n_cluster = 2,
		    .n_local = 1,
		    .n_source_ranges = 1,
		};

		frame.family = rules.family = nft_family(i);
		range.ip.family = e[0].ip.family = e[1].ip.family = i ? AF_INET6 : AF_INET;
		nft_layout_frame(&frame);
		nft_layout_rules(&rules, cfg, false);
		// One chain of each kind, so that the hash covers the rules of all.
		for (unsigned k = 0; k < 12; k++) {
			struct fl_proxy_frontend f = {
			    .ip = e[0].ip,
			    .kind = kinds[k % 3],
			    .local = k / 3 % 2,
			    .affinity_s = k / 6 ? 60 : 0,
			    .pool = &pool,
			};

			nft_chain_rules(&rules, cfg, &f, false);
			nft_guard_rules(&rules, &f, false);
		}
	}
	snprintf(v.frame, sizeof(v.frame), "fairlead nftables frame %016" PRIx64, hash_of(&frame));
	snprintf(v.rules_chain, sizeof(v.rules_chain), NFT_RULES_PREFIX "%016" PRIx64, hash_of(&rules));
	nft_batch_deinit(&frame);
	nft_batch_deinit(&rules);
	return v;
}

void nft_layout_mark(struct nft_batch *b, const struct nft_version *v)
{
	nft_chain(b, NFT_MSG_NEWCHAIN, v->rules_chain);
	nft_flush_chain(b, v->rules_chain);
	nft_rule(b, v->rules_chain);
	nft_expr_verdict(b, NF_ACCEPT, NULL);
	nft_rule_end(b);
}
