// SPDX-License-Identifier: Apache-2.0
// Inside of the kind registry; included by the files of src/api that load and compile it, by nobody else.
//
//   kinds/*.json             parsed at load: names, verbs, columns (some 20 KB)
//   kinds/definitions/*.json indexed by name at the first schema, each definition parsed and compiled when it is
//                            reached, so that a role that asks for Services never parses a Pod
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "api/kind.h"
#include "base/arena.h"

struct definition {
	const char *name;
	const char *text; // its JSON, in the embedded document
	size_t len;
	struct fl_json *source; // parsed text, or NULL so far
	struct fl_schema *schema;
};

struct kind_slot {
	struct fl_kind k; // first: a `const struct fl_kind *` is converted back to its slot
	struct fl_registry *registry;
	_Atomic(const struct fl_schema *) schema;
};

struct fl_registry {
	struct kind_slot *slots;
	const struct fl_kind **kinds; // sorted by group, version, plural
	unsigned n_kinds;
	struct fl_arena arena; // guarded by `lock` after load, as all below

	pthread_mutex_t lock;
	bool indexed;
	struct definition *definitions; // sorted by name
	const char **names;
	unsigned n_definitions;
};

// All with the lock held.
void fl_definitions_index(struct fl_registry *r);
struct definition *fl_definitions_find(struct fl_registry *r, const char *name);
// The compiled definition, with everything that it reaches; NULL for an unknown name. Aborts on a broken document:
// that is an error of our build, which the unit tests find.
struct fl_schema *fl_definitions_compile(struct fl_registry *r, const char *name);

// The hooks that a document names; NULL when there are none of that name.
const struct fl_kind_hooks *fl_kind_hooks_find(const char *name);
