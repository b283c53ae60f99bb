// SPDX-License-Identifier: Apache-2.0
// The first objects: made once, kept over restarts, restored and corrected when they are not what they should be.
#include "apiserver/bootstrap.h"

#include "support.h"

static void test_first_objects(void **state)
{
	struct api *f = *state;
	static const char *const namespaces[] = {"default", "kube-system", "kube-public", "kube-node-lease"};
	for (size_t i = 0; i < FL_COUNT(namespaces); i++) {
		AUTO_FREE char *path = fl_asprintf("/api/v1/namespaces/%s", namespaces[i]);
		assert_string_equal(at(expect(f, 200, ask(f, "GET", path)), "status.phase"), "Active");
	}
	struct answer *a = expect(f, 200, ask(f, "GET", "/api/v1/namespaces/default/services/kubernetes"));
	assert_string_equal(at(a, "spec.clusterIP"), "10.96.0.1");
	assert_int_equal(number_at(a, "spec.ports[0].port"), 443);
	assert_int_equal(number_at(a, "spec.ports[0].targetPort"), f->s.port);
	a = expect(f, 200, ask(f, "GET", "/api/v1/namespaces/default/endpoints/kubernetes"));
	assert_string_equal(at(a, "subsets[0].addresses[0].ip"), "192.0.2.1");
	assert_int_equal(number_at(a, "subsets[0].ports[0].port"), f->s.port);
	a = expect(f, 200, ask(f, "GET", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"));
	assert_string_equal(at(a, "endpoints[0].addresses[0]"), "192.0.2.1");
	assert_string_equal(at(a, "metadata.labels"), "{\"kubernetes.io/service-name\":\"kubernetes\"}");
}

static void test_again_changes_nothing(void **state)
{
	struct api *f = *state;
	uint64_t before = fl_store_revision(f->s.store);
	assert_int_equal(api_boot(f).rc, 0);
	assert_int_equal(fl_store_revision(f->s.store), before);
}

static void test_restores(void **state)
{
	struct api *f = *state;
	expect(f, 200, ask(f, "DELETE", "/api/v1/namespaces/default/services/kubernetes"));
	expect(f, 200, ask(f, "DELETE", "/api/v1/namespaces/default/endpoints/kubernetes"));
	expect(f, 200,
	       patch_with(
		   f, "merge", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes",
		   "{\"endpoints\":[{\"addresses\":[\"203.0.113.9\"]}],\"metadata\":{\"labels\":{\"mine\":\"yes\"}}}"));
	assert_int_equal(api_boot(f).rc, 0);
	assert_string_equal(at(ask(f, "GET", "/api/v1/namespaces/default/services/kubernetes"), "spec.clusterIP"),
			    "10.96.0.1");
	expect(f, 200, ask(f, "GET", "/api/v1/namespaces/default/endpoints/kubernetes"));
	struct answer *a = ask(f, "GET", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes");
	assert_string_equal(at(a, "endpoints[0].addresses[0]"), "192.0.2.1");
	assert_string_equal(at(a, "metadata.labels.mine"), "yes"); // not ours to take away
}

static void test_names_what_it_cannot_write(void **state)
{
	struct api *f = *state;
	expect(f, 200, ask(f, "DELETE", "/api/v1/namespaces/default/services/kubernetes"));
	expect(
	    f, 201,
	    ask_with(
		f, "POST", "/api/v1/namespaces/default/services",
		"{\"metadata\":{\"name\":\"thief\"},\"spec\":{\"clusterIP\":\"10.96.0.1\",\"ports\":[{\"port\":1}]}}"));
	struct api_booted b = api_boot(f);
	assert_true(b.rc < 0);
	assert_non_null(strstr(b.err.text, "services default/kubernetes"));
	assert_non_null(strstr(b.err.text, "10.96.0.1"));
	expect(f, 200, ask(f, "DELETE", "/api/v1/namespaces/default/services/thief"));
	assert_int_equal(api_boot(f).rc, 0);
}

// A restart finds everything: objects, addresses in use, and its own new port.
static void test_restart(void **state)
{
	struct api *f = *state;
	struct answer *a = expect(
	    f, 201,
	    ask_with(f, "POST", "/api/v1/namespaces/default/services",
		     "{\"metadata\":{\"name\":\"np\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":1}]}}"));
	AUTO_FREE char *ip = fl_strdup(at(a, "spec.clusterIP")), *uid = fl_strdup(at(a, "metadata.uid"));
	long long port = number_at(a, "spec.ports[0].nodePort");
	api_restart(f);
	a = expect(f, 200, ask(f, "GET", "/api/v1/namespaces/default/services/np"));
	assert_string_equal(at(a, "metadata.uid"), uid);
	expect(f, 422,
	       ask_with(f, "POST", "/api/v1/namespaces/default/services",
			"{\"metadata\":{\"name\":\"x\"},\"spec\":{\"clusterIP\":\"%s\",\"ports\":[{\"port\":1}]}}",
			ip));
	expect(f, 422,
	       ask_with(f, "POST", "/api/v1/namespaces/default/services",
			"{\"metadata\":{\"name\":\"x\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":1,"
			"\"nodePort\":%lld}]}}",
			port));
	a = expect(f, 200, ask(f, "GET", "/api/v1/namespaces/default/endpoints/kubernetes"));
	assert_int_equal(number_at(a, "subsets[0].ports[0].port"), f->s.port);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_first_objects, api_setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_again_changes_nothing, api_setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_restores, api_setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_names_what_it_cannot_write, api_setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_restart, api_setup, api_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
