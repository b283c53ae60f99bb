// SPDX-License-Identifier: Apache-2.0
// The client against a server that says, byte by byte and frame by frame, what a test wants: how answers end, what is
// refused, what is started again, and in how many pieces requests arrive.
#include "http_fixture.h"

#include "io/http/client.h"
#include "io/http/conn.h"

struct peer_conn {
	uv_tcp_t tcp;
	struct fl_buf in;
	unsigned n_reads;
	bool open, eof, closed;
};

struct peer {
	struct fixture f; // its server stands idle; loop, watchdog
	uv_tcp_t listener;
	struct peer_conn conns[8];
	unsigned n_conns, n_closing;
	char url[64];
};

static void peer_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct peer_conn *c = s->data;
	if (n > 0) {
		c->n_reads++;
		fl_buf_append(&c->in, buf->base, (size_t)n);
	}
	c->eof |= n < 0;
	free(buf->base);
}

static void peer_accept(uv_stream_t *listener, int status)
{
	struct peer *p = listener->data;
	assert_int_equal(status, 0);
	assert_true(p->n_conns < FL_COUNT(p->conns));
	struct peer_conn *c = &p->conns[p->n_conns++];
	uv_tcp_init(&p->f.loop, &c->tcp);
	c->tcp.data = c;
	c->open = true;
	assert_int_equal(uv_accept(listener, (uv_stream_t *)&c->tcp), 0);
	uv_read_start((uv_stream_t *)&c->tcp, raw_alloc, peer_read);
}

static void peer_setup(struct peer *p, const char *address)
{
	memset(p, 0, sizeof(*p));
	setup_with(&p->f, false, NULL);
	struct fl_ip ip;
	struct sockaddr_storage ss;
	socklen_t len;
	int n = sizeof(ss);
	assert_true(fl_ip_parse(address, &ip));
	fl_ip_to_sockaddr(&ip, 0, &ss, &len);
	uv_tcp_init(&p->f.loop, &p->listener);
	p->listener.data = p;
	assert_int_equal(uv_tcp_bind(&p->listener, (struct sockaddr *)&ss, 0), 0);
	assert_int_equal(uv_listen((uv_stream_t *)&p->listener, 16, peer_accept), 0);
	assert_int_equal(uv_tcp_getsockname(&p->listener, (struct sockaddr *)&ss, &n), 0);
	assert_true(fl_ip_from_sockaddr((struct sockaddr *)&ss, &ip, &p->f.port));
	snprintf(p->url, sizeof(p->url), strchr(address, ':') ? "http://[%s]:%u" : "http://%s:%u", address, p->f.port);
	snprintf(p->f.url, sizeof(p->f.url), "%s", p->url); // start_call goes there
}

static void conn_closed(uv_handle_t *h)
{
	struct peer_conn *c = h->data;
	c->closed = true;
	fl_buf_deinit(&c->in);
}

static void conn_close(struct peer_conn *c)
{
	if (c->open)
		uv_close((uv_handle_t *)&c->tcp, conn_closed);
	c->open = false;
}

static void peer_teardown(struct peer *p)
{
	for (unsigned i = 0; i < p->n_conns; i++) {
		conn_close(&p->conns[i]);
		WAIT(&p->f, p->conns[i].closed);
	}
	uv_close((uv_handle_t *)&p->listener, NULL);
	teardown(&p->f);
}

static void say_n(struct peer_conn *c, const void *data, size_t n)
{
	uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)n);
	assert_int_equal(uv_try_write((uv_stream_t *)&c->tcp, &buf, 1), (int)n);
}

static void say(struct peer_conn *c, const char *text)
{
	say_n(c, text, strlen(text));
}

static bool heard(const struct peer_conn *c, const char *text)
{
	return c->in.data && memmem(c->in.data, c->in.len, text, strlen(text));
}

// --- HTTP/1.1: how an answer ends ---

static void answers_of_all_forms(void **state)
{
	static const struct {
		const char *method, *say;
		bool close; // by the server, after it
		int rc, status;
		const char *body, *x, *error;
	} cases[] = {
	    {"GET", "HTTP/1.1 200 OK\r\nX: a\r\nContent-Length: 3\r\n\r\nabc", false, 0, 200, "abc", "a", NULL},
	    {"GET", "HTTP/1.1 200\r\nX:\r\nContent-Length: 0\r\n\r\n", false, 0, 200, "", "", NULL},
	    {"GET",
	     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;e=1\r\nabc\r\n2\r\nde\r\n0\r\nX: late\r\n\r\n",
	     false, 0, 200, "abcde", "late", NULL},
	    {"GET",
	     "HTTP/1.1 100 Continue\r\nX: no\r\n\r\nHTTP/1.1 103 Early\r\nX: no\r\n\r\nHTTP/1.1 404 No\r\nX: "
	     "yes\r\nContent-Length: 1\r\n\r\nz",
	     false, 0, 404, "z", "yes", NULL},
	    {"GET", "HTTP/1.1 103 Early\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nz",
	     false, 0, 200, "z", NULL, NULL},
	    {"GET", "HTTP/1.0 200 OK\r\n\r\nto the end", true, 0, 200, "to the end", NULL, NULL},
	    {"GET", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end", true, 0, 200, "to the end", NULL, NULL},
	    {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", false, 0, 200, "", NULL, NULL},
	    {"GET", "HTTP/1.1 204 No\r\n\r\n", false, 0, 204, "", NULL, NULL},
	    {"GET", "HTTP/1.1 304 Same\r\nContent-Length: 10\r\n\r\n", false, 0, 304, "", NULL, NULL},
	    {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n", false, 0, 200, "abc", NULL,
	     NULL},
	    {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", true, -ECONNRESET, 200, NULL, NULL,
	     "before its response was complete"},
	    {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", true, -ECONNRESET, 200, NULL, NULL,
	     "before its response was complete"},
	    {"GET", "HTTP/1.1 200 OK\r\nContent-Le", true, -ECONNRESET, 0, NULL, NULL, "closed"},
	    {"GET", "", true, -ECONNRESET, 0, NULL, NULL, "closed"},
	    {"GET", "SSH-2.0-OpenSSH\r\n", false, -EPROTO, 0, NULL, NULL, "not understood"},
	    {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false, -EPROTO, 200, NULL, NULL,
	     "not understood"},
	    {"GET", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", false, -EPROTO, 0, NULL,
	     NULL, "not understood"},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		for (int cut = 0; cut < 2; cut++) { // whole, and byte by byte
			struct peer p;
			struct answer a = {0};
			peer_setup(&p, "127.0.0.1");
			struct fl_http_client *c = new_client(&p.f, NULL);
			start_call(&p.f, c, cases[i].method, "/x?secret", NULL, 0, false, &a);
			WAIT(&p.f, p.n_conns && heard(&p.conns[0], "\r\n\r\n"));
			size_t n = strlen(cases[i].say);
			for (size_t at = 0; cut && at < n && !a.done; at++) {
				say_n(&p.conns[0], cases[i].say + at, 1);
				uv_run(&p.f.loop, UV_RUN_NOWAIT);
			}
			if (!cut && n)
				say(&p.conns[0], cases[i].say);
			if (cases[i].close)
				conn_close(&p.conns[0]);
			WAIT(&p.f, a.done);
			if (a.rc != cases[i].rc || a.status != cases[i].status)
				fail_msg("case %zu: %d %d %s", i, a.rc, a.status, a.err.text);
			if (cases[i].body)
				assert_string_equal(a.body.data ? a.body.data : "", cases[i].body);
			if (cases[i].error && !strstr(a.err.text, cases[i].error))
				fail_msg("case %zu: %s", i, a.err.text);
			assert_null(strstr(a.err.text, "secret"));
			if (cases[i].x)
				assert_string_equal(a.x, cases[i].x);
			answer_reset(&a);
			fl_http_client_free(&c);
			peer_teardown(&p);
		}
	}
}

static void a_header_without_end_is_refused(void **state)
{
	struct peer p;
	struct answer a = {0};
	peer_setup(&p, "127.0.0.1");
	struct fl_http_client *c = new_client(&p.f, NULL);
	start_call(&p.f, c, "GET", "/", NULL, 0, false, &a);
	WAIT(&p.f, p.n_conns && heard(&p.conns[0], "\r\n\r\n"));
	say(&p.conns[0], "HTTP/1.1 200 OK\r\n");
	for (int i = 0; i < 8000 && !p.conns[0].eof; i++) {
		uv_buf_t buf = uv_buf_init((char[]){"X-Name: some value here\r\n"}, 25);
		uv_try_write((uv_stream_t *)&p.conns[0].tcp, &buf, 1);
		uv_run(&p.f.loop, UV_RUN_NOWAIT);
	}
	WAIT(&p.f, a.done);
	assert_int_equal(a.rc, -EPROTO);
	assert_non_null(strstr(a.err.text, "larger than 65536 bytes"));
	WAIT(&p.f, p.conns[0].eof);
	answer_reset(&a);
	fl_http_client_free(&c);
	peer_teardown(&p);
}

// --- HTTP/1.1: the connection after an answer ---

static void answer_simply(struct peer *p, unsigned conn, struct answer *a)
{
	WAIT(&p->f, p->n_conns > conn && heard(&p->conns[conn], "\r\n\r\n"));
	p->conns[conn].in.len = 0;
	say(&p->conns[conn], "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	WAIT(&p->f, a->done);
	assert_int_equal(a->rc, 0);
}

static void connections_are_used_again(void **state)
{
	struct peer p;
	struct answer a = {0}, b = {0};
	peer_setup(&p, "::1");
	struct fl_http_client *c = new_client(&p.f, NULL);
	start_call(&p.f, c, "GET", "/1", NULL, 0, false, &a);
	WAIT(&p.f, p.n_conns && heard(&p.conns[0], "Host: [::1]:"));
	answer_simply(&p, 0, &a);
	start_call(&p.f, c, "GET", "/2", NULL, 0, false, &a);
	start_call(&p.f, c, "GET", "/3", NULL, 0, false, &b);
	answer_simply(&p, 0, &a);
	answer_simply(&p, 1, &b);
	assert_int_equal(p.n_conns, 2);

	conn_close(&p.conns[0]); // both are idle
	conn_close(&p.conns[1]);
	WAIT(&p.f, p.conns[0].closed && p.conns[1].closed);
	for (int i = 0; i < 20; i++)
		uv_run(&p.f.loop, UV_RUN_NOWAIT);
	start_call(&p.f, c, "POST", "/4", "x", 1, false, &a);
	answer_simply(&p, 2, &a);
	answer_reset(&a);
	answer_reset(&b);
	fl_http_client_free(&c);
	peer_teardown(&p);
}

// The server closes just when the request comes: only what is safe is sent again, and only once.
static void a_race_with_the_server_is_run_again(void **state)
{
	static const char *const methods[] = {"GET", "POST"};
	for (int i = 0; i < 2; i++) {
		struct peer p;
		struct answer a = {0};
		peer_setup(&p, "127.0.0.1");
		struct fl_http_client *c = new_client(&p.f, NULL);
		start_call(&p.f, c, methods[i], "/1", NULL, 0, false, &a);
		answer_simply(&p, 0, &a);
		start_call(&p.f, c, methods[i], "/2", NULL, 0, false, &a);
		WAIT(&p.f, heard(&p.conns[0], "/2"));
		conn_close(&p.conns[0]);
		if (i == 0) {
			WAIT(&p.f, p.n_conns == 2 && heard(&p.conns[1], "GET /2"));
			conn_close(&p.conns[1]);
		}
		WAIT(&p.f, a.done);
		assert_int_equal(a.rc, -ECONNRESET);
		assert_int_equal(p.n_conns, i == 0 ? 2 : 1);
		answer_reset(&a);
		fl_http_client_free(&c);
		peer_teardown(&p);
	}
}

static void a_fresh_call_closes_its_connection(void **state)
{
	struct peer p;
	struct answer a = {0};
	struct fl_err err = {0};
	peer_setup(&p, "127.0.0.1");
	struct fl_http_client *c = new_client(&p.f, NULL);
	char url[96];
	snprintf(url, sizeof(url), "%s/a b\xc3\xa4#part", p.url);
	static const char *const headers[] = {"Host: other.example", "User-Agent:", "X-Two:  words here", NULL};
	struct fl_http_call_opts o = {
	    .method = "GET", .url = url, .headers = headers, .fresh = true, .on_done = answer_done, .arg = &a};
	assert_int_equal(fl_http_client_call(c, &o, &a.call, &err), 0);
	WAIT(&p.f, p.n_conns && heard(&p.conns[0], "\r\n\r\n"));
	assert_true(heard(&p.conns[0], "GET /a%20b%C3%A4 HTTP/1.1\r\nHost: other.example\r\nX-Two: words here\r\n"
				       "Connection: close\r\n\r\n"));
	answer_simply(&p, 0, &a);
	WAIT(&p.f, p.conns[0].eof);
	answer_reset(&a);
	fl_http_client_free(&c);
	peer_teardown(&p);
}

// --- connecting ---

static void nobody_answers(void **state)
{
	struct peer p;
	struct answer a = {0};
	struct fl_err err = {0};
	char url[96];
	peer_setup(&p, "127.0.0.1");
	struct fl_http_client *c = new_client(&p.f, NULL);
	// A listener whose queue is full drops what else comes.
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
	socklen_t len = sizeof(sin);
	assert_int_equal(bind(fd, (struct sockaddr *)&sin, len), 0);
	assert_int_equal(listen(fd, 0), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	int fill[8];
	for (size_t i = 0; i < FL_COUNT(fill); i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(fill[i], (struct sockaddr *)&sin, len);
	}
	for (int fresh = 0; fresh < 2; fresh++) {
		snprintf(url, sizeof(url), "http://127.0.0.1:%u/", ntohs(sin.sin_port));
		struct fl_http_call_opts o = {.method = "GET",
					      .url = url,
					      .fresh = fresh,
					      .connect_timeout_ms = 100,
					      .on_done = answer_done,
					      .arg = &a};
		answer_reset(&a);
		assert_int_equal(fl_http_client_call(c, &o, &a.call, &err), 0);
		WAIT(&p.f, a.done);
		assert_int_equal(a.rc, -ETIMEDOUT);
		assert_non_null(strstr(a.err.text, "no connection to 127.0.0.1:"));
	}
	for (size_t i = 0; i < FL_COUNT(fill); i++)
		close(fill[i]);

	// A label of 64 characters cannot be looked up.
	char name[65];
	memset(name, 'a', 64);
	name[64] = 0;
	snprintf(p.f.url, sizeof(p.f.url), "http://%.50s", name);
	struct fl_http_call_opts o = {.method = "GET", .on_done = answer_done, .arg = &a};
	AUTO_FREE char *long_url = fl_asprintf("http://%s.example/", name);
	o.url = long_url;
	answer_reset(&a);
	assert_int_equal(fl_http_client_call(c, &o, &a.call, &err), 0);
	WAIT(&p.f, a.done);
	assert_int_equal(a.rc, -EHOSTUNREACH);
	assert_non_null(strstr(a.err.text, "does not resolve"));

	// Each address of a name is tried: this listener has only one of them.
	snprintf(p.f.url, sizeof(p.f.url), "http://localhost:%u", p.f.port);
	start_call(&p.f, c, "GET", "/", NULL, 0, false, &a);
	answer_simply(&p, 0, &a);
	answer_reset(&a);
	fl_http_client_free(&c);
	peer_teardown(&p);
}

// A connection that does not come about holds up only the call it was made for: later ones try another.
static void a_stuck_connection_is_given_up(void **state)
{
	struct peer p;
	struct answer a = {0}, b = {0};
	struct fl_err err = {0};
	peer_setup(&p, "127.0.0.1");
	struct fl_http_client *c = new_client(&p.f, NULL);
	snprintf(p.f.url, sizeof(p.f.url), "https://127.0.0.1:%u", p.f.port);
	struct fl_http_call_opts o = {
	    .method = "GET", .url = p.f.url, .connect_timeout_ms = 50, .on_done = answer_done, .arg = &a};
	assert_int_equal(fl_http_client_call(c, &o, &a.call, &err), 0);
	start_call(&p.f, c, "GET", "/", NULL, 0, false, &b);
	WAIT(&p.f, a.done);
	assert_int_equal(a.rc, -ETIMEDOUT);
	WAIT(&p.f, b.done || (p.n_conns == 2 && p.conns[1].in.len));
	assert_false(b.done);
	assert_true(p.conns[0].eof);
	answer_reset(&a);
	fl_http_client_free(&c);
	answer_reset(&b);
	peer_teardown(&p);
}

static void a_call_paused_before_it_runs_reads_nothing(void **state)
{
	struct peer p;
	struct answer a = {0};
	peer_setup(&p, "127.0.0.1");
	struct fl_http_client *c = new_client(&p.f, NULL);
	start_call(&p.f, c, "GET", "/", NULL, 0, true, &a);
	fl_http_call_pause(a.call, true);
	WAIT(&p.f, p.n_conns && heard(&p.conns[0], "\r\n\r\n"));
	say(&p.conns[0], "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	for (int i = 0; i < 20; i++)
		uv_run(&p.f.loop, UV_RUN_NOWAIT);
	assert_int_equal(a.call->held.len, 0);
	fl_http_call_pause(a.call, false);
	WAIT(&p.f, a.done);
	assert_int_equal(a.rc, 0);
	assert_string_equal(a.body.data, "ok");
	answer_reset(&a);
	fl_http_client_free(&c);
	peer_teardown(&p);
}

// --- TLS ---

static void expect_refused(struct fixture *f, const struct fl_http_client_opts *o, const char *url, int rc,
			   const char *text)
{
	struct fl_http_client *c = NULL;
	struct answer a = {0};
	struct fl_err err = {0};
	assert_int_equal(fl_http_client_new(&f->loop, o, &c, &err), 0);
	struct fl_http_call_opts call = {.method = "GET", .url = url, .on_done = answer_done, .arg = &a};
	assert_int_equal(fl_http_client_call(c, &call, &a.call, &err), 0);
	WAIT(f, a.done);
	if (a.rc != rc || !strstr(a.err.text, text))
		fail_msg("%d %s", a.rc, a.err.text);
	answer_reset(&a);
	fl_http_client_free(&c);
}

static void says_what_is_wrong_with_a_certificate(void **state)
{
	struct fixture f;
	struct fl_err err = {0};
	setup_with(&f, true, NULL);
	struct fl_http_client_opts o = {.ca_pem = pki.ca.cert_pem, .tls_server_name = "wrong.example"};
	expect_refused(&f, &o, f.url, -EKEYREJECTED, "the server's certificate is not for wrong.example");
	o.tls_server_name = "127.0.0.2";
	expect_refused(&f, &o, f.url, -EKEYREJECTED, "the server's certificate is not for 127.0.0.2");
	o.tls_server_name = ""; // as none
	o.ca_pem = pki.stranger_ca.cert_pem;
	expect_refused(&f, &o, f.url, -EKEYREJECTED, "signed by an authority that is not trusted here");
	o = (struct fl_http_client_opts){.ca_pem = pki.ca.cert_pem};

	struct fl_pki_cert old = {0};
	struct fl_ip ip;
	assert_true(fl_ip_parse("127.0.0.1", &ip));
	struct fl_pki_request r = {.common_name = "old", .ips = &ip, .n_ips = 1, .server = true, .days = 0};
	assert_int_equal(fl_pki_sign(&pki.ca, &r, &old, &err), 0);
	SSL_CTX *tls = NULL;
	assert_int_equal(fl_tls_server_ctx(old.cert_pem, old.key_pem, NULL, false, &tls, &err), 0);
	fl_http_server_set_tls(f.server, tls);
	SSL_CTX_free(tls);
	expect_refused(&f, &o, f.url, -EKEYREJECTED, "has expired");

	r = (struct fl_pki_request){.common_name = "127.0.0.1", .server = true, .days = 1}; // the CN proves nothing
	fl_pki_cert_deinit(&old);
	assert_int_equal(fl_pki_sign(&pki.ca, &r, &old, &err), 0);
	assert_int_equal(fl_tls_server_ctx(old.cert_pem, old.key_pem, NULL, false, &tls, &err), 0);
	fl_http_server_set_tls(f.server, tls);
	SSL_CTX_free(tls);
	expect_refused(&f, &o, f.url, -EKEYREJECTED, "the server's certificate is not for 127.0.0.1");
	fl_pki_cert_deinit(&old);

	struct fl_http_client *c = NULL;
	o.ca_pem = "no certificate";
	assert_int_equal(fl_http_client_new(&f.loop, &o, &c, &err), -EINVAL);
	o = (struct fl_http_client_opts){.cert_pem = pki.admin.cert_pem, .key_pem = pki.server.key_pem};
	assert_int_equal(fl_http_client_new(&f.loop, &o, &c, &err), -EINVAL);
	teardown(&f);
}

static void a_tls_handshake_is_broken(void **state)
{
	for (int i = 0; i < 2; i++) {
		struct peer p;
		struct answer a = {0};
		peer_setup(&p, "127.0.0.1");
		struct fl_http_client *c = new_client(&p.f, NULL);
		snprintf(p.f.url, sizeof(p.f.url), "https://127.0.0.1:%u", p.f.port);
		start_call(&p.f, c, "GET", "/", NULL, 0, false, &a);
		WAIT(&p.f, p.n_conns && p.conns[0].in.len);
		if (i == 0)
			say(&p.conns[0], "HTTP/1.1 400 Bad Request\r\n\r\n");
		conn_close(&p.conns[0]);
		WAIT(&p.f, a.done);
		assert_int_equal(a.rc, i == 0 ? -EPROTO : -ECONNRESET);
		assert_non_null(strstr(a.err.text, i == 0 ? "does not speak TLS" : "during the TLS handshake"));
		answer_reset(&a);
		fl_http_client_free(&c);
		peer_teardown(&p);
	}
}

static void tls_sessions_are_resumed(void **state)
{
	struct fixture f;
	struct answer a = {0};
	struct fl_err err = {0};
	setup_with(&f, true, NULL);
	struct fl_http_client *c = new_client(&f, &pki.admin);
	char url[96];
	snprintf(url, sizeof(url), "%s/keep", f.url);
	for (unsigned i = 0; i < 3; i++) {
		struct fl_http_call_opts o = {
		    .method = "GET", .url = url, .fresh = true, .on_done = answer_done, .arg = &a};
		answer_reset(&a);
		assert_int_equal(fl_http_client_call(c, &o, &a.call, &err), 0);
		WAIT(&f, f.n_kept == i + 1);
		assert_int_equal(SSL_session_reused(f.kept[i]->conn->pipe.ssl), i > 0);
		assert_string_equal(fl_http_identity(f.kept[i])->user, "admin");
		fl_http_respond(f.kept[i], 200, "text/plain", "", 0);
		WAIT(&f, a.done && !f.server->n_conns);
		assert_int_equal(a.rc, 0);
	}
	answer_reset(&a);
	fl_http_client_free(&c);
	teardown(&f);
}

int main(void)
{
	make_pki();
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers_of_all_forms),
	    cmocka_unit_test(a_header_without_end_is_refused),
	    cmocka_unit_test(connections_are_used_again),
	    cmocka_unit_test(a_race_with_the_server_is_run_again),
	    cmocka_unit_test(a_fresh_call_closes_its_connection),
	    cmocka_unit_test(nobody_answers),
	    cmocka_unit_test(a_stuck_connection_is_given_up),
	    cmocka_unit_test(a_call_paused_before_it_runs_reads_nothing),
	    cmocka_unit_test(says_what_is_wrong_with_a_certificate),
	    cmocka_unit_test(a_tls_handshake_is_broken),
	    cmocka_unit_test(tls_sessions_are_resumed),
	};
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	free_pki();
	return rc;
}
