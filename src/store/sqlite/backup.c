// SPDX-License-Identifier: Apache-2.0
// Backup, restore, repair. The first reads beside the API server through SQLite's own locks; the others replace the
// file, under the store's lock and in three steps of which each can be the last:
//
//   1  fairlead.db.tmp is written. It is nothing.
//   2  it is renamed to fairlead.db.new: this decides. Whoever has the lock next ends the replacement.
//   3  the write-ahead log of the former file is removed, fairlead.db.new becomes fairlead.db.
//
// The order matters: SQLite would play a write-ahead log that is left over into any file beside it.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/backup.h"
#include "store/sqlite/internal.h"

static uint64_t size_of(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static int remove_file(const char *path, struct fl_err *err)
{
	return unlink(path) < 0 && errno != ENOENT ? fl_err_set(err, -errno, "remove %s: %s", path, strerror(errno))
						   : 0;
}

int fl_sqlite_finish_replace(const char *dir, struct fl_err *err)
{
	AUTO_FREE char *file = fl_asprintf("%s/fairlead.db", dir), *new = fl_asprintf("%s.new", file),
		       *wal = fl_asprintf("%s-wal", file), *shm = fl_asprintf("%s-shm", file);
	if (access(new, F_OK) < 0)
		return 0;
	int rc = remove_file(wal, err);
	if (rc == 0)
		rc = remove_file(shm, err);
	if (rc == 0)
		rc = fl_sqlite_sync_dir(dir, err);
	if (rc == 0 && rename(new, file) < 0)
		rc = fl_err_set(err, -errno, "rename %s to %s: %s", new, file, strerror(errno));
	return rc == 0 ? fl_sqlite_sync_dir(dir, err) : rc;
}

// A second name for the former file; both names go their own ways when the first is given to another file.
static int keep_one(const char *dir, const char *suffix, struct fl_err *err)
{
	AUTO_FREE char *from = fl_asprintf("%s/fairlead.db%s", dir, suffix),
		       *to = fl_asprintf("%s/fairlead.db.replaced%s", dir, suffix);
	int rc = remove_file(to, err);
	if (rc == 0 && link(from, to) < 0 && errno != ENOENT)
		rc = fl_err_set(err, -errno, "link %s to %s: %s", from, to, strerror(errno));
	return rc;
}

static int keep_former(const char *dir, struct fl_err *err)
{
	int rc = keep_one(dir, "", err);
	return rc == 0 ? keep_one(dir, "-wal", err) : rc;
}

static int begin_replace(const char *dir, struct fl_sqlite_copy *ret, struct fl_err *err)
{
	AUTO_FREE char *new = fl_asprintf("%s/fairlead.db.new", dir), *tmp = fl_asprintf("%s/fairlead.db.tmp", dir);
	return fl_sqlite_copy_begin(new, tmp, ret, err);
}

static int end_replace(const char *dir, struct fl_sqlite_copy *c, uint64_t rev, struct fl_store_copied *ret,
		       struct fl_err *err)
{
	struct fl_store_copied done = {.revision = rev};
	int rc = fl_sqlite_copy_seal(c, rev, &done.objects, err);
	if (rc == 0)
		rc = keep_former(dir, err);
	if (rc == 0)
		rc = fl_sqlite_copy_end(c, err);
	if (rc == 0)
		rc = fl_sqlite_finish_replace(dir, err);
	if (rc < 0)
		return rc;
	AUTO_FREE char *file = fl_asprintf("%s/fairlead.db", dir);
	done.bytes = size_of(file);
	*ret = done;
	return 0;
}

// ---- backup

struct backing {
	struct fl_sqlite_copy to;
	int rc;
	struct fl_err err;
};

static void backing_deinit(struct backing *b)
{
	fl_sqlite_copy_deinit(&b->to);
}

static bool on_object(void *arg, struct fl_object *obj)
{
	struct backing *b = arg;
	struct fl_sqlite_row row = fl_sqlite_row_of(obj);
	b->rc = fl_sqlite_copy_row(&b->to, &row, &b->err);
	return b->rc == 0;
}

static int back_up(sqlite3 *from, struct backing *b, struct fl_store_copied *ret, struct fl_err *err)
{
	struct fl_sqlite_found f;
	int rc = fl_sqlite_exec(from, "BEGIN", err); // one snapshot for all that follows
	if (rc == 0)
		rc = fl_sqlite_copy_create(&b->to, err);
	if (rc == 0)
		rc = fl_sqlite_load(from, on_object, b, &f, err);
	if (b->rc < 0) // the load was cut short and says something else
		return fl_err_set(err, b->rc, "%s", b->err.text);
	if (rc < 0)
		return rc;
	ret->revision = f.newest + 1;
	rc = fl_sqlite_copy_seal(&b->to, ret->revision, &ret->objects, err);
	return rc == 0 ? fl_sqlite_copy_end(&b->to, err) : rc;
}

static bool is_same_file(const char *dir, const char *file)
{
	AUTO_FREE char *own = fl_asprintf("%s/fairlead.db", dir);
	struct stat a, b;
	return stat(own, &a) == 0 && stat(file, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int fl_store_backup(const char *dir, const char *file, struct fl_store_copied *ret, struct fl_err *err)
{
	if (is_same_file(dir, file))
		return fl_err_set(err, -EINVAL, "back up to %s: this is the store itself", file);
	AUTO(fl_sqlite_close) sqlite3 *from = NULL;
	AUTO(backing_deinit) struct backing b = {.to.fd = -1};
	AUTO_FREE char *tmp = fl_asprintf("%s.tmp.%d", file, (int)getpid());
	struct fl_store_copied done = {0};
	int rc = fl_sqlite_open_source(dir, NULL, &from, err);
	if (rc == 0)
		rc = fl_sqlite_copy_begin(file, tmp, &b.to, err);
	if (rc == 0)
		rc = back_up(from, &b, &done, err);
	if (rc < 0) {
		fl_err_prefix(err, "back up store %s to %s", dir, file);
		return rc;
	}
	done.bytes = size_of(file);
	*ret = done;
	return 0;
}

// ---- restore and repair

static int lock_dir(const char *dir, int *ret_fd, struct fl_err *err)
{
	int rc = fl_sqlite_make_dir(dir, err);
	if (rc == 0)
		rc = fl_sqlite_lock(dir, ret_fd, err);
	return rc == 0 ? fl_sqlite_finish_replace(dir, err) : rc;
}

static uint64_t leap(uint64_t a, uint64_t b)
{
	const uint64_t most = INT64_MAX - FL_STORE_REVISION_LEAP;
	uint64_t newest = a > b ? a : b;
	// Nothing of ours comes near; a damaged file may say anything.
	return (newest < most ? newest : most) + FL_STORE_REVISION_LEAP;
}

// What is there may be damaged: that is why somebody restores. False: it does not say.
static bool newest_in(const char *dir, uint64_t *ret)
{
	AUTO(fl_sqlite_close) sqlite3 *db = NULL;
	int64_t rev = 0;
	if (fl_sqlite_open_source(dir, NULL, &db, NULL) < 0 ||
	    fl_sqlite_int(db, "SELECT ifnull(max(rev), 0) FROM log", &rev, NULL) < 0 || rev <= 0)
		return false;
	*ret = (uint64_t)rev;
	return true;
}

// Of a restored store. A clock that is far off is not asked: numbers above 2^53 are not for every client.
static uint64_t restored_revision(const char *dir, uint64_t newest_of_backup)
{
	uint64_t newest;
	if (newest_in(dir, &newest))
		return leap(newest_of_backup, newest);
	int64_t us = fl_real_ns() / 1000;
	uint64_t rev = leap(newest_of_backup, 0);
	return us > 0 && us < INT64_C(1) << 53 && (uint64_t)us > rev ? (uint64_t)us : rev;
}

static int copy_pages(const char *file, sqlite3 *to, struct fl_err *err)
{
	AUTO(fl_sqlite_close) sqlite3 *from = NULL;
	int rc = fl_sqlite_open_source(NULL, file, &from, err);
	if (rc < 0)
		return rc;
	sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main");
	if (!b)
		return fl_sqlite_error(to, sqlite3_errcode(to), "copy", err);
	sqlite3_backup_step(b, -1);
	rc = sqlite3_backup_finish(b);
	return rc == SQLITE_OK ? 0 : fl_sqlite_error(to, rc, "copy", err);
}

int fl_store_restore(const char *dir, const char *file, struct fl_store_copied *ret, struct fl_err *err)
{
	AUTO_CLOSE int lock = -1;
	AUTO(fl_sqlite_copy_deinit) struct fl_sqlite_copy c = {.fd = -1};
	struct fl_sqlite_found f;
	int rc = lock_dir(dir, &lock, err);
	if (rc == 0)
		rc = begin_replace(dir, &c, err);
	if (rc == 0)
		rc = copy_pages(file, c.db, err);
	if (rc == 0)
		rc = fl_sqlite_migrate_known(c.db, err);
	if (rc == 0)
		rc = fl_sqlite_load(c.db, NULL, NULL, &f, err);
	if (rc == 0)
		rc = end_replace(dir, &c, restored_revision(dir, f.newest), ret, err);
	if (rc < 0)
		fl_err_prefix(err, "restore %s to store %s", file, dir);
	return rc;
}

static int salvage(const char *dir, sqlite3 **from, void (*report)(void *arg, const char *line), void *arg,
		   struct fl_store_copied *ret, struct fl_err *err)
{
	AUTO(fl_sqlite_copy_deinit) struct fl_sqlite_copy c = {.fd = -1};
	struct fl_sqlite_salvaged s;
	int rc = begin_replace(dir, &c, err);
	if (rc == 0)
		rc = fl_sqlite_copy_create(&c, err);
	if (rc == 0)
		rc = fl_sqlite_salvage(*from, &c, report, arg, &s, err);
	fl_sqlite_close(from); // before its file is replaced
	if (rc == 0 && !s.kept)
		rc = fl_err_set(err, -EBADMSG, "no row can be read; a backup would help");
	if (rc == 0)
		rc = end_replace(dir, &c, leap(s.newest, 0), ret, err);
	if (rc == 0)
		ret->dropped = s.dropped;
	return rc;
}

int fl_store_repair(const char *dir, void (*report)(void *arg, const char *line), void *arg,
		    struct fl_store_copied *ret, struct fl_err *err)
{
	AUTO_FREE char *file = fl_asprintf("%s/fairlead.db", dir), *wal = fl_asprintf("%s-wal", file);
	if (size_of(file) == 0 && size_of(wal) == 0)
		return 0;
	AUTO_CLOSE int lock = -1;
	AUTO(fl_sqlite_close) sqlite3 *from = NULL;
	struct fl_err found;
	int rc = lock_dir(dir, &lock, err);
	if (rc == 0)
		rc = fl_sqlite_open_source(dir, NULL, &from, err);
	if (rc == 0) {
		rc = fl_sqlite_check(from, &found);
		if (rc == 0)
			return 0;
		if (rc != -EBADMSG) {
			fl_err_set(err, rc, "%s", found.text);
		} else {
			fl_sqlite_make_printable(found.text);
			report(arg, found.text);
			rc = salvage(dir, &from, report, arg, ret, err);
		}
	}
	if (rc < 0)
		fl_err_prefix(err, "repair store %s", dir);
	return rc < 0 ? rc : 1;
}
