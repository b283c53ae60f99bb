// SPDX-License-Identifier: Apache-2.0
// The inside of a store, shared by the files of this folder and by nobody else.
//
//   store.c   open, close, guards, submit, commit -> index, window, watchers, done
//   list.c    walks: committed, head, at a revision
//   watch.c   watchers: live, from the window, from the log
//   upkeep.c  expiry of objects, compaction of the log
#pragma once

#include "base/map.h"
#include "store/engine.h"
#include "store/index.h"
#include "store/window.h"

struct fl_store_kind {
	const char *resource;
	struct fl_store_index committed, head;
	size_t expiring; // committed objects with an expiry
	struct fl_store_watch *watches;
};

struct fl_store_sample {
	uint64_t mono_ms, rv;
};
#define FL_STORE_SAMPLES 24

struct fl_store_handles; // libuv handles; outlive the store until the loop has closed them

struct fl_store {
	const struct fl_store_engine_ops *ops;
	struct fl_engine *engine;
	struct fl_store_handles *handles;
	struct fl_map kind_by_resource;       // key: the interned pointer
	FL_VEC(struct fl_store_kind *) kinds; // the same, in order of appearance
	struct fl_store_window window;
	uint64_t revision, next_rev, compacted;
	bool closing;

	// Watches. While `dispatching`, closed ones stay in their lists, marked.
	unsigned dispatching;
	struct fl_store_watch *graves;            // closed during a dispatch
	struct fl_store_watch *past, **past_tail; // to be given past events, first come first served
	size_t n_watches, n_behind;               // n_behind: not live yet

	int64_t (*real_ns)(void);
	int64_t last_expiry_ns; // of the objects that were there at open; 0: none expires
	int64_t epoch_ns; // wall clock at open less monotonic clock: the store's time does not jump while it is open

	// Upkeep.
	unsigned log_events, log_keep_ms;
	struct fl_store_sample samples[FL_STORE_SAMPLES]; // ring: what the revision was when
	unsigned n_samples, at_sample;
	struct {
		bool on;
		size_t kind;             // kinds before this one are done
		struct fl_object *after; // objects of the kind up to this one are done; NULL: none
		unsigned pending;        // deletes under way
		int64_t now_ns;          // objects that expire before this go
		uint64_t next_ms;        // monotonic time of the next sweep
	} sweep;

	uint64_t writes, failed, objects;
};

struct fl_store_kind *fl_store_kind_get(struct fl_store *s, const char *resource);
const struct fl_store_kind *fl_store_kind_find(const struct fl_store *s, const char *resource); // NULL: none yet
void fl_store_kick(struct fl_store *s); // fl_store_watch_run and fl_store_sweep_run in a later turn of the loop

void fl_store_watch_dispatch(struct fl_store *s, struct fl_store_kind *k, struct fl_store_event *e);
bool fl_store_watch_run(struct fl_store *s);              // delivers past events; true: more to do at once
void fl_store_watch_end_all(struct fl_store *s, int rc);  // on_end for each
uint64_t fl_store_watch_oldest(const struct fl_store *s); // revision that the slowest reader of the log needs

// Called by a timer; tests call it with times of their own. Starts a sweep for expired objects, at most one a minute,
// and decides how far the log may be compacted.
void fl_store_upkeep(struct fl_store *s, uint64_t mono_ms);
bool fl_store_sweep_run(struct fl_store *s);       // next bounded part of the sweep; true: more to do at once
void fl_store_compact_if_long(struct fl_store *s); // after each commit: the bound on events
void fl_store_sweep_end(struct fl_store *s);

#define FL_STORE_UPKEEP_MS (15 * 1000)
#define FL_STORE_SWEEP_MS  (60 * 1000)
