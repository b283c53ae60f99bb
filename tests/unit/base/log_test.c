// SPDX-License-Identifier: Apache-2.0
// What reaches stderr: one line, no control characters, bounded, filtered by level.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

static char out[16384];

// Runs one log call with stderr redirected into a pipe; returns what was written.
#define LOGGED(call)                                                                                                   \
	({                                                                                                             \
		int fds[2];                                                                                            \
		assert_int_equal(pipe(fds), 0);                                                                        \
		int saved = dup(STDERR_FILENO);                                                                        \
		dup2(fds[1], STDERR_FILENO);                                                                           \
		close(fds[1]);                                                                                         \
		call;                                                                                                  \
		dup2(saved, STDERR_FILENO);                                                                            \
		close(saved);                                                                                          \
		ssize_t n = read(fds[0], out, sizeof(out) - 1);                                                        \
		close(fds[0]);                                                                                         \
		assert_true(n >= 0);                                                                                   \
		out[n] = '\0';                                                                                         \
		out;                                                                                                   \
	})

static void line_has_level_and_component(void **state)
{
	fl_log_init("proxy", FL_LOG_INFO);
	assert_string_equal(LOGGED(fl_info("synced services=%d", 3)), "info proxy: synced services=3\n");
	assert_string_equal(LOGGED(fl_warn("w")), "warn proxy: w\n");
	assert_string_equal(LOGGED(fl_error("e")), "error proxy: e\n");
}

static void lower_levels_are_silent(void **state)
{
	fl_log_init("dns", FL_LOG_WARN);
	assert_string_equal(LOGGED(fl_info("x")), "");
	assert_string_equal(LOGGED(fl_warn("x")), "warn dns: x\n");
	fl_log_init("dns", FL_LOG_DEBUG);
	assert_string_equal(LOGGED(fl_debug("x")), "debug dns: x\n");
}

static void a_message_cannot_forge_a_line(void **state)
{
	fl_log_init("node", FL_LOG_INFO);
	assert_string_equal(LOGGED(fl_info("a\nerror node: b\r\x1b[2J\x7f")), "info node: a error node: b  [2J \n");
}

static void long_messages_are_one_bounded_write(void **state)
{
	char big[9000];
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	const char *s = LOGGED(fl_info("%s", big));
	assert_true(strlen(s) <= PIPE_BUF);
	assert_string_equal(s + strlen(s) - 4, "...\n");
}

static void errno_survives(void **state)
{
	errno = ENOTCONN;
	(void)LOGGED(fl_info("x"));
	errno = ENOTCONN;
	fl_debug("not printed");
	assert_int_equal(errno, ENOTCONN);
	int before = dup(STDERR_FILENO), null = open("/dev/full", O_WRONLY | O_CLOEXEC);
	dup2(null, STDERR_FILENO);
	errno = ENOTCONN;
	fl_error("cannot be written");
	int after = errno;
	dup2(before, STDERR_FILENO);
	close(before);
	close(null);
	assert_int_equal(after, ENOTCONN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(line_has_level_and_component),
	    cmocka_unit_test(lower_levels_are_silent),
	    cmocka_unit_test(a_message_cannot_forge_a_line),
	    cmocka_unit_test(long_messages_are_one_bounded_write),
	    cmocka_unit_test(errno_survives),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
