// SPDX-License-Identifier: Apache-2.0
// Change tracking.
//
//   object -> struct service (parsed Service and slices) -> marked dirty
//   sync: each dirty service -> fl_proxy_derive -> its pools and frontends, compared with those it had
//
// Two Services may claim one address and port (externalIPs, load balancer addresses). Each frontend key is therefore a
// slot with a list of claims, of which the oldest Service's is in force; when it goes, the next one takes over.
//
// State here is what the objects ask for. It equals what is in the kernel after a successful apply; after a failed one
// the next sync is full, so nothing is ever rolled back.
#include "proxy/core_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "proxy/model.h"

#define ARENA_KEEP_BYTES (256 * 1024) // the first sync of a large cluster takes megabytes that no later one needs

struct fl_proxy_core *fl_proxy_core_new(const struct fl_proxy_core_opts *opts)
{
	struct fl_proxy_core *c = FL_NEW(struct fl_proxy_core);

	c->opts = *opts;
	c->node_name = fl_strdup(opts->node_name ? opts->node_name : "");
	c->opts.node_name = c->node_name;
	c->full = true;
	return c;
}

// ---- keys of the tables

static const void *service_key(const void *item, size_t *ret_len)
{
	const struct service *s = item;

	*ret_len = strlen(s->key);
	return s->key;
}

static const void *slice_key(const void *item, size_t *ret_len)
{
	const struct slice *s = item;

	*ret_len = strlen(s->key);
	return s->key;
}

static const void *pool_key(const void *item, size_t *ret_len)
{
	const struct pool *p = item;

	*ret_len = sizeof(p->value.id);
	return &p->value.id;
}

static const void *ip_key(const void *item, size_t *ret_len)
{
	*ret_len = sizeof(struct fl_ip);
	return &((const struct ip_count *)item)->ip;
}

static struct fl_buf key_of(const char *ns, const char *name)
{
	struct fl_buf b = {0};

	fl_buf_puts(&b, ns);
	fl_buf_putc(&b, '/');
	fl_buf_puts(&b, name);
	return b;
}

// ---- end

static void slice_free(struct slice *s)
{
	fl_proxy_slice_deinit(&s->value);
	free(s);
}

static void service_free(struct service *s)
{
	fl_proxy_service_deinit(&s->spec);
	for (size_t i = 0; i < s->pools.n; i++)
		free(s->pools.v[i]);
	free(s->claims);
	fl_vec_deinit(&s->pools);
	fl_vec_deinit(&s->slices);
	free(s);
}

static void end_round(struct fl_proxy_core *c)
{
	for (size_t i = 0; i < c->retired.n; i++)
		free(c->retired.v[i]);
	c->retired.n = c->touched.n = 0;
	fl_map_deinit(&c->lost_pools);
	c->frontend_changes.n = c->pool_changes.n = c->vip_changes.n = c->local_changes.n = 0;
	if (c->arena.total > ARENA_KEEP_BYTES)
		fl_arena_deinit(&c->arena);
	else
		fl_arena_reset(&c->arena);
}

static void free_items(struct fl_set *s)
{
	size_t at = 0;

	for (void *item; (item = fl_set_next(s, &at));)
		free(item);
	fl_set_deinit(s);
}

void fl_proxy_core_free(struct fl_proxy_core **core)
{
	struct fl_proxy_core *c = *core;

	if (!c)
		return;
	end_round(c);
	size_t at = 0;
	for (struct slice *s; (s = fl_set_next(&c->slices, &at));)
		slice_free(s);
	at = 0;
	for (struct service *s; (s = fl_set_next(&c->services, &at));)
		service_free(s);
	free_items(&c->slots);
	free_items(&c->vips);
	free_items(&c->locals);
	fl_set_deinit(&c->slices);
	fl_set_deinit(&c->services);
	fl_set_deinit(&c->pools);
	fl_vec_deinit(&c->dirty);
	fl_vec_deinit(&c->touched);
	fl_vec_deinit(&c->retired);
	fl_vec_deinit(&c->frontend_changes);
	fl_vec_deinit(&c->pool_changes);
	fl_vec_deinit(&c->vip_changes);
	fl_vec_deinit(&c->local_changes);
	fl_vec_deinit(&c->udp_changes);
	fl_vec_deinit(&c->triggers);
	fl_vec_deinit(&c->programmed);
	fl_arena_deinit(&c->arena);
	free(c->node_name);
	free(c->zone);
	free(c);
	*core = NULL;
}

// ---- objects in

static void mark(struct fl_proxy_core *c, struct service *s)
{
	if (s->dirty)
		return;
	s->dirty = true;
	fl_vec_push(&c->dirty, s);
}

static struct service *find_or_add_service(struct fl_proxy_core *c, const char *key)
{
	size_t n = strlen(key);
	struct service *s = fl_set_find(&c->services, service_key, key, n);

	if (s)
		return s;
	s = fl_calloc(1, sizeof(*s) + n + 1);
	memcpy(s->key, key, n);
	fl_set_add(&c->services, service_key, s);
	return s;
}

static void drop_if_gone(struct fl_proxy_core *c, struct service *s)
{
	if (s->present || s->slices.n)
		return;
	fl_set_remove(&c->services, service_key, s->key, strlen(s->key));
	service_free(s);
}

uint64_t fl_proxy_core_service_rv(const struct fl_proxy_core *c, const char *ns, const char *name)
{
	AUTO(fl_buf_deinit) struct fl_buf key = key_of(ns, name);
	const struct service *s = fl_set_find(&c->services, service_key, key.data, key.len);

	return s ? s->rv : 0;
}

uint64_t fl_proxy_core_slice_rv(const struct fl_proxy_core *c, const char *ns, const char *name)
{
	AUTO(fl_buf_deinit) struct fl_buf key = key_of(ns, name);
	const struct slice *s = fl_set_find(&c->slices, slice_key, key.data, key.len);

	return s ? s->rv : 0;
}

static void visit_one(const char *key, uint64_t rv, fl_proxy_visit *visit, void *arg)
{
	const char *slash = strchr(key, '/');
	AUTO_FREE char *ns = fl_strndup(key, (size_t)(slash - key));

	visit(arg, ns, slash + 1, rv);
}

void fl_proxy_core_each_service(const struct fl_proxy_core *c, fl_proxy_visit *visit, void *arg)
{
	size_t at = 0;

	for (const struct service *s; (s = fl_set_next(&c->services, &at));) {
		if (s->rv)
			visit_one(s->key, s->rv, visit, arg);
	}
}

void fl_proxy_core_each_slice(const struct fl_proxy_core *c, fl_proxy_visit *visit, void *arg)
{
	size_t at = 0;

	for (const struct slice *s; (s = fl_set_next(&c->slices, &at));)
		visit_one(s->key, s->rv, visit, arg);
}

void fl_proxy_core_service(struct fl_proxy_core *c, const struct fl_object *old, const struct fl_object *new_obj)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_object *o = new_obj ? new_obj : old;
	AUTO(fl_buf_deinit) struct fl_buf key = key_of(o->ns, o->name);
	struct service *s =
	    new_obj ? find_or_add_service(c, key.data) : fl_set_find(&c->services, service_key, key.data, key.len);

	c->stats.service_changes++;
	if (!s)
		return;
	fl_proxy_service_deinit(&s->spec);
	s->present = new_obj != NULL;
	s->rv = new_obj ? new_obj->rv : 0;
	if (new_obj)
		fl_proxy_service_parse(fl_object_tree(new_obj, &a), &s->spec);
	mark(c, s);
}

// Not before the first sync: how long ago a change was that this proxy did not see says nothing about it.
static void note_trigger(struct fl_proxy_core *c, const struct fl_json *obj)
{
	const struct fl_json *annotations = fl_json_path(obj, "metadata", "annotations", NULL);
	const char *text = fl_json_str(annotations, "endpoints.kubernetes.io/last-change-trigger-time");
	int64_t at;

	if (c->stats.syncs && text && c->triggers.n < FL_PROXY_MAX_TRIGGERS && fl_time_parse(text, &at))
		fl_vec_push(&c->triggers, at);
}

size_t fl_proxy_core_triggers(const struct fl_proxy_core *c, const int64_t **ret)
{
	*ret = c->programmed.v;
	return c->programmed.n;
}

static void remove_slice(struct fl_proxy_core *c, const char *key)
{
	struct slice *slice = fl_set_remove(&c->slices, slice_key, key, strlen(key));

	if (!slice)
		return;
	for (size_t i = 0; i < slice->service->slices.n; i++) {
		if (slice->service->slices.v[i] == slice) {
			fl_vec_remove(&slice->service->slices, i);
			break;
		}
	}
	mark(c, slice->service);
	slice_free(slice);
}

void fl_proxy_core_slice(struct fl_proxy_core *c, const struct fl_object *old, const struct fl_object *new_obj)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_object *o = new_obj ? new_obj : old;
	AUTO(fl_buf_deinit) struct fl_buf key = key_of(o->ns, o->name), owner = {0};
	struct fl_proxy_where where = {c->node_name, c->zone};
	struct fl_proxy_slice parsed;
	const char *service;

	c->stats.endpoint_changes++;
	remove_slice(c, key.data);
	const struct fl_json *tree = new_obj ? fl_object_tree(new_obj, &a) : NULL;
	if (!tree || !fl_proxy_slice_parse(tree, &where, &a, &parsed, &service))
		return;
	note_trigger(c, tree);

	struct slice *slice = fl_calloc(1, sizeof(*slice) + key.len + 1);
	memcpy(slice->key, key.data, key.len);
	slice->value = parsed;
	slice->rv = o->rv;
	owner = key_of(o->ns, service);
	slice->service = find_or_add_service(c, owner.data);
	fl_vec_reserve(&slice->service->slices, slice->service->slices.n + 1);
	fl_vec_push(&slice->service->slices, slice);
	fl_set_add(&c->slices, slice_key, slice);
	mark(c, slice->service);
}

void fl_proxy_core_set_zone(struct fl_proxy_core *c, const char *zone)
{
	free(c->zone);
	c->zone = zone ? fl_strdup(zone) : NULL;
}

bool fl_proxy_core_dirty(const struct fl_proxy_core *c)
{
	return c->full || c->dirty.n > 0;
}

void fl_proxy_core_resync(struct fl_proxy_core *c)
{
	c->full = true;
}

// ---- counted addresses

static void count_ip(struct fl_proxy_core *c, struct fl_set *counts, const struct fl_ip *ip, int by, bool is_vip)
{
	struct ip_count *count = fl_set_find(counts, ip_key, ip, sizeof(*ip));
	struct fl_proxy_ip_change change = {.ip = *ip, .added = by > 0};

	if (!count) {
		count = FL_NEW(struct ip_count);
		count->ip = *ip;
		fl_set_add(counts, ip_key, count);
	}
	count->n = by > 0 ? count->n + 1 : count->n - 1;
	bool changed = count->n == (by > 0 ? 1 : 0);
	if (count->n == 0)
		free(fl_set_remove(counts, ip_key, ip, sizeof(*ip)));
	if (!changed)
		return;
	if (is_vip)
		fl_vec_push(&c->vip_changes, change);
	else
		fl_vec_push(&c->local_changes, change);
}

static void count_pool_locals(struct fl_proxy_core *c, const struct fl_proxy_pool *p, int by)
{
	for (size_t i = 0; i < p->n_cluster; i++) {
		if (p->cluster[i].maybe_here)
			count_ip(c, &c->locals, &p->cluster[i].ip, by, false);
	}
	for (size_t i = 0; i < p->n_local; i++)
		count_ip(c, &c->locals, &p->local[i].ip, by, false);
}

// ---- pools

static bool same_list(const struct fl_proxy_endpoint *a, const struct fl_proxy_endpoint *b, size_t n)
{
	return n == 0 || memcmp(a, b, n * sizeof(*a)) == 0;
}

static bool same_ranges(const struct fl_proxy_pool *a, const struct fl_proxy_pool *b)
{
	if (a->n_source_ranges != b->n_source_ranges)
		return false;
	for (size_t i = 0; i < a->n_source_ranges; i++) {
		if (!fl_ip_equal(&a->source_ranges[i].ip, &b->source_ranges[i].ip) ||
		    a->source_ranges[i].bits != b->source_ranges[i].bits)
			return false;
	}
	return true;
}

static bool same_pool(const struct fl_proxy_pool *a, const struct fl_proxy_pool *b)
{
	return a->n_cluster == b->n_cluster && a->n_local == b->n_local && a->proto == b->proto &&
	       same_list(a->cluster, b->cluster, a->n_cluster) && same_list(a->local, b->local, a->n_local) &&
	       a->n_serving == b->n_serving && same_list(a->serving, b->serving, a->n_serving) && same_ranges(a, b);
}

// A hash, so that the same Service has the same id in the next run and what stands in the kernel stays as it is.
static uint32_t choose_id(const struct fl_proxy_core *c, const struct fl_proxy_pool *p)
{
	static const uint8_t key[16];
	uint64_t hash = fl_siphash13(key, p->name, strlen(p->name)) + p->family;
	uint32_t id = (uint32_t)(hash ^ (hash >> 32));

	while (id == 0 || fl_set_find(&c->pools, pool_key, &id, sizeof(id)))
		id++;
	return id;
}

static void *put_list(char **at, const void *list, size_t bytes)
{
	void *to = *at;

	if (!bytes)
		return NULL;
	memcpy(to, list, bytes);
	*at += bytes;
	return to;
}

// One allocation: there are many pools, and their lists never change.
static struct pool *pool_new(const struct fl_proxy_pool *like)
{
	size_t cluster = like->n_cluster * sizeof(*like->cluster), local = like->n_local * sizeof(*like->local);
	size_t serving = like->n_serving * sizeof(*like->serving), name = strlen(like->name) + 1;
	size_t ranges = like->n_source_ranges * sizeof(*like->source_ranges);
	struct pool *p = fl_malloc(sizeof(*p) + cluster + local + serving + ranges + name);
	char *at = (char *)(p + 1);

	p->value = *like;
	p->value.cluster = put_list(&at, like->cluster, cluster); // first what needs more than bytes
	p->value.local = put_list(&at, like->local, local);
	p->value.serving = put_list(&at, like->serving, serving);
	p->value.source_ranges = put_list(&at, like->source_ranges, ranges);
	p->value.name = put_list(&at, like->name, name);
	return p;
}

static bool lost_some(const struct fl_proxy_pool *old, const struct fl_proxy_pool *now)
{
	for (size_t i = 0; i < old->n_serving; i++) {
		if (!fl_proxy_core_pool_serves(now, &old->serving[i].ip, old->serving[i].port))
			return true;
	}
	return false;
}

static void change_pool(struct fl_proxy_core *c, struct pool *old, struct pool *new_pool)
{
	struct fl_proxy_pool_change change = {old ? &old->value : NULL, new_pool ? &new_pool->value : NULL};

	fl_vec_push(&c->pool_changes, change);
	if (old)
		(void)fl_set_remove(&c->pools, pool_key, &old->value.id, sizeof(old->value.id));
	if (new_pool) {
		count_pool_locals(c, &new_pool->value, 1);
		fl_set_add(&c->pools, pool_key, new_pool);
	}
	if (!old)
		return;
	count_pool_locals(c, &old->value, -1);
	if (new_pool && lost_some(&old->value, &new_pool->value))
		fl_map_set_n(&c->lost_pools, &new_pool->value.id, sizeof(new_pool->value.id), new_pool);
	fl_vec_push(&c->retired, old);
}

static size_t find_pool(const struct service *s, const struct fl_proxy_pool *like)
{
	for (size_t i = 0; i < s->pools.n; i++) {
		if (s->pools.v[i] && s->pools.v[i]->value.family == like->family &&
		    fl_streq(s->pools.v[i]->value.name, like->name))
			return i;
	}
	return SIZE_MAX;
}

// Replaces the service's pools by those wanted; unchanged ones stay the same object.
static void update_pools(struct fl_proxy_core *c, struct service *s, const struct fl_proxy_desired *d)
{
	struct pool **now = d->n_pools ? fl_malloc(d->n_pools * sizeof(struct pool *)) : NULL;

	for (size_t i = 0; i < d->n_pools; i++) {
		struct fl_proxy_pool *want = &d->pools[i];
		size_t at = find_pool(s, want);
		struct pool *old = at == SIZE_MAX ? NULL : s->pools.v[at];

		if (old) {
			const struct fl_proxy_pool *o = &old->value;

			want->id = o->id;
			fl_proxy_keep_slots(o->cluster, o->n_cluster, want->cluster, want->n_cluster, &c->arena);
			fl_proxy_keep_slots(o->local, o->n_local, want->local, want->n_local, &c->arena);
			s->pools.v[at] = NULL;
		} else {
			want->id = choose_id(c, want);
		}
		if (old && same_pool(&old->value, want)) {
			now[i] = old;
			continue;
		}
		now[i] = pool_new(want);
		change_pool(c, old, now[i]);
	}
	for (size_t i = 0; i < s->pools.n; i++) {
		if (s->pools.v[i])
			change_pool(c, s->pools.v[i], NULL);
	}
	fl_vec_deinit(&s->pools);
	s->pools.v = now;
	s->pools.n = s->pools.cap = (uint32_t)d->n_pools;
}

// ---- frontends

static bool is_in_force(const struct slot *slot, const struct fl_proxy_frontend *f)
{
	return f->kind == slot->kind && f->local == slot->local && f->affinity_s == slot->affinity_s &&
	       f->pool == slot->pool;
}

static struct fl_proxy_frontend *frontend_in_force(const struct slot *slot, struct fl_arena *a)
{
	struct fl_proxy_frontend *f = fl_arena_alloc(a, sizeof(*f));

	*f = (struct fl_proxy_frontend){
	    .ip = slot->key.ip,
	    .proto = slot->key.proto,
	    .kind = slot->kind,
	    .local = slot->local,
	    .port = slot->key.port,
	    .affinity_s = slot->affinity_s,
	    .pool = slot->pool,
	};
	return f;
}

static void touch(struct fl_proxy_core *c, struct slot *slot)
{
	if (slot->touched)
		return;
	slot->touched = true;
	fl_vec_push(&c->touched, slot);
}

static bool outranks(const struct service *a, const struct service *b)
{
	if (a->spec.created_ns != b->spec.created_ns)
		return a->spec.created_ns < b->spec.created_ns;
	return strcmp(a->key, b->key) < 0;
}

static struct slot *find_slot(const struct fl_proxy_core *c, const struct slot_key *key)
{
	return fl_set_find(&c->slots, fl_proxy_core_slot_key, key, sizeof(*key));
}

static void add_claim(struct fl_proxy_core *c, struct claim *claim)
{
	struct slot_key key = fl_proxy_core_key(&claim->value);
	struct slot *slot = find_slot(c, &key);

	if (!slot) {
		slot = FL_NEW(struct slot);
		memcpy(&slot->key, &key, sizeof(key)); // its padding too
		fl_set_add(&c->slots, fl_proxy_core_slot_key, slot);
	}
	struct claim **at = &slot->claims;
	while (*at && !outranks(claim->owner, (*at)->owner))
		at = &(*at)->next;
	claim->next = *at;
	*at = claim;
	touch(c, slot);
}

static void drop_claim(struct fl_proxy_core *c, struct claim *claim)
{
	struct slot_key key = fl_proxy_core_key(&claim->value);
	struct slot *slot = find_slot(c, &key);

	for (struct claim **at = &slot->claims; *at; at = &(*at)->next) {
		if (*at == claim) {
			*at = claim->next;
			break;
		}
	}
	touch(c, slot);
}

static void update_claims(struct fl_proxy_core *c, struct service *s, const struct fl_proxy_desired *d)
{
	struct claim *now = d->n_frontends ? fl_malloc(d->n_frontends * sizeof(*now)) : NULL;

	for (size_t i = 0; i < d->n_frontends; i++) {
		now[i] = (struct claim){.owner = s, .value = d->frontends[i]};
		now[i].value.pool = &s->pools.v[d->frontends[i].pool - d->pools]->value;
		add_claim(c, &now[i]);
	}
	for (size_t i = 0; i < s->n_claims; i++)
		drop_claim(c, &s->claims[i]);
	free(s->claims);
	s->claims = now;
	s->n_claims = (uint32_t)d->n_frontends;
}

static void note_udp_change(struct fl_proxy_core *c, const struct slot *slot, const struct fl_proxy_frontend *want)
{
	bool moved = !want || !slot->pool || want->pool->id != slot->pool->id;

	if (slot->key.proto == IPPROTO_UDP &&
	    (moved || fl_map_get_n(&c->lost_pools, &want->pool->id, sizeof(want->pool->id))))
		fl_vec_push(&c->udp_changes, slot->key);
}

// The difference between what a slot had in force and has now.
static void settle(struct fl_proxy_core *c, struct slot *slot)
{
	const struct fl_proxy_frontend *want = slot->claims ? &slot->claims->value : NULL;
	struct fl_proxy_frontend_change change = {.new_frontend = want};
	bool was_vip = slot->pool && slot->kind == FL_PROXY_CLUSTER_IP;
	bool is_vip = want && want->kind == FL_PROXY_CLUSTER_IP;

	slot->touched = false;
	note_udp_change(c, slot, want);
	if (want && slot->pool && is_in_force(slot, want))
		return;
	if (slot->pool)
		change.old = frontend_in_force(slot, &c->arena);
	if (was_vip != is_vip)
		count_ip(c, &c->vips, &slot->key.ip, is_vip ? 1 : -1, true);
	if (change.old || want)
		fl_vec_push(&c->frontend_changes, change);
	if (!want) {
		free(fl_set_remove(&c->slots, fl_proxy_core_slot_key, &slot->key, sizeof(slot->key)));
		return;
	}
	slot->pool = want->pool;
	slot->affinity_s = want->affinity_s;
	slot->kind = want->kind;
	slot->local = want->local;
}

// ---- sync

static void note_health(struct fl_proxy_core *c, struct service *s, unsigned n_local)
{
	uint16_t port = s->present ? s->spec.health_check_port : 0;
	const char *slash = strchr(s->key, '/');

	if (port == s->health_port && (!port || n_local == s->n_local_endpoints))
		return;
	s->health_port = port;
	s->n_local_endpoints = n_local;
	if (c->opts.on_health_change)
		c->opts.on_health_change(c->opts.arg, fl_arena_strndup(&c->arena, s->key, (size_t)(slash - s->key)),
					 slash + 1, port, n_local);
}

static void refresh(struct fl_proxy_core *c, struct service *s)
{
	struct fl_proxy_desired d = {0};
	size_t n = s->slices.n;
	const struct fl_proxy_slice **slices = fl_arena_alloc(&c->arena, (n ? n : 1) * sizeof(*slices));

	for (size_t i = 0; i < n; i++)
		slices[i] = &s->slices.v[i]->value;
	if (s->present)
		fl_proxy_derive(s->key, &s->spec, slices, n, &c->arena, &d);
	update_pools(c, s, &d);
	update_claims(c, s, &d);
	note_health(c, s, d.n_local_endpoints);
	s->dirty = false;
	drop_if_gone(c, s);
}

static void list_ips(const struct fl_set *counts, struct fl_arena *a, const struct fl_proxy_ip_change **ret,
		     size_t *ret_n)
{
	struct fl_proxy_ip_change *list = fl_arena_alloc(a, (counts->n + 1) * sizeof(*list));
	size_t n = 0, at = 0;

	for (const struct ip_count *count; (count = fl_set_next(counts, &at));)
		list[n++] = (struct fl_proxy_ip_change){.ip = count->ip, .added = true};
	*ret = list;
	*ret_n = n;
}

static void full_delta(struct fl_proxy_core *c, struct fl_proxy_delta *d)
{
	struct fl_proxy_frontend_change *frontends = fl_arena_zalloc(&c->arena, (c->slots.n + 1) * sizeof(*frontends));
	struct fl_proxy_pool_change *pools = fl_arena_zalloc(&c->arena, (c->pools.n + 1) * sizeof(*pools));
	size_t at = 0;

	d->full = true;
	for (const struct slot *slot; (slot = fl_set_next(&c->slots, &at));)
		frontends[d->n_frontends++].new_frontend = &slot->claims->value;
	at = 0;
	for (const struct pool *p; (p = fl_set_next(&c->pools, &at));)
		pools[d->n_pools++].new_pool = &p->value;
	d->frontends = frontends;
	d->pools = pools;
	list_ips(&c->vips, &c->arena, &d->vips, &d->n_vips);
	list_ips(&c->locals, &c->arena, &d->locals, &d->n_locals);
}

static void tell_udp_changes(struct fl_proxy_core *c, bool full)
{
	size_t at = 0;

	for (size_t i = 0; c->opts.on_udp_change && i < c->udp_changes.n; i++)
		c->opts.on_udp_change(c->opts.arg, &c->udp_changes.v[i].ip, c->udp_changes.v[i].port);
	c->udp_changes.n = 0;
	if (!full || !c->opts.on_udp_change)
		return;
	for (const struct slot *slot; (slot = fl_set_next(&c->slots, &at));) {
		if (slot->key.proto == IPPROTO_UDP)
			c->opts.on_udp_change(c->opts.arg, &slot->key.ip, slot->key.port);
	}
}

int fl_proxy_core_sync(struct fl_proxy_core *c, struct fl_err *err)
{
	struct fl_proxy_delta d = {0};
	int rc = 0;

	for (size_t i = 0; i < c->dirty.n; i++)
		refresh(c, c->dirty.v[i]);
	c->dirty.n = 0;
	for (size_t i = 0; i < c->touched.n; i++)
		settle(c, c->touched.v[i]);

	if (c->full) {
		full_delta(c, &d);
	} else {
		d = (struct fl_proxy_delta){
		    .frontends = c->frontend_changes.v,
		    .n_frontends = c->frontend_changes.n,
		    .pools = c->pool_changes.v,
		    .n_pools = c->pool_changes.n,
		    .vips = c->vip_changes.v,
		    .n_vips = c->vip_changes.n,
		    .locals = c->local_changes.v,
		    .n_locals = c->local_changes.n,
		};
	}
	if (d.full || d.n_frontends || d.n_pools || d.n_vips || d.n_locals) {
		rc = c->opts.ops->apply(c->opts.backend, &d, err);
		c->stats.syncs++;
		c->stats.full_syncs += d.full;
		c->stats.sync_failures += rc < 0;
	}
	c->full = rc < 0;
	if (rc == 0) // after a failure they wait for the apply that succeeds
		tell_udp_changes(c, d.full);
	c->programmed.n = 0;
	for (size_t i = 0; rc == 0 && i < c->triggers.n; i++)
		fl_vec_push(&c->programmed, c->triggers.v[i]);
	if (rc == 0)
		c->triggers.n = 0;
	end_round(c);
	return rc;
}
