// SPDX-License-Identifier: Apache-2.0
// The server: one thread, one epoll. HTTP on one port, TCP echo and UDP echo on another number, and switches that make
// it behave badly on purpose, so that a test can watch what a Service makes of it.
//
//   GET /            hostname alone on the first line, then "server ADDR", "client ADDR"
//   GET /healthz     200 "ok", or 503 "unready"
//   POST /echo       the body back
//   * /control?...   any of: ready=0|1  refuse=MS  delay=MS  drain=MS  exit=CODE ; answers the switches as they are now
//
// refuse closes the listening sockets for that time, so that connections are refused and UDP gets port unreachable.
// delay holds back each HTTP answer. drain is what SIGTERM does: unready at once, served for that long, then the end;
// without it SIGTERM ends the server after the answers under way.
#include "echo.h"

#include <errno.h>
#include <malloc.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX   16384 // one request head; beyond it the connection is closed
#define BODY_MAX   65536
#define ANSWER_MAX (BODY_MAX + 2048) // largest answer
#define OUT_MAX    (2 * ANSWER_MAX)  // several small answers to requests that came together

enum kind { LISTEN_HTTP, LISTEN_TCP, UDP, SIGNALS, CONN_HTTP, CONN_TCP };

struct source {
	enum kind kind;
	int fd;
	uint16_t port;
};

struct conn {
	struct source src; // first: epoll tells this address
	struct conn *prev, *next;
	size_t in_len, out_len, out_at;
	uint64_t answer_at; // of a delayed answer; 0: none waits
	bool close_after, peer_done;
	char in[HEAD_MAX + BODY_MAX], out[OUT_MAX]; // memory is used where it is written, and only there
};

static struct {
	struct echo_opts opts;
	int epoll;
	struct source listeners[3], signals;
	struct conn *conns;
	bool ready, refusing, stopping;
	uint64_t refuse_until, stop_at, ready_at;
	unsigned long delay_ms, drain_ms, requests, waiting; // waiting: connections with a delayed answer
	char hostname[256];
} s;

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

__attribute__((format(printf, 1, 2))) static void say(const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	if (write(STDOUT_FILENO, line, (size_t)n) < 0)
		return; // nobody reads our log: not a reason to stop serving
}

static void watch(struct source *src, uint32_t events, int op)
{
	struct epoll_event ev = {.events = events, .data.ptr = src};

	if (epoll_ctl(s.epoll, op, src->fd, &ev) < 0 && op == EPOLL_CTL_ADD)
		say("epoll: %s", strerror(errno));
}

// Dual-stack where the kernel has IPv6, else IPv4.
static int bind_any(int type, uint16_t port)
{
	const int on = 1, off = 0;
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
		if (type == SOCK_DGRAM) {
			setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
			setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
		}
		if (bind(fd, (struct sockaddr *)&a6, sizeof(a6)) == 0)
			return fd;
		close(fd);
	}
	fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&a4, sizeof(a4)) == 0)
		return fd;
	close(fd);
	return -1;
}

static bool listeners_open(void)
{
	for (size_t i = 0; i < 3; i++) {
		struct source *l = &s.listeners[i];

		if (!l->port || l->fd >= 0)
			continue;
		l->fd = bind_any(l->kind == UDP ? SOCK_DGRAM : SOCK_STREAM, l->port);
		if (l->fd < 0 || (l->kind != UDP && listen(l->fd, 1024) < 0)) {
			say("port %u: %s", l->port, strerror(errno));
			return false;
		}
		watch(l, EPOLLIN, EPOLL_CTL_ADD);
	}
	return true;
}

static void listeners_close(void)
{
	for (size_t i = 0; i < 3; i++) {
		if (s.listeners[i].fd >= 0)
			close(s.listeners[i].fd);
		s.listeners[i].fd = -1;
	}
}

static void conn_free(struct conn *c)
{
	if (c->prev)
		c->prev->next = c->next;
	else
		s.conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	s.waiting -= c->answer_at != 0;
	close(c->src.fd);
	free(c);
}

static void conn_accept(const struct source *l)
{
	for (;;) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		const int on = 1;
		struct conn *c;

		if (fd < 0)
			return;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		c = malloc(sizeof(*c));
		if (!c) {
			close(fd);
			return;
		}
		memset(c, 0, offsetof(struct conn, in));
		c->src.fd = fd;
		c->src.kind = l->kind == LISTEN_HTTP ? CONN_HTTP : CONN_TCP;
		c->next = s.conns;
		if (s.conns)
			s.conns->prev = c;
		s.conns = c;
		watch(&c->src, EPOLLIN | EPOLLRDHUP, EPOLL_CTL_ADD);
	}
}

static size_t out_room(const struct conn *c)
{
	return sizeof(c->out) - c->out_len;
}

// The caller has seen to it that there is room.
static void out_append(struct conn *c, const void *p, size_t n)
{
	memcpy(c->out + c->out_len, p, n);
	c->out_len += n;
}

// Sends what it can. False: the connection is gone (and freed).
static bool flush(struct conn *c)
{
	while (c->out_at < c->out_len) {
		ssize_t n = send(c->src.fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);

		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			watch(&c->src, EPOLLOUT, EPOLL_CTL_MOD);
			return true;
		}
		if (n <= 0) {
			conn_free(c);
			return false;
		}
		c->out_at += (size_t)n;
	}
	c->out_len = c->out_at = 0;
	if (c->close_after || (c->peer_done && !c->in_len)) {
		conn_free(c);
		return false;
	}
	watch(&c->src, c->peer_done ? 0 : EPOLLIN | EPOLLRDHUP, EPOLL_CTL_MOD);
	return true;
}

static bool is_ready(void)
{
	return s.ready && !s.stopping && now_ms() >= s.ready_at;
}

static void begin_refusing(unsigned long ms)
{
	s.refuse_until = now_ms() + ms;
	s.refusing = ms > 0;
	if (s.refusing)
		listeners_close();
	else
		listeners_open();
}

static int control(const char *query, char *body, size_t size)
{
	unsigned long v;

	if (echo_query_number(query, "exit", &v)) {
		say("exit %lu on request", v);
		_exit((int)(v & 0xff));
	}
	if (echo_query_number(query, "ready", &v))
		s.ready = v != 0;
	if (echo_query_number(query, "delay", &v))
		s.delay_ms = v;
	if (echo_query_number(query, "drain", &v))
		s.drain_ms = v;
	if (echo_query_number(query, "refuse", &v))
		begin_refusing(v);
	if (*query)
		say("control %s", query);
	snprintf(body, size, "ready=%d\ndelay=%lu\ndrain=%lu\nrefusing=%d\nrequests=%lu\n", is_ready(), s.delay_ms,
		 s.drain_ms, s.refusing, s.requests);
	return 200;
}

static void identify(const struct conn *c, char *body, size_t size)
{
	struct sockaddr_storage own, peer;
	socklen_t n = sizeof(own);
	char own_text[64] = "-", peer_text[64] = "-";

	if (getsockname(c->src.fd, (struct sockaddr *)&own, &n) == 0)
		echo_format_addr(&own, own_text, sizeof(own_text));
	n = sizeof(peer);
	if (getpeername(c->src.fd, (struct sockaddr *)&peer, &n) == 0)
		echo_format_addr(&peer, peer_text, sizeof(peer_text));
	snprintf(body, size, "%s\nserver %s\nclient %s\n", s.hostname, own_text, peer_text);
}

static void answer(struct conn *c, const struct echo_request *r, const char *sent, size_t sent_len)
{
	char small[1024], head[256];
	const char *body = small;
	size_t body_len;
	int status = 200, n;

	s.requests++;
	if (strcmp(r->path, "/") == 0) {
		identify(c, small, sizeof(small));
		body_len = strlen(small);
	} else if (strcmp(r->path, "/healthz") == 0) {
		status = is_ready() ? 200 : 503;
		snprintf(small, sizeof(small), "%s\n", is_ready() ? "ok" : "unready");
		body_len = strlen(small);
	} else if (strcmp(r->path, "/control") == 0) {
		status = control(r->query, small, sizeof(small));
		body_len = strlen(small);
	} else if (strcmp(r->path, "/echo") == 0) {
		body = sent;
		body_len = sent_len;
	} else {
		status = 404;
		snprintf(small, sizeof(small), "no %.200s here\n", r->path);
		body_len = strlen(small);
	}
	if (s.opts.log_requests)
		say("%s %s %d", r->method, r->path, status);
	if (s.stopping || !r->keep_alive)
		c->close_after = true;
	n = snprintf(head, sizeof(head),
		     "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: %s\r\n\r\n",
		     status,
		     status == 200   ? "OK"
		     : status == 404 ? "Not Found"
				     : "Service Unavailable",
		     body_len, c->close_after ? "close" : "keep-alive");
	out_append(c, head, (size_t)n);
	if (!r->head_only)
		out_append(c, body, body_len);
}

// Answers one request. False: none stands in the buffer as a whole (or no request at all: then an error was answered).
static bool serve_one(struct conn *c)
{
	static const char bad[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
	static char copy[sizeof(c->in)]; // the parser cuts its buffer up, and the body may still be missing
	struct echo_request r;
	int rc;

	memcpy(copy, c->in, c->in_len);
	rc = echo_parse_request(copy, c->in_len, &r);
	if (rc < 0 || (rc == 0 && c->in_len >= HEAD_MAX) || (rc > 0 && r.body_len > BODY_MAX)) {
		c->close_after = true;
		out_append(c, bad, sizeof(bad) - 1);
		return false;
	}
	if (rc == 0)
		return false;
	if (c->in_len < r.head_len + r.body_len) {
		if (r.expects_continue && c->in_len == r.head_len)
			out_append(c, go_on, sizeof(go_on) - 1);
		return false;
	}
	answer(c, &r, copy + r.head_len, r.body_len);
	c->in_len -= r.head_len + r.body_len;
	memmove(c->in, c->in + r.head_len + r.body_len, c->in_len);
	if (s.delay_ms) {
		c->answer_at = now_ms() + s.delay_ms;
		s.waiting++;
	}
	return true;
}

// Answers what stands in the buffer, as far as there is room for answers. False: the connection was freed.
static bool serve_requests(struct conn *c)
{
	bool more = true;

	while (more) {
		while (more && c->in_len && !c->answer_at && !c->close_after && out_room(c) >= ANSWER_MAX)
			more = serve_one(c);
		if (c->answer_at)
			return true;
		if (c->peer_done && !more)
			c->in_len = 0; // half a request of somebody who has gone
		if (!flush(c))
			return false;
		more = more && c->in_len && !c->out_len;
	}
	return true;
}

static void conn_read(struct conn *c)
{
	size_t room = sizeof(c->in) - c->in_len;
	ssize_t n;

	if (c->src.kind == CONN_TCP) // straight into the output: no more is read than the peer takes back
		n = recv(c->src.fd, c->out, sizeof(c->out), 0);
	else
		n = room ? recv(c->src.fd, c->in + c->in_len, room, 0) : -1;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		conn_free(c);
		return;
	}
	c->peer_done = n == 0;
	if (c->src.kind == CONN_TCP) {
		c->out_len = (size_t)n;
		flush(c);
		return;
	}
	c->in_len += (size_t)n;
	if (c->answer_at) { // what came behind it waits; half closed: the answer is still wanted
		if (c->peer_done)
			watch(&c->src, 0, EPOLL_CTL_MOD);
		return;
	}
	serve_requests(c);
}

static void conn_event(struct conn *c, uint32_t events)
{
	if (events & EPOLLERR)
		conn_free(c);
	else if (!(events & EPOLLOUT))
		conn_read(c);
	else if (flush(c) && c->in_len && !c->out_len)
		serve_requests(c);
}

// Answers from the address that was asked, which matters on a socket bound to every address.
static void udp_echo(int fd)
{
	static char buf[65536];

	for (;;) {
		struct sockaddr_storage peer;
		char control_buf[256];
		struct iovec iov = {.iov_base = buf, .iov_len = sizeof(buf)};
		struct msghdr m = {.msg_name = &peer,
				   .msg_namelen = sizeof(peer),
				   .msg_iov = &iov,
				   .msg_iovlen = 1,
				   .msg_control = control_buf,
				   .msg_controllen = sizeof(control_buf)};
		ssize_t n = recvmsg(fd, &m, 0);

		if (n < 0)
			return;
		for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
			if (h->cmsg_level == IPPROTO_IPV6 && h->cmsg_type == IPV6_PKTINFO)
				((struct in6_pktinfo *)CMSG_DATA(h))->ipi6_ifindex = 0;
			else if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_PKTINFO)
				((struct in_pktinfo *)CMSG_DATA(h))->ipi_ifindex = 0;
		}
		iov.iov_len = (size_t)n;
		if (sendmsg(fd, &m, MSG_NOSIGNAL) < 0 && errno == EINVAL) {
			m.msg_control = NULL;
			m.msg_controllen = 0;
			sendmsg(fd, &m, MSG_NOSIGNAL);
		}
	}
}

static void on_signal(void)
{
	struct signalfd_siginfo info;

	while (read(s.signals.fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (s.stopping)
			_exit(0);
		s.stopping = true;
		s.stop_at = now_ms() + s.drain_ms;
		say("signal %u, drain %lu ms", info.ssi_signo, s.drain_ms);
	}
}

// Runs what is due and tells how long the next wait may last.
static int run_timers(void)
{
	uint64_t now = now_ms(), next = UINT64_MAX;

	if (s.refusing && now >= s.refuse_until && !s.stopping) {
		s.refusing = false;
		listeners_open();
	} else if (s.refusing) {
		next = s.refuse_until;
	}
	for (struct conn *c = s.waiting ? s.conns : NULL, *following; c; c = following) {
		following = c->next;
		if (!c->answer_at)
			continue;
		if (now >= c->answer_at) {
			c->answer_at = 0;
			s.waiting--;
			if (flush(c) && c->in_len)
				serve_requests(c);
			next = now; // it may wait again by now: look at all of them once more
		} else if (c->answer_at < next) {
			next = c->answer_at;
		}
	}
	if (s.stopping) {
		bool busy = false;

		for (const struct conn *c = s.conns; c; c = c->next)
			busy = busy || c->answer_at || c->out_len;
		if (now >= s.stop_at && !busy)
			return -2;
		if (now >= s.stop_at)
			next = now + 10;
		else if (s.stop_at < next)
			next = s.stop_at;
	}
	if (next == UINT64_MAX)
		return -1;
	return next > now ? (int)(next - now) : 0;
}

int echo_serve(const struct echo_opts *opts)
{
	sigset_t set;
	int wait;

	mallopt(M_MMAP_THRESHOLD, 64 << 20); // a connection's memory is reused, not mapped anew
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
	s.opts = *opts;
	s.ready = true;
	s.ready_at = now_ms() + opts->ready_after_ms;
	if (gethostname(s.hostname, sizeof(s.hostname) - 1) < 0)
		strcpy(s.hostname, "unknown");
	s.epoll = epoll_create1(EPOLL_CLOEXEC);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	s.signals = (struct source){.kind = SIGNALS, .fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC)};
	s.listeners[0] = (struct source){.kind = LISTEN_HTTP, .fd = -1, .port = opts->http_port};
	s.listeners[1] = (struct source){.kind = LISTEN_TCP, .fd = -1, .port = opts->tcp_port};
	s.listeners[2] = (struct source){.kind = UDP, .fd = -1, .port = opts->udp_port};
	if (s.epoll < 0 || s.signals.fd < 0 || !listeners_open())
		return 1;
	watch(&s.signals, EPOLLIN, EPOLL_CTL_ADD);
	say("%s serves http %u, tcp echo %u, udp echo %u", s.hostname, opts->http_port, opts->tcp_port, opts->udp_port);
	while ((wait = run_timers()) != -2) {
		struct epoll_event ev; // one at a time: handling one may free another

		if (epoll_wait(s.epoll, &ev, 1, wait) < 1)
			continue;
		struct source *src = ev.data.ptr;

		switch (src->kind) {
		case LISTEN_HTTP:
		case LISTEN_TCP:
			conn_accept(src);
			break;
		case UDP:
			udp_echo(src->fd);
			break;
		case SIGNALS:
			on_signal();
			break;
		case CONN_HTTP:
		case CONN_TCP:
			conn_event((struct conn *)src, ev.events);
			break;
		}
	}
	return 0;
}
