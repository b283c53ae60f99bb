// SPDX-License-Identifier: Apache-2.0
#include "api/apply/fieldset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

static int compare(const char *x, size_t x_len, const char *y, size_t y_len)
{
	int c = memcmp(x, y, x_len < y_len ? x_len : y_len);

	return c ? c : (x_len > y_len) - (x_len < y_len);
}

static int by_element(const void *x, const void *y)
{
	const struct fl_field *p = x, *q = y;

	return compare(p->pe, p->len, q->pe, q->len);
}

void fl_fieldset_add(struct fl_arena *a, struct fl_fieldset *s, const char *pe, size_t len, bool member,
		     struct fl_fieldset kids)
{
	if (!member && !kids.n)
		return;
	if (s->n == s->cap) {
		struct fl_field *v;

		s->cap = s->cap ? 2 * s->cap : 4;
		v = fl_arena_alloc(a, s->cap * sizeof(*v));
		if (s->n)
			memcpy(v, s->v, s->n * sizeof(*v));
		s->v = v;
	}
	s->v[s->n++] = (struct fl_field){.pe = pe, .len = (uint32_t)len, .member = member, .kids = kids};
}

void fl_fieldset_finish(struct fl_arena *a, struct fl_fieldset *s)
{
	bool sorted = true;
	unsigned n = 0;

	for (unsigned i = 1; i < s->n && sorted; i++)
		sorted = by_element(&s->v[i - 1], &s->v[i]) < 0;
	if (sorted)
		return;
	qsort(s->v, s->n, sizeof(*s->v), by_element);
	for (unsigned i = 0; i < s->n; i++) {
		struct fl_field *last = n ? &s->v[n - 1] : NULL;

		if (last && by_element(last, &s->v[i]) == 0) {
			last->member = last->member || s->v[i].member;
			last->kids = fl_fieldset_union(a, &last->kids, &s->v[i].kids);
		} else {
			s->v[n++] = s->v[i];
		}
	}
	s->n = n;
}

bool fl_fieldset_is_empty(const struct fl_fieldset *s)
{
	return s->n == 0;
}

const struct fl_field *fl_fieldset_find(const struct fl_fieldset *s, const char *pe, size_t len)
{
	unsigned low = 0, high = s->n;

	while (low < high) {
		unsigned mid = (low + high) / 2;
		int c = compare(pe, len, s->v[mid].pe, s->v[mid].len);

		if (c == 0)
			return &s->v[mid];
		if (c < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

enum op { UNION, INTERSECTION, DIFFERENCE, PRUNE };

static struct fl_fieldset combine(struct fl_arena *a, const struct fl_fieldset *x, const struct fl_fieldset *y,
				  enum op op)
{
	struct fl_fieldset r = {0};
	unsigned i = 0, j = 0;

	if (!y->n)
		return op == INTERSECTION ? r : *x;
	if (!x->n)
		return op == UNION ? *y : r;
	while (i < x->n || j < y->n) {
		int c = i == x->n ? 1 : j == y->n ? -1 : by_element(&x->v[i], &y->v[j]);
		const struct fl_field *p = c <= 0 ? &x->v[i++] : NULL, *q = c >= 0 ? &y->v[j++] : NULL;
		bool member;

		if (!p || !q) {
			const struct fl_field *alone = p ? p : q;

			if (op == UNION || (p && op != INTERSECTION))
				fl_fieldset_add(a, &r, alone->pe, alone->len, alone->member, alone->kids);
			continue;
		}
		if (op == PRUNE && q->member)
			continue;
		member = op == UNION          ? p->member || q->member
			 : op == INTERSECTION ? p->member && q->member
					      : p->member && !q->member;
		fl_fieldset_add(a, &r, p->pe, p->len, member, combine(a, &p->kids, &q->kids, op));
	}
	return r;
}

struct fl_fieldset fl_fieldset_union(struct fl_arena *a, const struct fl_fieldset *x, const struct fl_fieldset *y)
{
	return combine(a, x, y, UNION);
}

struct fl_fieldset fl_fieldset_intersection(struct fl_arena *a, const struct fl_fieldset *x,
					    const struct fl_fieldset *y)
{
	return combine(a, x, y, INTERSECTION);
}

struct fl_fieldset fl_fieldset_difference(struct fl_arena *a, const struct fl_fieldset *x, const struct fl_fieldset *y)
{
	return combine(a, x, y, DIFFERENCE);
}

struct fl_fieldset fl_fieldset_prune(struct fl_arena *a, const struct fl_fieldset *x, const struct fl_fieldset *y)
{
	return combine(a, x, y, PRUNE);
}

// --- FieldsV1 ---

static bool is_element(const struct fl_json *m)
{
	return m->key_len >= 2 && m->key[1] == ':' && strchr("fkvi", m->key[0]);
}

int fl_fieldset_from_json(struct fl_arena *a, const struct fl_json *j, struct fl_fieldset *ret, struct fl_err *err)
{
	struct fl_fieldset s = {0};

	if (!fl_json_is(j, FL_JSON_OBJECT))
		return fl_err_set(err, -EINVAL, "fieldsV1 is no object");
	fl_json_each (m, j) {
		struct fl_fieldset kids = {0};
		int rc;

		if (m->key_len == 1 && m->key[0] == '.')
			continue; // of the path that leads here
		if (!is_element(m))
			return fl_err_set(err, -EINVAL, "\"%.64s\" is no path element", m->key);
		rc = fl_fieldset_from_json(a, m, &kids, err);
		if (rc)
			return rc;
		fl_fieldset_add(a, &s, m->key, m->key_len, !kids.n || fl_json_get(m, "."), kids);
	}
	fl_fieldset_finish(a, &s);
	*ret = s;
	return 0;
}

struct fl_json *fl_fieldset_to_json(struct fl_arena *a, const struct fl_fieldset *s)
{
	struct fl_json *j = fl_json_new(a, FL_JSON_OBJECT);

	for (unsigned i = 0; i < s->n; i++) {
		const struct fl_field *f = &s->v[i];
		struct fl_json *below = fl_fieldset_to_json(a, &f->kids);

		if (f->member && f->kids.n) {
			struct fl_json *dot = fl_json_new(a, FL_JSON_OBJECT);

			fl_json_insert(below, 0, dot);
			dot->key = ".";
			dot->key_len = 1;
		}
		// Not fl_json_set, which would look for an element that cannot be there yet.
		fl_json_append(j, below);
		below->key = f->pe;
		below->key_len = f->len;
	}
	return j;
}

// --- paths for people ---

struct printer {
	struct fl_arena *a;
	struct fl_buf path;
	void (*each)(void *arg, const char *path);
	void *arg;
};

static void print_element(struct printer *p, const struct fl_field *f)
{
	struct fl_json *keys;

	switch (f->pe[0]) {
	case 'f':
		fl_buf_putc(&p->path, '.');
		fl_buf_append(&p->path, f->pe + 2, f->len - 2);
		break;
	case 'k':
		fl_buf_putc(&p->path, '[');
		if (fl_json_parse(p->a, f->pe + 2, f->len - 2, NULL, &keys, NULL) == 0) {
			fl_json_each (k, keys) {
				fl_buf_printf(&p->path, "%s%s=", k == keys->kids.first ? "" : ",", k->key);
				fl_json_write(&p->path, k);
			}
		}
		fl_buf_putc(&p->path, ']');
		break;
	default:
		fl_buf_puts(&p->path, f->pe[0] == 'v' ? "[=" : "[");
		fl_buf_append(&p->path, f->pe + 2, f->len - 2);
		fl_buf_putc(&p->path, ']');
		break;
	}
}

static void print(struct printer *p, const struct fl_fieldset *s)
{
	for (unsigned i = 0; i < s->n; i++) {
		size_t was = p->path.len;

		print_element(p, &s->v[i]);
		if (s->v[i].member)
			p->each(p->arg, fl_arena_strndup(p->a, p->path.data, p->path.len));
		print(p, &s->v[i].kids);
		p->path.len = was;
	}
}

void fl_fieldset_paths(struct fl_arena *a, const struct fl_fieldset *s, void (*each)(void *arg, const char *path),
		       void *arg)
{
	struct printer p = {.a = a, .each = each, .arg = arg};

	print(&p, s);
	fl_buf_deinit(&p.path);
}
