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

static void set_ranges(struct api *f, const char *cidr, uint16_t low, uint16_t high)
{
	assert_true(fl_cidr_parse(cidr, &f->opts.service_cidrs[0], true));
	f->opts.n_service_cidrs = 1;
	f->opts.node_port_low = low;
	f->opts.node_port_high = high;
}

static struct answer *label(struct api *f, int status, const char *path)
{
	return expect(f, status, patch_with(f, "merge", path, "{\"metadata\":{\"labels\":{\"now\":\"%d\"}}}", status));
}

#define SERVICES "/api/v1/namespaces/default/services"

// Other ranges than those that the Services were made with: what they have they keep, what is new is of the new ones.
static void test_other_ranges(void **state)
{
	struct api *f = *state;
	make_service(f, "a");
	expect(
	    f, 201,
	    ask_with(
		f, "POST", SERVICES,
		"{\"metadata\":{\"name\":\"np\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"name\":\"x\",\"port\":1,"
		"\"nodePort\":32000},{\"name\":\"y\",\"port\":2,\"nodePort\":30900}]}}"));
	set_ranges(f, "10.97.0.0/16", 30000, 31000);
	api_restart(f); // fails the test when the first objects cannot be made
	assert_int_equal(fl_service_alloc_stats(f->s.alloc).ips[0], 0);
	assert_int_equal(fl_service_alloc_stats(f->s.alloc).ports, 1);
	label(f, 200, SERVICES "/a");
	label(f, 200, SERVICES "/kubernetes");
	label(f, 200, SERVICES "/np");
	// Taken up again from a manifest that knows nothing of what was given, and to another type and back.
	struct answer *a =
	    expect(f, 200,
		   ask_with(f, "PUT", SERVICES "/np",
			    "{\"metadata\":{\"name\":\"np\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{"
			    "\"name\":\"x\",\"port\":1},{\"name\":\"y\",\"port\":2}]}}"));
	assert_int_equal(number_at(a, "spec.ports[0].nodePort"), 32000);
	assert_true(fl_starts_with(at(a, "spec.clusterIP"), "10.96."));
	expect(f, 200, patch_with(f, "merge", SERVICES "/np", "{\"spec\":{\"type\":\"ClusterIP\"}}"));
	assert_int_equal(fl_service_alloc_stats(f->s.alloc).ports, 0);
	expect(f, 422, // given back, and so to be had no more
	       patch_with(f, "merge", SERVICES "/np",
			  "{\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":1,\"nodePort\":32000}]}}"));
	assert_true(fl_starts_with(at(make_service(f, "new"), "spec.clusterIP"), "10.97."));
	expect(
	    f, 422,
	    ask_with(
		f, "POST", SERVICES,
		"{\"metadata\":{\"name\":\"old\"},\"spec\":{\"clusterIP\":\"10.96.0.9\",\"ports\":[{\"port\":1}]}}"));
	expect(f, 200, ask(f, "DELETE", SERVICES "/np"));
	expect(f, 200, ask(f, "DELETE", SERVICES "/a"));
	expect(f, 200, ask(f, "DELETE", SERVICES "/new"));
	assert_int_equal(fl_service_alloc_stats(f->s.alloc).ips[0], 0);
	// The first one moves when it is made anew.
	expect(f, 200, ask(f, "DELETE", SERVICES "/kubernetes"));
	assert_int_equal(api_boot(f).rc, 0);
	assert_string_equal(at(ask(f, "GET", SERVICES "/kubernetes"), "spec.clusterIP"), "10.97.0.1");
}

// The other family alone: the server starts and says why such a Service cannot be written; it can be deleted.
static void test_other_family(void **state)
{
	struct api *f = *state;
	make_service(f, "a");
	set_ranges(f, "fd00:10::/112", 30000, 32767);
	fl_api_set_service_families(AF_INET6, 0);
	assert_true(fl_ip_parse("2001:db8::1", &f->opts.advertise_ip));
	api_restart(f);
	struct answer *a = label(f, 422, SERVICES "/a");
	assert_string_equal(at(a, "message"),
			    "Service \"a\" is invalid: spec.ipFamilies[0]: Invalid value: \"IPv4\": not "
			    "configured on this cluster");
	expect(f, 200, ask(f, "DELETE", SERVICES "/a"));
	assert_true(fl_starts_with(at(make_service(f, "b"), "spec.clusterIP"), "fd00:10::"));
	a = expect(f, 200, ask(f, "GET", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"));
	assert_string_equal(at(a, "addressType"), "IPv6");
	assert_string_equal(at(a, "endpoints[0].addresses"), "[\"2001:db8::1\"]");
}

// The second one gone: what has both keeps both, if it does not insist on them.
static void test_second_family_gone(void **state)
{
	struct api f = {0};
	api_start(&f, &(struct api_config){.cidr6 = "fd00:10::/112"});
	expect(&f, 201,
	       ask_with(&f, "POST", SERVICES,
			"{\"metadata\":{\"name\":\"two\"},\"spec\":{\"ipFamilyPolicy\":\"PreferDualStack\",\"ports\":[{"
			"\"port\":1}]}}"));
	f.opts.n_service_cidrs = 1;
	fl_api_set_service_families(AF_INET, 0);
	api_restart(&f);
	struct answer *a = label(&f, 200, SERVICES "/two");
	assert_int_equal(fl_json_count(node_at(a, "spec.clusterIPs")), 2);
	uint64_t before = fl_service_alloc_stats(f.s.alloc).ips[0];
	expect(&f, 200, ask(&f, "DELETE", SERVICES "/two"));
	assert_int_equal(fl_service_alloc_stats(f.s.alloc).ips[0], before - 1);
	api_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_first_objects, api_setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_again_changes_nothing, api_setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_restores, api_setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_names_what_it_cannot_write, api_setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_restart, api_setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_other_ranges, api_setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_other_family, api_setup, api_teardown),
	    cmocka_unit_test(test_second_family_gone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
