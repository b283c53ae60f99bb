// SPDX-License-Identifier: Apache-2.0
#include "node/firewall/plan.h"

#include <linux/netfilter.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define POD_LINKS "flv" // prefix of the host's ends of the pods' links, see podnet.h

// ---- what must pass

unsigned fw_accepts(const struct fw_host *h, int hook, int family, struct fw_accept ret[static FW_MAX_ACCEPTS])
{
	unsigned n = 0;

	for (unsigned i = 0; i < h->n_pods && i < 2; i++) {
		const struct fl_cidr pods = h->pods[i], cluster = h->cluster[i];
		struct fl_cidr gateway = {.ip = fl_cidr_nth(&pods, 1), .bits = pods.ip.family == AF_INET ? 32 : 128};

		if (family && pods.ip.family != family)
			continue;
		const struct fw_accept forward[] = {
		    {.in_pods = true, .src = pods, .why = "from pods"},
		    {.out_pods = true, .dst = pods, .ct = FW_CT_ANSWER, .why = "answers to pods"},
		    {.dst = cluster, .ct = FW_CT_DNAT, .why = "through a Service"},
		    {.src = cluster, .ct = FW_CT_ANSWER, .why = "answers of pods"},
		    {.out_pods = true, .src = cluster, .dst = pods, .why = "pods of other nodes"},
		};
		const struct fw_accept input[] = {
		    {.in_pods = true, .src = pods, .ct = FW_CT_ANSWER, .why = "answers of pods"},
		    {.in_pods = true, .src = pods, .ct = FW_CT_DNAT, .why = "through a Service"},
		    {.in_pods = true, .src = pods, .dst = gateway, .proto = IPPROTO_UDP, .dport = 53, .why = "DNS"},
		    {.in_pods = true, .src = pods, .dst = gateway, .proto = IPPROTO_TCP, .dport = 53, .why = "DNS"},
		    {.in_pods = true, .proto = IPPROTO_ICMPV6, .why = "neighbour discovery"},
		};
		const struct fw_accept output[] = {
		    {.out_pods = true, .dst = pods, .why = "to pods"},
		    {.dst = cluster, .ct = FW_CT_DNAT, .why = "through a Service"},
		};
		const struct fw_accept *list = hook == NF_INET_FORWARD ? forward : input;
		size_t count = hook == NF_INET_FORWARD      ? FL_COUNT(forward)
			       : pods.ip.family == AF_INET6 ? FL_COUNT(input)
							    : FL_COUNT(input) - 1; // the last is of IPv6 alone
		if (hook == NF_INET_LOCAL_OUT) {
			list = output;
			count = FL_COUNT(output);
		}
		for (size_t j = 0; j < count; j++)
			ret[n++] = list[j];
	}
	return n;
}

void fw_accept_print_iptables(struct fl_buf *b, const struct fw_accept *a)
{
	const char *proto = a->proto == IPPROTO_UDP ? "udp" : "tcp";
	char text[FL_CIDR_STRLEN];

	if (a->src.ip.family)
		fl_buf_printf(b, "-s %s ", fl_cidr_format(&a->src, text));
	if (a->dst.ip.family)
		fl_buf_printf(b, "-d %s ", fl_cidr_format(&a->dst, text));
	if (a->in_pods)
		fl_buf_puts(b, "-i " POD_LINKS "+ ");
	if (a->out_pods)
		fl_buf_puts(b, "-o " POD_LINKS "+ ");
	if (a->proto == IPPROTO_ICMPV6)
		fl_buf_puts(b, "-p ipv6-icmp ");
	else if (a->proto)
		fl_buf_printf(b, "-p %s -m %s --dport %u ", proto, proto, a->dport);
	if (a->ct != FW_CT_ANY)
		fl_buf_printf(b, "-m conntrack --ctstate %s ", a->ct == FW_CT_DNAT ? "DNAT" : "RELATED,ESTABLISHED");
	fl_buf_puts(b, "-j ACCEPT");
}

// ---- names

const char *fw_own_chain(int hook)
{
	return hook == NF_INET_FORWARD    ? FW_OWN_PREFIX "FORWARD"
	       : hook == NF_INET_LOCAL_IN ? FW_OWN_PREFIX "INPUT"
					  : FW_OWN_PREFIX "OUTPUT";
}

const char *fw_hook_name(int hook)
{
	return hook == NF_INET_FORWARD ? "forward" : hook == NF_INET_LOCAL_IN ? "input" : "output";
}

const char *fw_family_name(uint8_t nfproto)
{
	return nfproto == NFPROTO_IPV4 ? "ip" : nfproto == NFPROTO_IPV6 ? "ip6" : "inet";
}

static bool covers(const struct fw_table *t, int family)
{
	return t->family == NFPROTO_INET || (t->family == NFPROTO_IPV4) == (family == AF_INET);
}

// The tables of iptables-nft have fixed names, hooks and priorities.
bool fw_is_iptables(const struct fw_table *t)
{
	const struct fw_chain *c = NULL;

	if (t->family == NFPROTO_INET || !fl_streq(t->name, "filter"))
		return false;
	for (int i = 0; i < 3 && !c; i++)
		c = fw_chain_find(t, (const char *const[]){"FORWARD", "INPUT", "OUTPUT"}[i]);
	return c && c->hook >= 0 && c->priority == 0;
}

static bool is_firewalld(const struct fw_table *t)
{
	return t->family == NFPROTO_INET && fl_streq(t->name, "firewalld");
}

static bool may_write(const struct fw_table *t)
{
	return !t->foreign_owner && (fw_is_iptables(t) || is_firewalld(t));
}

// ---- plan

struct blocked { // flows that one rule, or one policy, holds up for good
	const struct fw_table *t;
	const struct fw_chain *base, *chain;
	const struct fw_rule *rule;
	bool specific, maybe;
	unsigned families; // 1: IPv4, 2: IPv6
	struct fl_buf flows;
};

struct making {
	const struct fw_host *h;
	struct fw_flow flows[FW_MAX_FLOWS];
	unsigned n_flows;
	struct fw_plan *plan;
	FL_VEC(struct blocked) blocked;
};

static void add_place(struct fw_fix *f, const struct fw_chain *chain, const struct fw_rule *rule)
{
	for (size_t i = 0; i < f->places.n; i++) {
		struct fw_place *p = &f->places.v[i];

		if (p->chain != chain)
			continue;
		if (!p->before) { // the end gives way to any rule, a rule to an earlier one
			p->before = rule ? rule->handle : 0;
			return;
		}
		for (size_t j = 0; rule && j < chain->rules.n; j++) {
			if (chain->rules.v[j].handle == p->before)
				return;
			if (&chain->rules.v[j] == rule) {
				p->before = rule->handle;
				return;
			}
		}
		return;
	}
	fl_vec_push(&f->places, ((struct fw_place){chain, rule ? rule->handle : 0}));
}

// ufw: behind the user's own rules (ufw-user-*, jumped to by ufw-before-*), before what logs and refuses the rest.
static const struct fw_rule *ufw_end(const struct fw_chain *base)
{
	for (size_t i = 0; i < base->rules.n; i++) {
		const struct fw_rule *rule = &base->rules.v[i];

		for (unsigned j = 0; j < rule->n; j++)
			if (rule->exprs[j].kind == FW_VERDICT && (fl_starts_with(rule->exprs[j].name, "ufw-after-") ||
								  fl_starts_with(rule->exprs[j].name, "ufw6-after-")))
				return rule;
	}
	return NULL;
}

static void place(struct fw_fix *f, const struct fw_chain *base, const struct fw_verdict *v)
{
	const struct fw_rule *ufw = ufw_end(base);

	if (ufw && (size_t)(ufw - base->rules.v) <= v->base_index)
		add_place(f, base, ufw);
	else
		add_place(f, v->chain, v->rule);
}

static void block(struct making *m, const struct fw_table *t, const struct fw_chain *base, const struct fw_verdict *v,
		  const struct fw_flow *flow)
{
	struct blocked *b = NULL;

	for (size_t i = 0; i < m->blocked.n && !b; i++)
		if (m->blocked.v[i].base == base && m->blocked.v[i].chain == v->chain &&
		    m->blocked.v[i].rule == v->rule)
			b = &m->blocked.v[i];
	if (!b) {
		fl_vec_push(&m->blocked, ((struct blocked){.t = t, .base = base, .chain = v->chain, .rule = v->rule}));
		b = &m->blocked.v[m->blocked.n - 1];
	}
	b->specific |= v->specific;
	b->maybe |= v->maybe;
	b->families |= flow->family == AF_INET ? 1 : 2;
	if (!b->flows.data || !strstr(b->flows.data, flow->name))
		fl_buf_printf(&b->flows, "%s%s", b->flows.len ? ", " : "", flow->name);
}

static bool has_ours(const struct fw_table *t, const char *own)
{
	if (fw_chain_find(t, own))
		return true;
	for (size_t i = 0; i < t->chains.n; i++)
		for (size_t j = 0; j < t->chains.v[i].rules.n; j++) {
			const struct fw_rule *r = &t->chains.v[i].rules.v[j];

			for (unsigned k = 0; r->ours && k < r->n; k++)
				if (r->exprs[k].kind == FW_VERDICT && fl_streq(r->exprs[k].name, own))
					return true;
		}
	return false;
}

static void look_at_hook(struct making *m, const struct fw_table *t, int hook)
{
	struct fw_fix f = {.table = t, .hook = hook, .own = fw_own_chain(hook)};
	bool passes = true, writable = may_write(t);

	for (size_t i = 0; i < t->chains.n; i++) {
		const struct fw_chain *c = &t->chains.v[i];

		if (c->hook != hook)
			continue;
		for (unsigned j = 0; j < m->n_flows; j++) {
			const struct fw_flow *flow = &m->flows[j];

			if (flow->hook != hook || !covers(t, flow->family))
				continue;
			struct fw_verdict v = fw_judge(t, c, flow, true);
			if (!v.drop)
				continue;
			if (!writable || v.specific) {
				block(m, t, c, &v, flow);
				continue;
			}
			place(&f, c, &v);
			passes &= !fw_judge(t, c, flow, false).drop;
		}
	}
	f.present = has_ours(t, f.own);
	f.done = f.places.n ? f.present && passes : !f.present;
	if (writable)
		fl_vec_push(&m->plan->fixes, f);
	else
		fl_vec_deinit(&f.places);
}

static unsigned rule_number(const struct fw_chain *c, const struct fw_rule *rule)
{
	unsigned n = 1;

	for (size_t i = 0; i < c->rules.n && &c->rules.v[i] != rule; i++)
		n++;
	return n;
}

static void say_where(struct fl_buf *b, const struct blocked *x)
{
	const char *family = fw_family_name(x->t->family);

	if (!x->rule)
		fl_buf_printf(b, "the drop policy of chain %s", x->chain->name);
	else
		fl_buf_printf(b, "rule %u (handle %llu) of chain %s", rule_number(x->chain, x->rule),
			      (unsigned long long)x->rule->handle, x->chain->name);
	if (x->chain != x->base)
		fl_buf_printf(b, ", led to by chain %s,", x->base->name);
	fl_buf_printf(b, " in nftables table %s %s", family, x->t->name);
}

// Shorter than what we write ourselves, since a person types it: by the pods' links alone.
static const struct {
	int hook;
	bool v6;
	const char *rule;
} advice[] = {
    {NF_INET_FORWARD, false, "iifname \"" POD_LINKS "*\""},
    {NF_INET_FORWARD, false, "oifname \"" POD_LINKS "*\" ct state established,related"},
    {NF_INET_FORWARD, false, "oifname \"" POD_LINKS "*\" ct status dnat"},
    {NF_INET_LOCAL_IN, false, "iifname \"" POD_LINKS "*\" ct state established,related"},
    {NF_INET_LOCAL_IN, false, "iifname \"" POD_LINKS "*\" ct status dnat"},
    {NF_INET_LOCAL_IN, true, "iifname \"" POD_LINKS "*\" meta l4proto ipv6-icmp"},
    {NF_INET_LOCAL_OUT, false, "oifname \"" POD_LINKS "*\""},
};

static void say_remedy(struct fl_buf *b, const struct making *m, const struct blocked *x)
{
	const char *family = fw_family_name(x->t->family);
	char text[FL_CIDR_STRLEN];

	if (x->specific) {
		fl_buf_printf(b, "; it names this traffic, so it is left as it is: see `nft -a list chain %s %s %s`",
			      family, x->t->name, x->chain->name);
		return;
	}
	if (is_firewalld(x->t)) {
		fl_buf_puts(b, "; let it through with `firewall-cmd --permanent --zone=trusted");
		for (unsigned i = 0; i < m->h->n_pods; i++)
			fl_buf_printf(b, " --add-source=%s", fl_cidr_format(&m->h->cluster[i], text));
		fl_buf_puts(b, " && firewall-cmd --reload`");
		return;
	}
	fl_buf_puts(b, "; let it through with `nft '");
	for (size_t i = 0, n = 0; i < FL_COUNT(advice); i++)
		if (advice[i].hook == x->base->hook && (!advice[i].v6 || (x->families & 2)))
			fl_buf_printf(b, "%sinsert rule %s %s %s %s accept", n++ ? "; " : "", family, x->t->name,
				      x->base->name, advice[i].rule);
	fl_buf_puts(b, "'`");
}

static void tell(struct making *m)
{
	for (size_t i = 0; i < m->blocked.n; i++) {
		struct blocked *x = &m->blocked.v[i];
		struct fl_buf b = {0};

		fl_buf_printf(&b, "%s %sblocked by ", x->flows.data, x->maybe ? "possibly " : "");
		say_where(&b, x);
		say_remedy(&b, m, x);
		fl_vec_push(&m->plan->problems, fl_buf_take(&b));
		fl_buf_deinit(&x->flows);
	}
	fl_vec_deinit(&m->blocked);
}

void fw_plan_make(const struct fw_host *h, const struct fw_ruleset *r, struct fw_plan *ret)
{
	static const int hooks[] = {NF_INET_LOCAL_IN, NF_INET_FORWARD, NF_INET_LOCAL_OUT};
	struct making m = {.h = h, .plan = ret};

	*ret = (struct fw_plan){0};
	m.n_flows = fw_flows(h, m.flows);
	for (size_t i = 0; i < r->tables.n; i++)
		for (size_t j = 0; j < FL_COUNT(hooks); j++)
			look_at_hook(&m, &r->tables.v[i], hooks[j]);
	tell(&m);
}

void fw_plan_deinit(struct fw_plan *p)
{
	for (size_t i = 0; i < p->fixes.n; i++)
		fl_vec_deinit(&p->fixes.v[i].places);
	for (size_t i = 0; i < p->problems.n; i++)
		free(p->problems.v[i]);
	fl_vec_deinit(&p->fixes);
	fl_vec_deinit(&p->problems);
}
