// SPDX-License-Identifier: Apache-2.0
// HTTP/2: the well-behaved over TLS with a real client, the evil frame by frame into a codec without a socket.
#include "http_fixture.h"

#include <nghttp2/nghttp2.h>

#include "io/http/conn.h"

// --- real client ---

static void hundred_streams_at_once(void **state)
{
	struct fixture f;
	setup_with(&f, true, NULL);
	struct fl_http_client *c = new_client(&f, NULL);
	AUTO_FREE struct answer *a = fl_calloc(100, sizeof(*a));
	for (int i = 0; i < 100; i++)
		start_call(&f, c, "GET", "/keep", NULL, 0, false, &a[i]);
	WAIT(&f, f.n_kept == 100);
	assert_int_equal(f.server->n_conns, 1); // one connection carries them all
	for (unsigned i = 100; i-- > 0;) {
		char text[16];
		int n = snprintf(text, sizeof(text), "n%u", i);
		fl_http_respond(f.kept[i], 200, "text/plain", text, (size_t)n);
	}
	for (int i = 0; i < 100; i++) {
		WAIT(&f, a[i].done);
		assert_int_equal(a[i].rc, 0);
		assert_int_equal(a[i].body.data[0], 'n');
		answer_reset(&a[i]);
	}
	WAIT(&f, f.n_closed == 100);
	assert_int_equal(f.n_gone, 0);
	fl_http_client_free(&c);
	teardown(&f);
}

static void streams_and_large_answers_share_a_connection(void **state)
{
	struct fixture f;
	setup_with(&f, true, NULL);
	struct fl_http_client *c = new_client(&f, NULL);
	struct answer watch = {0}, big = {0}, up = {0};
	AUTO_FREE char *body = fl_calloc(1, FL_MAX_BODY_BYTES + 1);
	memset(body, 'u', FL_MAX_BODY_BYTES + 1);
	start_call(&f, c, "GET", "/stream", NULL, 0, true, &watch);
	WAIT(&f, f.n_kept == 1);
	start_call(&f, c, "GET", "/size/20000000", NULL, 0, false, &big);
	start_call(&f, c, "POST", "/echo", body, FL_MAX_BODY_BYTES, false, &up);
	send_part(f.kept[0], "event 1\n");
	WAIT(&f, watch.body.len == 8);
	WAIT(&f, big.done && up.done);
	assert_int_equal(big.body.len, 20000000);
	assert_int_equal(up.status, 201);
	assert_int_equal(up.body.len, FL_MAX_BODY_BYTES);
	assert_memory_equal(up.body.data, body, FL_MAX_BODY_BYTES);
	send_part(f.kept[0], "event 2\n");
	WAIT(&f, watch.body.len == 16);
	assert_string_equal(watch.body.data, "event 1\nevent 2\n");
	assert_int_equal(fl_http_unsent(f.kept[0]), 0);
	fl_http_end(f.kept[0]);
	WAIT(&f, watch.done);
	assert_int_equal(watch.rc, 0);
	WAIT(&f, f.n_closed == 1);
	assert_int_equal(f.n_gone, 0);

	call(&f, c, "POST", "/echo", body, FL_MAX_BODY_BYTES + 1, &up);
	if (up.rc)
		fail_msg("%s", up.err.text);
	assert_int_equal(up.status, 413);
	assert_int_equal(f.server->n_conns, 1);
	answer_reset(&watch);
	answer_reset(&big);
	answer_reset(&up);
	fl_http_client_free(&c);
	teardown(&f);
}

static void aborted_and_abandoned_streams(void **state)
{
	struct fixture f;
	setup_with(&f, true, NULL);
	struct fl_http_client *c = new_client(&f, NULL);
	struct answer a = {0}, b = {0};
	start_call(&f, c, "GET", "/stream", NULL, 0, true, &a);
	start_call(&f, c, "GET", "/stream", NULL, 0, true, &b);
	WAIT(&f, f.n_kept == 2);
	send_part(f.kept[0], "x");
	send_part(f.kept[1], "x");
	WAIT(&f, a.body.len && b.body.len);
	fl_http_call_cancel(&a.call);
	WAIT(&f, f.n_closed == 1);
	assert_int_equal(f.n_gone, 1);
	assert_false(a.done);
	struct fl_http_req *left = f.kept[0] ? f.kept[0] : f.kept[1];
	fl_http_abort(left);
	fl_http_write(left, &(struct fl_bytes){.refs = 1}); // does nothing any more
	WAIT(&f, b.done && f.n_closed == 2);
	assert_int_equal(b.rc, -ECONNRESET);
	assert_int_equal(f.n_gone, 1);
	call(&f, c, "GET", "/hello", NULL, 0, &a); // the connection lives
	assert_int_equal(a.rc, 0);
	assert_int_equal(f.server->n_conns, 1);

	start_call(&f, c, "GET", "/stream", NULL, 0, true, &a); // alone on its connection
	WAIT(&f, f.n_kept == 3);
	send_part(f.kept[2], "x");
	WAIT(&f, a.body.len);
	fl_http_call_cancel(&a.call);
	WAIT(&f, f.n_closed == 3);
	assert_int_equal(f.n_gone, 2);
	answer_reset(&a);
	answer_reset(&b);
	fl_http_client_free(&c);
	teardown(&f);
}

// Back-pressure through flow control: a paused reader's bytes wait in the server, and its neighbours go on.
static void a_paused_reader_holds_up_nobody(void **state)
{
	struct fixture f;
	setup_with(&f, true, NULL);
	struct fl_http_client *c = new_client(&f, NULL);
	struct answer slow = {0}, quick = {0};
	start_call(&f, c, "GET", "/stream", NULL, 0, true, &slow);
	WAIT(&f, f.n_kept == 1);
	fl_http_call_pause(slow.call, true);
	struct fl_bytes *b = fl_bytes_new(NULL, 1000000);
	memset(b->data, 'z', b->len);
	size_t written = 0;
	while (fl_http_unsent(f.kept[0]) < 4000000) {
		fl_http_write(f.kept[0], b);
		written += b->len;
		uv_run(&f.loop, UV_RUN_NOWAIT);
	}
	fl_bytes_put(&b);
	call(&f, c, "GET", "/hello", NULL, 0, &quick);
	assert_int_equal(quick.rc, 0);
	assert_int_equal(f.server->n_conns, 1);
	assert_int_equal(slow.body.len, 0);
	fl_http_end(f.kept[0]);
	fl_http_call_pause(slow.call, false);
	WAIT(&f, slow.done);
	assert_int_equal(slow.rc, 0);
	assert_int_equal(slow.body.len, written);
	answer_reset(&slow);
	answer_reset(&quick);
	fl_http_client_free(&c);
	teardown(&f);
}

// --- frames into a codec ---

struct wire {
	struct fixture f;
	struct fl_conn *c;
	struct fl_buf out; // what the server said
	struct fl_buf in;  // what the client is about to say
	nghttp2_hd_deflater *deflater;
};

static int wire_up(void **state)
{
	static struct wire w;
	memset(&w, 0, sizeof(w));
	setup_with(&w.f, false, NULL);
	w.c = fl_conn_new_detached(w.f.server, &fl_codec_h2, &w.out);
	nghttp2_hd_deflate_new(&w.deflater, 4096);
	fl_buf_puts(&w.in, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	*state = &w;
	return 0;
}

static int wire_down(void **state)
{
	struct wire *w = *state;
	fl_conn_free_detached(w->c);
	nghttp2_hd_deflate_del(w->deflater);
	fl_buf_deinit(&w->out);
	fl_buf_deinit(&w->in);
	teardown(&w->f);
	return 0;
}

static void put_frame(struct wire *w, uint8_t type, uint8_t flags, uint32_t stream, const void *p, size_t n)
{
	const uint8_t head[9] = {
	    (uint8_t)(n >> 16),      (uint8_t)(n >> 8),      (uint8_t)n,     type, flags, (uint8_t)(stream >> 24),
	    (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};
	fl_buf_append(&w->in, head, sizeof(head));
	fl_buf_append(&w->in, p, n);
}

static nghttp2_nv nv(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), 0};
}

static void put_request(struct wire *w, uint32_t stream, const char *method, const char *path, bool end)
{
	uint8_t block[1024];
	nghttp2_nv fields[] = {nv(":method", method), nv(":scheme", "https"), nv(":path", path), nv(":authority", "x")};
	ssize_t n = nghttp2_hd_deflate_hd(w->deflater, block, sizeof(block), fields, 4);
	assert_true(n > 0);
	put_frame(w, NGHTTP2_HEADERS, (uint8_t)(NGHTTP2_FLAG_END_HEADERS | (end ? NGHTTP2_FLAG_END_STREAM : 0)), stream,
		  block, (size_t)n);
}

static void say(struct wire *w)
{
	fl_conn_feed(w->c, w->in.data, w->in.len);
	fl_conn_run(w->c);
	w->in.len = 0;
}

// Counts the server's frames of a type; *ret_last (may be NULL) is the payload of the last one.
static unsigned frames(const struct wire *w, uint8_t type, const uint8_t **ret_last)
{
	unsigned n = 0;
	for (size_t at = 0; at + 9 <= w->out.len;) {
		const uint8_t *p = (const uint8_t *)w->out.data + at;
		size_t len = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
		if (p[3] == type) {
			n++;
			if (ret_last)
				*ret_last = p + 9;
		}
		at += 9 + len;
	}
	return n;
}

static uint32_t goaway_code(const struct wire *w)
{
	const uint8_t *p = NULL;
	assert_true(frames(w, NGHTTP2_GOAWAY, &p) > 0);
	return (uint32_t)p[4] << 24 | (uint32_t)p[5] << 16 | (uint32_t)p[6] << 8 | p[7];
}

static void frames_in_frames_out(void **state)
{
	struct wire *w = *state;
	put_frame(w, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
	put_request(w, 1, "GET", "/hello", true);
	put_request(w, 3, "POST", "/echo?a", false);
	put_frame(w, NGHTTP2_DATA, 0, 3, "bo", 2);
	put_frame(w, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 3, "dy", 2);
	AUTO(fl_buf_deinit) struct fl_buf copy = {0};
	fl_buf_append(&copy, w->in.data, w->in.len);
	for (size_t i = 0; i < copy.len; i++) { // byte by byte
		w->in.len = 0;
		fl_buf_append(&w->in, copy.data + i, 1);
		say(w);
	}
	assert_int_equal(w->f.n_handled, 2);
	assert_int_equal(frames(w, NGHTTP2_DATA, NULL), 2);
	assert_non_null(memmem(w->out.data, w->out.len, "hello\n", 6));
	assert_non_null(memmem(w->out.data, w->out.len, "body", 4));
	assert_int_equal(frames(w, NGHTTP2_RST_STREAM, NULL), 0);
	assert_int_equal(w->c->n_reqs, 0);
}

static void wrong_requests(void **state)
{
	struct wire *w = *state;
	char path[FL_MAX_URL_BYTES + 2];
	memset(path, 'a', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	uint8_t block[FL_MAX_URL_BYTES + 1024];
	nghttp2_nv fields[] = {nv(":method", "GET"), nv(":scheme", "https"), nv(":path", path), nv(":authority", "x")};
	ssize_t n = nghttp2_hd_deflate_hd(w->deflater, block, sizeof(block), fields, 4);
	put_frame(w, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
	put_frame(w, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 1, block, (size_t)n);
	say(w);
	assert_non_null(memmem(w->out.data, w->out.len, "414 Request", 11));
	nghttp2_nv connect[] = {nv(":method", "CONNECT"), nv(":authority", "x:1")};
	n = nghttp2_hd_deflate_hd(w->deflater, block, sizeof(block), connect, 2);
	put_frame(w, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 3, block, (size_t)n);
	say(w);
	assert_non_null(memmem(w->out.data, w->out.len, "405 Method", 10));
	put_request(w, 5, "GET", "/hello", true); // an upper case name is malformed: the stream is reset
	nghttp2_nv upper[] = {nv(":method", "GET"), nv(":scheme", "https"), nv(":path", "/hello"),
			      nv(":authority", "x"), nv("Bad Name", "y")};
	n = nghttp2_hd_deflate_hd(w->deflater, block, sizeof(block), upper, 5);
	put_frame(w, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 7, block, (size_t)n);
	say(w);
	assert_int_equal(w->f.n_handled, 1);
	assert_true(frames(w, NGHTTP2_RST_STREAM, NULL) >= 1);
	assert_int_equal(w->c->state, FL_CONN_OPEN);
}

static void too_many_header_bytes(void **state)
{
	struct wire *w = *state;
	char value[2500];
	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	// One large value in the dynamic table, then many references to it: small on the wire (an HPACK bomb).
	nghttp2_nv fields[40] = {nv(":method", "GET"), nv(":scheme", "https"), nv(":path", "/hello"),
				 nv(":authority", "x")};
	for (int i = 4; i < 40; i++)
		fields[i] = nv("x-bomb", value);
	uint8_t block[16000];
	ssize_t n = nghttp2_hd_deflate_hd(w->deflater, block, sizeof(block), fields, 40);
	assert_true(n > 0 && n < 8000);
	put_frame(w, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
	put_frame(w, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 1, block, (size_t)n);
	say(w);
	assert_int_equal(w->f.n_handled, 0);
	assert_true(memmem(w->out.data, w->out.len, "431 Request", 11) || frames(w, NGHTTP2_RST_STREAM, NULL) ||
		    frames(w, NGHTTP2_GOAWAY, NULL));
	assert_true(w->f.server->held <= FL_MAX_HEADER_BYTES);
}

// CVE-2023-44487: requests taken back at once cost no handler, and end the connection when they do not stop.
static void rapid_reset(void **state)
{
	struct wire *w = *state;
	put_frame(w, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
	uint32_t id = 1;
	for (int round = 0; round < 30 && w->c->state == FL_CONN_OPEN; round++) {
		for (int i = 0; i < 100; i++, id += 2) {
			put_request(w, id, "GET", "/keep", true);
			put_frame(w, NGHTTP2_RST_STREAM, 0, id, "\0\0\0\x08", 4);
		}
		say(w);
		assert_int_equal(w->f.n_handled, 0);
	}
	assert_int_not_equal(w->c->state, FL_CONN_OPEN);
	assert_true(frames(w, NGHTTP2_GOAWAY, NULL) > 0);
}

// CVE-2025-8671: the client makes the server reset the streams, by a window update of nothing.
static void made_you_reset(void **state)
{
	struct wire *w = *state;
	put_frame(w, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
	uint32_t id = 1;
	for (int round = 0; round < 30 && w->c->state == FL_CONN_OPEN; round++) {
		for (int i = 0; i < 100; i++, id += 2) {
			put_request(w, id, "GET", "/keep", true);
			put_frame(w, NGHTTP2_WINDOW_UPDATE, 0, id, "\x7f\xff\xff\xff", 4);
			put_frame(w, NGHTTP2_WINDOW_UPDATE, 0, id, "\x7f\xff\xff\xff", 4);
		}
		say(w);
	}
	assert_int_not_equal(w->c->state, FL_CONN_OPEN);
	assert_true(frames(w, NGHTTP2_GOAWAY, NULL) > 0);
	assert_int_equal(w->f.n_handled, 0);
}

static void flood(struct wire *w, uint8_t type, uint8_t flags, uint32_t stream, const void *p, size_t n)
{
	put_frame(w, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
	if (stream)
		put_request(w, stream, "POST", "/echo", false);
	for (int round = 0; round < 100 && w->c->state == FL_CONN_OPEN; round++) {
		for (int i = 0; i < 100; i++)
			put_frame(w, type, flags, stream, p, n);
		say(w);
	}
	assert_int_not_equal(w->c->state, FL_CONN_OPEN);
	assert_int_equal(goaway_code(w), NGHTTP2_ENHANCE_YOUR_CALM);
}

static void ping_flood(void **state)
{
	flood(*state, NGHTTP2_PING, 0, 0, "12345678", 8);
}

static void settings_flood(void **state)
{
	flood(*state, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
}

static void empty_data_flood(void **state)
{
	flood(*state, NGHTTP2_DATA, 0, 1, NULL, 0);
}

static void continuation_flood(void **state)
{
	struct wire *w = *state;
	put_frame(w, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
	put_frame(w, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, 1, "\x82", 1);
	for (int i = 0; i < 10000; i++)
		put_frame(w, NGHTTP2_CONTINUATION, 0, 1, NULL, 0);
	say(w);
	assert_int_not_equal(w->c->state, FL_CONN_OPEN);
	assert_int_equal(w->f.n_handled, 0);
}

static void a_bad_preface_ends_it(void **state)
{
	struct wire *w = *state;
	w->in.len = 0;
	fl_buf_puts(&w->in, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	say(w);
	assert_int_not_equal(w->c->state, FL_CONN_OPEN);
}

static void a_body_beyond_the_window_is_an_error(void **state)
{
	struct wire *w = *state;
	static char chunk[16384];
	put_frame(w, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
	put_request(w, 1, "POST", "/echo", false);
	for (int i = 0; i < 65; i++) // all in one breath: no window update can have been seen
		put_frame(w, NGHTTP2_DATA, 0, 1, chunk, sizeof(chunk));
	say(w);
	assert_true(w->f.n_handled == 0);
	assert_true(w->f.server->held < 2 * 1024 * 1024);
}

static void the_bytes_of_all_requests_are_bounded(void **state)
{
	struct wire *w = *state;
	static char chunk[16384];
	w->f.server->opts.limits.max_held_bytes = 100000;
	put_frame(w, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
	for (uint32_t i = 0; i < 20; i++) {
		put_request(w, 2 * i + 1, "POST", "/echo", false);
		put_frame(w, NGHTTP2_DATA, 0, 2 * i + 1, chunk, sizeof(chunk));
	}
	say(w);
	assert_non_null(memmem(w->out.data, w->out.len, "503 Service", 11));
	assert_true(w->f.server->held < 100000 + 2 * sizeof(chunk));
	assert_int_equal(w->c->state, FL_CONN_OPEN);
}

int main(void)
{
	make_pki();
#define T(name) cmocka_unit_test_setup_teardown(name, wire_up, wire_down)
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hundred_streams_at_once),
	    cmocka_unit_test(streams_and_large_answers_share_a_connection),
	    cmocka_unit_test(aborted_and_abandoned_streams),
	    cmocka_unit_test(a_paused_reader_holds_up_nobody),
	    T(frames_in_frames_out),
	    T(wrong_requests),
	    T(too_many_header_bytes),
	    T(rapid_reset),
	    T(made_you_reset),
	    T(ping_flood),
	    T(settings_flood),
	    T(empty_data_flood),
	    T(continuation_flood),
	    T(a_bad_preface_ends_it),
	    T(a_body_beyond_the_window_is_an_error),
	    T(the_bytes_of_all_requests_are_bounded),
	};
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	free_pki();
	return rc;
}
