// SPDX-License-Identifier: Apache-2.0
// The newest state of each key at a revision, in order of the key: a scan of the key index, which holds (key, revision,
// deleted) and no values, and one look-up of the row for each key that is there. And all of a file, checked.
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "store/sqlite/internal.h"

#define SCAN "SELECT resource, ns, name, rev, deleted FROM log INDEXED BY log_key"

struct walk {
	sqlite3 *db;
	sqlite3_stmt *scan, *get;
	fl_store_visit visit;
	void *arg;
	struct fl_err *err;
	// The key under the scan and its newest revision so far; rev 0: none.
	struct fl_buf resource, ns, name;
	uint64_t rev;
	bool deleted;
};

static void walk_deinit(struct walk *w)
{
	fl_sqlite_finalize(&w->scan);
	fl_sqlite_finalize(&w->get);
	fl_buf_deinit(&w->resource);
	fl_buf_deinit(&w->ns);
	fl_buf_deinit(&w->name);
}

static bool same(const struct fl_buf *b, const char *s, size_t n)
{
	return b->len == n && memcmp(b->data ? b->data : "", s, n) == 0;
}

static void set(struct fl_buf *b, const char *s, size_t n)
{
	b->len = 0;
	fl_buf_append(b, s, n);
}

static const char *column(sqlite3_stmt *st, int i, size_t *ret_n)
{
	const char *s = (const char *)sqlite3_column_text(st, i);
	*ret_n = (size_t)sqlite3_column_bytes(st, i);
	return s ? s : "";
}

// Shows the key whose entries have all been seen. 1: the visitor wants no more.
static int emit(struct walk *w)
{
	if (!w->rev || w->deleted)
		return 0;
	sqlite3_reset(w->get);
	sqlite3_bind_int64(w->get, 1, (sqlite3_int64)w->rev);
	int rc = sqlite3_step(w->get);
	if (rc == SQLITE_DONE)
		return fl_err_set(w->err, -EBADMSG, "the row of revision %" PRIu64 " (%s %s/%s) is missing", w->rev,
				  w->resource.data, w->ns.data, w->name.data);
	if (rc != SQLITE_ROW)
		return fl_sqlite_error(w->db, rc, "read", w->err);
	struct fl_sqlite_row row;
	rc = fl_sqlite_row_read(w->get, &row, w->err);
	if (rc < 0)
		return rc;
	if (!same(&w->resource, row.resource, strlen(row.resource)) || !same(&w->ns, row.ns, strlen(row.ns)) ||
	    !same(&w->name, row.name, strlen(row.name)) || row.deleted)
		return fl_err_set(w->err, -EBADMSG,
				  "the index says that revision %" PRIu64 " is %s %s/%s, the row %s %s/%s", w->rev,
				  w->resource.data, w->ns.data, w->name.data, row.resource, row.ns, row.name);
	AUTO(fl_object_put) struct fl_object *o = fl_sqlite_row_object(&row);
	return !w->visit(w->arg, o);
}

// 1: the end, or the visitor wants no more.
static int next(struct walk *w, uint64_t rv, const char *only_ns, uint64_t *rows)
{
	int rc = sqlite3_step(w->scan);
	if (rc == SQLITE_DONE) {
		rc = emit(w);
		return rc < 0 ? rc : 1;
	}
	if (rc != SQLITE_ROW)
		return fl_sqlite_error(w->db, rc, "read", w->err);
	(*rows)++;
	size_t resource_n, ns_n, name_n;
	const char *resource = column(w->scan, 0, &resource_n), *ns = column(w->scan, 1, &ns_n),
		   *name = column(w->scan, 2, &name_n);
	if (!same(&w->name, name, name_n) || !same(&w->ns, ns, ns_n) || !same(&w->resource, resource, resource_n)) {
		rc = emit(w);
		if (rc != 0)
			return rc;
		w->rev = 0;
		if (only_ns && strcmp(ns, only_ns) != 0)
			return 1;
		set(&w->resource, resource, resource_n);
		set(&w->ns, ns, ns_n);
		set(&w->name, name, name_n);
	}
	uint64_t rev = (uint64_t)sqlite3_column_int64(w->scan, 3);
	if (rev <= rv) {
		w->rev = rev;
		w->deleted = sqlite3_column_int(w->scan, 4) != 0;
	}
	return 0;
}

static int prepare(struct walk *w, const char *resource, const char *ns, const char *after_ns, const char *after_name)
{
	const char *sql = resource ? SCAN " WHERE resource = ?1 AND (ns, name) > (?2, ?3) ORDER BY ns, name, rev"
				   : SCAN " ORDER BY resource, ns, name, rev";
	int rc = fl_sqlite_prepare(w->db, sql, &w->scan, w->err);
	if (rc == 0)
		rc = fl_sqlite_prepare(w->db, "SELECT " FL_SQLITE_ROW_COLUMNS " FROM log WHERE rev = ?1", &w->get,
				       w->err);
	if (rc < 0 || !resource)
		return rc;
	bool after = after_ns && (!ns || strcmp(after_ns, ns) >= 0);
	sqlite3_bind_text(w->scan, 1, resource, -1, SQLITE_STATIC);
	sqlite3_bind_text(w->scan, 2, after ? after_ns : ns ? ns : "", -1, SQLITE_STATIC);
	sqlite3_bind_text(w->scan, 3, after && after_name ? after_name : "", -1, SQLITE_STATIC);
	return 0;
}

int fl_sqlite_walk(sqlite3 *db, uint64_t rv, const char *resource, const char *ns, const char *after_ns,
		   const char *after_name, fl_store_visit visit, void *arg, uint64_t *ret_rows, struct fl_err *err)
{
	struct fl_err local;
	AUTO(walk_deinit) struct walk w = {.db = db, .visit = visit, .arg = arg, .err = err ? err : &local};
	uint64_t rows = 0;
	int rc = prepare(&w, resource, ns, after_ns, after_name);
	while (rc == 0)
		rc = next(&w, rv, ns, &rows);
	if (rc < 0)
		return rc;
	if (ret_rows)
		*ret_rows = rows;
	return 0;
}

struct counting {
	fl_store_visit visit;
	void *arg;
	int64_t n;
};

static bool on_object(void *arg, struct fl_object *obj)
{
	struct counting *c = arg;
	c->n++;
	return !c->visit || c->visit(c->arg, obj);
}

// The row that tells how far the log came and how many objects there are.
static int read_newest(sqlite3 *db, int64_t *ret_rev, int64_t *ret_live, struct fl_err *err)
{
	AUTO(fl_sqlite_finalize) sqlite3_stmt *st = NULL;
	int rc = fl_sqlite_prepare(db, "SELECT " FL_SQLITE_ROW_COLUMNS " FROM log ORDER BY rev DESC LIMIT 1", &st, err);
	if (rc < 0)
		return rc;
	rc = sqlite3_step(st);
	if (rc == SQLITE_DONE)
		return 0;
	if (rc != SQLITE_ROW)
		return fl_sqlite_error(db, rc, "read", err);
	struct fl_sqlite_row row;
	rc = fl_sqlite_row_read(st, &row, err);
	if (rc < 0)
		return rc;
	*ret_rev = (int64_t)row.rev;
	*ret_live = row.live;
	return 0;
}

int fl_sqlite_load(sqlite3 *db, fl_store_visit visit, void *arg, struct fl_sqlite_found *ret, struct fl_err *err)
{
	int64_t compacted, newest = 0, live = 0;
	int rc = fl_sqlite_int(db, "SELECT value FROM meta WHERE key = 'compacted'", &compacted, err);
	if (rc == 0)
		rc = read_newest(db, &newest, &live, err);
	if (rc < 0)
		return rc;
	if (newest < compacted) // compaction always leaves the newest row
		return fl_err_set(err, -EBADMSG, "revisions up to %" PRId64 " are missing, the log ends at %" PRId64,
				  compacted, newest);
	struct counting c = {.visit = visit, .arg = arg};
	uint64_t rows = 0;
	rc = fl_sqlite_walk(db, INT64_MAX, NULL, NULL, NULL, NULL, on_object, &c, &rows, err);
	if (rc < 0)
		return rc;
	if (c.n != live)
		return fl_err_set(err, -EBADMSG,
				  "%" PRId64 " objects found, revision %" PRId64 " says there are %" PRId64, c.n,
				  newest, live);
	*ret = (struct fl_sqlite_found){
	    .newest = (uint64_t)newest, .compacted = (uint64_t)compacted, .live = live, .rows = rows};
	return 0;
}
