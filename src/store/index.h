// SPDX-License-Identifier: Apache-2.0
// Objects of one resource in order of (namespace, name): a vector of sorted blocks.
//
//   blocks -> [ a/x a/y b/c ] [ b/d b/e ] [ c/a ... ]      lookup: binary search over blocks, then inside one
//
// An insert moves at most one block's pointers, an object costs 8 bytes and its share of a block, a walk reads memory
// in order. Each entry holds one reference of its object.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/object.h"
#include "base/vec.h"

struct fl_store_index_block;

// A zeroed struct is a valid empty index.
struct fl_store_index {
	FL_VEC(struct fl_store_index_block *) blocks;
	size_t n;
	uint64_t version; // changes with every change, so that a walk notices
};

void fl_store_index_deinit(struct fl_store_index *ix); // drops the references; the index is empty and usable again

// Borrowed; NULL when absent.
struct fl_object *fl_store_index_get(const struct fl_store_index *ix, const char *ns, const char *name);
// Takes a reference of its own of `obj`. Returns the reference of the object it replaced, or NULL.
struct fl_object *fl_store_index_set(struct fl_store_index *ix, struct fl_object *obj)
    __attribute__((warn_unused_result));
// Hands over the reference of what was there, or NULL.
struct fl_object *fl_store_index_remove(struct fl_store_index *ix, const char *ns, const char *name)
    __attribute__((warn_unused_result));

// A place between two entries. Valid until the index changes.
struct fl_store_index_pos {
	size_t block, at;
};
// The first entry that is not before (ns, name), or with `after` the first one behind it.
struct fl_store_index_pos fl_store_index_seek(const struct fl_store_index *ix, const char *ns, const char *name,
					      bool after);
// The entry at `pos`, borrowed, and steps over it; NULL at the end.
struct fl_object *fl_store_index_next(const struct fl_store_index *ix, struct fl_store_index_pos *pos);
// Number of entries before `pos`.
size_t fl_store_index_rank(const struct fl_store_index *ix, struct fl_store_index_pos pos);

// Order of keys: namespace, then name, bytewise.
int fl_store_key_cmp(const char *a_ns, const char *a_name, const char *b_ns, const char *b_name);
