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
#define MAX_REFUSAL 50000 // bytes of a node's refusal that are passed on

// Belongs to the request and to the call, and goes with the last of them.
struct relay {
	struct fl_request *r;      // NULL once the request is over
	struct fl_http_call *call; // NULL once it is
	uv_timer_t timer;
	bool started, paused;
	int status; // of the node's answer
	struct fl_buf refusal;
};

static void free_relay(uv_handle_t *h)
{
	struct relay *l = h->data;
	fl_buf_deinit(&l->refusal);
	free(l);
}

static void on_close(struct fl_http_req *req, void *arg, bool gone)
{
	struct relay *l = arg;
	l->r = NULL;
	fl_http_call_cancel(&l->call);
	uv_close((uv_handle_t *)&l->timer, free_relay);
}

static void resume_later(uv_timer_t *t)
{
	struct relay *l = t->data;
	if (!l->call || fl_http_unsent(l->r->http) >= UNSENT_HIGH / 2)
		return;
	l->paused = false;
	uv_timer_stop(t);
	fl_http_call_pause(l->call, false);
}

static bool is_success(int status)
{
	return status >= 200 && status <= 206;
}

static void start(struct relay *l)
{
	const char *type = l->call ? fl_http_call_header(l->call, "content-type") : NULL;
	l->started = true;
	fl_http_start(l->r->http, l->status, type ? type : "text/plain");
}

static void on_data(void *arg, int status, const char *data, size_t len)
{
	struct relay *l = arg;
	l->status = status;
	if (!is_success(status)) {
		size_t room = MAX_REFUSAL - l->refusal.len;
		fl_buf_append(&l->refusal, data, len < room ? len : room);
		return;
	}
	if (!l->started)
		start(l);
	struct fl_bytes *b = fl_bytes_new(data, len);
	fl_http_write(l->r->http, b);
	fl_bytes_put(&b);
	if (!l->paused && fl_http_unsent(l->r->http) > UNSENT_HIGH) {
		l->paused = true;
		fl_http_call_pause(l->call, true);
		uv_timer_start(&l->timer, resume_later, RESUME_MS, RESUME_MS);
	}
}

// The node's refusal in the form that clients expect (registry/generic/rest GenericHttpResponseChecker).
static void refuse(struct relay *l)
{
	const char *text = l->refusal.data ? l->refusal.data : "";
	struct fl_request *r = l->r;
	const char *reason = l->status == 400   ? "BadRequest"
			     : l->status == 404 ? "NotFound"
			     : l->status == 403 ? "Forbidden"
			     : l->status == 401 ? "Unauthorized"
						: "InternalError";
	if (l->status == 400)
		fl_respond_error(r, 400, reason, "%s", text);
	else
		fl_respond_error(r, l->status >= 400 ? l->status : 500, reason,
				 "Get logs of pod \"%s\": the node said: %s", r->name, text);
}

static void on_done(void *arg, int rc, int status, const char *body, size_t len, const struct fl_err *err)
{
	struct relay *l = arg;
	struct fl_request *r = l->r; // there: its end would have cancelled the call
	uv_timer_stop(&l->timer);
	l->status = status;
	if (rc < 0 && l->started) {
		fl_http_abort(r->http);
	} else if (rc < 0) {
		fl_respond_error(r, 500, "InternalError", "Get logs of pod \"%s\": %s", r->name, err->text);
	} else if (!is_success(status)) {
		refuse(l);
	} else {
		if (!l->started)
			start(l);
		fl_http_end(r->http);
	}
	l->call = NULL;
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

static void relay(struct fl_request *r, const char *url)
{
	struct relay *l = FL_NEW(struct relay);
	l->r = r;
	uv_timer_init(r->s->loop, &l->timer);
	l->timer.data = l;
	struct fl_http_call_opts opts = {.method = "GET", .url = url, .on_data = on_data, .on_done = on_done, .arg = l};
	struct fl_err err = {0};
	fl_http_on_close(r->http, on_close, l);
	if (fl_http_client_call(r->s->kubelet, &opts, &l->call, &err) < 0)
		fl_respond_error(r, 500, "InternalError", "Get logs of pod \"%s\": %s", r->name, err.text);
}

// validation.ValidatePodLogOptions. False: answered.
static bool check_options(struct fl_request *r)
{
	static const struct {
		const char *name;
		unsigned least;
		const char *why;
	} numbers[] = {
	    {"tailLines", 0, "must be greater than or equal to 0"},
	    {"limitBytes", 1, "must be greater than 0"},
	    {"sinceSeconds", 1, "must be greater than 0"},
	};
	struct fl_causes causes = {.arena = r->a};
	for (unsigned i = 0; i < FL_COUNT(numbers); i++) {
		const char *v = fl_request_param(r, numbers[i].name);
		unsigned long long n;
		if (!fl_str_empty(v) && (!fl_parse_u64(v, &n) || n < numbers[i].least))
			fl_cause_add(&causes, FL_CAUSE_INVALID, numbers[i].name, fl_json_new_str(r->a, v), "%s",
				     numbers[i].why);
	}
	if (fl_request_param(r, "sinceSeconds") && fl_request_param(r, "sinceTime"))
		fl_cause_add(&causes, FL_CAUSE_FORBIDDEN, "sinceSeconds", NULL,
			     "at most one of `sinceTime` or `sinceSeconds` may be specified");
	if (!causes.n)
		return true;
	struct fl_status st = fl_status_invalid(r->a, "", "PodLogOptions", r->name, &causes);
	fl_respond_status(r, &st);
	return false;
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
	if (!container || !check_options(r))
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
	relay(r, url.data);
}
