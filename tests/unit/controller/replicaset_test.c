// SPDX-License-Identifier: Apache-2.0
#include "objects.h"

#include "controller/meta.h"
#include "controller/replicaset/plan.h"

#define NOW_NS 1750000000000000000

struct world {
	struct fl_arena a;
	struct fl_json *rs;
	struct fl_podview pods[200];
	size_t n;
	const char *failure;
	struct fl_rs_plan plan;
};

static void begin(struct world *w, int replicas)
{
	*w = (struct world){0};
	w->rs =
	    yaml(&w->a,
		 "{metadata: {name: web-abc, namespace: d, uid: ur, generation: 4}, spec: {replicas: %d, selector: "
		 "{matchLabels: {app: web}}, template: {metadata: {labels: {app: web, v: '1'}, annotations: {k: l}}, "
		 "spec: {nodeSelector: {a: b}}}}}",
		 replicas);
}

#define OWNED "ownerReferences: [{kind: ReplicaSet, name: web-abc, uid: ur, controller: true}]"

// meta and rest are further members.
static void add(struct world *w, const char *name, const char *meta, const char *node, const char *phase, bool ready)
{
	w->pods[w->n++] = fl_podview_read(yaml(
	    &w->a,
	    "{metadata: {name: %s, namespace: d, uid: u-%s, labels: {app: web}%s%s}, spec: {nodeName: '%s'}, status: "
	    "{phase: %s, conditions: [{type: Ready, status: '%s', lastTransitionTime: '2025-06-15T15:00:00Z'}]}}",
	    name, name, meta[0] ? ", " : "", meta, node, phase, ready ? "True" : "False"));
}

static void plan(struct world *w)
{
	struct fl_rs_in in = {.kind = &fl_rs_replicaset,
			      .rs = w->rs,
			      .pods = w->pods,
			      .n_pods = w->n,
			      .now_ns = NOW_NS,
			      .failure = w->failure};
	fl_rs_plan_deinit(&w->plan);
	fl_rs_plan_make(&w->a, &in, &w->plan);
}

static void end(struct world *w)
{
	fl_rs_plan_deinit(&w->plan);
	fl_arena_deinit(&w->a);
}

static void makes_what_is_missing(void **state)
{
	struct world w;
	begin(&w, 3);
	add(&w, "a", OWNED, "n1", "Running", true);
	add(&w, "b", OWNED, "n1", "Failed", false);                          // has ended: replaced
	add(&w, "c", OWNED ", deletionTimestamp: x", "n1", "Running", true); // is going: replaced
	plan(&w);
	assert_int_equal(w.plan.create, 2);
	assert_int_equal(w.plan.remove.n, 0);
	assert_is(
	    &w.a, w.plan.status,
	    "{replicas: 1, readyReplicas: 1, availableReplicas: 1, terminatingReplicas: 1, observedGeneration: 4}");
	assert_is(
	    &w.a, fl_rs_new_pod(&w.a, &fl_rs_replicaset, w.rs),
	    "{kind: Pod, apiVersion: v1, metadata: {generateName: web-abc-, namespace: d, labels: {app: web, v: '1'}, "
	    "annotations: {k: l}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-abc, uid: ur, "
	    "controller: true, blockOwnerDeletion: true}]}, spec: {nodeSelector: {a: b}}}");
	end(&w);
}

static void never_too_many_at_once(void **state)
{
	struct world w;
	begin(&w, 1000);
	plan(&w);
	assert_int_equal(w.plan.create, FL_RS_BURST);
	end(&w);
	begin(&w, 0);
	for (int i = 0; i < 150; i++)
		add(&w, fl_arena_printf(&w.a, "p%d", i), OWNED, "n", "Running", true);
	plan(&w);
	assert_int_equal(w.plan.remove.n, FL_RS_BURST);
	end(&w);
}

static void removes_the_least_loss_first(void **state)
{
	struct world w;
	static const char *const order[] = {"unbound", "pending",   "unready", "cheap", "crowded",
					    "fresh",   "restarted", "young",   "old-a", "old-b"};
	begin(&w, 0);
	add(&w, "old-b", OWNED ", creationTimestamp: '2025-06-15T10:00:00Z'", "n8", "Running", true);
	add(&w, "old-a", OWNED ", creationTimestamp: '2025-06-15T10:00:00Z'", "n9", "Running", true);
	add(&w, "young", OWNED ", creationTimestamp: '2025-06-15T11:00:00Z'", "n7", "Running", true);
	add(&w, "unbound", OWNED, "", "Pending", false);
	add(&w, "pending", OWNED, "n1", "Pending", false);
	add(&w, "unready", OWNED, "n2", "Running", false);
	add(&w, "cheap", OWNED ", annotations: {controller.kubernetes.io/pod-deletion-cost: '-5'}", "n3", "Running",
	    true);
	add(&w, "crowded", OWNED, "n2", "Running", true); // beside unready
	add(&w, "fresh", OWNED, "n5", "Running", true);
	add(&w, "restarted", OWNED, "n6", "Running", true);
	for (size_t i = 0; i < w.n; i++) {
		struct fl_json *status = fl_json_get(w.pods[i].tree, "status");
		if (!strcmp(w.pods[i].name, "fresh"))
			w.pods[i].ready_since_ns += 1000000000;
		if (!strcmp(w.pods[i].name, "restarted"))
			fl_json_set(&w.a, status, "containerStatuses", yaml(&w.a, "[{restartCount: 2}]"));
	}
	plan(&w);
	assert_int_equal(w.plan.remove.n, w.n);
	for (size_t i = 0; i < w.n; i++)
		assert_string_equal(w.pods[w.plan.remove.v[i]].name, order[i]);
	end(&w);
}

static void adopts_and_releases(void **state)
{
	struct world w;
	begin(&w, 2);
	add(&w, "orphan", "", "n", "Running", true);
	add(&w, "going", "deletionTimestamp: x", "n", "Running", true);
	add(&w, "ended", "", "n", "Succeeded", false);
	add(&w, "foreign", "ownerReferences: [{kind: X, name: x, uid: ux, controller: true}]", "n", "Running", true);
	w.pods[w.n++] = fl_podview_read(
	    yaml(&w.a,
		 "{metadata: {name: relabelled, namespace: d, uid: u9, labels: {app: other}, " OWNED "}, status: {}}"));
	plan(&w);
	assert_int_equal(w.plan.adopt.n, 1);
	assert_int_equal(w.plan.adopt.v[0], 0);
	assert_int_equal(w.plan.release.n, 1);
	assert_int_equal(w.plan.release.v[0], 4);
	assert_int_equal(w.plan.create, 1); // the orphan counts already
	fl_json_set_str(&w.a, fl_json_get(w.rs, "metadata"), "deletionTimestamp", "x");
	plan(&w);
	assert_int_equal(w.plan.adopt.n + w.plan.release.n + w.plan.create + w.plan.remove.n, 0);
	end(&w);
}

static void waits_for_min_ready_seconds(void **state)
{
	struct world w;
	begin(&w, 1);
	fl_json_set_int(&w.a, fl_json_get(w.rs, "spec"), "minReadySeconds", 30);
	add(&w, "a", OWNED, "n", "Running", true);
	w.pods[0].ready_since_ns = NOW_NS - 10 * 1000000000ll;
	plan(&w);
	assert_int_equal(fl_json_int(w.plan.status, "readyReplicas", 0), 1);
	assert_int_equal(fl_json_int(w.plan.status, "availableReplicas", 0), 0);
	assert_true(w.plan.wait_ns == 20 * 1000000000ll);
	w.pods[0].ready_since_ns = NOW_NS - 30 * 1000000000ll;
	plan(&w);
	assert_int_equal(fl_json_int(w.plan.status, "availableReplicas", 0), 1);
	assert_true(w.plan.wait_ns == 0);
	end(&w);
}

// Failed, made so many seconds ago.
static void add_failed(struct world *w, int64_t age_s)
{
	add(w, fl_arena_printf(&w->a, "f%zu", w->n), OWNED, "n", "Failed", false);
	w->pods[w->n - 1].created_ns = NOW_NS - age_s * 1000000000;
	w->pods[w->n - 1].ready_since_ns = 0; // refused by the node
}

static void pauses_after_pods_that_fail_at_once(void **state)
{
	struct world w;
	begin(&w, 2);
	add(&w, "runs", OWNED, "n", "Running", true);
	add_failed(&w, 0);
	add_failed(&w, 0);
	plan(&w);
	assert_int_equal(w.plan.create, 1);
	add_failed(&w, 0);
	plan(&w);
	assert_int_equal(w.plan.create, 0);
	assert_true(w.plan.wait_ns == 1 * 1000000000ll);
	w.pods[w.n - 1].created_ns = w.pods[1].created_ns = w.pods[2].created_ns = NOW_NS - 1000000000;
	plan(&w);
	assert_int_equal(w.plan.create, 1);
	assert_true(w.plan.wait_ns == 0);
	add_failed(&w, 1);
	add_failed(&w, 1); // five: four seconds
	plan(&w);
	assert_int_equal(w.plan.create, 0);
	assert_true(w.plan.wait_ns == 3 * 1000000000ll);
	while (w.n < 100)
		add_failed(&w, 10);
	plan(&w);
	assert_true(w.plan.wait_ns == 299 * 1000000000ll);
	fl_json_set_int(&w.a, fl_json_get(w.rs, "spec"), "replicas", 1);
	plan(&w); // nothing is missing
	assert_true(w.plan.wait_ns == 0);
	end(&w);
}

static void failures_of_long_life_or_long_ago_cost_no_pause(void **state)
{
	struct world w;
	begin(&w, 3);
	for (int i = 0; i < 20; i++)
		add_failed(&w, 601);
	for (int i = 0; i < 20; i++) { // evicted together, after a life
		add_failed(&w, 100);
		w.pods[w.n - 1].ready_since_ns = NOW_NS;
	}
	for (int i = 0; i < 20; i++) {
		add_failed(&w, 0);
		w.pods[w.n - 1].phase = "Succeeded";
	}
	plan(&w);
	assert_int_equal(w.plan.create, 3);
	assert_true(w.plan.wait_ns == 0);
	end(&w);
}

static void tells_of_failures(void **state)
{
	struct world w;
	begin(&w, 1);
	w.failure = "quota exceeded";
	plan(&w);
	const struct fl_json *c = fl_meta_condition(w.plan.status, "ReplicaFailure");
	assert_string_equal(fl_json_str(c, "reason"), "FailedCreate");
	assert_string_equal(fl_json_str(c, "message"), "quota exceeded");
	fl_json_set(&w.a, w.rs, "status", fl_json_clone(&w.a, w.plan.status));
	w.failure = "still";
	plan(&w); // one failure, told once
	assert_string_equal(fl_json_str(fl_meta_condition(w.plan.status, "ReplicaFailure"), "message"),
			    "quota exceeded");
	w.failure = NULL;
	plan(&w);
	assert_null(fl_json_get(w.plan.status, "conditions"));
	end(&w);
}

static void a_selector_of_everything_is_refused(void **state)
{
	struct world w;
	begin(&w, 3);
	fl_json_set(&w.a, fl_json_get(w.rs, "spec"), "selector", yaml(&w.a, "{}"));
	add(&w, "a", "", "n", "Running", true);
	plan(&w);
	assert_int_equal(w.plan.adopt.n + w.plan.create, 0);
	end(&w);
}

static void a_replicationcontroller_has_a_plain_selector(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_json *rc = yaml(
	    &a,
	    "{metadata: {name: web, namespace: d, uid: ur, generation: 2}, spec: {replicas: 3, selector: {app: web}, "
	    "template: {metadata: {labels: {app: web}}, spec: {nodeSelector: {a: b}}}}}");
	struct fl_podview pods[] = {
	    fl_podview_read(yaml(&a, "{metadata: {name: a, namespace: d, uid: u-a, labels: {app: web}}}")),
	    fl_podview_read(yaml(&a,
				 "{metadata: {name: b, namespace: d, uid: u-b, labels: {app: other}, ownerReferences: "
				 "[{kind: ReplicationController, name: web, uid: ur, controller: true}]}}")),
	    fl_podview_read(yaml(&a, "{metadata: {name: c, namespace: d, uid: u-c, labels: {app: other}}}")),
	};
	struct fl_rs_in in = {
	    .kind = &fl_rs_replicationcontroller, .rs = rc, .pods = pods, .n_pods = 3, .now_ns = NOW_NS};
	struct fl_rs_plan p;
	fl_rs_plan_make(&a, &in, &p);
	assert_int_equal(p.adopt.n, 1);
	assert_int_equal(p.adopt.v[0], 0);
	assert_int_equal(p.release.n, 1);
	assert_int_equal(p.release.v[0], 1);
	assert_int_equal(p.create, 2);
	assert_is(&a, p.status, "{replicas: 1, fullyLabeledReplicas: 1, observedGeneration: 2}");
	assert_is(&a, fl_json_path(fl_rs_new_pod(&a, in.kind, rc), "metadata", "ownerReferences", NULL),
		  "[{apiVersion: v1, kind: ReplicationController, name: web, uid: ur, controller: true, "
		  "blockOwnerDeletion: true}]");
	fl_rs_plan_deinit(&p);
	rc = yaml(&a, "{metadata: {name: web}, spec: {selector: {}}}");
	assert_null(fl_rs_selector(&a, in.kind, rc)); // everything: nothing may be taken
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(makes_what_is_missing),
	    cmocka_unit_test(a_replicationcontroller_has_a_plain_selector),
	    cmocka_unit_test(never_too_many_at_once),
	    cmocka_unit_test(removes_the_least_loss_first),
	    cmocka_unit_test(adopts_and_releases),
	    cmocka_unit_test(waits_for_min_ready_seconds),
	    cmocka_unit_test(pauses_after_pods_that_fail_at_once),
	    cmocka_unit_test(failures_of_long_life_or_long_ago_cost_no_pause),
	    cmocka_unit_test(tells_of_failures),
	    cmocka_unit_test(a_selector_of_everything_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
