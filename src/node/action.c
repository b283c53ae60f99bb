// SPDX-License-Identifier: Apache-2.0
// Actions. See action.h. An action whose asker left ends unheard: a command goes on, the rest is dropped.
#include "node/action.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/version.h"
#include "io/subprocess.h"
#include "node/grpc.h"

#define TEXT_MAX      1000
#define OUTPUT_MAX    10240 // kubelet: of a command's output
#define BODY_MAX      10240 // kubelet: of an answer's body
#define END_GRACE_MS  2000  // for the runtime to see that the command was killed
#define HEADERS_MAX   64
#define NO_TIMEOUT_MS (365ull * 24 * 3600 * 1000)

struct fl_action {
	const struct fl_action_place *place;
	enum fl_action_kind kind;
	bool any_status, timed_out;
	unsigned timeout_s;
	void (*on_done)(void *arg, bool success, const char *text); // NULL: nobody waits
	void *arg;
	struct fl_http_call *call;
	size_t body_bytes; // of the answer, so far
	struct fl_subprocess *process;
	uv_tcp_t tcp;
	uv_connect_t connect;
	uv_timer_t timer;
	int open;      // handles
	char *what;    // address, URL or command, for texts
	char *pidfile; // exec
};

// --- what is to be done ---

static bool read_http(const struct fl_json *container, const struct fl_json *http, struct fl_action_spec *s)
{
	s->kind = FL_ACTION_HTTP;
	s->port = fl_container_port(container, fl_json_get(http, "port"));
	s->host = fl_json_str(http, "host");
	s->scheme = fl_json_str_or(http, "scheme", "HTTP");
	s->path = fl_json_str_or(http, "path", "/");
	s->headers = fl_json_get(http, "httpHeaders");
	return s->port != 0;
}

bool fl_action_read(const struct fl_json *container, const struct fl_json *handler, struct fl_action_spec *ret,
		    const char **ret_why)
{
	const struct fl_json *http = fl_json_get(handler, "httpGet"), *tcp = fl_json_get(handler, "tcpSocket");
	const struct fl_json *exec = fl_json_get(handler, "exec"), *grpc = fl_json_get(handler, "grpc");
	const struct fl_json *sleep_for = fl_json_get(handler, "sleep");
	struct fl_action_spec s = {0};
	bool port_found = true;

	*ret_why = NULL;
	if (http) {
		port_found = read_http(container, http, &s);
	} else if (tcp) {
		s.kind = FL_ACTION_TCP;
		s.host = fl_json_str(tcp, "host");
		s.port = fl_container_port(container, fl_json_get(tcp, "port"));
		port_found = s.port != 0;
	} else if (grpc) {
		s.kind = FL_ACTION_GRPC;
		s.port = fl_container_port(container, fl_json_get(grpc, "port"));
		s.service = fl_json_str_or(grpc, "service", "");
		port_found = s.port != 0;
	} else if (fl_json_count(fl_json_get(exec, "command"))) {
		s.kind = FL_ACTION_EXEC;
		s.command = fl_json_get(exec, "command");
	} else if (sleep_for) {
		s.kind = FL_ACTION_SLEEP;
		s.seconds = fl_json_int(sleep_for, "seconds", 0);
	} else {
		*ret_why = "it has no action";
		return false;
	}
	if (!port_found) {
		*ret_why = "its port names no port of the container";
		return false;
	}
	if (fl_str_empty(s.host))
		s.host = NULL;
	*ret = s;
	return true;
}

void fl_action_copy(struct fl_arena *a, struct fl_action_spec *s)
{
	const char **strings[] = {&s->host, &s->scheme, &s->path, &s->service};

	for (size_t i = 0; i < FL_COUNT(strings); i++) {
		if (*strings[i])
			*strings[i] = fl_arena_strdup(a, *strings[i]);
	}
	s->headers = fl_json_clone(a, s->headers);
	s->command = fl_json_clone(a, s->command);
}

// --- the end of an action ---

static void action_free(struct fl_action *a)
{
	if (a->pidfile)
		unlink(a->pidfile);
	free(a->pidfile);
	free(a->what);
	free(a);
}

static void on_closed(uv_handle_t *handle)
{
	struct fl_action *a = handle->data;

	if (--a->open == 0)
		action_free(a);
}

static void close_handles(struct fl_action *a)
{
	if (a->tcp.data && !uv_is_closing((uv_handle_t *)&a->tcp))
		uv_close((uv_handle_t *)&a->tcp, on_closed);
	if (a->timer.data && !uv_is_closing((uv_handle_t *)&a->timer))
		uv_close((uv_handle_t *)&a->timer, on_closed);
}

static void timer_init(struct fl_action *a)
{
	uv_timer_init(a->place->loop, &a->timer);
	a->timer.data = a;
	a->open++;
}

static void tell(struct fl_action *a, bool success, const char *text)
{
	void (*on_done)(void *arg, bool success, const char *text) = a->on_done;

	a->on_done = NULL;
	if (on_done)
		on_done(a->arg, success, text);
}

// --- tcpSocket, sleep ---

static void on_connect(uv_connect_t *req, int status)
{
	struct fl_action *a = req->data;
	char text[TEXT_MAX];

	if (status == UV_ECANCELED)
		return;
	snprintf(text, sizeof(text), "dial tcp %s: connect: %s", a->what, status < 0 ? uv_strerror(status) : "");
	tell(a, status == 0, text);
	close_handles(a);
}

static void on_connect_timeout(uv_timer_t *timer)
{
	struct fl_action *a = timer->data;
	char text[TEXT_MAX];

	snprintf(text, sizeof(text), "dial tcp %s: i/o timeout", a->what);
	tell(a, false, text);
	close_handles(a);
}

static int tcp_begin(struct fl_action *a, const struct fl_action_spec *s, const struct fl_ip *ip)
{
	struct sockaddr_storage sa;
	socklen_t len;
	int rc;

	fl_ip_to_sockaddr(ip, s->port, &sa, &len);
	uv_tcp_init(a->place->loop, &a->tcp);
	a->tcp.data = a->connect.data = a;
	a->open++;
	timer_init(a);
	rc = uv_tcp_connect(&a->connect, &a->tcp, (struct sockaddr *)&sa, on_connect);
	if (rc == 0)
		uv_timer_start(&a->timer, on_connect_timeout,
			       a->timeout_s ? (uint64_t)a->timeout_s * 1000 : NO_TIMEOUT_MS, 0);
	return rc;
}

static void on_slept(uv_timer_t *timer)
{
	struct fl_action *a = timer->data;

	tell(a, true, "");
	close_handles(a);
}

// --- httpGet, grpc ---

// As Go words it.
static void network_error(const struct fl_action *a, int rc, const struct fl_err *err, char *buf, size_t size)
{
	const char *host = strstr(a->what, "://") + 3;
	const char *why = rc == -ECONNREFUSED   ? "connect: connection refused"
			  : rc == -EHOSTUNREACH ? "connect: no route to host"
			  : rc == -ENETUNREACH  ? "connect: network is unreachable"
						: NULL;

	if (why)
		snprintf(buf, size, "dial tcp %.*s: %s", (int)strcspn(host, "/?"), host, why);
	else
		snprintf(buf, size, "%.290s", rc == -ECONNRESET ? "read: connection reset by peer" : err->text);
}

static void on_http(void *arg, int rc, int status, const char *body, size_t len, const struct fl_err *err)
{
	struct fl_action *a = arg;
	char text[TEXT_MAX], why[300];

	a->call = NULL;
	if (rc < 0)
		network_error(a, rc, err, why, sizeof(why));
	if (rc == -ETIMEDOUT)
		snprintf(text, sizeof(text),
			 "Get \"%s\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
			 a->what);
	else if (rc < 0)
		snprintf(text, sizeof(text), "Get \"%s\": %s", a->what, why);
	else
		snprintf(text, sizeof(text), "HTTP probe failed with statuscode: %d", status);
	tell(a, rc == 0 && (a->any_status || (status >= 200 && status < 400)), text);
	action_free(a);
}

// kubelet reads no more of a body (pkg/probe/http: maxRespBodyLength), so that a stream without end is an answer too.
static void on_body(void *arg, int status, const char *data, size_t len)
{
	struct fl_action *a = arg;

	a->body_bytes += len;
	if (a->body_bytes < BODY_MAX)
		return;
	fl_http_call_cancel(&a->call);
	on_http(a, 0, status, NULL, 0, NULL);
}

// The defaults, unless the pod names them itself; then the pod's.
static void add_headers(struct fl_arena *arena, const struct fl_action_spec *s, const char *user_agent,
			const char **headers)
{
	const char *defaults[] = {fl_arena_printf(arena, "User-Agent: %s", user_agent), "Accept: */*"};
	size_t n = 0;

	for (size_t i = 0; i < FL_COUNT(defaults); i++) {
		size_t name = strcspn(defaults[i], ":");
		bool own = false;

		fl_json_each (h, s->headers) {
			const char *given = fl_json_str_or(h, "name", "");

			own = own || (strlen(given) == name && strncasecmp(given, defaults[i], name) == 0);
		}
		if (!own)
			headers[n++] = defaults[i];
	}
	fl_json_each (h, s->headers) {
		const char *name = fl_json_str_or(h, "name", "X"), *value = fl_json_str_or(h, "value", "");

		if (n + 1 < HEADERS_MAX)
			headers[n++] = fl_arena_printf(arena, *value ? "%s: %s" : "%s:%s", name, value);
	}
	headers[n] = NULL;
}

static int http_begin(struct fl_action *a, const struct fl_action_spec *s, const char *host, const char *user_agent,
		      struct fl_err *err)
{
	AUTO(fl_arena_deinit) struct fl_arena arena = {0};
	const char *headers[HEADERS_MAX];
	struct fl_http_call_opts o = {
	    .method = "GET",
	    .headers = headers,
	    .fresh = true, // each look also asks whether new connections are taken
	    .timeout_ms = a->timeout_s * 1000,
	    .connect_timeout_ms = a->timeout_s * 1000,
	    .on_data = on_body,
	    .on_done = on_http,
	    .arg = a,
	};

	free(a->what);
	a->what = fl_asprintf(strchr(host, ':') ? "%s://[%s]:%u%s%s" : "%s://%s:%u%s%s",
			      fl_streq(s->scheme, "HTTPS") ? "https" : "http", host, s->port,
			      s->path[0] == '/' ? "" : "/", s->path);
	o.url = a->what;
	add_headers(&arena, s, user_agent, headers);
	return fl_http_client_call(a->place->http, &o, &a->call, err);
}

static void on_grpc(void *arg, int rc, int status, const char *body, size_t len, const struct fl_err *err)
{
	struct fl_action *a = arg;
	struct fl_grpc_answer g = {
	    .rc = rc,
	    .http_status = status,
	    .grpc_status = rc == 0 ? fl_http_call_header(a->call, "grpc-status") : NULL,
	    .grpc_message = rc == 0 ? fl_http_call_header(a->call, "grpc-message") : NULL,
	    .body = body,
	    .len = len,
	    .error = err ? err->text : "",
	    .address = a->what,
	    .timeout_s = a->timeout_s,
	};
	char text[TEXT_MAX];
	bool healthy = fl_grpc_health_verdict(&g, text, sizeof(text));

	a->call = NULL;
	tell(a, healthy, text);
	action_free(a);
}

static int grpc_begin(struct fl_action *a, const struct fl_action_spec *s, const char *user_agent, struct fl_err *err)
{
	AUTO_FREE char *url = fl_asprintf("http://%s/grpc.health.v1.Health/Check", a->what);
	AUTO_FREE char *agent = fl_asprintf("User-Agent: %s", user_agent);
	AUTO(fl_buf_deinit) struct fl_buf body = {0};
	const char *headers[] = {"Content-Type: application/grpc", "TE: trailers", agent, NULL};
	struct fl_http_call_opts o = {
	    .method = "POST",
	    .url = url,
	    .headers = headers,
	    .h2c = true,
	    .fresh = true,
	    .timeout_ms = a->timeout_s * 1000,
	    .connect_timeout_ms = a->timeout_s * 1000,
	    .on_done = on_grpc,
	    .arg = a,
	};

	fl_grpc_health_request(&body, s->service);
	o.body = body.data;
	o.body_len = body.len;
	return fl_http_client_call(a->place->http, &o, &a->call, err);
}

// --- exec ---

static void on_exec(void *arg, int rc, int exit_status, const char *out, size_t out_len, const char *errout,
		    size_t err_len)
{
	struct fl_action *a = arg;
	char text[TEXT_MAX];

	a->process = NULL;
	if (rc == -ETIMEDOUT || a->timed_out)
		snprintf(text, sizeof(text), "command timed out: \"%.700s\" timed out after %us", a->what,
			 a->timeout_s);
	else
		snprintf(text, sizeof(text), "%.499s%.499s", out ? out : "", errout ? errout : "");
	tell(a, rc == 0 && exit_status == 0 && !a->timed_out, text);
	if (a->open)
		close_handles(a);
	else
		action_free(a);
}

// The runtime that waits for the command is alive, so the pid is still the command's.
static void on_exec_timeout(uv_timer_t *timer)
{
	struct fl_action *a = timer->data;
	AUTO_FREE char *text = NULL;

	if (!a->process)
		return;
	a->timed_out = true;
	if (fl_file_read(a->pidfile, &text, NULL, NULL) == 0 && atoi(text) > 1)
		kill(atoi(text), SIGKILL);
	else
		fl_subprocess_kill(a->process, SIGKILL);
}

static int exec_begin(struct fl_action *a, const struct fl_action_spec *s, struct fl_err *err)
{
	static unsigned serial;
	AUTO(fl_arena_deinit) struct fl_arena arena = {0};
	AUTO(fl_buf_deinit) struct fl_buf line = {0};
	const struct fl_action_place *p = a->place;
	const char **argv = fl_arena_alloc(&arena, (fl_json_count(s->command) + 8) * sizeof(*argv));
	struct fl_subprocess_opts o = {.argv = argv, .max_output = OUTPUT_MAX, .on_exit = on_exec, .arg = a};
	size_t i = 0;
	int rc;

	a->pidfile = fl_asprintf("%s/exec-%u.pid", p->dir, serial++);
	argv[i++] = p->runtime;
	argv[i++] = "--root";
	argv[i++] = p->runtime_root;
	argv[i++] = "exec";
	argv[i++] = "--pid-file";
	argv[i++] = a->pidfile;
	argv[i++] = p->id;
	fl_json_each (e, s->command) {
		argv[i++] = fl_json_string(e) ? fl_json_string(e) : "";
		fl_buf_printf(&line, "%s%s", line.len ? " " : "", argv[i - 1]);
	}
	argv[i] = NULL;
	a->what = fl_buf_take(&line);
	if (a->timeout_s)
		o.timeout_ms = a->timeout_s * 1000 + END_GRACE_MS;
	rc = fl_subprocess_start(p->loop, &o, &a->process, err);
	if (rc == 0 && a->timeout_s) {
		timer_init(a);
		uv_timer_start(&a->timer, on_exec_timeout, (uint64_t)a->timeout_s * 1000, 0);
	}
	return rc;
}

// --- begin ---

static int begin(struct fl_action *a, const struct fl_action_opts *o, struct fl_err *err)
{
	const struct fl_action_spec *s = o->spec;
	struct fl_ip ip = a->place->pod_ip;
	char text[FL_IP_STRLEN];
	int rc;

	if (s->kind == FL_ACTION_EXEC)
		return exec_begin(a, s, err);
	if (s->kind == FL_ACTION_SLEEP) {
		timer_init(a);
		uv_timer_start(&a->timer, on_slept, s->seconds > 0 ? (uint64_t)s->seconds * 1000 : 0, 0);
		return 0;
	}
	fl_ip_format(&ip, text);
	if (s->kind == FL_ACTION_HTTP)
		return http_begin(a, s, s->host ? s->host : text, o->user_agent, err);
	if (s->host && !fl_ip_parse(s->host, &ip))
		return fl_err_set(err, -EINVAL, "dial tcp: lookup %s: not an address", s->host);
	fl_ip_format(&ip, text);
	a->what = fl_asprintf(ip.family == AF_INET6 ? "[%s]:%u" : "%s:%u", text, s->port);
	if (s->kind == FL_ACTION_GRPC)
		return grpc_begin(a, s, o->user_agent, err);
	rc = tcp_begin(a, s, &ip);
	return rc < 0 ? fl_err_set(err, rc, "dial tcp %s: connect: %s", a->what, uv_strerror(rc)) : 0;
}

int fl_action_start(const struct fl_action_opts *o, struct fl_action **ret, struct fl_err *err)
{
	struct fl_action *a = FL_NEW(struct fl_action);
	int rc;

	a->place = o->place;
	a->kind = o->spec->kind;
	a->any_status = o->any_status;
	a->timeout_s = o->timeout_s;
	a->on_done = o->on_done;
	a->arg = o->arg;
	rc = begin(a, o, err);
	if (rc < 0) {
		a->on_done = NULL;
		if (a->open)
			close_handles(a);
		else
			action_free(a);
		return rc;
	}
	*ret = a;
	return 0;
}

void fl_action_cancel(struct fl_action **action)
{
	struct fl_action *a = TAKE_PTR(*action);

	if (!a)
		return;
	a->on_done = NULL;
	if (a->call) {
		fl_http_call_cancel(&a->call);
		action_free(a);
	} else if (a->process) {
		fl_subprocess_kill(a->process, SIGKILL); // the runtime's, which would keep our loop; not the command
	} else {
		close_handles(a);
	}
}
