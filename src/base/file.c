// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"

int fl_file_read(const char *path, char **ret, size_t *ret_len, struct fl_err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fl_err_set(err, -errno, "read %s: %s", path, strerror(errno));
	size_t len = 0, cap = 4096;
	AUTO_FREE char *data = fl_malloc(cap);
	for (;;) {
		ssize_t n = read(fd, data + len, cap - len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fl_err_set(err, -errno, "read %s: %s", path, strerror(errno));
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > FL_FILE_MAX)
			return fl_err_set(err, -EFBIG, "read %s: larger than %d bytes", path, FL_FILE_MAX);
		if (cap - len < 2)
			data = fl_realloc(data, cap *= 2);
	}
	data[len] = 0;
	if (ret_len)
		*ret_len = len;
	*ret = TAKE_PTR(data);
	return 0;
}

static int sync_folder(const char *path, struct fl_err *err)
{
	AUTO_FREE char *copy = fl_strdup(path);
	AUTO_CLOSE int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return fl_err_set(err, -errno, "sync the folder of %s: %s", path, strerror(errno));
	return 0;
}

static int write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t w = write(fd, p, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -errno;
		p += w;
		n -= (size_t)w;
	}
	return 0;
}

int fl_file_write(const char *path, const void *data, size_t len, mode_t mode, struct fl_err *err)
{
	AUTO_FREE char *tmp = fl_asprintf("%s" FL_FILE_TMP "%d", path, (int)getpid());
	AUTO_CLOSE int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return fl_err_set(err, -errno, "write %s: %s", tmp, strerror(errno));
	int rc = fchmod(fd, mode) < 0 ? -errno : write_all(fd, data, len);
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	if (rc == 0 && rename(tmp, path) < 0)
		rc = -errno;
	if (rc < 0) {
		unlink(tmp);
		return fl_err_set(err, rc, "write %s: %s", path, strerror(-rc));
	}
	return sync_folder(path, err);
}

int fl_file_mkdirs(const char *path, mode_t mode, struct fl_err *err)
{
	AUTO_FREE char *copy = fl_strdup(path);
	for (char *p = copy + 1;; p++) {
		if (*p != '/' && *p)
			continue;
		char c = *p;
		*p = 0;
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			return fl_err_set(err, -errno, "create the folder %s: %s", copy, strerror(errno));
		if (!c)
			return 0;
		*p = c;
	}
}

// Removing a tree. Whoever made it may have nested it as deep as the disk allows, and each level on the way down costs
// a descriptor and a stack frame: what lies DEPTH_MAX below the top is moved up into the top, to be met there again.
#define DEPTH_MAX 32

struct removal {
	const char *path;
	dev_t dev;
	int top_fd;
	unsigned long moved;
};

static int failed(const struct removal *r, const char *name, struct fl_err *err)
{
	if (errno == ENOENT) // somebody else may be removing it as well
		return 0;
	if (name == r->path)
		return fl_err_set(err, -errno, "remove %s: %s", name, strerror(errno));
	return fl_err_set(err, -errno, "remove %s/%s: %s", r->path, name, strerror(errno));
}

static int move_up(struct removal *r, int dir_fd, const char *name, struct fl_err *err)
{
	char to[32];

	if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0) // most are empty here
		return 0;
	for (;;) {
		snprintf(to, sizeof(to), "..deep%lu", r->moved++);
		if (renameat(dir_fd, name, r->top_fd, to) == 0)
			return 0;
		if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR) // or that name is taken
			return failed(r, name, err);
	}
}

static int remove_in(struct removal *r, int dir_fd, const char *name, unsigned depth, struct fl_err *err)
{
	struct stat st;
	int fd, rc = 0;
	DIR *d;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return failed(r, name, err);
	if (!S_ISDIR(st.st_mode))
		return unlinkat(dir_fd, name, 0) < 0 ? failed(r, name, err) : 0;
	if (st.st_dev != r->dev)
		return fl_err_set(err, -EBUSY, "remove %s/%s: something is mounted there", r->path, name);
	if (depth == DEPTH_MAX)
		return move_up(r, dir_fd, name, err);
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return failed(r, name, err);
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return fl_err_set(err, -ENOMEM, "remove %s/%s: no memory", r->path, name);
	}
	if (depth == 0)
		r->top_fd = fd;
	for (unsigned long before = 0;;) {
		for (struct dirent *e; rc == 0 && (e = readdir(d));)
			if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
				rc = remove_in(r, fd, e->d_name, depth + 1, err);
		if (rc < 0 || depth > 0 || r->moved == before)
			break;
		before = r->moved; // until a reading of the top has moved nothing up
		rewinddir(d);
	}
	closedir(d);
	return rc == 0 && unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 ? failed(r, name, err) : rc;
}

int fl_file_remove_all(const char *path, struct fl_err *err)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : fl_err_set(err, -errno, "remove %s: %s", path, strerror(errno));
	struct removal r = {.path = path, .dev = st.st_dev, .top_fd = -1};
	return remove_in(&r, AT_FDCWD, path, 0, err);
}
