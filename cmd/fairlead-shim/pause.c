// SPDX-License-Identifier: Apache-2.0
// Of a maker that is killed half way nothing is left: the child waits for its word and ends with it.
//
// The containers see the first process of their namespace, and one with CAP_SYS_PTRACE may look and reach into it:
// there is nothing of the host in it then. It has the pod's namespaces, an empty read-only root, no capability, a user
// that owns nothing, and its program through a mount that cannot be written.
#include "pause.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65535 // the user of Kubernetes' own pause image

static int failed(const char *what)
{
	dprintf(STDERR_FILENO, "%s: %s\n", what, strerror(errno));
	return 1;
}

// This program, or -1.
static int open_self(void)
{
	struct mount_attr readonly = {.attr_set = MOUNT_ATTR_RDONLY};
	int fd = open_tree(AT_FDCWD, "/proc/self/exe", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (fd >= 0 && mount_setattr(fd, "", AT_EMPTY_PATH, &readonly, sizeof(readonly)) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return open("/proc/self/exe", O_RDONLY | O_CLOEXEC); // Linux before 5.12
}

// <ns>/<uid>.<kind> beside <ns>/<uid>.pid; a pod on the host's network has not all of them.
static int join(const char *ns_file, const char *kind)
{
	char path[4096];
	const char *dot = strrchr(ns_file, '.');
	int fd, rc;

	snprintf(path, sizeof(path), "%.*s.%s", dot ? (int)(dot - ns_file) : (int)strlen(ns_file), ns_file, kind);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	rc = setns(fd, 0);
	close(fd);
	return rc;
}

static int empty_root(const char *ns_file)
{
	char dir[4096];
	const char *slash = strrchr(ns_file, '/');

	snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - ns_file) : 1, slash ? ns_file : ".");
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", dir, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0555,size=4k") < 0 ||
	    chdir(dir) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0)
		return -1;
	return chdir("/");
}

static int drop_rights(void)
{
	for (int cap = 0; cap <= 63 && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; cap++)
		;
	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return -1;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

// Ends, or is /pause; `result` gets a byte if it cannot be.
__attribute__((noreturn)) static void child(const char *ns_file, int self, int word, int result)
{
	char *const argv[] = {"/pause", NULL}, *const env[] = {NULL};
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	char go;

	if (read(word, &go, 1) != 1)
		_exit(1);
	if (null_fd < 0 || setsid() < 0 || join(ns_file, "ipc") < 0 || join(ns_file, "uts") < 0 ||
	    join(ns_file, "net") < 0 || empty_root(ns_file) < 0 || drop_rights() < 0) {
		failed("what the first process of the namespace may reach");
	} else {
		close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
		for (int i = 0; i < 2; i++)
			dup2(null_fd, i);
		fcntl(STDERR_FILENO, F_SETFD, FD_CLOEXEC);
		syscall(SYS_execveat, self, "", argv, env, AT_EMPTY_PATH);
		failed("first process of the namespace");
	}
	if (write(result, "", 1) < 0)
		_exit(2);
	_exit(1);
}

static int write_pid(const char *path, pid_t pid)
{
	char tmp[4096];
	int fd, n;

	snprintf(tmp, sizeof(tmp), "%s.new", path);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	n = dprintf(fd, "%d\n", (int)pid);
	close(fd);
	return n > 0 ? rename(tmp, path) : -1;
}

int pause_make(const char *ns_file, const char *pid_file)
{
	int word[2], result[2], fd, rc = 0, self = open_self();
	char ns[64], no;
	pid_t pid;

	if (self < 0)
		return failed("this program");
	if (pipe2(word, O_CLOEXEC) < 0 || pipe2(result, O_CLOEXEC) < 0 || unshare(CLONE_NEWPID) < 0)
		return failed("new process namespace");
	pid = fork();
	if (pid < 0)
		return failed("first process of the namespace");
	if (pid == 0) {
		close(word[1]);
		close(result[0]);
		child(ns_file, self, word[0], result[1]);
	}
	close(result[1]);
	snprintf(ns, sizeof(ns), "/proc/%d/ns/pid", (int)pid);
	fd = open(ns_file, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		rc = failed(ns_file);
	else if (write_pid(pid_file, pid) < 0)
		rc = failed(pid_file);
	else if (mount(ns, ns_file, NULL, MS_BIND, NULL) < 0)
		rc = failed("bind the namespace");
	else if (write(word[1], "", 1) != 1)
		rc = failed("first process of the namespace");
	else if (read(result[0], &no, 1) > 0) // else it was closed: the child is what it shall be
		rc = 1;
	if (fd >= 0)
		close(fd);
	close(word[1]); // without the word it ends
	return rc;
}

int pause_run(void)
{
	sigset_t wanted;
	int signal;

	prctl(PR_SET_NAME, "pause", 0, 0, 0);
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGCHLD);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGINT);
	sigprocmask(SIG_BLOCK, &wanted, NULL);
	for (;;) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (sigwait(&wanted, &signal) == 0 && signal != SIGCHLD)
			return 0;
	}
}
