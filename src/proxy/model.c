// SPDX-License-Identifier: Apache-2.0
// From a Service and its EndpointSlices to frontends and pools: which endpoints count (kube-proxy's
// CategorizeEndpoints, KEP-1669, KEP-2433) and which addresses lead to them (traffic policies).
#include "proxy/model.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"

struct candidate {
	const struct fl_proxy_slice_endpoint *ep;
	uint16_t port;
	bool maybe_here;
};

static int by_address(const void *pa, const void *pb)
{
	const struct candidate *a = pa, *b = pb;
	int c = fl_ip_cmp(&a->ep->ip, &b->ep->ip);

	if (c == 0)
		c = (int)a->port - (int)b->port;
	if (c == 0)
		c = (int)b->ep->ready - (int)a->ep->ready; // of two that say the same address, the ready one counts
	if (c == 0)
		c = (int)b->ep->serving - (int)a->ep->serving;
	return c;
}

// All endpoints of one port, each address and port once, in order.
static struct candidate *collect(const struct fl_proxy_service_port *port, uint8_t family,
				 const struct fl_proxy_slice *const *slices, size_t n_slices, struct fl_arena *a,
				 size_t *ret_n)
{
	size_t max = 0, n = 0, kept = 0;

	for (size_t i = 0; i < n_slices; i++)
		max += slices[i]->endpoints.n * slices[i]->ports.n;

	struct candidate *list = fl_arena_alloc(a, (max ? max : 1) * sizeof(*list));
	for (size_t i = 0; i < n_slices; i++) {
		const struct fl_proxy_slice *s = slices[i];

		for (size_t p = 0; s->family == family && p < s->ports.n; p++) {
			if (s->ports.v[p].proto != port->proto || !fl_streq(s->ports.v[p].name, port->name))
				continue;
			for (size_t e = 0; e < s->endpoints.n; e++) {
				const struct fl_proxy_slice_endpoint *ep = &s->endpoints.v[e];

				list[n++] = (struct candidate){ep, s->ports.v[p].port, ep->local || s->nodes_unsaid};
			}
		}
	}
	qsort(list, n, sizeof(*list), by_address);
	for (size_t i = 0; i < n; i++) {
		if (kept && fl_ip_equal(&list[kept - 1].ep->ip, &list[i].ep->ip) && list[kept - 1].port == list[i].port)
			continue;
		list[kept++] = list[i];
	}
	*ret_n = kept;
	return list;
}

enum topology { EVERYWHERE, SAME_ZONE, SAME_NODE };

// Hints are followed only when every ready endpoint has one and some endpoint is meant for here: otherwise a change
// under way would send all traffic to a few endpoints, or to none.
static enum topology choose_topology(const struct candidate *list, size_t n)
{
	bool all_zone = true, all_node = true, zone_hit = false, node_hit = false;

	for (size_t i = 0; i < n; i++) {
		const struct fl_proxy_slice_endpoint *e = list[i].ep;

		if (!e->ready)
			continue;
		all_zone &= e->has_zone_hint;
		all_node &= e->has_node_hint;
		zone_hit |= e->zone_hit;
		node_hit |= e->node_hit;
	}
	if (all_node && node_hit)
		return SAME_NODE;
	return all_zone && zone_hit ? SAME_ZONE : EVERYWHERE;
}

enum state { READY, TERMINATING, SERVING };

static bool is_in_state(const struct fl_proxy_slice_endpoint *e, enum state state)
{
	switch (state) {
	case READY:
		return e->ready;
	case TERMINATING:
		return e->serving && e->terminating;
	default:
		return e->serving || e->ready;
	}
}

static uint16_t select_endpoints(const struct candidate *list, size_t n, enum state state, enum topology topology,
				 bool only_local, struct fl_arena *a, struct fl_proxy_endpoint **ret)
{
	struct fl_proxy_endpoint *out = fl_arena_alloc(a, (n ? n : 1) * sizeof(*out));
	uint16_t count = 0;

	for (size_t i = 0; i < n && count < FL_PROXY_MAX_BACKENDS; i++) {
		const struct fl_proxy_slice_endpoint *e = list[i].ep;

		if (!is_in_state(e, state) || (only_local && !e->local) || (topology == SAME_ZONE && !e->zone_hit) ||
		    (topology == SAME_NODE && !e->node_hit))
			continue;
		memset(&out[count], 0, sizeof(out[count])); // padding too: entries are compared as bytes
		out[count].ip = e->ip;
		out[count].port = list[i].port;
		out[count].local = e->local;
		out[count].maybe_here = list[i].maybe_here;
		count++;
	}
	*ret = out;
	return count;
}

static void choose_endpoints(const struct candidate *list, size_t n, bool want_local, struct fl_arena *a,
			     struct fl_proxy_pool *pool)
{
	pool->n_cluster = select_endpoints(list, n, READY, choose_topology(list, n), false, a, &pool->cluster);
	if (pool->n_cluster == 0)
		pool->n_cluster = select_endpoints(list, n, TERMINATING, EVERYWHERE, false, a, &pool->cluster);
	if (pool->proto == IPPROTO_UDP)
		pool->n_serving = select_endpoints(list, n, SERVING, EVERYWHERE, false, a, &pool->serving);
	if (!want_local)
		return;
	pool->n_local = select_endpoints(list, n, READY, EVERYWHERE, true, a, &pool->local);
	if (pool->n_local == 0)
		pool->n_local = select_endpoints(list, n, TERMINATING, EVERYWHERE, true, a, &pool->local);
}

static void add_frontend(struct fl_proxy_desired *d, const struct fl_proxy_frontend *like, enum fl_proxy_kind kind,
			 const struct fl_ip *ip, uint16_t port, bool local)
{
	struct fl_proxy_frontend *f = &d->frontends[d->n_frontends++];

	*f = *like;
	f->ip = *ip;
	f->kind = (uint8_t)kind;
	f->port = port;
	f->local = local;
}

static void add_frontends(struct fl_proxy_desired *d, const struct fl_proxy_frontend *like,
			  const struct fl_proxy_service *svc, const struct fl_proxy_service_port *port,
			  const struct fl_ip *cluster_ip)
{
	struct fl_ip any = {.family = cluster_ip->family};

	if (cluster_ip->family == AF_INET)
		any = fl_ip_from4(0);
	add_frontend(d, like, FL_PROXY_CLUSTER_IP, cluster_ip, port->port, svc->internal_local);
	if (port->node_port)
		add_frontend(d, like, FL_PROXY_NODE_PORT, &any, port->node_port, svc->external_local);
	for (size_t i = 0; i < svc->external_ips.n; i++) {
		if (svc->external_ips.v[i].family == cluster_ip->family)
			add_frontend(d, like, FL_PROXY_EXTERNAL_IP, &svc->external_ips.v[i], port->port,
				     svc->external_local);
	}
	for (size_t i = 0; i < svc->lb_ips.n; i++) {
		if (svc->lb_ips.v[i].family == cluster_ip->family)
			add_frontend(d, like, FL_PROXY_LOAD_BALANCER, &svc->lb_ips.v[i], port->port,
				     svc->external_local);
	}
}

static int by_ip(const void *a, const void *b)
{
	return fl_ip_cmp(a, b);
}

// Different addresses of ready endpoints on this node, of all ports together.
static unsigned count_ready_local(const struct fl_proxy_slice *const *slices, size_t n_slices, struct fl_arena *a)
{
	size_t n = 0, max = 0;
	unsigned count = 0;

	for (size_t i = 0; i < n_slices; i++)
		max += slices[i]->endpoints.n;
	struct fl_ip *ips = fl_arena_alloc(a, (max + 1) * sizeof(*ips));
	for (size_t i = 0; i < n_slices; i++) {
		for (size_t e = 0; e < slices[i]->endpoints.n; e++) {
			if (slices[i]->endpoints.v[e].ready && slices[i]->endpoints.v[e].local)
				ips[n++] = slices[i]->endpoints.v[e].ip;
		}
	}
	qsort(ips, n, sizeof(*ips), by_ip);
	for (size_t i = 0; i < n; i++)
		count += i == 0 || !fl_ip_equal(&ips[i - 1], &ips[i]);
	return count;
}

// Those of the family. A family without any is open to everybody, as with kube-proxy.
static void choose_ranges(const struct fl_proxy_service *svc, uint8_t family, struct fl_arena *a,
			  struct fl_proxy_pool *pool)
{
	if (!svc->source_ranges.n || !svc->lb_ips.n)
		return;
	pool->source_ranges = fl_arena_zalloc(a, svc->source_ranges.n * sizeof(*pool->source_ranges));
	for (size_t i = 0; i < svc->source_ranges.n; i++) {
		if (svc->source_ranges.v[i].ip.family == family)
			pool->source_ranges[pool->n_source_ranges++] = svc->source_ranges.v[i];
	}
}

void fl_proxy_derive(const char *key, const struct fl_proxy_service *svc, const struct fl_proxy_slice *const *slices,
		     size_t n_slices, struct fl_arena *a, struct fl_proxy_desired *ret)
{
	size_t max_pools = svc->ports.n * svc->n_cluster_ips;
	size_t per_port = 2 + svc->external_ips.n + svc->lb_ips.n;
	struct fl_proxy_desired d = {0};

	d.pools = fl_arena_zalloc(a, (max_pools ? max_pools : 1) * sizeof(*d.pools));
	d.frontends = fl_arena_zalloc(a, (max_pools ? max_pools * per_port : 1) * sizeof(*d.frontends));
	bool external = svc->external_ips.n || svc->lb_ips.n;
	if (svc->health_check_port)
		d.n_local_endpoints = count_ready_local(slices, n_slices, a);

	for (size_t p = 0; p < svc->ports.n; p++) {
		const struct fl_proxy_service_port *port = &svc->ports.v[p];
		bool want_local = svc->internal_local || (svc->external_local && (external || port->node_port));

		for (unsigned f = 0; f < svc->n_cluster_ips; f++) {
			const struct fl_ip *cluster_ip = &svc->cluster_ips[f];
			struct fl_proxy_pool *pool = &d.pools[d.n_pools];
			size_t n;
			struct candidate *list = collect(port, cluster_ip->family, slices, n_slices, a, &n);

			pool->family = cluster_ip->family;
			pool->proto = port->proto;
			// Unnamed ports cannot stand beside others, but one number may serve two protocols.
			pool->name = fl_arena_printf(a, "%s:%s", key, *port->name ? port->name : "");
			if (!*port->name)
				pool->name = fl_arena_printf(a, "%s:%u", key, port->port);
			choose_endpoints(list, n, want_local, a, pool);
			choose_ranges(svc, pool->family, a, pool);

			struct fl_proxy_frontend like = {
			    .proto = port->proto,
			    .affinity_s = svc->affinity_s,
			    .pool = pool,
			};
			d.n_pools++;
			add_frontends(&d, &like, svc, port, cluster_ip);
		}
	}
	*ret = d;
}

static int compare_endpoints(const struct fl_proxy_endpoint *a, const struct fl_proxy_endpoint *b)
{
	int c = fl_ip_cmp(&a->ip, &b->ip);

	return c ? c : (int)a->port - (int)b->port;
}

static int compare_endpoint_ptrs(const void *pa, const void *pb)
{
	return compare_endpoints(*(const struct fl_proxy_endpoint *const *)pa,
				 *(const struct fl_proxy_endpoint *const *)pb);
}

void fl_proxy_keep_slots(const struct fl_proxy_endpoint *old, size_t n_old, struct fl_proxy_endpoint *list, size_t n,
			 struct fl_arena *a)
{
	if (n_old == 0 || n == 0)
		return;

	struct fl_proxy_endpoint *out = fl_arena_alloc(a, n * sizeof(*out));
	bool *filled = fl_arena_zalloc(a, n), *placed = fl_arena_zalloc(a, n);
	const struct fl_proxy_endpoint **sorted = fl_arena_alloc(a, n * sizeof(*sorted));
	size_t hole = 0;

	for (size_t i = 0; i < n; i++)
		sorted[i] = &list[i];
	qsort(sorted, n, sizeof(*sorted), compare_endpoint_ptrs);

	for (size_t slot = 0; slot < n_old && slot < n; slot++) {
		const struct fl_proxy_endpoint *want = &old[slot];
		const struct fl_proxy_endpoint **hit =
		    bsearch(&want, sorted, n, sizeof(*sorted), compare_endpoint_ptrs);

		if (!hit)
			continue;
		out[slot] = **hit;
		filled[slot] = true;
		placed[*hit - list] = true;
	}
	for (size_t i = 0; i < n; i++) {
		if (placed[i])
			continue;
		while (filled[hole])
			hole++;
		filled[hole] = true;
		out[hole] = list[i];
	}
	memcpy(list, out, n * sizeof(*out));
}
