// SPDX-License-Identifier: Apache-2.0
// The supervisor over roles that are this program itself: a first argument "role" makes it play one. What the
// supervisor prints and logs is read from files in a directory of the test.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/notify.h"
#include "base/str.h"
#include "supervisor/supervisor.h"

#define WAIT_MS 20000 // for what must come; nothing is measured by it

static char dir[] = "/tmp/fl-supervisor-test-XXXXXX";
static char *port_file;

// ---- a role: role NAME BEHAVIOUR...

static void note(const char *name, const char *what)
{
	AUTO_FREE char *path = fl_asprintf("%s/%s", getenv("FL_TEST_DIR"), name);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	AUTO_FREE char *line = fl_asprintf("%s %d\n", what, (int)getpid());

	if (fd < 0 || write(fd, line, strlen(line)) < 0)
		_exit(99);
}

static const char *name_of_role;

static void on_term(int signum)
{
	note("order", name_of_role);
	note("life", "-");
	note("life", name_of_role);
	_exit(0);
}

static void leave_orphan(void)
{
	if (fork() == 0) { // outlives its parent, then ends under the supervisor
		note("orphan", "born");
		while (getppid() == atoi(getenv("FL_TEST_PARENT")))
			poll(NULL, 0, 1);
		_exit(0);
	}
}

static int play_role(int argc, char **argv)
{
	char pid[16];

	name_of_role = argv[2];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("FL_TEST_PARENT", pid, 1);
	signal(SIGTERM, on_term);
	if (getenv("NOTIFY_SOCKET"))
		note("env", "leaked");
	fl_notify_init();
	note(name_of_role, "start");
	note("life", "+");
	note("life", name_of_role);
	for (int i = 3; i < argc; i++) {
		if (fl_streq(argv[i], "deaf"))
			signal(SIGTERM, SIG_IGN);
		if (fl_streq(argv[i], "port")) {
			AUTO_FREE char *path = fl_asprintf("%s/port", getenv("FL_TEST_DIR"));

			if (fl_file_write(path, "7777\n", 5, 0600, NULL) < 0)
				return 98;
		}
		if (fl_streq(argv[i], "ready"))
			fl_notify_ready();
		if (fl_streq(argv[i], "fail"))
			return 3;
		if (fl_streq(argv[i], "once")) { // the first of it dies, leaving a child behind
			AUTO_FREE char *path = fl_asprintf("%s/once", getenv("FL_TEST_DIR"));

			if (access(path, F_OK) < 0) {
				note("once", "died");
				leave_orphan();
				raise(SIGKILL);
			}
		}
		if (fl_streq(argv[i], "env") && (getenv("NOTIFY_SOCKET") || getenv(FL_READY_ENV)))
			note("env", "leaked");
	}
	for (;;)
		pause();
}

// ---- a supervisor in a process of its own

static int on_port(void *arg, uint16_t port, struct fl_err *err)
{
	return port == 7777 ? 0 : fl_err_set(err, -EINVAL, "port %u", port);
}

// There are new certificates once, when the test says so.
static int renew(void *arg, struct fl_err *err)
{
	AUTO_FREE char *old = fl_asprintf("%s/old", dir);

	note("renew", "asked");
	return unlink(old) == 0;
}

static pid_t start(struct fl_supervised *roles, unsigned n)
{
	AUTO_FREE char *out = fl_asprintf("%s/out", dir), *log = fl_asprintf("%s/log", dir);
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	struct fl_supervisor_opts o = {.roles = roles,
				       .n_roles = n,
				       .port_file = port_file,
				       .on_port = on_port,
				       .renew = renew,
				       .renew_every_ms = 5,
				       .admin_kubeconfig = "/admin",
				       .started_ms = fl_mono_ms()};
	struct fl_err err = {0};
	if (!freopen(out, "we", stdout) || !freopen(log, "we", stderr))
		_exit(97);
	fl_log_init("up", FL_LOG_INFO);
	fl_notify_init();
	int rc = fl_supervisor_run(&o, &err);
	if (rc < 0)
		fl_error("%s", err.text);
	_exit(rc < 0 ? 1 : 0);
}

static char *read_note(const char *name)
{
	AUTO_FREE char *path = fl_asprintf("%s/%s", dir, name);
	char *text = NULL;

	return fl_file_read(path, &text, NULL, NULL) == 0 ? text : fl_strdup("");
}

static unsigned count(const char *name, const char *what)
{
	AUTO_FREE char *text = read_note(name);
	unsigned n = 0;

	for (const char *at = text; (at = strstr(at, what)); at++)
		n++;
	return n;
}

static void wait_count(const char *name, const char *what, unsigned n)
{
	uint64_t until = fl_mono_ms() + WAIT_MS;

	while (count(name, what) < n) {
		if (fl_mono_ms() > until) {
			AUTO_FREE char *log = read_note("log");

			fail_msg("no %s in %s; log:\n%s", what, name, log);
		}
		poll(NULL, 0, 2);
	}
}

static int end_of(pid_t pid)
{
	int status = 0;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int stop(pid_t pid)
{
	assert_int_equal(kill(pid, SIGTERM), 0);
	return end_of(pid);
}

static int fresh_dir(void **state)
{
	if (fl_file_remove_all(dir, NULL) < 0 || fl_file_mkdirs(dir, 0700, NULL) < 0)
		return -1;
	unsetenv("NOTIFY_SOCKET");
	return 0;
}

#define ROLE(...) ((char *[]){"role", __VA_ARGS__, NULL})

static void ready_waits_for_every_role(void **state)
{
	struct fl_supervised roles[] = {
	    {"api", ROLE("api", "port", "ready")}, {"a", ROLE("a", "ready")}, {"b", ROLE("b")}};
	pid_t pid = start(roles, 3);

	wait_count("b", "start", 1);
	wait_count("a", "start", 1);
	assert_int_equal(count("out", "ready"), 0);
	// b never says it; another run in which it does
	assert_int_equal(stop(pid), 0);
	assert_int_equal(count("out", "ready"), 0);
	roles[2].argv = ROLE("b", "ready");
	pid = start(roles, 3);
	wait_count("out", "fairlead: ready in ", 1);
	assert_int_equal(count("out", "kubeconfig /admin\n"), 1);
	assert_int_equal(stop(pid), 0);
	assert_int_equal(count("out", "ready"), 1);
}

static void systemd_is_told_and_the_roles_do_not_see_its_socket(void **state)
{
	struct fl_supervised roles[] = {{"api", ROLE("api", "port", "ready", "env")}, {"a", ROLE("a", "env", "ready")}};
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	AUTO_FREE char *path = fl_asprintf("%s/notify", dir);
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char text[64] = "";

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	setenv("NOTIFY_SOCKET", path, 1);
	pid_t pid = start(roles, 2);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	assert_int_equal(recv(fd, text, sizeof(text) - 1, 0), 7);
	assert_string_equal(text, "READY=1");
	assert_int_equal(count("out", "ready"), 1);
	assert_int_equal(stop(pid), 0);
	assert_int_equal(count("env", "leaked"), 0);
}

static bool is_child_of(pid_t child, pid_t parent)
{
	AUTO_FREE char *path = fl_asprintf("/proc/%d/stat", (int)child), *text = NULL;
	int ppid = 0;

	return fl_file_read(path, &text, NULL, NULL) == 0 && sscanf(strrchr(text, ')'), ") %*c %d", &ppid) == 1 &&
	       ppid == parent;
}

// A role that dies comes back, with one line; its child is adopted, and no zombie is left of it.
static void the_dead_are_replaced_and_buried(void **state)
{
	struct fl_supervised roles[] = {{"api", ROLE("api", "port", "ready")}, {"a", ROLE("a", "once", "ready")}};
	pid_t pid = start(roles, 2);

	wait_count("out", "fairlead: ready", 1);
	assert_int_equal(count("a", "start"), 2);
	assert_int_equal(count("log", "role ended, starting it again role=a "), 1);
	assert_int_equal(count("log", "signal=9 after_ms=100"), 1);
	AUTO_FREE char *born = read_note("orphan");
	pid_t orphan = (pid_t)atoi(strchr(born, ' '));
	for (uint64_t until = fl_mono_ms() + WAIT_MS; is_child_of(orphan, pid) && fl_mono_ms() < until;)
		poll(NULL, 0, 2);
	assert_false(is_child_of(orphan, pid)); // reaped: a zombie would still be one
	assert_int_equal(stop(pid), 0);
}

static void an_api_server_that_never_serves_ends_it(void **state)
{
	struct fl_supervised roles[] = {{"api", ROLE("api", "fail")}, {"a", ROLE("a", "ready")}};
	pid_t pid = start(roles, 2);

	assert_int_equal(end_of(pid), 1);
	assert_int_equal(count("api", "start"), 4);
	assert_int_equal(count("a", "start"), 0);
	assert_int_equal(count("log", "the api cannot be started: it ended 4 times (status=3)"), 1);
}

static void the_api_server_ends_last(void **state)
{
	struct fl_supervised roles[] = {
	    {"api", ROLE("api", "port", "ready")}, {"a", ROLE("a", "ready")}, {"b", ROLE("b", "ready")}};
	pid_t pid = start(roles, 3);

	wait_count("out", "fairlead: ready", 1);
	assert_int_equal(stop(pid), 0);
	AUTO_FREE char *order = read_note("order");
	assert_non_null(strstr(order, "a "));
	assert_non_null(strstr(order, "b "));
	assert_true(fl_starts_with(strrchr(order, 'a'), "api "));
}

// With new certificates each role is ended and started in its turn; the next one when it is ready, or has failed to be.
static void new_certificates_start_the_roles_one_by_one(void **state)
{
	struct fl_supervised roles[] = {
	    {"api", ROLE("api", "port", "ready")}, {"a", ROLE("a", "ready")}, {"b", ROLE("b", "ready")}};
	pid_t pid = start(roles, 3);
	AUTO_FREE char *old = fl_asprintf("%s/old", dir), *life = fl_asprintf("%s/life", dir);

	wait_count("out", "fairlead: ready", 1);
	wait_count("renew", "asked", 3); // nothing to do
	assert_int_equal(unlink(life), 0);
	assert_int_equal(fl_file_write(old, "", 0, 0600, NULL), 0);
	wait_count("b", "start", 2);
	wait_count("renew", "asked", count("renew", "asked") + 2); // it is over
	AUTO_FREE char *lines = read_note("life");
	char said[64] = "";
	for (char *save = NULL, *word = strtok_r(lines, " \n", &save); word; word = strtok_r(NULL, " \n", &save))
		if (!strchr("0123456789", word[0]))
			snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s", word);
	assert_string_equal(said, "-api+api-a+a-b+b");
	assert_int_equal(count("log", "role is started anew, there are new certificates role="), 3);
	assert_int_equal(count("log", "role ended"), 0);
	assert_int_equal(stop(pid), 0);
	assert_int_equal(count("out", "fairlead: ready"), 1);
}

// A role that cannot even be started is tried as often as one that dies.
static void a_role_that_cannot_be_started_is_tried_soon(void **state)
{
	size_t n = 256 * 1024; // more than one argument may have
	AUTO_FREE char *huge = fl_malloc(n + 1);
	struct fl_supervised roles[] = {{"api", ROLE("api", "port", "ready")}, {"a", ROLE("a", huge)}};

	memset(huge, 'x', n);
	huge[n] = '\0';
	pid_t pid = start(roles, 2);
	wait_count("log", "role could not be started role=a ", 4);
	assert_int_equal(count("log", "after_ms=100\n"), 1);
	assert_int_equal(count("log", "after_ms=200\n"), 1);
	assert_int_equal(count("log", "after_ms=400\n"), 1);
	assert_int_equal(stop(pid), 0);
}

static void told_to_end_before_it_is_ready(void **state)
{
	struct fl_supervised roles[] = {{"api", ROLE("api")}, {"a", ROLE("a", "ready")}};
	pid_t pid = start(roles, 2);

	wait_count("api", "start", 1);
	assert_int_equal(stop(pid), 0);
	assert_int_equal(count("a", "start"), 0);
}

// kill -9: nothing of it lives on.
static void roles_die_with_it(void **state)
{
	struct fl_supervised roles[] = {{"api", ROLE("api", "port", "ready")}, {"a", ROLE("a", "ready", "deaf")}};
	pid_t pid = start(roles, 2);

	wait_count("out", "fairlead: ready", 1);
	AUTO_FREE char *started = read_note("a");
	pid_t role = (pid_t)atoi(strchr(started, ' '));
	prctl(PR_SET_CHILD_SUBREAPER, 1); // so that they can be waited for here
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(end_of(pid), -SIGKILL);
	assert_int_equal(end_of(role), -SIGKILL);
}

int main(int argc, char **argv)
{
	if (argc > 2 && fl_streq(argv[1], "role"))
		return play_role(argc, argv);
	if (!mkdtemp(dir))
		return 1;
	port_file = fl_asprintf("%s/port", dir);
	setenv("FL_TEST_DIR", dir, 1);
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(ready_waits_for_every_role, fresh_dir),
	    cmocka_unit_test_setup(systemd_is_told_and_the_roles_do_not_see_its_socket, fresh_dir),
	    cmocka_unit_test_setup(the_dead_are_replaced_and_buried, fresh_dir),
	    cmocka_unit_test_setup(an_api_server_that_never_serves_ends_it, fresh_dir),
	    cmocka_unit_test_setup(the_api_server_ends_last, fresh_dir),
	    cmocka_unit_test_setup(new_certificates_start_the_roles_one_by_one, fresh_dir),
	    cmocka_unit_test_setup(a_role_that_cannot_be_started_is_tried_soon, fresh_dir),
	    cmocka_unit_test_setup(told_to_end_before_it_is_ready, fresh_dir),
	    cmocka_unit_test_setup(roles_die_with_it, fresh_dir),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	(void)!fl_file_remove_all(dir, NULL);
	free(port_file);
	return failed;
}
