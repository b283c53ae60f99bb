// SPDX-License-Identifier: Apache-2.0
// HTTP/2 as a client speaks it (RFC 9113), on nghttp2: each call a stream.
//
// Windows: what arrives is given back to the connection's window at once and to the stream's window when the user has
// taken it. So a call that is paused is stopped by its own window and holds up no other; it keeps at most a window's
// worth of bytes.
//
// A stream that the server has refused, or that GOAWAY says it has not looked at, is started again elsewhere. A call
// that is cancelled is reset at once.
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "io/http/client.h"

#define STREAM_WINDOW (2 * 1024 * 1024)
#define LINK_WINDOW   (16 * 1024 * 1024)
#define FIELDS_MAX    64 // of a request
#define MIN_ROOM      256

static nghttp2_session_callbacks *callbacks;
static nghttp2_option *option;

static nghttp2_session *session_of(const struct fl_link *l)
{
	return l->codec_data;
}

static struct fl_http_call *call_of(const struct fl_link *l, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session_of(l), id);
}

// --- receiving: the call may be gone after each fl_call_... ---

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct fl_http_call *call = call_of(arg, frame->hd.stream_id);
	if (call)
		fl_call_block_begins(call);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	struct fl_http_call *call = call_of(arg, frame->hd.stream_id);
	if (!call)
		return 0;
	if (name[0] == ':') { // :status, as nghttp2 has checked: three digits
		call->status = (value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0');
		return 0;
	}
	return fl_call_field(call, (const char *)name, name_len, (const char *)value, value_len)
		   ? 0
		   : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct fl_link *l = arg;
	if (frame->hd.type == NGHTTP2_GOAWAY)
		l->draining = true;
	if (frame->hd.type == NGHTTP2_GOAWAY || frame->hd.type == NGHTTP2_SETTINGS) {
		if (TAILQ_FIRST(&l->origin->waiting)) // no room will come here, or more has come
			fl_origin_mark(l->origin);
		return 0;
	}
	struct fl_http_call *call = call_of(l, frame->hd.stream_id);
	if (!call)
		return 0;
	if (frame->hd.type == NGHTTP2_RST_STREAM)
		call->reset = true;
	if (frame->hd.type == NGHTTP2_HEADERS && !call->final && call->status >= 200)
		fl_call_fields_end(call);
	bool carries = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
	if (carries && frame->hd.flags & NGHTTP2_FLAG_END_STREAM && call->final)
		fl_call_end(call);
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
	struct fl_http_call *call = call_of(arg, id);
	nghttp2_session_consume_connection(session, n);
	if (!call || fl_call_data(call, (const char *)p, n))
		nghttp2_session_consume_stream(session, id, n);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
	struct fl_link *l = arg;
	struct fl_http_call *call = call_of(l, id);
	if (!call)
		return 0;
	call->stream_id = 0;
	if ((code == NGHTTP2_REFUSED_STREAM || !call->sent) && !call->answered)
		fl_call_again(call);
	else if (call->reset)
		fl_call_fail(call, -ECONNRESET, "the server cut the response short (%s)", nghttp2_http2_strerror(code));
	else
		fl_call_fail(call, -EPROTO, "the server's answer is not understood: %s", nghttp2_http2_strerror(code));
	return 0;
}

static int h2_input(struct fl_link *l, const char *p, size_t n, const char **why)
{
	nghttp2_session *s = session_of(l);
	ssize_t rc = nghttp2_session_mem_recv(s, (const uint8_t *)p, n);
	fl_link_mark_dirty(l); // acknowledgements, windows
	if (rc < 0) {
		*why = nghttp2_strerror((int)rc);
		return -EPROTO;
	}
	if (!nghttp2_session_want_read(s) && !nghttp2_session_want_write(s)) {
		*why = "the connection is over";
		return -EPROTO;
	}
	if (l->draining && !l->n_calls)
		fl_link_close(l);
	return 0;
}

static void h2_eof(struct fl_link *l, bool clean)
{
}

static void h2_taken(struct fl_link *l, struct fl_http_call *call, size_t n)
{
	if (!n || !call->stream_id)
		return;
	nghttp2_session_consume_stream(session_of(l), call->stream_id, n);
	fl_link_mark_dirty(l);
}

static void h2_paused(struct fl_link *l, struct fl_http_call *call)
{
}

// --- sending ---

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length, uint32_t *flags,
			 nghttp2_data_source *source, void *arg)
{
	struct fl_http_call *call = call_of(arg, id);
	if (!call) // gone; its reset is on the way
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	size_t n = call->out_len - call->out_at;
	n = n < length ? n : length;
	memcpy(buf, call->out + call->out_at, n);
	call->out_at += n;
	if (call->out_at == call->out_len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct fl_http_call *call = frame->hd.type == NGHTTP2_HEADERS ? call_of(arg, frame->hd.stream_id) : NULL;
	if (call)
		call->sent = true;
	return 0;
}

static void h2_drain(struct fl_link *l)
{
	nghttp2_session *s = session_of(l);
	while (fl_link_room(l) >= MIN_ROOM) {
		const uint8_t *p;
		ssize_t n = nghttp2_session_mem_send(s, &p);
		if (n <= 0)
			break; // what is wrong shows below, or in the next input
		fl_link_put(l, p, (size_t)n);
	}
	// GOAWAY has been said to a server that breaks the rules.
	if (!l->closing && !nghttp2_session_want_read(s) && !nghttp2_session_want_write(s))
		fl_link_lost(l, -EPROTO, "the server's answer is not understood: it breaks the rules of HTTP/2");
}

static nghttp2_nv field(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

// RFC 9113, 8.2.2: fields that speak of the connection do not travel.
static bool is_of_connection(const char *name)
{
	static const char *const names[] = {"connection", "keep-alive", "proxy-connection", "upgrade"};
	for (size_t i = 0; i < FL_COUNT(names); i++)
		if (strcasecmp(name, names[i]) == 0)
			return true;
	return false;
}

static int h2_start(struct fl_link *l, struct fl_http_call *call)
{
	nghttp2_nv nv[FIELDS_MAX + 5];
	char length[24];
	size_t n = 0;
	nv[n++] = field(":method", call->method);
	nv[n++] = field(":scheme", l->origin->tls ? "https" : "http");
	nv[n++] = field(":authority", call->host ? call->host : call->origin->authority);
	nv[n++] = field(":path", call->target);
	for (const char *name = call->fields; name < call->fields_end;) {
		const char *value = name + strlen(name) + 1;
		if (n == FL_COUNT(nv) - 1)
			return -EMSGSIZE;
		if (!is_of_connection(name))
			nv[n++] = field(name, value); // nghttp2 lowers the name
		name = value + strlen(value) + 1;
	}
	if (call->says_length) {
		snprintf(length, sizeof(length), "%zu", call->out_len);
		nv[n++] = field("content-length", length);
	}
	const nghttp2_data_provider body = {.read_callback = read_body};
	call->stream_id = nghttp2_submit_request(session_of(l), NULL, nv, n, call->out_len ? &body : NULL, call);
	return call->stream_id < 0 ? -EPROTO : 0;
}

static bool h2_drop(struct fl_link *l, struct fl_http_call *call)
{
	nghttp2_session *s = session_of(l);
	if (call->stream_id <= 0)
		return true;
	nghttp2_session_set_stream_user_data(s, call->stream_id, NULL);
	// Complete, and all sent: the stream closes by itself. An early answer needs no more of the request.
	bool all_sent = call->sent && call->out_at == call->out_len;
	if (!call->complete || !all_sent)
		nghttp2_submit_rst_stream(s, NGHTTP2_FLAG_NONE, call->stream_id,
					  call->complete ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
	call->stream_id = 0;
	fl_link_mark_dirty(l);
	return true;
}

static bool h2_has_room(struct fl_link *l)
{
	nghttp2_session *s = session_of(l);
	if (!nghttp2_session_check_request_allowed(s)) // out of stream numbers, after 2^30 calls
		l->draining = true;
	return !l->draining &&
	       l->n_calls < nghttp2_session_get_remote_settings(s, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

// --- opening ---

static void make_callbacks(void)
{
	if (nghttp2_session_callbacks_new(&callbacks) || nghttp2_option_new(&option))
		return;
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
	nghttp2_option_set_no_auto_window_update(option, 1);
}

static int h2_open(struct fl_link *l)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, make_callbacks);
	nghttp2_session *s = NULL;
	if (!option || nghttp2_session_client_new2(&s, callbacks, l, option) != 0)
		return -ENOMEM;
	l->codec_data = s;
	const nghttp2_settings_entry entries[] = {
	    {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
	    {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
	    {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, FL_MAX_HEADER_BYTES},
	    {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
	};
	if (nghttp2_submit_settings(s, NGHTTP2_FLAG_NONE, entries, FL_COUNT(entries)) != 0 ||
	    nghttp2_session_set_local_window_size(s, NGHTTP2_FLAG_NONE, 0, LINK_WINDOW) != 0) {
		nghttp2_session_del(s);
		l->codec_data = NULL;
		return -ENOMEM;
	}
	return 0;
}

static void h2_close(struct fl_link *l)
{
	nghttp2_session_del(session_of(l));
}

const struct fl_link_codec fl_link_h2 = {
    .open = h2_open,
    .close = h2_close,
    .has_room = h2_has_room,
    .start = h2_start,
    .drop = h2_drop,
    .input = h2_input,
    .eof = h2_eof,
    .drain = h2_drain,
    .taken = h2_taken,
    .paused = h2_paused,
};
