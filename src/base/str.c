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

// Digits of n, from the end of the buffer backwards; returns the first.
static char *digits_of(unsigned long long n, char *end)
{
	do
		*--end = (char)('0' + n % 10);
	while (n /= 10);
	return end;
}

size_t fl_format_u64(char buf[static FL_U64_STRLEN], unsigned long long n)
{
	char text[FL_U64_STRLEN], *end = text + sizeof(text), *first = digits_of(n, end);
	size_t len = (size_t)(end - first);
	memcpy(buf, first, len);
	buf[len] = '\0';
	return len;
}

static bool put_bytes(char **at, const char *end, const char *s, size_t n)
{
	if ((size_t)(end - *at) <= n)
		return false;
	memcpy(*at, s, n);
	*at += n;
	return true;
}

static bool put_number(char **at, const char *end, unsigned long long n, bool negative)
{
	char text[24], *first = digits_of(n, text + sizeof(text));
	if (negative)
		*--first = '-';
	return put_bytes(at, end, first, (size_t)(text + sizeof(text) - first));
}

static bool put_signed(char **at, const char *end, long long n)
{
	return put_number(at, end, n < 0 ? -(unsigned long long)n : (unsigned long long)n, n < 0);
}

// How many l's stand at the conversion.
static unsigned length_of(const char *p)
{
	return p[0] != 'l' ? 0 : p[1] != 'l' ? 1 : 2;
}

// The conversion at *p (behind the percent sign); false: not one of ours, or no room.
static bool convert(const char **p, char **at, const char *end, va_list *ap)
{
	unsigned l = length_of(*p);
	const char *s;
	char c;
	*p += l;
	switch (**p) {
	case 's':
		s = l ? NULL : va_arg(*ap, const char *);
		return s && put_bytes(at, end, s, strlen(s));
	case 'c':
		c = (char)va_arg(*ap, int);
		return !l && put_bytes(at, end, &c, 1);
	case 'd':
		return put_signed(at, end, !l ? va_arg(*ap, int) : l == 1 ? va_arg(*ap, long) : va_arg(*ap, long long));
	case 'u':
		return put_number(at, end,
				  !l       ? va_arg(*ap, unsigned)
				  : l == 1 ? va_arg(*ap, unsigned long)
					   : va_arg(*ap, unsigned long long),
				  false);
	case 'z':
		return !l && *++*p == 'u' && put_number(at, end, va_arg(*ap, size_t), false);
	default:
		return false;
	}
}

int fl_vformat(char *to, size_t cap, const char *fmt, va_list ap)
{
	va_list quick;
	char *at = to, *end = to + cap;
	bool done = cap > 0;
	va_copy(quick, ap);
	for (const char *p = fmt; *p && done; p++) {
		if (*p != '%') {
			done = end - at > 1;
			if (done)
				*at++ = *p;
			continue;
		}
		p++;
		done = convert(&p, &at, end, &quick);
	}
	va_end(quick);
	if (!done)
		return vsnprintf(to, cap, fmt, ap);
	*at = '\0';
	return (int)(at - to);
}

void fl_buf_vprintf(struct fl_buf *b, const char *fmt, va_list ap)
{
	va_list again;
	va_copy(again, ap);
	fl_buf_reserve(b, 64);
	size_t room = b->cap - b->len;
	int n = fl_vformat(b->data + b->len, room, fmt, ap);
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
