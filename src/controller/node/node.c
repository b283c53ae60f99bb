// SPDX-License-Identifier: Apache-2.0
// A node lives while its Lease or its status changes; what counts is when *this* process saw a change, so that clocks
// need not agree. Keys: a node's name - its health and the pods on it - and "pod/<ns>/<name>" for a pod whose node is
// missing, which is looked at again after ORPHAN_MS: nodes come back under their name. One key more, when there are too
// many pods that have ended.
#include "controller/node/node.h"

#include "base/clock.h"
#include "base/mem.h"
#include "client/recorder.h"
#include "controller/index.h"
#include "controller/meta.h"
#include "controller/node/ended.h"
#include "controller/node/health.h"
#include "controller/writes.h"

#define CONCURRENCY 8
#define CHECK_MS    5000  // between looks at a node; the loss of one is found that much later at most
#define ORPHAN_MS   40000 // a pod whose node is missing may live that long
#define PAIR_NODE   "\001node"

struct seen {             // of a node
	uint64_t beat_ms; // monotonic: last change of Lease or status
	char *renewed;    // Lease's renewTime at that time
};

struct fl_node_controller {
	struct fl_hub *hub;
	struct fl_workqueue *queue, *orphans, *sweep;
	struct fl_recorder *recorder;
	struct fl_map seen;    // node -> struct seen
	struct fl_index pods;  // "ns/name" by node, in one namespace ""
	struct fl_map missing; // pod uid -> uint64_t: when its node was first missed
	struct fl_ended ended;
	size_t max_ended;
};

static struct seen *beat(struct fl_node_controller *c, const char *node)
{
	struct seen *s = fl_map_get(&c->seen, node);
	if (!s) {
		s = FL_NEW(struct seen);
		fl_map_set(&c->seen, node, s);
	}
	s->beat_ms = fl_mono_ms();
	return s;
}

static void on_lease(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct fl_node_controller *c = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	if (!now)
		return;
	const char *renewed = fl_json_str(fl_json_get(fl_object_tree(now, &a), "spec"), "renewTime");
	struct seen *s = fl_map_get(&c->seen, now->name);
	if (!renewed || (s && fl_streq(s->renewed, renewed)))
		return;
	s = beat(c, now->name);
	free(s->renewed);
	s->renewed = fl_strdup(renewed);
}

static const char *heartbeat(const struct fl_object *o, struct fl_arena *a)
{
	return o ? fl_json_str(fl_meta_condition(fl_json_get(fl_object_tree(o, a), "status"), "Ready"),
			       "lastHeartbeatTime")
		 : NULL;
}

static void enqueue_pod(void *arg, const char *name)
{
	struct fl_node_controller *c = arg;
	fl_workqueue_add(c->orphans, name);
}

static void on_node(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct fl_node_controller *c = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	if (now) {
		if (!old || !fl_streq(heartbeat(old, &a), heartbeat(now, &a)))
			beat(c, now->name);
		fl_workqueue_add(c->queue, now->name);
		return;
	}
	struct seen *s = fl_map_del(&c->seen, old->name);
	struct fl_pair pair = {PAIR_NODE, old->name};
	if (s)
		free(s->renewed);
	free(s);
	fl_index_search(&c->pods, "", &pair, 1, enqueue_pod, c);
}

static void on_pod(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct fl_node_controller *c = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	char key[FL_KEY_LEN];
	const struct fl_object *o = now ? now : old;
	struct fl_podview p = fl_podview_read(fl_hub_tree(c->hub, o));
	fl_key_of(key, o);
	if (!now) {
		fl_index_del(&c->pods, "", key);
		free(fl_map_del(&c->missing, o->uid));
		fl_ended_forget(&c->ended, key);
		return;
	}
	fl_ended_note(&c->ended, key, &p);
	if (c->ended.pods.n > c->max_ended)
		fl_workqueue_add(c->sweep, "ended");
	struct fl_pair pair = {PAIR_NODE, p.node};
	if (p.node[0])
		fl_index_put(&c->pods, "", key, &pair, 1);
	if (!fl_hub_synced(c->hub))
		return;
	const struct fl_object *node = p.node[0] ? fl_hub_find(c->hub, FL_HUB_NODES, "", p.node) : NULL;
	if (node ? fl_health_is_silent(fl_object_tree(node, &a)) : p.node[0] || p.deleting)
		fl_workqueue_add(node ? c->queue : c->orphans, node ? node->name : key);
}

// --- health ---

struct look {
	struct fl_node_controller *c;
	struct fl_arena *a;
	struct fl_writes *w;
	const struct fl_json *node;
	int64_t now_ns, next_ns; // next_ns: earliest eviction to come, real time; 0: none
};

static void look_at_pod(void *arg, const char *key)
{
	struct look *l = arg;
	char ns[FL_KEY_LEN];
	const char *name;
	fl_key_split(key, ns, &name);
	const struct fl_object *o = fl_hub_find(l->c->hub, FL_HUB_PODS, ns, name);
	if (!o)
		return;
	struct fl_podview p = fl_podview_read(fl_object_tree(o, l->a));
	struct fl_json *patch = fl_health_is_silent(l->node) ? fl_health_pod_unready_patch(l->a, &p, l->now_ns) : NULL;
	if (patch)
		fl_writes_patch(l->w, &fl_gvr_pods, ns, name, "status", FL_PATCH_STRATEGIC, patch, NULL, NULL);
	int64_t at = p.deleting || p.finished ? -1 : fl_health_evict_at(l->node, &p);
	if (at < 0)
		return;
	if (at <= l->now_ns) {
		fl_recorder_event(l->c->recorder, o, "Normal", "TaintManagerEviction", "Marking for deletion Pod %s/%s",
				  ns, name);
		fl_writes_delete(l->w, &fl_gvr_pods, ns, name, o->uid, -1, NULL, NULL, NULL);
	} else if (!l->next_ns || at < l->next_ns) {
		l->next_ns = at;
	}
}

static void tell_down(struct fl_node_controller *c, const struct fl_object *o)
{
	fl_recorder_event(c->recorder, o, "Normal", "NodeNotReady", "Node %s status is now: NodeNotReady", o->name);
}

static void look_at_node(void *arg, const char *name)
{
	struct fl_node_controller *c = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_writes *w = fl_writes_begin(c->hub, c->queue, name);
	const struct fl_object *o = fl_hub_find(c->hub, FL_HUB_NODES, "", name);
	const struct seen *s = fl_map_get(&c->seen, name);
	if (o && s) {
		struct look l = {.c = c, .a = &a, .w = w, .node = fl_object_tree(o, &a), .now_ns = fl_real_ns()};
		struct fl_pair pair = {PAIR_NODE, name};
		struct fl_json *lost = NULL, *taints;
		if (fl_mono_ms() - s->beat_ms >= FL_HEALTH_GRACE_MS)
			lost = fl_health_unknown_patch(&a, l.node, l.now_ns);
		if (lost) { // taints and pods follow when the answer is in the cache
			tell_down(c, o);
			fl_writes_patch(w, &fl_gvr_nodes, NULL, name, "status", FL_PATCH_MERGE, lost, NULL, NULL);
		} else {
			taints = fl_health_taints_patch(&a, l.node, l.now_ns);
			if (taints)
				fl_writes_patch(w, &fl_gvr_nodes, NULL, name, NULL, FL_PATCH_MERGE, taints, NULL, NULL);
			if (fl_health_is_silent(l.node) || fl_health_evicts(l.node))
				fl_index_search(&c->pods, "", &pair, 1, look_at_pod, &l);
		}
		int64_t until_ms = l.next_ns ? (l.next_ns - l.now_ns) / 1000000 + 1 : CHECK_MS;
		fl_writes_again(w, until_ms < CHECK_MS ? (unsigned)until_ms : CHECK_MS);
	}
	fl_writes_end(w);
}

// --- pods without a node ---

static void look_at_orphan(void *arg, const char *key)
{
	struct fl_node_controller *c = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	char ns[FL_KEY_LEN];
	const char *name;
	fl_key_split(key, ns, &name);
	struct fl_writes *w = fl_writes_begin(c->hub, c->orphans, key);
	const struct fl_object *o = fl_hub_find(c->hub, FL_HUB_PODS, ns, name);
	if (!o) {
		fl_writes_end(w);
		return;
	}
	struct fl_podview p = fl_podview_read(fl_object_tree(o, &a));
	if (!p.node[0] && p.deleting) { // nobody runs it: nobody will end it
		fl_writes_delete(w, &fl_gvr_pods, ns, name, o->uid, 0, NULL, NULL, NULL);
	} else if (p.node[0] && !fl_hub_find(c->hub, FL_HUB_NODES, "", p.node)) {
		uint64_t *since = fl_map_get(&c->missing, o->uid), now = fl_mono_ms();
		if (!since) {
			since = FL_NEW(uint64_t);
			*since = now;
			fl_map_set(&c->missing, o->uid, since);
		}
		// A deleted pod waits for nothing but its node's word, which will not come.
		if (now - *since >= ORPHAN_MS)
			fl_writes_delete(w, &fl_gvr_pods, ns, name, o->uid, 0, NULL, NULL, NULL);
		else
			fl_writes_again(w, (unsigned)(ORPHAN_MS - (now - *since)));
	} else {
		free(fl_map_del(&c->missing, o->uid));
	}
	fl_writes_end(w);
}

// --- pods that have ended ---

static void remove_ended(void *arg, const char *key)
{
	struct fl_node_controller *c = arg;
	fl_ended_keys keys = {0};
	struct fl_writes *w = fl_writes_begin(c->hub, c->sweep, key);
	fl_ended_surplus(&c->ended, c->max_ended, &keys);
	for (size_t i = 0; i < keys.n; i++) {
		char ns[FL_KEY_LEN];
		const char *name;
		fl_key_split(keys.v[i], ns, &name);
		const struct fl_object *o = fl_hub_find(c->hub, FL_HUB_PODS, ns, name);
		if (o)
			fl_writes_delete(w, &fl_gvr_pods, ns, name, o->uid, 0, NULL, NULL, NULL);
	}
	if (c->ended.pods.n > c->max_ended + keys.n)
		fl_writes_again(w, 1);
	fl_vec_deinit(&keys);
	fl_writes_end(w);
}

static bool enqueue_if_orphan(void *arg, const struct fl_object *o)
{
	struct fl_node_controller *c = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	char key[FL_KEY_LEN];
	struct fl_podview p = fl_podview_read(fl_object_tree(o, &a));
	if (p.node[0] ? !fl_hub_find(c->hub, FL_HUB_NODES, "", p.node) : p.deleting)
		fl_workqueue_add(c->orphans, fl_key_of(key, o));
	return true;
}

static void on_synced(void *arg)
{
	struct fl_node_controller *c = arg;
	fl_informer_each(fl_hub_informer(c->hub, FL_HUB_PODS), NULL, enqueue_if_orphan, c);
}

struct fl_node_controller *fl_node_controller_new(struct fl_hub *h, size_t max_ended)
{
	struct fl_node_controller *c = FL_NEW(struct fl_node_controller);
	c->hub = h;
	c->queue = fl_hub_queue(h, CONCURRENCY, look_at_node, c);
	c->orphans = fl_hub_queue(h, CONCURRENCY, look_at_orphan, c);
	c->sweep = fl_hub_queue(h, 1, remove_ended, c);
	c->max_ended = max_ended ? max_ended : FL_ENDED_MAX;
	c->recorder = fl_recorder_new(fl_hub_client(h), "node-controller", NULL);
	fl_hub_listen(h, FL_HUB_NODES, on_node, c);
	fl_hub_listen(h, FL_HUB_LEASES, on_lease, c);
	fl_hub_listen(h, FL_HUB_PODS, on_pod, c);
	fl_hub_on_synced(h, on_synced, c);
	return c;
}

void fl_node_controller_free(struct fl_node_controller **cp)
{
	struct fl_node_controller *c = TAKE_PTR(*cp);
	if (!c)
		return;
	fl_recorder_free(&c->recorder);
	for (struct fl_map_iter it = {0}; fl_map_next(&c->seen, &it);) {
		struct seen *s = it.value;
		free(s->renewed);
		free(s);
	}
	fl_map_deinit(&c->seen);
	for (struct fl_map_iter it = {0}; fl_map_next(&c->missing, &it);)
		free(it.value);
	fl_map_deinit(&c->missing);
	fl_index_deinit(&c->pods);
	fl_ended_deinit(&c->ended);
	free(c);
}
