// SPDX-License-Identifier: Apache-2.0
// A JSON tree in few bytes, for caches that hold many objects and are asked for few at a time: a third to a quarter of
// the text, and read into a tree faster than the text is parsed. The form lives in memory alone: it is never written to
// a disk or a socket, so it has no version and may change with every build.
#pragma once

#include "base/arena.h"
#include "json/json.h"

// What the holder of the bytes keeps beside them: strings equal to one of these cost one byte. The same on writing and
// reading.
struct fl_packed_names {
	const char *ns, *name, *uid; // not NULL
	uint64_t rv;                 // as decimal text
};

void fl_packed_write(struct fl_buf *b, const struct fl_json *tree, const struct fl_packed_names *names);
// The same tree again, in `a`, independent of `bytes`. Only for bytes that fl_packed_write made, so it cannot fail.
struct fl_json *fl_packed_read(struct fl_arena *a, const void *bytes, size_t len, const struct fl_packed_names *names);
