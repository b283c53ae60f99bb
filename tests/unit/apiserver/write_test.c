// SPDX-License-Identifier: Apache-2.0
// create, update and patch: identity, conflicts, names, dry runs, statuses, patches, and bodies that mean harm.
#include <stdio.h>

#include "store/state.h"
#include "support.h"

#define SERVICES "/api/v1/namespaces/default/services"
#define MAPS     "/api/v1/namespaces/default/configmaps"
#define LEASES   "/apis/coordination.k8s.io/v1/namespaces/default/leases"

static void test_create(void **state)
{
	struct api *f = *state;
	struct answer *a = expect(f, 201,
				  ask_with(f, "POST", MAPS,
					   "{\"metadata\":{\"name\":\"a\",\"uid\":\"mine\",\"creationTimestamp\":"
					   "\"2001-01-01T00:00:00Z\",\"selfLink\":"
					   "\"x\",\"generation\":7,\"deletionTimestamp\":\"2001-01-01T00:00:00Z\","
					   "\"deletionGracePeriodSeconds\":3}}"));
	assert_int_equal(strlen(at(a, "metadata.uid")), 36);
	assert_string_not_equal(at(a, "metadata.creationTimestamp"), "2001-01-01T00:00:00Z");
	static const char *const absent[] = {"selfLink", "generation", "deletionTimestamp",
					     "deletionGracePeriodSeconds"};
	for (size_t i = 0; i < FL_COUNT(absent); i++)
		assert_null(fl_json_get(node_at(a, "metadata"), absent[i]));
	assert_string_equal(at(expect(f, 409, ask_with(f, "POST", MAPS, "{\"metadata\":{\"name\":\"a\"}}")), "reason"),
			    "AlreadyExists");
	expect(f, 409, ask_with(f, "POST", MAPS "?dryRun=All", "{\"metadata\":{\"name\":\"a\"}}"));
	expect(f, 404, ask_with(f, "POST", "/api/v1/namespaces/nowhere/configmaps", "{\"metadata\":{\"name\":\"a\"}}"));
}

static void test_generated_names(void **state)
{
	struct api *f = *state;
	struct answer *a = expect(f, 201, ask_with(f, "POST", MAPS, "{\"metadata\":{\"generateName\":\"web-\"}}"));
	assert_int_equal(strlen(at(a, "metadata.name")), 9);
	char base[80];
	memset(base, 'x', sizeof(base));
	base[70] = 0;
	a = expect(f, 201, ask_with(f, "POST", MAPS, "{\"metadata\":{\"generateName\":\"%s\"}}", base));
	assert_int_equal(strlen(at(a, "metadata.name")), 63);
	a = expect(f, 201, ask_with(f, "POST", MAPS, "{\"metadata\":{\"generateName\":\"web-\",\"name\":\"chosen\"}}"));
	assert_string_equal(at(a, "metadata.name"), "chosen");
}

static void test_update_identity(void **state)
{
	struct api *f = *state;
	struct answer *made = make_service(f, "id");
	const char *rv = at(made, "metadata.resourceVersion");
	static const char spec[] = "\"spec\":{\"ports\":[{\"port\":81}]}";
	struct answer *a =
	    expect(f, 400, ask_with(f, "PUT", SERVICES "/id", "{\"metadata\":{\"name\":\"other\"},%s}", spec));
	assert_string_equal(at(a, "message"), "the name of the object (other) does not match the name on the URL (id)");
	expect(f, 400, ask_with(f, "PUT", SERVICES "/id", "{\"metadata\":{},%s}", spec));
	expect(f, 400,
	       ask_with(f, "PUT", SERVICES "/id", "{\"metadata\":{\"name\":\"id\",\"namespace\":\"x\"},%s}", spec));
	a = expect(f, 409,
		   ask_with(f, "PUT", SERVICES "/id", "{\"metadata\":{\"name\":\"id\",\"uid\":\"x\"},%s}", spec));
	assert_true(contains(a, "Precondition failed: UID in precondition: x"));
	expect(f, 200,
	       ask_with(f, "PUT", SERVICES "/id", "{\"metadata\":{\"name\":\"id\",\"resourceVersion\":\"%s\"},%s}", rv,
			spec));
	a = expect(f, 409,
		   ask_with(f, "PUT", SERVICES "/id", "{\"metadata\":{\"name\":\"id\",\"resourceVersion\":\"%s\"},%s}",
			    rv, spec));
	assert_true(
	    contains(a, "the object has been modified; please apply your changes to the latest version and try again"));
	expect(f, 409,
	       ask_with(f, "PUT", SERVICES "/id", "{\"metadata\":{\"name\":\"id\",\"resourceVersion\":\"abc\"},%s}",
			spec));
	expect(f, 409, patch_with(f, "merge", SERVICES "/id", "{\"metadata\":{\"resourceVersion\":\"%s\"}}", rv));
	expect(f, 400, patch_with(f, "merge", SERVICES "/id", "{\"metadata\":{\"name\":\"renamed\"}}"));
	expect(f, 422, patch_with(f, "merge", SERVICES "/id", "{\"kind\":\"Pod\"}"));
	expect(f, 404, ask_with(f, "PUT", MAPS "/none", "{\"metadata\":{\"name\":\"none\"}}"));
	expect(
	    f, 200,
	    ask_with(f, "PUT", SERVICES "/id", "{\"metadata\":{\"name\":\"id\",\"resourceVersion\":\"0\"},%s}", spec));
}

static void test_no_change_no_revision(void **state)
{
	struct api *f = *state;
	struct answer *made = make_service(f, "same");
	uint64_t before = fl_store_revision(f->s.store);
	struct answer *a =
	    expect(f, 200, patch_with(f, "merge", SERVICES "/same", "{\"spec\":{\"selector\":{\"app\":\"same\"}}}"));
	assert_string_equal(at(a, "metadata.resourceVersion"), at(made, "metadata.resourceVersion"));
	a = expect(f, 200, ask_with(f, "PUT", SERVICES "/same", "%s", made->body.data));
	assert_int_equal(fl_store_revision(f->s.store), before);
	assert_true(fl_json_equal(a->json, made->json));
}

static void test_create_on_update(void **state)
{
	struct api *f = *state;
	struct answer *a = expect(f, 201,
				  ask_with(f, "PUT", LEASES "/leader",
					   "{\"metadata\":{\"name\":\"leader\"},\"spec\":{\"holderIdentity\":\"a\"}}"));
	assert_int_equal(strlen(at(a, "metadata.uid")), 36);
	expect(f, 400, ask_with(f, "PUT", LEASES "/other", "{\"metadata\":{\"name\":\"different\"}}"));
	expect(f, 409, ask_with(f, "PUT", LEASES "/other", "{\"metadata\":{\"name\":\"other\",\"uid\":\"x\"}}"));
	// A revision of an object that is gone says nothing about the new one.
	a = expect(
	    f, 201,
	    ask_with(f, "PUT", LEASES "/other", "{\"metadata\":{\"name\":\"other\",\"resourceVersion\":\"5\"}}"));
	assert_string_not_equal(at(a, "metadata.resourceVersion"), "5");
	// Leases are guarded: one who did not read cannot write.
	a = expect(f, 422, ask_with(f, "PUT", LEASES "/other", "{\"metadata\":{\"name\":\"other\"}}"));
	assert_string_equal(at(a, "details.causes[0].field"), "metadata.resourceVersion");
	expect(f, 404,
	       ask_with(f, "PUT", "/apis/coordination.k8s.io/v1/namespaces/none/leases/x",
			"{\"metadata\":{\"name\":\"x\"}}"));
}

static void test_dry_run_leaves_nothing(void **state)
{
	struct api *f = *state;
	make_service(f, "dry");
	struct fl_service_alloc_stats before = fl_service_alloc_stats(f->s.alloc);
	uint64_t revision = fl_store_revision(f->s.store);
	struct answer *a = expect(
	    f, 201,
	    ask_with(f, "POST", SERVICES "?dryRun=All",
		     "{\"metadata\":{\"name\":\"n\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}}"));
	assert_int_not_equal(number_at(a, "spec.ports[0].nodePort"), 0);
	assert_null(node_at(a, "metadata.resourceVersion"));
	a = expect(f, 200,
		   patch_with(f, "merge", SERVICES "/dry?dryRun=All",
			      "{\"spec\":{\"type\":\"LoadBalancer\",\"externalTrafficPolicy\":\"Local\"}}"));
	assert_int_not_equal(number_at(a, "spec.healthCheckNodePort"), 0);
	expect(f, 200,
	       ask_with(
		   f, "PUT", SERVICES "/dry?dryRun=All",
		   "{\"metadata\":{\"name\":\"dry\"},\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"a.b\"}}"));
	expect(f, 200, ask(f, "DELETE", SERVICES "/dry?dryRun=All"));
	expect(f, 200, patch_with(f, "merge", SERVICES "/dry/status?dryRun=All", "{\"status\":{\"conditions\":[]}}"));
	expect(f, 200, ask(f, "DELETE", SERVICES "?dryRun=All"));
	expect(f, 201, ask_with(f, "PUT", LEASES "/dry?dryRun=All", "{\"metadata\":{\"name\":\"dry\"}}"));
	expect(f, 422,
	       ask_with(f, "POST",
			SERVICES "?dryRun=", "{\"metadata\":{\"name\":\"n\"},\"spec\":{\"ports\":[{\"port\":80}]}}"));
	assert_int_equal(fl_store_revision(f->s.store), revision);
	struct fl_service_alloc_stats after = fl_service_alloc_stats(f->s.alloc);
	assert_memory_equal(&before, &after, sizeof(before));
	expect(f, 404, ask(f, "GET", LEASES "/dry"));
}

static void test_status_and_spec_are_apart(void **state)
{
	struct api *f = *state;
	struct answer *a = expect(f, 201,
				  ask_with(f, "POST", SERVICES,
					   "{\"metadata\":{\"name\":\"st\",\"labels\":{\"l\":\"1\"}},\"spec\":{"
					   "\"type\":\"LoadBalancer\",\"ports\":[{\"port\":80}]},"
					   "\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"192.0.2.9\"}]}}}"));
	assert_null(node_at(a, "status.loadBalancer.ingress"));
	expect(f, 200,
	       patch_with(f, "merge", SERVICES "/st/status",
			  "{\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"192.0.2.9\"}]}},\"spec\":{\"type\":"
			  "\"ClusterIP\"}}"));
	a = expect(f, 200,
		   patch_with(f, "merge", SERVICES "/st", "{\"status\":null,\"metadata\":{\"labels\":{\"l\":\"2\"}}}"));
	assert_string_equal(at(a, "status.loadBalancer.ingress[0].ip"), "192.0.2.9");
	assert_string_equal(at(a, "spec.type"), "LoadBalancer");
	expect(f, 409,
	       ask_with(f, "PUT", SERVICES "/st/status", "{\"metadata\":{\"name\":\"st\",\"resourceVersion\":\"1\"}}"));
	expect(f, 404, ask_with(f, "PUT", SERVICES "/none/status", "{\"metadata\":{\"name\":\"none\"}}"));
}

static void test_patches(void **state)
{
	struct api *f = *state;
	make_service(f, "p");
	static const struct {
		const char *kind, *body;
		int status;
		const char *says;
	} cases[] = {
	    {"json", "{}", 400, "error decoding patch"},
	    {"json", "[1]", 400, "error decoding patch"},
	    {"json", "nonsense", 400, "error decoding patch"},
	    {"json", "[{\"op\":\"fly\"}]", 422, "rejected our request"},
	    {"json", "[{\"op\":\"remove\",\"path\":\"/nowhere\"}]", 422, "rejected our request"},
	    {"json", "[{\"op\":\"test\",\"path\":\"/kind\",\"value\":\"Pod\"}]", 422, "rejected our request"},
	    {"json", "[]", 200, "Service"},
	    {"merge", "[]", 400, "error decoding patch"},
	    {"merge", "3", 400, "error decoding patch"},
	    {"merge", "", 400, "error decoding patch"},
	    {"merge", "{\"metadata\":null}", 400, "does not match the name"},
	    {"merge", "{\"spec\":{\"ports\":\"x\"}}", 422, "cannot unmarshal string"},
	    {"strategic", "{\"spec\":{\"ports\":[{\"$patch\":\"explode\"}]}}", 400, "BadRequest"},
	    {"strategic", "[]", 400, "error decoding patch"},
	    {"strategic", "{\"spec\":{\"ports\":[{\"port\":81,\"name\":\"b\"},{\"port\":80,\"name\":\"a\"}]}}", 200,
	     "\"port\":81"},
	    {"apply", "{}", 415, "Unsupported Media Type"},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct answer *a = patch_with(f, cases[i].kind, SERVICES "/p", "%s", cases[i].body);
		if (a->status != cases[i].status || !contains(a, cases[i].says))
			fail_msg("%s %s: %d %s", cases[i].kind, cases[i].body, a->status, a->body.data);
	}
	expect(f, 404, patch_with(f, "merge", SERVICES "/none", "{}"));
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_buf_putc(&b, '[');
	for (unsigned i = 0; i < 10001; i++)
		fl_buf_printf(&b, "%s{\"op\":\"test\",\"path\":\"/kind\",\"value\":\"Service\"}", i ? "," : "");
	fl_buf_putc(&b, ']');
	struct answer *a =
	    api_send(f, f->admin, "PATCH", SERVICES "/p", "application/json-patch+json", NULL, b.data, b.len);
	assert_true(contains(expect(f, 413, a), "The allowed maximum operations in a JSON patch is 10000, got 10001"));
}

static void test_events_have_two_views(void **state)
{
	struct api *f = *state;
	struct answer *a = expect(
	    f, 201,
	    ask_with(
		f, "POST", "/apis/events.k8s.io/v1/namespaces/default/events",
		"{\"metadata\":{\"name\":\"e\"},\"eventTime\":\"2025-01-01T00:00:00.000000Z\",\"reportingController\":"
		"\"example.org/c\","
		"\"reportingInstance\":\"i\",\"action\":\"a\",\"reason\":\"r\",\"type\":\"Normal\",\"note\":\"hello\","
		"\"regarding\":{\"kind\":\"Pod\",\"namespace\":\"default\",\"name\":\"p\"}}"));
	assert_string_equal(at(a, "apiVersion"), "events.k8s.io/v1");
	assert_string_equal(at(a, "note"), "hello");
	a = expect(f, 200, ask(f, "GET", "/api/v1/namespaces/default/events/e"));
	assert_string_equal(at(a, "message"), "hello");
	assert_string_equal(at(a, "involvedObject.name"), "p");
	a = expect(f, 200, ask(f, "GET", "/apis/events.k8s.io/v1/namespaces/default/events"));
	assert_string_equal(at(a, "kind"), "EventList");
	assert_string_equal(at(a, "items[0].regarding.name"), "p");
	a = expect(f, 200,
		   patch_with(f, "merge", "/apis/events.k8s.io/v1/namespaces/default/events/e?dryRun=All",
			      "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"));
	assert_string_equal(at(a, "note"), "hello");
	assert_string_equal(at(a, "metadata.labels.a"), "b");
	a = expect(f, 200, patch_with(f, "strategic", "/api/v1/namespaces/default/events/e", "{\"count\":3}"));
	assert_int_equal(number_at(a, "count"), 3);
	a = expect(f, 200, ask(f, "GET", "/apis/events.k8s.io/v1/namespaces/default/events/e"));
	assert_int_equal(number_at(a, "deprecatedCount"), 3);
	a = expect(f, 200,
		   ask(f, "GET", "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp,reason%3Dr"));
	assert_int_equal(fl_json_count(node_at(a, "items")), 1);
	a = expect(f, 200, ask(f, "DELETE", "/apis/events.k8s.io/v1/namespaces/default/events"));
	assert_string_equal(at(a, "items[0].note"), "hello");
}

// Events go by themselves after an hour, whichever view they came through, and nothing else does.
static void test_events_expire(void **state)
{
	struct api *f = *state;
	static const char path[] = "/api/v1/namespaces/default/events/old";
	const char *events = fl_resource_intern("", "events");
	expect(
	    f, 201,
	    ask_with(
		f, "POST", "/api/v1/namespaces/default/events",
		"{\"metadata\":{\"name\":\"old\"},\"involvedObject\":{\"namespace\":\"default\"},\"reason\":\"r\"}"));
	expect(f, 201, ask_with(f, "POST", MAPS, "{\"metadata\":{\"name\":\"stays\"}}"));
	uint64_t now = uv_now(&f->loop);
	fl_store_upkeep(f->s.store, now + 3500 * 1000); // not yet
	expect(f, 200, ask(f, "GET", path));
	fl_store_upkeep(f->s.store, now + 3661 * 1000);
	WAIT(f, fl_store_count(f->s.store, events, NULL) == 0);
	expect(f, 404, ask(f, "GET", path));
	expect(f, 200, ask(f, "GET", MAPS "/stays"));
}

static void test_too_large(void **state)
{
	struct api *f = *state;
	size_t n = 1600 * 1024;
	AUTO_FREE char *value = fl_malloc(n + 1);
	memset(value, 'x', n);
	value[n] = 0;
	AUTO_FREE char *one = fl_asprintf("{\"metadata\":{\"name\":\"big\"},\"binaryData\":{\"k\":\"%s\"}}", value);
	struct answer *a = api_send(f, f->admin, "POST", MAPS, NULL, NULL, one, strlen(one));
	WAIT(f, a->done);
	assert_true(a->status == 413 || a->status == 422); // by its own rule (1 MiB of data) or by the store's
	AUTO_FREE char *twice =
	    fl_asprintf("{\"metadata\":{\"name\":\"big\"},\"data\":{\"k\":\"%s\",\"l\":\"%s\"}}", value, value);
	a = api_send(f, f->admin, "POST", MAPS, NULL, NULL, twice, strlen(twice));
	expect(f, 413, a); // beyond 3 MiB
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	for (unsigned i = 0; i < 10000; i++)
		fl_buf_puts(&b, "{\"a\":[");
	expect(f, 400, api_send(f, f->admin, "POST", MAPS, NULL, NULL, b.data, b.len));
	assert_int_equal(fl_store_count(f->s.store, fl_resource_intern("", "nonsense"), NULL), 0);
}

static void post_long(struct api *f, const char *path, const char *head, const char *element, const char *tail,
		      int status)
{
	enum { LONG = 15000 };
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_buf_puts(&b, head);
	for (unsigned i = 0; i < LONG; i++) {
		const char *p = element, *mark;
		fl_buf_puts(&b, i ? "," : "");
		for (; (mark = strchr(p, '#')); p = mark + 1) {
			fl_buf_append(&b, p, (size_t)(mark - p));
			fl_buf_printf(&b, "%u", i);
		}
		fl_buf_puts(&b, p);
	}
	fl_buf_puts(&b, tail);
	struct answer *a = expect(f, status, api_send(f, f->admin, "POST", path, NULL, NULL, b.data, b.len));
	assert_true(a->status != 422 || a->body.len < 1024 * 1024); // not each element with all of them
}

// Rules that compare elements with each other must not take the cube of a list's length: the server has one thread.
static void test_long_lists(void **state)
{
	struct api *f = *state;
	static const char pods[] = "/api/v1/namespaces/default/pods?dryRun=All", maps[] = MAPS "?dryRun=All",
			  services[] = SERVICES "?dryRun=All";
	post_long(f, services, "{\"metadata\":{\"name\":\"l\"},\"spec\":{\"ports\":[", "{\"port\":1#,\"name\":\"p#\"}",
		  "]}}", 422);
	post_long(f, services, "{\"metadata\":{\"name\":\"l\"},\"spec\":{\"ports\":[", "{\"port\":80,\"name\":\"P_#\"}",
		  "]}}", 422);
	post_long(f, services, "{\"metadata\":{\"name\":\"l\"},\"spec\":{\"ports\":[{\"port\":1}],\"ipFamilies\":[",
		  "\"IPv4\"", "]}}", 422);
	post_long(f, maps, "{\"metadata\":{\"name\":\"l\",\"ownerReferences\":[",
		  "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"n#\",\"uid\":\"u#\",\"controller\":true}", "]}}",
		  422);
	post_long(f, maps, "{\"metadata\":{\"name\":\"l\",\"labels\":{", "\"_#\":\"!\"", "}}}", 422);
	post_long(f, pods, "{\"metadata\":{\"name\":\"l\"},\"spec\":{\"containers\":[",
		  "{\"name\":\"c#\",\"image\":\"i\"}", "]}}", 201);
	post_long(
	    f, pods,
	    "{\"metadata\":{\"name\":\"l\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}],\"volumes\":[",
	    "{\"name\":\"v#\",\"emptyDir\":{}}", "]}}", 201);
	post_long(f, "/api/v1/nodes?dryRun=All", "{\"metadata\":{\"name\":\"l\"},\"spec\":{\"taints\":[",
		  "{\"key\":\"k#\",\"effect\":\"NoSchedule\"}", "]}}", 201);
	post_long(f, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?dryRun=All",
		  "{\"metadata\":{\"name\":\"l\"},\"addressType\":\"IPv4\",\"endpoints\":[],\"ports\":[",
		  "{\"name\":\"p#\",\"port\":80}", "]}", 201);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_create),
	    cmocka_unit_test(test_generated_names),
	    cmocka_unit_test(test_update_identity),
	    cmocka_unit_test(test_no_change_no_revision),
	    cmocka_unit_test(test_create_on_update),
	    cmocka_unit_test(test_dry_run_leaves_nothing),
	    cmocka_unit_test(test_status_and_spec_are_apart),
	    cmocka_unit_test(test_patches),
	    cmocka_unit_test(test_events_have_two_views),
	    cmocka_unit_test(test_events_expire),
	    cmocka_unit_test(test_too_large),
	    cmocka_unit_test(test_long_lists),
	};
	return cmocka_run_group_tests(tests, api_setup, api_teardown);
}
