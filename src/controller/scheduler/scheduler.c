// SPDX-License-Identifier: Apache-2.0
// A choice counts from the moment it is made: until the watch shows the pod on its node, it stands in `assumed`, so
// that pods created together spread. A pod that fits nowhere waits for a node to change, and for RETRY_MS.
#include "controller/scheduler/scheduler.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/vec.h"
#include "client/recorder.h"
#include "controller/meta.h"
#include "controller/pod.h"
#include "controller/scheduler/fit.h"
#include "controller/scheduler/ports.h"
#include "controller/writes.h"

#define CONCURRENCY 32
#define RETRY_MS    60000

struct fl_scheduler {
	struct fl_hub *hub;
	struct fl_workqueue *queue;
	struct fl_recorder *recorder;
	struct fl_map load;    // node -> struct fl_room *: of its pods that have not ended, assumed ones included
	struct fl_map assumed; // pod uid -> struct assumed *
	struct fl_map waiting; // key of a pod that fits nowhere -> itself
	struct fl_ports ports; // of pods that have a node or will have
};

struct assumed {
	char *node;
	struct fl_arena arena; // of the demand
	struct fl_demand demand;
};

static const struct fl_room *load_of(const struct fl_scheduler *s, const char *node)
{
	static const struct fl_room nothing;
	const struct fl_room *r = fl_map_get(&s->load, node);
	return r ? r : &nothing;
}

static void add_load(struct fl_scheduler *s, const char *node, const struct fl_demand *d)
{
	struct fl_room *r = fl_map_get(&s->load, node);
	if (!r) {
		r = FL_NEW(struct fl_room);
		fl_map_set(&s->load, node, r);
	}
	fl_room_add(r, d);
}

static void free_room(struct fl_room *r)
{
	fl_room_deinit(r);
	free(r);
}

static void sub_load(struct fl_scheduler *s, const char *node, const struct fl_demand *d)
{
	struct fl_room *r = fl_map_get(&s->load, node);
	if (!r)
		return;
	fl_room_sub(r, d);
	if (!r->pods) {
		fl_map_del(&s->load, node);
		free_room(r);
	}
}

static void free_assumed(struct assumed *as)
{
	fl_demand_deinit(&as->demand);
	fl_arena_deinit(&as->arena);
	free(as->node);
	free(as);
}

static void forget_assumed(struct fl_scheduler *s, const char *uid)
{
	struct assumed *as = fl_map_del(&s->assumed, uid);
	if (!as)
		return;
	sub_load(s, as->node, &as->demand);
	free_assumed(as);
}

static void assume(struct fl_scheduler *s, const char *uid, const struct fl_json *pod, const char *node)
{
	struct assumed *as = FL_NEW(struct assumed);
	as->node = fl_strdup(node);
	fl_demand_read(&as->arena, pod, &as->demand);
	fl_map_set(&s->assumed, uid, as);
	add_load(s, node, &as->demand);
}

static void wake_waiting(struct fl_scheduler *s)
{
	for (struct fl_map_iter it = {0}; fl_map_next(&s->waiting, &it);)
		fl_workqueue_add(s->queue, it.key);
}

static void release_ports(struct fl_scheduler *s, const char *uid)
{
	if (fl_ports_release(&s->ports, uid))
		wake_waiting(s);
}

static const char *loads(const struct fl_scheduler *s, const struct fl_object *o)
{
	if (!o)
		return "";
	struct fl_podview p = fl_podview_read(fl_hub_tree(s->hub, o));
	return p.finished ? "" : p.node;
}

static void move_load(struct fl_scheduler *s, const struct fl_object *pod, const char *node, bool comes)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_demand_deinit) struct fl_demand d = {0};
	if (!node[0])
		return;
	fl_demand_read(&a, fl_hub_tree(s->hub, pod), &d);
	if (comes)
		add_load(s, node, &d);
	else
		sub_load(s, node, &d);
}

static bool same_spec(struct fl_scheduler *s, const struct fl_object *x, const struct fl_object *y)
{
	return x && y &&
	       fl_json_equal(fl_json_get(fl_hub_tree(s->hub, x), "spec"), fl_json_get(fl_hub_tree(s->hub, y), "spec"));
}

static bool is_pending(const struct fl_json *pod)
{
	const struct fl_json *spec = fl_json_get(pod, "spec");
	struct fl_podview p = fl_podview_read(pod);
	return !p.node[0] && !p.deleting && !p.finished && !fl_json_count(fl_json_get(spec, "schedulingGates")) &&
	       !strcmp(fl_json_str_or(spec, "schedulerName", "default-scheduler"), "default-scheduler");
}

static void on_pod(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct fl_scheduler *s = arg;
	char key[FL_KEY_LEN];
	const struct fl_object *o = now ? now : old;
	const char *was = loads(s, old), *is = loads(s, now);
	fl_key_of(key, o);
	if (strcmp(was, is) != 0 || !same_spec(s, old, now)) {
		move_load(s, old, was, false);
		move_load(s, now, is, true);
	}
	if (now && is_pending(fl_hub_tree(s->hub, now))) {
		fl_workqueue_add(s->queue, key);
		return;
	}
	forget_assumed(s, o->uid);
	fl_map_del(&s->waiting, key);
	if (!is[0]) {
		fl_ports_release(&s->ports, o->uid);
		if (was[0])
			wake_waiting(s); // there is room again
	} else {
		fl_ports_hold(&s->ports, o->uid, is, fl_hub_tree(s->hub, now));
	}
}

static bool same_for_pods(const struct fl_object *x, const struct fl_object *y)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_json *tx = fl_object_tree(x, &a), *ty = fl_object_tree(y, &a);
	const struct fl_json *rx = fl_meta_condition(fl_json_get(tx, "status"), "Ready"),
			     *ry = fl_meta_condition(fl_json_get(ty, "status"), "Ready"), *sx = fl_json_get(tx, "spec"),
			     *sy = fl_json_get(ty, "spec"), *lx = fl_json_path(tx, "metadata", "labels", NULL),
			     *ly = fl_json_path(ty, "metadata", "labels", NULL);
	return fl_streq(fl_json_str(rx, "status"), fl_json_str(ry, "status")) &&
	       (sx && sy ? fl_json_equal(sx, sy) : sx == sy) && (lx && ly ? fl_json_equal(lx, ly) : lx == ly);
}

static void on_node(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct fl_scheduler *s = arg;
	if (old && now && same_for_pods(old, now))
		return;
	wake_waiting(s);
}

struct choice {
	struct fl_scheduler *s;
	struct fl_arena *a;
	const struct fl_json *pod;
	struct fl_demand demand;
	const char *best;
	size_t best_load, n_nodes;
	fl_refusals refusals; // of all nodes
};

static bool consider(void *arg, const struct fl_object *o)
{
	struct choice *c = arg;
	const struct fl_room *taken = load_of(c->s, o->name);
	size_t refused = c->refusals.n, load = taken->pods;
	c->n_nodes++;
	fl_fit_refusals(c->a, c->pod, &c->demand, fl_object_tree(o, c->a), taken,
			fl_ports_free_on(&c->s->ports, o->name, c->pod), &c->refusals);
	if (c->refusals.n == refused &&
	    (!c->best || load < c->best_load || (load == c->best_load && strcmp(o->name, c->best) < 0))) {
		c->best = fl_arena_strdup(c->a, o->name);
		c->best_load = load;
	}
	return true;
}

static int by_text(const void *x, const void *y)
{
	return strcmp(*(const char *const *)x, *(const char *const *)y);
}

// "0/3 nodes are available: 1 node(s) were unschedulable, 2 Too many pods."
static const char *explain(struct choice *c)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	if (!c->n_nodes)
		return "no nodes available to schedule pods";
	fl_buf_printf(&b, "0/%zu nodes are available:", c->n_nodes);
	qsort(c->refusals.v, c->refusals.n, sizeof(*c->refusals.v), by_text);
	for (size_t i = 0, n; i < c->refusals.n; i += n) {
		for (n = 1; i + n < c->refusals.n && !strcmp(c->refusals.v[i], c->refusals.v[i + n]);)
			n++;
		fl_buf_printf(&b, "%s %zu %s", i ? "," : "", n, c->refusals.v[i]);
	}
	fl_buf_putc(&b, '.');
	return fl_arena_strndup(c->a, b.data, b.len);
}

struct binding { // in the arena of the writes
	struct fl_scheduler *s;
	const char *ns, *name, *uid, *node;
};

static void on_bound(void *arg, int rc, const struct fl_json *answer, const struct fl_err *err)
{
	struct binding *b = arg;
	const struct fl_object *pod = fl_hub_find(b->s->hub, FL_HUB_PODS, b->ns, b->name);
	if (rc < 0) {
		forget_assumed(b->s, b->uid);
		release_ports(b->s, b->uid);
	} else if (pod && !strcmp(pod->uid, b->uid)) {
		fl_recorder_event(b->s->recorder, pod, "Normal", "Scheduled", "Successfully assigned %s/%s to %s",
				  b->ns, b->name, b->node);
	}
}

static void assign(struct fl_scheduler *s, struct fl_arena *a, struct fl_writes *w, const struct fl_object *pod,
		   const struct fl_json *tree, const char *node)
{
	struct fl_arena *wa = fl_writes_arena(w);
	struct binding *b = fl_arena_alloc(wa, sizeof(*b));
	*b = (struct binding){s, fl_arena_strdup(wa, pod->ns), fl_arena_strdup(wa, pod->name),
			      fl_arena_strdup(wa, pod->uid), fl_arena_strdup(wa, node)};
	struct fl_json *o = fl_json_new(a, FL_JSON_OBJECT);
	fl_json_set_str(a, o, "kind", "Binding");
	fl_json_set_str(a, o, "apiVersion", "v1");
	struct fl_json *m = fl_json_set_object(a, o, "metadata");
	fl_json_set_str(a, m, "name", pod->name);
	fl_json_set_str(a, m, "namespace", pod->ns);
	fl_json_set_str(a, m, "uid", pod->uid);
	struct fl_json *target = fl_json_set_object(a, o, "target");
	fl_json_set_str(a, target, "kind", "Node");
	fl_json_set_str(a, target, "name", node);
	assume(s, pod->uid, tree, node);
	fl_ports_hold(&s->ports, pod->uid, node, tree);
	fl_writes_post(w, &fl_gvr_pods, pod->ns, pod->name, "binding", o, on_bound, b);
}

static void refuse(struct fl_scheduler *s, struct fl_arena *a, struct fl_writes *w, const char *key,
		   const struct fl_object *pod, const struct fl_json *tree, const char *why)
{
	char time[FL_TIME_STRLEN];
	const struct fl_json *had = fl_meta_condition(fl_json_get(tree, "status"), "PodScheduled");
	fl_map_set(&s->waiting, key, s);
	fl_writes_again(w, RETRY_MS);
	fl_recorder_event(s->recorder, pod, "Warning", "FailedScheduling", "%s", why);
	if (fl_streq(fl_json_str(had, "message"), why))
		return;
	struct fl_json *patch = fl_json_new(a, FL_JSON_OBJECT), *status = fl_json_set_object(a, patch, "status");
	struct fl_json *c = fl_json_append(fl_json_set_array(a, status, "conditions"), fl_json_new(a, FL_JSON_OBJECT));
	fl_json_set_str(a, c, "type", "PodScheduled");
	fl_json_set_str(a, c, "status", "False");
	if (!fl_streq(fl_json_str(had, "status"), "False"))
		fl_json_set_str(a, c, "lastTransitionTime", fl_time_now(time));
	fl_json_set_str(a, c, "reason", "Unschedulable");
	fl_json_set_str(a, c, "message", why);
	fl_writes_patch(w, &fl_gvr_pods, pod->ns, pod->name, "status", FL_PATCH_STRATEGIC, patch, NULL, NULL);
}

static void schedule(void *arg, const char *key)
{
	struct fl_scheduler *s = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	char ns[FL_KEY_LEN];
	const char *name;
	fl_key_split(key, ns, &name);
	struct fl_writes *w = fl_writes_begin(s->hub, s->queue, key);
	const struct fl_object *pod = fl_hub_find(s->hub, FL_HUB_PODS, ns, name);
	struct fl_json *tree = pod ? fl_object_tree(pod, &a) : NULL;
	if (tree && is_pending(tree) && !fl_map_get(&s->assumed, pod->uid)) {
		struct choice c = {.s = s, .a = &a, .pod = tree};
		fl_demand_read(&a, tree, &c.demand);
		fl_informer_each(fl_hub_informer(s->hub, FL_HUB_NODES), NULL, consider, &c);
		fl_map_del(&s->waiting, key);
		if (c.best)
			assign(s, &a, w, pod, tree, c.best);
		else
			refuse(s, &a, w, key, pod, tree, explain(&c));
		fl_vec_deinit(&c.refusals);
		fl_demand_deinit(&c.demand);
	}
	fl_writes_end(w);
}

struct fl_scheduler *fl_scheduler_new(struct fl_hub *h)
{
	struct fl_scheduler *s = FL_NEW(struct fl_scheduler);
	s->hub = h;
	s->queue = fl_hub_queue(h, CONCURRENCY, schedule, s);
	s->recorder = fl_recorder_new(fl_hub_client(h), "default-scheduler", NULL);
	fl_hub_listen(h, FL_HUB_PODS, on_pod, s);
	fl_hub_listen(h, FL_HUB_NODES, on_node, s);
	return s;
}

void fl_scheduler_free(struct fl_scheduler **sp)
{
	struct fl_scheduler *s = TAKE_PTR(*sp);
	if (!s)
		return;
	fl_recorder_free(&s->recorder);
	for (struct fl_map_iter it = {0}; fl_map_next(&s->assumed, &it);)
		free_assumed(it.value);
	for (struct fl_map_iter it = {0}; fl_map_next(&s->load, &it);)
		free_room(it.value);
	fl_map_deinit(&s->assumed);
	fl_map_deinit(&s->waiting);
	fl_map_deinit(&s->load);
	fl_ports_deinit(&s->ports);
	free(s);
}
