// SPDX-License-Identifier: Apache-2.0
// See atomicdir.h.
#include "node/atomicdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#define LINK     "..data"
#define LINK_NEW "..data_tmp"

static bool is_safe_path(const char *path)
{
	if (!*path || *path == '/' || strncmp(path, "..", 2) == 0)
		return false;
	for (const char *p = path; p; p = strchr(p, '/'), p = p ? p + 1 : NULL) {
		if (strcspn(p, "/") == 2 && p[0] == '.' && p[1] == '.')
			return false;
	}
	return true;
}

int fl_afiles_put(struct fl_afiles *f, const struct fl_afile *file, struct fl_err *err)
{
	if (!is_safe_path(file->path))
		return fl_err_set(err, -EINVAL, "volume file %s: not a path inside the volume", file->path);
	for (size_t i = 0; i < f->list.n; i++) {
		if (strcmp(f->list.v[i].path, file->path) == 0) {
			f->list.v[i] = *file;
			return 0;
		}
	}
	fl_vec_push(&f->list, *file);
	return 0;
}

void fl_afiles_deinit(struct fl_afiles *f)
{
	fl_vec_deinit(&f->list);
}

// --- what is there ---

static bool same_file(const char *base, const struct fl_afile *f)
{
	AUTO_FREE char *path = fl_asprintf("%s/%s", base, f->path), *have = NULL;
	struct stat st;
	size_t len;

	return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0777) == (f->mode & 0777) &&
	       (size_t)st.st_size == f->len && fl_file_read(path, &have, &len, NULL) == 0 && len == f->len &&
	       memcmp(have, f->data, len) == 0;
}

static size_t count_files(const char *dir)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	if (!d)
		return 0;
	for (struct dirent *e; (e = readdir(d));) {
		AUTO_FREE char *path = fl_asprintf("%s/%s", dir, e->d_name);
		struct stat st;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || lstat(path, &st) < 0)
			continue;
		n += S_ISDIR(st.st_mode) ? count_files(path) : 1;
	}
	closedir(d);
	return n;
}

static bool is_first_part(const struct fl_afiles *f, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < f->list.n; i++) {
		if (strcspn(f->list.v[i].path, "/") == n && strncmp(f->list.v[i].path, name, n) == 0)
			return true;
	}
	return false;
}

static bool is_as_wanted(const char *dir, const struct fl_afiles *f)
{
	AUTO_FREE char *data = fl_asprintf("%s/" LINK, dir);
	struct stat st;

	if (stat(data, &st) < 0 || count_files(data) != f->list.n)
		return false;
	for (size_t i = 0; i < f->list.n; i++) {
		AUTO_FREE char *link =
		    fl_asprintf("%s/%.*s", dir, (int)strcspn(f->list.v[i].path, "/"), f->list.v[i].path);

		if (!same_file(data, &f->list.v[i]) || lstat(link, &st) < 0 || !S_ISLNK(st.st_mode))
			return false;
	}
	return true;
}

// --- writing ---

static int write_file(const char *base, const struct fl_afile *f, int64_t group, struct fl_err *err)
{
	AUTO_FREE char *path = fl_asprintf("%s/%s", base, f->path);
	AUTO_FREE char *parent = fl_strndup(path, strlen(path) - strlen(strrchr(path, '/')));
	int rc = fl_file_mkdirs(parent, 0755, err);

	if (rc < 0)
		return rc;
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return fl_err_set(err, -errno, "create %s: %s", path, strerror(errno));
	for (size_t at = 0; at < f->len;) {
		ssize_t n = write(fd, (const char *)f->data + at, f->len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fl_err_set(err, -errno, "write %s: %s", path, strerror(errno));
		at += (size_t)n;
	}
	if (group >= 0 && fchown(fd, (uid_t)-1, (gid_t)group) < 0)
		return fl_err_set(err, -errno, "group of %s: %s", path, strerror(errno));
	if (fchmod(fd, f->mode & 0777) < 0)
		return fl_err_set(err, -errno, "mode of %s: %s", path, strerror(errno));
	return 0;
}

static void time_name(char *buf, size_t size)
{
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	snprintf(buf, size, "..%04d_%02d_%02d_%02d_%02d_%02d.%09ld", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
		 tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec);
}

static int write_all(const char *base, const struct fl_afiles *f, int64_t group, struct fl_err *err)
{
	int rc = 0;

	if (mkdir(base, 0755) < 0)
		return fl_err_set(err, -errno, "create %s: %s", base, strerror(errno));
	for (size_t i = 0; rc == 0 && i < f->list.n; i++)
		rc = write_file(base, &f->list.v[i], group, err);
	if (rc == 0 && chmod(base, 0755) < 0)
		rc = fl_err_set(err, -errno, "mode of %s: %s", base, strerror(errno));
	return rc;
}

static int link_put(const char *target, const char *path, struct fl_err *err)
{
	char now[4096];
	ssize_t n = readlink(path, now, sizeof(now));

	if (n == (ssize_t)strlen(target) && strncmp(now, target, (size_t)n) == 0)
		return 0;
	if (symlink(target, path) == 0)
		return 0;
	if (errno == EEXIST && fl_file_remove_all(path, err) == 0 && symlink(target, path) == 0)
		return 0;
	return fl_err_set(err, -errno, "link %s: %s", path, strerror(errno));
}

static int link_all(const char *dir, const struct fl_afiles *f, struct fl_err *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < f->list.n; i++) {
		int n = (int)strcspn(f->list.v[i].path, "/");
		AUTO_FREE char *path = fl_asprintf("%s/%.*s", dir, n, f->list.v[i].path);
		AUTO_FREE char *target = fl_asprintf(LINK "/%.*s", n, f->list.v[i].path);

		rc = link_put(target, path, err);
	}
	return rc;
}

// Links to what is no more, directories of earlier times and of writes that were cut short.
static int sweep(const char *dir, const struct fl_afiles *f, const char *current, struct fl_err *err)
{
	DIR *d = opendir(dir);
	int rc = 0;

	if (!d)
		return fl_err_set(err, -errno, "read %s: %s", dir, strerror(errno));
	for (struct dirent *e; rc == 0 && (e = readdir(d));) {
		AUTO_FREE char *path = fl_asprintf("%s/%s", dir, e->d_name);
		bool ours = strncmp(e->d_name, "..", 2) == 0;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || strcmp(e->d_name, LINK) == 0 ||
		    strcmp(e->d_name, current) == 0 || (!ours && is_first_part(f, e->d_name)))
			continue;
		rc = fl_file_remove_all(path, err);
	}
	closedir(d);
	return rc;
}

int fl_atomic_dir_write(const char *dir, const struct fl_afiles *f, int64_t group, bool *ret_changed,
			struct fl_err *err)
{
	AUTO_FREE char *base = NULL, *link = fl_asprintf("%s/" LINK, dir), *tmp = fl_asprintf("%s/" LINK_NEW, dir);
	char name[96];
	int rc;

	if (ret_changed)
		*ret_changed = false;
	if (is_as_wanted(dir, f))
		return 0;
	time_name(name, sizeof(name));
	base = fl_asprintf("%s/%s", dir, name);
	rc = write_all(base, f, group, err);
	if (rc == 0)
		rc = link_put(name, tmp, err);
	if (rc == 0 && rename(tmp, link) < 0)
		rc = fl_err_set(err, -errno, "link %s: %s", link, strerror(errno));
	if (rc == 0)
		rc = link_all(dir, f, err);
	if (rc == 0)
		rc = sweep(dir, f, name, err);
	if (rc == 0 && ret_changed)
		*ret_changed = true;
	return rc;
}
