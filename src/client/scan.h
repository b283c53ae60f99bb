// SPDX-License-Identifier: Apache-2.0
// Spans of a JSON text, without a tree: a page of a list is cut into its objects, a watch line into type and object.
// Finds where values begin and end; whether each value is right is told by the parser that gets the span.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct fl_span {
	const char *p;
	size_t n;
};

struct fl_scan {
	const char *at, *end;
	char close; // '}' or ']'
	bool first, broken;
};

// Begins a walk over the members of an object or the elements of an array. False when `text` is neither.
bool fl_scan_begin(struct fl_scan *s, struct fl_span text);
// The next member; `key` (without its quotes, escapes not resolved) is
// empty in an array. False at the end, or with s->broken.
bool fl_scan_next(struct fl_scan *s, struct fl_span *key, struct fl_span *value);

// The next member's name alone: s->at is where its value begins, whose end nobody has looked for. One of the two below
// must follow; after fl_scan_enter the walk over the outer object is over.
bool fl_scan_name(struct fl_scan *s, struct fl_span *key);
bool fl_scan_skip(struct fl_scan *s, struct fl_span *value);
bool fl_scan_enter(const struct fl_scan *s, struct fl_scan *inner); // false when the value is no object

// What an object is called and how old it is: the first members of its metadata, as servers write them. All are set,
// but for ns of a cluster-scoped object. Reads no further than it must; `text` may go on behind the object.
struct fl_scan_meta {
	struct fl_span name, ns, uid; // without quotes
	uint64_t rv;
};
bool fl_scan_identify(struct fl_span text, struct fl_scan_meta *ret);

// The value of a member of an object; {NULL, 0} when absent.
struct fl_span fl_scan_member(struct fl_span object, const char *key);
bool fl_span_equals(struct fl_span text, const char *s); // the same bytes: for keys
// Equal to the JSON string of `s`, for strings without escapes.
bool fl_span_is(struct fl_span raw, const char *s);
// The inside of a string without escapes, as a C string in `buf`; false when it is none or too long.
bool fl_span_text(struct fl_span raw, char *buf, size_t cap);
