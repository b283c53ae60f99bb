// SPDX-License-Identifier: Apache-2.0
// Hash map from a byte string to a pointer. Keys are copied; values belong to the caller. Open addressing, linear
// probing, SipHash-1-3 under a per-process key, so that a client that chooses names cannot choose collisions.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fl_map_slot;

// A zeroed struct fl_map is a valid empty map.
struct fl_map {
	struct fl_map_slot *slots;
	size_t n, cap;
};

void fl_map_deinit(struct fl_map *m); // frees keys and slots, not values
void *fl_map_get(const struct fl_map *m, const char *key);
void *fl_map_get_n(const struct fl_map *m, const void *key, size_t n);
void *fl_map_set(struct fl_map *m, const char *key,
		 void *value); // value must not be NULL; returns the value replaced, or NULL
void *fl_map_set_n(struct fl_map *m, const void *key, size_t n, void *value);
void *fl_map_del(struct fl_map *m, const char *key); // returns the value removed, or NULL
void *fl_map_del_n(struct fl_map *m, const void *key, size_t n);

// Iteration in no order; set or delete of any key ends its validity (replace of a value of an existing key does not).
//   for (struct fl_map_iter it = {0}; fl_map_next(&m, &it);) use(it.key, it.value);
struct fl_map_iter {
	const char *key; // NUL-terminated copy
	size_t key_len;
	void *value;
	size_t pos;
};
bool fl_map_next(const struct fl_map *m, struct fl_map_iter *it);

uint64_t fl_hash(const void *p, size_t n); // keyed per process: never store it
uint64_t fl_siphash13(const uint8_t key[16], const void *p, size_t n);
