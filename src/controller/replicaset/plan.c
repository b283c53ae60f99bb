// SPDX-License-Identifier: Apache-2.0
#include "controller/replicaset/plan.h"

#include "base/clock.h"
#include "controller/meta.h"

#define COST_ANNOTATION "controller.kubernetes.io/pod-deletion-cost"

// Pods that fail as soon as they are made - a node refuses them - are replaced at once only so often, else thousands
// are made: from the third on the next one waits, twice as long each time.
#define STILLBORN_NS  (30 * 1000000000LL)  // what lived longer did not fail by its birth
#define REMEMBERED_NS (600 * 1000000000LL) // older failures do not count
#define MOST_WAIT_NS  (300 * 1000000000LL)
#define FREE_FAILURES 3

const struct fl_rs_kind fl_rs_replicaset = {
    .api_version = "apps/v1",
    .kind = "ReplicaSet",
    .tells_terminating = true,
};
const struct fl_rs_kind fl_rs_replicationcontroller = {
    .api_version = "v1",
    .kind = "ReplicationController",
    .plain_selector = true,
};

struct candidate { // for removal
	const struct fl_podview *p;
	size_t at;
	int64_t cost, restarts;
	unsigned neighbours; // pods of the set on the same node
};

static int64_t restarts(const struct fl_podview *p)
{
	int64_t most = 0;
	fl_json_each (c, fl_json_path(p->tree, "status", "containerStatuses", NULL)) {
		int64_t n = fl_json_int(c, "restartCount", 0);
		if (n > most)
			most = n;
	}
	return most;
}

static int phase_rank(const struct fl_podview *p)
{
	return !strcmp(p->phase, "Running") ? 2 : !strcmp(p->phase, "Unknown") ? 1 : 0;
}

#define ORDER(x, y)                                                                                                    \
	do {                                                                                                           \
		if ((x) != (y))                                                                                        \
			return (x) < (y) ? -1 : 1;                                                                     \
	} while (0)

// Whose loss hurts least comes first. (k8s: ActivePodsWithRanks)
static int least_loss_first(const void *x, const void *y)
{
	const struct candidate *a = x, *b = y;
	ORDER(a->p->node[0] != 0, b->p->node[0] != 0);
	ORDER(phase_rank(a->p), phase_rank(b->p));
	ORDER(a->p->ready, b->p->ready);
	ORDER(a->cost, b->cost);
	ORDER(b->neighbours, a->neighbours);
	if (a->p->ready)
		ORDER(b->p->ready_since_ns, a->p->ready_since_ns); // ready for a shorter time
	ORDER(b->restarts, a->restarts);
	ORDER(b->p->created_ns, a->p->created_ns); // younger
	return strcmp(a->p->name, b->p->name);
}

static void choose_removals(struct fl_arena *a, const struct fl_rs_in *in, const size_t *active, size_t n_active,
			    size_t n_remove, struct fl_rs_plan *ret)
{
	struct candidate *c = fl_arena_zalloc(a, (n_active + 1) * sizeof(*c));
	struct fl_map per_node = {0};
	for (size_t i = 0; i < n_active; i++) {
		const struct fl_podview *p = &in->pods[active[i]];
		uintptr_t n = (uintptr_t)fl_map_get(&per_node, p->node);
		fl_map_set(&per_node, p->node, (void *)(n + 1));
	}
	for (size_t i = 0; i < n_active; i++) {
		const struct fl_podview *p = &in->pods[active[i]];
		const char *cost = fl_meta_annotation(p->tree, COST_ANNOTATION);
		c[i] = (struct candidate){
		    .p = p,
		    .at = active[i],
		    .cost = cost ? strtoll(cost, NULL, 10) : 0,
		    .restarts = restarts(p),
		    .neighbours = (unsigned)(uintptr_t)fl_map_get(&per_node, p->node),
		};
	}
	fl_map_deinit(&per_node);
	qsort(c, n_active, sizeof(*c), least_loss_first);
	for (size_t i = 0; i < n_remove && i < n_active && i < FL_RS_BURST; i++)
		fl_vec_push(&ret->remove, c[i].at);
}

static void put_failure(struct fl_arena *a, const struct fl_rs_in *in, struct fl_json *status, int64_t diff)
{
	const struct fl_json *old_status = fl_json_get(in->rs, "status"),
			     *had = fl_meta_condition(old_status, "ReplicaFailure");
	struct fl_json *conditions = fl_json_new(a, FL_JSON_ARRAY);
	fl_json_each (c, fl_json_get(old_status, "conditions"))
		if (c != had)
			fl_json_append(conditions, fl_json_clone(a, c));
	if (in->failure && had) {
		fl_json_append(conditions, fl_json_clone(a, had));
	} else if (in->failure) {
		char time[FL_TIME_STRLEN];
		struct fl_json *c = fl_json_append(conditions, fl_json_new(a, FL_JSON_OBJECT));
		fl_json_set_str(a, c, "type", "ReplicaFailure");
		fl_json_set_str(a, c, "status", "True");
		fl_json_set_str(a, c, "lastTransitionTime", fl_time_format(in->now_ns, time));
		fl_json_set_str(a, c, "reason", diff < 0 ? "FailedCreate" : "FailedDelete");
		fl_json_set_str(a, c, "message", in->failure);
	}
	if (fl_json_count(conditions))
		fl_json_set(a, status, "conditions", conditions);
}

static void set_count(struct fl_arena *a, struct fl_json *status, const char *key, size_t n)
{
	if (n)
		fl_json_set_int(a, status, key, (int64_t)n);
}

static void put_status(struct fl_arena *a, const struct fl_rs_in *in, const size_t *active, size_t n_active,
		       size_t terminating, int64_t wanted, struct fl_rs_plan *ret)
{
	int64_t min_ready = fl_json_int(fl_json_get(in->rs, "spec"), "minReadySeconds", 0);
	struct fl_selector *template =
	    fl_label_selector_from_map(a, fl_json_path(in->rs, "spec", "template", "metadata", "labels", NULL));
	size_t labelled = 0, ready = 0, available = 0;
	for (size_t i = 0; i < n_active; i++) {
		const struct fl_podview *p = &in->pods[active[i]];
		int64_t wait = 0;
		labelled += fl_selector_matches(template, fl_json_path(p->tree, "metadata", "labels", NULL));
		ready += p->ready;
		available += fl_podview_available(p, min_ready, in->now_ns, &wait);
		if (wait > 0 && (!ret->wait_ns || wait < ret->wait_ns))
			ret->wait_ns = wait;
	}
	struct fl_json *s = fl_json_new(a, FL_JSON_OBJECT);
	fl_json_set_int(a, s, "replicas", (int64_t)n_active);
	set_count(a, s, "fullyLabeledReplicas", labelled);
	set_count(a, s, "readyReplicas", ready);
	set_count(a, s, "availableReplicas", available);
	if (in->kind->tells_terminating)
		fl_json_set_int(a, s, "terminatingReplicas", (int64_t)terminating);
	fl_json_set_int(a, s, "observedGeneration", fl_json_int(fl_json_get(in->rs, "metadata"), "generation", 0));
	put_failure(a, in, s, (int64_t)n_active - wanted);
	ret->status = s;
}

struct fl_selector *fl_rs_selector(struct fl_arena *a, const struct fl_rs_kind *kind, const struct fl_json *rs)
{
	struct fl_selector *s = NULL;
	const struct fl_json *tree = fl_json_path(rs, "spec", "selector", NULL);
	if (kind->plain_selector)
		return fl_json_count(tree) ? fl_label_selector_from_map(a, tree) : NULL;
	if (fl_label_selector_from_json(a, tree, &s, NULL) < 0)
		return NULL;
	return fl_selector_is_everything(s) ? NULL : s;
}

struct failures {
	size_t n;
	int64_t youngest_ns; // creation
};

static void note_failure(struct failures *f, const struct fl_podview *p, int64_t now_ns)
{
	bool lived = p->ready_since_ns > p->created_ns + STILLBORN_NS;
	if (strcmp(p->phase, "Failed") != 0 || lived || p->created_ns < now_ns - REMEMBERED_NS)
		return;
	f->n++;
	if (p->created_ns > f->youngest_ns)
		f->youngest_ns = p->created_ns;
}

// How long no pod is to be made yet; 0: it may be.
static int64_t pause_ns(const struct failures *f, int64_t now_ns)
{
	if (f->n < FREE_FAILURES)
		return 0;
	size_t doubled = f->n - FREE_FAILURES;
	int64_t wait = doubled < 9 ? 1000000000LL << doubled : MOST_WAIT_NS;
	int64_t left = f->youngest_ns + (wait < MOST_WAIT_NS ? wait : MOST_WAIT_NS) - now_ns;
	return left > MOST_WAIT_NS ? MOST_WAIT_NS : left > 0 ? left : 0;
}

void fl_rs_plan_make(struct fl_arena *a, const struct fl_rs_in *in, struct fl_rs_plan *ret)
{
	const char *uid = fl_json_str_or(fl_json_get(in->rs, "metadata"), "uid", "");
	int64_t wanted = fl_json_int(fl_json_get(in->rs, "spec"), "replicas", 1);
	bool deleting = fl_meta_deleting(in->rs);
	struct fl_selector *selector = fl_rs_selector(a, in->kind, in->rs);
	size_t *active = fl_arena_alloc(a, (in->n_pods + 1) * sizeof(*active)), n_active = 0, terminating = 0;
	struct failures failures = {0};
	*ret = (struct fl_rs_plan){0};
	for (size_t i = 0; i < in->n_pods; i++) {
		const struct fl_podview *p = &in->pods[i];
		bool mine = fl_meta_controlled_by(p->tree, uid);
		bool matches =
		    selector && fl_selector_matches(selector, fl_json_path(p->tree, "metadata", "labels", NULL));
		if (mine && !matches) {
			if (!deleting && selector)
				fl_vec_push(&ret->release, i);
			continue;
		}
		if (!mine && (!matches || deleting || p->deleting || p->finished || fl_meta_controller(p->tree)))
			continue;
		if (!mine)
			fl_vec_push(&ret->adopt, i);
		if (p->deleting)
			terminating += !p->finished;
		else if (!p->finished)
			active[n_active++] = i;
		else
			note_failure(&failures, p, in->now_ns);
	}
	put_status(a, in, active, n_active, terminating, wanted, ret);
	if (deleting || !selector)
		return;
	int64_t missing = wanted - (int64_t)n_active, pause = missing > 0 ? pause_ns(&failures, in->now_ns) : 0;
	if (pause && (!ret->wait_ns || pause < ret->wait_ns))
		ret->wait_ns = pause;
	if (missing > 0 && !pause)
		ret->create = missing < FL_RS_BURST ? (unsigned)missing : FL_RS_BURST;
	else if (missing < 0)
		choose_removals(a, in, active, n_active, (size_t)-missing, ret);
}

void fl_rs_plan_deinit(struct fl_rs_plan *p)
{
	fl_vec_deinit(&p->adopt);
	fl_vec_deinit(&p->release);
	fl_vec_deinit(&p->remove);
}

struct fl_json *fl_rs_new_pod(struct fl_arena *a, const struct fl_rs_kind *kind, const struct fl_json *rs)
{
	static const char *const copied[] = {"labels", "annotations", "finalizers"};
	const struct fl_json *meta = fl_json_get(rs, "metadata"),
			     *template = fl_json_path(rs, "spec", "template", NULL),
			     *tmeta = fl_json_get(template, "metadata");
	struct fl_json *o = fl_json_new(a, FL_JSON_OBJECT);
	fl_json_set_str(a, o, "kind", "Pod");
	fl_json_set_str(a, o, "apiVersion", "v1");
	struct fl_json *m = fl_json_set_object(a, o, "metadata");
	fl_json_set_str(a, m, "generateName", fl_arena_printf(a, "%s-", fl_json_str_or(meta, "name", "")));
	fl_json_set_str(a, m, "namespace", fl_json_str_or(meta, "namespace", ""));
	for (size_t i = 0; i < sizeof(copied) / sizeof(*copied); i++) {
		const struct fl_json *v = fl_json_get(tmeta, copied[i]);
		if (fl_json_count(v))
			fl_json_set(a, m, copied[i], fl_json_clone(a, v));
	}
	fl_json_append(fl_json_set_array(a, m, "ownerReferences"),
		       fl_meta_owner_ref(a, rs, kind->api_version, kind->kind));
	fl_json_set(a, o, "spec", fl_json_clone(a, fl_json_get(template, "spec")));
	return o;
}
