// SPDX-License-Identifier: Apache-2.0
// Values and their schema: which fields a value sets, what changed between two values, one value laid over another,
// fields taken out of a value. All are walks along the same lines:
//
//   scalar, atomic list, atomic object   one field, compared and replaced as a whole
//   object, map                          its members, f:
//   list of type map or set              its elements by their keys (k:) or by themselves (v:), wherever they stand
//
// (structured-merge-diff, typed.TypedValue)
#pragma once

#include "api/apply/fieldset.h"
#include "api/schema.h"

struct fl_typed_diff {
	struct fl_fieldset added, removed, modified;
};

// Go's zero value of the type as it is written: structs held by value are there, empty; so are lists that no tag lets
// go, as null. What a created object is compared with.
struct fl_json *fl_typed_zero(const struct fl_schema *s, struct fl_arena *a);

// What an apply configuration may not hold: unknown fields, wrong types, elements without their keys or named twice.
// -EINVAL with all of it in err.
FL_WUR int fl_typed_check(const struct fl_schema *s, struct fl_arena *a, const struct fl_json *v, struct fl_err *err);

// Every field that `v` sets. -EINVAL where a list's element has no key.
FL_WUR int fl_typed_fields(const struct fl_schema *s, struct fl_arena *a, const struct fl_json *v,
			   struct fl_fieldset *ret, struct fl_err *err);

// From `x` to `y`. An added object or list is itself "added", besides what is in it. -EINVAL as above.
FL_WUR int fl_typed_compare(const struct fl_schema *s, struct fl_arena *a, const struct fl_json *x,
			    const struct fl_json *y, struct fl_typed_diff *ret, struct fl_err *err);

// `y` over `x`; a new tree. Elements of y keep their order among each other, those of x stay where they were between
// them. Both have passed fl_typed_fields.
struct fl_json *fl_typed_merge(const struct fl_schema *s, struct fl_arena *a, const struct fl_json *x,
			       const struct fl_json *y);

// `v` without the fields of `set`; a new tree. What loses all that is in it becomes null; an element of a list goes.
struct fl_json *fl_typed_remove(const struct fl_schema *s, struct fl_arena *a, const struct fl_json *v,
				const struct fl_fieldset *set);

// The set with every struct field that leads to something in it as a member itself.
struct fl_fieldset fl_typed_with_parents(const struct fl_schema *s, struct fl_arena *a, const struct fl_fieldset *set);
