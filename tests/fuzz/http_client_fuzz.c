// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: what a server sends to the client's two codecs, on a connection without a socket. The first byte
// chooses the protocol and what the callbacks do, the second how the rest is cut into reads.
//
// Held: a call ends at most once and not after it was cancelled, with a status or an error; no data comes while it is
// paused; nothing is leaked, and what the client says over HTTP/2 is whole frames.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "io/http/client.h"

#define MODE_H2     1
#define MODE_GREET  2 // h2: the server's settings come first
#define MODE_PAUSE  4
#define MODE_CANCEL 8
#define MODE_EOF    16
#define MODE_FREE   32 // the client, from within on_data
#define MODE_AGAIN  64 // a call more when one has ended

#define N_CALLS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run;
struct one {
	struct run *run;
	struct fl_http_call *call;
	bool paused, cancelled, done;
};

struct run {
	unsigned mode;
	uv_loop_t loop;
	struct fl_http_client *c;
	struct one calls[N_CALLS + 1];
};

static void start(struct run *x, unsigned i);

static void on_data(void *arg, int status, const char *data, size_t n)
{
	struct one *o = arg;
	CHECK(!o->done && !o->cancelled && !o->paused && o->run->c);
	CHECK(status >= 200 && status <= 999);
	const char *type = fl_http_call_header(o->call, "content-type");
	CHECK(!type || strlen(type) <= FL_MAX_HEADER_BYTES);
	if (o->run->mode & MODE_PAUSE) {
		o->paused = true;
		fl_http_call_pause(o->call, true);
	}
	if (o->run->mode & MODE_CANCEL) {
		o->cancelled = true;
		fl_http_call_cancel(&o->call);
	}
	if (o->run->mode & MODE_FREE)
		fl_http_client_free(&o->run->c);
}

static void on_done(void *arg, int rc, int status, const char *body, size_t n, const struct fl_err *err)
{
	struct one *o = arg;
	CHECK(!o->done && !o->cancelled && o->run->c);
	CHECK(rc <= 0 && body[n] == '\0' && (rc == 0 ? status >= 200 && status <= 999 : err->text[0] != '\0'));
	o->done = true;
	fl_http_call_header(o->call, "x");
	o->call = NULL;
	if (o->run->mode & MODE_AGAIN && !o->run->calls[N_CALLS].run)
		start(o->run, N_CALLS);
}

static void start(struct run *x, unsigned i)
{
	static const char *const methods[] = {"GET", "POST", "HEAD", "GET", "GET"};
	struct one *o = &x->calls[i];
	struct fl_http_call_opts opts = {.method = methods[i],
					 .url = "http://127.0.0.1:1/path?query",
					 .body = "some body",
					 .body_len = i == 1 ? 9 : 0,
					 .h2c = x->mode & MODE_H2,
					 .on_data = i & 1 ? on_data : NULL,
					 .on_done = on_done,
					 .arg = o};
	o->run = x;
	CHECK(fl_http_client_call(x->c, &opts, &o->call, NULL) == 0);
}

static void turn(struct run *x)
{
	for (int i = 0; i < 2; i++)
		uv_run(&x->loop, UV_RUN_NOWAIT);
}

// The link, while it is there.
static struct fl_link *link_of(const struct run *x)
{
	const struct fl_origin *o = x->c ? TAILQ_FIRST(&x->c->origins) : NULL;
	struct fl_link *l = NULL;
	if (o)
		TAILQ_FOREACH(l, &o->links, of_origin)
	if (l->detached)
		break;
	return l;
}

static void check_frames(const struct fl_buf *out)
{
	size_t at = 24;
	CHECK(out->len >= at);
	while (at < out->len) {
		const uint8_t *p = (const uint8_t *)out->data + at;
		CHECK(out->len - at >= 9);
		at += 9 + ((size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2]);
	}
	CHECK(at == out->len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char settings[] = "\0\0\0\4\0\0\0\0\0";
	struct run x = {0};
	struct fl_buf out = {0};
	const struct fl_http_client_opts opts = {.user_agent = "fuzz"};
	if (size < 2)
		return 0;
	x.mode = data[0];
	size_t step = data[1] ? data[1] : size;
	CHECK(uv_loop_init(&x.loop) == 0);
	CHECK(fl_http_client_new(&x.loop, &opts, &x.c, NULL) == 0);
	struct fl_link *l = fl_link_new_detached(x.c, "http://127.0.0.1:1", x.mode & MODE_H2, &out);
	CHECK(l);
	unsigned n = x.mode & MODE_H2 ? N_CALLS : 1; // one that waits would have a connection made
	for (unsigned i = 0; i < n; i++)
		start(&x, n == 1 && x.mode & MODE_PAUSE ? 3 : i);
	turn(&x);
	if (x.mode & MODE_H2 && x.mode & MODE_GREET)
		fl_link_feed(l, settings, sizeof(settings) - 1);
	for (size_t at = 2; at < size && (l = link_of(&x)); at += step) {
		size_t part = size - at < step ? size - at : step;
		char *copy = fl_malloc(part); // exactly: reads beyond it are seen
		memcpy(copy, data + at, part);
		fl_link_feed(l, copy, part);
		free(copy);
		for (unsigned i = 0; x.c && i <= N_CALLS; i++) {
			struct one *o = &x.calls[i];
			if (!o->call || !o->paused || o->done)
				continue;
			o->paused = false;
			fl_http_call_pause(o->call, false);
		}
	}
	if (x.mode & MODE_EOF && (l = link_of(&x)))
		fl_link_feed_eof(l);
	turn(&x);
	if (x.mode & MODE_H2)
		check_frames(&out);
	fl_http_client_free(&x.c);
	fl_buf_deinit(&out);
	uv_run(&x.loop, UV_RUN_DEFAULT);
	CHECK(uv_loop_close(&x.loop) == 0);
	return 0;
}
