// SPDX-License-Identifier: Apache-2.0
// Objects of one resource by namespace and name; holds one reference of each.
#pragma once

#include "api/object.h"
#include "base/map.h"

// A zeroed struct fl_cache is a valid empty cache.
struct fl_cache {
	struct fl_map by_ns; // namespace -> its table
	size_t n;
};

void fl_cache_deinit(struct fl_cache *c);
struct fl_object *fl_cache_find(const struct fl_cache *c, const char *ns, const char *name); // borrowed
// Takes the reference of `o`; returns the object replaced, with its reference, or NULL.
struct fl_object *fl_cache_put(struct fl_cache *c, struct fl_object *o);
struct fl_object *fl_cache_take(struct fl_cache *c, const char *ns, const char *name); // with its reference
// ns NULL = all. False when `visit` ended the walk.
bool fl_cache_each(const struct fl_cache *c, const char *ns, bool (*visit)(void *arg, const struct fl_object *o),
		   void *arg);
