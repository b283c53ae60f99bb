// SPDX-License-Identifier: Apache-2.0
#include "client/cache.h"

#include "base/mem.h"
#include "base/str.h"

static struct fl_map *ns_of(const struct fl_cache *c, const char *ns)
{
	return fl_map_get(&c->by_ns, ns ? ns : "");
}

static void free_ns(struct fl_map *names)
{
	for (struct fl_map_iter it = {0}; fl_map_next(names, &it);) {
		struct fl_object *o = it.value;
		fl_object_put(&o);
	}
	fl_map_deinit(names);
	free(names);
}

void fl_cache_deinit(struct fl_cache *c)
{
	for (struct fl_map_iter it = {0}; fl_map_next(&c->by_ns, &it);)
		free_ns(it.value);
	fl_map_deinit(&c->by_ns);
	c->n = 0;
}

struct fl_object *fl_cache_find(const struct fl_cache *c, const char *ns, const char *name)
{
	struct fl_map *names = ns_of(c, ns);
	return names ? fl_map_get(names, name) : NULL;
}

struct fl_object *fl_cache_put(struct fl_cache *c, struct fl_object *o)
{
	struct fl_map *names = ns_of(c, o->ns);
	if (!names) {
		names = FL_NEW(struct fl_map);
		fl_map_set(&c->by_ns, o->ns, names);
	}
	struct fl_object *old = fl_map_set(names, o->name, o);
	if (!old)
		c->n++;
	return old;
}

struct fl_object *fl_cache_take(struct fl_cache *c, const char *ns, const char *name)
{
	struct fl_map *names = ns_of(c, ns);
	struct fl_object *o = names ? fl_map_del(names, name) : NULL;
	if (!o)
		return NULL;
	c->n--;
	if (!names->n) {
		fl_map_del(&c->by_ns, ns ? ns : "");
		free_ns(names);
	}
	return o;
}

static bool each_name(const struct fl_map *names, bool (*visit)(void *arg, const struct fl_object *o), void *arg)
{
	for (struct fl_map_iter it = {0}; fl_map_next(names, &it);)
		if (!visit(arg, it.value))
			return false;
	return true;
}

bool fl_cache_each(const struct fl_cache *c, const char *ns, bool (*visit)(void *arg, const struct fl_object *o),
		   void *arg)
{
	if (ns) {
		struct fl_map *names = ns_of(c, ns);
		return !names || each_name(names, visit, arg);
	}
	for (struct fl_map_iter it = {0}; fl_map_next(&c->by_ns, &it);)
		if (!each_name(it.value, visit, arg))
			return false;
	return true;
}
