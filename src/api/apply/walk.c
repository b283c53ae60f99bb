// SPDX-License-Identifier: Apache-2.0
#include "api/apply/walk.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

// Values whose shape nobody describes: maps down to their scalars, lists whole.
static const struct fl_schema untyped = {.type = FL_SCHEMA_ANY};

bool fl_walk_is_map(const struct fl_schema *s, const struct fl_json *v)
{
	if (s->type == FL_SCHEMA_ANY)
		return fl_json_is(v, FL_JSON_OBJECT);
	return (s->type == FL_SCHEMA_OBJECT || s->type == FL_SCHEMA_MAP) && !s->atomic_map;
}

bool fl_walk_is_list(const struct fl_schema *s)
{
	return s->type == FL_SCHEMA_ARRAY && s->list_type != FL_LIST_ATOMIC;
}

bool fl_walk_is_empty(const struct fl_json *v)
{
	return !v || v->type == FL_JSON_NULL || (v->type >= FL_JSON_ARRAY && !v->kids.count);
}

const struct fl_schema *fl_walk_member(const struct fl_schema *s, const char *key)
{
	const struct fl_schema_prop *p;

	if (s->type == FL_SCHEMA_ANY)
		return &untyped;
	if (s->type == FL_SCHEMA_MAP)
		return s->items;
	p = s->type == FL_SCHEMA_OBJECT ? fl_schema_prop(s, key) : NULL;
	return p ? p->schema : s->preserve_unknown ? &untyped : NULL;
}

bool fl_walk_is_named(const struct fl_schema *s, const char *key)
{
	return s->type == FL_SCHEMA_OBJECT && fl_schema_prop(s, key);
}

const struct fl_schema *fl_walk_child(const struct fl_schema *s, const struct fl_json *child)
{
	const struct fl_schema *m = s->type == FL_SCHEMA_ARRAY ? s->items : fl_walk_member(s, child->key);

	return m ? m : &untyped;
}

struct fl_element fl_walk_field(struct fl_arena *a, const struct fl_json *member)
{
	char *pe = fl_arena_alloc(a, member->key_len + 3);

	memcpy(pe, "f:", 2);
	memcpy(pe + 2, member->key, member->key_len);
	pe[member->key_len + 2] = '\0';
	return (struct fl_element){.pe = pe, .len = member->key_len + 2, .node = member};
}

// Keys in the order of their names, whatever the schema's order is.
static const char *next_key(const struct fl_schema *s, const char *after)
{
	const char *best = NULL;

	for (unsigned i = 0; i < s->n_list_keys; i++)
		if ((!after || strcmp(s->list_keys[i], after) > 0) && (!best || strcmp(s->list_keys[i], best) < 0))
			best = s->list_keys[i];
	return best;
}

static int keys_of(const struct fl_schema *s, const struct fl_json *item, struct fl_buf *b, struct fl_err *err)
{
	char sep = '{';

	if (!fl_json_is(item, FL_JSON_OBJECT))
		return fl_err_set(err, -EINVAL, "associative list with keys may not have non-map elements");
	fl_buf_puts(b, "k:");
	for (const char *key = next_key(s, NULL); key; key = next_key(s, key)) {
		const struct fl_schema_prop *p = fl_schema_prop(s->items, key);
		const struct fl_json *value = fl_json_get(item, key);

		if (!value && p)
			value = p->dflt;
		if (!value)
			return fl_err_set(err, -EINVAL,
					  "associative list with keys has an element that omits key field \"%s\" (and "
					  "doesn't have default value)",
					  key);
		fl_buf_putc(b, sep);
		fl_json_write_string(b, key, strlen(key));
		fl_buf_putc(b, ':');
		fl_json_write(b, value);
		sep = ',';
	}
	fl_buf_putc(b, '}');
	return 0;
}

int fl_walk_item(struct fl_arena *a, const struct fl_schema *s, const struct fl_json *item, struct fl_element *ret,
		 struct fl_err *err)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	int rc = 0;

	if (s->list_type == FL_LIST_MAP) {
		rc = keys_of(s, item, &b, err);
	} else {
		fl_buf_puts(&b, "v:");
		fl_json_write(&b, item);
	}
	if (!rc)
		*ret = (struct fl_element){.pe = fl_arena_strndup(a, b.data, b.len), .len = b.len, .node = item};
	return rc;
}

int fl_walk_children(struct fl_arena *a, const struct fl_schema *s, const struct fl_json *v, struct fl_element **ret,
		     size_t *ret_n, struct fl_err *err)
{
	static struct fl_element none; // callers do arithmetic on what they get
	bool list = s->type == FL_SCHEMA_ARRAY;
	size_t n = 0;

	*ret = &none;
	*ret_n = 0;
	if (!fl_json_is(v, list ? FL_JSON_ARRAY : FL_JSON_OBJECT) || !v->kids.count)
		return 0;
	*ret = fl_arena_alloc(a, v->kids.count * sizeof(**ret));
	fl_json_each (child, v) {
		int rc = 0;

		if (list)
			rc = fl_walk_item(a, s, child, &(*ret)[n], err);
		else
			(*ret)[n] = fl_walk_field(a, child);
		if (rc)
			return rc;
		n++;
	}
	*ret_n = n;
	return 0;
}
