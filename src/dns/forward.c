// SPDX-License-Identifier: Apache-2.0
#include "dns/forward.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/str.h"
#include "base/vec.h"

#define TRY_MS         1500 // for one upstream
#define TRIES_EACH     2    // rounds over the upstreams
#define MAX_PENDING    1024 // questions under way; beyond it: no answer
#define MAX_WAITERS    64   // clients of one question
#define CACHE_ENTRIES  4096
#define CACHE_BYTES    (4u << 20)
#define TTL_MAX_S      3600 // nothing is believed longer
#define NEGATIVE_MAX_S 30   // a name that is made a moment later must not be missed for long

struct waiter {
	fl_forward_done done;
	void *arg;
};

struct entry { // of the cache, in order of arrival
	struct entry *prev, *next;
	char *key;
	uint8_t *msg;
	size_t len;
	uint64_t stored_ms, expires_ms;
};

struct pending {
	struct fl_forwarder *f;
	char *key;
	FL_VEC(struct waiter) waiters;
	uint8_t query[FL_DNS_NAME_MAX + 64];
	size_t query_len;
	uint16_t id;
	unsigned at, tries;
	union {
		uv_handle_t handle;
		uv_udp_t udp;
		uv_tcp_t tcp;
	} * sock; // of the try under way
	uv_timer_t timer;
	uint8_t *in; // TCP: length prefix and message
	size_t in_len;
	uint8_t prefix[2];
	char udp_buf[FL_DNS_UDP_MAX + 64];
};

struct fl_forwarder {
	uv_loop_t *loop;
	struct fl_upstream up[FL_DNS_MAX_UPSTREAMS];
	unsigned n_up;
	struct fl_map pending; // key -> struct pending *
	struct fl_map cache;   // key -> struct entry *
	struct entry *oldest, *newest;
	size_t cache_bytes;
};

// --- upstreams ---

static bool add_upstream(char *text, const struct fl_ip *skip, unsigned n_skip, struct fl_upstream *ret, unsigned *n)
{
	struct fl_upstream u = {.port = 53};
	char *colon = strrchr(text, ':');
	if (*text == '[' || (colon && strchr(text, ':') == colon)) { // [v6]:port or v4:port
		unsigned long long port;
		if (!colon || !fl_parse_u64(colon + 1, &port) || port > 65535)
			return false;
		*colon = 0;
		u.port = (uint16_t)port;
		size_t len = strlen(text);
		if (*text == '[' && len > 2 && text[len - 1] == ']') {
			text[len - 1] = 0;
			text++;
		}
	}
	if (!fl_ip_parse(text, &u.ip))
		return false;
	for (unsigned i = 0; i < n_skip; i++)
		if (fl_ip_equal(&skip[i], &u.ip))
			return false;
	if (*n < FL_DNS_MAX_UPSTREAMS)
		ret[(*n)++] = u;
	return true;
}

unsigned fl_upstreams_find(const char *text, const char *resolv_conf, const struct fl_ip *skip, unsigned n_skip,
			   struct fl_upstream ret[static FL_DNS_MAX_UPSTREAMS])
{
	unsigned n = 0;
	if (text) {
		AUTO_FREE char *copy = fl_strdup(text);
		for (char *save = NULL, *p = strtok_r(copy, ", ", &save); p; p = strtok_r(NULL, ", ", &save))
			add_upstream(p, skip, n_skip, ret, &n);
		return n;
	}
	AUTO_FREE char *file = NULL;
	if (fl_file_read(resolv_conf, &file, NULL, NULL) < 0)
		return 0;
	for (char *save = NULL, *line = strtok_r(file, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char ip[64];
		if (sscanf(line, " nameserver %63s", ip) == 1)
			add_upstream(ip, skip, n_skip, ret, &n);
	}
	return n;
}

// --- cache ---

static void unlink_entry(struct fl_forwarder *f, struct entry *e)
{
	*(e->prev ? &e->prev->next : &f->oldest) = e->next;
	*(e->next ? &e->next->prev : &f->newest) = e->prev;
	f->cache_bytes -= e->len;
	fl_map_del(&f->cache, e->key);
	free(e->key);
	free(e->msg);
	free(e);
}

// What an answer may be kept for: the least TTL; of a negative one, the SOA's (RFC 2308 section 5). 0: not at all. Also
// drops a trailing OPT.
static uint32_t judge(uint8_t *msg, size_t *len)
{
	size_t pos = 12;
	char name[FL_DNS_NAME_MAX];
	unsigned answers = (unsigned)(msg[6] << 8 | msg[7]), authority = (unsigned)(msg[8] << 8 | msg[9]),
		 extra = (unsigned)(msg[10] << 8 | msg[11]);
	unsigned rcode = msg[3] & 15;
	uint32_t ttl = TTL_MAX_S;
	bool soa = false;
	if (!fl_dns_read_name(msg, *len, &pos, name) || (pos += 4) > *len)
		return 0;
	for (unsigned i = 0; i < answers + authority + extra; i++) {
		struct fl_dns_rr rr;
		size_t start = pos;
		if (!fl_dns_read_rr(msg, *len, &pos, &rr))
			return 0;
		if (rr.type == FL_DNS_OPT) {
			if (i + 1 == answers + authority + extra) {
				*len = start;
				extra--;
				msg[10] = (uint8_t)(extra >> 8);
				msg[11] = (uint8_t)extra;
			}
			continue;
		}
		soa |= rr.type == FL_DNS_SOA && i >= answers;
		ttl = rr.ttl < ttl ? rr.ttl : ttl;
	}
	bool negative = rcode == FL_DNS_NXDOMAIN || (rcode == FL_DNS_NOERROR && !answers);
	if (rcode != FL_DNS_NOERROR && rcode != FL_DNS_NXDOMAIN)
		return 0;
	if (negative)
		return !soa ? 0 : ttl < NEGATIVE_MAX_S ? ttl : NEGATIVE_MAX_S;
	return ttl;
}

static void cache_put(struct fl_forwarder *f, const char *key, const uint8_t *msg, size_t len, uint32_t ttl)
{
	struct entry *old = fl_map_get(&f->cache, key);
	if (old)
		unlink_entry(f, old);
	while (f->oldest && (f->cache.n >= CACHE_ENTRIES || f->cache_bytes + len > CACHE_BYTES))
		unlink_entry(f, f->oldest);
	struct entry *e = FL_NEW(struct entry);
	e->key = fl_strdup(key);
	e->msg = fl_malloc(len);
	memcpy(e->msg, msg, len);
	e->len = len;
	e->stored_ms = fl_mono_ms();
	e->expires_ms = e->stored_ms + ttl * 1000ull;
	e->prev = f->newest;
	*(f->newest ? &f->newest->next : &f->oldest) = e;
	f->newest = e;
	f->cache_bytes += len;
	fl_map_set(&f->cache, e->key, e);
}

// A copy with its TTLs less the time that it lay here. False: none.
static bool cache_get(struct fl_forwarder *f, const char *key, uint8_t *buf, size_t *ret_len)
{
	struct entry *e = fl_map_get(&f->cache, key);
	uint64_t now = fl_mono_ms();
	if (!e)
		return false;
	if (now >= e->expires_ms) {
		unlink_entry(f, e);
		return false;
	}
	uint32_t age = (uint32_t)((now - e->stored_ms) / 1000);
	memcpy(buf, e->msg, e->len);
	size_t pos = 12;
	char name[FL_DNS_NAME_MAX];
	fl_dns_read_name(buf, e->len, &pos, name);
	pos += 4;
	for (struct fl_dns_rr rr; pos < e->len && fl_dns_read_rr(buf, e->len, &pos, &rr);) {
		uint32_t ttl = rr.ttl > age ? rr.ttl - age : 0;
		buf[rr.ttl_at] = (uint8_t)(ttl >> 24);
		buf[rr.ttl_at + 1] = (uint8_t)(ttl >> 16);
		buf[rr.ttl_at + 2] = (uint8_t)(ttl >> 8);
		buf[rr.ttl_at + 3] = (uint8_t)ttl;
	}
	*ret_len = e->len;
	return true;
}

// --- one question under way ---

static void free_sock(uv_handle_t *h)
{
	free(h);
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
	drop_sock(p);
	fl_map_del(&p->f->pending, p->key);
	for (size_t i = 0; i < p->waiters.n; i++)
		p->waiters.v[i].done(p->waiters.v[i].arg, msg, len);
	uv_close((uv_handle_t *)&p->timer, free_pending);
}

static void try_next(struct pending *p);

static void on_timeout(uv_timer_t *t)
{
	try_next(t->data);
}

// Our question, our id, an answer.
static bool is_answer(const struct pending *p, const uint8_t *msg, size_t len)
{
	size_t a = 12, b = 12;
	char asked[FL_DNS_NAME_MAX], answered[FL_DNS_NAME_MAX];
	return len >= 12 && msg[0] == p->query[0] && msg[1] == p->query[1] && (msg[2] & 0x80) && msg[4] == 0 &&
	       msg[5] == 1 && fl_dns_read_name(p->query, p->query_len, &a, asked) &&
	       fl_dns_read_name(msg, len, &b, answered) && !strcmp(asked, answered) && b + 4 <= len && a == b &&
	       !memcmp(msg + b, p->query + a, 4);
}

static void try_tcp(struct pending *p);

static void on_message(struct pending *p, uint8_t *msg, size_t len, bool tcp)
{
	if (!is_answer(p, msg, len))
		return; // forged or late: the real one may still come
	if (!tcp && (msg[2] & 2)) {
		try_tcp(p);
		return;
	}
	unsigned rcode = msg[3] & 15;
	if (rcode == FL_DNS_SERVFAIL || rcode == FL_DNS_REFUSED || rcode == FL_DNS_NOTIMP) {
		try_next(p);
		return;
	}
	AUTO_FREE uint8_t *copy = fl_malloc(len);
	memcpy(copy, msg, len);
	uint32_t ttl = judge(copy, &len);
	if (ttl)
		cache_put(p->f, p->key, copy, len, ttl);
	end(p, copy, len);
}

static void on_alloc_udp(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct pending *p = h->data;
	*buf = p ? uv_buf_init(p->udp_buf, sizeof(p->udp_buf)) : uv_buf_init(NULL, 0);
}

static void on_udp(uv_udp_t *h, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags)
{
	struct pending *p = h->data;
	if (!p)
		return;
	if (n < 0) // ICMP: nobody there
		try_next(p);
	else if (n > 0)
		on_message(p, (uint8_t *)buf->base, (size_t)n, false);
}

static void try_udp(struct pending *p, const struct fl_upstream *u)
{
	struct sockaddr_storage sa;
	socklen_t len;
	fl_ip_to_sockaddr(&u->ip, u->port, &sa, &len);
	p->sock = fl_calloc(1, sizeof(*p->sock));
	uv_udp_init(p->f->loop, &p->sock->udp);
	p->sock->handle.data = p;
	p->id = (uint16_t)fl_random_below(65536);
	p->query[0] = (uint8_t)(p->id >> 8);
	p->query[1] = (uint8_t)p->id;
	uv_buf_t b = uv_buf_init((char *)p->query, (unsigned)p->query_len);
	uv_timer_start(&p->timer, on_timeout, TRY_MS, 0);
	if (uv_udp_connect(&p->sock->udp, (struct sockaddr *)&sa) < 0 ||
	    uv_udp_recv_start(&p->sock->udp, on_alloc_udp, on_udp) < 0 ||
	    uv_udp_try_send(&p->sock->udp, &b, 1, NULL) < 0)
		uv_timer_start(&p->timer, on_timeout, 0, 0); // the next one, from a later turn
}

static void on_alloc_tcp(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct pending *p = h->data;
	if (!p) {
		*buf = uv_buf_init(NULL, 0);
		return;
	}
	if (!p->in)
		p->in = fl_malloc(FL_DNS_TCP_MAX + 2);
	*buf = uv_buf_init((char *)p->in + p->in_len, (unsigned)(FL_DNS_TCP_MAX + 2 - p->in_len));
}

static void on_tcp(uv_stream_t *h, ssize_t n, const uv_buf_t *buf)
{
	struct pending *p = h->data;
	if (!p)
		return;
	if (n < 0) {
		try_next(p);
		return;
	}
	p->in_len += (size_t)n;
	size_t want = p->in_len >= 2 ? (size_t)(p->in[0] << 8 | p->in[1]) : SIZE_MAX;
	if (want != SIZE_MAX && p->in_len >= want + 2)
		on_message(p, p->in + 2, want, true);
	else if (p->in_len == FL_DNS_TCP_MAX + 2)
		try_next(p);
}

static void on_connected(uv_connect_t *c, int status)
{
	struct pending *p = c->handle->data;
	if (!p)
		return;
	if (status < 0) {
		try_next(p);
		return;
	}
	p->prefix[0] = (uint8_t)(p->query_len >> 8);
	p->prefix[1] = (uint8_t)p->query_len;
	uv_buf_t b[2] = {uv_buf_init((char *)p->prefix, 2), uv_buf_init((char *)p->query, (unsigned)p->query_len)};
	uv_try_write((uv_stream_t *)&p->sock->tcp, b, 2); // a fresh socket takes some hundred bytes
	uv_read_start((uv_stream_t *)&p->sock->tcp, on_alloc_tcp, on_tcp);
}

static void try_tcp(struct pending *p)
{
	struct sockaddr_storage sa;
	socklen_t len;
	const struct fl_upstream *u = &p->f->up[p->at];
	drop_sock(p);
	fl_ip_to_sockaddr(&u->ip, u->port, &sa, &len);
	p->sock = fl_calloc(1, sizeof(*p->sock) + sizeof(uv_connect_t));
	uv_connect_t *c =
	    (uv_connect_t *)(p->sock + 1); // lives as long as the handle, which a cancelled connect still names
	uv_tcp_init(p->f->loop, &p->sock->tcp);
	p->sock->handle.data = p;
	uv_timer_start(&p->timer, on_timeout, TRY_MS, 0);
	if (uv_tcp_connect(c, &p->sock->tcp, (struct sockaddr *)&sa, on_connected) < 0)
		uv_timer_start(&p->timer, on_timeout, 0, 0);
}

static void try_next(struct pending *p)
{
	drop_sock(p);
	if (p->tries == p->f->n_up * TRIES_EACH) {
		end(p, NULL, 0);
		return;
	}
	p->at = p->tries++ % p->f->n_up;
	try_udp(p, &p->f->up[p->at]);
}

void fl_forwarder_ask(struct fl_forwarder *f, const char *name, uint16_t type, fl_forward_done done, void *arg)
{
	char key[FL_DNS_NAME_MAX + 8];
	snprintf(key, sizeof(key), "%u %s", type, name);
	static uint8_t cached[FL_DNS_TCP_MAX];
	size_t len;
	if (cache_get(f, key, cached, &len)) {
		done(arg, cached, len);
		return;
	}
	struct pending *p = fl_map_get(&f->pending, key);
	if (!f->n_up || (!p && f->pending.n >= MAX_PENDING) || (p && p->waiters.n >= MAX_WAITERS)) {
		done(arg, NULL, 0);
		return;
	}
	if (p) {
		fl_vec_push(&p->waiters, ((struct waiter){done, arg}));
		return;
	}
	p = FL_NEW(struct pending);
	p->f = f;
	p->key = fl_strdup(key);
	p->query_len = fl_dns_make_query(p->query, sizeof(p->query) - 11, 0, name, type);
	if (!p->query_len) {
		free(p->key);
		free(p);
		done(arg, NULL, 0);
		return;
	}
	static const uint8_t opt[11] = {0, 0, FL_DNS_OPT, FL_DNS_UDP_MAX >> 8,
					FL_DNS_UDP_MAX & 0xff}; // root, OPT, our size
	memcpy(p->query + p->query_len, opt, sizeof(opt));
	p->query_len += sizeof(opt);
	p->query[11] = 1;
	fl_vec_push(&p->waiters, ((struct waiter){done, arg}));
	uv_timer_init(f->loop, &p->timer);
	p->timer.data = p;
	fl_map_set(&f->pending, key, p);
	try_next(p);
}

struct fl_forwarder *fl_forwarder_new(uv_loop_t *loop, const struct fl_upstream *upstreams, unsigned n)
{
	struct fl_forwarder *f = FL_NEW(struct fl_forwarder);
	f->loop = loop;
	f->n_up = n < FL_DNS_MAX_UPSTREAMS ? n : FL_DNS_MAX_UPSTREAMS;
	memcpy(f->up, upstreams, f->n_up * sizeof(*upstreams));
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
		struct pending *p = it.value;
		p->waiters.n = 0;
		end(p, NULL, 0);
	}
	while (f->oldest)
		unlink_entry(f, f->oldest);
	fl_map_deinit(&f->pending);
	fl_map_deinit(&f->cache);
	free(f);
}
