// SPDX-License-Identifier: Apache-2.0
// Quantities in 128-bit fixed point: 2^63 units of 10^9 nano each fit with room to spare.
#include "api/quantity.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/mem.h"

#define NANO ((__int128)1000000000)
#define MOST ((__int128)INT64_MAX * NANO)

static const struct {
	const char *suffix;
	int power; // of 10, or of 2 for binary ones
	enum fl_quantity_format format;
} suffixes[] = {
    {"n", -9, FL_QUANTITY_DECIMAL}, {"u", -6, FL_QUANTITY_DECIMAL}, {"m", -3, FL_QUANTITY_DECIMAL},
    {"", 0, FL_QUANTITY_DECIMAL},   {"k", 3, FL_QUANTITY_DECIMAL},  {"M", 6, FL_QUANTITY_DECIMAL},
    {"G", 9, FL_QUANTITY_DECIMAL},  {"T", 12, FL_QUANTITY_DECIMAL}, {"P", 15, FL_QUANTITY_DECIMAL},
    {"E", 18, FL_QUANTITY_DECIMAL}, {"Ki", 10, FL_QUANTITY_BINARY}, {"Mi", 20, FL_QUANTITY_BINARY},
    {"Gi", 30, FL_QUANTITY_BINARY}, {"Ti", 40, FL_QUANTITY_BINARY}, {"Pi", 50, FL_QUANTITY_BINARY},
    {"Ei", 60, FL_QUANTITY_BINARY},
};

static bool parse_suffix(const char *s, int *ret_power, enum fl_quantity_format *ret_format)
{
	for (size_t i = 0; i < FL_COUNT(suffixes); i++) {
		if (fl_streq(s, suffixes[i].suffix)) {
			*ret_power = suffixes[i].power;
			*ret_format = suffixes[i].format;
			return true;
		}
	}
	if ((*s == 'e' || *s == 'E') && s[1]) {
		char *end;
		long power = strtol(s + 1, &end, 10);

		if (*end || isspace((unsigned char)s[1]) || power > 1000 || power < -1000)
			return false;
		*ret_power = (int)power;
		*ret_format = FL_QUANTITY_EXPONENT;
		return true;
	}
	return false;
}

// The number's digits as an integer of 10^-scale units; digits that cannot matter any more are dropped, `rest` tells
// whether one of them was not zero.
struct digits {
	__int128 value;
	int scale;
	bool any, rest;
};

static const char *parse_digits(const char *s, struct digits *d)
{
	bool point = false;

	for (; isdigit((unsigned char)*s) || (*s == '.' && !point); s++) {
		if (*s == '.') {
			point = true;
			continue;
		}
		d->any = true;
		if (d->value > MOST) {
			d->rest = d->rest || *s != '0';
			d->scale -= !point;
			continue;
		}
		d->value = d->value * 10 + (*s - '0');
		d->scale += point;
	}
	return s;
}

bool fl_quantity_parse(const char *s, struct fl_quantity *ret)
{
	bool negative = *s == '-';
	struct digits d = {0};
	struct fl_quantity q;
	int power;

	if (*s == '-' || *s == '+')
		s++;
	s = parse_digits(s, &d);
	if (!d.any || !parse_suffix(s, &power, &q.format))
		return false;
	q.nano = d.value;
	if (q.format == FL_QUANTITY_BINARY) {
		if (q.nano > MOST >> power)
			q.nano = MOST;
		else
			q.nano <<= power;
		power = 0;
	}
	power += 9 - d.scale;
	for (; power > 0 && q.nano; power--)
		q.nano = q.nano > MOST / 10 ? MOST : q.nano * 10;
	for (; power < 0 && q.nano; power++) {
		d.rest = d.rest || q.nano % 10;
		q.nano /= 10;
	}
	if (d.rest && q.nano < MOST)
		q.nano++;
	if (q.nano > MOST)
		q.nano = MOST;
	if (negative)
		q.nano = -q.nano;
	*ret = q;
	return true;
}

static void write_number(struct fl_buf *b, __int128 v)
{
	char digits[48];
	size_t at = sizeof(digits);
	bool negative = v < 0;

	if (negative)
		v = -v;
	do {
		digits[--at] = (char)('0' + (int)(v % 10));
		v /= 10;
	} while (v);
	if (negative)
		digits[--at] = '-';
	fl_buf_append(b, digits + at, sizeof(digits) - at);
}

void fl_quantity_write(struct fl_buf *b, const struct fl_quantity *q)
{
	enum fl_quantity_format format = q->format;
	__int128 v = q->nano;
	int power = -9;

	if (v == 0) {
		fl_buf_putc(b, '0');
		return;
	}
	// Small or fractional amounts are shown in decimal, so that nothing is rounded.
	if (format == FL_QUANTITY_BINARY && ((v > -1024 * NANO && v < 1024 * NANO) || v % NANO))
		format = FL_QUANTITY_DECIMAL;
	if (format == FL_QUANTITY_BINARY) {
		size_t suffix = 0;

		for (v /= NANO; v % 1024 == 0 && suffix < 6; v /= 1024)
			suffix++;
		write_number(b, v);
		if (suffix)
			fl_buf_puts(b, suffixes[9 + suffix].suffix);
		return;
	}
	for (; v % 1000 == 0 && power < 18; v /= 1000)
		power += 3;
	write_number(b, v);
	if (format == FL_QUANTITY_EXPONENT) {
		if (power)
			fl_buf_printf(b, "e%d", power);
		return;
	}
	for (size_t i = 0; i < 10; i++)
		if (suffixes[i].power == power)
			fl_buf_puts(b, suffixes[i].suffix);
}
