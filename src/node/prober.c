// SPDX-License-Identifier: Apache-2.0
// One timer per probe; one look at a time per probe. A look is an HTTP call, a TCP connect or an exec by the OCI
// runtime. What a stopped prober still has under way ends unheard.
#include "node/prober.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/version.h"
#include "io/subprocess.h"

#define EARLY_FIRST_MS 100

struct look;

struct probe {
	struct fl_prober *prober;
	enum fl_probe_use use;
	struct fl_probe_spec spec; // strings in the prober's arena
	struct fl_probe_state state;
	uv_timer_t timer;
	uint64_t next_regular_ms;
	unsigned early_ms; // pause until the next early look; 0: no early looks (any more)
	bool counted;      // the look under way counts
	bool active;
	struct look *look;
};

struct fl_prober {
	struct fl_prober_opts o;
	struct fl_arena arena;
	struct probe *probes[FL_PROBE_USE_COUNT];
	bool started;
	bool stopped;
	int open_timers;
};

struct look {                // outlives a stopped prober where it must
	struct probe *probe; // NULL: nobody waits for it
	struct fl_http_call *call;
	struct fl_subprocess *process;
	uv_tcp_t tcp;
	uv_timer_t limit;
	uv_connect_t connect;
	int open;
	char what[512];
};

static void probe_begin(struct probe *p);
static void on_timer(uv_timer_t *timer);

// --- results ---

static void schedule(struct probe *p)
{
	uint64_t now = uv_now(p->prober->o.loop), period = (uint64_t)p->spec.period_s * 1000;

	if (p->counted) {
		while (p->next_regular_ms <= now)
			p->next_regular_ms += period;
	}
	uint64_t wait = p->next_regular_ms > now ? p->next_regular_ms - now : 0;

	if (p->state.verdict || p->use == FL_PROBE_LIVENESS)
		p->early_ms = 0;
	if (p->early_ms && p->early_ms < wait) {
		wait = p->early_ms;
		p->early_ms *= 2;
		p->counted = false;
	} else {
		p->counted = true;
	}
	uv_timer_start(&p->timer, on_timer, wait, 0);
}

static void others_begin(struct fl_prober *pr)
{
	for (int use = FL_PROBE_LIVENESS; use < FL_PROBE_USE_COUNT; use++) {
		if (pr->probes[use] && !pr->probes[use]->active)
			probe_begin(pr->probes[use]);
	}
}

static void probe_result(struct probe *p, bool success, const char *why)
{
	struct fl_prober *pr = p->prober;
	bool counted = p->counted || success, changed, kill;
	char text[768];

	p->look = NULL;
	changed = counted && fl_probe_state_add(&p->state, &p->spec, success);
	if (p->use == FL_PROBE_STARTUP && p->state.verdict) {
		uv_timer_stop(&p->timer);
		pr->started = true;
		pr->o.on_startup(pr->o.arg);
		if (!pr->stopped)
			others_begin(pr);
		return;
	}
	schedule(p);
	if (changed && p->use == FL_PROBE_READINESS)
		pr->o.on_ready(pr->o.arg, p->state.verdict);
	if (success || !counted || pr->stopped)
		return;
	kill = p->use != FL_PROBE_READINESS && p->state.failures >= p->spec.failure_threshold;
	if (kill) {
		p->state.failures = 0;
		uv_timer_stop(&p->timer);
	}
	snprintf(text, sizeof(text), "%s probe failed: %s", fl_probe_use_name(p->use), why);
	pr->o.on_failure(pr->o.arg, p->use, text, kill, p->spec.grace_s);
}

static void look_closed(uv_handle_t *handle)
{
	struct look *l = handle->data;

	if (--l->open == 0)
		free(l);
}

static void look_close_tcp(struct look *l)
{
	if (!uv_is_closing((uv_handle_t *)&l->tcp))
		uv_close((uv_handle_t *)&l->tcp, look_closed);
	if (!uv_is_closing((uv_handle_t *)&l->limit))
		uv_close((uv_handle_t *)&l->limit, look_closed);
}

// --- tcpSocket ---

static void tcp_done(struct look *l, bool success, const char *why)
{
	struct probe *p = l->probe;

	l->probe = NULL;
	look_close_tcp(l);
	if (p)
		probe_result(p, success, why);
}

static void on_connect(uv_connect_t *req, int status)
{
	struct look *l = req->data;
	char why[640];

	if (status == UV_ECANCELED)
		return;
	snprintf(why, sizeof(why), "dial tcp %s: connect: %s", l->what, status < 0 ? uv_strerror(status) : "");
	tcp_done(l, status == 0, why);
}

static void on_limit(uv_timer_t *timer)
{
	struct look *l = timer->data;
	char why[640];

	snprintf(why, sizeof(why), "dial tcp %s: i/o timeout", l->what);
	tcp_done(l, false, why);
}

static int tcp_begin(struct probe *p, struct look *l, const struct fl_ip *ip)
{
	struct sockaddr_storage sa;
	socklen_t len;
	char text[FL_IP_STRLEN];
	int rc;

	fl_ip_to_sockaddr(ip, p->spec.port, &sa, &len);
	snprintf(l->what, sizeof(l->what), ip->family == AF_INET6 ? "[%s]:%u" : "%s:%u", fl_ip_format(ip, text),
		 p->spec.port);
	uv_tcp_init(p->prober->o.loop, &l->tcp);
	uv_timer_init(p->prober->o.loop, &l->limit);
	l->open = 2;
	l->tcp.data = l->limit.data = l->connect.data = l;
	rc = uv_tcp_connect(&l->connect, &l->tcp, (struct sockaddr *)&sa, on_connect);
	if (rc < 0) {
		l->probe = NULL;
		look_close_tcp(l);
		return rc;
	}
	uv_timer_start(&l->limit, on_limit, (uint64_t)p->spec.timeout_s * 1000, 0);
	return 0;
}

// --- httpGet ---

static void http_discard(void *arg, int status, const char *data, size_t len)
{
}

static void on_http(void *arg, int rc, int status, const char *body, size_t len, const struct fl_err *err)
{
	struct look *l = arg;
	struct probe *p = l->probe;
	char why[700];

	if (rc < 0)
		snprintf(why, sizeof(why), "Get \"%s\": %.160s", l->what, err ? err->text : strerror(-rc));
	else
		snprintf(why, sizeof(why), "HTTP probe failed with statuscode: %d", status);
	free(l);
	probe_result(p, rc == 0 && status >= 200 && status < 400, why);
}

static int http_begin(struct probe *p, struct look *l, const char *host)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const char *headers[40] = {"User-Agent: kube-probe/" FL_KUBE_MAJOR "." FL_KUBE_MINOR, "Accept: */*",
				   "Connection: close"}; // each look a connection of its own, as a new client has it
	size_t n = 3;
	bool https = fl_streq(p->spec.scheme, "HTTPS");
	struct fl_http_call_opts o = {
	    .method = "GET",
	    .headers = headers,
	    .timeout_ms = p->spec.timeout_s * 1000,
	    .connect_timeout_ms = p->spec.timeout_s * 1000,
	    .on_data = http_discard,
	    .on_done = on_http,
	    .arg = l,
	};
	struct fl_err err = {0};

	snprintf(l->what, sizeof(l->what), strchr(host, ':') ? "%s://[%s]:%u%s%s" : "%s://%s:%u%s%s",
		 https ? "https" : "http", host, p->spec.port, p->spec.path[0] == '/' ? "" : "/", p->spec.path);
	o.url = l->what;
	fl_json_each (h, p->spec.headers) {
		if (n + 1 < FL_COUNT(headers))
			headers[n++] = fl_arena_printf(&a, "%s: %s", fl_json_str_or(h, "name", "X"),
						       fl_json_str_or(h, "value", ""));
	}
	return fl_http_client_call(p->prober->o.http, &o, &l->call, &err);
}

// --- exec ---

static void on_exec(void *arg, int rc, int exit_status, const char *out, size_t out_len, const char *errout,
		    size_t err_len)
{
	struct look *l = arg;
	struct probe *p = l->probe;
	char why[640];

	free(l);
	if (!p)
		return;
	if (rc == -ETIMEDOUT)
		snprintf(why, sizeof(why), "command timed out after %us", p->spec.timeout_s);
	else
		snprintf(why, sizeof(why), "%.300s%.300s", out ? out : "", errout ? errout : "");
	probe_result(p, rc == 0 && exit_status == 0, why);
}

static int exec_begin(struct probe *p, struct look *l)
{
	const struct fl_prober_opts *po = &p->prober->o;
	size_t n = fl_json_count(p->spec.command), i = 0;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const char **argv = fl_arena_alloc(&a, (n + 6) * sizeof(*argv));
	struct fl_subprocess_opts o = {
	    .argv = argv, .timeout_ms = p->spec.timeout_s * 1000, .max_output = 4096, .on_exit = on_exec, .arg = l};
	struct fl_err err = {0};

	argv[i++] = po->runtime;
	argv[i++] = "--root";
	argv[i++] = po->runtime_root;
	argv[i++] = "exec";
	argv[i++] = po->id;
	fl_json_each (e, p->spec.command)
		argv[i++] = fl_json_string(e) ? fl_json_string(e) : "";
	argv[i] = NULL;
	return fl_subprocess_start(po->loop, &o, &l->process, &err);
}

// --- the probe's clock ---

static void probe_begin(struct probe *p)
{
	struct look *l;
	struct fl_ip ip = p->prober->o.pod_ip;
	char host[FL_IP_STRLEN];
	int rc = -EINVAL;

	p->active = true;
	if (p->look || p->prober->stopped)
		return;
	l = FL_NEW(struct look);
	l->probe = p;
	p->look = l;
	if (p->spec.action == FL_PROBE_EXEC) {
		rc = exec_begin(p, l);
	} else if (p->spec.action == FL_PROBE_HTTP) {
		rc = http_begin(p, l, p->spec.host ? p->spec.host : fl_ip_format(&ip, host));
	} else if (!p->spec.host || fl_ip_parse(p->spec.host, &ip)) {
		rc = tcp_begin(p, l, &ip);
		if (rc < 0)
			l = NULL; // freed when its handles are closed
	}
	if (rc < 0) {
		free(l);
		p->look = NULL;
		probe_result(p, false, strerror(-rc));
	}
}

static void on_timer(uv_timer_t *timer)
{
	probe_begin(timer->data);
}

static void copy_strings(struct fl_arena *a, struct fl_probe_spec *s)
{
	if (s->host)
		s->host = fl_arena_strdup(a, s->host);
	if (s->scheme)
		s->scheme = fl_arena_strdup(a, s->scheme);
	if (s->path)
		s->path = fl_arena_strdup(a, s->path);
	s->headers = fl_json_clone(a, s->headers);
	s->command = fl_json_clone(a, s->command);
}

static void prober_free(struct fl_prober *pr)
{
	for (int use = 0; use < FL_PROBE_USE_COUNT; use++)
		free(pr->probes[use]);
	fl_arena_deinit(&pr->arena);
	free(pr);
}

struct fl_prober *fl_prober_start(const struct fl_prober_opts *o)
{
	struct fl_prober *pr = FL_NEW(struct fl_prober);
	bool any = false;

	pr->o = *o;
	pr->o.runtime = fl_arena_strdup(&pr->arena, o->runtime);
	pr->o.runtime_root = fl_arena_strdup(&pr->arena, o->runtime_root);
	pr->o.id = fl_arena_strdup(&pr->arena, o->id);
	pr->o.container = NULL;
	for (int use = 0; use < FL_PROBE_USE_COUNT; use++) {
		struct fl_probe_spec spec;
		const char *why;
		struct probe *p;

		if (!fl_probe_read(o->container, (enum fl_probe_use)use, &spec, &why)) {
			if (why)
				fl_warn("probe left out container=%s: %s", fl_json_str_or(o->container, "name", ""),
					why);
			continue;
		}
		copy_strings(&pr->arena, &spec);
		p = pr->probes[use] = FL_NEW(struct probe);
		p->prober = pr;
		p->use = (enum fl_probe_use)use;
		p->spec = spec;
		p->early_ms = EARLY_FIRST_MS;
		fl_probe_state_init(&p->state, p->use);
		uv_timer_init(o->loop, &p->timer);
		p->timer.data = p;
		pr->open_timers++;
		any = true;
	}
	if (!any) {
		prober_free(pr);
		return NULL;
	}
	pr->started = !pr->probes[FL_PROBE_STARTUP] || o->was_started;
	if (pr->probes[FL_PROBE_READINESS] && o->was_ready) {
		pr->probes[FL_PROBE_READINESS]->state.verdict = true;
		pr->probes[FL_PROBE_READINESS]->early_ms = 0;
	}
	for (int use = 0; use < FL_PROBE_USE_COUNT; use++) {
		struct probe *p = pr->probes[use];
		uint64_t delay;

		if (!p)
			continue;
		delay = o->was_started ? 0 : (uint64_t)p->spec.initial_delay_s * 1000;
		p->counted = use == FL_PROBE_LIVENESS || p->state.verdict;
		p->next_regular_ms = uv_now(o->loop) + delay + (p->counted ? 0 : (uint64_t)p->spec.period_s * 1000);
		if ((use == FL_PROBE_STARTUP) != pr->started) {
			p->active = true;
			uv_timer_start(&p->timer, on_timer, delay, 0);
		}
	}
	return pr;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct probe *p = handle->data;

	if (--p->prober->open_timers == 0)
		prober_free(p->prober);
}

void fl_prober_stop(struct fl_prober **pp)
{
	struct fl_prober *pr = *pp;

	if (!pr)
		return;
	*pp = NULL;
	pr->stopped = true;
	for (int use = 0; use < FL_PROBE_USE_COUNT; use++) {
		struct probe *p = pr->probes[use];
		struct look *l;

		if (!p)
			continue;
		l = p->look;
		p->look = NULL;
		if (l) {
			l->probe = NULL;
			if (l->call) {
				fl_http_call_cancel(&l->call);
				free(l);
			} else if (!l->process) {
				look_close_tcp(l);
			}
		}
		uv_close((uv_handle_t *)&p->timer, on_timer_closed);
	}
}

bool fl_prober_ready(const struct fl_prober *p)
{
	if (!p)
		return true;
	return p->started && (!p->probes[FL_PROBE_READINESS] || p->probes[FL_PROBE_READINESS]->state.verdict);
}

bool fl_prober_started(const struct fl_prober *p)
{
	return !p || p->started;
}
