// SPDX-License-Identifier: Apache-2.0
// Programs that end well, badly, late, never, and after having written too much.
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "io/subprocess.h"

struct result {
	unsigned n;
	int rc, status;
	struct fl_buf out, errout;
};

static void on_exit_cb(void *arg, int rc, int status, const char *out, size_t out_len, const char *errout,
		       size_t err_len)
{
	struct result *r = arg;
	r->n++;
	r->rc = rc;
	r->status = status;
	r->out.len = r->errout.len = 0;
	fl_buf_append(&r->out, out, out_len);
	fl_buf_append(&r->errout, errout, err_len);
	assert_int_equal(out[out_len], 0);
	assert_int_equal(errout[err_len], 0);
}

static void run(struct fl_subprocess_opts *o, struct result *r)
{
	struct fl_err err = {0};
	uv_loop_t loop;
	uv_loop_init(&loop);
	r->n = 0;
	o->on_exit = on_exit_cb;
	o->arg = r;
	if (fl_subprocess_start(&loop, o, NULL, &err) < 0)
		fail_msg("%s", err.text);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	assert_int_equal(r->n, 1);
}

static void sh(const char *script, struct fl_subprocess_opts *o, struct result *r)
{
	const char *argv[] = {"sh", "-c", script, NULL};
	o->argv = argv;
	run(o, r);
}

static void free_result(struct result *r)
{
	fl_buf_deinit(&r->out);
	fl_buf_deinit(&r->errout);
}

static void collects_output(void **state)
{
	AUTO(free_result) struct result r = {0};
	sh("echo out; echo err >&2; exit 3", &(struct fl_subprocess_opts){0}, &r);
	assert_int_equal(r.rc, 0);
	assert_int_equal(r.status, 3);
	assert_string_equal(r.out.data, "out\n");
	assert_string_equal(r.errout.data, "err\n");
	sh(":", &(struct fl_subprocess_opts){0}, &r);
	assert_int_equal(r.status, 0);
	assert_string_equal(r.out.data, "");
	sh("echo again > /dev/stdout", &(struct fl_subprocess_opts){0}, &r);
	assert_string_equal(r.out.data, "again\n");
}

static void passes_environment_directory_and_input(void **state)
{
	AUTO(free_result) struct result r = {0};
	const char *const env[] = {"PATH=/usr/bin:/bin", "A=b c", NULL};
	sh("pwd; echo \"$A\"; cat",
	   &(struct fl_subprocess_opts){.env = env, .cwd = "/usr", .input = "in\n", .input_len = 3}, &r);
	assert_string_equal(r.out.data, "/usr\nb c\nin\n");
	sh("cat", &(struct fl_subprocess_opts){0}, &r); // stdin is /dev/null
	assert_string_equal(r.out.data, "");
	AUTO_FREE char *big = fl_calloc(1, 1 << 20);
	memset(big, 'a', 1 << 20);
	sh("wc -c", &(struct fl_subprocess_opts){.input = big, .input_len = 1 << 20}, &r);
	assert_int_equal(atoi(r.out.data), 1 << 20);
	sh("exit 0", &(struct fl_subprocess_opts){.input = big, .input_len = 1 << 20}, &r); // never reads it
	assert_int_equal(r.rc, 0);
	assert_int_equal(r.status, 0);
}

static void drops_output_beyond_the_bound(void **state)
{
	AUTO(free_result) struct result r = {0};
	sh("head -c 3000000 /dev/zero; echo done >&2", &(struct fl_subprocess_opts){.max_output = 1000}, &r);
	assert_int_equal(r.status, 0);
	assert_int_equal(r.out.len, 1000);
	assert_string_equal(r.errout.data, "done\n");
	sh("head -c 3000000 /dev/zero", &(struct fl_subprocess_opts){.max_output = 4000000}, &r);
	assert_int_equal(r.out.len, 3000000);
}

static void tells_signals(void **state)
{
	AUTO(free_result) struct result r = {0};
	sh("kill -TERM $$", &(struct fl_subprocess_opts){0}, &r);
	assert_int_equal(r.rc, 0);
	assert_int_equal(r.status, -SIGTERM);
	sh("kill -PIPE $$", &(struct fl_subprocess_opts){0}, &r); // ignored by us, not by it
	assert_int_equal(r.status, -SIGPIPE);
}

static void kills_the_group_at_the_time_out(void **state)
{
	AUTO(free_result) struct result r = {0};
	sh("echo $$; sleep 1000 & sleep 1000", &(struct fl_subprocess_opts){.timeout_ms = 100}, &r);
	assert_int_equal(r.rc, -ETIMEDOUT);
	assert_int_equal(r.status, -SIGKILL);
	pid_t group = atoi(r.out.data);
	assert_true(group > 1);
	while (kill(-group, 0) == 0) // the second sleep is reaped by init
		uv_sleep(1);
	assert_int_equal(errno, ESRCH);
}

// A program that leaves a child holding its output has ended all the same.
static void does_not_wait_for_grandchildren(void **state)
{
	AUTO(free_result) struct result r = {0};
	sh("echo $$; sleep 1000 & exit 0", &(struct fl_subprocess_opts){0}, &r);
	assert_int_equal(r.rc, 0);
	assert_int_equal(r.status, 0);
	assert_int_equal(kill(-atoi(r.out.data), SIGKILL), 0);
}

static void inherits_no_descriptors(void **state)
{
	AUTO(free_result) struct result r = {0};
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	// Builtins only: a pipeline or a glob of the shell would open descriptors of its own.
	sh("for n in 0 1 2 3 4 5 6 7 8 9 10 11 12; do [ -e /proc/$$/fd/$n ] && echo -n \"$n \"; done; true",
	   &(struct fl_subprocess_opts){0}, &r);
	close(fds[0]);
	close(fds[1]);
	assert_string_equal(r.out.data, "0 1 2 ");
}

static void says_what_cannot_be_started(void **state)
{
	uv_loop_t loop;
	uv_loop_init(&loop);
	struct fl_err err = {0};
	const char *const argv[] = {"/nonexistent/program", NULL};
	struct fl_subprocess_opts o = {.argv = argv, .on_exit = on_exit_cb};
	assert_int_equal(fl_subprocess_start(&loop, &o, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent/program"));
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void runs_blocking(void **state)
{
	struct fl_err err = {0};
	int status = -1;
	AUTO_FREE char *out = NULL;
	const char *const ok[] = {"echo", "hello", NULL};
	assert_int_equal(fl_subprocess_run(ok, 10000, &status, &out, &err), 0);
	assert_int_equal(status, 0);
	assert_string_equal(out, "hello\n");
	const char *const bad[] = {"sh", "-c", "echo why >&2; exit 7", NULL};
	assert_int_equal(fl_subprocess_run(bad, 10000, &status, NULL, &err), 0);
	assert_int_equal(status, 7);
	assert_non_null(strstr(err.text, "why"));
	const char *const late[] = {"sleep", "1000", NULL};
	assert_int_equal(fl_subprocess_run(late, 50, &status, NULL, &err), -ETIMEDOUT);
	assert_int_equal(status, 7);
	const char *const none[] = {"/nonexistent/program", NULL};
	assert_int_equal(fl_subprocess_run(none, 50, &status, NULL, &err), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(collects_output),
	    cmocka_unit_test(passes_environment_directory_and_input),
	    cmocka_unit_test(drops_output_beyond_the_bound),
	    cmocka_unit_test(tells_signals),
	    cmocka_unit_test(kills_the_group_at_the_time_out),
	    cmocka_unit_test(does_not_wait_for_grandchildren),
	    cmocka_unit_test(inherits_no_descriptors),
	    cmocka_unit_test(says_what_cannot_be_started),
	    cmocka_unit_test(runs_blocking),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
