// SPDX-License-Identifier: Apache-2.0
// A namespace with a deletionTimestamp goes in steps, each a pass of its own until nothing is left of it:
//
//   discovery --> delete pods, count pods --none--> delete all else, count it --none--> drop the finalizer
//
// Pods go first, so that what protects them (policies, ...) outlives them.
#include "controller/namespace/namespace.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/vec.h"
#include "controller/meta.h"
#include "controller/namespace/conditions.h"
#include "controller/writes.h"

#define CONCURRENCY 4
#define RETRY_MS    1000 // while content remains; the end of a pod calls earlier
#define FINALIZER   "kubernetes"

struct fl_namespace_controller {
	struct fl_hub *hub;
	struct fl_discovery *discovery;
	struct fl_workqueue *queue;
	FL_VEC(char *) waiting; // keys under way that wait for discovery
};

struct pass { // in the arena of its writes
	struct fl_namespace_controller *c;
	struct fl_writes *w;
	const char *name;
	struct fl_ns_rest *rest;
	unsigned open; // resources not counted yet
	bool pods_only;
};

struct one { // resource of a pass
	struct pass *p;
	const struct fl_resource *r;
	const char *path, *label;
};

static bool is_terminating(const struct fl_object *o)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	return o && fl_meta_deleting(fl_object_tree(o, &a));
}

static void on_namespace(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct fl_namespace_controller *c = arg;
	if (is_terminating(now))
		fl_workqueue_add(c->queue, now->name);
}

static void on_pod(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct fl_namespace_controller *c = arg;
	if (!now && is_terminating(fl_hub_find(c->hub, FL_HUB_NAMESPACES, "", old->ns)))
		fl_workqueue_add(c->queue, old->ns);
}

static void begin_stage(struct pass *p, bool pods_only);

static void drop_finalizer(struct pass *p, const struct fl_json *ns)
{
	struct fl_arena *a = fl_writes_arena(p->w);
	struct fl_json *o = fl_json_clone(a, ns), *kept = fl_json_new(a, FL_JSON_ARRAY);
	fl_json_each (f, fl_json_path(ns, "spec", "finalizers", NULL))
		if (!fl_streq(fl_json_string(f), FINALIZER))
			fl_json_append(kept, fl_json_clone(a, f));
	fl_json_set(a, fl_json_ensure_object(a, o, "spec"), "finalizers", kept);
	fl_writes_raw(p->w, &fl_gvr_namespaces, "PUT", NULL, p->name,
		      fl_client_path(a, &fl_gvr_namespaces, NULL, p->name, "finalize"), o, NULL, NULL);
}

static void end_stage(struct pass *p)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_object *o = fl_hub_find(p->c->hub, FL_HUB_NAMESPACES, "", p->name);
	struct fl_json *ns = o ? fl_object_tree(o, &a) : NULL;
	if (!ns)
		return;
	if (fl_ns_rest_is_empty(p->rest) && p->pods_only) {
		begin_stage(p, false);
		return;
	}
	if (fl_ns_rest_is_empty(p->rest)) {
		drop_finalizer(p, ns);
		return;
	}
	struct fl_json *patch = fl_ns_rest_patch(&a, p->rest, ns, fl_real_ns());
	if (patch)
		fl_writes_patch(p->w, &fl_gvr_namespaces, NULL, p->name, "status", FL_PATCH_MERGE, patch, NULL, NULL);
	fl_writes_again(p->w, RETRY_MS);
}

static void on_counted(void *arg, int rc, const struct fl_json *list, const struct fl_err *err)
{
	struct one *x = arg;
	if (rc < 0)
		fl_ns_rest_delete_failed(x->p->rest, err->text);
	else
		fl_ns_rest_count(x->p->rest, x->label, list);
	if (--x->p->open == 0)
		end_stage(x->p);
}

static void on_deleted(void *arg, int rc, const struct fl_json *answer, const struct fl_err *err)
{
	struct one *x = arg;
	struct fl_arena *a = fl_writes_arena(x->p->w);
	if (rc < 0)
		fl_ns_rest_delete_failed(x->p->rest, err->text);
	fl_writes_raw(x->p->w, &x->r->gvr, "GET", x->p->name, NULL, fl_arena_printf(a, "%s?limit=500", x->path), NULL,
		      on_counted, x);
}

// What is being deleted already, in the foreground or to orphan its dependents, waits for nothing any more: all goes.
// (k8s: namespacedResourcesDeleter)
static struct fl_json *in_the_background(struct fl_arena *a)
{
	struct fl_json *o = fl_json_new(a, FL_JSON_OBJECT);
	fl_json_set_str(a, o, "kind", "DeleteOptions");
	fl_json_set_str(a, o, "apiVersion", "v1");
	fl_json_set_str(a, o, "propagationPolicy", "Background");
	return o;
}

static void begin_stage(struct pass *p, bool pods_only)
{
	struct fl_arena *a = fl_writes_arena(p->w);
	size_t n;
	const struct fl_resource *const *all = fl_discovery_list(p->c->discovery, &n);
	struct fl_json *options = in_the_background(a);
	p->pods_only = pods_only;
	p->open = 1;
	for (size_t i = 0; i < n; i++) {
		const struct fl_resource *r = all[i];
		bool pods = !r->gvr.group[0] && !strcmp(r->gvr.plural, "pods");
		if (!r->namespaced || !r->can_list || !r->can_delete || !r->can_delete_collection || pods != pods_only)
			continue;
		struct one *x = fl_arena_alloc(a, sizeof(*x));
		*x = (struct one){p, r, fl_client_path(a, &r->gvr, p->name, NULL, NULL),
				  fl_arena_printf(a, "%s.%s", r->gvr.plural, r->gvr.group)};
		p->open++;
		fl_writes_raw(p->w, &r->gvr, "DELETE", p->name, NULL, x->path, options, on_deleted, x);
	}
	if (--p->open == 0)
		end_stage(p);
}

static void begin_pass(struct fl_namespace_controller *c, const char *name, int rc, const struct fl_err *err)
{
	struct fl_writes *w = fl_writes_begin(c->hub, c->queue, name);
	struct fl_arena *a = fl_writes_arena(w);
	struct pass *p = fl_arena_zalloc(a, sizeof(*p));
	*p = (struct pass){.c = c, .w = w, .name = fl_arena_strdup(a, name), .rest = fl_ns_rest_new(a)};
	if (rc < 0)
		fl_ns_rest_discovery_failed(p->rest, err->text);
	begin_stage(p, true);
	fl_writes_end(w);
}

static void on_discovered(void *arg, int rc, const struct fl_err *err)
{
	struct fl_namespace_controller *c = arg;
	for (size_t n = c->waiting.n; n; n--) {
		AUTO_FREE char *name = c->waiting.v[0];
		fl_vec_remove(&c->waiting, 0);
		if (fl_hub_leads(c->hub)) // not any more, when the role was told to end meanwhile
			begin_pass(c, name, rc, err);
	}
}

static void work(void *arg, const char *key)
{
	struct fl_namespace_controller *c = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_object *o = fl_hub_find(c->hub, FL_HUB_NAMESPACES, "", key);
	struct fl_json *tree = o ? fl_object_tree(o, &a) : NULL;
	bool ours = false;
	fl_json_each (f, fl_json_path(tree, "spec", "finalizers", NULL))
		ours |= fl_streq(fl_json_string(f), FINALIZER);
	if (!ours || !fl_meta_deleting(tree)) {
		fl_workqueue_done(c->queue, key, 1);
		return;
	}
	fl_vec_push(&c->waiting, fl_strdup(key));
	if (c->waiting.n == 1)
		fl_discovery_refresh(c->discovery, on_discovered, c);
}

struct fl_namespace_controller *fl_namespace_controller_new(struct fl_hub *h, struct fl_discovery *d)
{
	struct fl_namespace_controller *c = FL_NEW(struct fl_namespace_controller);
	c->hub = h;
	c->discovery = d;
	c->queue = fl_hub_queue(h, CONCURRENCY, work, c);
	fl_hub_listen(h, FL_HUB_NAMESPACES, on_namespace, c);
	fl_hub_listen(h, FL_HUB_PODS, on_pod, c);
	return c;
}

void fl_namespace_controller_free(struct fl_namespace_controller **cp)
{
	struct fl_namespace_controller *c = TAKE_PTR(*cp);
	if (!c)
		return;
	for (size_t i = 0; i < c->waiting.n; i++)
		free(c->waiting.v[i]);
	fl_vec_deinit(&c->waiting);
	free(c);
}
