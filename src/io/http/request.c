// SPDX-License-Identifier: Apache-2.0
// A request as the handler sees it, from the first header field to on_close; the same for both codecs.
//
// Three things end independently: the handler's work (answered), the sending (drained, then over) and the socket. A
// request is freed when it is over and either the handler has answered or its on_close has told it.
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "io/http/conn.h"

#define POOL_MAX        64   // freed requests kept
#define POOL_TEXT_MAX   4096 // with buffers not beyond these
#define POOL_ARENA_MAX  (16 * 1024)
#define POOL_FIELDS_MAX 64

// --- output queue ---

void fl_outq_push(struct fl_outq *q, struct fl_bytes *bytes, bool raw)
{
	if (q->head == q->n)
		q->head = q->n = 0;
	if (q->n == q->cap) {
		if (q->head > q->cap / 2) {
			memmove(q->v, q->v + q->head, (q->n - q->head) * sizeof(*q->v));
			q->n -= q->head;
			q->head = 0;
		} else {
			q->cap = q->cap ? 2 * q->cap : 2;
			q->v = fl_realloc(q->v, q->cap * sizeof(*q->v));
		}
	}
	q->v[q->n++] = (struct fl_piece){.bytes = fl_bytes_get(bytes), .raw = raw};
	q->bytes += bytes->len;
}

void fl_outq_consume(struct fl_outq *q, size_t n)
{
	struct fl_piece *p = &q->v[q->head];
	p->off += n;
	q->bytes -= n;
	if (p->off == p->bytes->len) {
		fl_bytes_put(&p->bytes);
		q->head++;
	}
}

void fl_outq_clear(struct fl_outq *q)
{
	for (; q->head < q->n; q->head++)
		fl_bytes_put(&q->v[q->head].bytes);
	q->head = q->n = 0;
	q->bytes = 0;
}

static void push(struct fl_http_req *r, struct fl_bytes *b, bool raw)
{
	if (!r->q.bytes) { // the time-out of a stalled peer starts here
		r->moved_ms = uv_now(r->conn->server->loop);
		fl_server_arm(r->conn->server, r->moved_ms + r->conn->server->opts.limits.stall_ms);
	}
	fl_outq_push(&r->q, b, raw);
	r->conn->queued += b->len;
	r->conn->server->unsent += b->len;
	if (fl_server_is_full(r->conn->server))
		fl_server_arm(r->conn->server, r->moved_ms + FL_HURRY_MS);
}

void fl_req_push(struct fl_http_req *r, struct fl_bytes *b, bool raw)
{
	push(r, b, raw);
}

void fl_req_consume(struct fl_http_req *r, size_t n)
{
	struct fl_conn *c = r->conn;
	fl_outq_consume(&r->q, n);
	c->queued -= n;
	c->server->unsent -= n;
	if (r->epoch != c->epoch) {
		r->epoch = c->epoch;
		r->inflight = 0;
	}
	r->inflight += n;
	r->moved_ms = uv_now(c->server->loop);
}

static void drop_output(struct fl_http_req *r)
{
	r->conn->queued -= r->q.bytes;
	r->conn->server->unsent -= r->q.bytes;
	fl_outq_clear(&r->q);
}

// --- life ---

struct fl_http_req *fl_req_new(struct fl_conn *c)
{
	struct fl_http_server *s = c->server;
	struct fl_http_req *r = STAILQ_FIRST(&s->pool);
	if (r) {
		STAILQ_REMOVE_HEAD(&s->pool, queued);
		s->n_pool--;
	} else {
		r = FL_NEW(struct fl_http_req);
	}
	r->conn = c;
	c->refs++;
	c->n_reqs++;
	TAILQ_INSERT_TAIL(&c->reqs, r, of_conn);
	return r;
}

static void recycle(struct fl_http_server *s, struct fl_http_req *r)
{
	// The buffers that every request needs stay with it; what grew beyond the usual is given back.
	struct fl_http_req kept = {.text = r->text, .fields = {r->fields.v, 0, r->fields.cap}};
	kept.q.v = r->q.v;
	kept.q.cap = r->q.cap;
	kept.arena = r->arena;
	kept.text.len = 0;
	if (kept.text.cap > POOL_TEXT_MAX)
		fl_buf_deinit(&kept.text);
	if (kept.fields.cap > POOL_FIELDS_MAX)
		fl_vec_deinit(&kept.fields);
	if (kept.q.cap > 8) {
		free(kept.q.v);
		kept.q = (struct fl_outq){0};
	}
	fl_arena_reset(&kept.arena);
	if (kept.arena.total > POOL_ARENA_MAX)
		fl_arena_deinit(&kept.arena);
	if (s->n_pool < POOL_MAX) {
		*r = kept;
		STAILQ_INSERT_HEAD(&s->pool, r, queued);
		s->n_pool++;
		return;
	}
	fl_buf_deinit(&kept.text);
	fl_vec_deinit(&kept.fields);
	fl_arena_deinit(&kept.arena);
	free(kept.q.v);
	free(r);
}

void fl_req_free(struct fl_http_req *r)
{
	struct fl_conn *c = r->conn;
	drop_output(r);
	fl_buf_deinit(&r->body);
	fl_buf_deinit(&r->out_fields);
	c->server->held -= r->held;
	TAILQ_REMOVE(&c->reqs, r, of_conn);
	c->n_reqs--;
	recycle(c->server, r);
	fl_conn_unref(c);
}

// --- collecting ---

static bool hold(struct fl_http_req *r, size_t n)
{
	struct fl_http_server *s = r->conn->server;
	s->held += n;
	r->held += n;
	if (s->held > s->opts.limits.max_held_bytes)
		r->refuse = 503;
	return !r->refuse;
}

bool fl_req_count(struct fl_http_req *r, size_t n)
{
	if (r->text.len + n > FL_MAX_HEADER_BYTES || r->fields.n > FL_MAX_HEADERS) {
		r->refuse = 431;
		return false;
	}
	return hold(r, n);
}

bool fl_req_body(struct fl_http_req *r, const char *p, size_t n)
{
	if (r->refuse)
		return false;
	if (n > r->conn->server->opts.limits.max_body_bytes - r->body.len) {
		r->refuse = 413;
		return false;
	}
	if (!hold(r, n))
		return false;
	fl_buf_append(&r->body, p, n);
	return true;
}

void fl_req_target(struct fl_http_req *r, uint32_t off)
{
	char *t = r->text.data + off;
	// RFC 9112, 3.2.2: the absolute form must be accepted; its authority names this server.
	const char *scheme_end = strstr(t, "://");
	if (t[0] != '/' && scheme_end && !memchr(t, '?', (size_t)(scheme_end - t))) {
		size_t skip = (size_t)(scheme_end + 3 - t);
		skip += strcspn(t + skip, "/?");
		if (t[skip] == '/')
			off += (uint32_t)skip;
		else // "http://host" and "http://host?query": put the missing slash over the byte before
			t[skip - 1] = '/', off += (uint32_t)skip - 1;
		t = r->text.data + off;
	}
	r->path = off;
	char *q = strchr(t, '?');
	if (q) {
		*q = '\0';
		r->query = (uint32_t)(q + 1 - r->text.data);
	} else {
		r->query = off + (uint32_t)strlen(t);
	}
}

void fl_req_check(struct fl_http_req *r, int64_t length)
{
	if (r->refuse)
		return;
	const char *target = r->text.data + r->path;
	if (strcmp(r->method, "CONNECT") == 0)
		r->refuse = 405; // no proxy
	else if (target[0] != '/' && strcmp(target, "*") != 0)
		r->refuse = 400;
	else if (length > 0 && (uint64_t)length > r->conn->server->opts.limits.max_body_bytes)
		r->refuse = 413;
	const char *expect = fl_http_header(r, "expect");
	if (!expect || r->refuse || r->http_1_0)
		return;
	if (strcasecmp(expect, "100-continue") == 0)
		r->expects_continue = true;
	else
		r->refuse = 417;
}

// --- dispatch and end ---

// Of an answered request nobody may ask any more. A client that takes its time to read the answer should cost the
// answer alone, not what it was made from.
static void drop_input(struct fl_http_req *r)
{
	r->held -= r->body.len;
	r->conn->server->held -= r->body.len;
	fl_buf_deinit(&r->body);
	fl_arena_reset(&r->arena);
	if (r->arena.total > POOL_ARENA_MAX)
		fl_arena_deinit(&r->arena);
}

void fl_req_ready(struct fl_http_req *r)
{
	r->complete = true;
	r->deadline_ms = 0;
	r->in_ready = true;
	STAILQ_INSERT_TAIL(&r->conn->ready, r, queued);
}

void fl_req_dispatch(struct fl_http_req *r)
{
	struct fl_http_server *s = r->conn->server;
	if (!r->body.data)
		fl_buf_append(&r->body, "", 0);
	if (fl_server_is_full(s)) {
		fl_req_refuse(r, 503);
		return;
	}
	r->is_head = strcmp(r->method, "HEAD") == 0;
	r->dispatched = true;
	fl_conn_busy(r->conn, 1);
	s->opts.handler(r, s->opts.arg);
	if (r->answered && !r->on_close)
		drop_input(r);
}

const char *fl_http_reason(int status)
{
	switch (status) {
	case 100:
		return "Continue";
	case 101:
		return "Switching Protocols";
	case 200:
		return "OK";
	case 201:
		return "Created";
	case 202:
		return "Accepted";
	case 204:
		return "No Content";
	case 206:
		return "Partial Content";
	case 301:
		return "Moved Permanently";
	case 302:
		return "Found";
	case 304:
		return "Not Modified";
	case 307:
		return "Temporary Redirect";
	case 308:
		return "Permanent Redirect";
	case 400:
		return "Bad Request";
	case 401:
		return "Unauthorized";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 406:
		return "Not Acceptable";
	case 408:
		return "Request Timeout";
	case 409:
		return "Conflict";
	case 410:
		return "Gone";
	case 412:
		return "Precondition Failed";
	case 413:
		return "Request Entity Too Large";
	case 414:
		return "Request URI Too Long";
	case 415:
		return "Unsupported Media Type";
	case 417:
		return "Expectation Failed";
	case 422:
		return "Unprocessable Entity";
	case 429:
		return "Too Many Requests";
	case 431:
		return "Request Header Fields Too Large";
	case 500:
		return "Internal Server Error";
	case 501:
		return "Not Implemented";
	case 502:
		return "Bad Gateway";
	case 503:
		return "Service Unavailable";
	case 504:
		return "Gateway Timeout";
	case 505:
		return "HTTP Version Not Supported";
	default:
		return "Status";
	}
}

void fl_req_refuse(struct fl_http_req *r, int status)
{
	AUTO(fl_buf_deinit) struct fl_buf body = {0};
	const struct fl_http_server_opts *o = &r->conn->server->opts;
	const char *type = o->refusal ? o->refusal(status, &body) : "text/plain; charset=utf-8";
	if (!o->refusal)
		fl_buf_printf(&body, "%d %s\n", status, fl_http_reason(status));
	r->refuse = (uint16_t)status;
	r->held -= r->body.len;
	r->conn->server->held -= r->body.len;
	fl_buf_deinit(&r->body);
	r->is_head = r->method && strcmp(r->method, "HEAD") == 0;
	if (status == 503)
		fl_http_set_header(r, "Retry-After", "1");
	fl_http_respond(r, status, type, body.data, body.len);
}

static void put_over(struct fl_http_req *r)
{
	if (r->in_over || r->in_ready) // what is ready comes by when it is popped
		return;
	r->in_over = true;
	STAILQ_INSERT_TAIL(&r->conn->over, r, queued);
}

void fl_req_drained(struct fl_http_req *r)
{
	r->drained = true;
	put_over(r);
}

void fl_req_failed(struct fl_http_req *r)
{
	if (r->over)
		return;
	r->failed = true;
	r->ended = true;
	drop_output(r);
	put_over(r);
}

void fl_req_finish(struct fl_http_req *r)
{
	struct fl_conn *c = r->conn;
	if (!r->over) {
		r->over = r->ended = true;
		r->deadline_ms = 0;
		drop_output(r);
		if (c->codec_data)
			c->codec->over(r);
		if (r->dispatched)
			fl_conn_busy(c, -1);
	}
	if (r->on_close) {
		r->on_close(r, r->on_close_arg, !r->aborted && (r->failed || !r->answered));
		fl_req_free(r);
	} else if (r->answered || !r->dispatched) {
		fl_req_free(r);
	}
}

void fl_req_end_stream(struct fl_http_req *r)
{
	if (!r->streaming || r->ended)
		return;
	r->ended = true;
	r->conn->codec->more(r);
}

// --- reading it ---

const char *fl_http_method(const struct fl_http_req *r)
{
	return r->method;
}

const char *fl_http_path(const struct fl_http_req *r)
{
	return r->text.data + r->path;
}

const char *fl_http_query(const struct fl_http_req *r)
{
	return r->text.data + r->query;
}

static const struct fl_field *find(const struct fl_http_req *r, const char *name, size_t len, size_t from)
{
	for (size_t i = from; i < r->fields.n; i++) {
		const struct fl_field *f = &r->fields.v[i];
		if (f->name_len == len && memcmp(r->text.data + f->name, name, len) == 0)
			return f;
	}
	return NULL;
}

const char *fl_http_header(const struct fl_http_req *r, const char *name)
{
	const struct fl_field *f = find(r, name, strlen(name), 0);
	return f ? r->text.data + f->value : NULL;
}

bool fl_http_has_header_of(const struct fl_http_req *r, const char *prefix)
{
	size_t len = strlen(prefix);
	for (size_t i = 0; i < r->fields.n; i++) {
		const struct fl_field *f = &r->fields.v[i];
		if (f->name_len > len && memcmp(r->text.data + f->name, prefix, len) == 0)
			return true;
	}
	return false;
}

const char *fl_http_header_all(struct fl_http_req *r, const char *name)
{
	size_t len = strlen(name);
	const struct fl_field *f = find(r, name, len, 0);
	if (!f)
		return NULL;
	const char *all = r->text.data + f->value;
	while ((f = find(r, name, len, (size_t)(f - r->fields.v) + 1)))
		all = fl_arena_printf(&r->arena, "%s, %s", all, r->text.data + f->value);
	return all;
}

const char *fl_http_body(const struct fl_http_req *r, size_t *ret_len)
{
	*ret_len = r->body.len;
	return r->body.data;
}

const struct fl_tls_identity *fl_http_identity(const struct fl_http_req *r)
{
	static const struct fl_tls_identity nobody;
	return r->conn->identity ? r->conn->identity : &nobody;
}

void fl_http_peer(const struct fl_http_req *r, struct fl_ip *ret_ip, uint16_t *ret_port)
{
	*ret_ip = r->conn->peer;
	*ret_port = r->conn->peer_port;
}

void fl_http_local(const struct fl_http_req *r, struct fl_ip *ret_ip, uint16_t *ret_port)
{
	*ret_ip = r->conn->local;
	*ret_port = r->conn->local_port;
}

struct fl_arena *fl_http_arena(struct fl_http_req *r)
{
	return &r->arena;
}

// --- answering it ---

void fl_http_set_header(struct fl_http_req *r, const char *name, const char *value)
{
	if (r->started)
		return;
	fl_buf_append(&r->out_fields, name, strlen(name) + 1);
	size_t at = r->out_fields.len;
	fl_buf_append(&r->out_fields, value, strlen(value) + 1);
	// A value may quote what a client sent: it must not be able to add fields of its own.
	for (char *p = r->out_fields.data + at; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
}

// The handler is done with a request whose client has left.
static bool released(struct fl_http_req *r)
{
	if (!r->over)
		return false;
	r->answered = true;
	if (!r->on_close && !r->in_over)
		fl_req_free(r);
	return true;
}

static bool has_body(const struct fl_http_req *r, int status)
{
	return !r->is_head && status >= 200 && status != 204 && status != 304;
}

static void respond(struct fl_http_req *r, int status, const char *type, const void *copy, size_t n,
		    struct fl_bytes *shared)
{
	if (released(r) || r->started || r->ended)
		return;
	const struct fl_codec *codec = r->conn->codec;
	r->started = r->ended = r->answered = true;
	bool body = has_body(r, status);
	int64_t length = (int64_t)(shared ? shared->len : n);
	if (status == 204 || status == 304 || status < 200)
		length = -1;
	codec->head(r, status, type, length, copy, body ? n : 0);
	if (shared && body && shared->len)
		push(r, shared, true);
	codec->more(r);
}

void fl_http_respond(struct fl_http_req *r, int status, const char *content_type, const void *body, size_t len)
{
	respond(r, status, content_type, body, len, NULL);
}

void fl_http_respond_bytes(struct fl_http_req *r, int status, const char *content_type, struct fl_bytes *body)
{
	respond(r, status, content_type, NULL, 0, body);
}

void fl_http_start(struct fl_http_req *r, int status, const char *content_type)
{
	if (r->over || r->started || r->ended)
		return;
	r->started = r->streaming = true;
	r->conn->codec->head(r, status, content_type, -1, NULL, 0);
	r->conn->codec->more(r);
}

void fl_http_write(struct fl_http_req *r, struct fl_bytes *part)
{
	if (r->over || !r->streaming || r->ended || r->is_head || !part->len)
		return;
	push(r, part, false);
	r->conn->codec->more(r);
}

void fl_http_end(struct fl_http_req *r)
{
	if (released(r))
		return;
	r->answered = true;
	if (r->ended || !r->streaming)
		return;
	r->ended = true;
	r->conn->codec->more(r);
}

void fl_http_abort(struct fl_http_req *r)
{
	if (released(r) || (r->answered && r->drained))
		return;
	r->aborted = r->answered = r->ended = true;
	drop_output(r);
	if (!r->failed)
		r->conn->codec->abort(r);
}

size_t fl_http_unsent(const struct fl_http_req *r)
{
	const struct fl_conn *c = r->conn;
	return r->q.bytes + (c->unwritten && r->epoch == c->epoch ? r->inflight : 0);
}

void fl_http_on_close(struct fl_http_req *r, void (*cb)(struct fl_http_req *r, void *arg, bool gone), void *arg)
{
	r->on_close = cb;
	r->on_close_arg = arg;
	if (r->over && !r->in_over) { // the client left before
		put_over(r);
		fl_conn_mark_dirty(r->conn);
	}
}
