// SPDX-License-Identifier: Apache-2.0
#include "objects.h"

#include "controller/deployment/template.h"

static void equal_but_for_the_hash(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_json *t = yaml(&a, "{metadata: {labels: {app: a}}, spec: {containers: [{name: c, image: i}]}}");
	struct fl_json *same =
	    yaml(&a, "{spec: {containers: [{image: i, name: c}]}, metadata: {creationTimestamp: null, "
		     "labels: {app: a, pod-template-hash: x}}}");
	struct fl_json *other = yaml(&a, "{metadata: {labels: {app: a}}, spec: {containers: [{name: c, image: j}]}}");
	struct fl_json *labelled =
	    yaml(&a, "{metadata: {labels: {app: a, b: c}}, spec: {containers: [{name: c, image: i}]}}");
	char x[11], y[11];
	assert_true(fl_podtemplate_equal(t, same));
	assert_false(fl_podtemplate_equal(t, other));
	assert_false(fl_podtemplate_equal(t, labelled));
	assert_false(fl_podtemplate_equal(t, NULL));
	fl_podtemplate_hash(t, 0, x);
	fl_podtemplate_hash(same, 0, y);
	assert_string_equal(x, y);
	fl_podtemplate_hash(t, 1, y);
	assert_string_not_equal(x, y);
	fl_podtemplate_hash(other, 0, y);
	assert_string_not_equal(x, y);
	fl_podtemplate_hash(labelled, 0, y);
	assert_string_not_equal(x, y);
	assert_int_equal(strspn(x, "bcdfghjklmnpqrstvwxz2456789"), strlen(x));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(equal_but_for_the_hash)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
