// SPDX-License-Identifier: Apache-2.0
// HTTP/1.x byte by byte over plain sockets: keep-alive, pipelining, framing, and requests that are wrong or hostile.
#include "http_fixture.h"

#define GET_HELLO "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"

static struct fixture f;
static struct raw w;

static int up(void **state)
{
	setup_with(&f, false, NULL);
	memset(&w, 0, sizeof(w));
	raw_open(&f, &w);
	return 0;
}

static int down(void **state)
{
	raw_close(&f, &w);
	teardown(&f);
	return 0;
}

static void connection_is_kept(void **state)
{
	raw_send(&w, GET_HELLO);
	WAIT(&f, raw_count(&w, "hello\n") == 1);
	assert_true(raw_has(&w, "HTTP/1.1 200 OK\r\nDate: "));
	assert_true(raw_has(&w, "\r\nContent-Type: text/plain\r\n"));
	assert_true(raw_has(&w, "\r\nContent-Length: 6\r\n"));
	assert_false(raw_has(&w, "Connection: "));
	// A header value cannot bring in another header.
	assert_true(raw_has(&w, "\r\nX-Test: yes  X-Evil: no\r\n"));
	raw_send(&w, GET_HELLO);
	WAIT(&f, raw_count(&w, "hello\n") == 2);
	assert_false(w.eof);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	for (int i = 0; i < 200; i++)
		fl_buf_printf(&b, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n<%06d>", i);
	raw_send_n(&w, b.data, b.len);
	WAIT(&f, raw_has(&w, "<000199>"));
	const char *p = w.in.data;
	for (int i = 0; i < 200; i++) {
		char want[16];
		snprintf(want, sizeof(want), "<%06d>", i);
		p = strstr(p, want);
		assert_non_null(p);
	}
	assert_int_equal(f.n_handled, 200);
}

static void a_pipelining_client_waits_for_slow_answers(void **state)
{
	raw_send(&w, "GET /keep HTTP/1.1\r\nHost: x\r\n\r\n" GET_HELLO);
	WAIT(&f, f.n_kept == 1);
	for (int i = 0; i < 10; i++)
		uv_run(&f.loop, UV_RUN_NOWAIT);
	assert_int_equal(f.n_handled, 1);
	assert_int_equal(w.in.len, 0);
	fl_http_respond(f.kept[0], 200, "text/plain", "first\n", 6);
	WAIT(&f, raw_has(&w, "hello\n"));
	assert_true(strstr(w.in.data, "first\n") < strstr(w.in.data, "hello\n"));
	assert_int_equal(f.n_closed, 1);
	assert_int_equal(f.n_gone, 0);
}

static void bytes_may_come_one_by_one(void **state)
{
	const char text[] = "POST /echo?x=1 HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nX-Empty:\r\n"
			    "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nTrailer: t\r\n\r\n";
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		raw_send_n(&w, text + i, 1);
		uv_run(&f.loop, UV_RUN_NOWAIT);
	}
	WAIT(&f, raw_has(&w, "abcdefg"));
	assert_true(raw_has(&w, "HTTP/1.1 201 Created\r\n"));
	assert_true(raw_has(&w, "Content-Type: a/b\r\n"));
	assert_true(raw_has(&w, "X-Query: x=1\r\n"));
}

static void continue_is_sent_when_asked_for(void **state)
{
	raw_send(&w, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
	WAIT(&f, raw_has(&w, "HTTP/1.1 100 Continue\r\n\r\n"));
	raw_send(&w, "body");
	WAIT(&f, raw_has(&w, "\r\n\r\nbody"));
	raw_send(&w, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: miracles\r\n\r\n");
	WAIT(&f, raw_has(&w, "HTTP/1.1 417 "));
	WAIT(&f, w.eof);
}

static void head_has_no_body(void **state)
{
	raw_send(&w, "HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n" GET_HELLO);
	WAIT(&f, raw_has(&w, "hello\n"));
	assert_int_equal(raw_count(&w, "Content-Length: 6\r\n"), 2);
	assert_int_equal(raw_count(&w, "hello\n"), 1);
}

static void old_clients_are_served(void **state)
{
	raw_send(&w, "GET /hello HTTP/1.0\r\n\r\n");
	WAIT(&f, w.eof);
	assert_true(raw_has(&w, "Connection: close\r\n"));
	assert_true(raw_has(&w, "hello\n"));
	raw_close(&f, &w);
	raw_open(&f, &w);
	raw_send(&w, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	WAIT(&f, raw_has(&w, "hello\n"));
	assert_true(raw_has(&w, "Connection: keep-alive\r\n"));
	raw_send(&w, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	WAIT(&f, f.n_kept == 1);
	send_part(f.kept[0], "part");
	fl_http_end(f.kept[0]);
	WAIT(&f, w.eof);
	assert_false(raw_has(&w, "chunked"));
	assert_memory_equal(w.in.data + w.in.len - 8, "\r\n\r\npart", 8);
}

static void close_is_honoured(void **state)
{
	raw_send(&w, "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" GET_HELLO);
	WAIT(&f, w.eof);
	assert_true(raw_has(&w, "Connection: close\r\n"));
	assert_int_equal(f.n_handled, 1);
}

static void repeated_headers_are_joined(void **state)
{
	raw_send(&w, "GET /all HTTP/1.1\r\nHost: x\r\nX-MANY: a \t\r\nx-many: b\r\nOther: c\r\nX-Many:   d\r\n\r\n");
	WAIT(&f, raw_has(&w, "\r\n\r\na, b, d"));
}

static void absolute_targets_are_accepted(void **state)
{
	raw_send(&w, "GET http://example.com/hello HTTP/1.1\r\nHost: x\r\n\r\n");
	WAIT(&f, raw_has(&w, "hello\n"));
	raw_send(&w, "POST http://example.com/echo?q=http://y HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
	WAIT(&f, raw_has(&w, "X-Query: q=http://y\r\n"));
	raw_send(&w, "GET http://example.com HTTP/1.1\r\nHost: x\r\n\r\n");
	WAIT(&f, raw_has(&w, "HTTP/1.1 404 "));
}

// What must be refused, each on a connection of its own.
static void wrong_requests_are_refused(void **state)
{
	static const struct {
		const char *text, *status;
	} cases[] = {
	    {"GARBAGE\r\n\r\n", "400"},
	    {"GET /hello HTTP/1.1\r\n\r\n", "400"},                       // no Host
	    {"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"}, // two
	    {"GET /hello HTTP/1.1\nHost: a\n\n\n", "400"},                // bare LF
	    {"GET hello HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	    {"GET /hello HTTP/3.7\r\nHost: a\r\n\r\n", "505"},
	    {"GET /hello HTTP/1.1\r\nHost : a\r\n\r\n", "400"}, // space before the colon
	    {"GET /hello HTTP/1.1\r\nHost: a\r\n folded\r\nX: \001\r\n\r\n", "400"},
	    {"GET /hello HTTP/1.1\r\nHost: a\r\nX: b\r\n folded\r\n\r\n", "400"},
	    {"GET /hello HTTP/1.1\r\nHost: a\r\nX:\r\n\tfolded\r\n\r\n", "400"},
	    {"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", "405"},
	    {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "400"},
	    {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "400"},
	    {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	     "400"},
	    {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, gzip\r\n\r\nabc", "400"},
	    {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400"},
	    {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", "400"},
	    {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3145729\r\n\r\n", "413"},
	    {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\nExpect: 100-continue\r\n\r\n",
	     "413"},
	    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"},
	};
	raw_close(&f, &w);
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		char line[32];
		raw_open(&f, &w);
		raw_send(&w, cases[i].text);
		WAIT(&f, w.eof);
		snprintf(line, sizeof(line), "HTTP/1.1 %s ", cases[i].status);
		if (!w.in.data || strncmp(w.in.data, line, strlen(line)) != 0)
			fail_msg("%s\nwas answered with\n%s", cases[i].text, w.in.data ? w.in.data : "nothing");
		assert_true(raw_has(&w, "Connection: close\r\n"));
		assert_int_equal(w.error, 0);
		raw_close(&f, &w);
	}
	assert_int_equal(f.n_handled, 0);
}

// A field that goes on in the next line, however the octets come; one that only comes in pieces is none.
static void folded_fields_are_refused_in_pieces(void **state)
{
	static const char *const folded[] = {"GET /hello HTTP/1.1\r\nHost: a\r\nX: bcd\r\n efg\r\n\r\n",
					     "GET /hello HTTP/1.1\r\nHost: a\r\nX:\r\n\tefg\r\n\r\n"};
	static const char straight[] = "GET /all HTTP/1.1\r\nHost: a\r\nX-Many: bcd  efg\r\n\r\n";
	raw_close(&f, &w);
	for (size_t cut = 1; cut < 2 * strlen(folded[0]); cut++) {
		const char *text = folded[cut % 2];
		size_t first = cut / 2 < strlen(text) ? cut / 2 : strlen(text);
		raw_open(&f, &w);
		raw_send_n(&w, text, first);
		for (int i = 0; i < 3; i++) // the server reads it
			uv_run(&f.loop, UV_RUN_NOWAIT);
		raw_send_n(&w, text + first, strlen(text) - first);
		WAIT(&f, w.eof);
		assert_true(raw_has(&w, "HTTP/1.1 400 "));
		raw_close(&f, &w);
	}
	raw_open(&f, &w);
	for (size_t i = 0; i < sizeof(straight) - 1; i++) {
		raw_send_n(&w, straight + i, 1);
		uv_run(&f.loop, UV_RUN_NOWAIT);
	}
	WAIT(&f, raw_has(&w, "\r\n\r\nbcd  efg"));
}

static void too_large_parts_are_refused(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	AUTO_FREE char *big = fl_malloc(FL_MAX_BODY_BYTES + 1);
	memset(big, 'a', FL_MAX_BODY_BYTES + 1);

	fl_buf_printf(&b, "GET /%.*s HTTP/1.1\r\nHost: x\r\n\r\n", FL_MAX_URL_BYTES, big);
	raw_send_n(&w, b.data, b.len);
	WAIT(&f, w.eof);
	assert_true(raw_has(&w, "HTTP/1.1 414 "));
	raw_close(&f, &w);

	b.len = 0;
	fl_buf_printf(&b, "GET /hello HTTP/1.1\r\nHost: x\r\nX: %.*s\r\n\r\n", FL_MAX_HEADER_BYTES, big);
	raw_open(&f, &w);
	raw_send_n(&w, b.data, b.len);
	WAIT(&f, w.eof);
	assert_true(raw_has(&w, "HTTP/1.1 431 "));
	raw_close(&f, &w);

	b.len = 0;
	fl_buf_printf(&b, "GET /hello HTTP/1.1\r\nHost: x\r\n");
	for (int i = 0; i <= FL_MAX_HEADERS; i++)
		fl_buf_printf(&b, "A%d: b\r\n", i);
	fl_buf_puts(&b, "\r\n");
	raw_open(&f, &w);
	raw_send_n(&w, b.data, b.len);
	WAIT(&f, w.eof);
	assert_true(raw_has(&w, "HTTP/1.1 431 "));
	raw_close(&f, &w);

	b.len = 0; // no length announced: found while it comes
	fl_buf_printf(&b, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n",
		      FL_MAX_BODY_BYTES + 1);
	fl_buf_append(&b, big, FL_MAX_BODY_BYTES + 1);
	raw_open(&f, &w);
	raw_send_n(&w, b.data, b.len);
	WAIT(&f, w.eof);
	assert_true(raw_has(&w, "HTTP/1.1 413 "));
	assert_int_equal(f.n_handled, 0);
	raw_close(&f, &w);

	b.len = 0; // one byte less is taken
	fl_buf_printf(&b, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", FL_MAX_BODY_BYTES);
	fl_buf_append(&b, big, FL_MAX_BODY_BYTES);
	raw_open(&f, &w);
	raw_send_n(&w, b.data, b.len);
	WAIT(&f, w.in.len > FL_MAX_BODY_BYTES);
	assert_true(raw_has(&w, "HTTP/1.1 201 "));
}

static void streams_in_chunks(void **state)
{
	raw_send(&w, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	WAIT(&f, raw_has(&w, "\r\n\r\n")); // the head goes out at once
	assert_true(raw_has(&w, "Transfer-Encoding: chunked\r\n"));
	send_part(f.kept[0], "one\n");
	WAIT(&f, raw_has(&w, "\r\n\r\n4\r\none\n\r\n"));
	send_part(f.kept[0], "");
	send_part(f.kept[0], "second\n");
	send_part(f.kept[0], "third\n");
	WAIT(&f, raw_has(&w, "third\n"));
	assert_false(raw_has(&w, "0\r\n\r\n"));
	assert_int_equal(fl_http_unsent(f.kept[0]), 0);
	fl_http_end(f.kept[0]);
	WAIT(&f, f.n_closed == 1);
	assert_int_equal(f.n_gone, 0);
	WAIT(&f, raw_has(&w, "6\r\nthird\n\r\n0\r\n\r\n"));
	raw_send(&w, GET_HELLO);
	WAIT(&f, raw_has(&w, "hello\n"));
}

static void an_aborted_stream_is_unfinished(void **state)
{
	raw_send(&w, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	WAIT(&f, f.n_kept == 1);
	send_part(f.kept[0], "one\n");
	WAIT(&f, raw_has(&w, "one\n"));
	fl_http_abort(f.kept[0]);
	WAIT(&f, f.n_closed == 1);
	assert_int_equal(f.n_gone, 0); // it was not the client
	WAIT(&f, w.eof);
	assert_false(raw_has(&w, "\r\n0\r\n\r\n"));
}

static void a_client_that_leaves_is_noticed(void **state)
{
	raw_send(&w, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	WAIT(&f, f.n_kept == 1);
	struct fl_http_req *r = f.kept[0];
	raw_close(&f, &w);
	while (!f.n_closed) { // the first write into a closed socket is answered by a reset
		send_part(r, "x");
		uv_run(&f.loop, UV_RUN_NOWAIT);
	}
	assert_int_equal(f.n_gone, 1);
}

// Without on_close a request outlives its client until the handler answers.
static struct fl_http_req *orphan;

static void keep_without_on_close(struct fl_http_req *r, void *arg)
{
	orphan = r;
}

static void a_request_without_on_close_stays_valid(void **state)
{
	struct fl_http_server *s = NULL;
	struct fl_err err = {0};
	struct fl_ip ip;
	struct fixture g = f;
	struct fl_http_server_opts o = {.handler = keep_without_on_close, .server_name = "test"};
	assert_true(fl_ip_parse("127.0.0.1", &ip));
	assert_int_equal(fl_http_server_new(&f.loop, &o, &s, &err), 0);
	assert_int_equal(fl_http_server_listen(s, &ip, 0, &g.port, &err), 0);
	raw_close(&f, &w);
	uint16_t port = f.port;
	f.port = g.port;
	for (int i = 0; i < 2; i++) {
		raw_open(&f, &w);
		orphan = NULL;
		raw_send(&w, GET_HELLO);
		WAIT(&f, orphan != NULL);
		uv_tcp_close_reset(&w.tcp, raw_on_close);
		WAIT(&f, w.closed);
		for (int k = 0; k < 20; k++)
			uv_run(&f.loop, UV_RUN_NOWAIT);
		assert_string_equal(fl_http_path(orphan), "/hello");
		if (i == 0) {
			fl_http_respond(orphan, 200, "text/plain", "late", 4);
		} else { // told afterwards
			fl_http_on_close(orphan, on_kept_close, &f);
			WAIT(&f, f.n_gone == 1);
		}
	}
	f.port = port;
	struct fixture h = {0};
	fl_http_server_stop(s, 0, on_stopped, &h);
	WAIT(&f, h.stopped);
	fl_http_server_free(&s);
}

static void a_half_closed_client_is_answered(void **state)
{
	raw_send(&w, GET_HELLO GET_HELLO);
	raw_shut(&w);
	WAIT(&f, w.eof);
	assert_int_equal(raw_count(&w, "hello\n"), 2);
	assert_int_equal(w.error, 0);
	raw_close(&f, &w);

	raw_open(&f, &w);
	raw_send(&w, "GET /keep HTTP/1.1\r\nHost: x\r\n\r\n");
	raw_shut(&w);
	WAIT(&f, f.n_kept == 1);
	for (int i = 0; i < 10; i++)
		uv_run(&f.loop, UV_RUN_NOWAIT);
	fl_http_respond(f.kept[0], 200, "text/plain", "later\n", 6);
	WAIT(&f, w.eof);
	assert_true(raw_has(&w, "later\n"));
	raw_close(&f, &w);

	raw_open(&f, &w); // half a request, then nothing more
	raw_send(&w, "GET /hello HT");
	raw_shut(&w);
	WAIT(&f, w.eof);
	assert_int_equal(w.in.len, 0);
}

static void a_slow_reader_gets_everything(void **state)
{
	raw_close(&f, &w);
	w.paused = true;
	raw_open(&f, &w);
	raw_send(&w, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	WAIT(&f, f.n_kept == 1);
	struct fl_bytes *b = fl_bytes_new(NULL, 100000);
	memset(b->data, '#', b->len);
	size_t written = 0;
	while (fl_http_unsent(f.kept[0]) < 8000000) {
		fl_http_write(f.kept[0], b);
		written += b->len;
		uv_run(&f.loop, UV_RUN_NOWAIT);
	}
	// Shared, not copied: every waiting piece is one reference.
	assert_true(atomic_load(&b->refs) > 70);
	fl_http_end(f.kept[0]);
	fl_bytes_put(&b);
	assert_int_equal(f.n_closed, 0);
	uv_read_start((uv_stream_t *)&w.tcp, raw_alloc, raw_read);
	WAIT(&f, raw_has(&w, "\r\n0\r\n\r\n"));
	size_t got = 0;
	for (size_t i = 0; i < w.in.len; i++)
		got += w.in.data[i] == '#';
	assert_int_equal(got, written);
	WAIT(&f, f.n_closed == 1);
	assert_int_equal(f.n_gone, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, up, down)
	const struct CMUnitTest tests[] = {
	    T(connection_is_kept),
	    T(pipelined_requests_are_answered_in_order),
	    T(a_pipelining_client_waits_for_slow_answers),
	    T(bytes_may_come_one_by_one),
	    T(continue_is_sent_when_asked_for),
	    T(head_has_no_body),
	    T(old_clients_are_served),
	    T(close_is_honoured),
	    T(repeated_headers_are_joined),
	    T(absolute_targets_are_accepted),
	    T(wrong_requests_are_refused),
	    T(folded_fields_are_refused_in_pieces),
	    T(too_large_parts_are_refused),
	    T(streams_in_chunks),
	    T(an_aborted_stream_is_unfinished),
	    T(a_client_that_leaves_is_noticed),
	    T(a_request_without_on_close_stays_valid),
	    T(a_half_closed_client_is_answered),
	    T(a_slow_reader_gets_everything),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
