// SPDX-License-Identifier: Apache-2.0
// A pair is known by a keyed hash of namespace, key and value alone: 64 bits under a key that no client knows, so two
// pairs do not meet in practice, and nobody can make them. What is kept for an object is one small block:
//
//   docs   hash(ns, name) --> doc: | n | n hashes | n positions | ns, name |
//   lists  hash of a pair --> the docs that have it (one: in the slot itself)
//
// Both are tables with linear probing; a deletion shifts the slots after it back to where they want to be.
#include "controller/index.h"

#include "base/mem.h"

#define MIN_CAP ((size_t)8)
#define NOT_IN  UINT32_MAX

struct fl_index_doc {
	uint32_t n, ns_len;
	uint64_t pairs[]; // n hashes; then n positions (uint32_t) in their lists, or NOT_IN; then ns and name
};

struct fl_index_list {
	uint64_t pair;
	union {
		struct fl_index_doc *one; // n 1, cap 0
		struct fl_index_doc **many;
	};
	uint32_t n, cap; // n 0: a free slot
};

typedef struct fl_index_doc doc;
typedef struct fl_index_list list;

static uint32_t *positions(const doc *d)
{
	return (uint32_t *)(uintptr_t)(d->pairs + d->n);
}

static const char *ns_of(const doc *d)
{
	return (const char *)(positions(d) + d->n);
}

static const char *name_of(const doc *d)
{
	return ns_of(d) + d->ns_len + 1;
}

static uint64_t hash_name(struct fl_buf *b, const char *ns, const char *name)
{
	b->len = 0;
	fl_buf_append(b, ns, strlen(ns) + 1);
	fl_buf_puts(b, name);
	return fl_hash(b->data, b->len);
}

static uint64_t hash_pair(struct fl_buf *b, const char *ns, const struct fl_pair *p)
{
	b->len = 0;
	fl_buf_append(b, ns, strlen(ns) + 1);
	fl_buf_append(b, p->key, strlen(p->key) + 1);
	fl_buf_puts(b, p->value);
	return fl_hash(b->data, b->len);
}

// --- lists ---

static size_t find_list(const struct fl_index *x, uint64_t pair)
{
	size_t mask = x->cap_lists - 1, i = pair & mask;
	while (x->lists[i].n && x->lists[i].pair != pair)
		i = (i + 1) & mask;
	return i;
}

static const list *get_list(const struct fl_index *x, uint64_t pair)
{
	const list *l = x->cap_lists ? &x->lists[find_list(x, pair)] : NULL;
	return l && l->n ? l : NULL;
}

static void resize_lists(struct fl_index *x, size_t cap)
{
	list *old = x->lists;
	size_t old_cap = x->cap_lists;
	x->lists = fl_calloc(cap, sizeof(*x->lists));
	x->cap_lists = cap;
	for (size_t i = 0; i < old_cap; i++)
		if (old[i].n)
			x->lists[find_list(x, old[i].pair)] = old[i];
	free(old);
}

static doc **members(const list *l)
{
	return l->cap ? l->many : (doc **)(uintptr_t)&l->one;
}

static void post(struct fl_index *x, doc *d, uint32_t i)
{
	if ((x->n_lists + 1) * 4 > x->cap_lists * 3)
		resize_lists(x, x->cap_lists ? x->cap_lists * 2 : MIN_CAP);
	list *l = &x->lists[find_list(x, d->pairs[i])];
	if (!l->n) {
		l->pair = d->pairs[i];
		x->n_lists++;
	} else if (!l->cap) {
		doc *first = l->one;
		l->cap = 4;
		l->many = fl_malloc(l->cap * sizeof(doc *));
		l->many[0] = first;
	} else if (l->n == l->cap) {
		l->cap = l->cap < 64 ? l->cap * 2 : l->cap + l->cap / 4;
		l->many = fl_realloc(l->many, l->cap * sizeof(doc *));
	}
	positions(d)[i] = l->n;
	members(l)[l->n] = d;
	l->n++;
}

static void drop_list(struct fl_index *x, size_t at)
{
	size_t mask = x->cap_lists - 1;
	if (x->lists[at].cap)
		free(x->lists[at].many);
	x->lists[at] = (list){0};
	x->n_lists--;
	for (size_t i = (at + 1) & mask; x->lists[i].n; i = (i + 1) & mask) {
		if (((i - x->lists[i].pair) & mask) < ((i - at) & mask))
			continue; // it would stand before its home
		x->lists[at] = x->lists[i];
		x->lists[i] = (list){0};
		at = i;
	}
}

static void unpost(struct fl_index *x, const doc *d, uint32_t i)
{
	size_t at = find_list(x, d->pairs[i]);
	list *l = &x->lists[at];
	uint32_t hole = positions(d)[i];
	if (l->n == 1) {
		drop_list(x, at);
		return;
	}
	doc *last = l->many[--l->n];
	l->many[hole] = last;
	for (uint32_t k = 0; k < last->n; k++) // which of its pairs it is
		if (last->pairs[k] == l->pair && positions(last)[k] == l->n) {
			positions(last)[k] = hole;
			break;
		}
}

// --- documents ---

static size_t home(const struct fl_index *x, struct fl_buf *b, const doc *d)
{
	return hash_name(b, ns_of(d), name_of(d)) & (x->cap_docs - 1);
}

static size_t find_doc(const struct fl_index *x, struct fl_buf *b, const char *ns, const char *name)
{
	size_t mask = x->cap_docs - 1, i = hash_name(b, ns, name) & mask;
	while (x->docs[i] && (strcmp(name_of(x->docs[i]), name) != 0 || strcmp(ns_of(x->docs[i]), ns) != 0))
		i = (i + 1) & mask;
	return i;
}

static void resize_docs(struct fl_index *x, struct fl_buf *b, size_t cap)
{
	doc **old = x->docs;
	size_t old_cap = x->cap_docs;
	x->docs = fl_calloc(cap, sizeof(*x->docs));
	x->cap_docs = cap;
	for (size_t i = 0; i < old_cap; i++)
		if (old[i])
			x->docs[find_doc(x, b, ns_of(old[i]), name_of(old[i]))] = old[i];
	free(old);
}

void fl_index_deinit(struct fl_index *x)
{
	for (size_t i = 0; i < x->cap_lists; i++)
		if (x->lists[i].cap)
			free(x->lists[i].many);
	for (size_t i = 0; i < x->cap_docs; i++)
		free(x->docs[i]);
	free(x->lists);
	free(x->docs);
	*x = (struct fl_index){.mode = x->mode};
}

static void shift_back(struct fl_index *x, struct fl_buf *b, size_t at)
{
	size_t mask = x->cap_docs - 1;
	for (size_t i = (at + 1) & mask; x->docs[i]; i = (i + 1) & mask) {
		if (((i - home(x, b, x->docs[i])) & mask) < ((i - at) & mask))
			continue;
		x->docs[at] = x->docs[i];
		x->docs[i] = NULL;
		at = i;
	}
}

static void delete_at(struct fl_index *x, struct fl_buf *b, size_t at)
{
	doc *d = x->docs[at];
	for (uint32_t i = 0; i < d->n; i++)
		if (positions(d)[i] != NOT_IN)
			unpost(x, d, i);
	x->docs[at] = NULL;
	x->n_docs--;
	shift_back(x, b, at);
	free(d);
}

void fl_index_del(struct fl_index *x, const char *ns, const char *name)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	size_t at = x->cap_docs ? find_doc(x, &b, ns, name) : 0;
	if (x->cap_docs && x->docs[at])
		delete_at(x, &b, at);
}

// ALL: one more pair, that all of a namespace have, for a search without pairs.
static const struct fl_pair everything = {"", ""};

static doc *make_doc(struct fl_buf *b, const char *ns, const char *name, const struct fl_pair *pairs, size_t n,
		     bool with_everything)
{
	size_t all = n + with_everything, ns_len = strlen(ns), name_len = strlen(name);
	doc *d = fl_malloc(sizeof(*d) + all * (sizeof(uint64_t) + sizeof(uint32_t)) + ns_len + name_len + 2);
	d->n = (uint32_t)all;
	d->ns_len = (uint32_t)ns_len;
	for (size_t i = 0; i < all; i++) {
		d->pairs[i] = hash_pair(b, ns, i < n ? &pairs[i] : &everything);
		positions(d)[i] = NOT_IN;
	}
	char *text = (char *)(positions(d) + all);
	memcpy(text, ns, ns_len + 1);
	memcpy(text + ns_len + 1, name, name_len + 1);
	return d;
}

static uint32_t shortest(const struct fl_index *x, const doc *d)
{
	uint32_t best = 0, best_n = UINT32_MAX;
	for (uint32_t i = 0; i < d->n; i++) {
		const list *l = get_list(x, d->pairs[i]);
		uint32_t n = l ? l->n : 0;
		if (n < best_n) {
			best = i;
			best_n = n;
		}
	}
	return best;
}

void fl_index_put(struct fl_index *x, const char *ns, const char *name, const struct fl_pair *pairs, size_t n)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	if ((x->n_docs + 1) * 4 > x->cap_docs * 3)
		resize_docs(x, &b, x->cap_docs ? x->cap_docs * 2 : MIN_CAP);
	doc *d = make_doc(&b, ns, name, pairs, n, x->mode == FL_INDEX_ALL);
	size_t at = find_doc(x, &b, ns, name);
	if (x->docs[at]) {
		delete_at(x, &b, at);
		at = find_doc(x, &b, ns, name);
	}
	x->docs[at] = d;
	x->n_docs++;
	if (x->mode == FL_INDEX_ONE) {
		if (d->n)
			post(x, d, shortest(x, d));
		return;
	}
	for (uint32_t i = 0; i < d->n; i++)
		post(x, d, i);
}

// --- search ---

static bool has_all(const uint64_t *set, size_t n_set, const uint64_t *wanted, size_t n)
{
	for (size_t i = 0, k; i < n; i++) {
		for (k = 0; k < n_set && set[k] != wanted[i]; k++)
			;
		if (k == n_set)
			return false;
	}
	return true;
}

void fl_index_search(const struct fl_index *x, const char *ns, const struct fl_pair *pairs, size_t n,
		     void (*visit)(void *arg, const char *name), void *arg)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	AUTO_FREE uint64_t *query = fl_malloc((n + 1) * sizeof(*query));
	const list *best = NULL;
	for (size_t i = 0; i < n; i++)
		query[i] = hash_pair(&b, ns, &pairs[i]);
	if (x->mode == FL_INDEX_ALL && !n)
		query[n++] = hash_pair(&b, ns, &everything);
	for (size_t i = 0; i < n; i++) {
		const list *l = get_list(x, query[i]);
		if (x->mode == FL_INDEX_ONE) {
			for (uint32_t k = 0; l && k < l->n; k++)
				if (has_all(query, n, members(l)[k]->pairs, members(l)[k]->n))
					visit(arg, name_of(members(l)[k]));
			continue;
		}
		if (!l)
			return; // nobody has this pair
		if (!best || l->n < best->n)
			best = l;
	}
	for (uint32_t k = 0; best && k < best->n; k++)
		if (has_all(members(best)[k]->pairs, members(best)[k]->n, query, n))
			visit(arg, name_of(members(best)[k]));
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
