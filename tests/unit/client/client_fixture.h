// SPDX-License-Identifier: Apache-2.0
// A scripted API server on loopback, on the test's own loop: each request is written down and answered by the test's
// `serve`. Tests wait on conditions by turning the loop; a watchdog ends a test whose condition never comes.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <uv.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "base/str.h"
#include "client/client.h"
#include "io/http_server.h"

#define MAX_SEEN 64

struct seen {
	char *line; // "GET /path?query"
	char *body;
	char *type, *accept;
};

struct fixture {
	uv_loop_t loop;
	uv_timer_t watchdog;
	struct fl_http_server *server;
	struct fl_client *client;
	uint16_t port;
	bool stopped;
	void (*serve)(struct fixture *f, struct fl_http_req *r, const char *line);
	struct seen seen[MAX_SEEN];
	unsigned n_seen;
	struct fl_http_req *stream; // a watch that the test keeps open
	unsigned n_streams;
	void *arg;
};

static inline void watchdog_barks(uv_timer_t *t)
{
	fprintf(stderr, "the condition a test waits for did not come\n");
	abort();
}

#define wait_for(f, condition)                                                                                         \
	while (!(condition))                                                                                           \
	uv_run(&(f)->loop, UV_RUN_ONCE)

static inline void on_stream_close(struct fl_http_req *r, void *arg, bool gone)
{
	struct fixture *f = arg;
	if (f->stream == r)
		f->stream = NULL;
}

static inline void handle(struct fl_http_req *r, void *arg)
{
	struct fixture *f = arg;
	size_t len;
	const char *body = fl_http_body(r, &len), *type = fl_http_header(r, "content-type"),
		   *accept = fl_http_header(r, "accept");
	assert_true(f->n_seen < MAX_SEEN);
	struct seen *s = &f->seen[f->n_seen++];
	s->line = fl_asprintf("%s %s%s%s", fl_http_method(r), fl_http_path(r), fl_http_query(r)[0] ? "?" : "",
			      fl_http_query(r));
	s->body = fl_strndup(body ? body : "", len);
	s->type = fl_strdup(type ? type : "");
	s->accept = fl_strdup(accept ? accept : "");
	f->serve(f, r, s->line);
}

static inline void respond(struct fl_http_req *r, int status, const char *json)
{
	fl_http_respond(r, status, "application/json", json, strlen(json));
}

static inline void keep_stream(struct fixture *f, struct fl_http_req *r)
{
	fl_http_on_close(r, on_stream_close, f);
	fl_http_start(r, 200, "application/json");
	f->stream = r;
	f->n_streams++;
}

static inline void send_text(struct fixture *f, const char *text)
{
	struct fl_bytes *b = fl_bytes_new(text, strlen(text));
	fl_http_write(f->stream, b);
	fl_bytes_put(&b);
}

static inline void start_server(struct fixture *f)
{
	struct fl_err err = {0};
	struct fl_ip ip;
	struct fl_http_server_opts opts = {.handler = handle, .arg = f, .server_name = "test"};
	assert_true(fl_ip_parse("127.0.0.1", &ip));
	assert_int_equal(fl_http_server_new(&f->loop, &opts, &f->server, &err), 0);
	if (fl_http_server_listen(f->server, &ip, f->port, &f->port, &err) < 0)
		fail_msg("%s", err.text);
}

static inline void server_stopped(void *arg)
{
	((struct fixture *)arg)->stopped = true;
}

static inline void stop_server(struct fixture *f)
{
	f->stopped = false;
	fl_http_server_stop(f->server, 0, server_stopped, f);
	wait_for(f, f->stopped);
	fl_http_server_free(&f->server);
}

static inline void setup(struct fixture *f, void (*serve)(struct fixture *, struct fl_http_req *, const char *))
{
	struct fl_err err = {0};
	*f = (struct fixture){.serve = serve};
	uv_loop_init(&f->loop);
	uv_timer_init(&f->loop, &f->watchdog);
	uv_timer_start(&f->watchdog, watchdog_barks, 60000, 0);
	uv_unref((uv_handle_t *)&f->watchdog);
	start_server(f);
	AUTO_FREE char *url = fl_asprintf("http://127.0.0.1:%u/", f->port);
	struct fl_kubeconfig cfg = {.server = url};
	if (fl_client_new(&f->loop, &cfg, "fairlead-test", &f->client, &err) < 0)
		fail_msg("%s", err.text);
}

static inline void teardown(struct fixture *f)
{
	fl_client_free(&f->client);
	if (f->server)
		stop_server(f);
	uv_close((uv_handle_t *)&f->watchdog, NULL);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0); // nothing was left behind
	for (unsigned i = 0; i < f->n_seen; i++) {
		free(f->seen[i].line);
		free(f->seen[i].body);
		free(f->seen[i].type);
		free(f->seen[i].accept);
	}
}
