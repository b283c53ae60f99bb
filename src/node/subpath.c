// SPDX-License-Identifier: Apache-2.0
// See subpath.h.
#include "node/subpath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

static int open_beneath(int root, const char *path)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};

	return (int)syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof(how));
}

// Makes the directory `path`, whose parents are made first.
static int make_beneath(int root, const char *path, mode_t mode)
{
	AUTO_FREE char *copy = fl_strdup(path);
	char *slash = strrchr(copy, '/');
	const char *name = slash ? slash + 1 : copy;
	AUTO_CLOSE int parent = -1;

	if (slash)
		*slash = '\0';
	parent = open_beneath(root, slash ? copy : "");
	if (parent < 0 && errno == ENOENT && slash) {
		int rc = make_beneath(root, copy, mode);

		if (rc < 0)
			return rc;
		parent = open_beneath(root, copy);
	}
	if (parent < 0)
		return -errno;
	if (mkdirat(parent, name, 0700) < 0)
		return errno == EEXIST ? 0 : -errno;
	return fchmodat(parent, name, mode, 0) < 0 ? -errno : 0;
}

static int make_target(const char *at, bool directory, struct fl_err *err)
{
	AUTO_FREE char *parent = fl_strndup(at, strlen(at) - strlen(strrchr(at, '/')));
	int rc;

	while (umount2(at, MNT_DETACH) == 0) // of an earlier run
		;
	rc = fl_file_remove_all(at, err);
	if (rc == 0)
		rc = fl_file_mkdirs(directory ? at : parent, 0755, err);
	if (rc == 0 && !directory)
		rc = fl_file_write(at, "", 0, 0644, err);
	return rc;
}

int fl_subpath_bind(const char *root, const char *sub, const char *at, struct fl_err *err)
{
	AUTO_CLOSE int dir = open(root, O_PATH | O_CLOEXEC);
	AUTO_CLOSE int fd = -1;
	struct stat st, of_root;
	char self[64];
	int rc;

	if (dir < 0 || fstat(dir, &of_root) < 0)
		return fl_err_set(err, -errno, "open %s: %s", root, strerror(errno));
	fd = open_beneath(dir, sub);
	if (fd < 0 && errno == ENOENT) {
		rc = make_beneath(dir, sub, of_root.st_mode & 0777);
		if (rc < 0)
			return fl_err_set(err, rc, "failed to create subPath directory %s: %s", sub, strerror(-rc));
		fd = open_beneath(dir, sub);
	}
	if (fd < 0 || fstat(fd, &st) < 0)
		return fl_err_set(err, -errno, "failed to prepare subPath %s: %s", sub,
				  errno == EXDEV || errno == ELOOP ? "it leads out of the volume" : strerror(errno));
	rc = make_target(at, S_ISDIR(st.st_mode), err);
	if (rc < 0)
		return rc;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (mount(self, at, NULL, MS_BIND | MS_REC, NULL) < 0)
		return fl_err_set(err, -errno, "bind subPath %s: %s", sub, strerror(errno));
	return 0;
}
