// SPDX-License-Identifier: Apache-2.0
// Most Endpoints are written by the endpoints controller for Services with a selector: they are never queued here,
// unless mirrored slices of their name are left from before. Until all caches are filled it is the Services and the
// mirrored slices that name what has to be looked at.
//
//   Endpoints --.
//   Services ---+--> key --> is it mirrored? --> plan --> EndpointSlices
//   mirrored slices (index by Service name) --'
#include "controller/mirror/mirror.h"

#include "base/mem.h"
#include "client/recorder.h"
#include "controller/meta.h"
#include "controller/mirror/plan.h"
#include "controller/writes.h"

#define CONCURRENCY 5

struct fl_mirror_controller {
	struct fl_hub *hub;
	struct fl_workqueue *queue;
	struct fl_recorder *recorder;
	struct fl_index slices; // mirrored ones by the Service's name
	struct fl_map left;     // keys of Services that leave their endpoints to others: those without a selector
};

static void enqueue(struct fl_mirror_controller *c, const char *ns, const char *name)
{
	char key[FL_KEY_LEN];
	fl_workqueue_add(c->queue, fl_key_format(key, ns, name));
}

static void see(void *arg, const char *name)
{
	*(bool *)arg = true;
}

static bool has_slices(const struct fl_mirror_controller *c, const char *ns, const char *service)
{
	bool found = false;
	struct fl_pair pair = {FL_LABEL_SERVICE_NAME, service};
	fl_index_search(&c->slices, ns, &pair, 1, see, &found);
	return found;
}

static bool is_left_to_others(const struct fl_mirror_controller *c, const char *ns, const char *name)
{
	char key[FL_KEY_LEN];
	return fl_map_get(&c->left, fl_key_format(key, ns, name)) != NULL;
}

static void on_endpoints(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct fl_mirror_controller *c = arg;
	const struct fl_object *o = now ? now : old;
	if (fl_hub_synced(c->hub) && (has_slices(c, o->ns, o->name) || is_left_to_others(c, o->ns, o->name)))
		enqueue(c, o->ns, o->name);
}

static void on_service(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct fl_mirror_controller *c = arg;
	char key[FL_KEY_LEN];
	fl_key_of(key, now ? now : old);
	bool was = fl_map_get(&c->left, key) != NULL;
	bool is = now && !fl_json_count(fl_json_path(fl_hub_tree(c->hub, now), "spec", "selector", NULL));
	if (is)
		fl_map_set(&c->left, key, c);
	else
		fl_map_del(&c->left, key);
	if (was != is)
		fl_workqueue_add(c->queue, key);
}

static const char *mirrors(struct fl_mirror_controller *c, const struct fl_object *o)
{
	const struct fl_json *tree = fl_hub_tree(c->hub, o);
	const char *service = fl_meta_label(tree, FL_LABEL_SERVICE_NAME);
	return fl_streq(fl_meta_label(tree, FL_LABEL_MANAGED_BY), FL_MIRROR_MANAGER) ? service : NULL;
}

static void on_slice(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct fl_mirror_controller *c = arg;
	const struct fl_object *o = now ? now : old;
	const char *was = mirrors(c, old), *is = mirrors(c, now);
	if (is) {
		struct fl_pair pair = {FL_LABEL_SERVICE_NAME, is};
		fl_index_put(&c->slices, o->ns, o->name, &pair, 1);
		enqueue(c, o->ns, is);
	} else if (was) {
		fl_index_del(&c->slices, o->ns, o->name);
	}
	if (was && !fl_streq(was, is))
		enqueue(c, o->ns, was);
}

struct gather {
	struct fl_mirror_controller *c;
	struct fl_arena *a;
	const char *ns;
	FL_VEC(const struct fl_json *) slices;
};

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
	return strcmp(fl_json_str_or(fl_json_get(*(const struct fl_json *const *)x, "metadata"), "name", ""),
		      fl_json_str_or(fl_json_get(*(const struct fl_json *const *)y, "metadata"), "name", ""));
}

static void tell(struct fl_mirror_controller *c, const struct fl_object *endpoints, const struct fl_mirror_left_out *l)
{
	if (l->invalid)
		fl_recorder_event(c->recorder, endpoints, "Warning", "InvalidIPAddress",
				  "Skipped %zu invalid IP addresses when mirroring to EndpointSlices", l->invalid);
	if (l->beyond)
		fl_recorder_event(c->recorder, endpoints, "Warning", "TooManyAddressesToMirror",
				  "A max of %d addresses can be mirrored to EndpointSlices per Endpoints subset. %zu "
				  "addresses were skipped",
				  FL_MIRROR_MAX_ENDPOINTS, l->beyond + l->invalid);
}

static void write_slices(struct gather *g, struct fl_writes *w, const fl_slice_plan *plan)
{
	for (size_t i = 0; i < plan->n; i++) {
		const struct fl_slice_step *s = &plan->v[i];
		if (s->op == FL_SLICE_CREATE)
			fl_writes_create(w, &fl_gvr_endpointslices, g->ns, s->slice, NULL, NULL);
		else if (s->op == FL_SLICE_UPDATE)
			fl_writes_update(w, &fl_gvr_endpointslices, g->ns, s->name, NULL, s->slice, NULL, NULL);
		else
			fl_writes_delete(w, &fl_gvr_endpointslices, g->ns, s->name, s->uid, -1, NULL, NULL, NULL);
	}
}

static void reconcile(void *arg, const char *key)
{
	struct fl_mirror_controller *c = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	char ns[FL_KEY_LEN];
	const char *name;
	fl_key_split(key, ns, &name);
	struct gather g = {.c = c, .a = &a, .ns = ns};
	struct fl_writes *w = fl_writes_begin(c->hub, c->queue, key);
	struct fl_pair pair = {FL_LABEL_SERVICE_NAME, name};
	const struct fl_object *endpoints = fl_hub_find(c->hub, FL_HUB_ENDPOINTS, ns, name);
	const struct fl_json *tree = endpoints ? fl_object_tree(endpoints, &a) : NULL;
	fl_slice_plan plan = {0};
	fl_index_search(&c->slices, ns, &pair, 1, add_slice, &g);
	if (g.slices.n)
		qsort(g.slices.v, g.slices.n, sizeof(*g.slices.v), by_name);
	if (tree && fl_mirror_wants(tree) && is_left_to_others(c, ns, name)) {
		struct fl_mirror_left_out left_out;
		fl_mirror_plan(&a, tree, g.slices.v, g.slices.n, FL_MIRROR_MAX_ENDPOINTS, &plan, &left_out);
		if (plan.n)
			tell(c, endpoints, &left_out);
	} else {
		for (size_t i = 0; i < g.slices.n; i++) {
			const struct fl_json *meta = fl_json_get(g.slices.v[i], "metadata");
			struct fl_slice_step s = {FL_SLICE_DELETE, fl_json_str(meta, "name"), fl_json_str(meta, "uid"),
						  NULL};
			fl_vec_push(&plan, s);
		}
	}
	write_slices(&g, w, &plan);
	fl_vec_deinit(&plan);
	fl_vec_deinit(&g.slices);
	fl_writes_end(w);
}

struct fl_mirror_controller *fl_mirror_controller_new(struct fl_hub *h)
{
	struct fl_mirror_controller *c = FL_NEW(struct fl_mirror_controller);
	c->hub = h;
	c->queue = fl_hub_queue(h, CONCURRENCY, reconcile, c);
	c->recorder = fl_recorder_new(fl_hub_client(h), "endpoint-slice-mirroring-controller", NULL);
	fl_hub_listen(h, FL_HUB_ENDPOINTS, on_endpoints, c);
	fl_hub_listen(h, FL_HUB_SERVICES, on_service, c);
	fl_hub_listen(h, FL_HUB_ENDPOINTSLICES, on_slice, c);
	return c;
}

void fl_mirror_controller_free(struct fl_mirror_controller **cp)
{
	struct fl_mirror_controller *c = TAKE_PTR(*cp);
	if (!c)
		return;
	fl_recorder_free(&c->recorder);
	fl_index_deinit(&c->slices);
	fl_map_deinit(&c->left);
	free(c);
}
