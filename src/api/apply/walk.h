// SPDX-License-Identifier: Apache-2.0
// Inside of typed.h's walks: how a schema divides a value, and path elements. For the files of this folder.
#pragma once

#include "api/apply/typed.h"

// What a value of this schema is to ownership. A value without schema (RawExtension) is a map when it is an object.
bool fl_walk_is_map(const struct fl_schema *s, const struct fl_json *v); // has fields of its own
bool fl_walk_is_list(const struct fl_schema *s);                         // has elements of its own
// null, absent, or nothing in it.
bool fl_walk_is_empty(const struct fl_json *v);

// Schema of a member; NULL when an object's schema does not know it.
const struct fl_schema *fl_walk_member(const struct fl_schema *s, const char *key);
// A struct's field, as opposed to a key that the user chose.
bool fl_walk_is_named(const struct fl_schema *s, const char *key);

struct fl_element {
	const char *pe; // NUL-terminated, in the arena
	size_t len;
	const struct fl_json *node;
};

// "f:<key>"
struct fl_element fl_walk_field(struct fl_arena *a, const struct fl_json *member);
// "k:{...}" or "v:..." of an element of the list `s`; -EINVAL when it has no key.
FL_WUR int fl_walk_item(struct fl_arena *a, const struct fl_schema *s, const struct fl_json *item,
			struct fl_element *ret, struct fl_err *err);
// All members (any order but theirs) or elements of `v`; nothing of a value of another type.
FL_WUR int fl_walk_children(struct fl_arena *a, const struct fl_schema *s, const struct fl_json *v,
			    struct fl_element **ret, size_t *ret_n, struct fl_err *err);
// Schema of a child that fl_walk_children found.
const struct fl_schema *fl_walk_child(const struct fl_schema *s, const struct fl_json *child);
