// SPDX-License-Identifier: Apache-2.0
#include "objects.h"

#include "controller/meta.h"
#include "controller/namespace/conditions.h"
#include "json/patch.h"

#define NOW_NS 1750000000000000000

static void tells_what_is_left(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_json *ns = yaml(&a, "{metadata: {name: n}, status: {phase: Terminating}}");
	struct fl_ns_rest *r = fl_ns_rest_new(&a);
	assert_true(fl_ns_rest_is_empty(r));
	fl_ns_rest_count(r, "services.", yaml(&a, "{items: []}"));
	assert_true(fl_ns_rest_is_empty(r));
	fl_ns_rest_count(r, "pods.",
			 yaml(&a, "{items: [{metadata: {finalizers: [x/y]}}, {metadata: {}}], metadata: "
				  "{remainingItemCount: 3}}"));
	fl_ns_rest_count(r, "deployments.apps", yaml(&a, "{items: [{metadata: {finalizers: [x/y, a/b]}}]}"));
	assert_false(fl_ns_rest_is_empty(r));
	fl_json_merge_patch(&a, ns, fl_ns_rest_patch(&a, r, ns, NOW_NS));
	const struct fl_json *status = fl_json_get(ns, "status"),
			     *left = fl_meta_condition(status, "NamespaceContentRemaining"),
			     *held = fl_meta_condition(status, "NamespaceFinalizersRemaining");
	assert_string_equal(fl_json_str(status, "phase"), "Terminating");
	assert_int_equal(fl_json_count(fl_json_get(status, "conditions")), 5);
	assert_string_equal(fl_json_str(left, "reason"), "SomeResourcesRemain");
	assert_string_equal(
	    fl_json_str(left, "message"),
	    "Some resources are remaining: deployments.apps has 1 resource instances, pods. has 5 resource "
	    "instances");
	assert_string_equal(fl_json_str(held, "message"),
			    "Some finalizers are remaining: a/b in 1 resource instances, x/y in 2 resource instances");
	assert_string_equal(fl_json_str(fl_meta_condition(status, "NamespaceDeletionContentFailure"), "status"),
			    "False");
	assert_null(fl_ns_rest_patch(&a, r, ns, NOW_NS + 5000000000)); // says so already
}

static void tells_what_failed(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_json *ns = yaml(&a, "{metadata: {name: n}}");
	struct fl_ns_rest *r = fl_ns_rest_new(&a);
	fl_ns_rest_delete_failed(r, "widgets: no such thing");
	fl_ns_rest_discovery_failed(r, "no answer");
	assert_false(fl_ns_rest_is_empty(r));
	fl_json_merge_patch(&a, ns, fl_ns_rest_patch(&a, r, ns, NOW_NS));
	const struct fl_json *status = fl_json_get(ns, "status");
	assert_string_equal(fl_json_str(fl_meta_condition(status, "NamespaceDeletionContentFailure"), "message"),
			    "Failed to delete all resource types, 1 remaining: widgets: no such thing");
	assert_string_equal(fl_json_str(fl_meta_condition(status, "NamespaceDeletionDiscoveryFailure"), "message"),
			    "no answer");
	struct fl_ns_rest *later = fl_ns_rest_new(&a);
	fl_json_merge_patch(&a, ns, fl_ns_rest_patch(&a, later, ns, NOW_NS + 60 * 1000000000ll));
	const struct fl_json *c = fl_meta_condition(status, "NamespaceDeletionDiscoveryFailure");
	c = fl_meta_condition(fl_json_get(ns, "status"), "NamespaceDeletionDiscoveryFailure");
	assert_string_equal(fl_json_str(c, "status"), "False");
	assert_string_equal(fl_json_str(c, "lastTransitionTime"), "2025-06-15T15:07:40Z");
	assert_string_equal(fl_json_str(fl_meta_condition(fl_json_get(ns, "status"), "NamespaceContentRemaining"),
					"lastTransitionTime"),
			    "2025-06-15T15:06:40Z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(tells_what_is_left),
	    cmocka_unit_test(tells_what_failed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
