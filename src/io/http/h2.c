// SPDX-License-Identifier: Apache-2.0
// HTTP/2 (RFC 9113) on nghttp2. One stream is one struct fl_http_req; its output queue feeds nghttp2's data provider,
// which is deferred while the queue is empty, and payload goes from the shared bytes straight into the batch
// (NGHTTP2_DATA_FLAG_NO_COPY).
//
// Handlers are called after a read has been parsed, never from within nghttp2: a request that its client takes back in
// the same breath (rapid reset, CVE-2023-44487) costs no handler. While more than QUEUED_MAX bytes wait for a
// connection's peer, its further requests wait too.
//
// Bounds beside nghttp2's own (header block 64 KiB, CONTINUATION frames, outgoing acknowledgements, incoming resets):
// resets that the peer makes *us* send, and known frames that carry nothing, each cost a token of a bucket that refills
// slowly; an empty bucket ends the connection with ENHANCE_YOUR_CALM.
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "io/http/conn.h"

#define WINDOW       (1024 * 1024)      // flow control of a connection and of each stream
#define DROPPED_MAX  (8 * 1024 * 1024)  // of a body after it was refused
#define QUEUED_MAX   (32 * 1024 * 1024) // unsent answers of a connection
#define TOKENS       1000               // of empty frames and forced resets: at once,
#define TOKENS_PER_S 100                // and again each second
#define MIN_ROOM     256

struct h2 {
	nghttp2_session *session;
	unsigned tokens;
	uint64_t filled_ms;
	bool shutting; // GOAWAY is queued
};

static nghttp2_session_callbacks *callbacks;
static nghttp2_option *option;

static struct h2 *h2_of(const struct fl_conn *c)
{
	return c->codec_data;
}

static struct fl_http_req *stream(const struct h2 *h, int32_t id)
{
	return nghttp2_session_get_stream_user_data(h->session, id);
}

// False: the peer has spent its allowance.
static bool spend(struct fl_conn *c)
{
	struct h2 *h = h2_of(c);
	uint64_t now = uv_now(c->server->loop);
	uint64_t more = (now - h->filled_ms) * TOKENS_PER_S / 1000;
	if (more) {
		h->tokens = h->tokens + more > TOKENS ? TOKENS : h->tokens + (unsigned)more;
		h->filled_ms = now;
	}
	if (!h->tokens)
		return false;
	h->tokens--;
	return true;
}

static int end_calmly(struct fl_conn *c)
{
	struct h2 *h = h2_of(c);
	if (!h->shutting) {
		h->shutting = true;
		nghttp2_session_terminate_session(h->session, NGHTTP2_ENHANCE_YOUR_CALM);
		fl_debug("%s: an HTTP/2 peer sends too many empty frames", c->server->opts.server_name);
	}
	return 0;
}

// --- receiving ---

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *arg)
{
	bool carries = hd->type == NGHTTP2_HEADERS || hd->type == NGHTTP2_WINDOW_UPDATE ||
		       hd->type == NGHTTP2_RST_STREAM ||
		       (hd->type == NGHTTP2_DATA && (hd->length || hd->flags & NGHTTP2_FLAG_END_STREAM));
	return carries || spend(arg) ? 0 : end_calmly(arg);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct fl_conn *c = arg;
	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	struct fl_http_req *r = fl_req_new(c);
	r->stream_id = frame->hd.stream_id;
	nghttp2_session_set_stream_user_data(session, r->stream_id, r);
	fl_conn_set_deadline(c, 0);
	r->deadline_ms = uv_now(c->server->loop) + c->server->opts.limits.header_ms;
	fl_server_arm(c->server, r->deadline_ms);
	return 0;
}

static uint32_t put_text(struct fl_http_req *r, const uint8_t *p, size_t n)
{
	uint32_t at = (uint32_t)r->text.len;
	fl_buf_append(&r->text, p, n);
	fl_buf_putc(&r->text, '\0');
	return at;
}

static void put_field(struct fl_http_req *r, const char *name, size_t name_len, const uint8_t *value, size_t value_len)
{
	struct fl_field f = {.name_len = (uint32_t)name_len, .value_len = (uint32_t)value_len};
	f.name = put_text(r, (const uint8_t *)name, name_len);
	f.value = put_text(r, value, value_len);
	fl_vec_push(&r->fields, f);
}

static bool is(const uint8_t *name, size_t n, const char *want)
{
	return n == strlen(want) && memcmp(name, want, n) == 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	struct fl_http_req *r = stream(h2_of(arg), frame->hd.stream_id);
	if (r && r->refuse && (r->dropped += name_len + value_len) > FL_MAX_HEADER_BYTES)
		return NGHTTP2_ERR_CALLBACK_FAILURE; // a few octets that name kilobytes again and again cost more than
						     // a stream
	if (!r || frame->headers.cat != NGHTTP2_HCAT_REQUEST || r->refuse || !fl_req_count(r, name_len + value_len + 2))
		return 0; // trailers are dropped; a request to be refused needs no more fields
	if (name[0] != ':') {
		put_field(r, (const char *)name, name_len, value, value_len);
	} else if (is(name, name_len, ":method")) {
		r->method_off = put_text(r, value, value_len);
		r->has_method = true;
	} else if (is(name, name_len, ":path")) {
		if (value_len > FL_MAX_URL_BYTES)
			r->refuse = 414;
		else
			r->path = put_text(r, value, value_len);
	} else if (is(name, name_len, ":authority")) {
		put_field(r, "host", 4, value, value_len); // RFC 9113, 8.3.1: stands for Host
	}
	return 0;
}

static void fields_end(struct fl_conn *c, struct fl_http_req *r, bool end_stream)
{
	struct h2 *h = h2_of(c);
	if (!r->text.len)
		fl_buf_putc(&r->text, '\0');
	r->method = r->has_method ? r->text.data + r->method_off : "";
	if (!r->refuse) {
		fl_req_target(r, r->path); // CONNECT has none: then this is any text, and refused below
		const char *length = fl_http_header(r, "content-length");
		unsigned long long n = 0;
		bool known = length && fl_parse_u64(length, &n);
		fl_req_check(r, !known ? -1 : n > INT64_MAX ? INT64_MAX : (int64_t)n);
	}
	r->deadline_ms = end_stream ? 0 : uv_now(c->server->loop) + c->server->opts.limits.body_ms;
	if (!end_stream)
		fl_server_arm(c->server, r->deadline_ms);
	if (r->refuse) {
		r->complete = end_stream;
		fl_req_refuse(r, r->refuse);
	} else if (end_stream) {
		fl_req_ready(r);
	} else if (r->expects_continue) {
		nghttp2_nv nv = {(uint8_t *)":status", (uint8_t *)"100", 7, 3, NGHTTP2_NV_FLAG_NONE};
		nghttp2_submit_headers(h->session, NGHTTP2_FLAG_NONE, r->stream_id, NULL, &nv, 1, NULL);
	}
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct fl_conn *c = arg;
	bool end_stream = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	struct fl_http_req *r = stream(h2_of(c), frame->hd.stream_id);
	if (!r || r->failed)
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		fields_end(c, r, end_stream);
	else if (end_stream && r->started)
		r->complete = true;
	else if (end_stream)
		fl_req_ready(r);
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
	struct fl_http_req *r = stream(h2_of(arg), id);
	if (!r || r->failed)
		return 0;
	if (r->started) { // refused before its end: see on_sent
		r->dropped += n;
		if (r->dropped > DROPPED_MAX)
			nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
		return 0;
	}
	if (!fl_req_body(r, (const char *)p, n))
		fl_req_refuse(r, r->refuse);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
	struct fl_http_req *r = stream(h2_of(arg), id);
	if (r && r->all_sent && code == NGHTTP2_NO_ERROR)
		fl_req_drained(r);
	else if (r && (!r->drained || code != NGHTTP2_NO_ERROR))
		fl_req_failed(r);
	return 0;
}

static int h2_input(struct fl_conn *c, const char *p, size_t n)
{
	struct h2 *h = h2_of(c);
	ssize_t rc = nghttp2_session_mem_recv(h->session, (const uint8_t *)p, n);
	if (rc < 0) { // what is left to say (GOAWAY) is queued, except for a bad preface
		fl_debug("%s: HTTP/2: %s", c->server->opts.server_name, nghttp2_strerror((int)rc));
		return -EPROTO;
	}
	if (!nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session))
		return -ECONNRESET;
	return 0;
}

static bool h2_resume(struct fl_conn *c)
{
	bool did = false;
	// As many as were here at the start: an answer in between may free nothing yet.
	for (struct fl_http_req *r; c->queued < QUEUED_MAX && (r = STAILQ_FIRST(&c->ready));) {
		STAILQ_REMOVE_HEAD(&c->ready, queued);
		r->in_ready = false;
		did = true;
		if (!r->failed)
			fl_req_dispatch(r);
		else
			fl_req_failed(r); // to `over`
		if (c->state != FL_CONN_OPEN)
			break;
	}
	return did;
}

// --- sending ---

static ssize_t read_source(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length, uint32_t *flags,
			   nghttp2_data_source *source, void *arg)
{
	struct fl_http_req *r = stream(h2_of(arg), id);
	if (!r) // freed; its reset is on the way
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	size_t n = r->q.bytes < length ? r->q.bytes : length;
	if (!n && !r->ended) {
		r->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	if (n)
		*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (r->ended && n == r->q.bytes)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t n,
		     nghttp2_data_source *source, void *arg)
{
	struct fl_conn *c = arg;
	struct fl_http_req *r = stream(h2_of(c), frame->hd.stream_id);
	if (fl_conn_room(c) < MIN_ROOM)
		return NGHTTP2_ERR_WOULDBLOCK;
	if (!r || r->q.bytes < n) // cut since the frame was made
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	fl_conn_put(c, head, 9);
	for (struct fl_piece *p; n && (p = fl_outq_first(&r->q));) {
		size_t part = p->bytes->len - p->off < n ? p->bytes->len - p->off : n;
		fl_conn_put(c, p->bytes->data + p->off, part);
		fl_req_consume(r, part);
		n -= part;
	}
	return 0;
}

static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct fl_conn *c = arg;
	if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR && !spend(c))
		return end_calmly(c);
	bool data = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
	if (!data || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	struct fl_http_req *r = stream(h2_of(c), frame->hd.stream_id);
	if (!r || r->drained)
		return 0;
	// An answer before the request's end. RFC 9113, 8.1 would have us reset the stream now, but clients (curl) then
	// drop the answer; so a part of the rest is read and dropped first.
	if (r->complete)
		fl_req_drained(r);
	else
		r->all_sent = true;
	return 0;
}

static void h2_drain(struct fl_conn *c)
{
	struct h2 *h = h2_of(c);
	while (fl_conn_room(c) >= MIN_ROOM) {
		const uint8_t *p;
		ssize_t n = nghttp2_session_mem_send(h->session, &p);
		if (n < 0) {
			fl_conn_kill(c, false);
			return;
		}
		if (n == 0)
			break;
		fl_conn_put(c, p, (size_t)n);
	}
	if (!nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session))
		fl_conn_close(c);
}

static nghttp2_nv field(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static void h2_head(struct fl_http_req *r, int status, const char *type, int64_t length, const void *copy, size_t n)
{
	struct h2 *h = h2_of(r->conn);
	FL_VEC(nghttp2_nv) nv = {0};
	char code[8], size[24];
	snprintf(code, sizeof(code), "%d", status);
	snprintf(size, sizeof(size), "%lld", (long long)length);
	fl_vec_push(&nv, field(":status", code));
	fl_vec_push(&nv, field("date", fl_server_date(r->conn->server)));
	if (type)
		fl_vec_push(&nv, field("content-type", type));
	if (length >= 0)
		fl_vec_push(&nv, field("content-length", size));
	for (size_t i = 0; i < r->out_fields.len;) {
		const char *name = r->out_fields.data + i, *value = name + strlen(name) + 1;
		fl_vec_push(&nv, field(name, value));
		i = (size_t)(value + strlen(value) + 1 - r->out_fields.data);
	}
	if (n) {
		struct fl_bytes *b = fl_bytes_new(copy, n);
		fl_req_push(r, b, true);
		fl_bytes_put(&b);
	}
	nghttp2_data_provider source = {.read_callback = read_source};
	// Without a body END_STREAM goes with the fields. A streamed answer to HEAD has none either, but ends with End.
	bool body = !r->is_head && length != 0 && (length > 0 || r->streaming);
	int rc = nghttp2_submit_response(h->session, r->stream_id, nv.v, nv.n, body ? &source : NULL);
	fl_vec_deinit(&nv);
	if (rc < 0)
		nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, r->stream_id, NGHTTP2_INTERNAL_ERROR);
}

static void h2_more(struct fl_http_req *r)
{
	if (r->deferred && (r->q.bytes || r->ended)) {
		r->deferred = false;
		nghttp2_session_resume_data(h2_of(r->conn)->session, r->stream_id);
	}
	fl_conn_mark_dirty(r->conn);
}

static void h2_abort(struct fl_http_req *r)
{
	struct h2 *h = h2_of(r->conn);
	if (!r->method && !h->shutting) { // within its header block, which no other frame may interrupt
		h->shutting = true;
		nghttp2_session_terminate_session(h->session, NGHTTP2_ENHANCE_YOUR_CALM);
	}
	nghttp2_submit_rst_stream(h2_of(r->conn)->session, NGHTTP2_FLAG_NONE, r->stream_id, NGHTTP2_INTERNAL_ERROR);
	fl_req_failed(r);
	fl_conn_mark_dirty(r->conn);
}

static void h2_over(struct fl_http_req *r)
{
	struct fl_conn *c = r->conn;
	struct h2 *h = h2_of(c);
	if (stream(h, r->stream_id) == r)
		nghttp2_session_set_stream_user_data(h->session, r->stream_id, NULL);
	if (c->n_reqs > 1)
		return;
	if (h->shutting)
		fl_conn_close(c);
	else
		fl_conn_set_deadline(c, c->server->opts.limits.idle_ms);
}

static void h2_shutdown(struct fl_conn *c)
{
	struct h2 *h = h2_of(c);
	if (!h->shutting) {
		h->shutting = true;
		nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
				      nghttp2_session_get_last_proc_stream_id(h->session), NGHTTP2_NO_ERROR, NULL, 0);
	}
	if (!c->n_reqs)
		fl_conn_close(c);
}

static bool h2_eof(struct fl_conn *c)
{
	return false; // both directions are needed: a peer that cannot send cannot open a window
}

// --- opening ---

static void make_callbacks(void)
{
	if (nghttp2_session_callbacks_new(&callbacks) || nghttp2_option_new(&option))
		return;
	nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
	nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
	nghttp2_option_set_no_closed_streams(option, 1);
}

static int h2_open(struct fl_conn *c)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, make_callbacks);
	struct h2 *h = FL_NEW(struct h2);
	if (!option || nghttp2_session_server_new2(&h->session, callbacks, c, option) != 0) {
		free(h);
		return -ENOMEM;
	}
	h->tokens = TOKENS;
	h->filled_ms = uv_now(c->server->loop);
	c->codec_data = h;
	const nghttp2_settings_entry entries[] = {
	    {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, c->server->opts.limits.max_streams},
	    {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW},
	    {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, FL_MAX_HEADER_BYTES},
	    {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
	};
	if (nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, entries, FL_COUNT(entries)) != 0 ||
	    nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, WINDOW) != 0)
		return -EPROTO;
	return 0;
}

static void h2_close(struct fl_conn *c)
{
	struct h2 *h = h2_of(c);
	if (!h)
		return;
	nghttp2_session_del(h->session);
	free(h);
}

const struct fl_codec fl_codec_h2 = {
    .name = "h2",
    .open = h2_open,
    .close = h2_close,
    .input = h2_input,
    .resume = h2_resume,
    .drain = h2_drain,
    .over = h2_over,
    .head = h2_head,
    .more = h2_more,
    .abort = h2_abort,
    .shutdown = h2_shutdown,
    .eof = h2_eof,
};
