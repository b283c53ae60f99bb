// SPDX-License-Identifier: Apache-2.0
// Walks a document along its schema: defaults, pruning, constraints. Types are schema_decode.c's business, so all of
// these skip what is not of the type that the schema says.
#include "api/schema.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/status.h"
#include "base/mem.h"
#include "base/str.h"

const struct fl_schema_prop *fl_schema_prop(const struct fl_schema *s, const char *name)
{
	unsigned low = 0, high = s->n_props;

	while (low < high) {
		unsigned mid = (low + high) / 2;
		int c = strcmp(name, s->props[mid].name);

		if (c == 0)
			return &s->props[mid];
		if (c < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

static void default_object(const struct fl_schema *s, struct fl_arena *a, struct fl_json *value)
{
	for (unsigned i = 0; i < s->n_props; i++) {
		const struct fl_schema_prop *p = &s->props[i];
		struct fl_json *child = fl_json_get(value, p->name);

		if ((!child || child->type == FL_JSON_NULL) && p->dflt)
			child = fl_json_set(a, value, p->name, fl_json_clone(a, p->dflt));
		if (child)
			fl_schema_default(p->schema, a, child);
	}
}

void fl_schema_default(const struct fl_schema *s, struct fl_arena *a, struct fl_json *value)
{
	switch (s->type) {
	case FL_SCHEMA_OBJECT:
		if (value->type == FL_JSON_OBJECT)
			default_object(s, a, value);
		break;
	case FL_SCHEMA_ARRAY:
	case FL_SCHEMA_MAP:
		if (s->items->type <= FL_SCHEMA_ARRAY)
			fl_json_each (child, value)
				fl_schema_default(s->items, a, child);
		break;
	default:
		break;
	}
}

// Path of the place that a walk has reached; grows and shrinks with it.
struct walk {
	struct fl_buf path;
	void (*on_unknown)(void *arg, const char *path);
	void *arg;
};

static size_t enter(struct fl_buf *path, const char *key)
{
	size_t was = path->len;

	if (was)
		fl_buf_putc(path, '.');
	fl_buf_puts(path, key);
	return was;
}

static size_t enter_index(struct fl_buf *path, size_t i)
{
	size_t was = path->len;

	fl_buf_printf(path, "[%zu]", i);
	return was;
}

static size_t enter_key(struct fl_buf *path, const char *key)
{
	size_t was = path->len;

	fl_buf_printf(path, "[%s]", key);
	return was;
}

static void leave(struct fl_buf *path, size_t was)
{
	path->len = was;
	path->data[was] = '\0';
}

static void prune(const struct fl_schema *s, struct fl_json *value, struct walk *w);

static void prune_object(const struct fl_schema *s, struct fl_json *value, struct walk *w)
{
	struct fl_json *next;

	if (value->type != FL_JSON_OBJECT)
		return;
	for (struct fl_json *child = value->kids.first; child; child = next) {
		const struct fl_schema_prop *p = fl_schema_prop(s, child->key);
		size_t was;

		next = child->next;
		if (!p && s->preserve_unknown)
			continue;
		was = enter(&w->path, child->key);
		if (p) {
			prune(p->schema, child, w);
		} else {
			if (w->on_unknown)
				w->on_unknown(w->arg, w->path.data);
			fl_json_remove_child(value, child);
		}
		leave(&w->path, was);
	}
}

static void prune(const struct fl_schema *s, struct fl_json *value, struct walk *w)
{
	size_t i = 0, was;

	switch (s->type) {
	case FL_SCHEMA_OBJECT:
		prune_object(s, value, w);
		break;
	case FL_SCHEMA_ARRAY:
		if (s->items->type > FL_SCHEMA_ARRAY || value->type != FL_JSON_ARRAY)
			break;
		fl_json_each (child, value) {
			was = enter_index(&w->path, i++);
			prune(s->items, child, w);
			leave(&w->path, was);
		}
		break;
	case FL_SCHEMA_MAP:
		if (s->items->type > FL_SCHEMA_ARRAY || value->type != FL_JSON_OBJECT)
			break;
		fl_json_each (child, value) {
			was = enter(&w->path, child->key);
			prune(s->items, child, w);
			leave(&w->path, was);
		}
		break;
	default:
		break;
	}
}

void fl_schema_prune(const struct fl_schema *s, struct fl_json *value, void (*on_unknown)(void *arg, const char *path),
		     void *arg)
{
	struct walk w = {.on_unknown = on_unknown, .arg = arg};

	prune(s, value, &w);
	fl_buf_deinit(&w.path);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void check_enum(const struct fl_schema *s, const struct fl_json *value, const char *path, struct fl_causes *c)
{
	AUTO(fl_buf_deinit) struct fl_buf list = {0};
	AUTO_FREE const char **sorted = NULL;
	unsigned n = 0;

	for (; s->enums[n]; n++)
		if (value->type == FL_JSON_STRING && fl_streq(s->enums[n], value->str.s))
			return;
	sorted = fl_calloc(n + 1, sizeof(*sorted));
	memcpy(sorted, s->enums, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_text);
	for (unsigned i = 0; i < n; i++)
		fl_buf_printf(&list, "%s\"%s\"", i ? ", " : "", sorted[i]);
	fl_cause_add(c, FL_CAUSE_NOT_SUPPORTED, path, value, "supported values: %s", list.data);
}

// Characters, not bytes: JSON Schema counts code points.
static size_t string_length(const struct fl_json *value)
{
	size_t n = 0;

	for (uint32_t i = 0; i < value->str.len; i++)
		n += ((unsigned char)value->str.s[i] & 0xc0) != 0x80;
	return n;
}

static void check_scalar(const struct fl_schema *s, const struct fl_json *value, const char *path, struct fl_causes *c)
{
	if (s->enums)
		check_enum(s, value, path, c);
	if (value->type == FL_JSON_INT) {
		if (s->has_min && value->i < s->min)
			fl_cause_add(c, FL_CAUSE_INVALID, path, value, "should be greater than or equal to %lld",
				     (long long)s->min);
		if (s->has_max && value->i > s->max)
			fl_cause_add(c, FL_CAUSE_INVALID, path, value, "should be less than or equal to %lld",
				     (long long)s->max);
	}
	if (value->type == FL_JSON_STRING) {
		if (s->min_len && string_length(value) < s->min_len)
			fl_cause_add(c, FL_CAUSE_INVALID, path, value, "should be at least %u chars long", s->min_len);
		if (s->max_len && string_length(value) > s->max_len)
			fl_cause_add(c, FL_CAUSE_TOO_LONG, path, value, "may not be more than %u bytes", s->max_len);
	}
}

static void validate(const struct fl_schema *s, const struct fl_json *value, struct fl_buf *path, struct fl_causes *c);

static void validate_object(const struct fl_schema *s, const struct fl_json *value, struct fl_buf *path,
			    struct fl_causes *c)
{
	if (value->type != FL_JSON_OBJECT)
		return;
	for (unsigned i = 0; i < s->n_props; i++) {
		const struct fl_schema_prop *p = &s->props[i];
		const struct fl_json *child = fl_json_get(value, p->name);
		size_t was = enter(path, p->name);

		if (child && child->type != FL_JSON_NULL)
			validate(p->schema, child, path, c);
		else if (p->required)
			fl_cause_add(c, FL_CAUSE_REQUIRED, path->data, NULL, NULL);
		leave(path, was);
	}
}

static void validate_array(const struct fl_schema *s, const struct fl_json *value, struct fl_buf *path,
			   struct fl_causes *c)
{
	size_t i = 0, n = fl_json_count(value);

	if (value->type != FL_JSON_ARRAY)
		return;
	if (s->min_len && n < s->min_len)
		fl_cause_add(c, FL_CAUSE_INVALID, path->data, value, "should have at least %u items", s->min_len);
	if (s->max_len && n > s->max_len) {
		struct fl_json count = {.type = FL_JSON_INT, .i = (int64_t)n};

		fl_cause_add(c, FL_CAUSE_TOO_MANY, path->data, &count, "must have at most %u items", s->max_len);
	}
	fl_json_each (child, value) {
		size_t was = enter_index(path, i++);

		validate(s->items, child, path, c);
		leave(path, was);
	}
}

static void validate(const struct fl_schema *s, const struct fl_json *value, struct fl_buf *path, struct fl_causes *c)
{
	switch (s->type) {
	case FL_SCHEMA_OBJECT:
		validate_object(s, value, path, c);
		break;
	case FL_SCHEMA_ARRAY:
		validate_array(s, value, path, c);
		break;
	case FL_SCHEMA_MAP:
		if (value->type != FL_JSON_OBJECT)
			break;
		fl_json_each (child, value) {
			size_t was = enter_key(path, child->key);

			validate(s->items, child, path, c);
			leave(path, was);
		}
		break;
	case FL_SCHEMA_ANY:
		break;
	default:
		check_scalar(s, value, path->data ? path->data : "", c);
		break;
	}
}

void fl_schema_validate(const struct fl_schema *s, const struct fl_json *value, const char *path,
			struct fl_causes *causes)
{
	AUTO(fl_buf_deinit) struct fl_buf at = {0};

	fl_buf_puts(&at, path);
	validate(s, value, &at, causes);
}
