// SPDX-License-Identifier: Apache-2.0
#include "proxy/health.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "io/http_server.h"

#define STALE_MS 60000 // changes that wait longer than this make /healthz fail (kube-proxy: twice its sync period)
#define JSON     "application/json"
#define TEXT     "text/plain; charset=utf-8"
#define METRICS  "text/plain; version=0.0.4; charset=utf-8"

struct server {
	struct fl_proxy_health *health;
	struct fl_http_server *http;
	char *ns, *name; // of the Service; NULL for the proxy's own
	uint16_t port;
	unsigned n_local;
};

struct fl_proxy_health {
	struct fl_proxy_health_opts o;
	struct server *metrics, *healthz;
	struct fl_map services; // "namespace/name" -> struct server
	unsigned n_servers;     // not yet closed
	bool dying, eligible;
	uint64_t unsynced_since_ms; // 0: synced
};

// ---- servers

static void forget(struct fl_proxy_health *h)
{
	if (h->n_servers == 0 && h->dying)
		free(h);
}

static void server_stopped(void *arg)
{
	struct server *s = arg;
	struct fl_proxy_health *h = s->health;

	fl_http_server_free(&s->http);
	free(s->ns);
	free(s->name);
	free(s);
	h->n_servers--;
	forget(h);
}

static void server_stop(struct server *s)
{
	if (s)
		fl_http_server_stop(s->http, 0, server_stopped, s);
}

static int server_start(struct fl_proxy_health *h, fl_http_handler handler, const struct fl_ip *ip, uint16_t port,
			struct server **ret, struct fl_err *err)
{
	struct server *s = FL_NEW(struct server);
	struct fl_http_server_opts opts = {
	    .handler = handler,
	    .arg = s,
	    .server_name = "proxy",
	    .limits = {.max_connections = FL_MAX_PROBE_CLIENTS, .idle_ms = FL_HEADER_TIMEOUT_MS}};

	s->health = h;
	s->port = port;
	int rc = fl_http_server_new(h->o.loop, &opts, &s->http, err);
	if (rc < 0) {
		free(s);
		return rc;
	}
	h->n_servers++;
	if (ip) {
		rc = fl_http_server_listen(s->http, ip, port, NULL, err);
	} else {
		struct fl_ip any = fl_ip_from4(0);
		struct fl_err ignored;

		rc = fl_http_server_listen(s->http, &any, port, NULL, err);
		fl_ip_parse("::", &any);
		if (rc == 0) // a host without IPv6 has no clients there
			(void)!fl_http_server_listen(s->http, &any, port, NULL, &ignored);
	}
	if (rc < 0) {
		server_stop(s);
		return rc;
	}
	*ret = s;
	return 0;
}

// ---- answers

static bool is_healthy(const struct fl_proxy_health *h)
{
	return h->unsynced_since_ms == 0 || fl_mono_ms() - h->unsynced_since_ms < STALE_MS;
}

static bool refuse_other_methods(struct fl_http_req *r)
{
	if (fl_streq(fl_http_method(r), "GET") || fl_streq(fl_http_method(r), "HEAD"))
		return false;
	fl_http_respond(r, 405, TEXT, "Method Not Allowed\n", 19);
	return true;
}

static void not_found(struct fl_http_req *r)
{
	fl_http_respond(r, 404, TEXT, "404 page not found\n", 19);
}

static void answer_healthz(struct fl_http_req *r, void *arg)
{
	struct fl_proxy_health *h = ((struct server *)arg)->health;
	bool live = fl_streq(fl_http_path(r), "/livez");
	bool ok = is_healthy(h) && (live || h->eligible);
	char now[FL_TIME_STRLEN], updated[FL_TIME_STRLEN];
	AUTO(fl_buf_deinit) struct fl_buf b = {0};

	if (refuse_other_methods(r))
		return;
	if (!live && !fl_streq(fl_http_path(r), "/healthz")) {
		not_found(r);
		return;
	}
	(live ? h->o.metrics->livez : h->o.metrics->healthz)[!ok]++;
	fl_time_now(now);
	fl_time_format((int64_t)(h->o.metrics->last_sync * 1e9), updated);
	fl_buf_printf(&b, "{\"lastUpdated\": \"%s\",\"currentTime\": \"%s\"", is_healthy(h) ? now : updated, now);
	if (!live)
		fl_buf_printf(&b, ", \"nodeEligible\": %s", h->eligible ? "true" : "false");
	fl_buf_puts(&b, "}");
	fl_http_set_header(r, "X-Content-Type-Options", "nosniff");
	fl_http_respond(r, ok ? 200 : 503, JSON, b.data, b.len);
}

static void answer_metrics(struct fl_http_req *r, void *arg)
{
	struct fl_proxy_health *h = ((struct server *)arg)->health;
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct fl_proxy_counter counters[16];
	struct fl_proxy_core_stats stats;
	struct fl_err err = {0};
	unsigned n = 0;

	if (refuse_other_methods(r))
		return;
	if (fl_streq(fl_http_path(r), "/proxyMode")) {
		fl_http_respond(r, 200, TEXT, h->o.ops->name, strlen(h->o.ops->name));
		return;
	}
	if (!fl_streq(fl_http_path(r), "/metrics")) {
		not_found(r);
		return;
	}
	// Before the first sync there is no table, hence no counters; the rest is shown all the same.
	if (h->o.ops->counters(h->o.backend, counters, FL_COUNT(counters), &n, &err) < 0)
		n = 0;
	fl_proxy_core_stats(*h->o.core, &stats);
	fl_proxy_metrics_write(h->o.metrics, &stats, counters, n, &b);
	fl_http_respond(r, 200, METRICS, b.data, b.len);
}

// Any path, as kube-proxy does.
static void answer_service(struct fl_http_req *r, void *arg)
{
	const struct server *s = arg;
	bool healthy = is_healthy(s->health), ok = s->n_local > 0 && healthy;
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	char weight[16];

	snprintf(weight, sizeof(weight), "%u", s->n_local);
	fl_buf_printf(&b,
		      "{\n\t\"service\": {\n\t\t\"namespace\": \"%s\",\n\t\t\"name\": \"%s\"\n\t},\n"
		      "\t\"localEndpoints\": %u,\n\t\"serviceProxyHealthy\": %s\n}",
		      s->ns, s->name, s->n_local, healthy ? "true" : "false");
	fl_http_set_header(r, "X-Content-Type-Options", "nosniff");
	fl_http_set_header(r, "X-Load-Balancing-Endpoint-Weight", weight);
	fl_http_respond(r, ok ? 200 : 503, JSON, b.data, b.len);
}

// ---- interface

// "10.0.0.1:80", "[::]:80", ":80"
static int listen_text(struct fl_proxy_health *h, const char *what, const char *text, fl_http_handler handler,
		       struct server **ret, struct fl_err *err)
{
	const char *colon;
	struct fl_ip ip;
	unsigned long long port;

	if (fl_str_empty(text))
		return 0;
	colon = strrchr(text, ':');
	AUTO_FREE char *host = colon ? fl_strndup(text, (size_t)(colon - text)) : NULL;
	size_t n = host ? strlen(host) : 0;
	if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
		memmove(host, host + 1, n - 2);
		host[n - 2] = '\0';
	}
	if (!host || !fl_parse_u64(colon + 1, &port) || port > 65535 || (*host && !fl_ip_parse(host, &ip)))
		return fl_err_set(err, -EINVAL, "%s \"%s\" is not ADDRESS:PORT", what, text);
	int rc = server_start(h, handler, *host ? &ip : NULL, (uint16_t)port, ret, err);
	if (rc < 0)
		(void)fl_err_prefix(err, "%s %s", what, text);
	return rc;
}

int fl_proxy_health_new(const struct fl_proxy_health_opts *opts, struct fl_proxy_health **ret, struct fl_err *err)
{
	struct fl_proxy_health *h = FL_NEW(struct fl_proxy_health);

	h->o = *opts;
	h->eligible = true;
	h->unsynced_since_ms = fl_mono_ms();
	int rc = listen_text(h, "metrics address", opts->opts->metrics_listen, answer_metrics, &h->metrics, err);
	if (rc == 0)
		rc = listen_text(h, "healthz address", opts->opts->healthz_listen, answer_healthz, &h->healthz, err);
	if (rc < 0) {
		fl_proxy_health_free(&h);
		return rc;
	}
	*ret = h;
	return 0;
}

void fl_proxy_health_free(struct fl_proxy_health **health)
{
	struct fl_proxy_health *h = *health;

	if (!h)
		return;
	*health = NULL;
	server_stop(h->metrics);
	server_stop(h->healthz);
	for (struct fl_map_iter it = {0}; fl_map_next(&h->services, &it);)
		server_stop(it.value);
	fl_map_deinit(&h->services);
	h->dying = true;
	forget(h);
}

void fl_proxy_health_set(struct fl_proxy_health *h, bool synced, bool eligible)
{
	h->eligible = eligible;
	if (synced)
		h->unsynced_since_ms = 0;
	else if (h->unsynced_since_ms == 0)
		h->unsynced_since_ms = fl_mono_ms();
}

void fl_proxy_health_service(struct fl_proxy_health *h, const char *ns, const char *name, uint16_t port,
			     unsigned n_local)
{
	AUTO_FREE char *key = fl_asprintf("%s/%s", ns, name);
	struct server *s = fl_map_get(&h->services, key);
	struct fl_err err = {0};

	if (s && s->port != port) {
		(void)fl_map_del(&h->services, key);
		server_stop(s);
		s = NULL;
	}
	if (!s && port) {
		if (server_start(h, answer_service, NULL, port, &s, &err) < 0) {
			fl_warn("no health check for load balancers: %s service=%s port=%u", err.text, key, port);
			return;
		}
		s->ns = fl_strdup(ns);
		s->name = fl_strdup(name);
		(void)fl_map_set(&h->services, key, s);
	}
	if (s)
		s->n_local = n_local;
}
