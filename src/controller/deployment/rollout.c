// SPDX-License-Identifier: Apache-2.0
// Rolling update, as Kubernetes does it:
//   up    the new set grows while all sets together stay within replicas + max_surge
//   down  the old sets shrink by what may be missing: first pods that do not serve anyway, then the oldest sets' pods,
//   so
//         that replicas - max_unavailable stay available; pods of the new set that are not available yet count as
//         missing
#include "controller/deployment/rollout.h"

#include <stdlib.h>

#include "base/mem.h"
#include "controller/meta.h"

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

void fl_rollout_read(const struct fl_json *deployment, struct fl_rollout *ret)
{
	const struct fl_json *spec = fl_json_get(deployment, "spec"), *strategy = fl_json_get(spec, "strategy"),
			     *rolling = fl_json_get(strategy, "rollingUpdate");
	*ret = (struct fl_rollout){
	    .replicas = fl_json_int(spec, "replicas", 1),
	    .status_replicas = fl_json_int(fl_json_get(deployment, "status"), "replicas", 0),
	    .recreate = fl_streq(fl_json_str(strategy, "type"), "Recreate"),
	};
	if (ret->recreate)
		return;
	int64_t quarter_up = (ret->replicas + 3) / 4, quarter_down = ret->replicas / 4; // the default, 25%
	ret->max_surge = fl_meta_scaled(fl_json_get(rolling, "maxSurge"), ret->replicas, true, quarter_up);
	ret->max_unavailable =
	    fl_meta_scaled(fl_json_get(rolling, "maxUnavailable"), ret->replicas, false, quarter_down);
	if (!ret->max_surge && !ret->max_unavailable)
		ret->max_unavailable = 1; // rounded to nothing: it could never go on
	ret->max_unavailable = least(ret->max_unavailable, ret->replicas);
}

static int64_t total_size(const struct fl_rollout_set *sets, size_t n)
{
	int64_t sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += sets[i].want;
	return sum;
}

static int64_t total_available(const struct fl_rollout_set *sets, size_t n)
{
	int64_t sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += least(sets[i].available, sets[i].size);
	return sum;
}

int64_t fl_rollout_new_size(const struct fl_rollout *r, const struct fl_rollout_set *sets, size_t n, int64_t now)
{
	int64_t sum = 0;
	if (r->recreate)
		return r->replicas;
	for (size_t i = 0; i < n; i++)
		sum += sets[i].size;
	int64_t room = r->replicas + r->max_surge - sum;
	return room <= 0 ? now : now + most(least(room, r->replicas - now), 0);
}

static int older_first(const void *x, const void *y)
{
	const struct fl_rollout_set *a = *(struct fl_rollout_set *const *)x, *b = *(struct fl_rollout_set *const *)y;
	if (a->created_ns != b->created_ns)
		return a->created_ns < b->created_ns ? -1 : 1;
	return strcmp(a->name, b->name);
}

static size_t old_sets(struct fl_rollout_set *sets, size_t n, struct fl_rollout_set **ret)
{
	size_t n_old = 0;
	for (size_t i = 0; i < n; i++)
		if (!sets[i].is_new && sets[i].want > 0)
			ret[n_old++] = &sets[i];
	qsort(ret, n_old, sizeof(*ret), older_first);
	return n_old;
}

static struct fl_rollout_set *new_set(struct fl_rollout_set *sets, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (sets[i].is_new)
			return &sets[i];
	return NULL;
}

static void shrink_old(const struct fl_rollout *r, struct fl_rollout_set *sets, size_t n,
		       const struct fl_rollout_set *fresh)
{
	struct fl_rollout_set **old = fl_calloc(n + 1, sizeof(*old));
	size_t n_old = old_sets(sets, n, old);
	int64_t min_available = r->replicas - r->max_unavailable;
	int64_t may_go = total_size(sets, n) - min_available - (fresh->want - fresh->available), gone = 0;
	for (size_t i = 0; i < n_old && gone < may_go; i++) { // pods that do not serve
		int64_t cut = least(may_go - gone, old[i]->want - old[i]->available);
		if (cut > 0) {
			old[i]->want -= cut;
			gone += cut;
		}
	}
	// Both bounds: where a set's status is behind its size, what it calls available is more than there is.
	int64_t spare = least(total_available(sets, n) - min_available, may_go - gone), cut_so_far = 0;
	for (size_t i = 0; i < n_old && cut_so_far < spare; i++) {
		int64_t cut = least(old[i]->want, spare - cut_so_far);
		old[i]->want -= cut;
		cut_so_far += cut;
	}
	free(old);
}

void fl_rollout_step(const struct fl_rollout *r, struct fl_rollout_set *sets, size_t n)
{
	bool shrunk = false;
	for (size_t i = 0; i < n; i++) {
		sets[i].want = r->recreate && !sets[i].is_new ? 0 : sets[i].size;
		shrunk |= sets[i].want != sets[i].size;
		sets[i].touch = false;
	}
	struct fl_rollout_set *fresh = new_set(sets, n);
	if (!fresh)
		return;
	if (r->recreate) {
		if (!shrunk && fl_rollout_may_create(r, sets, n))
			fresh->want = r->replicas;
		return;
	}
	if (fresh->size > r->replicas)
		fresh->want = r->replicas;
	else if (fresh->size < r->replicas)
		fresh->want = fl_rollout_new_size(r, sets, n, fresh->size);
	if (fresh->want == fresh->size)
		shrink_old(r, sets, n, fresh);
}

bool fl_rollout_may_create(const struct fl_rollout *r, const struct fl_rollout_set *sets, size_t n)
{
	if (!r->recreate)
		return true;
	for (size_t i = 0; i < n; i++)
		if (!sets[i].is_new && (sets[i].size > 0 || sets[i].pods_left))
			return false;
	return true;
}

// The only active set, or the newest where none is active; NULL where several are.
static struct fl_rollout_set *active_or_latest(struct fl_rollout_set *sets, size_t n)
{
	struct fl_rollout_set *active = NULL, *latest = new_set(sets, n);
	bool fixed = latest != NULL;
	for (size_t i = 0; i < n; i++) {
		if (sets[i].size > 0) {
			if (active)
				return NULL;
			active = &sets[i];
		}
		if (!fixed && (!latest || sets[i].created_ns > latest->created_ns))
			latest = &sets[i];
	}
	return active ? active : latest;
}

static bool is_saturated(const struct fl_rollout *r, const struct fl_rollout_set *fresh)
{
	return fresh && fresh->size == r->replicas && fresh->desired == r->replicas && fresh->available == r->replicas;
}

static int larger_newer_first(const void *x, const void *y)
{
	const struct fl_rollout_set *a = *(struct fl_rollout_set *const *)x, *b = *(struct fl_rollout_set *const *)y;
	if (a->size != b->size)
		return a->size > b->size ? -1 : 1;
	return older_first(y, x);
}

static int larger_older_first(const void *x, const void *y)
{
	const struct fl_rollout_set *a = *(struct fl_rollout_set *const *)x, *b = *(struct fl_rollout_set *const *)y;
	if (a->size != b->size)
		return a->size > b->size ? -1 : 1;
	return older_first(x, y);
}

// What this set's share of the whole grows or shrinks by. (k8s: getReplicaSetFraction)
static int64_t share(const struct fl_rollout *r, const struct fl_rollout_set *s)
{
	if (!r->replicas)
		return -s->size;
	int64_t before = s->max > 0 ? s->max : r->status_replicas;
	if (before <= 0)
		return 0;
	int64_t scaled = (2 * s->size * (r->replicas + r->max_surge) + before) / (2 * before); // rounded
	return scaled - s->size;
}

static void scale_proportionally(const struct fl_rollout *r, struct fl_rollout_set *sets, size_t n)
{
	struct fl_rollout_set **active = fl_calloc(n + 1, sizeof(*active));
	size_t n_active = 0;
	for (size_t i = 0; i < n; i++)
		if (sets[i].size > 0)
			active[n_active++] = &sets[i];
	int64_t to_add = (r->replicas > 0 ? r->replicas + r->max_surge : 0) - total_size(sets, n), added = 0;
	qsort(active, n_active, sizeof(*active), to_add > 0 ? larger_newer_first : larger_older_first);
	for (size_t i = 0; to_add && i < n_active; i++) {
		int64_t part = share(r, active[i]), left = to_add - added;
		part = to_add > 0 ? least(part, left) : most(part, left);
		active[i]->want = active[i]->size + part;
		added += part;
	}
	if (n_active && added != to_add)
		active[0]->want = most(active[0]->want + to_add - added, 0);
	for (size_t i = 0; i < n_active; i++)
		active[i]->touch = true;
	free(active);
}

void fl_rollout_scale(const struct fl_rollout *r, struct fl_rollout_set *sets, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		sets[i].want = sets[i].size;
		sets[i].touch = false;
	}
	struct fl_rollout_set *one = active_or_latest(sets, n);
	if (one) {
		one->want = r->replicas;
		one->touch = true;
		return;
	}
	if (is_saturated(r, new_set(sets, n))) {
		for (size_t i = 0; i < n; i++)
			if (!sets[i].is_new)
				sets[i].want = 0;
		return;
	}
	if (!r->recreate)
		scale_proportionally(r, sets, n);
}
