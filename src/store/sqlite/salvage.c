// SPDX-License-Identifier: Apache-2.0
// What can still be read of a damaged file. Table and index are read from both ends until they break, so that one bad
// page costs what is on it and not what is behind it; the index also names the rows that the table has lost.
//
//   index ->  <- index   +   table ->  <- table      revisions that there are, or were
//        each one looked up in the table, its checksum compared
//             whole: copied        not: reported, and if it was a deletion its object stays deleted
//
// Pages that nothing refers to are not searched: they hold what was deleted as well.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "store/sqlite/internal.h"

static int check_rows(sqlite3 *db, struct fl_err *err)
{
	AUTO(fl_sqlite_finalize) sqlite3_stmt *st = NULL;
	int rc = fl_sqlite_prepare(db, "SELECT " FL_SQLITE_ROW_COLUMNS " FROM log", &st, err);
	if (rc < 0)
		return rc;
	struct fl_sqlite_row row;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		rc = fl_sqlite_row_read(st, &row, err);
		if (rc < 0)
			return rc;
	}
	return rc == SQLITE_DONE ? 0 : fl_sqlite_error(db, rc, "read", err);
}

void fl_sqlite_make_printable(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
}

int fl_sqlite_check(sqlite3 *db, struct fl_err *err)
{
	struct fl_sqlite_found f;
	int rc = fl_sqlite_load(db, NULL, NULL, &f, err);
	if (rc == 0)
		rc = check_rows(db, err);
	AUTO(fl_sqlite_finalize) sqlite3_stmt *st = NULL;
	if (rc == 0)
		rc = fl_sqlite_prepare(db, "PRAGMA integrity_check(1)", &st, err);
	if (rc < 0)
		return rc;
	rc = sqlite3_step(st);
	if (rc != SQLITE_ROW)
		return fl_sqlite_error(db, rc, "check", err);
	const char *says = (const char *)sqlite3_column_text(st, 0);
	if (strcmp(says, "ok") != 0)
		return fl_err_set(err, -EBADMSG, "check %s: %s", sqlite3_db_filename(db, "main"), says);
	return 0;
}

struct salvage {
	sqlite3 *db;
	struct fl_sqlite_copy *to;
	void (*report)(void *arg, const char *line);
	void *arg;
	struct fl_err *err;
	// In the copy's connection, tables that are not in its file: `seen`, every revision met and what the index says
	// of it, and `lost`, those whose row is not whole.
	sqlite3_stmt *see, *lose;
	struct fl_sqlite_salvaged n;
};

static void salvage_deinit(struct salvage *s)
{
	fl_sqlite_finalize(&s->see);
	fl_sqlite_finalize(&s->lose);
}

static int prepare(struct salvage *s)
{
	sqlite3 *to = s->to->db;
	int rc = fl_sqlite_exec(to,
				"CREATE TEMP TABLE seen (rev INTEGER PRIMARY KEY, resource, ns, name, deleted);"
				"CREATE TEMP TABLE lost (rev INTEGER PRIMARY KEY, resource, ns, name, deleted, why)",
				s->err);
	if (rc == 0)
		rc = fl_sqlite_prepare(to, "INSERT OR IGNORE INTO seen VALUES (?1,?2,?3,?4,?5)", &s->see, s->err);
	if (rc == 0)
		rc = fl_sqlite_prepare(to, "INSERT INTO lost VALUES (?1,?2,?3,?4,?5,?6)", &s->lose, s->err);
	return rc;
}

static int run(struct salvage *s, sqlite3_stmt *st)
{
	int rc = fl_sqlite_run(st);
	return rc == SQLITE_OK ? 0 : fl_sqlite_error(s->to->db, rc, "write", s->err);
}

// As far as it can be read. Only a failure to write is one.
static int scan(struct salvage *s, const char *sql)
{
	AUTO(fl_sqlite_finalize) sqlite3_stmt *st = NULL;
	int rc = 0;
	if (fl_sqlite_prepare(s->db, sql, &st, NULL) < 0)
		return 0; // that index or table is gone
	while (rc == 0 && sqlite3_step(st) == SQLITE_ROW) {
		for (int i = 0; i < 5; i++)
			sqlite3_bind_value(s->see, i + 1, sqlite3_column_value(st, i));
		rc = run(s, s->see);
	}
	return rc;
}

static int scan_all(struct salvage *s)
{
	static const char *const scans[] = {
	    "SELECT rev, resource, ns, name, deleted FROM log INDEXED BY log_key ORDER BY resource, ns, name, rev",
	    ("SELECT rev, resource, ns, name, deleted FROM log INDEXED BY log_key"
	     " ORDER BY resource DESC, ns DESC, name DESC, rev DESC"),
	    "SELECT rev, NULL, NULL, NULL, 0 FROM log NOT INDEXED ORDER BY rev",
	    "SELECT rev, NULL, NULL, NULL, 0 FROM log NOT INDEXED ORDER BY rev DESC",
	};
	int rc = 0;
	for (size_t i = 0; i < FL_COUNT(scans) && rc == 0; i++)
		rc = scan(s, scans[i]);
	return rc;
}

static int lose(struct salvage *s, sqlite3_stmt *seen, const char *why)
{
	for (int i = 0; i < 5; i++)
		sqlite3_bind_value(s->lose, i + 1, sqlite3_column_value(seen, i));
	sqlite3_bind_text(s->lose, 6, why, -1, SQLITE_STATIC);
	s->n.dropped++;
	int rc = run(s, s->lose);
	if (rc < 0 || !sqlite3_column_int(seen, 4))
		return rc;
	// A deletion needs no more than its key; without it an older state would come back to life.
	struct fl_sqlite_row row = {
	    .rev = (uint64_t)sqlite3_column_int64(seen, 0),
	    .resource = (const char *)sqlite3_column_text(seen, 1),
	    .ns = (const char *)sqlite3_column_text(seen, 2),
	    .name = (const char *)sqlite3_column_text(seen, 3),
	    .uid = "",
	    .deleted = true,
	    .value = "",
	};
	return row.resource && row.ns && row.name ? fl_sqlite_copy_row(s->to, &row, s->err) : 0;
}

static int look_up(struct salvage *s, sqlite3_stmt *get, sqlite3_stmt *seen)
{
	struct fl_sqlite_row row;
	struct fl_err why;
	sqlite3_int64 rev = sqlite3_column_int64(seen, 0);
	sqlite3_bind_int64(get, 1, rev);
	int rc = sqlite3_step(get);
	if (rc == SQLITE_ROW)
		rc = fl_sqlite_row_read(get, &row, &why);
	else if (rc == SQLITE_DONE)
		rc = fl_err_set(&why, -EBADMSG, "it is missing");
	else
		rc = fl_sqlite_error(s->db, rc, "read", &why);
	if (rc == 0) {
		s->n.kept++;
		s->n.newest = row.rev; // they come in order
		rc = fl_sqlite_copy_row(s->to, &row, s->err);
	} else {
		rc = lose(s, seen, why.text);
	}
	sqlite3_reset(get);
	return rc;
}

static int look_up_all(struct salvage *s)
{
	AUTO(fl_sqlite_finalize) sqlite3_stmt *seen = NULL, *get = NULL;
	int rc = fl_sqlite_prepare(s->db, "SELECT " FL_SQLITE_ROW_COLUMNS " FROM log WHERE rev = ?1", &get, s->err);
	if (rc == 0)
		rc = fl_sqlite_prepare(s->to->db, "SELECT * FROM seen ORDER BY rev", &seen, s->err);
	while (rc == 0) {
		int step = sqlite3_step(seen);
		if (step == SQLITE_DONE)
			return 0;
		rc = step == SQLITE_ROW ? look_up(s, get, seen) : fl_sqlite_error(s->to->db, step, "read", s->err);
	}
	return rc;
}

static const char *text(sqlite3_stmt *st, int column)
{
	const char *p = (const char *)sqlite3_column_text(st, column);
	return p ? p : "?";
}

static void report_one(struct salvage *s, sqlite3_stmt *st)
{
	char fate[80];
	int64_t left = sqlite3_column_int64(st, 6);
	if (sqlite3_column_int(st, 4))
		snprintf(fate, sizeof(fate), "the object stays deleted");
	else if (sqlite3_column_type(st, 6) == SQLITE_NULL)
		snprintf(fate, sizeof(fate), "the object is lost");
	else if (left > sqlite3_column_int64(st, 0))
		snprintf(fate, sizeof(fate), "it was history");
	else
		snprintf(fate, sizeof(fate), "the object is back at revision %" PRId64, left);
	AUTO_FREE char *line = fl_asprintf("revision %lld (%s %s/%s) is dropped, %s: %s", sqlite3_column_int64(st, 0),
					   text(st, 1), text(st, 2), text(st, 3), fate, text(st, 5));
	fl_sqlite_make_printable(line);
	s->report(s->arg, line);
}

static int report_all(struct salvage *s)
{
	AUTO(fl_sqlite_finalize) sqlite3_stmt *st = NULL;
	int rc = fl_sqlite_prepare(s->to->db,
				   "SELECT lost.*, (SELECT max(rev) FROM log WHERE log.resource = lost.resource"
				   " AND log.ns = lost.ns AND log.name = lost.name) FROM lost ORDER BY rev",
				   &st, s->err);
	if (rc < 0)
		return rc;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW)
		report_one(s, st);
	return rc == SQLITE_DONE ? 0 : fl_sqlite_error(s->to->db, rc, "read", s->err);
}

int fl_sqlite_salvage(sqlite3 *db, struct fl_sqlite_copy *to, void (*report)(void *arg, const char *line), void *arg,
		      struct fl_sqlite_salvaged *ret, struct fl_err *err)
{
	AUTO(salvage_deinit)
	struct salvage s = {.db = db, .to = to, .report = report, .arg = arg, .err = err};
	int rc = prepare(&s);
	if (rc == 0)
		rc = scan_all(&s);
	if (rc == 0)
		rc = look_up_all(&s);
	if (rc == 0)
		rc = report_all(&s);
	if (rc == 0)
		*ret = s.n;
	return rc;
}
