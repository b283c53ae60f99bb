// SPDX-License-Identifier: Apache-2.0
// The HTTPS endpoint of the node. A log that is followed is looked at ten times a second: that is soon enough for a
// person and needs no watch per file.
#include "node/kubelet.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/mem.h"
#include "io/http_server.h"
#include "node/logs.h"

#define FOLLOW_MS   100
#define UNSENT_HIGH (512 * 1024) // no more is read from the file while that much waits for the client

struct fl_kubelet {
	struct fl_http_server *server;
	struct fl_kubelet_opts o;
	void (*done)(void *arg);
	void *done_arg;
};

// Plain text, as a kubelet's: the API server makes a Status of it.
static void respond_error(struct fl_http_req *r, int code, const char *message)
{
	fl_http_respond(r, code, "text/plain; charset=utf-8", message, strlen(message));
}

static bool is_allowed(const struct fl_http_req *r)
{
	const struct fl_tls_identity *id = fl_http_identity(r);

	if (!id || !id->user)
		return false;
	if (strcmp(id->user, "kube-apiserver") == 0)
		return true;
	for (unsigned i = 0; i < id->n_groups; i++) {
		if (strcmp(id->groups[i], "system:masters") == 0)
			return true;
	}
	return false;
}

// --- a log on its way ---

struct stream {
	const struct fl_pods *pods;
	struct fl_http_req *req; // NULL: ended
	struct fl_logs *logs;
	uv_timer_t timer;
	bool follow, previous, closing;
	char *ns, *pod, *container, *path;
};

static void on_timer_closed(uv_handle_t *handle)
{
	struct stream *s = handle->data;

	fl_logs_free(&s->logs);
	free(s->ns);
	free(s->pod);
	free(s->container);
	free(s->path);
	free(s);
}

static void stream_close(struct stream *s)
{
	s->req = NULL;
	if (!s->closing)
		uv_close((uv_handle_t *)&s->timer, on_timer_closed);
	s->closing = true;
}

static void on_request_closed(struct fl_http_req *req, void *arg, bool gone)
{
	stream_close(arg);
}

// Whether the run whose log this is may still write: the pod's newest run has this very file.
static bool still_runs(const struct stream *s)
{
	struct fl_pods_log now = {0};
	bool running;

	if (s->previous || fl_pods_log(s->pods, s->ns, s->pod, s->container, false, &now, NULL) < 0)
		return false;
	running = now.running && strcmp(now.path, s->path) == 0;
	free(now.path);
	return running;
}

static void pump(struct stream *s)
{
	bool running = s->follow && still_runs(s); // asked before reading: what it wrote last is read below
	int rc = 1;

	while (rc == 1 && fl_http_unsent(s->req) < UNSENT_HIGH) {
		AUTO(fl_buf_deinit) struct fl_buf b = {0};

		rc = fl_logs_read(s->logs, &b);
		if (b.len) {
			struct fl_bytes *part = fl_bytes_new(b.data, b.len);

			fl_http_write(s->req, part);
			fl_bytes_put(&part);
		}
	}
	if (rc == 1 || (rc == 0 && running))
		return; // the timer comes again
	uv_timer_stop(&s->timer);
	if (rc == 0 || rc == -ENODATA)
		fl_http_end(s->req);
	else
		fl_http_abort(s->req);
}

static void on_timer(uv_timer_t *timer)
{
	struct stream *s = timer->data;

	if (s->req)
		pump(s);
}

static void serve_log(struct fl_kubelet *k, struct fl_http_req *r, const char *ns, const char *pod,
		      const char *container)
{
	struct fl_pods_log log = {0};
	struct fl_logs_opts o;
	struct fl_logs *logs = NULL;
	struct fl_err err = {0};
	struct stream *s;
	bool follow, previous;
	int rc = fl_logs_parse_query(fl_http_query(r), fl_real_ns(), &o, &follow, &previous, &err);

	if (rc < 0) {
		respond_error(r, 422, err.text);
		return;
	}
	rc = fl_pods_log(k->o.pods, ns, pod, container, previous, &log, &err);
	if (rc == 0)
		rc = fl_logs_open(log.path, &o, &logs, &err);
	if (rc < 0) {
		free(log.path);
		if (rc == -ENOENT)
			respond_error(r, 404, err.text);
		else
			respond_error(r, rc == -EAGAIN ? 400 : 500, err.text);
		return;
	}
	s = FL_NEW(struct stream);
	s->pods = k->o.pods;
	s->req = r;
	s->logs = logs;
	s->follow = follow;
	s->previous = previous;
	s->ns = fl_strdup(ns);
	s->pod = fl_strdup(pod);
	s->container = fl_strdup(container);
	s->path = log.path;
	uv_timer_init(k->o.loop, &s->timer);
	s->timer.data = s;
	fl_http_on_close(r, on_request_closed, s);
	fl_http_start(r, 200, "text/plain");
	uv_timer_start(&s->timer, on_timer, 0, FOLLOW_MS);
}

static void handle(struct fl_http_req *r, void *arg)
{
	struct fl_kubelet *k = arg;
	AUTO_FREE char *path = fl_strdup(fl_http_path(r));
	char *save = NULL, *part[5] = {0};
	int n = 0;

	if (!is_allowed(r)) {
		respond_error(r, 403, "the node answers its API server only");
		return;
	}
	if (strcmp(fl_http_method(r), "GET") != 0) {
		respond_error(r, 405, "GET is what the node answers");
		return;
	}
	for (char *p = strtok_r(path, "/", &save); p && n < 5; p = strtok_r(NULL, "/", &save)) {
		if (!fl_percent_decode(p, false)) {
			respond_error(r, 400, "the path is not percent-encoded correctly");
			return;
		}
		part[n++] = p;
	}
	if (n == 1 && strcmp(part[0], "healthz") == 0)
		fl_http_respond(r, 200, "text/plain", "ok", 2);
	else if (n == 4 && strcmp(part[0], "containerLogs") == 0)
		serve_log(k, r, part[1], part[2], part[3]);
	else
		respond_error(r, 404, "the node serves /containerLogs and /healthz");
}

int fl_kubelet_start(const struct fl_kubelet_opts *o, struct fl_kubelet **ret, uint16_t *ret_port, struct fl_err *err)
{
	AUTO_FREE char *cert = NULL, *key = NULL, *ca = NULL;
	AUTO_FREE struct fl_kubelet *k = FL_NEW(struct fl_kubelet);
	struct fl_http_server_opts server = {
	    .handler = handle, .arg = k, .server_name = "node", .limits = {.max_connections = FL_MAX_NODE_CLIENTS}};
	struct fl_ip any;
	int rc = fl_file_read(o->cert_file, &cert, NULL, err);

	k->o = *o;
	if (rc == 0)
		rc = fl_file_read(o->key_file, &key, NULL, err);
	if (rc == 0)
		rc = fl_file_read(o->client_ca_file, &ca, NULL, err);
	if (rc == 0)
		rc = fl_tls_server_ctx(cert, key, ca, true, &server.tls, err);
	if (rc < 0)
		return rc;
	rc = fl_http_server_new(o->loop, &server, &k->server, err);
	SSL_CTX_free(server.tls);
	if (rc < 0)
		return rc;
	uint16_t port = o->port;
	fl_ip_parse("0.0.0.0", &any);
	rc = fl_http_server_listen(k->server, &any, port, &port, err);
	if (rc == 0) { // the other family, where this host has it, on the same port
		fl_ip_parse("::", &any);
		rc = fl_http_server_listen(k->server, &any, port, NULL, err);
		if (rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL)
			rc = 0;
	}
	if (rc < 0) {
		fl_http_server_free(&k->server);
		return rc;
	}
	*ret = TAKE_PTR(k);
	*ret_port = port;
	return 0;
}

static void on_stopped(void *arg)
{
	struct fl_kubelet *k = arg;
	void (*done)(void *) = k->done;
	void *done_arg = k->done_arg;

	fl_http_server_free(&k->server);
	free(k);
	if (done)
		done(done_arg);
}

void fl_kubelet_stop(struct fl_kubelet **kp, void (*done)(void *arg), void *arg)
{
	struct fl_kubelet *k = *kp;

	if (!k) {
		if (done)
			done(arg);
		return;
	}
	*kp = NULL;
	k->done = done;
	k->done_arg = arg;
	fl_http_server_stop(k->server, 0, on_stopped, k);
}
