// SPDX-License-Identifier: Apache-2.0
// One value laid over another, and fields taken out of a value.
#include <string.h>

#include "api/apply/walk.h"
#include "base/map.h"
#include "base/mem.h"

static struct fl_json *merge(const struct fl_schema *s, struct fl_arena *a, const struct fl_json *x,
			     const struct fl_json *y);

static void put(struct fl_json *parent, const struct fl_json *named, struct fl_json *value)
{
	fl_json_append(parent, value);
	if (named->key) {
		value->key = named->key;
		value->key_len = named->key_len;
	}
}

// Position + 1 by path element; the first of those named twice.
static void index_of(struct fl_map *ret, const struct fl_element *v, size_t n)
{
	for (size_t i = n; i-- > 0;)
		fl_map_set_n(ret, v[i].pe, v[i].len, (void *)(uintptr_t)(i + 1));
}

static const struct fl_json *at(const struct fl_map *index, const struct fl_element *v, const struct fl_element *e)
{
	size_t i = (size_t)(uintptr_t)fl_map_get_n(index, e->pe, e->len);

	return i ? v[i - 1].node : NULL;
}

struct order {
	const struct fl_element *x, *y;
	size_t nx, ny;
	struct fl_map in_x, in_y, done; // done: elements of both that have been merged
};

static size_t next_shared(const struct order *o, size_t from)
{
	while (from < o->ny && !at(&o->in_x, o->x, &o->y[from]))
		from++;
	return from;
}

// Elements of y in their order. What only x has goes before the shared element that it stood before, as soon as that
// keeps the order of y. (structured-merge-diff, mergingWalker.visitListItems)
static void merge_elements(const struct fl_schema *s, struct fl_arena *a, struct order *o, struct fl_json *out)
{
	size_t i = 0, j = 0, shared = next_shared(o, 0);

	while (i < o->nx || j < o->ny) {
		const struct fl_element *xe = i < o->nx ? &o->x[i] : NULL, *ye = j < o->ny ? &o->y[j] : NULL;
		bool both = xe && at(&o->in_y, o->y, xe);

		if (xe && ye && xe->len == ye->len && memcmp(xe->pe, ye->pe, xe->len) == 0) {
			i++;
		} else if (xe && both &&
			   (fl_map_get_n(&o->done, xe->pe, xe->len) ||
			    (ye && shared < o->ny &&
			     (xe->len != o->y[shared].len || memcmp(xe->pe, o->y[shared].pe, xe->len) != 0)))) {
			i++; // comes, or came, where y has it
			continue;
		} else if (xe && !both) {
			put(out, xe->node, fl_json_clone(a, xe->node));
			i++;
			continue;
		}
		// Here `ye` is there: what x shares and is not done is still ahead in y.
		put(out, ye->node, merge(s->items, a, at(&o->in_x, o->x, ye), ye->node));
		fl_map_set_n(&o->done, ye->pe, ye->len, (void *)1);
		if (j == shared)
			shared = next_shared(o, j + 1);
		j++;
	}
}

static struct fl_json *merge_list(const struct fl_schema *s, struct fl_arena *a, const struct fl_json *x,
				  const struct fl_json *y)
{
	struct fl_json *out = fl_json_new(a, FL_JSON_ARRAY);
	struct fl_element *xs, *ys;
	struct order o = {0};

	// Both lists were walked before without an error.
	if (fl_walk_children(a, s, x, &xs, &o.nx, NULL) < 0 || fl_walk_children(a, s, y, &ys, &o.ny, NULL) < 0)
		return fl_json_clone(a, y);
	o.x = xs;
	o.y = ys;
	index_of(&o.in_x, o.x, o.nx);
	index_of(&o.in_y, o.y, o.ny);
	merge_elements(s, a, &o, out);
	fl_map_deinit(&o.in_x);
	fl_map_deinit(&o.in_y);
	fl_map_deinit(&o.done);
	return out;
}

#define FEW 16 // members that are looked for one by one

static struct fl_json *member(const struct fl_map *index, const struct fl_json *object, const struct fl_json *like)
{
	return index->n ? fl_map_get_n(index, like->key, like->key_len)
			: fl_json_get_n(object, like->key, like->key_len);
}

static void index_members(struct fl_map *ret, const struct fl_json *object)
{
	if (fl_json_count(object) > FEW)
		fl_json_each (m, object)
			fl_map_set_n(ret, m->key, m->key_len, m);
}

static struct fl_json *merge_map(const struct fl_schema *s, struct fl_arena *a, const struct fl_json *x,
				 const struct fl_json *y)
{
	AUTO(fl_map_deinit) struct fl_map in_x = {0}, in_y = {0};
	struct fl_json *out = fl_json_new(a, FL_JSON_OBJECT);

	index_members(&in_x, x);
	index_members(&in_y, y);
	fl_json_each (m, x) {
		const struct fl_json *over = member(&in_y, y, m);

		put(out, m, over ? merge(fl_walk_child(s, m), a, m, over) : fl_json_clone(a, m));
	}
	fl_json_each (m, y)
		if (!member(&in_x, x, m))
			put(out, m, fl_json_clone(a, m));
	return out;
}

static struct fl_json *merge(const struct fl_schema *s, struct fl_arena *a, const struct fl_json *x,
			     const struct fl_json *y)
{
	bool map = fl_json_is(x, FL_JSON_OBJECT) && (fl_json_is(y, FL_JSON_OBJECT) || y->type == FL_JSON_NULL) &&
		   fl_walk_is_map(s, x);
	bool list = fl_json_is(x, FL_JSON_ARRAY) && (fl_json_is(y, FL_JSON_ARRAY) || y->type == FL_JSON_NULL) &&
		    fl_walk_is_list(s);

	if (!x || fl_walk_is_empty(x) || (!map && !list))
		return fl_json_clone(a, y);
	return map ? merge_map(s, a, x, y) : merge_list(s, a, x, y);
}

struct fl_json *fl_typed_merge(const struct fl_schema *s, struct fl_arena *a, const struct fl_json *x,
			       const struct fl_json *y)
{
	return merge(s, a, x, y);
}

struct fl_json *fl_typed_remove(const struct fl_schema *s, struct fl_arena *a, const struct fl_json *v,
				const struct fl_fieldset *set)
{
	struct fl_element *kids;
	struct fl_json *out;
	size_t n;

	if (!set->n || fl_walk_is_empty(v) || (!fl_walk_is_map(s, v) && !fl_walk_is_list(s)) ||
	    fl_walk_children(a, s, v, &kids, &n, NULL) < 0)
		return fl_json_clone(a, v);
	out = fl_json_new(a, v->type);
	for (size_t i = 0; i < n; i++) {
		const struct fl_field *f = fl_fieldset_find(set, kids[i].pe, kids[i].len);
		const struct fl_json *kid = kids[i].node;

		struct fl_json *left;

		if (f && f->member)
			continue;
		left = f ? fl_typed_remove(fl_walk_child(s, kid), a, kid, &f->kids) : fl_json_clone(a, kid);
		// A list's element of which nothing is left has no key any more, so it is none.
		if (left->type != FL_JSON_NULL || kid->type == FL_JSON_NULL || v->type != FL_JSON_ARRAY)
			put(out, kid, left);
	}
	return out->kids.count ? out : fl_json_new(a, FL_JSON_NULL);
}
