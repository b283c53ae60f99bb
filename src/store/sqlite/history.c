// SPDX-License-Identifier: Apache-2.0
// What the writer thread does with history between two commits, in portions: reads it for watches that start further
// back than memory reaches, drops what nobody may ask for any more, gives the room back to the file system.
//
// A portion of a replay covers more revisions than a transaction can add, so that a watcher catches up under any load.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/sqlite/internal.h"

#define REPLAY_ROWS   1000              // rows read for one portion of a replay; more than a transaction adds
#define REPLAY_BYTES  (4 * 1024 * 1024) // and their values
#define COMPACT_LEAST 64                // rows looked at in one step of compaction,
#define COMPACT_MOST  512               // or twice as many as were written meanwhile: it keeps up with any load
#define VACUUM_PAGES  128               // pages moved in one step
#define VACUUM_LEAST  512               // free pages (4 MiB) below which the file is not worth shrinking

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

void fl_sqlite_replay(struct fl_engine *e, struct fl_engine_replay *r)
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
	int rc = fl_sqlite_run(e->begin);
	uint64_t dropped = 0;
	for (size_t i = 0; i < n && rc == SQLITE_OK; i++) {
		sqlite3_int64 revs[] = {v[i].prev, v[i].deleted ? v[i].rev : 0};
		for (size_t j = 0; j < FL_COUNT(revs) && rc == SQLITE_OK; j++) {
			if (!revs[j])
				continue;
			sqlite3_bind_int64(e->drop, 1, revs[j]);
			rc = fl_sqlite_run(e->drop);
			dropped += (uint64_t)sqlite3_changes(e->db);
		}
	}
	if (rc == SQLITE_OK) {
		sqlite3_bind_int64(e->set_compacted, 1, (sqlite3_int64)upto);
		rc = fl_sqlite_run(e->set_compacted);
	}
	if (rc == SQLITE_OK)
		rc = fl_sqlite_run(e->commit);
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

void fl_sqlite_compact(struct fl_engine *e, uint64_t to, size_t written)
{
	size_t rows = written ? 2 * written : COMPACT_MOST / 2; // nobody waits
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
	fl_sqlite_roll_back(e);
	if (!e->compact_failed) // once until it works again
		fl_warn("history is not compacted for now: %s", err.text);
	e->compact_failed = true;
}

// Gives pages back to the file system when more than a quarter of the file is free, until an eighth is.
void fl_sqlite_vacuum(struct fl_engine *e)
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
		fl_sqlite_roll_back(e);
		e->vacuuming = e->vacuum_begun = false; // the next compaction tries again
	}
}
