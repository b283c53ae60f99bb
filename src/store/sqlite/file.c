// SPDX-License-Identifier: Apache-2.0
// The file and its connections: one process at a time, known format, every acknowledged transaction on the disk.
//
// What is checked at open: the lock, the application id and format version, that the file did not vanish or shrink
// beside its write-ahead log, and while the newest objects are read every row's checksum, that each entry of the key
// index has its row, and that there are as many objects as the newest row says. `PRAGMA quick_check` reads every page
// (150 MB after a busy five minutes) and would find damage only in history beyond that; it is left to repairs.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "store/sqlite/internal.h"

#define BUSY_MS 5000 // somebody's sqlite3 shell in a write transaction

int fl_sqlite_error(sqlite3 *db, int rc, const char *what, struct fl_err *err)
{
	int sys = db ? sqlite3_system_errno(db) : 0;
	const char *file = db ? sqlite3_db_filename(db, "main") : NULL;
	int code = -EIO;
	switch (rc & 0xff) {
	case SQLITE_FULL:
		code = -ENOSPC;
		break;
	case SQLITE_IOERR:
		code = sys == ENOSPC || sys == EDQUOT ? -ENOSPC : -EIO;
		break;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		code = -EBADMSG;
		break;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		code = -EBUSY;
		break;
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
	case SQLITE_READONLY:
		code = -EACCES;
		break;
	case SQLITE_NOMEM:
		code = -ENOMEM;
		break;
	}
	const char *why = code == -ENOSPC ? "no space left on the disk" : db ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
	bool show_sys = sys && code != -ENOSPC && code != -EBADMSG;
	return fl_err_set(err, code, "%s%s%s: %s%s%s%s", what, file && *file ? " " : "", file ? file : "", why,
			  show_sys ? " (" : "", show_sys ? strerror(sys) : "", show_sys ? ")" : "");
}

int fl_sqlite_exec(sqlite3 *db, const char *sql, struct fl_err *err)
{
	int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
	return rc == SQLITE_OK ? 0 : fl_sqlite_error(db, rc, "prepare", err);
}

int fl_sqlite_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret, struct fl_err *err)
{
	int rc = sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);
	if (rc == SQLITE_OK)
		return 0;
	int code = fl_sqlite_error(db, rc, "read", err);
	// A column or table that is missing: a schema that is not ours.
	return (rc & 0xff) == SQLITE_ERROR
		   ? fl_err_set(err, -EBADMSG, "read %s: not the schema of a Fairlead store: %s",
				sqlite3_db_filename(db, "main"), sqlite3_errmsg(db))
		   : code;
}

void fl_sqlite_finalize(sqlite3_stmt **st)
{
	sqlite3_finalize(*st);
	*st = NULL;
}

void fl_sqlite_close(sqlite3 **db)
{
	sqlite3_close(*db);
	*db = NULL;
}

int fl_sqlite_int(sqlite3 *db, const char *sql, int64_t *ret, struct fl_err *err)
{
	AUTO(fl_sqlite_finalize) sqlite3_stmt *st = NULL;
	int rc = fl_sqlite_prepare(db, sql, &st, err);
	if (rc < 0)
		return rc;
	rc = sqlite3_step(st);
	if (rc != SQLITE_ROW)
		return rc == SQLITE_DONE ? fl_err_set(err, -EBADMSG, "read %s: a record is missing (%s)",
						      sqlite3_db_filename(db, "main"), sql)
					 : fl_sqlite_error(db, rc, "read", err);
	*ret = sqlite3_column_int64(st, 0);
	return 0;
}

int fl_sqlite_lock(const char *dir, int *ret_fd, struct fl_err *err)
{
	AUTO_FREE char *path = fl_asprintf("%s/lock", dir);
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return fl_err_set(err, -errno, "open %s: %s", path, strerror(errno));
	char pid[16] = {0};
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return fl_err_set(err, -errno, "lock %s: %s", path, strerror(errno));
		ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);
		pid[n > 0 ? strspn(pid, "0123456789") : 0] = '\0';
		return fl_err_set(err, -EBUSY, "open store %s: another process has it open%s%s", dir,
				  pid[0] ? ", pid " : "", pid);
	}
	int n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	// Only a hint for whoever finds the lock taken.
	if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)n, 0) != n)
		return fl_err_set(err, -errno, "write %s: %s", path, strerror(errno));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int open_file(const char *dir, const char *vfs, int flags, sqlite3 **ret, struct fl_err *err)
{
	AUTO_FREE char *file = fl_asprintf("%s/fairlead.db", dir);
	AUTO(fl_sqlite_close) sqlite3 *db = NULL;
	int rc = sqlite3_open_v2(file, &db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, vfs);
	if (rc != SQLITE_OK) {
		AUTO_FREE char *what = fl_asprintf("open %s", file);
		return fl_sqlite_error(db, rc, what, err);
	}
	sqlite3_busy_timeout(db, BUSY_MS);
	*ret = TAKE_PTR(db);
	return 0;
}

// SQLite deletes a write-ahead log whose database is empty or missing, and with it what was acknowledged.
static int check_orphan_log(const char *dir, struct fl_err *err)
{
	AUTO_FREE char *file = fl_asprintf("%s/fairlead.db", dir);
	AUTO_FREE char *wal = fl_asprintf("%s-wal", file);
	struct stat st;
	if (stat(wal, &st) < 0 || st.st_size == 0)
		return 0;
	if (stat(file, &st) == 0 && st.st_size > 0)
		return 0;
	return fl_err_set(err, -EBADMSG, "open %s: it is missing or empty, but its write-ahead log %s is there", file,
			  wal);
}

static int create(sqlite3 *db, struct fl_err *err)
{
	AUTO_FREE char *sql =
	    fl_asprintf("BEGIN IMMEDIATE;"
			"CREATE TABLE log ("
			" rev INTEGER PRIMARY KEY," // revision of this state
			" resource TEXT NOT NULL,"  // 'services', 'apps/deployments'
			" ns TEXT NOT NULL,"        // '' for cluster-scoped
			" name TEXT NOT NULL,"
			" uid TEXT NOT NULL,"
			" deleted INTEGER NOT NULL,"    // 1: a deletion, value is the last state
			" create_rev INTEGER NOT NULL," // revision of the object's creation
			" prev INTEGER NOT NULL,"       // revision of the state before, 0: none
			" expires INTEGER NOT NULL,"    // ns since the epoch, 0: never
			" live INTEGER NOT NULL,"       // objects in the store after this revision
			" sum INTEGER NOT NULL,"        // checksum of the row
			" value BLOB NOT NULL"          // JSON
			") STRICT;"
			"CREATE INDEX log_key ON log (resource, ns, name, rev, deleted);"
			"CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;"
			"INSERT INTO meta VALUES ('compacted', 0);"
			"PRAGMA application_id = %d;"
			"PRAGMA user_version = %d;"
			"COMMIT;",
			FL_SQLITE_APPLICATION_ID, FL_SQLITE_FORMAT);
	return fl_sqlite_exec(db, sql, err);
}

static int check_format(sqlite3 *db, bool *ret_empty, struct fl_err *err)
{
	int64_t app, format, tables;
	int rc = fl_sqlite_int(db, "PRAGMA application_id", &app, err);
	if (rc == 0)
		rc = fl_sqlite_int(db, "PRAGMA user_version", &format, err);
	if (rc == 0)
		rc = fl_sqlite_int(db, "SELECT count(*) FROM sqlite_schema", &tables, err);
	if (rc < 0)
		return rc;
	const char *file = sqlite3_db_filename(db, "main");
	*ret_empty = app == 0 && format == 0 && tables == 0;
	if (*ret_empty)
		return 0;
	if (app != FL_SQLITE_APPLICATION_ID)
		return fl_err_set(err, -EBADMSG, "open %s: not a Fairlead store (application id %08" PRIx64 ")", file,
				  (uint64_t)app);
	if (format != FL_SQLITE_FORMAT)
		return fl_err_set(err, -EBADMSG,
				  "open %s: its format is version %" PRId64 ", this program knows version %d", file,
				  format, FL_SQLITE_FORMAT);
	return 0;
}

static int set_wal(sqlite3 *db, struct fl_err *err)
{
	AUTO(fl_sqlite_finalize) sqlite3_stmt *st = NULL;
	int rc = fl_sqlite_prepare(db, "PRAGMA journal_mode = WAL", &st, err);
	if (rc < 0)
		return rc;
	rc = sqlite3_step(st);
	if (rc != SQLITE_ROW)
		return fl_sqlite_error(db, rc, "open", err);
	if (strcmp((const char *)sqlite3_column_text(st, 0), "wal") != 0)
		return fl_err_set(err, -EIO, "open %s: the file system cannot share memory, so no write-ahead log",
				  sqlite3_db_filename(db, "main"));
	return 0;
}

int fl_sqlite_open_writer(const char *dir, const char *vfs, sqlite3 **ret, struct fl_err *err)
{
	int rc = check_orphan_log(dir, err);
	if (rc < 0)
		return rc;
	AUTO(fl_sqlite_close) sqlite3 *db = NULL;
	rc = open_file(dir, vfs, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db, err);
	if (rc < 0)
		return rc;
	bool empty;
	rc = check_format(db, &empty, err);
	if (rc < 0)
		return rc;
	// Before the first page is written. 8 KiB hold several objects: a group commit writes less than with 4 KiB.
	if (empty)
		rc = fl_sqlite_exec(db, "PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL", err);
	if (rc == 0)
		rc = set_wal(db, err);
	// Each commit syncs the log. Checkpoints are the writer thread's, between commits.
	if (rc == 0)
		rc = fl_sqlite_exec(db,
				    "PRAGMA synchronous = FULL;"
				    "PRAGMA wal_autocheckpoint = 0;"
				    "PRAGMA journal_size_limit = 33554432;"
				    "PRAGMA cache_size = -2048;"
				    "PRAGMA cell_size_check = ON;"
				    "PRAGMA temp_store = MEMORY;"
				    "PRAGMA trusted_schema = OFF",
				    err);
	if (rc == 0 && empty)
		rc = create(db, err);
	if (rc < 0)
		return rc;
	*ret = TAKE_PTR(db);
	return 0;
}

int fl_sqlite_open_reader(const char *dir, const char *vfs, sqlite3 **ret, struct fl_err *err)
{
	int rc = open_file(dir, vfs, SQLITE_OPEN_READWRITE, ret, err);
	if (rc < 0)
		return rc;
	rc = fl_sqlite_exec(*ret, "PRAGMA query_only = ON; PRAGMA cache_size = -512", err);
	if (rc < 0)
		fl_sqlite_close(ret);
	return rc;
}
