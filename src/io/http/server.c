// SPDX-License-Identifier: Apache-2.0
// The server: listeners, the set of connections and its bound, one timer for all time-outs, and the orderly stop.
//
// Time-outs cost no timer each: a connection or request carries a deadline, and one sweep looks at all of them when the
// earliest known one has come, at most four times a second. A server whose connections only wait in watches has no
// deadline and therefore no wake-up.
//
// Output is sent at the end of the read that caused it, or, when something else caused it (a store's answer, an event),
// once per turn of the loop, in the prepare or check phase.
#include <errno.h>
#include <malloc.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/log.h"
#include "io/http/conn.h"

#define SWEEP_MIN_MS  250
#define STOP_STALL_MS 500  // a peer that takes nothing for so long is not waited for when the server stops
#define TRIM_AFTER    32   // handshakes
#define TRIM_MS       5000 // after the last of them
#define BACKLOG       1024

static void fill_limits(struct fl_http_limits *l)
{
	const struct fl_http_limits d = {
	    .max_connections = FL_MAX_CONNECTIONS,
	    .max_streams = FL_MAX_STREAMS,
	    .max_body_bytes = FL_MAX_BODY_BYTES,
	    .max_held_bytes = FL_MAX_HELD_BYTES,
	    .max_unsent_bytes = FL_MAX_UNSENT_BYTES,
	    .handshake_ms = FL_HANDSHAKE_MS,
	    .idle_ms = FL_IDLE_TIMEOUT_MS,
	    .header_ms = FL_HEADER_TIMEOUT_MS,
	    .body_ms = FL_BODY_TIMEOUT_MS,
	    .stall_ms = FL_STALL_TIMEOUT_MS,
	    .half_close_ms = FL_HALF_CLOSE_MS,
	};
	l->max_connections = l->max_connections ? l->max_connections : d.max_connections;
	// A quarter of the file descriptors is for the rest of the process: without one it could not even open its
	// files.
	struct rlimit fds;
	if (getrlimit(RLIMIT_NOFILE, &fds) == 0 && l->max_connections > fds.rlim_cur - fds.rlim_cur / 4)
		l->max_connections = (unsigned)(fds.rlim_cur - fds.rlim_cur / 4);
	l->max_streams = l->max_streams ? l->max_streams : d.max_streams;
	l->max_body_bytes = l->max_body_bytes ? l->max_body_bytes : d.max_body_bytes;
	l->max_held_bytes = l->max_held_bytes ? l->max_held_bytes : d.max_held_bytes;
	l->max_unsent_bytes = l->max_unsent_bytes ? l->max_unsent_bytes : d.max_unsent_bytes;
	l->handshake_ms = l->handshake_ms ? l->handshake_ms : d.handshake_ms;
	l->idle_ms = l->idle_ms ? l->idle_ms : d.idle_ms;
	l->header_ms = l->header_ms ? l->header_ms : d.header_ms;
	l->body_ms = l->body_ms ? l->body_ms : d.body_ms;
	l->stall_ms = l->stall_ms ? l->stall_ms : d.stall_ms;
	l->half_close_ms = l->half_close_ms ? l->half_close_ms : d.half_close_ms;
}

int fl_http_server_new(uv_loop_t *loop, const struct fl_http_server_opts *opts, struct fl_http_server **ret,
		       struct fl_err *err)
{
	if (!opts->handler)
		return fl_err_set(err, -EINVAL, "HTTP server: no handler");
	struct fl_http_server *s = FL_NEW(struct fl_http_server);
	s->loop = loop;
	s->opts = *opts;
	fill_limits(&s->opts.limits);
	if (!s->opts.server_name)
		s->opts.server_name = "http";
	s->refs = 1;
	if (opts->tls && SSL_CTX_up_ref(opts->tls))
		s->tls = opts->tls;
	TAILQ_INIT(&s->conns);
	TAILQ_INIT(&s->idle);
	TAILQ_INIT(&s->dirty);
	STAILQ_INIT(&s->pool);
	// libuv writes without MSG_NOSIGNAL; a peer that went away is an error code, not the end of the process.
	struct sigaction sa;
	if (sigaction(SIGPIPE, NULL, &sa) == 0 && sa.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
	*ret = s;
	return 0;
}

void fl_server_unref(struct fl_http_server *s)
{
	if (--s->refs)
		return;
	for (struct fl_http_req *r; (r = STAILQ_FIRST(&s->pool));) {
		STAILQ_REMOVE_HEAD(&s->pool, queued);
		fl_buf_deinit(&r->text);
		fl_vec_deinit(&r->fields);
		fl_arena_deinit(&r->arena);
		free(r->q.v);
		free(r);
	}
	fl_buf_deinit(&s->head);
	fl_buf_deinit(&s->out.batch);
	fl_vec_deinit(&s->listeners);
	SSL_CTX_free(s->tls);
	free(s);
}

void fl_http_server_free(struct fl_http_server **s)
{
	if (*s)
		fl_server_unref(TAKE_PTR(*s));
}

void fl_http_server_set_tls(struct fl_http_server *s, SSL_CTX *tls)
{
	if (!s->tls || !SSL_CTX_up_ref(tls))
		return;
	SSL_CTX_free(s->tls);
	s->tls = tls;
}

const char *fl_server_date(struct fl_http_server *s)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	if (now.tv_sec != s->date_s) {
		struct tm tm;
		gmtime_r(&now.tv_sec, &tm);
		strftime(s->date, sizeof(s->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
		s->date_s = now.tv_sec;
	}
	return s->date;
}

// --- end of a turn ---

static void run_dirty(struct fl_http_server *s)
{
	for (struct fl_conn *c; (c = TAILQ_FIRST(&s->dirty));) {
		c->refs++;
		fl_conn_run(c); // takes it out of the list
		fl_conn_unref(c);
	}
}

static void on_prepare(uv_prepare_t *h)
{
	run_dirty(h->data);
}

static void on_check(uv_check_t *h)
{
	run_dirty(h->data);
}

// --- time-outs ---

bool fl_server_is_full(const struct fl_http_server *s)
{
	return s->unsent > s->opts.limits.max_unsent_bytes;
}

static uint64_t stall_limit(const struct fl_http_server *s)
{
	uint64_t limit = s->opts.limits.stall_ms;
	if (fl_server_is_full(s) && limit > FL_HURRY_MS)
		limit = FL_HURRY_MS;
	return s->stopping && limit > STOP_STALL_MS ? STOP_STALL_MS : limit;
}

static void sweep_requests(struct fl_conn *c, uint64_t now, uint64_t *next)
{
	uint64_t limit = stall_limit(c->server);
	for (struct fl_http_req *r = TAILQ_FIRST(&c->reqs), *following; r; r = following) {
		following = TAILQ_NEXT(r, of_conn);
		if (r->over)
			continue;
		uint64_t at = r->deadline_ms;
		if (r->q.bytes && (!at || r->moved_ms + limit < at))
			at = r->moved_ms + limit;
		if (at && at <= now)
			c->codec->abort(r);
		else if (at && at < *next)
			*next = at;
	}
}

// Its deadline has passed. False: nothing is to be said to this peer.
static bool end_in_words(struct fl_conn *c)
{
	if (c->state != FL_CONN_OPEN || c->unwritten || c->read_eof)
		return false;
	if (!c->n_reqs)
		c->codec->shutdown(c);
	else if (!c->codec->late || !c->codec->late(c))
		return false;
	fl_conn_mark_dirty(c);
	return true;
}

static void sweep_conn(struct fl_conn *c, uint64_t now, uint64_t *next)
{
	uint64_t stall_ms = c->stall_ms ? c->stall_ms - c->server->opts.limits.stall_ms + stall_limit(c->server) : 0;
	if ((c->deadline_ms && c->deadline_ms <= now) || (stall_ms && stall_ms <= now)) {
		c->deadline_ms = 0;
		if (!end_in_words(c)) {
			fl_conn_kill(c, c->stall_ms != 0);
			return;
		}
	}
	if (c->deadline_ms && c->deadline_ms < *next)
		*next = c->deadline_ms;
	if (stall_ms && stall_ms < *next)
		*next = stall_ms;
	if (c->codec)
		sweep_requests(c, now, next);
}

// A handshake holds 50 KiB for two round trips. When many clients connect at once, their buffers lie between what the
// connections keep, and half of the heap stays resident for nothing until it is asked for: 39 KiB a connection instead
// of 21, with a thousand.
void fl_server_handshake_done(struct fl_http_server *s)
{
	if (++s->n_handshakes < TRIM_AFTER)
		return;
	s->trim_at_ms = uv_now(s->loop) + TRIM_MS;
	fl_server_arm(s, s->trim_at_ms);
}

static void trim(struct fl_http_server *s, uint64_t now, uint64_t *next)
{
	if (s->trim_at_ms > now) {
		*next = s->trim_at_ms < *next ? s->trim_at_ms : *next;
	} else if (s->trim_at_ms) {
		s->trim_at_ms = 0;
		s->n_handshakes = 0;
		malloc_trim(0);
	}
}

static void on_sweep(uv_timer_t *t)
{
	struct fl_http_server *s = t->data;
	uint64_t now = uv_now(s->loop), next = UINT64_MAX;
	s->sweep_at_ms = 0;
	s->swept_ms = now;
	bool cut = s->stop_at_ms && s->stop_at_ms <= now;
	for (struct fl_conn *c = TAILQ_FIRST(&s->conns), *following; c; c = following) {
		following = TAILQ_NEXT(c, all);
		if (cut)
			fl_conn_kill(c, false);
		else
			sweep_conn(c, now, &next);
	}
	trim(s, now, &next);
	if (s->stop_at_ms && !cut && s->stop_at_ms < next)
		next = s->stop_at_ms;
	if (next != UINT64_MAX)
		fl_server_arm(s, next);
}

void fl_server_arm(struct fl_http_server *s, uint64_t at_ms)
{
	if (!s->started || (s->sweep_at_ms && s->sweep_at_ms <= at_ms) || uv_is_closing((uv_handle_t *)&s->sweep))
		return;
	if (at_ms < s->swept_ms + SWEEP_MIN_MS)
		at_ms = s->swept_ms + SWEEP_MIN_MS;
	uint64_t now = uv_now(s->loop);
	s->sweep_at_ms = at_ms;
	uv_timer_start(&s->sweep, on_sweep, at_ms > now ? at_ms - now : 0, 0);
}

// --- listening ---

static void start_handles(struct fl_http_server *s)
{
	if (s->started)
		return;
	s->started = true;
	uv_timer_init(s->loop, &s->sweep);
	uv_prepare_init(s->loop, &s->prepare);
	uv_check_init(s->loop, &s->check);
	s->sweep.data = s->prepare.data = s->check.data = s;
	uv_prepare_start(&s->prepare, on_prepare);
	uv_check_start(&s->check, on_check);
	// Only sockets keep the loop alive.
	uv_unref((uv_handle_t *)&s->sweep);
	uv_unref((uv_handle_t *)&s->prepare);
	uv_unref((uv_handle_t *)&s->check);
	s->n_handles = 3;
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct fl_listener *l = FL_CONTAINER_OF(listener, struct fl_listener, tcp);
	if (status < 0) {
		fl_warn("%s: cannot accept a connection: %s", l->server->opts.server_name, uv_strerror(status));
		return;
	}
	fl_conn_accept(l->server, listener);
}

static void maybe_stopped(struct fl_http_server *s)
{
	if (s->stopping && !s->stopped && !s->n_handles && !s->n_open_listeners && !s->n_sockets) {
		s->stopped = true;
		if (s->stop_done)
			s->stop_done(s->stop_arg);
	}
}

static void listener_closed(uv_handle_t *h)
{
	struct fl_listener *l = FL_CONTAINER_OF(h, struct fl_listener, tcp);
	struct fl_http_server *s = l->server;
	free(l);
	s->n_open_listeners--;
	maybe_stopped(s);
}

// Accepted sockets inherit these from the listener, so a connection costs no system call for them. Dead peers of a
// silent watch are found after about two minutes.
static int set_socket_options(int fd)
{
	const struct {
		int level, name, value;
	} opts[] = {
	    {IPPROTO_TCP, TCP_NODELAY, 1},    {SOL_SOCKET, SO_KEEPALIVE, 1}, {IPPROTO_TCP, TCP_KEEPIDLE, 60},
	    {IPPROTO_TCP, TCP_KEEPINTVL, 15}, {IPPROTO_TCP, TCP_KEEPCNT, 4},
	};
	for (size_t i = 0; i < FL_COUNT(opts); i++)
		if (setsockopt(fd, opts[i].level, opts[i].name, &opts[i].value, sizeof(opts[i].value)) < 0)
			return -errno;
	return 0;
}

static int start_listening(struct fl_listener *l, const struct fl_ip *ip, uint16_t port, uint16_t *ret_port)
{
	struct sockaddr_storage sa;
	socklen_t len;
	fl_ip_to_sockaddr(ip, port, &sa, &len);
	// ::, too, is one family only, so that 0.0.0.0 can be listened on beside it.
	int rc = uv_tcp_bind(&l->tcp, (struct sockaddr *)&sa, ip->family == AF_INET6 ? UV_TCP_IPV6ONLY : 0);
	int fd;
	if (rc == 0)
		rc = uv_fileno((uv_handle_t *)&l->tcp, &fd);
	if (rc == 0)
		rc = set_socket_options(fd);
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&l->tcp, BACKLOG, on_connection);
	int n = sizeof(sa);
	if (rc == 0)
		rc = uv_tcp_getsockname(&l->tcp, (struct sockaddr *)&sa, &n);
	if (rc == 0) {
		struct fl_ip bound;
		fl_ip_from_sockaddr((struct sockaddr *)&sa, &bound, ret_port);
	}
	return rc;
}

int fl_http_server_listen(struct fl_http_server *s, const struct fl_ip *ip, uint16_t port, uint16_t *ret_port,
			  struct fl_err *err)
{
	char text[FL_IP_STRLEN];
	if (s->stopping)
		return fl_err_set(err, -ESHUTDOWN, "listening on %s port %u: the server is stopped",
				  fl_ip_format(ip, text), port);
	struct fl_listener *l = FL_NEW(struct fl_listener);
	l->server = s;
	int rc = uv_tcp_init(s->loop, &l->tcp);
	if (rc < 0) {
		free(l);
		return fl_err_set(err, rc, "listening on %s port %u: %s", fl_ip_format(ip, text), port,
				  uv_strerror(rc));
	}
	start_handles(s);
	s->n_open_listeners++;
	uint16_t bound = 0;
	rc = start_listening(l, ip, port, &bound);
	if (rc < 0) {
		uv_close((uv_handle_t *)&l->tcp, listener_closed);
		return fl_err_set(err, rc, "listening on %s port %u: %s", fl_ip_format(ip, text), port,
				  uv_strerror(rc));
	}
	fl_vec_push(&s->listeners, l);
	if (ret_port)
		*ret_port = bound;
	return 0;
}

// --- stop ---

static void handle_closed(uv_handle_t *h)
{
	struct fl_http_server *s = h->data;
	s->n_handles--;
	maybe_stopped(s);
}

static void maybe_close_handles(struct fl_http_server *s)
{
	if (!s->stopping || s->n_sockets || !s->started || uv_is_closing((uv_handle_t *)&s->sweep))
		return;
	run_dirty(s);
	uv_close((uv_handle_t *)&s->sweep, handle_closed);
	uv_close((uv_handle_t *)&s->prepare, handle_closed);
	uv_close((uv_handle_t *)&s->check, handle_closed);
}

void fl_server_conn_closed(struct fl_http_server *s)
{
	s->n_sockets--;
	maybe_close_handles(s);
	maybe_stopped(s);
}

void fl_http_server_stop(struct fl_http_server *s, unsigned grace_ms, void (*done)(void *arg), void *arg)
{
	if (s->stopping)
		return;
	start_handles(s); // a server that never listened stops the same way
	s->stopping = true;
	s->stop_done = done;
	s->stop_arg = arg;
	for (size_t i = 0; i < s->listeners.n; i++)
		uv_close((uv_handle_t *)&s->listeners.v[i]->tcp, listener_closed);
	s->listeners.n = 0;
	for (struct fl_conn *c = TAILQ_FIRST(&s->conns), *following; c; c = following) {
		following = TAILQ_NEXT(c, all);
		if (!c->codec) { // in its handshake, or after a failed one
			fl_conn_kill(c, false);
			continue;
		}
		for (struct fl_http_req *r = TAILQ_FIRST(&c->reqs); r; r = TAILQ_NEXT(r, of_conn))
			fl_req_end_stream(r);
		c->codec->shutdown(c);
		fl_conn_mark_dirty(c);
	}
	s->stop_at_ms = uv_now(s->loop) + grace_ms;
	s->sweep_at_ms = 0;
	s->swept_ms = 0;
	fl_server_arm(s, uv_now(s->loop) + (grace_ms < STOP_STALL_MS ? grace_ms : STOP_STALL_MS));
	maybe_close_handles(s);
}
