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
// blocks stay allocated, so a sync has no file size to update. Nobody commits meanwhile: a checkpoint from a second
// connection could race with the commit that starts the log over, and SQLite before 3.51.3 then loses what was
// committed (sqlite.org/wal.html, "WAL-reset bug"). So checkpoints are small and this thread's alone.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "store/sqlite/internal.h"

#define BATCH_WRITES     512               // writes of one transaction,
#define BATCH_BYTES      (8 * 1024 * 1024) // and their values: bounds the time that the first of them waits
#define CHECKPOINT_PAGES 250               // 2 MiB of log. With 1,000, p99 of 16 writers is 5 ms instead of 3

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

int fl_sqlite_run(sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);
	int again = sqlite3_reset(st);
	return rc == SQLITE_DONE ? SQLITE_OK : again != SQLITE_OK ? again : rc;
}

void fl_sqlite_roll_back(struct fl_engine *e)
{
	if (!sqlite3_get_autocommit(e->db))
		fl_sqlite_run(e->rollback);
}

static int insert(struct fl_engine *e, const struct fl_engine_write *w, int64_t live)
{
	struct fl_sqlite_row r = fl_sqlite_row_of(w->obj);
	r.rev = w->rev;
	r.prev = w->prev;
	r.live = live;
	r.deleted = w->verb == FL_STORE_DELETE;
	r.sum = fl_sqlite_row_sum(&r);
	fl_sqlite_row_bind(e->insert, &r);
	return fl_sqlite_run(e->insert);
}

static int commit_list(struct fl_engine *e, struct fl_engine_write *list)
{
	int64_t live = e->live;
	int rc = fl_sqlite_run(e->begin);
	for (struct fl_engine_write *w = list; w && rc == SQLITE_OK; w = w->next) {
		live += (w->verb == FL_STORE_CREATE) - (w->verb == FL_STORE_DELETE);
		rc = insert(e, w, live);
	}
	if (rc == SQLITE_OK)
		rc = fl_sqlite_run(e->commit);
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
		fl_sqlite_roll_back(e);
	}
	fl_sqlite_post(e, b, NULL);
}

// Copies as much of the log as no reader still needs. The next commit starts it over, unless a reader is in it or the
// disk is full: then it grows, and is tried again so many pages later.
static void checkpoint(struct fl_engine *e)
{
	sqlite3_wal_checkpoint_v2(e->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	e->checkpoint_at = e->wal_pages + CHECKPOINT_PAGES;
}

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
			fl_sqlite_replay(e, w.replay);
		}
		if (w.stop && !w.list && !w.replay)
			return;
		if (w.stop)
			continue;
		if (w.compact_to)
			fl_sqlite_compact(e, w.compact_to, w.n);
		else if (e->vacuuming && !w.list)
			fl_sqlite_vacuum(e);
		if (e->wal_pages >= e->checkpoint_at)
			checkpoint(e);
	}
}
