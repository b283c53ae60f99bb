// SPDX-License-Identifier: Apache-2.0
// How containers begin and end: hooks, order, grace, exit codes and reasons, restarts. The containers leave a trace of
// what they did in a volume (images/echo/script.c).
#include "node/pod.h"
#include "own_network.h"
#include "pods_harness.h"

#define POD(uid, more_meta, containers, more_spec)                                                                     \
	"{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"" uid                                        \
	"\",\"namespace\":\"default\",\"uid\":\"" uid "\",\"resourceVersion\":\"1\"" more_meta                         \
	"},\"spec\":{\"volumes\":[{\"name\":\"t\",\"emptyDir\":{}}],"                                                  \
	"\"containers\":[" containers "]" more_spec "}}"
#define DELETED(grace) ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\",\"deletionGracePeriodSeconds\":" grace
#define DO(steps)      "[\"/bin/fairlead-echo\",\"do\"," steps "]"
#define CONTAINER(name, steps, more)                                                                                   \
	"{\"name\":\"" name                                                                                            \
	"\",\"image\":\"fairlead/echo\",\"command\":" DO(steps) ",\"volumeMounts\":[{\"name\":\"t\","                  \
								"\"mountPath\":\"/t\"}]" more "}"
#define EXEC(steps) "{\"exec\":{\"command\":" DO(steps) "}}"

struct trace {
	const char *path, *want;
};

// What containers wrote, on one line.
static bool wrote(struct harness *h, const void *arg)
{
	const struct trace *t = arg;
	AUTO_FREE char *log = run_shell("cat %s 2>/dev/null | tr '\\n' ' '", t->path);

	return strcmp(log, t->want) == 0;
}

static void expect_trace(struct harness *h, const char *path, const char *want)
{
	if (!harness_wait(h, wrote, &(struct trace){path, want}))
		fail_msg("%s is not \"%s\"", path, want);
}

// Waits until the pod's volume has `want`. A program that is still beginning does not hear a SIGTERM.
static void expect_pod_trace(struct harness *h, const char *uid, const char *want)
{
	AUTO_FREE char *path = fl_asprintf("%s/%s/volumes/t/log", h->paths.pods, uid);

	expect_trace(h, path, want);
}

static bool said(struct harness *h, const void *text)
{
	return h->events.data && strstr(h->events.data, text);
}

static void expect_event(struct harness *h, const char *text)
{
	if (!harness_wait(h, said, text))
		fail_msg("no event \"%s\" in: %s", text, h->events.data ? h->events.data : "");
}

static void hooks_run_in_their_place(void **state)
{
#define HOOKED                                                                                                         \
	CONTAINER("a", "\"append=/t/log:main\",\"wait\",\"append=/t/log:term\"",                                       \
		  ",\"lifecycle\":{\"postStart\":" EXEC(                                                               \
		      "\"until=/t/go\",\"append=/t/log:post\"") ",\"preStop\":" EXEC("\"append=/t/log:pre\"") "}")     \
	"," CONTAINER("b", "\"append=/t/log:second\",\"wait\"", "")
	struct harness *h = harness_new("life-hooks");

	fl_pods_synced(h->pods);
	harness_set(h, POD("hooked", "", HOOKED, ""));
	expect_status(h, "hooked", "containerStatuses.a.state.waiting.reason", "ContainerCreating");
	free(run_shell("touch %s/hooked/volumes/t/go", h->paths.pods));
	expect_status(h, "hooked", "phase", "Running");
	assert_string_equal(status_at(h, "hooked", "conditions.Ready.status"), "True");
	expect_pod_trace(h, "hooked", "main post second ");
	harness_set(h, POD("hooked", DELETED("20"), HOOKED, ""));
	assert_true(harness_wait(h, is_deleted, "hooked"));
	assert_string_equal(status_at(h, "hooked", "containerStatuses.a.state.terminated.exitCode"), "0");
	assert_string_equal(status_at(h, "hooked", "containerStatuses.a.state.terminated.reason"), "Completed");
	AUTO_FREE char *log = run_shell("ls %s", h->paths.pods);
	assert_string_equal(log, ""); // the trace went with the pod
	harness_free(h);
}

static void hooks_that_fail_or_hang(void **state)
{
#define FAILS                                                                                                          \
	CONTAINER("a", "\"append=/t/log:up\",\"wait\",\"exit=4\"",                                                     \
		  ",\"lifecycle\":{\"postStart\":" EXEC("\"until=/t/log\",\"exit=3\"") "}")
#define HANGS                                                                                                          \
	CONTAINER("a", "\"wait\",\"append=/t/log:term\",\"sleep=60000\"",                                              \
		  ",\"lifecycle\":{\"preStop\":{\"sleep\":{\"seconds\":600}}}")
#define REFUSED                                                                                                        \
	CONTAINER("a", "\"append=/t/log:up\",\"wait\"",                                                                \
		  ",\"lifecycle\":{\"preStop\":{\"httpGet\":{\"port\":1,\"path\":\"/bye\"}}}")
	struct harness *h = harness_new("life-fail");

	fl_pods_synced(h->pods);
	harness_set(h, POD("fails", "", FAILS, ",\"restartPolicy\":\"Never\""));
	harness_set(h, POD("hangs", "", HANGS, ",\"terminationGracePeriodSeconds\":30"));
	harness_set(h, POD("refused", "", REFUSED, ""));
	expect_status(h, "fails", "phase", "Failed");
	assert_string_equal(status_at(h, "fails", "containerStatuses.a.state.terminated.exitCode"), "4");
	expect_event(h, "fails FailedPostStartHook: PostStartHook failed\nfails Killing: FailedPostStartHook\n");
	expect_status(h, "hangs", "phase", "Running");
	expect_status(h, "refused", "phase", "Running");
	expect_pod_trace(h, "refused", "up ");
	harness_set(h, POD("hangs", DELETED("1"), HANGS, ",\"terminationGracePeriodSeconds\":30"));
	harness_set(h, POD("refused", DELETED("30"), REFUSED, ""));
	assert_true(harness_wait(h, is_deleted, "refused"));
	expect_event(h, "refused FailedPreStopHook: PreStopHook failed\n");
	assert_true(harness_wait(h, is_deleted, "hangs")); // 1 s for the hook, 2 s for SIGTERM, then SIGKILL
	assert_string_equal(status_at(h, "hangs", "containerStatuses.a.state.terminated.exitCode"), "137");
	assert_string_equal(status_at(h, "hangs", "containerStatuses.a.state.terminated.reason"), "Error");
	harness_free(h);
}

static void sidecars_begin_first_and_end_last(void **state)
{
	struct harness *h = harness_new("life-side");
	AUTO_FREE char *shared = fl_asprintf("%s/shared", h->dir); // outlives the pod
	AUTO_FREE char *json = NULL, *gone = NULL, *log = NULL;
	static const char format[] =
	    "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"s\",\"namespace\":\"default\",\"uid\":"
	    "\"s\","
	    "\"resourceVersion\":\"1\"%s},\"spec\":{\"volumes\":[{\"name\":\"t\",\"hostPath\":{\"path\":\"%s\"}}],"
	    "\"initContainers\":[%s],\"containers\":[%s]}}";
	static const char init[] = CONTAINER(
	    "one", "\"append=/t/log:one\",\"wait\",\"append=/t/log:one-term\"",
	    ",\"restartPolicy\":\"Always\"") "," CONTAINER("step", "\"append=/t/log:step\"",
							   "") "," CONTAINER("two",
									     "\"append=/t/log:two\",\"wait\",\"append=/"
									     "t/log:two-term\"",
									     ",\"restartPolicy\":\"Always\"");
	static const char regular[] =
	    CONTAINER("main", "\"append=/t/log:main\",\"wait\",\"sleep=300\",\"append=/t/log:main-term\"", "");

	fl_pods_synced(h->pods);
	json = fl_asprintf(format, "", shared, init, regular);
	harness_set(h, json);
	expect_status(h, "s", "phase", "Running");
	assert_string_equal(status_at(h, "s", "initContainerStatuses.step.state.terminated.reason"), "Completed");
	assert_string_equal(status_at(h, "s", "initContainerStatuses.one.ready"), "true");
	log = fl_asprintf("%s/log", shared);
	expect_trace(h, log, "one step two main ");
	gone = fl_asprintf(format, DELETED("30"), shared, init, regular);
	harness_set(h, gone);
	assert_true(harness_wait(h, is_deleted, "s"));
	expect_trace(h, log, "one step two main main-term two-term one-term ");
	harness_free(h);
}

static void a_job_ends_with_its_sidecar(void **state)
{
	struct harness *h = harness_new("life-job");

	fl_pods_synced(h->pods);
	harness_set(h, POD("job", "", CONTAINER("main", "\"until=/t/log\",\"exit=0\"", ""),
			   ",\"restartPolicy\":\"Never\",\"initContainers\":[" CONTAINER(
			       "side", "\"append=/t/log:up\",\"wait\"", ",\"restartPolicy\":\"Always\"") "]"));
	expect_status(h, "job", "phase", "Succeeded");
	expect_status(h, "job", "initContainerStatuses.side.state.terminated.reason", "Completed");
	harness_free(h);
}

static void ends_are_told(void **state)
{
	struct harness *h = harness_new("life-ends");

	fl_pods_synced(h->pods);
	harness_set(h, POD("oom", "", CONTAINER("a", "\"eat=64\"", ",\"resources\":{\"limits\":{\"memory\":\"16Mi\"}}"),
			   ",\"restartPolicy\":\"Never\""));
	harness_set(h, POD("done", "", CONTAINER("a", "\"exit=0\"", ""), ",\"restartPolicy\":\"OnFailure\""));
	harness_set(h, POD("retried", "", CONTAINER("a", "\"exit=7\"", ""), ",\"restartPolicy\":\"OnFailure\""));
	harness_set(h, POD("failed", "", CONTAINER("a", "\"exit=3\"", "") "," CONTAINER("b", "\"exit=0\"", ""),
			   ",\"restartPolicy\":\"Never\""));
	harness_set(h, POD("init", "", CONTAINER("a", "\"exit=0\"", ""),
			   ",\"restartPolicy\":\"Never\",\"initContainers\":[" CONTAINER("i", "\"exit=9\"", "") "]"));
	harness_set(h, POD("again", "", CONTAINER("a", "\"exit=0\"", ""), ""));
	harness_set(h, POD("message", "", CONTAINER("a", "\"append=/dev/termination-log:why\",\"exit=1\"", ""),
			   ",\"restartPolicy\":\"Never\""));
	expect_status(h, "oom", "phase", "Failed");
	assert_string_equal(status_at(h, "oom", "containerStatuses.a.state.terminated.reason"), "OOMKilled");
	assert_string_equal(status_at(h, "oom", "containerStatuses.a.state.terminated.exitCode"), "137");
	expect_status(h, "done", "phase", "Succeeded");
	expect_status(h, "failed", "phase", "Failed");
	assert_string_equal(status_at(h, "failed", "containerStatuses.a.state.terminated.exitCode"), "3");
	assert_string_equal(status_at(h, "failed", "containerStatuses.b.state.terminated.reason"), "Completed");
	expect_status(h, "init", "phase", "Failed");
	assert_string_equal(status_at(h, "init", "initContainerStatuses.i.state.terminated.exitCode"), "9");
	assert_string_equal(status_at(h, "init", "containerStatuses.a.state.waiting.reason"), "PodInitializing");
	expect_status(h, "message", "containerStatuses.a.state.terminated.message", "why\n");
	// The first restart at once, then the pause; a good end waits as well where it is always restarted.
	expect_status(h, "retried", "containerStatuses.a.state.waiting.reason", "CrashLoopBackOff");
	assert_string_equal(status_at(h, "retried", "containerStatuses.a.lastState.terminated.exitCode"), "7");
	assert_string_equal(status_at(h, "retried", "containerStatuses.a.restartCount"), "1");
	assert_string_equal(status_at(h, "retried", "phase"), "Running");
	assert_non_null(strstr(status_at(h, "retried", "containerStatuses.a.state.waiting.message"),
			       "back-off 10s restarting failed container=a pod=retried_default(retried)"));
	expect_status(h, "again", "containerStatuses.a.state.waiting.reason", "CrashLoopBackOff");
	assert_string_equal(status_at(h, "again", "containerStatuses.a.lastState.terminated.reason"), "Completed");
	harness_free(h);
}

static void probes_end_what_does_not_live(void **state)
{
	struct harness *h = harness_new("life-probe");

	fl_pods_synced(h->pods);
	harness_set(h, POD("live", "",
			   CONTAINER("a", "\"sleep=600000\"",
				     ",\"livenessProbe\":{\"exec\":{\"command\":" DO(
					 "\"exit=1\"") "},\"periodSeconds\":1,\"failureThreshold\":2,"
						       "\"terminationGracePeriodSeconds\":1}"),
			   ",\"terminationGracePeriodSeconds\":600"));
	harness_set(h, POD("slow", "",
			   CONTAINER("a", "\"wait\"",
				     ",\"startupProbe\":{\"exec\":{\"command\":" DO(
					 "\"sleep=600000\"") "},\"periodSeconds\":1,\"failureThreshold\":1,"
							     "\"timeoutSeconds\":1}"),
			   ",\"restartPolicy\":\"Never\""));
	expect_event(h,
		     "slow Unhealthy: Startup probe failed: command timed out: \"/bin/fairlead-echo do sleep=600000\" "
		     "timed out after 1s\nslow Killing: Container a failed startup probe\n");
	expect_status(h, "slow", "containerStatuses.a.state.terminated.reason", NULL);
	harness_set(h, POD("hangs", "",
			   CONTAINER("a", "\"wait\"",
				     ",\"readinessProbe\":{\"exec\":{\"command\":" DO(
					 "\"sleep=599999\"") "},\"periodSeconds\":2,\"timeoutSeconds\":1}"),
			   ""));
	expect_event(h, "hangs Unhealthy: Readiness probe failed: command timed out: \"/bin/fairlead-echo do "
			"sleep=599999\" timed out after 1s\n");
	// Of several commands that hung, none is left but perhaps the one of the look under way.
	AUTO_FREE char *left =
	    run_shell("cat /sys/fs/cgroup/*/%s/hangs/a/cgroup.procs /sys/fs/cgroup/%s/hangs/a/cgroup.procs "
		      "2>/dev/null | sort -u | xargs -I@ cat /proc/@/cmdline | tr '\\0' '\\n' | "
		      "grep -c sleep=599999",
		      h->paths.cgroup, h->paths.cgroup);
	assert_true(atoi(left) <= 1);
	expect_event(h, "live Killing: Container a failed liveness probe, will be restarted\n");
	expect_status(h, "live", "containerStatuses.a.restartCount", "1");
	assert_string_equal(status_at(h, "live", "containerStatuses.a.lastState.terminated.exitCode"), "137");
	assert_string_equal(status_at(h, "live", "containerStatuses.a.lastState.terminated.reason"), "Error");
	harness_free(h);
}

static struct container *container_of(struct harness *h, const char *uid, unsigned i)
{
	struct pod *p = fl_map_get(&h->pods->table, uid);

	return &p->containers[i];
}

struct wanted_state {
	const char *uid;
	unsigned container;
	enum container_state state;
};

static bool has_state(struct harness *h, const void *arg)
{
	const struct wanted_state *w = arg;

	return container_of(h, w->uid, w->container)->state == w->state;
}

// Answers of a probe: it fails until the folder is there.
#define GATE(more) "{\"exec\":{\"command\":" DO("\"append=/t/open/log:look\"") "},\"periodSeconds\":1" more "}"

static void open_gate(struct harness *h, const char *uid)
{
	free(run_shell("mkdir %s/%s/volumes/t/open", h->paths.pods, uid));
}

static void a_container_held_back_leaves_the_queue(void **state)
{
	struct harness *h = harness_new("life-queue");
	unsigned slots = h->pods->slots;

	fl_pods_synced(h->pods);
	harness_set(h, POD("held", "", CONTAINER("main", "\"wait\"", ""),
			   ",\"initContainers\":[" CONTAINER("side", "\"append=/t/log:side\",\"wait\"",
							     ",\"restartPolicy\":\"Always\",\"startupProbe\":" GATE(
								 ",\"failureThreshold\":1000")) "]"));
	expect_pod_trace(h, "held", "side ");
	expect_status(h, "held", "initContainerStatuses.side.state.running.startedAt", NULL);
	h->pods->slots = 0;
	open_gate(h, "held");
	assert_true(harness_wait(h, has_state, &(struct wanted_state){"held", 1, CONTAINER_QUEUED}));
	free(run_shell("kill -KILL $(cat %s/held/containers/side/0/pid)", h->paths.pods));
	assert_true(harness_wait(h, has_state, &(struct wanted_state){"held", 0, CONTAINER_QUEUED}));
	h->pods->slots = slots;
	fl_pod_kick(container_of(h, "held", 0)->pod);
	harness_set(h, POD("other", "", CONTAINER("a", "\"wait\"", ""), ""));
	expect_status(h, "other", "phase", "Running");
	expect_status(h, "held", "initContainerStatuses.side.restartCount", "1");
	expect_status(h, "held", "containerStatuses.main.state.running.startedAt", NULL);
	harness_free(h);
}

static void previous_logs_are_those_of_the_last_state(void **state)
{
	struct harness *h = harness_new("life-previous");
	struct fl_pods_log log = {0};
	struct fl_err err = {0};

	fl_pods_synced(h->pods);
	harness_set(h, POD("crash", "", CONTAINER("a", "\"exit=3\"", ""), ""));
	expect_status(h, "crash", "containerStatuses.a.state.waiting.reason", "CrashLoopBackOff");
	assert_true(
	    fl_ends_with(status_at(h, "crash", "containerStatuses.a.lastState.terminated.containerID"), "crash-a-1"));
	for (int previous = 0; previous < 2; previous++) {
		assert_int_equal(fl_pods_log(h->pods, "default", "crash", "a", previous, &log, &err), 0);
		assert_true(fl_ends_with(log.path, "/logs/a/1.log"));
		free(log.path);
	}
	harness_free(h);
}

// Deleted while its container is starting: the end does not wait for postStart.
static void the_end_does_not_wait_for_post_start(void **state)
{
#define SLOW_HOOK                                                                                                      \
	CONTAINER("a", "\"wait\"", ",\"lifecycle\":{\"postStart\":" EXEC("\"append=/t/log:post\",\"sleep=600000\"") "}")
	struct harness *h = harness_new("life-cut");

	fl_pods_synced(h->pods);
	harness_set(h, POD("cut", "", SLOW_HOOK, ""));
	assert_true(harness_wait(h, has_state, &(struct wanted_state){"cut", 0, CONTAINER_STARTING}));
	harness_set(h, POD("cut", DELETED("1"), SLOW_HOOK, ""));
	assert_true(harness_wait(h, is_deleted, "cut"));
	harness_free(h);
}

static bool looked(struct harness *h, const void *arg)
{
	AUTO_FREE char *n = run_shell("cat %s/steady/volumes/t/clock 2>/dev/null | wc -l", h->paths.pods);
	AUTO_FREE char *looks = run_shell("cat %s/steady/volumes/t/looks 2>/dev/null | wc -l", h->paths.pods);

	return atoi(n) >= 3 && atoi(looks) >= 1;
}

// What makes a pod ready early counts no success twice: the liveness probe is the clock here.
static void a_success_threshold_takes_its_periods(void **state)
{
	struct harness *h = harness_new("life-threshold");

	fl_pods_synced(h->pods);
	harness_set(h, POD("steady", "",
			   CONTAINER("a", "\"wait\"",
				     ",\"readinessProbe\":{\"exec\":{\"command\":" DO(
					 "\"append=/t/looks:1\"") "},\"periodSeconds\":600,\"successThreshold\":2},"
								  "\"livenessProbe\":{\"exec\":{\"command\":" DO(
								      "\"append=/t/clock:1\"") "},\"periodSeconds\":"
											       "1}"),
			   ""));
	assert_true(harness_wait(h, looked, NULL));
	AUTO_FREE char *looks = run_shell("cat %s/steady/volumes/t/looks | wc -l", h->paths.pods);
	assert_string_equal(looks, "1");
	assert_string_equal(status_at(h, "steady", "containerStatuses.a.ready"), "false");
	harness_free(h);
}

static void a_startup_probe_holds_the_others_back(void **state)
{
	struct harness *h = harness_new("life-gate");

	fl_pods_synced(h->pods);
	harness_set(
	    h,
	    POD("gate", "",
		CONTAINER(
		    "ready", "\"wait\"",
		    ",\"readinessProbe\":" EXEC("\"append=/t/ready:1\"") ",\"startupProbe\":" GATE(
			",\"failureThreshold\":1000")) "," CONTAINER("live", "\"wait\"",
								     ",\"livenessProbe\":{\"exec\":{\"command\":" DO(
									 "\"append=/t/live:1\",\"exit=1\"") "},"
													    "\"periodSe"
													    "conds\":1,"
													    "\"failureT"
													    "hreshold\""
													    ":1},"
													    "\"startupP"
													    "robe\""
													    ":" GATE(
														",\"fai"
														"lureTh"
														"reshol"
														"d\":"
														"100"
														"0")),
		",\"terminationGracePeriodSeconds\":1"));
	expect_status(h, "gate", "containerStatuses.ready.state.running.startedAt", NULL);
	expect_status(h, "gate", "containerStatuses.live.state.running.startedAt", NULL);
	expect_event(h, "gate Unhealthy: Startup probe failed: ");
	AUTO_FREE char *looks = run_shell("cd %s/gate/volumes/t; ls ready live 2>/dev/null", h->paths.pods);
	assert_string_equal(looks, "");
	for (int i = 0; i < 2; i++) {
		assert_string_equal(
		    status_at(h, "gate", i ? "containerStatuses.live.started" : "containerStatuses.ready.started"),
		    "false");
		assert_string_equal(
		    status_at(h, "gate", i ? "containerStatuses.live.ready" : "containerStatuses.ready.ready"),
		    "false");
	}
	assert_null(strstr(h->events.data, "Liveness"));
	open_gate(h, "gate");
	expect_status(h, "gate", "containerStatuses.ready.ready", "true");
	expect_event(h, "gate Killing: Container live failed liveness probe, will be restarted\n");
	expect_status(h, "gate", "containerStatuses.live.restartCount", "1");
	assert_string_equal(status_at(h, "gate", "containerStatuses.ready.restartCount"), "0");
	harness_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(hooks_run_in_their_place, harness_teardown),
	    cmocka_unit_test_teardown(hooks_that_fail_or_hang, harness_teardown),
	    cmocka_unit_test_teardown(sidecars_begin_first_and_end_last, harness_teardown),
	    cmocka_unit_test_teardown(a_job_ends_with_its_sidecar, harness_teardown),
	    cmocka_unit_test_teardown(ends_are_told, harness_teardown),
	    cmocka_unit_test_teardown(probes_end_what_does_not_live, harness_teardown),
	    cmocka_unit_test_teardown(a_container_held_back_leaves_the_queue, harness_teardown),
	    cmocka_unit_test_teardown(previous_logs_are_those_of_the_last_state, harness_teardown),
	    cmocka_unit_test_teardown(the_end_does_not_wait_for_post_start, harness_teardown),
	    cmocka_unit_test_teardown(a_success_threshold_takes_its_periods, harness_teardown),
	    cmocka_unit_test_teardown(a_startup_probe_holds_the_others_back, harness_teardown),
	};

	int status = own_network();

	if (status)
		return status;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
