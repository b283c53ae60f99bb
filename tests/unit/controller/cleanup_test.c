// SPDX-License-Identifier: Apache-2.0
// What goes: garbage, evicted pods, ended ones, the content of namespaces.
#include "controllers_world.h"

// A ConfigMap of that name with such owners: "kind/name/uid ...".
static void create_owned(const char *name, const char *owners, const char *finalizer)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	AUTO_FREE char *list = fl_strdup(owners);
	fl_buf_printf(&b, "{apiVersion: v1, kind: ConfigMap, metadata: {name: %s, finalizers: [%s], ownerReferences: [",
		      name, finalizer);
	for (char *rest = list, *one; (one = strsep(&rest, " "));) {
		const char *kind = strsep(&one, "/"), *owner = strsep(&one, "/");
		fl_buf_printf(&b, "{apiVersion: v1, kind: %s, name: %s, uid: %s, blockOwnerDeletion: true},", kind,
			      owner, one);
	}
	fl_buf_puts(&b, "]}}");
	create(&fl_gvr_configmaps, "default", b.data);
}

static bool is_there(const char *name)
{
	return fl_informer_find(maps, "default", name) != NULL;
}

static char *create_owner(const char *name)
{
	AUTO_FREE char *text = fl_asprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: %s}}", name);
	create(&fl_gvr_configmaps, "default", text);
	return owner_ref(maps, "ConfigMap", "default", name);
}

// New objects whose owners stand are no work for the collector; it must see them all the same when an owner goes.
static void collects_what_a_standing_owner_leaves(void **state)
{
	AUTO_FREE char *one = create_owner("one"), *two = create_owner("two"), *both = fl_asprintf("%s %s", one, two);
	create_owned("of-one", one, "");
	create_owned("of-both", both, "");
	create(&fl_gvr_nodes, NULL, "{apiVersion: v1, kind: Node, metadata: {name: n2}, spec: {unschedulable: true}}");
	AUTO_FREE char *node = owner_ref(nodes, "Node", "", "n2");
	create_owned("of-node", node, "");
	delete (&fl_gvr_configmaps, "default", "one", "Background");
	wait_for(!is_there("of-one"));
	assert_true(is_there("of-both") && is_there("of-node"));
	delete (&fl_gvr_configmaps, "default", "two", "Background");
	wait_for(!is_there("of-both"));
	delete (&fl_gvr_nodes, NULL, "n2", NULL);
	wait_for(!is_there("of-node"));
}

static void collects_what_comes_too_late(void **state)
{
	AUTO_FREE char *was = create_owner("one");
	delete (&fl_gvr_configmaps, "default", "one", "Background");
	create_owned("late", was, "");
	wait_for(!fl_informer_find(maps, "default", "one"));
	AUTO_FREE char *is = create_owner("one"); // under its name, another
	create_owned("of-another", was, "");
	create_owned("stays", is, "");
	wait_for(!is_there("late") && !is_there("of-another"));

	// The owner waits in the foreground for a dependent that waits for somebody else; what comes meanwhile goes.
	create_owned("blocks", is, "example.org/slow");
	delete (&fl_gvr_configmaps, "default", "one", "Foreground");
	wait_for(!is_there("stays"));
	create_owned("meanwhile", is, "");
	wait_for(!is_there("meanwhile"));
	assert_true(is_there("one") && is_there("blocks"));
	patch(&fl_gvr_configmaps, "default", "blocks", "{metadata: {finalizers: null}}");
	wait_for(!is_there("one") && !is_there("blocks"));
}

// Each blocks the next, and the last the first.
static void goes_in_a_circle(void **state)
{
	AUTO_FREE char *c = create_owner("c");
	create_owned("b", c, "");
	AUTO_FREE char *b = owner_ref(maps, "ConfigMap", "default", "b");
	create_owned("a", b, "");
	AUTO_FREE char *a = owner_ref(maps, "ConfigMap", "default", "a");
	AUTO_FREE char *closes = fl_asprintf("{metadata: {ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: a, "
					     "uid: %s, blockOwnerDeletion: true}]}}",
					     strrchr(a, '/') + 1);
	patch(&fl_gvr_configmaps, "default", "c", closes);
	delete (&fl_gvr_configmaps, "default", "a", "Foreground");
	wait_for(!is_there("a") && !is_there("b") && !is_there("c"));
}

// The dependent's event and the owner's end, each way round and at once.
static void collects_what_is_made_while_its_owner_goes(void **state)
{
	enum { ROUNDS = 20 };
	for (unsigned i = 0; i < ROUNDS; i++) {
		AUTO(fl_arena_deinit) struct fl_arena a = {0};
		AUTO_FREE char *name = fl_asprintf("racer%u", i), *owner = create_owner(name);
		struct answer made[2] = {0}, gone = {0};
		for (unsigned k = 0; k < 2; k++) {
			struct fl_json *o =
			    yaml(&a,
				 "{apiVersion: v1, kind: ConfigMap, metadata: {name: r%u-%u, "
				 "ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: %s, uid: %s}]}}",
				 i, k, name, strrchr(owner, '/') + 1);
			if (k)
				fl_client_delete(client, &fl_gvr_configmaps, "default", name, NULL, -1, "Background",
						 on_answer, &gone, NULL);
			fl_client_create(client, &fl_gvr_configmaps, "default", o, on_answer, &made[k], NULL);
		}
		done_well(&made[0]);
		done_well(&gone);
		done_well(&made[1]);
	}
	wait_for(how_many(maps, "default") == 1);
	assert_true(has_certificate("default"));
}

// References that lead nowhere have the uid of an owner that stands: they go, and what is rightly its own stays.
static void believes_no_wrong_reference(void **state)
{
	AUTO_FREE char *owner = create_owner("one"),
		       *misnamed = fl_asprintf("ConfigMap/no-such%s", strrchr(owner, '/'));
	create_owned("before", owner, "");
	create_owned("misnamed", misnamed, "");
	wait_for(!is_there("misnamed"));
	create(&fl_gvr_namespaces, NULL, "{apiVersion: v1, kind: Namespace, metadata: {name: far}}");
	AUTO_FREE char *text = fl_asprintf(
	    "{apiVersion: v1, kind: ConfigMap, metadata: {name: stranger, ownerReferences: [{apiVersion: v1, kind: "
	    "ConfigMap, name: one, uid: %s}]}}",
	    strrchr(owner, '/') + 1);
	create(&fl_gvr_configmaps, "far", text);
	wait_for(!fl_informer_find(maps, "far", "stranger"));
	create_owned("after", owner, "");
	patch(&fl_gvr_configmaps, "default", "before", "{metadata: {finalizers: [example.org/slow]}}"); // judged anew
	create_owned("misnamed", misnamed, ""); // and so are both before this one
	wait_for(!is_there("misnamed"));
	assert_true(is_there("after"));
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	assert_false(fl_meta_deleting(fl_object_tree(fl_informer_find(maps, "default", "before"), &a)));
	patch(&fl_gvr_configmaps, "default", "before", "{metadata: {finalizers: null}}");
	delete (&fl_gvr_namespaces, NULL, "far", NULL);
	delete (&fl_gvr_configmaps, "default", "one", NULL);
	wait_for(!is_there("before") && !is_there("after") && !fl_informer_find(namespaces, "", "far"));
}

static const struct fl_json *taint(struct fl_arena *a, const char *key)
{
	const struct fl_object *o = fl_informer_find(nodes, "", "n1");
	fl_json_each (t, fl_json_path(fl_object_tree(o, a), "spec", "taints", NULL))
		if (fl_streq(fl_json_str(t, "key"), key))
			return t;
	return NULL;
}

static bool has_taint(const char *key, bool with_time)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_json *t = taint(&a, key);
	return t && (!with_time || fl_json_str(t, "timeAdded"));
}

// As kubectl taint and kubectl cordon write them.
static void evicts_by_taints(void **state)
{
	static const char pod[] = "{apiVersion: v1, kind: Pod, metadata: {name: %s}, spec: {nodeName: n1, tolerations: "
				  "[%s], containers: [{name: c, image: one}]}}";
	AUTO_FREE char *goes = fl_asprintf(pod, "goes", ""),
		       *stays = fl_asprintf(pod, "stays",
					    "{key: k, operator: Exists, effect: NoExecute, tolerationSeconds: 300}");
	create(&fl_gvr_pods, "default", goes);
	create(&fl_gvr_pods, "default", stays);
	wait_for(how_many(pods, "default") == 2);
	patch(&fl_gvr_nodes, NULL, "n1", "{spec: {taints: [{key: k, value: v, effect: NoExecute}]}}");
	wait_for(!fl_informer_find(pods, "default", "goes") && has_taint("k", true));
	patch(&fl_gvr_nodes, NULL, "n1", "{spec: {unschedulable: true}}");
	wait_for(has_taint("node.kubernetes.io/unschedulable", false));
	patch(&fl_gvr_nodes, NULL, "n1", "{spec: {unschedulable: null}}");
	wait_for(!has_taint("node.kubernetes.io/unschedulable", false));
	assert_true(has_taint("k", true));
	assert_false(is_being_deleted(pods, "default", "stays")); // it was looked at three times by now
	patch(&fl_gvr_nodes, NULL, "n1", "{spec: {taints: null}}");
	delete (&fl_gvr_pods, "default", "stays", NULL);
	wait_for(!how_many(pods, "default"));
}

static bool has_remaining(const char *ns, const char *what)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_object *o = fl_informer_find(namespaces, "", ns);
	const struct fl_json *c =
	    o ? fl_meta_condition(fl_json_get(fl_object_tree(o, &a), "status"), "NamespaceContentRemaining") : NULL;
	return strstr(fl_json_str_or(c, "message", ""), what) != NULL;
}

// The pods go first, and all else stays as it is until they have gone.
static void empties_a_namespace(void **state)
{
	create(&fl_gvr_namespaces, NULL, "{apiVersion: v1, kind: Namespace, metadata: {name: team}}");
	create(&fl_gvr_configmaps, "team", "{apiVersion: v1, kind: ConfigMap, metadata: {name: cm}}");
	create_deployment("team", "app", 2);
	wait_for(rolled_out("team", "app", 2));
	node_works = false;
	delete (&fl_gvr_namespaces, NULL, "team", NULL);
	wait_for(has_remaining("team", "pods. has 2 resource instances"));
	assert_false(is_being_deleted(maps, "team", "cm"));
	assert_false(is_being_deleted(deployments, "team", "app"));
	node_works = true;
	fl_informer_each(pods, "team", end_pod, NULL);
	wait_for(!fl_informer_find(namespaces, "", "team"));
	wait_for(!how_many(pods, "team") && !how_many(sets, "team") && !how_many(deployments, "team"));
}

// Two that wait for each other, since both were deleted in the foreground before either was looked at.
static void empties_a_namespace_of_what_waits_for_ever(void **state)
{
	struct answer gone[2] = {0};
	create(&fl_gvr_namespaces, NULL, "{apiVersion: v1, kind: Namespace, metadata: {name: knot}}");
	create(&fl_gvr_configmaps, "knot", "{apiVersion: v1, kind: ConfigMap, metadata: {name: left}}");
	create(&fl_gvr_configmaps, "knot", "{apiVersion: v1, kind: ConfigMap, metadata: {name: right}}");
	AUTO_FREE char *left = owner_ref(maps, "ConfigMap", "knot", "left"),
		       *right = owner_ref(maps, "ConfigMap", "knot", "right");
	static const char refs[] = "{metadata: {ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: %s, uid: %s, "
				   "blockOwnerDeletion: true}]}}";
	AUTO_FREE char *to_left = fl_asprintf(refs, "left", strrchr(left, '/') + 1),
		       *to_right = fl_asprintf(refs, "right", strrchr(right, '/') + 1);
	patch(&fl_gvr_configmaps, "knot", "left", to_right);
	patch(&fl_gvr_configmaps, "knot", "right", to_left);
	kill(controllers, SIGSTOP);
	fl_client_delete(client, &fl_gvr_configmaps, "knot", "left", NULL, -1, "Foreground", on_answer, &gone[0], NULL);
	fl_client_delete(client, &fl_gvr_configmaps, "knot", "right", NULL, -1, "Foreground", on_answer, &gone[1],
			 NULL);
	done_well(&gone[0]);
	done_well(&gone[1]);
	kill(controllers, SIGCONT);
	delete (&fl_gvr_namespaces, NULL, "knot", NULL);
	wait_for(!fl_informer_find(namespaces, "", "knot"));
}

static unsigned ended(void)
{
	return how_many(pods, "ends");
}

// Nothing else deletes what has ended: of more than so many the oldest goes.
static void removes_pods_that_ended_long_ago(void **state)
{
	create(&fl_gvr_namespaces, NULL, "{apiVersion: v1, kind: Namespace, metadata: {name: ends}}");
	wait_for(fl_informer_find(accounts, "ends", "default"));
	for (unsigned i = 0; i < MAX_ENDED + 2; i++) {
		AUTO_FREE char *name = fl_asprintf("e%u", i),
			       *text =
				   fl_asprintf("{apiVersion: v1, kind: Pod, metadata: {name: %s}, spec: {nodeSelector: "
					       "{none: such}, containers: [{name: c, image: one}]}}",
					       name);
		AUTO(fl_arena_deinit) struct fl_arena a = {0};
		struct answer an = {0};
		create(&fl_gvr_pods, "ends", text);
		fl_client_patch(client, &fl_gvr_pods, "ends", name, "status", FL_PATCH_MERGE,
				yaml(&a, "{status: {phase: %s, reason: %s}}", i == 3 ? "Failed" : "Succeeded",
				     i == 3 ? "Evicted" : "Done"),
				on_answer, &an, NULL);
		done_well(&an);
		if (i + 1 == MAX_ENDED) // so many stay
			wait_for(ended() == MAX_ENDED);
	}
	wait_for(ended() == MAX_ENDED);
	assert_null(fl_informer_find(pods, "ends", "e3")); // evicted
	assert_null(fl_informer_find(pods, "ends", "e0"));
	assert_non_null(fl_informer_find(pods, "ends", "e6"));
	delete (&fl_gvr_namespaces, NULL, "ends", NULL);
	wait_for(!fl_informer_find(namespaces, "", "ends"));
}

static int start(void **state)
{
	int rc = start_world(NULL);
	add_node();
	wait_for(has_certificate("default"));
	return rc;
}

static int stop(void **state)
{
	return stop_world();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(collects_what_a_standing_owner_leaves),
	    cmocka_unit_test(collects_what_comes_too_late),
	    cmocka_unit_test(goes_in_a_circle),
	    cmocka_unit_test(collects_what_is_made_while_its_owner_goes),
	    cmocka_unit_test(believes_no_wrong_reference),
	    cmocka_unit_test(evicts_by_taints),
	    cmocka_unit_test(empties_a_namespace),
	    cmocka_unit_test(empties_a_namespace_of_what_waits_for_ever),
	    cmocka_unit_test(removes_pods_that_ended_long_ago),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
