// SPDX-License-Identifier: Apache-2.0
// The chains of the table. All hooks are of type nat, so only the first packet of a connection sees a rule; conntrack
// carries the decision for the rest.
//
//   prerouting, output            postrouting
//        |                             |
//   services4|6                   masquerade4|6
//        |  frontends, dispatch        |  was it ours? by the original destination, so no mark bits are used up
//        v                             v
//   svc4-c3 np4-c3 ...            masq-always, masq-nonpod4, masq-hostsrc
//   no-endpoints ...
//
// The kernel switches from old rules and elements to new ones at one instant, but a packet may be on its way through
// the rules just then, and each lookup sees the elements of its own moment. Therefore removals follow in a transaction
// of their own (nft.c), and a packet that still finds half of what it needs is dropped, to be sent again a second
// later: going on untranslated, its connection would never work.
//
// Register use in the chains of shapes:
//   R0..  key of frontends, then its data: R0 counts, R1 policy, R2 affinity, R3 pool
//   R3.R4 key of slots (pool . slot) -> R4.. address . port
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter_ipv4.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "proxy/nft/layout.h"

#define NAT_DST_PRIORITY (-100) // NF_IP_PRI_NAT_DST
#define NAT_SRC_PRIORITY 100    // NF_IP_PRI_NAT_SRC

struct family {
	const char *suffix;
	uint8_t af, nfproto;
	uint32_t addr_len, src_offset, dst_offset;
	uint32_t ct_dst_key;
	uint32_t addr_regs; // words of an address
};

static const struct family families[2] = {
    {"4", AF_INET, NFPROTO_IPV4, 4, 12, 16, NFT_CT_DST_IP, 1},
    {"6", AF_INET6, NFPROTO_IPV6, 16, 8, 24, NFT_CT_DST_IP6, 4},
};

static const char *set_name(enum nft_set_id set4, const struct family *f)
{
	return nft_set_defs[set4 + (f->af == AF_INET6)].name;
}

static void name_chain(char name[static NFT_MAX_NAME], const char *base, const struct family *f)
{
	snprintf(name, NFT_MAX_NAME, "%s%s", base, f->suffix);
}

static void load_daddr(struct nft_batch *b, const struct family *f, uint32_t reg)
{
	nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->dst_offset, f->addr_len, reg);
}

static void load_saddr(struct nft_batch *b, const struct family *f, uint32_t reg)
{
	nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->src_offset, f->addr_len, reg);
}

// R0..: what the frontends map calls this packet's destination, then its four words.
static void find_frontend(struct nft_batch *b, const struct family *f, bool node_port)
{
	static const uint8_t zero[16];

	if (node_port)
		nft_expr_immediate(b, R(0), zero, f->addr_len);
	else
		load_daddr(b, f, R(0));
	nft_expr_meta(b, NFT_META_L4PROTO, R(f->addr_regs));
	nft_expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, R(f->addr_regs + 1));
	nft_expr_lookup(b, set_name(NFT_FRONTENDS4, f), R(0), R(0), true);
}

// The same for the destination that the connection had before it was translated.
static void find_original_frontend(struct nft_batch *b, const struct family *f, bool node_port)
{
	static const uint8_t zero[16];

	if (node_port)
		nft_expr_immediate(b, R(0), zero, f->addr_len);
	else
		nft_expr_ct(b, f->ct_dst_key, true, R(0));
	nft_expr_meta(b, NFT_META_L4PROTO, R(f->addr_regs));
	nft_expr_ct(b, NFT_CT_PROTO_DST, true, R(f->addr_regs + 1));
	nft_expr_lookup(b, set_name(NFT_FRONTENDS4, f), R(0), R(0), true);
}

static void match_cidr(struct nft_batch *b, const struct family *f, const struct fl_cidr *c, bool source)
{
	uint8_t mask[16] = {0};
	size_t n;
	const uint8_t *raw = fl_ip_raw(&c->ip, &n);

	for (unsigned i = 0; i < c->bits; i++)
		mask[i / 8] = (uint8_t)(mask[i / 8] | 0x80 >> i % 8);
	if (source)
		load_saddr(b, f, R(0));
	else
		load_daddr(b, f, R(0));
	nft_expr_mask(b, R(0), R(0), mask, n);
	nft_expr_cmp(b, NFT_CMP_EQ, R(0), raw, n);
}

static void match_addr_is_local(struct nft_batch *b, uint32_t fib_flag)
{
	uint32_t local = RTN_LOCAL;

	nft_expr_fib_type(b, fib_flag, R(0));
	nft_expr_cmp(b, NFT_CMP_EQ, R(0), &local, sizeof(local));
}

static void add_rule_goto(struct nft_batch *b, const char *chain, const char *target)
{
	nft_rule(b, chain);
	nft_expr_verdict(b, NFT_GOTO, target);
	nft_rule_end(b);
}

// ---- chains of shapes

enum match { ANY, FROM_PODS, FROM_HOST };

struct pick {
	const struct fl_proxy_backend_config *cfg;
	const struct family *f;
	const char *chain;
	const struct nft_shape *shape;
	uint32_t modulus, first_slot;
	enum match match;
	const struct fl_cidr *pods; // for FROM_PODS
};

static void begin_pick(struct nft_batch *b, const struct pick *p)
{
	nft_rule(b, p->chain);
	if (p->match == FROM_PODS)
		match_cidr(b, p->f, p->pods, true);
	else if (p->match == FROM_HOST)
		match_addr_is_local(b, NFTA_FIB_F_SADDR);
}

static void dnat(struct nft_batch *b, const struct family *f)
{
	nft_expr_dnat(b, f->nfproto, R(4), R(4 + f->addr_regs));
	nft_rule_end(b);
}

// R4..: the endpoint in a random slot of the pool in R3.
static void pick_slot(struct nft_batch *b, const struct pick *p)
{
	find_frontend(b, p->f, p->shape->node_port);
	nft_expr_numgen(b, R(4), p->modulus, p->first_slot);
	nft_expr_lookup(b, set_name(NFT_SLOTS4, p->f), R(3), R(4), true);
}

// Copies the pool's id from R3 to where the key (pool . client) stands, and the client's address behind it.
static void load_client_key(struct nft_batch *b, const struct family *f, uint32_t at)
{
	static const uint32_t all = UINT32_MAX;

	nft_expr_mask(b, R(3), R(at), &all, sizeof(all));
	load_saddr(b, f, R(at + 1));
}

// Affinity takes three rules before the plain one:
//   a remembered endpoint that is still a member: refresh, go there
//   a remembered endpoint that is not: forget it
//   else a random one: remember it, go there
// and the plain rule serves when nothing more can be remembered.
static void add_affinity(struct nft_batch *b, const struct pick *p)
{
	const struct family *f = p->f;
	const char *map = set_name(NFT_AFFINITY4, f);
	uint32_t key = 4 + f->addr_regs + 1; // behind address . port
	uint64_t timeout_ms = 1000ull * p->shape->affinity_s;

	begin_pick(b, p);
	find_frontend(b, f, p->shape->node_port);
	load_client_key(b, f, key);
	nft_expr_lookup(b, map, R(key), R(4), true);
	nft_expr_lookup(b, set_name(NFT_MEMBERS4, f), R(3), 0, false);
	nft_expr_dynset(b, map, NFT_DYNSET_OP_UPDATE, R(key), R(4), timeout_ms);
	dnat(b, f);

	begin_pick(b, p);
	find_frontend(b, f, p->shape->node_port);
	load_client_key(b, f, key);
	nft_expr_lookup(b, map, R(key), R(4), true);
	nft_expr_dynset(b, map, NFT_DYNSET_OP_DELETE, R(key), R(4), 0);
	nft_rule_end(b);

	begin_pick(b, p);
	pick_slot(b, p);
	load_client_key(b, f, key);
	nft_expr_dynset(b, map, NFT_DYNSET_OP_UPDATE, R(key), R(4), timeout_ms);
	dnat(b, f);
}

static void add_pick(struct nft_batch *b, const struct pick *p)
{
	if (p->shape->affinity_s)
		add_affinity(b, p);
	begin_pick(b, p);
	pick_slot(b, p);
	dnat(b, p->f);
}

bool nft_shape_chain(const struct nft_shape *s, char name[static NFT_MAX_NAME])
{
	unsigned cluster = s->counts & 0xffff, local = s->counts >> 16;
	char list[16];

	if (s->counts == 0) {
		snprintf(name, NFT_MAX_NAME, "no-endpoints");
		return false;
	}
	if (s->policy == NFT_POLICY_LOCAL && local == 0) {
		snprintf(name, NFT_MAX_NAME, "no-local-endpoints");
		return false;
	}
	if (!(s->policy & NFT_POLICY_LOCAL))
		snprintf(list, sizeof(list), "c%u", cluster);
	else if (s->policy & NFT_POLICY_EXTERNAL)
		snprintf(list, sizeof(list), "x%u-%u", cluster, local);
	else
		snprintf(list, sizeof(list), "l%u", local);
	// External and internal traffic of policy Cluster pick alike, but their elements count chains apart.
	snprintf(name, NFT_MAX_NAME, "%s%s-%s%s",
		 s->node_port                      ? "np"
		 : s->policy & NFT_POLICY_EXTERNAL ? "ext"
						   : "svc",
		 s->is6 ? "6" : "4", list, s->affinity_s ? "-t" : "");
	if (s->affinity_s) {
		size_t n = strlen(name);

		snprintf(name + n, NFT_MAX_NAME - n, "%u", s->affinity_s);
	}
	return true;
}

void nft_shape_rules(struct nft_batch *b, const struct fl_proxy_backend_config *cfg, const struct nft_shape *s,
		     bool rewrite)
{
	char chain[NFT_MAX_NAME];

	if (!nft_shape_chain(s, chain))
		return;

	unsigned cluster = s->counts & 0xffff, local = s->counts >> 16;
	struct pick p = {.cfg = cfg, .f = &families[s->is6], .chain = chain, .shape = s, .modulus = cluster};

	nft_chain(b, NFT_MSG_NEWCHAIN, chain);
	if (rewrite)
		nft_flush_chain(b, chain);
	if (!(s->policy & NFT_POLICY_LOCAL)) {
		add_pick(b, &p);
		add_rule_goto(b, chain, "changed-meanwhile");
		return;
	}
	// Traffic of pods and of the host itself to an external address is as if it had gone out and come back: it
	// knows no policy Local (kube-proxy).
	if ((s->policy & NFT_POLICY_EXTERNAL) && cluster) {
		for (unsigned i = 0; i < cfg->n_pod_cidrs; i++) {
			p.match = FROM_PODS;
			p.pods = &cfg->pod_cidrs[i];
			if (p.pods->ip.family == p.f->af)
				add_pick(b, &p);
		}
		p.match = FROM_HOST;
		add_pick(b, &p);
	}
	p.match = ANY;
	p.modulus = local;
	p.first_slot = NFT_LOCAL_SLOT;
	if (local)
		add_pick(b, &p);
	add_rule_goto(b, chain, local ? "changed-meanwhile" : "no-local-endpoints");
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
    {"changed-meanwhile", false},  // rules changed while the packet was on its way through them
};

static const char *const plain_chains[] = {"reject",      "masq-always", "masq-hostsrc", "masq-nonpod4", "masq-nonpod6",
					   "masquerade4", "masquerade6", "services4",    "services6"};

static const struct {
	const char *name;
	uint32_t hook;
	int32_t priority;
	const char *target; // chain of a family, without its suffix
} hooks[] = {
    {"prerouting", NF_INET_PRE_ROUTING, NAT_DST_PRIORITY, "services"},
    {"output", NF_INET_LOCAL_OUT, NAT_DST_PRIORITY, "services"},
    {"postrouting", NF_INET_POST_ROUTING, NAT_SRC_PRIORITY, "masquerade"},
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
	nft_expr_reject(b, NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_ICMPX_PORT_UNREACH);
	nft_rule_end(b);

	for (unsigned i = 0; i < FL_COUNT(refusals); i++) {
		nft_rule(b, refusals[i].counter);
		nft_expr_counter(b, refusals[i].counter);
		nft_expr_verdict(b, refusals[i].rejected ? NFT_GOTO : NF_DROP, refusals[i].rejected ? "reject" : NULL);
		nft_rule_end(b);
	}
}

static void add_services(struct nft_batch *b, const struct fl_proxy_backend_config *cfg, const struct family *f)
{
	static const uint8_t v4_loopback = 127, v6_loopback[16] = {[15] = 1};
	char chain[NFT_MAX_NAME];

	name_chain(chain, "services", f);
	nft_rule(b, chain);
	find_frontend(b, f, false);
	nft_expr_lookup(b, set_name(NFT_DISPATCH_SVC4, f), R(0), 0, true);
	nft_rule_end(b);

	nft_rule(b, chain);
	load_daddr(b, f, R(0));
	nft_expr_lookup(b, set_name(NFT_VIPS4, f), R(0), 0, false);
	nft_expr_verdict(b, NFT_GOTO, "unknown-port");
	nft_rule_end(b);

	for (unsigned i = 0; i < cfg->n_service_cidrs; i++) {
		if (cfg->service_cidrs[i].ip.family != f->af)
			continue;
		nft_rule(b, chain);
		match_cidr(b, f, &cfg->service_cidrs[i], false);
		nft_expr_verdict(b, NFT_GOTO, "unallocated-vip");
		nft_rule_end(b);
	}

	// Node ports: any address of this host but loopback, whose packets cannot leave with such a source.
	nft_rule(b, chain);
	if (f->af == AF_INET) {
		nft_expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, f->dst_offset, 1, R(0));
		nft_expr_cmp(b, NFT_CMP_NEQ, R(0), &v4_loopback, 1);
	} else {
		load_daddr(b, f, R(0));
		nft_expr_cmp(b, NFT_CMP_NEQ, R(0), v6_loopback, sizeof(v6_loopback));
	}
	match_addr_is_local(b, NFTA_FIB_F_DADDR);
	find_frontend(b, f, true);
	nft_expr_lookup(b, set_name(NFT_DISPATCH_NP4, f), R(0), 0, true);
	nft_rule_end(b);
}

static void masquerade_rule(struct nft_batch *b, const char *chain)
{
	nft_rule(b, chain);
	nft_expr_masquerade(b);
	nft_rule_end(b);
}

static void add_masquerade(struct nft_batch *b, const struct fl_proxy_backend_config *cfg, const struct family *f)
{
	char chain[NFT_MAX_NAME], nonpod[NFT_MAX_NAME];
	bool knows_pods = false;

	// Cluster IPs: who is no pod could not be answered directly by every pod.
	name_chain(nonpod, "masq-nonpod", f);
	for (unsigned i = 0; i < cfg->n_pod_cidrs && !cfg->masquerade_all; i++) {
		if (cfg->pod_cidrs[i].ip.family != f->af)
			continue;
		knows_pods = true;
		nft_rule(b, nonpod);
		match_cidr(b, f, &cfg->pod_cidrs[i], true);
		nft_expr_verdict(b, NF_ACCEPT, NULL);
		nft_rule_end(b);
	}
	if (knows_pods || cfg->masquerade_all)
		masquerade_rule(b, nonpod);

	// Hairpin: a pod that reached itself through a Service must see another source than itself.
	name_chain(chain, "masquerade", f);
	nft_rule(b, chain);
	load_saddr(b, f, R(0));
	load_daddr(b, f, R(f->addr_regs));
	nft_expr_lookup(b, set_name(NFT_LOCALS4, f), R(0), 0, false);
	nft_expr_masquerade(b);
	nft_rule_end(b);

	for (unsigned node_port = 0; node_port < 2; node_port++) {
		nft_rule(b, chain);
		find_original_frontend(b, f, node_port);
		nft_expr_lookup(b, set_name(NFT_MASQ4, f), R(1), 0, true);
		nft_rule_end(b);
	}
}

static void add_hook_rules(struct nft_batch *b, unsigned i)
{
	static const uint32_t dst_nat = IPS_DST_NAT, zero;

	if (hooks[i].hook == NF_INET_POST_ROUTING) {
		nft_rule(b, hooks[i].name);
		nft_expr_ct(b, NFT_CT_STATUS, false, R(0));
		nft_expr_mask(b, R(0), R(0), &dst_nat, sizeof(dst_nat));
		nft_expr_cmp(b, NFT_CMP_EQ, R(0), &zero, sizeof(zero));
		nft_expr_verdict(b, NF_ACCEPT, NULL);
		nft_rule_end(b);
	}
	for (unsigned f = 0; f < FL_COUNT(families); f++) {
		char chain[NFT_MAX_NAME];

		name_chain(chain, hooks[i].target, &families[f]);
		nft_rule(b, hooks[i].name);
		nft_expr_meta(b, NFT_META_NFPROTO, R(0));
		nft_expr_cmp(b, NFT_CMP_EQ, R(0), &families[f].nfproto, 1);
		nft_expr_verdict(b, NFT_GOTO, chain);
		nft_rule_end(b);
	}
}

void nft_layout_frame(struct nft_batch *b)
{
	for (uint32_t i = 0; i < NFT_SET_COUNT; i++)
		nft_set(b, &nft_set_defs[i], i + 1);
	for (unsigned i = 0; i < FL_COUNT(refusals); i++) {
		nft_counter(b, refusals[i].counter);
		nft_chain(b, NFT_MSG_NEWCHAIN, refusals[i].counter);
	}
	for (unsigned i = 0; i < FL_COUNT(plain_chains); i++)
		nft_chain(b, NFT_MSG_NEWCHAIN, plain_chains[i]);
	for (unsigned i = 0; i < FL_COUNT(hooks); i++)
		nft_base_chain(b, hooks[i].name, hooks[i].hook, hooks[i].priority);
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
	masquerade_rule(b, "masq-always");
	nft_rule(b, "masq-hostsrc");
	match_addr_is_local(b, NFTA_FIB_F_SADDR);
	nft_expr_masquerade(b);
	nft_rule_end(b);
	for (unsigned i = 0; i < FL_COUNT(families); i++) {
		add_services(b, cfg, &families[i]);
		add_masquerade(b, cfg, &families[i]);
	}
	for (unsigned i = 0; i < FL_COUNT(hooks); i++)
		add_hook_rules(b, i);
}
