// SPDX-License-Identifier: Apache-2.0
// The file and its connections: one process at a time, known format, every acknowledged transaction on the disk.
//
// What is checked at open: the lock, the application id and format version, that the file did not vanish or shrink
// beside its write-ahead log, and while the newest objects are read every row's checksum, that each entry of the key
// index has its row, and that there are as many objects as the newest row says. `PRAGMA quick_check` reads every page
// (150 MB after a busy five minutes) and would find damage only in history beyond that; it is left to repairs.
//
// The format is a number in the file. A newer one is refused, an older one is brought up by the steps between, each one
// transaction that also writes the number: power cut anywhere, it is one version or the next.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "store/sqlite/internal.h"

#define BUSY_MS 5000 // somebody's sqlite3 shell in a write transaction

static const fl_sqlite_step steps[FL_SQLITE_FORMAT] = {
    NULL, // version 1 is the first
};

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

int fl_sqlite_sync_dir(const char *dir, struct fl_err *err)
{
	AUTO_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return fl_err_set(err, -errno, "sync %s: %s", dir, strerror(errno));
	return 0;
}

// Values may be secrets. A directory that exists keeps its mode.
int fl_sqlite_make_dir(const char *dir, struct fl_err *err)
{
	if (mkdir(dir, 0700) < 0)
		return errno == EEXIST ? 0 : fl_err_set(err, -errno, "create %s: %s", dir, strerror(errno));
	AUTO_FREE char *copy = fl_strdup(dir);
	return fl_sqlite_sync_dir(dirname(copy), err);
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

static int open_file(const char *file, const char *vfs, int flags, sqlite3 **ret, struct fl_err *err)
{
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

int fl_sqlite_create_schema(sqlite3 *db, struct fl_err *err)
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

// *ret_format: 0 for a file without anything in it.
static int read_format(sqlite3 *db, int64_t *ret_format, struct fl_err *err)
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
	bool empty = app == 0 && format == 0 && tables == 0;
	if (!empty && app != FL_SQLITE_APPLICATION_ID)
		return fl_err_set(err, -EBADMSG, "open %s: not a Fairlead store (application id %08" PRIx64 ")", file,
				  (uint64_t)app);
	if (!empty && format < 1)
		return fl_err_set(err, -EBADMSG, "open %s: its format has no version", file);
	*ret_format = format;
	return 0;
}

static int newer(sqlite3 *db, int64_t format, int known, struct fl_err *err)
{
	return fl_err_set(err, -EBADMSG,
			  "open %s: its format is version %" PRId64 ", newer than this program, which knows version %d",
			  sqlite3_db_filename(db, "main"), format, known);
}

static int step_up(sqlite3 *db, fl_sqlite_step step, int64_t format, struct fl_err *err)
{
	char sql[64];
	snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", (int)format);
	int rc = fl_sqlite_exec(db, "BEGIN IMMEDIATE", err);
	if (rc == 0)
		rc = step(db, err);
	if (rc == 0)
		rc = fl_sqlite_exec(db, sql, err);
	if (rc == 0)
		rc = fl_sqlite_exec(db, "COMMIT", err);
	if (rc == 0)
		return 0;
	if (!sqlite3_get_autocommit(db))
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	fl_err_prefix(err, "migrate %s to format version %" PRId64, sqlite3_db_filename(db, "main"), format);
	return rc;
}

int fl_sqlite_migrate(sqlite3 *db, const fl_sqlite_step *to, int format, struct fl_err *err)
{
	int64_t have;
	int rc = read_format(db, &have, err);
	if (rc == 0 && have > format)
		return newer(db, have, format, err);
	if (rc == 0 && have == 0)
		return fl_err_set(err, -EBADMSG, "open %s: there is nothing in it", sqlite3_db_filename(db, "main"));
	while (rc == 0 && have < format) {
		rc = step_up(db, to[have], have + 1, err);
		have++;
	}
	return rc;
}

int fl_sqlite_migrate_known(sqlite3 *db, struct fl_err *err)
{
	return fl_sqlite_migrate(db, steps, FL_SQLITE_FORMAT, err);
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
	AUTO_FREE char *file = fl_asprintf("%s/fairlead.db", dir);
	AUTO(fl_sqlite_close) sqlite3 *db = NULL;
	rc = open_file(file, vfs, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db, err);
	if (rc < 0)
		return rc;
	int64_t format;
	rc = read_format(db, &format, err);
	if (rc == 0 && format > FL_SQLITE_FORMAT)
		rc = newer(db, format, FL_SQLITE_FORMAT, err);
	if (rc < 0)
		return rc;
	// Before the first page is written. 8 KiB hold several objects: a group commit writes less than with 4 KiB.
	if (!format)
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
	if (rc == 0)
		rc = format ? fl_sqlite_migrate_known(db, err) : fl_sqlite_create_schema(db, err);
	if (rc < 0)
		return rc;
	*ret = TAKE_PTR(db);
	return 0;
}

int fl_sqlite_open_reader(const char *dir, const char *vfs, sqlite3 **ret, struct fl_err *err)
{
	AUTO_FREE char *file = fl_asprintf("%s/fairlead.db", dir);
	AUTO(fl_sqlite_close) sqlite3 *db = NULL;
	int rc = open_file(file, vfs, SQLITE_OPEN_READWRITE, &db, err);
	if (rc == 0)
		rc = fl_sqlite_exec(db, "PRAGMA query_only = ON; PRAGMA cache_size = -512", err);
	if (rc < 0)
		return rc;
	*ret = TAKE_PTR(db);
	return 0;
}

int fl_sqlite_open_source(const char *dir, const char *file, sqlite3 **ret, struct fl_err *err)
{
	AUTO_FREE char *own = dir ? fl_asprintf("%s/fairlead.db", dir) : NULL;
	const char *path = dir ? own : file;
	struct stat st;
	int rc = dir ? check_orphan_log(dir, err) : 0;
	if (rc < 0)
		return rc;
	if (stat(path, &st) < 0)
		return fl_err_set(err, -errno, "open %s: %s", path, strerror(errno));
	AUTO(fl_sqlite_close) sqlite3 *db = NULL;
	// The readers of a write-ahead log tell each other where they are, which is a write.
	rc = open_file(path, NULL, dir ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY, &db, err);
	if (rc < 0)
		return rc;
	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	int64_t format;
	rc =
	    fl_sqlite_exec(db, "PRAGMA query_only = ON; PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF", err);
	if (rc == 0)
		rc = read_format(db, &format, err);
	if (rc < 0)
		return rc;
	if (format == 0)
		return fl_err_set(err, -EBADMSG, "open %s: there is nothing in it", path);
	if (format > FL_SQLITE_FORMAT)
		return newer(db, format, FL_SQLITE_FORMAT, err);
	*ret = TAKE_PTR(db);
	return 0;
}
