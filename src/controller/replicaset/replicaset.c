// SPDX-License-Identifier: Apache-2.0
// No expectations as in Kubernetes: the answers of our own creates and deletes are in the cache before the key is done,
// so the next pass counts them.
#include "controller/replicaset/replicaset.h"

#include <assert.h>
#include <errno.h>

#include "api/selector.h"
#include "base/clock.h"
#include "base/mem.h"
#include "client/recorder.h"
#include "controller/meta.h"
#include "controller/replicaset/plan.h"
#include "controller/writes.h"

#define CONCURRENCY 16

struct fl_replicaset_controller {
	struct fl_hub *hub;
	struct fl_workqueue *queue;
	struct fl_recorder *recorder;
	struct fl_index pods;   // by label and controller
	struct fl_map failures; // key -> char *: what the last pass failed with
};

struct attempt { // one pod made or removed; in the arena of the writes
	struct fl_replicaset_controller *c;
	const char *key, *ns, *rs, *pod;
};

static void enqueue(struct fl_replicaset_controller *c, const char *ns, const char *name)
{
	char key[FL_KEY_LEN];
	fl_workqueue_add(c->queue, fl_key_format(key, ns, name));
}

static void on_replicaset(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	const struct fl_object *o = now ? now : old;
	enqueue(arg, o->ns, o->name);
}

struct search {
	struct fl_replicaset_controller *c;
	struct fl_arena *a;
	const struct fl_json *labels;
};

static bool enqueue_if_matching(void *arg, const struct fl_object *o)
{
	struct search *s = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_selector *selector;
	const struct fl_json *tree = fl_object_tree(o, &a);
	if (fl_label_selector_from_json(&a, fl_json_path(tree, "spec", "selector", NULL), &selector, NULL) == 0 &&
	    fl_selector_matches(selector, s->labels))
		enqueue(s->c, o->ns, o->name);
	return true;
}

// A pod's controller; for a pod without one, whoever might adopt it.
static void enqueue_owner(struct fl_replicaset_controller *c, struct fl_arena *a, const struct fl_json *pod,
			  const char *ns)
{
	const struct fl_json *ref = fl_meta_controller(pod);
	if (ref) {
		if (fl_streq(fl_json_str(ref, "kind"), "ReplicaSet"))
			enqueue(c, ns, fl_json_str_or(ref, "name", ""));
		return;
	}
	struct search s = {c, a, fl_json_path(pod, "metadata", "labels", NULL)};
	if (s.labels && fl_hub_synced(c->hub))
		fl_informer_each(fl_hub_informer(c->hub, FL_HUB_REPLICASETS), ns, enqueue_if_matching, &s);
}

static void on_pod(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct fl_replicaset_controller *c = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_json *before = old ? fl_object_tree(old, &a) : NULL, *after = now ? fl_object_tree(now, &a) : NULL;
	const struct fl_object *o = now ? now : old;
	assert(o); // one of them is there
	if (after) {
		size_t n;
		struct fl_pair *pairs = fl_meta_pairs(&a, after, &n);
		fl_index_put(&c->pods, now->ns, now->name, pairs, n);
		enqueue_owner(c, &a, after, now->ns);
	} else {
		fl_index_del(&c->pods, o->ns, o->name);
	}
	const struct fl_json *was = fl_meta_controller(before), *is = fl_meta_controller(after);
	if (was && !fl_streq(fl_json_str(was, "uid"), fl_json_str(is, "uid")))
		enqueue_owner(c, &a, before, o->ns);
}

struct gather {
	struct fl_replicaset_controller *c;
	struct fl_arena *a;
	const char *ns;
	FL_VEC(struct fl_podview) pods;
};

static void add_pod(void *arg, const char *name)
{
	struct gather *g = arg;
	const struct fl_object *o = fl_hub_find(g->c->hub, FL_HUB_PODS, g->ns, name);
	if (o) {
		struct fl_podview p = fl_podview_read(fl_object_tree(o, g->a));
		fl_vec_push(&g->pods, p);
	}
}

static void gather_pods(struct gather *g, const struct fl_object *rs, const struct fl_json *tree)
{
	struct fl_pair owned = {FL_PAIR_CONTROLLER, rs->uid};
	size_t n;
	fl_index_search(&g->c->pods, g->ns, &owned, 1, add_pod, g);
	struct fl_pair *orphans =
	    fl_index_pairs(g->a, fl_json_path(tree, "spec", "selector", "matchLabels", NULL), 1, &n);
	orphans[n++] = (struct fl_pair){FL_PAIR_CONTROLLER, ""};
	fl_index_search(&g->c->pods, g->ns, orphans, n, add_pod, g);
}

static void set_failure(struct fl_replicaset_controller *c, const char *key, const char *text)
{
	free(text ? fl_map_set(&c->failures, key, fl_strdup(text)) : fl_map_del(&c->failures, key));
}

static void on_created(void *arg, int rc, const struct fl_json *answer, const struct fl_err *err)
{
	struct attempt *at = arg;
	const struct fl_object *rs = fl_hub_find(at->c->hub, FL_HUB_REPLICASETS, at->ns, at->rs);
	set_failure(at->c, at->key, rc < 0 ? err->text : NULL);
	if (!rs || (rc < 0 && fl_hub_ns_closed(at->c->hub, at->ns)))
		return;
	if (rc == 0)
		fl_recorder_event(at->c->recorder, rs, "Normal", "SuccessfulCreate", "Created pod: %s",
				  fl_json_str_or(fl_json_get(answer, "metadata"), "name", ""));
	else
		fl_recorder_event(at->c->recorder, rs, "Warning", "FailedCreate", "Error creating: %s", err->text);
}

static void on_removed(void *arg, int rc, const struct fl_json *answer, const struct fl_err *err)
{
	struct attempt *at = arg;
	const struct fl_object *rs = fl_hub_find(at->c->hub, FL_HUB_REPLICASETS, at->ns, at->rs);
	set_failure(at->c, at->key, rc < 0 && rc != -ENOENT ? err->text : NULL);
	if (!rs || rc == -ENOENT)
		return;
	if (rc == 0)
		fl_recorder_event(at->c->recorder, rs, "Normal", "SuccessfulDelete", "Deleted pod: %s", at->pod);
	else
		fl_recorder_event(at->c->recorder, rs, "Warning", "FailedDelete", "Error deleting: %s", err->text);
}

static struct attempt *new_attempt(struct fl_replicaset_controller *c, struct fl_writes *w, const char *key,
				   const struct fl_object *rs, const char *pod)
{
	struct fl_arena *a = fl_writes_arena(w);
	struct attempt *at = fl_arena_alloc(a, sizeof(*at));
	*at = (struct attempt){c, fl_arena_strdup(a, key), fl_arena_strdup(a, rs->ns), fl_arena_strdup(a, rs->name),
			       fl_arena_strdup(a, pod)};
	return at;
}

static void write_plan(struct gather *g, struct fl_writes *w, const char *key, const struct fl_object *rs,
		       const struct fl_json *tree, const struct fl_rs_plan *plan)
{
	struct fl_replicaset_controller *c = g->c;
	for (size_t i = 0; i < plan->adopt.n; i++) {
		const struct fl_podview *p = &g->pods.v[plan->adopt.v[i]];
		struct fl_json *patch =
		    fl_meta_adopt_patch(g->a, p->tree, fl_meta_owner_ref(g->a, tree, "apps/v1", "ReplicaSet"));
		fl_writes_patch(w, &fl_gvr_pods, p->ns, p->name, NULL, FL_PATCH_MERGE, patch, NULL, NULL);
	}
	for (size_t i = 0; i < plan->release.n; i++) {
		const struct fl_podview *p = &g->pods.v[plan->release.v[i]];
		fl_writes_patch(w, &fl_gvr_pods, p->ns, p->name, NULL, FL_PATCH_MERGE,
				fl_meta_release_patch(g->a, p->tree, rs->uid), NULL, NULL);
	}
	for (unsigned i = 0; i < plan->create; i++)
		fl_writes_create(w, &fl_gvr_pods, g->ns, fl_rs_new_pod(g->a, tree), on_created,
				 new_attempt(c, w, key, rs, ""));
	for (size_t i = 0; i < plan->remove.n; i++) {
		const struct fl_podview *p = &g->pods.v[plan->remove.v[i]];
		fl_writes_delete(w, &fl_gvr_pods, p->ns, p->name, p->uid, -1, NULL, on_removed,
				 new_attempt(c, w, key, rs, p->name));
	}
	struct fl_json *patch = fl_meta_status_patch(g->a, fl_json_get(tree, "status"), plan->status);
	if (patch)
		fl_writes_patch(w, &fl_gvr_replicasets, rs->ns, rs->name, "status", FL_PATCH_MERGE, patch, NULL, NULL);
	if (plan->wait_ns)
		fl_writes_again(w, (unsigned)(plan->wait_ns / 1000000) + 1);
}

static void reconcile(void *arg, const char *key)
{
	struct fl_replicaset_controller *c = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	char ns[FL_KEY_LEN];
	const char *name;
	fl_key_split(key, ns, &name);
	struct fl_writes *w = fl_writes_begin(c->hub, c->queue, key);
	const struct fl_object *rs = fl_hub_find(c->hub, FL_HUB_REPLICASETS, ns, name);
	if (rs) {
		struct gather g = {.c = c, .a = &a, .ns = ns};
		struct fl_json *tree = fl_object_tree(rs, &a);
		struct fl_rs_plan plan;
		gather_pods(&g, rs, tree);
		struct fl_rs_in in = {
		    .rs = tree,
		    .pods = g.pods.v,
		    .n_pods = g.pods.n,
		    .now_ns = fl_real_ns(),
		    .failure = fl_map_get(&c->failures, key),
		};
		fl_rs_plan_make(&a, &in, &plan);
		if (fl_hub_ns_closed(c->hub, ns))
			plan.create = 0;
		if (!plan.create && !plan.remove.n)
			set_failure(c, key, NULL);
		write_plan(&g, w, key, rs, tree, &plan);
		fl_rs_plan_deinit(&plan);
		fl_vec_deinit(&g.pods);
	} else {
		set_failure(c, key, NULL);
	}
	fl_writes_end(w);
}

struct fl_replicaset_controller *fl_replicaset_controller_new(struct fl_hub *h)
{
	struct fl_replicaset_controller *c = FL_NEW(struct fl_replicaset_controller);
	c->hub = h;
	c->queue = fl_hub_queue(h, CONCURRENCY, reconcile, c);
	c->recorder = fl_recorder_new(fl_hub_client(h), "replicaset-controller", NULL);
	fl_hub_listen(h, FL_HUB_REPLICASETS, on_replicaset, c);
	fl_hub_listen(h, FL_HUB_PODS, on_pod, c);
	return c;
}

void fl_replicaset_controller_free(struct fl_replicaset_controller **cp)
{
	struct fl_replicaset_controller *c = TAKE_PTR(*cp);
	if (!c)
		return;
	fl_recorder_free(&c->recorder);
	fl_index_deinit(&c->pods);
	for (struct fl_map_iter it = {0}; fl_map_next(&c->failures, &it);)
		free(it.value);
	fl_map_deinit(&c->failures);
	free(c);
}
