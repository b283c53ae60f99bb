// SPDX-License-Identifier: Apache-2.0
// Watches: where they start, what selectors make of changes, bookmarks, forms, slow peers, ends.
#include <stdio.h>

#include "support.h"

#define MAPS "/api/v1/namespaces/default/configmaps"

static void start(struct api *f, const struct api_config *c)
{
	api_start(f, c);
	for (int i = 0; i < 3; i++)
		expect(f, 201,
		       ask_with(f, "POST", MAPS, "{\"metadata\":{\"name\":\"c%d\",\"labels\":{\"odd\":\"%d\"}}}", i,
				i % 2));
}

static int setup(void **state)
{
	struct api *f = FL_NEW(struct api);
	start(f, &(struct api_config){.store = {.event_window = 8, .log_events = 60}});
	*state = f;
	return 0;
}

static struct answer *watch_by(struct api *f, struct fl_http_client *c, const char *query)
{
	char path[512];
	snprintf(path, sizeof(path), MAPS "?watch=1%s%s", *query ? "&" : "", query);
	return start_watch(f, c, path, NULL);
}

static struct answer *watch(struct api *f, const char *query)
{
	return watch_by(f, f->admin, query);
}

static uint64_t watchers(struct api *f)
{
	struct fl_store_stats st;
	fl_store_get_stats(f->s.store, &st);
	return st.watchers;
}

#define WAIT_WATCHERS(f, n)       WAIT(f, watchers(f) == (n))
#define WAIT_LINES(f, a, text, n) WAIT(f, count_lines(a, text) >= (n))

static void set(struct api *f, const char *name, const char *data, int n)
{
	char path[128];
	snprintf(path, sizeof(path), MAPS "/%s", name);
	expect(f, 200, patch_with(f, "merge", path, "{\"data\":{\"n\":\"%s%d\"}}", data, n));
}

// Parses line `n` of a watch into `a->json`.
static void parse_line(struct answer *a, unsigned n)
{
	const char *p = a->body.data;
	for (; n; n--)
		p = strchr(p, '\n') + 1;
	assert_int_equal(fl_json_parse(&a->a, p, strcspn(p, "\n"), NULL, &a->json, NULL), 0);
}

static void test_starts(void **state)
{
	struct api *f = *state;
	char query[96];
	struct answer *list = expect(f, 200, ask(f, "GET", MAPS));
	struct answer *all = watch(f, ""), *zero = watch(f, "resourceVersion=0");
	WAIT_LINES(f, all, "\"ADDED\"", 3);
	WAIT_LINES(f, zero, "\"ADDED\"", 3);
	set(f, "c0", "x", 1);
	snprintf(query, sizeof(query), "resourceVersion=%s", at(list, "metadata.resourceVersion"));
	struct answer *since = watch(f, query);
	struct answer *now = watch(f, "sendInitialEvents=false&resourceVersionMatch=NotOlderThan");
	WAIT_LINES(f, since, "\"MODIFIED\"", 1);
	WAIT_WATCHERS(f, 4);
	set(f, "c1", "y", 1);
	struct answer *all_of[] = {all, zero, since, now};
	for (size_t i = 0; i < FL_COUNT(all_of); i++)
		WAIT_LINES(f, all_of[i], "\"y1\"", 1);
	assert_int_equal(count_lines(now, ""), 1);
	assert_int_equal(count_lines(since, ""), 2);
	assert_int_equal(count_lines(all, ""), 5);
	struct answer *named = start_watch(f, f->admin, MAPS "/c1?watch=1", NULL);
	struct answer *old_path = start_watch(f, f->admin, "/api/v1/watch/namespaces/default/configmaps/c1", NULL);
	WAIT_LINES(f, named, "\"c1\"", 1);
	WAIT_LINES(f, old_path, "\"c1\"", 1);
	assert_int_equal(count_lines(named, ""), 1);
	assert_int_equal(count_lines(old_path, ""), 1);
}

static void test_streaming_list(void **state)
{
	struct api *f = *state;
	struct answer *a =
	    watch(f, "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true");
	WAIT_LINES(f, a, "\"BOOKMARK\"", 1);
	assert_int_equal(count_lines(a, ""), 4);
	parse_line(a, 3);
	assert_string_equal(at(a, "object.kind"), "ConfigMap");
	assert_true(contains(a, "\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}"));
	assert_int_equal(atoll(at(a, "object.metadata.resourceVersion")), fl_store_revision(f->s.store));
	set(f, "c0", "x", 1);
	WAIT_LINES(f, a, "\"MODIFIED\"", 1);
	struct answer *none =
	    watch(f, "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&"
		     "labelSelector=no%3Dsuch");
	WAIT_LINES(f, none, "\"BOOKMARK\"", 1);
	assert_int_equal(count_lines(none, ""), 1);
}

static void test_bad_options(void **state)
{
	struct api *f = *state;
	static const struct {
		const char *query;
		int status;
	} cases[] = {
	    {"sendInitialEvents=true", 422},
	    {"sendInitialEvents=true&resourceVersionMatch=Exact", 422},
	    {"resourceVersionMatch=NotOlderThan", 422},
	    {"resourceVersionMatch=Exact&resourceVersion=1", 422},
	    {"resourceVersion=abc", 400},
	    {"labelSelector=%3D", 400},
	    {"fieldSelector=a%3Db", 400},
	    {"sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=99999", 504},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct answer *a = watch(f, cases[i].query);
		WAIT(f, a->done);
		if (a->status != cases[i].status)
			fail_msg("%s: %d %s", cases[i].query, a->status, a->body.data);
	}
}

static void test_compacted(void **state)
{
	struct api *f = *state;
	for (int i = 0; fl_store_compacted(f->s.store) < 5; i++)
		set(f, "c0", "x", i);
	struct answer *a = watch(f, "resourceVersion=2");
	WAIT(f, a->done);
	assert_int_equal(a->status, 200);
	parse_line(a, 0);
	assert_string_equal(at(a, "type"), "ERROR");
	assert_int_equal(number_at(a, "object.code"), 410);
	assert_string_equal(at(a, "object.reason"), "Expired");
	a = watch(f, "resourceVersion=999999"); // of another store: start over
	WAIT(f, a->done);
	parse_line(a, 0);
	assert_int_equal(number_at(a, "object.code"), 410);
}

static void test_selector_transitions(void **state)
{
	struct api *f = *state;
	struct answer *a = watch(f, "labelSelector=odd%3D1");
	WAIT_LINES(f, a, "\"ADDED\"", 1);
	set(f, "c0", "unseen", 1);
	expect(f, 200,
	       patch_with(f, "merge", MAPS "/c0",
			  "{\"metadata\":{\"labels\":{\"odd\":\"1\"}},\"data\":{\"now\":\"odd\"}}"));
	WAIT_LINES(f, a, "\"ADDED\"", 2);
	set(f, "c0", "seen", 1);
	WAIT_LINES(f, a, "\"MODIFIED\"", 1);
	struct answer *out =
	    expect(f, 200,
		   patch_with(f, "merge", MAPS "/c0",
			      "{\"metadata\":{\"labels\":{\"odd\":\"0\"}},\"data\":{\"now\":\"even\"}}"));
	WAIT_LINES(f, a, "\"DELETED\"", 1);
	parse_line(a, 3); // as it was when it matched, with the revision of the change
	assert_string_equal(at(a, "object.data.now"), "odd");
	assert_string_equal(at(a, "object.metadata.resourceVersion"), at(out, "metadata.resourceVersion"));
	expect(f, 200, ask(f, "DELETE", MAPS "/c0")); // not ours any more
	expect(f, 200, ask(f, "DELETE", MAPS "/c1"));
	WAIT_LINES(f, a, "\"DELETED\"", 2);
	assert_int_equal(count_lines(a, ""), 5);
}

static void test_field_selectors(void **state)
{
	struct api *f = *state;
	static const char pods[] = "/api/v1/namespaces/default/pods";
	struct answer *mine = start_watch(f, f->admin, "/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dn1", NULL);
	struct answer *unbound = start_watch(f, f->admin, "/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3D", NULL);
	WAIT_WATCHERS(f, 2);
	expect(
	    f, 201,
	    ask_with(f, "POST", pods,
		     "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"));
	WAIT_LINES(f, unbound, "\"ADDED\"", 1);
	expect(f, 201,
	       ask_with(f, "POST", "/api/v1/namespaces/default/pods/p/binding", "{\"target\":{\"name\":\"n1\"}}"));
	WAIT_LINES(f, mine, "\"ADDED\"", 1);
	WAIT_LINES(f, unbound, "\"DELETED\"", 1);
	assert_int_equal(count_lines(mine, ""), 1);
}

static void test_events_view(void **state)
{
	struct api *f = *state;
	struct answer *a =
	    start_watch(f, f->admin, "/apis/events.k8s.io/v1/events?watch=1&fieldSelector=regarding.name%3Dp", NULL);
	struct answer *b =
	    start_watch(f, f->admin, "/api/v1/events?watch=1&fieldSelector=involvedObject.name%3Dp", NULL);
	WAIT_WATCHERS(f, 2);
	for (int i = 0; i < 2; i++)
		expect(f, 201,
		       ask_with(f, "POST", "/api/v1/namespaces/default/events",
				"{\"metadata\":{\"name\":\"e%d\"},\"involvedObject\":{\"namespace\":\"default\","
				"\"name\":\"%s\"},\"message\":\"m\"}",
				i, i ? "p" : "q"));
	WAIT_LINES(f, a, "\"ADDED\"", 1);
	WAIT_LINES(f, b, "\"ADDED\"", 1);
	parse_line(a, 0);
	assert_string_equal(at(a, "object.apiVersion"), "events.k8s.io/v1");
	assert_string_equal(at(a, "object.note"), "m");
	parse_line(b, 0);
	assert_string_equal(at(b, "object.message"), "m");
}

static void test_forms(void **state)
{
	struct api *f = *state;
	struct answer *table =
	    start_watch(f, f->admin, MAPS "?watch=1", "application/json;as=Table;v=v1;g=meta.k8s.io");
	struct answer *meta = start_watch(
	    f, f->admin,
	    MAPS "?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
	    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io");
	WAIT_LINES(f, table, "\"ADDED\"", 3);
	WAIT_LINES(f, meta, "\"BOOKMARK\"", 1);
	set(f, "c2", "x", 1);
	WAIT_LINES(f, table, "\"MODIFIED\"", 1);
	WAIT_LINES(f, meta, "\"MODIFIED\"", 1);
	parse_line(table, 0);
	assert_int_not_equal(fl_json_count(node_at(table, "object.columnDefinitions")), 0);
	assert_string_equal(at(table, "object.rows[0].cells[0]"), "c0");
	parse_line(table, 3); // columns are told once
	assert_int_equal(fl_json_count(node_at(table, "object.columnDefinitions")), 0);
	assert_string_equal(at(table, "object.rows[0].object.metadata.name"), "c2");
	parse_line(meta, 3);
	assert_string_equal(at(meta, "object.kind"), "PartialObjectMetadata");
	parse_line(meta, 4);
	assert_string_equal(at(meta, "object.kind"), "PartialObjectMetadata");
	assert_null(node_at(meta, "object.data"));
	assert_string_equal(at(meta, "object.metadata.name"), "c2");
}

static void test_timeout(void **state)
{
	struct api *f = *state;
	struct answer *a = watch(f, "timeoutSeconds=1");
	WAIT(f, a->done);
	assert_int_equal(a->rc, 0); // a clean end
	assert_int_equal(count_lines(a, ""), 3);
}

// A peer that stops reading gets everything when it reads again, and only little of it waits in the server meanwhile.
static void test_slow_peer(void **state)
{
	enum { CHANGES = 120, SIZE = 400 * 1024 }; // more than the client's own window of 32 MB takes
	struct api *f = FL_NEW(struct api);
	start(f, NULL);
	AUTO_FREE char *text = fl_malloc(SIZE + 1);
	memset(text, 'x', SIZE);
	text[SIZE] = 0;
	struct answer *quick = watch(f, "resourceVersion=0");
	struct answer *slow = watch_by(f, f->second, "resourceVersion=0&labelSelector=odd");
	WAIT(f, slow->lines == 3 && quick->lines == 3);
	fl_http_call_pause(slow->call, true);
	for (int i = 0; i < CHANGES; i++)
		set(f, "c0", text, i);
	WAIT(f, quick->lines == 3 + CHANGES);
	assert_int_equal(watchers(f), 1); // the slow one has left the store
	fl_http_call_pause(slow->call, false);
	WAIT(f, slow->lines == 3 + CHANGES);
	WAIT_WATCHERS(f, 2);
	set(f, "c1", "after", 1);
	WAIT(f, slow->lines == 4 + CHANGES);
	assert_int_equal(count_lines(slow, "\"after1\""), 1);
	const char *p = slow->body.data; // in order, each once
	uint64_t last = 0;
	for (unsigned n = 0; (p = strstr(p, "\"resourceVersion\":\"")); n++) {
		uint64_t rv = strtoull(p += 19, NULL, 10);
		assert_true(n < 3 || rv > last);
		last = rv > last ? rv : last;
	}
	*state = f;
	api_teardown(state);
}

// A large present state goes out in portions and may take its time while writes go on.
static void test_large_state(void **state)
{
	struct api *f = FL_NEW(struct api);
	start(f, NULL);
	AUTO_FREE char *text = fl_malloc(20001);
	memset(text, 'x', 20000);
	text[20000] = 0;
	for (int i = 0; i < 300; i++) // 6 MB
		expect(
		    f, 201,
		    ask_with(f, "POST", MAPS, "{\"metadata\":{\"name\":\"big%d\"},\"data\":{\"t\":\"%s\"}}", i, text));
	struct answer *a =
	    watch_by(f, f->second, "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true");
	WAIT(f, a->status == 200);
	fl_http_call_pause(a->call, true);
	for (int i = 0; i < 50; i++) // meanwhile
		set(f, "c0", "meanwhile", i);
	expect(f, 200, ask(f, "DELETE", MAPS "/big7"));
	assert_int_equal(count_lines(a, "BOOKMARK"), 0);
	fl_http_call_pause(a->call, false);
	WAIT_LINES(f, a, "\"DELETED\"", 1);
	assert_int_equal(count_lines(a, "\"ADDED\""), 303);
	assert_int_equal(count_lines(a, "initial-events-end"), 1); // a later bookmark may follow
	assert_int_equal(count_lines(a, "\"meanwhile"), 50);
	struct answer *left = watch_by(f, f->second, "resourceVersion=0");
	WAIT(f, left->status == 200);
	fl_http_call_pause(left->call, true);
	cancel(left); // with most of it unsent
	expect(f, 200, ask(f, "GET", "/healthz"));
	*state = f;
	api_teardown(state);
}

static void test_many(void **state)
{
	struct api *f = *state;
	struct answer *a[300];
	for (size_t i = 0; i < FL_COUNT(a); i++)
		a[i] = watch(f, i % 3 == 0   ? "labelSelector=odd%3D0"
				: i % 3 == 1 ? "fieldSelector=metadata.name%3Dc0"
					     : "");
	for (size_t i = 0; i < FL_COUNT(a); i++)
		WAIT_LINES(f, a[i], "\"c0\"", 1);
	set(f, "c0", "all", 1);
	for (size_t i = 0; i < FL_COUNT(a); i++)
		WAIT_LINES(f, a[i], "\"all1\"", 1);
	for (size_t i = 0; i < FL_COUNT(a); i += 2)
		cancel(a[i]);
	set(f, "c0", "half", 1);
	for (size_t i = 1; i < FL_COUNT(a); i += 2)
		WAIT_LINES(f, a[i], "\"half1\"", 1);
	api_stop_serving(f, 1000);
	for (size_t i = 1; i < FL_COUNT(a); i += 2) {
		WAIT(f, a[i]->done);
		assert_int_equal(a[i]->rc, 0);
	}
	assert_int_equal(watchers(f), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_starts, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_streaming_list, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_bad_options, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_compacted, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_selector_transitions, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_field_selectors, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_events_view, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_forms, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_timeout, setup, api_teardown),
	    cmocka_unit_test(test_slow_peer),
	    cmocka_unit_test(test_large_state),
	    cmocka_unit_test_setup_teardown(test_many, setup, api_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
