// SPDX-License-Identifier: Apache-2.0
// Base64 (RFC 4648 section 4) and percent-encoding (RFC 3986 section 2.1). Declared in base/str.h.
#include <stdint.h>

#include "base/str.h"

static const char b64_alphabet[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void fl_base64_encode(struct fl_buf *b, const void *p, size_t n)
{
	const uint8_t *in = p;
	fl_buf_reserve(b, (n + 2) / 3 * 4);
	char *out = b->data + b->len;
	for (; n >= 3; n -= 3, in += 3) {
		uint32_t v = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
		*out++ = b64_alphabet[v >> 18];
		*out++ = b64_alphabet[v >> 12 & 63];
		*out++ = b64_alphabet[v >> 6 & 63];
		*out++ = b64_alphabet[v & 63];
	}
	if (n) {
		uint32_t v = (uint32_t)in[0] << 16 | (n > 1 ? (uint32_t)in[1] << 8 : 0);
		*out++ = b64_alphabet[v >> 18];
		*out++ = b64_alphabet[v >> 12 & 63];
		*out++ = n > 1 ? b64_alphabet[v >> 6 & 63] : '=';
		*out++ = '=';
	}
	*out = '\0';
	b->len = (size_t)(out - b->data);
}

static int b64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

// As Go's base64.StdEncoding: line ends are skipped, padding is required, the unused bits of the last character are
// not looked at.
bool fl_base64_decode(struct fl_buf *b, const char *s, size_t n)
{
	size_t old_len = b->len;
	fl_buf_reserve(b, n / 4 * 3 + 3);
	char *out = b->data + old_len;
	uint32_t v = 0;
	unsigned have = 0, pad = 0;
	for (size_t i = 0; i < n; i++) {
		char c = s[i];
		if (c == '\n' || c == '\r')
			continue;
		if (c == '=') {
			if (have + pad < 2 || have + pad > 3)
				goto broken;
			pad++;
			continue;
		}
		int d = b64_value(c);
		if (d < 0 || pad)
			goto broken;
		v = v << 6 | (uint32_t)d;
		if (++have == 4) {
			*out++ = (char)(v >> 16);
			*out++ = (char)(v >> 8);
			*out++ = (char)v;
			v = have = 0;
		}
	}
	if (have && have + pad != 4)
		goto broken;
	if (have >= 2)
		*out++ = (char)(have == 2 ? v >> 4 : v >> 10);
	if (have == 3)
		*out++ = (char)(v >> 2);
	*out = '\0';
	b->len = (size_t)(out - b->data);
	return true;
broken:
	b->data[old_len] = '\0';
	return false;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool fl_percent_decode(char *s, bool plus_is_space)
{
	for (const char *p = s; (p = strchr(p, '%')); p += 3) {
		int hi = hex_value(p[1]);
		int lo = hi < 0 ? -1 : hex_value(p[2]);
		if (lo < 0 || (hi == 0 && lo == 0))
			return false;
	}
	char *out = s += strcspn(s, "%+"); // mostly all of it: it stays as it is
	for (; *s; s++) {
		if (*s == '%') {
			*out++ = (char)(hex_value(s[1]) << 4 | hex_value(s[2]));
			s += 2;
		} else {
			*out++ = *s == '+' && plus_is_space ? ' ' : *s;
		}
	}
	*out = '\0';
	return true;
}

static bool is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
	       c == '_' || c == '~';
}

void fl_percent_encode(struct fl_buf *b, const char *s)
{
	static const char hex[16] = "0123456789ABCDEF";
	fl_buf_reserve(b, strlen(s));
	for (; *s; s++) {
		uint8_t c = (uint8_t)*s;
		if (is_unreserved(*s))
			fl_buf_putc(b, *s);
		else
			fl_buf_append(b, (char[]){'%', hex[c >> 4], hex[c & 15]}, 3);
	}
}
