// SPDX-License-Identifier: Apache-2.0
// Finding the next byte of a string that needs a second look, 16 bytes at a time where SSE2 is there.
#pragma once

#include <stdint.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define FL_JSON_SCAN_PAD 16 // readable bytes that must follow `end`

// First byte in [p, end) that is a quote, a backslash, a control character (below 0x20) or not ASCII; else `end`.
// Reads up to FL_JSON_SCAN_PAD bytes beyond `end`, without looking at them.
static inline const char *fl_json_scan(const char *p, const char *end)
{
#ifdef __SSE2__
	const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(0x20);
	for (; p < end; p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
		// Signed comparison: bytes from 0x80 up are negative, so "below 0x20" takes them in.
		__m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)),
					   _mm_cmplt_epi8(v, space));
		unsigned mask = (unsigned)_mm_movemask_epi8(hit);
		if (mask) {
			p += __builtin_ctz(mask);
			return p < end ? p : end;
		}
	}
	return end;
#else
	for (; p < end; p++) {
		uint8_t c = (uint8_t)*p;
		if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
			break;
	}
	return p;
#endif
}

// Length of the well-formed UTF-8 sequence at p (1 to 4; RFC 3629: no surrogates, no overlong forms), or 0.
static inline unsigned fl_json_utf8_len(const char *p, const char *end)
{
	const uint8_t *s = (const uint8_t *)p;
	long left = end - p;
	uint8_t c = s[0];
	if (c < 0x80)
		return 1;
	if (c < 0xc2 || left < 2 || (s[1] & 0xc0) != 0x80)
		return 0;
	if (c < 0xe0)
		return 2;
	if (left < 3 || (s[2] & 0xc0) != 0x80)
		return 0;
	if (c < 0xf0)
		return (c == 0xe0 && s[1] < 0xa0) || (c == 0xed && s[1] >= 0xa0) ? 0 : 3;
	if (left < 4 || (s[3] & 0xc0) != 0x80)
		return 0;
	return c > 0xf4 || (c == 0xf0 && s[1] < 0x90) || (c == 0xf4 && s[1] >= 0x90) ? 0 : 4;
}
