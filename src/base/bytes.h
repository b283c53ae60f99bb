// SPDX-License-Identifier: Apache-2.0
// Immutable, reference-counted bytes: one serialization shared by every reader. Counts are atomic, so a writer thread
// may hold one.
#pragma once

#include <stdatomic.h>
#include <stddef.h>

#include "base/str.h"

struct fl_bytes {
	atomic_uint refs;
	size_t len;
	char data[]; // NUL-terminated beyond len
};

struct fl_bytes *fl_bytes_new(const void *p,
			      size_t len); // copies; one reference. p NULL leaves data to be filled by the caller
struct fl_bytes *fl_bytes_get(struct fl_bytes *b); // one more reference; NULL gives NULL
void fl_bytes_put(struct fl_bytes **b);            // drops one and nulls the pointer; accepts NULL inside

// Bytes built piece by piece in an empty buffer, without a copy at the end: `begin` leaves room in front for what bytes
// carry, `end` hands the text over as bytes with one reference and leaves the buffer empty.
void fl_bytes_begin(struct fl_buf *b);
struct fl_bytes *fl_bytes_end(struct fl_buf *b);
