// SPDX-License-Identifier: Apache-2.0
// One connection of the client: the name is looked up, its addresses are tried one after the other, TLS is spoken, and
// a codec turns bytes into calls' answers.
//
//   in:   socket -> client->in -> [OpenSSL -> client->plain] -> codec->input
//   out:  codec->drain -> fl_link_put -> pipe.c -> client->out.batch -> uv_try_write -> rest: uv_write
//
// The link's memory ends with fl_link_close, at once or, when that is called from within its own input, after it; the
// libuv handle in it is an object of its own, since libuv closes it later.
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "io/http/client.h"
#include "io/openssl.h"

#define DEAD_PEER_MS 45000
#define IN_BYTES     (64 * 1024)
#define FAIR_BYTES   (1024 * 1024) // a link's output in one turn of the loop

struct fl_link_socket {
	uv_tcp_t tcp;
	uv_connect_t connect;
	struct fl_http_client *client;
	struct fl_link *link; // NULL: closed
};

struct fl_link_resolve {
	uv_getaddrinfo_t req;
	struct fl_http_client *client;
	struct fl_link *link; // NULL: not wanted any more
};

static void try_address(struct fl_link *l);
static void destroy(struct fl_link *l);

// --- output ---

struct pending_write {
	uv_write_t req;
	size_t n;
	char data[];
};

static void write_done(uv_write_t *req, int status)
{
	struct pending_write *w = FL_CONTAINER_OF(req, struct pending_write, req);
	struct fl_link_socket *s = req->handle->data;
	struct fl_link *l = s->link;
	size_t n = w->n;
	free(w);
	if (!l)
		return;
	l->unwritten -= n;
	if (status < 0)
		l->write_failed = true;
	else if (!l->unwritten)
		fl_link_mark_dirty(l);
}

static void queue_write(struct fl_link *l, const char *p, size_t n)
{
	struct pending_write *w = fl_malloc(sizeof(*w) + n);
	w->n = n;
	memcpy(w->data, p, n);
	uv_buf_t buf = uv_buf_init(w->data, (unsigned)n);
	l->unwritten += n;
	if (uv_write(&w->req, (uv_stream_t *)&l->socket->tcp, &buf, 1, write_done) < 0) {
		l->unwritten -= n;
		l->write_failed = true;
		free(w);
	}
}

// Gives the batch to the kernel. `at_once` false leaves it to the next turn of the loop.
static void send_batch(struct fl_link *l, bool at_once)
{
	struct fl_buf *b = &l->client->out.batch;
	size_t sent = 0;
	if (!b->len)
		return;
	if (l->detached) {
		fl_buf_append(l->tap, b->data, b->len);
		sent = b->len;
	} else if (l->write_failed) {
		sent = b->len;
	} else if (!l->unwritten && at_once) {
		uv_buf_t buf = uv_buf_init(b->data, (unsigned)b->len);
		int rc = uv_try_write((uv_stream_t *)&l->socket->tcp, &buf, 1);
		l->write_failed = rc < 0 && rc != UV_EAGAIN;
		sent = l->write_failed ? b->len : rc > 0 ? (size_t)rc : 0;
	}
	if (sent < b->len)
		queue_write(l, b->data + sent, b->len - sent);
	b->len = 0;
}

void fl_link_put(struct fl_link *l, const void *p, size_t n)
{
	if (!l->broken_tls && !fl_pipe_put(&l->pipe, p, n))
		l->broken_tls = true;
}

size_t fl_link_room(const struct fl_link *l)
{
	return fl_pipe_room(&l->pipe);
}

static void undirty(struct fl_link *l)
{
	if (!l->is_dirty)
		return;
	l->is_dirty = false;
	TAILQ_REMOVE(&l->client->dirty, l, dirty);
}

void fl_link_mark_dirty(struct fl_link *l)
{
	if (l->is_dirty || l->state == FL_LINK_CLOSED)
		return;
	l->is_dirty = true;
	TAILQ_INSERT_TAIL(&l->client->dirty, l, dirty);
	if (!l->client->depth)
		fl_client_wake(l->client);
}

static void flush(struct fl_link *l)
{
	struct fl_outbuf *o = &l->client->out;
	size_t total = 0;
	bool was_running = l->running;
	l->running = true; // what is sent may end calls, and so the link
	while (l->state == FL_LINK_OPEN && !l->unwritten && !l->write_failed && !l->broken_tls) {
		l->codec->drain(l);
		if (l->pipe.ssl && !l->broken_tls && !fl_pipe_uncork(&l->pipe))
			l->broken_tls = true;
		total += o->batch.len;
		if (!o->batch.len)
			break;
		send_batch(l, total < FAIR_BYTES);
	}
	o->batch.len = o->corked = 0;
	l->running = was_running;
}

void fl_link_flush(struct fl_link *l)
{
	undirty(l);
	flush(l);
	if (l->broken_tls)
		fl_link_lost(l, -EPROTO, "the TLS session is broken");
	else if (l->closing && !l->running)
		destroy(l);
}

// --- end ---

static void socket_closed(uv_handle_t *h)
{
	struct fl_link_socket *s = h->data;
	fl_client_unref(s->client);
	free(s);
}

static void drop_socket(struct fl_link *l)
{
	struct fl_link_socket *s = TAKE_PTR(l->socket);
	if (!s)
		return;
	s->link = NULL;
	uv_close((uv_handle_t *)&s->tcp, socket_closed);
}

static void say_goodbye(struct fl_link *l)
{
	if (l->state != FL_LINK_OPEN)
		return;
	flush(l);
	if (l->pipe.ssl && !l->broken_tls && !l->unwritten) {
		SSL_shutdown(l->pipe.ssl);
		ERR_clear_error();
		send_batch(l, true);
	}
}

static void destroy(struct fl_link *l)
{
	struct fl_origin *o = l->origin;
	say_goodbye(l);
	l->state = FL_LINK_CLOSED;
	undirty(l);
	if (l->in_making)
		o->n_making--;
	if (l->resolve) {
		l->resolve->link = NULL;
		uv_cancel((uv_req_t *)&l->resolve->req);
	}
	if (l->codec)
		l->codec->close(l);
	if (l->pipe.ssl) // a session that was not shut down would not be resumed
		SSL_set_shutdown(l->pipe.ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	fl_pipe_stop_tls(&l->pipe);
	drop_socket(l);
	TAILQ_REMOVE(&o->links, l, of_origin);
	if (TAILQ_FIRST(&o->waiting)) // for room on it, perhaps
		fl_origin_mark(o);
	free(l->addresses);
	free(l);
}

void fl_link_close(struct fl_link *l)
{
	l->draining = true;
	if (l->running)
		l->closing = true;
	else
		destroy(l);
}

void fl_link_lost(struct fl_link *l, int rc, const char *why)
{
	char text[256];
	struct fl_origin *o = l->origin;
	snprintf(text, sizeof(text), "%s", why);
	bool was_running = l->running;
	l->running = l->draining = true;
	for (struct fl_http_call *call;
	     (call = TAILQ_LAST(&l->calls, fl_call_list));) // so those again keep their order
		fl_call_lost(call, rc, text);
	l->running = was_running;
	if (TAILQ_FIRST(&o->waiting))
		fl_origin_mark(o);
	fl_link_close(l);
}

// --- input ---

// The last bytes of the handshake wait in the batch, to leave with the first requests.
static void open_link(struct fl_link *l, const struct fl_link_codec *codec)
{
	l->codec = codec;
	if (codec->open(l) < 0) {
		l->codec = NULL;
		fl_origin_link_failed(l, -ENOMEM, "no memory for a connection");
		return;
	}
	fl_origin_link_open(l);
	undirty(l);
	flush(l);
}

static void handshake(struct fl_link *l)
{
	int rc = SSL_do_handshake(l->pipe.ssl);
	if (rc != 1) {
		int e = SSL_get_error(l->pipe.ssl, rc);
		if (e == SSL_ERROR_WANT_READ) {
			send_batch(l, true);
			return;
		}
		l->rc = fl_client_tls_reason(l, e);
		send_batch(l, true); // the alert
		fl_origin_link_failed(l, l->rc, l->why);
		return;
	}
	const unsigned char *proto = NULL;
	unsigned len = 0;
	SSL_get0_alpn_selected(l->pipe.ssl, &proto, &len);
	bool h2 = len == 2 && memcmp(proto, "h2", 2) == 0;
	open_link(l, h2 ? &fl_link_h2 : &fl_link_h1);
}

static void give_codec(struct fl_link *l, const char *p, size_t n)
{
	const char *why = "it is malformed";
	if (l->closing || l->state != FL_LINK_OPEN)
		return;
	if (l->codec->input(l, p, n, &why) < 0 && !l->closing) {
		char text[256];
		snprintf(text, sizeof(text), "the server's answer is not understood: %s", why);
		fl_link_lost(l, -EPROTO, text);
	}
}

static void codec_eof(struct fl_link *l, bool clean)
{
	if (l->closing)
		return;
	if (l->state == FL_LINK_OPEN)
		l->codec->eof(l, clean);
	if (l->closing)
		return;
	if (l->state == FL_LINK_OPEN)
		fl_link_lost(l, -ECONNRESET, "the server closed the connection before its response was complete");
	else
		fl_origin_link_failed(l, -ECONNRESET, "the server closed the connection during the TLS handshake");
}

static void read_tls(struct fl_link *l)
{
	if (l->state == FL_LINK_HANDSHAKE)
		handshake(l);
	while (l->state == FL_LINK_OPEN && !l->closing) {
		size_t n = 0;
		if (SSL_read_ex(l->pipe.ssl, l->client->plain, FL_CORK_BYTES + 1024, &n) == 1) {
			send_batch(l, true); // key updates: callbacks may make other links use the batch
			give_codec(l, l->client->plain, n);
			ERR_clear_error(); // what callbacks left
			continue;
		}
		int e = SSL_get_error(l->pipe.ssl, 0);
		if (e == SSL_ERROR_WANT_READ) {
			send_batch(l, true);
			break;
		}
		if (e == SSL_ERROR_ZERO_RETURN) {
			codec_eof(l, true);
			break;
		}
		l->broken_tls = true;
		int rc = fl_client_tls_reason(l, e);
		send_batch(l, true); // an alert
		fl_link_lost(l, rc, l->why);
	}
	ERR_clear_error();
}

static void begin(struct fl_link *l)
{
	l->running = true;
	l->client->depth++;
	l->client->out.batch.len = l->client->out.corked = 0;
	ERR_clear_error(); // of others: SSL_get_error would take it for this connection's
}

static void end(struct fl_link *l)
{
	struct fl_http_client *c = l->client;
	l->running = false;
	if (l->closing)
		destroy(l);
	c->depth--;
	fl_client_settle(c);
}

void fl_link_feed(struct fl_link *l, const char *p, size_t n)
{
	begin(l);
	l->heard_ms = uv_now(l->client->loop);
	if (l->pipe.ssl) {
		l->pipe.in = p;
		l->pipe.in_len = n;
		read_tls(l);
		l->pipe.in = NULL;
		l->pipe.in_len = 0;
	} else {
		give_codec(l, p, n);
	}
	end(l);
}

void fl_link_feed_eof(struct fl_link *l)
{
	begin(l);
	codec_eof(l, !l->pipe.ssl);
	end(l);
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
	const struct fl_link_socket *s = h->data;
	*buf = uv_buf_init(s->client->in, IN_BYTES);
}

static void on_read(uv_stream_t *st, ssize_t n, const uv_buf_t *buf)
{
	const struct fl_link_socket *s = st->data;
	struct fl_link *l = s->link;
	if (!l || !n)
		return;
	if (n > 0) {
		fl_link_feed(l, buf->base, (size_t)n);
	} else if (n == UV_EOF) {
		fl_link_feed_eof(l);
	} else {
		char text[256];
		snprintf(text, sizeof(text), "the connection broke: %s", uv_strerror((int)n));
		begin(l);
		if (l->state == FL_LINK_OPEN)
			fl_link_lost(l, (int)n, text);
		else
			fl_origin_link_failed(l, (int)n, text);
		end(l);
	}
}

void fl_link_read(struct fl_link *l, bool on)
{
	if (l->detached || !l->socket || l->reading == on)
		return;
	l->reading = on;
	if (on)
		uv_read_start((uv_stream_t *)&l->socket->tcp, on_alloc, on_read);
	else
		uv_read_stop((uv_stream_t *)&l->socket->tcp);
}

void fl_link_hold_loop(struct fl_link *l, bool hold)
{
	if (!l->socket)
		return;
	if (hold)
		uv_ref((uv_handle_t *)&l->socket->tcp);
	else
		uv_unref((uv_handle_t *)&l->socket->tcp);
}

// --- connecting ---

static void connected(struct fl_link *l)
{
	l->attempt_by_ms = 0;
	fl_link_read(l, true);
	if (!l->origin->tls) {
		open_link(l, l->origin->h2c ? &fl_link_h2 : &fl_link_h1);
		return;
	}
	l->state = FL_LINK_HANDSHAKE;
	int rc = fl_client_tls_start(l);
	if (rc < 0)
		fl_origin_link_failed(l, rc, l->why);
	else
		handshake(l);
}

static void note(struct fl_link *l, int rc)
{
	const struct sockaddr *sa = (const struct sockaddr *)&l->addresses[l->at_address - 1];
	struct fl_ip ip = {0};
	uint16_t port = 0;
	char text[FL_IP_STRLEN] = "?";
	if (fl_ip_from_sockaddr(sa, &ip, &port))
		fl_ip_format(&ip, text);
	bool v6 = ip.family == AF_INET6;
	l->rc = rc;
	snprintf(l->why, sizeof(l->why), "connect to %s%s%s:%u: %s", v6 ? "[" : "", text, v6 ? "]" : "", port,
		 uv_strerror(rc));
}

static void on_connected(uv_connect_t *req, int status)
{
	struct fl_link_socket *s = FL_CONTAINER_OF(req, struct fl_link_socket, connect);
	struct fl_link *l = s->link;
	if (!l)
		return;
	begin(l);
	if (status < 0) {
		note(l, status);
		try_address(l);
	} else {
		connected(l);
	}
	end(l);
}

// A dead peer is found by what it does not acknowledge, long before TCP's own fifteen minutes: calls that share its
// connection would else time out one after the other and be started again on the same one.
static void set_options(uv_tcp_t *tcp)
{
	int fd, on = 1, idle = 30, interval = 15;
	unsigned dead = DEAD_PEER_MS;
	if (uv_fileno((uv_handle_t *)tcp, &fd) < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead, sizeof(dead)); // best effort, all of them
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
}

static int open_socket(struct fl_link *l, const struct sockaddr *sa)
{
	struct fl_http_client *c = l->client;
	struct fl_link_socket *s = FL_NEW(struct fl_link_socket);
	int rc = uv_tcp_init_ex(c->loop, &s->tcp, sa->sa_family);
	if (rc < 0) {
		free(s);
		return rc;
	}
	s->client = c;
	s->link = l;
	s->tcp.data = s;
	c->handles++;
	l->socket = s;
	set_options(&s->tcp);
	rc = uv_tcp_connect(&s->connect, &s->tcp, sa, on_connected);
	if (rc < 0)
		drop_socket(l);
	return rc;
}

// One address after the other; with more of them to come, each has its share of the time.
static void try_address(struct fl_link *l)
{
	struct fl_http_client *c = l->client;
	drop_socket(l);
	l->attempt_by_ms = 0;
	while (l->at_address < l->n_addresses) {
		int rc = open_socket(l, (struct sockaddr *)&l->addresses[l->at_address++]);
		if (rc < 0) {
			note(l, rc);
			continue;
		}
		if (l->at_address < l->n_addresses) {
			l->attempt_by_ms = uv_now(c->loop) + l->connect_ms / l->n_addresses;
			fl_client_arm(c, l->attempt_by_ms);
		}
		return;
	}
	fl_origin_link_failed(l, l->rc, l->why);
}

void fl_link_next_address(struct fl_link *l)
{
	note(l, -ETIMEDOUT);
	try_address(l);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
	struct fl_link_resolve *r = FL_CONTAINER_OF(req, struct fl_link_resolve, req);
	struct fl_http_client *c = r->client;
	struct fl_link *l = r->link;
	free(r);
	if (l) {
		unsigned n = 0;
		l->resolve = NULL;
		for (struct addrinfo *a = list; a; a = a->ai_next)
			n++;
		l->addresses = fl_calloc(n ? n : 1, sizeof(*l->addresses));
		for (struct addrinfo *a = list; a; a = a->ai_next)
			memcpy(&l->addresses[l->n_addresses++], a->ai_addr, a->ai_addrlen);
		begin(l);
		l->rc = -EHOSTUNREACH;
		snprintf(l->why, sizeof(l->why), "the name %.64s does not resolve: %s", l->origin->host,
			 status < 0 ? uv_strerror(status) : "it has no address");
		try_address(l);
		end(l);
	}
	uv_freeaddrinfo(list);
	fl_client_unref(c);
}

static int look_up(struct fl_link *l)
{
	struct fl_link_resolve *r = FL_NEW(struct fl_link_resolve);
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	char port[8];
	snprintf(port, sizeof(port), "%u", l->origin->port);
	r->client = l->client;
	r->link = l;
	int rc = uv_getaddrinfo(l->client->loop, &r->req, on_resolved, l->origin->host, port, &hints);
	if (rc < 0) {
		free(r);
		snprintf(l->why, sizeof(l->why), "the name %.64s does not resolve: %s", l->origin->host,
			 uv_strerror(rc));
		return -EHOSTUNREACH;
	}
	l->resolve = r;
	l->client->handles++;
	return 0;
}

static struct fl_link *new_link(struct fl_origin *o)
{
	struct fl_http_client *c = o->client;
	struct fl_link *l = FL_NEW(struct fl_link);
	l->client = c;
	l->origin = o;
	l->pipe.out = &c->out;
	TAILQ_INIT(&l->calls);
	TAILQ_INSERT_TAIL(&o->links, l, of_origin);
	if (!c->in) {
		c->in = fl_malloc(IN_BYTES + FL_CORK_BYTES + 1024);
		c->plain = c->in + IN_BYTES;
	}
	return l;
}

void fl_link_make(struct fl_origin *o, struct fl_http_call *only, unsigned timeout_ms)
{
	struct fl_link *l = new_link(o);
	l->state = FL_LINK_MAKING;
	l->connect_ms = timeout_ms;
	l->only = only;
	if (only) {
		only->link = l;
		l->only_one = true;
	} else {
		l->in_making = true;
		o->n_making++;
		l->made_by_ms = uv_now(o->client->loop) + timeout_ms;
		fl_client_arm(o->client, l->made_by_ms);
	}
	if (!o->ip.family) {
		int rc = look_up(l);
		if (rc < 0)
			fl_origin_link_failed(l, rc, l->why);
		return;
	}
	socklen_t len;
	l->addresses = fl_calloc(1, sizeof(*l->addresses));
	l->n_addresses = 1;
	fl_ip_to_sockaddr(&o->ip, o->port, &l->addresses[0], &len);
	try_address(l);
}

struct fl_link *fl_link_new_detached(struct fl_http_client *c, const char *base, bool h2, struct fl_buf *tap)
{
	struct fl_origin *o = NULL;
	const char *target;
	if (fl_origin_find(c, base, h2, &o, &target, NULL) < 0)
		return NULL;
	struct fl_link *l = new_link(o);
	l->detached = true;
	l->tap = tap;
	c->depth++;
	open_link(l, h2 ? &fl_link_h2 : &fl_link_h1);
	c->depth--;
	return l;
}
