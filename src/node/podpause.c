// SPDX-License-Identifier: Apache-2.0
// See podpause.h. A recorded number may be another process's by now: it counts only while that one is in the namespace
// which is bound beside it.
#include "node/podpause.h"

#include <errno.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/subprocess.h"
#include "node/podnet.h"

#define START_MS 10000
#define END_MS   5000

static bool is_bound(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == NSFS_MAGIC;
}

static bool is_in(pid_t pid, const char *ns)
{
	char path[64];
	struct stat mine, its;

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)pid);
	return stat(ns, &mine) == 0 && stat(path, &its) == 0 && mine.st_ino == its.st_ino && mine.st_dev == its.st_dev;
}

// A pidfd of it, or -1.
static int find(const struct fl_node_paths *p, const char *uid)
{
	AUTO_FREE char *ns = fl_podnet_ns_path(p, uid, "pid"), *file = fl_podnet_ns_path(p, uid, "pause"), *text = NULL;
	AUTO_CLOSE int fd = -1;
	pid_t pid;

	if (!is_bound(ns) || fl_file_read(file, &text, NULL, NULL) < 0 || (pid = (pid_t)atoi(text)) <= 0)
		return -1;
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	return fd >= 0 && is_in(pid, ns) ? TAKE_FD(fd) : -1;
}

static bool has_ended(int pidfd, int wait_ms)
{
	struct pollfd f = {.fd = pidfd, .events = POLLIN};

	return poll(&f, 1, wait_ms) > 0;
}

bool fl_podpause_lives(const struct fl_node_paths *p, const char *uid)
{
	AUTO_CLOSE int fd = find(p, uid);

	return fd >= 0 && !has_ended(fd, 0);
}

int fl_podpause_start(const struct fl_node_paths *p, const char *uid, struct fl_err *err)
{
	AUTO_FREE char *ns = fl_podnet_ns_path(p, uid, "pid"), *file = fl_podnet_ns_path(p, uid, "pause");
	const char *const argv[] = {p->shim, "pause", ns, file, NULL};
	int status = 0, rc;

	if (fl_podpause_lives(p, uid))
		return 0;
	rc = fl_podpause_end(p, uid, err); // what is left of an earlier one
	if (rc == 0)
		rc = fl_subprocess_run(argv, START_MS, &status, NULL, err);
	if (rc == 0 && status != 0)
		rc = -EIO; // err has its text
	return rc < 0 ? fl_err_prefix(err, "process namespace of the pod") : 0;
}

int fl_podpause_end(const struct fl_node_paths *p, const char *uid, struct fl_err *err)
{
	AUTO_FREE char *ns = fl_podnet_ns_path(p, uid, "pid"), *file = fl_podnet_ns_path(p, uid, "pause");
	AUTO_CLOSE int fd = find(p, uid);

	if (fd >= 0) {
		syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
		if (!has_ended(fd, END_MS))
			return fl_err_set(err, -EBUSY, "the pause process of pod %s does not end", uid);
	}
	while (is_bound(ns)) {
		if (umount2(ns, MNT_DETACH) < 0)
			return fl_err_set(err, -errno, "unmount %s: %s", ns, strerror(errno));
	}
	if ((unlink(ns) < 0 && errno != ENOENT) || (unlink(file) < 0 && errno != ENOENT))
		return fl_err_set(err, -errno, "remove %s: %s", ns, strerror(errno));
	return 0;
}
