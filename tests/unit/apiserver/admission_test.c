// SPDX-License-Identifier: Apache-2.0
// What a new Pod names must be there: it is refused at once, not left waiting for what never comes.
#include "support.h"

#define PODS "/api/v1/namespaces/default/pods"
#define POD  "{\"metadata\":{\"name\":\"%s\"},\"spec\":{%s\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"

static const struct {
	const char *spec, *says; // says NULL: accepted
} cases[] = {
    {"", NULL},
    {"\"serviceAccountName\":\"default\",", NULL}, // comes right after its namespace
    {"\"serviceAccountName\":\"robot\",", NULL},
    {"\"serviceAccountName\":\"nosuch\",", "pods \\\"p\\\" is forbidden: error looking up service account "
					   "default/nosuch: serviceaccount \\\"nosuch\\\" not found"},
    {"\"serviceAccount\":\"nosuch\",", "pods \\\"p\\\" is forbidden: error looking up service account default/nosuch: "
				       "serviceaccount \\\"nosuch\\\" not found"},
    {"\"priorityClassName\":\"system-node-critical\",", NULL},
    {"\"priorityClassName\":\"system-node-critical\",\"priority\":2000001000,", NULL}, // as it was read
    {"\"priorityClassName\":\"high\",", "pods \\\"p\\\" is forbidden: no PriorityClass with name high was found"},
    {"\"priority\":5,",
     "pods \\\"p\\\" is forbidden: the integer value of priority (5) must not be provided in pod spec; "
     "priority admission controller computed 0 from the given PriorityClass name"},
    {"\"runtimeClassName\":\"gvisor\",",
     "pods \\\"p\\\" is forbidden: pod rejected: RuntimeClass \\\"gvisor\\\" not found"},
};

static void test_pods(void **state)
{
	struct api *f = *state;
	expect(
	    f, 201,
	    ask_with(f, "POST", "/api/v1/namespaces/default/serviceaccounts", "{\"metadata\":{\"name\":\"robot\"}}"));
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct answer *a = expect(f, cases[i].says ? 403 : 201,
					  ask_with(f, "POST", PODS "?dryRun=All", POD, "p", cases[i].spec));
		if (cases[i].says && !contains(a, cases[i].says))
			fail_msg("%s: %s", cases[i].spec, a->body.data);
		if (cases[i].says)
			assert_string_equal(at(a, "details.name"), "p");
	}
	struct answer *a =
	    expect(f, 403,
		   ask_with(f, "POST", PODS,
			    "{\"metadata\":{\"generateName\":\"p-\"},\"spec\":{\"runtimeClassName\":\"x\","
			    "\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"));
	assert_true(contains(a, "pods \\\"p-\\\" is forbidden"));
	// One that is there may be written to whatever became of what it names.
	expect(f, 201, ask_with(f, "POST", PODS, POD, "stays", "\"serviceAccountName\":\"robot\","));
	expect(f, 200, ask(f, "DELETE", "/api/v1/namespaces/default/serviceaccounts/robot"));
	expect(f, 200, patch_with(f, "merge", PODS "/stays", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_pods, api_setup, api_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
