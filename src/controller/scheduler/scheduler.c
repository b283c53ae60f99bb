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
#include "controller/scheduler/near.h"
#include "controller/scheduler/ports.h"
#include "controller/writes.h"

#define CONCURRENCY 32
#define RETRY_MS    60000

struct fl_scheduler {
	struct fl_hub *hub;
	struct fl_workqueue *queue;
	struct fl_recorder *recorder;
	struct fl_map load;      // node -> struct fl_room *: of its pods that have not ended, assumed ones included
	struct fl_map assumed;   // pod uid -> struct assumed *
	struct fl_map waiting;   // key of a pod that fits nowhere -> itself
	struct fl_map looking;   // those of them to which other pods matter -> itself
	struct fl_map repelling; // uid of a pod with required anti-affinity that has, or had, a node -> its key
	struct fl_ports ports;   // of pods that have a node or will have
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

static void wake_looking(struct fl_scheduler *s)
{
	for (struct fl_map_iter it = {0}; fl_map_next(&s->looking, &it);)
		fl_workqueue_add(s->queue, it.key);
}

static void note_repelling(struct fl_scheduler *s, const struct fl_object *o, const struct fl_json *pod)
{
	char key[FL_KEY_LEN];
	if (pod && fl_near_repels(pod))
		free(fl_map_set(&s->repelling, o->uid, fl_strdup(fl_key_of(key, o))));
	else
		free(fl_map_del(&s->repelling, o->uid));
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

static bool same_labels(struct fl_scheduler *s, const struct fl_object *x, const struct fl_object *y)
{
	const struct fl_json *lx = fl_json_path(fl_hub_tree(s->hub, x), "metadata", "labels", NULL),
			     *ly = fl_json_path(fl_hub_tree(s->hub, y), "metadata", "labels", NULL);
	return lx && ly ? fl_json_equal(lx, ly) : lx == ly;
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
	fl_map_del(&s->looking, key);
	note_repelling(s, o, is[0] ? fl_hub_tree(s->hub, now) : NULL);
	if (is[0] && s->looking.n && (strcmp(was, is) != 0 || !same_labels(s, old, now)))
		wake_looking(s); // one that they look for, perhaps
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

struct candidate {
	const char *name;
	const struct fl_json *tree;
	size_t load;
	int64_t taints, preference, liking, crowd; // see fit.h, near.h
	bool fits;
};

struct choice {
	struct fl_scheduler *s;
	struct fl_arena *a;
	const struct fl_json *pod;
	struct fl_demand demand;
	struct fl_near *near; // NULL: no other pod matters
	FL_VEC(struct candidate) nodes;
	fl_refusals refusals; // of all nodes
};

static bool add_candidate(void *arg, const struct fl_object *o)
{
	struct choice *c = arg;
	struct candidate n = {.name = fl_arena_strdup(c->a, o->name),
			      .tree = fl_object_tree(o, c->a),
			      .load = load_of(c->s, o->name)->pods};
	fl_vec_push(&c->nodes, n);
	return true;
}

static const struct fl_json *ns_labels(void *arg, const char *ns)
{
	struct choice *c = arg;
	const struct fl_object *o = fl_hub_find(c->s->hub, FL_HUB_NAMESPACES, "", ns);
	return o ? fl_json_path(fl_object_tree(o, c->a), "metadata", "labels", NULL) : NULL;
}

static bool tell_pod(void *arg, const struct fl_object *o)
{
	struct choice *c = arg;
	const struct fl_json *tree = fl_object_tree(o, c->a);
	struct fl_podview p = fl_podview_read(tree);
	const struct assumed *as = fl_map_get(&c->s->assumed, o->uid);
	const char *node = p.node[0] ? p.node : as ? as->node : "";
	for (size_t i = 0; node[0] && !p.finished && i < c->nodes.n; i++)
		if (!strcmp(c->nodes.v[i].name, node))
			fl_near_pod(c->near, tree, c->nodes.v[i].tree);
	return true;
}

static void look_around(struct choice *c)
{
	bool depends = fl_near_depends(c->pod);
	if (!depends && !c->s->repelling.n)
		return;
	c->near = fl_near_new(c->a, c->pod, ns_labels, c);
	for (size_t i = 0; i < c->nodes.n; i++)
		fl_near_node(c->near, c->nodes.v[i].tree);
	if (depends)
		fl_informer_each(fl_hub_informer(c->s->hub, FL_HUB_PODS), NULL, tell_pod, c);
	for (struct fl_map_iter it = {0}; !depends && fl_map_next(&c->s->repelling, &it);) {
		char ns[FL_KEY_LEN];
		const char *name;
		fl_key_split(it.value, ns, &name);
		const struct fl_object *o = fl_hub_find(c->s->hub, FL_HUB_PODS, ns, name);
		if (o)
			tell_pod(c, o);
	}
}

static void consider(struct choice *c, struct candidate *n)
{
	size_t refused = c->refusals.n;
	fl_fit_refusals(c->a, c->pod, &c->demand, n->tree, load_of(c->s, n->name),
			fl_ports_free_on(&c->s->ports, n->name, c->pod), &c->refusals);
	const char *why = c->near && c->refusals.n == refused ? fl_near_refusal(c->near, n->tree) : NULL;
	if (why)
		fl_vec_push(&c->refusals, why);
	n->fits = c->refusals.n == refused;
	if (!n->fits)
		return;
	n->taints = fl_fit_unwanted_taints(c->pod, n->tree);
	n->preference = fl_fit_preference(c->pod, n->tree);
	n->liking = c->near ? fl_near_liking(c->near, n->tree) : 0;
	n->crowd = c->near ? fl_near_crowd(c->near, n->tree) : 0;
}

// What users ask for comes before an even load, in the order of the weights that Kubernetes gives these rules.
static bool is_better(const struct candidate *x, const struct candidate *y)
{
	if (x->taints != y->taints)
		return x->taints < y->taints;
	if (x->preference != y->preference)
		return x->preference > y->preference;
	if (x->liking != y->liking)
		return x->liking > y->liking;
	if (x->crowd != y->crowd)
		return x->crowd < y->crowd;
	return x->load != y->load ? x->load < y->load : strcmp(x->name, y->name) < 0;
}

static const char *choose(struct choice *c)
{
	const struct candidate *best = NULL;
	fl_informer_each(fl_hub_informer(c->s->hub, FL_HUB_NODES), NULL, add_candidate, c);
	look_around(c);
	for (size_t i = 0; i < c->nodes.n; i++) {
		consider(c, &c->nodes.v[i]);
		if (c->nodes.v[i].fits && (!best || is_better(&c->nodes.v[i], best)))
			best = &c->nodes.v[i];
	}
	return best ? best->name : NULL;
}

static void choice_deinit(struct choice *c)
{
	fl_near_free(&c->near);
	fl_vec_deinit(&c->nodes);
	fl_vec_deinit(&c->refusals);
	fl_demand_deinit(&c->demand);
}

static int by_text(const void *x, const void *y)
{
	return strcmp(*(const char *const *)x, *(const char *const *)y);
}

// "0/3 nodes are available: 1 node(s) were unschedulable, 2 Too many pods."
static const char *explain(struct choice *c)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	if (!c->nodes.n)
		return "no nodes available to schedule pods";
	fl_buf_printf(&b, "0/%zu nodes are available:", c->nodes.n);
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
	if (fl_near_repels(tree))
		note_repelling(s, pod, tree);
	wake_looking(s);
	fl_ports_hold(&s->ports, pod->uid, node, tree);
	fl_writes_post(w, &fl_gvr_pods, pod->ns, pod->name, "binding", o, on_bound, b);
}

static void refuse(struct fl_scheduler *s, struct fl_arena *a, struct fl_writes *w, const char *key,
		   const struct fl_object *pod, const struct fl_json *tree, const char *why)
{
	char time[FL_TIME_STRLEN];
	const struct fl_json *had = fl_meta_condition(fl_json_get(tree, "status"), "PodScheduled");
	fl_map_set(&s->waiting, key, s);
	if (fl_near_depends(tree))
		fl_map_set(&s->looking, key, s);
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
		AUTO(choice_deinit) struct choice c = {.s = s, .a = &a, .pod = tree};
		fl_demand_read(&a, tree, &c.demand);
		const char *node = choose(&c);
		fl_map_del(&s->waiting, key);
		fl_map_del(&s->looking, key);
		if (node)
			assign(s, &a, w, pod, tree, node);
		else
			refuse(s, &a, w, key, pod, tree, explain(&c));
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
	for (struct fl_map_iter it = {0}; fl_map_next(&s->repelling, &it);)
		free(it.value);
	fl_map_deinit(&s->repelling);
	fl_map_deinit(&s->looking);
	fl_map_deinit(&s->waiting);
	fl_map_deinit(&s->load);
	fl_ports_deinit(&s->ports);
	free(s);
}
