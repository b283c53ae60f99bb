// SPDX-License-Identifier: Apache-2.0
// Origins (scheme, host and port), the connections to each, and the line of calls that wait for one.
//
// Over TLS the first connection carries all calls when the server chose HTTP/2; calls beyond the number of streams that
// the server allows wait. With HTTP/1.1 each call has a connection for its time, which the next call takes over.
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "io/http/client.h"

#define KEPT_ORIGIN 16 // origins without a call and a connection that are kept for their TLS session

// --- URLs ---

static bool is_host(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr("-._", s[i]))
			return false;
	return n > 0;
}

// "host", "host:port", "[address]:port". False: neither.
static bool split_authority(struct fl_origin *o, const char *s)
{
	const char *colon = strrchr(s, ':'), *end = s + strlen(s);
	if (s[0] == '[') {
		const char *bracket = strchr(s, ']');
		if (!bracket || (bracket[1] && bracket[1] != ':'))
			return false;
		colon = bracket[1] ? bracket + 1 : NULL;
		o->host = fl_strndup(s + 1, (size_t)(bracket - s - 1));
		if (!fl_ip_parse(o->host, &o->ip) || o->ip.family != AF_INET6)
			return false;
	} else {
		size_t n = (size_t)((colon ? colon : end) - s);
		if (!is_host(s, n))
			return false;
		o->host = fl_strndup(s, n);
		if (!fl_ip_parse(o->host, &o->ip))
			o->ip = (struct fl_ip){0};
	}
	unsigned long long port = o->tls ? 443 : 80;
	if (colon && (!fl_parse_u64(colon + 1, &port) || !port || port > 65535))
		return false;
	o->port = (uint16_t)port;
	return true;
}

static struct fl_origin *new_origin(struct fl_http_client *c, const char *url, size_t n, bool h2c)
{
	struct fl_origin *o = FL_NEW(struct fl_origin);
	o->client = c;
	o->base = fl_strndup(url, n);
	o->base_len = n;
	o->tls = strncasecmp(url, "https:", 6) == 0;
	o->h2c = h2c;
	o->authority = strchr(o->base, '/') + 2;
	TAILQ_INIT(&o->waiting);
	TAILQ_INIT(&o->links);
	TAILQ_INSERT_TAIL(&c->origins, o, all);
	c->n_origins++;
	return o;
}

static bool matches(const struct fl_origin *o, const char *url, size_t n, bool h2c)
{
	return o->base_len == n && o->h2c == h2c && memcmp(o->base, url, n) == 0;
}

int fl_origin_find(struct fl_http_client *c, const char *url, bool h2c, struct fl_origin **ret, const char **ret_target,
		   struct fl_err *err)
{
	size_t scheme = strncasecmp(url, "http://", 7) == 0 ? 7 : strncasecmp(url, "https://", 8) == 0 ? 8 : 0;
	if (!scheme)
		return fl_err_set(err, -EINVAL, "%.*s: neither an http nor an https URL", (int)strcspn(url, "?"), url);
	size_t n = scheme + strcspn(url + scheme, "/?#");
	struct fl_origin *o = c->last;
	if (!o || !matches(o, url, n, h2c))
		TAILQ_FOREACH(o, &c->origins, all)
	if (matches(o, url, n, h2c))
		break;
	if (!o) {
		o = new_origin(c, url, n, h2c && scheme == 7);
		if (!split_authority(o, o->authority)) {
			fl_origin_free(o);
			return fl_err_set(err, -EINVAL, "%.*s: its host or port is none", (int)strcspn(url, "?"), url);
		}
	}
	c->last = o;
	*ret = o;
	*ret_target = url + n;
	return 0;
}

void fl_origin_free(struct fl_origin *o)
{
	struct fl_http_client *c = o->client;
	for (struct fl_link *l; (l = TAILQ_FIRST(&o->links));)
		fl_link_close(l);
	if (c->last == o)
		c->last = NULL;
	if (o->is_marked)
		TAILQ_REMOVE(&c->marked, o, marked);
	TAILQ_REMOVE(&c->origins, o, all);
	c->n_origins--;
	SSL_SESSION_free(o->session);
	free(o->host);
	free(o->base);
	free(o);
}

// --- calls and links ---

static bool is_shared(const struct fl_origin *o)
{
	return o->h2c || (o->tls && !o->only_h1 && !o->client->http1);
}

static bool has_shared_link(const struct fl_origin *o)
{
	const struct fl_link *l;
	TAILQ_FOREACH(l, &o->links, of_origin)
	if (l->state == FL_LINK_OPEN && !l->draining && !l->only_one)
		return true;
	return false;
}

// Links that should be on their way.
static unsigned wanted(const struct fl_origin *o)
{
	if (!is_shared(o))
		return o->n_waiting;
	return o->n_waiting && !has_shared_link(o) ? 1 : 0;
}

static struct fl_link *link_with_room(const struct fl_origin *o)
{
	struct fl_link *l;
	TAILQ_FOREACH(l, &o->links, of_origin)
	if (l->state == FL_LINK_OPEN && !l->draining && !l->only_one && l->codec->has_room(l))
		return l;
	return NULL;
}

void fl_call_wait(struct fl_http_call *call, bool first)
{
	struct fl_http_client *c = call->client;
	struct fl_origin *o = call->origin;
	call->state = FL_CALL_WAITING;
	call->connect_by_ms = uv_now(c->loop) + call->connect_ms;
	fl_client_arm(c, call->connect_by_ms);
	if (call->fresh) {
		fl_link_make(o, call, call->connect_ms);
		return;
	}
	if (first)
		TAILQ_INSERT_HEAD(&o->waiting, call, queue);
	else
		TAILQ_INSERT_TAIL(&o->waiting, call, queue);
	o->n_waiting++;
	fl_origin_mark(o);
}

static void run(struct fl_link *l, struct fl_http_call *call)
{
	struct fl_http_client *c = l->client;
	if (!call->fresh) {
		TAILQ_REMOVE(&l->origin->waiting, call, queue);
		l->origin->n_waiting--;
	}
	call->state = FL_CALL_RUNNING;
	call->link = l;
	call->moved_ms = uv_now(c->loop);
	if (call->stall_ms)
		fl_client_arm(c, call->moved_ms + call->stall_ms);
	TAILQ_INSERT_TAIL(&l->calls, call, queue);
	if (!l->n_calls++) {
		l->idle_ms = 0;
		fl_link_hold_loop(l, true);
	}
	if (l->codec->start(l, call) < 0)
		fl_call_fail(call, -EPROTO, "the request cannot be sent");
	else
		fl_link_mark_dirty(l);
}

void fl_origin_mark(struct fl_origin *o)
{
	if (o->is_marked)
		return;
	o->is_marked = true;
	TAILQ_INSERT_TAIL(&o->client->marked, o, marked);
	if (!o->client->depth)
		fl_client_wake(o->client);
}

// Calls that waited for room on a link that is gone now have their time to connect before them.
static void restart_clocks(struct fl_origin *o)
{
	uint64_t now = uv_now(o->client->loop);
	struct fl_http_call *call;
	TAILQ_FOREACH(call, &o->waiting, queue)
	{
		if (call->connect_by_ms > now)
			continue;
		call->connect_by_ms = now + call->connect_ms;
		fl_client_arm(o->client, call->connect_by_ms);
	}
}

void fl_origin_advance(struct fl_origin *o)
{
	if (o->is_marked)
		TAILQ_REMOVE(&o->client->marked, o, marked);
	o->is_marked = false;
	for (struct fl_link *l; TAILQ_FIRST(&o->waiting) && (l = link_with_room(o));)
		run(l, TAILQ_FIRST(&o->waiting));
	if (!o->n_making && wanted(o))
		restart_clocks(o);
	while (o->n_making < wanted(o))
		fl_link_make(o, NULL, TAILQ_FIRST(&o->waiting)->connect_ms);
}

static void stop_making(struct fl_link *l)
{
	l->made_by_ms = 0;
	if (!l->in_making)
		return;
	l->in_making = false;
	l->origin->n_making--;
}

void fl_origin_link_open(struct fl_link *l)
{
	struct fl_origin *o = l->origin;
	stop_making(l);
	l->state = FL_LINK_OPEN;
	l->idle_ms = uv_now(l->client->loop);
	if (o->tls)
		o->only_h1 = l->codec == &fl_link_h1;
	if (l->only) {
		struct fl_http_call *call = l->only;
		l->only = NULL;
		run(l, call);
	} else {
		fl_origin_advance(o);
	}
	if (!l->n_calls) {
		fl_link_hold_loop(l, false);
		fl_client_arm(l->client, l->idle_ms + FL_LINK_IDLE_MS);
	}
}

void fl_origin_link_failed(struct fl_link *l, int rc, const char *why)
{
	struct fl_origin *o = l->origin;
	stop_making(l);
	if (l->only) {
		struct fl_http_call *call = l->only;
		l->only = NULL;
		call->link = NULL;
		fl_call_fail(call, rc, "%s", why);
	} else if (!l->only_one) {
		bool all = is_shared(o);
		while (TAILQ_FIRST(&o->waiting)) {
			fl_call_fail(TAILQ_FIRST(&o->waiting), rc, "%s", why);
			if (!all)
				break;
		}
	}
	fl_link_close(l);
}

// Links on their way for which nobody waits any more.
static void unmake(struct fl_origin *o)
{
	for (struct fl_link *l = TAILQ_FIRST(&o->links), *after; l && o->n_making > wanted(o); l = after) {
		after = TAILQ_NEXT(l, of_origin);
		if (!l->in_making || l->running)
			continue;
		stop_making(l);
		fl_link_close(l);
	}
}

static void leave_link(struct fl_http_call *call)
{
	struct fl_link *l = call->link;
	call->link = NULL;
	TAILQ_REMOVE(&l->calls, call, queue);
	l->n_calls--;
	bool goes_on = l->codec->drop(l, call);
	if (l->state != FL_LINK_OPEN)
		return;
	if (!goes_on || (!l->n_calls && (l->only_one || l->draining))) {
		fl_link_close(l);
		return;
	}
	if (!l->n_calls) {
		l->idle_ms = uv_now(l->client->loop);
		fl_link_hold_loop(l, false);
		fl_client_arm(l->client, l->idle_ms + FL_LINK_IDLE_MS);
	}
}

void fl_call_unplace(struct fl_http_call *call)
{
	struct fl_origin *o = call->origin;
	struct fl_link *l;
	switch (call->state) {
	case FL_CALL_NEW:
		TAILQ_REMOVE(&call->client->fresh, call, queue);
		break;
	case FL_CALL_WAITING:
		if (!call->fresh) {
			TAILQ_REMOVE(&o->waiting, call, queue);
			o->n_waiting--;
			unmake(o);
		} else if ((l = TAKE_PTR(call->link))) {
			l->only = NULL;
			fl_link_close(l);
		}
		break;
	case FL_CALL_RUNNING:
		if (call->link)
			leave_link(call);
		if (TAILQ_FIRST(&o->waiting))
			fl_origin_mark(o);
		break;
	case FL_CALL_DONE:
		TAILQ_REMOVE(&call->client->done, call, queue);
		break;
	}
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

// When to look at the link again, 0 = never; UINT64_MAX: now it has changed.
static uint64_t sweep_link(struct fl_link *l, uint64_t now)
{
	bool open = l->state == FL_LINK_OPEN;
	uint64_t at = !open ? earliest(l->attempt_by_ms, l->made_by_ms) : l->idle_ms ? l->idle_ms + FL_LINK_IDLE_MS : 0;
	if (!at || at > now)
		return at;
	// Calls that came later than the one it was made for still have time: for another link, which may find a way
	// that this one, say with an address that was translated once for all, does not.
	if (open || (l->made_by_ms && l->made_by_ms <= now))
		fl_link_close(l);
	else
		fl_link_next_address(l);
	return UINT64_MAX;
}

uint64_t fl_origin_sweep(struct fl_origin *o, uint64_t now)
{
	uint64_t next = 0;
	for (struct fl_link *l = TAILQ_FIRST(&o->links); l;) {
		uint64_t at = sweep_link(l, now);
		if (at == UINT64_MAX) {
			next = now + 1; // other links may be gone, too: anew
			l = TAILQ_FIRST(&o->links);
			continue;
		}
		next = earliest(next, at);
		l = TAILQ_NEXT(l, of_origin);
	}
	if (TAILQ_FIRST(&o->links) || o->n_calls)
		return next;
	if (!o->session || o->client->n_origins > KEPT_ORIGIN)
		fl_origin_free(o);
	return 0;
}
