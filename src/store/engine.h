// SPDX-License-Identifier: Apache-2.0
// What the store asks of an engine: make writes durable in order, remember their history, give both back.
//
//   store (loop thread)                         engine (threads or sockets of its own)
//     write(w1) write(w2) ... ---------------->  queue -> durable, in order
//     committed(w1, w2, ...)  <----------------  in a turn of the loop, never from inside a call
//     failed(all under way)   <----------------  one failure fails everything not yet committed: it was built on it
//
// The store checks guards, keeps the newest objects and recent events in memory and proposes a revision for each write
// (the newest + 1). SQLite takes the proposal. An engine that learns the revision only at commit (etcd) overwrites
// fl_engine_write.rev before `committed`; the store then puts the final one into the value at rv_at. Everything here is
// called on the loop's thread.
#pragma once

#include "store/store.h"

struct fl_engine; // each engine has its own

struct fl_engine_write {
	struct fl_engine_write *next;
	enum fl_store_verb verb;
	uint64_t rev;          // proposed by the store, final at `committed`
	uint64_t prev;         // revision (maybe still a proposed one) of the state it replaces; 0: CREATE
	long rv_at;            // where in obj->json the decimal revision stands
	struct fl_object *obj; // the state with `rev` in it; for DELETE the last state. The store's, until completion
};

// One past event; the references belong to whom it is given.
struct fl_engine_event {
	enum fl_event_type type;
	uint64_t rv;
	struct fl_object *obj, *prev;
};

// Events of one resource (and namespace, unless NULL) in (from, to], in a bounded portion: `done` tells how far it
// came and the store asks again. Owned by the store, untouched by it until `done`.
struct fl_engine_replay {
	struct fl_engine_replay *next;
	const char *resource, *ns;
	uint64_t from, to;
	void (*done)(struct fl_engine_replay *r); // may free r; the store takes the events

	int rc;           // 0, or -errno and no events
	uint64_t reached; // all events up to here are in `events`
	struct fl_engine_event *events;
	size_t n, cap;
};

struct fl_engine_host {
	void *arg;
	void (*committed)(void *arg, struct fl_engine_write *list);
	void (*failed)(void *arg, struct fl_engine_write *list, int rc, const struct fl_err *err);
};

struct fl_engine_start {
	uint64_t newest, compacted; // revisions
};

struct fl_store_engine_ops {
	const char *name;
	// Gives every newest object to `load` in order of (resource, ns, name); it takes a reference if it keeps one.
	// After an error nothing is left open.
	int (*open)(uv_loop_t *loop, const struct fl_store_opts *opts, const struct fl_engine_host *host,
		    void (*load)(void *arg, struct fl_object *obj), struct fl_engine **ret,
		    struct fl_engine_start *ret_start, struct fl_err *err);
	void (*write)(struct fl_engine *e, struct fl_engine_write *w);
	void (*replay)(struct fl_engine *e, struct fl_engine_replay *r);
	// Objects of a resource as they were at `rv`, which is not compacted; may block for the time of the reading.
	int (*list_at)(struct fl_engine *e, uint64_t rv, const char *resource, const char *ns, const char *after_ns,
		       const char *after_name, fl_store_visit visit, void *arg, struct fl_err *err);
	// States superseded at or before `rv` may go; in small steps, without holding up writes.
	void (*compact)(struct fl_engine *e, uint64_t rv);
	void (*stats)(const struct fl_engine *e, struct fl_store_stats *ret); // log_rows, commits, file_bytes
	// Commits what was given, completes every write and replay before it returns. Memory that the loop still
	// refers to goes in a later turn.
	void (*close)(struct fl_engine *e);
};

extern const struct fl_store_engine_ops fl_store_sqlite_ops;

// fl_store_open with an engine of choice: tests bring one whose commits they hold and fail.
FL_WUR int fl_store_open_engine(uv_loop_t *loop, const struct fl_store_opts *opts,
				const struct fl_store_engine_ops *ops, struct fl_store **ret, struct fl_err *err);
