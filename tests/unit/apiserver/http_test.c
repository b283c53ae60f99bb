// SPDX-License-Identifier: Apache-2.0
// Paths, methods, parameters, forms of an answer: what a request means before any object is touched.
#include "support.h"

#define SERVICES "/api/v1/namespaces/default/services"

static void test_paths(void **state)
{
	struct api *f = *state;
	static const struct {
		const char *path;
		int status;
	} cases[] = {
	    {"/api/v1/namespaces/default/services/kubernetes", 200},
	    {"/api/v1/namespaces/default/services/kubernetes/", 200}, // a slash at the end says nothing
	    {"/api/v1/namespaces/default/services/", 200},
	    {"/api/v1/namespaces/default/services/kubern%65tes", 200},
	    {"/api/v1/namespaces//services", 404}, // an empty namespace is none
	    {"/api//v1/services", 404},
	    {"/api/v1/services", 200},
	    {"/api/v1/services/kubernetes", 404}, // it has a namespace
	    {"/api/v1/namespaces/default", 200},
	    {"/api/v1/namespaces/default/status", 200},
	    {"/api/v1/namespaces/default/finalize", 405},
	    {"/api/v1/namespaces/default/services/kubernetes/status", 200},
	    {"/api/v1/namespaces/default/services/kubernetes/bananas", 404},
	    {"/api/v1/namespaces/default/services/a/b/c", 404},
	    {"/api/v1/namespaces/default/nodes", 404}, // nodes have none
	    {"/api/v2/services", 404},
	    {"/apis/apps/v1/deployments", 200},
	    {"/apis/apps/v9/deployments", 404},
	    {"/apis/apps/v1", 200},
	    {"/apis/apps/", 200},
	    {"/apis//v1", 404},
	    {"/apis/apps/v1/a/b/c/d/e/f/g/h", 404},
	    {"/api/v1/namespaces/default/services/%zz", 400},
	    {"/api/v1/namespaces/default/services?x=%zz", 400},
	    {"/api/v1/namespaces/default/services?nonsense=1&limit=", 200}, // unknown parameters are nobody's business
	    {"/healthz", 200},
	    {"/version", 200},
	    {"/nope", 404},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct answer *a = ask(f, "GET", cases[i].path);
		if (a->status != cases[i].status)
			fail_msg("%s: %d, expected %d: %s", cases[i].path, a->status, cases[i].status, a->body.data);
	}
	// A prerelease would lie outside of the ranges of versions that charts ask for.
	assert_null(strchr(at(ask(f, "GET", "/version"), "gitVersion"), '-'));
}

static void test_methods(void **state)
{
	struct api *f = *state;
	static const struct {
		const char *method, *path;
	} refused[] = {
	    {"POST", SERVICES "/kubernetes"},
	    {"PUT", SERVICES},
	    {"PATCH", SERVICES},
	    {"POST", "/api/v1/services"},
	    {"DELETE", "/api/v1/services"}, // would be every Service of every namespace
	    {"DELETE", "/api/v1/namespaces"},
	    {"DELETE", "/api/v1/namespaces/default/services/kubernetes/status"},
	    {"OPTIONS", SERVICES},
	};
	for (size_t i = 0; i < FL_COUNT(refused); i++) {
		struct answer *a = ask_with(f, refused[i].method, refused[i].path, "{}");
		if (a->status != 405)
			fail_msg("%s %s: %d", refused[i].method, refused[i].path, a->status);
		assert_string_equal(at(a, "reason"), "MethodNotAllowed");
	}
	struct answer *head = expect(f, 200, ask(f, "HEAD", SERVICES));
	assert_int_equal(head->body.len, 0);
	expect(f, 200, ask(f, "HEAD", SERVICES "?watch=1")); // of the list: a stream without a body serves nobody
}

static void test_forms(void **state)
{
	struct api *f = *state;
	static const struct {
		const char *accept, *kind; // NULL: 406
	} cases[] = {
	    {"application/json", "ServiceList"},
	    {"*/*", "ServiceList"},
	    {"application/*", "ServiceList"},
	    {"application/vnd.kubernetes.protobuf,application/json", "ServiceList"},
	    {"application/vnd.kubernetes.protobuf", NULL},
	    {"text/html", NULL},
	    {"application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "Table"},
	    {"application/json;as=Table;v=v1beta1;g=meta.k8s.io", "Table"},
	    {"application/json;as=Table;v=v7;g=meta.k8s.io", NULL},
	    {"application/json;as=Table;v=v7;g=meta.k8s.io,application/json", "ServiceList"},
	    {"application/json;as=Table;g=example.org", NULL},
	    {"application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", "PartialObjectMetadataList"},
	    {"application/json;as=Nonsense", NULL},
	    {" application/json ; q=0.5", "ServiceList"},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct answer *a = ask_as(f, "GET", SERVICES, cases[i].accept);
		if (a->status != (cases[i].kind ? 200 : 406) || (cases[i].kind && strcmp(at(a, "kind"), cases[i].kind)))
			fail_msg("%s: %d %s", cases[i].accept, a->status, a->body.data);
		if (cases[i].kind && strstr(cases[i].accept, "v1beta1"))
			assert_string_equal(at(a, "apiVersion"), "meta.k8s.io/v1beta1");
	}
	struct answer *yaml = expect(f, 200, ask_as(f, "GET", SERVICES "/kubernetes", "application/yaml"));
	assert_string_equal(yaml->type, "application/yaml");
	assert_true(contains(yaml, "clusterIP: 10.96.0.1\n"));
	struct answer *pretty = expect(f, 200, ask(f, "GET", SERVICES "/kubernetes?pretty=true"));
	assert_true(contains(pretty, "\n  \"kind\": \"Service\""));
	assert_true(contains(expect(f, 200, ask(f, "GET", SERVICES "?pretty=1")), "\n  \"items\""));
	assert_false(contains(expect(f, 200, ask(f, "GET", SERVICES "/kubernetes?pretty=false")), "\n "));
	pretty = expect(f, 404, ask(f, "GET", SERVICES "/none?pretty=true"));
	assert_true(contains(pretty, "{\n  \"kind\": \"Status\""));
	assert_true(
	    contains(expect(f, 404, ask_as(f, "GET", SERVICES "/none", "application/yaml")), "\nreason: NotFound"));
	assert_true(contains(expect(f, 200, ask(f, "GET", "/apis?pretty=true")), "\n  \"groups\": ["));
	assert_false(contains(expect(f, 200, ask(f, "GET", "/apis")), "\n "));
	struct answer *index = expect(f, 200, ask(f, "GET", "/"));
	assert_string_equal(at(index, "paths[0]"), "/api");
	assert_true(contains(index, "\"/apis/apps/v1\""));
}

static void test_identity(void **state)
{
	struct api *f = *state;
	static const char *const public[] = {"/healthz", "/livez", "/readyz", "/version"};
	for (size_t i = 0; i < FL_COUNT(public); i++)
		expect(f, 200, api_send(f, f->nobody, "GET", public[i], NULL, NULL, NULL, 0));
	struct answer *a = expect(f, 403, api_send(f, f->nobody, "GET", SERVICES "/x", NULL, NULL, NULL, 0));
	assert_string_equal(at(a, "message"),
			    "services \"x\" is forbidden: User \"system:anonymous\" cannot get resource "
			    "\"services\" in API group \"\" in the namespace \"default\"");
	expect(f, 403, api_send(f, f->nobody, "GET", "/apis", NULL, NULL, NULL, 0));
	expect(f, 403, api_send(f, f->nobody, "POST", "/healthz", NULL, NULL, NULL, 0));
}

static void test_bodies(void **state)
{
	struct api *f = *state;
	static const struct {
		const char *type, *body, *says;
		int status;
	} cases[] = {
	    {NULL, "", "couldn't get version/kind; json parse error", 400},
	    {NULL, "{", "json parse error", 400},
	    {NULL, "[]", "couldn't get version/kind", 400},
	    {NULL, "{\"a\":\"\xff\xfe\"}", "json parse error", 400},
	    {"application/yaml", "a: [", "yaml parse error", 400},
	    {"text/plain", "{}", "unknown format", 415},
	    {"application/vnd.kubernetes.protobuf", "k8s", "unrecognized", 400},
	    {NULL, "{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}", "unknown conversion", 400},
	    {NULL, "{\"kind\":\"Service\",\"apiVersion\":\"v9\"}", "no kind \\\"Service\\\" is registered", 400},
	    {NULL, "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"ports\":[{\"port\":\"x\"}]}}", "cannot be handled", 400},
	    {NULL, "{\"metadata\":{\"name\":\"a\",\"namespace\":\"other\"}}", "does not match the namespace", 400},
	    {NULL, "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"}}", "should not be set", 400},
	    {NULL, "{\"metadata\":{}}", "name or generateName is required", 422},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct answer *a =
		    api_send(f, f->admin, "POST", SERVICES, cases[i].type, NULL, cases[i].body, strlen(cases[i].body));
		WAIT(f, a->done);
		if (a->status != cases[i].status || !contains(a, cases[i].says) || !a->json)
			fail_msg("%s: %d %s", cases[i].body, a->status, a->body.data);
	}
}

static void test_unknown_fields(void **state)
{
	struct api *f = *state;
	static const char body[] =
	    "{\"metadata\":{\"name\":\"u\"},\"spec\":{\"ports\":[{\"port\":80,\"port\":80,\"port\":81}],"
	    "\"foo\":1,\"foo\":2},\"bar\":{}}";
	struct answer *a = expect(f, 400, ask_with(f, "POST", SERVICES "?fieldValidation=Strict", "%s", body));
	assert_true(contains(a, "strict decoding error: "));
	assert_true(contains(a, "duplicate field \\\"spec.ports[0].port\\\""));
	assert_true(contains(a, "unknown field \\\"spec.foo\\\""));
	assert_true(contains(a, "unknown field \\\"bar\\\""));
	const char *first = strstr(a->body.data, "duplicate field \\\"spec.ports[0].port\\\"");
	assert_null(strstr(first + 1, "duplicate field \\\"spec.ports[0].port\\\"")); // named once
	a = expect(f, 201, ask_with(f, "POST", SERVICES "?fieldValidation=Warn&dryRun=All", "%s", body));
	assert_true(fl_starts_with(a->warning, "299 - \""));
	a = expect(f, 201, ask_with(f, "POST", SERVICES "?fieldValidation=Ignore", "%s", body));
	assert_string_equal(a->warning, "");
	assert_null(node_at(a, "spec.foo"));
	assert_int_equal(number_at(a, "spec.ports[0].port"), 81);
}

// Thousands of findings neither fill the answer nor its header.
static void test_many_findings(void **state)
{
	struct api *f = *state;
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_buf_puts(&b, "{\"metadata\":{\"name\":\"m\"},\"spec\":{\"ports\":[{\"port\":80}]}");
	for (unsigned i = 0; i < 20000; i++)
		fl_buf_printf(&b, ",\"unknown-field-number-%u\":1", i);
	fl_buf_putc(&b, '}');
	struct answer *a = api_send(f, f->admin, "POST", SERVICES "?fieldValidation=Strict", NULL, NULL, b.data, b.len);
	expect(f, 400, a);
	assert_true(contains(a, "unknown-field-number-99\\\""));
	assert_false(contains(a, "unknown-field-number-100\\\""));
	expect(f, 201, api_send(f, f->admin, "POST", SERVICES, NULL, NULL, b.data, b.len));
}

// kubectl asks for the CRDs before it says that a kind is not served.
static void test_kind_that_is_only_read(void **state)
{
	struct api *f = *state;
	static const char crds[] = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
	struct answer *a = expect(f, 200, ask(f, "GET", crds));
	assert_string_equal(at(a, "kind"), "CustomResourceDefinitionList");
	assert_true(contains(a, "\"items\":[]"));
	expect(f, 405, ask_with(f, "POST", crds, "{\"metadata\":{\"name\":\"x.y\"}}"));
	char path[128];
	snprintf(path, sizeof(path), "%s/x.y", crds);
	expect(f, 404, ask(f, "GET", path));
	expect(f, 405, ask(f, "DELETE", path));
}

static void test_discovery_is_tagged(void **state)
{
	struct api *f = *state;
	struct answer *a = expect(f, 200, ask(f, "GET", "/openapi/v3"));
	assert_int_equal(strlen(a->etag), 18);
	struct answer *b = expect(
	    f, 200, ask_as(f, "GET", "/apis", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"));
	assert_string_equal(a->etag, b->etag);
	assert_string_equal(at(b, "kind"), "APIGroupDiscoveryList");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_paths),
	    cmocka_unit_test(test_methods),
	    cmocka_unit_test(test_forms),
	    cmocka_unit_test(test_identity),
	    cmocka_unit_test(test_bodies),
	    cmocka_unit_test(test_unknown_fields),
	    cmocka_unit_test(test_many_findings),
	    cmocka_unit_test(test_discovery_is_tagged),
	    cmocka_unit_test(test_kind_that_is_only_read),
	};
	return cmocka_run_group_tests(tests, api_setup, api_teardown);
}
