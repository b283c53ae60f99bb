// SPDX-License-Identifier: Apache-2.0
// GET pods/<name>/log: the stream comes from the HTTPS endpoint of the pod's node (port in
// Node.status.daemonEndpoints), to which this server shows a client certificate of its own. The server never opens a
// node's files.
#include <inttypes.h>

#include "api/object.h"
#include "apiserver/respond.h"
#include "apiserver/subresource.h"
#include "base/mem.h"

#define UNSENT_HIGH (1u << 20) // the node is asked to wait while this much lies unsent to the client
#define RESUME_MS   20

struct relay {
	struct fl_request *r; // NULL once the client is gone
	struct fl_http_call *call;
	uv_timer_t timer;
	bool started, paused, ended;
};

static void free_relay(uv_handle_t *h)
{
	free(h->data);
}

static void relay_free(struct relay *l)
{
	l->ended = true;
	uv_close((uv_handle_t *)&l->timer, free_relay);
}

static void on_gone(struct fl_http_req *req, void *arg, bool gone)
{
	struct relay *l = arg;
	l->r = NULL;
	if (!l->ended) {
		fl_http_call_cancel(&l->call);
		relay_free(l);
	}
}

static void resume_later(uv_timer_t *t)
{
	struct relay *l = t->data;
	if (l->r && l->paused && fl_http_unsent(l->r->http) < UNSENT_HIGH / 2) {
		l->paused = false;
		uv_timer_stop(t);
		fl_http_call_pause(l->call, false);
	}
}

static void on_data(void *arg, int status, const char *data, size_t len)
{
	struct relay *l = arg;
	if (!l->r)
		return;
	if (!l->started) {
		l->started = true;
		const char *type = fl_http_call_header(l->call, "content-type");
		fl_http_start(l->r->http, status, type ? type : "text/plain");
	}
	struct fl_bytes *b = fl_bytes_new(data, len);
	fl_http_write(l->r->http, b);
	fl_bytes_put(&b);
	if (!l->paused && fl_http_unsent(l->r->http) > UNSENT_HIGH) {
		l->paused = true;
		fl_http_call_pause(l->call, true);
		uv_timer_start(&l->timer, resume_later, RESUME_MS, RESUME_MS);
	}
}

static void on_done(void *arg, int rc, int status, const char *body, size_t len, const struct fl_err *err)
{
	struct relay *l = arg;
	struct fl_request *r = l->r;
	l->call = NULL;
	l->ended = true;
	if (r) {
		if (rc < 0 && !l->started) {
			fl_http_on_close(r->http, NULL, NULL);
			fl_respond_error(r, 500, "InternalError", "Get logs of pod \"%s\": %s", r->name,
					 err ? err->text : "the node did not answer");
		} else if (rc < 0) {
			fl_http_on_close(r->http, NULL, NULL);
			fl_http_abort(r->http);
		} else {
			fl_http_on_close(r->http, NULL, NULL);
			if (!l->started)
				fl_http_start(r->http, status, "text/plain");
			fl_http_end(r->http);
		}
	}
	relay_free(l);
}

// https://<node address>:<port>, or NULL with the reason in *ret_why.
static const char *node_url(struct fl_request *r, const char *node_name, const char **ret_why)
{
	AUTO(fl_object_put)
	struct fl_object *node = fl_store_get(r->s->store, fl_resource_intern("", "nodes"), "", node_name);
	if (!node) {
		*ret_why = fl_arena_printf(r->a, "node \"%s\" not found", node_name);
		return NULL;
	}
	const struct fl_json *status = fl_json_get(fl_object_tree(node, r->a), "status");
	const char *address = NULL;
	fl_json_each (ad, fl_json_get(status, "addresses"))
		if (!address && fl_streq(fl_json_str(ad, "type"), "InternalIP"))
			address = fl_json_str(ad, "address");
	int64_t port = fl_json_int(fl_json_path(status, "daemonEndpoints", "kubeletEndpoint", NULL), "Port", 0);
	if (!address || port <= 0) {
		*ret_why = fl_arena_printf(r->a, "node \"%s\" names no address and port of its endpoint", node_name);
		return NULL;
	}
	bool v6 = strchr(address, ':') != NULL;
	return fl_arena_printf(r->a, "https://%s%s%s:%" PRId64, v6 ? "[" : "", address, v6 ? "]" : "", port);
}

static const char *choose_container(struct fl_request *r, const struct fl_json *spec)
{
	const char *asked = fl_request_param(r, "container");
	const struct fl_json *list = fl_json_get(spec, "containers");
	AUTO(fl_buf_deinit) struct fl_buf names = {0};
	static const char *const groups[] = {"containers", "initContainers"};
	for (unsigned i = 0; i < FL_COUNT(groups); i++)
		fl_json_each (c, fl_json_get(spec, groups[i])) {
			const char *name = fl_json_str_or(c, "name", "");
			if (asked && !strcmp(asked, name))
				return name;
			if (i == 0)
				fl_buf_printf(&names, "%s%s", names.len ? " " : "", name);
		}
	if (!asked && fl_json_count(list) == 1)
		return fl_json_str(fl_json_index(list, 0), "name");
	if (asked)
		fl_respond_error(r, 400, "BadRequest", "container %s is not valid for pod %s", asked, r->name);
	else
		fl_respond_error(r, 400, "BadRequest",
				 "a container name must be specified for pod %s, choose one of: [%s]", r->name,
				 names.data ? names.data : "");
	return NULL;
}

void fl_subresource_log(struct fl_request *r)
{
	if (strcmp(r->verb, "get") != 0) {
		fl_respond_method_not_allowed(r);
		return;
	}
	AUTO(fl_object_put) struct fl_object *pod = fl_store_get(r->s->store, r->kind->resource, r->ns, r->name);
	if (!pod) {
		fl_respond_not_found(r);
		return;
	}
	const struct fl_json *spec = fl_json_get(fl_object_tree(pod, r->a), "spec");
	const char *container = choose_container(r, spec), *node = fl_json_str(spec, "nodeName"), *why = NULL;
	if (!container)
		return;
	if (fl_str_empty(node)) {
		fl_respond_error(r, 400, "BadRequest", "pod %s does not have a host assigned", r->name);
		return;
	}
	const char *base = node_url(r, node, &why);
	if (!base) {
		fl_respond_error(r, 500, "InternalError", "%s", why);
		return;
	}
	AUTO(fl_buf_deinit) struct fl_buf url = {0};
	fl_buf_printf(&url, "%s/containerLogs/%s/%s/%s", base, r->ns, r->name, container);
	static const char *const passed[] = {"follow",     "previous",  "sinceSeconds", "sinceTime",
					     "timestamps", "tailLines", "limitBytes",   "stream"};
	for (unsigned i = 0, n = 0; i < FL_COUNT(passed); i++) {
		const char *v = fl_request_param(r, passed[i]);
		if (!v)
			continue;
		fl_buf_printf(&url, "%c%s=", n++ ? '&' : '?', passed[i]);
		fl_percent_encode(&url, v);
	}
	struct relay *l = FL_NEW(struct relay);
	struct fl_request *kept = fl_arena_alloc(r->a, sizeof(*kept));
	*kept = *r;
	l->r = kept;
	l->timer.data = l;
	uv_timer_init(r->s->loop, &l->timer);
	struct fl_http_call_opts opts = {
	    .method = "GET", .url = url.data, .on_data = on_data, .on_done = on_done, .arg = l};
	struct fl_err err = {0};
	fl_http_on_close(r->http, on_gone, l);
	if (fl_http_client_call(r->s->kubelet, &opts, &l->call, &err) < 0) {
		fl_http_on_close(r->http, NULL, NULL);
		relay_free(l);
		fl_respond_error(r, 500, "InternalError", "%s", err.text);
	}
}
