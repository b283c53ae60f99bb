// SPDX-License-Identifier: Apache-2.0
#include "dns/server.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"
#include "dns/server_data.h"

#define DATAGRAM_MAX     65536 // what it wants for each; a page of it is ever touched
#define OWN_ADDRESSES_MS 5000  // how old the list of this host's addresses may be
#define RECEIVE_BUFFER   (1 << 20)
#define PORT_TRIES       16

void fl_dns_server_put(struct fl_dns_server *s)
{
	if (--s->holds)
		return;
	free(s->recv_buf);
	fl_vec_deinit(&s->own.ips);
	free(s);
}

// This host's addresses are read in a thread of its own: whoever changes links, anywhere on the machine, may have the
// kernel keep a reader of them waiting for seconds, and all clients with it.
struct own_work {
	uv_work_t work;
	struct fl_dns_server *s; // held
	struct fl_dns_addresses list;
	bool done;
};

static bool read_addresses(struct fl_dns_addresses *ret)
{
	uv_interface_address_t *list;
	int n;
	if (uv_interface_addresses(&list, &n) < 0)
		return false;
	for (int i = 0; i < n; i++) {
		struct fl_ip ip;
		if (fl_ip_from_sockaddr((struct sockaddr *)&list[i].address, &ip, NULL))
			fl_vec_push(&ret->ips, ip);
	}
	uv_free_interface_addresses(list, n);
	return true;
}

static void own_work(uv_work_t *work)
{
	struct own_work *w = work->data;
	w->done = read_addresses(&w->list);
}

static void own_after(uv_work_t *work, int status)
{
	struct own_work *w = work->data;
	struct fl_dns_server *s = w->s;
	struct fl_dns_addresses old = s->own;
	if (w->done) {
		s->own = w->list;
		w->list = old;
	}
	fl_vec_deinit(&w->list.ips);
	free(w);
	s->own_ms = fl_mono_ms();
	s->own_asked = false;
	fl_dns_server_put(s);
}

// The list may be a question older than it should be; only the first who needs it waits for it.
static void refresh_own(struct fl_dns_server *s)
{
	if (!s->own_ms && read_addresses(&s->own))
		s->own_ms = fl_mono_ms();
	if (s->own_asked || fl_mono_ms() - s->own_ms < OWN_ADDRESSES_MS)
		return;
	struct own_work *w = FL_NEW(struct own_work);
	w->s = s;
	w->work.data = w;
	s->own_asked = true;
	s->holds++;
	uv_queue_work(s->loop, &w->work, own_work, own_after);
}

// Names of others are looked up for pods and for this host, nobody else: an open resolver is a weapon.
bool fl_dns_server_allows(struct fl_dns_server *s, const struct fl_ip *from)
{
	const struct fl_dns_opts *d = s->o.dns;
	for (unsigned i = 0; i < d->n_clients; i++)
		if (fl_cidr_contains(&d->clients[i], from))
			return true;
	if (fl_ip_is_loopback(from))
		return true;
	refresh_own(s);
	for (size_t i = 0; i < s->own.ips.n; i++)
		if (fl_ip_equal(&s->own.ips.v[i], from))
			return true;
	return false;
}

static void add_counter(struct fl_dns_msg *m, const char *name, uint64_t value)
{
	char text[64];
	snprintf(text, sizeof(text), "%s=%" PRIu64, name, value);
	fl_dns_add_txt(m, FL_DNS_ANSWER, NULL, FL_DNS_CH, 0, text);
}

// `dig CH TXT counters.fairlead`, for those whose names of others are answered, too.
static void answer_counters(struct fl_dns_server *s, uint8_t *out)
{
	static const char *const names[] = {
	    [FL_DNS_COUNT_UDP] = "udp",
	    [FL_DNS_COUNT_TCP] = "tcp",
	    [FL_DNS_COUNT_ANSWERED] = "answered",
	    [FL_DNS_COUNT_FORWARDED] = "forwarded",
	    [FL_DNS_COUNT_UNANSWERED] = "unanswered",
	    [FL_DNS_COUNT_REFUSED] = "refused",
	    [FL_DNS_COUNT_MALFORMED] = "malformed",
	    [FL_DNS_COUNT_UNSENT] = "unsent",
	    [FL_DNS_COUNT_TCP_CLOSED] = "tcp-closed",
	};
	static_assert(FL_COUNT(names) == FL_DNS_COUNTER_COUNT, "each counter has a name");
	struct fl_dns_msg m;
	fl_dns_begin(&m, out, FL_DNS_UDP_MIN, &s->x.q, s->x.question);
	for (unsigned i = 0; i < FL_DNS_COUNTER_COUNT; i++)
		add_counter(&m, names[i], s->count[i]);
	add_counter(&m, "services", fl_zone_services(s->o.zone));
	add_counter(&m, "cached", fl_forwarder_cached(s->o.forwarder));
	add_counter(&m, "pending", fl_forwarder_pending(s->o.forwarder));
	s->x.len = fl_dns_end(&m, FL_DNS_NOERROR, true, true);
	s->x.rcode = FL_DNS_NOERROR;
}

static bool asks_for_counters(const struct fl_dns_query *q)
{
	return q->class_ == FL_DNS_CH && q->type == FL_DNS_TXT && !strcmp(q->name, "counters.fairlead");
}

struct asker {
	struct fl_dns_server *s;
	const struct fl_ip *from;
};

static bool is_allowed(void *arg)
{
	const struct asker *a = arg;
	return fl_dns_server_allows(a->s, a->from);
}

enum fl_dns_verdict fl_dns_server_respond(struct fl_dns_server *s, const struct fl_ip *from, const uint8_t *in,
					  size_t len, bool tcp, uint8_t *out)
{
	struct asker a = {s, from};
	struct fl_dns_asker asker = {is_allowed, &a};
	enum fl_dns_verdict v = fl_dns_respond(s->o.zone, s->o.is_synced(s->o.arg), &asker, in, len, tcp, &s->x, out);
	s->count[tcp ? FL_DNS_COUNT_TCP : FL_DNS_COUNT_UDP]++;
	if (v == FL_DNS_SEND && s->x.rcode == FL_DNS_REFUSED && asks_for_counters(&s->x.q) && is_allowed(&a))
		answer_counters(s, out);
	if (v == FL_DNS_DROP)
		s->count[FL_DNS_COUNT_MALFORMED]++;
	else if (v == FL_DNS_FORWARD)
		s->count[FL_DNS_COUNT_FORWARDED]++;
	else if (s->x.rcode == FL_DNS_REFUSED)
		s->count[FL_DNS_COUNT_REFUSED]++;
	else
		s->count[FL_DNS_COUNT_ANSWERED]++;
	return v;
}

// --- questions that wait for an upstream ---

struct forwarded {
	struct fl_dns_server *s;
	struct fl_dns_listener *udp;  // this one,
	struct sockaddr_storage to;   // to there,
	struct fl_dns_client *client; // or this one
	struct fl_dns_query q;
	uint8_t question[FL_DNS_UDP_MIN];
	char *alias; // or NULL
};

static socklen_t sockaddr_len(const struct sockaddr *sa)
{
	return sa->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

static void on_forwarded(void *arg, const uint8_t *msg, size_t len)
{
	struct forwarded *f = arg;
	struct fl_dns_server *s = f->s;
	size_t n = 0;
	if (!s->stopped) {
		n = fl_dns_relay(&f->q, f->question, f->alias, s->o.dns->ttl_s, msg, len, !f->udp, s->out);
		s->count[FL_DNS_COUNT_UNANSWERED] += !msg;
	}
	if (f->client) {
		fl_dns_client_answer(f->client, n);
	} else if (n) {
		uv_buf_t b = uv_buf_init((char *)s->out, (unsigned)n);
		if (uv_udp_try_send(&f->udp->udp, &b, 1, (struct sockaddr *)&f->to) < 0)
			s->count[FL_DNS_COUNT_UNSENT]++;
	}
	free(f->alias);
	free(f);
	fl_dns_server_put(s);
}

void fl_dns_server_forward(struct fl_dns_server *s, struct fl_dns_listener *udp, const struct sockaddr *to,
			   struct fl_dns_client *client)
{
	const struct fl_dns_exchange *x = &s->x;
	struct forwarded *f = fl_malloc(sizeof(*f));
	*f = (struct forwarded){.s = s, .udp = udp, .client = client};
	if (udp)
		memcpy(&f->to, to, sockaddr_len(to));
	else
		fl_dns_client_hold(client);
	f->q = x->q;
	memcpy(f->question, x->question, x->q.question_len);
	f->alias = x->target[0] ? fl_strdup(x->target) : NULL;
	s->holds++;
	fl_forwarder_ask(s->o.forwarder, &f->q, f->alias ? f->alias : f->q.name, on_forwarded, f);
}

// --- UDP ---

static void flush(struct fl_dns_server *s, uv_udp_t *h)
{
	struct fl_dns_outbox *o = &s->outbox;
	struct mmsghdr m[FL_DNS_BATCH];
	struct iovec iov[FL_DNS_BATCH];
	uv_os_fd_t fd;
	unsigned n = o->n;
	o->n = 0;
	if (!n || uv_fileno((uv_handle_t *)h, &fd) < 0)
		return;
	for (unsigned i = 0; i < n; i++) {
		iov[i] = (struct iovec){o->buf[i], o->len[i]};
		m[i] = (struct mmsghdr){.msg_hdr = {.msg_name = &o->to[i],
						    .msg_namelen = sockaddr_len((struct sockaddr *)&o->to[i]),
						    .msg_iov = &iov[i],
						    .msg_iovlen = 1}};
	}
	for (unsigned i = 0; i < n;) {
		int sent = sendmmsg(fd, m + i, n - i, MSG_DONTWAIT);
		if (sent < 0 && errno == EINTR)
			continue;
		s->count[FL_DNS_COUNT_UNSENT] += sent <= 0; // a full socket drops, as UDP does
		i += sent > 0 ? (unsigned)sent : 1;
	}
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct fl_dns_listener *l = h->data;
	*buf = uv_buf_init(l->s->recv_buf, FL_DNS_BATCH * DATAGRAM_MAX);
}

static void on_udp(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags)
{
	struct fl_dns_listener *l = h->data;
	struct fl_dns_server *s = l->s;
	struct fl_dns_outbox *o = &s->outbox;
	struct fl_ip ip;
	if (!from) { // the end of a batch, or an error of one that we sent
		flush(s, h);
		return;
	}
	if (n <= 0 || !fl_ip_from_sockaddr(from, &ip, NULL))
		return;
	switch (fl_dns_server_respond(s, &ip, (const uint8_t *)buf->base, (size_t)n, false, o->buf[o->n])) {
	case FL_DNS_SEND:
		memcpy(&o->to[o->n], from, sockaddr_len(from));
		o->len[o->n++] = s->x.len;
		if (o->n == FL_DNS_BATCH)
			flush(s, h);
		break;
	case FL_DNS_FORWARD:
		fl_dns_server_forward(s, l, from, NULL);
		break;
	case FL_DNS_DROP:
		break;
	}
}

// --- sockets ---

// Bound even where the address is not there yet: the node role brings it a moment later.
static int bound_socket(const struct fl_ip *ip, uint16_t port, int type, struct fl_err *err)
{
	struct sockaddr_storage sa;
	socklen_t len;
	char text[FL_IP_STRLEN];
	int one = 1, size = RECEIVE_BUFFER;
	bool v6 = ip->family == AF_INET6;
	fl_ip_to_sockaddr(ip, port, &sa, &len);
	AUTO_CLOSE int fd = socket(ip->family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 ||
	    setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_FREEBIND : IP_FREEBIND, &one, sizeof(one)) < 0 ||
	    (v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0) ||
	    // TCP: over what a former server's connections left. UDP: never, two servers would share the address.
	    (type == SOCK_STREAM && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0) ||
	    bind(fd, (struct sockaddr *)&sa, len) < 0)
		return fl_err_set(err, -errno, "listen for DNS on %s port %u (%s): %s", fl_ip_format(ip, text), port,
				  type == SOCK_DGRAM ? "UDP" : "TCP", strerror(errno));
	if (type == SOCK_DGRAM) // as much as the kernel grants: a burst of all pods at once
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	return TAKE_FD(fd);
}

static uint16_t port_of(int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct fl_ip ip;
	uint16_t port = 0;
	if (getsockname(fd, (struct sockaddr *)&sa, &len) == 0)
		fl_ip_from_sockaddr((struct sockaddr *)&sa, &ip, &port);
	return port;
}

// Both on one port. Port 0: on some that is free for both, of which the kernel knows only by trying.
static int bound_pair(const struct fl_ip *ip, uint16_t *port, int *ret_udp, int *ret_tcp, struct fl_err *err)
{
	for (unsigned tries = 0;; tries++) {
		AUTO_CLOSE int udp = bound_socket(ip, *port, SOCK_DGRAM, err);
		if (udp < 0)
			return udp;
		uint16_t got = port_of(udp);
		int tcp = bound_socket(ip, got, SOCK_STREAM, err);
		if (tcp < 0 && (*port || tcp != -EADDRINUSE || tries == PORT_TRIES))
			return tcp;
		if (tcp < 0)
			continue;
		*port = got;
		*ret_udp = TAKE_FD(udp);
		*ret_tcp = tcp;
		return 0;
	}
}

static int listen_on(struct fl_dns_server *s, const struct fl_ip *ip, struct fl_err *err)
{
	struct fl_dns_listener *l = &s->l[s->n];
	AUTO_CLOSE int udp = -1, tcp = -1;
	int rc = bound_pair(ip, &s->port, &udp, &tcp, err);
	if (rc < 0)
		return rc;
	rc = uv_udp_init_ex(s->loop, &l->udp, UV_UDP_RECVMMSG);
	if (rc < 0)
		return fl_err_set(err, rc, "listen for DNS: %s", uv_strerror(rc));
	uv_tcp_init(s->loop, &l->tcp); // cannot fail without a socket
	l->s = s;
	l->udp.data = l->tcp.data = l;
	s->n++;
	s->holds += 2;
	rc = uv_udp_open(&l->udp, udp);
	if (rc == 0) {
		udp = -1;
		rc = uv_tcp_open(&l->tcp, tcp);
	}
	if (rc == 0) {
		tcp = -1;
		rc = uv_udp_recv_start(&l->udp, on_alloc, on_udp);
	}
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&l->tcp, 64, fl_dns_client_accept);
	return rc < 0 ? fl_err_set(err, rc, "listen for DNS: %s", uv_strerror(rc)) : 0;
}

int fl_dns_server_new(uv_loop_t *loop, const struct fl_dns_server_opts *o, struct fl_dns_server **ret,
		      struct fl_err *err)
{
	struct fl_dns_server *s = FL_NEW(struct fl_dns_server);
	int rc = 0;
	s->o = *o;
	s->loop = loop;
	s->holds = 1;
	s->port = o->dns->port;
	s->recv_buf = fl_malloc(FL_DNS_BATCH * DATAGRAM_MAX);
	for (unsigned i = 0; rc == 0 && i < o->dns->n_listen && i < FL_DNS_LISTEN_MAX; i++)
		rc = listen_on(s, &o->dns->listen[i], err);
	if (rc < 0) {
		fl_dns_server_free(&s);
		return rc;
	}
	*ret = s;
	return 0;
}

uint16_t fl_dns_server_port(const struct fl_dns_server *s)
{
	return s->port;
}

uint64_t fl_dns_server_count(const struct fl_dns_server *s, enum fl_dns_counter c)
{
	return s->count[c];
}

static void on_listener_closed(uv_handle_t *h)
{
	struct fl_dns_listener *l = h->data;
	fl_dns_server_put(l->s);
}

void fl_dns_server_free(struct fl_dns_server **ret)
{
	struct fl_dns_server *s = *ret;
	if (!s)
		return;
	*ret = NULL;
	s->stopped = true;
	fl_dns_client_close_all(s);
	for (unsigned i = 0; i < s->n; i++) {
		uv_close((uv_handle_t *)&s->l[i].udp, on_listener_closed);
		uv_close((uv_handle_t *)&s->l[i].tcp, on_listener_closed);
	}
	fl_dns_server_put(s);
}
