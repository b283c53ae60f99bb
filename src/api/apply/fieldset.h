// SPDX-License-Identifier: Apache-2.0
// Sets of fields of an object, as Kubernetes writes them into metadata.managedFields (FieldsV1):
//
//   {"f:spec":{"f:ports":{".":{},"k:{\"port\":80}":{".":{},"f:port":{}}}}}
//
//   f:name  a member of an object      k:{keys}  an element of a list by its keys
//   v:value an element of a set        "."       the path that leads here is itself in the set
//   {}      the same, where nothing is below
//
// A set is a tree of sorted arrays in an arena. A path that is in the set is a "member". Sets are values: the
// operations build new ones that may share branches with their operands, so nothing is changed once it is built.
// (structured-merge-diff, fieldpath.Set)
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "json/json.h"

struct fl_fieldset {
	struct fl_field *v; // sorted by path element; none is both no member and without children
	unsigned n, cap;
};

struct fl_field {
	const char *pe; // "f:spec", "k:{\"port\":80}", "v:\"x\""
	uint32_t len;
	bool member;
	struct fl_fieldset kids;
};

// Building: entries in any order, then one finish. `kids` must be finished. An entry that holds nothing is left out.
void fl_fieldset_add(struct fl_arena *a, struct fl_fieldset *s, const char *pe, size_t len, bool member,
		     struct fl_fieldset kids);
void fl_fieldset_finish(struct fl_arena *a, struct fl_fieldset *s); // sorts, joins what is named twice

bool fl_fieldset_is_empty(const struct fl_fieldset *s);
// NULL when nothing at or below this path element is in the set.
const struct fl_field *fl_fieldset_find(const struct fl_fieldset *s, const char *pe, size_t len);

struct fl_fieldset fl_fieldset_union(struct fl_arena *a, const struct fl_fieldset *x, const struct fl_fieldset *y);
struct fl_fieldset fl_fieldset_intersection(struct fl_arena *a, const struct fl_fieldset *x,
					    const struct fl_fieldset *y);
// Paths of x that are not in y.
struct fl_fieldset fl_fieldset_difference(struct fl_arena *a, const struct fl_fieldset *x, const struct fl_fieldset *y);
// The same, and what is below a path of y goes with it.
struct fl_fieldset fl_fieldset_prune(struct fl_arena *a, const struct fl_fieldset *x, const struct fl_fieldset *y);

// FieldsV1 and back. -EINVAL for what is no FieldsV1. The tree shares no nodes with `j`, but its texts.
FL_WUR int fl_fieldset_from_json(struct fl_arena *a, const struct fl_json *j, struct fl_fieldset *ret,
				 struct fl_err *err);
struct fl_json *fl_fieldset_to_json(struct fl_arena *a, const struct fl_fieldset *s);

// Calls `each` with every path of the set as Kubernetes prints it: .spec.ports[port=80,protocol="TCP"].name
void fl_fieldset_paths(struct fl_arena *a, const struct fl_fieldset *s, void (*each)(void *arg, const char *path),
		       void *arg);
