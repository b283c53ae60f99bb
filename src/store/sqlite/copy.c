// SPDX-License-Identifier: Apache-2.0
// A store's file made beside the place where it will be: whole and on the disk before it has its name, so whoever looks
// there finds the old one or the new one. No journal and no sync on the way: a copy that is interrupted is thrown away.
//
// It holds the newest state of each object and no history. Its last row is the deletion of an object without a name: it
// carries the revision at which the copy stands and how many objects there are, is what a watch from that revision
// starts behind, and goes with the first compaction.
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "store/sqlite/internal.h"

int fl_sqlite_copy_begin(const char *path, const char *tmp, struct fl_sqlite_copy *ret, struct fl_err *err)
{
	AUTO(fl_sqlite_copy_deinit) struct fl_sqlite_copy c = {.fd = -1};
	unlink(tmp);
	c.fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (c.fd < 0)
		return fl_err_set(err, -errno, "write %s: %s", tmp, strerror(errno));
	c.path = fl_strdup(path);
	c.tmp = fl_strdup(tmp);
	int rc = sqlite3_open_v2(tmp, &c.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
	if (rc != SQLITE_OK)
		return fl_sqlite_error(c.db, rc, "write", err);
	rc = fl_sqlite_exec(c.db,
			    "PRAGMA page_size = 8192;"
			    "PRAGMA auto_vacuum = INCREMENTAL;"
			    "PRAGMA journal_mode = OFF;"
			    "PRAGMA synchronous = OFF;"
			    "PRAGMA cache_size = -16384;"
			    "PRAGMA temp_store = MEMORY;"
			    "PRAGMA trusted_schema = OFF",
			    err);
	if (rc < 0)
		return rc;
	*ret = c;
	memset(&c, 0, sizeof(c));
	c.fd = -1;
	return 0;
}

int fl_sqlite_copy_create(struct fl_sqlite_copy *c, struct fl_err *err)
{
	int rc = fl_sqlite_create_schema(c->db, err);
	return rc < 0 ? rc : fl_sqlite_exec(c->db, "BEGIN", err);
}

int fl_sqlite_copy_row(struct fl_sqlite_copy *c, const struct fl_sqlite_row *r, struct fl_err *err)
{
	if (!c->insert) {
		int rc = fl_sqlite_prepare(c->db,
					   "INSERT INTO log (" FL_SQLITE_ROW_COLUMNS
					   ") VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)",
					   &c->insert, err);
		if (rc < 0)
			return rc;
	}
	struct fl_sqlite_row row = *r;
	row.sum = fl_sqlite_row_sum(&row);
	fl_sqlite_row_bind(c->insert, &row);
	int rc = fl_sqlite_run(c->insert);
	return rc == SQLITE_OK ? 0 : fl_sqlite_error(c->db, rc, "write", err);
}

int fl_sqlite_copy_seal(struct fl_sqlite_copy *c, uint64_t rev, uint64_t *ret_objects, struct fl_err *err)
{
	int64_t live;
	int rc = sqlite3_get_autocommit(c->db) ? fl_sqlite_exec(c->db, "BEGIN", err) : 0;
	if (rc == 0)
		rc = fl_sqlite_exec(c->db,
				    "DELETE FROM log WHERE deleted OR"
				    " rev NOT IN (SELECT max(rev) FROM log GROUP BY resource, ns, name)",
				    err);
	if (rc == 0)
		rc = fl_sqlite_int(c->db, "SELECT count(*) FROM log", &live, err);
	if (rc < 0)
		return rc;
	struct fl_sqlite_row last = {
	    .rev = rev,
	    .create_rev = rev,
	    .resource = "",
	    .ns = "",
	    .name = "",
	    .uid = "",
	    .live = live,
	    .deleted = true,
	    .value = "",
	};
	rc = fl_sqlite_copy_row(c, &last, err);
	if (rc < 0)
		return rc;
	AUTO_FREE char *sql =
	    fl_asprintf("UPDATE meta SET value = %llu WHERE key = 'compacted'; COMMIT; PRAGMA incremental_vacuum",
			(unsigned long long)rev - 1);
	rc = fl_sqlite_exec(c->db, sql, err);
	if (rc < 0)
		return rc;
	*ret_objects = (uint64_t)live;
	return 0;
}

int fl_sqlite_copy_end(struct fl_sqlite_copy *c, struct fl_err *err)
{
	fl_sqlite_finalize(&c->insert);
	fl_sqlite_close(&c->db);
	if (fsync(c->fd) < 0)
		return fl_err_set(err, -errno, "sync %s: %s", c->tmp, strerror(errno));
	if (rename(c->tmp, c->path) < 0)
		return fl_err_set(err, -errno, "rename %s to %s: %s", c->tmp, c->path, strerror(errno));
	free(c->tmp);
	c->tmp = NULL;
	AUTO_FREE char *copy = fl_strdup(c->path);
	return fl_sqlite_sync_dir(dirname(copy), err);
}

void fl_sqlite_copy_deinit(struct fl_sqlite_copy *c)
{
	fl_sqlite_finalize(&c->insert);
	fl_sqlite_close(&c->db);
	if (c->fd >= 0)
		close(c->fd);
	if (c->tmp)
		unlink(c->tmp);
	free(c->tmp);
	free(c->path);
	*c = (struct fl_sqlite_copy){.fd = -1};
}
