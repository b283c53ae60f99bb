// SPDX-License-Identifier: Apache-2.0
// fairlead-echo do STEP...: a container or a hook that does exactly what a test asks of it, and leaves a trace.
//
//   append=FILE:TEXT  a line at the end of a file      sleep=MS    some time
//   wait[=NUMBER]     until SIGTERM, or that signal    exit=CODE   the end; without it 0
//   eat=MIB           that much memory, written to     until=FILE  until that file is there
//   leave=MS          a child that sleeps and is not waited for
//
// The signal is noticed by `wait` alone: a container that does something else ignores it.
#include "echo.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int append(const char *arg)
{
	const char *colon = strchr(arg, ':');
	char path[1024], line[1024];
	int fd, n;

	if (!colon)
		return 2;
	snprintf(path, sizeof(path), "%.*s", (int)(colon - arg), arg);
	n = snprintf(line, sizeof(line), "%s\n", colon + 1);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0 || n >= (int)sizeof(line) || write(fd, line, (size_t)n) != n) {
		perror(path);
		return 1;
	}
	close(fd);
	return 0;
}

static int signal_of(const char *step)
{
	int n = step[4] == '=' ? atoi(step + 5) : 0;

	return n > 0 && n < NSIG ? n : SIGTERM;
}

static void wait_for(int signal)
{
	sigset_t wanted;
	int ignored;

	sigemptyset(&wanted);
	sigaddset(&wanted, signal);
	sigwait(&wanted, &ignored);
}

static int eat(const char *arg)
{
	size_t n = strtoul(arg, NULL, 10) << 20;
	volatile char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return 1;
	for (size_t i = 0; i < n; i += 4096)
		p[i] = 1;
	return 0;
}

static void nap(unsigned long ms)
{
	nanosleep(&(struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000}, NULL);
}

int echo_do_main(int argc, char **argv)
{
	sigset_t wanted;

	sigemptyset(&wanted); // as pid 1 it would not get the signal without asking for it
	sigaddset(&wanted, SIGTERM);
	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "wait=", 5) == 0)
			sigaddset(&wanted, signal_of(argv[i]));
	}
	sigprocmask(SIG_BLOCK, &wanted, NULL);
	for (int i = 1; i < argc; i++) {
		const char *step = argv[i], *value = strchr(step, '=');
		int rc = 0;

		value = value ? value + 1 : "";
		if (strncmp(step, "append=", 7) == 0) {
			rc = append(value);
		} else if (strncmp(step, "sleep=", 6) == 0) {
			nap(strtoul(value, NULL, 10));
		} else if (strcmp(step, "wait") == 0 || strncmp(step, "wait=", 5) == 0) {
			wait_for(signal_of(step));
		} else if (strncmp(step, "leave=", 6) == 0) {
			pid_t pid = fork();

			if (pid == 0) {
				nap(strtoul(value, NULL, 10));
				return 0;
			}
			rc = pid < 0;
		} else if (strncmp(step, "eat=", 4) == 0) {
			rc = eat(value);
		} else if (strncmp(step, "until=", 6) == 0) {
			while (access(value, F_OK) < 0)
				nap(5);
		} else if (strncmp(step, "exit=", 5) == 0) {
			return atoi(value);
		} else {
			fprintf(stderr, "fairlead-echo: unknown step %s\n", step);
			rc = 2;
		}
		if (rc != 0)
			return rc;
	}
	return 0;
}
