// SPDX-License-Identifier: Apache-2.0
#include "dns/forward.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/str.h"
#include "base/vec.h"
#include "dns/cache.h"
#include "dns/message.h"
#include "dns/reply.h"

#define TRY_MS      1000
#define ROUNDS      2
#define MAX_PENDING 512  // questions under way, each with a socket; beyond it: no answer
#define MAX_WAITERS 4096 // who waits for the same question as somebody else, of all questions; 2 KB each
#define QUERY_MAX   (FL_DNS_HEADER + 255 + 4 + 11)

struct waiter {
	fl_forward_done done;
	void *arg;
};

// A socket outlives its try by a turn of the loop, in which libuv closes it.
struct sock {
	union {
		uv_handle_t handle;
		uv_udp_t udp;
		uv_tcp_t tcp;
	};
	uv_connect_t connect;
};

struct pending {
	struct fl_forwarder *f;
	char *key;
	FL_VEC(struct waiter) waiters;
	uint8_t query[QUERY_MAX];
	size_t query_len, plain_len; // plain: without OPT
	bool tcp;                    // of the try under way
	struct fl_upstream up;       // it asks this one,
	unsigned at;                 // which is upstream number `at`
	unsigned asked, failed;      // masks: in this round; said that they cannot tell
	unsigned round;
	struct sock *sock;
	uv_timer_t timer;
	uint8_t prefix[2]; // TCP: length of the query, then of the answer
	uint8_t *in;       // TCP: the answer
	size_t in_len;     // with the prefix
	uint8_t udp_buf[FL_DNS_UDP_MAX];
};

struct fl_forwarder {
	uv_loop_t *loop;
	struct fl_upstreams up;
	unsigned try_ms;
	struct fl_map pending; // key -> struct pending *
	size_t n_waiters;      // of all of them, but for who asked first
	struct fl_dns_cache cache;
};

// --- one question under way ---

static void free_sock(uv_handle_t *h)
{
	free(FL_CONTAINER_OF(h, struct sock, handle));
}

static void drop_sock(struct pending *p)
{
	if (!p->sock)
		return;
	p->sock->handle.data = NULL; // callbacks of this try find nobody
	uv_close(&p->sock->handle, free_sock);
	p->sock = NULL;
	free(p->in);
	p->in = NULL;
	p->in_len = 0;
}

static void free_pending(uv_handle_t *timer)
{
	struct pending *p = timer->data;
	fl_vec_deinit(&p->waiters);
	free(p->key);
	free(p);
}

static void end(struct pending *p, const uint8_t *msg, size_t len)
{
	fl_map_del(&p->f->pending, p->key);
	p->f->n_waiters -= p->waiters.n - 1;
	for (size_t i = 0; i < p->waiters.n; i++)
		p->waiters.v[i].done(p->waiters.v[i].arg, msg, len);
	drop_sock(p); // and with it what `msg` stands in
	uv_close((uv_handle_t *)&p->timer, free_pending);
}

static void ask_udp(struct pending *p);
static void ask_tcp(struct pending *p);

static void ask_next(struct pending *p)
{
	struct fl_forwarder *f = p->f;
	uint64_t now = fl_mono_ms();
	drop_sock(p);
	int i = fl_upstreams_next(&f->up, p->asked | p->failed, now);
	if (i < 0 && ++p->round < ROUNDS) {
		p->asked = 0;
		i = fl_upstreams_next(&f->up, p->failed, now);
		if (i >= 0 && now < f->up.v[i].down_until_ms)
			i = -1; // all are down: no use
	}
	if (i < 0) {
		end(p, NULL, 0);
		return;
	}
	p->at = (unsigned)i;
	p->up = f->up.v[i];
	p->asked |= 1u << i;
	ask_udp(p);
}

static void on_silence(struct pending *p)
{
	fl_upstreams_silent(&p->f->up, p->at, fl_mono_ms());
	ask_next(p);
}

static void on_timeout(uv_timer_t *t)
{
	on_silence(t->data);
}

static void on_good(struct pending *p, const uint8_t *msg, size_t len, uint32_t ttl_s)
{
	fl_upstreams_answered(&p->f->up, p->at);
	if (ttl_s)
		fl_dns_cache_put(&p->f->cache, p->key, msg, len, ttl_s, fl_mono_ms());
	end(p, msg, len);
}

static void on_message(struct pending *p, uint8_t *msg, size_t len, bool cut)
{
	uint32_t ttl_s = 0;
	enum fl_dns_reply reply = fl_dns_reply_judge(p->query, p->query_len, msg, &len, &ttl_s);
	if (cut && reply == FL_DNS_REPLY_STRANGE && len > 2 && !memcmp(msg, p->query, 2))
		reply = FL_DNS_REPLY_TRUNCATED; // longer than it was told that we take
	if (reply == FL_DNS_REPLY_TRUNCATED && p->tcp)
		reply = FL_DNS_REPLY_FAILED;
	switch (reply) {
	case FL_DNS_REPLY_STRANGE:
		return; // until the timer says so
	case FL_DNS_REPLY_TRUNCATED:
		ask_tcp(p);
		return;
	case FL_DNS_REPLY_NO_EDNS:
		p->query_len = p->plain_len;
		p->query[11] = 0;
		ask_udp(p);
		return;
	case FL_DNS_REPLY_FAILED:
		fl_upstreams_answered(&p->f->up, p->at);
		p->failed |= 1u << p->at;
		ask_next(p);
		return;
	case FL_DNS_REPLY_GOOD:
		on_good(p, msg, len, ttl_s);
		return;
	}
}

// A socket for the next try, and its time. A try that cannot even begin ends with the loop's next turn.
static struct sock *new_sock(struct pending *p, bool tcp)
{
	drop_sock(p);
	p->tcp = tcp;
	p->sock = FL_NEW(struct sock);
	if (tcp)
		uv_tcp_init(p->f->loop, &p->sock->tcp);
	else
		uv_udp_init(p->f->loop, &p->sock->udp);
	p->sock->handle.data = p;
	uv_timer_start(&p->timer, on_timeout, (uint64_t)p->f->try_ms << p->round, 0);
	return p->sock;
}

static void give_up_soon(struct pending *p)
{
	uv_timer_start(&p->timer, on_timeout, 0, 0);
}

// --- UDP ---

static void on_alloc_udp(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct pending *p = h->data;
	*buf = p ? uv_buf_init((char *)p->udp_buf, sizeof(p->udp_buf)) : uv_buf_init(NULL, 0);
}

static void on_udp(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags)
{
	struct pending *p = h->data;
	if (!p || n == 0)
		return;
	if (n < 0) // ICMP: nobody there
		on_silence(p);
	else
		on_message(p, (uint8_t *)buf->base, (size_t)n, flags & UV_UDP_PARTIAL);
}

static void ask_udp(struct pending *p)
{
	struct sockaddr_storage sa;
	socklen_t len;
	struct sock *s = new_sock(p, false);
	fl_random(p->query, 2);
	fl_ip_to_sockaddr(&p->up.ip, p->up.port, &sa, &len);
	uv_buf_t b = uv_buf_init((char *)p->query, (unsigned)p->query_len);
	if (uv_udp_connect(&s->udp, (struct sockaddr *)&sa) < 0 ||
	    uv_udp_recv_start(&s->udp, on_alloc_udp, on_udp) < 0 || uv_udp_try_send(&s->udp, &b, 1, NULL) < 0)
		give_up_soon(p);
}

// --- TCP ---

static void on_alloc_tcp(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct pending *p = h->data;
	if (!p) {
		*buf = uv_buf_init(NULL, 0);
		return;
	}
	*buf = p->in_len < 2
		   ? uv_buf_init((char *)p->prefix + p->in_len, (unsigned)(2 - p->in_len))
		   : uv_buf_init((char *)p->in + p->in_len - 2, (unsigned)(2u + fl_dns_get16(p->prefix) - p->in_len));
}

static void on_tcp(uv_stream_t *h, ssize_t n, const uv_buf_t *buf)
{
	struct pending *p = h->data;
	if (!p || n == 0)
		return;
	if (n < 0) {
		on_silence(p);
		return;
	}
	p->in_len += (size_t)n;
	if (p->in_len < 2)
		return;
	size_t len = fl_dns_get16(p->prefix);
	if (len < FL_DNS_HEADER) {
		on_silence(p);
	} else if (p->in_len == 2) {
		p->in = fl_malloc(len);
	} else if (p->in_len == len + 2) {
		uv_read_stop(h); // one answer is all that it owes
		on_message(p, p->in, len, false);
	}
}

static void on_connected(uv_connect_t *c, int status)
{
	struct pending *p = c->handle->data;
	if (!p)
		return;
	uv_stream_t *s = c->handle;
	fl_dns_put16(p->prefix, (unsigned)p->query_len);
	uv_buf_t b[2] = {uv_buf_init((char *)p->prefix, 2), uv_buf_init((char *)p->query, (unsigned)p->query_len)};
	// A fresh socket takes some hundred octets at once.
	if (status < 0 || uv_try_write(s, b, 2) != (int)p->query_len + 2 || uv_read_start(s, on_alloc_tcp, on_tcp) < 0)
		on_silence(p);
}

static void ask_tcp(struct pending *p)
{
	struct sockaddr_storage sa;
	socklen_t len;
	struct sock *s = new_sock(p, true);
	fl_ip_to_sockaddr(&p->up.ip, p->up.port, &sa, &len);
	if (uv_tcp_connect(&s->connect, &s->tcp, (struct sockaddr *)&sa, on_connected) < 0)
		give_up_soon(p);
}

// --- asking ---

void fl_forwarder_ask(struct fl_forwarder *f, const struct fl_dns_query *q, const char *name, fl_forward_done done,
		      void *arg)
{
	static uint8_t cached[FL_DNS_TCP_MAX];
	char key[FL_DNS_NAME_MAX + 16];
	snprintf(key, sizeof(key), "%u%s%s %s", q->type, q->dnssec_ok ? "d" : "", q->checking_disabled ? "c" : "",
		 name);
	size_t len = fl_dns_cache_get(&f->cache, key, cached, fl_mono_ms());
	if (len) {
		done(arg, cached, len);
		return;
	}
	struct pending *p = fl_map_get(&f->pending, key);
	if (p && f->n_waiters < MAX_WAITERS) {
		f->n_waiters++;
		fl_vec_push(&p->waiters, ((struct waiter){done, arg}));
		return;
	}
	fl_upstreams_refresh(&f->up, fl_mono_ms());
	if (p || !f->up.n || f->pending.n >= MAX_PENDING || !fl_dns_name_wire_len(name)) {
		done(arg, NULL, 0);
		return;
	}
	p = FL_NEW(struct pending);
	p->f = f;
	p->key = fl_strdup(key);
	p->plain_len = fl_dns_make_query(p->query, sizeof(p->query), 0, name, q->type);
	p->query[3] = q->checking_disabled ? 0x10 : 0;
	p->query_len = fl_dns_add_opt(p->query, sizeof(p->query), p->plain_len, q->dnssec_ok);
	fl_vec_push(&p->waiters, ((struct waiter){done, arg}));
	uv_timer_init(f->loop, &p->timer);
	p->timer.data = p;
	fl_map_set(&f->pending, key, p);
	ask_next(p);
}

size_t fl_forwarder_cached(const struct fl_forwarder *f)
{
	return f->cache.map.n;
}

size_t fl_forwarder_pending(const struct fl_forwarder *f)
{
	return f->pending.n;
}

struct fl_forwarder *fl_forwarder_new(uv_loop_t *loop, const struct fl_forwarder_opts *o)
{
	struct fl_forwarder *f = FL_NEW(struct fl_forwarder);
	f->loop = loop;
	f->up = o->upstreams;
	f->try_ms = o->try_ms ? o->try_ms : TRY_MS;
	return f;
}

void fl_forwarder_free(struct fl_forwarder **ret)
{
	struct fl_forwarder *f = *ret;
	if (!f)
		return;
	*ret = NULL;
	for (;;) {
		struct fl_map_iter it = {0};
		if (!fl_map_next(&f->pending, &it))
			break;
		end(it.value, NULL, 0);
	}
	fl_map_deinit(&f->pending);
	fl_dns_cache_deinit(&f->cache);
	free(f);
}
