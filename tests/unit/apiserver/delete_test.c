// SPDX-License-Identifier: Apache-2.0
// What a DELETE does: preconditions, grace, finalizers, propagation, namespaces, collections. (rest.BeforeDelete)
#include <stdio.h>

#include "support.h"

#define SERVICES "/api/v1/namespaces/default/services"
#define PODS     "/api/v1/namespaces/default/pods"

static void make_pod(struct api *f, const char *name, const char *extra)
{
	expect(f, 201,
	       ask_with(f, "POST", PODS,
			"{\"metadata\":{\"name\":\"%s\"%s},\"spec\":{\"terminationGracePeriodSeconds\":20,"
			"\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}",
			name, extra));
}

static void bind_pod(struct api *f, const char *name)
{
	char path[96];
	snprintf(path, sizeof(path), PODS "/%s/binding", name);
	expect(f, 201, ask_with(f, "POST", path, "{\"target\":{\"kind\":\"Node\",\"name\":\"n1\"}}"));
}

static void test_service(void **state)
{
	struct api *f = *state;
	make_service(f, "a");
	struct answer *a = expect(f, 200, ask(f, "DELETE", SERVICES "/a"));
	assert_string_equal(at(a, "kind"), "Service"); // k8s: Services are returned
	assert_null(node_at(a, "metadata.deletionTimestamp"));
	expect(f, 404, ask(f, "GET", SERVICES "/a"));
	a = expect(f, 404, ask(f, "DELETE", SERVICES "/a"));
	assert_string_equal(at(a, "details.name"), "a");
}

static void test_preconditions(void **state)
{
	struct api *f = *state;
	struct answer *made = make_service(f, "pre");
	const char *uid = at(made, "metadata.uid"), *rv = at(made, "metadata.resourceVersion");
	struct answer *a =
	    expect(f, 409, ask_with(f, "DELETE", SERVICES "/pre", "{\"preconditions\":{\"uid\":\"other\"}}"));
	assert_true(contains(a, "the UID in the precondition (other) does not match the UID in record"));
	a = expect(f, 409,
		   ask_with(f, "DELETE", SERVICES "/pre",
			    "{\"preconditions\":{\"uid\":\"%s\",\"resourceVersion\":\"1\"}}", uid));
	assert_true(contains(a, "the ResourceVersion in the precondition (1) does not match"));
	assert_string_equal(at(a, "reason"), "Conflict");
	expect(f, 200,
	       ask_with(f, "DELETE", SERVICES "/pre", "{\"preconditions\":{\"uid\":\"%s\",\"resourceVersion\":\"%s\"}}",
			uid, rv));
}

static void test_bad_options(void **state)
{
	struct api *f = *state;
	make_service(f, "bad");
	static const struct {
		const char *path, *body;
		int status;
		const char *says;
	} cases[] = {
	    {SERVICES "/bad", "{\"propagationPolicy\":\"Sideways\"}", 422, "supported values: \\\"Foreground\\\""},
	    {SERVICES "/bad?propagationPolicy=x", "", 422, "supported values"},
	    {SERVICES "/bad", "{\"propagationPolicy\":\"Orphan\",\"orphanDependents\":true}", 422,
	     "cannot be both set"},
	    {SERVICES "/bad", "{\"dryRun\":[\"Some\"]}", 422, "dryRun: Unsupported value"},
	    {SERVICES "/bad?dryRun=Some", "", 422, "DeleteOptions.meta.k8s.io"},
	    {SERVICES "/bad?gracePeriodSeconds=x", "", 400, "invalid syntax"},
	    {SERVICES "/bad", "{\"gracePeriodSeconds\":\"x\"}", 400, "cannot be handled as a DeleteOptions"},
	    {SERVICES "/bad", "{\"kind\":\"Service\",\"apiVersion\":\"v1\"}", 400, "unknown conversion"},
	    {SERVICES "/bad", "[1]", 400, "must be of type DeleteOptions"},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct answer *a = ask_with(f, "DELETE", cases[i].path, "%s", cases[i].body);
		if (a->status != cases[i].status || !contains(a, cases[i].says))
			fail_msg("%s %s: %d %s", cases[i].path, cases[i].body, a->status, a->body.data);
	}
	expect(f, 200, ask(f, "DELETE", SERVICES "/bad?dryRun=All"));
	expect(f, 200, ask_with(f, "DELETE", SERVICES "/bad", "{\"dryRun\":[\"All\"]}"));
	expect(f, 200,
	       ask_with(f, "DELETE", SERVICES "/bad", "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"apps/v1\"}"));
}

static void test_finalizers(void **state)
{
	struct api *f = *state;
	struct answer *a = make_service(f, "fin");
	expect(f, 200,
	       patch_with(f, "merge", SERVICES "/fin",
			  "{\"metadata\":{\"finalizers\":[\"example.org/a\",\"example.org/b\"]}}"));
	a = expect(f, 200, ask(f, "DELETE", SERVICES "/fin"));
	assert_string_not_equal(at(a, "metadata.deletionTimestamp"), "");
	assert_int_equal(number_at(a, "metadata.deletionGracePeriodSeconds"), 0);
	const char *when = at(a, "metadata.deletionTimestamp"), *rv = at(a, "metadata.resourceVersion");
	a = expect(f, 200, ask(f, "DELETE", SERVICES "/fin")); // again: nothing changes
	assert_string_equal(at(a, "metadata.deletionTimestamp"), when);
	assert_string_equal(at(a, "metadata.resourceVersion"), rv);
	a = expect(f, 422,
		   patch_with(f, "json", SERVICES "/fin",
			      "[{\"op\":\"add\",\"path\":\"/metadata/finalizers/-\",\"value\":\"example.org/c\"}]"));
	assert_true(contains(a, "no new finalizers can be added"));
	expect(f, 200,
	       patch_with(f, "json", SERVICES "/fin", "[{\"op\":\"remove\",\"path\":\"/metadata/finalizers/0\"}]"));
	expect(f, 200, ask(f, "GET", SERVICES "/fin"));
	struct fl_service_alloc_stats before = fl_service_alloc_stats(f->s.alloc);
	// A dry run of the last step leaves it, and its address, where they are.
	expect(f, 200, patch_with(f, "merge", SERVICES "/fin?dryRun=All", "{\"metadata\":{\"finalizers\":null}}"));
	expect(f, 200, ask(f, "GET", SERVICES "/fin"));
	assert_int_equal(fl_service_alloc_stats(f->s.alloc).ips[0], before.ips[0]);
	expect(f, 200, patch_with(f, "merge", SERVICES "/fin", "{\"metadata\":{\"finalizers\":null}}"));
	expect(f, 404, ask(f, "GET", SERVICES "/fin"));
	assert_int_equal(fl_service_alloc_stats(f->s.alloc).ips[0], before.ips[0] - 1);
}

// As a cloud controller does it: its finalizer comes and goes with the addresses.
static void test_finalizers_through_status(void **state)
{
	struct api *f = *state;
	static const char cleanup[] = "service.kubernetes.io/load-balancer-cleanup";
	make_service(f, "lb");
	struct answer *a = expect(
	    f, 200,
	    patch_with(f, "strategic", SERVICES "/lb/status", "{\"metadata\":{\"finalizers\":[\"%s\"]}}", cleanup));
	assert_string_equal(at(a, "metadata.finalizers[0]"), cleanup);
	a = expect(f, 200, patch_with(f, "merge", SERVICES "/lb/status", "{\"spec\":{\"ports\":null}}"));
	assert_int_equal(number_at(a, "spec.ports[0].port"), 80); // the rest stays apart
	expect(f, 200, ask(f, "DELETE", SERVICES "/lb"));
	struct fl_service_alloc_stats before = fl_service_alloc_stats(f->s.alloc);
	expect(f, 200,
	       patch_with(f, "strategic", SERVICES "/lb/status",
			  "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"%s\"]}}", cleanup));
	expect(f, 404, ask(f, "GET", SERVICES "/lb"));
	assert_int_equal(fl_service_alloc_stats(f->s.alloc).ips[0], before.ips[0] - 1);
}

// A pod's owners are not for its node to say.
static void test_owners_through_status(void **state)
{
	struct api *f = *state;
	static const char owner[] = "{\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\","
				    "\"name\":\"x\",\"uid\":\"u\"}]}}";
	make_pod(f, "owned", "");
	make_service(f, "owned");
	struct answer *a = expect(f, 200, patch_with(f, "merge", PODS "/owned/status", owner));
	assert_null(node_at(a, "metadata.ownerReferences"));
	a = expect(f, 200, patch_with(f, "merge", SERVICES "/owned/status", owner));
	assert_string_equal(at(a, "metadata.ownerReferences[0].uid"), "u");
	expect(f, 200, ask(f, "DELETE", PODS "/owned"));
	expect(f, 200, ask(f, "DELETE", SERVICES "/owned"));
}

// ReplicationControllers are older than the garbage collector: a client that knows nothing of it leaves the pods alone.
static void test_orphans_by_default(void **state)
{
	struct api *f = *state;
	static const char path[] = "/api/v1/namespaces/default/replicationcontrollers";
	static const struct {
		const char *finalizers, *query, *body, *left;
	} cases[] = {
	    {"", "", "", "[\"orphan\"]"},
	    {"", "", "{\"gracePeriodSeconds\":0}", "[\"orphan\"]"},
	    {"\"a.b/c\",\"foregroundDeletion\"", "", "", "[\"a.b/c\",\"foregroundDeletion\"]"},
	    {"\"a.b/c\"", "", "", "[\"a.b/c\",\"orphan\"]"},
	    {"\"a.b/c\"", "?propagationPolicy=Background", "", "[\"a.b/c\"]"},
	    {"\"a.b/c\"", "?orphanDependents=false", "", "[\"a.b/c\"]"},
	};
	for (unsigned i = 0; i < FL_COUNT(cases); i++) {
		char one[128];
		expect(
		    f, 201,
		    ask_with(
			f, "POST", path,
			"{\"metadata\":{\"name\":\"rc%u\",\"finalizers\":[%s]},\"spec\":{\"template\":{\"metadata\":{"
			"\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}",
			i, cases[i].finalizers));
		snprintf(one, sizeof(one), "%s/rc%u%s", path, i, cases[i].query);
		struct answer *a = ask_with(f, "DELETE", one, "%s", cases[i].body);
		assert_string_equal(at(a, "metadata.finalizers"), cases[i].left);
		a = ask(f, "DELETE", one); // the same again changes nothing
		assert_string_equal(at(a, "metadata.finalizers"), cases[i].left);
		snprintf(one, sizeof(one), "%s/rc%u", path, i);
		expect(f, 200, patch_with(f, "merge", one, "{\"metadata\":{\"finalizers\":null}}"));
		expect(f, 404, ask(f, "GET", one));
	}
}

static void test_propagation(void **state)
{
	struct api *f = *state;
	make_service(f, "prop");
	struct answer *a = expect(f, 202, ask(f, "DELETE", SERVICES "/prop?propagationPolicy=Foreground"));
	assert_string_equal(at(a, "metadata.finalizers"), "[\"foregroundDeletion\"]");
	a = expect(f, 200, ask_with(f, "DELETE", SERVICES "/prop", "{\"propagationPolicy\":\"Orphan\"}"));
	assert_string_equal(at(a, "metadata.finalizers"), "[\"orphan\"]");
	a = expect(f, 200, ask(f, "DELETE", SERVICES "/prop")); // no policy: what is there stays
	assert_string_equal(at(a, "metadata.finalizers"), "[\"orphan\"]");
	expect(f, 200, ask(f, "DELETE", SERVICES "/prop?orphanDependents=false"));
	expect(f, 404, ask(f, "GET", SERVICES "/prop"));
}

static void test_generation(void **state)
{
	struct api *f = *state;
	static const char path[] = "/apis/apps/v1/namespaces/default/deployments";
	struct answer *a = expect(
	    f, 201,
	    ask_with(
		f, "POST", path,
		"{\"metadata\":{\"name\":\"d\"},\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{"
		"\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}"
		"}"));
	assert_int_equal(number_at(a, "metadata.generation"), 1);
	char one[96];
	snprintf(one, sizeof(one), "%s/d", path);
	a = patch_with(f, "merge", one, "{\"metadata\":{\"labels\":{\"x\":\"y\"}}}");
	assert_int_equal(number_at(expect(f, 200, a), "metadata.generation"), 1);
	a = patch_with(f, "merge", one, "{\"metadata\":{\"annotations\":{\"x\":\"y\"}}}"); // a Deployment's count
	assert_int_equal(number_at(expect(f, 200, a), "metadata.generation"), 2);
	a = patch_with(f, "merge", one, "{\"spec\":{\"replicas\":2}}");
	assert_int_equal(number_at(expect(f, 200, a), "metadata.generation"), 3);
	a = patch_with(f, "merge", one, "{\"metadata\":{\"generation\":77}}"); // the server's own
	assert_int_equal(number_at(expect(f, 200, a), "metadata.generation"), 3);
	char status[128];
	snprintf(status, sizeof(status), "%s/status", one);
	a = patch_with(f, "merge", status, "{\"spec\":{\"replicas\":9},\"status\":{\"replicas\":1}}");
	assert_int_equal(number_at(expect(f, 200, a), "metadata.generation"), 3);
	assert_int_equal(number_at(a, "spec.replicas"), 2);
	a = expect(f, 202,
		   ask(f, "DELETE", "/apis/apps/v1/namespaces/default/deployments/d?propagationPolicy=Foreground"));
	assert_int_equal(number_at(a, "metadata.generation"), 4);
}

static void test_pod_without_node(void **state)
{
	struct api *f = *state;
	make_pod(f, "loose", "");
	struct answer *a = expect(f, 200, ask(f, "DELETE", PODS "/loose"));
	assert_int_equal(number_at(a, "metadata.deletionGracePeriodSeconds"), 0);
	expect(f, 404, ask(f, "GET", PODS "/loose"));
}

static void test_pod_on_a_node(void **state)
{
	struct api *f = *state;
	make_pod(f, "bound", "");
	bind_pod(f, "bound");
	struct answer *a = expect(f, 200, ask(f, "DELETE", PODS "/bound"));
	assert_int_equal(number_at(a, "metadata.deletionGracePeriodSeconds"), 20);
	long long generation = number_at(a, "metadata.generation");
	const char *when = at(a, "metadata.deletionTimestamp");
	a = expect(f, 200, ask(f, "DELETE", PODS "/bound")); // already under way
	assert_string_equal(at(a, "metadata.deletionTimestamp"), when);
	a = expect(f, 200, ask(f, "DELETE", PODS "/bound?gracePeriodSeconds=60")); // it can only be shortened
	assert_int_equal(number_at(a, "metadata.deletionGracePeriodSeconds"), 20);
	a = expect(f, 200, ask_with(f, "DELETE", PODS "/bound", "{\"gracePeriodSeconds\":5}"));
	assert_int_equal(number_at(a, "metadata.deletionGracePeriodSeconds"), 5);
	assert_true(strcmp(at(a, "metadata.deletionTimestamp"), when) < 0);
	assert_int_equal(number_at(a, "metadata.generation"), generation);
	// A status from its node does not end it.
	expect(f, 200, patch_with(f, "merge", PODS "/bound/status", "{\"status\":{\"phase\":\"Running\"}}"));
	expect(f, 200, ask(f, "GET", PODS "/bound"));
	expect(f, 409, ask_with(f, "POST", PODS "/bound/binding", "{\"target\":{\"name\":\"n2\"}}"));
	a = expect(f, 200, ask_with(f, "DELETE", PODS "/bound", "{\"gracePeriodSeconds\":0}"));
	expect(f, 404, ask(f, "GET", PODS "/bound"));
}

static void test_pod_force_with_finalizer(void **state)
{
	struct api *f = *state;
	make_pod(f, "held", ",\"finalizers\":[\"example.org/x\"]");
	bind_pod(f, "held");
	struct answer *a = expect(f, 200, ask(f, "DELETE", PODS "/held?gracePeriodSeconds=0"));
	assert_int_equal(number_at(a, "metadata.deletionGracePeriodSeconds"), 0);
	expect(f, 200, ask(f, "DELETE", PODS "/held?gracePeriodSeconds=0"));
	expect(f, 200, ask(f, "GET", PODS "/held"));
	expect(f, 200, patch_with(f, "merge", PODS "/held", "{\"metadata\":{\"finalizers\":null}}"));
	expect(f, 404, ask(f, "GET", PODS "/held"));

	make_pod(f, "both", ",\"finalizers\":[\"example.org/x\"]"); // grace and finalizer: both must end
	bind_pod(f, "both");
	expect(f, 200, ask(f, "DELETE", PODS "/both"));
	expect(f, 200, patch_with(f, "merge", PODS "/both", "{\"metadata\":{\"finalizers\":null}}"));
	expect(f, 200, ask(f, "GET", PODS "/both"));
	expect(f, 200, ask(f, "DELETE", PODS "/both?gracePeriodSeconds=0"));
	expect(f, 404, ask(f, "GET", PODS "/both"));
}

static void test_finished_pod(void **state)
{
	struct api *f = *state;
	make_pod(f, "done", "");
	bind_pod(f, "done");
	expect(f, 200, patch_with(f, "merge", PODS "/done/status", "{\"status\":{\"phase\":\"Succeeded\"}}"));
	expect(f, 200, ask(f, "DELETE", PODS "/done"));
	expect(f, 404, ask(f, "GET", PODS "/done"));
	make_pod(f, "negative", "");
	bind_pod(f, "negative");
	struct answer *a = expect(f, 200, ask(f, "DELETE", PODS "/negative?gracePeriodSeconds=-3"));
	assert_int_equal(number_at(a, "metadata.deletionGracePeriodSeconds"), 1);
}

static void test_namespace(void **state)
{
	struct api *f = *state;
	static const char *const immortal[] = {"default", "kube-system", "kube-public"};
	for (size_t i = 0; i < FL_COUNT(immortal); i++) {
		char path[64];
		snprintf(path, sizeof(path), "/api/v1/namespaces/%s", immortal[i]);
		expect(f, 403, ask(f, "DELETE", path));
	}
	struct answer *a =
	    expect(f, 201, ask_with(f, "POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"team\"}}"));
	assert_string_equal(at(a, "spec.finalizers"), "[\"kubernetes\"]");
	expect(f, 201, ask_with(f, "POST", "/api/v1/namespaces/team/configmaps", "{\"metadata\":{\"name\":\"c\"}}"));
	a = expect(f, 200, ask(f, "DELETE", "/api/v1/namespaces/team"));
	assert_string_equal(at(a, "status.phase"), "Terminating");
	assert_null(node_at(a, "metadata.deletionGracePeriodSeconds"));
	const char *rv = at(a, "metadata.resourceVersion");
	a = expect(f, 200, ask(f, "DELETE", "/api/v1/namespaces/team"));
	assert_string_equal(at(a, "metadata.resourceVersion"), rv);
	a = expect(f, 403,
		   ask_with(f, "POST", "/api/v1/namespaces/team/configmaps", "{\"metadata\":{\"name\":\"d\"}}"));
	assert_string_equal(at(a, "details.causes[0].reason"), "NamespaceTerminating");
	expect(f, 200, patch_with(f, "merge", "/api/v1/namespaces/team/configmaps/c", "{\"data\":{\"k\":\"v\"}}"));
	expect(f, 200, ask(f, "DELETE", "/api/v1/namespaces/team/configmaps/c"));
	expect(f, 400,
	       ask_with(f, "PUT", "/api/v1/namespaces/team/finalize", "{\"metadata\":{\"name\":\"x\"},\"spec\":{}}"));
	a = expect(
	    f, 200,
	    ask_with(f, "PUT", "/api/v1/namespaces/team/finalize", "{\"metadata\":{\"name\":\"team\"},\"spec\":{}}"));
	assert_string_equal(at(a, "metadata.name"), "team");
	expect(f, 404, ask(f, "GET", "/api/v1/namespaces/team"));
	expect(f, 404, ask_with(f, "POST", "/api/v1/namespaces/team/configmaps", "{\"metadata\":{\"name\":\"d\"}}"));
}

static void test_collection(void **state)
{
	struct api *f = *state;
	static const char path[] = "/api/v1/namespaces/kube-public/configmaps";
	for (int i = 0; i < 600; i++)
		expect(f, 201,
		       ask_with(f, "POST", path, "{\"metadata\":{\"name\":\"c%d\",\"labels\":{\"odd\":\"%d\"}%s}}", i,
				i % 2, i == 77 ? ",\"finalizers\":[\"example.org/x\"]" : ""));
	char odd[96];
	snprintf(odd, sizeof(odd), "%s?labelSelector=odd%%3D1", path);
	struct answer *a = expect(f, 200, ask(f, "DELETE", odd));
	assert_int_equal(fl_json_count(node_at(a, "items")), 300);
	assert_string_equal(at(a, "kind"), "ConfigMapList");
	a = expect(f, 200, ask(f, "GET", odd));
	assert_int_equal(fl_json_count(node_at(a, "items")), 1); // the one with a finalizer
	assert_string_equal(at(a, "items[0].metadata.name"), "c77");
	snprintf(odd, sizeof(odd), "%s?fieldSelector=metadata.name%%3Dc2", path);
	expect(f, 200, ask(f, "DELETE", odd));
	expect(f, 409, ask_with(f, "DELETE", path, "{\"preconditions\":{\"uid\":\"x\"}}"));
	assert_int_equal(fl_json_count(node_at(ask(f, "GET", path), "items")), 300);
	a = expect(f, 200, ask(f, "DELETE", path));
	assert_int_equal(fl_json_count(node_at(a, "items")), 300);
	assert_int_equal(fl_json_count(node_at(ask(f, "GET", path), "items")), 1);
	expect(f, 200, ask(f, "DELETE", "/api/v1/namespaces/nowhere/configmaps"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_service),
	    cmocka_unit_test(test_preconditions),
	    cmocka_unit_test(test_bad_options),
	    cmocka_unit_test(test_finalizers),
	    cmocka_unit_test(test_finalizers_through_status),
	    cmocka_unit_test(test_owners_through_status),
	    cmocka_unit_test(test_orphans_by_default),
	    cmocka_unit_test(test_propagation),
	    cmocka_unit_test(test_generation),
	    cmocka_unit_test(test_pod_without_node),
	    cmocka_unit_test(test_pod_on_a_node),
	    cmocka_unit_test(test_pod_force_with_finalizer),
	    cmocka_unit_test(test_finished_pod),
	    cmocka_unit_test(test_namespace),
	    cmocka_unit_test(test_collection),
	};
	return cmocka_run_group_tests(tests, api_setup, api_teardown);
}
