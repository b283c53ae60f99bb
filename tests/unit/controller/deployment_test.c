// SPDX-License-Identifier: Apache-2.0
// A Deployment's life on a small stand-in for the server: plans are applied to objects, ReplicaSets get the status that
// their pods would give them, and what kubectl reads is looked at on the way.
#include "objects.h"

#include "api/selector.h"
#include "base/clock.h"
#include "controller/deployment/plan.h"
#include "controller/meta.h"
#include "json/patch.h"

#define START_NS 1750000000000000000 // some day; seconds count

struct world {
	struct fl_arena a;
	struct fl_json *d;
	struct fl_json *sets[16];
	size_t n;
	int64_t now_ns;
	bool stuck; // pods do not become ready
	unsigned writes;
	char events[1024];
	int64_t wait_ns;
};

static void begin(struct world *w, const char *spec)
{
	*w = (struct world){.now_ns = START_NS};
	w->d = yaml(&w->a,
		    "{metadata: {name: web, namespace: d, uid: ud, generation: 1, annotations: {note: x, "
		    "kubectl.kubernetes.io/last-applied-configuration: y}}, spec: %s}",
		    spec);
}

#define SPEC(more)                                                                                                     \
	"{replicas: 3, selector: {matchLabels: {app: web}}, progressDeadlineSeconds: 600, " more                       \
	"template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: one}]}}}"

static struct fl_json *find(struct world *w, const char *name)
{
	for (size_t i = 0; i < w->n; i++)
		if (fl_streq(fl_json_str(fl_json_get(w->sets[i], "metadata"), "name"), name))
			return w->sets[i];
	return NULL;
}

static void note(struct world *w, const struct fl_deploy_step *s)
{
	size_t at = strlen(w->events);
	if (s->from != s->to)
		snprintf(w->events + at, sizeof(w->events) - at, "%lld>%lld ", (long long)s->from, (long long)s->to);
}

static void apply(struct world *w, const struct fl_deploy_step *s)
{
	char time[FL_TIME_STRLEN];
	w->writes++;
	note(w, s);
	if (s->op == FL_DEPLOY_CREATE) {
		struct fl_json *o = fl_json_clone(&w->a, s->body), *m = fl_json_get(o, "metadata");
		assert_null(find(w, s->name));
		fl_json_set_str(&w->a, m, "uid", fl_arena_printf(&w->a, "u%zu", w->n));
		fl_json_set_int(&w->a, m, "generation", 1);
		fl_json_set_str(&w->a, m, "creationTimestamp", fl_time_format(w->now_ns, time));
		w->sets[w->n++] = o;
	} else if (s->op == FL_DEPLOY_PATCH) {
		struct fl_json *o = find(w, s->name), *patch = fl_json_clone(&w->a, s->body);
		fl_json_remove(fl_json_get(patch, "metadata"), "resourceVersion");
		fl_json_merge_patch(&w->a, o, patch);
	} else {
		for (size_t i = 0; i < w->n; i++)
			if (w->sets[i] == find(w, s->name)) {
				w->sets[i] = w->sets[--w->n];
				break;
			}
	}
}

// One pass of the controller. True when it wrote anything.
static bool pass(struct world *w)
{
	struct fl_deploy_set_in in_sets[16];
	struct fl_deploy_plan plan;
	unsigned before = w->writes;
	for (size_t i = 0; i < w->n; i++)
		in_sets[i] = (struct fl_deploy_set_in){
		    w->sets[i], fl_json_int(fl_json_get(w->sets[i], "status"), "replicas", 0) > 0};
	struct fl_deploy_in in = {.deployment = w->d, .sets = in_sets, .n_sets = w->n, .now_ns = w->now_ns};
	fl_deploy_plan_make(&w->a, &in, &plan);
	struct fl_json *status = fl_meta_status_patch(&w->a, fl_json_get(w->d, "status"), plan.status);
	for (size_t i = 0; i < plan.steps.n; i++)
		apply(w, &plan.steps.v[i]);
	if (plan.revision_patch) {
		fl_json_merge_patch(&w->a, w->d, plan.revision_patch);
		w->writes++;
	}
	if (status) {
		fl_json_merge_patch(&w->a, w->d, status);
		w->writes++;
	}
	w->wait_ns = plan.wait_ns;
	fl_deploy_plan_deinit(&plan);
	return w->writes > before;
}

// ReplicaSets reach their size at once.
static void pods_follow(struct world *w)
{
	for (size_t i = 0; i < w->n; i++) {
		int64_t size = fl_json_int(fl_json_get(w->sets[i], "spec"), "replicas", 0);
		struct fl_json *s = fl_json_ensure_object(&w->a, w->sets[i], "status");
		bool fresh = w->stuck && i == w->n - 1;
		fl_json_set_int(&w->a, s, "replicas", size);
		fl_json_set_int(&w->a, s, "readyReplicas", fresh ? 0 : size);
		fl_json_set_int(&w->a, s, "availableReplicas", fresh ? 0 : size);
		fl_json_set_int(&w->a, s, "observedGeneration",
				fl_json_int(fl_json_get(w->sets[i], "metadata"), "generation", 0));
	}
}

static void settle(struct world *w)
{
	for (int i = 0; i < 50; i++) {
		bool wrote = pass(w);
		pods_follow(w);
		w->now_ns += 1000000000;
		if (!wrote && !pass(w))
			return;
	}
	fail_msg("no end: %s", compact(&w->a, w->d));
}

static void set_image(struct world *w, const char *image)
{
	struct fl_json *m = fl_json_get(w->d, "metadata");
	fl_json_merge_patch(&w->a, w->d,
			    yaml(&w->a, "{spec: {template: {spec: {containers: [{name: c, image: %s}]}}}}", image));
	fl_json_set_int(&w->a, m, "generation", fl_json_int(m, "generation", 0) + 1);
}

static const char *condition(struct world *w, const char *type, const char *key)
{
	const char *v = fl_json_str(fl_meta_condition(fl_json_get(w->d, "status"), type), key);
	return v ? v : "(none)";
}

static int64_t count(struct world *w, const char *key)
{
	return fl_json_int(fl_json_get(w->d, "status"), key, 0);
}

static const char *revision(struct world *w, size_t set)
{
	return fl_meta_annotation(w->sets[set], FL_ANNOTATION_REVISION);
}

static void makes_its_first_set(void **state)
{
	struct world w;
	begin(&w, SPEC("minReadySeconds: 5, "));
	pass(&w);
	assert_int_equal(w.n, 1);
	struct fl_json *rs = w.sets[0], *m = fl_json_get(rs, "metadata");
	const char *hash = fl_meta_label(rs, "pod-template-hash");
	assert_non_null(hash);
	assert_string_equal(fl_json_str(m, "name"), fl_arena_printf(&w.a, "web-%s", hash));
	assert_is(&w.a, fl_json_get(m, "annotations"),
		  "{note: x, deployment.kubernetes.io/revision: '1', deployment.kubernetes.io/desired-replicas: '3', "
		  "deployment.kubernetes.io/max-replicas: '4'}");
	assert_is(&w.a, fl_json_get(m, "ownerReferences"),
		  "[{apiVersion: apps/v1, kind: Deployment, name: web, uid: ud, controller: true, "
		  "blockOwnerDeletion: true}]");
	assert_is(
	    &w.a, fl_json_get(rs, "spec"),
	    fl_arena_printf(&w.a,
			    "{replicas: 3, minReadySeconds: 5, selector: {matchLabels: {app: web, pod-template-hash: "
			    "%s}}, template: {metadata: {labels: {app: web, pod-template-hash: %s}}, spec: "
			    "{containers: [{name: c, image: one}]}}}",
			    hash, hash));
	assert_string_equal(fl_meta_annotation(w.d, FL_ANNOTATION_REVISION), "1");
	assert_string_equal(condition(&w, "Progressing", "reason"), "NewReplicaSetCreated");
	assert_string_equal(condition(&w, "Available", "status"), "False");
	assert_int_equal(count(&w, "unavailableReplicas"), 3);
	settle(&w);
	assert_string_equal(condition(&w, "Progressing", "reason"), "NewReplicaSetAvailable");
	assert_string_equal(condition(&w, "Available", "reason"), "MinimumReplicasAvailable");
	assert_int_equal(count(&w, "availableReplicas"), 3);
	assert_int_equal(count(&w, "observedGeneration"), 1);
	assert_null(fl_json_get(fl_json_get(w.d, "status"), "unavailableReplicas"));
	assert_string_equal(w.events, "0>3 ");
	fl_arena_deinit(&w.a);
}

static void rolls_and_rolls_back(void **state)
{
	struct world w;
	begin(&w, SPEC(""));
	settle(&w);
	w.events[0] = 0;
	set_image(&w, "two");
	settle(&w);
	assert_int_equal(w.n, 2);
	assert_string_equal(w.events, "0>1 3>2 1>2 2>1 2>3 1>0 ");
	assert_string_equal(revision(&w, 0), "1");
	assert_string_equal(revision(&w, 1), "2");
	assert_string_equal(fl_meta_annotation(w.d, FL_ANNOTATION_REVISION), "2");
	assert_int_equal(count(&w, "updatedReplicas"), 3);
	assert_int_equal(count(&w, "observedGeneration"), 2);

	set_image(&w, "one"); // kubectl rollout undo
	settle(&w);
	assert_int_equal(w.n, 2);
	assert_string_equal(revision(&w, 0), "3");
	assert_string_equal(fl_meta_annotation(w.sets[0], "deployment.kubernetes.io/revision-history"), "1");
	assert_string_equal(revision(&w, 1), "2");
	assert_string_equal(fl_meta_annotation(w.d, FL_ANNOTATION_REVISION), "3");
	set_image(&w, "two");
	settle(&w);
	set_image(&w, "one");
	settle(&w);
	assert_string_equal(revision(&w, 0), "5");
	assert_string_equal(fl_meta_annotation(w.sets[0], "deployment.kubernetes.io/revision-history"), "1,3");
	fl_arena_deinit(&w.a);
}

static void keeps_so_much_history(void **state)
{
	struct world w;
	begin(&w, SPEC("revisionHistoryLimit: 2, "));
	settle(&w);
	for (int i = 0; i < 4; i++) {
		set_image(&w, fl_arena_printf(&w.a, "image-%d", i));
		settle(&w);
	}
	assert_int_equal(w.n, 3); // the new one and two old ones: 5, 4, 3
	unsigned seen = 0;
	for (size_t i = 0; i < w.n; i++)
		seen |= 1u << atoi(revision(&w, i));
	assert_int_equal(seen, 1u << 5 | 1u << 4 | 1u << 3);
	fl_arena_deinit(&w.a);
}

static void pauses_and_resumes(void **state)
{
	struct world w;
	begin(&w, SPEC(""));
	settle(&w);
	fl_json_set_bool(&w.a, fl_json_get(w.d, "spec"), "paused", true);
	set_image(&w, "two");
	settle(&w);
	assert_int_equal(w.n, 1);
	assert_string_equal(condition(&w, "Progressing", "reason"), "DeploymentPaused");
	assert_string_equal(condition(&w, "Progressing", "status"), "Unknown");
	fl_json_set_int(&w.a, fl_json_get(w.d, "spec"), "replicas", 5);
	settle(&w);
	assert_int_equal(fl_json_int(fl_json_get(w.sets[0], "spec"), "replicas", 0), 5); // scaling goes on
	assert_string_equal(fl_meta_annotation(w.sets[0], "deployment.kubernetes.io/max-replicas"), "7");
	fl_json_set_bool(&w.a, fl_json_get(w.d, "spec"), "paused", false);
	settle(&w);
	assert_int_equal(w.n, 2);
	assert_int_equal(count(&w, "updatedReplicas"), 5);
	assert_string_equal(condition(&w, "Progressing", "reason"), "NewReplicaSetAvailable");
	fl_arena_deinit(&w.a);
}

static void scales_alone_is_no_rollout(void **state)
{
	struct world w;
	begin(&w, SPEC(""));
	settle(&w);
	w.events[0] = 0;
	fl_json_set_int(&w.a, fl_json_get(w.d, "spec"), "replicas", 1);
	settle(&w);
	assert_string_equal(w.events, "3>1 ");
	assert_int_equal(w.n, 1);
	assert_string_equal(fl_meta_annotation(w.sets[0], "deployment.kubernetes.io/desired-replicas"), "1");
	fl_json_set_int(&w.a, fl_json_get(w.d, "spec"), "replicas", 0);
	settle(&w);
	assert_int_equal(count(&w, "replicas"), 0);
	fl_arena_deinit(&w.a);
}

static void recreate_stops_before_it_starts(void **state)
{
	struct world w;
	begin(&w, SPEC("strategy: {type: Recreate}, "));
	settle(&w);
	w.events[0] = 0;
	set_image(&w, "two");
	pass(&w);
	assert_string_equal(w.events, "3>0 ");
	assert_int_equal(w.n, 1);
	pass(&w); // old pods are still there
	assert_int_equal(w.n, 1);
	settle(&w);
	assert_string_equal(w.events, "3>0 0>3 ");
	assert_int_equal(count(&w, "availableReplicas"), 3);
	fl_arena_deinit(&w.a);
}

static void tells_of_a_rollout_that_is_stuck(void **state)
{
	struct world w;
	begin(&w, SPEC(""));
	settle(&w);
	w.stuck = true;
	set_image(&w, "broken");
	settle(&w);
	assert_int_equal(count(&w, "updatedReplicas"), 1);
	assert_int_equal(count(&w, "availableReplicas"), 3);
	assert_string_equal(condition(&w, "Available", "status"), "True");
	assert_string_equal(condition(&w, "Progressing", "reason"), "ReplicaSetUpdated");
	assert_true(w.wait_ns > 500000000000 && w.wait_ns < 602000000000); // when to look again
	w.now_ns += w.wait_ns;
	pass(&w);
	assert_string_equal(condition(&w, "Progressing", "reason"), "ProgressDeadlineExceeded");
	assert_string_equal(condition(&w, "Progressing", "status"), "False");
	assert_int_equal(w.wait_ns, 0);
	assert_false(pass(&w));
	w.stuck = false;
	settle(&w);
	assert_string_equal(condition(&w, "Progressing", "reason"), "NewReplicaSetAvailable");
	fl_arena_deinit(&w.a);
}

static void passes_failures_of_pods_on(void **state)
{
	struct world w;
	begin(&w, SPEC(""));
	settle(&w);
	fl_json_merge_patch(&w.a, w.sets[0],
			    yaml(&w.a,
				 "{status: {conditions: [{type: ReplicaFailure, status: 'True', reason: FailedCreate, "
				 "message: quota}]}}"));
	pass(&w);
	assert_string_equal(condition(&w, "ReplicaFailure", "message"), "quota");
	fl_json_remove(fl_json_get(w.sets[0], "status"), "conditions");
	pass(&w);
	assert_string_equal(condition(&w, "ReplicaFailure", "message"), "(none)");
	fl_arena_deinit(&w.a);
}

static void takes_up_a_set_that_is_there(void **state)
{
	struct world w;
	begin(&w, SPEC(""));
	settle(&w);
	fl_json_remove(w.d, "status"); // deleted with its sets orphaned, and created again
	fl_json_remove(fl_json_path(w.d, "metadata", "annotations", NULL), FL_ANNOTATION_REVISION);
	w.events[0] = 0;
	pass(&w);
	assert_int_equal(w.n, 1);
	assert_string_equal(w.events, "");
	assert_string_equal(fl_meta_annotation(w.d, FL_ANNOTATION_REVISION), "1");
	settle(&w);
	assert_string_equal(condition(&w, "Progressing", "reason"), "NewReplicaSetAvailable");
	fl_arena_deinit(&w.a);
}

static void a_deleted_one_is_left_alone(void **state)
{
	struct world w;
	begin(&w, SPEC(""));
	settle(&w);
	fl_json_set_str(&w.a, fl_json_get(w.d, "metadata"), "deletionTimestamp", "2026-01-01T00:00:00Z");
	w.events[0] = 0;
	set_image(&w, "two");
	settle(&w);
	assert_int_equal(w.n, 1);
	assert_string_equal(w.events, "");
	fl_arena_deinit(&w.a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(makes_its_first_set),
	    cmocka_unit_test(rolls_and_rolls_back),
	    cmocka_unit_test(keeps_so_much_history),
	    cmocka_unit_test(pauses_and_resumes),
	    cmocka_unit_test(scales_alone_is_no_rollout),
	    cmocka_unit_test(recreate_stops_before_it_starts),
	    cmocka_unit_test(tells_of_a_rollout_that_is_stuck),
	    cmocka_unit_test(passes_failures_of_pods_on),
	    cmocka_unit_test(takes_up_a_set_that_is_there),
	    cmocka_unit_test(a_deleted_one_is_left_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
