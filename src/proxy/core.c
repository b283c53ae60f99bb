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

static void pool_free(struct pool *p)
{
	free((char *)p->value.name);
	free(p->value.cluster);
	free(p->value.local);
	free(p->value.serving);
	free(p->value.source_ranges);
	free(p);
}

static void slice_free(struct slice *s)
{
	fl_proxy_slice_deinit(&s->value);
	free(s);
}

static void service_free(struct service *s)
{
	fl_proxy_service_deinit(&s->spec);
	for (size_t i = 0; i < s->pools.n; i++)
		pool_free(s->pools.v[i]);
	for (size_t i = 0; i < s->n_claims; i++)
		free(s->claims[i]);
	free(s->claims);
	fl_vec_deinit(&s->pools);
	fl_vec_deinit(&s->slices);
	free(s->key);
	free(s);
}

static void end_round(struct fl_proxy_core *c)
{
	for (size_t i = 0; i < c->retired.n; i++)
		pool_free(c->retired.v[i]);
	c->retired.n = c->touched.n = 0;
	fl_map_deinit(&c->lost_pools);
	c->frontend_changes.n = c->pool_changes.n = c->vip_changes.n = c->local_changes.n = 0;
	if (c->arena.total > ARENA_KEEP_BYTES)
		fl_arena_deinit(&c->arena);
	else
		fl_arena_reset(&c->arena);
}

void fl_proxy_core_free(struct fl_proxy_core **core)
{
	struct fl_proxy_core *c = *core;

	if (!c)
		return;
	end_round(c);
	for (struct fl_map_iter it = {0}; fl_map_next(&c->slices, &it);)
		slice_free(it.value);
	for (struct fl_map_iter it = {0}; fl_map_next(&c->services, &it);)
		service_free(it.value);
	for (struct fl_map_iter it = {0}; fl_map_next(&c->slots, &it);)
		free(it.value);
	fl_map_deinit(&c->slices);
	fl_map_deinit(&c->services);
	fl_map_deinit(&c->slots);
	fl_map_deinit(&c->pool_ids);
	fl_map_deinit(&c->vips);
	fl_map_deinit(&c->locals);
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
	struct service *s = fl_map_get(&c->services, key);

	if (s)
		return s;
	s = FL_NEW(struct service);
	s->key = fl_strdup(key);
	fl_map_set(&c->services, key, s);
	return s;
}

void fl_proxy_core_service(struct fl_proxy_core *c, const struct fl_object *old, const struct fl_object *new_obj)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_object *o = new_obj ? new_obj : old;
	const char *key = fl_arena_printf(&a, "%s/%s", o->ns, o->name);
	struct service *s = new_obj ? find_or_add_service(c, key) : fl_map_get(&c->services, key);

	c->stats.service_changes++;
	if (!s)
		return;
	fl_proxy_service_deinit(&s->spec);
	s->present = new_obj != NULL;
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
	struct slice *slice = fl_map_del(&c->slices, key);

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
	const char *key = fl_arena_printf(&a, "%s/%s", o->ns, o->name);
	struct fl_proxy_where where = {c->node_name, c->zone};
	struct fl_proxy_slice parsed;
	const char *service;

	c->stats.endpoint_changes++;
	remove_slice(c, key);
	const struct fl_json *tree = new_obj ? fl_object_tree(new_obj, &a) : NULL;
	if (!tree || !fl_proxy_slice_parse(tree, &where, &a, &parsed, &service))
		return;
	note_trigger(c, tree);

	struct slice *slice = FL_NEW(struct slice);
	slice->value = parsed;
	slice->service = find_or_add_service(c, fl_arena_printf(&a, "%s/%s", o->ns, service));
	fl_vec_reserve(&slice->service->slices, slice->service->slices.n + 1);
	fl_vec_push(&slice->service->slices, slice);
	fl_map_set(&c->slices, key, slice);
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

static void count_ip(struct fl_proxy_core *c, struct fl_map *counts, const struct fl_ip *ip, int by, bool is_vip)
{
	uintptr_t n = (uintptr_t)fl_map_get_n(counts, ip, sizeof(*ip));
	struct fl_proxy_ip_change change = {.ip = *ip, .added = by > 0};

	n = by > 0 ? n + 1 : n - 1;
	if (n == 0)
		fl_map_del_n(counts, ip, sizeof(*ip));
	else
		fl_map_set_n(counts, ip, sizeof(*ip), (void *)n);
	if ((by > 0 && n > 1) || (by < 0 && n > 0))
		return;
	if (is_vip)
		fl_vec_push(&c->vip_changes, change);
	else
		fl_vec_push(&c->local_changes, change);
}

static void count_pool_locals(struct fl_proxy_core *c, const struct fl_proxy_pool *p, int by)
{
	for (size_t i = 0; i < p->n_cluster; i++) {
		if (p->cluster[i].local)
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

	while (id == 0 || fl_map_get_n(&c->pool_ids, &id, sizeof(id)))
		id++;
	return id;
}

static struct fl_proxy_endpoint *copy_endpoints(const struct fl_proxy_endpoint *list, size_t n)
{
	if (n == 0)
		return NULL;
	struct fl_proxy_endpoint *copy = fl_malloc(n * sizeof(*copy));
	memcpy(copy, list, n * sizeof(*copy));
	return copy;
}

static struct pool *pool_new(const struct fl_proxy_pool *like)
{
	struct pool *p = FL_NEW(struct pool);

	p->value = *like;
	p->value.name = fl_strdup(like->name);
	p->value.cluster = copy_endpoints(like->cluster, like->n_cluster);
	p->value.local = copy_endpoints(like->local, like->n_local);
	p->value.serving = copy_endpoints(like->serving, like->n_serving);
	p->value.source_ranges = NULL;
	if (like->n_source_ranges) {
		size_t size = like->n_source_ranges * sizeof(*like->source_ranges);

		p->value.source_ranges = fl_malloc(size);
		memcpy(p->value.source_ranges, like->source_ranges, size);
	}
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
	if (new_pool) {
		count_pool_locals(c, &new_pool->value, 1);
		fl_map_set_n(&c->pool_ids, &new_pool->value.id, sizeof(new_pool->value.id), new_pool);
	}
	if (!old)
		return;
	count_pool_locals(c, &old->value, -1);
	if (new_pool && lost_some(&old->value, &new_pool->value))
		fl_map_set_n(&c->lost_pools, &new_pool->value.id, sizeof(new_pool->value.id), new_pool);
	if (!new_pool)
		fl_map_del_n(&c->pool_ids, &old->value.id, sizeof(old->value.id));
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
	s->pools.n = s->pools.cap = d->n_pools;
}

// ---- frontends

static bool same_frontend(const struct fl_proxy_frontend *a, const struct fl_proxy_frontend *b)
{
	return a->kind == b->kind && a->local == b->local && a->affinity_s == b->affinity_s && a->pool == b->pool;
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
	int by_age = strcmp(a->spec.created ? a->spec.created : "", b->spec.created ? b->spec.created : "");

	return by_age ? by_age < 0 : strcmp(a->key, b->key) < 0;
}

static void add_claim(struct fl_proxy_core *c, struct claim *claim)
{
	struct slot_key key = fl_proxy_core_key(&claim->value);
	struct slot *slot = fl_map_get_n(&c->slots, &key, sizeof(key));

	if (!slot) {
		slot = FL_NEW(struct slot);
		slot->key = key;
		fl_map_set_n(&c->slots, &key, sizeof(key), slot);
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
	struct slot *slot = fl_map_get_n(&c->slots, &key, sizeof(key));

	for (struct claim **at = &slot->claims; *at; at = &(*at)->next) {
		if (*at == claim) {
			*at = claim->next;
			break;
		}
	}
	touch(c, slot);
	free(claim);
}

static void update_claims(struct fl_proxy_core *c, struct service *s, const struct fl_proxy_desired *d)
{
	struct claim **now = d->n_frontends ? fl_malloc(d->n_frontends * sizeof(struct claim *)) : NULL;

	for (size_t i = 0; i < d->n_frontends; i++) {
		struct claim *claim = FL_NEW(struct claim);

		claim->owner = s;
		claim->value = d->frontends[i];
		claim->value.pool = &s->pools.v[d->frontends[i].pool - d->pools]->value;
		now[i] = claim;
		add_claim(c, claim);
	}
	for (size_t i = 0; i < s->n_claims; i++)
		drop_claim(c, s->claims[i]);
	free(s->claims);
	s->claims = now;
	s->n_claims = d->n_frontends;
}

static void note_udp_change(struct fl_proxy_core *c, const struct slot *slot, const struct fl_proxy_frontend *want)
{
	bool moved = !want || !slot->is_applied || want->pool->id != slot->applied.pool->id;

	if (slot->key.proto == IPPROTO_UDP &&
	    (moved || fl_map_get_n(&c->lost_pools, &want->pool->id, sizeof(want->pool->id))))
		fl_vec_push(&c->udp_changes, slot->key);
}

// The difference between what a slot had in force and has now.
static void settle(struct fl_proxy_core *c, struct slot *slot)
{
	const struct fl_proxy_frontend *want = slot->claims ? &slot->claims->value : NULL;
	struct fl_proxy_frontend_change change = {.new_frontend = want};
	bool was_vip = slot->is_applied && slot->applied.kind == FL_PROXY_CLUSTER_IP;
	bool is_vip = want && want->kind == FL_PROXY_CLUSTER_IP;

	slot->touched = false;
	note_udp_change(c, slot, want);
	if (want && slot->is_applied && same_frontend(want, &slot->applied))
		return;
	if (slot->is_applied) {
		struct fl_proxy_frontend *old = fl_arena_alloc(&c->arena, sizeof(*old));

		*old = slot->applied;
		change.old = old;
	}
	if (was_vip != is_vip)
		count_ip(c, &c->vips, &slot->key.ip, is_vip ? 1 : -1, true);
	if (change.old || want)
		fl_vec_push(&c->frontend_changes, change);
	if (!want) {
		(void)fl_map_del_n(&c->slots, &slot->key, sizeof(slot->key));
		free(slot);
		return;
	}
	slot->applied = *want;
	slot->is_applied = true;
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
	if (!s->present && s->slices.n == 0) {
		fl_map_del(&c->services, s->key);
		service_free(s);
	}
}

static void list_ips(struct fl_map *counts, struct fl_arena *a, const struct fl_proxy_ip_change **ret, size_t *ret_n)
{
	struct fl_proxy_ip_change *list = fl_arena_alloc(a, (counts->n + 1) * sizeof(*list));
	size_t n = 0;

	for (struct fl_map_iter it = {0}; fl_map_next(counts, &it);) {
		memcpy(&list[n].ip, it.key, sizeof(list[n].ip));
		list[n++].added = true;
	}
	*ret = list;
	*ret_n = n;
}

static void full_delta(struct fl_proxy_core *c, struct fl_proxy_delta *d)
{
	struct fl_proxy_frontend_change *frontends = fl_arena_zalloc(&c->arena, (c->slots.n + 1) * sizeof(*frontends));
	struct fl_proxy_pool_change *pools = fl_arena_zalloc(&c->arena, (c->pool_ids.n + 1) * sizeof(*pools));

	d->full = true;
	for (struct fl_map_iter it = {0}; fl_map_next(&c->slots, &it);)
		frontends[d->n_frontends++].new_frontend = &((struct slot *)it.value)->claims->value;
	for (struct fl_map_iter it = {0}; fl_map_next(&c->pool_ids, &it);)
		pools[d->n_pools++].new_pool = &((struct pool *)it.value)->value;
	d->frontends = frontends;
	d->pools = pools;
	list_ips(&c->vips, &c->arena, &d->vips, &d->n_vips);
	list_ips(&c->locals, &c->arena, &d->locals, &d->n_locals);
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
	for (size_t i = 0; rc == 0 && c->opts.on_udp_change && i < c->udp_changes.n; i++)
		c->opts.on_udp_change(c->opts.arg, &c->udp_changes.v[i].ip, c->udp_changes.v[i].port);
	c->programmed.n = 0;
	for (size_t i = 0; rc == 0 && i < c->triggers.n; i++)
		fl_vec_push(&c->programmed, c->triggers.v[i]);
	if (rc == 0)
		c->triggers.n = 0;
	if (rc == 0)
		c->udp_changes.n = 0; // after a failure they wait for the apply that succeeds
	end_round(c);
	return rc;
}
