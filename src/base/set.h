// SPDX-License-Identifier: Apache-2.0
// Hash set of items that hold their own key: where a struct fl_map would copy the key and keep 24 bytes a slot, this
// keeps a pointer. For tables of many small things. Open addressing, linear probing, the hash of fl_map.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Where the key of an item stands, which must not change while the item is in a set. One function a set.
typedef const void *fl_set_key(const void *item, size_t *ret_len);

// A zeroed struct fl_set is a valid empty set. Items belong to the caller.
struct fl_set {
	void **slots; // NULL: free
	size_t n, cap;
};

void fl_set_deinit(struct fl_set *s);
void *fl_set_find(const struct fl_set *s, fl_set_key *key_of, const void *key, size_t n); // NULL: not there
void fl_set_add(struct fl_set *s, fl_set_key *key_of, void *item);                    // its key must not be there yet
void *fl_set_remove(struct fl_set *s, fl_set_key *key_of, const void *key, size_t n); // returns it, or NULL

// Each item in no order, NULL after the last; `at` begins at 0. Adding or removing ends its validity.
void *fl_set_next(const struct fl_set *s, size_t *at);
