// SPDX-License-Identifier: Apache-2.0
// What changed between two values. Children of both sides are sorted by path element and walked side by side, so that
// a long list or map costs its length, not its square.
#include <stdlib.h>
#include <string.h>

#include "api/apply/walk.h"

enum change { SAME, ADDED, REMOVED, MODIFIED };

static int compare(const struct fl_schema *s, struct fl_arena *a, const struct fl_json *x, const struct fl_json *y,
		   enum change *ret, struct fl_typed_diff *ret_below, struct fl_err *err);

static int by_element(const void *p, const void *q)
{
	const struct fl_element *x = p, *y = q;
	int c = memcmp(x->pe, y->pe, x->len < y->len ? x->len : y->len);

	return c ? c : (x->len > y->len) - (x->len < y->len);
}

static void sort(struct fl_element *v, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		if (by_element(&v[i - 1], &v[i]) > 0) {
			qsort(v, n, sizeof(*v), by_element);
			return;
		}
	}
}

// How many from v[0] on are the same element: more than one only in a list that names it twice.
static size_t run(const struct fl_element *v, size_t n)
{
	size_t i = n ? 1 : 0;

	while (i < n && by_element(&v[0], &v[i]) == 0)
		i++;
	return i;
}

static enum change compare_whole(const struct fl_json *x, const struct fl_json *y)
{
	return !x ? ADDED : !y ? REMOVED : fl_json_equal(x, y) ? SAME : MODIFIED;
}

// An element that stands more than once on a side is one field, with all that stand there.
static enum change compare_runs(const struct fl_element *x, size_t nx, const struct fl_element *y, size_t ny)
{
	if (!nx || !ny)
		return nx ? REMOVED : ADDED;
	if (nx != ny)
		return MODIFIED;
	for (size_t i = 0; i < nx; i++)
		if (!fl_json_equal(x[i].node, y[i].node))
			return MODIFIED;
	return SAME;
}

static int compare_children(const struct fl_schema *s, struct fl_arena *a, const struct fl_json *x,
			    const struct fl_json *y, struct fl_typed_diff *ret, struct fl_err *err)
{
	struct fl_element *xs, *ys;
	size_t nx, ny, i = 0, j = 0;
	int rc = fl_walk_children(a, s, x, &xs, &nx, err);

	if (!rc)
		rc = fl_walk_children(a, s, y, &ys, &ny, err);
	if (rc)
		return rc;
	sort(xs, nx);
	sort(ys, ny);
	while (i < nx || j < ny) {
		int c = i == nx ? 1 : j == ny ? -1 : by_element(&xs[i], &ys[j]);
		size_t rx = c <= 0 ? run(xs + i, nx - i) : 0, ry = c >= 0 ? run(ys + j, ny - j) : 0;
		const struct fl_element *e = rx ? &xs[i] : &ys[j];
		struct fl_typed_diff below = {0};
		enum change change;

		if (rx > 1 || ry > 1)
			change = compare_runs(xs + i, rx, ys + j, ry);
		else
			rc = compare(fl_walk_child(s, e->node), a, rx ? xs[i].node : NULL, ry ? ys[j].node : NULL,
				     &change, &below, err);
		if (rc)
			return rc;
		fl_fieldset_add(a, &ret->added, e->pe, e->len, change == ADDED, below.added);
		fl_fieldset_add(a, &ret->removed, e->pe, e->len, change == REMOVED, below.removed);
		fl_fieldset_add(a, &ret->modified, e->pe, e->len, change == MODIFIED, below.modified);
		i += rx;
		j += ry;
	}
	return 0;
}

static int compare(const struct fl_schema *s, struct fl_arena *a, const struct fl_json *x, const struct fl_json *y,
		   enum change *ret, struct fl_typed_diff *ret_below, struct fl_err *err)
{
	bool divided = fl_walk_is_list(s) || (fl_walk_is_map(s, x) && fl_walk_is_map(s, y));

	// An untyped value is divided where each side that is there is a map; null goes with either.
	if (s->type == FL_SCHEMA_ANY)
		divided = (fl_walk_is_map(s, x) || !x) && (fl_walk_is_map(s, y) || !y);
	if (!divided || (fl_walk_is_empty(x) && fl_walk_is_empty(y))) {
		*ret = compare_whole(x, y);
		return 0;
	}
	*ret = !x ? ADDED : !y ? REMOVED : SAME;
	return compare_children(s, a, x, y, ret_below, err);
}

int fl_typed_compare(const struct fl_schema *s, struct fl_arena *a, const struct fl_json *x, const struct fl_json *y,
		     struct fl_typed_diff *ret, struct fl_err *err)
{
	struct fl_typed_diff d = {0};
	enum change self;
	int rc = compare(s, a, x, y, &self, &d, err);

	if (!rc)
		*ret = d;
	return rc;
}
