// SPDX-License-Identifier: Apache-2.0
// A change costs what it touches: a pod's change looks its Services up by the pod's labels, a Service's reconcile its
// pods by the selector and its slices by their Service name.
//
//   pods ------ index by label (ALL) ----.
//   services -- index by selector (ONE) -+--> key of a Service --> reconcile --> Endpoints, EndpointSlices
//   slices ---- index by Service name ---'
#include "controller/endpoints/endpoints.h"

#include <assert.h>

#include "base/clock.h"
#include "base/mem.h"
#include "client/recorder.h"
#include "controller/endpoints/slices.h"
#include "controller/endpoints/subsets.h"
#include "controller/endpoints/topology.h"
#include "controller/meta.h"
#include "controller/writes.h"

#define CONCURRENCY 32 // Services under way; each waits for at most a few writes

struct fl_endpoints_controller {
	struct fl_hub *hub;
	struct fl_workqueue *queue;
	struct fl_recorder *recorder;
	struct fl_index pods, services, slices;
	struct fl_arena scratch; // of the reconcile that runs
	struct fl_map seen;      // key -> newest trigger time that a reconcile has taken in, itself
};

static void enqueue(struct fl_endpoints_controller *c, const char *ns, const char *name)
{
	char key[FL_KEY_LEN];
	fl_workqueue_add(c->queue, fl_key_format(key, ns, name));
}

struct visit {
	struct fl_endpoints_controller *c;
	const char *ns;
};

static void enqueue_found(void *arg, const char *name)
{
	struct visit *v = arg;
	enqueue(v->c, v->ns, name);
}

static void enqueue_services_of(struct fl_endpoints_controller *c, struct fl_arena *a, const struct fl_json *pod)
{
	const struct fl_json *meta = fl_json_get(pod, "metadata");
	struct visit v = {c, fl_json_str_or(meta, "namespace", "")};
	size_t n;
	struct fl_pair *labels = fl_index_pairs(a, fl_json_get(meta, "labels"), 0, &n);
	fl_index_search(&c->services, v.ns, labels, n, enqueue_found, &v);
}

static bool same_membership(const struct fl_json *x, const struct fl_json *y)
{
	static const char *const spec[] = {"nodeName", "hostname", "subdomain"};
	const struct fl_json *sx = fl_json_get(x, "status"), *sy = fl_json_get(y, "status");
	for (size_t i = 0; i < FL_COUNT(spec); i++)
		if (!fl_streq(fl_json_str(fl_json_get(x, "spec"), spec[i]),
			      fl_json_str(fl_json_get(y, "spec"), spec[i])))
			return false;
	struct fl_podview px = fl_podview_read(x), py = fl_podview_read(y);
	const struct fl_json *ix = fl_json_get(sx, "podIPs"), *iy = fl_json_get(sy, "podIPs");
	return px.ready == py.ready && px.deleting == py.deleting && px.finished == py.finished &&
	       (ix && iy ? fl_json_equal(ix, iy) : !ix == !iy) &&
	       fl_streq(fl_json_str(sx, "podIP"), fl_json_str(sy, "podIP"));
}

static void on_pod(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct fl_endpoints_controller *c = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_json *before = fl_hub_tree(c->hub, old), *after = fl_hub_tree(c->hub, now);
	const struct fl_object *o = now ? now : old;
	assert(o);
	const struct fl_json *labels_before = fl_json_path(before, "metadata", "labels", NULL),
			     *labels_after = fl_json_path(after, "metadata", "labels", NULL);
	bool relabelled = !before || !after ||
			  (labels_before && labels_after ? !fl_json_equal(labels_before, labels_after)
							 : labels_before != labels_after);
	if (!relabelled && same_membership(before, after))
		return;
	if (after && relabelled) {
		size_t n;
		struct fl_pair *pairs = fl_index_pairs(&a, labels_after, 0, &n);
		fl_index_put(&c->pods, now->ns, now->name, pairs, n);
	} else if (!after) {
		fl_index_del(&c->pods, o->ns, o->name);
	}
	if (before && relabelled)
		enqueue_services_of(c, &a, before);
	if (after)
		enqueue_services_of(c, &a, after);
}

static void on_service(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct fl_endpoints_controller *c = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_object *o = now ? now : old;
	const struct fl_json *tree = fl_hub_tree(c->hub, now);
	if (tree && fl_members_has_selector(tree)) {
		size_t n;
		struct fl_pair *pairs = fl_index_pairs(&a, fl_json_path(tree, "spec", "selector", NULL), 0, &n);
		fl_index_put(&c->services, o->ns, o->name, pairs, n);
	} else {
		fl_index_del(&c->services, o->ns, o->name);
	}
	enqueue(c, o->ns, o->name);
}

static const char *service_of_slice(struct fl_endpoints_controller *c, const struct fl_object *o)
{
	const struct fl_json *tree = fl_hub_tree(c->hub, o);
	const char *service = fl_meta_label(tree, FL_LABEL_SERVICE_NAME);
	return fl_streq(fl_meta_label(tree, FL_LABEL_MANAGED_BY), FL_SLICE_MANAGER) ? service : NULL;
}

// A slice or an Endpoints object of that Service is not what it was: somebody else's doing, or our own.
static void enqueue_for(struct fl_endpoints_controller *c, const char *service, const struct fl_object *o)
{
	char key[FL_KEY_LEN];
	fl_key_format(key, o->ns, service);
	if (!fl_hub_own_answer(c->hub, c->queue) && !fl_writes_echo(c->hub, c->queue, key, o))
		fl_workqueue_add(c->queue, key);
}

static void on_slice(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct fl_endpoints_controller *c = arg;
	const struct fl_object *o = now ? now : old;
	const char *was = service_of_slice(c, old), *is = service_of_slice(c, now);
	if (!is) {
		fl_index_del(&c->slices, o->ns, o->name);
	} else if (!fl_streq(was, is)) {
		struct fl_pair pair = {FL_LABEL_SERVICE_NAME, is};
		fl_index_put(&c->slices, o->ns, o->name, &pair, 1);
	}
	if (is)
		enqueue_for(c, is, now);
	if (was && !fl_streq(was, is))
		enqueue(c, o->ns, was);
}

static void on_endpoints(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct fl_endpoints_controller *c = arg;
	const struct fl_object *o = now ? now : old;
	if (fl_hub_find(c->hub, FL_HUB_SERVICES, o->ns, o->name) ||
	    fl_streq(fl_meta_label(fl_hub_tree(c->hub, o), FL_LABEL_ENDPOINTS_MANAGED_BY), FL_ENDPOINTS_MANAGER))
		enqueue_for(c, o->name, o);
}

static bool enqueue_service(void *arg, const struct fl_object *o)
{
	enqueue(arg, o->ns, o->name);
	return true;
}

// Endpoints carry their node's zone, and leave pods out whose node is missing.
static void on_node(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct fl_endpoints_controller *c = arg;
	static const char zone[] = "topology.kubernetes.io/zone";
	bool same =
	    old && now &&
	    fl_streq(fl_meta_label(fl_hub_tree(c->hub, old), zone), fl_meta_label(fl_hub_tree(c->hub, now), zone));
	if (!same && fl_hub_synced(c->hub))
		fl_informer_each(fl_hub_informer(c->hub, FL_HUB_SERVICES), NULL, enqueue_service, c);
}

struct gather {
	struct fl_endpoints_controller *c;
	struct fl_arena *a;
	const char *ns;
	FL_VEC(struct fl_podview) pods;
	FL_VEC(const struct fl_json *) slices;
	struct fl_topology topology;
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

static void add_slice(void *arg, const char *name)
{
	struct gather *g = arg;
	const struct fl_object *o = fl_hub_find(g->c->hub, FL_HUB_ENDPOINTSLICES, g->ns, name);
	if (o) {
		const struct fl_json *tree = fl_object_tree(o, g->a);
		fl_vec_push(&g->slices, tree);
	}
}

static int by_name(const void *x, const void *y)
{
	return strcmp(((const struct fl_podview *)x)->name, ((const struct fl_podview *)y)->name);
}

static int slice_by_name(const void *x, const void *y)
{
	return strcmp(fl_json_str_or(fl_json_get(*(const struct fl_json *const *)x, "metadata"), "name", ""),
		      fl_json_str_or(fl_json_get(*(const struct fl_json *const *)y, "metadata"), "name", ""));
}

static const struct fl_json *find_node(void *arg, const char *name)
{
	struct gather *g = arg;
	const struct fl_object *o = fl_hub_find(g->c->hub, FL_HUB_NODES, "", name);
	return o ? fl_object_tree(o, g->a) : NULL;
}

// The earliest change that no reconcile has taken in: what programming latency is counted from. NULL when there is
// none, and at the first sight of a Service that has its endpoints already.
static const char *trigger_time(struct gather *g, const char *key, const struct fl_json *service, bool known)
{
	_Static_assert(sizeof(uintptr_t) >= sizeof(int64_t), "a time fits a pointer");
	int64_t seen = (int64_t)(uintptr_t)fl_map_get(&g->c->seen, key), first = 0;
	bool fresh = !seen;
	int64_t newest = fresh ? 1 : seen, t = fl_meta_created_ns(service);
	for (size_t i = 0; i <= g->pods.n; i++) {
		if (t > seen && (!first || t < first))
			first = t;
		if (t > newest)
			newest = t;
		if (i < g->pods.n)
			t = g->pods.v[i].ready_since_ns;
	}
	if (newest != seen)
		fl_map_set(&g->c->seen, key, (void *)(uintptr_t)newest);
	if (!first || (fresh && known))
		return NULL;
	char buf[FL_TIME_STRLEN];
	return fl_arena_strdup(g->a, fl_time_format(first, buf));
}

static void write_slices(struct fl_writes *w, const char *ns, const fl_slice_plan *plan)
{
	for (size_t i = 0; i < plan->n; i++) {
		const struct fl_slice_step *s = &plan->v[i];
		if (s->op == FL_SLICE_CREATE)
			fl_writes_create(w, &fl_gvr_endpointslices, ns, s->slice, NULL, NULL);
		else if (s->op == FL_SLICE_UPDATE)
			fl_writes_update(w, &fl_gvr_endpointslices, ns, s->name, NULL, s->slice, NULL, NULL);
		else
			fl_writes_delete(w, &fl_gvr_endpointslices, ns, s->name, s->uid, -1, NULL, NULL, NULL);
	}
}

static void remove_all(struct gather *g, struct fl_writes *w, const char *key, const char *name)
{
	const struct fl_object *ep = fl_hub_find(g->c->hub, FL_HUB_ENDPOINTS, g->ns, name);
	struct fl_pair pair = {FL_LABEL_SERVICE_NAME, name};
	fl_map_del(&g->c->seen, key);
	if (ep && !fl_meta_annotation(fl_object_tree(ep, g->a), "control-plane.alpha.kubernetes.io/leader"))
		fl_writes_delete(w, &fl_gvr_endpoints, ep->ns, ep->name, ep->uid, -1, NULL, NULL, NULL);
	fl_index_search(&g->c->slices, g->ns, &pair, 1, add_slice, g);
	for (size_t i = 0; i < g->slices.n; i++) {
		const struct fl_json *meta = fl_json_get(g->slices.v[i], "metadata");
		fl_writes_delete(w, &fl_gvr_endpointslices, g->ns, fl_json_str_or(meta, "name", ""),
				 fl_json_str_or(meta, "uid", ""), -1, NULL, NULL, NULL);
	}
}

static bool add_node(void *arg, const struct fl_object *o)
{
	struct gather *g = arg;
	fl_topology_add(&g->topology, fl_object_tree(o, g->a));
	return true;
}

// As Kubernetes does, with each reconcile: the recorder counts what is the same.
static void tell_topology(struct gather *g, const struct fl_object *service, const struct fl_json *tree)
{
	fl_informer_each(fl_hub_informer(g->c->hub, FL_HUB_NODES), NULL, add_node, g);
	fl_json_each (family, fl_json_path(tree, "spec", "ipFamilies", NULL))
		fl_recorder_event(g->c->recorder, service, "Warning", "TopologyAwareHintsDisabled",
				  "%s, addressType: %s", fl_topology_refusal(g->a, &g->topology, g->pods.n),
				  fl_json_string(family));
}

static void write_all(struct gather *g, struct fl_writes *w, const char *key, const struct fl_object *service)
{
	struct fl_json *tree = fl_object_tree(service, g->a);
	const struct fl_object *ep = fl_hub_find(g->c->hub, FL_HUB_ENDPOINTS, g->ns, service->name);
	struct fl_pair pair = {FL_LABEL_SERVICE_NAME, service->name};
	if (!fl_members_has_selector(tree))
		return; // its endpoints are somebody else's
	size_t n;
	struct fl_pair *selector = fl_index_pairs(g->a, fl_json_path(tree, "spec", "selector", NULL), 0, &n);
	fl_index_search(&g->c->pods, g->ns, selector, n, add_pod, g);
	fl_index_search(&g->c->slices, g->ns, &pair, 1, add_slice, g);
	if (g->pods.n)
		qsort(g->pods.v, g->pods.n, sizeof(*g->pods.v), by_name);
	if (g->slices.n)
		qsort(g->slices.v, g->slices.n, sizeof(*g->slices.v), slice_by_name);
	struct fl_members_in in = {
	    .service = tree,
	    .pods = g->pods.v,
	    .n_pods = g->pods.n,
	    .trigger_time = trigger_time(g, key, tree, ep != NULL),
	    .node = find_node,
	    .arg = g,
	};
	struct fl_json *now = fl_endpoints_plan(g->a, &in, ep ? fl_object_tree(ep, g->a) : NULL, FL_ENDPOINTS_MAX);
	if (now && ep)
		fl_writes_update(w, &fl_gvr_endpoints, g->ns, service->name, NULL, now, NULL, NULL);
	else if (now && !fl_meta_deleting(tree))
		fl_writes_create(w, &fl_gvr_endpoints, g->ns, now, NULL, NULL);
	fl_slice_plan plan = {0};
	bool missing_node;
	fl_slices_plan(g->a, &in, g->slices.v, g->slices.n, FL_SLICE_MAX_ENDPOINTS, &plan, &missing_node);
	write_slices(w, g->ns, &plan);
	if (fl_topology_wanted(tree))
		tell_topology(g, service, tree);
	fl_vec_deinit(&plan);
}

static void reconcile(void *arg, const char *key)
{
	struct fl_endpoints_controller *c = arg;
	char ns[FL_KEY_LEN];
	const char *name;
	fl_key_split(key, ns, &name);
	fl_arena_reset(&c->scratch);
	struct gather g = {.c = c, .a = &c->scratch, .ns = ns};
	struct fl_writes *w = fl_writes_begin(c->hub, c->queue, key);
	const struct fl_object *service = fl_hub_find(c->hub, FL_HUB_SERVICES, ns, name);
	if (service)
		write_all(&g, w, key, service);
	else
		remove_all(&g, w, key, name);
	fl_vec_deinit(&g.pods);
	fl_vec_deinit(&g.slices);
	fl_writes_end(w);
}

struct fl_endpoints_controller *fl_endpoints_controller_new(struct fl_hub *h)
{
	struct fl_endpoints_controller *c = FL_NEW(struct fl_endpoints_controller);
	c->hub = h;
	c->services.mode = FL_INDEX_ONE;
	c->queue = fl_hub_queue(h, CONCURRENCY, reconcile, c);
	c->recorder = fl_recorder_new(fl_hub_client(h), "endpoint-slice-controller", NULL);
	fl_hub_listen(h, FL_HUB_PODS, on_pod, c);
	fl_hub_listen(h, FL_HUB_SERVICES, on_service, c);
	fl_hub_listen(h, FL_HUB_ENDPOINTSLICES, on_slice, c);
	fl_hub_listen(h, FL_HUB_ENDPOINTS, on_endpoints, c);
	fl_hub_listen(h, FL_HUB_NODES, on_node, c);
	return c;
}

void fl_endpoints_controller_free(struct fl_endpoints_controller **cp)
{
	struct fl_endpoints_controller *c = TAKE_PTR(*cp);
	if (!c)
		return;
	fl_index_deinit(&c->pods);
	fl_index_deinit(&c->services);
	fl_index_deinit(&c->slices);
	fl_arena_deinit(&c->scratch);
	fl_recorder_free(&c->recorder);
	fl_map_deinit(&c->seen);
	free(c);
}
