// SPDX-License-Identifier: Apache-2.0
// A bump allocator: one per request, query or sync round, dropped whole. Not for use by two threads at once.
#pragma once

#include <stdarg.h>
#include <stddef.h>

struct fl_arena_chunk;

struct fl_arena {
	struct fl_arena_chunk *head; // newest first
	char *at, *end;              // free part of the newest chunk
	size_t total;                // bytes in chunks, for limits and statistics
};

// A zeroed struct fl_arena is a valid empty arena: `AUTO(fl_arena_deinit) struct fl_arena a = {0};`
void fl_arena_deinit(struct fl_arena *a); // frees all; the arena is empty and usable again
void fl_arena_reset(struct fl_arena *a);  // drops the content, keeps the largest chunk for the next round

void *fl_arena_alloc(struct fl_arena *a, size_t n)
    __attribute__((malloc, returns_nonnull)); // 16-byte aligned, not zeroed
void *fl_arena_zalloc(struct fl_arena *a, size_t n) __attribute__((malloc, returns_nonnull));
char *fl_arena_strdup(struct fl_arena *a, const char *s) __attribute__((returns_nonnull));
char *fl_arena_strndup(struct fl_arena *a, const char *s, size_t n)
    __attribute__((returns_nonnull)); // n bytes, NUL added
__attribute__((format(printf, 2, 3), returns_nonnull)) char *fl_arena_printf(struct fl_arena *a, const char *fmt, ...);
__attribute__((format(printf, 2, 0), returns_nonnull)) char *fl_arena_vprintf(struct fl_arena *a, const char *fmt,
									      va_list ap);
