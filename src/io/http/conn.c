// SPDX-License-Identifier: Apache-2.0
// One connection: the socket, TLS over it, and the batching of output. Knows no HTTP; a struct fl_codec does.
//
//   in:   socket -> server->in -> [OpenSSL -> server->plain] -> codec->input
//   out:  codec->drain -> fl_conn_put -> [cork -> SSL_write] -> server->batch -> uv_try_write -> rest: uv_write
//
// All buffers on these ways belong to the server and are used for the length of one call, so a silent connection holds
// none. Output stays in the requests, as references to shared bytes, until the kernel has taken the batch before it: of
// a slow reader's backlog at most one batch exists as private (encrypted) bytes.
//
// OpenSSL talks to a BIO of our own, which reads from the bytes at hand and writes into the batch.
#include <errno.h>
#include <openssl/err.h>
#include <pthread.h>
#include <string.h>

#include "base/log.h"
#include "io/http/conn.h"
#include "io/openssl.h"

#define LINGER_MS  2000          // for the peer to read the last answer and close
#define FAIR_BYTES (1024 * 1024) // a connection's output in one turn of the loop

static void run_tls(struct fl_conn *c);

// --- the BIO ---

static BIO_METHOD *bio_method;

static int bio_read(BIO *b, char *p, int n)
{
	struct fl_conn *c = BIO_get_data(b);
	BIO_clear_retry_flags(b);
	if (!c->in_len) {
		BIO_set_retry_read(b);
		return -1;
	}
	size_t take = c->in_len < (size_t)n ? c->in_len : (size_t)n;
	memcpy(p, c->in, take);
	c->in += take;
	c->in_len -= take;
	return (int)take;
}

static int bio_write(BIO *b, const char *p, int n)
{
	struct fl_conn *c = BIO_get_data(b);
	BIO_clear_retry_flags(b);
	fl_buf_append(&c->server->batch, p, (size_t)n);
	return n;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
	return cmd == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *b)
{
	BIO_set_init(b, 1);
	return 1;
}

static void make_bio_method(void)
{
	bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "fairlead connection");
	BIO_meth_set_read(bio_method, bio_read);
	BIO_meth_set_write(bio_method, bio_write);
	BIO_meth_set_ctrl(bio_method, bio_ctrl);
	BIO_meth_set_create(bio_method, bio_create);
}

static bool start_tls(struct fl_conn *c, SSL_CTX *ctx)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, make_bio_method);
	c->ssl = SSL_new(ctx);
	BIO *bio = c->ssl ? BIO_new(bio_method) : NULL;
	if (!bio)
		return false;
	BIO_set_data(bio, c);
	SSL_set_bio(c->ssl, bio, bio);
	SSL_set_accept_state(c->ssl);
	return true;
}

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
	struct fl_buf *b = &c->server->batch;
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

static void encrypt(struct fl_conn *c, const char *p, size_t n)
{
	while (n && c->state != FL_CONN_CLOSED) {
		size_t done = 0;
		if (SSL_write_ex(c->ssl, p, n, &done) != 1) { // the BIO takes everything: only a broken session fails
			ERR_clear_error();
			fl_conn_kill(c, false);
			return;
		}
		p += done;
		n -= done;
	}
}

static void uncork(struct fl_conn *c)
{
	struct fl_http_server *s = c->server;
	size_t n = s->corked;
	s->corked = 0;
	encrypt(c, s->cork, n);
}

// Small pieces share a TLS record; a piece of a full record's size is encrypted from where it stands.
void fl_conn_put(struct fl_conn *c, const void *data, size_t n)
{
	struct fl_http_server *s = c->server;
	const char *p = data;
	if (!c->ssl) {
		fl_buf_append(&s->batch, p, n);
		return;
	}
	while (n) {
		if (!s->corked && n >= FL_CORK_BYTES) {
			encrypt(c, p, FL_CORK_BYTES);
			p += FL_CORK_BYTES;
			n -= FL_CORK_BYTES;
			continue;
		}
		size_t take = FL_CORK_BYTES - s->corked < n ? FL_CORK_BYTES - s->corked : n;
		memcpy(s->cork + s->corked, p, take);
		s->corked += take;
		p += take;
		n -= take;
		if (s->corked == FL_CORK_BYTES)
			uncork(c);
	}
}

size_t fl_conn_room(const struct fl_conn *c)
{
	size_t used = c->server->batch.len + c->server->corked;
	return used < FL_BATCH_BYTES ? FL_BATCH_BYTES - used : 0;
}

static void flush(struct fl_conn *c)
{
	struct fl_http_server *s = c->server;
	size_t total = 0;
	while (c->codec && (c->state == FL_CONN_OPEN || c->state == FL_CONN_CLOSING) && !c->unwritten) {
		s->batch.len = s->corked = 0;
		c->codec->drain(c);
		uncork(c);
		total += s->batch.len;
		if (!s->batch.len)
			break;
		send_batch(c, total < FAIR_BYTES);
	}
	s->batch.len = s->corked = 0;
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
		if (c->ssl && SSL_is_init_finished(c->ssl)) {
			SSL_shutdown(c->ssl);
			send_batch(c, true);
		}
		fl_conn_kill(c, false);
		return;
	}
	if (c->ssl && SSL_is_init_finished(c->ssl)) {
		SSL_shutdown(c->ssl);
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
		c->server->batch.len = 0;
		fl_buf_puts(&c->server->batch, "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n"
					       "Client sent an HTTP request to an HTTPS server.\n");
	}
	ERR_clear_error();
	send_batch(c, true);
	if (c->state != FL_CONN_CLOSED)
		shut(c);
}

static bool handshake(struct fl_conn *c)
{
	int rc = SSL_do_handshake(c->ssl);
	if (rc != 1) {
		if (SSL_get_error(c->ssl, rc) == SSL_ERROR_WANT_READ)
			send_batch(c, true);
		else
			refuse_handshake(c);
		return false;
	}
	struct fl_err err = {0};
	if (fl_tls_identity_get(c->ssl, &c->identity, &err) < 0) {
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
	SSL_get0_alpn_selected(c->ssl, &proto, &len);
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
	s->batch.len = s->corked = 0;
	if (c->state == FL_CONN_HANDSHAKE && !handshake(c))
		return;
	while (c->state == FL_CONN_OPEN) {
		size_t n = 0;
		if (SSL_read_ex(c->ssl, s->plain, sizeof(s->plain), &n) == 1) {
			feed_codec(c, s->plain, n);
			continue;
		}
		int e = SSL_get_error(c->ssl, 0);
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
	if (!c->ssl) {
		feed_codec(c, p, n);
		return;
	}
	c->in = p;
	c->in_len = n;
	run_tls(c);
	c->in = NULL;
	c->in_len = 0;
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
	SSL_free(c->ssl);
	c->ssl = NULL;
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
		if (!start_tls(c, s->tls)) {
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
