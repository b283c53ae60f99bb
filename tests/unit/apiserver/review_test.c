// SPDX-License-Identifier: Apache-2.0
// Reviews and impersonation: who am I, may I, what may I; as myself, as somebody else, as nobody.
#include <stdio.h>

#include "support.h"

#define WHO      "/apis/authentication.k8s.io/v1/selfsubjectreviews"
#define MAY      "/apis/authorization.k8s.io/v1/"
#define SERVICES "/api/v1/namespaces/default/services"

static void test_who(void **state)
{
	struct api *f = *state;
	struct answer *a = expect(f, 201, ask_with(f, "POST", WHO, "{}"));
	assert_string_equal(at(a, "kind"), "SelfSubjectReview");
	assert_string_equal(at(a, "status.userInfo.username"), "admin");
	assert_string_equal(at(a, "status.userInfo.groups[0]"), "system:masters");
	assert_string_equal(at(a, "status.userInfo.groups[1]"), "system:authenticated");
	assert_true(contains(a, "\"authentication.kubernetes.io/credential-id\":[\"X509SHA256="));
	expect(f, 403, api_send(f, f->nobody, "POST", WHO, NULL, NULL, "{}", 2));
	expect(f, 405, ask(f, "GET", WHO)); // nothing is stored
	expect(f, 405, ask(f, "DELETE", WHO));
}

static const struct {
	const char *review, *body;
	int status;
	const char *says;
} cases[] = {
    {"selfsubjectaccessreviews", "{\"spec\":{\"resourceAttributes\":{\"verb\":\"delete\",\"resource\":\"services\"}}}",
     201, "\"status\":{\"allowed\":true}"},
    {"selfsubjectaccessreviews", "{\"spec\":{\"nonResourceAttributes\":{\"verb\":\"get\",\"path\":\"/metrics\"}}}", 201,
     "\"status\":{\"allowed\":true}"},
    {"selfsubjectaccessreviews", "{\"spec\":{}}", 422,
     "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be "
     "specified"},
    {"selfsubjectaccessreviews", "{\"spec\":{\"resourceAttributes\":{},\"nonResourceAttributes\":{}}}", 422,
     "spec.nonResourceAttributes: Invalid value: {}: cannot be specified in combination with resourceAttributes"},
    {"selfsubjectaccessreviews", "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"resourceAttributes\":{}}}", 422,
     "metadata: Invalid value: {\\\"name\\\":\\\"x\\\"}: must be empty"},
    {"selfsubjectaccessreviews", "{\"spec\":{\"resourceAttributes\":5}}", 400, "cannot unmarshal"},
    {"subjectaccessreviews", "{\"spec\":{\"user\":\"nobody\",\"resourceAttributes\":{\"verb\":\"delete\"}}}", 201,
     "\"status\":{\"allowed\":false}"},
    {"subjectaccessreviews",
     "{\"spec\":{\"user\":\"nobody\",\"nonResourceAttributes\":{\"verb\":\"get\",\"path\":\"/livez/ping\"}}}", 201,
     "\"status\":{\"allowed\":true}"},
    {"subjectaccessreviews",
     "{\"spec\":{\"groups\":[\"system:authenticated\"],\"resourceAttributes\":{\"verb\":\"delete\"}}}", 201,
     "\"status\":{\"allowed\":true}"},
    {"subjectaccessreviews", "{\"spec\":{\"resourceAttributes\":{}}}", 422,
     "spec.user: Invalid value: \\\"\\\": at least one of user or group must be specified"},
    {"namespaces/x/localsubjectaccessreviews",
     "{\"metadata\":{\"namespace\":\"x\"},\"spec\":{\"user\":\"u\",\"resourceAttributes\":{\"namespace\":\"x\"}}}", 201,
     "\"status\":{\"allowed\":false}"},
    {"namespaces/x/localsubjectaccessreviews",
     "{\"spec\":{\"user\":\"u\",\"resourceAttributes\":{\"namespace\":\"y\"}}}", 422,
     "spec.resourceAttributes.namespace: Invalid value: \\\"y\\\": must match metadata.namespace"},
    {"namespaces/x/localsubjectaccessreviews", "{\"spec\":{\"user\":\"u\",\"nonResourceAttributes\":{}}}", 422,
     "spec.nonResourceAttributes: Invalid value: {}: disallowed on this kind of request"},
    {"selfsubjectrulesreviews", "{\"spec\":{\"namespace\":\"x\"}}", 201,
     "\"resourceRules\":[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"]}],"
     "\"nonResourceRules\":[{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"*\"]}],\"incomplete\":false"},
    {"selfsubjectrulesreviews", "{}", 400, "no namespace on request"},
};

static void test_may(void **state)
{
	struct api *f = *state;
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		char path[128];
		snprintf(path, sizeof(path), MAY "%s", cases[i].review);
		struct answer *a = expect(f, cases[i].status, ask_with(f, "POST", path, "%s", cases[i].body));
		if (!contains(a, cases[i].says))
			fail_msg("%s of %s: %s", cases[i].review, cases[i].body, a->body.data);
	}
}

static void test_impersonation(void **state)
{
	struct api *f = *state;
	f->headers[0] = "Impersonate-User: bob";
	f->headers[1] = "Impersonate-Group: one";
	struct answer *a = expect(f, 201, ask_with(f, "POST", WHO, "{}"));
	assert_true(contains(a, "\"userInfo\":{\"username\":\"bob\",\"groups\":[\"one\",\"system:authenticated\"]}"));
	expect(f, 200, ask(f, "GET", SERVICES));

	f->headers[0] = "Impersonate-User: system:serviceaccount:ns:robot";
	f->headers[1] = "Impersonate-Uid: 17";
	a = expect(f, 201, ask_with(f, "POST", WHO, "{}"));
	assert_true(contains(a, "\"uid\":\"17\",\"groups\":[\"system:serviceaccounts\",\"system:serviceaccounts:ns\","
				"\"system:authenticated\"]"));

	f->headers[0] = "Impersonate-User: system:anonymous"; // who may less is held to it
	f->headers[1] = NULL;
	a = expect(f, 403, ask(f, "GET", SERVICES));
	assert_true(contains(a, "User \\\"system:anonymous\\\" cannot list resource \\\"services\\\""));
	expect(f, 200, ask(f, "GET", "/version"));

	f->headers[0] = "Impersonate-User: bob"; // nobody is not bob because he says so
	a = expect(f, 403, api_send(f, f->nobody, "GET", SERVICES, NULL, NULL, NULL, 0));
	assert_true(
	    contains(a, "users \\\"bob\\\" is forbidden: User \\\"system:anonymous\\\" cannot impersonate resource "
			"\\\"users\\\" in API group \\\"\\\" at the cluster scope"));

	static const char *const without_user[] = {"Impersonate-Group: one", "Impersonate-Uid: 17",
						   "Impersonate-Extra-Scopes: view"};
	for (size_t i = 0; i < FL_COUNT(without_user); i++) { // never as the caller, who asked for less
		f->headers[0] = without_user[i];
		a = expect(f, 400, ask(f, "GET", SERVICES));
		assert_true(contains(a, "Impersonate-User is missing"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_who, api_setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_may, api_setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_impersonation, api_setup, api_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
