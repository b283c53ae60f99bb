// SPDX-License-Identifier: Apache-2.0
// A call is one HTTP request; its answer is parsed once and handed over with the arena that holds it. A call that
// cannot even be started is reported from a later turn of the loop, so that no caller sees its callback before its own
// return. At most MAX_RUNNING calls run at a time; more wait in line, so that a role with thousands of writes to do
// neither opens connections without end nor runs into the time-out of calls that the server has not got to.
#include "client/client.h"

#include <errno.h>
#include <stdio.h>
#include <sys/queue.h>

#include "base/log.h"
#include "base/mem.h"
#include "client/internal.h"
#include "io/http_client.h"

#define MAX_RUNNING 256

struct request { // kept while the call is in line
	char method[16];
	struct fl_buf url, type, body;
};

struct fl_client_call {
	struct fl_client *c;
	TAILQ_ENTRY(fl_client_call) link; // in c->waiting or c->calls
	struct request *request;          // until it is started
	struct fl_http_call *http;
	fl_client_done done;
	fl_client_text_done text_done; // one of the two, or none
	void *arg;
	bool counted;         // in c->running
	struct fl_err failed; // code set: never started
};

struct fl_client {
	uv_loop_t *loop;
	struct fl_http_client *http;
	char *server;
	TAILQ_HEAD(call_list, fl_client_call) calls, waiting; // started; in line
	unsigned running;
	uv_timer_t *report; // calls that never started
	bool lost;
};

#define GVR(name, g, v, p) const struct fl_gvr fl_gvr_##name = {.group = g, .version = v, .plural = p}
GVR(namespaces, "", "v1", "namespaces");
GVR(nodes, "", "v1", "nodes");
GVR(pods, "", "v1", "pods");
GVR(services, "", "v1", "services");
GVR(endpoints, "", "v1", "endpoints");
GVR(endpointslices, "discovery.k8s.io", "v1", "endpointslices");
GVR(deployments, "apps", "v1", "deployments");
GVR(replicasets, "apps", "v1", "replicasets");
GVR(configmaps, "", "v1", "configmaps");
GVR(secrets, "", "v1", "secrets");
GVR(serviceaccounts, "", "v1", "serviceaccounts");
GVR(events, "", "v1", "events");
GVR(leases, "coordination.k8s.io", "v1", "leases");
GVR(replicationcontrollers, "", "v1", "replicationcontrollers");
GVR(controllerrevisions, "apps", "v1", "controllerrevisions");

static void close_timer(uv_handle_t *h)
{
	free(h);
}

int fl_client_new(uv_loop_t *loop, const struct fl_kubeconfig *cfg, const char *user_agent, struct fl_client **ret,
		  struct fl_err *err)
{
	struct fl_http_client_opts opts = {
	    .ca_pem = cfg->ca_pem,
	    .cert_pem = cfg->cert_pem,
	    .key_pem = cfg->key_pem,
	    .bearer_token = cfg->token,
	    .tls_server_name = cfg->tls_server_name,
	    .insecure_skip_verify = cfg->insecure_skip_verify != 0,
	    .user_agent = user_agent,
	};
	AUTO(fl_client_free) struct fl_client *c = FL_NEW(struct fl_client);
	TAILQ_INIT(&c->calls);
	TAILQ_INIT(&c->waiting);
	c->loop = loop;
	c->server = fl_strdup(cfg->server);
	for (size_t n = strlen(c->server); n && c->server[n - 1] == '/'; n--)
		c->server[n - 1] = 0;
	int rc = fl_http_client_new(loop, &opts, &c->http, err);
	if (rc < 0)
		return rc;
	c->report = FL_NEW(uv_timer_t);
	c->report->data = c;
	uv_timer_init(loop, c->report);
	*ret = TAKE_PTR(c);
	return 0;
}

static void free_request(struct request *r)
{
	if (!r)
		return;
	fl_buf_deinit(&r->url);
	fl_buf_deinit(&r->type);
	fl_buf_deinit(&r->body);
	free(r);
}

static void free_call(struct fl_client_call *call)
{
	TAILQ_REMOVE(call->request ? &call->c->waiting : &call->c->calls, call, link);
	if (call->counted)
		call->c->running--;
	free_request(call->request);
	free(call);
}

static void drop_all(struct call_list *list)
{
	for (struct fl_client_call *call = TAILQ_FIRST(list), *after; call; call = after) {
		after = TAILQ_NEXT(call, link);
		fl_http_call_cancel(&call->http);
		free_call(call);
	}
}

void fl_client_free(struct fl_client **cp)
{
	struct fl_client *c = TAKE_PTR(*cp);
	if (!c)
		return;
	drop_all(&c->waiting);
	drop_all(&c->calls);
	fl_http_client_free(&c->http);
	if (c->report)
		uv_close((uv_handle_t *)c->report, close_timer);
	free(c->server);
	free(c);
}

uv_loop_t *fl_client_loop(const struct fl_client *c)
{
	return c->loop;
}

struct fl_http_client *fl_client_http(struct fl_client *c)
{
	return c->http;
}

const char *fl_client_server(const struct fl_client *c)
{
	return c->server;
}

void fl_client_note_lost(struct fl_client *c, const struct fl_err *err)
{
	if (!c->lost)
		fl_warn("client: the API server does not answer, retrying error=%s", err->text);
	c->lost = true;
}

void fl_client_note_back(struct fl_client *c)
{
	if (c->lost)
		fl_info("client: the API server is back server=%s", c->server);
	c->lost = false;
}

static void put_segment(struct fl_buf *b, const char *s)
{
	fl_buf_putc(b, '/');
	fl_percent_encode(b, s);
}

const char *fl_client_path(struct fl_arena *a, const struct fl_gvr *gvr, const char *ns, const char *name,
			   const char *subresource)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_buf_reserve(&b, 128);
	fl_buf_puts(&b, gvr->group[0] ? "/apis/" : "/api/");
	if (gvr->group[0]) {
		fl_buf_puts(&b, gvr->group);
		fl_buf_putc(&b, '/');
	}
	fl_buf_puts(&b, gvr->version);
	if (!fl_str_empty(ns)) {
		fl_buf_puts(&b, "/namespaces");
		put_segment(&b, ns);
	}
	put_segment(&b, gvr->plural);
	if (name)
		put_segment(&b, name);
	if (subresource)
		put_segment(&b, subresource);
	return fl_arena_strndup(a, b.data, b.len);
}

static int code_of(int status, const char *reason)
{
	switch (status) {
	case 404:
		return -ENOENT;
	case 409:
		return fl_streq(reason, "AlreadyExists") ? -EEXIST : -ESTALE;
	case 410:
		return -ESTALE;
	case 401:
	case 403:
		return -EACCES;
	case 429:
		return -EAGAIN;
	default:
		return status >= 500 ? -EAGAIN : -EINVAL;
	}
}

int fl_client_status_code(int http_status, const struct fl_json *body, struct fl_err *err)
{
	if (http_status >= 200 && http_status < 300)
		return 0;
	const char *message = fl_json_str(body, "message");
	int code = code_of(http_status, fl_json_str(body, "reason"));
	if (!fl_str_empty(message))
		return fl_err_set(err, code, "%s", message);
	return fl_err_set(err, code, "the server answered %d without a reason", http_status);
}

static void advance(struct fl_client *c);

// Removes the call before its callback runs: the callback may free the client.
static void finish(struct fl_client_call *call, int rc, int status, struct fl_arena *a, struct fl_json *body,
		   const struct fl_err *err)
{
	struct fl_client_call was = *call;
	free_call(call);
	advance(was.c);
	if (was.text_done)
		was.text_done(was.arg, rc, status, NULL, 0, err);
	else if (was.done)
		was.done(was.arg, rc, status, a, body, err);
}

static void on_done(void *arg, int rc, int status, const char *body, size_t len, const struct fl_err *err)
{
	struct fl_client_call *call = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_json *tree = NULL;
	struct fl_err answer = {0};
	call->http = NULL;
	if (rc < 0) {
		fl_client_note_lost(call->c, err);
		finish(call, rc, 0, &a, NULL, err);
		return;
	}
	fl_client_note_back(call->c);
	if (call->text_done && status >= 200 && status < 300) {
		struct fl_client_call was = *call;
		free_call(call);
		advance(was.c);
		was.text_done(was.arg, 0, status, body, len, &answer);
		return;
	}
	if (len && (body[0] == '{' || body[0] == '[')) {
		struct fl_err parse = {0};
		rc = fl_json_parse(&a, body, len, NULL, &tree, &parse);
		if (rc < 0 && status < 300) {
			fl_err_set(&answer, -EPROTO, "the server's answer is no JSON: %s", parse.text);
			finish(call, -EPROTO, status, &a, NULL, &answer);
			return;
		}
	} else if (len) {
		tree = fl_json_new_strn(&a, body, len);
	}
	rc = fl_client_status_code(status, tree, &answer);
	finish(call, rc, status, &a, tree, &answer);
}

static void report_failed(uv_timer_t *t)
{
	struct fl_client *c = t->data;
	for (struct fl_client_call *call = TAILQ_FIRST(&c->calls); call; call = TAILQ_NEXT(call, link)) {
		if (!call->failed.code)
			continue;
		AUTO(fl_arena_deinit) struct fl_arena a = {0};
		struct fl_err err = call->failed;
		uv_timer_start(t, report_failed, 0, 0); // the callback may free the client: look for more from anew
		finish(call, err.code, 0, &a, NULL, &err);
		return;
	}
	uv_timer_stop(t);
}

static void launch(struct fl_client *c, struct fl_client_call *call)
{
	struct request *r = call->request;
	const char *headers[3] = {"Accept: application/json", r->type.len ? r->type.data : NULL, NULL};
	struct fl_http_call_opts opts = {
	    .method = r->method,
	    .url = r->url.data,
	    .headers = headers,
	    .body = r->body.data,
	    .body_len = r->body.len,
	    .timeout_ms = FL_CLIENT_CALL_TIMEOUT_MS,
	    .on_done = on_done,
	    .arg = call,
	};
	TAILQ_REMOVE(&c->waiting, call, link);
	TAILQ_INSERT_TAIL(&c->calls, call, link);
	call->request = NULL;
	int rc = fl_http_client_call(c->http, &opts, &call->http, &call->failed);
	free_request(r);
	if (rc < 0) {
		call->failed.code = rc;
		call->http = NULL;
		uv_timer_start(c->report, report_failed, 0, 0);
	} else {
		call->counted = true;
		c->running++;
	}
}

static void advance(struct fl_client *c)
{
	struct fl_client_call *call;
	while (c->running < MAX_RUNNING && (call = TAILQ_FIRST(&c->waiting)))
		launch(c, call);
}

static struct fl_client_call *start(struct fl_client *c, const char *method, const char *path, const char *content_type,
				    const void *body, size_t len, struct fl_client_call **ret)
{
	struct fl_client_call *call = FL_NEW(struct fl_client_call);
	struct request *r = FL_NEW(struct request);
	*call = (struct fl_client_call){.c = c, .request = r};
	snprintf(r->method, sizeof(r->method), "%s", method);
	fl_buf_puts(&r->url, c->server);
	fl_buf_puts(&r->url, path);
	if (content_type) {
		fl_buf_puts(&r->type, "Content-Type: ");
		fl_buf_puts(&r->type, content_type);
	}
	if (len)
		fl_buf_append(&r->body, body, len);
	TAILQ_INSERT_TAIL(&c->waiting, call, link);
	if (ret)
		*ret = call;
	return call;
}

void fl_client_cancel(struct fl_client_call **callp)
{
	struct fl_client_call *call = TAKE_PTR(*callp);
	if (!call)
		return;
	struct fl_client *c = call->c;
	fl_http_call_cancel(&call->http);
	free_call(call);
	advance(c);
}

void fl_client_raw(struct fl_client *c, const char *method, const char *path, const char *content_type,
		   const void *body, size_t len, fl_client_done done, void *arg, struct fl_client_call **ret)
{
	struct fl_client_call *call = start(c, method, path, content_type, body, len, ret);
	call->done = done;
	call->arg = arg;
	advance(c);
}

void fl_client_text(struct fl_client *c, const char *method, const char *path, const char *content_type,
		    const void *body, size_t len, fl_client_text_done done, void *arg, struct fl_client_call **ret)
{
	struct fl_client_call *call = start(c, method, path, content_type, body, len, ret);
	call->text_done = done;
	call->arg = arg;
	advance(c);
}

static void send_tree(struct fl_client *c, const char *method, const char *path, const char *content_type,
		      const struct fl_json *tree, fl_client_done done, void *arg, struct fl_client_call **ret)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_json_write(&b, tree);
	fl_client_raw(c, method, path, content_type, b.data, b.len, done, arg, ret);
}

void fl_client_get(struct fl_client *c, const struct fl_gvr *gvr, const char *ns, const char *name, fl_client_done done,
		   void *arg, struct fl_client_call **ret)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	fl_client_raw(c, "GET", fl_client_path(&a, gvr, ns, name, NULL), NULL, NULL, 0, done, arg, ret);
}

void fl_client_create(struct fl_client *c, const struct fl_gvr *gvr, const char *ns, const struct fl_json *obj,
		      fl_client_done done, void *arg, struct fl_client_call **ret)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	send_tree(c, "POST", fl_client_path(&a, gvr, ns, NULL, NULL), "application/json", obj, done, arg, ret);
}

void fl_client_update(struct fl_client *c, const struct fl_gvr *gvr, const char *ns, const char *name,
		      const char *subresource, const struct fl_json *obj, fl_client_done done, void *arg,
		      struct fl_client_call **ret)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	send_tree(c, "PUT", fl_client_path(&a, gvr, ns, name, subresource), "application/json", obj, done, arg, ret);
}

const char *fl_client_patch_type(enum fl_patch_type type)
{
	static const char *const types[] = {
	    [FL_PATCH_MERGE] = "application/merge-patch+json",
	    [FL_PATCH_STRATEGIC] = "application/strategic-merge-patch+json",
	    [FL_PATCH_JSON] = "application/json-patch+json",
	};
	return types[type];
}

void fl_client_patch(struct fl_client *c, const struct fl_gvr *gvr, const char *ns, const char *name,
		     const char *subresource, enum fl_patch_type type, const struct fl_json *patch, fl_client_done done,
		     void *arg, struct fl_client_call **ret)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	send_tree(c, "PATCH", fl_client_path(&a, gvr, ns, name, subresource), fl_client_patch_type(type), patch, done,
		  arg, ret);
}

void fl_client_delete(struct fl_client *c, const struct fl_gvr *gvr, const char *ns, const char *name, const char *uid,
		      int grace_seconds, const char *propagation, fl_client_done done, void *arg,
		      struct fl_client_call **ret)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_json *o = fl_json_new(&a, FL_JSON_OBJECT);
	fl_json_set_str(&a, o, "kind", "DeleteOptions");
	fl_json_set_str(&a, o, "apiVersion", "v1");
	if (grace_seconds >= 0)
		fl_json_set_int(&a, o, "gracePeriodSeconds", grace_seconds);
	if (propagation)
		fl_json_set_str(&a, o, "propagationPolicy", propagation);
	if (uid)
		fl_json_set_str(&a, fl_json_set_object(&a, o, "preconditions"), "uid", uid);
	send_tree(c, "DELETE", fl_client_path(&a, gvr, ns, name, NULL), "application/json", o, done, arg, ret);
}
