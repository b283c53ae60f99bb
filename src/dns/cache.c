// SPDX-License-Identifier: Apache-2.0
#include "dns/cache.h"

#include <string.h>

#include "base/mem.h"
#include "dns/reply.h"

struct fl_dns_cache_entry {
	struct fl_dns_cache_entry *prev, *next; // in order of arrival
	uint64_t stored_ms, expires_ms;
	size_t len;
	const char *key; // behind the message
	uint8_t msg[];
};

static size_t weight(const struct fl_dns_cache_entry *e)
{
	return sizeof(*e) + e->len + 2 * strlen(e->key); // the map has a copy
}

static void drop(struct fl_dns_cache *c, struct fl_dns_cache_entry *e)
{
	*(e->prev ? &e->prev->next : &c->oldest) = e->next;
	*(e->next ? &e->next->prev : &c->newest) = e->prev;
	c->bytes -= weight(e);
	fl_map_del(&c->map, e->key);
	free(e);
}

void fl_dns_cache_deinit(struct fl_dns_cache *c)
{
	while (c->oldest)
		drop(c, c->oldest);
	fl_map_deinit(&c->map);
}

void fl_dns_cache_put(struct fl_dns_cache *c, const char *key, const uint8_t *msg, size_t len, uint32_t ttl_s,
		      uint64_t now_ms)
{
	struct fl_dns_cache_entry *old = fl_map_get(&c->map, key);
	if (old)
		drop(c, old);
	size_t key_size = strlen(key) + 1;
	struct fl_dns_cache_entry *e = fl_malloc(sizeof(*e) + len + key_size);
	*e = (struct fl_dns_cache_entry){.prev = c->newest,
					 .stored_ms = now_ms,
					 .expires_ms = now_ms + ttl_s * 1000ull,
					 .len = len,
					 .key = (const char *)e->msg + len};
	memcpy(e->msg, msg, len);
	memcpy(e->msg + len, key, key_size);
	*(c->newest ? &c->newest->next : &c->oldest) = e;
	c->newest = e;
	c->bytes += weight(e);
	fl_map_set(&c->map, key, e);
	while (c->map.n > FL_DNS_CACHE_ENTRIES || c->bytes > FL_DNS_CACHE_BYTES)
		drop(c, c->oldest);
}

size_t fl_dns_cache_get(struct fl_dns_cache *c, const char *key, uint8_t *buf, uint64_t now_ms)
{
	struct fl_dns_cache_entry *e = fl_map_get(&c->map, key);
	if (!e)
		return 0;
	if (now_ms >= e->expires_ms) {
		drop(c, e);
		return 0;
	}
	memcpy(buf, e->msg, e->len);
	fl_dns_reply_age(buf, e->len, (uint32_t)((now_ms - e->stored_ms) / 1000));
	return e->len;
}
