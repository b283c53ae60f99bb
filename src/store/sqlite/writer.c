// SPDX-License-Identifier: Apache-2.0
// The writer thread. Whatever is queued when it becomes free is one transaction and one sync: no timer, so a single
// write goes at once, and the more there are the more share a sync.
//
//   queue --take--> BEGIN, INSERT ..., COMMIT (sync) --> done list, uv_async_send
//                   between two commits at most: one portion of a replay, one of compaction or vacuum, one checkpoint
//
// A commit that fails is rolled back and reported; until the loop has taken back everything that was built on it
// (`failing`), nothing is committed.
//
// The write-ahead log grows to CHECKPOINT_PAGES, is copied into the database and then written over from its start: its
// blocks stay allocated, so a sync has no file size to update.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/sqlite/internal.h"

#define BATCH_WRITES     512               // writes of one transaction,
#define BATCH_BYTES      (8 * 1024 * 1024) // and their values: bounds the time that the first of them waits
#define REPLAY_ROWS      1000              // rows read for one portion of a replay; more than a transaction adds
#define REPLAY_BYTES     (4 * 1024 * 1024) // and their values
#define COMPACT_LEAST    64                // rows looked at in one step of compaction,
#define COMPACT_MOST     512               // or twice as many as were written meanwhile: it keeps up with any load
#define CHECKPOINT_PAGES 1000              // 8 MiB of log: some milliseconds
#define VACUUM_PAGES     128               // pages moved in one step
#define VACUUM_LEAST     512               // free pages (4 MiB) below which the file is not worth shrinking

static int on_wal(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct fl_engine *e = arg;
	if (pages < e->wal_pages) // it was started over
		e->checkpoint_at = CHECKPOINT_PAGES;
	e->wal_pages = pages;
	return SQLITE_OK;
}

int fl_sqlite_writer_prepare(struct fl_engine *e, struct fl_err *err)
{
	const struct {
		sqlite3_stmt **st;
		const char *sql;
	} all[] = {
	    {&e->begin, "BEGIN IMMEDIATE"},
	    {&e->commit, "COMMIT"},
	    {&e->rollback, "ROLLBACK"},
	    {&e->insert, "INSERT INTO log (" FL_SQLITE_ROW_COLUMNS ") VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)"},
	    {&e->range, "SELECT " FL_SQLITE_ROW_COLUMNS " FROM log WHERE rev > ?1 AND rev <= ?2 ORDER BY rev"},
	    {&e->get, "SELECT " FL_SQLITE_ROW_COLUMNS " FROM log WHERE rev = ?1"},
	    {&e->compact_scan, "SELECT rev, prev, deleted FROM log WHERE rev > ?1 AND rev <= ?2 ORDER BY rev LIMIT ?3"},
	    {&e->drop, "DELETE FROM log WHERE rev = ?1"},
	    {&e->set_compacted, "UPDATE meta SET value = ?1 WHERE key = 'compacted'"},
	};
	for (size_t i = 0; i < FL_COUNT(all); i++) {
		int rc = fl_sqlite_prepare(e->db, all[i].sql, all[i].st, err);
		if (rc < 0)
			return rc;
	}
	e->checkpoint_at = CHECKPOINT_PAGES;
	sqlite3_wal_hook(e->db, on_wal, e);
	return 0;
}

void fl_sqlite_writer_finalize(struct fl_engine *e)
{
	sqlite3_stmt **all[] = {&e->begin, &e->commit,       &e->rollback, &e->insert,       &e->range,
				&e->get,   &e->compact_scan, &e->drop,     &e->set_compacted};
	for (size_t i = 0; i < FL_COUNT(all); i++)
		fl_sqlite_finalize(all[i]);
}

// Runs a statement that returns no row.
static int run(sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);
	int again = sqlite3_reset(st);
	return rc == SQLITE_DONE ? SQLITE_OK : again != SQLITE_OK ? again : rc;
}

static void roll_back(struct fl_engine *e)
{
	if (!sqlite3_get_autocommit(e->db))
		run(e->rollback);
}

static int insert(struct fl_engine *e, const struct fl_engine_write *w, int64_t live)
{
	const struct fl_object *o = w->obj;
	struct fl_sqlite_row r = {
	    .rev = w->rev,
	    .create_rev = o->create_rv,
	    .prev = w->prev,
	    .resource = o->resource,
	    .ns = o->ns,
	    .name = o->name,
	    .uid = o->uid,
	    .expires_ns = o->expires_ns,
	    .live = live,
	    .deleted = w->verb == FL_STORE_DELETE,
	    .value = o->json,
	    .len = o->len,
	};
	r.sum = fl_sqlite_row_sum(&r);
	fl_sqlite_row_bind(e->insert, &r);
	return run(e->insert);
}

static int commit_list(struct fl_engine *e, struct fl_engine_write *list)
{
	int64_t live = e->live;
	int rc = run(e->begin);
	for (struct fl_engine_write *w = list; w && rc == SQLITE_OK; w = w->next) {
		live += (w->verb == FL_STORE_CREATE) - (w->verb == FL_STORE_DELETE);
		rc = insert(e, w, live);
	}
	if (rc == SQLITE_OK)
		rc = run(e->commit);
	if (rc == SQLITE_OK)
		e->live = live;
	return rc;
}

static void commit(struct fl_engine *e, struct fl_engine_write *list, size_t n)
{
	struct fl_sqlite_batch *b = fl_malloc(sizeof(*b));
	*b = (struct fl_sqlite_batch){.list = list, .n = n};
	int rc = commit_list(e, list);
	if (rc == SQLITE_OK) {
		atomic_fetch_add(&e->commits, 1);
		atomic_fetch_add(&e->log_rows, n);
	} else {
		char what[400];
		snprintf(what, sizeof(what), "write revision %" PRIu64 " (%s %s/%s)", list->rev, list->obj->resource,
			 list->obj->ns, list->obj->name);
		b->rc = fl_sqlite_error(e->db, rc, what, &b->err);
		if (b->rc != -ENOSPC)
			b->rc = b->err.code = -EIO;
		roll_back(e);
	}
	fl_sqlite_post(e, b, NULL);
}

// ---- replay

static int load(struct fl_engine *e, uint64_t rev, struct fl_object **ret, struct fl_err *err)
{
	sqlite3_bind_int64(e->get, 1, (sqlite3_int64)rev);
	int rc = sqlite3_step(e->get);
	if (rc == SQLITE_ROW) {
		struct fl_sqlite_row row;
		rc = fl_sqlite_row_read(e->get, &row, err);
		if (rc == 0)
			*ret = fl_sqlite_row_object(&row);
	} else if (rc == SQLITE_DONE) {
		rc = fl_err_set(err, -EBADMSG, "the row of revision %" PRIu64 " is missing", rev);
	} else {
		rc = fl_sqlite_error(e->db, rc, "read", err);
	}
	sqlite3_reset(e->get);
	return rc;
}

static int replay_row(struct fl_engine *e, struct fl_engine_replay *r, size_t *bytes, struct fl_err *err)
{
	struct fl_sqlite_row row;
	int rc = fl_sqlite_row_read(e->range, &row, err);
	if (rc < 0)
		return rc;
	AUTO(fl_object_put) struct fl_object *prev = NULL;
	if (row.prev) {
		rc = load(e, row.prev, &prev, err);
		if (rc < 0)
			return rc;
	}
	if (r->n == r->cap) {
		r->cap = r->cap ? 2 * r->cap : 64;
		r->events = fl_realloc(r->events, r->cap * sizeof(r->events[0]));
	}
	*bytes += row.len + (prev ? prev->len : 0);
	r->events[r->n++] = (struct fl_engine_event){
	    .type = row.deleted ? FL_EVENT_DELETED
		    : row.prev  ? FL_EVENT_MODIFIED
				: FL_EVENT_ADDED,
	    .rv = row.rev,
	    .obj = fl_sqlite_row_object(&row),
	    .prev = TAKE_PTR(prev),
	};
	return 0;
}

static bool wanted(sqlite3_stmt *st, const struct fl_engine_replay *r)
{
	return strcmp((const char *)sqlite3_column_text(st, 1), r->resource) == 0 &&
	       (!r->ns || strcmp((const char *)sqlite3_column_text(st, 2), r->ns) == 0);
}

static int replay_rows(struct fl_engine *e, struct fl_engine_replay *r, struct fl_err *err)
{
	size_t rows = 0, bytes = 0;
	uint64_t seen = r->from;
	sqlite3_bind_int64(e->range, 1, (sqlite3_int64)r->from);
	sqlite3_bind_int64(e->range, 2, (sqlite3_int64)r->to);
	for (;;) {
		if (rows++ == REPLAY_ROWS || bytes > REPLAY_BYTES)
			break;
		int rc = sqlite3_step(e->range);
		if (rc == SQLITE_DONE) {
			seen = r->to;
			break;
		}
		if (rc != SQLITE_ROW)
			return fl_sqlite_error(e->db, rc, "read", err);
		if (wanted(e->range, r)) {
			rc = replay_row(e, r, &bytes, err);
			if (rc < 0)
				return rc;
		}
		seen = (uint64_t)sqlite3_column_int64(e->range, 0);
	}
	r->reached = seen;
	return 0;
}

static void replay(struct fl_engine *e, struct fl_engine_replay *r)
{
	struct fl_err err = {0};
	int rc = replay_rows(e, r, &err);
	sqlite3_reset(e->range);
	if (rc < 0) {
		// The watcher learns that its watch is over, not why.
		fl_error("history cannot be read from=%" PRIu64 " to=%" PRIu64 ": %s", r->from, r->to, err.text);
		for (size_t i = 0; i < r->n; i++) {
			fl_object_put(&r->events[i].obj);
			fl_object_put(&r->events[i].prev);
		}
		r->n = 0;
		r->rc = -EIO;
	}
	fl_sqlite_post(e, NULL, r);
}

// ---- compaction

struct victim {
	sqlite3_int64 rev, prev;
	bool deleted;
};

// A state is superseded by the row that names it as `prev`; a deletion is its own end.
static int drop_rows(struct fl_engine *e, const struct victim *v, size_t n, uint64_t upto, uint64_t *ret_dropped)
{
	int rc = run(e->begin);
	uint64_t dropped = 0;
	for (size_t i = 0; i < n && rc == SQLITE_OK; i++) {
		sqlite3_int64 revs[] = {v[i].prev, v[i].deleted ? v[i].rev : 0};
		for (size_t j = 0; j < FL_COUNT(revs) && rc == SQLITE_OK; j++) {
			if (!revs[j])
				continue;
			sqlite3_bind_int64(e->drop, 1, revs[j]);
			rc = run(e->drop);
			dropped += (uint64_t)sqlite3_changes(e->db);
		}
	}
	if (rc == SQLITE_OK) {
		sqlite3_bind_int64(e->set_compacted, 1, (sqlite3_int64)upto);
		rc = run(e->set_compacted);
	}
	if (rc == SQLITE_OK)
		rc = run(e->commit);
	if (rc == SQLITE_OK)
		*ret_dropped = dropped;
	return rc;
}

static int compact_step(struct fl_engine *e, uint64_t to, size_t rows)
{
	struct victim v[COMPACT_MOST];
	size_t n = 0;
	sqlite3_stmt *st = e->compact_scan;
	sqlite3_bind_int64(st, 1, (sqlite3_int64)e->compacted);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)to);
	sqlite3_bind_int(st, 3, (int)rows);
	int rc;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW && n < rows)
		v[n++] = (struct victim){
		    .rev = sqlite3_column_int64(st, 0),
		    .prev = sqlite3_column_int64(st, 1),
		    .deleted = sqlite3_column_int(st, 2) != 0,
		};
	sqlite3_reset(st);
	if (rc != SQLITE_DONE)
		return rc;
	uint64_t upto = n == rows ? (uint64_t)v[n - 1].rev : to, dropped;
	rc = drop_rows(e, v, n, upto, &dropped);
	if (rc != SQLITE_OK)
		return rc;
	atomic_fetch_sub(&e->log_rows, dropped);
	e->compacted = upto;
	return SQLITE_OK;
}

static void compact(struct fl_engine *e, uint64_t to, size_t written)
{
	size_t rows = 2 * written;
	if (rows < COMPACT_LEAST)
		rows = COMPACT_LEAST;
	if (rows > COMPACT_MOST)
		rows = COMPACT_MOST;
	int rc = compact_step(e, to, rows);
	if (rc == SQLITE_OK) {
		e->compact_failed = false;
		e->vacuuming = e->compacted == to;
		return;
	}
	struct fl_err err = {0};
	fl_sqlite_error(e->db, rc, "compact", &err);
	roll_back(e);
	if (!e->compact_failed) // once until it works again
		fl_warn("history is not compacted for now: %s", err.text);
	e->compact_failed = true;
}

// Gives pages back to the file system when more than a quarter of the file is free, until an eighth is.
static void vacuum(struct fl_engine *e)
{
	int64_t free_pages, pages;
	struct fl_err err;
	if (fl_sqlite_int(e->db, "PRAGMA freelist_count", &free_pages, &err) < 0 ||
	    fl_sqlite_int(e->db, "PRAGMA page_count", &pages, &err) < 0 || free_pages < VACUUM_LEAST ||
	    free_pages < pages / (e->vacuum_begun ? 8 : 4)) {
		e->vacuuming = e->vacuum_begun = false;
		return;
	}
	e->vacuum_begun = true;
	char sql[64];
	snprintf(sql, sizeof(sql), "PRAGMA incremental_vacuum(%d)", VACUUM_PAGES);
	if (fl_sqlite_exec(e->db, sql, &err) < 0) {
		roll_back(e);
		e->vacuuming = e->vacuum_begun = false; // the next compaction tries again
	}
}

// Copies as much of the log as no reader still needs. The next commit starts it over, unless a reader is in it or the
// disk is full: then it grows, and is tried again so many pages later.
static void checkpoint(struct fl_engine *e)
{
	sqlite3_wal_checkpoint_v2(e->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	e->checkpoint_at = e->wal_pages + CHECKPOINT_PAGES;
}

// ---- the thread

struct work {
	struct fl_engine_write *list;
	size_t n;
	struct fl_engine_replay *replay;
	uint64_t compact_to; // 0: none
	bool stop;
};

static void take_writes(struct fl_engine *e, struct work *w)
{
	size_t bytes = 0;
	struct fl_engine_write **end = &e->queue;
	while (*end && w->n < BATCH_WRITES && bytes < BATCH_BYTES) {
		bytes += (*end)->obj->len;
		w->n++;
		end = &(*end)->next;
	}
	w->list = e->queue;
	e->queue = *end;
	*end = NULL;
	if (!e->queue)
		e->queue_tail = &e->queue;
}

// Under the mutex; false: nothing to do.
static bool take(struct fl_engine *e, struct work *w)
{
	*w = (struct work){.stop = e->stop};
	if (e->queue && !e->failing)
		take_writes(e, w);
	if (e->replays) {
		w->replay = e->replays;
		e->replays = w->replay->next;
		if (!e->replays)
			e->replays_tail = &e->replays;
	}
	if (e->compact_to > e->compacted && (!e->compact_failed || e->compact_asked))
		w->compact_to = e->compact_to;
	e->compact_asked = false;
	return w->list || w->replay || w->compact_to || w->stop || e->vacuuming || e->wal_pages >= e->checkpoint_at;
}

void fl_sqlite_writer_run(void *engine)
{
	struct fl_engine *e = engine;
	struct work w;
	for (;;) {
		uv_mutex_lock(&e->mutex);
		while (!take(e, &w)) {
			e->waiting = true;
			uv_cond_wait(&e->wake, &e->mutex);
			e->waiting = false;
		}
		uv_mutex_unlock(&e->mutex);
		if (w.list)
			commit(e, w.list, w.n);
		if (w.replay && w.stop) {
			w.replay->rc = -ESHUTDOWN;
			fl_sqlite_post(e, NULL, w.replay);
		} else if (w.replay) {
			replay(e, w.replay);
		}
		if (w.stop && !w.list && !w.replay)
			return;
		if (w.stop)
			continue;
		if (w.compact_to)
			compact(e, w.compact_to, w.list ? w.n : COMPACT_MOST / 2);
		else if (e->vacuuming && !w.list)
			vacuum(e);
		if (e->wal_pages >= e->checkpoint_at)
			checkpoint(e);
	}
}
