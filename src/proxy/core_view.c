// SPDX-License-Identifier: Apache-2.0
// What the core knows, for others: questions, numbers, text.
#include <stdlib.h>
#include <string.h>

#include "proxy/core_internal.h"

const void *fl_proxy_core_slot_key(const void *item, size_t *ret_len)
{
	*ret_len = sizeof(struct slot_key);
	return &((const struct slot *)item)->key;
}

struct slot_key fl_proxy_core_key(const struct fl_proxy_frontend *f)
{
	struct slot_key k;

	memset(&k, 0, sizeof(k)); // padding is part of the key's bytes
	k.ip = f->ip;
	k.proto = f->proto;
	k.port = f->port;
	return k;
}

bool fl_proxy_core_pool_serves(const struct fl_proxy_pool *p, const struct fl_ip *ip, uint16_t port)
{
	for (size_t i = 0; i < p->n_serving; i++) {
		if (fl_ip_equal(&p->serving[i].ip, ip) && p->serving[i].port == port)
			return true;
	}
	return false;
}

bool fl_proxy_core_udp_serves(const struct fl_proxy_core *c, const struct fl_ip *ip, uint16_t port,
			      const struct fl_ip *endpoint_ip, uint16_t endpoint_port)
{
	struct fl_proxy_frontend f = {.ip = *ip, .proto = IPPROTO_UDP, .port = port};
	struct slot_key key = fl_proxy_core_key(&f);
	const struct slot *slot = fl_set_find(&c->slots, fl_proxy_core_slot_key, &key, sizeof(key));

	return slot && slot->claims && fl_proxy_core_pool_serves(slot->claims->value.pool, endpoint_ip, endpoint_port);
}

void fl_proxy_core_counts(const struct fl_proxy_core *c, struct fl_proxy_core_stats *ret)
{
	*ret = c->stats;
}

void fl_proxy_core_stats(const struct fl_proxy_core *c, struct fl_proxy_core_stats *ret)
{
	*ret = c->stats;
	ret->pending = c->dirty.n;
	ret->frontends = c->slots.n;
	ret->pools = c->pools.n;
	size_t at = 0;
	for (const struct service *s; (s = fl_set_next(&c->services, &at));)
		ret->services += s->present;
	at = 0;
	for (const struct pool *p; (p = fl_set_next(&c->pools, &at));)
		ret->endpoints += p->value.n_cluster;
	at = 0;
	for (const struct slot *slot; (slot = fl_set_next(&c->slots, &at));) {
		if (slot->pool && slot->local && slot->pool->n_local == 0 && slot->pool->n_cluster)
			ret->no_local_endpoints[slot->kind != FL_PROXY_CLUSTER_IP]++;
	}
}

// ---- text

static void dump_endpoints(struct fl_buf *b, const char *title, const struct fl_proxy_endpoint *list, size_t n)
{
	char ip[FL_IP_STRLEN];

	if (n)
		fl_buf_printf(b, "\n    %s", title);
	for (size_t i = 0; i < n; i++)
		fl_buf_printf(b, list[i].ip.family == AF_INET6 ? " [%s]:%u%s" : " %s:%u%s",
			      fl_ip_format(&list[i].ip, ip), list[i].port, list[i].local ? "*" : "");
}

static void dump_pool(struct fl_buf *b, const struct fl_proxy_pool *p)
{
	fl_buf_printf(b, "pool %s %s %s", p->name, fl_proxy_proto_name(p->proto),
		      p->family == AF_INET6 ? "ipv6" : "ipv4");
	dump_endpoints(b, "cluster", p->cluster, p->n_cluster);
	dump_endpoints(b, "local", p->local, p->n_local);
	if (p->n_source_ranges)
		fl_buf_puts(b, "\n    sources");
	for (size_t i = 0; i < p->n_source_ranges; i++) {
		char cidr[FL_CIDR_STRLEN];

		fl_buf_printf(b, " %s", fl_cidr_format(&p->source_ranges[i], cidr));
	}
}

static void dump_frontend(struct fl_buf *b, const struct fl_proxy_frontend *f)
{
	static const char *const kinds[] = {"cluster-ip", "node-port", "external-ip", "load-balancer"};
	_Static_assert(FL_COUNT(kinds) == FL_PROXY_KIND_COUNT, "one name a kind");
	char ip[FL_IP_STRLEN];

	fl_buf_printf(b, "frontend %s %u %s %s%s -> %s %u/%u", fl_ip_format(&f->ip, ip), f->port,
		      fl_proxy_proto_name(f->proto), kinds[f->kind], f->local ? " local" : "", f->pool->name,
		      f->pool->n_cluster, f->pool->n_local);
	if (f->affinity_s)
		fl_buf_printf(b, " affinity %us", f->affinity_s);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void fl_proxy_core_dump(const struct fl_proxy_core *c, struct fl_buf *ret)
{
	size_t n = 0, at = 0;
	char **entries = fl_calloc(c->slots.n + c->pools.n + 1, sizeof(char *));

	for (const struct slot *slot; (slot = fl_set_next(&c->slots, &at));) {
		struct fl_buf b = {0};

		dump_frontend(&b, &slot->claims->value);
		entries[n++] = fl_buf_take(&b);
	}
	at = 0;
	for (const struct pool *p; (p = fl_set_next(&c->pools, &at));) {
		struct fl_buf b = {0};

		dump_pool(&b, &p->value);
		entries[n++] = fl_buf_take(&b);
	}
	qsort(entries, n, sizeof(*entries), by_text);
	for (size_t i = 0; i < n; i++) {
		fl_buf_printf(ret, "%s\n", entries[i]);
		free(entries[i]);
	}
	free(entries);
}
