// SPDX-License-Identifier: Apache-2.0
// Server-side apply over HTTP, and that every kind of write books who owns what. The rules themselves: tests/unit/api.
#include <stdio.h>

#include "support.h"

#define SERVICES "/api/v1/namespaces/default/services"
#define MAPS     "/api/v1/namespaces/default/configmaps"

__attribute__((format(printf, 3, 4))) static struct answer *apply(struct api *f, const char *path, const char *format,
								  ...)
{
	char body[2048];
	va_list ap;
	va_start(ap, format);
	int n = vsnprintf(body, sizeof(body), format, ap);
	va_end(ap);
	return api_send(f, f->admin, "PATCH", path, "application/apply-patch+yaml", NULL, body, (size_t)n);
}

#define MAP_OF(name, data) "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " name "}\ndata: {" data "}\n"

static const char *manager(struct answer *a, unsigned i, const char *key)
{
	const struct fl_json *entries = fl_json_get(node_at(a, "metadata"), "managedFields");
	return fl_json_str_or(fl_json_index(entries, i), key, "");
}

static size_t entries(struct answer *a)
{
	return fl_json_count(fl_json_get(node_at(a, "metadata"), "managedFields"));
}

static void test_apply(void **state)
{
	struct api *f = *state;
	struct answer *a = expect(f, 201, apply(f, MAPS "/m?fieldManager=one", MAP_OF("m", "a: '1', b: '1'")));
	assert_string_equal(manager(a, 0, "manager"), "one");
	assert_string_equal(manager(a, 0, "operation"), "Apply");
	a = expect(f, 409, apply(f, MAPS "/m?fieldManager=two", MAP_OF("m", "a: '2'")));
	assert_string_equal(at(a, "reason"), "Conflict");
	assert_string_equal(at(a, "details.causes[0].reason"), "FieldManagerConflict");
	assert_string_equal(at(a, "details.causes[0].field"), ".data.a");
	a = expect(f, 200, apply(f, MAPS "/m?fieldManager=two&force=true", MAP_OF("m", "a: '2'")));
	assert_int_equal(entries(a), 2);
	a = expect(f, 200,
		   apply(f, MAPS "/m?fieldManager=one", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n"));
	assert_string_equal(at(a, "data.a"), "2");
	assert_null(fl_json_get(node_at(a, "data"), "b"));
	assert_int_equal(entries(a), 1);
}

static void test_apply_again_changes_nothing(void **state)
{
	struct api *f = *state;
	struct answer *a = expect(f, 201, apply(f, MAPS "/same?fieldManager=one", MAP_OF("same", "a: '1'")));
	struct answer *b = expect(f, 200, apply(f, MAPS "/same?fieldManager=one", MAP_OF("same", "a: '1'")));
	assert_string_equal(at(a, "metadata.resourceVersion"), at(b, "metadata.resourceVersion"));
}

static void test_dry_run(void **state)
{
	struct api *f = *state;
	expect(f, 201, apply(f, MAPS "/dry?fieldManager=one&dryRun=All", MAP_OF("dry", "a: '1'")));
	expect(f, 404, ask(f, "GET", MAPS "/dry"));
}

static void test_refusals(void **state)
{
	struct api *f = *state;
	struct answer *a = expect(f, 422, apply(f, MAPS "/x", MAP_OF("x", "a: '1'")));
	assert_string_equal(at(a, "details.causes[0].field"), "fieldManager");
	expect(f, 400, apply(f, MAPS "/x?fieldManager=one", "a: [b"));
	expect(f, 400, apply(f, MAPS "/x?fieldManager=one", "text"));
	expect(f, 400, apply(f, MAPS "/x?fieldManager=one", MAP_OF("other", "a: '1'")));
	expect(f, 400, apply(f, MAPS "/x?fieldManager=one", "apiVersion: v2\nkind: ConfigMap\n"));
	a = expect(f, 500, apply(f, MAPS "/x?fieldManager=one", "%sdat: 1\n", MAP_OF("x", "a: '1'")));
	assert_true(contains(a, ".dat: field not declared in schema"));
	expect(f, 404, apply(f, SERVICES "/none/status?fieldManager=one", "apiVersion: v1\nkind: Service\n"));
	expect(f, 404, ask(f, "GET", MAPS "/x"));
	a = expect(f, 422, patch_with(f, "merge", MAPS "/x?force=true", "{}"));
	assert_string_equal(at(a, "details.causes[0].field"), "force");
}

// What the server chooses is nobody's, so that anybody may apply it.
static void test_services(void **state)
{
	struct api *f = *state;
	static const char svc[] = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {type: NodePort, ports: "
				  "[{name: p%d, port: %d, protocol: TCP%s}]}\n";
	struct answer *a = expect(f, 201, apply(f, SERVICES "/s?fieldManager=one", svc, 80, 80, ""));
	const char *ip = at(a, "spec.clusterIP");
	long long port = number_at(a, "spec.ports[0].nodePort");
	char with_port[64];
	assert_true(port >= 30000);
	snprintf(with_port, sizeof(with_port), ", nodePort: %lld", port);
	a = expect(f, 200, apply(f, SERVICES "/s?fieldManager=two", svc, 80, 80, with_port));
	assert_int_equal(number_at(a, "spec.ports[0].nodePort"), port);
	a = expect(f, 200, apply(f, SERVICES "/s?fieldManager=one", svc, 81, 81, ""));
	assert_string_equal(at(a, "spec.clusterIP"), ip);
	assert_int_equal(fl_json_count(node_at(a, "spec.ports")), 2);
}

static void test_other_writes(void **state)
{
	struct api *f = *state;
	struct answer *a = expect(f, 201,
				  ask_with(f, "POST", MAPS "?fieldManager=poster",
					   "{\"metadata\":{\"name\":\"o\"},\"data\":{\"a\":\"1\",\"b\":\"1\"}}"));
	assert_string_equal(manager(a, 0, "manager"), "poster");
	assert_string_equal(manager(a, 0, "operation"), "Update");
	a = expect(f, 200, patch_with(f, "merge", MAPS "/o", "{\"data\":{\"b\":\"2\"}}")); // named after the User-Agent
	assert_int_equal(entries(a), 2);
	assert_true(contains(a, "\"manager\":\"fairlead\""));
	a = expect(f, 200,
		   patch_with(f, "json", MAPS "/o",
			      "[{\"op\":\"replace\",\"path\":\"/metadata/managedFields\",\"value\":[{}]}]"));
	assert_int_equal(entries(a), 0);
}

// Two at once, one of them while the other's create is still on its way to the disk: one creates, one conflicts.
static void test_two_at_once(void **state)
{
	struct api *f = *state;
	struct answer *one = apply(f, MAPS "/w?fieldManager=one", MAP_OF("w", "a: '1'"));
	struct answer *two = apply(f, MAPS "/w?fieldManager=two", MAP_OF("w", "a: '2'"));
	WAIT(f, one->done && two->done);
	struct answer *refused = one->status == 409 ? one : two;
	assert_int_equal(one->status + two->status, 201 + 409);
	assert_string_equal(at(refused, "details.causes[0].field"), ".data.a");
}

#define SCALE_TO(n) "apiVersion: autoscaling/v1\nkind: Scale\nmetadata: {name: d}\nspec: {replicas: " #n "}\n"

// Who applies a Scale owns the object's number, in the object's words.
static void test_scale(void **state)
{
	struct api *f = *state;
	static const char path[] = "/apis/apps/v1/namespaces/default/deployments/d";
	char scale[128];
	expect(f, 404, apply(f, "/apis/apps/v1/namespaces/default/deployments/d/scale?fieldManager=one", SCALE_TO(3)));
	expect(
	    f, 201,
	    apply(
		f, "/apis/apps/v1/namespaces/default/deployments/d?fieldManager=author",
		"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  selector: {matchLabels: {a: b}}\n"
		"  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}\n"));
	snprintf(scale, sizeof(scale), "%s/scale?fieldManager=one", path);
	struct answer *a = expect(f, 200, apply(f, scale, SCALE_TO(3)));
	assert_string_equal(at(a, "kind"), "Scale");
	assert_int_equal(number_at(a, "spec.replicas"), 3);
	a = expect(f, 200, ask(f, "GET", path));
	assert_int_equal(number_at(a, "spec.replicas"), 3);
	assert_int_equal(entries(a), 2);
	assert_string_equal(manager(a, 1, "manager"), "one");
	assert_string_equal(manager(a, 1, "operation"), "Apply");
	assert_string_equal(manager(a, 1, "apiVersion"), "apps/v1");
	assert_string_equal(manager(a, 1, "subresource"), "scale");
	assert_non_null(node_at(a, "metadata.managedFields[1].fieldsV1.f:spec.f:replicas"));
	snprintf(scale, sizeof(scale), "%s/scale?fieldManager=two", path);
	a = expect(f, 409, apply(f, scale, SCALE_TO(4)));
	assert_true(contains(a, ".spec.replicas"));
	snprintf(scale, sizeof(scale), "%s/scale?fieldManager=two&force=true", path);
	expect(f, 200, apply(f, scale, SCALE_TO(4)));
	a = expect(f, 422, apply(f, scale, SCALE_TO(-1)));
	assert_true(contains(a, "spec.replicas: Invalid value: -1"));
	expect(f, 400, apply(f, scale, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n"));
	expect(f, 400, apply(f, scale, "["));
	snprintf(scale, sizeof(scale), "%s/scale", path);
	expect(f, 422, apply(f, scale, SCALE_TO(4)));
	a = expect(f, 200, ask(f, "GET", path));
	assert_int_equal(number_at(a, "spec.replicas"), 4);
	assert_string_equal(manager(a, 1, "manager"), "two");
}

int main(void)
{
#define WITH_API(t) cmocka_unit_test_setup_teardown(t, api_setup, api_teardown)
	const struct CMUnitTest tests[] = {
	    WITH_API(test_apply),       WITH_API(test_apply_again_changes_nothing),
	    WITH_API(test_dry_run),     WITH_API(test_refusals),
	    WITH_API(test_services),    WITH_API(test_other_writes),
	    WITH_API(test_two_at_once), WITH_API(test_scale),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
