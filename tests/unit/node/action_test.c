// SPDX-License-Identifier: Apache-2.0
// Probes and hooks over the network: what is asked, what is made of the answer, what is said when there is none.
// Commands in containers are in lifecycle_test.c.
#include "node/action.h"

#include <errno.h>

#include "grpc_server.h"
#include "io/http/conn.h"
#include "io/http_server.h"
#include "io/tls.h"
#include "tree.h"

struct fixture {
	uv_loop_t loop;
	struct fl_arena a;
	struct fl_http_client *http;
	struct fl_action_place place;
	struct fl_http_server *server, *tls_server;
	uint16_t port, tls_port;
	struct grpc_server grpc;
	char seen[256]; // method, path?query, host, user-agent, x-one of the last HTTP request
	struct fl_http_req *kept, *endless;
	uv_timer_t feed;
	size_t fed;
	bool done, success;
	char text[512];
	int stopped;
};

static void on_feed(uv_timer_t *timer)
{
	static const char part[1000];
	struct fixture *f = timer->data;
	struct fl_bytes *b = fl_bytes_new(part, sizeof(part));

	fl_http_write(f->endless, b);
	fl_bytes_put(&b);
	f->fed += sizeof(part);
}

static void on_left(struct fl_http_req *r, void *arg, bool gone)
{
	struct fixture *f = arg;

	uv_close((uv_handle_t *)&f->feed, NULL);
	f->endless = NULL;
}

static void feed(struct fixture *f, struct fl_http_req *r, int status)
{
	fl_http_on_close(r, on_left, f);
	fl_http_start(r, status, "text/event-stream");
	f->endless = r;
	f->fed = 0;
	uv_timer_init(&f->loop, &f->feed);
	f->feed.data = f;
	uv_timer_start(&f->feed, on_feed, 0, 1);
}

static void handle(struct fl_http_req *r, void *arg)
{
	struct fixture *f = arg;
	const char *one = fl_http_header(r, "x-one"), *agent = fl_http_header(r, "user-agent");

	snprintf(f->seen, sizeof(f->seen), "%s %s?%s %s %s %s", fl_http_method(r), fl_http_path(r), fl_http_query(r),
		 fl_http_header(r, "host"), agent ? agent : "", one ? one : "");
	if (strcmp(fl_http_path(r), "/silent") == 0)
		f->kept = r;
	else if (fl_starts_with(fl_http_path(r), "/endless"))
		feed(f, r, strcmp(fl_http_path(r), "/endless-bad") == 0 ? 503 : 200);
	else
		fl_http_respond(r, strcmp(fl_http_path(r), "/bad") == 0 ? 503 : 204, NULL, NULL, 0);
}

static uint16_t listen_on(struct fixture *f, SSL_CTX *tls, struct fl_http_server **ret)
{
	struct fl_http_server_opts o = {.tls = tls, .handler = handle, .arg = f, .server_name = "test"};
	struct fl_err err = {0};
	struct fl_ip ip;
	uint16_t port = 0;

	fl_ip_parse("127.0.0.1", &ip);
	assert_int_equal(fl_http_server_new(&f->loop, &o, ret, &err), 0);
	assert_int_equal(fl_http_server_listen(*ret, &ip, 0, &port, &err), 0);
	return port;
}

static void setup(struct fixture *f)
{
	struct fl_http_client_opts o = {.insecure_skip_verify = true};
	struct fl_pki_cert ca, cert;
	struct fl_pki_request request = {.common_name = "nobody", .server = true, .days = 1};
	SSL_CTX *tls = NULL;
	struct fl_err err = {0};

	assert_int_equal(uv_loop_init(&f->loop), 0);
	assert_int_equal(fl_http_client_new(&f->loop, &o, &f->http, &err), 0);
	f->place = (struct fl_action_place){.loop = &f->loop, .http = f->http};
	fl_ip_parse("127.0.0.1", &f->place.pod_ip);
	assert_int_equal(fl_pki_make_ca("test", 1, &ca, &err), 0);
	assert_int_equal(fl_pki_sign(&ca, &request, &cert, &err), 0);
	assert_int_equal(fl_tls_server_ctx(cert.cert_pem, cert.key_pem, NULL, false, &tls, &err), 0);
	f->port = listen_on(f, NULL, &f->server);
	f->tls_port = listen_on(f, tls, &f->tls_server);
	SSL_CTX_free(tls);
	fl_pki_cert_deinit(&ca);
	fl_pki_cert_deinit(&cert);
	grpc_server_start(&f->grpc, &f->loop);
}

static void on_stopped(void *arg)
{
	((struct fixture *)arg)->stopped++;
}

static void teardown(struct fixture *f)
{
	fl_http_client_free(&f->http);
	uv_close((uv_handle_t *)&f->grpc.listener, NULL);
	fl_http_server_stop(f->server, 0, on_stopped, f);
	fl_http_server_stop(f->tls_server, 0, on_stopped, f);
	while (f->stopped < 2)
		uv_run(&f->loop, UV_RUN_ONCE);
	fl_http_server_free(&f->server);
	fl_http_server_free(&f->tls_server);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	fl_arena_deinit(&f->a);
}

static void on_done(void *arg, bool success, const char *text)
{
	struct fixture *f = arg;

	assert_false(f->done);
	f->done = true;
	f->success = success;
	snprintf(f->text, sizeof(f->text), "%s", text);
}

// Runs a handler of a container that names port 80xx "web"; `want` NULL: it is to succeed.
static void expect(struct fixture *f, const char *handler, const char *want)
{
	const struct fl_json *container =
	    tree(&f->a, fl_arena_printf(&f->a, "{'ports':[{'name':'web','containerPort':%u}]}", f->port));
	struct fl_action_spec spec;
	struct fl_action_opts o = {.place = &f->place,
				   .spec = &spec,
				   .user_agent = "kube-probe/1.36",
				   .timeout_s = 1,
				   .on_done = on_done,
				   .arg = f};
	struct fl_action *action;
	struct fl_err err = {0};
	const char *why;

	if (!fl_action_read(container, tree(&f->a, handler), &spec, &why))
		fail_msg("%s: %s", handler, why);
	fl_action_copy(&f->a, &spec);
	f->done = false;
	if (fl_action_start(&o, &action, &err) < 0)
		fail_msg("%s: %s", handler, err.text);
	while (!f->done)
		uv_run(&f->loop, UV_RUN_ONCE);
	if (f->success != !want || (want && strcmp(f->text, want) != 0))
		fail_msg("%s: %s \"%s\", not \"%s\"", handler, f->success ? "success" : "failure", f->text,
			 want ? want : "");
}

static void http(void **state)
{
	struct fixture f = {0};

	setup(&f);
	expect(&f, "{'httpGet':{'port':'web','path':'/ok?a=b','httpHeaders':[{'name':'X-One','value':'1'}]}}", NULL);
	assert_string_equal(f.seen, fl_arena_printf(&f.a, "GET /ok?a=b 127.0.0.1:%u kube-probe/1.36 1", f.port));
	expect(&f,
	       "{'httpGet':{'port':'web','httpHeaders':[{'name':'Host','value':'x.org'},{'name':'user-agent',"
	       "'value':'me'}]}}",
	       NULL);
	assert_string_equal(f.seen, "GET /? x.org me ");
	expect(&f, "{'httpGet':{'port':'web','path':'bad','host':'127.0.0.1'}}",
	       "HTTP probe failed with statuscode: 503");
	expect(&f, "{'httpGet':{'port':1}}",
	       "Get \"http://127.0.0.1:1/\": dial tcp 127.0.0.1:1: connect: connection refused");
	expect(&f, "{'httpGet':{'port':'web','path':'/silent'}}",
	       fl_arena_printf(&f.a,
			       "Get \"http://127.0.0.1:%u/silent\": context deadline exceeded (Client.Timeout exceeded "
			       "while awaiting headers)",
			       f.port));
	fl_http_respond(f.kept, 200, NULL, NULL, 0);
	// A certificate for nobody that nobody knows is good enough; no TLS is not.
	expect(&f, fl_arena_printf(&f.a, "{'httpGet':{'port':%u,'scheme':'HTTPS'}}", f.tls_port), NULL);
	expect(&f, fl_arena_printf(&f.a, "{'httpGet':{'port':%u,'scheme':'HTTPS','path':'/bad'}}", f.tls_port),
	       "HTTP probe failed with statuscode: 503");
	// None leaves a connection for the next, over HTTP/2 neither.
	while (f.server->n_conns || f.tls_server->n_conns)
		uv_run(&f.loop, UV_RUN_ONCE);
	teardown(&f);
}

static void an_answer_without_end(void **state)
{
	struct fixture f = {0};

	setup(&f);
	expect(&f, "{'httpGet':{'port':'web','path':'/endless'}}", NULL);
	assert_true(f.fed >= 10240);
	while (f.endless) // nobody reads it any more
		uv_run(&f.loop, UV_RUN_ONCE);
	expect(&f, "{'httpGet':{'port':'web','path':'/endless-bad'}}", "HTTP probe failed with statuscode: 503");
	while (f.endless)
		uv_run(&f.loop, UV_RUN_ONCE);
	expect(&f, fl_arena_printf(&f.a, "{'httpGet':{'port':%u,'scheme':'HTTPS','path':'/endless'}}", f.tls_port),
	       NULL);
	while (f.endless)
		uv_run(&f.loop, UV_RUN_ONCE);
	teardown(&f);
}

static void tcp_and_sleep(void **state)
{
	struct fixture f = {0};

	setup(&f);
	expect(&f, "{'tcpSocket':{'port':'web'}}", NULL);
	expect(&f, "{'tcpSocket':{'port':1}}", "dial tcp 127.0.0.1:1: connect: connection refused");
	expect(&f, "{'sleep':{'seconds':0}}", NULL);
	teardown(&f);
}

static void grpc(void **state)
{
	struct fixture f = {0};
	const char *whole, *db, *other;

	setup(&f);
	f.grpc.status = 1;
	f.grpc.db_status = 2;
	whole = fl_arena_printf(&f.a, "{'grpc':{'port':%u}}", f.grpc.port);
	db = fl_arena_printf(&f.a, "{'grpc':{'port':%u,'service':'db'}}", f.grpc.port);
	other = fl_arena_printf(&f.a, "{'grpc':{'port':%u,'service':'other'}}", f.grpc.port);
	expect(&f, whole, NULL);
	assert_string_equal(f.grpc.path, "/grpc.health.v1.Health/Check");
	assert_string_equal(f.grpc.type, "application/grpc");
	expect(&f, db, "service unhealthy (responded with \"NOT_SERVING\")");
	f.grpc.db_status = 1;
	expect(&f, db, NULL);
	f.grpc.status = 0;
	expect(&f, whole, "service unhealthy (responded with \"UNKNOWN\")");
	expect(&f, other, "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service");
	f.grpc.unimplemented = true;
	expect(&f, whole,
	       "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown "
	       "service");
	f.grpc.silent = true;
	expect(&f, whole, "timeout: health rpc did not complete within 1s");
	expect(&f, "{'grpc':{'port':1}}",
	       "timeout: failed to connect service \"127.0.0.1:1\" within 1s: context deadline exceeded");
	assert_int_equal(f.grpc.n_requests, 7);
	f.seen[0] = '\0';
	expect(
	    &f, fl_arena_printf(&f.a, "{'grpc':{'port':%u}}", f.port), // speaks HTTP/1.1 only
	    "error: health rpc probe failed: rpc error: code = Unavailable desc = connection closed before the answer");
	assert_string_equal(f.seen, "");
	teardown(&f);
}

static void what_cannot_be_done(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_action_spec s;
	const char *why;

	assert_false(fl_action_read(NULL, tree(&a, "{'httpGet':{'port':'web'}}"), &s, &why));
	assert_string_equal(why, "its port names no port of the container");
	assert_false(fl_action_read(NULL, tree(&a, "{'exec':{'command':[]}}"), &s, &why));
	assert_string_equal(why, "it has no action");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(http), cmocka_unit_test(an_answer_without_end), cmocka_unit_test(tcp_and_sleep),
	    cmocka_unit_test(grpc), cmocka_unit_test(what_cannot_be_done),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
