// SPDX-License-Identifier: Apache-2.0
#include "objects.h"

#include "controller/scheduler/fit.h"

#define READY "status: {conditions: [{type: Ready, status: 'True'}]}"

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
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		const char *got = fl_fit_refusal(
		    &a, yaml(&a, "{spec: %s}", cases[i].pod_spec),
		    yaml(&a, "{metadata: {name: n, labels: {zone: a, cpus: '8'}}, %s}", cases[i].node), 3);
		if (!fl_streq(got, cases[i].want))
			fail_msg("case %zu: got %s, want %s", i, got ? got : "fits",
				 cases[i].want ? cases[i].want : "fits");
	}
	assert_null(fl_fit_refusal(&a, yaml(&a, "{spec: %s}", affinity),
				   yaml(&a, "{metadata: {name: special}, " READY "}"), 0));
	assert_non_null(fl_fit_refusal(&a, yaml(&a, "{spec: %s}", affinity),
				       yaml(&a, "{metadata: {name: n, labels: {zone: a, cpus: '4'}}, " READY "}"), 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(cases_of_pod_and_node)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
