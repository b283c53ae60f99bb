// SPDX-License-Identifier: Apache-2.0
// The store itself: guards against head, a revision for each write, and what a commit does to the committed state.
// The engine makes durable and remembers; nothing here blocks on it.
#include "store/store.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/limits.h"
#include "store/state.h"

struct pending {
	struct fl_engine_write w; // w.obj is a reference of ours
	struct fl_store_kind *kind;
	fl_store_done done;
	void *arg;
};

struct fl_store_handles {
	uv_idle_t idle;
	uv_timer_t timer;
	unsigned open;
};

static const char *const verb_name[] = {"create", "update", "delete"};
_Static_assert(FL_COUNT(verb_name) == FL_STORE_VERB_COUNT, "one name a verb");

static const enum fl_event_type verb_event[] = {FL_EVENT_ADDED, FL_EVENT_MODIFIED, FL_EVENT_DELETED};
_Static_assert(FL_COUNT(verb_event) == FL_STORE_VERB_COUNT, "one event a verb");

struct fl_store_kind *fl_store_kind_get(struct fl_store *s, const char *resource)
{
	struct fl_store_kind *k = fl_map_get_n(&s->kind_by_resource, &resource, sizeof(resource));
	if (!k) {
		k = FL_NEW(struct fl_store_kind);
		k->resource = resource;
		fl_map_set_n(&s->kind_by_resource, &resource, sizeof(resource), k);
		fl_vec_push(&s->kinds, k);
	}
	return k;
}

const struct fl_store_kind *fl_store_kind_find(const struct fl_store *s, const char *resource)
{
	return fl_map_get_n(&s->kind_by_resource, &resource, sizeof(resource));
}

// The value was made with a proposed revision and the engine has chosen another one.
static struct fl_object *respliced(const struct fl_object *o, long rv_at, uint64_t rev)
{
	char old[24];
	size_t digits = (size_t)snprintf(old, sizeof(old), "%" PRIu64, o->rv);
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_buf_append(&b, o->json, (size_t)rv_at);
	fl_buf_append(&b, o->json + rv_at + digits, o->len - (size_t)rv_at - digits);
	struct fl_object *n = fl_object_new(o->resource, o->ns, o->name, o->uid, b.data, b.len, rv_at, rev);
	n->create_rv = o->create_rv;
	n->expires_ns = o->expires_ns;
	return n;
}

static void take_revision(struct fl_store *s, struct pending *p)
{
	struct fl_store_kind *k = p->kind;
	AUTO(fl_object_put) struct fl_object *proposed = p->w.obj;
	p->w.obj = respliced(proposed, p->w.rv_at, p->w.rev);
	const struct fl_object *before = fl_store_index_get(&k->committed, proposed->ns, proposed->name);
	p->w.obj->create_rv = before ? before->create_rv : p->w.rev;
	if (fl_store_index_get(&k->head, proposed->ns, proposed->name) == proposed) {
		struct fl_object *old = fl_store_index_set(&k->head, p->w.obj);
		fl_object_put(&old);
	}
	if (s->next_rev <= p->w.rev)
		s->next_rev = p->w.rev + 1;
}

static void apply(struct fl_store *s, struct pending *p)
{
	struct fl_store_kind *k = p->kind;
	if (p->w.rev != p->w.obj->rv)
		take_revision(s, p);
	AUTO(fl_object_put) struct fl_object *obj = TAKE_PTR(p->w.obj);
	AUTO(fl_object_put) struct fl_object *prev = NULL;
	if (p->w.verb == FL_STORE_DELETE) {
		prev = fl_store_index_remove(&k->committed, obj->ns, obj->name);
		s->objects--;
	} else {
		prev = fl_store_index_set(&k->committed, obj);
		s->objects += !prev;
		k->expiring += obj->expires_ns != 0;
	}
	k->expiring -= prev && prev->expires_ns != 0;
	s->revision = obj->rv;
	s->writes++;
	struct fl_store_event e = {.type = verb_event[p->w.verb], .rv = obj->rv, .obj = obj, .prev = prev};
	fl_store_window_push(&s->window, e.type, e.rv, e.obj, e.prev);
	fl_store_watch_dispatch(s, k, &e);
	if (p->done)
		p->done(p->arg, 0, obj, NULL);
	free(p);
}

static void on_committed(void *arg, struct fl_engine_write *list)
{
	struct fl_store *s = arg;
	while (list) {
		struct pending *p = FL_CONTAINER_OF(list, struct pending, w);
		list = list->next;
		apply(s, p);
	}
	fl_store_compact_if_long(s);
}

static void on_failed(void *arg, struct fl_engine_write *list, int rc, const struct fl_err *err)
{
	struct fl_store *s = arg;
	// First all heads, then the callbacks: what those submit starts from the committed state.
	for (struct fl_engine_write *w = list; w; w = w->next) {
		struct fl_store_kind *k = FL_CONTAINER_OF(w, struct pending, w)->kind;
		struct fl_object *was = fl_store_index_get(&k->committed, w->obj->ns, w->obj->name);
		struct fl_object *old =
		    was ? fl_store_index_set(&k->head, was) : fl_store_index_remove(&k->head, w->obj->ns, w->obj->name);
		fl_object_put(&old);
	}
	while (list) {
		struct pending *p = FL_CONTAINER_OF(list, struct pending, w);
		list = list->next;
		s->failed++;
		if (p->done)
			p->done(p->arg, rc, NULL, err);
		fl_object_put(&p->w.obj);
		free(p);
	}
}

// In the store's time, which runs evenly.
static int64_t expiry(const struct fl_store *s, int64_t ttl_ns)
{
	return s->epoch_ns + (int64_t)fl_mono_ns() + (ttl_ns < FL_STORE_MAX_TTL_NS ? ttl_ns : FL_STORE_MAX_TTL_NS);
}

int fl_store_submit(struct fl_store *s, const struct fl_store_write *w, fl_store_done done, void *arg,
		    struct fl_err *err)
{
	const char *verb = verb_name[w->verb];
	assert(w->rv_at >= 0 && (size_t)w->rv_at <= w->len);
	if (s->closing)
		return fl_err_set(err, -ESHUTDOWN, "%s %s %s/%s: the store is closing", verb, w->resource, w->ns,
				  w->name);
	// A deletion must stay possible whatever an earlier bound let in.
	if (w->len > FL_MAX_OBJECT_BYTES && w->verb != FL_STORE_DELETE)
		return fl_err_set(err, -E2BIG, "%s %s %s/%s: %zu bytes are more than the %d of an object", verb,
				  w->resource, w->ns, w->name, w->len, FL_MAX_OBJECT_BYTES);
	struct fl_store_kind *k = fl_store_kind_get(s, w->resource);
	const struct fl_object *head = fl_store_index_get(&k->head, w->ns, w->name);
	if (w->verb == FL_STORE_CREATE && head)
		return fl_err_set(err, -EEXIST, "%s %s %s/%s: it exists", verb, w->resource, w->ns, w->name);
	if (w->verb != FL_STORE_CREATE && !head)
		return fl_err_set(err, -ENOENT, "%s %s %s/%s: not found", verb, w->resource, w->ns, w->name);
	if (head && w->expect_rv && w->expect_rv != head->rv)
		return fl_err_set(err, -ESTALE, "%s %s %s/%s: revision is %" PRIu64 ", not %" PRIu64, verb, w->resource,
				  w->ns, w->name, head->rv, w->expect_rv);

	struct pending *p = FL_NEW(struct pending);
	uint64_t rev = s->next_rev++;
	struct fl_object *obj = fl_object_new(w->resource, w->ns, w->name, w->uid, w->value, w->len, w->rv_at, rev);
	obj->create_rv = head ? head->create_rv : rev;
	obj->expires_ns = w->expires_ns ? expiry(s, w->expires_ns - s->real_ns()) : 0;
	*p = (struct pending){
	    .w = {.verb = w->verb, .rev = rev, .prev = head ? head->rv : 0, .rv_at = w->rv_at, .obj = obj},
	    .kind = k,
	    .done = done,
	    .arg = arg,
	};
	struct fl_object *old = w->verb == FL_STORE_DELETE ? fl_store_index_remove(&k->head, w->ns, w->name)
							   : fl_store_index_set(&k->head, obj);
	fl_object_put(&old);
	s->ops->write(s->engine, &p->w);
	return 0;
}

struct fl_object *fl_store_get(struct fl_store *s, const char *resource, const char *ns, const char *name)
{
	const struct fl_store_kind *k = fl_store_kind_find(s, resource);
	return k ? fl_object_get(fl_store_index_get(&k->committed, ns, name)) : NULL;
}

struct fl_object *fl_store_head(struct fl_store *s, const char *resource, const char *ns, const char *name)
{
	const struct fl_store_kind *k = fl_store_kind_find(s, resource);
	return k ? fl_object_get(fl_store_index_get(&k->head, ns, name)) : NULL;
}

uint64_t fl_store_revision(const struct fl_store *s)
{
	return s->revision;
}

uint64_t fl_store_compacted(const struct fl_store *s)
{
	return s->compacted;
}

void fl_store_get_stats(const struct fl_store *s, struct fl_store_stats *ret)
{
	struct fl_store_stats st = {
	    .writes = s->writes, .failed = s->failed, .objects = s->objects, .watchers = s->n_watches};
	s->ops->stats(s->engine, &st);
	*ret = st;
}

static void on_idle(uv_idle_t *h)
{
	struct fl_store *s = h->data;
	bool more = fl_store_watch_run(s);
	more |= fl_store_sweep_run(s);
	if (!more)
		uv_idle_stop(h);
}

void fl_store_kick(struct fl_store *s)
{
	if (!s->closing)
		uv_idle_start(&s->handles->idle, on_idle);
}

static void on_timer(uv_timer_t *h)
{
	fl_store_upkeep(h->data, fl_mono_ms());
}

static void on_handle_closed(uv_handle_t *h)
{
	struct fl_store_handles *hs = h->data;
	if (--hs->open == 0)
		free(hs);
}

static void open_handles(struct fl_store *s, uv_loop_t *loop)
{
	struct fl_store_handles *hs = s->handles = FL_NEW(struct fl_store_handles);
	uv_idle_init(loop, &hs->idle);
	uv_timer_init(loop, &hs->timer);
	hs->idle.data = hs->timer.data = s;
	hs->open = 2;
	uint64_t every = s->log_keep_ms / (FL_STORE_SAMPLES - 4);
	if (every > FL_STORE_UPKEEP_MS)
		every = FL_STORE_UPKEEP_MS;
	uv_timer_start(&hs->timer, on_timer, every ? every : 1, every ? every : 1);
	uv_unref((uv_handle_t *)&hs->timer);
}

static void free_state(struct fl_store *s)
{
	fl_store_window_deinit(&s->window);
	for (size_t i = 0; i < s->kinds.n; i++) {
		fl_store_index_deinit(&s->kinds.v[i]->committed);
		fl_store_index_deinit(&s->kinds.v[i]->head);
		free(s->kinds.v[i]);
	}
	fl_vec_deinit(&s->kinds);
	fl_map_deinit(&s->kind_by_resource);
	free(s);
}

static void on_load(void *arg, struct fl_object *obj)
{
	struct fl_store *s = arg;
	struct fl_store_kind *k = fl_store_kind_get(s, obj->resource);
	int64_t latest = expiry(s, FL_STORE_MAX_TTL_NS);
	if (obj->expires_ns > latest) // the wall clock went back since
		obj->expires_ns = latest;
	if (obj->expires_ns > s->last_expiry_ns)
		s->last_expiry_ns = obj->expires_ns;
	struct fl_object *none = fl_store_index_set(&k->committed, obj);
	assert(!none); // each key once
	none = fl_store_index_set(&k->head, obj);
	assert(!none);
	k->expiring += obj->expires_ns != 0;
	s->objects++;
}

// By the wall clock all that expires has expired: the store was closed for long, or that clock jumped, and nobody can
// tell which. Neither is a reason to forget what was last reported, so the store's time goes on near where it stood.
static void go_on_in_time(struct fl_store *s)
{
	int64_t now = s->epoch_ns + (int64_t)fl_mono_ns();
	if (s->last_expiry_ns && s->last_expiry_ns < now)
		s->epoch_ns -= now - (s->last_expiry_ns - FL_STORE_REPRIEVE_NS);
}

int fl_store_open_engine(uv_loop_t *loop, const struct fl_store_opts *opts, const struct fl_store_engine_ops *ops,
			 struct fl_store **ret, struct fl_err *err)
{
	struct fl_store *s = FL_NEW(struct fl_store);
	s->ops = ops;
	s->log_events = opts->log_events ? opts->log_events : FL_STORE_LOG_EVENTS;
	s->log_keep_ms = opts->log_keep_ms ? opts->log_keep_ms : FL_STORE_LOG_KEEP_MS;
	s->real_ns = opts->real_ns ? opts->real_ns : fl_real_ns;
	s->epoch_ns = s->real_ns() - (int64_t)fl_mono_ns();
	struct fl_engine_host host = {.arg = s, .committed = on_committed, .failed = on_failed};
	struct fl_engine_start start;
	int rc = ops->open(loop, opts, &host, on_load, &s->engine, &start, err);
	if (rc < 0) {
		free_state(s);
		return rc;
	}
	go_on_in_time(s);
	s->revision = start.newest;
	s->next_rev = start.newest + 1;
	s->compacted = start.compacted;
	fl_store_window_init(&s->window, opts->event_window ? opts->event_window : FL_LIST_DEFAULT_EVENTS,
			     start.newest);
	open_handles(s, loop);
	fl_store_upkeep(s, fl_mono_ms());
	*ret = s;
	return 0;
}

int fl_store_open(uv_loop_t *loop, const struct fl_store_opts *opts, struct fl_store **ret, struct fl_err *err)
{
	return fl_store_open_engine(loop, opts, &fl_store_sqlite_ops, ret, err);
}

void fl_store_close(struct fl_store **sp)
{
	struct fl_store *s = *sp;
	if (!s)
		return;
	assert(!s->dispatching);
	s->closing = true;
	s->ops->close(s->engine);
	fl_store_sweep_end(s);
	fl_store_watch_end_all(s, -ESHUTDOWN);
	*sp = NULL; // not before: the callbacks may still ask the store
	struct fl_store_handles *hs = s->handles;
	hs->idle.data = hs->timer.data = hs;
	uv_close((uv_handle_t *)&hs->idle, on_handle_closed);
	uv_close((uv_handle_t *)&hs->timer, on_handle_closed);
	free_state(s);
}
