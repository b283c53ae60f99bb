// SPDX-License-Identifier: Apache-2.0
// What a start of the node makes of the pods that it finds: after a reboot, a power failure, a time in which their
// objects went or changed.
#include "node/cgroup.h"
#include "node/pod.h"
#include "own_network.h"
#include "pods_harness.h"

#define POD(uid, more_meta, containers, more_spec)                                                                     \
	"{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"" uid                                        \
	"\",\"namespace\":\"default\",\"uid\":\"" uid "\",\"resourceVersion\":\"1\"" more_meta                         \
	"},\"spec\":{\"volumes\":[{\"name\":\"t\",\"emptyDir\":{}},{\"name\":\"m\",\"emptyDir\":"                      \
	"{\"medium\":\"Memory\"}}],\"containers\":[" containers "]" more_spec "}}"
#define DELETED   ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\",\"deletionGracePeriodSeconds\":1"
#define DO(steps) "[\"/bin/fairlead-echo\",\"do\"," steps "]"
#define CONTAINER(name, steps, more)                                                                                   \
	"{\"name\":\"" name                                                                                            \
	"\",\"image\":\"fairlead/echo\",\"command\":" DO(steps) ",\"volumeMounts\":[{\"name\":\"t\",\"mountPath\":\"/" \
								"t\"},{\"name\":\"m\",\"mountPath\":\"/m\"}]" more "}"

static struct pod *pod_of(struct harness *h, const char *uid)
{
	return fl_map_get(&h->pods->table, uid);
}

static bool runs(struct harness *h, const void *uid)
{
	const struct pod *p = pod_of(h, uid);

	return p->containers[p->n_containers - 1].state == CONTAINER_RUNNING;
}

static bool is_set_up(struct harness *h, const void *uid)
{
	return pod_of(h, uid)->stage == POD_RUNNING;
}

// As at the next start of the node, which forgot what it had told.
static void forget_told(struct harness *h)
{
	map_free_values(&h->statuses);
	h->events.len = 0;
}

// What a reboot takes: processes, cgroups, namespaces, what is mounted, the runtime's state.
static void reboot(struct harness *h, const char *uid)
{
	AUTO_FREE char *dir = fl_asprintf("%s/%s", h->paths.pods, uid);
	struct fl_err err = {0};

	harness_node_stop(h);
	free(run_shell("for a in %s/containers/*/*; do [ -e $a/exit ] || kill -KILL $(cat $a/lock); done", dir));
	if (fl_node_cgroups_remove(&h->paths, uid, &err) < 0 || fl_podnet_del(&h->paths, uid, &err) < 0)
		fail_msg("%s", err.text);
	fl_mounts_detach_below(dir);
	free(run_shell("rm -rf %s/*", h->paths.runtime_root));
	forget_told(h);
}

static void init_containers_run_again_after_a_reboot(void **state)
{
	static const char pod[] =
	    POD("boot", "", CONTAINER("main", "\"append=/m/log:main\",\"wait\"", ""),
		",\"initContainers\":[" CONTAINER("one", "\"append=/m/log:one\"", "") "," CONTAINER(
		    "side", "\"append=/m/log:side\",\"wait\"",
		    ",\"restartPolicy\":\"Always\"") "," CONTAINER("two", "\"append=/m/log:two\"", "") "]");
	struct harness *h = harness_new("again-boot");

	fl_pods_synced(h->pods);
	harness_set(h, pod);
	expect_status(h, "boot", "phase", "Running");
	reboot(h, "boot");
	// Killed again when all is set up, but before any of them began.
	harness_node_start(h);
	assert_true(harness_wait(h, is_set_up, "boot"));
	harness_node_stop(h);
	harness_node_start(h);
	harness_set(h, pod);
	fl_pods_synced(h->pods);
	expect_status(h, "boot", "containerStatuses.main.state.running.startedAt", NULL);
	assert_string_equal(status_at(h, "boot", "initContainerStatuses.one.restartCount"), "1");
	assert_string_equal(status_at(h, "boot", "initContainerStatuses.two.restartCount"), "1");
	assert_string_equal(status_at(h, "boot", "initContainerStatuses.side.restartCount"), "1");
	assert_string_equal(status_at(h, "boot", "containerStatuses.main.restartCount"), "1");
	AUTO_FREE char *log = run_shell("for i in $(seq 500); do grep main %s/boot/volumes/m/log >/dev/null && break; "
					"sleep 0.02; done; tr '\\n' ' ' <%s/boot/volumes/m/log",
					h->paths.pods, h->paths.pods);
	assert_string_equal(log, "one side two main ");
	harness_free(h);
}

// A start of the node alone changes nothing of that.
static void the_start_time_is_the_one_that_was_told(void **state)
{
	static const char pod[] =
	    POD("web", "", CONTAINER("a", "\"wait\"", ""),
		",\"initContainers\":[" CONTAINER("i", "\"exit=0\"",
						  "") "]},\"status\":{\"startTime\":\"2026-01-02T03:04:05Z\"");
	struct harness *h = harness_new("again-start");

	fl_pods_synced(h->pods);
	harness_set(h, POD("web", "", CONTAINER("a", "\"wait\"", ""),
			   ",\"initContainers\":[" CONTAINER("i", "\"exit=0\"", "") "]"));
	expect_status(h, "web", "phase", "Running");
	harness_node_stop(h);
	forget_told(h);
	harness_node_start(h);
	harness_set(h, pod);
	fl_pods_synced(h->pods);
	expect_status(h, "web", "phase", "Running");
	assert_string_equal(status_at(h, "web", "startTime"), "2026-01-02T03:04:05Z");
	assert_string_equal(status_at(h, "web", "initContainerStatuses.i.restartCount"), "0");
	assert_string_equal(status_at(h, "web", "containerStatuses.a.restartCount"), "0");
	harness_free(h);
}

// Lets a container end while no node is there to see it.
static void end_unseen(struct harness *h, const char *uid)
{
	AUTO_FREE char *ended = NULL;

	harness_node_stop(h);
	ended =
	    run_shell("cd %s/%s; touch volumes/t/end; for i in $(seq 3000); do [ -e containers/a/0/exit ] && break; "
		      "sleep 0.02; done; rm volumes/t/end; ls containers/a/0/exit",
		      h->paths.pods, uid);
	assert_string_equal(ended, "containers/a/0/exit");
	forget_told(h);
}

static void what_was_deleted_meanwhile_does_not_start(void **state)
{
	struct harness *h = harness_new("again-gone");
	size_t one = 1;

	fl_pods_synced(h->pods);
	harness_set(h, POD("gone", "", CONTAINER("a", "\"until=/t/end\"", ""), ""));
	expect_status(h, "gone", "phase", "Running");
	end_unseen(h, "gone");
	harness_node_start(h);
	// The Services are known, the pods are not yet all told.
	harness_set(h, POD("here", "", CONTAINER("a", "\"wait\"", ""), ""));
	assert_true(harness_wait(h, runs, "here"));
	AUTO_FREE char *attempts = run_shell("ls %s/gone/containers/a", h->paths.pods);
	assert_string_equal(attempts, "0");
	fl_pods_synced(h->pods);
	assert_true(harness_wait(h, count_is, &one));
	assert_null(strstr(h->events.data, "gone Created"));
	harness_free(h);
}

static bool ends_are_recorded(struct harness *h, const void *arg)
{
	AUTO_FREE char *n = run_shell("ls %s/*/containers/a/0/exit | wc -l", h->paths.pods);

	return atoi(n) == 2;
}

static void a_terminal_phase_is_final(void **state)
{
#define TOLD(phase)       "},\"status\":{\"phase\":\"" phase "\""
#define NEVER(meta, told) POD("never", meta, CONTAINER("a", "\"exit=0\"", ""), ",\"restartPolicy\":\"Never\"" told)
#define FAILS(meta, told) POD("fails", meta, CONTAINER("a", "\"exit=0\"", ""), ",\"restartPolicy\":\"OnFailure\"" told)
	struct harness *h = harness_new("again-final");

	fl_pods_synced(h->pods);
	harness_set(h, NEVER("", ""));
	harness_set(h, FAILS("", ""));
	expect_status(h, "never", "phase", "Succeeded");
	expect_status(h, "fails", "phase", "Succeeded");
	harness_node_stop(h);
	forget_told(h);
	free(run_shell("rm %s/*/containers/a/0/exit", h->paths.pods)); // a power failure took them
	harness_node_start(h);
	harness_set(h, NEVER("", TOLD("Succeeded")));
	harness_set(h, FAILS("", TOLD("Succeeded")));
	fl_pods_synced(h->pods);
	assert_true(harness_wait(h, ends_are_recorded, NULL));
	harness_set(h, NEVER(DELETED, TOLD("Succeeded")));
	harness_set(h, FAILS(DELETED, TOLD("Succeeded")));
	assert_true(harness_wait(h, is_deleted, "never"));
	assert_true(harness_wait(h, is_deleted, "fails"));
	assert_null(fl_map_get(&h->statuses, "never"));
	assert_null(fl_map_get(&h->statuses, "fails"));
	assert_null(h->events.len ? strstr(h->events.data, "Created") : NULL);
	harness_free(h);
}

// The mark on disk that says "ready" is one of the run that ended.
static void readiness_is_of_one_run(void **state)
{
	static const char pod[] =
	    POD("ready", "",
		CONTAINER("a", "\"until=/t/end\",\"exit=1\"",
			  ",\"readinessProbe\":{\"exec\":{\"command\":" DO("\"append=/t/ok/log:1\"") "}}"),
		"");
	struct harness *h = harness_new("again-ready");

	fl_pods_synced(h->pods);
	harness_set(h, pod);
	expect_status(h, "ready", "containerStatuses.a.state.running.startedAt", NULL);
	free(run_shell("mkdir %s/ready/volumes/t/ok", h->paths.pods));
	expect_status(h, "ready", "containerStatuses.a.ready", "true");
	end_unseen(h, "ready");
	free(run_shell("rm -r %s/ready/volumes/t/ok", h->paths.pods));
	harness_node_start(h);
	harness_set(h, pod);
	fl_pods_synced(h->pods);
	expect_status(h, "ready", "containerStatuses.a.restartCount", "1");
	expect_status(h, "ready", "containerStatuses.a.state.running.startedAt", NULL);
	assert_string_equal(status_at(h, "ready", "containerStatuses.a.ready"), "false");
	harness_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(init_containers_run_again_after_a_reboot, harness_teardown),
	    cmocka_unit_test_teardown(the_start_time_is_the_one_that_was_told, harness_teardown),
	    cmocka_unit_test_teardown(what_was_deleted_meanwhile_does_not_start, harness_teardown),
	    cmocka_unit_test_teardown(a_terminal_phase_is_final, harness_teardown),
	    cmocka_unit_test_teardown(readiness_is_of_one_run, harness_teardown),
	};

	int status = own_network();

	if (status)
		return status;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
