// SPDX-License-Identifier: Apache-2.0
// Shared immutable bytes: the count and the data are one allocation.
#include "base/bytes.h"

#include <string.h>

#include "base/mem.h"

struct fl_bytes *fl_bytes_new(const void *p, size_t len)
{
	struct fl_bytes *b = fl_malloc(sizeof(*b) + len + 1);
	atomic_init(&b->refs, 1);
	b->len = len;
	if (p && len)
		memcpy(b->data, p, len);
	b->data[len] = '\0';
	return b;
}

struct fl_bytes *fl_bytes_get(struct fl_bytes *b)
{
	if (b)
		atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	return b;
}

void fl_bytes_put(struct fl_bytes **b)
{
	struct fl_bytes *old = *b;
	*b = NULL;
	// Release: our reads are done before the count falls. Acquire: the last one sees all others' before it frees.
	if (old && atomic_fetch_sub_explicit(&old->refs, 1, memory_order_acq_rel) == 1)
		free(old);
}

void fl_bytes_begin(struct fl_buf *b)
{
	static const struct fl_bytes head;
	fl_buf_append(b, &head, sizeof(head));
}

struct fl_bytes *fl_bytes_end(struct fl_buf *b)
{
	size_t len = b->len - sizeof(struct fl_bytes);
	struct fl_bytes *r = (struct fl_bytes *)fl_buf_take(b);
	atomic_init(&r->refs, 1);
	r->len = len;
	return r;
}
