// SPDX-License-Identifier: Apache-2.0
// HTTP/1.0 and 1.1 (RFC 9112) on llhttp, which is left as strict as it comes: no lenient flags, so a request with two
// readings (Content-Length beside Transfer-Encoding, bare CR, obsolete folding) is refused.
//
// One request at a time: llhttp pauses at the end of each, and what a pipelining client has sent beyond it waits in
// `pending` until the answer is out. When that is full the socket is not read any more.
//
// Refused: CONNECT, protocol upgrades (the request is served as if it asked for none), trailers (read and dropped).
#include <errno.h>
#include <llhttp/llhttp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "io/http/conn.h"

#define PENDING_MAX (64 * 1024)
#define MIN_ROOM    64 // a chunk's framing, and a piece worth it

struct h1 {
	llhttp_t parser; // data = the connection
	struct fl_http_req *r;
	struct fl_buf pending;
	bool fields_done; // what follows are trailers
	bool in_name, in_value;
	const char *input, *input_end; // what llhttp reads
	bool value_cut, was_cut;       // a value goes on beyond this input; and did beyond the one before
	const char *name_end;          // in this input; NULL = before it
	bool in_gap, gap_has_lf;       // between name and value; a line ended there
	bool keep_alive;               // the request allows it
	bool close_after;              // its answer
	bool discard;                  // what the peer still sends
};

static struct h1 *h1_of(const struct fl_conn *c)
{
	return c->codec_data;
}

// --- parsing ---

static int on_begin(llhttp_t *p)
{
	struct fl_conn *c = p->data;
	struct h1 *h = h1_of(c);
	h->r = fl_req_new(c);
	h->fields_done = h->in_name = h->in_value = false;
	fl_conn_set_deadline(c, c->server->opts.limits.header_ms);
	return 0;
}

static int on_url(llhttp_t *p, const char *at, size_t n)
{
	struct fl_http_req *r = h1_of(p->data)->r;
	if (r->text.len + n > FL_MAX_URL_BYTES)
		r->refuse = 414;
	if (r->refuse || !fl_req_count(r, n))
		return HPE_USER;
	fl_buf_append(&r->text, at, n);
	return 0;
}

static int on_url_end(llhttp_t *p)
{
	fl_buf_putc(&h1_of(p->data)->r->text, '\0');
	return 0;
}

static int on_name(llhttp_t *p, const char *at, size_t n)
{
	struct h1 *h = h1_of(p->data);
	struct fl_http_req *r = h->r;
	if (h->fields_done)
		return 0;
	if (!fl_req_count(r, n))
		return HPE_USER;
	if (!h->in_name) {
		h->in_name = true;
		fl_vec_push(&r->fields, ((struct fl_field){.name = (uint32_t)r->text.len}));
	}
	size_t start = r->text.len;
	fl_buf_append(&r->text, at, n);
	h->name_end = at + n;
	for (char *q = r->text.data + start; *q; q++)
		if (*q >= 'A' && *q <= 'Z')
			*q = (char)(*q + ('a' - 'A'));
	return 0;
}

static int on_name_end(llhttp_t *p)
{
	struct h1 *h = h1_of(p->data);
	if (h->fields_done)
		return 0;
	struct fl_field *f = &h->r->fields.v[h->r->fields.n - 1];
	h->in_name = false;
	h->in_gap = true;
	h->gap_has_lf = false;
	f->name_len = (uint32_t)h->r->text.len - f->name;
	f->value = (uint32_t)h->r->text.len; // empty, unless a value comes
	fl_buf_putc(&h->r->text, '\0');
	return 0;
}

static bool gap_ends_line(const struct h1 *h, const char *to)
{
	const char *from = h->name_end ? h->name_end : h->input;
	return h->gap_has_lf || memchr(from, '\n', (size_t)(to - from));
}

static int on_value(llhttp_t *p, const char *at, size_t n)
{
	struct h1 *h = h1_of(p->data);
	struct fl_http_req *r = h->r;
	if (h->fields_done)
		return 0;
	if (!fl_req_count(r, n))
		return HPE_USER;
	bool folded = h->in_value ? !h->was_cut || at != h->input : n && gap_ends_line(h, at);
	if (folded) { // it stands, or goes on, in another line (RFC 9112, 5.2)
		r->refuse = 400;
		return HPE_USER;
	}
	if (!h->in_value) {
		h->in_value = true;
		h->in_gap = false;
		r->fields.v[r->fields.n - 1].value = (uint32_t)r->text.len;
	}
	h->value_cut = at + n == h->input_end;
	fl_buf_append(&r->text, at, n);
	return 0;
}

static int on_value_end(llhttp_t *p)
{
	struct h1 *h = h1_of(p->data);
	if (h->fields_done || !h->in_value)
		return 0;
	struct fl_buf *t = &h->r->text;
	struct fl_field *f = &h->r->fields.v[h->r->fields.n - 1];
	h->in_value = false;
	while (t->len > f->value && (t->data[t->len - 1] == ' ' || t->data[t->len - 1] == '\t'))
		t->len--; // RFC 9112, 5.1: white space around a value is no part of it
	f->value_len = (uint32_t)t->len - f->value;
	fl_buf_putc(t, '\0');
	return 0;
}

// RFC 9112, 3.2: exactly one Host field, unless the client speaks 1.0.
static bool host_ok(const struct fl_http_req *r)
{
	unsigned n = 0;
	for (size_t i = 0; i < r->fields.n; i++)
		n += strcmp(r->text.data + r->fields.v[i].name, "host") == 0;
	return n == 1 || (n == 0 && r->http_1_0);
}

static int on_fields_end(llhttp_t *p)
{
	struct fl_conn *c = p->data;
	struct h1 *h = h1_of(c);
	struct fl_http_req *r = h->r;
	h->fields_done = true;
	r->method = llhttp_method_name((llhttp_method_t)p->method);
	r->http_1_0 = p->http_major == 1 && p->http_minor == 0;
	fl_req_target(r, 0);
	bool known = p->flags & F_CONTENT_LENGTH;
	bool body = known ? p->content_length > 0 : (p->flags & F_CHUNKED) != 0;
	if (!host_ok(r))
		r->refuse = 400;
	int64_t length = known && p->content_length <= INT64_MAX ? (int64_t)p->content_length : known ? INT64_MAX : -1;
	fl_req_check(r, length);
	if (r->refuse)
		return -1;
	p->upgrade = 0;
	if (!body)
		return 0;
	fl_conn_set_deadline(c, c->server->opts.limits.body_ms);
	if (r->expects_continue) {
		static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
		struct fl_bytes *b = fl_bytes_new(text, sizeof(text) - 1);
		fl_req_push(r, b, true);
		fl_bytes_put(&b);
	}
	return 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
	return fl_req_body(h1_of(p->data)->r, at, n) ? 0 : HPE_USER;
}

static int on_end(llhttp_t *p)
{
	struct h1 *h = h1_of(p->data);
	h->keep_alive = llhttp_should_keep_alive(p);
	fl_req_ready(h->r);
	return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_message_begin = on_begin,
    .on_url = on_url,
    .on_url_complete = on_url_end,
    .on_header_field = on_name,
    .on_header_field_complete = on_name_end,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_end,
    .on_headers_complete = on_fields_end,
    .on_body = on_body,
    .on_message_complete = on_end,
};

static void refuse(struct fl_conn *c, int status)
{
	struct h1 *h = h1_of(c);
	if (!h->r)
		h->r = fl_req_new(c);
	h->discard = h->close_after = true;
	fl_conn_set_deadline(c, 0);
	fl_req_refuse(h->r, status);
}

// Feeds llhttp up to the end of one request; the rest goes to `pending`.
static void parse(struct fl_conn *c, const char *p, size_t n)
{
	struct h1 *h = h1_of(c);
	h->input = p;
	h->input_end = p + n;
	h->was_cut = h->value_cut;
	h->value_cut = false;
	h->name_end = NULL;
	llhttp_errno_t e = llhttp_execute(&h->parser, p, n);
	if (e == HPE_OK) {
		h->gap_has_lf = h->in_gap && gap_ends_line(h, p + n);
		return;
	}
	if (e != HPE_PAUSED) {
		refuse(c, h->r && h->r->refuse ? h->r->refuse : e == HPE_INVALID_VERSION ? 505 : 400);
		return;
	}
	const char *rest = llhttp_get_error_pos(&h->parser);
	llhttp_resume(&h->parser);
	fl_conn_set_deadline(c, 0);
	if (rest < p + n)
		fl_buf_append(&h->pending, rest, (size_t)(p + n - rest));
}

static bool busy(const struct h1 *h)
{
	return h->r && (h->r->complete || h->r->refuse);
}

// Only a request of which something has come is told; who has said nothing waits for no answer.
static bool h1_late(struct fl_conn *c)
{
	struct h1 *h = h1_of(c);
	if (!h->r || busy(h))
		return false;
	refuse(c, 408);
	return true;
}

static int h1_input(struct fl_conn *c, const char *p, size_t n)
{
	struct h1 *h = h1_of(c);
	if (h->discard || h->close_after)
		return 0;
	if (busy(h) || h->pending.len)
		fl_buf_append(&h->pending, p, n);
	else
		parse(c, p, n);
	if (h->pending.len > PENDING_MAX)
		fl_conn_read(c, false);
	return 0;
}

static bool h1_resume(struct fl_conn *c)
{
	struct h1 *h = h1_of(c);
	struct fl_http_req *r = STAILQ_FIRST(&c->ready);
	if (r) {
		STAILQ_REMOVE_HEAD(&c->ready, queued);
		r->in_ready = false;
		fl_req_dispatch(r);
		return true;
	}
	if (!busy(h) && h->pending.len && !h->discard) {
		AUTO(fl_buf_deinit) struct fl_buf input = h->pending;
		h->pending = (struct fl_buf){0};
		parse(c, input.data, input.len);
		fl_conn_read(c, true);
		return true;
	}
	if (c->read_eof && !busy(h))
		fl_conn_close(c);
	return false;
}

// --- answering ---

static void put_fields(struct fl_buf *b, const struct fl_buf *fields)
{
	for (size_t i = 0; i < fields->len;) {
		const char *name = fields->data + i, *value = name + strlen(name) + 1;
		fl_buf_puts(b, name);
		fl_buf_append(b, ": ", 2);
		fl_buf_puts(b, value);
		fl_buf_append(b, "\r\n", 2);
		i = (size_t)(value + strlen(value) + 1 - fields->data);
	}
}

static void put_field(struct fl_buf *b, const char *name, const char *value)
{
	fl_buf_puts(b, name);
	fl_buf_puts(b, value);
	fl_buf_append(b, "\r\n", 2);
}

static void h1_head(struct fl_http_req *r, int status, const char *type, int64_t length, const void *copy, size_t n)
{
	struct fl_conn *c = r->conn;
	struct h1 *h = h1_of(c);
	struct fl_http_server *s = c->server;
	struct fl_buf *b = &s->head;
	bool may_have_body = status != 204 && status != 304;
	r->chunked = r->streaming && may_have_body && !r->is_head && !r->http_1_0;
	if (!h->keep_alive || !r->complete || s->stopping || (r->streaming && r->http_1_0))
		h->close_after = true;

	b->len = 0;
	fl_buf_printf(b, "HTTP/1.1 %d %s\r\n", status, fl_http_reason(status));
	put_field(b, "Date: ", fl_server_date(s));
	if (type)
		put_field(b, "Content-Type: ", type);
	put_fields(b, &r->out_fields);
	if (length >= 0) {
		fl_buf_printf(b, "Content-Length: %lld\r\n", (long long)length);
	} else if (r->streaming && may_have_body && !r->http_1_0) {
		put_field(b, "Transfer-Encoding: ", "chunked");
	}
	if (h->close_after)
		put_field(b, "Connection: ", "close");
	else if (r->http_1_0)
		put_field(b, "Connection: ", "keep-alive");
	fl_buf_append(b, "\r\n", 2);

	struct fl_bytes *head = fl_bytes_new(NULL, b->len + n);
	memcpy(head->data, b->data, b->len);
	if (n)
		memcpy(head->data + b->len, copy, n);
	fl_req_push(r, head, true);
	fl_bytes_put(&head);
}

static void h1_drain(struct fl_conn *c)
{
	struct fl_http_req *r = h1_of(c)->r;
	if (!r || r->drained)
		return;
	struct fl_piece *p;
	while ((p = fl_outq_first(&r->q))) {
		size_t room = fl_conn_room(c), n = p->bytes->len - p->off;
		if (room < MIN_ROOM)
			return;
		n = n < room ? n : room;
		bool frame = r->chunked && !p->raw;
		if (frame) {
			char size[24];
			int len = snprintf(size, sizeof(size), "%zx\r\n", n);
			fl_conn_put(c, size, (size_t)len);
		}
		fl_conn_put(c, p->bytes->data + p->off, n);
		if (frame)
			fl_conn_put(c, "\r\n", 2);
		fl_req_consume(r, n);
	}
	if (!r->ended || !r->started)
		return;
	if (r->chunked)
		fl_conn_put(c, "0\r\n\r\n", 5);
	fl_req_drained(r);
}

static void h1_more(struct fl_http_req *r)
{
	fl_conn_mark_dirty(r->conn);
}

static void h1_abort(struct fl_http_req *r)
{
	fl_conn_kill(r->conn, true);
}

static void h1_over(struct fl_http_req *r)
{
	struct fl_conn *c = r->conn;
	struct h1 *h = h1_of(c);
	h->r = NULL;
	if (h->close_after)
		fl_conn_close(c);
	else
		fl_conn_set_deadline(c, c->server->opts.limits.idle_ms);
}

static void h1_shutdown(struct fl_conn *c)
{
	struct h1 *h = h1_of(c);
	if (busy(h))
		h->close_after = true;
	else
		fl_conn_close(c);
}

static bool h1_eof(struct fl_conn *c)
{
	struct h1 *h = h1_of(c);
	// Over TLS nobody shuts one side only; a plain client that did may still read, except that a dead one looks
	// the same: limits.half_close_ms decides.
	return busy(h) && !(c->pipe.ssl && h->r->streaming);
}

static int h1_open(struct fl_conn *c)
{
	struct h1 *h = FL_NEW(struct h1);
	llhttp_init(&h->parser, HTTP_REQUEST, &settings);
	h->parser.data = c;
	c->codec_data = h;
	return 0;
}

static void h1_close(struct fl_conn *c)
{
	struct h1 *h = h1_of(c);
	if (!h)
		return;
	fl_buf_deinit(&h->pending);
	free(h);
}

const struct fl_codec fl_codec_h1 = {
    .name = "http/1.1",
    .open = h1_open,
    .close = h1_close,
    .input = h1_input,
    .late = h1_late,
    .resume = h1_resume,
    .drain = h1_drain,
    .over = h1_over,
    .head = h1_head,
    .more = h1_more,
    .abort = h1_abort,
    .shutdown = h1_shutdown,
    .eof = h1_eof,
};
