// SPDX-License-Identifier: Apache-2.0
// The tree as text, byte for byte what Go's encoding/json prints for the same values (with SetEscapeHTML(false)): short
// escapes for \b \f \n \r \t, \u00xx for other control characters, \u2028 and \u2029, U+FFFD for broken UTF-8; floats
// in their shortest form that reads back as the same value, with an exponent below 1e-6 and from 1e21 on.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json/json.h"
#include "json/number.h"
#include "json/scan.h"

static const char hex[16] = "0123456789abcdef";

static void put_escaped(struct fl_buf *b, uint8_t c)
{
	static const char shorts[0x20] = {['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
	if (c == '"' || c == '\\')
		fl_buf_append(b, (char[]){'\\', (char)c}, 2);
	else if (shorts[c])
		fl_buf_append(b, (char[]){'\\', shorts[c]}, 2);
	else
		fl_buf_append(b, (char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
}

// Up to the next byte that needs a second look. The scanner may read beyond its end, which a caller's string does not
// allow: the last bytes go through a copy.
static const char *scan(const char *s, const char *end)
{
	if (end - s > FL_JSON_SCAN_PAD) {
		const char *safe_end = end - FL_JSON_SCAN_PAD;
		s = fl_json_scan(s, safe_end);
		if (s < safe_end)
			return s;
	}
	for (; s < end; s++) {
		uint8_t c = (uint8_t)*s;
		if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
			break;
	}
	return s;
}

#define SHORT   48 // longer strings are scanned many bytes at a time
#define EACH(c) ((uint64_t)0x0101010101010101 * (c))

// Whether one of eight bytes needs a second look; sometimes also when none does.
static bool any_special(uint64_t v)
{
	uint64_t quote = v ^ EACH('"'), backslash = v ^ EACH('\\');
	uint64_t control = (v - EACH(0x20)) & ~v;
	quote = (quote - EACH(1)) & ~quote;
	backslash = (backslash - EACH(1)) & ~backslash;
	return (v | control | quote | backslash) & EACH(0x80);
}

// Most strings are short and plain: copied while they are looked at. False: not all of it was plain, nothing written.
static bool put_short(struct fl_buf *b, const char *s, size_t len)
{
	char *out = b->data + b->len;
	*out++ = '"';
	size_t i = 0;
	for (uint64_t v; i + sizeof(v) <= len; i += sizeof(v)) {
		memcpy(&v, s + i, sizeof(v));
		if (any_special(v))
			return false;
		memcpy(out + i, &v, sizeof(v));
	}
	for (; i < len; i++) {
		uint8_t c = (uint8_t)s[i];
		if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
			return false;
		out[i] = (char)c;
	}
	out[len] = '"';
	out[len + 1] = '\0';
	b->len += len + 2;
	return true;
}

void fl_json_write_string(struct fl_buf *b, const char *s, size_t len)
{
	const char *end = s + len;
	fl_buf_reserve(b, len + 2);
	if (len <= SHORT && put_short(b, s, len))
		return;
	b->data[b->len++] = '"';
	while (s < end) {
		const char *special = scan(s, end);
		fl_buf_append(b, s, (size_t)(special - s));
		s = special;
		if (s == end)
			break;
		uint8_t c = (uint8_t)*s;
		if (c < 0x80) {
			put_escaped(b, c);
			s++;
			continue;
		}
		unsigned n = fl_json_utf8_len(s, end);
		if (n == 0) {
			fl_buf_append(b, "\\ufffd", 6);
			s++;
		} else if (n == 3 && memcmp(s, "\xe2\x80", 2) == 0 && ((uint8_t)s[2] & 0xfe) == 0xa8) {
			fl_buf_append(b, (uint8_t)s[2] == 0xa8 ? "\\u2028" : "\\u2029", 6);
			s += n;
		} else {
			fl_buf_append(b, s, n);
			s += n;
		}
	}
	fl_buf_putc(b, '"');
}

static void put_int(struct fl_buf *b, int64_t i)
{
	char digits[20], *p = digits + sizeof(digits);
	uint64_t v = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
	do
		*--p = (char)('0' + v % 10);
	while (v /= 10);
	if (i < 0)
		*--p = '-';
	fl_buf_append(b, p, (size_t)(digits + sizeof(digits) - p));
}

static void put_float(struct fl_buf *b, double f)
{
	if (!isfinite(f)) { // JSON has no word for it, and no parser here makes one
		fl_buf_append(b, "null", 4);
		return;
	}
	if (f == 0) {
		fl_buf_puts(b, signbit(f) ? "-0" : "0");
		return;
	}
	if (f == trunc(f) && fabs(f) < 0x1p63) {
		// Readers take it for an integer, so it must be the exact one. Go prints the shortest digits and zeros,
		// which from 2^53 on name another integer.
		put_int(b, (int64_t)f);
		return;
	}
	char digits[17];
	int exponent, n = fl_json_shortest_digits(f, digits, &exponent);
	if (f < 0)
		fl_buf_putc(b, '-');
	fl_json_put_digits(b, digits, n, exponent, fabs(f) < 1e-6 || fabs(f) >= 1e21 ? 1 : 0);
}

static void put_scalar(struct fl_buf *b, const struct fl_json *j)
{
	switch (j->type) {
	case FL_JSON_BOOL:
		fl_buf_append(b, j->b ? "true" : "false", j->b ? 4 : 5);
		break;
	case FL_JSON_INT:
		put_int(b, j->i);
		break;
	case FL_JSON_FLOAT:
		put_float(b, j->f);
		break;
	case FL_JSON_STRING:
		fl_json_write_string(b, j->str.s, j->str.len);
		break;
	default:
		fl_buf_append(b, "null", 4);
	}
}

void fl_json_write(struct fl_buf *b, const struct fl_json *j)
{
	if (!j || j->type < FL_JSON_ARRAY) {
		put_scalar(b, j ? j : &(struct fl_json){.type = FL_JSON_NULL});
		return;
	}
	bool object = j->type == FL_JSON_OBJECT;
	fl_buf_putc(b, object ? '{' : '[');
	for (const struct fl_json *k = j->kids.first; k; k = k->next) {
		if (object) {
			fl_json_write_string(b, k->key, k->key_len);
			fl_buf_putc(b, ':');
		}
		fl_json_write(b, k);
		if (k->next)
			fl_buf_putc(b, ',');
	}
	fl_buf_putc(b, object ? '}' : ']');
}

static void new_line(struct fl_buf *b, size_t spaces)
{
	fl_buf_reserve(b, spaces + 1);
	b->data[b->len++] = '\n';
	memset(b->data + b->len, ' ', spaces);
	b->len += spaces;
	b->data[b->len] = '\0';
}

static void write_pretty(struct fl_buf *b, const struct fl_json *j, size_t indent, size_t level)
{
	if (!j || j->type < FL_JSON_ARRAY || !j->kids.first) {
		fl_json_write(b, j);
		return;
	}
	bool object = j->type == FL_JSON_OBJECT;
	fl_buf_putc(b, object ? '{' : '[');
	for (const struct fl_json *k = j->kids.first; k; k = k->next) {
		new_line(b, indent * (level + 1));
		if (object) {
			fl_json_write_string(b, k->key, k->key_len);
			fl_buf_append(b, ": ", 2);
		}
		write_pretty(b, k, indent, level + 1);
		if (k->next)
			fl_buf_putc(b, ',');
	}
	new_line(b, indent * level);
	fl_buf_putc(b, object ? '}' : ']');
}

void fl_json_write_pretty(struct fl_buf *b, const struct fl_json *j, unsigned indent)
{
	write_pretty(b, j, indent, 0);
}
