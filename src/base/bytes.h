// SPDX-License-Identifier: Apache-2.0
// Immutable, reference-counted bytes: one serialization shared by every reader. Counts are atomic, so a writer thread
// may hold one.
#pragma once

#include <stdatomic.h>
#include <stddef.h>

struct fl_bytes {
	atomic_uint refs;
	size_t len;
	char data[]; // NUL-terminated beyond len
};

struct fl_bytes *fl_bytes_new(const void *p,
			      size_t len); // copies; one reference. p NULL leaves data to be filled by the caller
struct fl_bytes *fl_bytes_get(struct fl_bytes *b); // one more reference; NULL gives NULL
void fl_bytes_put(struct fl_bytes **b);            // drops one and nulls the pointer; accepts NULL inside
