// SPDX-License-Identifier: Apache-2.0
// Calls of the HTTP client: made, timed, told of their end. Which connection runs one is decided in client_origin.c,
// how it is spoken in client_h1.c and client_h2.c.
//
//   fl_http_client_call -> c->fresh --settle--> origin's line -> link --end--> c->done --settle--> on_done
//
// Settling happens once a turn of the loop, and at the end of each read: so calls that are made together leave
// together, in one TLS record and one write, and those that an answer gives rise to leave when all that was read is
// digested.
//
// One timer serves all: it stands at the earliest time that matters, is not moved when that call ends early, and looks
// at every call when it fires, which with steady traffic is once in a time-out.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "io/http/client.h"

#define CONNECT_TIMEOUT_MS 10000
#define SWEEP_MIN_MS       5 // between two looks at all calls
#define SILENT_MS          15000
#define RESERVE_MAX        (16 * 1024 * 1024) // for a body of announced length; more as it comes
#define MAX_TRIES          3

// --- life of a call ---

static void free_call(struct fl_http_call *call)
{
	struct fl_http_client *c = call->client;
	TAILQ_REMOVE(&c->calls, call, all);
	c->n_calls--;
	if (!--call->origin->n_calls)
		fl_client_arm(c, uv_now(c->loop) + FL_LINK_IDLE_MS);
	if (call->in_resumed)
		TAILQ_REMOVE(&c->resumed, call, resumed);
	if (!c->n_calls && !uv_is_closing((uv_handle_t *)&c->timer))
		uv_unref((uv_handle_t *)&c->timer);
	fl_buf_deinit(&call->head);
	fl_buf_deinit(&call->body);
	fl_buf_deinit(&call->held);
	free(call->why);
	free(call);
}

static void finish(struct fl_http_call *call)
{
	struct fl_http_client *c = call->client;
	fl_call_unplace(call);
	call->state = FL_CALL_DONE;
	TAILQ_INSERT_TAIL(&c->done, call, queue);
	if (!c->depth)
		fl_client_wake(c);
}

void fl_call_fail(struct fl_http_call *call, int rc, const char *fmt, ...)
{
	if (call->state == FL_CALL_DONE)
		return;
	char text[320];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	call->rc = rc;
	call->why = fl_strdup(text);
	finish(call);
}

// What a paused call still holds is handed over later, without the link.
void fl_call_end(struct fl_http_call *call)
{
	if (call->state == FL_CALL_DONE)
		return;
	call->complete = true;
	if (!call->held.len)
		finish(call);
	else
		fl_call_unplace(call);
}

void fl_call_again(struct fl_http_call *call)
{
	if (++call->tries >= MAX_TRIES) {
		fl_call_fail(call, -ECONNRESET, "the server refuses it again and again");
		return;
	}
	call->sent = call->reset = false;
	call->out_at = 0;
	fl_call_unplace(call);
	fl_call_wait(call, true);
}

void fl_call_lost(struct fl_http_call *call, int rc, const char *why)
{
	bool raced = rc != -EPROTO && call->link && call->link->served && call->is_safe && !call->tries;
	if (!call->answered && !call->fresh && (!call->sent || raced))
		fl_call_again(call);
	else
		fl_call_fail(call, rc, "%s", why);
}

// --- the response ---

void fl_call_block_begins(struct fl_http_call *call)
{
	call->answered = true;
	call->link->served = true;
	call->head_bytes = 0;
	if (!call->final)
		call->head.len = 0;
}

bool fl_call_field(struct fl_http_call *call, const char *name, size_t n, const char *value, size_t value_len)
{
	call->head_bytes += n + value_len;
	if (call->head_bytes > FL_MAX_HEADER_BYTES) {
		fl_call_fail(call, -EPROTO, "the header of the response is larger than %d bytes", FL_MAX_HEADER_BYTES);
		return false;
	}
	fl_buf_append(&call->head, name, n);
	fl_buf_putc(&call->head, '\0');
	fl_buf_append(&call->head, value, value_len);
	fl_buf_putc(&call->head, '\0');
	return true;
}

void fl_call_fields_end(struct fl_http_call *call)
{
	unsigned long long n;
	call->final = true;
	call->moved_ms = uv_now(call->client->loop);
	if (call->on_data || call->is_head)
		return;
	const char *length = fl_http_call_header(call, "content-length");
	if (length && fl_parse_u64(length, &n) && n)
		fl_buf_reserve(&call->body, n < RESERVE_MAX ? n : RESERVE_MAX);
}

// The call may be gone afterwards.
static void hand_over(struct fl_http_call *call, const char *p, size_t n)
{
	call->moved_ms = uv_now(call->client->loop);
	if (call->on_data)
		call->on_data(call->arg, call->status, p, n);
	else if (n > FL_MAX_RESPONSE_BYTES - call->body.len)
		fl_call_fail(call, -EMSGSIZE, "the response is larger than %d bytes", FL_MAX_RESPONSE_BYTES);
	else
		fl_buf_append(&call->body, p, n);
}

bool fl_call_data(struct fl_http_call *call, const char *p, size_t n)
{
	if (call->client->freed || call->state == FL_CALL_DONE)
		return true;
	if (call->paused || call->held.len) {
		fl_buf_append(&call->held, p, n);
		return false;
	}
	hand_over(call, p, n);
	return true;
}

const char *fl_http_call_header(const struct fl_http_call *call, const char *name)
{
	for (size_t i = 0; i < call->head.len;) {
		const char *have = call->head.data + i, *value = have + strlen(have) + 1;
		if (value > call->head.data + call->head.len) // cut short
			break;
		if (strcasecmp(have, name) == 0)
			return value;
		i = (size_t)(value + strlen(value) + 1 - call->head.data);
	}
	return NULL;
}

void fl_http_call_pause(struct fl_http_call *call, bool pause)
{
	struct fl_http_client *c = call->client;
	if (call->paused == pause || c->freed)
		return;
	call->paused = pause;
	call->moved_ms = uv_now(c->loop);
	if (call->stall_ms && !pause)
		fl_client_arm(c, call->moved_ms + call->stall_ms);
	if (pause && call->state == FL_CALL_RUNNING && call->link)
		call->link->codec->paused(call->link, call);
	if (!pause && !call->in_resumed) {
		call->in_resumed = true;
		TAILQ_INSERT_TAIL(&c->resumed, call, resumed);
		fl_client_wake(c);
	}
}

static void resume(struct fl_http_client *c)
{
	for (struct fl_http_call *call; !c->freed && (call = TAILQ_FIRST(&c->resumed));) {
		TAILQ_REMOVE(&c->resumed, call, resumed);
		call->in_resumed = false;
		if (call->paused || call->state == FL_CALL_DONE)
			continue;
		AUTO(fl_buf_deinit) struct fl_buf held = call->held;
		call->held = (struct fl_buf){0};
		if (call->link)
			call->link->codec->taken(call->link, call, held.len);
		if (!held.len)
			continue;
		c->handing = call;
		hand_over(call, held.data, held.len);
		if (c->handing && call->complete && call->state != FL_CALL_DONE) // it is still there
			finish(call);
		c->handing = NULL;
	}
}

// --- telling ---

static void tell(struct fl_http_call *call)
{
	struct fl_err err = {0};
	if (call->rc < 0)
		fl_err_set(&err, call->rc, "%s %s%.*s: %s", call->method, call->origin->base,
			   (int)strcspn(call->target, "?"), call->target, call->why);
	if (!call->body.data)
		fl_buf_append(&call->body, "", 0);
	call->reporting = true;
	if (call->on_done)
		call->on_done(call->arg, call->rc, call->status, call->body.data, call->body.len, &err);
	free_call(call);
}

void fl_client_unref(struct fl_http_client *c)
{
	if (--c->handles == 0)
		free(c);
}

static void timer_closed(uv_handle_t *h)
{
	fl_client_unref(h->data);
}

static void close_client(struct fl_http_client *c)
{
	c->depth++; // no waking
	for (struct fl_http_call *call; (call = TAILQ_FIRST(&c->calls));) {
		fl_call_unplace(call);
		free_call(call);
	}
	for (struct fl_origin *o; (o = TAILQ_FIRST(&c->origins));)
		fl_origin_free(o);
	SSL_CTX_free(c->tls);
	free(c->tls_server_name);
	free(c->user_agent);
	if (c->authorization)
		explicit_bzero(c->authorization, strlen(c->authorization));
	free(c->authorization);
	fl_buf_deinit(&c->scratch);
	fl_buf_deinit(&c->out.batch);
	free(c->in);
	uv_close((uv_handle_t *)&c->timer, timer_closed);
	uv_close((uv_handle_t *)&c->wake, timer_closed);
}

static void place_new(struct fl_http_client *c)
{
	for (struct fl_http_call *call; (call = TAILQ_FIRST(&c->fresh));) {
		TAILQ_REMOVE(&c->fresh, call, queue);
		fl_call_wait(call, false);
	}
	for (struct fl_origin *o; (o = TAILQ_FIRST(&c->marked));)
		fl_origin_advance(o);
}

// Bounded: what fails while it is being started is told in the next turn.
void fl_client_settle(struct fl_http_client *c)
{
	if (c->depth)
		return;
	c->depth++;
	resume(c);
	for (struct fl_http_call *call; !c->freed && (call = TAILQ_FIRST(&c->done));) {
		TAILQ_REMOVE(&c->done, call, queue);
		tell(call);
	}
	if (!c->freed)
		place_new(c);
	for (struct fl_link *l; !c->freed && (l = TAILQ_FIRST(&c->dirty));)
		fl_link_flush(l);
	c->depth--;
	if (c->freed)
		close_client(c);
	else if (TAILQ_FIRST(&c->done) || TAILQ_FIRST(&c->fresh) || TAILQ_FIRST(&c->resumed) || TAILQ_FIRST(&c->marked))
		fl_client_wake(c);
}

// --- time ---

static void on_wake(uv_timer_t *t)
{
	struct fl_http_client *c = t->data;
	bool tells = TAILQ_FIRST(&c->done) || TAILQ_FIRST(&c->resumed);
	c->waking = false;
	// Who runs the loop until he was called back (UV_RUN_ONCE) must not wait for the next event after it: after
	// the timers the loop waits, unless one is left.
	if (tells)
		uv_timer_start(t, on_wake, 1, 0);
	fl_client_settle(c);
}

void fl_client_wake(struct fl_http_client *c)
{
	if (c->freed || c->waking)
		return;
	c->waking = true;
	uv_timer_start(&c->wake, on_wake, 0, 0);
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

// Whether the call waits for a connection, and not for room on one.
static bool is_connecting(const struct fl_http_call *call)
{
	return call->state == FL_CALL_WAITING && (call->fresh || call->origin->n_making);
}

// The call's next time-out, 0 = none.
static uint64_t due(const struct fl_http_call *call, uint64_t now)
{
	uint64_t at = call->deadline_ms;
	if (is_connecting(call))
		at = earliest(at, call->connect_by_ms);
	else if (call->stall_ms)
		at = earliest(at, (call->paused ? now : call->moved_ms) + call->stall_ms);
	return at;
}

// A server that TCP reaches and that does not speak: further calls try another connection, which may lead to another
// server.
static void suspect(const struct fl_http_call *call, uint64_t now)
{
	struct fl_link *l = call->link;
	if (!l || l->state != FL_LINK_OPEN || now < call->moved_ms + SILENT_MS || now < l->heard_ms + SILENT_MS)
		return;
	l->draining = true;
	if (TAILQ_FIRST(&l->origin->waiting))
		fl_origin_mark(l->origin);
}

static void time_out(struct fl_http_call *call, uint64_t now)
{
	if (call->state == FL_CALL_RUNNING)
		suspect(call, now);
	if (is_connecting(call))
		fl_call_fail(call, -ETIMEDOUT, "no connection to %s within %u ms", call->origin->authority,
			     now >= call->connect_by_ms ? call->connect_ms : call->timeout_ms);
	else if (call->deadline_ms && now >= call->deadline_ms)
		fl_call_fail(call, -ETIMEDOUT, "no %s within %u ms", call->final ? "whole response" : "response",
			     call->timeout_ms);
	else
		fl_call_fail(call, -ETIMEDOUT, "no byte came for %u ms", call->stall_ms);
}

static void on_timer(uv_timer_t *t)
{
	struct fl_http_client *c = t->data;
	uint64_t now = uv_now(c->loop), next = 0;
	c->armed_ms = 0;
	c->depth++;
	for (struct fl_http_call *call = TAILQ_FIRST(&c->calls), *after; call; call = after) {
		after = TAILQ_NEXT(call, all);
		if (call->state == FL_CALL_DONE)
			continue;
		uint64_t at = due(call, now);
		if (at && at <= now)
			time_out(call, now);
		else
			next = earliest(next, at);
	}
	for (struct fl_origin *o = TAILQ_FIRST(&c->origins), *after; o; o = after) {
		after = TAILQ_NEXT(o, all);
		next = earliest(next, fl_origin_sweep(o, now));
	}
	c->depth--;
	if (next)
		fl_client_arm(c, next > now + SWEEP_MIN_MS ? next : now + SWEEP_MIN_MS);
	if (TAILQ_FIRST(&c->done) && !c->waking)
		uv_timer_start(&c->wake, on_wake, 1, 0); // as on_wake says
	fl_client_settle(c);
}

void fl_client_arm(struct fl_http_client *c, uint64_t at_ms)
{
	uint64_t now = uv_now(c->loop);
	if (c->freed || (c->armed_ms && c->armed_ms <= at_ms))
		return;
	c->armed_ms = at_ms;
	uv_timer_start(&c->timer, on_timer, at_ms > now ? at_ms - now : 0, 0);
}

// --- the request ---

// Into `b`; false when it holds what no request line can. Spaces and bytes beyond ASCII are escaped.
static bool put_target(struct fl_buf *b, const char *s)
{
	if (*s != '/')
		fl_buf_putc(b, '/');
	for (const char *p = s; *p && *p != '#'; p++) {
		unsigned char ch = (unsigned char)*p;
		if (ch < ' ' || ch == 0x7f)
			return false;
		if (ch == ' ' || ch > 0x7f)
			fl_buf_printf(b, "%%%02X", ch);
		else
			fl_buf_putc(b, *p);
	}
	fl_buf_putc(b, '\0');
	return true;
}

static bool is_token(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] <= ' ' || s[i] >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", s[i]))
			return false;
	return n > 0;
}

static bool is(const char *name, size_t n, const char *want)
{
	return n == strlen(want) && strncasecmp(name, want, n) == 0;
}

static void put_field(struct fl_buf *b, const char *name, size_t n, const char *value)
{
	fl_buf_append(b, name, n);
	fl_buf_putc(b, '\0');
	fl_buf_puts(b, value);
	fl_buf_putc(b, '\0');
}

// The caller's fields and ours where he has none: of the same name, also without a value, which is then not sent.
static bool put_fields(struct fl_http_client *c, const char *const *lines, struct fl_buf *b, const char **ret_host)
{
	bool agent = false, authorization = false;
	for (const char *const *h = lines; h && *h; h++) {
		size_t n = strcspn(*h, ":");
		const char *value = *h + n + 1;
		if (!is_token(*h, n) || !(*h)[n] || strpbrk(value, "\r\n"))
			return false;
		value += strspn(value, " \t");
		agent |= is(*h, n, "user-agent");
		authorization |= is(*h, n, "authorization");
		if (is(*h, n, "transfer-encoding"))
			return false; // how the body travels is not the caller's
		if (is(*h, n, "host"))
			*ret_host = *value ? value : NULL;
		else if (*value && !is(*h, n, "content-length"))
			put_field(b, *h, n, value);
	}
	if (!agent)
		put_field(b, "User-Agent", 10, c->user_agent);
	if (!authorization && c->authorization)
		put_field(b, "Authorization", 13, c->authorization);
	return true;
}

static struct fl_http_call *new_call(struct fl_http_client *c, const struct fl_http_call_opts *o)
{
	size_t n = c->scratch.len;
	struct fl_http_call *call = fl_malloc(sizeof(*call) + n + o->body_len);
	memset(call, 0, sizeof(*call));
	memcpy(call->text, c->scratch.data, n);
	if (o->body_len)
		memcpy(call->text + n, o->body, o->body_len);
	call->client = c;
	call->method = call->text;
	call->target = call->text + strlen(call->text) + 1;
	call->fields_end = call->out = call->text + n;
	call->out_len = o->body_len;
	call->is_head = strcmp(o->method, "HEAD") == 0;
	call->is_safe = call->is_head || strcmp(o->method, "GET") == 0;
	call->says_length = o->body_len || strcmp(o->method, "POST") == 0 || strcmp(o->method, "PUT") == 0 ||
			    strcmp(o->method, "PATCH") == 0;
	call->fresh = o->fresh;
	call->on_data = o->on_data;
	call->on_done = o->on_done;
	call->arg = o->arg;
	call->timeout_ms = o->timeout_ms;
	call->connect_ms = o->connect_timeout_ms ? o->connect_timeout_ms : CONNECT_TIMEOUT_MS;
	call->stall_ms = o->stall_timeout_ms;
	return call;
}

int fl_http_client_call(struct fl_http_client *c, const struct fl_http_call_opts *opts, struct fl_http_call **ret,
			struct fl_err *err)
{
	struct fl_origin *origin = NULL;
	const char *target = NULL, *host = NULL;
	struct fl_buf *b = &c->scratch;
	int rc = fl_origin_find(c, opts->url, opts->h2c, &origin, &target, err);
	if (rc < 0)
		return rc;
	b->len = 0;
	put_field(b, opts->method, strlen(opts->method), "");
	b->len--; // the method alone
	bool ok = is_token(opts->method, strlen(opts->method)) && put_target(b, target);
	size_t fields = b->len;
	if (!ok || !put_fields(c, opts->headers, b, &host))
		return fl_err_set(err, -EINVAL, "%s %.*s: this is no method, path and header of a request",
				  opts->method, (int)strcspn(opts->url, "?"), opts->url);
	size_t host_at = b->len;
	if (host) {
		fl_buf_puts(b, host);
		fl_buf_putc(b, '\0');
	}
	struct fl_http_call *call = new_call(c, opts);
	uv_update_time(c->loop); // what the caller did before is not taken from the call's time
	uint64_t now = uv_now(c->loop);
	call->origin = origin;
	origin->n_calls++;
	call->fields = call->text + fields;
	call->fields_end = call->text + host_at;
	call->host = host ? call->text + host_at : NULL;
	call->moved_ms = now;
	call->deadline_ms = call->timeout_ms ? now + call->timeout_ms : 0;
	call->state = FL_CALL_NEW;
	TAILQ_INSERT_TAIL(&c->fresh, call, queue);
	TAILQ_INSERT_TAIL(&c->calls, call, all);
	if (!c->n_calls++)
		uv_ref((uv_handle_t *)&c->timer);
	if (!c->depth)
		fl_client_wake(c); // never a callback from inside this function
	if (call->deadline_ms)
		fl_client_arm(c, call->deadline_ms);
	if (call->stall_ms)
		fl_client_arm(c, now + call->stall_ms);
	if (ret)
		*ret = call;
	return 0;
}

void fl_http_call_cancel(struct fl_http_call **callp)
{
	struct fl_http_call *call = TAKE_PTR(*callp);
	if (!call || call->reporting)
		return;
	struct fl_http_client *c = call->client;
	if (c->freed)
		return;
	if (c->handing == call)
		c->handing = NULL;
	fl_call_unplace(call);
	free_call(call);
	if (TAILQ_FIRST(&c->dirty))
		fl_client_wake(c);
}

// --- the client ---

int fl_http_client_new(uv_loop_t *loop, const struct fl_http_client_opts *opts, struct fl_http_client **ret,
		       struct fl_err *err)
{
	SSL_CTX *tls = NULL;
	if (!opts->cert_pem != !opts->key_pem)
		return fl_err_set(err, -EINVAL, "HTTP client: certificate and key belong together");
	if (opts->ca_pem || opts->cert_pem) {
		int rc = fl_client_tls_new(opts, &tls, err);
		if (rc < 0)
			return rc;
	}
	struct sigaction sa;
	if (sigaction(SIGPIPE, NULL, &sa) == 0 && sa.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
	struct fl_http_client *c = FL_NEW(struct fl_http_client);
	c->loop = loop;
	c->tls = tls;
	c->tls_server_name = fl_str_empty(opts->tls_server_name) ? NULL : fl_strdup(opts->tls_server_name);
	if (c->tls_server_name && !fl_ip_parse(c->tls_server_name, &c->tls_server_ip))
		c->tls_server_ip = (struct fl_ip){0};
	c->user_agent = fl_strdup(opts->user_agent ? opts->user_agent : "fairlead");
	c->authorization = opts->bearer_token ? fl_asprintf("Bearer %s", opts->bearer_token) : NULL;
	c->insecure = opts->insecure_skip_verify;
	c->http1 = opts->http1;
	TAILQ_INIT(&c->calls);
	TAILQ_INIT(&c->fresh);
	TAILQ_INIT(&c->done);
	TAILQ_INIT(&c->resumed);
	TAILQ_INIT(&c->origins);
	TAILQ_INIT(&c->dirty);
	TAILQ_INIT(&c->marked);
	uv_timer_init(loop, &c->timer);
	uv_timer_init(loop, &c->wake);
	uv_unref((uv_handle_t *)&c->timer);
	c->timer.data = c->wake.data = c;
	c->handles = 2;
	*ret = c;
	return 0;
}

void fl_http_client_free(struct fl_http_client **client)
{
	struct fl_http_client *c = TAKE_PTR(*client);
	if (!c)
		return;
	c->freed = true;
	for (struct fl_http_call *call = TAILQ_FIRST(&c->calls); call; call = TAILQ_NEXT(call, all)) {
		call->on_data = NULL;
		call->on_done = NULL;
	}
	if (!c->depth)
		close_client(c);
}
