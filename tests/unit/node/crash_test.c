// SPDX-License-Identifier: Apache-2.0
// The node killed (SIGKILL) at random moments while pods with init containers, sidecars and hooks start, run and stop:
// nothing starts twice, and in the end there is nothing without a pod. ROUNDS (4) rounds; SEED repeats a run.
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "../rounds.h"
#include "own_network.h"
#include "pods_harness.h"

#define PODS 3

// Each run of a container writes its attempt's own line into a file of the host, so a second start of one attempt
// shows.
static char *pod_json(const struct harness *h, int i, bool deleted)
{
	return fl_asprintf(
	    "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"c%d\",\"namespace\":\"default\",\"uid\":"
	    "\"u-%d\","
	    "\"resourceVersion\":\"1\"%s},\"spec\":{\"terminationGracePeriodSeconds\":2,\"volumes\":[{\"name\":\"t\","
	    "\"hostPath\":"
	    "{\"path\":\"%s/trace/"
	    "c%d\"}},{\"name\":\"m\",\"configMap\":{\"name\":\"m\"}},{\"name\":\"s\",\"secret\":{\"secretName\":"
	    "\"s\"}}],\"initContainers\":[{\"name\":\"side\",\"image\":\"fairlead/"
	    "echo\",\"restartPolicy\":\"Always\",\"command\":["
	    "\"/bin/fairlead-echo\",\"do\",\"append=/t/"
	    "log:side\",\"wait\"],\"volumeMounts\":[{\"name\":\"t\",\"mountPath\":\"/t\"}]},"
	    "{\"name\":\"init\",\"image\":\"fairlead/echo\",\"command\":[\"/bin/fairlead-echo\",\"do\",\"append=/t/"
	    "log:init\","
	    "\"sleep=50\"],\"volumeMounts\":[{\"name\":\"t\",\"mountPath\":\"/"
	    "t\"}]}],\"containers\":[{\"name\":\"main\",\"image\":"
	    "\"fairlead/echo\",\"command\":[\"/bin/fairlead-echo\",\"do\",\"append=/t/log:main\",\"wait\"],\"ports\":[{"
	    "\"containerPort\":8080,\"hostPort\":%d}],\"volumeMounts\":[{\"name\":\"t\",\"mountPath\":\"/"
	    "t\"},{\"name\":\"m\","
	    "\"mountPath\":\"/m\"},{\"name\":\"s\",\"mountPath\":\"/s\"},{\"name\":\"m\",\"mountPath\":\"/"
	    "one\",\"subPath\":\"a\"}],"
	    "\"lifecycle\":{\"postStart\":{\"exec\":{\"command\":[\"/bin/"
	    "fairlead-echo\",\"do\",\"sleep=30\"]}},\"preStop\":{\"exec\":"
	    "{\"command\":[\"/bin/fairlead-echo\",\"do\",\"sleep=30\"]}}}}]}}",
	    i, i, deleted ? ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\",\"deletionGracePeriodSeconds\":2" : "",
	    h->dir, i, 7100 + i);
}

static void tell_all(struct harness *h, bool deleted)
{
	free(fl_map_set(&h->objects, "c/default/m", fl_strdup("{\"metadata\":{},\"data\":{\"a\":\"1\"}}")));
	free(fl_map_set(&h->objects, "s/default/s", fl_strdup("{\"metadata\":{},\"data\":{\"k\":\"eA==\"}}")));
	for (int i = 0; i < PODS; i++) {
		AUTO_FREE char *json = pod_json(h, i, deleted);

		harness_set(h, json);
	}
	fl_pods_synced(h->pods);
}

// A node in a process of its own, which is killed after so many milliseconds.
static void run_and_kill(struct harness *h, bool deleted, int ms)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		harness_node_start(h);
		tell_all(h, deleted);
		uv_run(&h->loop, UV_RUN_DEFAULT);
		_exit(0);
	}
	poll(NULL, 0, ms); // the moment is what is tried out here
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

// One line a run: as many as attempts, for each container. A run whose shim was killed, or that was cut short before
// its program began, may have written none; none may write twice.
static void expect_no_double_start(struct harness *h)
{
	for (int i = 0; i < PODS; i++) {
		static const char *const names[] = {"side", "init", "main"};

		for (size_t k = 0; k < FL_COUNT(names); k++) {
			AUTO_FREE char *lines =
			    run_shell("grep -cx %s %s/trace/c%d/log 2>/dev/null || echo 0", names[k], h->dir, i);
			AUTO_FREE char *attempts = run_shell("ls %s/u-%d/containers/%s 2>/dev/null | sort -n | tail -1",
							     h->paths.pods, i, names[k]);

			if (atoi(lines) > (*attempts ? atoi(attempts) + 1 : 0))
				fail_msg("container %s of pod c%d: %s runs of attempts 0 to %s", names[k], i, lines,
					 attempts);
		}
	}
}

static void killed_while_pods_start_and_stop(void **state)
{
	struct harness *h = harness_new("crash");
	const int rounds = test_rounds(4);
	unsigned seed = test_seed((unsigned)time(NULL) ^ (unsigned)getpid());
	size_t none = 0;

	print_message("SEED=%u\n", seed);
	srand(seed);
	harness_node_stop(h);
	for (int round = 0; round < rounds; round++) {
		AUTO_FREE char *running = NULL, *again = NULL;

		free(run_shell("rm -rf %s/trace", h->dir));
		for (int i = rand() % 3; i >= 0; i--)
			run_and_kill(h, false, rand() % 400);
		harness_node_start(h);
		tell_all(h, false);
		for (int i = 0; i < PODS; i++) {
			char uid[8];

			snprintf(uid, sizeof(uid), "u-%d", i);
			expect_status(h, uid, "phase", "Running");
			expect_status(h, uid, "conditions.Ready.status", "True");
		}
		expect_no_double_start(h);
		// One shim for each container that runs, no other process of ours.
		running = run_shell("ps -eo args | grep -c '^fairlead-shim %s'", h->dir);
		assert_int_equal(atoi(running), 2 * PODS);
		again = run_shell("ip -o link | grep -c flv");
		assert_int_equal(atoi(again), PODS);
		harness_node_stop(h);
		fl_map_deinit(&h->followed);
		for (int i = rand() % 3; i >= 0; i--)
			run_and_kill(h, true, rand() % 400);
		map_free_values(&h->statuses);
		fl_map_deinit(&h->deleted);
		harness_node_start(h);
		tell_all(h, true);
		for (int i = 0; i < PODS; i++) {
			char uid[8];

			snprintf(uid, sizeof(uid), "u-%d", i);
			assert_true(harness_wait(h, is_deleted, uid));
			fl_pods_gone(h->pods, uid);
		}
		assert_true(harness_wait(h, count_is, &none));
		harness_node_stop(h);
		fl_map_deinit(&h->followed);
		fl_map_deinit(&h->deleted);
		AUTO_FREE char *left = run_shell(
		    "ls %s %s; ps -eo args | grep '^fairlead-shim %s'; ip -o link | grep flv; nft list tables | grep "
		    "host-ports; "
		    "grep %s/ /proc/self/mountinfo; ls -d /sys/fs/cgroup%s/u-* /sys/fs/cgroup/*%s/u-* 2>/dev/null; ls "
		    "%s",
		    h->paths.pods, h->paths.ns, h->dir, h->paths.pods, h->paths.cgroup, h->paths.cgroup,
		    h->paths.runtime_root);
		AUTO_FREE char *nothing =
		    fl_asprintf("%s:\n\n%s:", h->paths.pods, h->paths.ns); // what ls prints of empty directories
		assert_string_equal(left, nothing);
	}
	h->pods = NULL;
	harness_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(killed_while_pods_start_and_stop, harness_teardown),
	};

	int status = own_network();

	if (status)
		return status;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
