// SPDX-License-Identifier: Apache-2.0
// The revision store behind the API server: objects by key, guarded writes, lists at a revision, watches from a
// revision. One monotonic 64-bit revision for all kinds. Nothing is acknowledged before it is durable.
//
//   submit -> guard checked against the newest state ("head", maybe not yet durable) -> revision assigned -> writer
//   thread, group commit -> fsync -> loop thread: committed state, watchers, `done`
//
// Two views of a key: *committed* is what readers and watchers see; *head* includes writes under way and is what a
// read-modify-write starts from, so that writers in a row do not conflict with themselves. When a commit fails, its
// writes and all that were built on them fail together and head falls back to committed. All calls and callbacks on the
// loop's thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "api/object.h"
#include "base/err.h"

struct fl_store;

struct fl_store_opts {
	const char *path;         // directory of the engine's files (SQLite: fairlead.db inside)
	unsigned event_window;    // events kept in memory for watches from the past; 0 = FL_LIST_DEFAULT_EVENTS
	const char *sqlite_vfs;   // NULL: the default; tests put a VFS here that loses what was not synced
	unsigned log_events;      // events that the log keeps at most; 0 = FL_STORE_LOG_EVENTS
	unsigned log_keep_ms;     // and for how long; 0 = FL_STORE_LOG_KEEP_MS
	int64_t (*real_ns)(void); // wall clock; NULL: fl_real_ns. Tests let it jump
};

#define FL_STORE_LOG_EVENTS  100000 // bounds the file; at 5,000 writes/s twenty seconds for a watch to come back
#define FL_STORE_LOG_KEEP_MS (5 * 60 * 1000) // the compaction interval of kube-apiserver
// The longest time to live. Bounds how long an object stays when the wall clock went back before a restart.
#define FL_STORE_MAX_TTL_NS (24 * 3600 * INT64_C(1000000000))
// What the longest-lived object has left at least when the store is opened: the TTL of Events.
#define FL_STORE_REPRIEVE_NS (3600 * INT64_C(1000000000))

// Opens or creates, reads every newest object into memory, starts the writer thread.
// -EBUSY: another process has it open. -EBADMSG: the file is damaged or of an unknown format version; err names it.
FL_WUR int fl_store_open(uv_loop_t *loop, const struct fl_store_opts *opts, struct fl_store **ret, struct fl_err *err);
// Commits what was submitted, calls back, stops the thread, closes. Ends every watch with on_end(-ESHUTDOWN). The files
// are closed on return; let the loop turn once more before uv_loop_close, as for every libuv handle. An idle store does
// not keep uv_run from returning, one with writes or replays under way does. Not from inside a callback of the store.
void fl_store_close(struct fl_store **s);

uint64_t fl_store_revision(const struct fl_store *s);  // newest committed
uint64_t fl_store_compacted(const struct fl_store *s); // oldest revision at which a watch or list can start

enum fl_store_verb { FL_STORE_CREATE, FL_STORE_UPDATE, FL_STORE_DELETE, FL_STORE_VERB_COUNT };

struct fl_store_write {
	enum fl_store_verb verb;
	const char *resource;        // interned
	const char *ns, *name, *uid; // ns "" for cluster-scoped
	uint64_t expect_rv;          // UPDATE, DELETE: head's revision must be this; 0 = any
	const char
	    *value; // serialized by fl_object_serialize; for DELETE the last state, which watchers will see. Copied
	size_t len;
	long rv_at;
	// Real time, 0 = never. What counts is how far ahead it is now, at most FL_STORE_MAX_TTL_NS: the object goes
	// after so much time, however the wall clock is set meanwhile.
	int64_t expires_ns;
};

// rc 0: durable, `obj` is the object with its revision (borrowed). -ENOSPC: disk full. -EIO: not written. err says why.
typedef void (*fl_store_done)(void *arg, int rc, struct fl_object *obj, const struct fl_err *err);

// Refused at once, without `done`: -EEXIST (CREATE, present), -ENOENT (UPDATE, DELETE, absent), -ESTALE (expect_rv
// differs), -E2BIG, -ESHUTDOWN (from inside fl_store_close).
FL_WUR int fl_store_submit(struct fl_store *s, const struct fl_store_write *w, fl_store_done done, void *arg,
			   struct fl_err *err);

// One more reference each; NULL when absent.
struct fl_object *fl_store_get(struct fl_store *s, const char *resource, const char *ns, const char *name);
struct fl_object *fl_store_head(struct fl_store *s, const char *resource, const char *ns, const char *name);

// Visits committed objects in order of (ns, name). ns NULL = all namespaces. `after_*` NULL = from the start, else
// strictly after that key. A visit that returns false stops the walk. The objects are borrowed. A visit may submit.
typedef bool (*fl_store_visit)(void *arg, struct fl_object *obj);
void fl_store_list(struct fl_store *s, const char *resource, const char *ns, const char *after_ns,
		   const char *after_name, fl_store_visit visit, void *arg);
// The same as it was at revision `rv` (continue tokens, resourceVersionMatch=Exact). -ESTALE: compacted. -EINVAL: in
// the future.
FL_WUR int fl_store_list_at(struct fl_store *s, uint64_t rv, const char *resource, const char *ns, const char *after_ns,
			    const char *after_name, fl_store_visit visit, void *arg, struct fl_err *err);
size_t fl_store_count(struct fl_store *s, const char *resource, const char *ns); // committed objects
// The same walk over head: what allocators and admission must see.
void fl_store_list_head(struct fl_store *s, const char *resource, const char *ns, fl_store_visit visit, void *arg);

enum fl_event_type { FL_EVENT_ADDED, FL_EVENT_MODIFIED, FL_EVENT_DELETED, FL_EVENT_TYPE_COUNT };

struct fl_store_event {
	enum fl_event_type type;
	uint64_t rv;
	struct fl_object *obj;  // DELETED: the last state, carrying the revision of the deletion
	struct fl_object *prev; // state before, NULL for ADDED
	struct fl_bytes
	    *frame[2]; // scratch of the watchers: one serialization shared by all of them; freed by the store
};

struct fl_store_watch;
struct fl_store_watch_opts {
	const char *resource, *ns; // ns NULL = all
	uint64_t from_rv;          // events after this revision; must be >= fl_store_compacted()
	void (*on_event)(void *arg, struct fl_store_event *e); // in revision order; may close its own watch
	// The store ended the watch: -ESHUTDOWN, or -EIO when the log could not be read. Not after close. The handle
	// stays the caller's, to be closed here or at any time later.
	void (*on_end)(void *arg, int rc);
	void *arg;
};
// Past events are delivered from a later turn of the loop, before any newer one. -ESTALE: from_rv was compacted (410
// Gone). -EINVAL: in the future.
FL_WUR int fl_store_watch_open(struct fl_store *s, const struct fl_store_watch_opts *opts, struct fl_store_watch **ret,
			       struct fl_err *err);
void fl_store_watch_close(struct fl_store_watch **w); // accepts NULL inside
// The revision up to which this watch has been given every event: what a bookmark may name.
uint64_t fl_store_watch_reached(const struct fl_store_watch *w);

struct fl_store_stats {
	uint64_t writes, commits, failed, objects, log_rows, file_bytes, watchers;
};
void fl_store_get_stats(const struct fl_store *s, struct fl_store_stats *ret);
