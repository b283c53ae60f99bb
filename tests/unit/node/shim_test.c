// SPDX-License-Identifier: Apache-2.0
// The shim against an OCI runtime that is a shell script: what it keeps of a container's output and end.
#include <signal.h>
#include <sys/file.h>

#include "node/ctr.h"
#include "pods_harness.h"

static char dir[64];

// The container is whatever stands in $DIR/program, started by `create` and orphaned by its end.
static const char runtime[] =
    "#!/bin/sh\n"
    "while [ \"${1#--}\" != \"$1\" ]; do shift 2; done\n"
    "case $1 in\n"
    "create) [ -e fail ] && { echo '{\"level\":\"error\",\"msg\":\"no such program\"}' >runtime.log; exit 1; }\n"
    "        grep -q ' overlay ' /proc/self/mountinfo || exit 2\n"
    "        sh -c 'until [ -e go ]; do sleep 0.01; done; . ./program' & echo $! >pid;;\n"
    "start)  touch go;;\n"
    "delete) touch deleted;;\n"
    "esac\n";

static void put(const char *name, const char *text, mode_t mode)
{
	AUTO_FREE char *path = fl_asprintf("%s/%s", dir, name);

	assert_int_equal(fl_file_write(path, text, strlen(text), mode, NULL), 0);
}

static char *get(const char *name)
{
	AUTO_FREE char *path = fl_asprintf("%s/%s", dir, name);
	char *text = NULL;

	return fl_file_read(path, &text, NULL, NULL) < 0 ? fl_strdup("(none)") : text;
}

// Runs the shim to its end; what it told on its status pipe. free()
static char *run_shim(const char *log_max)
{
	static const char *const parts[] = {"lower", "rootfs", "upper", "work"};
	AUTO_FREE char *shim = fl_asprintf("%s/fairlead-shim", dir), *log = fl_asprintf("%s/log", dir),
		       *script = fl_asprintf("%s/runtime", dir), *lock = fl_asprintf("%s/lock", dir),
		       *lower = fl_asprintf("%s/lower", dir), *no_lower = fl_asprintf("%s/no-lower", dir);
	struct fl_embedded program = fl_embedded_shim();
	int status_pipe[2], status, lock_fd;
	char text[128] = "";

	for (size_t i = 0; i < FL_COUNT(parts); i++) {
		AUTO_FREE char *part = fl_asprintf("%s/%s", dir, parts[i]);

		assert_int_equal(fl_file_mkdirs(part, 0755, NULL), 0);
	}
	if (access(no_lower, F_OK) == 0)
		assert_int_equal(rmdir(lower), 0);
	assert_int_equal(fl_file_write(shim, program.data, program.len, 0755, NULL), 0);
	put("runtime", runtime, 0755);
	lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(flock(lock_fd, LOCK_EX | LOCK_NB), 0);
	assert_int_equal(pipe2(status_pipe, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		int fds[] = {fcntl(status_pipe[1], F_DUPFD, 10), fcntl(lock_fd, F_DUPFD, 10)};

		dup2(fds[0], 3);
		dup2(fds[1], 4);
		execl(shim, "fairlead-shim", dir, log, script, "/state", "id", "/fairlead-none", log_max, (char *)NULL);
		_exit(127);
	}
	close(status_pipe[1]);
	close(lock_fd);
	assert_true(read(status_pipe[0], text, sizeof(text) - 1) > 0);
	close(status_pipe[0]);
	if (strncmp(text, "started", 7) == 0)
		assert_int_equal(fl_ctr_shim_pid(dir), pid); // it holds the lock that was handed over
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(fl_ctr_shim_pid(dir), 0);
	return fl_strdup(text);
}

static int begin(void **state)
{
	return fl_file_mkdirs(dir, 0755, NULL);
}

static int end(void **state)
{
	return fl_file_remove_all(dir, NULL);
}

static void output_and_exit_status(void **state)
{
	struct fl_ctr_exit e;

	put("program", "echo one; echo two >&2; printf half; exit 3", 0644);
	AUTO_FREE char *told = run_shim("0"), *log = get("log");
	assert_int_equal(strncmp(told, "started ", 8), 0);
	assert_true(fl_ctr_read_exit(dir, &e));
	assert_true(e.code == 3 && e.ran && !e.oom && !e.lost && e.started_ns > 0 && e.finished_ns >= e.started_ns);
	assert_non_null(strstr(log, "Z stdout F one\n"));
	assert_non_null(strstr(log, "Z stderr F two\n"));
	assert_non_null(strstr(log, "Z stdout P half\n"));
	AUTO_FREE char *deleted = get("deleted"), *mounts = run_shell("grep -c %s /proc/self/mountinfo", dir);
	assert_string_equal(deleted, "");
	assert_string_equal(mounts, "0"); // the overlay was the container's alone
}

static void killed_by_a_signal(void **state)
{
	struct fl_ctr_exit e;

	put("program", "kill -KILL $$", 0644);
	free(run_shim("0"));
	assert_true(fl_ctr_read_exit(dir, &e));
	assert_int_equal(e.code, 137);
}

// With a file `fault` that spoils the start: it does not run, and `reason` is what the node will tell.
static void expect_no_start(const char *fault, const char *reason)
{
	struct fl_ctr_exit e;

	put("program", "", 0644);
	put(fault, "", 0644);
	AUTO_FREE char *told = run_shim("0"), *log = fl_asprintf("%s/runtime.log", dir),
		       *why = fl_ctr_runtime_error(log);
	assert_string_equal(told, "failed\n");
	assert_true(fl_ctr_read_exit(dir, &e));
	assert_true(e.code == 128 && !e.ran);
	assert_string_equal(why, reason);
}

static void what_cannot_be_started(void **state)
{
	expect_no_start("fail", "no such program");
}

static void tells_why_there_is_no_root_file_system(void **state)
{
	expect_no_start("no-lower", "overlay file system of the container: No such file or directory");
}

static void logs_are_rotated(void **state)
{
	put("program", "seq 1000; head -c 40000 /dev/zero | tr '\\0' x; echo", 0644);
	free(run_shim("8192"));
	AUTO_FREE char *files = run_shell("cd %s && ls log*", dir);
	assert_string_equal(files, "log\nlog.1\nlog.2\nlog.3");
	AUTO_FREE char *partial = run_shell("cd %s && cat log.3 log.2 log.1 log | grep -c ' P xxx'", dir);
	AUTO_FREE char *all = run_shell(
	    "cd %s && cat log.3 log.2 log.1 log | sed -n 's/.* [PF] \\(x*\\)$/\\1/p' | tr -d '\\n' | wc -c", dir);
	assert_string_equal(partial, "2"); // of 16 KiB each; the rest ends with the newline
	assert_string_equal(all, "40000");
	AUTO_FREE char *torn = run_shell("cd %s && cat log* | grep -v -c -E '^[0-9TZ:.-]{30} std(out|err) [FP] '", dir);
	assert_string_equal(torn, "0");
}

static void old_logs_are_dropped(void **state)
{
	put("program", "head -c 200000 /dev/zero | tr '\\0' x", 0644);
	free(run_shim("8192"));
	AUTO_FREE char *files = run_shell("cd %s && ls log*", dir);
	assert_string_equal(files, "log\nlog.1\nlog.2\nlog.3\nlog.4");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(output_and_exit_status, begin, end),
	    cmocka_unit_test_setup_teardown(killed_by_a_signal, begin, end),
	    cmocka_unit_test_setup_teardown(what_cannot_be_started, begin, end),
	    cmocka_unit_test_setup_teardown(tells_why_there_is_no_root_file_system, begin, end),
	    cmocka_unit_test_setup_teardown(logs_are_rotated, begin, end),
	    cmocka_unit_test_setup_teardown(old_logs_are_dropped, begin, end),
	};

	if (geteuid() != 0) {
		printf("SKIP: needs root\n");
		return 77;
	}
	snprintf(dir, sizeof(dir), "/tmp/fairlead-shim-test-%d", (int)getpid());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
