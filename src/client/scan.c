// SPDX-License-Identifier: Apache-2.0
#include "client/scan.h"

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
		p++;
	return p;
}

// `p` stands on the opening quote; the answer is behind the closing one, or NULL.
static const char *skip_string(const char *p, const char *end)
{
	for (p++; p < end;) {
		const char *q = memchr(p, '"', (size_t)(end - p));
		if (!q)
			return NULL;
		size_t slashes = 0;
		while (q - 1 - slashes >= p && q[-1 - (ptrdiff_t)slashes] == '\\')
			slashes++;
		if (slashes % 2 == 0)
			return q + 1;
		p = q + 1;
	}
	return NULL;
}

static const char *skip_nested(const char *p, const char *end)
{
	size_t depth = 0;
	while (p < end) {
		switch (*p) {
		case '"':
			p = skip_string(p, end);
			if (!p)
				return NULL;
			continue;
		case '{':
		case '[':
			depth++;
			break;
		case '}':
		case ']':
			if (--depth == 0)
				return p + 1;
			break;
		}
		p++;
	}
	return NULL;
}

static const char *skip_value(const char *p, const char *end)
{
	if (p == end)
		return NULL;
	if (*p == '"')
		return skip_string(p, end);
	if (*p == '{' || *p == '[')
		return skip_nested(p, end);
	const char *q = p;
	while (q < end && *q != ',' && *q != '}' && *q != ']' && *q != ' ' && *q != '\n' && *q != '\t' && *q != '\r')
		q++;
	return q > p ? q : NULL;
}

bool fl_scan_begin(struct fl_scan *s, struct fl_span text)
{
	const char *p = skip_space(text.p, text.p + text.n), *end = text.p + text.n;
	if (!text.p || p == end || (*p != '{' && *p != '['))
		return false;
	*s = (struct fl_scan){.at = p + 1, .end = end, .close = *p == '{' ? '}' : ']', .first = true};
	return true;
}

static bool broken(struct fl_scan *s)
{
	s->broken = true;
	return false;
}

// To where the next member begins; false at the end.
static bool advance(struct fl_scan *s)
{
	const char *p = skip_space(s->at, s->end);
	if (s->broken || p == s->end)
		return broken(s);
	if (*p == s->close)
		return false;
	if (!s->first) {
		if (*p != ',')
			return broken(s);
		p = skip_space(p + 1, s->end);
	}
	s->at = p;
	return true;
}

bool fl_scan_name(struct fl_scan *s, struct fl_span *key)
{
	if (!advance(s))
		return false;
	const char *p = s->at, *q = p < s->end && *p == '"' ? skip_string(p, s->end) : NULL;
	if (!q)
		return broken(s);
	*key = (struct fl_span){p + 1, (size_t)(q - p) - 2};
	p = skip_space(q, s->end);
	if (p == s->end || *p != ':')
		return broken(s);
	s->at = skip_space(p + 1, s->end);
	return true;
}

bool fl_scan_skip(struct fl_scan *s, struct fl_span *value)
{
	const char *q = skip_value(s->at, s->end);
	if (!q)
		return broken(s);
	*value = (struct fl_span){s->at, (size_t)(q - s->at)};
	s->at = q;
	s->first = false;
	return true;
}

bool fl_scan_enter(const struct fl_scan *s, struct fl_scan *inner)
{
	return fl_scan_begin(inner, (struct fl_span){s->at, (size_t)(s->end - s->at)}) && inner->close == '}';
}

bool fl_scan_next(struct fl_scan *s, struct fl_span *key, struct fl_span *value)
{
	*key = (struct fl_span){0};
	return (s->close == '}' ? fl_scan_name(s, key) : advance(s)) && fl_scan_skip(s, value);
}

// A string without escapes, without its quotes.
static bool plain(struct fl_span raw, struct fl_span *ret)
{
	if (raw.n < 2 || raw.p[0] != '"' || memchr(raw.p, '\\', raw.n))
		return false;
	*ret = (struct fl_span){raw.p + 1, raw.n - 2};
	return true;
}

static bool number(struct fl_span digits, uint64_t *ret)
{
	uint64_t v = 0;
	for (size_t i = 0; i < digits.n; i++)
		if (digits.p[i] < '0' || digits.p[i] > '9' || __builtin_mul_overflow(v, UINT64_C(10), &v) ||
		    __builtin_add_overflow(v, (uint64_t)(digits.p[i] - '0'), &v))
			return false;
	*ret = v;
	return digits.n > 0;
}

// The members come as "name", "generateName", "namespace", "uid", "resourceVersion" (or in any order, from another
// server): the last of them ends the walk, and a namespace behind it would belong to no server that is known.
static bool read_meta(struct fl_scan *s, struct fl_scan_meta *ret)
{
	struct fl_span key, value, rv = {0};
	*ret = (struct fl_scan_meta){0};
	while (!(ret->name.p && ret->uid.p && rv.p) && fl_scan_name(s, &key) && fl_scan_skip(s, &value)) {
		if (fl_span_equals(key, "name")              ? !plain(value, &ret->name)
		    : fl_span_equals(key, "namespace")       ? !plain(value, &ret->ns)
		    : fl_span_equals(key, "uid")             ? !plain(value, &ret->uid)
		    : fl_span_equals(key, "resourceVersion") ? !plain(value, &rv)
							     : false)
			return false;
	}
	return ret->name.p && ret->uid.p && rv.p && number(rv, &ret->rv);
}

bool fl_scan_identify(struct fl_span text, struct fl_scan_meta *ret)
{
	struct fl_scan s, inner;
	struct fl_span key, value;
	if (!fl_scan_begin(&s, text) || s.close != '}')
		return false;
	while (fl_scan_name(&s, &key)) {
		if (fl_span_equals(key, "metadata"))
			return fl_scan_enter(&s, &inner) && read_meta(&inner, ret);
		if (!fl_scan_skip(&s, &value))
			return false;
	}
	return false;
}

bool fl_span_equals(struct fl_span text, const char *s)
{
	return text.n == strlen(s) && (text.n == 0 || memcmp(text.p, s, text.n) == 0);
}

struct fl_span fl_scan_member(struct fl_span object, const char *key)
{
	struct fl_scan s;
	struct fl_span k, v;
	if (fl_scan_begin(&s, object) && s.close == '}')
		while (fl_scan_next(&s, &k, &v))
			if (fl_span_equals(k, key))
				return v;
	return (struct fl_span){0};
}

bool fl_span_is(struct fl_span raw, const char *s)
{
	size_t n = strlen(s);
	return raw.n == n + 2 && raw.p[0] == '"' && memcmp(raw.p + 1, s, n) == 0;
}

bool fl_span_text(struct fl_span raw, char *buf, size_t cap)
{
	if (raw.n < 2 || raw.p[0] != '"' || raw.n - 2 >= cap || memchr(raw.p, '\\', raw.n))
		return false;
	memcpy(buf, raw.p + 1, raw.n - 2);
	buf[raw.n - 2] = 0;
	return true;
}
