// SPDX-License-Identifier: Apache-2.0
// Growable byte buffer, and the few string helpers that the C library lacks.
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

// A zeroed struct fl_buf is a valid empty buffer. `data` is NUL-terminated once anything was appended; `len` excludes
// it.
struct fl_buf {
	char *data;
	size_t len, cap;
};

void fl_buf_deinit(struct fl_buf *b); // frees; the buffer is empty and usable again
void fl_buf_reserve(struct fl_buf *b, size_t more);
void fl_buf_append(struct fl_buf *b, const void *p, size_t n);
void fl_buf_puts(struct fl_buf *b, const char *s);
static inline void fl_buf_putc(struct fl_buf *b, char c)
{
	if (b->cap - b->len < 2)
		fl_buf_reserve(b, 1);
	b->data[b->len++] = c;
	b->data[b->len] = '\0';
}
__attribute__((format(printf, 2, 3))) void fl_buf_printf(struct fl_buf *b, const char *fmt, ...);
__attribute__((format(printf, 2, 0))) void fl_buf_vprintf(struct fl_buf *b, const char *fmt, va_list ap);
// As vsnprintf, and several times as fast for %s, %c, %d, %u, %zu, %lu, %ld, %llu, %lld without flags or widths, which
// is what paths, keys and messages are made of; whatever else goes to vsnprintf.
__attribute__((format(printf, 3, 0))) int fl_vformat(char *to, size_t cap, const char *fmt, va_list ap);
enum { FL_U64_STRLEN = 21 };
size_t fl_format_u64(char buf[static FL_U64_STRLEN], unsigned long long n); // decimal; its length
void fl_buf_consume(struct fl_buf *b, size_t n);                            // drops the first n bytes
char *fl_buf_take(struct fl_buf *b); // hands the bytes over (NUL-terminated, free()), empties the buffer

static inline bool fl_streq(const char *a, const char *b) // NULL equals only NULL
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

bool fl_starts_with(const char *s, const char *prefix);
bool fl_ends_with(const char *s, const char *suffix);
bool fl_str_empty(const char *s); // NULL or ""

// Parses the whole of `s` as a decimal without sign or leading "+"; false on anything else or overflow; `ret` untouched
// then.
bool fl_parse_u64(const char *s, unsigned long long *ret);

// Kubernetes duration/number helpers stay out of here: base knows no Kubernetes.

// Base64 with padding (RFC 4648 section 4). Encode: appended to b. Decode: false on a character outside the alphabet.
void fl_base64_encode(struct fl_buf *b, const void *p, size_t n);
bool fl_base64_decode(struct fl_buf *b, const char *s, size_t n);

// Decodes %XX and, if plus_is_space, '+'. In place; false on a broken escape or an embedded %00.
bool fl_percent_decode(char *s, bool plus_is_space);
void fl_percent_encode(struct fl_buf *b, const char *s); // everything but RFC 3986 unreserved characters
