// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: what a peer sends to the two HTTP codecs, without a socket. The first byte chooses the protocol and
// what the handler does, the second how the rest is cut into reads.
//
// Held: every request that reached the handler is closed exactly once, nothing is held or leaked afterwards, and what
// the server says is framed: whole HTTP/2 frames, or HTTP/1 responses.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "io/http/conn.h"

#define MODE_H2      1
#define MODE_PREFACE 2 // h2: sent for the input
#define MODE_LATER   4 // handlers answer after all input
#define MODE_STREAM  8
#define MODE_ABORT   16
#define MODE_SMALL   32 // limits

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
	unsigned mode, handled, closed;
	FL_VEC(struct fl_http_req *) open;
};

static void on_close(struct fl_http_req *r, void *arg, bool gone)
{
	struct run *x = arg;
	x->closed++;
	for (size_t i = 0; i < x->open.n; i++)
		if (x->open.v[i] == r)
			x->open.v[i] = NULL;
}

static void answer(struct run *x, struct fl_http_req *r)
{
	if (x->mode & MODE_ABORT) {
		fl_http_abort(r);
	} else if (x->mode & MODE_STREAM) {
		struct fl_bytes *b = fl_bytes_new("event\n", 6);
		fl_http_start(r, 200, "application/json");
		fl_http_write(r, b);
		fl_http_write(r, b);
		fl_bytes_put(&b);
		fl_http_end(r);
	} else {
		size_t n;
		const char *body = fl_http_body(r, &n);
		fl_http_set_header(r, "X-Query", fl_http_query(r));
		fl_http_respond(r, 200, fl_http_header(r, "content-type"), body, n);
	}
}

static void handle(struct fl_http_req *r, void *arg)
{
	struct run *x = arg;
	size_t n;
	x->handled++;
	CHECK(fl_http_method(r)[0] && (fl_http_path(r)[0] == '/' || strcmp(fl_http_path(r), "*") == 0));
	CHECK(strlen(fl_http_path(r)) + strlen(fl_http_query(r)) <= FL_MAX_URL_BYTES);
	CHECK(fl_http_body(r, &n)[n] == '\0' && n <= r->conn->server->opts.limits.max_body_bytes);
	const char *all = fl_http_header_all(r, "accept"), *first = fl_http_header(r, "accept");
	CHECK(!all == !first && (!all || strncmp(all, first, strlen(first)) == 0));
	fl_http_on_close(r, on_close, x);
	fl_vec_push(&x->open, r);
	if (!(x->mode & MODE_LATER))
		answer(x, r);
}

static void check_frames(const struct fl_buf *out)
{
	size_t at = 0;
	while (at < out->len) {
		CHECK(out->len - at >= 9);
		const uint8_t *p = (const uint8_t *)out->data + at;
		at += 9 + ((size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2]);
	}
	CHECK(at == out->len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uv_loop_t loop;
	static bool ready;
	if (!ready)
		uv_loop_init(&loop);
	ready = true;
	if (size < 2)
		return 0;
	struct run x = {.mode = data[0]};
	size_t step = data[1] ? data[1] : SIZE_MAX;
	data += 2;
	size -= 2;

	struct fl_http_server *s = NULL;
	struct fl_http_server_opts o = {.handler = handle, .arg = &x, .server_name = "fuzz"};
	if (x.mode & MODE_SMALL)
		o.limits = (struct fl_http_limits){.max_streams = 3, .max_body_bytes = 64, .max_held_bytes = 2048};
	if (fl_http_server_new(&loop, &o, &s, NULL) < 0)
		abort();
	struct fl_buf out = {0};
	bool h2 = x.mode & MODE_H2;
	struct fl_conn *c = fl_conn_new_detached(s, h2 ? &fl_codec_h2 : &fl_codec_h1, &out);
	if (h2 && x.mode & MODE_PREFACE) {
		static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
		fl_conn_feed(c, preface, sizeof(preface)); // with the last byte of the SETTINGS frame's head
	}
	while (size) {
		size_t n = size < step ? size : step;
		fl_conn_feed(c, (const char *)data, n);
		fl_conn_run(c);
		data += n;
		size -= n;
	}
	for (size_t i = 0; i < x.open.n && x.mode & MODE_LATER; i++)
		if (x.open.v[i])
			answer(&x, x.open.v[i]);
	fl_conn_run(c);
	if (h2)
		check_frames(&out);
	else
		CHECK(!out.len || strncmp(out.data, "HTTP/1.1 ", 9) == 0);
	fl_conn_free_detached(c);
	CHECK(x.handled == x.closed);
	CHECK(s->held == 0 && s->n_conns == 0 && TAILQ_EMPTY(&s->dirty));
	fl_http_server_free(&s);
	fl_buf_deinit(&out);
	fl_vec_deinit(&x.open);
	return 0;
}
