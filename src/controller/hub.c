// SPDX-License-Identifier: Apache-2.0
#include "controller/hub.h"

#include <assert.h>
#include <malloc.h>

#include "base/mem.h"
#include "base/vec.h"
#include "controller/writes.h"

#define BURST_CHANGES 500  // a burst of more leaves holes in the heap that are worth giving back
#define QUIET_MS      1000 // and is over when there were few changes for that long

struct listener {
	fl_hub_change fn;
	void *arg;
};

struct feed { // of one kind
	struct fl_hub *hub;
	struct fl_informer *informer;
	FL_VEC(struct listener) listeners;
};

struct synced_fn {
	void (*fn)(void *arg);
	void *arg;
};

struct extra {
	const struct fl_gvr *gvr;
	struct fl_informer *informer;
};

struct queue {
	struct fl_workqueue *q;
	bool held;
};

struct fl_hub {
	struct fl_client *c;
	struct { // of the change that is being told
		struct fl_arena arena;
		const struct fl_object *objects[2];
		const struct fl_json *trees[2];
		const struct fl_informer *informer;
	} told;
	struct feed feeds[FL_HUB_KIND_COUNT];
	FL_VEC(struct synced_fn) on_synced;
	FL_VEC(struct queue) queues;
	FL_VEC(struct extra) extras;
	struct fl_writes *writes; // under way
	const struct fl_workqueue *answered;
	unsigned unsynced;
	bool leading;
	uv_timer_t *quiet;           // runs after a burst
	unsigned changes, last_told; // since the heap was given back; of them before the timer was last set
};

static const struct {
	const struct fl_gvr *gvr;
	const char *ns, *fields;
} kinds[] = {
    [FL_HUB_NAMESPACES] = {&fl_gvr_namespaces},
    [FL_HUB_NODES] = {&fl_gvr_nodes},
    [FL_HUB_PODS] = {&fl_gvr_pods},
    [FL_HUB_SERVICES] = {&fl_gvr_services},
    [FL_HUB_ENDPOINTS] = {&fl_gvr_endpoints},
    [FL_HUB_ENDPOINTSLICES] = {&fl_gvr_endpointslices},
    [FL_HUB_DEPLOYMENTS] = {&fl_gvr_deployments},
    [FL_HUB_REPLICASETS] = {&fl_gvr_replicasets},
    [FL_HUB_REPLICATIONCONTROLLERS] = {&fl_gvr_replicationcontrollers},
    [FL_HUB_LEASES] = {&fl_gvr_leases, "kube-node-lease"},
    [FL_HUB_ACCOUNTS] = {&fl_gvr_serviceaccounts, NULL, "metadata.name=default"},
    [FL_HUB_CERTIFICATES] = {&fl_gvr_configmaps, NULL, "metadata.name=kube-root-ca.crt"},
};
_Static_assert(FL_COUNT(kinds) == FL_HUB_KIND_COUNT, "a resource for each kind");

struct fl_hub *fl_hub_new(struct fl_client *c)
{
	struct fl_hub *h = FL_NEW(struct fl_hub);
	h->c = c;
	h->unsynced = FL_HUB_KIND_COUNT;
	h->quiet = FL_NEW(uv_timer_t);
	h->quiet->data = h;
	uv_timer_init(fl_client_loop(c), h->quiet);
	for (int k = 0; k < FL_HUB_KIND_COUNT; k++)
		h->feeds[k].hub = h;
	return h;
}

static void on_quiet(uv_timer_t *t)
{
	struct fl_hub *h = t->data;
	bool quiet = h->changes - h->last_told < BURST_CHANGES / 2;
	h->last_told = h->changes;
	if (!quiet) {
		uv_timer_start(t, on_quiet, QUIET_MS, 0);
		return;
	}
	h->changes = 0;
	malloc_trim(0);
}

static void note_change(struct fl_hub *h)
{
	if (++h->changes < BURST_CHANGES || uv_is_active((uv_handle_t *)h->quiet))
		return;
	h->last_told = h->changes;
	uv_timer_start(h->quiet, on_quiet, QUIET_MS, 0);
}

static void free_timer(uv_handle_t *t)
{
	free(t);
}

static void on_change(void *arg, const struct fl_object *old, const struct fl_object *new_obj)
{
	struct feed *f = arg;
	struct fl_hub *h = f->hub;
	note_change(h);
	h->told.objects[0] = old;
	h->told.objects[1] = new_obj;
	h->told.informer = f->informer;
	for (size_t i = 0; i < f->listeners.n; i++)
		f->listeners.v[i].fn(f->listeners.v[i].arg, old, new_obj);
	memset(h->told.objects, 0, sizeof(h->told.objects));
	memset(h->told.trees, 0, sizeof(h->told.trees));
	fl_arena_reset(&h->told.arena);
}

const struct fl_json *fl_hub_tree(struct fl_hub *h, const struct fl_object *o)
{
	size_t i = o != h->told.objects[0];
	if (!o)
		return NULL;
	assert(o == h->told.objects[i]);
	if (!h->told.trees[i] && h->told.informer)
		h->told.trees[i] = fl_informer_tree(h->told.informer, o);
	if (!h->told.trees[i])
		h->told.trees[i] = fl_object_tree(o, &h->told.arena);
	return h->told.trees[i];
}

static void run_queues(struct fl_hub *h)
{
	if (h->unsynced || !h->leading)
		return;
	for (size_t i = 0; i < h->queues.n; i++)
		if (!h->queues.v[i].held)
			fl_workqueue_pause(h->queues.v[i].q, false);
}

void fl_hub_lead(struct fl_hub *h)
{
	h->leading = true;
	run_queues(h);
}

void fl_hub_stand_down(struct fl_hub *h)
{
	h->leading = false;
	for (size_t i = 0; i < h->queues.n; i++)
		fl_workqueue_pause(h->queues.v[i].q, true);
	fl_writes_drop_all(&h->writes);
}

bool fl_hub_leads(const struct fl_hub *h)
{
	return h->leading;
}

static void on_synced(void *arg)
{
	struct fl_hub *h = ((struct feed *)arg)->hub;
	if (--h->unsynced)
		return;
	for (size_t i = 0; i < h->on_synced.n; i++)
		h->on_synced.v[i].fn(h->on_synced.v[i].arg);
	run_queues(h);
}

int fl_hub_start(struct fl_hub *h, struct fl_err *err)
{
	for (int k = 0; k < FL_HUB_KIND_COUNT; k++) {
		struct fl_informer_opts opts = {
		    .gvr = kinds[k].gvr,
		    .ns = kinds[k].ns,
		    .field_selector = kinds[k].fields,
		    .on_change = on_change,
		    .on_synced = on_synced,
		    .arg = &h->feeds[k],
		};
		int rc = fl_informer_start(h->c, &opts, &h->feeds[k].informer, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

void fl_hub_free(struct fl_hub **hp)
{
	struct fl_hub *h = TAKE_PTR(*hp);
	if (!h)
		return;
	uv_close((uv_handle_t *)h->quiet, free_timer);
	fl_writes_drop_all(&h->writes);
	for (int k = 0; k < FL_HUB_KIND_COUNT; k++) {
		fl_informer_stop(&h->feeds[k].informer);
		fl_vec_deinit(&h->feeds[k].listeners);
	}
	for (size_t i = 0; i < h->queues.n; i++)
		fl_workqueue_free(&h->queues.v[i].q);
	fl_vec_deinit(&h->queues);
	fl_vec_deinit(&h->on_synced);
	fl_vec_deinit(&h->extras);
	fl_arena_deinit(&h->told.arena);
	free(h);
}

void fl_hub_listen(struct fl_hub *h, enum fl_hub_kind kind, fl_hub_change fn, void *arg)
{
	struct listener l = {fn, arg};
	fl_vec_push(&h->feeds[kind].listeners, l);
}

void fl_hub_on_synced(struct fl_hub *h, void (*fn)(void *arg), void *arg)
{
	struct synced_fn s = {fn, arg};
	fl_vec_push(&h->on_synced, s);
}

struct fl_workqueue *fl_hub_queue(struct fl_hub *h, unsigned concurrency, void (*work)(void *arg, const char *key),
				  void *arg)
{
	struct fl_workqueue *q = fl_workqueue_new(fl_client_loop(h->c), concurrency, work, arg);
	fl_workqueue_pause(q, h->unsynced > 0 || !h->leading);
	struct queue entry = {q, false};
	fl_vec_push(&h->queues, entry);
	return q;
}

static void set_held(struct fl_hub *h, const struct fl_workqueue *queue, bool held)
{
	for (size_t i = 0; i < h->queues.n; i++)
		if (h->queues.v[i].q == queue)
			h->queues.v[i].held = held;
}

void fl_hub_hold(struct fl_hub *h, struct fl_workqueue *queue)
{
	set_held(h, queue, true);
	fl_workqueue_pause(queue, true);
}

void fl_hub_release(struct fl_hub *h, struct fl_workqueue *queue)
{
	set_held(h, queue, false);
	run_queues(h);
}

struct fl_client *fl_hub_client(const struct fl_hub *h)
{
	return h->c;
}

uv_loop_t *fl_hub_loop(const struct fl_hub *h)
{
	return fl_client_loop(h->c);
}

const struct fl_workqueue **fl_hub_answered(struct fl_hub *h)
{
	return &h->answered;
}

bool fl_hub_own_answer(const struct fl_hub *h, const struct fl_workqueue *queue)
{
	return h->answered == queue;
}

bool fl_hub_synced(const struct fl_hub *h)
{
	return h->unsynced == 0;
}

struct fl_writes **fl_hub_writes(struct fl_hub *h)
{
	return &h->writes;
}

struct fl_informer *fl_hub_informer(const struct fl_hub *h, enum fl_hub_kind kind)
{
	return h->feeds[kind].informer;
}

const struct fl_gvr *fl_hub_gvr(enum fl_hub_kind kind)
{
	return kinds[kind].gvr;
}

bool fl_hub_is_part(enum fl_hub_kind kind)
{
	return kinds[kind].ns || kinds[kind].fields;
}

static bool same_resource(const struct fl_gvr *a, const struct fl_gvr *b)
{
	return a == b || (!strcmp(a->plural, b->plural) && !strcmp(a->group, b->group));
}

struct fl_informer *fl_hub_informer_of(const struct fl_hub *h, const struct fl_gvr *gvr)
{
	for (int k = 0; k < FL_HUB_KIND_COUNT; k++)
		if (!fl_hub_is_part(k) && same_resource(kinds[k].gvr, gvr))
			return h->feeds[k].informer;
	for (size_t i = 0; i < h->extras.n; i++)
		if (same_resource(h->extras.v[i].gvr, gvr))
			return h->extras.v[i].informer;
	return NULL;
}

void fl_hub_add_informer(struct fl_hub *h, const struct fl_gvr *gvr, struct fl_informer *i)
{
	struct extra e = {gvr, i};
	fl_vec_push(&h->extras, e);
}

const struct fl_object *fl_hub_find(const struct fl_hub *h, enum fl_hub_kind kind, const char *ns, const char *name)
{
	return fl_informer_find(h->feeds[kind].informer, ns, name);
}

bool fl_hub_ns_closed(const struct fl_hub *h, const char *ns)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_object *o = fl_hub_find(h, FL_HUB_NAMESPACES, "", ns);
	return o && fl_json_path(fl_object_tree(o, &a), "metadata", "deletionTimestamp", NULL);
}

const char *fl_key_format(char buf[static FL_KEY_LEN], const char *ns, const char *name)
{
	size_t n_ns = ns ? strnlen(ns, FL_KEY_LEN / 2) : 0, at = n_ns;
	if (n_ns) {
		memcpy(buf, ns, n_ns);
		buf[at++] = '/';
	}
	size_t n = strnlen(name, FL_KEY_LEN - 1 - at);
	memcpy(buf + at, name, n);
	buf[at + n] = 0;
	return buf;
}

const char *fl_key_of(char buf[static FL_KEY_LEN], const struct fl_object *o)
{
	return fl_key_format(buf, o->ns, o->name);
}

void fl_key_split(const char *key, char ns[static FL_KEY_LEN], const char **ret_name)
{
	const char *slash = strchr(key, '/');
	size_t n = slash ? (size_t)(slash - key) : 0;
	if (n >= FL_KEY_LEN)
		n = FL_KEY_LEN - 1;
	memcpy(ns, key, n);
	ns[n] = 0;
	*ret_name = slash ? slash + 1 : key;
}
