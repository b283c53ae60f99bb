// SPDX-License-Identifier: Apache-2.0
// The bump allocator. Chunks double from 4 KiB to 1 MiB, so that a small request costs one malloc and a list of many
// megabytes a few dozen. An allocation larger than the next chunk gets a chunk of just its size *behind* the newest
// one, which therefore goes on being filled.
//
//   head -> [chunk 3 | used | free ] -> [chunk 2 | used] -> [chunk 1 | used]
//                           ^at   ^end
//
// Under AddressSanitizer the free part is poisoned, so that a write beyond an allocation is found as with malloc.
#include "base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

#ifdef FL_SANITIZE
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n)   ((void)0)
#define UNPOISON(p, n) ((void)0)
#endif

#define ALIGN       ((size_t)16)
#define FIRST_CHUNK ((size_t)4096)
#define MAX_CHUNK   ((size_t)1024 * 1024)

struct fl_arena_chunk {
	struct fl_arena_chunk *next;
	size_t size; // with this header
	char data[] __attribute__((aligned(16)));
};

static struct fl_arena_chunk *new_chunk(struct fl_arena *a, size_t size)
{
	struct fl_arena_chunk *c = fl_malloc(size);
	c->size = size;
	a->total += size;
	POISON(c->data, size - sizeof(*c));
	return c;
}

static void free_chunk(struct fl_arena_chunk *c)
{
	UNPOISON(c->data, c->size - sizeof(*c));
	free(c);
}

static void use_chunk(struct fl_arena *a, struct fl_arena_chunk *c)
{
	a->at = c->data;
	a->end = (char *)c + c->size;
}

void fl_arena_deinit(struct fl_arena *a)
{
	for (struct fl_arena_chunk *c = a->head, *next; c; c = next) {
		next = c->next;
		free_chunk(c);
	}
	*a = (struct fl_arena){0};
}

void fl_arena_reset(struct fl_arena *a)
{
	struct fl_arena_chunk *keep = a->head;
	if (!keep)
		return;
	for (struct fl_arena_chunk *c = a->head; c; c = c->next)
		if (c->size > keep->size)
			keep = c;
	for (struct fl_arena_chunk *c = a->head, *next; c; c = next) {
		next = c->next;
		if (c != keep)
			free_chunk(c);
	}
	keep->next = NULL;
	POISON(keep->data, keep->size - sizeof(*keep));
	a->head = keep;
	a->total = keep->size;
	use_chunk(a, keep);
}

__attribute__((noinline)) static void *alloc_slow(struct fl_arena *a, size_t n, size_t rounded)
{
	size_t size = FIRST_CHUNK;
	if (a->head) {
		size = a->total < MAX_CHUNK ? a->total : MAX_CHUNK;
		if (size < FIRST_CHUNK)
			size = FIRST_CHUNK;
	}
	size_t need = rounded + sizeof(struct fl_arena_chunk);
	if (a->head && need > size / 2) {
		struct fl_arena_chunk *c = new_chunk(a, need);
		c->next = a->head->next;
		a->head->next = c;
		UNPOISON(c->data, n);
		return c->data;
	}
	if (size < need)
		size = need;
	struct fl_arena_chunk *c = new_chunk(a, size);
	c->next = a->head;
	a->head = c;
	use_chunk(a, c);
	a->at += rounded;
	UNPOISON(c->data, n);
	return c->data;
}

void *fl_arena_alloc(struct fl_arena *a, size_t n)
{
	// An n near SIZE_MAX must reach malloc and fail there, not wrap around to a small one.
	size_t rounded = n > SIZE_MAX - 4 * ALIGN ? SIZE_MAX / 2 : (n + ALIGN - 1) & ~(ALIGN - 1);
	if (!rounded)
		rounded = ALIGN;
	if (rounded > (size_t)(a->end - a->at))
		return alloc_slow(a, n, rounded);
	char *p = a->at;
	a->at += rounded;
	UNPOISON(p, n);
	return p;
}

void *fl_arena_zalloc(struct fl_arena *a, size_t n)
{
	return memset(fl_arena_alloc(a, n), 0, n);
}

char *fl_arena_strdup(struct fl_arena *a, const char *s)
{
	return fl_arena_strndup(a, s, strlen(s));
}

char *fl_arena_strndup(struct fl_arena *a, const char *s, size_t n)
{
	char *p = fl_arena_alloc(a, n + 1);
	if (n)
		memcpy(p, s, n);
	p[n] = '\0';
	return p;
}

char *fl_arena_printf(struct fl_arena *a, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *s = fl_arena_vprintf(a, fmt, ap);
	va_end(ap);
	return s;
}

char *fl_arena_vprintf(struct fl_arena *a, const char *fmt, va_list ap)
{
	char small[256];
	va_list again;
	va_copy(again, ap);
	int n = fl_vformat(small, sizeof(small), fmt, ap);
	size_t len = n > 0 ? (size_t)n : 0;
	char *s = fl_arena_alloc(a, len + 1);
	if (len < sizeof(small))
		memcpy(s, small, len);
	else
		vsnprintf(s, len + 1, fmt, again);
	s[len] = '\0';
	va_end(again);
	return s;
}
