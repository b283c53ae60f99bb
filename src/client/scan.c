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

bool fl_scan_next(struct fl_scan *s, struct fl_span *key, struct fl_span *value)
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
	*key = (struct fl_span){0};
	if (s->close == '}') {
		const char *q = p < s->end && *p == '"' ? skip_string(p, s->end) : NULL;
		if (!q)
			return broken(s);
		*key = (struct fl_span){p + 1, (size_t)(q - p) - 2};
		p = skip_space(q, s->end);
		if (p == s->end || *p != ':')
			return broken(s);
		p = skip_space(p + 1, s->end);
	}
	const char *q = skip_value(p, s->end);
	if (!q)
		return broken(s);
	*value = (struct fl_span){p, (size_t)(q - p)};
	s->at = q;
	s->first = false;
	return true;
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
