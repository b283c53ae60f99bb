// SPDX-License-Identifier: Apache-2.0
#include "client_fixture.h"

#include <errno.h>

struct answer {
	bool done;
	int rc, status;
	char name[64], text[1024];
};

static void on_answer(void *arg, int rc, int http_status, struct fl_arena *a, struct fl_json *body,
		      const struct fl_err *err)
{
	struct answer *an = arg;
	assert_false(an->done);
	*an = (struct answer){.done = true, .rc = rc, .status = http_status};
	const char *name = fl_json_is(body, FL_JSON_STRING) ? fl_json_string(body)
							    : fl_json_str(fl_json_get(body, "metadata"), "name");
	snprintf(an->name, sizeof(an->name), "%s", name ? name : "");
	snprintf(an->text, sizeof(an->text), "%s", err->text);
}

static void serve(struct fixture *f, struct fl_http_req *r, const char *line)
{
	static const struct {
		const char *line;
		int status;
		const char *body;
	} answers[] = {
	    {"GET /api/v1/namespaces/d/services/a", 200, "{\"metadata\":{\"name\":\"a\"}}"},
	    {"GET /api/v1/namespaces/d/services/none", 404,
	     "{\"kind\":\"Status\",\"reason\":\"NotFound\",\"message\":\"services \\\"none\\\" not found\"}"},
	    {"POST /apis/apps/v1/namespaces/d/deployments", 409,
	     "{\"reason\":\"AlreadyExists\",\"message\":\"there\"}"},
	    {"PUT /api/v1/namespaces/d/pods/p/status", 409, "{\"reason\":\"Conflict\",\"message\":\"again\"}"},
	    {"PATCH /api/v1/nodes/n", 422, "{\"reason\":\"Invalid\",\"message\":\"bad\"}"},
	    {"DELETE /api/v1/namespaces/d/pods/p", 200, "{\"metadata\":{\"name\":\"p\"}}"},
	    {"GET /readyz", 200, "ok"},
	    {"GET /gone", 410, "{}"},
	    {"GET /no", 403, "no"},
	    {"GET /busy", 503, ""},
	    {"GET /broken", 200, "{\"metadata\":"},
	};
	for (size_t i = 0; i < FL_COUNT(answers); i++)
		if (!strcmp(line, answers[i].line)) {
			respond(r, answers[i].status, answers[i].body);
			return;
		}
	respond(r, 500, "{}");
}

static void finish(struct fixture *f, struct answer *an, int rc, int status, const char *name, const char *text)
{
	wait_for(f, an->done);
	assert_int_equal(an->rc, rc);
	assert_int_equal(an->status, status);
	assert_string_equal(an->name, name);
	if (!strstr(an->text, text))
		fail_msg("\"%s\" lacks \"%s\"", an->text, text);
	an->done = false;
}

static void speaks_rest(void **state)
{
	struct fixture f;
	struct answer an = {0};
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	setup(&f, serve);
	struct fl_json *o = fl_json_new(&a, FL_JSON_OBJECT);
	fl_json_set_str(&a, o, "kind", "X");
	fl_client_get(f.client, &fl_gvr_services, "d", "a", on_answer, &an, NULL);
	finish(&f, &an, 0, 200, "a", "");
	fl_client_get(f.client, &fl_gvr_services, "d", "none", on_answer, &an, NULL);
	finish(&f, &an, -ENOENT, 404, "", "services \"none\" not found");
	fl_client_create(f.client, &fl_gvr_deployments, "d", o, on_answer, &an, NULL);
	finish(&f, &an, -EEXIST, 409, "", "there");
	assert_string_equal(f.seen[2].body, "{\"kind\":\"X\"}");
	assert_string_equal(f.seen[2].type, "application/json");
	fl_client_update(f.client, &fl_gvr_pods, "d", "p", "status", o, on_answer, &an, NULL);
	finish(&f, &an, -ESTALE, 409, "", "again");
	fl_client_patch(f.client, &fl_gvr_nodes, NULL, "n", NULL, FL_PATCH_STRATEGIC, o, on_answer, &an, NULL);
	finish(&f, &an, -EINVAL, 422, "", "bad");
	assert_string_equal(f.seen[4].type, "application/strategic-merge-patch+json");
	fl_client_delete(f.client, &fl_gvr_pods, "d", "p", "u-1", 0, "Background", on_answer, &an, NULL);
	finish(&f, &an, 0, 200, "p", "");
	assert_string_equal(f.seen[5].body,
			    "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"gracePeriodSeconds\":0,"
			    "\"propagationPolicy\":\"Background\",\"preconditions\":{\"uid\":\"u-1\"}}");
	fl_client_raw(f.client, "GET", "/readyz", NULL, NULL, 0, on_answer, &an, NULL);
	finish(&f, &an, 0, 200, "ok", "");
	fl_client_raw(f.client, "GET", "/gone", NULL, NULL, 0, on_answer, &an, NULL);
	finish(&f, &an, -ESTALE, 410, "", "410");
	fl_client_raw(f.client, "GET", "/no", NULL, NULL, 0, on_answer, &an, NULL);
	finish(&f, &an, -EACCES, 403, "no", "403");
	fl_client_raw(f.client, "GET", "/busy", NULL, NULL, 0, on_answer, &an, NULL);
	finish(&f, &an, -EAGAIN, 503, "", "503");
	fl_client_raw(f.client, "GET", "/broken", NULL, NULL, 0, on_answer, &an, NULL);
	finish(&f, &an, -EPROTO, 200, "", "no JSON");
	teardown(&f);
}

static void on_text(void *arg, int rc, int http_status, const char *text, size_t len, const struct fl_err *err)
{
	struct answer *an = arg;
	assert_false(an->done);
	*an = (struct answer){.done = true, .rc = rc, .status = http_status};
	snprintf(an->name, sizeof(an->name), "%.*s", (int)len, text ? text : "");
	snprintf(an->text, sizeof(an->text), "%s", err->text);
}

static void hands_texts_over(void **state)
{
	struct fixture f;
	struct answer an = {0};
	setup(&f, serve);
	fl_client_text(f.client, "PATCH", "/api/v1/nodes/n", fl_client_patch_type(FL_PATCH_MERGE), "{}", 2, on_text,
		       &an, NULL);
	finish(&f, &an, -EINVAL, 422, "", "bad");
	assert_string_equal(f.seen[0].body, "{}");
	assert_string_equal(f.seen[0].type, "application/merge-patch+json");
	fl_client_text(f.client, "DELETE", "/api/v1/namespaces/d/pods/p", NULL, NULL, 0, on_text, &an, NULL);
	finish(&f, &an, 0, 200, "{\"metadata\":{\"name\":\"p\"}}", "");
	fl_client_text(f.client, "GET", "/broken", NULL, NULL, 0, on_text, &an, NULL);
	finish(&f, &an, 0, 200, "{\"metadata\":", "");                               // nobody has read it
	fl_client_text(f.client, "GET", "/readyz", NULL, NULL, 0, NULL, NULL, NULL); // nobody waits for the answer
	fl_client_text(f.client, "GET", "/busy", NULL, NULL, 0, on_text, &an, NULL);
	finish(&f, &an, -EAGAIN, 503, "", "503");
	teardown(&f);
}

static void paths(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	assert_string_equal(fl_client_path(&a, &fl_gvr_nodes, NULL, NULL, NULL), "/api/v1/nodes");
	assert_string_equal(fl_client_path(&a, &fl_gvr_namespaces, "", "a", "finalize"),
			    "/api/v1/namespaces/a/finalize");
	assert_string_equal(fl_client_path(&a, &fl_gvr_deployments, "d", "x", "scale"),
			    "/apis/apps/v1/namespaces/d/deployments/x/scale");
	assert_string_equal(fl_client_path(&a, &fl_gvr_services, "d", "a/../b", NULL),
			    "/api/v1/namespaces/d/services/a%2F..%2Fb");
}

static void nobody_listens(void **state)
{
	struct fixture f;
	struct answer an = {0};
	setup(&f, serve);
	stop_server(&f);
	fl_client_raw(f.client, "GET", "/readyz", NULL, NULL, 0, on_answer, &an, NULL);
	assert_false(an.done); // never before the call returns
	wait_for(&f, an.done);
	assert_true(an.rc < 0);
	assert_int_equal(an.status, 0);
	assert_true(an.text[0]);
	teardown(&f);
}

static void hold(struct fixture *f, struct fl_http_req *r, const char *line)
{
	if (strstr(line, "/hold"))
		keep_stream(f, r);
	else
		respond(r, 200, "{}");
}

static void cancelled_calls_stay_silent(void **state)
{
	struct fixture f;
	struct answer an = {0}, other = {0};
	struct fl_client_call *call = NULL;
	setup(&f, hold);
	fl_client_raw(f.client, "GET", "/hold", NULL, NULL, 0, on_answer, &an, &call);
	wait_for(&f, f.stream);
	fl_client_cancel(&call);
	assert_null(call);
	fl_client_cancel(&call); // NULL inside is accepted
	fl_client_raw(f.client, "GET", "/x", NULL, NULL, 0, on_answer, &other, NULL);
	wait_for(&f, other.done);
	fl_client_raw(f.client, "GET", "/hold", NULL, NULL, 0, on_answer, &an, NULL);
	wait_for(&f, f.n_streams == 2);
	teardown(&f); // frees the client with a call under way
	assert_false(an.done);
}

static void count_answer(void *arg, int rc, int http_status, struct fl_arena *a, struct fl_json *body,
			 const struct fl_err *err)
{
	assert_int_equal(rc, 0);
	(*(unsigned *)arg)++;
}

static void serve_many(struct fl_http_req *r, void *arg)
{
	unsigned *open = arg;
	++*open;
	respond(r, 200, "{}");
}

// More calls than run at a time: all are answered, in time; those in line can be cancelled.
static void many_calls_wait_in_line(void **state)
{
	struct fixture f;
	unsigned served = 0, answered = 0;
	struct fl_client_call *calls[1000];
	setup(&f, serve);
	stop_server(&f);
	struct fl_err err = {0};
	struct fl_ip ip;
	struct fl_http_server_opts opts = {.handler = serve_many, .arg = &served, .server_name = "test"};
	assert_true(fl_ip_parse("127.0.0.1", &ip));
	assert_int_equal(fl_http_server_new(&f.loop, &opts, &f.server, &err), 0);
	assert_int_equal(fl_http_server_listen(f.server, &ip, f.port, &f.port, &err), 0);
	for (unsigned i = 0; i < FL_COUNT(calls); i++)
		fl_client_raw(f.client, "GET", "/x", NULL, NULL, 0, count_answer, &answered, &calls[i]);
	for (unsigned i = 600; i < 700; i++)
		fl_client_cancel(&calls[i]);
	wait_for(&f, answered == 900);
	assert_int_equal(served, 900);
	for (unsigned i = 0; i < 500; i++) // and the rest of them is dropped with the client
		fl_client_raw(f.client, "GET", "/x", NULL, NULL, 0, count_answer, &answered, NULL);
	fl_client_free(&f.client);
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(speaks_rest),
	    cmocka_unit_test(hands_texts_over),
	    cmocka_unit_test(paths),
	    cmocka_unit_test(nobody_listens),
	    cmocka_unit_test(cancelled_calls_stay_silent),
	    cmocka_unit_test(many_calls_wait_in_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
