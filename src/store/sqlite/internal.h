// SPDX-License-Identifier: Apache-2.0
// The inside of the SQLite engine.
//
//   engine.c   loop thread: open, queue, results, lists from the log, close
//   writer.c   the writer thread: group commit, checkpoint
//   history.c  its work between commits: replay, compaction, vacuum
//   file.c     lock, creation, format and its migration, connections
//   row.c      a row of the log <-> an object, its checksum
//   walk.c     newest state of each key at a revision; all of a file, checked
//   copy.c     a new file made beside the place where it will be
//   backup.c   backup, restore, repair: store/backup.h
//   salvage.c  what can still be read of a damaged file
//
// Threads: `db` and its statements belong to the writer thread from its start to its end, `reader` to the loop's
// thread; what stands under `mutex` to both.
#pragma once

#include <sqlite3.h>
#include <stdatomic.h>

#include "base/str.h"
#include "store/engine.h"

#define FL_SQLITE_APPLICATION_ID 0x464c4431 // "FLD1"
#define FL_SQLITE_FORMAT         1          // PRAGMA user_version; what it means: README.md

// ---- row.c

struct fl_sqlite_row {
	uint64_t rev, create_rev, prev;
	const char *resource, *ns, *name, *uid; // NUL-terminated
	int64_t expires_ns;
	int64_t live; // objects in the store after this revision
	bool deleted;
	uint64_t sum;
	const char *value;
	size_t len;
};

#define FL_SQLITE_ROW_COLUMNS "rev, resource, ns, name, uid, deleted, create_rev, prev, expires, live, sum, value"

uint64_t fl_sqlite_row_sum(const struct fl_sqlite_row *r);
void fl_sqlite_row_bind(sqlite3_stmt *st, const struct fl_sqlite_row *r); // the columns above as ?1 ...; borrows
// Reads the columns above from a statement that stands on a row; borrowed until its next step. -EBADMSG: the checksum
// differs; err names the row.
FL_WUR int fl_sqlite_row_read(sqlite3_stmt *st, struct fl_sqlite_row *ret, struct fl_err *err);
// The columns that an object has; prev, live, deleted and sum are left 0. Borrows.
struct fl_sqlite_row fl_sqlite_row_of(const struct fl_object *o);
// One reference.
struct fl_object *fl_sqlite_row_object(const struct fl_sqlite_row *r);
const char *fl_sqlite_intern(const char *resource); // "group/plural" or "plural"

// ---- file.c

FL_WUR int fl_sqlite_make_dir(const char *dir, struct fl_err *err);
FL_WUR int fl_sqlite_lock(const char *dir, int *ret_fd, struct fl_err *err);
// The connection that writes: creates the file when there is none, checks its format, migrates an older one.
FL_WUR int fl_sqlite_open_writer(const char *dir, const char *vfs, sqlite3 **ret, struct fl_err *err);
FL_WUR int fl_sqlite_open_reader(const char *dir, const char *vfs, sqlite3 **ret, struct fl_err *err);
// The file of a store that somebody else may have open, or (dir NULL) a file that is no store's. Reads only, and never
// checkpoints. -ENOENT: there is none.
FL_WUR int fl_sqlite_open_source(const char *dir, const char *file, sqlite3 **ret, struct fl_err *err);
FL_WUR int fl_sqlite_create_schema(sqlite3 *db, struct fl_err *err);
// steps[v - 1] makes a file of version v of one of version v - 1, each in a transaction of its own. -EBADMSG: the file
// is of a version above `format`, or of none.
typedef int (*fl_sqlite_step)(sqlite3 *db, struct fl_err *err);
FL_WUR int fl_sqlite_migrate(sqlite3 *db, const fl_sqlite_step *steps, int format, struct fl_err *err);
FL_WUR int fl_sqlite_migrate_known(sqlite3 *db, struct fl_err *err); // to FL_SQLITE_FORMAT
FL_WUR int fl_sqlite_sync_dir(const char *dir, struct fl_err *err);
FL_WUR int fl_sqlite_exec(sqlite3 *db, const char *sql, struct fl_err *err);
FL_WUR int fl_sqlite_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret, struct fl_err *err);
void fl_sqlite_finalize(sqlite3_stmt **st);
void fl_sqlite_close(sqlite3 **db);
// First column of the first row as an integer.
FL_WUR int fl_sqlite_int(sqlite3 *db, const char *sql, int64_t *ret, struct fl_err *err);
// -errno of a result code: -ENOSPC, -EBADMSG (damaged), -EBUSY, -EACCES, -ENOMEM, else -EIO. The text names the file.
int fl_sqlite_error(sqlite3 *db, int rc, const char *what, struct fl_err *err);

// ---- walk.c

// Visits the newest state at `rv` of each key of `resource` (NULL: all) in order of the key; see engine.h list_at.
// *ret_rows: index entries seen.
FL_WUR int fl_sqlite_walk(sqlite3 *db, uint64_t rv, const char *resource, const char *ns, const char *after_ns,
			  const char *after_name, fl_store_visit visit, void *arg, uint64_t *ret_rows,
			  struct fl_err *err);

struct fl_sqlite_found {
	uint64_t newest, compacted; // revisions
	int64_t live;               // objects
	uint64_t rows;
};

// Visits every newest object (visit may be NULL) and checks the file on the way; README.md says for what. -EBADMSG
// names what is wrong, after objects may have been visited.
FL_WUR int fl_sqlite_load(sqlite3 *db, fl_store_visit visit, void *arg, struct fl_sqlite_found *ret,
			  struct fl_err *err);

// ---- copy.c

// A file under way: mode 0600, in `tmp` until it is whole and on the disk, then at `path`, which it replaces.
struct fl_sqlite_copy {
	char *path, *tmp;
	int fd;
	sqlite3 *db; // empty at first
	sqlite3_stmt *insert;
};

FL_WUR int fl_sqlite_copy_begin(const char *path, const char *tmp, struct fl_sqlite_copy *ret, struct fl_err *err);
FL_WUR int fl_sqlite_copy_create(struct fl_sqlite_copy *c, struct fl_err *err); // the schema
FL_WUR int fl_sqlite_copy_row(struct fl_sqlite_copy *c, const struct fl_sqlite_row *r, struct fl_err *err);
// Drops all history and makes `rev` the newest and oldest revision. *ret_objects: how many there are.
FL_WUR int fl_sqlite_copy_seal(struct fl_sqlite_copy *c, uint64_t rev, uint64_t *ret_objects, struct fl_err *err);
FL_WUR int fl_sqlite_copy_end(struct fl_sqlite_copy *c, struct fl_err *err);
void fl_sqlite_copy_deinit(struct fl_sqlite_copy *c); // removes what was not ended

// ---- backup.c

// Ends a replacement of the store's file that was decided and then interrupted. Under the lock.
FL_WUR int fl_sqlite_finish_replace(const char *dir, struct fl_err *err);

// ---- salvage.c

// Whether every page, row and index entry is as it should be. -EBADMSG names the first that is not.
FL_WUR int fl_sqlite_check(sqlite3 *db, struct fl_err *err);
void fl_sqlite_make_printable(char *text); // what a damaged file says may be no text

struct fl_sqlite_salvaged {
	uint64_t newest;        // revision
	uint64_t kept, dropped; // rows
};

// Copies every row that is whole and reports each that is not.
FL_WUR int fl_sqlite_salvage(sqlite3 *db, struct fl_sqlite_copy *to, void (*report)(void *arg, const char *line),
			     void *arg, struct fl_sqlite_salvaged *ret, struct fl_err *err);

struct fl_sqlite_batch;

// ---- engine.c

// Hands a finished batch or replay (either may be NULL) to the loop. From the writer thread.
void fl_sqlite_post(struct fl_engine *e, struct fl_sqlite_batch *b, struct fl_engine_replay *r);

// ---- writer.c

struct fl_sqlite_batch { // writes of one transaction, on their way back to the loop
	struct fl_sqlite_batch *next;
	struct fl_engine_write *list;
	size_t n;
	int rc;
	struct fl_err err; // rc < 0
};

struct fl_sqlite_handles;

struct fl_engine {
	char *dir;
	const char *vfs;
	int lock_fd;
	struct fl_engine_host host;

	// Loop thread.
	struct fl_sqlite_handles *handles;
	struct fl_engine_write *staged, **staged_tail; // written in this turn of the loop
	unsigned n_staged;
	size_t under_way; // writes and replays; the loop stays alive for them
	sqlite3 *reader;  // opened at the first list from the log
	uv_thread_t thread;

	// Under `mutex`.
	uv_mutex_t mutex;
	uv_cond_t wake;
	bool waiting, stop;
	bool failing; // a commit failed and the loop has not yet taken back what was built on it: commit nothing
	struct fl_engine_write *queue, **queue_tail;
	struct fl_engine_replay *replays, **replays_tail;
	struct fl_sqlite_batch *done, **done_tail;
	struct fl_engine_replay *replayed, **replayed_tail;
	uint64_t compact_to;
	bool compact_asked; // since the writer last looked: try again after a failure

	// Writer thread.
	sqlite3 *db;
	sqlite3_stmt *begin, *commit, *rollback, *insert, *range, *get, *compact_scan, *drop, *set_compacted;
	int64_t live;
	uint64_t compacted;
	bool compact_failed;
	bool vacuuming, vacuum_begun; // look whether there is much to give back; found so
	int wal_pages, checkpoint_at;

	_Atomic uint64_t commits, log_rows;
};

FL_WUR int fl_sqlite_writer_prepare(struct fl_engine *e, struct fl_err *err);
void fl_sqlite_writer_run(void *engine); // the thread
void fl_sqlite_writer_finalize(struct fl_engine *e);
int fl_sqlite_run(sqlite3_stmt *st); // a statement that returns no row; SQLITE_OK or its error
void fl_sqlite_roll_back(struct fl_engine *e);

// ---- history.c, all on the writer thread

void fl_sqlite_replay(struct fl_engine *e, struct fl_engine_replay *r); // one portion, and posts it
// One step towards `to`; `written`: writes since the last step, 0: idle.
void fl_sqlite_compact(struct fl_engine *e, uint64_t to, size_t written);
void fl_sqlite_vacuum(struct fl_engine *e); // one step, while e->vacuuming
