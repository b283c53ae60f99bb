// SPDX-License-Identifier: Apache-2.0
// YAML 1.1 scalars as sigs.k8s.io/yaml resolves them: the words of the 1.1 types bool and null; integers in every form
// that Go's strconv.ParseInt(s, 0, 64) takes (017 and 0o17 octal, 0x, 0b) with underscores anywhere; decimal floats.
// Sexagesimals and timestamps are strings.
#include "json/yaml_scalar.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/scan.h"

static bool is_one_of(const char *s, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(s, *words) == 0)
			return true;
	return false;
}

static unsigned digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10) : 99;
}

// Go's base 0: sign, then a prefix that names the base.
static bool parse_int(const char *s, struct fl_json *ret)
{
	bool negative = *s == '-';
	if (*s == '-' || *s == '+')
		s++;
	unsigned base = 10;
	if (s[0] == '0' && s[1]) {
		char p = (char)(s[1] | 0x20);
		base = p == 'x' ? 16 : p == 'b' ? 2 : 8;
		s += p == 'x' || p == 'b' || p == 'o' ? 2 : 1;
	}
	if (!*s)
		return false;
	uint64_t v = 0;
	double d = 0;
	bool fits = true;
	for (; *s; s++) {
		unsigned digit = digit_value(*s);
		if (digit >= base)
			return false;
		d = d * base + digit;
		if (__builtin_mul_overflow(v, (uint64_t)base, &v) || __builtin_add_overflow(v, (uint64_t)digit, &v))
			fits = false;
	}
	if (fits && v <= (uint64_t)INT64_MAX + negative) {
		ret->type = FL_JSON_INT;
		ret->i = (int64_t)(negative ? 0 - v : v);
		return true;
	}
	if (base == 10) // for the digits to be rounded once
		return false;
	ret->type = FL_JSON_FLOAT;
	ret->f = negative ? -d : d;
	return true;
}

static const char *skip_digits(const char *s)
{
	while (*s >= '0' && *s <= '9')
		s++;
	return s;
}

// ^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$
static bool parse_float(const char *s, struct fl_json *ret)
{
	const char *p = s + (*s == '-' || *s == '+'), *digits = p;
	p = skip_digits(p);
	if (*p == '.') {
		const char *fraction = ++p;
		p = skip_digits(p);
		if (digits + 1 == fraction && p == fraction)
			return false;
	} else if (p == digits) {
		return false;
	}
	if (*p == 'e' || *p == 'E') {
		p++;
		p += *p == '-' || *p == '+';
		const char *exponent = p;
		p = skip_digits(p);
		if (p == exponent)
			return false;
	}
	if (*p)
		return false;
	double f = strtod(s, NULL);
	if (!isfinite(f)) // ParseFloat: out of range
		return false;
	if (f == trunc(f) && f >= -0x1p63 && f < 0x1p63) {
		ret->type = FL_JSON_INT;
		ret->i = (int64_t)f;
	} else {
		ret->type = FL_JSON_FLOAT;
		ret->f = f;
	}
	return true;
}

static enum fl_yaml_kind resolve_number(const char *s, size_t len, struct fl_json *ret)
{
	AUTO_FREE char *plain = fl_malloc(len + 1);
	size_t n = 0;
	for (size_t i = 0; i < len; i++)
		if (s[i] != '_' || s[0] == '.')
			plain[n++] = s[i];
	plain[n] = '\0';
	if (s[0] != '.' && parse_int(plain, ret))
		return FL_YAML_INT;
	return parse_float(plain, ret) ? FL_YAML_FLOAT : FL_YAML_STRING;
}

enum fl_yaml_kind fl_yaml_resolve(const char *s, size_t len, struct fl_json *ret)
{
	static const char *const nulls[] = {"~", "null", "Null", "NULL", NULL};
	static const char *const trues[] = {"y",    "Y",    "yes", "Yes", "YES", "true",
					    "True", "TRUE", "on",  "On",  "ON",  NULL};
	static const char *const falses[] = {"n",     "N",     "no",  "No",  "NO",  "false",
					     "False", "FALSE", "off", "Off", "OFF", NULL};
	static const char *const nans[] = {".nan", ".NaN", ".NAN", NULL};
	static const char *const infs[] = {".inf",  ".Inf",  ".INF",  "+.inf", "+.Inf",
					   "+.INF", "-.inf", "-.Inf", "-.INF", NULL};
	if (len == 0)
		return FL_YAML_NULL;
	char c = s[0];
	if (strchr("yYnNtTfFoO~", c)) {
		if (is_one_of(s, nulls))
			return FL_YAML_NULL;
		bool yes = is_one_of(s, trues);
		if (!yes && !is_one_of(s, falses))
			return FL_YAML_STRING;
		ret->type = FL_JSON_BOOL;
		ret->b = yes;
		return FL_YAML_BOOL;
	}
	if (c != '.' && c != '+' && c != '-' && (c < '0' || c > '9'))
		return FL_YAML_STRING;
	if (is_one_of(s, nans) || is_one_of(s, infs)) {
		ret->type = FL_JSON_FLOAT;
		ret->f = c == '-' ? -INFINITY : s[len - 1] == 'f' || s[len - 1] == 'F' ? INFINITY : NAN;
		return FL_YAML_FLOAT;
	}
	return resolve_number(s, len, ret);
}

void fl_yaml_mend_utf8(struct fl_buf *b, const char *s, size_t len)
{
	for (const char *end = s + len; s < end;) {
		unsigned n = fl_json_utf8_len(s, end);
		fl_buf_append(b, n ? s : "\xef\xbf\xbd", n ? n : 3);
		s += n ? n : 1;
	}
}
