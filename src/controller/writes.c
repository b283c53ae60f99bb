// SPDX-License-Identifier: Apache-2.0
#include "controller/writes.h"

#include <errno.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/vec.h"

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

static void forget_echo(struct fl_writes *w, const struct fl_json *answer)
{
	const struct fl_json *meta = fl_json_get(answer, "metadata");
	unsigned long long rv;
	if (!fl_parse_u64(fl_json_str_or(meta, "resourceVersion", ""), &rv))
		return;
	for (size_t i = 0; i < w->echoes.n; i++)
		if (w->echoes.v[i].rv == rv && fl_streq(fl_json_str(meta, "uid"), w->echoes.v[i].uid)) {
			fl_vec_remove(&w->echoes, i);
			return;
		}
}

static void judge(const struct write *one, int rc, int http_status, const struct fl_json *body,
		  const struct fl_err *err)
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

static void on_done(void *arg, int rc, int http_status, struct fl_arena *a, struct fl_json *body,
		    const struct fl_err *err)
{
	struct write *one = arg;
	struct fl_writes *w = one->w;
	one->call = NULL;
	judge(one, rc, http_status, body, err);
	*fl_hub_answered(w->hub) = w->queue;
	into_cache(one, rc, body);
	if (rc == 0 && w->echoes.n)
		forget_echo(w, body);
	*fl_hub_answered(w->hub) = NULL;
	if (one->done)
		one->done(one->arg, rc, body, err);
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

void fl_writes_create(struct fl_writes *w, const struct fl_gvr *gvr, const char *ns, const struct fl_json *obj,
		      fl_writes_done done, void *arg)
{
	const struct fl_json *meta = fl_json_get(obj, "metadata");
	const char *name = fl_json_str(meta, "name");
	struct write *one = add(w, gvr, "create", ns, name ? name : fl_json_str(meta, "generateName"), done, arg);
	fl_client_create(fl_hub_client(w->hub), gvr, ns, obj, on_done, one, &one->call);
}

void fl_writes_update(struct fl_writes *w, const struct fl_gvr *gvr, const char *ns, const char *name,
		      const char *subresource, const struct fl_json *obj, fl_writes_done done, void *arg)
{
	struct write *one = add(w, gvr, "update", ns, name, done, arg);
	fl_client_update(fl_hub_client(w->hub), gvr, ns, name, subresource, obj, on_done, one, &one->call);
}

void fl_writes_patch(struct fl_writes *w, const struct fl_gvr *gvr, const char *ns, const char *name,
		     const char *subresource, enum fl_patch_type type, const struct fl_json *patch, fl_writes_done done,
		     void *arg)
{
	struct write *one = add(w, gvr, "patch", ns, name, done, arg);
	fl_client_patch(fl_hub_client(w->hub), gvr, ns, name, subresource, type, patch, on_done, one, &one->call);
}

void fl_writes_post(struct fl_writes *w, const struct fl_gvr *gvr, const char *ns, const char *name,
		    const char *subresource, const struct fl_json *obj, fl_writes_done done, void *arg)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct write *one = add(w, gvr, subresource, ns, name, done, arg);
	fl_json_write(&b, obj);
	fl_client_raw(fl_hub_client(w->hub), "POST", fl_client_path(&w->arena, gvr, ns, name, subresource),
		      "application/json", b.data, b.len, on_done, one, &one->call);
}

void fl_writes_raw(struct fl_writes *w, const struct fl_gvr *gvr, const char *method, const char *ns, const char *name,
		   const char *path, const struct fl_json *body, fl_writes_done done, void *arg)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct write *one = add(w, gvr, method, ns, name, done, arg);
	one->uncached = true;
	if (body)
		fl_json_write(&b, body);
	fl_client_raw(fl_hub_client(w->hub), method, path, body ? "application/json" : NULL, b.data, b.len, on_done,
		      one, &one->call);
}

void fl_writes_delete_exact(struct fl_writes *w, const struct fl_gvr *gvr, const char *ns, const char *name,
			    const char *uid, const char *resource_version, const char *propagation)
{
	struct fl_arena *a = &w->arena;
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct write *one = add(w, gvr, "delete", ns, name, NULL, NULL);
	one->uid = fl_arena_strdup(a, uid);
	struct fl_json *o = fl_json_new(a, FL_JSON_OBJECT);
	fl_json_set_str(a, o, "kind", "DeleteOptions");
	fl_json_set_str(a, o, "apiVersion", "v1");
	fl_json_set_str(a, o, "propagationPolicy", propagation);
	struct fl_json *p = fl_json_set_object(a, o, "preconditions");
	fl_json_set_str(a, p, "uid", uid);
	fl_json_set_str(a, p, "resourceVersion", resource_version);
	fl_json_write(&b, o);
	fl_client_raw(fl_hub_client(w->hub), "DELETE", fl_client_path(a, gvr, ns, name, NULL), "application/json",
		      b.data, b.len, on_done, one, &one->call);
}

void fl_writes_delete(struct fl_writes *w, const struct fl_gvr *gvr, const char *ns, const char *name, const char *uid,
		      int grace_seconds, const char *propagation, fl_writes_done done, void *arg)
{
	struct write *one = add(w, gvr, "delete", ns, name, done, arg);
	one->uid = fl_arena_strdup(&w->arena, uid);
	fl_client_delete(fl_hub_client(w->hub), gvr, ns, name, uid, grace_seconds, propagation, on_done, one,
			 &one->call);
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
