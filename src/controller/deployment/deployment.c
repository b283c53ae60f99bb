// SPDX-License-Identifier: Apache-2.0
#include "controller/deployment/deployment.h"

#include <assert.h>
#include <errno.h>

#include "api/selector.h"
#include "base/clock.h"
#include "base/mem.h"
#include "client/recorder.h"
#include "controller/deployment/plan.h"
#include "controller/deployment/template.h"
#include "controller/meta.h"
#include "controller/pod.h"
#include "controller/writes.h"

#define CONCURRENCY 16

struct fl_deployment_controller {
	struct fl_hub *hub;
	struct fl_workqueue *queue;
	struct fl_recorder *recorder;
	struct fl_index sets;   // ReplicaSets by label and controller
	struct fl_index pods;   // pods by controller
	struct fl_map failures; // key -> char *: why the new ReplicaSet could not be made
};

static void enqueue(struct fl_deployment_controller *c, const char *ns, const char *name)
{
	char key[FL_KEY_LEN];
	fl_workqueue_add(c->queue, fl_key_format(key, ns, name));
}

static void on_deployment(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	const struct fl_object *o = now ? now : old;
	enqueue(arg, o->ns, o->name);
}

struct search {
	struct fl_deployment_controller *c;
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

static void enqueue_owner(struct fl_deployment_controller *c, const struct fl_json *rs, const char *ns)
{
	const struct fl_json *ref = fl_meta_controller(rs);
	if (ref) {
		if (fl_streq(fl_json_str(ref, "kind"), "Deployment"))
			enqueue(c, ns, fl_json_str_or(ref, "name", ""));
		return;
	}
	struct search s = {c, fl_json_path(rs, "metadata", "labels", NULL)};
	if (s.labels && fl_hub_synced(c->hub))
		fl_informer_each(fl_hub_informer(c->hub, FL_HUB_DEPLOYMENTS), ns, enqueue_if_matching, &s);
}

static void on_replicaset(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct fl_deployment_controller *c = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_json *before = fl_hub_tree(c->hub, old), *after = fl_hub_tree(c->hub, now);
	const struct fl_object *o = now ? now : old;
	assert(o); // one of them is there
	if (after) {
		size_t n;
		struct fl_pair *pairs = fl_meta_pairs(&a, after, &n);
		fl_index_put(&c->sets, now->ns, now->name, pairs, n);
		enqueue_owner(c, after, now->ns);
	} else {
		fl_index_del(&c->sets, o->ns, o->name);
	}
	const struct fl_json *was = fl_meta_controller(before), *is = fl_meta_controller(after);
	if (was && !fl_streq(fl_json_str(was, "uid"), fl_json_str(is, "uid")))
		enqueue_owner(c, before, o->ns);
}

// With Recreate the end of an old pod lets the rollout go on.
static void on_pod_gone(struct fl_deployment_controller *c, struct fl_arena *a, const struct fl_json *pod,
			const char *ns)
{
	const struct fl_json *ref = fl_meta_controller(pod);
	const struct fl_object *rs = fl_streq(fl_json_str(ref, "kind"), "ReplicaSet")
					 ? fl_hub_find(c->hub, FL_HUB_REPLICASETS, ns, fl_json_str_or(ref, "name", ""))
					 : NULL;
	const struct fl_json *owner = rs ? fl_meta_controller(fl_object_tree(rs, a)) : NULL;
	if (fl_streq(fl_json_str(owner, "kind"), "Deployment"))
		enqueue(c, ns, fl_json_str_or(owner, "name", ""));
}

static void on_pod(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct fl_deployment_controller *c = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_object *o = now ? now : old;
	const struct fl_json *tree = fl_hub_tree(c->hub, o);
	const struct fl_json *ref = fl_meta_controller(tree);
	struct fl_pair owner = {FL_PAIR_CONTROLLER, fl_json_str_or(ref, "uid", "")};
	if (now && ref && !fl_podview_read(tree).finished) {
		fl_index_put(&c->pods, o->ns, o->name, &owner, 1);
	} else {
		fl_index_del(&c->pods, o->ns, o->name);
		on_pod_gone(c, &a, tree, o->ns);
	}
}

struct gather {
	struct fl_deployment_controller *c;
	struct fl_arena *a;
	const char *ns, *uid;
	const struct fl_json *deployment;
	struct fl_selector *selector;
	struct fl_writes *w;
	bool adopting;
	FL_VEC(struct fl_deploy_set_in) sets;
};

static void see_pod(void *arg, const char *name)
{
	*(bool *)arg = true;
}

static bool has_pods(struct gather *g, const struct fl_object *rs)
{
	bool found = false;
	struct fl_pair owner = {FL_PAIR_CONTROLLER, rs->uid};
	fl_index_search(&g->c->pods, g->ns, &owner, 1, see_pod, &found);
	return found;
}

static void take_set(struct gather *g, const struct fl_object *rs, const struct fl_json *tree)
{
	struct fl_deploy_set_in in = {tree, has_pods(g, rs)};
	fl_vec_push(&g->sets, in);
}

static void add_owned(void *arg, const char *name)
{
	struct gather *g = arg;
	const struct fl_object *rs = fl_hub_find(g->c->hub, FL_HUB_REPLICASETS, g->ns, name);
	struct fl_json *tree = rs ? fl_object_tree(rs, g->a) : NULL;
	if (!rs)
		return;
	if (fl_selector_matches(g->selector, fl_json_path(tree, "metadata", "labels", NULL)) ||
	    fl_meta_deleting(g->deployment))
		take_set(g, rs, tree);
	else
		fl_writes_patch(g->w, &fl_gvr_replicasets, rs->ns, rs->name, NULL, FL_PATCH_MERGE,
				fl_meta_release_patch(g->a, tree, g->uid), NULL, NULL);
}

// The pass ends with the adoption: the next one, which its answer calls, counts the set.
static void adopt(void *arg, const char *name)
{
	struct gather *g = arg;
	const struct fl_object *rs = fl_hub_find(g->c->hub, FL_HUB_REPLICASETS, g->ns, name);
	struct fl_json *tree = rs ? fl_object_tree(rs, g->a) : NULL;
	if (!rs || fl_meta_deleting(tree) ||
	    !fl_selector_matches(g->selector, fl_json_path(tree, "metadata", "labels", NULL)))
		return;
	fl_writes_patch(
	    g->w, &fl_gvr_replicasets, rs->ns, rs->name, NULL, FL_PATCH_MERGE,
	    fl_meta_adopt_patch(g->a, tree, fl_meta_owner_ref(g->a, g->deployment, "apps/v1", "Deployment")), NULL,
	    NULL);
	g->adopting = true;
}

static void gather_sets(struct gather *g)
{
	struct fl_pair owned = {FL_PAIR_CONTROLLER, g->uid};
	size_t n;
	fl_index_search(&g->c->sets, g->ns, &owned, 1, add_owned, g);
	if (fl_meta_deleting(g->deployment))
		return;
	struct fl_pair *orphans =
	    fl_index_pairs(g->a, fl_json_path(g->deployment, "spec", "selector", "matchLabels", NULL), 1, &n);
	orphans[n++] = (struct fl_pair){FL_PAIR_CONTROLLER, ""};
	fl_index_search(&g->c->sets, g->ns, orphans, n, adopt, g);
}

struct scaling { // in the arena of the writes
	struct fl_deployment_controller *c;
	const char *key, *ns, *name, *set;
	int64_t from, to;
	struct fl_writes *w;
};

static void tell_scaling(const struct scaling *s)
{
	const struct fl_object *d = fl_hub_find(s->c->hub, FL_HUB_DEPLOYMENTS, s->ns, s->name);
	if (d && s->from != s->to)
		fl_recorder_event(s->c->recorder, d, "Normal", "ScalingReplicaSet",
				  "Scaled %s replica set %s from %lld to %lld", s->to > s->from ? "up" : "down", s->set,
				  (long long)s->from, (long long)s->to);
}

static void set_failure(struct fl_deployment_controller *c, const char *key, const char *text)
{
	free(text ? fl_map_set(&c->failures, key, fl_strdup(text)) : fl_map_del(&c->failures, key));
}

// The name is taken. By a set of ours with this template: the cache was behind, the retry sees it. By another: the hash
// collided, and a count in the status makes the next one differ.
static void on_name_taken(const struct scaling *s)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_object *d = fl_hub_find(s->c->hub, FL_HUB_DEPLOYMENTS, s->ns, s->name),
			       *rs = fl_hub_find(s->c->hub, FL_HUB_REPLICASETS, s->ns, s->set);
	if (!d || !rs)
		return;
	struct fl_json *dt = fl_object_tree(d, &a), *rt = fl_object_tree(rs, &a);
	if (fl_meta_controlled_by(rt, d->uid) && fl_podtemplate_equal(fl_json_path(rt, "spec", "template", NULL),
								      fl_json_path(dt, "spec", "template", NULL)))
		return;
	struct fl_json *patch = fl_json_new(&a, FL_JSON_OBJECT);
	fl_json_set_int(&a, fl_json_set_object(&a, patch, "status"), "collisionCount",
			fl_json_int(fl_json_get(dt, "status"), "collisionCount", 0) + 1);
	fl_writes_patch(s->w, &fl_gvr_deployments, s->ns, s->name, "status", FL_PATCH_MERGE, patch, NULL, NULL);
}

static void on_created(void *arg, int rc, const struct fl_json *answer, const struct fl_err *err)
{
	struct scaling *s = arg;
	if (rc == -EEXIST) {
		on_name_taken(s);
		return;
	}
	const struct fl_object *d = fl_hub_find(s->c->hub, FL_HUB_DEPLOYMENTS, s->ns, s->name);
	if (rc < 0 && d && !fl_hub_ns_closed(s->c->hub, s->ns)) {
		AUTO_FREE char *text = fl_asprintf("Failed to create new replica set \"%s\": %s", s->set, err->text);
		fl_recorder_event(s->c->recorder, d, "Warning", "ReplicaSetCreateError", "%s", text);
		set_failure(s->c, s->key, text);
		return;
	}
	set_failure(s->c, s->key, NULL);
	if (rc == 0)
		tell_scaling(s);
}

static void on_patched(void *arg, int rc, const struct fl_json *answer, const struct fl_err *err)
{
	if (rc == 0)
		tell_scaling(arg);
}

static void write_step(struct gather *g, const char *key, const char *name, const struct fl_deploy_step *step)
{
	struct fl_arena *wa = fl_writes_arena(g->w);
	struct scaling *s = fl_arena_alloc(wa, sizeof(*s));
	*s = (struct scaling){
	    .c = g->c,
	    .key = fl_arena_strdup(wa, key),
	    .ns = fl_arena_strdup(wa, g->ns),
	    .name = fl_arena_strdup(wa, name),
	    .set = fl_arena_strdup(wa, step->name),
	    .from = step->from,
	    .to = step->to,
	    .w = g->w,
	};
	switch (step->op) {
	case FL_DEPLOY_CREATE:
		if (!fl_hub_ns_closed(g->c->hub, g->ns))
			fl_writes_create(g->w, &fl_gvr_replicasets, g->ns, step->body, on_created, s);
		break;
	case FL_DEPLOY_PATCH:
		fl_writes_patch(g->w, &fl_gvr_replicasets, g->ns, step->name, NULL, FL_PATCH_MERGE, step->body,
				on_patched, s);
		break;
	case FL_DEPLOY_DELETE:
		fl_writes_delete(g->w, &fl_gvr_replicasets, g->ns, step->name, step->uid, -1, NULL, NULL, NULL);
		break;
	}
}

static void work_on(struct gather *g, const char *key, const struct fl_object *d)
{
	struct fl_deploy_plan plan;
	gather_sets(g);
	if (g->adopting)
		return;
	struct fl_deploy_in in = {
	    .deployment = g->deployment,
	    .sets = g->sets.v,
	    .n_sets = g->sets.n,
	    .now_ns = fl_real_ns(),
	    .create_error = fl_map_get(&g->c->failures, key),
	};
	fl_deploy_plan_make(g->a, &in, &plan);
	for (size_t i = 0; i < plan.steps.n; i++)
		write_step(g, key, d->name, &plan.steps.v[i]);
	if (plan.revision_patch)
		fl_writes_patch(g->w, &fl_gvr_deployments, d->ns, d->name, NULL, FL_PATCH_MERGE, plan.revision_patch,
				NULL, NULL);
	struct fl_json *patch = fl_meta_status_patch(g->a, fl_json_get(g->deployment, "status"), plan.status);
	if (patch)
		fl_writes_patch(g->w, &fl_gvr_deployments, d->ns, d->name, "status", FL_PATCH_MERGE, patch, NULL, NULL);
	if (plan.wait_ns)
		fl_writes_again(g->w, (unsigned)(plan.wait_ns / 1000000) + 1);
	fl_deploy_plan_deinit(&plan);
}

static void reconcile(void *arg, const char *key)
{
	struct fl_deployment_controller *c = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	char ns[FL_KEY_LEN];
	const char *name;
	fl_key_split(key, ns, &name);
	struct fl_writes *w = fl_writes_begin(c->hub, c->queue, key);
	const struct fl_object *d = fl_hub_find(c->hub, FL_HUB_DEPLOYMENTS, ns, name);
	if (d) {
		struct gather g = {.c = c, .a = &a, .ns = ns, .uid = d->uid, .w = w};
		g.deployment = fl_object_tree(d, &a);
		if (fl_label_selector_from_json(&a, fl_json_path(g.deployment, "spec", "selector", NULL), &g.selector,
						NULL) == 0 &&
		    !fl_selector_is_everything(g.selector))
			work_on(&g, key, d);
		else
			fl_recorder_event(c->recorder, d, "Warning", "SelectingAll",
					  "This deployment is selecting all pods. A non-empty selector is required.");
		fl_vec_deinit(&g.sets);
	} else {
		set_failure(c, key, NULL);
	}
	fl_writes_end(w);
}

struct fl_deployment_controller *fl_deployment_controller_new(struct fl_hub *h)
{
	struct fl_deployment_controller *c = FL_NEW(struct fl_deployment_controller);
	c->hub = h;
	c->queue = fl_hub_queue(h, CONCURRENCY, reconcile, c);
	c->recorder = fl_recorder_new(fl_hub_client(h), "deployment-controller", NULL);
	fl_hub_listen(h, FL_HUB_DEPLOYMENTS, on_deployment, c);
	fl_hub_listen(h, FL_HUB_REPLICASETS, on_replicaset, c);
	fl_hub_listen(h, FL_HUB_PODS, on_pod, c);
	return c;
}

void fl_deployment_controller_free(struct fl_deployment_controller **cp)
{
	struct fl_deployment_controller *c = TAKE_PTR(*cp);
	if (!c)
		return;
	fl_recorder_free(&c->recorder);
	fl_index_deinit(&c->sets);
	fl_index_deinit(&c->pods);
	for (struct fl_map_iter it = {0}; fl_map_next(&c->failures, &it);)
		free(it.value);
	fl_map_deinit(&c->failures);
	free(c);
}
