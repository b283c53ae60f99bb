// SPDX-License-Identifier: Apache-2.0
#include "objects.h"

#include "controller/scheduler/fit.h"

#define READY "status: {conditions: [{type: Ready, status: 'True'}]}"

// All refusals, with ", " between them; NULL: it fits. Three pods are there, which take 3 processors and 3 GiB.
static const char *refusals(struct fl_arena *a, const struct fl_json *pod, const struct fl_json *node, bool ports_free)
{
	AUTO(fl_demand_deinit) struct fl_demand one = {0}, demand = {0};
	AUTO(fl_room_deinit) struct fl_room taken = {0};
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_refusals list = {0};
	fl_demand_read(a, yaml(a, "{spec: {containers: [{resources: {requests: {cpu: 1, memory: 1Gi}}}]}}"), &one);
	for (int i = 0; i < 3; i++)
		fl_room_add(&taken, &one);
	fl_demand_read(a, pod, &demand);
	fl_fit_refusals(a, pod, &demand, node, &taken, ports_free, &list);
	for (size_t i = 0; i < list.n; i++)
		fl_buf_printf(&b, "%s%s", i ? ", " : "", list.v[i]);
	fl_vec_deinit(&list);
	return b.len ? fl_arena_strndup(a, b.data, b.len) : NULL;
}

#define ROOM                                                                                                           \
	"status: {allocatable: {pods: 10, cpu: 3500m, memory: 4Gi, example.com/gpu: 1}, conditions: [{type: Ready, "   \
	"status: 'True'}]}"
#define ASKS(what) "{containers: [{resources: {requests: {" what "}}}]}"

static void cases_of_pod_and_node(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	static const char *const taint = "spec: {taints: [{key: k, value: v, effect: NoSchedule}]}, " READY;
	static const char *const affinity =
	    "{affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: "
	    "{nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, values: "
	    "[a, b]}, {key: cpus, operator: Gt, values: ['4']}]}, {matchFields: [{key: "
	    "metadata.name, operator: In, values: [special]}]}]}}}}";
	struct {
		const char *pod_spec, *node, *want; // NULL: fits
	} cases[] = {
	    {"{}", READY, NULL},
	    {"{}", "spec: {unschedulable: true}, " READY, "node(s) were unschedulable"},
	    {"{tolerations: [{key: node.kubernetes.io/unschedulable, operator: Exists}]}",
	     "spec: {unschedulable: true}, " READY, NULL},
	    {"{}", taint, "node(s) had untolerated taint {k: v}"},
	    {"{tolerations: [{key: k, value: v, effect: NoSchedule}]}", taint, NULL},
	    {"{tolerations: [{key: k, value: v}]}", taint, NULL},
	    {"{tolerations: [{key: k, operator: Exists}]}", taint, NULL},
	    {"{tolerations: [{operator: Exists}]}", taint, NULL},
	    {"{tolerations: [{key: k, value: w}]}", taint, "node(s) had untolerated taint {k: v}"},
	    {"{tolerations: [{key: k, value: v, effect: NoExecute}]}", taint, "node(s) had untolerated taint {k: v}"},
	    {"{}", "spec: {taints: [{key: k, effect: PreferNoSchedule}]}, " READY, NULL},
	    {"{}", "spec: {taints: [{key: k, effect: NoExecute}]}, " READY, "node(s) had untolerated taint {k: }"},
	    {"{}", "status: {conditions: [{type: Ready, status: 'False'}]}",
	     "node(s) had untolerated taint {node.kubernetes.io/not-ready: }"},
	    {"{}", "status: {}", "node(s) had untolerated taint {node.kubernetes.io/not-ready: }"},
	    {"{}", "status: {conditions: [{type: Ready, status: Unknown}]}",
	     "node(s) had untolerated taint {node.kubernetes.io/unreachable: }"},
	    {"{tolerations: [{key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute}]}", "status: {}",
	     "node(s) had untolerated taint {node.kubernetes.io/not-ready: }"},
	    {"{tolerations: [{key: node.kubernetes.io/not-ready, operator: Exists}]}", "status: {}", NULL},
	    {"{nodeSelector: {zone: a}}", READY, NULL},
	    {"{nodeSelector: {zone: b}}", READY, "node(s) didn't match Pod's node affinity/selector"},
	    {affinity, READY, NULL},
	    {"{affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{}]}}}}",
	     READY, "node(s) didn't match Pod's node affinity/selector"},
	    {"{affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: "
	     "[{matchExpressions: [{key: zone, operator: NotIn, values: [a]}]}, {matchExpressions: [{key: zone, "
	     "operator: "
	     "DoesNotExist}]}, {matchExpressions: [{key: cpus, operator: Lt, values: ['8']}]}]}}}}",
	     READY, "node(s) didn't match Pod's node affinity/selector"},
	    {"{affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: "
	     "[{matchExpressions: [{key: other, operator: NotIn, values: [a]}, {key: cpus, operator: Exists}]}]}}}}",
	     READY, NULL},
	    {"{}", "status: {allocatable: {pods: '3'}, conditions: [{type: Ready, status: 'True'}]}", "Too many pods"},
	    {"{}", "status: {allocatable: {pods: 4}, conditions: [{type: Ready, status: 'True'}]}", NULL},
	    {ASKS("cpu: 500m, memory: 1Gi"), ROOM, NULL},
	    {ASKS("cpu: 501m"), ROOM, "Insufficient cpu"},
	    {ASKS("memory: 1025Mi"), ROOM, "Insufficient memory"},
	    {ASKS("memory: 2Gi, cpu: 1"), ROOM, "Insufficient memory, Insufficient cpu"},
	    {ASKS("example.com/gpu: 1"), ROOM, NULL},
	    {ASKS("example.com/gpu: 2"), ROOM, "Insufficient example.com/gpu"},
	    {ASKS("example.com/none: 1"), ROOM, "Insufficient example.com/none"},
	    {ASKS("cpu: 100, memory: 1Ti"), READY, NULL}, // a node that tells of no resources
	    {ASKS("cpu: 0"), ROOM, NULL},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		const char *got =
		    refusals(&a, yaml(&a, "{spec: %s}", cases[i].pod_spec),
			     yaml(&a, "{metadata: {name: n, labels: {zone: a, cpus: '8'}}, %s}", cases[i].node), true);
		if (!fl_streq(got, cases[i].want))
			fail_msg("case %zu: got %s, want %s", i, got ? got : "fits",
				 cases[i].want ? cases[i].want : "fits");
	}
	assert_null(
	    refusals(&a, yaml(&a, "{spec: %s}", affinity), yaml(&a, "{metadata: {name: special}, " READY "}"), true));
	assert_non_null(refusals(&a, yaml(&a, "{spec: %s}", affinity),
				 yaml(&a, "{metadata: {name: n, labels: {zone: a, cpus: '4'}}, " READY "}"), true));
	assert_string_equal(refusals(&a, yaml(&a, "{spec: {}}"), yaml(&a, "{metadata: {name: n}, " READY "}"), false),
			    "node(s) didn't have free ports for the requested pod ports");
	// The first that refuses ends it.
	assert_string_equal(refusals(&a, yaml(&a, "{spec: {nodeSelector: {x: y}}}"),
				     yaml(&a, "{metadata: {name: n}, %s}", taint), false),
			    "node(s) had untolerated taint {k: v}");
}

static __int128 asks(const char *spec, const char *resource)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_demand_deinit) struct fl_demand d = {0};
	AUTO(fl_room_deinit) struct fl_room r = {0};
	fl_demand_read(&a, yaml(&a, "{spec: %s}", spec), &d);
	fl_room_add(&r, &d);
	fl_room_add(&r, &d);
	fl_room_sub(&r, &d);
	assert_int_equal(r.pods, 1);
	__int128 taken = fl_room_taken(&r, resource);
	fl_room_sub(&r, &d);
	assert_int_equal(r.pods, 0);
	assert_true(fl_room_taken(&r, resource) == 0);
	return taken / 1000000; // thousandths
}

#define CPU(n)     "{resources: {requests: {cpu: " n "}}}"
#define SIDECAR(n) "{restartPolicy: Always, resources: {requests: {cpu: " n "}}}"

static void what_a_pod_asks_for(void **state)
{
	assert_true(asks("{containers: [" CPU("250m") ", " CPU("1") "]}", "cpu") == 1250);
	assert_true(asks("{containers: [" CPU("250m") ", " CPU("1") "]}", "memory") == 0);
	assert_true(asks("{containers: [{resources: {limits: {cpu: 2}}}]}", "cpu") ==
		    2000); // limits stand for requests
	assert_true(asks("{containers: [{resources: {limits: {cpu: 2}, requests: {cpu: 1}}}]}", "cpu") == 1000);
	assert_true(asks("{containers: [" CPU("1") "], initContainers: [" CPU("3") ", " CPU("2") "]}", "cpu") == 3000);
	assert_true(asks("{containers: [" CPU("1") "], initContainers: [" SIDECAR("1") ", " CPU("2") "]}", "cpu") ==
		    3000);
	assert_true(asks("{containers: [" CPU("1") "], initContainers: [" CPU("2") ", " SIDECAR("2") "]}", "cpu") ==
		    3000);
	assert_true(asks("{containers: [" CPU("1") "], overhead: {cpu: 100m}}", "cpu") == 1100);
	assert_true(asks("{containers: [" CPU("1") "], resources: {requests: {cpu: 4}}}", "cpu") ==
		    4000); // of the whole pod
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(cases_of_pod_and_node),
					   cmocka_unit_test(what_a_pod_asks_for)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
