// SPDX-License-Identifier: Apache-2.0
// The lock is an flock on <data-dir>/lock, so it ends with its holders however they end: the supervisor and each of its
// roles, which inherit the descriptor. When it is free, nothing of them is at work any more.
//
// Who the supervisor is, and whether it is alive, is said by a POSIX lock on the same file, which no child inherits:
// the kernel names its holder, in the pids of the one who asks. It is signalled through a pidfd that was opened before
// the kernel named it once more, so a reused pid is never hit, nor one of another pid namespace. The pid that is
// written into the file is for people.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "supervisor/supervisor.h"

#define ORPHANS_MS 20000 // for the roles of a killed supervisor to end: one may be waiting for a busy disk
#define HOLDER_MS  500   // for a holder that lives: it may be about to end, or be killed and not dead yet
#define LOOK_MS    5

static int open_lock(const char *data_dir, struct fl_err *err)
{
	AUTO_FREE char *path = fl_asprintf("%s/lock", data_dir);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? fl_err_set(err, -errno, "open %s: %s", path, strerror(errno)) : fd;
}

static pid_t written_in(int fd)
{
	char text[16] = {0};
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	return n > 0 ? (pid_t)atoi(text) : 0;
}

#define ELSEWHERE (-1) // a supervisor of another pid namespace: it has no pid here

// 0: there is none, though roles of one that was killed may still be there.
static pid_t supervisor_of(int fd)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	if (fcntl(fd, F_GETLK, &l) < 0 || l.l_type == F_UNLCK)
		return 0;
	return l.l_pid > 0 ? l.l_pid : ELSEWHERE;
}

// Somebody may have removed the file (a reset) between its opening and its locking.
static bool is_current(const char *data_dir, int fd)
{
	AUTO_FREE char *path = fl_asprintf("%s/lock", data_dir);
	struct stat there, here;
	return stat(path, &there) == 0 && fstat(fd, &here) == 0 && there.st_dev == here.st_dev &&
	       there.st_ino == here.st_ino;
}

int fl_supervisor_lock(const char *data_dir, int *ret_fd, struct fl_err *err)
{
	uint64_t begun = fl_mono_ms();
	for (;;) {
		int rc = fl_file_mkdirs(data_dir, 0700, err);
		if (rc < 0)
			return rc;
		AUTO_CLOSE int fd = open_lock(data_dir, err);
		if (fd < 0)
			return fd;
		if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
			if (fl_mono_ms() - begun > (supervisor_of(fd) ? HOLDER_MS : ORPHANS_MS))
				return fl_err_set(err, -EBUSY, "data directory %s is in use by `fairlead` (pid %d)",
						  data_dir, (int)written_in(fd));
			poll(NULL, 0, LOOK_MS); // roles on their way out, or one that has just begun
			continue;
		}
		if (!is_current(data_dir, fd))
			continue;
		struct flock mine = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
		if (fcntl(fd, F_SETLK, &mine) < 0)
			return fl_err_set(err, -errno, "lock %s: %s", data_dir, strerror(errno));
		char text[16];
		int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
		if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
			return fl_err_set(err, -EIO, "write the lock of %s: %s", data_dir, strerror(errno));
		*ret_fd = TAKE_FD(fd);
		return 0;
	}
}

static bool is_free(int fd)
{
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return false;
	flock(fd, LOCK_UN);
	return true;
}

int fl_supervisor_stop_other(const char *data_dir, unsigned wait_ms, struct fl_err *err)
{
	AUTO_FREE char *path = fl_asprintf("%s/lock", data_dir);
	if (access(path, F_OK) < 0)
		return 0;
	AUTO_CLOSE int fd = open_lock(data_dir, err);
	if (fd < 0)
		return fd;
	if (is_free(fd))
		return 0;
	pid_t pid = supervisor_of(fd);
	if (pid == ELSEWHERE)
		return fl_err_set(err, -EPERM,
				  "stop `fairlead up`: it runs in another pid namespace, where its pid is %d; end it "
				  "there",
				  (int)written_in(fd));
	AUTO_CLOSE int pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	if (pidfd < 0 || supervisor_of(fd) != pid)
		return 0; // it has ended, if not its last role
	static const int signals[] = {SIGTERM, SIGKILL};
	for (unsigned i = 0; i < FL_COUNT(signals); i++) {
		if (syscall(SYS_pidfd_send_signal, pidfd, signals[i], NULL, 0) < 0 && errno != ESRCH)
			return fl_err_set(err, -errno, "stop `fairlead up` (pid %d): %s", (int)pid, strerror(errno));
		struct pollfd p = {.fd = pidfd, .events = POLLIN};
		if (poll(&p, 1, (int)wait_ms) > 0)
			return 0;
	}
	return fl_err_set(err, -ETIMEDOUT, "stop `fairlead up` (pid %d): it did not end", (int)pid);
}
