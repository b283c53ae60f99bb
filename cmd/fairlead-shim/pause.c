// SPDX-License-Identifier: Apache-2.0
// Of a maker that is killed half way nothing is left: the child waits for its word and ends with it.
#include "pause.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static int failed(const char *what)
{
	dprintf(STDERR_FILENO, "%s: %s\n", what, strerror(errno));
	return 1;
}

__attribute__((noreturn)) static void child(int word)
{
	char *const argv[] = {"/pause", NULL}, *const env[] = {NULL};
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	char go;

	if (null_fd < 0 || read(word, &go, 1) != 1 || setsid() < 0 || chdir("/") < 0)
		_exit(1);
	for (int i = 0; i < 3; i++)
		dup2(null_fd, i);
	execve("/proc/self/exe", argv, env); // /proc is still the host's
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
	int word[2], fd, rc = 0;
	char ns[64];
	pid_t pid;

	if (pipe2(word, O_CLOEXEC) < 0 || unshare(CLONE_NEWPID) < 0)
		return failed("new process namespace");
	pid = fork();
	if (pid < 0)
		return failed("first process of the namespace");
	if (pid == 0) {
		close(word[1]);
		child(word[0]);
	}
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
