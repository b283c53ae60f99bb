// SPDX-License-Identifier: Apache-2.0
#include "controller/scheduler/room.h"

#include "api/quantity.h"
#include "base/mem.h"

typedef FL_VEC(struct fl_demand_amount) amounts;

static struct fl_demand_amount *amount_of(struct fl_arena *a, amounts *v, const char *resource)
{
	for (size_t i = 0; i < v->n; i++)
		if (!strcmp(v->v[i].resource, resource))
			return &v->v[i];
	struct fl_demand_amount fresh = {fl_arena_strdup(a, resource), 0};
	fl_vec_push(v, fresh);
	return &v->v[v->n - 1];
}

static __int128 quantity(const struct fl_json *v)
{
	struct fl_quantity q;
	if (fl_json_is(v, FL_JSON_INT))
		return (__int128)v->i * 1000000000;
	return fl_json_string(v) && fl_quantity_parse(fl_json_string(v), &q) ? q.nano : 0;
}

static void add_list(struct fl_arena *a, amounts *v, const struct fl_json *list)
{
	fl_json_each (m, list)
		amount_of(a, v, m->key)->nano += quantity(m);
}

static void add_container(struct fl_arena *a, amounts *v, const struct fl_json *container)
{
	const struct fl_json *resources = fl_json_get(container, "resources"),
			     *requests = fl_json_get(resources, "requests");
	add_list(a, v, requests);
	fl_json_each (m, fl_json_get(resources, "limits"))
		if (!fl_json_get(requests, m->key))
			amount_of(a, v, m->key)->nano += quantity(m);
}

static void raise_to(struct fl_arena *a, amounts *v, const amounts *other)
{
	for (size_t i = 0; i < other->n; i++) {
		struct fl_demand_amount *mine = amount_of(a, v, other->v[i].resource);
		if (mine->nano < other->v[i].nano)
			mine->nano = other->v[i].nano;
	}
}

static void add_all(struct fl_arena *a, amounts *v, const amounts *other)
{
	for (size_t i = 0; i < other->n; i++)
		amount_of(a, v, other->v[i].resource)->nano += other->v[i].nano;
}

static bool is_sidecar(const struct fl_json *init)
{
	return fl_streq(fl_json_str(init, "restartPolicy"), "Always");
}

static void read_amounts(struct fl_arena *a, const struct fl_json *spec, amounts *sum)
{
	amounts sidecars = {0};
	fl_json_each (c, fl_json_get(spec, "containers"))
		add_container(a, sum, c);
	amounts most = {0}; // of the init containers
	fl_json_each (c, fl_json_get(spec, "initContainers")) {
		amounts now = {0};
		add_container(a, is_sidecar(c) ? &sidecars : &now, c);
		add_all(a, &now, &sidecars);
		raise_to(a, &most, &now);
		fl_vec_deinit(&now);
	}
	add_all(a, sum, &sidecars);
	raise_to(a, sum, &most);
	fl_json_each (m, fl_json_path(spec, "resources", "requests", NULL)) // of the pod as a whole
		amount_of(a, sum, m->key)->nano = quantity(m);
	add_list(a, sum, fl_json_get(spec, "overhead"));
	fl_vec_deinit(&sidecars);
	fl_vec_deinit(&most);
}

void fl_demand_read(struct fl_arena *a, const struct fl_json *pod, struct fl_demand *ret)
{
	const struct fl_json *spec = fl_json_get(pod, "spec");
	amounts sum = {0};
	*ret = (struct fl_demand){0};
	read_amounts(a, spec, &sum);
	for (size_t i = 0; i < sum.n; i++)
		if (sum.v[i].nano > 0)
			fl_vec_push(&ret->amounts, sum.v[i]);
	fl_vec_deinit(&sum);
}

void fl_demand_deinit(struct fl_demand *d)
{
	fl_vec_deinit(&d->amounts);
}

__int128 fl_room_taken(const struct fl_room *r, const char *resource)
{
	const __int128 *v = fl_map_get(&r->amounts, resource);
	return v ? *v : 0;
}

static void change_amount(struct fl_room *r, const char *resource, __int128 by)
{
	__int128 *v = fl_map_get(&r->amounts, resource);
	if (!v) {
		v = FL_NEW(__int128);
		fl_map_set(&r->amounts, resource, v);
	}
	*v += by;
	if (*v <= 0)
		free(fl_map_del(&r->amounts, resource));
}

void fl_room_add(struct fl_room *r, const struct fl_demand *d)
{
	r->pods++;
	for (size_t i = 0; i < d->amounts.n; i++)
		change_amount(r, d->amounts.v[i].resource, d->amounts.v[i].nano);
}

void fl_room_sub(struct fl_room *r, const struct fl_demand *d)
{
	if (r->pods)
		r->pods--;
	for (size_t i = 0; i < d->amounts.n; i++)
		change_amount(r, d->amounts.v[i].resource, -d->amounts.v[i].nano);
}

void fl_room_deinit(struct fl_room *r)
{
	for (struct fl_map_iter it = {0}; fl_map_next(&r->amounts, &it);)
		free(it.value);
	fl_map_deinit(&r->amounts);
}
