// SPDX-License-Identifier: Apache-2.0
// One user of a data directory: who waits, who is refused, who is ended.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "supervisor/supervisor.h"

static char dir[] = "/tmp/fl-lock-test-XXXXXX";
static int say[2]; // the holder has the lock

static int begin(void **state)
{
	return !mkdtemp(dir) || pipe(say) < 0;
}

static int end(void **state)
{
	struct fl_err err;

	return fl_file_remove_all(dir, &err);
}

// A process that holds the lock, or whose child does after it has ended itself (as a role does); for ms, 0: until
// ended.
static pid_t holder(unsigned ms, bool by_child)
{
	struct fl_err err = {0};
	char c;
	int fd;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0) {
		assert_int_equal(read(say[0], &c, 1), 1);
		return pid;
	}
	if (fl_supervisor_lock(dir, &fd, &err) < 0)
		_exit(1);
	if (by_child && fork() > 0)
		_exit(0);
	if (write(say[1], "", 1) != 1)
		_exit(1);
	if (!ms)
		pause();
	usleep(ms * 1000);
	_exit(0);
}

static void take(void)
{
	struct fl_err err = {0};
	int fd = -1;

	assert_int_equal(fl_supervisor_lock(dir, &fd, &err), 0);
	close(fd);
}

static void a_holder_that_stays_is_named(void **state)
{
	struct fl_err err = {0};
	int fd = -1;
	pid_t pid = holder(0, false);
	AUTO_FREE char *who = fl_asprintf("(pid %d)", (int)pid);

	assert_int_equal(fl_supervisor_lock(dir, &fd, &err), -EBUSY);
	assert_int_equal(fd, -1);
	assert_non_null(strstr(err.text, who));
	assert_int_equal(fl_supervisor_stop_other(dir, 20000, &err), 0);
	take();
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(fl_supervisor_stop_other(dir, 20000, &err), 0); // nobody is there
}

static void a_holder_that_is_about_to_end_is_awaited(void **state)
{
	pid_t pid = holder(30, false);

	take();
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void a_role_that_outlives_its_supervisor_is_awaited(void **state)
{
	pid_t pid = holder(1500, true); // longer than a holder that lives is awaited

	assert_int_equal(waitpid(pid, NULL, 0), pid);
	take();
}

// The pid in the file may be anybody's by now.
static void a_stranger_is_not_ended(void **state)
{
	struct fl_err err = {0};
	AUTO_FREE char *path = fl_asprintf("%s/lock", dir);
	AUTO_CLOSE int fd = -1;
	pid_t stranger = fork();

	if (stranger == 0)
		for (;;)
			pause();
	pid_t pid = holder(300, true); // a role that has yet to end
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_true(dprintf(fd, "%d\n", (int)stranger) > 0);
	assert_int_equal(fl_supervisor_stop_other(dir, 20000, &err), 0);
	take(); // waits for the role
	assert_int_equal(waitpid(stranger, NULL, WNOHANG), 0);
	kill(stranger, SIGKILL);
	assert_int_equal(waitpid(stranger, NULL, 0), stranger);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_holder_that_stays_is_named),
	    cmocka_unit_test(a_holder_that_is_about_to_end_is_awaited),
	    cmocka_unit_test(a_role_that_outlives_its_supervisor_is_awaited),
	    cmocka_unit_test(a_stranger_is_not_ended),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
