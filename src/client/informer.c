// SPDX-License-Identifier: Apache-2.0
// The cache and what is told of it. Three writers feed it - pages of a list, events of the watch, answers to our own
// writes - and revisions decide between them: the watch delivers in their order, so an answer with a revision behind
// the watch's last one is old news, and an event behind the cached object's is one that an answer has brought already.
#include "client/informer.h"

#include <malloc.h>

#include "base/mem.h"
#include "client/informer_internal.h"

#define TRIM_OBJECTS 500 // a list of more leaves holes in the heap that are worth giving back

static void tell(struct fl_informer *i, const struct fl_object *old, const struct fl_object *new_obj)
{
	if (!i->opts.on_change || i->stopped)
		return;
	i->depth++;
	i->opts.on_change(i->opts.arg, old, new_obj);
	i->depth--;
}

static bool same_uid(const struct fl_object *a, const struct fl_object *b)
{
	return strcmp(a->uid, b->uid) == 0;
}

// Tells of the step from `old` to `o` and drops `old`. An object that was deleted and created again under its name is
// two changes.
static void tell_step(struct fl_informer *i, struct fl_object *old, struct fl_object *o)
{
	AUTO(fl_object_put) struct fl_object *was = old, *now = fl_object_get(o); // a callback may replace it again
	if (was && !same_uid(was, now)) {
		tell(i, was, NULL);
		tell(i, NULL, now);
	} else {
		tell(i, was, now);
	}
}

// --- where the user keeps what is needed ---

static void tell_kept(struct fl_informer *i, const char *ns, const char *name, uint64_t rv, struct fl_object *now)
{
	struct fl_object was = {
	    .refs = 1, .len = 2, .rv = rv, .resource = i->resource, .ns = ns, .name = name, .uid = "", .json = "{}"};
	tell(i, rv ? &was : NULL, now);
}

static uint64_t kept_rv(const struct fl_informer *i, const struct fl_object *o)
{
	return i->opts.keeper->rv(i->opts.arg, o->ns, o->name);
}

static void apply_kept(struct fl_informer *i, struct fl_object *o)
{
	uint64_t rv = kept_rv(i, o);
	if (rv < o->rv)
		tell_kept(i, o->ns, o->name, rv, o);
}

static void apply_kept_deleted(struct fl_informer *i, const struct fl_object *o)
{
	uint64_t rv = kept_rv(i, o);
	if (rv && rv <= o->rv) // else it was made again since
		tell_kept(i, o->ns, o->name, rv, NULL);
}

struct missing {
	struct fl_map listed; // "namespace/name"
	struct fl_arena a;
	FL_VEC(struct fl_object) gone; // of which these stand: ns, name, rv
};

static const char *key_of(struct fl_buf *b, const char *ns, const char *name)
{
	b->len = 0;
	fl_buf_puts(b, ns);
	fl_buf_putc(b, '/');
	fl_buf_puts(b, name);
	return b->data;
}

static void note_missing(void *arg, const char *ns, const char *name, uint64_t rv)
{
	struct missing *m = arg;
	AUTO(fl_buf_deinit) struct fl_buf key = {0};
	if (fl_map_get(&m->listed, key_of(&key, ns, name)))
		return;
	struct fl_object o = {.ns = fl_arena_strdup(&m->a, ns), .name = fl_arena_strdup(&m->a, name), .rv = rv};
	fl_vec_push(&m->gone, o);
}

static void tell_gone(struct fl_informer *i, const fl_object_vec *listed)
{
	AUTO(fl_buf_deinit) struct fl_buf key = {0};
	struct missing m = {0};
	for (size_t n = 0; n < listed->n; n++)
		fl_map_set(&m.listed, key_of(&key, listed->v[n]->ns, listed->v[n]->name), i);
	i->opts.keeper->each(i->opts.arg, note_missing, &m);
	for (size_t n = 0; n < m.gone.n; n++)
		tell_kept(i, m.gone.v[n].ns, m.gone.v[n].name, m.gone.v[n].rv, NULL);
	fl_vec_deinit(&m.gone);
	fl_arena_deinit(&m.a);
	fl_map_deinit(&m.listed);
}

static void retell_kept(struct fl_informer *i, const fl_object_vec *listed, bool retell)
{
	tell_gone(i, listed);
	for (size_t n = 0; n < listed->n; n++) {
		struct fl_object *o = listed->v[n];
		uint64_t rv = kept_rv(i, o);
		if (rv != o->rv || retell)
			tell_kept(i, o->ns, o->name, rv, o);
	}
}

// --- the cache ---

void fl_informer_apply(struct fl_informer *i, struct fl_object *given)
{
	AUTO(fl_object_put) struct fl_object *o = given;
	if (i->opts.keeper) {
		apply_kept(i, o);
		return;
	}
	struct fl_object *old = fl_cache_find(&i->cache, o->ns, o->name);
	if (old && old->rv >= o->rv)
		return;
	if (fl_map_get(&i->removed, o->uid))
		return;
	old = fl_cache_put(&i->cache, fl_object_get(o));
	tell_step(i, old, o);
}

void fl_informer_apply_deleted(struct fl_informer *i, struct fl_object *given)
{
	AUTO(fl_object_put) struct fl_object *o = given;
	if (i->opts.keeper) {
		apply_kept_deleted(i, o);
		return;
	}
	fl_map_del(&i->removed, o->uid);
	const struct fl_object *cached = fl_cache_find(&i->cache, o->ns, o->name);
	if (!cached || (!same_uid(cached, o) && cached->rv > o->rv))
		return;
	AUTO(fl_object_put) struct fl_object *old = fl_cache_take(&i->cache, o->ns, o->name);
	tell(i, old, NULL);
}

static void put_all(fl_object_vec *v)
{
	for (size_t n = 0; n < v->n; n++)
		fl_object_put(&v->v[n]);
	fl_vec_deinit(v);
}

// An answer with a revision that the watch has passed is in the cache or overtaken.
static void apply_answer(struct fl_informer *i, struct fl_object *o)
{
	if (o->rv <= i->rv) {
		fl_object_put(&o);
		return;
	}
	if (o->rv > i->wrote_rv)
		i->wrote_rv = o->rv;
	fl_informer_apply(i, o);
}

struct leaving {
	const struct fl_cache *now;
	fl_object_vec gone;
};

static bool collect_gone(void *arg, const struct fl_object *o)
{
	struct leaving *l = arg;
	const struct fl_object *now = fl_cache_find(l->now, o->ns, o->name);
	if (!now || !same_uid(now, o))
		fl_vec_push(&l->gone, fl_object_get((struct fl_object *)(uintptr_t)o));
	return true;
}

// Of the uids that an answer removed, those that the list still had will get their DELETED event; the rest is done.
static void keep_removed(struct fl_informer *i, const fl_object_vec *listed)
{
	struct fl_map kept = {0};
	for (size_t n = 0; n < listed->n; n++)
		if (fl_map_get(&i->removed, listed->v[n]->uid))
			fl_map_set(&kept, listed->v[n]->uid, i);
	fl_map_deinit(&i->removed);
	i->removed = kept;
}

static void replace_cached(struct fl_informer *i, const fl_object_vec *listed, bool retell)
{
	AUTO(fl_cache_deinit) struct fl_cache before = i->cache;
	i->cache = (struct fl_cache){0};
	keep_removed(i, listed);
	for (size_t n = 0; n < listed->n; n++) {
		if (fl_map_get(&i->removed, listed->v[n]->uid))
			continue;
		struct fl_object *twice = fl_cache_put(&i->cache, fl_object_get(listed->v[n]));
		fl_object_put(&twice);
	}
	struct leaving l = {.now = &i->cache};
	fl_cache_each(&before, NULL, collect_gone, &l);
	for (size_t n = 0; n < l.gone.n; n++)
		tell(i, l.gone.v[n], NULL);
	put_all(&l.gone);
	for (size_t n = 0; n < listed->n; n++) {
		const struct fl_object *o = listed->v[n], *old = fl_cache_find(&before, o->ns, o->name);
		if (fl_map_get(&i->removed, o->uid))
			continue;
		if (!old || !same_uid(old, o))
			tell(i, NULL, o);
		else if (old->rv != o->rv || retell)
			tell(i, old, o);
	}
}

void fl_informer_replace(struct fl_informer *i)
{
	fl_object_vec listed = i->listed, wrote = i->wrote;
	bool retell = i->retell;
	size_t n_listed = listed.n;
	i->retell = false;
	i->listed = (fl_object_vec){0};
	i->wrote = (fl_object_vec){0};
	i->rv = i->list_rv;
	if (i->opts.keeper)
		retell_kept(i, &listed, retell);
	else
		replace_cached(i, &listed, retell);
	put_all(&listed);
	for (size_t n = 0; n < wrote.n; n++)
		apply_answer(i, fl_object_get(wrote.v[n]));
	put_all(&wrote);
	if (!i->synced) {
		i->synced = true;
		if (i->opts.on_synced && !i->stopped) {
			i->depth++;
			i->opts.on_synced(i->opts.arg);
			i->depth--;
		}
	}
	if (n_listed >= TRIM_OBJECTS)
		malloc_trim(0);
}

void fl_informer_retell(struct fl_informer *i)
{
	i->retell = true;
	fl_reflector_relist(i);
}

int fl_informer_pack(const struct fl_informer *i, const struct fl_json *tree, const char *kind, const char *api_version,
		     struct fl_object **ret, struct fl_err *err)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	return fl_object_pack(i->resource, i->opts.reduce ? i->opts.reduce(&a, tree) : tree, kind, api_version, ret,
			      err);
}

const struct fl_json *fl_informer_tree(const struct fl_informer *i, const struct fl_object *o)
{
	return o && o == i->fresh ? i->fresh_tree : NULL;
}

static bool is_partial(const struct fl_informer *i)
{
	return i->opts.label_selector || i->opts.field_selector;
}

bool fl_informer_passed(const struct fl_informer *i, uint64_t rv)
{
	return is_partial(i) || (rv <= i->rv && !i->listing);
}

void fl_informer_wrote(struct fl_informer *i, const struct fl_json *answer)
{
	struct fl_object *o = NULL;
	if (is_partial(i) || !fl_json_is(answer, FL_JSON_OBJECT))
		return;
	if (fl_informer_pack(i, answer, NULL, NULL, &o, NULL) < 0)
		return; // a Status, for example
	if (i->listing)
		fl_vec_push(&i->wrote, fl_object_get(o));
	apply_answer(i, o);
}

void fl_informer_removed(struct fl_informer *i, const char *ns, const char *name, const char *uid)
{
	const struct fl_object *cached = fl_cache_find(&i->cache, ns, name);
	if (!cached || strcmp(cached->uid, uid) != 0)
		return; // the watch was faster
	fl_map_set(&i->removed, uid, i);
	AUTO(fl_object_put) struct fl_object *old = fl_cache_take(&i->cache, ns, name);
	tell(i, old, NULL);
}

static void on_close(uv_handle_t *h)
{
	struct fl_informer *i = h->data;
	fl_cache_deinit(&i->cache);
	fl_map_deinit(&i->removed);
	put_all(&i->listed);
	put_all(&i->wrote);
	fl_buf_deinit(&i->text);
	fl_arena_deinit(&i->scratch);
	free(i->page);
	free((void *)(uintptr_t)i->opts.ns);
	free((void *)(uintptr_t)i->opts.label_selector);
	free((void *)(uintptr_t)i->opts.field_selector);
	free(i);
}

// From a turn of the loop of its own: the stop may have come from a callback, below which stands the HTTP client.
static void on_stop(uv_timer_t *t)
{
	fl_reflector_stop(t->data);
	uv_close((uv_handle_t *)t, on_close);
}

static char *dup_or_null(const char *s)
{
	return s ? fl_strdup(s) : NULL;
}

int fl_informer_start(struct fl_client *c, const struct fl_informer_opts *opts, struct fl_informer **ret,
		      struct fl_err *err)
{
	struct fl_informer *i = FL_NEW(struct fl_informer);
	i->c = c;
	i->opts = *opts;
	i->opts.ns = dup_or_null(opts->ns);
	i->opts.label_selector = dup_or_null(opts->label_selector);
	i->opts.field_selector = dup_or_null(opts->field_selector);
	i->resource = fl_resource_intern(opts->gvr->group, opts->gvr->plural);
	i->timer.data = i;
	uv_timer_init(fl_client_loop(c), &i->timer);
	fl_reflector_start(i);
	*ret = i;
	return 0;
}

void fl_informer_stop(struct fl_informer **ip)
{
	struct fl_informer *i = TAKE_PTR(*ip);
	if (!i)
		return;
	i->stopped = true;
	if (i->depth)
		uv_timer_start(&i->timer, on_stop, 0, 0);
	else
		on_stop(&i->timer);
}

bool fl_informer_synced(const struct fl_informer *i)
{
	return i->synced;
}

const struct fl_object *fl_informer_find(const struct fl_informer *i, const char *ns, const char *name)
{
	return fl_cache_find(&i->cache, ns, name);
}

size_t fl_informer_count(const struct fl_informer *i)
{
	return i->cache.n;
}

void fl_informer_each(const struct fl_informer *i, const char *ns, bool (*visit)(void *arg, const struct fl_object *o),
		      void *arg)
{
	fl_cache_each(&i->cache, ns, visit, arg);
}
