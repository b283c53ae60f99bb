// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 as a client speaks it (RFC 9112), on llhttp: one call at a time, the connection kept for the next one when
// the server allows it and all of the request was sent.
//
// A response that ends with the connection ends well only when the connection was closed in order: over TLS with its
// close_notify (RFC 9112, 9.8). Bytes beyond the response's end, and protocol upgrades, which we never ask for, close
// the connection.
#include <errno.h>
#include <llhttp/llhttp.h>
#include <stdio.h>
#include <string.h>

#include "io/http/client.h"

struct h1 {
	llhttp_t parser; // data = the link
	struct fl_http_call *call;
	struct fl_buf head; // of the request, what has not left of it
	bool in_value, in_field;
	bool keep_alive; // the response allows it
	bool over;       // the response is complete, and the parser paused there
};

static struct h1 *h1_of(const struct fl_link *l)
{
	return l->codec_data;
}

// --- receiving: the call may end, and be gone, in each fl_call_... ---

static int on_begin(llhttp_t *p)
{
	struct h1 *h = h1_of(p->data);
	if (!h->call)
		return HPE_USER;
	h->in_value = h->in_field = false;
	fl_call_block_begins(h->call);
	return 0;
}

static bool count(struct h1 *h, size_t n)
{
	h->call->head_bytes += n;
	if (h->call->head_bytes <= FL_MAX_HEADER_BYTES)
		return true;
	fl_call_fail(h->call, -EPROTO, "the header of the response is larger than %d bytes", FL_MAX_HEADER_BYTES);
	return false;
}

static void end_field(struct h1 *h)
{
	if (h->in_field)
		fl_buf_putc(&h->call->head, '\0');
	if (h->in_field && !h->in_value) // no value came
		fl_buf_putc(&h->call->head, '\0');
	h->in_field = h->in_value = false;
}

static int on_name(llhttp_t *p, const char *at, size_t n)
{
	struct h1 *h = h1_of(p->data);
	if (!h->call || !count(h, n))
		return HPE_USER;
	if (h->in_value)
		end_field(h);
	h->in_field = true;
	fl_buf_append(&h->call->head, at, n);
	return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t n)
{
	struct h1 *h = h1_of(p->data);
	if (!h->call || !count(h, n))
		return HPE_USER;
	if (!h->in_value)
		fl_buf_putc(&h->call->head, '\0');
	h->in_value = true;
	fl_buf_append(&h->call->head, at, n);
	return 0;
}

static int on_value_end(llhttp_t *p)
{
	struct h1 *h = h1_of(p->data);
	if (!h->call)
		return HPE_USER;
	end_field(h);
	return 0;
}

// 1: there is no body.
static int on_fields_end(llhttp_t *p)
{
	struct h1 *h = h1_of(p->data);
	if (!h->call)
		return HPE_USER;
	if (p->status_code < 200)
		return p->status_code == 101 ? HPE_USER : 1; // interim: never a body, whatever its fields say
	bool bodiless = h->call->is_head || p->status_code == 204 || p->status_code == 304; // RFC 9112, 6.3
	h->call->status = p->status_code;
	fl_call_fields_end(h->call);
	return bodiless ? 1 : 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
	struct h1 *h = h1_of(p->data);
	if (!h->call)
		return HPE_USER;
	return fl_call_data(h->call, at, n) || h->call ? 0 : HPE_USER;
}

static int on_end(llhttp_t *p)
{
	struct h1 *h = h1_of(p->data);
	if (!h->call)
		return HPE_USER;
	if (p->status_code < 200) // interim
		return 0;
	h->keep_alive = llhttp_should_keep_alive(p);
	h->over = true;
	return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_message_begin = on_begin,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_end,
    .on_headers_complete = on_fields_end,
    .on_body = on_body,
    .on_message_complete = on_end,
};

static int h1_input(struct fl_link *l, const char *p, size_t n, const char **why)
{
	struct h1 *h = h1_of(l);
	if (!h->call) { // nothing was asked
		fl_link_close(l);
		return 0;
	}
	llhttp_errno_t e = llhttp_execute(&h->parser, p, n);
	if (!h->call) // it ended meanwhile, and so does the link
		return 0;
	if (h->over) {
		if (llhttp_get_error_pos(&h->parser) != p + n)
			h->keep_alive = false;
		fl_call_end(h->call);
		return 0;
	}
	if (e == HPE_OK)
		return 0;
	*why = llhttp_get_error_reason(&h->parser);
	if (!*why || !**why)
		*why = llhttp_errno_name(e);
	return -EPROTO;
}

static void h1_eof(struct fl_link *l, bool clean)
{
	struct h1 *h = h1_of(l);
	if (!h->call || !clean || !h->call->final)
		return;
	llhttp_finish(&h->parser);
	if (h->call && h->over) {
		h->keep_alive = false;
		fl_call_end(h->call);
	}
}

// --- sending ---

static void put_head(struct fl_buf *b, const struct fl_http_call *call)
{
	fl_buf_printf(b, "%s %s HTTP/1.1\r\nHost: %s\r\n", call->method, call->target,
		      call->host ? call->host : call->origin->authority);
	for (const char *name = call->fields; name < call->fields_end;) {
		const char *value = name + strlen(name) + 1;
		fl_buf_puts(b, name);
		fl_buf_append(b, ": ", 2);
		fl_buf_puts(b, value);
		fl_buf_append(b, "\r\n", 2);
		name = value + strlen(value) + 1;
	}
	if (call->says_length)
		fl_buf_printf(b, "Content-Length: %zu\r\n", call->out_len);
	if (call->fresh)
		fl_buf_puts(b, "Connection: close\r\n");
	fl_buf_append(b, "\r\n", 2);
}

static int h1_start(struct fl_link *l, struct fl_http_call *call)
{
	struct h1 *h = h1_of(l);
	llhttp_init(&h->parser, HTTP_RESPONSE, &settings);
	h->parser.data = l;
	h->call = call;
	h->over = h->keep_alive = false;
	h->head.len = 0;
	put_head(&h->head, call);
	fl_link_read(l, !call->paused);
	return 0;
}

static void h1_drain(struct fl_link *l)
{
	struct h1 *h = h1_of(l);
	struct fl_http_call *call = h->call;
	if (!call)
		return;
	if (h->head.len) {
		fl_link_put(l, h->head.data, h->head.len);
		h->head.len = 0;
		call->sent = true;
	}
	size_t room = fl_link_room(l), n = call->out_len - call->out_at;
	n = n < room ? n : room;
	if (n)
		fl_link_put(l, call->out + call->out_at, n);
	call->out_at += n;
}

static bool h1_drop(struct fl_link *l, struct fl_http_call *call)
{
	struct h1 *h = h1_of(l);
	h->call = NULL;
	bool goes_on = h->over && h->keep_alive && !h->head.len && call->out_at == call->out_len;
	h->head.len = 0;
	if (goes_on)
		fl_link_read(l, true);
	return goes_on;
}

// Back-pressure is TCP's.
static void h1_taken(struct fl_link *l, struct fl_http_call *call, size_t n)
{
	fl_link_read(l, true);
}

static void h1_paused(struct fl_link *l, struct fl_http_call *call)
{
	fl_link_read(l, false);
}

static bool h1_has_room(struct fl_link *l)
{
	return !h1_of(l)->call;
}

static int h1_open(struct fl_link *l)
{
	l->codec_data = FL_NEW(struct h1);
	return 0;
}

static void h1_close(struct fl_link *l)
{
	struct h1 *h = h1_of(l);
	if (!h)
		return;
	fl_buf_deinit(&h->head);
	free(h);
}

const struct fl_link_codec fl_link_h1 = {
    .open = h1_open,
    .close = h1_close,
    .has_room = h1_has_room,
    .start = h1_start,
    .drop = h1_drop,
    .input = h1_input,
    .eof = h1_eof,
    .drain = h1_drain,
    .taken = h1_taken,
    .paused = h1_paused,
};
