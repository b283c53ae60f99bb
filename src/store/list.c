// SPDX-License-Identifier: Apache-2.0
// Walks over objects in order of (ns, name): committed, head, and as they were at an earlier revision.
//
// A list at a revision inside the event window is computed from memory: the first event after that revision tells for
// its key what was there before (its `prev`), every other key is as it is now. Only older ones ask the engine's log.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/str.h"
#include "store/state.h"

// Where a walk starts: behind (after_ns, after_name), and not before the namespace.
static struct fl_store_index_pos start(const struct fl_store_index *ix, const char *ns, const char *after_ns,
				       const char *after_name)
{
	if (after_ns && (!ns || strcmp(after_ns, ns) >= 0))
		return fl_store_index_seek(ix, after_ns, after_name ? after_name : "", true);
	return fl_store_index_seek(ix, ns ? ns : "", "", false);
}

static void walk(const struct fl_store_index *ix, const char *ns, const char *after_ns, const char *after_name,
		 fl_store_visit visit, void *arg)
{
	struct fl_store_index_pos pos = start(ix, ns, after_ns, after_name);
	for (struct fl_object *o; (o = fl_store_index_next(ix, &pos));) {
		if (ns && strcmp(o->ns, ns) != 0)
			return;
		AUTO(fl_object_put) struct fl_object *hold = fl_object_get(o); // a visit may write
		uint64_t version = ix->version;
		if (!visit(arg, hold))
			return;
		if (ix->version != version)
			pos = fl_store_index_seek(ix, hold->ns, hold->name, true);
	}
}

void fl_store_list(struct fl_store *s, const char *resource, const char *ns, const char *after_ns,
		   const char *after_name, fl_store_visit visit, void *arg)
{
	const struct fl_store_kind *k = fl_store_kind_find(s, resource);
	if (k)
		walk(&k->committed, ns, after_ns, after_name, visit, arg);
}

void fl_store_list_head(struct fl_store *s, const char *resource, const char *ns, fl_store_visit visit, void *arg)
{
	const struct fl_store_kind *k = fl_store_kind_find(s, resource);
	if (k)
		walk(&k->head, ns, NULL, NULL, visit, arg);
}

size_t fl_store_count(struct fl_store *s, const char *resource, const char *ns)
{
	const struct fl_store_kind *k = fl_store_kind_find(s, resource);
	if (!k)
		return 0;
	if (!ns)
		return k->committed.n;
	// No name contains the byte 0xff, so this is behind all of the namespace.
	return fl_store_index_rank(&k->committed, fl_store_index_seek(&k->committed, ns, "\xff", false)) -
	       fl_store_index_rank(&k->committed, fl_store_index_seek(&k->committed, ns, "", false));
}

// A key that changed after the revision asked for.
struct change {
	struct fl_object *key, *was; // borrowed from the window; was NULL: absent then
	uint64_t rv;
};

static int change_cmp(const void *a, const void *b)
{
	const struct change *x = a, *y = b;
	int c = fl_store_key_cmp(x->key->ns, x->key->name, y->key->ns, y->key->name);
	return c ? c : (x->rv > y->rv) - (x->rv < y->rv);
}

typedef FL_VEC(struct change) changes;

static void changes_deinit(changes *c)
{
	fl_vec_deinit(c);
}

// Changes after `rv` sorted by key, the earliest of each key only.
static void collect(const struct fl_store *s, uint64_t rv, const char *resource, const char *ns, const char *after_ns,
		    const char *after_name, changes *ret)
{
	for (size_t i = fl_store_window_find(&s->window, rv); i < s->window.n; i++) {
		const struct fl_store_slot *e = fl_store_window_at(&s->window, i);
		if (e->obj->resource != resource || (ns && strcmp(e->obj->ns, ns) != 0))
			continue;
		if (after_ns && fl_store_key_cmp(e->obj->ns, e->obj->name, after_ns, after_name ? after_name : "") <= 0)
			continue;
		fl_vec_push(ret, ((struct change){.key = e->obj, .was = e->prev, .rv = e->rv}));
	}
	if (!ret->n)
		return;
	qsort(ret->v, ret->n, sizeof(ret->v[0]), change_cmp);
	size_t n = 1;
	for (size_t i = 1; i < ret->n; i++) {
		const struct fl_object *last = ret->v[n - 1].key, *key = ret->v[i].key;
		if (fl_store_key_cmp(last->ns, last->name, key->ns, key->name) != 0)
			ret->v[n++] = ret->v[i];
	}
	ret->n = n;
}

// Merges the committed objects with what changed since. The committed index stays as it is meanwhile: commits are
// applied in turns of the loop of their own.
static void walk_at(const struct fl_store_index *ix, const changes *since, const char *ns, const char *after_ns,
		    const char *after_name, fl_store_visit visit, void *arg)
{
	struct fl_store_index_pos pos = start(ix, ns, after_ns, after_name);
	struct fl_object *now = fl_store_index_next(ix, &pos);
	size_t i = 0;
	for (;;) {
		if (now && ns && strcmp(now->ns, ns) != 0)
			now = NULL;
		const struct change *c = i < since->n ? &since->v[i] : NULL;
		if (!now && !c)
			return;
		int order = !now ? 1 : !c ? -1 : fl_store_key_cmp(now->ns, now->name, c->key->ns, c->key->name);
		struct fl_object *o = order < 0 ? now : c->was;
		if (o && !visit(arg, o))
			return;
		if (order <= 0)
			now = fl_store_index_next(ix, &pos);
		if (order >= 0)
			i++;
	}
}

int fl_store_list_at(struct fl_store *s, uint64_t rv, const char *resource, const char *ns, const char *after_ns,
		     const char *after_name, fl_store_visit visit, void *arg, struct fl_err *err)
{
	if (rv > s->revision)
		return fl_err_set(err, -EINVAL, "list %s at revision %" PRIu64 ": the newest is %" PRIu64, resource, rv,
				  s->revision);
	if (rv < s->compacted)
		return fl_err_set(err, -ESTALE, "list %s at revision %" PRIu64 ": compacted up to %" PRIu64, resource,
				  rv, s->compacted);
	if (rv < s->window.floor)
		return s->ops->list_at(s->engine, rv, resource, ns, after_ns, after_name, visit, arg, err);
	const struct fl_store_kind *k = fl_store_kind_find(s, resource);
	if (!k)
		return 0;
	AUTO(changes_deinit) changes since = {0};
	collect(s, rv, resource, ns, after_ns, after_name, &since);
	walk_at(&k->committed, &since, ns, after_ns, after_name, visit, arg);
	return 0;
}
