// SPDX-License-Identifier: Apache-2.0
// Scripted DNS servers on loopback, UDP and TCP on one port, on the test's own loop. Tests wait on conditions by
// turning the loop; a watchdog ends a test whose condition never comes.
#pragma once

#include "dns_test.h"

#include <sys/socket.h>
#include <uv.h>

#define wait_for(w, condition)                                                                                         \
	while (!(condition))                                                                                           \
	uv_run(&(w)->loop, UV_RUN_ONCE)

struct world {
	uv_loop_t loop;
	uv_timer_t watchdog;
};

static inline void watchdog_barks(uv_timer_t *t)
{
	fprintf(stderr, "the condition a test waits for did not come\n");
	abort();
}

static inline void world_begin(struct world *w)
{
	uv_loop_init(&w->loop);
	uv_timer_init(&w->loop, &w->watchdog);
	uv_timer_start(&w->watchdog, watchdog_barks, 60000, 0);
	uv_unref((uv_handle_t *)&w->watchdog);
}

static inline void world_end(struct world *w)
{
	uv_close((uv_handle_t *)&w->watchdog, NULL);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&w->loop), 0); // nothing was left behind
}

struct fake;

// One query as it came, and how to answer it: any number of times, or never.
struct fake_query {
	struct fake *u;
	const uint8_t *msg;
	size_t len;
	struct fl_dns_query q;
	const struct sockaddr *from; // UDP
	uv_stream_t *stream;         // TCP
};

struct fake {
	uv_udp_t udp;
	uv_tcp_t tcp, client;
	uint16_t port;
	unsigned n_udp, n_tcp; // queries
	bool client_open;
	uint8_t in[600];
	size_t in_len;
	void (*script)(struct fake_query *fq);
	void *arg;
};

static inline void fake_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct fake *u = h->data;
	*buf = uv_buf_init((char *)u->in + u->in_len, (unsigned)(sizeof(u->in) - u->in_len));
}

static inline void fake_take(struct fake *u, const uint8_t *msg, size_t len, const struct sockaddr *from,
			     uv_stream_t *stream)
{
	struct fake_query fq = {.u = u, .msg = msg, .len = len, .from = from, .stream = stream};
	assert_int_equal(fl_dns_parse_query(msg, len, &fq.q), 0);
	u->script(&fq);
}

static inline void fake_on_udp(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags)
{
	struct fake *u = h->data;
	if (!from)
		return;
	u->n_udp++;
	fake_take(u, (const uint8_t *)buf->base, (size_t)n, from, NULL);
}

static inline void fake_client_closed(uv_handle_t *h)
{
	struct fake *u = h->data;
	u->client_open = false;
	u->in_len = 0;
}

static inline void fake_on_tcp(uv_stream_t *h, ssize_t n, const uv_buf_t *buf)
{
	struct fake *u = h->data;
	if (n < 0) {
		uv_close((uv_handle_t *)h, fake_client_closed);
		return;
	}
	u->in_len += (size_t)n;
	if (u->in_len < 2 || u->in_len < 2u + fl_dns_get16(u->in))
		return;
	u->n_tcp++;
	u->in_len = 0;
	fake_take(u, u->in + 2, fl_dns_get16(u->in), NULL, h);
}

static inline void fake_on_connection(uv_stream_t *h, int status)
{
	struct fake *u = h->data;
	assert_false(u->client_open);
	uv_tcp_init(h->loop, &u->client);
	u->client.data = u;
	u->client_open = true;
	assert_int_equal(uv_accept(h, (uv_stream_t *)&u->client), 0);
	uv_read_start((uv_stream_t *)&u->client, fake_alloc, fake_on_tcp);
}

// Two sockets on loopback with one port.
static inline uint16_t bind_pair(int *ret_udp, int *ret_tcp)
{
	for (;;) {
		struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		socklen_t len = sizeof(sa);
		*ret_udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		*ret_tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		assert_true(*ret_udp >= 0 && *ret_tcp >= 0);
		assert_int_equal(bind(*ret_tcp, (struct sockaddr *)&sa, len), 0);
		assert_int_equal(getsockname(*ret_tcp, (struct sockaddr *)&sa, &len), 0);
		if (bind(*ret_udp, (struct sockaddr *)&sa, len) == 0)
			return ntohs(sa.sin_port);
		close(*ret_udp); // somebody else's for UDP
		close(*ret_tcp);
	}
}

static inline void fake_begin(struct world *w, struct fake *u, void (*script)(struct fake_query *fq))
{
	int udp, tcp;
	*u = (struct fake){.script = script};
	u->port = bind_pair(&udp, &tcp);
	uv_udp_init(&w->loop, &u->udp);
	uv_tcp_init(&w->loop, &u->tcp);
	u->udp.data = u->tcp.data = u;
	assert_int_equal(uv_udp_open(&u->udp, udp), 0);
	assert_int_equal(uv_tcp_open(&u->tcp, tcp), 0);
	assert_int_equal(uv_udp_recv_start(&u->udp, fake_alloc, fake_on_udp), 0);
	assert_int_equal(uv_listen((uv_stream_t *)&u->tcp, 16, fake_on_connection), 0);
}

static inline void fake_end(struct world *w, struct fake *u)
{
	uv_close((uv_handle_t *)&u->udp, NULL);
	uv_close((uv_handle_t *)&u->tcp, NULL);
	if (u->client_open && !uv_is_closing((uv_handle_t *)&u->client))
		uv_close((uv_handle_t *)&u->client, fake_client_closed);
	uv_run(&w->loop, UV_RUN_NOWAIT);
}

static inline void fake_send(struct fake_query *fq, const uint8_t *msg, size_t len)
{
	uint8_t prefix[2];
	fl_dns_put16(prefix, (unsigned)len);
	uv_buf_t b[2] = {uv_buf_init((char *)prefix, 2), uv_buf_init((char *)(uintptr_t)msg, (unsigned)len)};
	if (fq->stream)
		assert_int_equal(uv_try_write(fq->stream, b, 2), (int)len + 2);
	else
		assert_int_equal(uv_udp_try_send(&fq->u->udp, &b[1], 1, fq->from), (int)len);
}

// An answer with `n` A records 192.0.2.1, .2 ...; ends with OPT when the query had one.
static inline size_t fake_answer(struct fake_query *fq, unsigned rcode, unsigned n, uint32_t ttl_s, uint8_t *out)
{
	struct fl_dns_msg m;
	fl_dns_begin(&m, out, FL_DNS_TCP_MAX, &fq->q, fq->msg + FL_DNS_HEADER);
	for (unsigned i = 0; i < n; i++) {
		struct fl_ip ip = fl_ip_from4(htonl(0xc0000201 + i));
		fl_dns_add_ip(&m, FL_DNS_ANSWER, NULL, ttl_s, &ip);
	}
	return fl_dns_end(&m, rcode, false, true);
}

static inline void fake_reply(struct fake_query *fq, unsigned rcode, unsigned n, uint32_t ttl_s)
{
	static uint8_t out[FL_DNS_TCP_MAX];
	fake_send(fq, out, fake_answer(fq, rcode, n, ttl_s, out));
}
