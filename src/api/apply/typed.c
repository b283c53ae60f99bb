// SPDX-License-Identifier: Apache-2.0
// Zero values, checks, and the fields that a value sets.
#include "api/apply/typed.h"

#include <errno.h>
#include <string.h>

#include "api/apply/walk.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

struct fl_json *fl_typed_zero(const struct fl_schema *s, struct fl_arena *a)
{
	struct fl_json *v = fl_json_new(a, FL_JSON_OBJECT);

	for (unsigned i = 0; i < s->n_props; i++) {
		const struct fl_schema_prop *p = &s->props[i];
		bool by_value = fl_json_is(p->dflt, FL_JSON_OBJECT) && !p->keep_zero && p->schema->n_props;

		// A default of {} is how OpenAPI shows a struct that is no pointer.
		if (by_value && !p->dflt->kids.count)
			fl_json_set(a, v, p->name, fl_typed_zero(p->schema, a));
		else if (p->required && (p->schema->type == FL_SCHEMA_ARRAY || p->schema->type == FL_SCHEMA_MAP))
			fl_json_set(a, v, p->name, fl_json_new(a, FL_JSON_NULL));
	}
	return v;
}

// --- check ---

struct check {
	struct fl_arena *a;
	struct fl_buf path, found; // one line for each finding
	unsigned n;
};

__attribute__((format(printf, 2, 3))) static void found(struct check *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fl_buf_printf(&c->found, "%s%s: %s", c->n ? "\n  " : "", c->path.len ? c->path.data : "",
		      fl_arena_vprintf(c->a, fmt, ap));
	va_end(ap);
	c->n++;
}

static void check(struct check *c, const struct fl_schema *s, const struct fl_json *v);

static void leave(struct check *c, size_t was)
{
	c->path.len = was;
	if (c->path.data)
		c->path.data[was] = '\0';
}

static void check_members(struct check *c, const struct fl_schema *s, const struct fl_json *v)
{
	if (v->type != FL_JSON_OBJECT) {
		found(c, "expected map, got %s", v->type == FL_JSON_ARRAY ? "list" : "scalar");
		return;
	}
	fl_json_each (m, v) {
		const struct fl_schema *of = fl_walk_member(s, m->key);
		size_t was = c->path.len;

		fl_buf_putc(&c->path, '.');
		fl_buf_append(&c->path, m->key, m->key_len);
		if (!of)
			found(c, "field not declared in schema");
		else
			check(c, of, m);
		leave(c, was);
	}
}

static void print_path(void *arg, const char *path)
{
	*(const char **)arg = path;
}

// "[port=80,protocol=\"TCP\"]"
static const char *shown(struct check *c, const struct fl_element *e)
{
	struct fl_fieldset one = {0};
	const char *text = "";

	fl_fieldset_add(c->a, &one, e->pe, e->len, true, (struct fl_fieldset){0});
	fl_fieldset_paths(c->a, &one, print_path, &text);
	return text;
}

static void check_elements(struct check *c, const struct fl_schema *s, const struct fl_json *v)
{
	AUTO(fl_map_deinit) struct fl_map seen = {0};
	size_t i = 0;

	if (v->type != FL_JSON_ARRAY) {
		found(c, "expected list, got %s", v->type == FL_JSON_OBJECT ? "map" : "scalar");
		return;
	}
	fl_json_each (item, v) {
		size_t was = c->path.len;
		struct fl_element e;
		struct fl_err err = {0};

		if (!fl_walk_is_list(s)) {
			fl_buf_printf(&c->path, "[%zu]", i++);
			check(c, s->items, item);
			leave(c, was);
			continue;
		}
		if (fl_walk_item(c->a, s, item, &e, &err) < 0) {
			found(c, "element %zu: %s", i++, err.text);
			continue;
		}
		i++;
		if (fl_map_set_n(&seen, e.pe, e.len, (void *)1))
			found(c, "duplicate entries for key %s", shown(c, &e));
		fl_buf_puts(&c->path, shown(c, &e));
		check(c, s->items, item);
		leave(c, was);
	}
}

static void check(struct check *c, const struct fl_schema *s, const struct fl_json *v)
{
	bool number = v->type == FL_JSON_INT || v->type == FL_JSON_FLOAT;

	if (v->type == FL_JSON_NULL)
		return;
	switch (s->type) {
	case FL_SCHEMA_OBJECT:
	case FL_SCHEMA_MAP:
		check_members(c, s, v);
		break;
	case FL_SCHEMA_ARRAY:
		check_elements(c, s, v);
		break;
	case FL_SCHEMA_INTEGER:
	case FL_SCHEMA_NUMBER:
		if (!number)
			found(c, "expected numeric (int or float), got %s",
			      v->type == FL_JSON_STRING ? "string" : "another type");
		break;
	case FL_SCHEMA_STRING:
		if (v->type != FL_JSON_STRING && !(number && s->format == FL_FORMAT_QUANTITY))
			found(c, "expected string, got another type");
		break;
	case FL_SCHEMA_BOOLEAN:
		if (v->type != FL_JSON_BOOL)
			found(c, "expected boolean, got another type");
		break;
	case FL_SCHEMA_INT_OR_STRING:
		if (!number && v->type != FL_JSON_STRING)
			found(c, "expected int or string, got another type");
		break;
	default:
		break;
	}
}

int fl_typed_check(const struct fl_schema *s, struct fl_arena *a, const struct fl_json *v, struct fl_err *err)
{
	struct check c = {.a = a};
	int rc = 0;

	check(&c, s, v);
	if (c.n)
		rc = fl_err_set(err, -EINVAL, "%s%s", c.n > 1 ? "errors:\n  " : "", c.found.data);
	fl_buf_deinit(&c.path);
	fl_buf_deinit(&c.found);
	return rc;
}

// --- fields of a value ---

// *ret_self: the value itself is a field, besides what is below it.
static int fields(const struct fl_schema *s, struct fl_arena *a, const struct fl_json *v, bool *ret_self,
		  struct fl_fieldset *ret, struct fl_err *err)
{
	bool map = fl_walk_is_map(s, v);
	struct fl_element *kids;
	size_t n;
	int rc;

	*ret = (struct fl_fieldset){0};
	*ret_self = v->type == FL_JSON_NULL || (map && fl_walk_is_empty(v)) || (!map && !fl_walk_is_list(s));
	if (*ret_self)
		return 0;
	rc = fl_walk_children(a, s, v, &kids, &n, err);
	for (size_t i = 0; i < n && !rc; i++) {
		struct fl_fieldset below;
		bool self;

		rc = fields(fl_walk_child(s, kids[i].node), a, kids[i].node, &self, &below, err);
		if (!rc)
			fl_fieldset_add(a, ret, kids[i].pe, kids[i].len,
					self || !map || !fl_walk_is_named(s, kids[i].node->key), below);
	}
	fl_fieldset_finish(a, ret);
	return rc;
}

int fl_typed_fields(const struct fl_schema *s, struct fl_arena *a, const struct fl_json *v, struct fl_fieldset *ret,
		    struct fl_err *err)
{
	bool self;

	return fields(s, a, v, &self, ret, err);
}

struct fl_fieldset fl_typed_with_parents(const struct fl_schema *s, struct fl_arena *a, const struct fl_fieldset *set)
{
	struct fl_fieldset r = {0};

	for (unsigned i = 0; i < set->n; i++) {
		const struct fl_field *f = &set->v[i];
		const struct fl_schema *below = NULL;
		bool named = false;

		if (f->pe[0] == 'f') {
			named = fl_walk_is_named(s, f->pe + 2);
			below = fl_walk_member(s, f->pe + 2);
		} else if (s->type == FL_SCHEMA_ARRAY) {
			below = s->items;
		}
		fl_fieldset_add(a, &r, f->pe, f->len, f->member || (named && f->kids.n),
				below && f->kids.n ? fl_typed_with_parents(below, a, &f->kids) : f->kids);
	}
	return r;
}
