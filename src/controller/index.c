// SPDX-License-Identifier: Apache-2.0
#include "controller/index.h"

#include "base/vec.h"

struct doc;

struct place { // of a document in a posting list
	struct doc *doc;
	size_t pair; // whose list this is; SIZE_MAX: the namespace's
};

struct posting {
	FL_VEC(struct place) places;
};

struct doc { // one allocation, with all that it points to
	const char *ns, *name;
	struct fl_pair *pairs;
	size_t *at; // position in the list of each pair; at[n] in the namespace's
	size_t n;
};

static void put_key(struct fl_buf *b, const char *ns, const struct fl_pair *p)
{
	b->len = 0;
	fl_buf_append(b, ns, strlen(ns) + 1);
	fl_buf_append(b, p->key, strlen(p->key) + 1);
	fl_buf_puts(b, p->value);
}

static void put_doc_key(struct fl_buf *b, const char *ns, const char *name)
{
	b->len = 0;
	fl_buf_append(b, ns, strlen(ns) + 1);
	fl_buf_puts(b, name);
}

static struct posting *obtain(struct fl_map *m, const void *key, size_t n)
{
	struct posting *p = fl_map_get_n(m, key, n);
	if (!p) {
		p = FL_NEW(struct posting);
		fl_map_set_n(m, key, n, p);
	}
	return p;
}

static size_t *position(const struct place *p)
{
	return &p->doc->at[p->pair == SIZE_MAX ? p->doc->n : p->pair];
}

static void post(struct fl_map *m, const void *key, size_t n, struct doc *d, size_t pair)
{
	struct posting *p = obtain(m, key, n);
	struct place place = {d, pair};
	*position(&place) = p->places.n;
	if (p->places.n == p->places.cap) // most lists hold a few: no room in advance
		fl_vec_reserve(&p->places, p->places.n ? p->places.n + 1 : 1);
	fl_vec_push(&p->places, place);
}

static void unpost(struct fl_map *m, const void *key, size_t n, struct doc *d, size_t pair)
{
	struct posting *p = fl_map_get_n(m, key, n);
	struct place gone = {d, pair};
	size_t at = *position(&gone);
	p->places.v[at] = p->places.v[--p->places.n];
	if (at < p->places.n)
		*position(&p->places.v[at]) = at;
	if (!p->places.n) {
		fl_map_del_n(m, key, n);
		fl_vec_deinit(&p->places);
		free(p);
	}
}

static void free_postings(struct fl_map *m)
{
	for (struct fl_map_iter it = {0}; fl_map_next(m, &it);) {
		struct posting *p = it.value;
		fl_vec_deinit(&p->places);
		free(p);
	}
	fl_map_deinit(m);
}

void fl_index_deinit(struct fl_index *x)
{
	free_postings(&x->postings);
	free_postings(&x->spaces);
	for (struct fl_map_iter it = {0}; fl_map_next(&x->docs, &it);)
		free(it.value);
	fl_map_deinit(&x->docs);
}

void fl_index_del(struct fl_index *x, const char *ns, const char *name)
{
	AUTO(fl_buf_deinit) struct fl_buf key = {0};
	put_doc_key(&key, ns, name);
	struct doc *d = fl_map_del_n(&x->docs, key.data, key.len);
	if (!d)
		return;
	for (size_t i = 0; i < d->n; i++) {
		if (d->at[i] == SIZE_MAX)
			continue;
		put_key(&key, d->ns, &d->pairs[i]);
		unpost(&x->postings, key.data, key.len, d, i);
	}
	unpost(&x->spaces, d->ns, strlen(d->ns), d, SIZE_MAX);
	free(d);
}

static size_t length(const struct fl_map *m, const struct fl_buf *key)
{
	const struct posting *p = fl_map_get_n(m, key->data, key->len);
	return p ? p->places.n : 0;
}

static size_t shortest(const struct fl_index *x, const struct doc *d, struct fl_buf *key)
{
	size_t best = 0, best_len = SIZE_MAX;
	for (size_t i = 0; i < d->n; i++) {
		put_key(key, d->ns, &d->pairs[i]);
		size_t n = length(&x->postings, key);
		if (n < best_len) {
			best = i;
			best_len = n;
		}
	}
	return best;
}

static const char *put_string(char **at, const char *s)
{
	const char *copy = *at;
	size_t n = strlen(s) + 1;
	memcpy(*at, s, n);
	*at += n;
	return copy;
}

static struct doc *make_doc(const char *ns, const char *name, const struct fl_pair *pairs, size_t n)
{
	size_t text = strlen(ns) + strlen(name) + 2;
	for (size_t i = 0; i < n; i++)
		text += strlen(pairs[i].key) + strlen(pairs[i].value) + 2;
	struct doc *d = fl_malloc(sizeof(*d) + n * sizeof(*d->pairs) + (n + 1) * sizeof(*d->at) + text);
	d->n = n;
	d->pairs = (struct fl_pair *)(d + 1);
	d->at = (size_t *)(d->pairs + n);
	char *at = (char *)(d->at + n + 1);
	d->ns = put_string(&at, ns);
	d->name = put_string(&at, name);
	for (size_t i = 0; i < n; i++) {
		d->pairs[i].key = put_string(&at, pairs[i].key);
		d->pairs[i].value = put_string(&at, pairs[i].value);
		d->at[i] = SIZE_MAX;
	}
	return d;
}

void fl_index_put(struct fl_index *x, const char *ns, const char *name, const struct fl_pair *pairs, size_t n)
{
	AUTO(fl_buf_deinit) struct fl_buf key = {0};
	fl_index_del(x, ns, name);
	struct doc *d = make_doc(ns, name, pairs, n);
	size_t only = x->mode == FL_INDEX_ONE ? shortest(x, d, &key) : SIZE_MAX;
	for (size_t i = 0; i < n; i++) {
		if (only != SIZE_MAX && i != only)
			continue;
		put_key(&key, ns, &d->pairs[i]);
		post(&x->postings, key.data, key.len, d, i);
	}
	post(&x->spaces, ns, strlen(ns), d, SIZE_MAX);
	put_doc_key(&key, ns, name);
	fl_map_set_n(&x->docs, key.data, key.len, d);
}

static bool has(const struct fl_pair *pairs, size_t n, const struct fl_pair *p)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(pairs[i].key, p->key) == 0 && strcmp(pairs[i].value, p->value) == 0)
			return true;
	return false;
}

static bool has_all(const struct fl_pair *set, size_t n_set, const struct fl_pair *wanted, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!has(set, n_set, &wanted[i]))
			return false;
	return true;
}

static void search_one(const struct fl_index *x, const char *ns, const struct fl_pair *pairs, size_t n,
		       void (*visit)(void *arg, const char *name), void *arg)
{
	AUTO(fl_buf_deinit) struct fl_buf key = {0};
	for (size_t i = 0; i < n; i++) {
		put_key(&key, ns, &pairs[i]);
		const struct posting *p = fl_map_get_n(&x->postings, key.data, key.len);
		for (size_t k = 0; p && k < p->places.n; k++) {
			const struct doc *d = p->places.v[k].doc;
			if (has_all(pairs, n, d->pairs, d->n))
				visit(arg, d->name);
		}
	}
}

static void search_all(const struct fl_index *x, const char *ns, const struct fl_pair *pairs, size_t n,
		       void (*visit)(void *arg, const char *name), void *arg)
{
	AUTO(fl_buf_deinit) struct fl_buf key = {0};
	const struct posting *best = fl_map_get_n(&x->spaces, ns, strlen(ns));
	for (size_t i = 0; best && i < n; i++) {
		put_key(&key, ns, &pairs[i]);
		const struct posting *p = fl_map_get_n(&x->postings, key.data, key.len);
		if (!p || p->places.n < best->places.n)
			best = p;
	}
	for (size_t k = 0; best && k < best->places.n; k++) {
		const struct doc *d = best->places.v[k].doc;
		if (has_all(d->pairs, d->n, pairs, n))
			visit(arg, d->name);
	}
}

void fl_index_search(const struct fl_index *x, const char *ns, const struct fl_pair *pairs, size_t n,
		     void (*visit)(void *arg, const char *name), void *arg)
{
	if (x->mode == FL_INDEX_ONE)
		search_one(x, ns, pairs, n, visit, arg);
	else
		search_all(x, ns, pairs, n, visit, arg);
}

struct fl_pair *fl_index_pairs(struct fl_arena *a, const struct fl_json *labels, size_t more, size_t *ret_n)
{
	struct fl_pair *pairs = fl_arena_alloc(a, (fl_json_count(labels) + more) * sizeof(*pairs) + 1);
	size_t n = 0;
	fl_json_each (m, labels) {
		const char *value = fl_json_string(m);
		if (value)
			pairs[n++] = (struct fl_pair){m->key, value};
	}
	*ret_n = n;
	return pairs;
}
