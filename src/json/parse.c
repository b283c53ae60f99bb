// SPDX-License-Identifier: Apache-2.0
// The parser (RFC 8259). The text is copied into the arena once; strings are unescaped within that copy and end with a
// NUL over their closing quote, so a string costs no allocation. Nodes come from slabs. Containers that are still open
// stand on an explicit stack, whose size is the depth limit:
//
//   {"spec": {"ports": [ {"port": 80
//   ^0       ^1        ^2 ^3                   frames; each knows its newest child, from which a path is printed
//
// A name that stands twice must be found in every object, since the last value wins. Most objects are done with 64 bits
// each: a bit per name, taken from its length and ends; only when that bit is already set are the names compared, and
// from INDEX_FROM members on they are looked up in a hash table.
//
// Error texts are those of Go's encoding/json, which API clients see inside a Status; line and column follow.
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "json/json.h"
#include "json/scan.h"

#define INDEX_FROM 16
#define SLAB_MAX   256

struct frame {
	struct fl_json *node;
	struct fl_json *at; // the member or element being read
	uint64_t seen;      // a bit per name
	struct fl_map *index;
};

struct parser {
	struct fl_arena *arena;
	const char *text; // as given; never changed
	size_t len;
	char *copy, *end; // the copy that strings are unescaped in
	char *p;
	const struct fl_json_parse_opts *opts;
	struct fl_err *err;
	struct fl_json *slab;
	unsigned slab_left, slab_size;
	unsigned depth, max_depth;
	struct frame frames[FL_MAX_JSON_DEPTH];
};

// ---- errors

static const char *quote_char(uint8_t c, char buf[static 8])
{
	if (c == '\'' || c == '\\')
		snprintf(buf, 8, "'\\%c'", c);
	else if (c >= 0x07 && c <= 0x0d)
		snprintf(buf, 8, "'\\%c'", "abtnvfr"[c - 0x07]);
	else if (c < 0x20 || c == 0x7f)
		snprintf(buf, 8, "'\\x%02x'", c);
	else if (c < 0x7f)
		snprintf(buf, 8, "'%c'", c);
	else if (c <= 0xa0 || c == 0xad)
		snprintf(buf, 8, "\\u%04x", c);
	else
		snprintf(buf, 8, "'%c%c'", 0xc0 | c >> 6, 0x80 | (c & 0x3f));
	return buf;
}

__attribute__((format(printf, 3, 4), cold, noinline)) static int fail_at(struct parser *ps, const char *at,
									 const char *fmt, ...)
{
	if (!ps->err)
		return -EINVAL;
	size_t offset = (size_t)(at - ps->copy), line = 1, column = 1;
	for (size_t i = 0; i < offset && i < ps->len; i++) {
		column++;
		if (ps->text[i] == '\n') {
			line++;
			column = 1;
		}
	}
	char what[256];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return fl_err_set(ps->err, -EINVAL, "%s (line %zu column %zu)", what, line, column);
}

// `context` completes "invalid character 'x' ...".
__attribute__((cold, noinline)) static int unexpected(struct parser *ps, const char *at, const char *context)
{
	if (at >= ps->end)
		return fl_err_set(ps->err, -EINVAL, "unexpected end of JSON input");
	char quoted[8];
	return fail_at(ps, at, "invalid character %s %s", quote_char((uint8_t)ps->text[at - ps->copy], quoted),
		       context);
}

// ---- scalars

static inline void skip_space(struct parser *ps)
{
	char *p = ps->p;
	while (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r')
		p++;
	ps->p = p;
}

static int hex4(struct parser *ps, const char *p, unsigned *ret)
{
	unsigned v = 0;
	for (unsigned i = 0; i < 4; i++) {
		char c = p[i], lower = (char)(c | 0x20);
		if (c >= '0' && c <= '9')
			v = v << 4 | (unsigned)(c - '0');
		else if (lower >= 'a' && lower <= 'f')
			v = v << 4 | (unsigned)(lower - 'a' + 10);
		else
			return unexpected(ps, p + i, "in \\u hexadecimal character escape");
	}
	*ret = v;
	return 0;
}

static char *put_utf8(char *w, unsigned v)
{
	if (v < 0x80) {
		*w++ = (char)v;
	} else if (v < 0x800) {
		*w++ = (char)(0xc0 | v >> 6);
		*w++ = (char)(0x80 | (v & 0x3f));
	} else if (v < 0x10000) {
		*w++ = (char)(0xe0 | v >> 12);
		*w++ = (char)(0x80 | (v >> 6 & 0x3f));
		*w++ = (char)(0x80 | (v & 0x3f));
	} else {
		*w++ = (char)(0xf0 | v >> 18);
		*w++ = (char)(0x80 | (v >> 12 & 0x3f));
		*w++ = (char)(0x80 | (v >> 6 & 0x3f));
		*w++ = (char)(0x80 | (v & 0x3f));
	}
	return w;
}

// At the backslash *r; writes what it stands for to *w. A surrogate without its other half is U+FFFD, as in Go.
static int unescape(struct parser *ps, const char **r, char **w)
{
	static const char plain[128] = {
	    ['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
	    ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t',
	};
	uint8_t c = (uint8_t)(*r)[1];
	if (c < 128 && plain[c]) {
		*(*w)++ = plain[c];
		*r += 2;
		return 0;
	}
	if (c != 'u')
		return unexpected(ps, *r + 1, "in string escape code");
	unsigned v, low;
	int rc = hex4(ps, *r + 2, &v);
	if (rc < 0)
		return rc;
	*r += 6;
	if (v >= 0xd800 && v < 0xe000) {
		bool paired = false;
		if (v < 0xdc00 && (*r)[0] == '\\' && (*r)[1] == 'u') {
			rc = hex4(ps, *r + 2, &low);
			if (rc < 0)
				return rc;
			paired = low >= 0xdc00 && low < 0xe000;
		}
		if (paired) {
			v = 0x10000 + ((v - 0xd800) << 10 | (low - 0xdc00));
			*r += 6;
		} else {
			v = 0xfffd;
		}
	}
	*w = put_utf8(*w, v);
	return 0;
}

// At the opening quote. On success ps->p is behind the closing one.
static int read_string(struct parser *ps, const char **ret, uint32_t *ret_len)
{
	char *start = ps->p + 1;
	const char *r = start;
	char *w = start;
	for (;;) {
		const char *special = fl_json_scan(r, ps->end);
		size_t n = (size_t)(special - r);
		if (w != r)
			memmove(w, r, n);
		w += n;
		r = special;
		if (r == ps->end)
			return unexpected(ps, r, "");
		uint8_t c = (uint8_t)*r;
		if (c == '"')
			break;
		if (c == '\\') {
			int rc = unescape(ps, &r, &w);
			if (rc < 0)
				return rc;
		} else if (c < 0x20) {
			return unexpected(ps, r, "in string literal");
		} else {
			do {
				unsigned len = fl_json_utf8_len(r, ps->end);
				if (!len)
					return fail_at(ps, r, "invalid UTF-8 in string literal");
				for (unsigned i = 0; i < len; i++)
					*w++ = *r++;
			} while ((uint8_t)*r >= 0x80 && r < ps->end);
		}
	}
	ps->p = (char *)r + 1;
	*w = '\0';
	*ret = start;
	*ret_len = (uint32_t)(w - start);
	return 0;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int read_number(struct parser *ps, struct fl_json *j)
{
	char *p = ps->p;
	bool negative = *p == '-', whole = true, fits = true;
	uint64_t v = 0;
	if (negative)
		p++;
	if (!is_digit(*p))
		return unexpected(ps, p, "in numeric literal");
	if (*p == '0')
		p++;
	else
		for (; is_digit(*p); p++)
			if (__builtin_mul_overflow(v, UINT64_C(10), &v) ||
			    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
				fits = false;
	if (*p == '.') {
		whole = false;
		if (!is_digit(*++p))
			return unexpected(ps, p, "after decimal point in numeric literal");
		while (is_digit(*p))
			p++;
	}
	if (*p == 'e' || *p == 'E') {
		whole = false;
		p++;
		if (*p == '+' || *p == '-')
			p++;
		if (!is_digit(*p))
			return unexpected(ps, p, "in exponent of numeric literal");
		while (is_digit(*p))
			p++;
	}
	if (whole && fits && v <= (uint64_t)INT64_MAX + negative) {
		j->type = FL_JSON_INT;
		j->i = (int64_t)(negative ? 0 - v : v);
	} else {
		j->type = FL_JSON_FLOAT;
		j->f = strtod(ps->p, NULL); // ends where the literal ends: what follows it cannot continue a number
		if (!isfinite(j->f))
			return fail_at(ps, ps->p, "json: cannot unmarshal number %.*s into Go value of type float64",
				       (int)(p - ps->p), ps->p);
	}
	ps->p = p;
	return 0;
}

static int read_word(struct parser *ps, const char *word)
{
	for (size_t i = 1; word[i]; i++) {
		if (ps->p[i] != word[i]) {
			char context[48];
			snprintf(context, sizeof(context), "in literal %s (expecting '%c')", word, word[i]);
			return unexpected(ps, ps->p + i, context);
		}
	}
	ps->p += strlen(word);
	return 0;
}

// ---- members

static struct fl_json *new_node(struct parser *ps)
{
	if (!ps->slab_left) {
		if (ps->slab_size < SLAB_MAX)
			ps->slab_size *= 2;
		ps->slab_left = ps->slab_size;
		ps->slab = fl_arena_alloc(ps->arena, ps->slab_size * sizeof(*ps->slab));
	}
	ps->slab_left--;
	struct fl_json *j = ps->slab++;
	j->next = NULL;
	return j;
}

static void link_child(struct frame *f, struct fl_json *j)
{
	struct fl_json *parent = f->node;
	if (parent->kids.last)
		parent->kids.last->next = j;
	else
		parent->kids.first = j;
	parent->kids.last = j;
	parent->kids.count++;
	f->at = j;
}

static void report_duplicate(struct parser *ps)
{
	AUTO(fl_buf_deinit) struct fl_buf path = {0};
	for (unsigned i = 0; i < ps->depth; i++) {
		const struct frame *f = &ps->frames[i];
		if (f->node->type == FL_JSON_ARRAY) {
			fl_buf_printf(&path, "[%u]", f->node->kids.count - 1);
		} else {
			if (path.len)
				fl_buf_putc(&path, '.');
			fl_buf_append(&path, f->at->key, f->at->key_len);
		}
	}
	ps->opts->on_duplicate(ps->opts->arg, path.data);
}

static struct fl_json *find_member(struct frame *f, const char *key, uint32_t len)
{
	if (f->index)
		return fl_map_get_n(f->index, key, len);
	for (struct fl_json *m = f->node->kids.first; m; m = m->next)
		if (m->key_len == len && memcmp(m->key, key, len) == 0)
			return m;
	return NULL;
}

static void add_to_index(struct frame *f, struct fl_json *j)
{
	if (!f->index) {
		f->index = FL_NEW(struct fl_map);
		for (struct fl_json *m = f->node->kids.first; m; m = m->next)
			fl_map_set_n(f->index, m->key, m->key_len, m);
	}
	fl_map_set_n(f->index, j->key, j->key_len, j);
}

// The member of the innermost object that the value to come belongs to: a new one, or that of the same name.
static void begin_member(struct parser *ps, struct frame *f, const char *key, uint32_t len)
{
	unsigned mix = len ? len * 7u + (uint8_t)key[0] * 11u + (uint8_t)key[len - 1] * 5u + (uint8_t)key[len / 2] : 0;
	uint64_t bit = UINT64_C(1) << (mix & 63);
	if (f->seen & bit) {
		struct fl_json *old = find_member(f, key, len);
		if (old) {
			f->at = old;
			if (ps->opts && ps->opts->on_duplicate)
				report_duplicate(ps);
			return;
		}
	}
	f->seen |= bit;
	struct fl_json *j = new_node(ps);
	j->key = key;
	j->key_len = len;
	link_child(f, j);
	if (f->node->kids.count > INDEX_FROM)
		add_to_index(f, j);
}

static void begin_element(struct parser *ps, struct frame *f)
{
	struct fl_json *j = new_node(ps);
	j->key = NULL;
	j->key_len = 0;
	link_child(f, j);
}

static void drop_index(struct frame *f)
{
	if (!f->index)
		return;
	fl_map_deinit(f->index);
	free(f->index);
	f->index = NULL;
}

// ---- the document

static bool is_left_out(const struct parser *ps, const struct frame *f, const char *key, uint32_t len)
{
	const struct fl_json_left_out *l = &ps->opts->left_out;
	if (ps->depth != l->depth || strlen(l->name) != len || memcmp(l->name, key, len) != 0)
		return false;
	const struct fl_json *parent = f->node;
	return parent->key && parent->key_len == strlen(l->parent) &&
	       memcmp(l->parent, parent->key, parent->key_len) == 0;
}

// Behind the value at ps->p, a container; of another one nothing is skipped.
static int skip_container(struct parser *ps)
{
	size_t depth = 0;
	char *p = ps->p;
	do {
		if (p >= ps->end)
			return unexpected(ps, ps->end, "");
		switch (*p++) {
		case '{':
		case '[':
			depth++;
			break;
		case '}':
		case ']':
			depth--;
			break;
		case '"':
			for (;; p++) {
				p = (char *)(uintptr_t)fl_json_scan(p, ps->end);
				if (p == ps->end)
					return unexpected(ps, p, "");
				if (*p == '"')
					break;
				p += *p == '\\' && p + 1 < ps->end;
			}
			p++;
			break;
		}
	} while (depth);
	ps->p = p;
	skip_space(ps);
	return 0;
}

// From the quote of a name to behind its colon. 1: a member that is left out, ps->p is behind its value.
static int read_name(struct parser *ps, struct frame *f)
{
	if (*ps->p != '"')
		return unexpected(ps, ps->p, "looking for beginning of object key string");
	const char *key;
	uint32_t len;
	int rc = read_string(ps, &key, &len);
	if (rc < 0)
		return rc;
	skip_space(ps);
	if (*ps->p != ':')
		return unexpected(ps, ps->p, "after object key");
	ps->p++;
	skip_space(ps);
	if (ps->opts && (*ps->p == '[' || *ps->p == '{') && is_left_out(ps, f, key, len)) {
		rc = skip_container(ps);
		return rc < 0 ? rc : 1;
	}
	begin_member(ps, f, key, len);
	return 0;
}

static int open_container(struct parser *ps, struct fl_json *j, enum fl_json_type type)
{
	if (ps->depth == ps->max_depth)
		return fail_at(ps, ps->p, "exceeded max depth");
	j->type = type;
	j->kids.first = j->kids.last = NULL;
	j->kids.count = 0;
	ps->frames[ps->depth++] = (struct frame){.node = j};
	ps->p++;
	skip_space(ps);
	return 0;
}

static int read_scalar(struct parser *ps, struct fl_json *j)
{
	switch (*ps->p) {
	case '"':
		j->type = FL_JSON_STRING;
		return read_string(ps, &j->str.s, &j->str.len);
	case 't':
	case 'f':
		j->type = FL_JSON_BOOL;
		j->b = *ps->p == 't';
		return read_word(ps, j->b ? "true" : "false");
	case 'n':
		j->type = FL_JSON_NULL;
		return read_word(ps, "null");
	default:
		if (*ps->p == '-' || is_digit(*ps->p))
			return read_number(ps, j);
		return unexpected(ps, ps->p, "looking for beginning of value");
	}
}

static int read_document(struct parser *ps, struct fl_json *root)
{
	int rc;
	struct fl_json *j = root;
	skip_space(ps);
value:
	if (*ps->p == '{') {
		rc = open_container(ps, j, FL_JSON_OBJECT);
		if (rc < 0)
			return rc;
		if (*ps->p != '}')
			goto name;
	} else if (*ps->p == '[') {
		rc = open_container(ps, j, FL_JSON_ARRAY);
		if (rc < 0)
			return rc;
		if (*ps->p != ']')
			goto element;
	} else {
		rc = read_scalar(ps, j);
		if (rc < 0)
			return rc;
		skip_space(ps);
	}
closed:
	while (ps->depth) {
		struct frame *f = &ps->frames[ps->depth - 1];
		bool object = f->node->type == FL_JSON_OBJECT;
		if (*ps->p == ',') {
			ps->p++;
			skip_space(ps);
			if (object)
				goto name;
			goto element;
		}
		if (*ps->p != (object ? '}' : ']'))
			return unexpected(ps, ps->p, object ? "after object key:value pair" : "after array element");
		drop_index(f);
		ps->depth--;
		ps->p++;
		skip_space(ps);
	}
	return ps->p == ps->end ? 0 : unexpected(ps, ps->p, "after top-level value");
name:
	rc = read_name(ps, &ps->frames[ps->depth - 1]);
	if (rc < 0)
		return rc;
	if (rc > 0)
		goto closed;
	j = ps->frames[ps->depth - 1].at;
	goto value;
element:
	begin_element(ps, &ps->frames[ps->depth - 1]);
	j = ps->frames[ps->depth - 1].at;
	goto value;
}

int fl_json_parse(struct fl_arena *a, const char *text, size_t len, const struct fl_json_parse_opts *opts,
		  struct fl_json **ret, struct fl_err *err)
{
	if (len > INT32_MAX)
		return fl_err_set(err, -EINVAL, "JSON document of %zu bytes is too large", len);
	struct parser ps;
	memset(&ps, 0, offsetof(struct parser, frames)); // a frame is written when it is opened
	ps.arena = a;
	ps.text = text;
	ps.len = len;
	ps.opts = opts;
	ps.err = err;
	ps.slab_size = 8;
	ps.max_depth =
	    opts && opts->max_depth && opts->max_depth < FL_MAX_JSON_DEPTH ? opts->max_depth : FL_MAX_JSON_DEPTH;
	ps.p = ps.copy = fl_arena_alloc(a, len + FL_JSON_SCAN_PAD);
	ps.end = ps.copy + len;
	if (len)
		memcpy(ps.copy, text, len);
	memset(ps.end, 0, FL_JSON_SCAN_PAD); // the NUL that ends every loop above, and room for the scanner

	struct fl_json *root = new_node(&ps);
	root->key = NULL;
	root->key_len = 0;
	int rc = read_document(&ps, root);
	while (ps.depth)
		drop_index(&ps.frames[--ps.depth]);
	if (rc < 0)
		return rc;
	*ret = root;
	return 0;
}
