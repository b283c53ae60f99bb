// SPDX-License-Identifier: Apache-2.0
// The chains of the tables. All hooks are of type nat, so only the first packet of a connection sees a rule; conntrack
// carries the decision for the rest.
//
//   prerouting, output                     postrouting
//        |                                      |
//     services                             was it translated? by us? (looked up by the original destination, so no mark
//        |  frontends, node-ports               |                    bits are used up)
//        v                                      v
//   svc-c3, np-c3, aff-... ,               masq-cluster-ip, masq-always, masq-host
//   no-endpoints, unknown-port ...
//
// A packet may be on its way through the rules while they change, and each look-up sees the elements of its own moment.
// One that finds half of what it needs is dropped, to be sent again a second later: going on untranslated, its
// connection would never work. nft.c orders its changes so that this does not happen.
#include <arpa/inet.h>
#include <errno.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "proxy/nft/layout.h"

#define NAT_DST_PRIORITY (-100) // NF_IP_PRI_NAT_DST
#define NAT_SRC_PRIORITY 100    // NF_IP_PRI_NAT_SRC

struct family {
	uint8_t af;
	uint32_t addr_len, src_offset, dst_offset;
	uint32_t ct_dst_key;
	uint32_t addr_regs; // words of an address
	uint8_t port_unreachable;
};

static const struct family families[2] = {
    {AF_INET, 4, 12, 16, NFT_CT_DST_IP, 1, ICMP_PORT_UNREACH},
    {AF_INET6, 16, 8, 24, NFT_CT_DST_IP6, 4, ICMPV6_PORT_UNREACH},
};

static const struct family *family_of(const struct nft_batch *b)
{
	return &families[b->family == NFPROTO_IPV6];
}

static void lookup(struct nft_batch *b, enum nft_set_id set, uint32_t sreg, uint32_t dreg, bool is_map)
{
	nft_expr_lookup(b, nft_set_def(set, b->family == NFPROTO_IPV6).name, sreg, dreg, is_map);
}

static void load_daddr(struct nft_batch *b, uint32_t reg)
{
	nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, family_of(b)->dst_offset, family_of(b)->addr_len, reg);
}

static void load_saddr(struct nft_batch *b, uint32_t reg)
{
	nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, family_of(b)->src_offset, family_of(b)->addr_len, reg);
}

// The key of a frontend or node port from R0 on. Returns the number of the next register.
static uint32_t load_key(struct nft_batch *b, bool node_port)
{
	uint32_t next = node_port ? 0 : family_of(b)->addr_regs;

	if (!node_port)
		load_daddr(b, R(0));
	nft_expr_meta(b, NFT_META_L4PROTO, R(next));
	nft_expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, R(next + 1));
	return next + 2;
}

// The same for the destination that the connection had before it was translated.
static void load_original_key(struct nft_batch *b, bool node_port)
{
	uint32_t next = node_port ? 0 : family_of(b)->addr_regs;

	if (!node_port)
		nft_expr_ct(b, family_of(b)->ct_dst_key, true, R(0));
	nft_expr_meta(b, NFT_META_L4PROTO, R(next));
	nft_expr_ct(b, NFT_CT_PROTO_DST, true, R(next + 1));
}

static void match_cidr(struct nft_batch *b, const struct fl_cidr *c, bool source)
{
	uint8_t mask[16] = {0};
	size_t n;
	const uint8_t *raw = fl_ip_raw(&c->ip, &n);

	for (unsigned i = 0; i < c->bits; i++)
		mask[i / 8] = (uint8_t)(mask[i / 8] | 0x80 >> i % 8);
	if (source)
		load_saddr(b, R(0));
	else
		load_daddr(b, R(0));
	nft_expr_mask(b, R(0), R(0), mask, n);
	nft_expr_cmp(b, NFT_CMP_EQ, R(0), raw, n);
}

static void match_addr_is_local(struct nft_batch *b, uint32_t fib_flag)
{
	uint32_t local = RTN_LOCAL;

	nft_expr_fib_type(b, fib_flag, R(0));
	nft_expr_cmp(b, NFT_CMP_EQ, R(0), &local, sizeof(local));
}

static void add_goto(struct nft_batch *b, const char *chain, const char *target)
{
	nft_rule(b, chain);
	nft_expr_verdict(b, NFT_GOTO, target);
	nft_rule_end(b);
}

// ---- chains of frontends

enum match { ANY, FROM_PODS, FROM_HOST };

struct pick {
	const struct fl_proxy_frontend *f;
	const char *chain;
	bool local; // from the pool's local list
	enum match match;
	const struct fl_cidr *pods; // for FROM_PODS
};

static void begin_pick(struct nft_batch *b, const struct pick *p)
{
	nft_rule(b, p->chain);
	if (p->match == FROM_PODS)
		match_cidr(b, p->pods, true);
	else if (p->match == FROM_HOST)
		match_addr_is_local(b, NFTA_FIB_F_SADDR);
}

// To what stands in a random slot of the frontend.
static void add_pick(struct nft_batch *b, const struct pick *p)
{
	const struct family *fam = family_of(b);
	bool node_port = p->f->kind == FL_PROXY_NODE_PORT;

	begin_pick(b, p);
	uint32_t slot = load_key(b, node_port);
	nft_expr_numgen(b, R(slot), p->local ? p->f->pool->n_local : p->f->pool->n_cluster,
			p->local ? NFT_LOCAL_SLOT : 0);
	lookup(b, node_port ? NFT_NODE_PORT_SLOTS : NFT_SLOTS, R(0), R(0), true);
	nft_expr_dnat(b, b->family, R(0), R(fam->addr_regs));
	nft_rule_end(b);
}

static void remember_and_go(struct nft_batch *b, const struct pick *p, const struct fl_proxy_endpoint *e,
			    const char *set)
{
	uint16_t port_be = htons(e->port);
	size_t n;
	const uint8_t *raw = fl_ip_raw(&e->ip, &n);

	if (set) {
		load_saddr(b, R(0));
		nft_expr_dynset(b, set, NFT_DYNSET_OP_UPDATE, R(0), 0, 1000ull * p->f->affinity_s);
	}
	nft_expr_immediate(b, R(0), raw, n);
	nft_expr_immediate(b, R(4), &port_be, sizeof(port_be));
	nft_expr_dnat(b, b->family, R(0), R(4));
	nft_rule_end(b);
}

// First a rule for each endpoint: its own clients again. Then another: one in n, one in n - 1 of the rest ... When a
// client cannot be remembered because the set is full, the next endpoint has it; the last one in any case.
static void add_affinity_pick(struct nft_batch *b, const struct pick *p)
{
	static const uint32_t zero;
	const struct fl_proxy_pool *pool = p->f->pool;
	const struct fl_proxy_endpoint *list = p->local ? pool->local : pool->cluster;
	uint32_t n = p->local ? pool->n_local : pool->n_cluster;
	char set[NFT_MAX_NAME];

	for (uint32_t i = 0; i < n; i++) {
		nft_affinity_set(pool, &list[i], set);
		begin_pick(b, p);
		load_saddr(b, R(0));
		nft_expr_lookup(b, set, R(0), 0, false);
		remember_and_go(b, p, &list[i], set);
	}
	for (uint32_t i = 0; i < n; i++) {
		nft_affinity_set(pool, &list[i], set);
		begin_pick(b, p);
		if (n - i > 1) {
			nft_expr_numgen(b, R(0), n - i, 0);
			nft_expr_cmp(b, NFT_CMP_EQ, R(0), &zero, sizeof(zero));
		}
		remember_and_go(b, p, &list[i], set);
	}
	begin_pick(b, p);
	remember_and_go(b, p, &list[n - 1], NULL);
}

static void add_rules(struct nft_batch *b, const struct pick *p)
{
	if (p->f->affinity_s)
		add_affinity_pick(b, p);
	else
		add_pick(b, p);
}

void nft_chain_rules(struct nft_batch *b, const struct fl_proxy_backend_config *cfg, const struct fl_proxy_frontend *f,
		     bool rewrite)
{
	char chain[NFT_MAX_NAME];
	struct pick p = {.f = f, .chain = chain};

	if (!nft_chain_of(f, chain))
		return;
	nft_chain(b, NFT_MSG_NEWCHAIN, chain);
	if (rewrite)
		nft_flush_chain(b, chain);
	if (!f->local) {
		add_rules(b, &p);
		add_goto(b, chain, "changed-meanwhile");
		return;
	}
	// Traffic of pods and of the host itself to an external address is as if it had gone out and come back: it
	// knows no policy Local (kube-proxy).
	if (nft_uses_cluster(f) && f->pool->n_cluster) {
		p.match = FROM_PODS;
		for (unsigned i = 0; i < cfg->n_pod_cidrs; i++) {
			p.pods = &cfg->pod_cidrs[i];
			if (p.pods->ip.family == family_of(b)->af)
				add_rules(b, &p);
		}
		p.match = FROM_HOST;
		add_rules(b, &p);
	}
	p.match = ANY;
	p.local = true;
	if (f->pool->n_local)
		add_rules(b, &p);
	add_goto(b, chain, f->pool->n_local ? "changed-meanwhile" : "no-local-endpoints");
}

void nft_guard_rules(struct nft_batch *b, const struct fl_proxy_frontend *f, bool rewrite)
{
	char guard[NFT_MAX_NAME], chain[NFT_MAX_NAME];

	if (!nft_guard_of(f, guard))
		return;
	(void)nft_chain_of(f, chain);
	nft_chain(b, NFT_MSG_NEWCHAIN, guard);
	if (rewrite)
		nft_flush_chain(b, guard);
	for (size_t i = 0; i < f->pool->n_source_ranges; i++) {
		nft_rule(b, guard);
		match_cidr(b, &f->pool->source_ranges[i], true);
		nft_expr_verdict(b, NFT_GOTO, chain);
		nft_rule_end(b);
	}
	add_goto(b, guard, "source-not-allowed");
}

// ---- the base

static const struct {
	const char *counter; // and the chain that counts
	bool rejected;       // else dropped
} refusals[] = {
    {"no-endpoints", true},        // the Service has none
    {"no-local-endpoints", false}, // traffic policy Local and none on this node
    {"unknown-port", true},        // the cluster IP has no such port
    {"unallocated-vip", false},    // an address of the service range that no Service has (or not yet)
    {"source-not-allowed", false}, // loadBalancerSourceRanges
    {"changed-meanwhile", false},  // rules changed while the packet was on its way through them
};

static const char *const plain_chains[] = {"reject",          "masq-always", "masq-host",
					   "masq-cluster-ip", "cluster-ip",  "services"};

static const struct {
	const char *name;
	uint32_t hook;
	int32_t priority;
} hooks[] = {
    {"prerouting", NF_INET_PRE_ROUTING, NAT_DST_PRIORITY},
    {"output", NF_INET_LOCAL_OUT, NAT_DST_PRIORITY},
    {"postrouting", NF_INET_POST_ROUTING, NAT_SRC_PRIORITY},
};

unsigned nft_layout_counters(const char *ret[static NFT_COUNTERS])
{
	_Static_assert(FL_COUNT(refusals) == NFT_COUNTERS, "one counter a refusal");
	for (unsigned i = 0; i < FL_COUNT(refusals); i++)
		ret[i] = refusals[i].counter;
	return FL_COUNT(refusals);
}

static void add_refusals(struct nft_batch *b)
{
	uint8_t tcp = IPPROTO_TCP;

	nft_rule(b, "reject");
	nft_expr_meta(b, NFT_META_L4PROTO, R(0));
	nft_expr_cmp(b, NFT_CMP_EQ, R(0), &tcp, 1);
	nft_expr_reject(b, NFT_REJECT_TCP_RST, 0);
	nft_rule_end(b);
	nft_rule(b, "reject");
	nft_expr_reject(b, NFT_REJECT_ICMP_UNREACH, family_of(b)->port_unreachable);
	nft_rule_end(b);

	for (unsigned i = 0; i < FL_COUNT(refusals); i++) {
		nft_rule(b, refusals[i].counter);
		nft_expr_counter(b, refusals[i].counter);
		nft_expr_verdict(b, refusals[i].rejected ? NFT_GOTO : NF_DROP, refusals[i].rejected ? "reject" : NULL);
		nft_rule_end(b);
	}
}

// A cluster IP with nobody behind this port. Which of the two is a plain set's business: an element with a verdict has
// the kernel walk all of them (nf_tables_validate), and Services are mostly made before what they lead to.
static void add_cluster_ip(struct nft_batch *b)
{
	nft_rule(b, "cluster-ip");
	load_key(b, false);
	lookup(b, NFT_EMPTY_FRONTENDS, R(0), 0, false);
	nft_expr_verdict(b, NFT_GOTO, "no-endpoints");
	nft_rule_end(b);
	add_goto(b, "cluster-ip", "unknown-port");
}

static void add_services(struct nft_batch *b, const struct fl_proxy_backend_config *cfg)
{
	static const uint8_t v4_loopback = 127, v6_loopback[16] = {[15] = 1};
	const struct family *f = family_of(b);

	nft_rule(b, "services");
	load_key(b, false);
	lookup(b, NFT_FRONTENDS, R(0), 0, true);
	nft_rule_end(b);

	nft_rule(b, "services");
	load_daddr(b, R(0));
	lookup(b, NFT_CLUSTER_IPS, R(0), 0, false);
	nft_expr_verdict(b, NFT_GOTO, "cluster-ip");
	nft_rule_end(b);

	for (unsigned i = 0; i < cfg->n_service_cidrs; i++) {
		if (cfg->service_cidrs[i].ip.family != f->af)
			continue;
		nft_rule(b, "services");
		match_cidr(b, &cfg->service_cidrs[i], false);
		nft_expr_verdict(b, NFT_GOTO, "unallocated-vip");
		nft_rule_end(b);
	}

	// Node ports: any address of this host but loopback, whose packets cannot leave with such a source.
	nft_rule(b, "services");
	if (f->af == AF_INET) {
		nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->dst_offset, 1, R(0));
		nft_expr_cmp(b, NFT_CMP_NEQ, R(0), &v4_loopback, 1);
	} else {
		load_daddr(b, R(0));
		nft_expr_cmp(b, NFT_CMP_NEQ, R(0), v6_loopback, sizeof(v6_loopback));
	}
	match_addr_is_local(b, NFTA_FIB_F_DADDR);
	load_key(b, true);
	lookup(b, NFT_NODE_PORTS, R(0), 0, true);
	nft_rule_end(b);
}

static void add_masquerade(struct nft_batch *b, const char *chain)
{
	nft_rule(b, chain);
	nft_expr_masquerade(b);
	nft_rule_end(b);
}

static void add_masquerade_chains(struct nft_batch *b, const struct fl_proxy_backend_config *cfg)
{
	bool knows_pods = false;

	add_masquerade(b, "masq-always");

	nft_rule(b, "masq-host");
	match_addr_is_local(b, NFTA_FIB_F_SADDR);
	nft_expr_masquerade(b);
	nft_rule_end(b);

	// Cluster IPs: who is no pod could not be answered directly by every pod.
	for (unsigned i = 0; i < cfg->n_pod_cidrs && !cfg->masquerade_all; i++) {
		if (cfg->pod_cidrs[i].ip.family != family_of(b)->af)
			continue;
		knows_pods = true;
		nft_rule(b, "masq-cluster-ip");
		match_cidr(b, &cfg->pod_cidrs[i], true);
		nft_expr_verdict(b, NF_ACCEPT, NULL);
		nft_rule_end(b);
	}
	if (knows_pods || cfg->masquerade_all)
		add_masquerade(b, "masq-cluster-ip");
}

static void add_postrouting(struct nft_batch *b)
{
	static const uint32_t dst_nat = IPS_DST_NAT, zero;

	nft_rule(b, "postrouting");
	nft_expr_ct(b, NFT_CT_STATUS, false, R(0));
	nft_expr_mask(b, R(0), R(0), &dst_nat, sizeof(dst_nat));
	nft_expr_cmp(b, NFT_CMP_EQ, R(0), &zero, sizeof(zero));
	nft_expr_verdict(b, NF_ACCEPT, NULL);
	nft_rule_end(b);

	// Hairpin: a pod that reached itself through a Service must see another source than itself.
	nft_rule(b, "postrouting");
	load_saddr(b, R(0));
	load_daddr(b, R(family_of(b)->addr_regs));
	lookup(b, NFT_LOCALS, R(0), 0, false);
	nft_expr_masquerade(b);
	nft_rule_end(b);

	nft_rule(b, "postrouting");
	nft_expr_ct(b, family_of(b)->ct_dst_key, true, R(0));
	lookup(b, NFT_CLUSTER_IPS, R(0), 0, false);
	nft_expr_verdict(b, NFT_GOTO, "masq-cluster-ip");
	nft_rule_end(b);

	for (unsigned node_port = 0; node_port < 2; node_port++) {
		nft_rule(b, "postrouting");
		load_original_key(b, node_port);
		lookup(b, node_port ? NFT_MASQ_NODE_PORTS : NFT_MASQ_FRONTENDS, R(0), 0, true);
		nft_rule_end(b);
	}
}

void nft_layout_frame(struct nft_batch *b)
{
	for (uint32_t i = 0; i < NFT_SET_COUNT; i++) {
		struct nft_set_def def = nft_set_def(i, b->family == NFPROTO_IPV6);

		nft_set(b, &def, i + 1);
	}
	for (unsigned i = 0; i < FL_COUNT(refusals); i++) {
		nft_counter(b, refusals[i].counter);
		nft_chain(b, NFT_MSG_NEWCHAIN, refusals[i].counter);
	}
	for (unsigned i = 0; i < FL_COUNT(plain_chains); i++)
		nft_chain(b, NFT_MSG_NEWCHAIN, plain_chains[i]);
	for (unsigned i = 0; i < FL_COUNT(hooks); i++)
		nft_base_chain(b, hooks[i].name, "nat", hooks[i].hook, hooks[i].priority);
}

void nft_layout_rules(struct nft_batch *b, const struct fl_proxy_backend_config *cfg, bool rewrite)
{
	for (unsigned i = 0; rewrite && i < FL_COUNT(refusals); i++)
		nft_flush_chain(b, refusals[i].counter);
	for (unsigned i = 0; rewrite && i < FL_COUNT(plain_chains); i++)
		nft_flush_chain(b, plain_chains[i]);
	for (unsigned i = 0; rewrite && i < FL_COUNT(hooks); i++)
		nft_flush_chain(b, hooks[i].name);

	add_refusals(b);
	add_cluster_ip(b);
	add_services(b, cfg);
	add_masquerade_chains(b, cfg);
	add_goto(b, "prerouting", "services");
	add_goto(b, "output", "services");
	add_postrouting(b);
}
