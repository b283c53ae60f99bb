// SPDX-License-Identifier: Apache-2.0
#include "node/podstatus.h"
#include "tree.h"

#define W                                                                                                              \
	{                                                                                                              \
		.kind = FL_CSTATE_WAITING, .reason = "ContainerCreating"                                               \
	}
#define R                                                                                                              \
	{                                                                                                              \
		.kind = FL_CSTATE_RUNNING, .started_ns = 1000000000, .container_id = "runc://x"                        \
	}
#define T(code)                                                                                                        \
	{                                                                                                              \
		.kind = FL_CSTATE_TERMINATED, .reason = (code) ? "Error" : "Completed", .exit_code = (code),           \
		.started_ns = 1000000000, .finished_ns = 2000000000                                                    \
	}

struct phase_case {
	enum fl_restart_policy restart;
	const char *phase;
	bool ended;
	unsigned n_init;
	struct fl_container_view c[3];
};

static void phases(void **state)
{
	// What kubelet's getPhase says of pods with two containers (the first n_init are init containers).
	const struct phase_case cases[] = {
	    {FL_RESTART_ALWAYS, "Pending", false, 0, {{.now = W}, {.now = W}}},
	    {FL_RESTART_ALWAYS, "Pending", false, 0, {{.now = R}, {.now = W}}},
	    {FL_RESTART_ALWAYS, "Running", false, 0, {{.now = R}, {.now = R}}},
	    {FL_RESTART_ALWAYS, "Running", false, 0, {{.now = R}, {.now = T(1)}}},
	    {FL_RESTART_ALWAYS, "Running", false, 0, {{.now = T(0)}, {.now = T(1)}}},
	    {FL_RESTART_ALWAYS, "Running", false, 0, {{.now = W, .has_last = true, .last = T(1)}, {.now = R}}},
	    {FL_RESTART_NEVER, "Succeeded", false, 0, {{.now = T(0)}, {.now = T(0)}}},
	    {FL_RESTART_NEVER, "Failed", false, 0, {{.now = T(0)}, {.now = T(1)}}},
	    {FL_RESTART_NEVER, "Running", false, 0, {{.now = T(1)}, {.now = R}}},
	    {FL_RESTART_ON_FAILURE, "Running", false, 0, {{.now = T(0)}, {.now = T(1)}}},
	    {FL_RESTART_ON_FAILURE, "Succeeded", false, 0, {{.now = T(0)}, {.now = T(0)}}},
	    {FL_RESTART_ALWAYS, "Failed", true, 0, {{.now = T(0)}, {.now = T(137)}}},
	    {FL_RESTART_ALWAYS, "Succeeded", true, 0, {{.now = T(0)}, {.now = T(0)}}},
	    {FL_RESTART_ALWAYS, "Failed", true, 0, {{.now = W}, {.now = W}}},
	    {FL_RESTART_ALWAYS, "Pending", false, 1, {{.now = R}, {.now = W}}},
	    {FL_RESTART_ALWAYS, "Pending", false, 1, {{.now = T(1)}, {.now = W}}},
	    {FL_RESTART_NEVER, "Failed", false, 1, {{.now = T(1)}, {.now = W}}},
	    {FL_RESTART_ALWAYS, "Running", false, 1, {{.now = T(0)}, {.now = R}}},
	};

	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		AUTO(fl_arena_deinit) struct fl_arena a = {0};
		struct fl_pod_spec spec;
		const struct fl_json *pod = tree(
		    &a, cases[i].n_init ? "{'metadata':{'name':'w','uid':'u'},'spec':{'initContainers':[{'name':'a'}],"
					  "'containers':[{'name':'b'}]}}"
					: "{'metadata':{'name':'w','uid':'u'},'spec':{'containers':[{'name':'a'},"
					  "{'name':'b'}]}}");

		assert_int_equal(fl_pod_spec_read(&a, pod, &spec, NULL), 0);
		spec.restart = cases[i].restart;
		struct fl_pod_view v = {.spec = &spec, .containers = cases[i].c, .ended = cases[i].ended};

		if (strcmp(fl_pod_phase(&v), cases[i].phase) != 0)
			fail_msg("case %zu: %s, not %s", i, fl_pod_phase(&v), cases[i].phase);
	}
}

static void ready_pod(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_pod_spec spec;
	struct fl_pod_transitions t = {0};
	struct fl_ip ips[2], host;
	const struct fl_json *pod = tree(
	    &a, "{'metadata':{'name':'w','uid':'u','generation':2},'spec':{'containers':[{'name':'a','image':'i'}]},"
		"'status':{'conditions':[{'type':'PodScheduled','status':'True','lastTransitionTime':'1970-01-01T00:00:"
		"05Z'},"
		"{'type':'example.com/gate','status':'True'}]}}");
	struct fl_container_view c = {.now = R, .ready = true, .started = true, .restarts = 3, .image_id = "sha256:1"};

	fl_ip_parse("10.0.0.2", &ips[0]);
	fl_ip_parse("fd00::2", &ips[1]);
	fl_ip_parse("192.0.2.1", &host);
	assert_int_equal(fl_pod_spec_read(&a, pod, &spec, NULL), 0);
	struct fl_pod_view v = {.spec = &spec,
				.old_status = fl_json_get(pod, "status"),
				.ips = ips,
				.n_ips = 2,
				.host_ips = &host,
				.n_host_ips = 1,
				.start_ns = 7000000000,
				.now_ns = 9000000000,
				.network_ready = true,
				.containers = &c};
	const char *text = text_of(&a, fl_pod_status(&a, &v, &t));

	assert_string_equal(
	    text,
	    "{'observedGeneration':2,'phase':'Running','conditions':[{'type':'example.com/gate','status':'True'},"
	    "{'type':'PodReadyToStartContainers','status':'True','lastProbeTime':null,"
	    "'lastTransitionTime':'1970-01-01T00:00:09Z','observedGeneration':2},"
	    "{'type':'Initialized','status':'True','lastProbeTime':null,'lastTransitionTime':'1970-01-01T00:00:09Z',"
	    "'observedGeneration':2},"
	    "{'type':'Ready','status':'True','lastProbeTime':null,'lastTransitionTime':'1970-01-01T00:00:09Z',"
	    "'observedGeneration':2},"
	    "{'type':'ContainersReady','status':'True','lastProbeTime':null,'lastTransitionTime':'1970-01-01T00:00:09Z'"
	    ","
	    "'observedGeneration':2},"
	    "{'type':'PodScheduled','status':'True','lastProbeTime':null,'lastTransitionTime':'1970-01-01T00:00:05Z',"
	    "'observedGeneration':2}],'hostIP':'192.0.2.1','hostIPs':[{'ip':'192.0.2.1'}],'podIP':'10.0.0.2',"
	    "'podIPs':[{'ip':'10.0.0.2'},{'ip':'fd00::2'}],'startTime':'1970-01-01T00:00:07Z','containerStatuses':["
	    "{'containerID':'runc://x','image':'i','imageID':'sha256:1','lastState':{},'name':'a','ready':true,"
	    "'restartCount':3,'started':true,'state':{'running':{'startedAt':'1970-01-01T00:00:01Z'}}}],"
	    "'qosClass':'BestEffort'}");

	// A change moves the times of what changed, and of nothing else.
	v.now_ns = 20000000000;
	c.ready = false;
	struct fl_json *s = fl_pod_status(&a, &v, &t);
	struct fl_json *ready = fl_json_index(fl_json_get(s, "conditions"), 3);
	assert_string_equal(fl_json_str(ready, "lastTransitionTime"), "1970-01-01T00:00:20Z");
	assert_string_equal(fl_json_str(ready, "reason"), "ContainersNotReady");
	assert_string_equal(fl_json_str(ready, "message"), "containers with unready status: [a]");
	assert_string_equal(fl_json_str(fl_json_index(fl_json_get(s, "conditions"), 2), "lastTransitionTime"),
			    "1970-01-01T00:00:09Z");
}

static void gates_hold_ready_back(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_pod_spec spec;
	struct fl_pod_transitions t = {0};
	const struct fl_json *pod =
	    tree(&a, "{'metadata':{'name':'w','uid':'u'},'spec':{'readinessGates':[{'conditionType':'g'}],"
		     "'containers':[{'name':'a','image':'i'}]}}");
	struct fl_container_view c = {.now = R, .ready = true};
	struct fl_pod_view v = {.spec = &spec, .containers = &c, .now_ns = 1};

	assert_int_equal(fl_pod_spec_read(&a, pod, &spec, NULL), 0);
	struct fl_json *conditions = fl_json_get(fl_pod_status(&a, &v, &t), "conditions");
	assert_string_equal(fl_json_str(fl_json_index(conditions, 2), "reason"), "ReadinessGatesNotReady");
	assert_string_equal(fl_json_str(fl_json_index(conditions, 3), "status"), "True");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(phases),
	    cmocka_unit_test(ready_pod),
	    cmocka_unit_test(gates_hold_ready_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
