// SPDX-License-Identifier: Apache-2.0
// A JSON document as a tree in an arena. Members keep their order; children are a linked list, so that edits are cheap.
// Nothing is freed one by one: nodes go with their arena. Strings are NUL-terminated and carry their length, because
// JSON strings may hold U+0000.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

enum fl_json_type {
	FL_JSON_NULL,
	FL_JSON_BOOL,
	FL_JSON_INT,   // a number without fraction or exponent that fits int64
	FL_JSON_FLOAT, // any other number
	FL_JSON_STRING,
	FL_JSON_ARRAY,
	FL_JSON_OBJECT,
	FL_JSON_TYPE_COUNT,
};

struct fl_json {
	enum fl_json_type type;
	uint32_t key_len; // of `key`; 0 and key NULL outside an object
	const char *key;
	struct fl_json *next; // sibling
	union {
		bool b;
		int64_t i;
		double f;
		struct {
			const char *s;
			uint32_t len;
		} str;
		struct {
			struct fl_json *first, *last;
			uint32_t count;
		} kids; // array elements or object members
	};
};

#define fl_json_each(child, parent)                                                                                    \
	for (struct fl_json *child = (parent) && (parent)->type >= FL_JSON_ARRAY ? (parent)->kids.first : NULL; child; \
	     child = child->next)

struct fl_json_parse_opts {
	unsigned max_depth; // 0 = FL_MAX_JSON_DEPTH, which is also the most
	// Called for each member name that stands again in its object (the last value wins, as in Go's decoder); a name
	// that stands three times is reported twice. `path` as Kubernetes prints it in a strict decoding error:
	// spec.ports[0].port
	void (*on_duplicate)(void *arg, const char *path);
	void *arg;
	// {"metadata", "managedFields", 2}: where a member of that name, `depth` objects deep, stands in one of the
	// other's name, and is an object or an array, it is left out of the tree. It is skipped with an eye on strings
	// and brackets alone.
	struct fl_json_left_out {
		const char *parent, *name;
		unsigned depth;
	} left_out; // depth 0: none
};

// Parses exactly one document (RFC 8259, UTF-8 checked; invalid bytes are an error). The tree points into the arena,
// never into `text`. `opts` may be NULL. -EINVAL with line and column in err.
FL_WUR int fl_json_parse(struct fl_arena *a, const char *text, size_t len, const struct fl_json_parse_opts *opts,
			 struct fl_json **ret, struct fl_err *err);

// Compact form; members in their order. Never fails. As Go's encoder, escapes control characters, but not <, > and &.
void fl_json_write(struct fl_buf *b, const struct fl_json *j);
void fl_json_write_pretty(struct fl_buf *b, const struct fl_json *j, unsigned indent); // indent spaces a level
void fl_json_write_string(struct fl_buf *b, const char *s, size_t len);                // with the quotes

// Reading. All accept NULL and a node of another type: they answer NULL, the default, or 0 then.
struct fl_json *fl_json_get(const struct fl_json *object, const char *key);
struct fl_json *fl_json_get_n(const struct fl_json *object, const char *key, size_t key_len); // key may hold U+0000
struct fl_json *fl_json_path(const struct fl_json *j, const char *key, ...)
    __attribute__((sentinel)); // keys, then NULL
struct fl_json *fl_json_index(const struct fl_json *array, size_t i);
size_t fl_json_count(const struct fl_json *j);
bool fl_json_is_zero(const struct fl_json *j);       // null, false, 0 or "": what Go's omitempty leaves out of scalars
const char *fl_json_string(const struct fl_json *j); // NULL when it is no string
const char *fl_json_str(const struct fl_json *object, const char *key);
const char *fl_json_str_or(const struct fl_json *object, const char *key, const char *otherwise);
int64_t fl_json_int(const struct fl_json *object, const char *key, int64_t otherwise);
bool fl_json_bool(const struct fl_json *object, const char *key, bool otherwise);
bool fl_json_is(const struct fl_json *j, enum fl_json_type type); // false for NULL

// Equal in value: member order does not matter, 1 and 1.0 are equal.
bool fl_json_equal(const struct fl_json *a, const struct fl_json *b);

// Building. Keys and strings are copied into the arena. A node stands in one parent only: fl_json_clone for a second.
struct fl_json *fl_json_new(struct fl_arena *a, enum fl_json_type type);
struct fl_json *fl_json_new_str(struct fl_arena *a, const char *s);
struct fl_json *fl_json_new_strn(struct fl_arena *a, const char *s, size_t n);
struct fl_json *fl_json_new_int(struct fl_arena *a, int64_t i);
struct fl_json *fl_json_new_bool(struct fl_arena *a, bool b);
struct fl_json *fl_json_clone(struct fl_arena *a, const struct fl_json *j); // deep; without the key; NULL gives NULL

// Sets or replaces (in place of the old member). `value` NULL removes. Returns value.
struct fl_json *fl_json_set(struct fl_arena *a, struct fl_json *object, const char *key, struct fl_json *value);
struct fl_json *fl_json_set_n(struct fl_arena *a, struct fl_json *object, const char *key, size_t key_len,
			      struct fl_json *value);
struct fl_json *fl_json_set_str(struct fl_arena *a, struct fl_json *object, const char *key,
				const char *s); // s NULL removes
struct fl_json *fl_json_set_int(struct fl_arena *a, struct fl_json *object, const char *key, int64_t i);
struct fl_json *fl_json_set_bool(struct fl_arena *a, struct fl_json *object, const char *key, bool b);
struct fl_json *fl_json_set_object(struct fl_arena *a, struct fl_json *object, const char *key);    // new empty one
struct fl_json *fl_json_set_array(struct fl_arena *a, struct fl_json *object, const char *key);     // new empty one
struct fl_json *fl_json_ensure_object(struct fl_arena *a, struct fl_json *object, const char *key); // existing or new
bool fl_json_remove(struct fl_json *object, const char *key);
struct fl_json *fl_json_append(struct fl_json *array, struct fl_json *value); // returns value
struct fl_json *fl_json_insert(struct fl_json *array, size_t i,
			       struct fl_json *value); // before element i, or last; returns value
bool fl_json_remove_child(struct fl_json *parent, const struct fl_json *child);
