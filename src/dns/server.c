// SPDX-License-Identifier: Apache-2.0
#include "dns/server.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"

#define MAX_TCP          256   // open TCP clients; the next one is closed at once
#define TCP_IDLE_MS      10000 // RFC 7766 section 6.2.3
#define OWN_ADDRESSES_MS 5000  // how old the list of this host's addresses may be

struct listener {
	struct fl_dns_server *s;
	struct fl_ip ip;
	uv_udp_t udp;
	uv_tcp_t tcp;
};

struct fl_dns_server {
	struct fl_dns_server_opts o;
	uv_loop_t *loop;
	struct listener l[4];
	unsigned n, open_handles, n_tcp;
	uint16_t port;
	char *recv_buf; // of all UDP sockets: used within one callback
	struct fl_ip own[64];
	unsigned n_own;
	uint64_t own_ms;
	bool freed;
	struct client *clients; // TCP
};

struct client {
	struct client *prev, *next;
	struct fl_dns_server *s; // NULL once the server is freed
	uv_tcp_t tcp;
	uv_timer_t idle;
	unsigned handles, waiting; // waiting: forwards under way
	struct fl_ip from;
	uint8_t *in;
	size_t in_len;
	bool closing;
};

// A query that waits for an upstream.
struct forwarded {
	struct listener *udp; // or
	struct client *tcp;
	struct sockaddr_storage from;
	struct fl_dns_query q;
	uint8_t question[FL_DNS_NAME_MAX + 8];
	char alias[FL_DNS_NAME_MAX];
};

static uint8_t out[FL_DNS_TCP_MAX + 2]; // the answer under construction; one thread

static void refresh_own(struct fl_dns_server *s)
{
	uint64_t now = fl_mono_ms();
	if (s->own_ms && now - s->own_ms < OWN_ADDRESSES_MS)
		return;
	uv_interface_address_t *list;
	int n;
	if (uv_interface_addresses(&list, &n) < 0)
		return;
	s->own_ms = now;
	s->n_own = 0;
	for (int i = 0; i < n && s->n_own < FL_COUNT(s->own); i++)
		if (fl_ip_from_sockaddr((struct sockaddr *)&list[i].address, &s->own[s->n_own], NULL))
			s->n_own++;
	uv_free_interface_addresses(list, n);
}

// Names of others are looked up for pods and for this host, nobody else: an open resolver is a weapon.
static bool is_allowed(struct fl_dns_server *s, const struct fl_ip *from)
{
	const struct fl_dns_opts *d = s->o.dns;
	if (fl_ip_is_loopback(from))
		return true;
	for (unsigned i = 0; i < d->n_clients; i++)
		if (fl_cidr_contains(&d->clients[i], from))
			return true;
	refresh_own(s);
	for (unsigned i = 0; i < s->n_own; i++)
		if (fl_ip_equal(&s->own[i], from))
			return true;
	return false;
}

static void send_tcp(struct client *c, size_t len);

static void on_forwarded(void *arg, const uint8_t *msg, size_t len)
{
	struct forwarded *f = arg;
	bool tcp = f->tcp != NULL;
	size_t n = fl_dns_relay(&f->q, f->question, f->alias[0] ? f->alias : NULL, f->udp ? f->udp->s->o.dns->ttl_s : 5,
				msg, len, tcp, out + 2);
	if (tcp) {
		struct client *c = f->tcp;
		c->waiting--;
		if (c->s && !c->closing)
			send_tcp(c, n);
	} else {
		uv_buf_t b = uv_buf_init((char *)out + 2, (unsigned)n);
		(void)!uv_udp_try_send(&f->udp->udp, &b, 1, (struct sockaddr *)&f->from);
	}
	free(f);
}

static void forward(struct fl_dns_server *s, struct listener *udp, struct client *tcp, const struct sockaddr *from,
		    const struct fl_dns_query *q, const uint8_t *question, const char *target)
{
	struct forwarded *f = FL_NEW(struct forwarded);
	f->udp = udp;
	f->tcp = tcp;
	if (from)
		memcpy(&f->from, from,
		       from->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
	f->q = *q;
	memcpy(f->question, question, q->question_len);
	strcpy(f->alias, target);
	if (tcp)
		tcp->waiting++;
	fl_forwarder_ask(s->o.forwarder, target[0] ? target : q->name, q->type, on_forwarded, f);
}

// --- UDP ---

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct listener *l = h->data;
	*buf = uv_buf_init(l->s->recv_buf, 20 * 65536); // twenty messages a system call (UV_UDP_RECVMMSG)
}

static void on_udp(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags)
{
	struct listener *l = h->data;
	struct fl_dns_server *s = l->s;
	struct fl_dns_query q;
	struct fl_ip ip;
	char target[FL_DNS_NAME_MAX];
	if (n <= 0 || !from || !fl_ip_from_sockaddr(from, &ip, NULL))
		return;
	const uint8_t *in = (const uint8_t *)buf->base;
	long len = fl_dns_respond(s->o.zone, s->o.is_synced(s->o.arg), is_allowed(s, &ip), in, (size_t)n, false, &q,
				  out + 2, target);
	if (len < 0) {
		forward(s, l, NULL, from, &q, in + 12, target);
	} else if (len > 0) {
		uv_buf_t b = uv_buf_init((char *)out + 2, (unsigned)len);
		(void)!uv_udp_try_send(h, &b, 1, from); // a full socket drops, as UDP does
	}
}

// --- TCP (RFC 7766): several queries a connection, answered as they are ready ---

static void on_client_closed(uv_handle_t *h)
{
	struct client *c = h->data;
	if (--c->handles || c->waiting)
		return;
	free(c->in);
	free(c);
}

static void close_client(struct client *c)
{
	if (c->closing)
		return;
	c->closing = true;
	if (c->s) {
		*(c->prev ? &c->prev->next : &c->s->clients) = c->next;
		if (c->next)
			c->next->prev = c->prev;
		c->s->n_tcp--;
	}
	uv_close((uv_handle_t *)&c->tcp, on_client_closed);
	uv_close((uv_handle_t *)&c->idle, on_client_closed);
}

static void on_idle(uv_timer_t *t)
{
	close_client(t->data);
}

struct reply {
	uv_write_t req;
	char data[];
};

static void on_written(uv_write_t *w, int status)
{
	free(w);
}

// Sends the answer of `len` bytes that stands in out + 2.
static void send_tcp(struct client *c, size_t len)
{
	struct reply *r = fl_malloc(sizeof(*r) + len + 2);
	out[0] = (uint8_t)(len >> 8);
	out[1] = (uint8_t)len;
	memcpy(r->data, out, len + 2);
	uv_buf_t b = uv_buf_init(r->data, (unsigned)len + 2);
	if (uv_write(&r->req, (uv_stream_t *)&c->tcp, &b, 1, on_written) < 0) {
		free(r);
		close_client(c);
	}
}

static void on_alloc_tcp(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct client *c = h->data;
	if (!c->in)
		c->in = fl_malloc(FL_DNS_TCP_MAX + 2);
	*buf = uv_buf_init((char *)c->in + c->in_len, (unsigned)(FL_DNS_TCP_MAX + 2 - c->in_len));
}

static void on_tcp(uv_stream_t *h, ssize_t n, const uv_buf_t *buf)
{
	struct client *c = h->data;
	struct fl_dns_server *s = c->s;
	if (n < 0) {
		close_client(c);
		return;
	}
	c->in_len += (size_t)n;
	uv_timer_again(&c->idle);
	size_t at = 0;
	while (!c->closing && c->in_len - at >= 2) {
		size_t len = (size_t)(c->in[at] << 8 | c->in[at + 1]);
		if (c->in_len - at < len + 2)
			break;
		struct fl_dns_query q;
		char target[FL_DNS_NAME_MAX];
		const uint8_t *in = c->in + at + 2;
		long answer = fl_dns_respond(s->o.zone, s->o.is_synced(s->o.arg), is_allowed(s, &c->from), in, len,
					     true, &q, out + 2, target);
		if (answer < 0)
			forward(s, NULL, c, NULL, &q, in + 12, target);
		else if (answer > 0)
			send_tcp(c, (size_t)answer);
		else
			close_client(c);
		at += len + 2;
	}
	memmove(c->in, c->in + at, c->in_len - at);
	c->in_len -= at;
}

static void on_connection(uv_stream_t *h, int status)
{
	struct listener *l = h->data;
	struct fl_dns_server *s = l->s;
	if (status < 0)
		return;
	struct client *c = FL_NEW(struct client);
	c->s = s;
	uv_tcp_init(s->loop, &c->tcp);
	uv_timer_init(s->loop, &c->idle);
	c->tcp.data = c->idle.data = c;
	c->handles = 2;
	c->next = s->clients;
	if (c->next)
		c->next->prev = c;
	s->clients = c;
	s->n_tcp++;
	struct sockaddr_storage sa;
	int len = sizeof(sa);
	if (uv_accept(h, (uv_stream_t *)&c->tcp) < 0 || s->n_tcp > MAX_TCP ||
	    uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&sa, &len) < 0 ||
	    !fl_ip_from_sockaddr((struct sockaddr *)&sa, &c->from, NULL)) {
		close_client(c);
		return;
	}
	uv_timer_start(&c->idle, on_idle, TCP_IDLE_MS, TCP_IDLE_MS);
	uv_read_start((uv_stream_t *)&c->tcp, on_alloc_tcp, on_tcp);
}

// --- sockets ---

// Bound even where the address is not there yet: the node role brings it a moment later.
static int bound_socket(const struct fl_ip *ip, uint16_t port, int type, struct fl_err *err)
{
	struct sockaddr_storage sa;
	socklen_t len;
	char text[FL_IP_STRLEN];
	int one = 1;
	fl_ip_to_sockaddr(ip, port, &sa, &len);
	AUTO_CLOSE int fd = socket(ip->family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    (ip->family == AF_INET ? setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one))
				   : setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &one, sizeof(one))) < 0 ||
	    bind(fd, (struct sockaddr *)&sa, len) < 0)
		return fl_err_set(err, -errno, "listen for DNS on %s port %u (%s): %s", fl_ip_format(ip, text), port,
				  type == SOCK_DGRAM ? "UDP" : "TCP", strerror(errno));
	return TAKE_FD(fd);
}

static int open_listener(struct fl_dns_server *s, struct listener *l, const struct fl_ip *ip, uint16_t port,
			 struct fl_err *err)
{
	l->s = s;
	l->ip = *ip;
	AUTO_CLOSE int udp = bound_socket(ip, port, SOCK_DGRAM, err);
	if (udp < 0)
		return udp;
	if (!port) {
		struct sockaddr_storage sa;
		socklen_t len = sizeof(sa);
		struct fl_ip own;
		if (getsockname(udp, (struct sockaddr *)&sa, &len) == 0)
			fl_ip_from_sockaddr((struct sockaddr *)&sa, &own, &port);
	}
	AUTO_CLOSE int tcp = bound_socket(ip, port, SOCK_STREAM, err);
	if (tcp < 0)
		return tcp;
	s->port = port;
	uv_udp_init_ex(s->loop, &l->udp, UV_UDP_RECVMMSG);
	uv_tcp_init(s->loop, &l->tcp);
	l->udp.data = l->tcp.data = l;
	s->open_handles += 2;
	int rc = uv_udp_open(&l->udp, udp);
	if (rc == 0) {
		udp = -1;
		rc = uv_tcp_open(&l->tcp, tcp);
	}
	if (rc == 0) {
		tcp = -1;
		rc = uv_udp_recv_start(&l->udp, on_alloc, on_udp);
	}
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&l->tcp, 64, on_connection);
	return rc < 0 ? fl_err_set(err, rc, "listen for DNS: %s", uv_strerror(rc)) : 0;
}

int fl_dns_server_new(uv_loop_t *loop, const struct fl_dns_server_opts *o, struct fl_dns_server **ret,
		      struct fl_err *err)
{
	struct fl_dns_server *s = FL_NEW(struct fl_dns_server);
	s->o = *o;
	s->loop = loop;
	s->recv_buf = fl_malloc(20 * 65536); // pages that no message reaches are never touched
	for (unsigned i = 0; i < o->dns->n_listen; i++) {
		s->n++;
		int rc = open_listener(s, &s->l[i], &o->dns->listen[i], o->dns->port, err);
		if (rc < 0) {
			fl_dns_server_free(&s);
			return rc;
		}
	}
	*ret = s;
	return 0;
}

uint16_t fl_dns_server_port(const struct fl_dns_server *s)
{
	return s->port;
}

static void on_listener_closed(uv_handle_t *h)
{
	struct listener *l = h->data;
	struct fl_dns_server *s = l->s;
	if (--s->open_handles)
		return;
	free(s->recv_buf);
	free(s);
}

void fl_dns_server_free(struct fl_dns_server **ret)
{
	struct fl_dns_server *s = *ret;
	if (!s)
		return;
	*ret = NULL;
	while (s->clients) {
		struct client *c = s->clients;
		close_client(c);
		c->s = NULL;
	}
	if (!s->open_handles) {
		free(s->recv_buf);
		free(s);
		return;
	}
	for (unsigned i = 0; i < s->n; i++) {
		if (s->l[i].udp.data)
			uv_close((uv_handle_t *)&s->l[i].udp, on_listener_closed);
		if (s->l[i].tcp.data)
			uv_close((uv_handle_t *)&s->l[i].tcp, on_listener_closed);
	}
}
