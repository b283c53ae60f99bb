// SPDX-License-Identifier: Apache-2.0
#include "objects.h"

#include "controller/meta.h"
#include "controller/node/health.h"
#include "json/patch.h"

#define NOW_NS 1750000000000000000 // 2025-06-15T15:06:40Z

static struct fl_json *node(struct fl_arena *a, const char *ready)
{
	return yaml(
	    a,
	    "{metadata: {name: n, uid: un, resourceVersion: '5'}, spec: {taints: [{key: mine, effect: NoSchedule}]}, "
	    "status: {conditions: [{type: Ready, status: '%s', lastHeartbeatTime: h}, {type: MemoryPressure, status: "
	    "'False'}, {type: Other, status: 'True'}]}}",
	    ready);
}

static const char *status_of(const struct fl_json *o, const char *type)
{
	return fl_json_str(fl_meta_condition(fl_json_get(o, "status"), type), "status");
}

static void silence_makes_conditions_unknown(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_json *n = node(&a, "True"), *patch = fl_health_unknown_patch(&a, n, NOW_NS);
	assert_string_equal(fl_json_str(fl_json_get(patch, "metadata"), "resourceVersion"), "5");
	fl_json_merge_patch(&a, n, patch);
	assert_string_equal(status_of(n, "Ready"), "Unknown");
	assert_string_equal(status_of(n, "MemoryPressure"), "Unknown");
	assert_string_equal(status_of(n, "DiskPressure"), "Unknown");
	assert_string_equal(status_of(n, "Other"), "True");
	const struct fl_json *ready = fl_meta_condition(fl_json_get(n, "status"), "Ready");
	assert_string_equal(fl_json_str(ready, "reason"), "NodeStatusUnknown");
	assert_string_equal(fl_json_str(ready, "lastTransitionTime"), "2025-06-15T15:06:40Z");
	assert_string_equal(fl_json_str(ready, "lastHeartbeatTime"), "h");
	assert_null(fl_health_unknown_patch(&a, n, NOW_NS));
	assert_true(fl_health_is_silent(n));
	assert_false(fl_health_is_silent(node(&a, "False")));
}

static void taints_follow_ready(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_json *n = node(&a, "Unknown");
	fl_json_merge_patch(&a, n, fl_health_taints_patch(&a, n, NOW_NS));
	assert_is(&a, fl_json_path(n, "spec", "taints", NULL),
		  "[{key: mine, effect: NoSchedule}, "
		  "{key: node.kubernetes.io/unreachable, effect: NoSchedule, timeAdded: '2025-06-15T15:06:40Z'}, "
		  "{key: node.kubernetes.io/unreachable, effect: NoExecute, timeAdded: '2025-06-15T15:06:40Z'}]");
	assert_null(fl_health_taints_patch(&a, n, NOW_NS));
	fl_json_set(&a, n, "status", yaml(&a, "{conditions: [{type: Ready, status: 'False'}]}"));
	fl_json_merge_patch(&a, n, fl_health_taints_patch(&a, n, NOW_NS));
	assert_string_equal(fl_json_str(fl_json_index(fl_json_path(n, "spec", "taints", NULL), 1), "key"),
			    "node.kubernetes.io/not-ready");
	assert_int_equal(fl_json_count(fl_json_path(n, "spec", "taints", NULL)), 3);
	fl_json_set(&a, n, "status", yaml(&a, "{conditions: [{type: Ready, status: 'True'}]}"));
	fl_json_merge_patch(&a, n, fl_health_taints_patch(&a, n, NOW_NS));
	assert_is(&a, fl_json_path(n, "spec", "taints", NULL), "[{key: mine, effect: NoSchedule}]");
	assert_null(fl_health_taints_patch(&a, n, NOW_NS));
}

static void taints_follow_cordon_and_pressure(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_json *n = yaml(
	    &a, "{metadata: {name: n, uid: un, resourceVersion: '5'}, spec: {unschedulable: true, taints: [{key: "
		"node.kubernetes.io/memory-pressure, effect: NoExecute, timeAdded: '2025-06-15T15:00:00Z'}, {key: "
		"mine, effect: "
		"NoSchedule}]}, status: {conditions: [{type: Ready, status: 'True'}, {type: MemoryPressure, status: "
		"'True'}, {type: DiskPressure, status: 'True'}, {type: PIDPressure, status: 'True'}, {type: "
		"NetworkUnavailable, status: 'True'}]}}");
	fl_json_merge_patch(&a, n, fl_health_taints_patch(&a, n, NOW_NS));
	assert_is(
	    &a, fl_json_path(n, "spec", "taints", NULL),
	    "[{key: node.kubernetes.io/memory-pressure, effect: NoExecute, timeAdded: '2025-06-15T15:00:00Z'}, "
	    "{key: mine, effect: NoSchedule}, "
	    "{key: node.kubernetes.io/memory-pressure, effect: NoSchedule, timeAdded: '2025-06-15T15:06:40Z'}, "
	    "{key: node.kubernetes.io/disk-pressure, effect: NoSchedule, timeAdded: '2025-06-15T15:06:40Z'}, "
	    "{key: node.kubernetes.io/pid-pressure, effect: NoSchedule, timeAdded: '2025-06-15T15:06:40Z'}, "
	    "{key: node.kubernetes.io/network-unavailable, effect: NoSchedule, timeAdded: '2025-06-15T15:06:40Z'}, "
	    "{key: node.kubernetes.io/unschedulable, effect: NoSchedule, timeAdded: '2025-06-15T15:06:40Z'}]");
	assert_null(fl_health_taints_patch(&a, n, NOW_NS));
	fl_json_set(&a, n, "status",
		    yaml(&a, "{conditions: [{type: Ready, status: 'True'}, {type: MemoryPressure, "
			     "status: 'False'}, {type: DiskPressure, status: Unknown}]}"));
	fl_json_set_bool(&a, fl_json_get(n, "spec"), "unschedulable", false);
	fl_json_merge_patch(&a, n, fl_health_taints_patch(&a, n, NOW_NS));
	assert_is(&a, fl_json_path(n, "spec", "taints", NULL),
		  "[{key: node.kubernetes.io/memory-pressure, effect: NoExecute, timeAdded: '2025-06-15T15:00:00Z'}, "
		  "{key: mine, effect: NoSchedule}]");
}

static void taints_say_since_when(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_json *n =
	    yaml(&a, "{metadata: {name: n}, spec: {taints: [{key: k, value: v, effect: NoExecute}, {key: l, effect: "
		     "NoSchedule}]}, status: {conditions: [{type: Ready, status: 'True'}]}}");
	fl_json_merge_patch(&a, n, fl_health_taints_patch(&a, n, NOW_NS));
	assert_is(&a, fl_json_path(n, "spec", "taints", NULL),
		  "[{key: k, value: v, effect: NoExecute, timeAdded: '2025-06-15T15:06:40Z'}, {key: l, effect: "
		  "NoSchedule}]");
	assert_null(fl_health_taints_patch(&a, n, NOW_NS + 1000000000));
}

static void pods_become_unready(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_podview ready =
	    fl_podview_read(yaml(&a, "{metadata: {name: p}, status: {conditions: [{type: Ready, status: 'True'}]}}"));
	struct fl_podview not_ready = fl_podview_read(yaml(&a, "{metadata: {name: p}, status: {}}"));
	assert_is(
	    &a, fl_health_pod_unready_patch(&a, &ready, NOW_NS),
	    "{status: {conditions: [{type: Ready, status: 'False', lastTransitionTime: '2025-06-15T15:06:40Z'}]}}");
	assert_null(fl_health_pod_unready_patch(&a, &not_ready, NOW_NS));
}

static void evicts_in_time(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
#define ADDED     "timeAdded: '2025-06-15T15:06:40Z'"
#define TOLERATES "[{key: k, operator: Exists, effect: NoExecute, tolerationSeconds: 300}]"
	static const struct {
		const char *taints, *tolerations, *since; // members of the pod that say when it was made and bound
		int64_t want_s;                           // after timeAdded; -1 never, 0 at once
	} cases[] = {
	    {"[]", "[]", "", -1},
	    {"[{key: k, effect: NoSchedule, " ADDED "}]", "[]", "", -1},
	    {"[{key: k, effect: NoExecute, " ADDED "}]", "[]", "", 0},
	    {"[{key: k, effect: NoExecute, " ADDED "}]", "[{key: k, operator: Exists, effect: NoExecute}]", "", -1},
	    {"[{key: k, effect: NoExecute, " ADDED "}]", TOLERATES, "", 300},
	    {"[{key: k, effect: NoExecute, " ADDED "}]",
	     "[{key: k, operator: Exists, tolerationSeconds: 300}, {operator: Exists, tolerationSeconds: 60}]", "",
	     300},
	    {"[{key: k, effect: NoExecute, " ADDED "}, {key: l, effect: NoExecute, " ADDED "}]",
	     "[{key: k, operator: Exists, tolerationSeconds: 300}, {operator: Exists, tolerationSeconds: 60}]", "", 60},
	    {"[{key: k, effect: NoExecute, " ADDED "}, {key: l, effect: NoExecute, " ADDED "}]", TOLERATES, "", 0},
	    {"[{key: k, effect: NoExecute, " ADDED "}]", "[{key: k, operator: Exists, tolerationSeconds: -1}]", "", 0},
	    // Without a time of its own a taint waits for one, but does not hide what another one asks for.
	    {"[{key: k, effect: NoExecute}]", TOLERATES, "", -1},
	    {"[{key: k, effect: NoExecute}]", "[]", "", 0},
	    {"[{key: k, effect: NoExecute}, {key: l, effect: NoExecute, " ADDED "}]", TOLERATES, "", 0},
	    {"[{key: k, effect: NoExecute}, {key: l, effect: NoExecute, " ADDED "}]",
	     "[{operator: Exists, tolerationSeconds: 300}]", "", 300},
	    // A pod that came later has its time from then on.
	    {"[{key: k, effect: NoExecute, " ADDED "}]", TOLERATES, "creationTimestamp: '2025-06-15T15:07:40Z'", 360},
	    {"[{key: k, effect: NoExecute, " ADDED "}]", TOLERATES, "creationTimestamp: '2025-06-15T15:00:40Z'", 300},
	    {"[{key: k, effect: NoExecute, " ADDED "}]", TOLERATES,
	     "creationTimestamp: '2025-06-15T15:00:40Z'}, status: {conditions: [{type: PodScheduled, status: 'True', "
	     "lastTransitionTime: '2025-06-15T15:08:40Z'}]",
	     420},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct fl_podview p = fl_podview_read(
		    yaml(&a, "{spec: {tolerations: %s}, metadata: {%s}}", cases[i].tolerations, cases[i].since));
		int64_t got = fl_health_evict_at(yaml(&a, "{spec: {taints: %s}}", cases[i].taints), &p);
		int64_t want = cases[i].want_s <= 0 ? cases[i].want_s : NOW_NS + cases[i].want_s * 1000000000;
		if (got != want)
			fail_msg("case %zu: %lld", i, (long long)got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(silence_makes_conditions_unknown),
	    cmocka_unit_test(taints_follow_ready),
	    cmocka_unit_test(taints_follow_cordon_and_pressure),
	    cmocka_unit_test(taints_say_since_when),
	    cmocka_unit_test(pods_become_unready),
	    cmocka_unit_test(evicts_in_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
