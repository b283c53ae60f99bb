// SPDX-License-Identifier: Apache-2.0
// The embedded test server as a program: run from a file, in a network namespace of the test.
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>

#include "own_network.h"
#include "pods_harness.h"

static char dir[64];
static pid_t server;

static void wait_for(const char *command, const char *want)
{
	uint64_t until = fl_mono_ms() + HARNESS_WAIT_MS;

	for (;;) {
		AUTO_FREE char *got = run_shell("%s", command);

		if (strcmp(got, want) == 0)
			return;
		if (fl_mono_ms() > until)
			fail_msg("%s says %s, not %s", command, got, want);
		poll(NULL, 0, 5);
	}
}

static void expect(const char *command, const char *want)
{
	AUTO_FREE char *got = run_shell("%s", command);

	assert_string_equal(got, want);
}

static int start(void **state)
{
	struct fl_embedded echo = fl_embedded_echo();
	AUTO_FREE char *file = fl_asprintf("%s/echo", dir);

	if (fl_file_mkdirs(dir, 0700, NULL) < 0 || fl_file_write(file, echo.data, echo.len, 0755, NULL) < 0)
		return 1;
	server = fork();
	if (server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!freopen("/dev/null", "w", stdout))
			_exit(126);
		execl(file, "echo", "--http-port=8080", (char *)NULL);
		_exit(127);
	}
	wait_for("curl -s http://127.0.0.1:8080/healthz", "ok");
	return 0;
}

static int stop(void **state)
{
	if (server > 0) {
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
	}
	server = 0;
	return fl_file_remove_all(dir, NULL);
}

static void http(void **state)
{
	char host[256];

	gethostname(host, sizeof(host));
	expect("curl -s http://127.0.0.1:8080/ | head -1", host);
	expect("curl -s http://127.0.0.1:8080/ | sed -n 's/:[0-9]*$//;2,3p'", "server 127.0.0.1\nclient 127.0.0.1");
	expect("curl -sg http://[::1]:8080/ | sed -n 2p", "server [::1]:8080");
	expect("curl -s -d hello http://127.0.0.1:8080/echo", "hello");
	expect("curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8080/nothing", "404");
	expect("curl -s -w '%{num_connects}\\n' http://127.0.0.1:8080/healthz http://127.0.0.1:8080/healthz",
	       "ok\n1\nok\n0");
	expect("for i in 1 2 3; do printf 'GET /healthz HTTP/1.1\\r\\n\\r\\n'; done | socat -t5 - tcp:127.0.0.1:8080 | "
	       "grep -c ok",
	       "3");
	expect("printf 'nonsense\\r\\n\\r\\n' | socat -t5 - tcp:127.0.0.1:8080 | head -1 | tr -d '\\r'",
	       "HTTP/1.1 400 Bad Request");
	expect("curl -sI http://127.0.0.1:8080/healthz | head -1 | tr -d '\\r'", "HTTP/1.1 200 OK");
}

static void tcp_and_udp_echo(void **state)
{
	expect(
	    "seq 100000 >$DIR/numbers; socat -t5 - tcp:127.0.0.1:8081 <$DIR/numbers | cmp - $DIR/numbers && echo same",
	    "same");
	expect("echo abc | socat -t1 - udp:127.0.0.1:8081", "abc");
	expect("echo abc | socat -t1 - udp:[::1]:8081", "abc");
}

static void switches(void **state)
{
	expect("curl -s 'http://127.0.0.1:8080/control?ready=0' | head -1; curl -s -w '%{http_code}' "
	       "http://127.0.0.1:8080/healthz",
	       "ready=0\nunready\n503");
	expect("curl -s 'http://127.0.0.1:8080/control?ready=1&delay=30' | head -2", "ready=1\ndelay=30");
	expect("curl -s -w '%{time_total}' -o /dev/null http://127.0.0.1:8080/ | awk '{print ($1 >= 0.03)}'", "1");
	expect("curl -s 'http://127.0.0.1:8080/control?delay=0' | sed -n 2p", "delay=0");
	// Refused for a while, then there again.
	expect("curl -s 'http://127.0.0.1:8080/control?refuse=300' | grep refusing; curl -s http://127.0.0.1:8080/; "
	       "echo $?",
	       "refusing=1\n7");
	wait_for("curl -s http://127.0.0.1:8080/healthz", "ok");
}

static void drains(void **state)
{
	int status;

	expect("curl -s 'http://127.0.0.1:8080/control?drain=400' | grep drain", "drain=400");
	kill(server, SIGTERM);
	wait_for("curl -s http://127.0.0.1:8080/healthz", "unready");
	expect("curl -s http://127.0.0.1:8080/ | wc -l", "3"); // still serves
	assert_int_equal(waitpid(server, &status, 0), server);
	server = 0;
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void client(void **state)
{
	char command[512];

	snprintf(command, sizeof(command), "%s/echo get -n 2 http://127.0.0.1:8080/healthz; %s/echo resolve -6 ::1",
		 dir, dir);
	expect(command, "ok\nok\n::1 ::1");
	snprintf(command, sizeof(command),
		 "%s/echo get http://127.0.0.1:8080/nothing; echo $?; %s/echo get -t 500 "
		 "http://127.0.0.1:1/ 2>&1; echo $?",
		 dir, dir);
	expect(command, "no /nothing here\n22\n127.0.0.1 port 1: Connection refused\n1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(http, start, stop),
	    cmocka_unit_test_setup_teardown(tcp_and_udp_echo, start, stop),
	    cmocka_unit_test_setup_teardown(switches, start, stop),
	    cmocka_unit_test_setup_teardown(drains, start, stop),
	    cmocka_unit_test_setup_teardown(client, start, stop),
	};

	int status = own_network();

	if (status)
		return status;
	free(run_shell("ip link set lo up"));
	snprintf(dir, sizeof(dir), "/tmp/fairlead-echo-test-%d", (int)getpid());
	setenv("DIR", dir, 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
