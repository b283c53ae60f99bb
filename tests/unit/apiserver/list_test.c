// SPDX-License-Identifier: Apache-2.0
// Lists: portions and their tokens across changes and compaction, revisions, selectors, tables. (API Concepts)
#include <stdio.h>

#include "support.h"

#define MAPS "/api/v1/namespaces/default/configmaps"

static int setup(void **state)
{
	struct api *f = FL_NEW(struct api);
	// A short memory, so that a test can outlive it.
	api_start(f, &(struct api_config){.store = {.event_window = 8, .log_events = 40}});
	for (int i = 0; i < 10; i++)
		expect(f, 201,
		       ask_with(f, "POST", MAPS, "{\"metadata\":{\"name\":\"c%d\",\"labels\":{\"odd\":\"%d\"}}}", i,
				i % 2));
	*state = f;
	return 0;
}

static void forget(struct api *f)
{
	uint64_t until = fl_store_revision(f->s.store);
	for (int i = 0; fl_store_compacted(f->s.store) < until; i++)
		expect(f, 200, patch_with(f, "merge", MAPS "/c9", "{\"data\":{\"n\":\"%d\"}}", i));
}

__attribute__((format(printf, 3, 4))) static struct answer *list(struct api *f, int status, const char *format, ...)
{
	char path[2048];
	va_list ap;
	va_start(ap, format);
	int n = snprintf(path, sizeof(path), "%s", MAPS);
	vsnprintf(path + n, sizeof(path) - (size_t)n, format, ap);
	va_end(ap);
	return expect(f, status, ask(f, "GET", path));
}

static size_t count(struct answer *a)
{
	return fl_json_count(node_at(a, "items"));
}

static void test_portions_are_one_state(void **state)
{
	struct api *f = *state;
	struct answer *a = list(f, 200, "?limit=4");
	const char *rv = at(a, "metadata.resourceVersion");
	assert_int_equal(count(a), 4);
	assert_int_equal(number_at(a, "metadata.remainingItemCount"), 6);
	expect(f, 200, ask(f, "DELETE", MAPS "/c5"));
	expect(f, 201, ask_with(f, "POST", MAPS, "{\"metadata\":{\"name\":\"c55\"}}"));
	struct answer *b = list(f, 200, "?limit=4&continue=%s", at(a, "metadata.continue"));
	assert_string_equal(at(b, "metadata.resourceVersion"), rv);
	assert_string_equal(at(b, "items[0].metadata.name"), "c4");
	assert_string_equal(at(b, "items[1].metadata.name"), "c5"); // it was there then
	assert_int_equal(number_at(b, "metadata.remainingItemCount"), 2);
	struct answer *c = list(f, 200, "?continue=%s", at(b, "metadata.continue"));
	assert_int_equal(count(c), 2);
	assert_null(node_at(c, "metadata.continue"));
	assert_null(node_at(c, "metadata.remainingItemCount"));
}

static void test_selectors_and_portions(void **state)
{
	struct api *f = *state;
	struct answer *a = list(f, 200, "?limit=3&labelSelector=odd%%3D1");
	assert_int_equal(count(a), 3);
	assert_null(node_at(a, "metadata.remainingItemCount")); // unknown
	struct answer *b = list(f, 200, "?limit=3&labelSelector=odd%%3D1&continue=%s", at(a, "metadata.continue"));
	assert_int_equal(count(b), 2);
	assert_null(node_at(b, "metadata.continue"));
	a = list(f, 200, "?limit=5&labelSelector=odd%%3D1"); // exactly all: nothing follows
	assert_null(node_at(a, "metadata.continue"));
	assert_int_equal(count(list(f, 200, "?fieldSelector=metadata.name%%3Dc3")), 1);
	assert_int_equal(count(list(f, 200, "?fieldSelector=metadata.name%%3Dc3&labelSelector=odd%%3D0")), 0);
	assert_int_equal(count(list(f, 200, "?fieldSelector=metadata.name!%%3Dc3")), 9);
	list(f, 400, "?labelSelector=%%3D%%3D");
	list(f, 400, "?fieldSelector=data.x%%3D1");
}

static void test_expired_tokens(void **state)
{
	struct api *f = *state;
	struct answer *a = list(f, 200, "?limit=4");
	forget(f);
	struct answer *b = list(f, 410, "?limit=4&continue=%s", at(a, "metadata.continue"));
	assert_string_equal(at(b, "reason"), "Expired");
	struct answer *c =
	    list(f, 200, "?continue=%s", at(b, "metadata.continue")); // inconsistent, and better than nothing
	assert_int_equal(count(c), 6);
	assert_string_equal(at(c, "items[0].metadata.name"), "c4");
	assert_string_not_equal(at(c, "metadata.resourceVersion"), at(a, "metadata.resourceVersion"));
	b = list(f, 410, "?resourceVersion=%s&resourceVersionMatch=Exact", at(a, "metadata.resourceVersion"));
	assert_string_equal(at(b, "message"), "The resourceVersion for the provided list is too old.");
	assert_null(node_at(b, "metadata.continue"));
	list(f, 200, "?resourceVersion=%s", at(a, "metadata.resourceVersion")); // at least that new: the newest
}

static void test_revisions(void **state)
{
	struct api *f = *state;
	struct answer *a = list(f, 200, "");
	const char *rv = at(a, "metadata.resourceVersion");
	for (int i = 0; i < 12; i++) // beyond the events in memory
		expect(f, 200, patch_with(f, "merge", MAPS "/c0", "{\"data\":{\"n\":\"%d\"}}", i));
	expect(f, 200, ask(f, "DELETE", MAPS "/c1"));
	struct answer *b = list(f, 200, "?resourceVersion=%s&resourceVersionMatch=Exact", rv);
	assert_int_equal(count(b), 10);
	assert_null(node_at(b, "items[0].data"));
	assert_int_equal(count(list(f, 200, "?resourceVersion=%s&limit=500", rv)), 10); // a limit means exactly
	assert_int_equal(count(list(f, 200, "?resourceVersion=%s", rv)), 9);
	assert_int_equal(count(list(f, 200, "?resourceVersion=0&limit=500")), 9);
	assert_int_equal(count(list(f, 200, "?resourceVersion=%s&resourceVersionMatch=NotOlderThan&limit=500", rv)), 9);
	b = list(f, 504, "?resourceVersion=999999");
	assert_string_equal(at(b, "details.causes[0].reason"), "ResourceVersionTooLarge");
	assert_int_equal(number_at(b, "details.retryAfterSeconds"), 1);
	expect(f, 504, ask(f, "GET", MAPS "/c0?resourceVersion=999999"));
	expect(f, 400, ask(f, "GET", MAPS "/c0?resourceVersion=-1"));
	list(f, 400, "?resourceVersion=x");
	list(f, 422, "?resourceVersionMatch=Exact");
	list(f, 422, "?resourceVersion=0&resourceVersionMatch=Exact");
	list(f, 422, "?resourceVersion=1&resourceVersionMatch=Sideways");
	list(f, 422, "?sendInitialEvents=true");
	a = list(f, 200, "?limit=2");
	list(f, 422, "?continue=%s&resourceVersion=1&resourceVersionMatch=Exact", at(a, "metadata.continue"));
	list(f, 400, "?continue=%s&resourceVersion=1", at(a, "metadata.continue"));
}

static void test_bad_tokens(void **state)
{
	struct api *f = *state;
	static const char *const bad[] = {
	    "garbage",
	    "e30",
	    "====",
	    "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MCwic3RhcnQiOiJhL2IifQ",               // rv 0
	    "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0",                  // no slash
	    "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6OTk5OTk5LCJzdGFydCI6ImRlZmF1bHQvYyJ9", // of the future
	    "eyJ2IjoidjkiLCJydiI6MSwic3RhcnQiOiJhL2IifQ",
	};
	for (size_t i = 0; i < FL_COUNT(bad); i++)
		assert_true(contains(list(f, 400, "?continue=%s", bad[i]), "continue"));
	list(f, 400, "?limit=x");
	list(f, 400, "?limit=many");
	// Of another namespace, which a token may name: nothing of it is shown.
	struct answer *a = list(f, 200, "?limit=1");
	expect(f, 200, ask(f, "GET", "/api/v1/namespaces/kube-system/configmaps?limit=1"));
	char path[512];
	snprintf(path, sizeof(path), "/api/v1/namespaces/aaa/configmaps?continue=%s", at(a, "metadata.continue"));
	assert_int_equal(count(expect(f, 200, ask(f, "GET", path))), 0);
}

static void test_tables_and_metadata(void **state)
{
	struct api *f = *state;
	static const char table[] = "application/json;as=Table;v=v1;g=meta.k8s.io";
	struct answer *a = expect(f, 200, ask_as(f, "GET", MAPS "?limit=3", table));
	assert_string_equal(at(a, "kind"), "Table");
	assert_int_equal(fl_json_count(node_at(a, "rows")), 3);
	assert_int_equal(number_at(a, "metadata.remainingItemCount"), 7);
	assert_string_equal(at(a, "rows[0].object.kind"), "PartialObjectMetadata");
	assert_string_equal(at(a, "columnDefinitions[0].name"), "Name");
	a = expect(f, 200, ask_as(f, "GET", MAPS "?includeObject=Object", table));
	assert_string_equal(at(a, "rows[9].object.kind"), "ConfigMap");
	a = expect(f, 200, ask_as(f, "GET", MAPS "?includeObject=None&labelSelector=odd%3D1", table));
	assert_int_equal(fl_json_count(node_at(a, "rows")), 5);
	assert_false(fl_json_is(node_at(a, "rows[0].object"), FL_JSON_OBJECT));
	a = expect(f, 200, ask_as(f, "GET", MAPS "/c3", table));
	assert_string_equal(at(a, "rows[0].cells[0]"), "c3");
	assert_int_not_equal(atoi(at(a, "metadata.resourceVersion")), 0);
	a = expect(f, 200,
		   ask_as(f, "GET", MAPS, "application/json;as=PartialObjectMetadataList;v=v1beta1;g=meta.k8s.io"));
	assert_string_equal(at(a, "items[4].apiVersion"), "meta.k8s.io/v1beta1");
	assert_string_equal(at(a, "items[4].metadata.labels.odd"), "0");
	a = expect(f, 200, ask_as(f, "GET", "/api/v1/namespaces/none/configmaps", table));
	assert_string_equal(at(a, "rows"), "[]");
}

static void test_lists_have_no_types_inside(void **state)
{
	struct api *f = *state;
	struct answer *a = list(f, 200, "");
	assert_string_equal(at(a, "kind"), "ConfigMapList");
	assert_null(node_at(a, "items[0].kind"));
	assert_null(node_at(a, "items[0].apiVersion"));
	assert_string_equal(at(a, "items[0].metadata.name"), "c0");
	a = expect(f, 200, ask_as(f, "GET", MAPS, "application/yaml"));
	assert_true(contains(a, "kind: ConfigMapList\n"));
	a = expect(f, 200, ask(f, "GET", "/api/v1/configmaps?limit=11"));
	assert_int_equal(count(a), 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_portions_are_one_state, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_selectors_and_portions, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_expired_tokens, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_revisions, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_bad_tokens, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_tables_and_metadata, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_lists_have_no_types_inside, setup, api_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
