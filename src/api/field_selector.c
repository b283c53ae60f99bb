// SPDX-License-Identifier: Apache-2.0
// Field selectors: path=value terms on the few fields that a kind declares (apimachinery fields.ParseSelector).
// metadata.name and metadata.namespace are answered here, everything else by the kind's `field` hook.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/selector.h"
#include "base/mem.h"

struct term {
	const char *path, *value;
	bool equal;
};

struct fl_field_selector {
	const struct fl_kind *kind;
	struct term *terms;
	unsigned n;
};

// A backslash protects a comma, an equals sign or a backslash; the value may hold none of them bare.
static int unescape(struct fl_arena *a, const char *s, const char **ret, struct fl_err *err)
{
	char *out = fl_arena_strdup(a, s), *to = out;

	for (; *s; s++) {
		if (*s == '\\') {
			if (!s[1] || !strchr("\\,=", s[1]))
				return fl_err_set(err, -EINVAL, "invalid field selector: invalid escape sequence: %.2s",
						  s);
			s++;
		} else if (*s == ',' || *s == '=') {
			return fl_err_set(err, -EINVAL, "invalid field selector: unescaped character in value: %d", *s);
		}
		*to++ = *s;
	}
	*to = '\0';
	*ret = out;
	return 0;
}

static int parse_term(struct fl_arena *a, const char *whole, char *part, struct term *t, struct fl_err *err)
{
	char *op = strpbrk(part, "!=");

	while (op && *op == '!' && op[1] != '=')
		op = strpbrk(op + 1, "!=");
	if (!op)
		return fl_err_set(err, -EINVAL, "invalid selector: '%s'; can't understand '%s'", whole, part);
	t->equal = *op == '=';
	char *value = op + (op[1] == '=' ? 2 : 1);
	*op = '\0';
	t->path = part;
	return unescape(a, value, &t->value, err);
}

// Where a kind declares no fields of its own, Kubernetes answers with another text than where it does.
static int check_path(struct fl_arena *a, const struct fl_kind *k, const char *path, struct fl_err *err)
{
	bool own = k->hooks->field;

	if (strcmp(path, "metadata.name") == 0)
		return 0;
	if (strcmp(path, "metadata.namespace") == 0 && (k->namespaced || !own))
		return 0;
	if (!own)
		return fl_err_set(
		    err, -EINVAL,
		    "\"%s\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"", path);
	struct fl_json *empty = fl_json_new(a, FL_JSON_OBJECT);
	if (!k->hooks->field(a, empty, path))
		return fl_err_set(err, -EINVAL, "field label not supported: %s", path);
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static unsigned split(char *text, char **parts)
{
	unsigned n = 0;

	parts[n++] = text;
	for (char *c = text; *c; c++) {
		if (*c == '\\' && c[1]) {
			c++;
		} else if (*c == ',') {
			*c = '\0';
			parts[n++] = c + 1;
		}
	}
	return n;
}

int fl_field_selector_parse(struct fl_arena *a, const struct fl_kind *k, const char *text,
			    struct fl_field_selector **ret, struct fl_err *err)
{
	struct fl_field_selector *s = fl_arena_zalloc(a, sizeof(*s));
	unsigned cap = 1;

	for (const char *c = text; *c; c++)
		cap += *c == ',';
	char **parts = fl_arena_alloc(a, cap * sizeof(*parts));
	unsigned n = split(fl_arena_strdup(a, text), parts);
	qsort(parts, n, sizeof(*parts), by_text);
	s->kind = k;
	s->terms = fl_arena_zalloc(a, cap * sizeof(*s->terms));
	for (unsigned i = 0; i < n; i++) {
		if (!*parts[i])
			continue;
		int rc = parse_term(a, text, parts[i], &s->terms[s->n], err);
		if (rc)
			return rc;
		s->n++;
	}
	for (unsigned i = 0; i < s->n; i++) {
		int rc = check_path(a, k, s->terms[i].path, err);
		if (rc)
			return rc;
	}
	*ret = s;
	return 0;
}

static const char *field_value(struct fl_arena *scratch, const struct fl_kind *k, const char *path,
			       const struct fl_json *obj)
{
	if (strcmp(path, "metadata.name") == 0)
		return fl_json_str_or(fl_json_get(obj, "metadata"), "name", "");
	if (strcmp(path, "metadata.namespace") == 0)
		return fl_json_str_or(fl_json_get(obj, "metadata"), "namespace", "");
	const char *value = k->hooks->field(scratch, obj, path);
	return value ? value : "";
}

bool fl_field_selector_matches(struct fl_arena *scratch, const struct fl_field_selector *s, const struct fl_json *obj)
{
	for (unsigned i = 0; i < s->n; i++) {
		const struct term *t = &s->terms[i];
		if ((strcmp(field_value(scratch, s->kind, t->path, obj), t->value) == 0) != t->equal)
			return false;
	}
	return true;
}

const char *fl_field_selector_name(const struct fl_field_selector *s)
{
	for (unsigned i = 0; i < s->n; i++)
		if (s->terms[i].equal && strcmp(s->terms[i].path, "metadata.name") == 0)
			return s->terms[i].value;
	return NULL;
}
