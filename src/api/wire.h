// SPDX-License-Identifier: Apache-2.0
// The protobuf wire format (protobuf.dev "Encoding"): fields one after another, each a key (number << 3 | type) and a
// value. A reader never leaves its bytes; a writer appends to a buffer.
//
//   varint 0 | fixed64 1 | length-delimited 2 | fixed32 5        groups (3, 4) are refused
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum fl_wire_type { FL_WIRE_VARINT = 0, FL_WIRE_FIXED64 = 1, FL_WIRE_BYTES = 2, FL_WIRE_FIXED32 = 5 };

struct fl_wire {
	const uint8_t *at, *end;
};

struct fl_wire_field {
	uint32_t number;
	enum fl_wire_type type;
	uint64_t value;       // VARINT, FIXED64, FIXED32
	struct fl_wire bytes; // BYTES
};

static inline bool fl_wire_varint(struct fl_wire *w, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		if (w->at == w->end)
			return false;
		uint8_t c = *w->at++;
		if (shift == 63 && c > 1)
			return false;
		v |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80)) {
			*ret = v;
			return true;
		}
	}
	return false;
}

static inline bool fl_wire_fixed(struct fl_wire *w, unsigned n, uint64_t *ret)
{
	uint64_t v = 0;

	if ((size_t)(w->end - w->at) < n)
		return false;
	for (unsigned i = 0; i < n; i++)
		v |= (uint64_t)*w->at++ << (8 * i);
	*ret = v;
	return true;
}

// 1 and the next field, 0 at the end, -1 on malformed bytes.
static inline int fl_wire_next(struct fl_wire *w, struct fl_wire_field *ret)
{
	uint64_t key, n;

	if (w->at == w->end)
		return 0;
	if (!fl_wire_varint(w, &key) || key >> 3 == 0 || key >> 3 > 0x1fffffff)
		return -1;
	*ret = (struct fl_wire_field){.number = (uint32_t)(key >> 3)};
	switch (key & 7) {
	case FL_WIRE_VARINT:
		ret->type = FL_WIRE_VARINT;
		return fl_wire_varint(w, &ret->value) ? 1 : -1;
	case FL_WIRE_FIXED64:
		ret->type = FL_WIRE_FIXED64;
		return fl_wire_fixed(w, 8, &ret->value) ? 1 : -1;
	case FL_WIRE_FIXED32:
		ret->type = FL_WIRE_FIXED32;
		return fl_wire_fixed(w, 4, &ret->value) ? 1 : -1;
	case FL_WIRE_BYTES:
		ret->type = FL_WIRE_BYTES;
		if (!fl_wire_varint(w, &n) || n > (uint64_t)(w->end - w->at))
			return -1;
		ret->bytes = (struct fl_wire){w->at, w->at + n};
		w->at += n;
		return 1;
	default:
		return -1;
	}
}

static inline void fl_wire_put_varint(struct fl_buf *b, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		fl_buf_putc(b, (char)(v | 0x80));
	fl_buf_putc(b, (char)v);
}

static inline void fl_wire_put_uint(struct fl_buf *b, uint32_t number, uint64_t v)
{
	fl_wire_put_varint(b, (uint64_t)number << 3 | FL_WIRE_VARINT);
	fl_wire_put_varint(b, v);
}

static inline void fl_wire_put_bytes(struct fl_buf *b, uint32_t number, const void *p, size_t n)
{
	fl_wire_put_varint(b, (uint64_t)number << 3 | FL_WIRE_BYTES);
	fl_wire_put_varint(b, n);
	fl_buf_append(b, p, n);
}
