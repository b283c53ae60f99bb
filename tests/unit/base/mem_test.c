// SPDX-License-Identifier: Apache-2.0
// Allocation helpers, hand-over and cleanup macros; running out of memory ends the process with one line.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/vec.h"

static void strings(void **state)
{
	AUTO_FREE char *a = fl_strdup("abc"), *b = fl_strndup("abcdef", 2), *c = fl_strndup("ab", 9);
	AUTO_FREE char *d = fl_asprintf("%d-%s", 5, "x");
	assert_string_equal(a, "abc");
	assert_string_equal(b, "ab");
	assert_string_equal(c, "ab");
	assert_string_equal(d, "5-x");
}

static void zero_sizes_give_memory(void **state)
{
	AUTO_FREE void *a = fl_malloc(0), *b = fl_calloc(0, 8), *c = fl_realloc(fl_malloc(4), 0);
	assert_non_null(a);
	assert_non_null(b);
	assert_non_null(c);
}

static void handles_are_closed_and_taken(void **state)
{
	int raw;
	{
		AUTO_CLOSE int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		raw = fd;
		assert_true(raw >= 0);
	}
	assert_int_equal(fcntl(raw, F_GETFD), -1);
	{
		AUTO_CLOSE int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		raw = TAKE_FD(fd);
		assert_int_equal(fd, -1);
	}
	assert_true(fcntl(raw, F_GETFD) >= 0);
	close(raw);
	char *p = fl_strdup("x"), *q = TAKE_PTR(p);
	assert_null(p);
	free(q);
}

static void container_of(void **state)
{
	struct outer {
		int a;
		struct {
			int b;
		} inner;
	} o;
	assert_ptr_equal(FL_CONTAINER_OF(&o.inner, struct outer, inner), &o);
}

static void vectors(void **state)
{
	FL_VEC(int) v = {0};
	for (int i = 0; i < 100; i++)
		fl_vec_push(&v, i);
	assert_int_equal(v.n, 100);
	fl_vec_remove(&v, 0);
	fl_vec_remove(&v, 98);
	fl_vec_remove(&v, 10);
	assert_int_equal(v.n, 97);
	assert_int_equal(v.v[0], 1);
	assert_int_equal(v.v[9], 10);
	assert_int_equal(v.v[10], 12);
	assert_int_equal(v.v[96], 98);
	fl_vec_reserve(&v, 1000);
	assert_true(v.cap >= 1000);
	fl_vec_deinit(&v);
	assert_int_equal(v.n + v.cap, 0);
}

// Under AddressSanitizer malloc ends the process by itself, with another signal and other words.
static void no_memory_ends_the_process(void **state)
{
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(fds[1], STDERR_FILENO);
		fl_log_init("test", FL_LOG_INFO);
		volatile size_t huge = SIZE_MAX / 2;
		free(fl_malloc(huge));
		_exit(0);
	}
	close(fds[1]);
	char text[4096] = "";
	size_t n = 0;
	for (ssize_t got; (got = read(fds[0], text + n, sizeof(text) - 1 - n)) > 0;)
		n += (size_t)got;
	close(fds[0]);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
#ifndef FL_SANITIZE
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	assert_non_null(strstr(text, "error test: out of memory want="));
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(strings),
	    cmocka_unit_test(zero_sizes_give_memory),
	    cmocka_unit_test(handles_are_closed_and_taken),
	    cmocka_unit_test(container_of),
	    cmocka_unit_test(vectors),
	    cmocka_unit_test(no_memory_ends_the_process),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
