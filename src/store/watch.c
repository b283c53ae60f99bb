// SPDX-License-Identifier: Apache-2.0
// Watchers. One that starts at the newest revision is live at once; one that starts in the past first gets what it
// missed, from the window in memory or, where that does not reach, from the log in portions, and then becomes live.
//
//   open(from_rv) --- from_rv == newest -----------------------------------> LIVE  <- each commit
//        |                                                                    ^
//        +--> PAST  (queue, a later turn) -- cursor >= window.floor: deliver -+
//              ^  |
//              |  +-- older --> READING  one portion of the log under way
//              +--------------------+
//
// `cursor` is the revision up to which a watcher has everything; it only grows, so that no event comes twice and none
// is left out. Compaction waits for the slowest cursor (fl_store_watch_oldest).
#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "base/bytes.h"
#include "base/str.h"
#include "store/state.h"

#define WATCHES_PER_TURN 32 // given past events in one turn of the loop, so that requests get their turn

enum state { LIVE, PAST, READING };

struct fl_store_watch {
	struct fl_store *s; // NULL: ended, the caller's to close
	struct fl_store_kind *kind;
	struct fl_store_watch *prev, *next; // of the kind
	struct fl_store_watch *queue_next;  // s->past
	struct fl_store_watch *grave_next;  // s->graves
	enum state state;
	bool dead; // closed by the caller; memory goes when nothing refers to it any more
	bool in_grave;
	char *ns;
	uint64_t cursor;
	struct fl_store_watch_opts opts;
	struct fl_engine_replay replay;
};

static void unlink_watch(struct fl_store_watch *w)
{
	if (w->prev)
		w->prev->next = w->next;
	else
		w->kind->watches = w->next;
	if (w->next)
		w->next->prev = w->prev;
	w->s->n_watches--;
	w->s->n_behind -= w->state != LIVE;
	w->s = NULL;
}

static void free_watch(struct fl_store_watch *w)
{
	free(w->ns);
	free(w);
}

// Frees a closed watcher unless a dispatch, the queue or the engine still refers to it; they come back here.
static void release(struct fl_store_watch *w)
{
	if (!w->dead || w->in_grave || w->state != LIVE)
		return;
	if (w->s->dispatching) {
		w->in_grave = true;
		w->grave_next = w->s->graves;
		w->s->graves = w;
		return;
	}
	unlink_watch(w);
	free_watch(w);
}

static void guard_begin(struct fl_store *s)
{
	s->dispatching++;
}

static void guard_end(struct fl_store *s)
{
	if (--s->dispatching)
		return;
	while (s->graves) {
		struct fl_store_watch *w = s->graves;
		s->graves = w->grave_next;
		w->in_grave = false;
		release(w);
	}
}

static void set_state(struct fl_store_watch *w, enum state state)
{
	w->s->n_behind += (state != LIVE) - (w->state != LIVE);
	w->state = state;
}

static void enqueue(struct fl_store_watch *w)
{
	struct fl_store *s = w->s;
	set_state(w, PAST);
	w->queue_next = NULL;
	if (!s->past)
		s->past_tail = &s->past;
	*s->past_tail = w;
	s->past_tail = &w->queue_next;
	fl_store_kick(s);
}

static void drop_frames(struct fl_store_event *e)
{
	for (size_t i = 0; i < FL_COUNT(e->frame); i++)
		fl_bytes_put(&e->frame[i]);
}

static bool in_namespace(const struct fl_store_watch *w, const struct fl_object *o)
{
	return !w->ns || strcmp(w->ns, o->ns) == 0;
}

void fl_store_watch_dispatch(struct fl_store *s, struct fl_store_kind *k, struct fl_store_event *e)
{
	guard_begin(s);
	for (struct fl_store_watch *w = k->watches, *next; w; w = next) {
		if (!w->dead && w->state == LIVE && w->cursor < e->rv && in_namespace(w, e->obj)) {
			w->cursor = e->rv;
			w->opts.on_event(w->opts.arg, e);
		}
		next = w->next; // after the callback: it may have opened one, at the front only
	}
	guard_end(s);
	drop_frames(e);
}

static void deliver_past(struct fl_store_watch *w, enum fl_event_type type, uint64_t rv, struct fl_object *obj,
			 struct fl_object *prev)
{
	struct fl_store_event e = {.type = type, .rv = rv, .obj = obj, .prev = prev};
	w->cursor = rv;
	w->opts.on_event(w->opts.arg, &e);
	drop_frames(&e);
}

static void from_window(struct fl_store_watch *w)
{
	struct fl_store *s = w->s;
	const char *resource = w->kind->resource;
	guard_begin(s);
	for (size_t i = fl_store_window_find(&s->window, w->cursor); i < s->window.n && !w->dead; i++) {
		const struct fl_store_slot *e = fl_store_window_at(&s->window, i);
		if (e->obj->resource == resource && in_namespace(w, e->obj))
			deliver_past(w, e->type, e->rv, e->obj, e->prev);
	}
	w->cursor = s->revision;
	set_state(w, LIVE);
	release(w); // if a callback closed it
	guard_end(s);
}

// The watch is over for a reason of the store's.
static void end(struct fl_store_watch *w, int rc)
{
	unlink_watch(w);
	if (w->dead) {
		free_watch(w);
		return;
	}
	if (w->opts.on_end)
		w->opts.on_end(w->opts.arg, rc);
}

static void drop_events(struct fl_engine_event *events, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		fl_object_put(&events[i].obj);
		fl_object_put(&events[i].prev);
	}
	free(events);
}

static void on_replayed(struct fl_engine_replay *r)
{
	struct fl_store_watch *w = FL_CONTAINER_OF(r, struct fl_store_watch, replay);
	struct fl_store *s = w->s;
	struct fl_engine_event *events = r->events;
	size_t n = r->n;
	set_state(w, LIVE); // no longer the engine's; nothing is dispatched to it before it is queued again
	if (w->dead) {
		release(w);
	} else if (r->rc < 0) {
		if (!s->closing) // then fl_store_watch_end_all tells
			end(w, r->rc);
	} else {
		uint64_t reached = r->reached;
		guard_begin(s);
		for (size_t i = 0; i < n && !w->dead; i++)
			deliver_past(w, events[i].type, events[i].rv, events[i].obj, events[i].prev);
		if (!w->dead) {
			w->cursor = reached;
			enqueue(w);
		}
		guard_end(s);
	}
	drop_events(events, n);
}

static void from_log(struct fl_store_watch *w)
{
	set_state(w, READING);
	w->replay = (struct fl_engine_replay){
	    .resource = w->kind->resource,
	    .ns = w->ns,
	    .from = w->cursor,
	    .to = w->s->window.floor,
	    .done = on_replayed,
	};
	w->s->ops->replay(w->s->engine, &w->replay);
}

bool fl_store_watch_run(struct fl_store *s)
{
	for (int i = 0; i < WATCHES_PER_TURN && s->past; i++) {
		struct fl_store_watch *w = s->past;
		s->past = w->queue_next;
		if (w->dead) {
			set_state(w, LIVE);
			release(w);
		} else if (w->cursor >= s->window.floor) {
			from_window(w);
		} else {
			from_log(w);
		}
	}
	return s->past != NULL;
}

int fl_store_watch_open(struct fl_store *s, const struct fl_store_watch_opts *opts, struct fl_store_watch **ret,
			struct fl_err *err)
{
	if (s->closing)
		return fl_err_set(err, -ESHUTDOWN, "watch %s: the store is closing", opts->resource);
	if (opts->from_rv > s->revision)
		return fl_err_set(err, -EINVAL, "watch %s from revision %" PRIu64 ": the newest is %" PRIu64,
				  opts->resource, opts->from_rv, s->revision);
	if (opts->from_rv < s->compacted)
		return fl_err_set(err, -ESTALE, "watch %s from revision %" PRIu64 ": compacted up to %" PRIu64,
				  opts->resource, opts->from_rv, s->compacted);
	struct fl_store_watch *w = FL_NEW(struct fl_store_watch);
	w->s = s;
	w->kind = fl_store_kind_get(s, opts->resource);
	w->ns = opts->ns ? fl_strdup(opts->ns) : NULL;
	w->opts = *opts;
	w->opts.ns = w->ns;
	w->cursor = opts->from_rv;
	w->next = w->kind->watches;
	if (w->next)
		w->next->prev = w;
	w->kind->watches = w;
	s->n_watches++;
	if (w->cursor < s->revision)
		enqueue(w);
	*ret = w;
	return 0;
}

void fl_store_watch_close(struct fl_store_watch **wp)
{
	struct fl_store_watch *w = TAKE_PTR(*wp);
	if (!w)
		return;
	w->dead = true;
	if (w->s)
		release(w);
	else
		free_watch(w);
}

uint64_t fl_store_watch_reached(const struct fl_store_watch *w)
{
	return w->s && w->state == LIVE && w->cursor < w->s->revision ? w->s->revision : w->cursor;
}

void fl_store_watch_end_all(struct fl_store *s, int rc)
{
	for (size_t i = 0; i < s->kinds.n; i++)
		while (s->kinds.v[i]->watches)
			end(s->kinds.v[i]->watches, rc);
	s->past = NULL;
	assert(s->n_watches == 0 && s->n_behind == 0);
}

uint64_t fl_store_watch_oldest(const struct fl_store *s)
{
	uint64_t oldest = s->revision;
	if (!s->n_behind)
		return oldest;
	for (size_t i = 0; i < s->kinds.n; i++)
		for (const struct fl_store_watch *w = s->kinds.v[i]->watches; w; w = w->next)
			if (w->state != LIVE && w->cursor < oldest)
				oldest = w->cursor;
	return oldest;
}
