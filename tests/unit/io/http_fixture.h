// SPDX-License-Identifier: Apache-2.0
// What the HTTP tests share: a loop with a watchdog, a server with a few routes, certificates, and a raw client that
// says byte for byte what a test wants. Everything runs on one thread; tests wait on conditions by turning the loop.
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <uv.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/ip.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/http_client.h"
#include "io/http_server.h"
#include "io/tls.h"

struct pki {
	struct fl_pki_cert ca, server, admin, stranger_ca, stranger;
};

static struct pki pki;

static inline void make_pki(void)
{
	struct fl_err err = {0};
	struct fl_ip ips[2];
	assert_true(fl_ip_parse("127.0.0.1", &ips[0]));
	assert_true(fl_ip_parse("::1", &ips[1]));
	const char *const names[] = {"localhost", "kubernetes.default", NULL};
	const char *const groups[] = {"system:masters", "team-a", NULL};
	struct fl_pki_request server = {
	    .common_name = "server", .dns_names = names, .ips = ips, .n_ips = 2, .server = true, .days = 30};
	struct fl_pki_request admin = {.common_name = "admin", .organizations = groups, .client = true, .days = 30};
	assert_int_equal(fl_pki_make_ca("test CA", 30, &pki.ca, &err), 0);
	assert_int_equal(fl_pki_sign(&pki.ca, &server, &pki.server, &err), 0);
	assert_int_equal(fl_pki_sign(&pki.ca, &admin, &pki.admin, &err), 0);
	assert_int_equal(fl_pki_make_ca("another CA", 30, &pki.stranger_ca, &err), 0);
	assert_int_equal(fl_pki_sign(&pki.stranger_ca, &admin, &pki.stranger, &err), 0);
}

static inline void free_pki(void)
{
	fl_pki_cert_deinit(&pki.ca);
	fl_pki_cert_deinit(&pki.server);
	fl_pki_cert_deinit(&pki.admin);
	fl_pki_cert_deinit(&pki.stranger_ca);
	fl_pki_cert_deinit(&pki.stranger);
}

// --- loop ---

struct fixture {
	uv_loop_t loop;
	uv_timer_t watchdog;
	struct fl_http_server *server;
	uint16_t port;
	char url[64];
	bool stopped;
	// What the routes leave behind.
	unsigned n_handled;
	struct fl_http_req *kept[2048]; // of /keep and /stream
	unsigned n_kept, n_closed, n_gone;
};

static inline void watchdog_barks(uv_timer_t *t)
{
	fprintf(stderr, "the condition a test waits for did not come\n");
	abort();
}

#define WAIT(f, condition)                                                                                             \
	do {                                                                                                           \
		while (!(condition))                                                                                   \
			uv_run(&(f)->loop, UV_RUN_ONCE);                                                               \
	} while (0)

// --- routes ---

static inline void on_kept_close(struct fl_http_req *r, void *arg, bool gone)
{
	struct fixture *f = arg;
	f->n_closed++;
	f->n_gone += gone;
	for (unsigned i = 0; i < f->n_kept; i++)
		if (f->kept[i] == r)
			f->kept[i] = NULL;
}

static inline void send_part(struct fl_http_req *r, const char *text)
{
	struct fl_bytes *b = fl_bytes_new(text, strlen(text));
	fl_http_write(r, b);
	fl_bytes_put(&b);
}

static inline void handle(struct fl_http_req *r, void *arg)
{
	struct fixture *f = arg;
	const char *path = fl_http_path(r);
	f->n_handled++;
	if (strcmp(path, "/hello") == 0) {
		fl_http_set_header(r, "X-Test", "yes\r\nX-Evil: no");
		fl_http_respond(r, 200, "text/plain", "hello\n", 6);
	} else if (strcmp(path, "/echo") == 0) {
		size_t n;
		const char *body = fl_http_body(r, &n);
		fl_http_set_header(r, "X-Method", fl_http_method(r));
		fl_http_set_header(r, "X-Query", fl_http_query(r));
		fl_http_respond(r, 201, fl_http_header(r, "content-type"), body, n);
	} else if (strcmp(path, "/who") == 0) {
		const struct fl_tls_identity *id = fl_http_identity(r);
		const char *text = fl_arena_printf(fl_http_arena(r), "%s", id->user ? id->user : "nobody");
		for (unsigned i = 0; i < id->n_groups; i++)
			text = fl_arena_printf(fl_http_arena(r), "%s %s", text, id->groups[i]);
		fl_http_respond(r, 200, "text/plain", text, strlen(text));
	} else if (strcmp(path, "/all") == 0) {
		const char *all = fl_http_header_all(r, "x-many");
		fl_http_respond(r, 200, "text/plain", all ? all : "none", strlen(all ? all : "none"));
	} else if (strncmp(path, "/size/", 6) == 0) {
		size_t n = strtoul(path + 6, NULL, 10);
		struct fl_bytes *b = fl_bytes_new(NULL, n);
		memset(b->data, 'x', n);
		fl_http_respond_bytes(r, 200, "application/octet-stream", b);
		fl_bytes_put(&b);
	} else if (strcmp(path, "/keep") == 0 || strcmp(path, "/stream") == 0) {
		fl_http_on_close(r, on_kept_close, f);
		if (path[1] == 's')
			fl_http_start(r, 200, "application/json");
		f->kept[f->n_kept++] = r;
	} else if (strcmp(path, "/none") == 0) {
		fl_http_respond(r, 204, NULL, NULL, 0);
	} else {
		fl_http_respond(r, 404, "text/plain", "no\n", 3);
	}
}

static inline SSL_CTX *server_ctx(bool require)
{
	struct fl_err err = {0};
	SSL_CTX *ctx = NULL;
	if (fl_tls_server_ctx(pki.server.cert_pem, pki.server.key_pem, pki.ca.cert_pem, require, &ctx, &err) < 0)
		fail_msg("%s", err.text);
	return ctx;
}

static inline void setup_with(struct fixture *f, bool tls, const struct fl_http_limits *limits)
{
	struct fl_err err = {0};
	memset(f, 0, sizeof(*f));
	uv_loop_init(&f->loop);
	uv_timer_init(&f->loop, &f->watchdog);
	uv_timer_start(&f->watchdog, watchdog_barks, 60000, 0);
	uv_unref((uv_handle_t *)&f->watchdog);
	SSL_CTX *ctx = tls ? server_ctx(false) : NULL;
	struct fl_http_server_opts opts = {.tls = ctx, .handler = handle, .arg = f, .server_name = "test"};
	if (limits)
		opts.limits = *limits;
	assert_int_equal(fl_http_server_new(&f->loop, &opts, &f->server, &err), 0);
	SSL_CTX_free(ctx);
	struct fl_ip ip;
	assert_true(fl_ip_parse("127.0.0.1", &ip));
	if (fl_http_server_listen(f->server, &ip, 0, &f->port, &err) < 0)
		fail_msg("%s", err.text);
	snprintf(f->url, sizeof(f->url), "%s://127.0.0.1:%u", tls ? "https" : "http", f->port);
}

static inline void on_stopped(void *arg)
{
	((struct fixture *)arg)->stopped = true;
}

static inline void close_any(uv_handle_t *h, void *arg)
{
	if (!uv_is_closing(h))
		fail_msg("a handle was left open");
}

static inline void teardown(struct fixture *f)
{
	if (!f->stopped) {
		fl_http_server_stop(f->server, 0, on_stopped, f);
		WAIT(f, f->stopped);
	}
	fl_http_server_free(&f->server);
	assert_null(f->server);
	uv_close((uv_handle_t *)&f->watchdog, NULL);
	uv_walk(&f->loop, close_any, NULL);
	while (uv_run(&f->loop, UV_RUN_NOWAIT))
		;
	assert_int_equal(uv_loop_close(&f->loop), 0);
}

// --- raw client ---

struct raw {
	uv_tcp_t tcp;
	uv_connect_t connect;
	struct fl_buf in;
	bool connected, eof, closed, paused;
	int error;
};

static inline void raw_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
	*buf = uv_buf_init(fl_malloc(65536), 65536);
}

static inline void raw_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct raw *w = s->data;
	if (n > 0)
		fl_buf_append(&w->in, buf->base, (size_t)n);
	if (n < 0) {
		w->eof = true;
		w->error = n == UV_EOF ? 0 : (int)n;
	}
	free(buf->base);
}

static inline void raw_connected(uv_connect_t *req, int status)
{
	struct raw *w = req->handle->data;
	assert_int_equal(status, 0);
	w->connected = true;
	if (!w->paused)
		uv_read_start(req->handle, raw_alloc, raw_read);
}

static inline void raw_open(struct fixture *f, struct raw *w)
{
	bool paused = w->paused;
	memset(w, 0, sizeof(*w));
	w->paused = paused;
	uv_tcp_init(&f->loop, &w->tcp);
	w->tcp.data = w;
	struct sockaddr_in sin = {
	    .sin_family = AF_INET, .sin_port = htons(f->port), .sin_addr.s_addr = htonl(0x7f000001)};
	assert_int_equal(uv_tcp_connect(&w->connect, &w->tcp, (struct sockaddr *)&sin, raw_connected), 0);
	WAIT(f, w->connected);
}

struct raw_write {
	uv_write_t req;
	char data[];
};

static inline void raw_written(uv_write_t *req, int status)
{
	free(FL_CONTAINER_OF(req, struct raw_write, req));
}

static inline void raw_send_n(struct raw *w, const void *p, size_t n)
{
	struct raw_write *r = fl_malloc(sizeof(*r) + n);
	memcpy(r->data, p, n);
	uv_buf_t buf = uv_buf_init(r->data, (unsigned)n);
	if (uv_write(&r->req, (uv_stream_t *)&w->tcp, &buf, 1, raw_written) < 0)
		free(r);
}

static inline void raw_send(struct raw *w, const char *text)
{
	raw_send_n(w, text, strlen(text));
}

static inline void raw_on_close(uv_handle_t *h)
{
	struct raw *w = h->data;
	w->closed = true;
	fl_buf_deinit(&w->in);
}

static inline void raw_close(struct fixture *f, struct raw *w)
{
	if (w->closed)
		return;
	if (!uv_is_closing((uv_handle_t *)&w->tcp))
		uv_close((uv_handle_t *)&w->tcp, raw_on_close);
	WAIT(f, w->closed);
}

static inline void raw_shut_cb(uv_shutdown_t *req, int status)
{
	free(req);
}

static inline void raw_shut(struct raw *w)
{
	uv_shutdown(fl_malloc(sizeof(uv_shutdown_t)), (uv_stream_t *)&w->tcp, raw_shut_cb);
}

static inline bool raw_has(const struct raw *w, const char *text)
{
	return w->in.data && memmem(w->in.data, w->in.len, text, strlen(text));
}

static inline unsigned raw_count(const struct raw *w, const char *text)
{
	unsigned n = 0;
	for (const char *p = w->in.data; p && (p = strstr(p, text)); p++)
		n++;
	return n;
}

// --- calls with the client library ---

struct answer {
	bool done;
	int rc, status;
	struct fl_buf body;
	char type[64], x[16]; // response headers Content-Type and X
	struct fl_http_call *call;
	struct fl_err err;
	unsigned n_data;
};

static inline void answer_done(void *arg, int rc, int status, const char *body, size_t len, const struct fl_err *err)
{
	struct answer *a = arg;
	a->done = true;
	a->rc = rc;
	a->status = status;
	a->err = *err;
	if (len)
		fl_buf_append(&a->body, body, len);
	const char *type = rc == 0 ? fl_http_call_header(a->call, "content-type") : NULL;
	snprintf(a->type, sizeof(a->type), "%s", type ? type : "");
	const char *x = rc == 0 ? fl_http_call_header(a->call, "X") : NULL;
	snprintf(a->x, sizeof(a->x), "%s", x ? x : "");
	assert_int_equal(body[len], 0);
}

static inline void answer_data(void *arg, int status, const char *data, size_t len)
{
	struct answer *a = arg;
	a->status = status;
	a->n_data++;
	fl_buf_append(&a->body, data, len);
}

static inline void answer_reset(struct answer *a)
{
	fl_buf_deinit(&a->body);
	memset(a, 0, sizeof(*a));
}

static inline void start_call(struct fixture *f, struct fl_http_client *c, const char *method, const char *path,
			      const void *body, size_t len, bool stream, struct answer *a)
{
	char url[512];
	struct fl_err err = {0};
	snprintf(url, sizeof(url), "%s%s", f->url, path);
	const char *const headers[] = {"Content-Type: text/x-test", NULL};
	struct fl_http_call_opts o = {.method = method,
				      .url = url,
				      .headers = headers,
				      .body = body,
				      .body_len = len,
				      .on_done = answer_done,
				      .arg = a};
	if (stream)
		o.on_data = answer_data;
	answer_reset(a);
	if (fl_http_client_call(c, &o, &a->call, &err) < 0)
		fail_msg("%s", err.text);
}

static inline void call(struct fixture *f, struct fl_http_client *c, const char *method, const char *path,
			const void *body, size_t len, struct answer *a)
{
	start_call(f, c, method, path, body, len, false, a);
	WAIT(f, a->done);
}

static inline struct fl_http_client *new_client(struct fixture *f, const struct fl_pki_cert *cert)
{
	struct fl_err err = {0};
	struct fl_http_client *c = NULL;
	struct fl_http_client_opts o = {.ca_pem = pki.ca.cert_pem,
					.cert_pem = cert ? cert->cert_pem : NULL,
					.key_pem = cert ? cert->key_pem : NULL};
	assert_int_equal(fl_http_client_new(&f->loop, &o, &c, &err), 0);
	return c;
}
