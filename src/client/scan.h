// SPDX-License-Identifier: Apache-2.0
// Spans of a JSON text, without a tree: a page of a list is cut into its objects, a watch line into type and object.
// Finds where values begin and end; whether each value is right is told by the parser that gets the span.
#pragma once

#include <stdbool.h>
#include <stddef.h>

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

// The value of a member of an object; {NULL, 0} when absent.
struct fl_span fl_scan_member(struct fl_span object, const char *key);
bool fl_span_equals(struct fl_span text, const char *s); // the same bytes: for keys
// Equal to the JSON string of `s`, for strings without escapes.
bool fl_span_is(struct fl_span raw, const char *s);
// The inside of a string without escapes, as a C string in `buf`; false when it is none or too long.
bool fl_span_text(struct fl_span raw, char *buf, size_t cap);
