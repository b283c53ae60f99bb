// SPDX-License-Identifier: Apache-2.0
// A gRPC server with the health service, for tests: HTTP/2 without TLS by nghttp2 on a libuv loop. It knows the server
// as a whole and the service "db"; what they answer is set by the test.
#pragma once

#include <nghttp2/nghttp2.h>
#include <string.h>
#include <uv.h>

#include "base/mem.h"
#include "base/str.h"

struct grpc_server {
	uv_tcp_t listener;
	uint16_t port;
	int status;               // HealthCheckResponse.ServingStatus of the server as a whole
	int db_status;            // of the service "db"
	bool silent;              // answers nothing
	bool unimplemented;       // has no such service
	char path[128], type[64]; // of the last request
	unsigned n_requests;
};

struct grpc_conn {
	uv_tcp_t tcp;
	struct grpc_server *s;
	nghttp2_session *session;
	struct fl_buf body; // of the one request that a probe makes
	char in[16384];
	uint8_t answer[8];
	size_t answer_len, answer_at;
	const char *grpc_status;
};

static inline void grpc_closed(uv_handle_t *h)
{
	struct grpc_conn *c = h->data;

	nghttp2_session_del(c->session);
	fl_buf_deinit(&c->body);
	free(c);
}

static inline void grpc_written(uv_write_t *w, int status)
{
	free(w);
}

static inline void grpc_flush(struct grpc_conn *c)
{
	const uint8_t *data;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(c->session, &data)) > 0) {
		char *copy = fl_malloc(sizeof(uv_write_t) + (size_t)n);
		uv_buf_t buf = uv_buf_init(copy + sizeof(uv_write_t), (unsigned)n);

		memcpy(buf.base, data, (size_t)n);
		uv_write((uv_write_t *)(void *)copy, (uv_stream_t *)&c->tcp, &buf, 1, grpc_written);
	}
}

#define GRPC_NV(name, value)                                                                                           \
	(nghttp2_nv)                                                                                                   \
	{                                                                                                              \
		(uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), strlen(name), strlen(value),              \
		    NGHTTP2_NV_FLAG_NONE                                                                               \
	}

static inline ssize_t grpc_read_answer(nghttp2_session *session, int32_t stream, uint8_t *buf, size_t room,
				       uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct grpc_conn *c = arg;
	size_t n = c->answer_len - c->answer_at;
	nghttp2_nv trailer = GRPC_NV("grpc-status", c->grpc_status);

	n = n < room ? n : room;
	memcpy(buf, c->answer + c->answer_at, n);
	c->answer_at += n;
	if (c->answer_at == c->answer_len) {
		*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
		nghttp2_submit_trailer(session, stream, &trailer, 1);
	}
	return (ssize_t)n;
}

static inline void grpc_answer(struct grpc_conn *c, int32_t stream)
{
	// 00 len32 [0a n name]
	const char *name = c->body.len > 7 ? c->body.data + 7 : "";
	size_t n = c->body.len > 7 ? c->body.len - 7 : 0;
	bool db = n == 2 && memcmp(name, "db", 2) == 0;
	nghttp2_nv head[] = {GRPC_NV(":status", "200"), GRPC_NV("content-type", "application/grpc")};
	nghttp2_nv refusal[] = {GRPC_NV(":status", "200"), GRPC_NV("content-type", "application/grpc"),
				GRPC_NV("grpc-status", c->s->unimplemented ? "12" : "5"),
				GRPC_NV("grpc-message", c->s->unimplemented ? "unknown service" : "unknown%20service")};
	nghttp2_data_provider data = {.read_callback = grpc_read_answer};
	uint8_t status = (uint8_t)(db ? c->s->db_status : c->s->status);

	c->s->n_requests++;
	if (c->s->silent)
		return;
	if (c->s->unimplemented || (n && !db)) {
		nghttp2_submit_response(c->session, stream, refusal, 4, NULL); // trailers only
		return;
	}
	memcpy(c->answer, (uint8_t[]){0, 0, 0, 0, 2, 0x08, status}, 7);
	c->answer_len = 7;
	c->answer_at = 0;
	c->grpc_status = "0";
	nghttp2_submit_response(c->session, stream, head, 2, &data);
}

static inline int grpc_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
				 size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	struct grpc_conn *c = arg;

	if (name_len == 5 && memcmp(name, ":path", 5) == 0)
		snprintf(c->s->path, sizeof(c->s->path), "%.*s", (int)value_len, (const char *)value);
	if (name_len == 12 && memcmp(name, "content-type", 12) == 0)
		snprintf(c->s->type, sizeof(c->s->type), "%.*s", (int)value_len, (const char *)value);
	return 0;
}

static inline int grpc_on_chunk(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t n,
				void *arg)
{
	struct grpc_conn *c = arg;

	fl_buf_append(&c->body, data, n);
	return 0;
}

static inline int grpc_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
	    frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		grpc_answer(arg, frame->hd.stream_id);
	return 0;
}

static inline void grpc_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
	struct grpc_conn *c = h->data;

	*buf = uv_buf_init(c->in, sizeof(c->in));
}

static inline void grpc_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct grpc_conn *c = stream->data;

	if (n < 0 || nghttp2_session_mem_recv(c->session, (const uint8_t *)buf->base, (size_t)n) < 0) {
		if (!uv_is_closing((uv_handle_t *)stream))
			uv_close((uv_handle_t *)stream, grpc_closed);
		return;
	}
	grpc_flush(c);
}

static inline void grpc_accept(uv_stream_t *listener, int status)
{
	struct grpc_conn *c = FL_NEW(struct grpc_conn);
	nghttp2_session_callbacks *cb;

	c->s = listener->data;
	uv_tcp_init(listener->loop, &c->tcp);
	c->tcp.data = c;
	nghttp2_session_callbacks_new(&cb);
	nghttp2_session_callbacks_set_on_header_callback(cb, grpc_on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, grpc_on_chunk);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, grpc_on_frame);
	nghttp2_session_server_new(&c->session, cb, c);
	nghttp2_session_callbacks_del(cb);
	nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, NULL, 0);
	uv_accept(listener, (uv_stream_t *)&c->tcp);
	uv_read_start((uv_stream_t *)&c->tcp, grpc_alloc, grpc_read);
	grpc_flush(c);
}

static inline void grpc_server_start(struct grpc_server *s, uv_loop_t *loop)
{
	struct sockaddr_in sa;
	int len = sizeof(sa);

	uv_ip4_addr("127.0.0.1", 0, &sa);
	uv_tcp_init(loop, &s->listener);
	s->listener.data = s;
	uv_tcp_bind(&s->listener, (struct sockaddr *)&sa, 0);
	uv_listen((uv_stream_t *)&s->listener, 16, grpc_accept);
	uv_tcp_getsockname(&s->listener, (struct sockaddr *)&sa, &len);
	s->port = ntohs(sa.sin_port);
}
