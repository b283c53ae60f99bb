// SPDX-License-Identifier: Apache-2.0
#include "controller/node/ended.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

struct ended {
	int64_t created_ns;
	bool evicted;
};

struct turn {
	const char *key;
	const struct ended *pod;
};

void fl_ended_note(struct fl_ended *e, const char *key, const struct fl_podview *p)
{
	if (!p->finished || p->deleting) {
		fl_ended_forget(e, key);
		return;
	}
	struct ended *pod = fl_map_get(&e->pods, key);
	if (!pod) {
		pod = FL_NEW(struct ended);
		fl_map_set(&e->pods, key, pod);
	}
	pod->created_ns = p->created_ns;
	pod->evicted =
	    !strcmp(p->phase, "Failed") && fl_streq(fl_json_str(fl_json_get(p->tree, "status"), "reason"), "Evicted");
}

void fl_ended_forget(struct fl_ended *e, const char *key)
{
	free(fl_map_del(&e->pods, key));
}

static int first_to_go(const void *x, const void *y)
{
	const struct turn *a = x, *b = y;
	if (a->pod->evicted != b->pod->evicted)
		return a->pod->evicted ? -1 : 1;
	if (a->pod->created_ns != b->pod->created_ns)
		return a->pod->created_ns < b->pod->created_ns ? -1 : 1;
	return strcmp(a->key, b->key);
}

void fl_ended_surplus(const struct fl_ended *e, size_t max, fl_ended_keys *ret)
{
	FL_VEC(struct turn) all = {0};
	if (e->pods.n <= max)
		return;
	for (struct fl_map_iter it = {0}; fl_map_next(&e->pods, &it);) {
		struct turn t = {it.key, it.value};
		fl_vec_push(&all, t);
	}
	if (all.v)
		qsort(all.v, all.n, sizeof(*all.v), first_to_go);
	for (size_t i = 0; all.v && i < all.n - max && i < FL_ENDED_BURST; i++)
		fl_vec_push(ret, all.v[i].key);
	fl_vec_deinit(&all);
}

void fl_ended_deinit(struct fl_ended *e)
{
	for (struct fl_map_iter it = {0}; fl_map_next(&e->pods, &it);)
		free(it.value);
	fl_map_deinit(&e->pods);
}
