// SPDX-License-Identifier: Apache-2.0
// Work under way, and what is left of it when its process was killed. See store.h.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/vec.h"
#include "node/image/internal.h"

int fl_image_stage_begin(const struct fl_image_store *s, struct fl_image_stage *ret, struct fl_err *err)
{
	AUTO_FREE char *dir = fl_image_tmp_name(s), *path = fl_asprintf("%s/lock", dir);
	// Held until the directory's own lock is: a sweep between the two would take it for a leftover.
	AUTO_CLOSE int lock = fl_image_lock(s, LOCK_SH, err);
	AUTO_CLOSE int fd = -1;

	if (lock < 0)
		return lock;
	if (mkdir(dir, 0700) < 0)
		return fl_err_set(err, -errno, "create %s: %s", dir, strerror(errno));
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int rc = fl_err_set(err, -errno, "prepare %s: %s", dir, strerror(errno));

		if (fl_file_remove_all(dir, NULL) < 0)
			return rc; // the next sweep's
		return rc;
	}
	*ret = (struct fl_image_stage){.dir = TAKE_PTR(dir), .lock_fd = TAKE_FD(fd)};
	return 0;
}

void fl_image_stage_end(struct fl_image_stage *st)
{
	struct fl_err err = {0};

	if (!st->dir)
		return;
	if (fl_file_remove_all(st->dir, &err) < 0)
		fl_warn("unfinished image stays until the next start: %s", err.text);
	close(st->lock_fd);
	free(st->dir);
	*st = (struct fl_image_stage){.lock_fd = -1};
}

// --- leftovers ---

struct sweep {
	FL_VEC(char *) paths;
	FL_VEC(int) locks;
};

static void collect_stages(const struct fl_image_store *s, struct sweep *w)
{
	AUTO_FREE char *tmp = fl_asprintf("%s/tmp", s->dir);
	DIR *d = opendir(tmp);

	if (!d)
		return;
	for (struct dirent *e; (e = readdir(d));) {
		AUTO_FREE char *path = fl_asprintf("%s/%s", tmp, e->d_name), *lock = fl_asprintf("%s/lock", path);
		int fd;

		if (e->d_name[0] == '.')
			continue;
		fd = open(lock, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) { // its process lives
			close(fd);
			continue;
		}
		if (fd >= 0)
			fl_vec_push(&w->locks, fd);
		fl_vec_push(&w->paths, TAKE_PTR(path));
	}
	closedir(d);
}

// Images that no name leads to, or that a power failure may have damaged: moved to tmp/, so that they are no images any
// more. Names of the latter stay, and lead nowhere.
static int collect_nameless(const struct fl_image_store *s, const char *keep, struct sweep *w, struct fl_err *err)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_map_deinit) struct fl_map used = {0};
	struct fl_json *names = NULL;
	int rc = fl_image_names_read(s, &a, &names, err);
	DIR *d;

	if (rc < 0)
		return rc;
	fl_image_in_use(s, &used);
	fl_json_each (n, names)
		fl_map_set(&used, fl_json_str_or(n, "image", ""), names);
	if (keep)
		fl_map_set(&used, keep, names);
	d = opendir(s->dir);
	if (!d)
		return fl_err_set(err, -errno, "read %s: %s", s->dir, strerror(errno));
	for (struct dirent *e; (e = readdir(d));) {
		AUTO_FREE char *path = fl_asprintf("%s/%s", s->dir, e->d_name), *to = NULL;
		bool unsafe;

		// What replaces the names is written under the lock, and we hold it.
		if (fl_starts_with(e->d_name, "names.json.")) {
			unlink(path);
			continue;
		}
		// An image, or what an unpacking of earlier versions left: "<hex>.<pid>"
		if (strspn(e->d_name, "0123456789abcdef") != 64)
			continue;
		unsafe =
		    fl_image_is_hex_name(e->d_name) && !fl_streq(e->d_name, keep) && fl_image_is_unsafe(s, e->d_name);
		if (fl_map_get(&used, e->d_name) && !unsafe)
			continue;
		to = fl_image_tmp_name(s);
		if (rename(path, to) == 0)
			fl_vec_push(&w->paths, TAKE_PTR(to));
	}
	closedir(d);
	return 0;
}

int fl_image_store_sweep(const struct fl_image_store *s, const char *keep, struct fl_err *err)
{
	struct sweep w = {0};
	int lock = fl_image_lock(s, LOCK_EX, err), rc = lock < 0 ? lock : 0;

	if (rc == 0)
		rc = collect_nameless(s, keep, &w, err);
	if (lock >= 0) {
		collect_stages(s, &w);
		close(lock);
	}
	for (size_t i = 0; i < w.paths.n; i++) {
		if (fl_file_remove_all(w.paths.v[i], rc == 0 ? err : NULL) < 0 && rc == 0)
			rc = err ? err->code : -EIO;
		free(w.paths.v[i]);
	}
	for (size_t i = 0; i < w.locks.n; i++)
		close(w.locks.v[i]);
	fl_vec_deinit(&w.paths);
	fl_vec_deinit(&w.locks);
	return rc;
}
