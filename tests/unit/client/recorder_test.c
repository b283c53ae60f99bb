// SPDX-License-Identifier: Apache-2.0
#include "client_fixture.h"

#include "client/recorder.h"

static void serve(struct fixture *f, struct fl_http_req *r, const char *line)
{
	respond(r, 201, "{}");
}

static struct fl_object *about(const char *ns, const char *uid)
{
	AUTO_FREE char *json = fl_asprintf(
	    "{\"kind\":\"ReplicaSet\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"name\":\"web\",\"namespace\":\"%s\","
	    "\"uid\":\"%s\",\"resourceVersion\":\"7\"}}",
	    ns, uid);
	struct fl_object *o = NULL;
	assert_int_equal(fl_object_parse(fl_resource_intern("apps", "replicasets"), json, strlen(json), &o, NULL), 0);
	return o;
}

static void counts_repeats(void **state)
{
	struct fixture f;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_object_put) struct fl_object *o = about("d", "u-1");
	setup(&f, serve);
	struct fl_recorder *rec = fl_recorder_new(f.client, "replicaset-controller", NULL);
	fl_recorder_event(rec, o, "Normal", "SuccessfulCreate", "Created pod: %s", "p1");
	fl_recorder_event(rec, o, "Normal", "SuccessfulCreate", "Created pod: %s", "p1"); // while the first is written
	fl_recorder_event(rec, o, "Normal", "SuccessfulCreate", "Created pod: %s", "p1");
	fl_recorder_event(rec, o, "Normal", "SuccessfulCreate", "Created pod: %s", "p2");
	wait_for(&f, f.n_seen == 3);
	unsigned create = strstr(f.seen[0].body, "p1") ? 0 : 1;
	assert_string_equal(f.seen[0].line, "POST /api/v1/namespaces/d/events");
	assert_string_equal(f.seen[1].line, "POST /api/v1/namespaces/d/events");
	assert_memory_equal(f.seen[2].line, "PATCH /api/v1/namespaces/d/events/web.", 38);
	assert_memory_equal(f.seen[2].body, "{\"count\":3,", 11);

	struct fl_json *e;
	const char *body = f.seen[create].body;
	assert_int_equal(fl_json_parse(&a, body, strlen(body), NULL, &e, NULL), 0);
	const struct fl_json *ref = fl_json_get(e, "involvedObject");
	assert_string_equal(fl_json_str(ref, "kind"), "ReplicaSet");
	assert_string_equal(fl_json_str(ref, "apiVersion"), "apps/v1");
	assert_string_equal(fl_json_str(ref, "uid"), "u-1");
	assert_string_equal(fl_json_str(ref, "resourceVersion"), "7");
	assert_string_equal(fl_json_str(e, "message"), "Created pod: p1");
	assert_string_equal(fl_json_str(e, "reportingComponent"), "replicaset-controller");
	assert_string_equal(fl_json_str(fl_json_get(e, "source"), "component"), "replicaset-controller");
	assert_int_equal(strlen(fl_json_str(fl_json_get(e, "metadata"), "name")), strlen("web.18ea03fe1adf76b2"));
	fl_recorder_free(&rec);
	teardown(&f);
}

static void cluster_scoped_objects_go_to_default(void **state)
{
	struct fixture f;
	AUTO(fl_object_put) struct fl_object *o = about("", "u-2");
	setup(&f, serve);
	struct fl_recorder *rec = fl_recorder_new(f.client, "node-controller", "host-1");
	fl_recorder_event(rec, o, "Warning", "X", "y");
	wait_for(&f, f.n_seen == 1);
	assert_string_equal(f.seen[0].line, "POST /api/v1/namespaces/default/events");
	assert_non_null(strstr(f.seen[0].body, "\"host\":\"host-1\""));
	fl_recorder_free(&rec);
	teardown(&f);
}

static void one_object_cannot_flood(void **state)
{
	struct fixture f;
	AUTO(fl_object_put) struct fl_object *noisy = about("d", "u-3"), *other = about("d", "u-4");
	setup(&f, serve);
	struct fl_recorder *rec = fl_recorder_new(f.client, "x", NULL);
	for (int i = 0; i < 40; i++)
		fl_recorder_event(rec, noisy, "Warning", "Noise", "number %d", i);
	fl_recorder_event(rec, other, "Warning", "Quiet", "still heard");
	wait_for(&f, f.n_seen == 26);
	for (int i = 0; i < 20; i++)
		uv_run(&f.loop, UV_RUN_NOWAIT);
	assert_int_equal(f.n_seen, 26);
	fl_recorder_free(&rec);
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(counts_repeats),
	    cmocka_unit_test(cluster_scoped_objects_go_to_default),
	    cmocka_unit_test(one_object_cannot_flood),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
