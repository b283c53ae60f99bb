// SPDX-License-Identifier: Apache-2.0
// One table of pointers for each namespace, by open addressing with linear probing; the names are the objects' own. A
// deletion shifts the slots after it back to where they want to be.
#include "client/cache.h"

#include "base/mem.h"
#include "base/str.h"

#define MIN_CAP ((size_t)4)

struct table {
	struct fl_object **slots; // NULL: free
	size_t n, cap;
};

static struct table *table_of(const struct fl_cache *c, const char *ns)
{
	return fl_map_get(&c->by_ns, ns ? ns : "");
}

static size_t home(const struct table *t, const char *name)
{
	return (size_t)fl_hash(name, strlen(name)) & (t->cap - 1);
}

// The slot of the name, or the free one where it would stand.
static size_t find(const struct table *t, const char *name)
{
	size_t i = home(t, name);
	while (t->slots[i] && strcmp(t->slots[i]->name, name) != 0)
		i = (i + 1) & (t->cap - 1);
	return i;
}

static void rehash(struct table *t, size_t cap)
{
	struct table now = {.slots = fl_calloc(cap, sizeof(*now.slots)), .n = t->n, .cap = cap};
	for (size_t i = 0; i < t->cap; i++)
		if (t->slots[i])
			now.slots[find(&now, t->slots[i]->name)] = t->slots[i];
	free(t->slots);
	*t = now;
}

static void free_table(struct table *t)
{
	for (size_t i = 0; i < t->cap; i++)
		fl_object_put(&t->slots[i]);
	free(t->slots);
	free(t);
}

void fl_cache_deinit(struct fl_cache *c)
{
	for (struct fl_map_iter it = {0}; fl_map_next(&c->by_ns, &it);)
		free_table(it.value);
	fl_map_deinit(&c->by_ns);
	c->n = 0;
}

struct fl_object *fl_cache_find(const struct fl_cache *c, const char *ns, const char *name)
{
	const struct table *t = table_of(c, ns);
	return t ? t->slots[find(t, name)] : NULL;
}

struct fl_object *fl_cache_put(struct fl_cache *c, struct fl_object *o)
{
	struct table *t = table_of(c, o->ns);
	if (!t) {
		t = FL_NEW(struct table);
		rehash(t, MIN_CAP);
		fl_map_set(&c->by_ns, o->ns, t);
	}
	size_t i = find(t, o->name);
	struct fl_object *old = t->slots[i];
	t->slots[i] = o;
	if (old)
		return old;
	c->n++;
	if (++t->n * 4 > t->cap * 3)
		rehash(t, t->cap * 2);
	return NULL;
}

static void shift_back(struct table *t, size_t free_at)
{
	size_t mask = t->cap - 1;
	for (size_t i = (free_at + 1) & mask; t->slots[i]; i = (i + 1) & mask) {
		if (((i - home(t, t->slots[i]->name)) & mask) < ((i - free_at) & mask))
			continue; // it would stand before its home
		t->slots[free_at] = t->slots[i];
		t->slots[i] = NULL;
		free_at = i;
	}
}

struct fl_object *fl_cache_take(struct fl_cache *c, const char *ns, const char *name)
{
	struct table *t = table_of(c, ns);
	size_t i = t ? find(t, name) : 0;
	struct fl_object *o = t ? t->slots[i] : NULL;
	if (!o)
		return NULL;
	t->slots[i] = NULL;
	shift_back(t, i);
	c->n--;
	if (!--t->n) {
		fl_map_del(&c->by_ns, ns ? ns : "");
		free_table(t);
	} else if (t->cap > MIN_CAP && t->n * 8 < t->cap) {
		rehash(t, t->cap / 2);
	}
	return o;
}

static bool each(const struct table *t, bool (*visit)(void *arg, const struct fl_object *o), void *arg)
{
	for (size_t i = 0; i < t->cap; i++)
		if (t->slots[i] && !visit(arg, t->slots[i]))
			return false;
	return true;
}

bool fl_cache_each(const struct fl_cache *c, const char *ns, bool (*visit)(void *arg, const struct fl_object *o),
		   void *arg)
{
	if (ns) {
		const struct table *t = table_of(c, ns);
		return !t || each(t, visit, arg);
	}
	for (struct fl_map_iter it = {0}; fl_map_next(&c->by_ns, &it);)
		if (!each(it.value, visit, arg))
			return false;
	return true;
}
