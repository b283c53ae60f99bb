// SPDX-License-Identifier: Apache-2.0
#include "objects.h"

#include "controller/meta.h"

static void scales_numbers_and_percents(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	static const struct {
		const char *v;
		int64_t total;
		bool up;
		int64_t want;
	} cases[] = {
	    {"3", 10, true, 3},       {"0", 10, true, 0},          {"'25%'", 10, true, 3}, {"'25%'", 10, false, 2},
	    {"'25%'", 3, false, 0},   {"'25%'", 3, true, 1},       {"'100%'", 7, true, 7}, {"'0%'", 7, true, 0},
	    {"'1%'", 1000, true, 10}, {"'nonsense'", 9, true, -5}, {"'5'", 9, true, -5},   {"true", 9, true, -5},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++)
		assert_int_equal(fl_meta_scaled(yaml(&a, "%s", cases[i].v), cases[i].total, cases[i].up, -5),
				 cases[i].want);
	assert_int_equal(fl_meta_scaled(NULL, 9, true, -5), -5);
}

static void patches_of_a_status(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_json *old = yaml(&a, "{replicas: 3, readyReplicas: 2, conditions: [{type: A}]}");
	assert_null(
	    fl_meta_status_patch(&a, old, yaml(&a, "{conditions: [{type: A}], readyReplicas: 2, replicas: 3}")));
	assert_is(&a, fl_meta_status_patch(&a, old, yaml(&a, "{replicas: 4, conditions: [{type: B}]}")),
		  "{status: {replicas: 4, conditions: [{type: B}], readyReplicas: null}}");
	assert_is(&a, fl_meta_status_patch(&a, NULL, yaml(&a, "{replicas: 0}")), "{status: {replicas: 0}}");
}

static void owners(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_json *pod =
	    yaml(&a, "{metadata: {name: p, uid: up, resourceVersion: '7', labels: {app: web}, ownerReferences: ["
		     "{kind: X, name: x, uid: ux}, {kind: ReplicaSet, name: rs, uid: ur, controller: true}]}}");
	struct fl_json *bare = yaml(&a, "{metadata: {name: q, uid: uq, resourceVersion: '8', labels: {app: x}}}");
	assert_true(fl_meta_controlled_by(pod, "ur"));
	assert_false(fl_meta_controlled_by(pod, "ux"));
	assert_null(fl_meta_controller(bare));
	size_t n;
	struct fl_pair *pairs = fl_meta_pairs(&a, pod, &n);
	assert_int_equal(n, 1);
	assert_string_equal(pairs[0].key, FL_PAIR_CONTROLLER);
	assert_string_equal(pairs[0].value, "ur");
	pairs = fl_meta_pairs(&a, bare, &n);
	assert_int_equal(n, 2);
	assert_string_equal(pairs[0].key, "app");
	assert_string_equal(pairs[1].value, "");

	assert_is(&a, fl_meta_release_patch(&a, pod, "ur"),
		  "{metadata: {uid: up, resourceVersion: '7', ownerReferences: [{kind: X, name: x, uid: ux}]}}");
	struct fl_json *rs = yaml(&a, "{metadata: {name: rs, uid: ur}}");
	assert_is(
	    &a, fl_meta_adopt_patch(&a, bare, fl_meta_owner_ref(&a, rs, "apps/v1", "ReplicaSet")),
	    "{metadata: {uid: uq, resourceVersion: '8', ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, "
	    "name: rs, uid: ur, controller: true, blockOwnerDeletion: true}]}}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(scales_numbers_and_percents),
	    cmocka_unit_test(patches_of_a_status),
	    cmocka_unit_test(owners),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
