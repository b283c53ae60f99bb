// SPDX-License-Identifier: Apache-2.0
// Which Service holds which address and port, and how one write changes that. (registry/core/service alloc.go,
// ipallocator, portallocator)
//
//   prepare   claims what the new state needs beyond the old one   -- the write fails --> free: claims taken back
//      |
//   the write is durable --> commit: what the old state held beyond the new one is free again
//
// An object built on a write that is still under way has that write's values as "old" ones; when it fails both fail,
// and each takes back only what it claimed itself.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "apiserver/alloc.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/vec.h"

struct fl_service_alloc {
	struct fl_service_alloc_opts opts;
	struct fl_range *ips[2];
	struct fl_range *ports;
};

static uint64_t band(uint64_t size, uint64_t divisor, uint64_t cap)
{
	uint64_t b = size / divisor > 16 ? size / divisor : 16;
	b = b < cap ? b : cap;
	return b < size ? b : 0;
}

// Usable addresses: without the network's own and, for IPv4, the broadcast address. Item 0 is base + 1.
static uint64_t usable(const struct fl_cidr *c)
{
	uint64_t size = fl_cidr_size(c), less = c->ip.family == AF_INET ? 2 : 1;
	size = size > less ? size - less : 0;
	return size < (1ull << 32) ? size : (1ull << 32) - 1;
}

struct fl_service_alloc *fl_service_alloc_new(const struct fl_service_alloc_opts *opts)
{
	struct fl_service_alloc *a = FL_NEW(struct fl_service_alloc);
	a->opts = *opts;
	for (unsigned i = 0; i < opts->n_cidrs; i++) {
		uint64_t n = usable(&opts->cidrs[i]);
		a->ips[i] = fl_range_new(n, band(n, 16, 256));
	}
	uint64_t ports = (uint64_t)opts->port_high - opts->port_low + 1;
	a->ports = fl_range_new(ports, band(ports, 32, 128));
	return a;
}

void fl_service_alloc_free(struct fl_service_alloc **a)
{
	if (!*a)
		return;
	fl_range_free(&(*a)->ips[0]);
	fl_range_free(&(*a)->ips[1]);
	fl_range_free(&(*a)->ports);
	free(*a);
	*a = NULL;
}

// --- what a Service holds ---

// One address or port: an item of a range.
struct item {
	struct fl_range *range;
	uint64_t i;
};

struct held {
	struct item ips[2];
	unsigned n_ips;
	FL_VEC(uint32_t) ports; // items, without repetition
};

struct fl_alloc_txn {
	FL_VEC(struct item) claimed, released;
};

static void held_deinit(struct held *h)
{
	fl_vec_deinit(&h->ports);
}

static bool find_ip(const struct fl_service_alloc *a, const char *text, struct item *ret)
{
	struct fl_ip ip;
	if (!text || !fl_ip_parse(text, &ip))
		return false;
	for (unsigned i = 0; i < a->opts.n_cidrs; i++) {
		uint64_t n;
		if (fl_cidr_index(&a->opts.cidrs[i], &ip, &n) && n >= 1 && n - 1 < usable(&a->opts.cidrs[i])) {
			*ret = (struct item){.range = a->ips[i], .i = n - 1};
			return true;
		}
	}
	return false;
}

static bool holds_port(const struct held *h, uint64_t item)
{
	for (size_t i = 0; i < h->ports.n; i++)
		if (h->ports.v[i] == item)
			return true;
	return false;
}

static bool is_node_port(const struct fl_service_alloc *a, int64_t port)
{
	return port >= a->opts.port_low && port <= a->opts.port_high;
}

static void hold_port(const struct fl_service_alloc *a, struct held *h, int64_t port)
{
	if (is_node_port(a, port) && !holds_port(h, (uint64_t)(port - a->opts.port_low)))
		fl_vec_push(&h->ports, (uint32_t)(port - a->opts.port_low));
}

static bool has_node_ports(const struct fl_json *spec)
{
	const char *type = fl_json_str(spec, "type");
	return fl_streq(type, "NodePort") || fl_streq(type, "LoadBalancer");
}

static bool is_external_name(const struct fl_json *spec)
{
	return fl_streq(fl_json_str(spec, "type"), "ExternalName");
}

static void collect(const struct fl_service_alloc *a, const struct fl_json *service, struct held *h)
{
	const struct fl_json *spec = fl_json_get(service, "spec");
	if (!spec || is_external_name(spec))
		return;
	fl_json_each (ip, fl_json_get(spec, "clusterIPs"))
		if (h->n_ips < FL_COUNT(h->ips) && find_ip(a, fl_json_string(ip), &h->ips[h->n_ips]))
			h->n_ips++;
	if (!has_node_ports(spec))
		return;
	fl_json_each (port, fl_json_get(spec, "ports"))
		hold_port(a, h, fl_json_int(port, "nodePort", 0));
	hold_port(a, h, fl_json_int(spec, "healthCheckNodePort", 0));
}

void fl_service_alloc_adopt(struct fl_service_alloc *a, const struct fl_json *service)
{
	AUTO(held_deinit) struct held h = {0};
	collect(a, service, &h);
	const struct fl_json *meta = fl_json_get(service, "metadata");
	for (unsigned i = 0; i < h.n_ips; i++)
		if (fl_range_claim(h.ips[i].range, h.ips[i].i) < 0)
			fl_warn("clusterIP is held by two Services namespace=%s name=%s",
				fl_json_str(meta, "namespace"), fl_json_str(meta, "name"));
	for (size_t i = 0; i < h.ports.n; i++)
		if (fl_range_claim(a->ports, h.ports.v[i]) < 0)
			fl_warn("node port is held by two Services namespace=%s name=%s port=%u",
				fl_json_str(meta, "namespace"), fl_json_str(meta, "name"),
				(unsigned)h.ports.v[i] + a->opts.port_low);
}

// --- one write ---

// A preparation on its way: what it reads, what it changes, and how it ended.
struct work {
	struct fl_service_alloc *a;
	struct fl_arena *arena;
	struct fl_json *spec;
	const struct fl_json *old; // spec of the old state; NULL when that held nothing
	const struct held *had;    // by the old state
	struct held mine;          // by the new one: node ports as they are taken
	struct fl_alloc_txn *txn;
	struct fl_causes *causes;
	const char *exhausted;
};

static bool claim(struct work *w, struct item it)
{
	if (fl_range_claim(it.range, it.i) < 0)
		return false;
	fl_vec_push(&w->txn->claimed, it);
	return true;
}

static bool claim_next(struct work *w, struct fl_range *range, struct item *ret, const char *if_full)
{
	*ret = (struct item){.range = range};
	if (fl_range_next(range, &ret->i) < 0) {
		w->exhausted = if_full;
		return false;
	}
	fl_vec_push(&w->txn->claimed, *ret);
	return true;
}

static bool had_ip(const struct held *h, struct item it)
{
	for (unsigned i = 0; i < h->n_ips; i++)
		if (h->ips[i].range == it.range && h->ips[i].i == it.i)
			return true;
	return false;
}

static int cidr_of_family(const struct fl_service_alloc *a, const char *family)
{
	int af = fl_streq(family, "IPv6") ? AF_INET6 : AF_INET;
	for (unsigned i = 0; i < a->opts.n_cidrs; i++)
		if (a->opts.cidrs[i].ip.family == af)
			return (int)i;
	return -1;
}

// What the old state has stays its own, be it outside of ranges that were others when it was given: only what is new is
// looked at. (registry/core/service/storage/alloc.go updateClusterIPs, updateNodePorts)
static bool was_ip(const struct fl_json *old, const char *text)
{
	fl_json_each (ip, fl_json_get(old, "clusterIPs"))
		if (fl_streq(fl_json_string(ip), text))
			return true;
	return false;
}

static bool was_port(const struct fl_json *old, int64_t port)
{
	if (!old || !has_node_ports(old))
		return false;
	fl_json_each (p, fl_json_get(old, "ports"))
		if (fl_json_int(p, "nodePort", 0) == port)
			return true;
	return fl_json_int(old, "healthCheckNodePort", 0) == port;
}

static bool take_chosen_ips(struct work *w, const struct fl_json *ips)
{
	fl_json_each (ip, ips) {
		const char *text = fl_json_string(ip), *why = NULL;
		struct item it;
		struct fl_ip parsed;
		if (fl_str_empty(text) || !fl_ip_parse(text, &parsed) || was_ip(w->old, text))
			continue; // no address is named by validation
		if (!find_ip(w->a, text, &it))
			why = "the provided network does not match the current range";
		else if (!had_ip(w->had, it) && !claim(w, it))
			why = "provided IP is already allocated";
		if (why) {
			fl_cause_add(w->causes, FL_CAUSE_INVALID, "spec.clusterIPs", ips,
				     "failed to allocate IP %s: %s", text, why);
			return false;
		}
	}
	return true;
}

// One address for each family that has none yet, in the families' order.
static bool fill_ips(struct work *w, struct fl_json *ips)
{
	size_t n = 0;
	fl_json_each (family, fl_json_get(w->spec, "ipFamilies")) {
		struct fl_json *at = fl_json_index(ips, n++);
		int c = cidr_of_family(w->a, fl_json_string(family));
		if (c < 0 || (at && !fl_str_empty(fl_json_string(at))))
			continue;
		struct item it;
		if (!claim_next(w, w->a->ips[c], &it, "failed to allocate a serviceIP: range is full"))
			return false;
		char text[FL_IP_STRLEN];
		struct fl_ip ip = fl_cidr_nth(&w->a->opts.cidrs[c], it.i + 1);
		fl_ip_format(&ip, text);
		if (at)
			at->str = fl_json_new_str(w->arena, text)->str;
		else
			fl_json_append(ips, fl_json_new_str(w->arena, text));
	}
	return true;
}

static bool prepare_ips(struct work *w)
{
	struct fl_json *ips = fl_json_get(w->spec, "clusterIPs");
	if (!fl_json_is(ips, FL_JSON_ARRAY))
		ips = fl_json_set_array(w->arena, w->spec, "clusterIPs");
	if (fl_streq(fl_json_string(fl_json_index(ips, 0)), "None"))
		return true;
	if (!take_chosen_ips(w, ips) || !fill_ips(w, ips))
		return false;
	if (fl_json_count(ips))
		fl_json_set_str(w->arena, w->spec, "clusterIP", fl_json_string(fl_json_index(ips, 0)));
	else
		fl_json_remove(w->spec, "clusterIPs");
	return true;
}

static bool port_is_taken(struct work *w, int64_t port, const char *field)
{
	fl_cause_add(w->causes, FL_CAUSE_INVALID, field, fl_json_new_int(w->arena, port),
		     "provided port is already allocated");
	return false;
}

// Claims `port` for the field, unless this Service has it already: the same number for TCP and UDP is one claim.
static bool take_port(struct work *w, int64_t port, const char *field)
{
	struct fl_service_alloc *a = w->a;
	struct fl_json *value = fl_json_new_int(w->arena, port);
	if (was_port(w->old, port)) {
		hold_port(a, &w->mine, port);
		return true;
	}
	if (!is_node_port(a, port)) {
		fl_cause_add(w->causes, FL_CAUSE_INVALID, field, value,
			     "provided port is not in the valid range. The range of valid ports is %u-%u",
			     a->opts.port_low, a->opts.port_high);
		return false;
	}
	struct item it = {.range = a->ports, .i = (uint64_t)(port - a->opts.port_low)};
	if (!holds_port(&w->mine, it.i) && !claim(w, it))
		return port_is_taken(w, port, field);
	hold_port(a, &w->mine, port);
	return true;
}

static bool is_a_ports(const struct work *w, int64_t port)
{
	fl_json_each (p, fl_json_get(w->spec, "ports"))
		if (fl_json_int(p, "nodePort", 0) == port)
			return true;
	return false;
}

static bool next_port(struct work *w, int64_t *ret, const char *if_full)
{
	struct item it;
	if (!claim_next(w, w->a->ports, &it, if_full))
		return false;
	*ret = (int64_t)it.i + w->a->opts.port_low;
	hold_port(w->a, &w->mine, *ret);
	return true;
}

// A nodePort that another port of this Service with the same number in another protocol has (dns over TCP and UDP): it
// is shared, as Kubernetes does.
static int64_t sibling_port(const struct fl_json *ports, const struct fl_json *port)
{
	fl_json_each (other, ports) {
		int64_t np = fl_json_int(other, "nodePort", 0);
		if (other != port && np && fl_json_int(other, "port", 0) == fl_json_int(port, "port", 0) &&
		    !fl_streq(fl_json_str(other, "protocol"), fl_json_str(port, "protocol")))
			return np;
	}
	return 0;
}

static bool prepare_ports(struct work *w)
{
	struct fl_json *ports = fl_json_get(w->spec, "ports");
	bool lb = fl_streq(fl_json_str(w->spec, "type"), "LoadBalancer");
	char field[64];
	unsigned i = 0;
	fl_json_each (port, ports) { // chosen ones first, so that a dynamic one cannot take their place
		int64_t np = fl_json_int(port, "nodePort", 0);
		snprintf(field, sizeof(field), "spec.ports[%u].nodePort", i++);
		if (np && !take_port(w, np, field))
			return false;
	}
	if (lb && !fl_json_bool(w->spec, "allocateLoadBalancerNodePorts", true))
		return true;
	fl_json_each (port, ports) {
		if (fl_json_int(port, "nodePort", 0))
			continue;
		int64_t np = sibling_port(ports, port);
		if (!np && !next_port(w, &np, "failed to allocate a nodePort: range is full"))
			return false;
		fl_json_set_int(w->arena, port, "nodePort", np);
	}
	return true;
}

static bool prepare_health_port(struct work *w)
{
	if (!fl_streq(fl_json_str(w->spec, "type"), "LoadBalancer") ||
	    !fl_streq(fl_json_str(w->spec, "externalTrafficPolicy"), "Local"))
		return true;
	int64_t port = fl_json_int(w->spec, "healthCheckNodePort", 0);
	if (port)
		return !is_a_ports(w, port) ? take_port(w, port, "spec.healthCheckNodePort")
					    : port_is_taken(w, port, "spec.healthCheckNodePort");
	if (!next_port(w, &port, "failed to allocate a HealthCheck NodePort: range is full"))
		return false;
	fl_json_set_int(w->arena, w->spec, "healthCheckNodePort", port);
	return true;
}

static void release_unheld(struct fl_service_alloc *a, const struct held *had, const struct held *has,
			   struct fl_alloc_txn *t)
{
	for (unsigned i = 0; i < had->n_ips; i++)
		if (!had_ip(has, had->ips[i]))
			fl_vec_push(&t->released, had->ips[i]);
	for (size_t i = 0; i < had->ports.n; i++)
		if (!holds_port(has, had->ports.v[i]))
			fl_vec_push(&t->released, ((struct item){.range = a->ports, .i = had->ports.v[i]}));
}

struct fl_alloc_txn *fl_service_alloc_prepare(struct fl_service_alloc *a, struct fl_arena *arena, struct fl_json *obj,
					      const struct fl_json *old, struct fl_causes *causes,
					      const char **ret_exhausted)
{
	AUTO(held_deinit) struct held had = {0}, has = {0};
	AUTO(fl_alloc_txn_free) struct fl_alloc_txn *t = FL_NEW(struct fl_alloc_txn);
	struct work w = {
	    .a = a, .arena = arena, .spec = fl_json_get(obj, "spec"), .had = &had, .txn = t, .causes = causes};
	if (old)
		collect(a, old, &had);
	if (old && !is_external_name(fl_json_get(old, "spec")))
		w.old = fl_json_get(old, "spec");
	bool ok = !fl_json_is(w.spec, FL_JSON_OBJECT) || is_external_name(w.spec) ||
		  (prepare_ips(&w) && (!has_node_ports(w.spec) || (prepare_ports(&w) && prepare_health_port(&w))));
	held_deinit(&w.mine);
	if (!ok) {
		if (w.exhausted)
			*ret_exhausted = w.exhausted;
		return NULL;
	}
	collect(a, obj, &has);
	release_unheld(a, &had, &has, t);
	return TAKE_PTR(t);
}

struct fl_alloc_txn *fl_service_alloc_prepare_delete(struct fl_service_alloc *a, const struct fl_json *old)
{
	AUTO(held_deinit) struct held had = {0};
	const struct held none = {0};
	struct fl_alloc_txn *t = FL_NEW(struct fl_alloc_txn);
	collect(a, old, &had);
	release_unheld(a, &had, &none, t);
	return t;
}

void fl_alloc_txn_commit(struct fl_alloc_txn *t)
{
	for (size_t i = 0; i < t->released.n; i++)
		fl_range_release(t->released.v[i].range, t->released.v[i].i);
	t->claimed.n = t->released.n = 0;
}

void fl_alloc_txn_free(struct fl_alloc_txn **tp)
{
	struct fl_alloc_txn *t = TAKE_PTR(*tp);
	if (!t)
		return;
	for (size_t i = 0; i < t->claimed.n; i++)
		fl_range_release(t->claimed.v[i].range, t->claimed.v[i].i);
	fl_vec_deinit(&t->claimed);
	fl_vec_deinit(&t->released);
	free(t);
}

struct fl_service_alloc_stats fl_service_alloc_stats(const struct fl_service_alloc *a)
{
	struct fl_service_alloc_stats st = {.ports = fl_range_used(a->ports)};
	for (unsigned i = 0; i < a->opts.n_cidrs; i++)
		st.ips[i] = fl_range_used(a->ips[i]);
	return st;
}
