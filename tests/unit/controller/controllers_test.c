// SPDX-License-Identifier: Apache-2.0
// What comes and changes: pods, their endpoints, new namespaces; and which of several processes makes it.
#include "controllers_world.h"

struct tally {
	const char *service;
	unsigned ready, slices, all; // endpoints that are ready; slices; endpoints
};

static bool count_slice(void *arg, const struct fl_object *o)
{
	struct tally *t = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_json *tree = fl_object_tree(o, &a);
	if (!fl_streq(fl_meta_label(tree, "kubernetes.io/service-name"), t->service))
		return true;
	t->slices++;
	t->all += fl_json_count(fl_json_get(tree, "endpoints"));
	fl_json_each (ep, fl_json_get(tree, "endpoints"))
		t->ready += fl_json_bool(fl_json_get(ep, "conditions"), "ready", false);
	return true;
}

// Of the first slice with a ready endpoint: what its annotation is to be, and is.
static char trigger_wanted[FL_TIME_STRLEN], trigger_told[FL_TIME_STRLEN];
// A slice that is written tells of no change before this one.
static const char *trigger_after;

static const char *trigger_of(const struct fl_json *slice)
{
	const char *time = fl_meta_annotation(slice, "endpoints.kubernetes.io/last-change-trigger-time");
	return time ? time : "none";
}

static void on_slice(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_json *tree = now ? fl_object_tree(now, &a) : NULL;
	if (trigger_after && now && strcmp(trigger_of(tree), trigger_after) <= 0)
		fail_msg("a slice was written at %s for a change of %s", trigger_after, trigger_of(tree));
	if (trigger_told[0])
		return;
	fl_json_each (ep, fl_json_get(tree, "endpoints")) {
		const char *pod = fl_json_str_or(fl_json_get(ep, "targetRef"), "name", ""),
			   *since = fl_map_get(&ready_since, pod);
		if (!fl_json_bool(fl_json_get(ep, "conditions"), "ready", false) || !since)
			continue;
		if (!trigger_wanted[0] || strcmp(since, trigger_wanted) < 0)
			snprintf(trigger_wanted, sizeof(trigger_wanted), "%s", since);
	}
	if (trigger_wanted[0])
		snprintf(trigger_told, sizeof(trigger_told), "%s", trigger_of(tree));
}

static struct tally tally(const char *ns, const char *service)
{
	struct tally t = {.service = service};
	fl_informer_each(slices, ns, count_slice, &t);
	return t;
}

static size_t addresses(const char *ns, const char *name)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_object *o = fl_informer_find(endpoints, ns, name);
	size_t n = 0;
	if (o)
		fl_json_each (s, fl_json_get(fl_object_tree(o, &a), "subsets"))
			n += fl_json_count(fl_json_get(s, "addresses"));
	return n;
}

// --- tests; each leaves what the next one builds on ---

static void pods_wait_for_a_node(void **state)
{
	create(&fl_gvr_services, "default",
	       "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80, "
	       "targetPort: web}]}}");
	create_deployment("default", "web", 3);
	wait_for(status_count("default", "web", "replicas") == 3 && tally("default", "web").slices == 1);
	assert_int_equal(tally("default", "web").ready, 0);
	add_node();
	wait_for(rolled_out("default", "web", 3));
	wait_for(tally("default", "web").ready == 3 && addresses("default", "web") == 3);
	assert_int_equal(how_many(pods, "default"), 3);
	assert_string_equal(trigger_told, trigger_wanted); // the earliest that the slice tells of
}

static void rolls(void **state)
{
	patch(&fl_gvr_deployments, "default", "web",
	      "{spec: {replicas: 5, template: {spec: {containers: [{name: c, image: two, ports: [{name: web, "
	      "containerPort: 8080}]}]}}}}");
	wait_for(rolled_out("default", "web", 5));
	wait_for(how_many(pods, "default") == 5 && tally("default", "web").ready == 5);
	assert_int_equal(how_many(sets, "default"), 2);
}

static void goes_on_after_the_server_was_killed(void **state)
{
	end_process(apiserver, SIGKILL, false);
	start_apiserver();
	patch(&fl_gvr_deployments, "default", "web", "{spec: {replicas: 2}}");
	wait_for(rolled_out("default", "web", 2));
	wait_for(how_many(pods, "default") == 2 && tally("default", "web").ready == 2);
}

struct state { // of a Service's endpoints
	uint64_t rvs;
	char trigger[FL_TIME_STRLEN];
};

static bool add_state(void *arg, const struct fl_object *o)
{
	struct state *s = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_json *tree = fl_object_tree(o, &a);
	if (!fl_streq(fl_meta_label(tree, "kubernetes.io/service-name"), "web"))
		return true;
	s->rvs += o->rv;
	snprintf(s->trigger, sizeof(s->trigger), "%s", trigger_of(tree));
	return true;
}

static struct state state_of_web(void)
{
	struct state s = {.rvs = fl_informer_find(endpoints, "default", "web")->rv};
	fl_informer_each(slices, "default", add_state, &s);
	return s;
}

static void goes_on_after_its_own_end(void **state)
{
	wait_for(tally("default", "web").all == 2 && addresses("default", "web") == 2);
	struct state before = state_of_web();
	end_process(controllers, SIGKILL, false);
	controllers = spawn(run_controllers);
	create(&fl_gvr_services, "default",
	       "{apiVersion: v1, kind: Service, metadata: {name: mark}, spec: {selector: {app: none}, ports: [{port: "
	       "80}]}}");
	wait_for(tally("default", "mark").slices == 1 && fl_informer_find(endpoints, "default", "mark"));
	struct state after = state_of_web();
	assert_true(before.rvs == after.rvs); // nothing is written that is right already
	delete (&fl_gvr_services, "default", "mark", NULL);

	AUTO_FREE char *known = fl_strdup(last_ready);
	wait_for(!tally("default", "mark").slices);
	trigger_after = known;
	end_process(controllers, SIGKILL, false);
	fl_informer_each(pods, "default", end_pod, NULL); // so that there is something to write at once
	wait_for(!how_many(pods, "default"));
	patch(&fl_gvr_deployments, "default", "web", "{spec: {replicas: 4}}");
	controllers = spawn(run_controllers);
	wait_for(rolled_out("default", "web", 4));
	wait_for(tally("default", "web").ready == 4 && addresses("default", "web") == 4);
	after = state_of_web();
	assert_true(strcmp(after.trigger, known) > 0 && strcmp(after.trigger, last_ready) <= 0); // of the new pods
	trigger_after = NULL;
}

static void orphans_and_adopts(void **state)
{
	delete (&fl_gvr_deployments, "default", "web", "Orphan");
	wait_for(!fl_informer_find(deployments, "default", "web"));
	assert_int_equal(how_many(sets, "default"), 2);
	assert_int_equal(how_many(pods, "default"), 4);
	create_deployment("default", "web", 4); // its template is the older set's
	wait_for(rolled_out("default", "web", 4));
	assert_int_equal(how_many(sets, "default"), 2);
}

static void deletes_in_the_foreground(void **state)
{
	delete (&fl_gvr_deployments, "default", "web", "Foreground");
	wait_for(!fl_informer_find(deployments, "default", "web"));
	wait_for(!how_many(sets, "default") && !how_many(pods, "default"));
	wait_for(tally("default", "web").slices == 1 && !tally("default", "web").ready);
	delete (&fl_gvr_services, "default", "web", NULL);
	wait_for(!tally("default", "web").slices && !fl_informer_find(endpoints, "default", "web"));
}

static void furnishes_namespaces(void **state)
{
	wait_for(fl_informer_find(accounts, "kube-system", "default") && has_certificate("kube-system"));
	create(&fl_gvr_namespaces, NULL, "{apiVersion: v1, kind: Namespace, metadata: {name: new}}");
	wait_for(fl_informer_find(accounts, "new", "default") && has_certificate("new"));
	AUTO_FREE char *uid = fl_strdup(fl_informer_find(accounts, "new", "default")->uid);
	delete (&fl_gvr_serviceaccounts, "new", "default", NULL);
	const struct fl_object *o;
	wait_for((o = fl_informer_find(accounts, "new", "default")) && strcmp(o->uid, uid) != 0);
	delete (&fl_gvr_configmaps, "new", "kube-root-ca.crt", NULL);
	wait_for(has_certificate("new"));
	patch(&fl_gvr_configmaps, "new", "kube-root-ca.crt", "{data: {ca.crt: forged, more: x}}");
	wait_for(has_certificate("new"));
	delete (&fl_gvr_namespaces, NULL, "new", NULL);
	wait_for(!fl_informer_find(namespaces, "", "new"));
}

static int64_t rc_count(const char *name, const char *key)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_object *o = fl_informer_find(rcs, "default", name);
	return o ? fl_json_int(fl_json_get(fl_object_tree(o, &a), "status"), key, 0) : -1;
}

static void replicates(void **state)
{
	create(&fl_gvr_pods, "default",
	       "{apiVersion: v1, kind: Pod, metadata: {name: stray, labels: {app: rc}}, spec: {containers: [{name: c, "
	       "image: "
	       "one}]}}");
	create(&fl_gvr_replicationcontrollers, "default",
	       "{apiVersion: v1, kind: ReplicationController, metadata: {name: rc}, spec: {replicas: 3, template: "
	       "{metadata: "
	       "{labels: {app: rc}}, spec: {containers: [{name: c, image: one}]}}}}");
	wait_for(rc_count("rc", "availableReplicas") == 3);
	assert_int_equal(how_many(pods, "default"), 3);
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_json *ref = fl_meta_controller(fl_object_tree(fl_informer_find(pods, "default", "stray"), &a));
	assert_string_equal(fl_json_str_or(ref, "kind", ""), "ReplicationController");
	patch(&fl_gvr_replicationcontrollers, "default", "rc", "{spec: {replicas: 1}}");
	wait_for(rc_count("rc", "replicas") == 1 && how_many(pods, "default") == 1);
	delete (&fl_gvr_replicationcontrollers, "default", "rc", "Background");
	wait_for(!how_many(pods, "default"));
}

static void mirrors_endpoints_made_by_hand(void **state)
{
	create(&fl_gvr_endpoints, "default",
	       "{apiVersion: v1, kind: Endpoints, metadata: {name: hand}, subsets: [{addresses: [{ip: 198.51.100.5}], "
	       "ports: "
	       "[{port: 80}]}]}");
	create(&fl_gvr_services, "default",
	       "{apiVersion: v1, kind: Service, metadata: {name: hand}, spec: {ports: [{port: 80}]}}");
	wait_for(tally("default", "hand").slices == 1 && tally("default", "hand").ready == 1);
	patch(&fl_gvr_endpoints, "default", "hand",
	      "{subsets: [{addresses: [{ip: 198.51.100.5}, {ip: 198.51.100.6}], ports: [{port: 80}]}]}");
	wait_for(tally("default", "hand").ready == 2);
	patch(&fl_gvr_endpoints, "default", "hand",
	      "{metadata: {labels: {endpointslice.kubernetes.io/skip-mirror: 'true'}}}");
	wait_for(!tally("default", "hand").slices);
	patch(&fl_gvr_endpoints, "default", "hand",
	      "{metadata: {labels: {endpointslice.kubernetes.io/skip-mirror: null}}}");
	wait_for(tally("default", "hand").ready == 2);
	delete (&fl_gvr_services, "default", "hand", NULL);
	wait_for(!tally("default", "hand").slices && !fl_informer_find(endpoints, "default", "hand"));
}

static const struct fl_json *lease(struct fl_arena *a)
{
	const struct fl_object *o = fl_informer_find(leases, "kube-system", "fairlead-controllers");
	return o ? fl_json_get(fl_object_tree(o, a), "spec") : NULL;
}

static bool leads(const char *holder, int64_t transitions)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_json *l = lease(&a);
	return (!holder || fl_streq(fl_json_str(l, "holderIdentity"), holder)) &&
	       fl_json_int(l, "leaseTransitions", 0) == transitions;
}

// The first leads. It is halted, and the second takes over; the first wakes, finds that out and ends. It comes again,
// as a candidate, and takes over when the second is killed. Told to end it gives its Lease back, and another leads.
static void one_of_two_acts(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	int status;
	assert_int_equal(fl_json_int(lease(&a), "leaseTransitions", -1), 0); // its own restarts changed no holder
	AUTO_FREE char *first = fl_strdup(fl_json_str_or(lease(&a), "holderIdentity", ""));
	end_process(controllers, SIGTERM, true);
	wait_for(leads("", 0));
	lease_s = 4;
	controllers = spawn(run_controllers);
	wait_for(fl_json_int(lease(&a), "leaseDurationSeconds", 0) == 4);
	assert_true(leads(first, 1));
	pid_t second = spawn(run_controllers);
	create_deployment("default", "twin", 1);
	wait_for(rolled_out("default", "twin", 1));
	kill(controllers, SIGSTOP);
	wait_for(leads(NULL, 2));
	assert_false(leads(first, 2));
	patch(&fl_gvr_deployments, "default", "twin", "{spec: {replicas: 2}}");
	wait_for(rolled_out("default", "twin", 2));
	kill(controllers, SIGCONT);
	assert_int_equal(waitpid(controllers, &status, 0), controllers);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	assert_false(leads(first, 2));
	controllers = spawn(run_controllers);
	end_process(second, SIGKILL, false);
	patch(&fl_gvr_deployments, "default", "twin", "{spec: {replicas: 3}}");
	wait_for(leads(first, 3));
	wait_for(rolled_out("default", "twin", 3));

	end_process(controllers, SIGTERM, true);
	wait_for(leads("", 3));
	controllers = spawn(run_controllers);
	wait_for(leads(first, 4));
	second = spawn(run_controllers);
	create_deployment("default", "heir", 1);
	wait_for(rolled_out("default", "heir", 1));
	end_process(controllers, SIGTERM, true);
	controllers = second;
	patch(&fl_gvr_deployments, "default", "heir", "{spec: {replicas: 2}}");
	wait_for(leads(NULL, 5) && !leads(first, 5) && !leads("", 5));
	wait_for(rolled_out("default", "heir", 2));
}

static int start(void **state)
{
	return start_world(on_slice);
}

static int stop(void **state)
{
	return stop_world();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pods_wait_for_a_node),
	    cmocka_unit_test(rolls),
	    cmocka_unit_test(goes_on_after_the_server_was_killed),
	    cmocka_unit_test(goes_on_after_its_own_end),
	    cmocka_unit_test(orphans_and_adopts),
	    cmocka_unit_test(deletes_in_the_foreground),
	    cmocka_unit_test(furnishes_namespaces),
	    cmocka_unit_test(replicates),
	    cmocka_unit_test(mirrors_endpoints_made_by_hand),
	    cmocka_unit_test(one_of_two_acts),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
