// SPDX-License-Identifier: Apache-2.0
#include "objects.h"

#include "controller/garbage/owners.h"

// The uid's first letter tells: s solid, w waiting, a absent, u unknown.
static enum fl_owner_state state_of(void *arg, const struct fl_json *ref)
{
	switch (fl_json_str(ref, "uid")[0]) {
	case 's':
		return FL_OWNER_SOLID;
	case 'w':
		return FL_OWNER_WAITING;
	case 'a':
		return FL_OWNER_ABSENT;
	default:
		return FL_OWNER_UNKNOWN;
	}
}

static void verdicts(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	static const struct {
		const char *meta;
		bool dependents;
		enum fl_garbage_verdict want;
		const char *detail;
	} cases[] = {
	    {"{}", false, FL_GARBAGE_KEEP, NULL},
	    {"{ownerReferences: [{uid: s1}]}", true, FL_GARBAGE_KEEP, NULL},
	    {"{ownerReferences: [{uid: u1}, {uid: s1}]}", true, FL_GARBAGE_ASK, NULL},
	    {"{ownerReferences: [{uid: u1}]}", true, FL_GARBAGE_ASK, NULL},
	    {"{ownerReferences: [{uid: a1}], deletionTimestamp: x}", true, FL_GARBAGE_KEEP, NULL},
	    {"{ownerReferences: [{uid: a1}]}", true, FL_GARBAGE_DELETE, "Background"},
	    {"{ownerReferences: [{uid: a1}], finalizers: [orphan]}", true, FL_GARBAGE_DELETE, "Orphan"},
	    {"{ownerReferences: [{uid: a1}], finalizers: [foregroundDeletion]}", false, FL_GARBAGE_DELETE,
	     "Foreground"},
	    {"{ownerReferences: [{uid: w1}]}", true, FL_GARBAGE_DELETE, "Foreground"},
	    {"{ownerReferences: [{uid: w1}]}", false, FL_GARBAGE_DELETE, "Background"},
	    {"{ownerReferences: [{uid: w1}, {uid: a1}]}", true, FL_GARBAGE_DELETE, "Foreground"},
	    {"{ownerReferences: [{uid: a1}, {uid: s1}, {uid: w1}]}", true, FL_GARBAGE_TRIM, "[{uid: s1}]"},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct fl_garbage_in in = {yaml(&a, "{metadata: %s}", cases[i].meta), cases[i].dependents, state_of,
					   NULL};
		struct fl_json *refs = NULL;
		const char *policy = NULL;
		assert_int_equal(fl_garbage_judge(&a, &in, &refs, &policy), cases[i].want);
		if (cases[i].want == FL_GARBAGE_DELETE)
			assert_string_equal(policy, cases[i].detail);
		if (cases[i].want == FL_GARBAGE_TRIM)
			assert_is(&a, refs, cases[i].detail);
	}
}

static void patches_hold_the_state(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_json *o =
	    yaml(&a, "{metadata: {name: o, uid: uo, resourceVersion: '3', deletionTimestamp: x, finalizers: "
		     "[a/b, orphan], ownerReferences: [{uid: p, blockOwnerDeletion: true}, {uid: q}]}}");
	assert_true(fl_garbage_is_ending(o, "orphan"));
	assert_false(fl_garbage_is_ending(o, "foregroundDeletion"));
	assert_true(fl_garbage_blocks(o, "p"));
	assert_false(fl_garbage_blocks(o, "q"));
	assert_false(fl_garbage_blocks(o, "r"));
	assert_is(&a, fl_garbage_finalizer_patch(&a, o, "orphan"),
		  "{metadata: {uid: uo, resourceVersion: '3', finalizers: [a/b]}}");
	assert_is(&a, fl_garbage_refs_patch(&a, o, yaml(&a, "[{uid: q}]")),
		  "{metadata: {uid: uo, resourceVersion: '3', ownerReferences: [{uid: q}]}}");
}

static void lets_owners_go(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const char *text = "{metadata: {ownerReferences: [{uid: p, blockOwnerDeletion: true}, {uid: q}, {uid: r, "
			   "blockOwnerDeletion: false}]}}";
	struct fl_json *o = yaml(&a, "%s", text);
	assert_is(&a, fl_garbage_unblock(&a, o),
		  "[{uid: p, blockOwnerDeletion: false}, {uid: q}, {uid: r, blockOwnerDeletion: false}]");
	assert_is(&a, o, text); // the object itself is as it was
	assert_null(fl_garbage_unblock(&a, yaml(&a, "{metadata: {ownerReferences: [{uid: q}]}}")));
	assert_null(fl_garbage_unblock(&a, yaml(&a, "{metadata: {}}")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(verdicts),
	    cmocka_unit_test(patches_hold_the_state),
	    cmocka_unit_test(lets_owners_go),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
