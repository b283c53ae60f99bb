// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "apiserver/alloc.h"
#include "base/log.h"
#include "base/mem.h"

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

struct held_ip {
	unsigned cidr;
	uint64_t item;
};

struct held {
	struct held_ip ips[2];
	unsigned n_ips;
	uint64_t ports[256]; // items, without repetition
	unsigned n_ports;
};

static bool find_ip(const struct fl_service_alloc *a, const char *text, struct held_ip *ret)
{
	struct fl_ip ip;
	if (!text || !fl_ip_parse(text, &ip))
		return false;
	for (unsigned i = 0; i < a->opts.n_cidrs; i++) {
		uint64_t n;
		if (fl_cidr_index(&a->opts.cidrs[i], &ip, &n) && n >= 1 && n - 1 < usable(&a->opts.cidrs[i])) {
			*ret = (struct held_ip){.cidr = i, .item = n - 1};
			return true;
		}
	}
	return false;
}

static bool holds_port(const struct held *h, uint64_t item)
{
	for (unsigned i = 0; i < h->n_ports; i++)
		if (h->ports[i] == item)
			return true;
	return false;
}

static void hold_port(const struct fl_service_alloc *a, struct held *h, int64_t port)
{
	if (port < a->opts.port_low || port > a->opts.port_high)
		return;
	uint64_t item = (uint64_t)(port - a->opts.port_low);
	if (!holds_port(h, item) && h->n_ports < FL_COUNT(h->ports))
		h->ports[h->n_ports++] = item;
}

static bool is_external_name(const struct fl_json *spec)
{
	return fl_streq(fl_json_str(spec, "type"), "ExternalName");
}

static void collect(const struct fl_service_alloc *a, const struct fl_json *service, struct held *h)
{
	*h = (struct held){0};
	const struct fl_json *spec = fl_json_get(service, "spec");
	if (!spec || is_external_name(spec))
		return;
	fl_json_each (ip, fl_json_get(spec, "clusterIPs"))
		if (h->n_ips < 2 && find_ip(a, fl_json_string(ip), &h->ips[h->n_ips]))
			h->n_ips++;
	fl_json_each (port, fl_json_get(spec, "ports"))
		hold_port(a, h, fl_json_int(port, "nodePort", 0));
	hold_port(a, h, fl_json_int(spec, "healthCheckNodePort", 0));
}

void fl_service_alloc_adopt(struct fl_service_alloc *a, const struct fl_json *service)
{
	struct held h;
	collect(a, service, &h);
	const struct fl_json *meta = fl_json_get(service, "metadata");
	for (unsigned i = 0; i < h.n_ips; i++)
		if (fl_range_claim(a->ips[h.ips[i].cidr], h.ips[i].item) < 0)
			fl_warn("clusterIP is held by two Services namespace=%s name=%s",
				fl_json_str(meta, "namespace"), fl_json_str(meta, "name"));
	for (unsigned i = 0; i < h.n_ports; i++)
		if (fl_range_claim(a->ports, h.ports[i]) < 0)
			fl_warn("node port is held by two Services namespace=%s name=%s port=%u",
				fl_json_str(meta, "namespace"), fl_json_str(meta, "name"),
				(unsigned)h.ports[i] + a->opts.port_low);
}

// --- one write ---

static void claim_ip(struct fl_alloc_txn *t, struct held_ip ip)
{
	t->claimed[t->n_claimed].is_ip = true;
	t->claimed[t->n_claimed].cidr = ip.cidr;
	t->claimed[t->n_claimed++].item = ip.item;
}

static void claim_port(struct fl_alloc_txn *t, uint64_t item)
{
	t->claimed[t->n_claimed].is_ip = false;
	t->claimed[t->n_claimed++].item = item;
}

static bool held_has_ip(const struct held *h, struct held_ip ip)
{
	for (unsigned i = 0; i < h->n_ips; i++)
		if (h->ips[i].cidr == ip.cidr && h->ips[i].item == ip.item)
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

static void prepare_ips(struct fl_service_alloc *a, struct fl_arena *arena, struct fl_json *spec,
			const struct held *had, struct fl_alloc_txn *t, struct fl_causes *causes)
{
	struct fl_json *ips = fl_json_get(spec, "clusterIPs");
	if (!fl_json_is(ips, FL_JSON_ARRAY))
		ips = fl_json_set_array(arena, spec, "clusterIPs");
	const char *first = fl_json_string(fl_json_index(ips, 0));
	if (fl_streq(first, "None"))
		return;
	fl_json_each (ip, ips) {
		const char *text = fl_json_string(ip);
		struct held_ip h;
		struct fl_ip parsed;
		if (fl_str_empty(text) || !fl_ip_parse(text, &parsed))
			continue; // validation names it
		if (!find_ip(a, text, &h)) {
			fl_cause_add(causes, FL_CAUSE_INVALID, "spec.clusterIPs", ips,
				     "failed to allocate IP %s: the provided network does not match the current range",
				     text);
			return;
		}
		if (held_has_ip(had, h))
			continue;
		if (fl_range_claim(a->ips[h.cidr], h.item) < 0) {
			fl_cause_add(causes, FL_CAUSE_INVALID, "spec.clusterIPs", ips,
				     "failed to allocate IP %s: provided IP is already allocated", text);
			return;
		}
		claim_ip(t, h);
	}
	// One address for each family that has none yet, in the families' order.
	size_t n = 0;
	fl_json_each (family, fl_json_get(spec, "ipFamilies")) {
		struct fl_json *at = fl_json_index(ips, n++);
		if (at && !fl_str_empty(fl_json_string(at)))
			continue;
		int c = cidr_of_family(a, fl_json_string(family));
		if (c < 0)
			continue;
		struct held_ip h = {.cidr = (unsigned)c};
		if (fl_range_next(a->ips[c], &h.item) < 0) {
			fl_cause_add(causes, FL_CAUSE_INTERNAL, "spec.clusterIPs", NULL, "%s",
				     "failed to allocate a serviceIP: range is full");
			return;
		}
		claim_ip(t, h);
		char text[FL_IP_STRLEN];
		struct fl_ip ip = fl_cidr_nth(&a->opts.cidrs[c], h.item + 1);
		fl_ip_format(&ip, text);
		if (at) {
			struct fl_json *s = fl_json_new_str(arena, text);
			at->str = s->str;
		} else {
			fl_json_append(ips, fl_json_new_str(arena, text));
		}
	}
	if (fl_json_count(ips))
		fl_json_set_str(arena, spec, "clusterIP", fl_json_string(fl_json_index(ips, 0)));
	else
		fl_json_remove(spec, "clusterIPs");
}

// Claims `port` for the field, unless this Service has it already. False: a cause was added.
static bool take_port(struct fl_service_alloc *a, struct held *mine, int64_t port, const char *field,
		      struct fl_arena *arena, struct fl_alloc_txn *t, struct fl_causes *causes)
{
	struct fl_json *value = fl_json_new_int(arena, port);
	if (port < a->opts.port_low || port > a->opts.port_high) {
		fl_cause_add(causes, FL_CAUSE_INVALID, field, value,
			     "provided port is not in the valid range. The range of valid ports is %u-%u",
			     a->opts.port_low, a->opts.port_high);
		return false;
	}
	uint64_t item = (uint64_t)(port - a->opts.port_low);
	if (holds_port(mine, item)) // the same number for TCP and UDP of one Service is one claim
		return true;
	if (fl_range_claim(a->ports, item) < 0) {
		fl_cause_add(causes, FL_CAUSE_INVALID, field, value, "provided port is already allocated");
		return false;
	}
	claim_port(t, item);
	hold_port(a, mine, port);
	return true;
}

static bool next_port(struct fl_service_alloc *a, struct held *mine, const char *field, struct fl_alloc_txn *t,
		      struct fl_causes *causes, int64_t *ret)
{
	uint64_t item;
	if (fl_range_next(a->ports, &item) < 0) {
		fl_cause_add(causes, FL_CAUSE_INTERNAL, field, NULL, "%s",
			     "failed to allocate a nodePort: range is full");
		return false;
	}
	claim_port(t, item);
	*ret = (int64_t)item + a->opts.port_low;
	hold_port(a, mine, *ret);
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

static void prepare_ports(struct fl_service_alloc *a, struct fl_arena *arena, struct fl_json *spec, struct held *mine,
			  struct fl_alloc_txn *t, struct fl_causes *causes)
{
	const char *type = fl_json_str(spec, "type");
	bool lb = fl_streq(type, "LoadBalancer");
	if (!lb && !fl_streq(type, "NodePort"))
		return;
	struct fl_json *ports = fl_json_get(spec, "ports");
	char field[64];
	unsigned i = 0;
	fl_json_each (port, ports) { // chosen ones first, so that a dynamic one cannot take their place
		int64_t np = fl_json_int(port, "nodePort", 0);
		snprintf(field, sizeof(field), "spec.ports[%u].nodePort", i++);
		if (np && !take_port(a, mine, np, field, arena, t, causes))
			return;
	}
	i = 0;
	if (!lb || fl_json_bool(spec, "allocateLoadBalancerNodePorts", true)) {
		fl_json_each (port, ports) {
			snprintf(field, sizeof(field), "spec.ports[%u].nodePort", i++);
			if (fl_json_int(port, "nodePort", 0))
				continue;
			int64_t np = sibling_port(ports, port);
			if (!np && !next_port(a, mine, field, t, causes, &np))
				return;
			fl_json_set_int(arena, port, "nodePort", np);
		}
	}
	if (!lb || !fl_streq(fl_json_str(spec, "externalTrafficPolicy"), "Local"))
		return;
	int64_t hc = fl_json_int(spec, "healthCheckNodePort", 0);
	if (hc) {
		if (!take_port(a, mine, hc, "spec.healthCheckNodePort", arena, t, causes))
			return;
	} else if (next_port(a, mine, "spec.healthCheckNodePort", t, causes, &hc)) {
		fl_json_set_int(arena, spec, "healthCheckNodePort", hc);
	}
}

static void release_unheld(struct fl_service_alloc *a, const struct held *had, const struct held *has,
			   struct fl_alloc_txn *t)
{
	for (unsigned i = 0; i < had->n_ips; i++) {
		if (held_has_ip(has, had->ips[i]))
			continue;
		t->released[t->n_released].is_ip = true;
		t->released[t->n_released].cidr = had->ips[i].cidr;
		t->released[t->n_released++].item = had->ips[i].item;
	}
	for (unsigned i = 0; i < had->n_ports; i++) {
		if (holds_port(has, had->ports[i]))
			continue;
		t->released[t->n_released].is_ip = false;
		t->released[t->n_released++].item = had->ports[i];
	}
}

void fl_service_alloc_prepare(struct fl_service_alloc *a, struct fl_arena *arena, struct fl_json *obj,
			      const struct fl_json *old, struct fl_alloc_txn *txn, struct fl_causes *causes)
{
	*txn = (struct fl_alloc_txn){.alloc = a};
	struct fl_json *spec = fl_json_get(obj, "spec");
	if (!fl_json_is(spec, FL_JSON_OBJECT) ||
	    fl_json_count(fl_json_get(spec, "ports")) > FL_COUNT(((struct held *)0)->ports) - 4)
		return; // validation refuses it
	struct held had = {0}, has;
	if (old)
		collect(a, old, &had);
	if (!is_external_name(spec)) {
		struct held mine = had;
		prepare_ips(a, arena, spec, &had, txn, causes);
		if (!causes->n)
			prepare_ports(a, arena, spec, &mine, txn, causes);
	}
	if (causes->n) {
		fl_alloc_txn_abort(txn);
		return;
	}
	collect(a, obj, &has);
	release_unheld(a, &had, &has, txn);
}

void fl_service_alloc_prepare_delete(struct fl_service_alloc *a, const struct fl_json *old, struct fl_alloc_txn *txn)
{
	*txn = (struct fl_alloc_txn){.alloc = a};
	struct held had, none = {0};
	collect(a, old, &had);
	release_unheld(a, &had, &none, txn);
}

void fl_alloc_txn_commit(struct fl_alloc_txn *t)
{
	for (unsigned i = 0; i < t->n_released; i++)
		fl_range_release(t->released[i].is_ip ? t->alloc->ips[t->released[i].cidr] : t->alloc->ports,
				 t->released[i].item);
	t->n_claimed = t->n_released = 0;
}

void fl_alloc_txn_abort(struct fl_alloc_txn *t)
{
	for (unsigned i = 0; i < t->n_claimed; i++)
		fl_range_release(t->claimed[i].is_ip ? t->alloc->ips[t->claimed[i].cidr] : t->alloc->ports,
				 t->claimed[i].item);
	t->n_claimed = t->n_released = 0;
}
