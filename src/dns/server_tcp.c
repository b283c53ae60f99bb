// SPDX-License-Identifier: Apache-2.0
// DNS over TCP (RFC 7766): several queries a connection, answered as they are ready.
//
// Bounded against clients that mean no good: a connection lives while whole queries keep coming (IDLE_MS), is not read
// while too many of its answers are on their way, and the one that was silent for longest makes room for a new one.
#include <stddef.h>
#include <string.h>

#include "base/mem.h"
#include "dns/server_data.h"

#define MAX_CLIENTS 256
#define IDLE_MS     10000        // RFC 7766 section 6.2.3: on the order of seconds
#define QUERY_MAX   4096         // padded and with cookies, a query has some hundred octets
#define MAX_WAITING 32           // forwarded questions of one client
#define MAX_UNSENT  (256 * 1024) // octets of answers that a client does not take

struct fl_dns_client {
	struct fl_dns_client *newer, *older;
	struct fl_dns_server *s; // held
	uv_tcp_t tcp;
	uv_timer_t idle;
	unsigned holds;   // two handles and forwarded questions
	unsigned waiting; // the latter
	bool closing, eof, paused;
	struct fl_ip from;
	size_t in_len;
	uint8_t in[2 + QUERY_MAX];
};

static void put(struct fl_dns_client *c)
{
	struct fl_dns_server *s = c->s;
	if (--c->holds)
		return;
	free(c);
	fl_dns_server_put(s);
}

static void on_closed(uv_handle_t *h)
{
	put(h->data);
}

static void unlink_client(struct fl_dns_client *c)
{
	*(c->newer ? &c->newer->older : &c->s->newest) = c->older;
	*(c->older ? &c->older->newer : &c->s->oldest) = c->newer;
	c->s->n_clients--;
}

static void link_newest(struct fl_dns_client *c)
{
	c->newer = NULL;
	c->older = c->s->newest;
	*(c->older ? &c->older->newer : &c->s->oldest) = c;
	c->s->newest = c;
	c->s->n_clients++;
}

static void close_client(struct fl_dns_client *c)
{
	if (c->closing)
		return;
	c->closing = true;
	unlink_client(c);
	uv_close((uv_handle_t *)&c->tcp, on_closed);
	uv_close((uv_handle_t *)&c->idle, on_closed);
}

void fl_dns_client_close_all(struct fl_dns_server *s)
{
	while (s->newest)
		close_client(s->newest);
}

static void on_idle(uv_timer_t *t)
{
	close_client(t->data);
}

static size_t unsent(const struct fl_dns_client *c)
{
	return uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp);
}

static void resume(struct fl_dns_client *c);

struct rest {
	uv_write_t req;
	char data[];
};

static void on_written(uv_write_t *w, int status)
{
	struct fl_dns_client *c = w->handle->data;
	free(w);
	if (status < 0)
		close_client(c);
	else
		resume(c);
}

// Sends the answer of `len` octets that stands in s->out.
static void send_answer(struct fl_dns_client *c, size_t len)
{
	uint8_t prefix[2];
	fl_dns_put16(prefix, (unsigned)len);
	uv_buf_t b[2] = {uv_buf_init((char *)prefix, 2), uv_buf_init((char *)c->s->out, (unsigned)len)};
	int sent = uv_try_write((uv_stream_t *)&c->tcp, b, 2);
	if (sent == (int)len + 2)
		return;
	if (sent < 0 && sent != UV_EAGAIN) {
		close_client(c);
		return;
	}
	size_t done = sent > 0 ? (size_t)sent : 0;
	struct rest *r = fl_malloc(sizeof(*r) + len + 2 - done);
	size_t n = 0;
	for (; done < 2; done++)
		r->data[n++] = (char)prefix[done];
	memcpy(r->data + n, c->s->out + done - 2, len + 2 - done);
	n += len + 2 - done;
	uv_buf_t whole = uv_buf_init(r->data, (unsigned)n);
	if (uv_write(&r->req, (uv_stream_t *)&c->tcp, &whole, 1, on_written) < 0) {
		free(r);
		close_client(c);
	}
}

static bool is_busy(const struct fl_dns_client *c)
{
	return c->waiting >= MAX_WAITING || unsent(c) >= MAX_UNSENT;
}

// Answers the whole queries that were read.
static void work(struct fl_dns_client *c)
{
	struct fl_dns_server *s = c->s;
	size_t at = 0;
	while (!c->closing && !is_busy(c) && c->in_len - at >= 2) {
		size_t len = fl_dns_get16(c->in + at);
		if (len > QUERY_MAX) {
			close_client(c);
			return;
		}
		if (c->in_len - at < len + 2)
			break;
		switch (fl_dns_server_respond(s, &c->from, c->in + at + 2, len, true, s->out)) {
		case FL_DNS_SEND:
			send_answer(c, s->x.len);
			break;
		case FL_DNS_FORWARD:
			fl_dns_server_forward(s, NULL, NULL, c);
			break;
		case FL_DNS_DROP:
			close_client(c);
			break;
		}
		at += len + 2;
	}
	memmove(c->in, c->in + at, c->in_len - at);
	c->in_len -= at;
	if (at && !c->closing) { // it did ask something
		unlink_client(c);
		link_newest(c);
		uv_timer_start(&c->idle, on_idle, IDLE_MS, 0);
	}
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct fl_dns_client *c = h->data;
	*buf = uv_buf_init((char *)c->in + c->in_len, (unsigned)(sizeof(c->in) - c->in_len));
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *buf)
{
	struct fl_dns_client *c = h->data;
	if (n == UV_EOF) { // it may have shut its sending side only, and wait for answers
		c->eof = true;
		uv_read_stop(h);
		resume(c);
		return;
	}
	if (n < 0) {
		close_client(c);
		return;
	}
	c->in_len += (size_t)n;
	work(c);
	if (!c->closing && is_busy(c)) {
		c->paused = true;
		uv_read_stop(h);
	}
}

// Some answer went out.
static void resume(struct fl_dns_client *c)
{
	if (c->closing)
		return;
	if (c->paused && !is_busy(c)) {
		c->paused = false;
		work(c);
		if (c->closing)
			return;
		c->paused = is_busy(c);
		if (!c->paused && uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) < 0)
			close_client(c);
	}
	if (!c->closing && c->eof && !c->waiting && !unsent(c))
		close_client(c);
}

void fl_dns_client_hold(struct fl_dns_client *c)
{
	c->holds++;
	c->waiting++;
}

void fl_dns_client_answer(struct fl_dns_client *c, size_t len)
{
	c->waiting--;
	if (!c->closing && len) {
		send_answer(c, len);
		resume(c);
	}
	put(c);
}

void fl_dns_client_accept(uv_stream_t *h, int status)
{
	struct fl_dns_listener *l = h->data;
	struct fl_dns_server *s = l->s;
	struct sockaddr_storage sa;
	int len = sizeof(sa);
	if (status < 0)
		return;
	if (s->n_clients == MAX_CLIENTS) {
		s->count[FL_DNS_COUNT_TCP_CLOSED]++;
		close_client(s->oldest);
	}
	struct fl_dns_client *c = fl_malloc(sizeof(*c));
	memset(c, 0, offsetof(struct fl_dns_client, in));
	c->s = s;
	s->holds++;
	uv_tcp_init(s->loop, &c->tcp);
	uv_timer_init(s->loop, &c->idle);
	c->tcp.data = c->idle.data = c;
	c->holds = 2;
	link_newest(c);
	if (uv_accept(h, (uv_stream_t *)&c->tcp) < 0 || uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&sa, &len) < 0 ||
	    !fl_ip_from_sockaddr((struct sockaddr *)&sa, &c->from, NULL) ||
	    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) < 0) {
		close_client(c);
		return;
	}
	uv_tcp_nodelay(&c->tcp, 1);
	uv_timer_start(&c->idle, on_idle, IDLE_MS, 0);
}
