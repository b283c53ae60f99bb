// SPDX-License-Identifier: Apache-2.0
// The shim against an OCI runtime that is a shell script: what it keeps of a container's output and end.
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>

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

// What the node makes before it starts a shim, and the shim itself, in `dir`.
static void prepare(void)
{
	static const char *const parts[] = {"lower", "rootfs", "upper", "work"};
	AUTO_FREE char *shim = fl_asprintf("%s/fairlead-shim", dir), *lower = fl_asprintf("%s/lower", dir),
		       *no_lower = fl_asprintf("%s/no-lower", dir);
	struct fl_embedded program = fl_embedded_shim();

	for (size_t i = 0; i < FL_COUNT(parts); i++) {
		AUTO_FREE char *part = fl_asprintf("%s/%s", dir, parts[i]);

		assert_int_equal(fl_file_mkdirs(part, 0755, NULL), 0);
	}
	if (access(no_lower, F_OK) == 0)
		assert_int_equal(rmdir(lower), 0);
	assert_int_equal(fl_file_write(shim, program.data, program.len, 0755, NULL), 0);
	put("runtime", runtime, 0755);
}

// Runs the shim to its end; what it told on its status pipe. free()
static char *run_shim(const char *log_max)
{
	AUTO_FREE char *shim = fl_asprintf("%s/fairlead-shim", dir), *log = fl_asprintf("%s/log", dir),
		       *script = fl_asprintf("%s/runtime", dir), *lock = fl_asprintf("%s/lock", dir);
	int status_pipe[2], status, lock_fd;
	char text[128] = "";

	prepare();
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

static int begin_on_a_small_disk(void **state)
{
	AUTO_FREE char *size = fl_asprintf("size=%zu", fl_embedded_shim().len + 256 * 1024);

	return begin(state) < 0 || mount("tmpfs", dir, "tmpfs", 0, size) < 0 ? -1 : 0;
}

static int end_on_a_small_disk(void **state)
{
	return umount2(dir, MNT_DETACH) < 0 ? -1 : fl_file_remove_all(dir, NULL);
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

#define FILL "head -c 100000000 /dev/zero >full 2>/dev/null; "

struct told {
	struct fl_ctr *ctr;
	int64_t started_ns;
	bool ended;
	struct fl_ctr_exit e;
};

static void on_started(void *arg, int64_t started_ns)
{
	((struct told *)arg)->started_ns = started_ns;
}

static void on_exit_told(void *arg, const struct fl_ctr_exit *e)
{
	struct told *t = arg;

	t->ended = true;
	t->e = *e;
	fl_ctr_free(&t->ctr);
}

static void keep_alive(uv_handle_t *handle, void *arg)
{
	if (!uv_is_closing(handle))
		uv_ref(handle);
}

// As the node runs it: what it is told of the container. -errno of the start.
static int run_by_node(struct told *t, struct fl_err *err)
{
	AUTO_FREE char *shim = fl_asprintf("%s/fairlead-shim", dir), *log = fl_asprintf("%s/log", dir),
		       *script = fl_asprintf("%s/runtime", dir);
	struct fl_node_paths paths = {.shim = shim, .runtime_root = (char *)"/state"};
	uv_loop_t loop;
	struct fl_ctr_opts o = {
	    .loop = &loop,
	    .paths = &paths,
	    .runtime = script,
	    .dir = dir,
	    .id = "id",
	    .cgroup = "/fairlead-none",
	    .log = log,
	    .on_started = on_started,
	    .on_exit = on_exit_told,
	    .arg = t,
	};

	assert_int_equal(uv_loop_init(&loop), 0);
	int rc = fl_ctr_start(&o, &t->ctr, err);
	while (rc == 0 && !t->ended)
		uv_run(&loop, UV_RUN_ONCE);
	uv_walk(&loop, keep_alive, NULL); // the shim's process does not hold the loop; here it is waited for
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	return rc;
}

static void an_end_is_recorded_on_a_full_disk(void **state)
{
	struct told t = {0};
	struct fl_ctr_exit e = {0};
	struct fl_err err = {0};

	prepare();
	put("program", FILL "exit 0", 0644);
	assert_int_equal(run_by_node(&t, &err), 0);
	assert_true(t.started_ns > 0 && t.e.code == 0 && t.e.ran && !t.e.lost);
	AUTO_FREE char *room = run_shell("head -c 10000 /dev/zero >%s/more 2>/dev/null || echo full", dir);
	assert_string_equal(room, "full");
	assert_true(fl_ctr_read_exit(dir, &e));
	assert_true(e.code == 0 && e.ran && !e.lost && e.started_ns > 0 && e.finished_ns >= e.started_ns);
	AUTO_FREE char *started = get("started");
	assert_int_equal(strtoll(started, NULL, 10), e.started_ns);
	assert_int_equal(strcspn(started, "\n") + 1, strlen(started)); // nothing of the room is left in it
}

static void nothing_starts_without_room_for_its_end(void **state)
{
	struct told t = {0};
	struct fl_err err = {0};

	prepare();
	put("program", "exit 0", 0644);
	free(run_shell("cd %s; touch lock started.new exit.new; " FILL, dir));
	assert_int_equal(run_by_node(&t, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "started.new: No space left on device"));
	assert_int_equal(fl_ctr_shim_pid(dir), 0);
	free(run_shell("rm %s/full", dir)); // there is room again, and nothing is left in the way
	assert_int_equal(run_by_node(&t, &err), 0);
	assert_true(t.e.code == 0 && t.e.ran && !t.e.lost);
}

static void logs_that_no_disk_takes_push_none_out(void **state)
{
	put("program",
	    "seq 300; sleep 0.1; " FILL "for i in 1 2 3 4 5 6; do seq 10000 11000; done; rm full; echo after", 0644);
	free(run_shim("8192"));
	AUTO_FREE char *old = run_shell("cd %s && cat log* | grep -c -E ' F [0-9]{1,3}$'", dir);
	assert_string_equal(old, "300");
	AUTO_FREE char *torn =
	    run_shell("cd %s && cat log* | grep -v -c -E '^[0-9TZ:.-]{30} stdout F [0-9a-z]+$'", dir);
	assert_string_equal(torn, "0");
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
	    cmocka_unit_test_setup_teardown(an_end_is_recorded_on_a_full_disk, begin_on_a_small_disk,
					    end_on_a_small_disk),
	    cmocka_unit_test_setup_teardown(nothing_starts_without_room_for_its_end, begin_on_a_small_disk,
					    end_on_a_small_disk),
	    cmocka_unit_test_setup_teardown(logs_that_no_disk_takes_push_none_out, begin_on_a_small_disk,
					    end_on_a_small_disk),
	};

	if (geteuid() != 0) {
		printf("SKIP: needs root\n");
		return 77;
	}
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 1;
	snprintf(dir, sizeof(dir), "/tmp/fairlead-shim-test-%d", (int)getpid());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
