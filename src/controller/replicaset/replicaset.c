// SPDX-License-Identifier: Apache-2.0
// No expectations as in Kubernetes: the answers of our own creates and deletes are in the cache before the key is done,
// so the next pass counts them.
#include "controller/replicaset/replicaset.h"

#include <assert.h>
#include <errno.h>

#include "base/clock.h"
#include "base/mem.h"
#include "client/recorder.h"
#include "controller/meta.h"
#include "controller/replicaset/plan.h"
#include "controller/writes.h"

#define CONCURRENCY 16

struct engine { // of one kind
	const struct fl_rs_kind *kind;
	enum fl_hub_kind sets;
	struct fl_hub *hub;
	struct fl_workqueue *queue;
	struct fl_recorder *recorder;
	struct fl_index *pods;  // by label and controller: the controller's
	struct fl_map failures; // key -> char *: what the last pass failed with
};

struct fl_replicaset_controller {
	struct fl_index pods;
	struct engine engines[2];
};

struct attempt { // one pod made or removed; in the arena of the writes
	struct engine *c;
	const char *key, *ns, *rs, *pod;
};

static void enqueue(struct engine *c, const char *ns, const char *name)
{
	char key[FL_KEY_LEN];
	fl_workqueue_add(c->queue, fl_key_format(key, ns, name));
}

static void on_set(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	const struct fl_object *o = now ? now : old;
	enqueue(arg, o->ns, o->name);
}

struct search {
	struct engine *c;
	struct fl_arena *a;
	const struct fl_json *labels;
};

static bool enqueue_if_matching(void *arg, const struct fl_object *o)
{
	struct search *s = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_selector *selector = fl_rs_selector(&a, s->c->kind, fl_object_tree(o, &a));
	if (selector && fl_selector_matches(selector, s->labels))
		enqueue(s->c, o->ns, o->name);
	return true;
}

// A pod's controller; for a pod without one, whoever might adopt it.
static void enqueue_owner(struct engine *c, struct fl_arena *a, const struct fl_json *pod, const char *ns)
{
	const struct fl_json *ref = fl_meta_controller(pod);
	if (ref) {
		if (fl_streq(fl_json_str(ref, "kind"), c->kind->kind))
			enqueue(c, ns, fl_json_str_or(ref, "name", ""));
		return;
	}
	struct search s = {c, a, fl_json_path(pod, "metadata", "labels", NULL)};
	if (s.labels && fl_hub_synced(c->hub))
		fl_informer_each(fl_hub_informer(c->hub, c->sets), ns, enqueue_if_matching, &s);
}

static void enqueue_owners(struct fl_replicaset_controller *c, struct fl_arena *a, const struct fl_json *pod,
			   const char *ns)
{
	for (size_t i = 0; i < FL_COUNT(c->engines); i++)
		enqueue_owner(&c->engines[i], a, pod, ns);
}

static void on_pod(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct fl_replicaset_controller *c = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_hub *h = c->engines[0].hub;
	const struct fl_json *before = fl_hub_tree(h, old), *after = fl_hub_tree(h, now);
	const struct fl_object *o = now ? now : old;
	assert(o); // one of them is there
	if (after) {
		size_t n;
		struct fl_pair *pairs = fl_meta_pairs(&a, after, &n);
		fl_index_put(&c->pods, now->ns, now->name, pairs, n);
		enqueue_owners(c, &a, after, now->ns);
	} else {
		fl_index_del(&c->pods, o->ns, o->name);
	}
	const struct fl_json *was = fl_meta_controller(before), *is = fl_meta_controller(after);
	if (was && !fl_streq(fl_json_str(was, "uid"), fl_json_str(is, "uid")))
		enqueue_owners(c, &a, before, o->ns);
}

struct gather {
	struct engine *c;
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
	fl_index_search(g->c->pods, g->ns, &owned, 1, add_pod, g);
	const struct fl_json *selector = fl_json_path(tree, "spec", "selector", NULL);
	struct fl_pair *orphans =
	    fl_index_pairs(g->a, g->c->kind->plain_selector ? selector : fl_json_get(selector, "matchLabels"), 1, &n);
	orphans[n++] = (struct fl_pair){FL_PAIR_CONTROLLER, ""};
	fl_index_search(g->c->pods, g->ns, orphans, n, add_pod, g);
}

static void set_failure(struct engine *c, const char *key, const char *text)
{
	free(text ? fl_map_set(&c->failures, key, fl_strdup(text)) : fl_map_del(&c->failures, key));
}

static void on_created(void *arg, int rc, const struct fl_json *answer, const struct fl_err *err)
{
	struct attempt *at = arg;
	const struct fl_object *rs = fl_hub_find(at->c->hub, at->c->sets, at->ns, at->rs);
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
	const struct fl_object *rs = fl_hub_find(at->c->hub, at->c->sets, at->ns, at->rs);
	set_failure(at->c, at->key, rc < 0 && rc != -ENOENT ? err->text : NULL);
	if (!rs || rc == -ENOENT)
		return;
	if (rc == 0)
		fl_recorder_event(at->c->recorder, rs, "Normal", "SuccessfulDelete", "Deleted pod: %s", at->pod);
	else
		fl_recorder_event(at->c->recorder, rs, "Warning", "FailedDelete", "Error deleting: %s", err->text);
}

static struct attempt *new_attempt(struct engine *c, struct fl_writes *w, const char *key, const struct fl_object *rs,
				   const char *pod)
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
	struct engine *c = g->c;
	for (size_t i = 0; i < plan->adopt.n; i++) {
		const struct fl_podview *p = &g->pods.v[plan->adopt.v[i]];
		struct fl_json *patch = fl_meta_adopt_patch(
		    g->a, p->tree, fl_meta_owner_ref(g->a, tree, c->kind->api_version, c->kind->kind));
		fl_writes_patch(w, &fl_gvr_pods, p->ns, p->name, NULL, FL_PATCH_MERGE, patch, NULL, NULL);
	}
	for (size_t i = 0; i < plan->release.n; i++) {
		const struct fl_podview *p = &g->pods.v[plan->release.v[i]];
		fl_writes_patch(w, &fl_gvr_pods, p->ns, p->name, NULL, FL_PATCH_MERGE,
				fl_meta_release_patch(g->a, p->tree, rs->uid), NULL, NULL);
	}
	for (unsigned i = 0; i < plan->create; i++)
		fl_writes_create(w, &fl_gvr_pods, g->ns, fl_rs_new_pod(g->a, c->kind, tree), on_created,
				 new_attempt(c, w, key, rs, ""));
	for (size_t i = 0; i < plan->remove.n; i++) {
		const struct fl_podview *p = &g->pods.v[plan->remove.v[i]];
		fl_writes_delete(w, &fl_gvr_pods, p->ns, p->name, p->uid, -1, NULL, on_removed,
				 new_attempt(c, w, key, rs, p->name));
	}
	struct fl_json *patch = fl_meta_status_patch(g->a, fl_json_get(tree, "status"), plan->status);
	if (patch)
		fl_writes_patch(w, fl_hub_gvr(c->sets), rs->ns, rs->name, "status", FL_PATCH_MERGE, patch, NULL, NULL);
	if (plan->wait_ns)
		fl_writes_again(w, (unsigned)(plan->wait_ns / 1000000) + 1);
}

static void reconcile(void *arg, const char *key)
{
	struct engine *c = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	char ns[FL_KEY_LEN];
	const char *name;
	fl_key_split(key, ns, &name);
	struct fl_writes *w = fl_writes_begin(c->hub, c->queue, key);
	const struct fl_object *rs = fl_hub_find(c->hub, c->sets, ns, name);
	if (rs) {
		struct gather g = {.c = c, .a = &a, .ns = ns};
		struct fl_json *tree = fl_object_tree(rs, &a);
		struct fl_rs_plan plan;
		gather_pods(&g, rs, tree);
		struct fl_rs_in in = {
		    .kind = c->kind,
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

static void begin(struct fl_replicaset_controller *c, struct engine *e, struct fl_hub *h, const struct fl_rs_kind *kind,
		  enum fl_hub_kind sets, const char *component)
{
	*e = (struct engine){.kind = kind, .sets = sets, .hub = h, .pods = &c->pods};
	e->queue = fl_hub_queue(h, CONCURRENCY, reconcile, e);
	e->recorder = fl_recorder_new(fl_hub_client(h), component, NULL);
	fl_hub_listen(h, sets, on_set, e);
}

struct fl_replicaset_controller *fl_replicaset_controller_new(struct fl_hub *h)
{
	struct fl_replicaset_controller *c = FL_NEW(struct fl_replicaset_controller);
	begin(c, &c->engines[0], h, &fl_rs_replicaset, FL_HUB_REPLICASETS, "replicaset-controller");
	begin(c, &c->engines[1], h, &fl_rs_replicationcontroller, FL_HUB_REPLICATIONCONTROLLERS,
	      "replication-controller");
	fl_hub_listen(h, FL_HUB_PODS, on_pod, c);
	return c;
}

void fl_replicaset_controller_free(struct fl_replicaset_controller **cp)
{
	struct fl_replicaset_controller *c = TAKE_PTR(*cp);
	if (!c)
		return;
	for (size_t i = 0; i < FL_COUNT(c->engines); i++) {
		struct engine *e = &c->engines[i];
		fl_recorder_free(&e->recorder);
		for (struct fl_map_iter it = {0}; fl_map_next(&e->failures, &it);)
			free(it.value);
		fl_map_deinit(&e->failures);
	}
	fl_index_deinit(&c->pods);
	free(c);
}
