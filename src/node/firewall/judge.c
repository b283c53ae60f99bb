// SPDX-License-Identifier: Apache-2.0
// A small interpreter of nf_tables rules: registers of 64 bytes, each word known or not; a rule matches, does not, or
// cannot be told. iptables' own extensions are known as far as the usual firewalls use them.
#include "node/firewall/judge.h"

#include <arpa/inet.h>
#include <linux/if_arp.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_addrtype.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_tcpudp.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "base/str.h"

#define MAX_DEPTH 16 // the kernel's own limit of nested jumps
#define REG_BYTES 64
#define IFNAME    16
#define CT_NEW    NF_CT_STATE_BIT(IP_CT_NEW)

enum answer { NO, YES, UNKNOWN };
enum outcome { CONTINUE, ACCEPTED, DROPPED };

struct run {
	const struct fw_table *t;
	const struct fw_flow *f;
	bool skip_ours;
	uint8_t reg[REG_BYTES];
	bool known[REG_BYTES / 4];
	bool specific; // conditions of the rule at hand
	struct fw_verdict v;
};

// ---- registers

static void load(struct run *r, uint32_t at, const void *data, size_t len)
{
	if (at + len > REG_BYTES)
		return;
	for (size_t i = at / 4; i < (at + len + 3) / 4; i++)
		r->known[i] = true;
	memset(r->reg + at, 0, (len + 3) / 4 * 4);
	memcpy(r->reg + at, data, len);
}

static void forget(struct run *r, uint32_t at, size_t len)
{
	for (size_t i = at / 4; i < (at + len + 3) / 4 && i < REG_BYTES / 4; i++)
		r->known[i] = false;
}

static bool is_known(const struct run *r, uint32_t at, size_t len)
{
	if (at + len > REG_BYTES)
		return false;
	for (size_t i = at / 4; i < (at + len + 3) / 4; i++)
		if (!r->known[i])
			return false;
	return true;
}

// ---- what the packet is

static void load_ifname(struct run *r, uint32_t dreg, const char *name)
{
	char padded[IFNAME] = {0};

	memcpy(padded, name, strnlen(name, IFNAME - 1));
	load(r, dreg, padded, IFNAME);
	r->specific = true;
}

static void load_u32(struct run *r, uint32_t dreg, uint32_t value)
{
	load(r, dreg, &value, sizeof(value));
}

// An index is known of loopback alone; anything else only equals itself.
static void load_ifindex(struct run *r, uint32_t dreg, const char *name)
{
	r->specific = true;
	if (fl_starts_with(name, "flv"))
		load_u32(r, dreg, UINT32_MAX);
	else if (!*name)
		load_u32(r, dreg, 0);
	else
		forget(r, dreg, 4);
}

static void load_meta(struct run *r, const struct fw_expr *e)
{
	const struct fw_flow *f = r->f;
	uint8_t byte;
	uint16_t half;

	switch (e->key) {
	case NFT_META_IIFNAME:
		load_ifname(r, e->dreg, f->iif);
		break;
	case NFT_META_OIFNAME:
		load_ifname(r, e->dreg, f->oif);
		break;
	case NFT_META_IIF:
		load_ifindex(r, e->dreg, f->iif);
		break;
	case NFT_META_OIF:
		load_ifindex(r, e->dreg, f->oif);
		break;
	case NFT_META_NFPROTO:
		byte = f->family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6;
		load(r, e->dreg, &byte, 1);
		break;
	case NFT_META_L4PROTO:
		load(r, e->dreg, &f->proto, 1);
		r->specific = true;
		break;
	case NFT_META_PROTOCOL:
		half = htons(f->family == AF_INET ? 0x0800 : 0x86dd);
		load(r, e->dreg, &half, 2);
		break;
	case NFT_META_IIFTYPE:
	case NFT_META_OIFTYPE:
		half = ARPHRD_ETHER;
		load(r, e->dreg, &half, 2);
		break;
	case NFT_META_PKTTYPE:
		byte = 0; // PACKET_HOST
		load(r, e->dreg, &byte, 1);
		break;
	default:
		forget(r, e->dreg, IFNAME);
	}
}

static void load_payload(struct run *r, const struct fw_expr *e)
{
	const struct fw_flow *f = r->f;
	uint8_t packet[64] = {0};
	size_t len, n;

	r->specific = true;
	if (e->base == NFT_PAYLOAD_NETWORK_HEADER && f->family == AF_INET) {
		n = 20;
		packet[0] = 0x45;
		packet[8] = 63;
		packet[9] = f->proto;
		memcpy(packet + 12, fl_ip_raw(&f->src, &len), 4);
		memcpy(packet + 16, fl_ip_raw(&f->dst, &len), 4);
	} else if (e->base == NFT_PAYLOAD_NETWORK_HEADER) {
		n = 40;
		packet[0] = 0x60;
		packet[6] = f->proto;
		packet[7] = 63;
		memcpy(packet + 8, fl_ip_raw(&f->src, &len), 16);
		memcpy(packet + 24, fl_ip_raw(&f->dst, &len), 16);
	} else if (e->base == NFT_PAYLOAD_TRANSPORT_HEADER) {
		uint16_t ports[2] = {htons(f->sport), htons(f->dport)};

		n = f->proto == IPPROTO_TCP ? 20 : 8;
		if (f->proto == IPPROTO_ICMPV6)
			packet[0] = (uint8_t)f->dport; // its type
		else
			memcpy(packet, ports, sizeof(ports));
		if (f->proto == IPPROTO_TCP)
			packet[13] = f->ct_state & CT_NEW ? 0x02 : 0x10; // SYN, ACK
	} else {
		n = 0;
	}
	if (e->off + e->len <= n)
		load(r, e->dreg, packet + e->off, e->len);
	else
		forget(r, e->dreg, e->len);
}

static void load_ct(struct run *r, const struct fw_expr *e)
{
	const struct fw_flow *f = r->f;
	bool reply = !(f->ct_state & CT_NEW);
	uint8_t direction = reply;

	if (e->key == NFT_CT_STATE)
		load_u32(r, e->dreg, f->ct_state);
	else if (e->key == NFT_CT_STATUS)
		load_u32(r, e->dreg,
			 (f->dnat ? IPS_DST_NAT | IPS_DST_NAT_DONE : 0) | (reply ? IPS_CONFIRMED | IPS_SEEN_REPLY : 0));
	else if (e->key == NFT_CT_DIRECTION)
		load(r, e->dreg, &direction, 1);
	else
		forget(r, e->dreg, 16);
}

static uint32_t dst_type(const struct fw_flow *f)
{
	return f->hook == NF_INET_LOCAL_IN ? RTN_LOCAL : RTN_UNICAST;
}

static void load_fib(struct run *r, const struct fw_expr *e)
{
	if (e->key == NFT_FIB_RESULT_ADDRTYPE && (e->flags & NFTA_FIB_F_DADDR))
		load_u32(r, e->dreg, dst_type(r->f));
	else if (e->key == NFT_FIB_RESULT_ADDRTYPE)
		load_u32(r, e->dreg, r->f->hook == NF_INET_LOCAL_OUT ? RTN_LOCAL : RTN_UNICAST);
	else
		forget(r, e->dreg, IFNAME);
}

// ---- conditions

static enum answer compare(const struct run *r, const struct fw_expr *e)
{
	if (!is_known(r, e->sreg, e->data_len))
		return UNKNOWN;
	int d = memcmp(r->reg + e->sreg, e->data, e->data_len);
	switch (e->op) {
	case NFT_CMP_EQ:
		return d == 0;
	case NFT_CMP_NEQ:
		return d != 0;
	case NFT_CMP_LT:
		return d < 0;
	case NFT_CMP_LTE:
		return d <= 0;
	case NFT_CMP_GT:
		return d > 0;
	case NFT_CMP_GTE:
		return d >= 0;
	}
	return UNKNOWN;
}

static enum answer in_range(const struct run *r, const struct fw_expr *e)
{
	if (!is_known(r, e->sreg, e->data_len))
		return UNKNOWN;
	bool inside =
	    memcmp(r->reg + e->sreg, e->data, e->data_len) >= 0 && memcmp(r->reg + e->sreg, e->data2, e->data_len) <= 0;
	return inside == (e->op == NFT_RANGE_EQ);
}

static void mask(struct run *r, const struct fw_expr *e)
{
	uint8_t out[REG_BYTES];

	if (!is_known(r, e->sreg, e->len) || e->len > REG_BYTES) {
		forget(r, e->dreg, e->len);
		return;
	}
	for (uint32_t i = 0; i < e->len; i++)
		out[i] = (r->reg[e->sreg + i] & e->data[i]) ^ e->data2[i];
	load(r, e->dreg, out, e->len);
}

static const struct fw_set *find_set(const struct fw_table *t, const char *name)
{
	for (size_t i = 0; i < t->sets.n; i++)
		if (fl_streq(t->sets.v[i].name, name))
			return &t->sets.v[i];
	return NULL;
}

// The element that covers `key`. Intervals of one field are kept as two elements, start and end; concatenations carry
// their end with them (each field within its own bounds; compared as a whole it is exact for ranges of one field).
static const struct fw_elem *find_elem(const struct fw_set *s, const uint8_t *key)
{
	const struct fw_elem *best = NULL;
	bool pairs = (s->flags & NFT_SET_INTERVAL) && !(s->flags & NFT_SET_CONCAT);

	for (size_t i = 0; i < s->elems.n; i++) {
		const struct fw_elem *e = &s->elems.v[i];

		if (!e->key_len) { // the catch-all element
			best = best ? best : e;
		} else if (pairs) {
			if (memcmp(e->key, key, e->key_len) <= 0 &&
			    (!best || !best->key_len || memcmp(e->key, best->key, e->key_len) >= 0))
				best = e;
		} else if (e->key_end ? memcmp(e->key, key, e->key_len) <= 0 && memcmp(key, e->key_end, e->key_len) <= 0
				      : memcmp(e->key, key, e->key_len) == 0) {
			return e;
		}
	}
	return best && best->interval_end ? NULL : best;
}

static enum answer match_conntrack(struct run *r, const struct fw_expr *e)
{
	static const uint16_t judged = XT_CONNTRACK_STATE | XT_CONNTRACK_STATE_ALIAS;
	struct xt_conntrack_mtinfo3 m = {0};
	uint16_t state_mask;

	if (e->key == 3 || e->key == 2) {
		size_t need = e->key == 3 ? sizeof(struct xt_conntrack_mtinfo3) : sizeof(struct xt_conntrack_mtinfo2);

		if (e->data_len < need)
			return UNKNOWN;
		memcpy(&m, e->data, need);
		state_mask = m.state_mask;
	} else if (e->key == 1 && e->data_len >= sizeof(struct xt_conntrack_mtinfo1)) {
		struct xt_conntrack_mtinfo1 old;

		memcpy(&old, e->data, sizeof(old));
		m.match_flags = old.match_flags;
		m.invert_flags = old.invert_flags;
		state_mask = old.state_mask;
	} else {
		return UNKNOWN;
	}
	if (m.match_flags & (uint16_t)~judged)
		return UNKNOWN;
	if (!(m.match_flags & XT_CONNTRACK_STATE))
		return YES;
	uint32_t have = 0;
	if (r->f->ct_state & CT_NEW)
		have |= XT_CONNTRACK_STATE_BIT(IP_CT_NEW);
	if (r->f->ct_state & NF_CT_STATE_BIT(IP_CT_ESTABLISHED))
		have |= XT_CONNTRACK_STATE_BIT(IP_CT_ESTABLISHED);
	if (r->f->dnat)
		have |= XT_CONNTRACK_STATE_DNAT;
	return ((have & state_mask) != 0) != ((m.invert_flags & XT_CONNTRACK_STATE) != 0);
}

static enum answer match_addrtype(struct run *r, const struct fw_expr *e)
{
	struct xt_addrtype_info_v1 m;

	if (e->key != 1 || e->data_len < sizeof(m))
		return UNKNOWN;
	memcpy(&m, e->data, sizeof(m));
	if (m.flags & (XT_ADDRTYPE_LIMIT_IFACE_IN | XT_ADDRTYPE_LIMIT_IFACE_OUT))
		return UNKNOWN;
	uint32_t src = r->f->hook == NF_INET_LOCAL_OUT ? RTN_LOCAL : RTN_UNICAST;
	bool ok = true;
	if (m.source)
		ok &= ((m.source >> src & 1) != 0) != ((m.flags & XT_ADDRTYPE_INVERT_SOURCE) != 0);
	if (m.dest)
		ok &= ((m.dest >> dst_type(r->f) & 1) != 0) != ((m.flags & XT_ADDRTYPE_INVERT_DEST) != 0);
	return ok;
}

static bool port_within(const uint16_t range[2], uint16_t port, bool invert)
{
	return (port >= range[0] && port <= range[1]) != invert;
}

static enum answer match_ports(struct run *r, const struct fw_expr *e)
{
	const struct fw_flow *f = r->f;

	r->specific = true;
	if (fl_streq(e->name, "udp") && e->data_len >= sizeof(struct xt_udp)) {
		struct xt_udp m;

		memcpy(&m, e->data, sizeof(m));
		return f->proto == IPPROTO_UDP && port_within(m.spts, f->sport, m.invflags & XT_UDP_INV_SRCPT) &&
		       port_within(m.dpts, f->dport, m.invflags & XT_UDP_INV_DSTPT);
	}
	if (fl_streq(e->name, "tcp") && e->data_len >= sizeof(struct xt_tcp)) {
		struct xt_tcp m;
		uint8_t flags = f->ct_state & CT_NEW ? 0x02 : 0x10;

		memcpy(&m, e->data, sizeof(m));
		if (m.option)
			return UNKNOWN;
		return f->proto == IPPROTO_TCP && port_within(m.spts, f->sport, m.invflags & XT_TCP_INV_SRCPT) &&
		       port_within(m.dpts, f->dport, m.invflags & XT_TCP_INV_DSTPT) &&
		       ((flags & m.flg_mask) == m.flg_cmp) != ((m.invflags & XT_TCP_INV_FLAGS) != 0);
	}
	return UNKNOWN;
}

static enum answer match_xt(struct run *r, const struct fw_expr *e)
{
	if (fl_streq(e->name, "comment"))
		return YES;
	if (fl_streq(e->name, "conntrack"))
		return match_conntrack(r, e);
	if (fl_streq(e->name, "addrtype"))
		return match_addrtype(r, e);
	if (fl_streq(e->name, "tcp") || fl_streq(e->name, "udp"))
		return match_ports(r, e);
	if (fl_streq(e->name, "icmp") || (fl_streq(e->name, "icmp6") && r->f->proto != IPPROTO_ICMPV6))
		return NO;
	return UNKNOWN;
}

static bool xt_target_continues(const char *name)
{
	static const char *const names[] = {"LOG",         "NFLOG",  "MARK",     "CONNMARK", "TRACE", "CT",
					    "CONNSECMARK", "TCPMSS", "CLASSIFY", "DSCP",     "AUDIT", "SET"};

	for (size_t i = 0; i < FL_COUNT(names); i++)
		if (fl_streq(name, names[i]))
			return true;
	return false;
}

// ---- chains

static enum outcome run_chain(struct run *r, const struct fw_chain *c, unsigned depth, bool specific);

static enum outcome drop_here(struct run *r, const struct fw_chain *c, const struct fw_rule *rule, bool specific)
{
	r->v.drop = true;
	r->v.chain = c;
	r->v.rule = rule;
	r->v.specific = specific;
	return DROPPED;
}

// A jump by interface into a zone is how firewalld deals packets out, not somebody's intention about these.
static bool is_dispatch(const struct fw_table *t, const struct fw_chain *c)
{
	return t->family == NFPROTO_INET && fl_streq(t->name, "firewalld") && fl_ends_with(c->name, "_ZONES");
}

struct step {       // what a rule's verdict means for the chain that it stands in
	bool leave; // and `out` is the chain's
	enum outcome out;
};

static struct step follow(struct run *r, const struct fw_chain *c, const struct fw_rule *rule, int32_t code,
			  const char *name, unsigned depth, bool specific)
{
	switch (code) {
	case NF_DROP:
		return (struct step){true, drop_here(r, c, rule, specific)};
	case NFT_CONTINUE:
		return (struct step){false, CONTINUE};
	case NFT_RETURN:
		return (struct step){true, CONTINUE};
	case NFT_JUMP:
	case NFT_GOTO: {
		const struct fw_chain *to = fw_chain_find(r->t, name);

		if (!to || depth >= MAX_DEPTH)
			return (struct step){false, CONTINUE};
		enum outcome o = run_chain(r, to, depth + 1, specific && !is_dispatch(r->t, c));
		return (struct step){o != CONTINUE || code == NFT_GOTO, o};
	}
	default: // accept; queue: another program decides, and is assumed to let pass
		return (struct step){true, ACCEPTED};
	}
}

static enum answer lookup(struct run *r, const struct fw_expr *e, const struct fw_elem **ret)
{
	const struct fw_set *s = find_set(r->t, e->name);

	*ret = NULL;
	if (!s || s->unknown || !is_known(r, e->sreg, s->key_len))
		return UNKNOWN;
	*ret = find_elem(s, r->reg + e->sreg);
	if (e->has_dreg && !(*ret && (*ret)->has_verdict))
		return *ret ? UNKNOWN : NO; // a map of values
	return (*ret != NULL) != ((e->flags & NFT_LOOKUP_F_INV) != 0);
}

static struct step run_rule(struct run *r, const struct fw_chain *c, const struct fw_rule *rule, unsigned depth,
			    bool specific)
{
	static const struct step next = {false, CONTINUE};
	bool unknown = false;

	r->specific = false;
	for (unsigned i = 0; i < rule->n; i++) {
		const struct fw_expr *e = &rule->exprs[i];
		const struct fw_elem *elem = NULL;
		enum answer a = YES;
		int32_t code = NFT_CONTINUE;
		const char *to = "";

		switch (e->kind) {
		case FW_NOTHING:
			break;
		case FW_META:
			load_meta(r, e);
			break;
		case FW_PAYLOAD:
			load_payload(r, e);
			break;
		case FW_CT:
			load_ct(r, e);
			break;
		case FW_FIB:
			load_fib(r, e);
			break;
		case FW_BITWISE:
			mask(r, e);
			break;
		case FW_VALUE:
			load(r, e->dreg, e->data, e->data_len);
			break;
		case FW_CMP:
			a = compare(r, e);
			break;
		case FW_RANGE:
			a = in_range(r, e);
			break;
		case FW_XT_MATCH:
			a = match_xt(r, e);
			break;
		case FW_LOOKUP:
			a = lookup(r, e, &elem);
			if (a == YES && elem && elem->has_verdict) {
				code = elem->verdict;
				to = elem->chain;
			}
			break;
		case FW_VERDICT:
			code = e->verdict;
			to = e->name;
			break;
		case FW_REJECT:
			code = NF_DROP;
			break;
		case FW_XT_TARGET:
			if (fl_streq(e->name, "REJECT"))
				code = NF_DROP;
			else if (!xt_target_continues(e->name))
				a = UNKNOWN;
			break;
		case FW_OTHER:
			a = UNKNOWN;
			break;
		}
		if (a == NO)
			return next;
		unknown |= a == UNKNOWN;
		if (code == NFT_CONTINUE)
			continue;
		if (unknown) {
			r->v.maybe |= code == NF_ACCEPT || code == NFT_JUMP || code == NFT_GOTO;
			return next;
		}
		return follow(r, c, rule, code, to, depth, specific || r->specific);
	}
	return next;
}

static enum outcome run_chain(struct run *r, const struct fw_chain *c, unsigned depth, bool specific)
{
	for (size_t i = 0; i < c->rules.n; i++) {
		const struct fw_rule *rule = &c->rules.v[i];

		if (rule->ours && r->skip_ours)
			continue;
		if (depth == 0)
			r->v.base_index = (unsigned)i;
		struct step s = run_rule(r, c, rule, depth, specific);
		if (s.leave)
			return s.out;
	}
	return CONTINUE;
}

struct fw_verdict fw_judge(const struct fw_table *t, const struct fw_chain *c, const struct fw_flow *flow,
			   bool skip_ours)
{
	struct run r = {.t = t, .f = flow, .skip_ours = skip_ours};
	enum outcome o = run_chain(&r, c, 0, false);

	if (o == CONTINUE && c->drop_policy) {
		r.v.base_index = (unsigned)c->rules.n;
		drop_here(&r, c, NULL, false);
	}
	return r.v;
}

// ---- flows

unsigned fw_flows(const struct fw_host *h, struct fw_flow ret[static FW_MAX_FLOWS])
{
	static const char uplink[] = "eth-uplink0", a[] = "flv000000000001", b[] = "flv000000000002";
	static const uint32_t fresh = CT_NEW, answer = NF_CT_STATE_BIT(IP_CT_ESTABLISHED);
	unsigned n = 0;

	for (unsigned i = 0; i < h->n_pods && i < 2; i++) {
		int family = h->pods[i].ip.family;
		struct fl_ip pod = fl_cidr_nth(&h->pods[i], 2), other = fl_cidr_nth(&h->pods[i], 3),
			     gateway = fl_cidr_nth(&h->pods[i], 1), world, node = gateway;

		fl_ip_parse(family == AF_INET ? "198.51.100.7" : "2001:db8::7", &world);
		for (unsigned j = 0; j < h->n_node_ips; j++)
			if (h->node_ips[j].family == family)
				node = h->node_ips[j];
		const struct fw_flow all[] = {
		    {"pod to pod", NF_INET_FORWARD, family, a, b, pod, other, IPPROTO_TCP, 40000, 8080, fresh, false},
		    {"pod to Service", NF_INET_FORWARD, family, a, b, pod, other, IPPROTO_TCP, 40000, 8080, fresh,
		     true},
		    {"pod to the world", NF_INET_FORWARD, family, a, uplink, pod, world, IPPROTO_TCP, 40000, 443, fresh,
		     false},
		    {"answers to pods", NF_INET_FORWARD, family, uplink, a, world, pod, IPPROTO_TCP, 443, 40000, answer,
		     false},
		    {"outside to NodePort", NF_INET_FORWARD, family, uplink, a, world, pod, IPPROTO_TCP, 40000, 8080,
		     fresh, true},
		    {"pod to DNS", NF_INET_LOCAL_IN, family, a, "", pod, gateway, IPPROTO_UDP, 40000, 53, fresh, true},
		    {"pod to API", NF_INET_LOCAL_IN, family, a, "", pod, node, IPPROTO_TCP, 40000, h->api_port, fresh,
		     true},
		    {"answers to this host", NF_INET_LOCAL_IN, family, a, "", pod, node, IPPROTO_TCP, 8080, 40000,
		     answer, false},
		    {"host to pod", NF_INET_LOCAL_OUT, family, "", a, node, pod, IPPROTO_TCP, 40000, 8080, fresh,
		     false},
		    {"host to Service", NF_INET_LOCAL_OUT, family, "", a, node, pod, IPPROTO_TCP, 40000, 8080, fresh,
		     true},
		    {"host's answers to pods", NF_INET_LOCAL_OUT, family, "", a, gateway, pod, IPPROTO_UDP, 53, 40000,
		     answer, true},
		    {"neighbour discovery", NF_INET_LOCAL_IN, family, a, "", pod, gateway, IPPROTO_ICMPV6, 0, 135,
		     fresh, false},
		};
		_Static_assert(2 * FL_COUNT(all) <= FW_MAX_FLOWS, "room for both families");
		for (size_t j = 0; j < FL_COUNT(all); j++)
			if (all[j].proto != IPPROTO_ICMPV6 || family == AF_INET6)
				ret[n++] = all[j];
	}
	return n;
}
