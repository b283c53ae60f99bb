// SPDX-License-Identifier: Apache-2.0
// The client's HTTP/2, frame by frame against a connection without a socket, and its flow control against our server.
#include "http_fixture.h"

#include <nghttp2/nghttp2.h>
#include <openssl/err.h>

#include "io/http/client.h"
#include "io/http/conn.h"

struct wire {
	struct fixture f;
	struct fl_http_client *c;
	struct fl_link *l;
	struct fl_buf out; // what the client has sent and the test has not looked at
};

static void put_frame(struct fl_buf *b, uint8_t type, uint8_t flags, uint32_t stream, const void *p, size_t n)
{
	const uint8_t head[9] = {
	    (uint8_t)(n >> 16),      (uint8_t)(n >> 8),      (uint8_t)n,     type, flags, (uint8_t)(stream >> 24),
	    (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};
	fl_buf_append(b, head, 9);
	if (n)
		fl_buf_append(b, p, n);
}

static void feed(struct wire *w, uint8_t type, uint8_t flags, uint32_t stream, const void *p, size_t n)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	put_frame(&b, type, flags, stream, p, n);
	fl_link_feed(w->l, b.data, b.len);
}

#define STATUS_200 "\x88" // indexed (RFC 7541, appendix A)
#define STATUS_204 "\x89"
#define END_BOTH   (NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM)

static void feed_head(struct wire *w, uint32_t stream, bool end)
{
	feed(w, NGHTTP2_HEADERS, end ? END_BOTH : NGHTTP2_FLAG_END_HEADERS, stream, STATUS_200, 1);
}

static void feed_data(struct wire *w, uint32_t stream, const char *text, bool end)
{
	feed(w, NGHTTP2_DATA, end ? NGHTTP2_FLAG_END_STREAM : 0, stream, text, strlen(text));
}

// Frames of that type in what was sent; the error code of the last one (RST_STREAM) in *ret_code.
static unsigned sent(const struct wire *w, uint8_t type, uint32_t *ret_code)
{
	const uint8_t *p = (const uint8_t *)w->out.data, *end = p + w->out.len;
	unsigned n = 0;
	while (p < end) {
		size_t len = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
		assert_true(p + 9 + len <= end);
		if (p[3] == type) {
			n++;
			if (ret_code && len >= 4)
				*ret_code = (uint32_t)p[9] << 24 | (uint32_t)p[10] << 16 | (uint32_t)p[11] << 8 | p[12];
		}
		p += 9 + len;
	}
	return n;
}

static void wire_open(struct wire *w, uint32_t max_streams)
{
	memset(w, 0, sizeof(*w));
	setup_with(&w->f, false, NULL);
	w->c = new_client(&w->f, NULL);
	w->l = fl_link_new_detached(w->c, w->f.url, true, &w->out);
	assert_non_null(w->l);
	assert_true(w->out.len > 24 && memcmp(w->out.data, NGHTTP2_CLIENT_MAGIC, 24) == 0);
	const uint8_t max[6] = {0, 3, 0, 0, (uint8_t)(max_streams >> 8), (uint8_t)max_streams};
	feed(w, NGHTTP2_SETTINGS, 0, 0, max, sizeof(max));
	w->out.len = 0;
}

static void wire_close(struct wire *w)
{
	fl_http_client_free(&w->c);
	fl_buf_deinit(&w->out);
	teardown(&w->f);
}

static void ask(struct wire *w, const char *method, const char *body, bool stream, struct answer *a)
{
	struct fl_err err = {0};
	struct fl_http_call_opts o = {.method = method,
				      .url = w->f.url,
				      .body = body,
				      .body_len = strlen(body),
				      .h2c = true,
				      .on_data = stream ? answer_data : NULL,
				      .on_done = answer_done,
				      .arg = a};
	answer_reset(a);
	assert_int_equal(fl_http_client_call(w->c, &o, &a->call, &err), 0);
}

static void turn(struct wire *w)
{
	for (int i = 0; i < 3; i++)
		uv_run(&w->f.loop, UV_RUN_NOWAIT);
}

static void no_more_streams_than_allowed(void **state)
{
	struct wire w;
	struct answer a[5] = {0};
	wire_open(&w, 2);
	for (int i = 0; i < 5; i++)
		ask(&w, "POST", "x", false, &a[i]);
	assert_int_equal(w.out.len, 0); // nothing leaves before the turn's end
	turn(&w);
	assert_int_equal(sent(&w, NGHTTP2_HEADERS, NULL), 2);
	w.out.len = 0;
	feed_head(&w, 1, true);
	assert_true(a[0].done);
	assert_int_equal(sent(&w, NGHTTP2_HEADERS, NULL), 1); // at the end of the read
	feed_head(&w, 3, true);
	feed_head(&w, 5, true);
	feed_head(&w, 7, true);
	feed_head(&w, 9, true);
	for (int i = 0; i < 5; i++) {
		assert_true(a[i].done);
		assert_int_equal(a[i].status, 200);
		answer_reset(&a[i]);
	}
	wire_close(&w);
}

static void a_cancelled_call_is_reset(void **state)
{
	struct wire w;
	struct answer a = {0}, b = {0}, c = {0};
	uint32_t code = 0;
	wire_open(&w, 100);
	ask(&w, "GET", "", true, &a);
	ask(&w, "GET", "", true, &b);
	turn(&w);
	w.out.len = 0;
	feed_head(&w, 1, false);
	feed_data(&w, 1, "one", false);
	fl_http_call_cancel(&a.call);
	ask(&w, "GET", "", false, &c);
	fl_http_call_cancel(&c.call); // before it has left: nothing of it does
	turn(&w);
	assert_int_equal(sent(&w, NGHTTP2_RST_STREAM, &code), 1);
	assert_int_equal(code, NGHTTP2_CANCEL);
	assert_int_equal(sent(&w, NGHTTP2_HEADERS, NULL), 0);
	feed_data(&w, 1, "late", true);
	assert_false(a.done);
	feed_head(&w, 3, false);
	feed_data(&w, 3, "two", true);
	assert_true(b.done);
	assert_string_equal(b.body.data, "two");
	answer_reset(&a);
	answer_reset(&b);
	wire_close(&w);
}

// The server says that it has looked at the first stream alone.
static void calls_beyond_goaway_go_elsewhere(void **state)
{
	struct wire w;
	struct answer a = {0}, b = {0};
	wire_open(&w, 100);
	ask(&w, "GET", "", false, &a);
	ask(&w, "POST", "body", false, &b);
	turn(&w);
	const uint8_t goaway[8] = {0, 0, 0, 1, 0, 0, 0, 0};
	feed(&w, NGHTTP2_GOAWAY, 0, 0, goaway, sizeof(goaway));
	assert_false(a.done);
	feed_head(&w, 1, true); // and with it the link is over
	assert_true(a.done);
	assert_int_equal(a.rc, 0);
	WAIT(&w.f, b.done); // by the server of the fixture, which speaks no h2c
	assert_true(b.rc == -EPROTO || b.rc == -ECONNRESET);
	assert_int_equal(b.status, 0);
	answer_reset(&a);
	answer_reset(&b);
	wire_close(&w);
}

static void refused_streams_are_asked_again(void **state)
{
	struct wire w;
	struct answer a = {0};
	wire_open(&w, 100);
	ask(&w, "POST", "body", false, &a);
	turn(&w);
	const uint8_t refused[4] = {0, 0, 0, NGHTTP2_REFUSED_STREAM}, internal[4] = {0, 0, 0, NGHTTP2_INTERNAL_ERROR};
	w.out.len = 0;
	feed(&w, NGHTTP2_RST_STREAM, 0, 1, refused, 4);
	assert_false(a.done);
	assert_int_equal(sent(&w, NGHTTP2_HEADERS, NULL), 1);
	assert_int_equal(sent(&w, NGHTTP2_DATA, NULL), 1);
	feed_head(&w, 3, true);
	assert_true(a.done);
	assert_int_equal(a.rc, 0);

	ask(&w, "POST", "body", false, &a); // not without end
	turn(&w);
	for (uint32_t id = 5; id <= 9; id += 2)
		feed(&w, NGHTTP2_RST_STREAM, 0, id, refused, 4);
	assert_true(a.done);
	assert_int_equal(a.rc, -ECONNRESET);

	ask(&w, "GET", "", false, &a); // this one was looked at
	turn(&w);
	feed(&w, NGHTTP2_RST_STREAM, 0, 11, internal, 4);
	assert_true(a.done);
	assert_int_equal(a.rc, -ECONNRESET);
	assert_non_null(strstr(a.err.text, "INTERNAL_ERROR"));
	answer_reset(&a);
	wire_close(&w);
}

static void interim_answers_and_trailers(void **state)
{
	struct wire w;
	struct answer a = {0};
	wire_open(&w, 100);
	ask(&w, "GET", "", false, &a);
	turn(&w);
	static const char early[] = "\x08\x03"
				    "103\x00\x01x\x02no";
	static const char trailer[] = "\x00\x01x\x04late";
	feed(&w, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, early, sizeof(early) - 1);
	feed_head(&w, 1, false);
	feed_data(&w, 1, "body", false);
	feed(&w, NGHTTP2_HEADERS, END_BOTH, 1, trailer, sizeof(trailer) - 1);
	assert_true(a.done);
	assert_int_equal(a.rc, 0);
	assert_int_equal(a.status, 200);
	assert_string_equal(a.body.data, "body");
	assert_string_equal(a.x, "late");
	answer_reset(&a);
	wire_close(&w);
}

static void nonsense_ends_a_stream_or_the_connection(void **state)
{
	struct wire w;
	struct answer a = {0}, b = {0};
	wire_open(&w, 100);
	ask(&w, "GET", "", false, &a);
	ask(&w, "GET", "", false, &b);
	turn(&w);
	static const char five[] = STATUS_200 "\x0f\x0d\x01"
					      "5"; // content-length
	feed(&w, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, five, sizeof(five) - 1);
	feed_data(&w, 1, "abc", true);
	WAIT(&w.f, a.done);
	assert_int_equal(a.rc, -EPROTO);
	assert_int_equal(a.status, 200);
	assert_false(b.done);
	feed_data(&w, 3, "before the header", false);
	WAIT(&w.f, b.done);
	assert_int_equal(b.rc, -EPROTO);
	answer_reset(&a);
	answer_reset(&b);
	wire_close(&w);
}

// Calls that wait for room on a connection go on when it comes, there or elsewhere.
static void calls_in_line_go_on(void **state)
{
	struct wire w;
	struct answer a = {0}, b = {0}, c = {0};
	wire_open(&w, 1);
	ask(&w, "GET", "", false, &a);
	ask(&w, "GET", "", false, &b);
	ask(&w, "GET", "", false, &c);
	turn(&w);
	assert_int_equal(sent(&w, NGHTTP2_HEADERS, NULL), 1);
	w.out.len = 0;
	const uint8_t two[6] = {0, 3, 0, 0, 0, 2}, goaway[8] = {0, 0, 0, 3, 0, 0, 0, 0};
	feed(&w, NGHTTP2_SETTINGS, 0, 0, two, sizeof(two));
	assert_int_equal(sent(&w, NGHTTP2_HEADERS, NULL), 1);

	c.call->connect_by_ms = uv_now(&w.f.loop); // it waited for longer than connecting may take
	feed(&w, NGHTTP2_GOAWAY, 0, 0, goaway, sizeof(goaway));
	fl_client_arm(w.c, uv_now(&w.f.loop));
	WAIT(&w.f, c.done); // by the server of the fixture, which speaks no h2c
	assert_true(c.rc == -EPROTO || c.rc == -ECONNRESET);
	assert_false(a.done);
	assert_false(b.done);
	feed_head(&w, 1, true);
	feed_head(&w, 3, true);
	assert_true(a.done && b.done);
	answer_reset(&a);
	answer_reset(&b);
	answer_reset(&c);
	wire_close(&w);
}

static void an_answer_that_began_is_not_asked_again(void **state)
{
	struct wire w;
	struct answer a = {0};
	wire_open(&w, 100);
	ask(&w, "GET", "", true, &a);
	turn(&w);
	feed_head(&w, 1, false);
	feed_data(&w, 1, "one", false);
	w.out.len = 0;
	const uint8_t refused[4] = {0, 0, 0, NGHTTP2_REFUSED_STREAM};
	feed(&w, NGHTTP2_RST_STREAM, 0, 1, refused, 4);
	assert_int_equal(sent(&w, NGHTTP2_HEADERS, NULL), 0);
	assert_true(a.done);
	assert_int_equal(a.rc, -ECONNRESET);
	assert_string_equal(a.body.data, "one");
	answer_reset(&a);
	wire_close(&w);
}

// A call that times out on a connection without a sign of life leaves it to those that are on it.
static void a_silent_connection_gets_no_more_calls(void **state)
{
	struct wire w;
	struct answer a = {0}, b = {0}, c = {0};
	wire_open(&w, 100);
	ask(&w, "GET", "", true, &a);
	ask(&w, "GET", "", true, &b);
	turn(&w);
	uint64_t now = uv_now(&w.f.loop);
	b.call->deadline_ms = now;
	fl_client_arm(w.c, now);
	WAIT(&w.f, b.done);
	assert_int_equal(b.rc, -ETIMEDOUT);
	assert_false(w.l->draining); // the server spoke not long ago

	ask(&w, "GET", "", true, &b);
	turn(&w);
	now = uv_now(&w.f.loop);
	assert_ptr_equal(b.call->link, w.l);
	w.l->heard_ms = b.call->moved_ms = now - 15000;
	b.call->deadline_ms = now;
	fl_client_arm(w.c, now);
	WAIT(&w.f, b.done);
	assert_int_equal(b.rc, -ETIMEDOUT);
	ask(&w, "GET", "", false, &c);
	WAIT(&w.f, c.done);
	assert_true(c.rc == -EPROTO || c.rc == -ECONNRESET); // from another server
	assert_false(a.done);
	fl_http_call_cancel(&a.call);
	answer_reset(&a);
	answer_reset(&b);
	answer_reset(&c);
	wire_close(&w);
}

// --- over TLS, against our server ---

static void leave_error(void *arg, int status, const char *data, size_t len)
{
	ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH);
	answer_data(arg, status, data, len);
}

// What other code leaves in OpenSSL's queue of errors is no error of a connection.
static void errors_of_others_do_no_harm(void **state)
{
	struct fixture f;
	struct answer a = {0};
	struct fl_err err = {0};
	char url[96];
	setup_with(&f, true, NULL);
	struct fl_http_client *c = new_client(&f, NULL);
	call(&f, c, "GET", "/hello", NULL, 0, &a);
	assert_int_equal(a.rc, 0);
	answer_reset(&a);
	snprintf(url, sizeof(url), "%s/stream", f.url);
	struct fl_http_call_opts o = {
	    .method = "GET", .url = url, .on_data = leave_error, .on_done = answer_done, .arg = &a};
	assert_int_equal(fl_http_client_call(c, &o, &a.call, &err), 0);
	ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH); // the server reads first
	WAIT(&f, f.n_kept == 1);
	for (unsigned i = 0; i < 3; i++) {
		unsigned had = a.n_data;
		send_part(f.kept[0], "part");
		WAIT(&f, a.n_data > had || a.done);
		assert_false(a.done);
	}
	fl_http_end(f.kept[0]);
	WAIT(&f, a.done);
	assert_int_equal(a.rc, 0);
	ERR_clear_error();
	answer_reset(&a);
	fl_http_client_free(&c);
	teardown(&f);
}

static void count_records(int write, int version, int type, const void *buf, size_t n, SSL *ssl, void *arg)
{
	if (write && type == SSL3_RT_HEADER)
		++*(unsigned *)arg;
}

// Ten requests with bodies, made in one turn, leave in one TLS record and come to the server in one read.
static void calls_of_a_turn_leave_together(void **state)
{
	struct fixture f;
	struct answer a = {0}, many[10] = {0};
	unsigned records = 0;
	setup_with(&f, true, NULL);
	struct fl_http_client *c = new_client(&f, NULL);
	call(&f, c, "GET", "/hello", NULL, 0, &a);
	assert_int_equal(a.rc, 0);
	SSL *ssl = TAILQ_FIRST(&TAILQ_FIRST(&c->origins)->links)->pipe.ssl;
	SSL_set_msg_callback(ssl, count_records);
	SSL_set_msg_callback_arg(ssl, &records);
	for (size_t i = 0; i < FL_COUNT(many); i++)
		start_call(&f, c, "POST", "/keep", "some body", 9, false, &many[i]);
	assert_int_equal(records, 0);
	WAIT(&f, f.n_kept);
	assert_int_equal(f.n_kept, 10);
	assert_int_equal(records, 1);
	for (unsigned i = 0; i < 10; i++)
		fl_http_respond(f.kept[i], 200, "text/plain", "", 0);
	for (size_t i = 0; i < FL_COUNT(many); i++) {
		WAIT(&f, many[i].done);
		answer_reset(&many[i]);
	}
	answer_reset(&a);
	fl_http_client_free(&c);
	teardown(&f);
}

static void a_paused_stream_holds_up_no_other(void **state)
{
	struct fixture f;
	struct answer slow = {0}, big = {0};
	setup_with(&f, true, NULL);
	struct fl_http_client *c = new_client(&f, NULL);
	start_call(&f, c, "GET", "/stream", NULL, 0, true, &slow);
	WAIT(&f, f.n_kept == 1);
	fl_http_call_pause(slow.call, true);
	struct fl_bytes *b = fl_bytes_new(NULL, 3 * 1024 * 1024); // more than the stream's window
	memset(b->data, 's', b->len);
	fl_http_write(f.kept[0], b);
	fl_bytes_put(&b);
	fl_http_end(f.kept[0]);
	for (int i = 0; i < 3; i++) {
		call(&f, c, "GET", "/size/20000000", NULL, 0, &big);
		assert_int_equal(big.rc, 0);
		assert_int_equal(big.body.len, 20000000);
	}
	assert_int_equal(f.server->n_conns, 1);
	assert_int_equal(slow.n_data, 0);
	assert_true(slow.call->held.len <= 2 * 1024 * 1024);
	assert_true(fl_http_unsent(f.kept[0]) >= 1024 * 1024);
	fl_http_call_pause(slow.call, false);
	WAIT(&f, slow.done);
	assert_int_equal(slow.rc, 0);
	assert_int_equal(slow.body.len, 3 * 1024 * 1024);

	// Paused until after its end: nothing is lost, and the end comes last.
	start_call(&f, c, "GET", "/size/1000", NULL, 0, true, &slow);
	fl_http_call_pause(slow.call, true);
	call(&f, c, "GET", "/hello", NULL, 0, &big);
	WAIT(&f, slow.call->complete);
	assert_false(slow.done);
	fl_http_call_pause(slow.call, false);
	WAIT(&f, slow.done);
	assert_int_equal(slow.body.len, 1000);
	answer_reset(&slow);
	answer_reset(&big);
	fl_http_client_free(&c);
	teardown(&f);
}

int main(void)
{
	make_pki();
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_more_streams_than_allowed),
	    cmocka_unit_test(a_cancelled_call_is_reset),
	    cmocka_unit_test(calls_beyond_goaway_go_elsewhere),
	    cmocka_unit_test(refused_streams_are_asked_again),
	    cmocka_unit_test(interim_answers_and_trailers),
	    cmocka_unit_test(nonsense_ends_a_stream_or_the_connection),
	    cmocka_unit_test(calls_in_line_go_on),
	    cmocka_unit_test(an_answer_that_began_is_not_asked_again),
	    cmocka_unit_test(a_silent_connection_gets_no_more_calls),
	    cmocka_unit_test(errors_of_others_do_no_harm),
	    cmocka_unit_test(calls_of_a_turn_leave_together),
	    cmocka_unit_test(a_paused_stream_holds_up_no_other),
	};
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	free_pki();
	return rc;
}
