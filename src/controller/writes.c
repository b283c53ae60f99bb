// SPDX-License-Identifier: Apache-2.0
#include "controller/writes.h"

#include <errno.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/vec.h"
#include "client/scan.h"

#define JSON        "application/json"
#define USUAL_BYTES 1000 // of a request's body: room for it at once

struct echo { // of a change that was told before an answer
	uint64_t rv;
	char uid[40];
};

struct fl_writes {
	struct fl_hub *hub;
	struct fl_writes *next, **link;
	struct fl_workqueue *queue;
	struct fl_arena arena;
	struct write *writes; // under way
	FL_VEC(struct echo) echoes;
	unsigned again_ms;
	bool failed, ended;
	char key[];
};

struct write {
	struct fl_writes *w;
	struct write *next, **link;
	const struct fl_gvr *gvr;
	const char *verb, *ns, *name, *uid; // in the arena
	bool uncached;
	fl_writes_done done;
	void *arg;
	struct fl_client_call *call;
};

struct fl_writes *fl_writes_begin(struct fl_hub *h, struct fl_workqueue *queue, const char *key)
{
	size_t n = strlen(key);
	struct fl_writes *w = fl_calloc(1, sizeof(*w) + n + 1);
	struct fl_writes **list = fl_hub_writes(h);
	memcpy(w->key, key, n + 1);
	w->hub = h;
	w->queue = queue;
	w->next = *list;
	w->link = list;
	if (w->next)
		w->next->link = &w->next;
	*list = w;
	return w;
}

static void free_writes(struct fl_writes *w)
{
	*w->link = w->next;
	if (w->next)
		w->next->link = w->link;
	fl_vec_deinit(&w->echoes);
	fl_arena_deinit(&w->arena);
	free(w);
}

void fl_writes_drop_all(struct fl_writes **list)
{
	while (*list) {
		struct fl_writes *w = *list;
		for (struct write *one = w->writes; one; one = one->next)
			fl_client_cancel(&one->call);
		free_writes(w);
	}
}

static void finish_if_idle(struct fl_writes *w)
{
	if (w->writes || !w->ended)
		return;
	fl_workqueue_done(w->queue, w->key, !w->failed);
	if (w->echoes.n)
		fl_workqueue_add(w->queue, w->key);
	if (!w->failed && w->again_ms)
		fl_workqueue_add_after(w->queue, w->key, w->again_ms);
	free_writes(w);
}

static bool stays_for_now(const struct fl_json *answer)
{
	const struct fl_json *meta = fl_json_get(answer, "metadata");
	return fl_json_get(meta, "deletionTimestamp") && (fl_json_int(meta, "deletionGracePeriodSeconds", 0) > 0 ||
							  fl_json_count(fl_json_get(meta, "finalizers")));
}

static void into_cache(const struct write *one, int rc, const struct fl_json *answer)
{
	struct fl_informer *i = fl_hub_informer_of(one->w->hub, one->gvr);
	if (!i || one->uncached)
		return;
	if (!one->uid) {
		if (rc == 0)
			fl_informer_wrote(i, answer);
	} else if (rc == 0 && stays_for_now(answer)) {
		fl_informer_wrote(i, answer);
	} else if (rc == 0 || rc == -ENOENT) {
		fl_informer_removed(i, one->ns, one->name, one->uid);
	}
}

bool fl_writes_echo(struct fl_hub *h, const struct fl_workqueue *queue, const char *key, const struct fl_object *o)
{
	struct echo e = {.rv = o->rv};
	size_t n = strlen(o->uid);
	if (n >= sizeof(e.uid))
		return false;
	memcpy(e.uid, o->uid, n + 1);
	for (struct fl_writes *w = *fl_hub_writes(h); w; w = w->next)
		if (w->queue == queue && w->writes && !strcmp(w->key, key)) {
			fl_vec_push(&w->echoes, e);
			return true;
		}
	return false;
}

static void forget_echo(struct fl_writes *w, const struct fl_scan_meta *answer)
{
	for (size_t i = 0; i < w->echoes.n; i++)
		if (w->echoes.v[i].rv == answer->rv && fl_span_equals(answer->uid, w->echoes.v[i].uid)) {
			fl_vec_remove(&w->echoes, i);
			return;
		}
}

static void judge(const struct write *one, int rc, int http_status, const struct fl_err *err)
{
	struct fl_writes *w = one->w;
	if (rc == 0 || (rc == -ENOENT && (one->uid || one->uncached)))
		return;
	if (http_status == 403 && fl_hub_ns_closed(w->hub, one->ns))
		return; // the namespace is being deleted: nothing to do any more
	w->failed = true;
	// Not told: a cache that is behind, which the retry mends, and a server that does not answer, of which the
	// client tells.
	if (http_status && rc != -ESTALE && rc != -EEXIST && rc != -ENOENT)
		fl_warn("%s failed resource=%s object=%s/%s error=%s", one->verb, one->gvr->plural, one->ns, one->name,
			err->text);
}

// The watch was faster and nobody asks for more: the answer needs not be read.
static bool is_old_news(const struct write *one, const struct fl_scan_meta *answer)
{
	struct fl_informer *i = fl_hub_informer_of(one->w->hub, one->gvr);
	return !one->done && !one->uid && (!i || one->uncached || fl_informer_passed(i, answer->rv));
}

static int read_answer(struct fl_arena *a, const char *text, size_t len, const struct fl_json **ret, struct fl_err *err)
{
	static const struct fl_json_parse_opts opts = {.left_out = {"metadata", "managedFields", 2}};
	struct fl_json *tree;
	if (!len || (text[0] != '{' && text[0] != '['))
		return 0;
	int rc = fl_json_parse(a, text, len, &opts, &tree, err);
	if (rc < 0) {
		fl_err_prefix(err, "the server's answer is no JSON");
		return -EPROTO;
	}
	*ret = tree;
	return 0;
}

static void on_done(void *arg, int rc, int http_status, const char *text, size_t len, const struct fl_err *err)
{
	struct write *one = arg;
	struct fl_writes *w = one->w;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_json *answer = NULL;
	struct fl_scan_meta meta;
	struct fl_err why = *err;
	bool told = rc == 0 && len && fl_scan_identify((struct fl_span){text, len}, &meta);
	one->call = NULL;
	if (rc == 0 && !(told && is_old_news(one, &meta)))
		rc = read_answer(&a, text, len, &answer, &why);
	judge(one, rc, http_status, &why);
	*fl_hub_answered(w->hub) = w->queue;
	into_cache(one, rc, answer);
	if (told && w->echoes.n)
		forget_echo(w, &meta);
	*fl_hub_answered(w->hub) = NULL;
	if (one->done)
		one->done(one->arg, rc, answer, &why);
	*one->link = one->next;
	if (one->next)
		one->next->link = one->link;
	finish_if_idle(w);
}

static struct write *add(struct fl_writes *w, const struct fl_gvr *gvr, const char *verb, const char *ns,
			 const char *name, fl_writes_done done, void *arg)
{
	struct write *one = fl_arena_zalloc(&w->arena, sizeof(*one));
	*one = (struct write){
	    .w = w,
	    .next = w->writes,
	    .link = &w->writes,
	    .gvr = gvr,
	    .verb = verb,
	    .ns = fl_arena_strdup(&w->arena, ns ? ns : ""),
	    .name = fl_arena_strdup(&w->arena, name ? name : ""),
	    .done = done,
	    .arg = arg,
	};
	if (one->next)
		one->next->link = &one->next;
	w->writes = one;
	return one;
}

static void request(struct write *one, const char *method, const char *path, const char *type,
		    const struct fl_json *body)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	if (body) {
		fl_buf_reserve(&b, USUAL_BYTES);
		fl_json_write(&b, body);
	}
	fl_client_text(fl_hub_client(one->w->hub), method, path, body ? type : NULL, b.data, b.len, on_done, one,
		       &one->call);
}

void fl_writes_create(struct fl_writes *w, const struct fl_gvr *gvr, const char *ns, const struct fl_json *obj,
		      fl_writes_done done, void *arg)
{
	const struct fl_json *meta = fl_json_get(obj, "metadata");
	const char *name = fl_json_str(meta, "name");
	struct write *one = add(w, gvr, "create", ns, name ? name : fl_json_str(meta, "generateName"), done, arg);
	request(one, "POST", fl_client_path(&w->arena, gvr, ns, NULL, NULL), JSON, obj);
}

void fl_writes_update(struct fl_writes *w, const struct fl_gvr *gvr, const char *ns, const char *name,
		      const char *subresource, const struct fl_json *obj, fl_writes_done done, void *arg)
{
	struct write *one = add(w, gvr, "update", ns, name, done, arg);
	request(one, "PUT", fl_client_path(&w->arena, gvr, ns, name, subresource), JSON, obj);
}

void fl_writes_patch(struct fl_writes *w, const struct fl_gvr *gvr, const char *ns, const char *name,
		     const char *subresource, enum fl_patch_type type, const struct fl_json *patch, fl_writes_done done,
		     void *arg)
{
	struct write *one = add(w, gvr, "patch", ns, name, done, arg);
	request(one, "PATCH", fl_client_path(&w->arena, gvr, ns, name, subresource), fl_client_patch_type(type), patch);
}

void fl_writes_post(struct fl_writes *w, const struct fl_gvr *gvr, const char *ns, const char *name,
		    const char *subresource, const struct fl_json *obj, fl_writes_done done, void *arg)
{
	struct write *one = add(w, gvr, subresource, ns, name, done, arg);
	request(one, "POST", fl_client_path(&w->arena, gvr, ns, name, subresource), JSON, obj);
}

void fl_writes_raw(struct fl_writes *w, const struct fl_gvr *gvr, const char *method, const char *ns, const char *name,
		   const char *path, const struct fl_json *body, fl_writes_done done, void *arg)
{
	struct write *one = add(w, gvr, method, ns, name, done, arg);
	one->uncached = true;
	request(one, method, path, JSON, body);
}

static struct fl_json *delete_options(struct fl_arena *a, const char *uid, const char *resource_version,
				      int grace_seconds, const char *propagation)
{
	struct fl_json *o = fl_json_new(a, FL_JSON_OBJECT);
	fl_json_set_str(a, o, "kind", "DeleteOptions");
	fl_json_set_str(a, o, "apiVersion", "v1");
	if (grace_seconds >= 0)
		fl_json_set_int(a, o, "gracePeriodSeconds", grace_seconds);
	fl_json_set_str(a, o, "propagationPolicy", propagation);
	struct fl_json *p = fl_json_set_object(a, o, "preconditions");
	fl_json_set_str(a, p, "uid", uid);
	fl_json_set_str(a, p, "resourceVersion", resource_version);
	return o;
}

static void send_delete(struct write *one, const char *uid, const char *resource_version, int grace_seconds,
			const char *propagation)
{
	struct fl_arena *a = &one->w->arena;
	one->uid = fl_arena_strdup(a, uid);
	request(one, "DELETE", fl_client_path(a, one->gvr, one->ns, one->name, NULL), JSON,
		delete_options(a, uid, resource_version, grace_seconds, propagation));
}

void fl_writes_delete_exact(struct fl_writes *w, const struct fl_gvr *gvr, const char *ns, const char *name,
			    const char *uid, const char *resource_version, const char *propagation)
{
	send_delete(add(w, gvr, "delete", ns, name, NULL, NULL), uid, resource_version, -1, propagation);
}

void fl_writes_delete(struct fl_writes *w, const struct fl_gvr *gvr, const char *ns, const char *name, const char *uid,
		      int grace_seconds, const char *propagation, fl_writes_done done, void *arg)
{
	send_delete(add(w, gvr, "delete", ns, name, done, arg), uid, NULL, grace_seconds, propagation);
}

void fl_writes_fail(struct fl_writes *w)
{
	w->failed = true;
}

void fl_writes_again(struct fl_writes *w, unsigned delay_ms)
{
	if (!w->again_ms || delay_ms < w->again_ms)
		w->again_ms = delay_ms ? delay_ms : 1;
}

struct fl_arena *fl_writes_arena(struct fl_writes *w)
{
	return &w->arena;
}

void fl_writes_end(struct fl_writes *w)
{
	w->ended = true;
	finish_if_idle(w);
}
