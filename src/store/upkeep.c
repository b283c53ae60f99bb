// SPDX-License-Identifier: Apache-2.0
// What a store does unasked: it deletes objects whose time is over, through the normal path so that watchers see it,
// and lets the engine drop history that nobody may ask for any more. Both in bounded portions.
//
// Ages are measured with the monotonic clock, by samples of the revision taken every few seconds; after a restart the
// whole log counts as new. Expiry goes by a clock that was set to the wall clock when the store was opened and has run
// evenly since. Across a restart the wall clock decides, within bounds, since it may have jumped: backward, objects
// with an expiry stay FL_STORE_MAX_TTL_NS at most; forward beyond them all, the last of them has FL_STORE_REPRIEVE_NS
// left and the others go in their order. No other object is ever touched.
#include <errno.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/str.h"
#include "store/state.h"

#define SWEEP_VISITS  1000 // objects looked at in one turn of the loop
#define SWEEP_DELETES 200  // deletes under way at a time

static void compact_to(struct fl_store *s, uint64_t rv)
{
	if (s->closing || rv <= s->compacted)
		return;
	uint64_t oldest = fl_store_watch_oldest(s);
	if (rv > oldest)
		rv = oldest;
	if (s->revision && rv >= s->revision) // the newest revision stays: it tells the engine how far the log came
		rv = s->revision - 1;
	if (rv <= s->compacted)
		return;
	s->compacted = rv;
	s->ops->compact(s->engine, rv);
}

void fl_store_compact_if_long(struct fl_store *s)
{
	// In portions of a tenth, so that not every commit brings a compaction.
	if (s->revision - s->compacted > s->log_events)
		compact_to(s, s->revision - s->log_events + s->log_events / 10);
}

// At intervals of which the ring holds more than log_keep_ms, however often this is called: else no sample would ever
// be old enough.
static void sample(struct fl_store *s, uint64_t mono_ms)
{
	unsigned newest = (s->at_sample + FL_STORE_SAMPLES - 1) % FL_STORE_SAMPLES;
	if (s->n_samples && mono_ms < s->samples[newest].mono_ms + s->log_keep_ms / (FL_STORE_SAMPLES - 4))
		return;
	s->samples[s->at_sample] = (struct fl_store_sample){.mono_ms = mono_ms, .rv = s->revision};
	s->at_sample = (s->at_sample + 1) % FL_STORE_SAMPLES;
	if (s->n_samples < FL_STORE_SAMPLES)
		s->n_samples++;
}

// The newest sample that is old enough.
static uint64_t revision_before(const struct fl_store *s, uint64_t mono_ms)
{
	uint64_t rv = 0;
	for (unsigned i = 0; i < s->n_samples; i++)
		if (s->samples[i].mono_ms <= mono_ms && s->samples[i].rv > rv)
			rv = s->samples[i].rv;
	return rv;
}

void fl_store_upkeep(struct fl_store *s, uint64_t mono_ms)
{
	if (s->closing)
		return;
	sample(s, mono_ms);
	if (mono_ms >= s->log_keep_ms)
		compact_to(s, revision_before(s, mono_ms - s->log_keep_ms));
	if (!s->sweep.on && mono_ms >= s->sweep.next_ms) {
		s->sweep.on = true;
		s->sweep.kind = 0;
		s->sweep.now_ns = s->epoch_ns + (int64_t)mono_ms * 1000000;
		s->sweep.next_ms = mono_ms + FL_STORE_SWEEP_MS;
		fl_store_kick(s);
	}
}

void fl_store_sweep_end(struct fl_store *s)
{
	s->sweep.on = false;
	fl_object_put(&s->sweep.after);
}

static void on_expired(void *arg, int rc, struct fl_object *obj, const struct fl_err *err)
{
	struct fl_store *s = arg;
	s->sweep.pending--;
	if (rc < 0 && s->sweep.on) { // a full disk, say: one line, and the next sweep tries again
		fl_warn("objects past their time stay until the next sweep: %s", err->text);
		fl_store_sweep_end(s);
	}
	if (s->sweep.on && s->sweep.pending == 0)
		fl_store_kick(s);
}

static void expire(struct fl_store *s, const struct fl_object *o)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct fl_store_write w = {
	    .verb = FL_STORE_DELETE,
	    .resource = o->resource,
	    .ns = o->ns,
	    .name = o->name,
	    .uid = o->uid,
	    .expect_rv = o->rv,
	};
	fl_object_serialize(&b, fl_object_tree(o, &a), &w.rv_at);
	w.value = b.data;
	w.len = b.len;
	// Refused when a write under way changes or deletes it: then it is that writer's.
	if (fl_store_submit(s, &w, on_expired, s, NULL) == 0)
		s->sweep.pending++;
}

// One portion of the kind being swept; false: the kind is done.
static bool sweep_kind(struct fl_store *s, struct fl_store_kind *k)
{
	const struct fl_store_index *ix = &k->committed;
	const struct fl_object *after = s->sweep.after;
	struct fl_store_index_pos pos =
	    fl_store_index_seek(ix, after ? after->ns : "", after ? after->name : "", after != NULL);
	for (int i = 0; i < SWEEP_VISITS; i++) {
		struct fl_object *o = fl_store_index_next(ix, &pos);
		if (!o)
			return false;
		if (o->expires_ns && o->expires_ns <= s->sweep.now_ns)
			expire(s, o);
		fl_object_put(&s->sweep.after);
		s->sweep.after = fl_object_get(o);
		if (s->sweep.pending >= SWEEP_DELETES)
			break;
	}
	return true;
}

bool fl_store_sweep_run(struct fl_store *s)
{
	if (!s->sweep.on || s->sweep.pending)
		return false;
	while (s->sweep.kind < s->kinds.n) {
		struct fl_store_kind *k = s->kinds.v[s->sweep.kind];
		if (k->expiring && sweep_kind(s, k))
			return s->sweep.pending == 0;
		fl_object_put(&s->sweep.after);
		s->sweep.kind++;
	}
	fl_store_sweep_end(s);
	return false;
}
