// SPDX-License-Identifier: Apache-2.0
#include "api/apply/managers.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#define MAX_UPDATERS 10
#define ANCIENT      "ancient-changes"

static struct fl_field meta_fields[] = {
    {.pe = "f:creationTimestamp", .len = 19, .member = true}, {.pe = "f:generation", .len = 12, .member = true},
    {.pe = "f:managedFields", .len = 15, .member = true},     {.pe = "f:name", .len = 6, .member = true},
    {.pe = "f:namespace", .len = 11, .member = true},         {.pe = "f:resourceVersion", .len = 17, .member = true},
    {.pe = "f:selfLink", .len = 10, .member = true},          {.pe = "f:uid", .len = 5, .member = true},
};

static struct fl_field top_fields[] = {
    {.pe = "f:apiVersion", .len = 12, .member = true},
    {.pe = "f:kind", .len = 6, .member = true},
    {.pe = "f:metadata", .len = 10, .member = true, .kids = {.v = meta_fields, .n = FL_COUNT(meta_fields)}},
};

const struct fl_fieldset fl_managed_stripped = {.v = top_fields, .n = FL_COUNT(top_fields)};

// Reset fields of the strategies: the object's own endpoint leaves status alone, its status endpoint the rest.
const struct fl_fieldset *fl_managed_ignored(const struct fl_kind *k, const char *subresource)
{
	static struct fl_field status_field[] = {{.pe = "f:status", .len = 8, .member = true}};
	static struct fl_field spec_field[] = {{.pe = "f:spec", .len = 6, .member = true}};
	static const struct fl_fieldset none, status = {.v = status_field, .n = 1}, spec = {.v = spec_field, .n = 1};

	if (fl_streq(subresource, "status"))
		return &spec;
	return k->has_status ? &status : &none;
}

static struct manager *push(struct managers *m, struct manager e)
{
	if (m->n == m->cap) {
		struct manager *v;

		m->cap = m->cap ? 2 * m->cap : 4;
		v = fl_arena_alloc(m->a, m->cap * sizeof(*v));
		if (m->n)
			memcpy(v, m->v, m->n * sizeof(*v));
		m->v = v;
	}
	m->v[m->n] = e;
	return &m->v[m->n++];
}

static bool same_text(const char *x, const char *y)
{
	return fl_streq(x ? x : "", y ? y : "");
}

struct manager *fl_managers_entry(struct managers *m, const char *name, bool apply, const char *version,
				  const char *subresource)
{
	for (unsigned i = 0; i < m->n; i++) {
		struct manager *e = &m->v[i];

		if (e->apply == apply && fl_streq(e->name, name) && same_text(e->subresource, subresource) &&
		    (apply || fl_streq(e->version, version)))
			return e;
	}
	return push(m, (struct manager){.name = name,
					.apply = apply,
					.version = version,
					.subresource = fl_str_empty(subresource) ? NULL : subresource});
}

static bool decode_entry(struct managers *m, const struct fl_json *j)
{
	const char *operation = fl_json_str_or(j, "operation", "");
	bool apply = fl_streq(operation, "Apply");
	struct fl_fieldset set;
	struct manager *e;

	if ((!apply && !fl_streq(operation, "Update")) || !fl_streq(fl_json_str(j, "fieldsType"), "FieldsV1") ||
	    !fl_json_get(j, "fieldsV1") || fl_fieldset_from_json(m->a, fl_json_get(j, "fieldsV1"), &set, NULL) < 0)
		return false;
	e = fl_managers_entry(m, fl_json_str_or(j, "manager", ""), apply, fl_json_str_or(j, "apiVersion", ""),
			      fl_json_str(j, "subresource"));
	e->time = fl_json_str(j, "time");
	e->set = set;
	return true;
}

bool fl_managers_decode(struct managers *m, const struct fl_json *entries)
{
	m->n = 0;
	fl_json_each (j, entries) {
		if (!decode_entry(m, j)) {
			m->n = 0;
			return false;
		}
	}
	return true;
}

void fl_managers_take(struct managers *m, const char *version, const struct fl_fieldset *gone,
		      const struct manager *but)
{
	for (unsigned i = 0; i < m->n; i++)
		if (&m->v[i] != but && fl_streq(m->v[i].version, version))
			m->v[i].set = fl_fieldset_difference(m->a, &m->v[i].set, gone);
}

// --- writing ---

static int by_text(const char *x, const char *y)
{
	return strcmp(x ? x : "", y ? y : "");
}

// Times are in one format, so their texts sort as they do.
static int by_order(const void *p, const void *q)
{
	const struct manager *x = p, *y = q;
	int c = y->apply - x->apply;

	if (!c)
		c = by_text(x->time, y->time);
	if (!c)
		c = by_text(x->name, y->name);
	if (!c)
		c = by_text(x->version, y->version);
	return c ? c : by_text(x->subresource, y->subresource);
}

static void drop_empty(struct managers *m)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->n; i++)
		if (!fl_fieldset_is_empty(&m->v[i].set))
			m->v[n++] = m->v[i];
	m->n = n;
}

static void remove_at(struct managers *m, unsigned i)
{
	memmove(&m->v[i], &m->v[i + 1], (m->n - i - 1) * sizeof(*m->v));
	m->n--;
}

// Sorted: the Applys come first, then the Updates with the oldest in front. The two oldest of one version become one.
static void join_oldest(struct managers *m)
{
	for (unsigned i = 0; i < m->n; i++) {
		for (unsigned j = i + 1; j < m->n && !m->v[i].apply; j++) {
			if (!fl_streq(m->v[i].version, m->v[j].version))
				continue;
			m->v[j].set = fl_fieldset_union(m->a, &m->v[i].set, &m->v[j].set);
			m->v[j].name = ANCIENT;
			m->v[j].subresource = NULL;
			remove_at(m, i);
			return;
		}
	}
}

static unsigned updaters(const struct managers *m)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->n; i++)
		n += !m->v[i].apply;
	return n;
}

static struct fl_json *encode_entry(struct fl_arena *a, const struct manager *e)
{
	struct fl_json *j = fl_json_new(a, FL_JSON_OBJECT);

	if (*e->name)
		fl_json_set_str(a, j, "manager", e->name);
	fl_json_set_str(a, j, "operation", e->apply ? "Apply" : "Update");
	if (*e->version)
		fl_json_set_str(a, j, "apiVersion", e->version);
	fl_json_set_str(a, j, "time", e->time);
	fl_json_set_str(a, j, "fieldsType", "FieldsV1");
	fl_json_set(a, j, "fieldsV1", fl_fieldset_to_json(a, &e->set));
	fl_json_set_str(a, j, "subresource", e->subresource);
	return j;
}

struct fl_json *fl_managers_encode(struct managers *m)
{
	struct fl_json *list;

	drop_empty(m);
	if (!m->n)
		return NULL;
	qsort(m->v, m->n, sizeof(*m->v), by_order);
	for (unsigned was = 0; updaters(m) > MAX_UPDATERS && m->n != was;) {
		was = m->n;
		join_oldest(m);
		qsort(m->v, m->n, sizeof(*m->v), by_order);
	}
	list = fl_json_new(m->a, FL_JSON_ARRAY);
	for (unsigned i = 0; i < m->n; i++)
		fl_json_append(list, encode_entry(m->a, &m->v[i]));
	return list;
}
