// SPDX-License-Identifier: Apache-2.0
// The client against our server: both protocols, both ways of reading a body, and what goes wrong on the way.
#include "http_fixture.h"

static void gets_and_posts(struct fixture *f)
{
	struct fl_http_client *c = new_client(f, NULL);
	struct answer a = {0};
	call(f, c, "GET", "/hello", NULL, 0, &a);
	if (a.rc)
		fail_msg("%s", a.err.text);
	assert_int_equal(a.status, 200);
	assert_string_equal(a.body.data, "hello\n");
	assert_string_equal(a.type, "text/plain");
	call(f, c, "POST", "/echo?a=b", "some\0body", 9, &a);
	assert_int_equal(a.status, 201);
	assert_int_equal(a.body.len, 9);
	assert_memory_equal(a.body.data, "some\0body", 9);
	assert_string_equal(a.type, "text/x-test");
	call(f, c, "PATCH", "/echo", "p", 1, &a);
	assert_string_equal(a.body.data, "p");
	call(f, c, "DELETE", "/none", NULL, 0, &a);
	assert_int_equal(a.status, 204);
	call(f, c, "HEAD", "/size/1000", NULL, 0, &a);
	assert_int_equal(a.rc, 0);
	assert_int_equal(a.status, 200);
	assert_int_equal(a.body.len, 0);
	call(f, c, "GET", "/size/5000000", NULL, 0, &a);
	assert_int_equal(a.body.len, 5000000);
	call(f, c, "GET", "/size/0", NULL, 0, &a);
	assert_int_equal(a.rc, 0);
	assert_int_equal(a.body.len, 0);
	answer_reset(&a);
	fl_http_client_free(&c);
}

static void plain_requests(void **state)
{
	struct fixture f;
	setup_with(&f, false, NULL);
	gets_and_posts(&f);
	teardown(&f);
}

static void tls_requests(void **state)
{
	struct fixture f;
	setup_with(&f, true, NULL);
	gets_and_posts(&f);
	teardown(&f);
}

// --- failures ---

static void says_why_no_response_came(void **state)
{
	struct fixture f;
	struct answer a = {0};
	setup_with(&f, false, NULL);
	struct fl_http_client *c = new_client(&f, NULL);
	fl_http_server_stop(f.server, 0, on_stopped, &f);
	WAIT(&f, f.stopped);
	call(&f, c, "GET", "/hello?secret=1", NULL, 0, &a);
	assert_int_equal(a.rc, -ECONNREFUSED);
	assert_non_null(strstr(a.err.text, f.url));
	assert_null(strstr(a.err.text, "secret"));

	struct fl_err err = {0};
	struct fl_http_call_opts bad = {.method = "GET", .url = "http://127.0.0.1/", .on_done = answer_done, .arg = &a};
	const char *const headers[] = {"X: a\r\nY: b", NULL};
	bad.headers = headers;
	assert_int_equal(fl_http_client_call(c, &bad, NULL, &err), -EINVAL);
	bad.headers = NULL;
	static const char *const urls[] = {"ftp://127.0.0.1/x",  "127.0.0.1/x",    "http://",       "http://:80/",
					   "http://a b/",        "http://u:p@a/",  "http://[::1/",  "http://[1.2.3.4]/",
					   "http://a:0/",        "http://a:65536", "http://a:80x/", "http://a/\r\nX: y",
					   "http://[::1]suffix/"};
	answer_reset(&a);
	for (size_t i = 0; i < FL_COUNT(urls); i++) {
		bad.url = urls[i];
		assert_int_equal(fl_http_client_call(c, &bad, &a.call, &err), -EINVAL);
	}
	bad.url = "http://a/";
	bad.method = "GET /x HTTP/1.1\r\nX:";
	assert_int_equal(fl_http_client_call(c, &bad, &a.call, &err), -EINVAL);
	uv_run(&f.loop, UV_RUN_NOWAIT);
	assert_false(a.done);
	answer_reset(&a);
	fl_http_client_free(&c);
	teardown(&f);
}

static int only_h1(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
		   unsigned in_len, void *arg)
{
	*out = (const unsigned char *)"http/1.1";
	*out_len = 8;
	return SSL_TLSEXT_ERR_OK;
}

// A server without HTTP/2: open watches must not hold up other calls.
static void calls_do_not_wait_for_watches(void **state)
{
	for (int tls = 0; tls < 2; tls++) {
		struct fixture f;
		struct answer w[3] = {0}, a = {0};
		setup_with(&f, tls, NULL);
		if (tls) {
			SSL_CTX *ctx = server_ctx(false);
			SSL_CTX_set_alpn_select_cb(ctx, only_h1, NULL);
			fl_http_server_set_tls(f.server, ctx);
			SSL_CTX_free(ctx);
		}
		struct fl_http_client *c = new_client(&f, NULL);
		for (int i = 0; i < 3; i++)
			start_call(&f, c, "GET", "/stream", NULL, 0, true, &w[i]);
		WAIT(&f, f.n_kept == 3);
		call(&f, c, "GET", "/hello", NULL, 0, &a);
		assert_int_equal(a.rc, 0);
		for (int i = 0; i < 3; i++)
			fl_http_end(f.kept[i]);
		WAIT(&f, w[0].done && w[1].done && w[2].done);
		answer_reset(&a);
		fl_http_client_free(&c);
		teardown(&f);
	}
}

static void start_timed(struct fixture *f, struct fl_http_client *c, const char *path, unsigned timeout, unsigned stall,
			struct answer *a)
{
	char url[128];
	struct fl_err err = {0};
	snprintf(url, sizeof(url), "%s%s", f->url, path);
	struct fl_http_call_opts o = {.method = "GET",
				      .url = url,
				      .timeout_ms = timeout,
				      .stall_timeout_ms = stall,
				      .on_data = answer_data,
				      .on_done = answer_done,
				      .arg = a};
	answer_reset(a);
	assert_int_equal(fl_http_client_call(c, &o, &a->call, &err), 0);
}

static void time_outs_end_a_call(void **state)
{
	struct fixture f;
	struct answer a = {0}, b = {0};
	setup_with(&f, true, NULL);
	struct fl_http_client *c = new_client(&f, NULL);
	start_timed(&f, c, "/keep", 200, 0, &a);
	WAIT(&f, a.done);
	assert_int_equal(a.rc, -ETIMEDOUT);
	start_timed(&f, c, "/stream", 0, 200, &a);
	start_timed(&f, c, "/stream", 0, 0, &b);
	WAIT(&f, a.done);
	assert_int_equal(a.rc, -ETIMEDOUT);
	assert_non_null(strstr(a.err.text, "no byte"));
	assert_false(b.done);
	answer_reset(&a);
	answer_reset(&b);
	fl_http_client_free(&c);
	teardown(&f);
}

static void a_moving_stream_does_not_stall(void **state)
{
	struct fixture f;
	struct answer a = {0};
	setup_with(&f, false, NULL);
	struct fl_http_client *c = new_client(&f, NULL);
	start_timed(&f, c, "/stream", 0, 1000, &a);
	WAIT(&f, f.n_kept == 1);
	uint64_t start = uv_now(&f.loop), sent = 0;
	while (uv_now(&f.loop) < start + 1500 && !a.done) {
		if (uv_now(&f.loop) >= sent + 10) {
			sent = uv_now(&f.loop);
			send_part(f.kept[0], "x");
		}
		uv_run(&f.loop, UV_RUN_NOWAIT);
	}
	assert_false(a.done);
	fl_http_end(f.kept[0]);
	WAIT(&f, a.done);
	assert_int_equal(a.rc, 0);
	answer_reset(&a);
	fl_http_client_free(&c);
	teardown(&f);
}

static void a_cut_stream_is_an_error(void **state)
{
	for (int tls = 0; tls < 2; tls++) {
		struct fixture f;
		struct answer a = {0};
		setup_with(&f, tls, NULL);
		struct fl_http_client *c = new_client(&f, NULL);
		start_call(&f, c, "GET", "/stream", NULL, 0, true, &a);
		WAIT(&f, f.n_kept == 1);
		send_part(f.kept[0], "part");
		WAIT(&f, a.body.len == 4);
		fl_http_abort(f.kept[0]);
		WAIT(&f, a.done);
		assert_int_equal(a.rc, -ECONNRESET);
		assert_int_equal(a.status, 200);
		answer_reset(&a);
		fl_http_client_free(&c);
		teardown(&f);
	}
}

// --- what callbacks may do ---

struct acting {
	struct fixture *f;
	struct fl_http_client *c;
	struct answer inner;
	struct fl_http_call *self, *other;
	bool free_client, cancel_self, done;
};

static void act_on_data(void *arg, int status, const char *data, size_t len)
{
	struct acting *x = arg;
	assert_non_null(fl_http_call_header(x->self, "Content-Type"));
	if (x->cancel_self) {
		fl_http_call_cancel(&x->self);
		fl_http_call_cancel(&x->other);
	} else if (x->free_client) {
		fl_http_client_free(&x->c);
	}
	if (x->c)
		start_call(x->f, x->c, "GET", "/hello", NULL, 0, false, &x->inner);
}

static void act_on_done(void *arg, int rc, int status, const char *body, size_t len, const struct fl_err *err)
{
	((struct acting *)arg)->done = true;
}

static void start_acting(struct fixture *f, struct acting *x)
{
	char url[128];
	struct fl_err err = {0};
	snprintf(url, sizeof(url), "%s/size/100", f->url);
	struct fl_http_call_opts o = {
	    .method = "GET", .url = url, .on_data = act_on_data, .on_done = act_on_done, .arg = x};
	assert_int_equal(fl_http_client_call(x->c, &o, &x->self, &err), 0);
}

static void callbacks_may_start_cancel_and_free(void **state)
{
	for (int tls = 0; tls < 2; tls++) {
		struct fixture f;
		struct answer other = {0};
		setup_with(&f, tls, NULL);
		struct acting x = {.f = &f, .c = new_client(&f, NULL)};
		start_acting(&f, &x);
		WAIT(&f, x.done && x.inner.done);
		assert_int_equal(x.inner.rc, 0);

		x.done = false;
		x.cancel_self = true;
		start_call(&f, x.c, "GET", "/keep", NULL, 0, false, &other);
		x.other = other.call;
		WAIT(&f, f.n_kept == 1);
		start_acting(&f, &x);
		answer_reset(&x.inner);
		WAIT(&f, x.inner.done);
		assert_int_equal(x.inner.rc, 0);
		assert_false(x.done);
		assert_false(other.done);

		x.cancel_self = false;
		x.free_client = true;
		answer_reset(&x.inner);
		start_acting(&f, &x);
		WAIT(&f, !x.c);
		for (int i = 0; i < 20; i++)
			uv_run(&f.loop, UV_RUN_NOWAIT);
		assert_false(x.done);
		answer_reset(&x.inner);
		teardown(&f);
	}
}

static void a_cancelled_call_is_silent(void **state)
{
	struct fixture f;
	struct answer a = {0};
	setup_with(&f, false, NULL);
	struct fl_http_client *c = new_client(&f, NULL);
	start_call(&f, c, "GET", "/hello", NULL, 0, false, &a);
	fl_http_call_cancel(&a.call); // before it has left
	start_call(&f, c, "GET", "/stream", NULL, 0, true, &a);
	WAIT(&f, f.n_kept == 1);
	fl_http_call_pause(a.call, true);
	send_part(f.kept[0], "x");
	for (int i = 0; i < 20; i++)
		uv_run(&f.loop, UV_RUN_NOWAIT);
	assert_int_equal(a.n_data, 0);
	fl_http_call_cancel(&a.call); // while paused
	assert_null(a.call);
	fl_http_call_cancel(&a.call);
	WAIT(&f, f.n_closed == 1);
	assert_false(a.done);
	assert_int_equal(f.n_handled, 1);
	answer_reset(&a);
	fl_http_client_free(&c);
	teardown(&f);
}

static void a_token_is_sent(void **state)
{
	struct fixture f;
	struct answer a = {0};
	struct fl_err err = {0};
	setup_with(&f, false, NULL);
	struct fl_http_client *c = NULL;
	struct fl_http_client_opts o = {.bearer_token = "abc.def", .user_agent = "tester/1"};
	assert_int_equal(fl_http_client_new(&f.loop, &o, &c, &err), 0);
	start_call(&f, c, "GET", "/keep", NULL, 0, false, &a);
	WAIT(&f, f.n_kept == 1);
	assert_string_equal(fl_http_header(f.kept[0], "authorization"), "Bearer abc.def");
	assert_string_equal(fl_http_header(f.kept[0], "user-agent"), "tester/1");
	assert_null(fl_http_header(f.kept[0], "expect"));
	fl_http_respond(f.kept[0], 200, "text/plain", "", 0);
	WAIT(&f, a.done);
	answer_reset(&a);
	fl_http_client_free(&c);
	teardown(&f);
}

int main(void)
{
	make_pki();
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(plain_requests),
	    cmocka_unit_test(tls_requests),
	    cmocka_unit_test(calls_do_not_wait_for_watches),
	    cmocka_unit_test(says_why_no_response_came),
	    cmocka_unit_test(time_outs_end_a_call),
	    cmocka_unit_test(a_moving_stream_does_not_stall),
	    cmocka_unit_test(a_cut_stream_is_an_error),
	    cmocka_unit_test(callbacks_may_start_cancel_and_free),
	    cmocka_unit_test(a_cancelled_call_is_silent),
	    cmocka_unit_test(a_token_is_sent),
	};
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	free_pki();
	return rc;
}
