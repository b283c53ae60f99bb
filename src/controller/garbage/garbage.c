// SPDX-License-Identifier: Apache-2.0
// Every object that has owners stands in an index by its owners' uids. An object is looked at when it appears with
// owners, when its owners or finalizers change, and when one of its owners goes.
//
//   hub's informers, and metadata-only ones for all other resources --> index: owner uid -> dependents
//                                                                    --> keys --> judge (owners.h) --> writes
//
// An owner that no cache has is asked for at the server before anything is deleted, and so is the object itself: caches
// of different resources may be behind each other. Of an owner that only the server's answer tells of, no cache may
// tell the end: its dependents are looked at again until a cache has it. (k8s: virtual nodes)
#include "controller/garbage/garbage.h"

#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/vec.h"
#include "controller/garbage/owners.h"
#include "controller/meta.h"
#include "controller/writes.h"

#define CONCURRENCY    32
#define MAX_REMEMBERED 4096  // owners known to be gone, or to be there
#define REMEMBERED_MS  10000 // how long an answer of the server holds: a restored backup brings back what was gone
#define REDISCOVER_MS  30000 // for kinds that come later, and when discovery failed
#define PAIR_OWNER     "\001owner"
#define NAME_LEN       (FL_KEY_LEN + 128)

struct feed { // changes of one resource
	struct fl_garbage *g;
	const struct fl_resource *resource; // of an own informer
	const struct fl_gvr *gvr;
	struct fl_informer *own; // NULL: the hub's
	bool synced;
};

struct fl_garbage {
	struct fl_hub *hub;
	struct fl_discovery *discovery;
	struct fl_workqueue *queue;
	struct fl_index dependents; // "plural.group|ns/name" by owner uid
	struct fl_map absent;       // owner as a dependent refers to it, see owner_key -> monotonic ms
	struct fl_map confirmed;    // uid -> monotonic ms
	FL_VEC(struct feed *) feeds;
	uv_timer_t *timer;
	bool discovered, ready;
};

// --- keys: "plural.group|ns/name" ---

static const char *key_of(char buf[static NAME_LEN], const struct fl_gvr *gvr, const char *ns, const char *name)
{
	size_t n = strlen(gvr->plural), n_group = strlen(gvr->group);
	if (n + n_group + 2 > NAME_LEN - FL_KEY_LEN) // no server has such names
		n = n_group = 0;
	memcpy(buf, gvr->plural, n);
	buf[n++] = '.';
	memcpy(buf + n, gvr->group, n_group);
	n += n_group;
	buf[n++] = '|';
	fl_key_format(buf + n, ns, name);
	return buf;
}

static struct feed *split_key(const struct fl_garbage *g, const char *key, char ns[static FL_KEY_LEN],
			      const char **ret_name)
{
	const char *bar = strchr(key, '|');
	if (!bar)
		return NULL;
	fl_key_split(bar + 1, ns, ret_name);
	for (size_t i = 0; i < g->feeds.n; i++) {
		const struct fl_gvr *gvr = g->feeds.v[i]->gvr;
		size_t n = strlen(gvr->plural);
		if (!strncmp(key, gvr->plural, n) && key[n] == '.' &&
		    strlen(gvr->group) == (size_t)(bar - key) - n - 1 &&
		    !strncmp(key + n + 1, gvr->group, strlen(gvr->group)))
			return g->feeds.v[i];
	}
	return NULL;
}

static struct fl_informer *informer_of(const struct feed *f)
{
	return f->own ? f->own : fl_hub_informer_of(f->g->hub, f->gvr);
}

static const struct fl_object *find(const struct feed *f, const char *ns, const char *name)
{
	struct fl_informer *i = informer_of(f);
	return i ? fl_informer_find(i, ns, name) : NULL;
}

static struct feed *feed_of_kind(const struct fl_garbage *g, const struct fl_json *ref)
{
	const struct fl_resource *r =
	    fl_discovery_by_kind(g->discovery, fl_json_str_or(ref, "apiVersion", ""), fl_json_str_or(ref, "kind", ""));
	for (size_t i = 0; r && i < g->feeds.n; i++)
		if (!strcmp(g->feeds.v[i]->gvr->plural, r->gvr.plural) &&
		    !strcmp(g->feeds.v[i]->gvr->group, r->gvr.group))
			return g->feeds.v[i];
	return NULL;
}

static bool is_namespaced(const struct fl_garbage *g, const struct fl_json *ref)
{
	const struct fl_resource *r =
	    fl_discovery_by_kind(g->discovery, fl_json_str_or(ref, "apiVersion", ""), fl_json_str_or(ref, "kind", ""));
	return !r || r->namespaced;
}

// --- changes ---

static void enqueue(struct fl_garbage *g, const char *key)
{
	fl_workqueue_add(g->queue, key);
}

static void enqueue_dependent(void *arg, const char *key)
{
	enqueue(arg, key);
}

static void enqueue_dependents(struct fl_garbage *g, const char *uid)
{
	struct fl_pair owner = {PAIR_OWNER, uid};
	fl_index_search(&g->dependents, "", &owner, 1, enqueue_dependent, g);
}

// Owners that wait in the foreground count their dependents again.
static void enqueue_owners(struct fl_garbage *g, const struct fl_json *tree, const char *ns)
{
	char key[NAME_LEN];
	fl_json_each (ref, fl_json_path(tree, "metadata", "ownerReferences", NULL)) {
		const struct feed *f = feed_of_kind(g, ref);
		if (f)
			enqueue(g,
				key_of(key, f->gvr, is_namespaced(g, ref) ? ns : "", fl_json_str_or(ref, "name", "")));
	}
}

static void index_object(struct fl_garbage *g, struct fl_arena *a, const char *key, const struct fl_json *refs)
{
	struct fl_pair *pairs = fl_arena_alloc(a, (fl_json_count(refs) + 1) * sizeof(*pairs));
	size_t n = 0;
	fl_json_each (ref, refs)
		pairs[n++] = (struct fl_pair){PAIR_OWNER, fl_json_str_or(ref, "uid", "")};
	if (n)
		fl_index_put(&g->dependents, "", key, pairs, n);
	else
		fl_index_del(&g->dependents, "", key);
}

static bool same(const struct fl_json *x, const struct fl_json *y)
{
	return x && y ? fl_json_equal(x, y) : fl_json_count(x) == fl_json_count(y);
}

static const struct fl_json *tree_of(const struct feed *f, struct fl_arena *a, const struct fl_object *o)
{
	return !f->own ? fl_hub_tree(f->g->hub, o) : o ? fl_object_tree(o, a) : NULL;
}

static void on_gone(struct feed *f, struct fl_arena *a, const char *key, const struct fl_object *old)
{
	struct fl_garbage *g = f->g;
	free(fl_map_del(&g->confirmed, old->uid));
	enqueue_dependents(g, old->uid);
	if (!(fl_object_marks(old) & FL_OBJECT_OWNED))
		return;
	fl_index_del(&g->dependents, "", key);
	enqueue_owners(g, tree_of(f, a, old), old->ns);
}

static bool all_stand(struct fl_garbage *g, struct fl_arena *a, const char *ns, const struct fl_json *refs);

static void on_change(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct feed *f = arg;
	struct fl_garbage *g = f->g;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	char key[NAME_LEN];
	const struct fl_object *o = now ? now : old;
	if (now && !(fl_object_marks(now) | fl_object_marks(old)))
		return; // neither owned nor ending, and it was neither: most objects
	key_of(key, f->gvr, o->ns, o->name);
	if (!now) {
		on_gone(f, &a, key, old);
		return;
	}
	const struct fl_json *before = tree_of(f, &a, old), *after = tree_of(f, &a, now);
	const struct fl_json *refs = fl_json_path(after, "metadata", "ownerReferences", NULL),
			     *old_refs = fl_json_path(before, "metadata", "ownerReferences", NULL);
	bool new_refs = !same(refs, old_refs);
	if (new_refs)
		index_object(g, &a, key, refs);
	if (new_refs && before)
		enqueue_owners(g, before, now->ns);
	if (!before && !fl_meta_deleting(after) && g->ready && all_stand(g, &a, now->ns, refs))
		return; // what work() would find, which a new object of a living owner needs not wait for
	if (new_refs || !before || fl_meta_deleting(after) != fl_meta_deleting(before) ||
	    !same(fl_json_path(after, "metadata", "finalizers", NULL),
		  fl_json_path(before, "metadata", "finalizers", NULL)))
		enqueue(g, key);
}

// --- owners ---

static bool is_remembered(const struct fl_map *answers, const char *key)
{
	const uint64_t *at = fl_map_get(answers, key);
	return at && fl_mono_ms() - *at < REMEMBERED_MS;
}

static void forget_all(struct fl_map *answers)
{
	for (struct fl_map_iter it = {0}; fl_map_next(answers, &it);)
		free(it.value);
	fl_map_deinit(answers);
}

static void remember(struct fl_map *answers, const char *key)
{
	if (answers->n >= MAX_REMEMBERED)
		forget_all(answers);
	uint64_t *at = fl_map_get(answers, key);
	if (!at) {
		at = FL_NEW(uint64_t);
		fl_map_set(answers, key, at);
	}
	*at = fl_mono_ms();
}

// All that a reference says, and where from: one with a wrong name, or from another namespace, leads nowhere, and must
// say nothing about the owner whose uid it has. (k8s: absentOwnerCache)
static const char *owner_key(struct fl_arena *a, const struct fl_json *ref, const char *ns)
{
	return fl_arena_printf(a, "%s %s %s/%s %s", fl_json_str_or(ref, "apiVersion", ""),
			       fl_json_str_or(ref, "kind", ""), ns, fl_json_str_or(ref, "name", ""),
			       fl_json_str_or(ref, "uid", ""));
}

struct look {
	struct fl_garbage *g;
	struct fl_arena *a;
	const char *ns; // of the dependent
	bool told;      // an owner is there by the server's word alone
};

static enum fl_owner_state state_of(void *arg, const struct fl_json *ref)
{
	struct look *l = arg;
	const char *uid = fl_json_str_or(ref, "uid", "");
	const struct feed *f = feed_of_kind(l->g, ref);
	bool namespaced = is_namespaced(l->g, ref);
	if (namespaced && !l->ns[0])
		return FL_OWNER_SOLID; // a reference that the API does not allow: never a reason to delete
	const struct fl_object *o = f ? find(f, namespaced ? l->ns : "", fl_json_str_or(ref, "name", "")) : NULL;
	if (o && !strcmp(o->uid, uid))
		return (fl_object_marks(o) & FL_OBJECT_DELETING) &&
			       fl_garbage_is_ending(fl_object_tree(o, l->a), FL_FINALIZER_FOREGROUND)
			   ? FL_OWNER_WAITING
			   : FL_OWNER_SOLID;
	if (is_remembered(&l->g->absent, owner_key(l->a, ref, l->ns)))
		return FL_OWNER_ABSENT;
	if (!is_remembered(&l->g->confirmed, uid))
		return FL_OWNER_UNKNOWN;
	l->told = true;
	return FL_OWNER_SOLID;
}

static bool all_stand(struct fl_garbage *g, struct fl_arena *a, const char *ns, const struct fl_json *refs)
{
	struct look l = {.g = g, .a = a, .ns = ns};
	fl_json_each (ref, refs)
		if (state_of(&l, ref) != FL_OWNER_SOLID)
			return false;
	return !l.told;
}

static void on_timer(uv_timer_t *t);

struct question { // in the arena of the writes
	struct fl_garbage *g;
	const char *uid, *key;
};

static void on_owner(void *arg, int rc, const struct fl_json *answer, const struct fl_err *err)
{
	struct question *q = arg;
	if (rc == -ENOENT || (rc == 0 && !fl_streq(fl_json_str(fl_json_get(answer, "metadata"), "uid"), q->uid)))
		remember(&q->g->absent, q->key);
	else if (rc == 0)
		remember(&q->g->confirmed, q->uid);
}

static void ask_for_owners(struct look *l, struct fl_writes *w, const struct fl_json *tree)
{
	struct fl_arena *a = fl_writes_arena(w);
	fl_json_each (ref, fl_json_path(tree, "metadata", "ownerReferences", NULL)) {
		const struct fl_resource *r = fl_discovery_by_kind(
		    l->g->discovery, fl_json_str_or(ref, "apiVersion", ""), fl_json_str_or(ref, "kind", ""));
		if (state_of(l, ref) != FL_OWNER_UNKNOWN)
			continue;
		if (!r) { // a kind that the server does not have, or not yet: nothing can be said
			uv_timer_start(l->g->timer, on_timer, 0, 0);
			fl_writes_again(w, REDISCOVER_MS);
			return;
		}
		struct question *q = fl_arena_alloc(a, sizeof(*q));
		const char *ns = r->namespaced ? l->ns : "", *name = fl_json_str_or(ref, "name", "");
		*q = (struct question){l->g, fl_arena_strdup(a, fl_json_str_or(ref, "uid", "")),
				       owner_key(a, ref, l->ns)};
		fl_writes_raw(w, &r->gvr, "GET", ns, name, fl_client_path(a, &r->gvr, ns, name, NULL), NULL, on_owner,
			      q);
	}
	fl_writes_again(w, 1);
}

// --- work ---

struct removal { // in the arena of the writes
	struct fl_garbage *g;
	struct fl_writes *w;
	const struct fl_gvr *gvr;
	const char *ns, *name, *uid, *policy;
	struct fl_json *refs; // on which the verdict rests
};

// The object as the server has it now: gone, another, with other owners, or the one that was judged.
static void on_latest(void *arg, int rc, const struct fl_json *answer, const struct fl_err *err)
{
	struct removal *r = arg;
	const struct fl_json *meta = fl_json_get(answer, "metadata");
	if (rc < 0 || !fl_streq(fl_json_str(meta, "uid"), r->uid) || fl_meta_deleting(answer))
		return;
	if (!same(fl_json_get(meta, "ownerReferences"), r->refs)) {
		fl_writes_fail(r->w); // the cache is behind: judge again when it is not
		return;
	}
	fl_writes_delete_exact(r->w, r->gvr, r->ns, r->name, r->uid, fl_json_str_or(meta, "resourceVersion", ""),
			       r->policy);
}

static void see(void *arg, const char *key)
{
	*(bool *)arg = true;
}

static bool has_dependents(struct fl_garbage *g, const char *uid)
{
	bool found = false;
	struct fl_pair owner = {PAIR_OWNER, uid};
	fl_index_search(&g->dependents, "", &owner, 1, see, &found);
	return found;
}

struct walk { // over the dependents of `uid`
	struct fl_garbage *g;
	struct fl_arena *a;
	struct fl_writes *w;
	const char *uid;
	bool found, blocked;
};

static void let_go(void *arg, const char *key)
{
	struct walk *k = arg;
	char ns[FL_KEY_LEN];
	const char *name;
	const struct feed *f = split_key(k->g, key, ns, &name);
	const struct fl_object *o = f ? find(f, ns, name) : NULL;
	if (!o)
		return;
	k->found = true;
	fl_writes_patch(k->w, f->gvr, ns, name, NULL, FL_PATCH_MERGE,
			fl_meta_release_patch(k->a, fl_object_tree(o, k->a), k->uid), NULL, NULL);
}

// orphan: dependents lose their reference first; the finalizer goes when none has it any more.
static void orphan(struct walk *k, const struct feed *f, const struct fl_object *o, const struct fl_json *tree)
{
	struct fl_pair owner = {PAIR_OWNER, o->uid};
	fl_index_search(&k->g->dependents, "", &owner, 1, let_go, k);
	if (k->found)
		fl_writes_again(k->w, 1);
	else
		fl_writes_patch(k->w, f->gvr, o->ns, o->name, NULL, FL_PATCH_MERGE,
				fl_garbage_finalizer_patch(k->a, tree, FL_FINALIZER_ORPHAN), NULL, NULL);
}

static void press(void *arg, const char *key)
{
	struct walk *k = arg;
	char ns[FL_KEY_LEN];
	const char *name;
	const struct feed *f = split_key(k->g, key, ns, &name);
	const struct fl_object *o = f ? find(f, ns, name) : NULL;
	const struct fl_json *tree = o ? fl_object_tree(o, k->a) : NULL;
	if (!o)
		return;
	k->blocked |= fl_garbage_blocks(tree, k->uid);
	if (!fl_garbage_is_ending(tree, FL_FINALIZER_FOREGROUND))
		enqueue(k->g, key);
}

// foreground: the finalizer goes when no dependent blocks any more; until then the dependents are judged.
static void foreground(struct walk *k, const struct feed *f, const struct fl_object *o, const struct fl_json *tree)
{
	struct fl_pair owner = {PAIR_OWNER, o->uid};
	fl_index_search(&k->g->dependents, "", &owner, 1, press, k);
	if (!k->blocked)
		fl_writes_patch(k->w, f->gvr, o->ns, o->name, NULL, FL_PATCH_MERGE,
				fl_garbage_finalizer_patch(k->a, tree, FL_FINALIZER_FOREGROUND), NULL, NULL);
}

static void see_ending(void *arg, const char *key)
{
	struct walk *k = arg;
	char ns[FL_KEY_LEN];
	const char *name;
	const struct feed *f = split_key(k->g, key, ns, &name);
	const struct fl_object *o = f ? find(f, ns, name) : NULL;
	k->found |= o && fl_garbage_is_ending(fl_object_tree(o, k->a), FL_FINALIZER_FOREGROUND);
}

// A dependent that is being deleted in the foreground may wait for this very object, in a circle.
static bool has_ending_dependent(struct walk *k)
{
	struct fl_pair owner = {PAIR_OWNER, k->uid};
	k->found = false;
	fl_index_search(&k->g->dependents, "", &owner, 1, see_ending, k);
	return k->found;
}

static void judge(struct walk *k, const struct feed *f, const struct fl_object *o, const struct fl_json *tree)
{
	struct look l = {.g = k->g, .a = k->a, .ns = o->ns};
	struct fl_garbage_in in = {tree, has_dependents(k->g, o->uid), state_of, &l};
	struct fl_json *refs = NULL;
	const char *policy = NULL;
	switch (fl_garbage_judge(k->a, &in, &refs, &policy)) {
	case FL_GARBAGE_KEEP:
		if (l.told)
			fl_writes_again(k->w, REMEMBERED_MS);
		return;
	case FL_GARBAGE_ASK:
		ask_for_owners(&l, k->w, tree);
		return;
	case FL_GARBAGE_TRIM:
		fl_writes_patch(k->w, f->gvr, o->ns, o->name, NULL, FL_PATCH_MERGE,
				fl_garbage_refs_patch(k->a, tree, refs), NULL, NULL);
		return;
	case FL_GARBAGE_DELETE:
		break;
	}
	if (!strcmp(policy, "Foreground") && has_ending_dependent(k) && (refs = fl_garbage_unblock(k->a, tree))) {
		fl_writes_patch(k->w, f->gvr, o->ns, o->name, NULL, FL_PATCH_MERGE,
				fl_garbage_refs_patch(k->a, tree, refs), NULL, NULL);
		return; // and it is judged again with these
	}
	struct fl_arena *wa = fl_writes_arena(k->w);
	struct removal *r = fl_arena_alloc(wa, sizeof(*r));
	*r = (struct removal){
	    .g = k->g,
	    .w = k->w,
	    .gvr = f->gvr,
	    .ns = fl_arena_strdup(wa, o->ns),
	    .name = fl_arena_strdup(wa, o->name),
	    .uid = fl_arena_strdup(wa, o->uid),
	    .policy = policy,
	    .refs = fl_json_clone(wa, fl_json_path(tree, "metadata", "ownerReferences", NULL)),
	};
	fl_writes_raw(k->w, f->gvr, "GET", o->ns, o->name, fl_client_path(wa, f->gvr, o->ns, o->name, NULL), NULL,
		      on_latest, r);
}

static void work(void *arg, const char *key)
{
	struct fl_garbage *g = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	char ns[FL_KEY_LEN];
	const char *name = NULL;
	const struct feed *f = split_key(g, key, ns, &name);
	const struct fl_object *o = f ? find(f, ns, name) : NULL;
	struct fl_writes *w = fl_writes_begin(g->hub, g->queue, key);
	if (o) {
		const struct fl_json *tree = fl_object_tree(o, &a);
		struct walk k = {.g = g, .a = &a, .w = w, .uid = o->uid};
		if (fl_garbage_is_ending(tree, FL_FINALIZER_ORPHAN))
			orphan(&k, f, o, tree);
		else if (fl_garbage_is_ending(tree, FL_FINALIZER_FOREGROUND))
			foreground(&k, f, o, tree);
		else
			judge(&k, f, o, tree);
	}
	fl_writes_end(w);
}

// --- feeds ---

static void begin_if_ready(struct fl_garbage *g)
{
	if (g->ready || !g->discovered || !fl_hub_synced(g->hub))
		return;
	for (size_t i = 0; i < g->feeds.n; i++)
		if (g->feeds.v[i]->own && !g->feeds.v[i]->synced)
			return;
	g->ready = true;
	fl_hub_release(g->hub, g->queue);
}

static void on_own_synced(void *arg)
{
	struct feed *f = arg;
	f->synced = true;
	begin_if_ready(f->g);
}

static void on_hub_synced(void *arg)
{
	begin_if_ready(arg);
}

// Events are no part of any ownership and too many to keep; what the hub watches is heard there.
static bool is_of_no_interest(const struct fl_resource *r)
{
	return !r->can_list || !r->can_watch || !r->can_delete || !strcmp(r->gvr.plural, "events");
}

static struct feed *add_feed(struct fl_garbage *g, const struct fl_gvr *gvr)
{
	struct feed *f = FL_NEW(struct feed);
	f->g = g;
	f->gvr = gvr;
	fl_vec_push(&g->feeds, f);
	return f;
}

static bool has_feed(const struct fl_garbage *g, const struct fl_gvr *gvr)
{
	for (size_t i = 0; i < g->feeds.n; i++)
		if (!strcmp(g->feeds.v[i]->gvr->plural, gvr->plural) && !strcmp(g->feeds.v[i]->gvr->group, gvr->group))
			return true;
	return false;
}

static void start_own(struct fl_garbage *g, const struct fl_resource *r)
{
	struct fl_err err = {0};
	struct feed *f = add_feed(g, &r->gvr);
	struct fl_informer_opts opts = {
	    .gvr = &r->gvr,
	    .metadata_only = true,
	    .on_change = on_change,
	    .on_synced = on_own_synced,
	    .arg = f,
	};
	f->resource = r;
	if (fl_informer_start(fl_hub_client(g->hub), &opts, &f->own, &err) < 0) {
		fl_error("garbage: cannot watch resource=%s error=%s", r->gvr.plural, err.text);
		return;
	}
	fl_hub_add_informer(g->hub, &r->gvr, f->own);
}

static void on_discovered(void *arg, int rc, const struct fl_err *err)
{
	struct fl_garbage *g = arg;
	size_t n;
	const struct fl_resource *const *all = fl_discovery_list(g->discovery, &n);
	if (rc < 0)
		fl_warn("garbage: discovery failed, retrying error=%s", err->text);
	else
		g->discovered = true;
	for (size_t i = 0; i < n; i++)
		if (!is_of_no_interest(all[i]) && !has_feed(g, &all[i]->gvr))
			start_own(g, all[i]);
	if (!g->discovered)
		uv_timer_start(g->timer, on_timer, 1000, 0);
	begin_if_ready(g);
}

static void on_timer(uv_timer_t *t)
{
	struct fl_garbage *g = t->data;
	fl_discovery_refresh(g->discovery, on_discovered, g);
}

static void free_timer(uv_handle_t *h)
{
	free(h);
}

struct fl_garbage *fl_garbage_new(struct fl_hub *h, struct fl_discovery *d)
{
	struct fl_garbage *g = FL_NEW(struct fl_garbage);
	g->hub = h;
	g->discovery = d;
	g->queue = fl_hub_queue(h, CONCURRENCY, work, g);
	fl_hub_hold(h, g->queue); // until the own informers are filled as well
	for (int k = 0; k < FL_HUB_KIND_COUNT; k++)
		if (!fl_hub_is_part(k))
			fl_hub_listen(h, k, on_change, add_feed(g, fl_hub_gvr(k)));
	fl_hub_on_synced(h, on_hub_synced, g);
	g->timer = FL_NEW(uv_timer_t);
	g->timer->data = g;
	uv_timer_init(fl_hub_loop(h), g->timer);
	uv_timer_start(g->timer, on_timer, 0, 0);
	return g;
}

void fl_garbage_free(struct fl_garbage **gp)
{
	struct fl_garbage *g = TAKE_PTR(*gp);
	if (!g)
		return;
	uv_close((uv_handle_t *)g->timer, free_timer);
	for (size_t i = 0; i < g->feeds.n; i++) {
		fl_informer_stop(&g->feeds.v[i]->own);
		free(g->feeds.v[i]);
	}
	fl_vec_deinit(&g->feeds);
	fl_index_deinit(&g->dependents);
	forget_all(&g->confirmed);
	forget_all(&g->absent);
	free(g);
}
