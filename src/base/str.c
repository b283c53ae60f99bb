// SPDX-License-Identifier: Apache-2.0
// The growable byte buffer, and plain string helpers. Encodings (base64, percent) stand in encoding.c.
#include "base/str.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

void fl_buf_deinit(struct fl_buf *b)
{
	free(b->data);
	*b = (struct fl_buf){0};
}

__attribute__((noinline)) static void grow(struct fl_buf *b, size_t want)
{
	size_t cap = b->cap ? b->cap : 64;
	while (cap < want)
		cap = cap > SIZE_MAX / 2 ? want : 2 * cap;
	b->data = fl_realloc(b->data, cap);
	if (!b->cap)
		b->data[0] = '\0';
	b->cap = cap;
}

void fl_buf_reserve(struct fl_buf *b, size_t more)
{
	size_t want;
	if (__builtin_add_overflow(b->len + 1, more, &want))
		want = SIZE_MAX; // no allocator grants it: ends in mem.c
	if (want > b->cap)
		grow(b, want);
}

void fl_buf_append(struct fl_buf *b, const void *p, size_t n)
{
	fl_buf_reserve(b, n);
	if (n)
		memcpy(b->data + b->len, p, n);
	b->len += n;
	b->data[b->len] = '\0';
}

void fl_buf_puts(struct fl_buf *b, const char *s)
{
	fl_buf_append(b, s, strlen(s));
}

void fl_buf_printf(struct fl_buf *b, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fl_buf_vprintf(b, fmt, ap);
	va_end(ap);
}

void fl_buf_vprintf(struct fl_buf *b, const char *fmt, va_list ap)
{
	va_list again;
	va_copy(again, ap);
	fl_buf_reserve(b, 64);
	size_t room = b->cap - b->len;
	int n = vsnprintf(b->data + b->len, room, fmt, ap);
	if (n > 0 && (size_t)n >= room) {
		fl_buf_reserve(b, (size_t)n);
		vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
	}
	if (n > 0)
		b->len += (size_t)n;
	b->data[b->len] = '\0';
	va_end(again);
}

void fl_buf_consume(struct fl_buf *b, size_t n)
{
	if (!b->data)
		return;
	if (n > b->len)
		n = b->len;
	b->len -= n;
	memmove(b->data, b->data + n, b->len);
	b->data[b->len] = '\0';
}

char *fl_buf_take(struct fl_buf *b)
{
	fl_buf_reserve(b, 0);
	char *s = b->data;
	*b = (struct fl_buf){0};
	return s;
}

bool fl_starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool fl_ends_with(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);
	return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

bool fl_str_empty(const char *s)
{
	return !s || !*s;
}

bool fl_parse_u64(const char *s, unsigned long long *ret)
{
	unsigned long long v = 0;
	if (!*s)
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return false;
		if (__builtin_mul_overflow(v, 10ULL, &v) ||
		    __builtin_add_overflow(v, (unsigned long long)(*s - '0'), &v))
			return false;
	}
	*ret = v;
	return true;
}
