// SPDX-License-Identifier: Apache-2.0
// The server as a whole: bounds on connections, time-outs (set short by the test), and the orderly stop.
#include <sys/resource.h>

#include "http_fixture.h"
#include "io/http/conn.h"

#define GET_HELLO "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"

// answer: the beginning and the end of what comes before the connection is closed; NULL: whatever the handler said.
static void expect_closed(struct fl_http_limits limits, bool tls, const char *sent, bool shut, unsigned handled,
			  const char *const answer[2])
{
	struct fixture f;
	struct raw w = {0};
	setup_with(&f, tls, &limits);
	raw_open(&f, &w);
	raw_send(&w, sent);
	if (shut)
		raw_shut(&w);
	WAIT(&f, w.eof);
	assert_int_equal(w.error, 0);
	if (answer && !*answer[0]) {
		assert_int_equal(w.in.len, 0);
	} else if (answer) {
		const char *end = strstr(w.in.data, "\r\n\r\n");
		assert_int_equal(strncmp(w.in.data, answer[0], strlen(answer[0])), 0);
		assert_true(raw_has(&w, "Connection: close\r\n"));
		assert_non_null(end);
		assert_string_equal(end + 4, answer[1]); // once, and nothing after it
	}
	assert_int_equal(f.n_handled, handled);
	assert_int_equal(f.n_closed, f.n_kept);
	assert_int_equal(f.n_gone, f.n_kept);
	raw_close(&f, &w);
	teardown(&f);
}

static void time_outs_close(void **state)
{
	static const char *const none[] = {"", ""}, *const late[] = {"HTTP/1.1 408 Request Timeout\r\n",
								     "408 Request Timeout\n"};
	const struct fl_http_limits head = {.header_ms = 20}, handshake = {.handshake_ms = 20}, body = {.body_ms = 20};
	expect_closed(head, false, "", false, 0, none);
	expect_closed(head, false, "G", false, 0, late);
	expect_closed(head, false, "GET /hello HTTP/1.1\r\nHo", false, 0, late);
	expect_closed(handshake, true, "", false, 0, none);
	expect_closed(handshake, true, "\x16\x03\x01", false, 0, none);
	expect_closed(body, false, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf", false, 0, late);
	expect_closed(body, false, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n", false,
		      0, late);
	expect_closed((struct fl_http_limits){.idle_ms = 20}, false, GET_HELLO, false, 1, NULL);
	expect_closed((struct fl_http_limits){.half_close_ms = 20}, false, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n",
		      true, 1, NULL);
}

// Slowloris: a byte now and then does not prolong the time for a request's head.
static void trickling_does_not_help(void **state)
{
	struct fixture f;
	struct raw w = {0};
	setup_with(&f, false, &(struct fl_http_limits){.header_ms = 100});
	raw_open(&f, &w);
	raw_send(&w, "GET /hello HTTP/1.1\r\n");
	uint64_t sent = 0;
	while (!w.eof) {
		if (uv_now(&f.loop) > sent + 5) {
			sent = uv_now(&f.loop);
			raw_send(&w, "X: y\r\n");
		}
		uv_run(&f.loop, UV_RUN_NOWAIT);
	}
	assert_int_equal(f.n_handled, 0);
	raw_close(&f, &w);
	teardown(&f);
}

// A handler that takes its time is no time-out of the client's.
static void a_waiting_request_has_no_deadline(void **state)
{
	struct fixture f;
	struct raw w = {0}, idle = {0};
	setup_with(&f, false, &(struct fl_http_limits){.header_ms = 20, .idle_ms = 20, .body_ms = 20, .stall_ms = 20});
	raw_open(&f, &w);
	raw_send(&w, "GET /keep HTTP/1.1\r\nHost: x\r\n\r\n");
	WAIT(&f, f.n_kept == 1);
	raw_open(&f, &idle); // opened later, closed earlier: several sweeps have passed
	WAIT(&f, idle.eof);
	assert_false(w.eof);
	fl_http_respond(f.kept[0], 200, "text/plain", "at last", 7);
	WAIT(&f, raw_has(&w, "at last"));
	raw_close(&f, &idle);
	raw_close(&f, &w);
	teardown(&f);
}

static void a_stalled_reader_is_closed(void **state)
{
	struct fixture f;
	struct raw w = {.paused = true};
	setup_with(&f, false, &(struct fl_http_limits){.stall_ms = 20});
	raw_open(&f, &w);
	raw_send(&w, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	WAIT(&f, f.n_kept == 1);
	struct fl_bytes *b = fl_bytes_new(NULL, 1000000);
	memset(b->data, 's', b->len);
	while (f.n_closed == 0) {
		if (f.kept[0] && fl_http_unsent(f.kept[0]) < 4000000)
			fl_http_write(f.kept[0], b);
		uv_run(&f.loop, UV_RUN_NOWAIT);
	}
	assert_int_equal(f.n_gone, 1);
	assert_int_equal(atomic_load(&b->refs), 1);
	fl_bytes_put(&b);
	raw_close(&f, &w);
	teardown(&f);
}

// Answers that are not taken fill their common bound: what comes then is refused, who takes nothing is cut off, and
// all is well again.
static void unread_answers_are_bounded(void **state)
{
	struct fixture f;
	struct raw greedy = {.paused = true}, w = {0};
	setup_with(&f, false, &(struct fl_http_limits){.max_unsent_bytes = 1000000});
	raw_open(&f, &greedy);
	raw_open(&f, &w);
	raw_send(&greedy, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	WAIT(&f, f.n_kept == 1);
	struct fl_bytes *b = fl_bytes_new(NULL, 16000000);
	memset(b->data, 's', b->len);
	fl_http_write(f.kept[0], b);
	fl_bytes_put(&b);
	raw_send(&w, GET_HELLO);
	WAIT(&f, raw_has(&w, "HTTP/1.1 503 ") && raw_has(&w, "Retry-After: 1\r\n"));
	WAIT(&f, f.n_gone == 1); // long before stall_ms
	raw_close(&f, &w);
	raw_open(&f, &w);
	raw_send(&w, GET_HELLO);
	WAIT(&f, raw_has(&w, "hello\n"));
	assert_int_equal(f.server->unsent, 0);
	raw_close(&f, &w);
	raw_close(&f, &greedy);
	teardown(&f);
}

// Strangers push out strangers: the client with a certificate stays, though it has been idle for longest.
static void known_clients_do_not_give_way(void **state)
{
	struct fixture f;
	struct answer a = {0};
	struct raw w[8] = {0};
	setup_with(&f, true, &(struct fl_http_limits){.max_connections = 4});
	struct fl_http_client *c = new_client(&f, &pki.admin);
	call(&f, c, "GET", "/hello", NULL, 0, &a);
	assert_int_equal(a.rc, 0);
	struct fl_conn *known = TAILQ_FIRST(&f.server->conns);
	assert_non_null(known->identity->user);
	for (int i = 0; i < 8; i++) {
		raw_open(&f, &w[i]);
		WAIT(&f, f.server->n_conns == (i < 3 ? 2u + (unsigned)i : 4u) && (i < 3 || w[i - 3].eof));
	}
	assert_ptr_equal(TAILQ_FIRST(&f.server->conns), known);
	for (int i = 0; i < 8; i++)
		raw_close(&f, &w[i]);
	answer_reset(&a);
	fl_http_client_free(&c);
	teardown(&f);
}

static void a_stalled_stream_is_reset_alone(void **state)
{
	struct fixture f;
	setup_with(&f, true, &(struct fl_http_limits){.stall_ms = 300});
	struct fl_http_client *c = new_client(&f, NULL);
	struct answer slow = {0}, quick = {0};
	start_call(&f, c, "GET", "/stream", NULL, 0, true, &slow);
	WAIT(&f, f.n_kept == 1);
	fl_http_call_pause(slow.call, true);
	struct fl_bytes *b = fl_bytes_new(NULL, 8000000);
	memset(b->data, 's', b->len);
	for (int i = 0; i < 8; i++) // beyond the client's windows
		fl_http_write(f.kept[0], b);
	fl_bytes_put(&b);
	WAIT(&f, f.n_closed == 1);
	assert_int_equal(f.n_gone, 1);
	call(&f, c, "GET", "/hello", NULL, 0, &quick);
	assert_int_equal(quick.rc, 0);
	assert_int_equal(f.server->n_conns, 1);
	answer_reset(&slow);
	answer_reset(&quick);
	fl_http_client_free(&c);
	teardown(&f);
}

static void an_idle_h2_connection_is_closed(void **state)
{
	struct fixture f;
	struct answer a = {0};
	setup_with(&f, true, &(struct fl_http_limits){.idle_ms = 20});
	struct fl_http_client *c = new_client(&f, NULL);
	call(&f, c, "GET", "/hello", NULL, 0, &a);
	assert_int_equal(a.rc, 0);
	WAIT(&f, f.server->n_conns == 0);
	call(&f, c, "GET", "/hello", NULL, 0, &a); // on a new one
	assert_int_equal(a.rc, 0);
	answer_reset(&a);
	fl_http_client_free(&c);
	teardown(&f);
}

static void the_longest_idle_connection_gives_way(void **state)
{
	struct fixture f;
	struct raw w[4] = {0};
	setup_with(&f, false, &(struct fl_http_limits){.max_connections = 3});
	for (int i = 0; i < 3; i++)
		raw_open(&f, &w[i]);
	WAIT(&f, f.server->n_conns == 3);
	raw_send(&w[0], GET_HELLO); // now 1 is the longest idle
	WAIT(&f, raw_has(&w[0], "hello\n"));
	raw_send(&w[1], "GET /keep HTTP/1.1\r\nHost: x\r\n\r\n"); // busy; so 2 is
	WAIT(&f, f.n_kept == 1);
	raw_open(&f, &w[3]);
	WAIT(&f, w[2].eof);
	raw_send(&w[3], "GET /keep HTTP/1.1\r\nHost: x\r\n\r\n");
	WAIT(&f, f.n_kept == 2);
	assert_false(w[0].eof || w[1].eof || w[3].eof);
	raw_send(&w[0], "GET /keep HTTP/1.1\r\nHost: x\r\n\r\n");
	WAIT(&f, f.n_kept == 3);
	raw_close(&f, &w[2]);
	raw_open(&f, &w[2]); // all are busy: the new one is refused
	WAIT(&f, w[2].eof);
	for (int i = 0; i < 3; i++)
		fl_http_respond(f.kept[i], 200, "text/plain", "done", 4);
	WAIT(&f, raw_has(&w[0], "done") && raw_has(&w[1], "done") && raw_has(&w[3], "done"));
	for (int i = 0; i < 4; i++)
		raw_close(&f, &w[i]);
	teardown(&f);
}

static void a_thousand_idle_connections(void **state)
{
	struct rlimit rl;
	getrlimit(RLIMIT_NOFILE, &rl);
	rl.rlim_cur = rl.rlim_max;
	setrlimit(RLIMIT_NOFILE, &rl);
	if (rl.rlim_cur < 2100) {
		print_message("open files are limited to %lu\n", (unsigned long)rl.rlim_cur);
		skip();
	}
	struct fixture f;
	setup_with(&f, false, NULL);
	AUTO_FREE struct raw *w = fl_calloc(1000, sizeof(*w));
	for (int i = 0; i < 1000; i++) {
		raw_open(&f, &w[i]);
		raw_send(&w[i], GET_HELLO);
		WAIT(&f, raw_has(&w[i], "hello\n"));
	}
	assert_int_equal(f.server->n_conns, 1000);
	for (int i = 0; i < 1000; i += 100) {
		raw_send(&w[i], GET_HELLO);
		WAIT(&f, raw_count(&w[i], "hello\n") == 2);
	}
	fl_http_server_stop(f.server, 10000, on_stopped, &f);
	WAIT(&f, f.stopped);
	for (int i = 0; i < 1000; i++) {
		WAIT(&f, w[i].eof);
		raw_close(&f, &w[i]);
	}
	teardown(&f);
}

static void stopping_lets_requests_finish(void **state)
{
	struct fixture f;
	struct raw idle = {0}, busy = {0}, half = {0}, stream = {0};
	setup_with(&f, false, NULL);
	raw_open(&f, &idle);
	raw_open(&f, &busy);
	raw_open(&f, &half);
	raw_open(&f, &stream);
	raw_send(&busy, "GET /keep HTTP/1.1\r\nHost: x\r\n\r\n");
	WAIT(&f, f.n_kept == 1);
	raw_send(&stream, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	WAIT(&f, f.n_kept == 2);
	raw_send(&half, "GET /hello HTTP/1.1\r\n");
	WAIT(&f, f.server->n_conns == 4);
	fl_http_server_stop(f.server, 60000, on_stopped, &f);
	struct fl_http_req *ended = f.kept[1];
	send_part(ended, "too late"); // harmless
	WAIT(&f, idle.eof && half.eof && stream.eof);
	assert_true(raw_has(&stream, "\r\n\r\n0\r\n\r\n")); // a streamed answer ends well
	WAIT(&f, f.n_closed == 1);
	assert_int_equal(f.n_gone, 1); // its handler has not ended it
	assert_false(f.stopped);
	assert_false(busy.eof);
	fl_http_respond(f.kept[0], 200, "text/plain", "finished", 8);
	WAIT(&f, busy.eof);
	assert_true(raw_has(&busy, "Connection: close\r\n"));
	assert_true(raw_has(&busy, "finished"));
	raw_close(&f, &idle);
	raw_close(&f, &busy);
	raw_close(&f, &half);
	raw_close(&f, &stream);
	WAIT(&f, f.stopped);
	assert_int_equal(f.n_gone, 1);
	teardown(&f);
}

static void stopping_does_not_wait_beyond_its_grace(void **state)
{
	struct fixture f;
	struct raw w = {0};
	setup_with(&f, false, NULL);
	raw_open(&f, &w);
	raw_send(&w, "GET /keep HTTP/1.1\r\nHost: x\r\n\r\n");
	WAIT(&f, f.n_kept == 1);
	fl_http_server_stop(f.server, 20, on_stopped, &f);
	WAIT(&f, f.stopped);
	assert_int_equal(f.n_gone, 1);
	raw_close(&f, &w);
	teardown(&f);
}

// Clients of a watch may have stopped reading for good.
static void stopping_does_not_wait_for_who_does_not_read(void **state)
{
	for (int tls = 0; tls < 2; tls++) {
		struct fixture f;
		struct raw w = {0};
		struct answer a = {0};
		struct fl_http_client *c = NULL;
		setup_with(&f, tls, NULL);
		if (tls) {
			c = new_client(&f, NULL);
			start_call(&f, c, "GET", "/stream", NULL, 0, true, &a);
			WAIT(&f, f.n_kept == 1);
			fl_http_call_pause(a.call, true);
		} else {
			raw_open(&f, &w);
			raw_send(&w, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
			WAIT(&f, f.n_kept == 1);
			uv_read_stop((uv_stream_t *)&w.tcp);
		}
		struct fl_bytes *b = fl_bytes_new(NULL, 48 * 1024 * 1024); // beyond the client's windows
		memset(b->data, 'x', b->len);
		fl_http_write(f.kept[0], b);
		fl_bytes_put(&b);
		fl_http_server_stop(f.server, 24 * 3600 * 1000, on_stopped, &f);
		WAIT(&f, f.stopped);
		assert_int_equal(f.n_gone, 1);
		if (tls) {
			fl_http_client_free(&c);
			answer_reset(&a);
		} else {
			raw_close(&f, &w);
		}
		teardown(&f);
	}
}

static void stopping_sends_goaway(void **state)
{
	struct fixture f;
	struct answer keep = {0}, stream = {0};
	setup_with(&f, true, NULL);
	struct fl_http_client *c = new_client(&f, NULL);
	start_call(&f, c, "GET", "/keep", NULL, 0, false, &keep);
	WAIT(&f, f.n_kept == 1);
	start_call(&f, c, "GET", "/stream", NULL, 0, true, &stream);
	WAIT(&f, f.n_kept == 2);
	assert_int_equal(f.server->n_conns, 1);
	send_part(f.kept[1], "event");
	fl_http_server_stop(f.server, 60000, on_stopped, &f);
	WAIT(&f, stream.done);
	assert_int_equal(stream.rc, 0);
	assert_string_equal(stream.body.data, "event");
	assert_false(f.stopped);
	fl_http_respond(f.kept[0], 200, "text/plain", "ok", 2);
	WAIT(&f, keep.done && f.stopped);
	assert_int_equal(keep.rc, 0);
	assert_int_equal(f.n_gone, 1);
	call(&f, c, "GET", "/hello", NULL, 0, &keep);
	assert_int_equal(keep.rc, -ECONNREFUSED);
	answer_reset(&keep);
	answer_reset(&stream);
	fl_http_client_free(&c);
	teardown(&f);
}

static void listens_on_several_addresses(void **state)
{
	struct fixture f;
	struct fl_err err = {0};
	struct fl_ip ip;
	uint16_t port = 0;
	setup_with(&f, false, NULL);
	assert_true(fl_ip_parse("127.0.0.2", &ip));
	assert_int_equal(fl_http_server_listen(f.server, &ip, f.port, &port, &err), 0);
	assert_int_equal(port, f.port);
	assert_int_equal(fl_http_server_listen(f.server, &ip, f.port, &port, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, "127.0.0.2"));
	if (fl_ip_parse("::1", &ip) && fl_http_server_listen(f.server, &ip, 0, &port, &err) == 0)
		assert_true(port != 0);
	struct raw w = {0};
	raw_open(&f, &w);
	raw_send(&w, "GET /keep HTTP/1.1\r\nHost: x\r\n\r\n");
	WAIT(&f, f.n_kept == 1);
	struct fl_ip peer, local;
	uint16_t peer_port, local_port;
	char text[FL_IP_STRLEN];
	fl_http_peer(f.kept[0], &peer, &peer_port);
	fl_http_local(f.kept[0], &local, &local_port);
	assert_string_equal(fl_ip_format(&peer, text), "127.0.0.1");
	assert_string_equal(fl_ip_format(&local, text), "127.0.0.1");
	assert_int_equal(local_port, f.port);
	struct sockaddr_in sin;
	int n = sizeof(sin);
	uv_tcp_getsockname(&w.tcp, (struct sockaddr *)&sin, &n);
	assert_int_equal(peer_port, ntohs(sin.sin_port));
	raw_close(&f, &w);
	teardown(&f);
}

static void an_unused_server_is_freed(void **state)
{
	uv_loop_t loop;
	uv_loop_init(&loop);
	struct fl_http_server *s = NULL;
	struct fl_err err = {0};
	struct fl_http_server_opts o = {.handler = handle, .server_name = "test"};
	assert_int_equal(fl_http_server_new(&loop, &o, &s, &err), 0);
	fl_http_server_free(&s);
	fl_http_server_free(&s);
	assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
	make_pki();
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(time_outs_close),
	    cmocka_unit_test(trickling_does_not_help),
	    cmocka_unit_test(a_waiting_request_has_no_deadline),
	    cmocka_unit_test(a_stalled_reader_is_closed),
	    cmocka_unit_test(unread_answers_are_bounded),
	    cmocka_unit_test(known_clients_do_not_give_way),
	    cmocka_unit_test(a_stalled_stream_is_reset_alone),
	    cmocka_unit_test(an_idle_h2_connection_is_closed),
	    cmocka_unit_test(the_longest_idle_connection_gives_way),
	    cmocka_unit_test(a_thousand_idle_connections),
	    cmocka_unit_test(stopping_lets_requests_finish),
	    cmocka_unit_test(stopping_does_not_wait_beyond_its_grace),
	    cmocka_unit_test(stopping_does_not_wait_for_who_does_not_read),
	    cmocka_unit_test(stopping_sends_goaway),
	    cmocka_unit_test(listens_on_several_addresses),
	    cmocka_unit_test(an_unused_server_is_freed),
	};
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	free_pki();
	return rc;
}
