// SPDX-License-Identifier: Apache-2.0
// Answers of upstreams, kept for as long as they say. Bounded in number and octets; the oldest goes first.
#pragma once

#include <stdint.h>

#include "base/map.h"

#define FL_DNS_CACHE_ENTRIES 4096
#define FL_DNS_CACHE_BYTES   (4u << 20) // of messages and keys

struct fl_dns_cache_entry;

// A zeroed struct fl_dns_cache is a valid empty cache.
struct fl_dns_cache {
	struct fl_map map; // key -> entry
	struct fl_dns_cache_entry *oldest, *newest;
	size_t bytes;
};

void fl_dns_cache_deinit(struct fl_dns_cache *c);
void fl_dns_cache_put(struct fl_dns_cache *c, const char *key, const uint8_t *msg, size_t len, uint32_t ttl_s,
		      uint64_t now_ms);
// Copies the message to `buf` (FL_DNS_TCP_MAX octets), its TTLs less the time that it lay here. 0: none.
size_t fl_dns_cache_get(struct fl_dns_cache *c, const char *key, uint8_t *buf, uint64_t now_ms);
