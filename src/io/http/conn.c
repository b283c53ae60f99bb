// SPDX-License-Identifier: Apache-2.0
// One connection: the socket, TLS over it, and the batching of output. Knows no HTTP; a struct fl_codec does.
//
//   in:   socket -> server->in -> [OpenSSL -> server->plain] -> codec->input
//   out:  codec->drain -> fl_conn_put -> pipe.c -> server->out.batch -> uv_try_write -> rest: uv_write
//
// All buffers on these ways belong to the server and are used for the length of one call, so a silent connection holds
// none. Output stays in the requests, as references to shared bytes, until the kernel has taken the batch before it: of
// a slow reader's backlog at most one batch exists as private (encrypted) bytes.
#include <errno.h>
#include <openssl/err.h>
#include <string.h>

#include "base/log.h"
#include "io/http/conn.h"
#include "io/openssl.h"

#define LINGER_MS  2000          // for the peer to read the last answer and close
#define FAIR_BYTES (1024 * 1024) // a connection's output in one turn of the loop

// --- output ---

struct pending_write {
	uv_write_t req;
	struct fl_conn *conn;
	size_t n;
	char data[];
};

static void write_done(uv_write_t *req, int status)
{
	struct pending_write *w = FL_CONTAINER_OF(req, struct pending_write, req);
	struct fl_conn *c = w->conn;
	c->unwritten -= w->n;
	free(w);
	if (c->state == FL_CONN_CLOSED)
		return;
	if (status < 0) {
		fl_conn_kill(c, false);
		return;
	}
	c->stall_ms = 0;
	if (c->unwritten) {
		c->stall_ms = uv_now(c->server->loop) + c->server->opts.limits.stall_ms;
		return;
	}
	c->epoch++;
	fl_conn_run(c);
}

static void queue_write(struct fl_conn *c, const char *p, size_t n)
{
	struct pending_write *w = fl_malloc(sizeof(*w) + n);
	w->conn = c;
	w->n = n;
	memcpy(w->data, p, n);
	uv_buf_t buf = uv_buf_init(w->data, (unsigned)n);
	c->unwritten += n;
	int rc = uv_write(&w->req, &c->uv.stream, &buf, 1, write_done);
	if (rc < 0) {
		c->unwritten -= n;
		free(w);
		fl_conn_kill(c, false);
		return;
	}
	c->stall_ms = uv_now(c->server->loop) + c->server->opts.limits.stall_ms;
	fl_server_arm(c->server, c->stall_ms);
}

// Gives server->batch to the kernel. `at_once` false leaves it to the next turn of the loop.
static void send_batch(struct fl_conn *c, bool at_once)
{
	struct fl_buf *b = &c->server->out.batch;
	size_t sent = 0;
	if (!b->len || c->state == FL_CONN_CLOSED)
		return;
	if (c->detached) {
		fl_buf_append(c->tap, b->data, b->len);
		sent = b->len;
	} else if (!c->unwritten && at_once) {
		uv_buf_t buf = uv_buf_init(b->data, (unsigned)b->len);
		int rc = uv_try_write(&c->uv.stream, &buf, 1);
		if (rc < 0 && rc != UV_EAGAIN) {
			b->len = 0;
			fl_conn_kill(c, false);
			return;
		}
		sent = rc > 0 ? (size_t)rc : 0;
	}
	if (sent < b->len)
		queue_write(c, b->data + sent, b->len - sent);
	else
		c->epoch++;
	b->len = 0;
}

void fl_conn_put(struct fl_conn *c, const void *data, size_t n)
{
	if (c->state != FL_CONN_CLOSED && !fl_pipe_put(&c->pipe, data, n))
		fl_conn_kill(c, false);
}

static void uncork(struct fl_conn *c)
{
	if (c->state == FL_CONN_CLOSED)
		c->server->out.corked = 0;
	else if (c->pipe.ssl && !fl_pipe_uncork(&c->pipe))
		fl_conn_kill(c, false);
}

size_t fl_conn_room(const struct fl_conn *c)
{
	return fl_pipe_room(&c->pipe);
}

static void flush(struct fl_conn *c)
{
	struct fl_http_server *s = c->server;
	size_t total = 0;
	while (c->codec && (c->state == FL_CONN_OPEN || c->state == FL_CONN_CLOSING) && !c->unwritten) {
		s->out.batch.len = s->out.corked = 0;
		c->codec->drain(c);
		uncork(c);
		total += s->out.batch.len;
		if (!s->out.batch.len)
			break;
		send_batch(c, total < FAIR_BYTES);
	}
	s->out.batch.len = s->out.corked = 0;
}

// What waits for the kernel to take its last bytes stays in `over`.
static void finish_requests(struct fl_conn *c)
{
	struct fl_req_queue todo = STAILQ_HEAD_INITIALIZER(todo);
	STAILQ_CONCAT(&todo, &c->over);
	for (struct fl_http_req *r; (r = STAILQ_FIRST(&todo));) {
		STAILQ_REMOVE_HEAD(&todo, queued);
		if (!r->failed && c->unwritten) {
			STAILQ_INSERT_TAIL(&c->over, r, queued);
			continue;
		}
		r->in_over = false;
		fl_req_finish(r);
	}
}

static void shutdown_done(uv_shutdown_t *req, int status)
{
	struct fl_conn *c = FL_CONTAINER_OF(req, struct fl_conn, shutdown);
	if (status < 0)
		fl_conn_kill(c, false);
}

// Everything is sent: say so to the peer and wait for it to close, since closing with unread input would reset the
// connection and could take the last answer with it.
static void shut(struct fl_conn *c)
{
	if (c->read_eof || c->detached) {
		if (c->pipe.ssl && SSL_is_init_finished(c->pipe.ssl)) {
			SSL_shutdown(c->pipe.ssl);
			send_batch(c, true);
		}
		fl_conn_kill(c, false);
		return;
	}
	if (c->pipe.ssl && SSL_is_init_finished(c->pipe.ssl)) {
		SSL_shutdown(c->pipe.ssl);
		ERR_clear_error();
		send_batch(c, true);
	}
	if (c->state == FL_CONN_CLOSED)
		return;
	c->state = FL_CONN_LINGER;
	fl_conn_set_deadline(c, LINGER_MS);
	if (uv_shutdown(&c->shutdown, &c->uv.stream, shutdown_done) < 0)
		fl_conn_kill(c, false);
	else
		fl_conn_read(c, true);
}

void fl_conn_mark_dirty(struct fl_conn *c)
{
	struct fl_http_server *s = c->server;
	if (c->is_dirty || (s->started && uv_is_closing((uv_handle_t *)&s->prepare)))
		return;
	c->is_dirty = true;
	c->refs++;
	TAILQ_INSERT_TAIL(&s->dirty, c, dirty);
}

static void undirty(struct fl_conn *c)
{
	if (!c->is_dirty)
		return;
	c->is_dirty = false;
	TAILQ_REMOVE(&c->server->dirty, c, dirty);
	c->refs--; // never the last: fl_conn_run holds one
}

void fl_conn_run(struct fl_conn *c)
{
	if (c->running)
		return;
	c->running = true;
	c->refs++;
	bool more;
	do {
		undirty(c);
		flush(c);
		finish_requests(c);
		more = c->state == FL_CONN_OPEN && c->codec->resume(c);
	} while (more || c->is_dirty);
	c->running = false;
	if (c->state == FL_CONN_CLOSING && !c->unwritten)
		shut(c);
	fl_conn_unref(c);
}

// --- input ---

static void feed_codec(struct fl_conn *c, const char *p, size_t n)
{
	if (c->state == FL_CONN_OPEN && c->codec->input(c, p, n) < 0)
		fl_conn_close(c);
}

static void peer_closed(struct fl_conn *c)
{
	if (c->read_eof)
		return;
	c->read_eof = true;
	if (c->state == FL_CONN_OPEN && c->codec->eof(c)) {
		c->deadline_ms = uv_now(c->server->loop) + c->server->opts.limits.half_close_ms;
		fl_server_arm(c->server, c->deadline_ms);
		fl_conn_read(c, false);
	} else if (c->state != FL_CONN_CLOSING || !c->unwritten) {
		fl_conn_kill(c, false);
	} else {
		fl_conn_read(c, false);
	}
}

static int open_codec(struct fl_conn *c, const struct fl_codec *codec)
{
	c->codec = codec;
	c->state = FL_CONN_OPEN;
	return codec->open(c);
}

// A failed handshake: its alert is in the batch.
static void refuse_handshake(struct fl_conn *c)
{
	unsigned long e = ERR_peek_last_error();
	if (ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) == SSL_R_HTTP_REQUEST) {
		c->server->out.batch.len = 0;
		fl_buf_puts(&c->server->out.batch, "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n"
						   "Client sent an HTTP request to an HTTPS server.\n");
	}
	ERR_clear_error();
	send_batch(c, true);
	if (c->state != FL_CONN_CLOSED)
		shut(c);
}

static bool handshake(struct fl_conn *c)
{
	int rc = SSL_do_handshake(c->pipe.ssl);
	if (rc != 1) {
		if (SSL_get_error(c->pipe.ssl, rc) == SSL_ERROR_WANT_READ)
			send_batch(c, true);
		else
			refuse_handshake(c);
		return false;
	}
	struct fl_err err = {0};
	if (fl_tls_identity_get(c->pipe.ssl, &c->identity, &err) < 0) {
		fl_debug("%s: handshake refused: %s", c->server->opts.server_name, err.text);
		refuse_handshake(c);
		return false;
	}
	send_batch(c, true);
	if (c->state == FL_CONN_CLOSED)
		return false;
	fl_server_handshake_done(c->server);
	const unsigned char *proto = NULL;
	unsigned len = 0;
	SSL_get0_alpn_selected(c->pipe.ssl, &proto, &len);
	bool h2 = len == 2 && memcmp(proto, "h2", 2) == 0;
	fl_conn_set_deadline(c, c->server->opts.limits.idle_ms);
	if (open_codec(c, h2 ? &fl_codec_h2 : &fl_codec_h1) < 0) {
		fl_conn_kill(c, false);
		return false;
	}
	return true;
}

static void run_tls(struct fl_conn *c)
{
	struct fl_http_server *s = c->server;
	s->out.batch.len = s->out.corked = 0;
	ERR_clear_error(); // of others: SSL_get_error would take it for this connection's
	if (c->state == FL_CONN_HANDSHAKE && !handshake(c))
		return;
	while (c->state == FL_CONN_OPEN) {
		size_t n = 0;
		if (SSL_read_ex(c->pipe.ssl, s->plain, sizeof(s->plain), &n) == 1) {
			feed_codec(c, s->plain, n);
			ERR_clear_error(); // what handlers left
			continue;
		}
		int e = SSL_get_error(c->pipe.ssl, 0);
		ERR_clear_error();
		send_batch(c, true); // key updates, alerts
		if (e == SSL_ERROR_ZERO_RETURN)
			peer_closed(c);
		else if (e != SSL_ERROR_WANT_READ)
			fl_conn_kill(c, false);
		break;
	}
}

void fl_conn_feed(struct fl_conn *c, const char *p, size_t n)
{
	if (!c->pipe.ssl) {
		feed_codec(c, p, n);
		return;
	}
	c->pipe.in = p;
	c->pipe.in_len = n;
	run_tls(c);
	c->pipe.in = NULL;
	c->pipe.in_len = 0;
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
	struct fl_conn *c = h->data;
	*buf = uv_buf_init(c->server->in, sizeof(c->server->in));
}

static void on_read(uv_stream_t *st, ssize_t n, const uv_buf_t *buf)
{
	struct fl_conn *c = st->data;
	if (n == UV_EOF) {
		peer_closed(c);
	} else if (n < 0) {
		fl_conn_kill(c, false);
	} else if (n > 0 && (c->state == FL_CONN_OPEN || c->state == FL_CONN_HANDSHAKE)) {
		fl_conn_feed(c, buf->base, (size_t)n);
		fl_conn_run(c);
	}
}

void fl_conn_read(struct fl_conn *c, bool on)
{
	if (on == c->reading || c->detached || c->state == FL_CONN_CLOSED || (on && c->read_eof))
		return;
	c->reading = on;
	if (on && uv_read_start(&c->uv.stream, on_alloc, on_read) < 0)
		fl_conn_kill(c, false);
	else if (!on)
		uv_read_stop(&c->uv.stream);
}

// --- life ---

static void set_idle(struct fl_conn *c, bool idle)
{
	if (idle == c->is_idle)
		return;
	c->is_idle = idle;
	if (idle)
		TAILQ_INSERT_TAIL(&c->server->idle, c, idle);
	else
		TAILQ_REMOVE(&c->server->idle, c, idle);
}

void fl_conn_busy(struct fl_conn *c, int change)
{
	c->n_busy = (unsigned)((int)c->n_busy + change);
	set_idle(c, !c->n_busy && c->state != FL_CONN_CLOSED);
}

void fl_conn_set_deadline(struct fl_conn *c, unsigned in_ms)
{
	if (c->read_eof && c->state == FL_CONN_OPEN) // that of the half-closed peer stays
		return;
	c->deadline_ms = in_ms ? uv_now(c->server->loop) + in_ms : 0;
	if (in_ms)
		fl_server_arm(c->server, c->deadline_ms);
}

static struct fl_conn *new_conn(struct fl_http_server *s)
{
	struct fl_conn *c = FL_NEW(struct fl_conn);
	c->server = s;
	c->pipe.out = &s->out;
	s->refs++;
	c->refs = 1;
	TAILQ_INIT(&c->reqs);
	STAILQ_INIT(&c->ready);
	STAILQ_INIT(&c->over);
	TAILQ_INSERT_TAIL(&s->conns, c, all);
	s->n_conns++;
	s->n_sockets++;
	set_idle(c, true);
	return c;
}

void fl_conn_unref(struct fl_conn *c)
{
	if (--c->refs)
		return;
	struct fl_http_server *s = c->server;
	fl_tls_identity_free(&c->identity);
	free(c);
	fl_server_unref(s);
}

static void closed(struct fl_conn *c)
{
	if (c->codec)
		c->codec->close(c);
	c->codec_data = NULL;
	fl_pipe_stop_tls(&c->pipe);
	for (struct fl_http_req *r = TAILQ_FIRST(&c->reqs), *next; r; r = next) {
		next = TAILQ_NEXT(r, of_conn);
		r->in_ready = false;
		fl_req_failed(r);
	}
	STAILQ_INIT(&c->ready);
	finish_requests(c);
	struct fl_http_server *s = c->server;
	s->refs++;
	fl_conn_unref(c);
	fl_server_conn_closed(s);
	fl_server_unref(s);
}

static void handle_closed(uv_handle_t *h)
{
	closed(h->data);
}

void fl_conn_kill(struct fl_conn *c, bool reset)
{
	if (c->state == FL_CONN_CLOSED)
		return;
	c->state = FL_CONN_CLOSED;
	c->deadline_ms = c->stall_ms = 0;
	TAILQ_REMOVE(&c->server->conns, c, all);
	c->server->n_conns--;
	set_idle(c, false);
	if (c->detached)
		return;
	// A reset is refused after a shutdown was asked for.
	if (!reset || uv_tcp_close_reset(&c->uv.tcp, handle_closed) < 0)
		uv_close(&c->uv.handle, handle_closed);
}

void fl_conn_close(struct fl_conn *c)
{
	if (c->state != FL_CONN_OPEN)
		return;
	c->state = FL_CONN_CLOSING;
	fl_conn_mark_dirty(c);
}

static void learn_peer(struct fl_conn *c)
{
	struct sockaddr_storage sa;
	int n = sizeof(sa);
	if (uv_tcp_getpeername(&c->uv.tcp, (struct sockaddr *)&sa, &n) == 0)
		fl_ip_from_sockaddr((struct sockaddr *)&sa, &c->peer, &c->peer_port);
	n = sizeof(sa);
	if (uv_tcp_getsockname(&c->uv.tcp, (struct sockaddr *)&sa, &n) == 0)
		fl_ip_from_sockaddr((struct sockaddr *)&sa, &c->local, &c->local_port);
}

// With too many connections, the longest idle one of a peer that has not shown who it is, else the longest idle one.
// One always is: the newest, which is idle too. So strangers push out strangers, and no client that has a certificate.
static struct fl_conn *who_gives_way(struct fl_http_server *s)
{
	struct fl_conn *c;
	TAILQ_FOREACH(c, &s->idle, idle)
	if (!c->identity || !c->identity->user)
		return c;
	return TAILQ_FIRST(&s->idle);
}

void fl_conn_accept(struct fl_http_server *s, uv_stream_t *listener)
{
	struct fl_conn *c = new_conn(s);
	int rc = uv_tcp_init(s->loop, &c->uv.tcp); // without a socket yet: cannot fail
	c->uv.handle.data = c;
	if (rc == 0)
		rc = uv_accept(listener, &c->uv.stream);
	if (rc < 0) {
		fl_conn_kill(c, false);
		return;
	}
	if (s->n_conns > s->opts.limits.max_connections) {
		struct fl_conn *victim = who_gives_way(s);
		fl_conn_kill(victim, false);
		if (victim == c)
			return;
	}
	learn_peer(c);
	if (s->tls) {
		if (!fl_pipe_start_tls(&c->pipe, s->tls, true)) {
			char reason[256];
			fl_warn("%s: no TLS for a new connection: %s", s->opts.server_name,
				fl_openssl_reason(reason, sizeof(reason)));
			fl_conn_kill(c, false);
			return;
		}
	} else if (open_codec(c, &fl_codec_h1) < 0) {
		fl_conn_kill(c, false);
		return;
	}
	fl_conn_set_deadline(c, s->tls ? s->opts.limits.handshake_ms : s->opts.limits.header_ms);
	fl_conn_read(c, true);
}

struct fl_conn *fl_conn_new_detached(struct fl_http_server *s, const struct fl_codec *codec, struct fl_buf *tap)
{
	struct fl_conn *c = new_conn(s);
	c->detached = true;
	c->tap = tap;
	if (open_codec(c, codec) < 0)
		fl_conn_kill(c, false);
	return c;
}

void fl_conn_free_detached(struct fl_conn *c)
{
	fl_conn_kill(c, false);
	closed(c);
}
