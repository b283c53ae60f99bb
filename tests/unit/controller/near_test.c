// SPDX-License-Identifier: Apache-2.0
#include "objects.h"

#include "controller/scheduler/near.h"

// Nodes a1 and a2 in zone a, b1 in zone b, x without a zone.
static const char *const nodes[] = {"a1", "a2", "b1", "x"};
static const char *const zones[] = {"a", "a", "b", NULL};

static struct fl_json *node(struct fl_arena *a, int i)
{
	return yaml(a, "{metadata: {name: %s, labels: {host: %s%s%s}}}", nodes[i], nodes[i], zones[i] ? ", zone: " : "",
		    zones[i] ? zones[i] : "");
}

static const struct fl_json *ns_labels(void *arg, const char *ns)
{
	return yaml(arg, strcmp(ns, "other") == 0 ? "{team: blue}" : "{team: red}");
}

struct there { // a pod on a node
	const char *node, *metadata, *spec;
};

// "a1 a2": where the pod may go; "-a1:<last words of the refusal>" when `why`.
static void expect(const char *spec, const struct there *pods, const char *want, const char *why)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	const struct fl_json *pod = yaml(&a, "{metadata: {namespace: default, labels: {app: web}}, spec: %s}", spec);
	AUTO(fl_near_free) struct fl_near *n = fl_near_new(&a, pod, ns_labels, &a);
	const char *refusal = NULL;
	for (int i = 0; i < 4; i++)
		fl_near_node(n, node(&a, i));
	for (; pods && pods->node; pods++)
		for (int i = 0; i < 4; i++)
			if (strcmp(nodes[i], pods->node) == 0)
				fl_near_pod(n,
					    yaml(&a, "{metadata: {%s}, spec: %s}", pods->metadata,
						 pods->spec ? pods->spec : "{}"),
					    node(&a, i));
	for (int i = 0; i < 4; i++) {
		const char *no = fl_near_refusal(n, node(&a, i));
		if (!no)
			fl_buf_printf(&b, "%s%s", b.len ? " " : "", nodes[i]);
		else if (!refusal)
			refusal = no;
	}
	assert_string_equal(b.data ? b.data : "", want);
	assert_string_equal(refusal ? refusal : "", why ? why : "");
}

#define WEB               "namespace: default, labels: {app: web}"
#define TERM(key, app)    "{topologyKey: " key ", labelSelector: {matchLabels: {app: " app "}}}"
#define REQUIRED(w, list) "{affinity: {" w ": {requiredDuringSchedulingIgnoredDuringExecution: [" list "]}}}"
#define WITH(list)        REQUIRED("podAffinity", list)
#define APART(list)       REQUIRED("podAntiAffinity", list)

static const char no_with[] = "node(s) didn't match pod affinity rules",
		  no_apart[] = "node(s) didn't match pod anti-affinity rules",
		  repelled[] = "node(s) didn't satisfy existing pods anti-affinity rules",
		  uneven[] = "node(s) didn't match pod topology spread constraints",
		  unlabelled[] = "node(s) didn't match pod topology spread constraints (missing required label)";

static void affinity(void **state)
{
	const struct there web_on_a1[] = {{"a1", WEB, NULL}, {0}};
	const struct there web_of_others[] = {{"a1", "namespace: other, labels: {app: web}", NULL}, {0}};
	const struct there db_and_web[] = {
	    {"a1", WEB, NULL}, {"b1", "namespace: default, labels: {app: web, tier: db}", NULL}, {0}};

	expect("{}", web_on_a1, "a1 a2 b1 x", NULL);
	expect(WITH(TERM("zone", "web")), web_on_a1, "a1 a2", no_with);
	expect(WITH(TERM("host", "web")), web_on_a1, "a1", no_with);
	expect(WITH(TERM("zone", "db")), web_on_a1, "", no_with);
	expect(WITH(TERM("zone", "web")), NULL, "a1 a2 b1", no_with); // the first of its kind
	expect(WITH(TERM("zone", "web") "," TERM("host", "db")), NULL, "", no_with);
	expect(WITH(TERM("zone", "web")), web_of_others, "a1 a2 b1", no_with);
	expect(WITH("{topologyKey: host, labelSelector: {matchLabels: {app: web}}, namespaces: [other]}"),
	       web_of_others, "a1", no_with);
	expect(WITH("{topologyKey: host, labelSelector: {matchLabels: {app: web}}, namespaceSelector: {}}"),
	       web_of_others, "a1", no_with);
	expect(WITH("{topologyKey: host, labelSelector: {}, namespaceSelector: {matchLabels: {team: blue}}}"),
	       web_of_others, "a1", no_with);
	// A pod counts when all terms cover it.
	expect(WITH(TERM("zone", "web") ", {topologyKey: host, labelSelector: {matchLabels: {tier: db}}}"), db_and_web,
	       "b1", no_with);
	expect(WITH("{topologyKey: host, labelSelector: {}, mismatchLabelKeys: [app]}"), web_on_a1, "", no_with);
}

static void anti_affinity(void **state)
{
	const struct there web_on_a1[] = {{"a1", WEB, NULL}, {0}};
	const struct there jealous[] = {{"a1", "namespace: default, labels: {app: db}", APART(TERM("zone", "web"))},
					{0}};
	const struct there of_others[] = {{"b1", "namespace: other, labels: {app: web}", APART(TERM("host", "web"))},
					  {0}};

	expect(APART(TERM("host", "web")), web_on_a1, "a2 b1 x", no_apart);
	expect(APART(TERM("zone", "web")), web_on_a1, "b1 x", no_apart);
	expect(APART(TERM("zone", "db")), web_on_a1, "a1 a2 b1 x", NULL);
	expect(APART("{topologyKey: host, labelSelector: {}, matchLabelKeys: [app]}"), jealous, "b1 x", repelled);
	expect("{}", jealous, "b1 x", repelled);
	expect("{}", of_others, "a1 a2 b1 x", NULL); // it repels those of its own namespace
}

#define SPREAD(more)                                                                                                   \
	"{topologySpreadConstraints: [{maxSkew: 1, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: "    \
	"{app: web}}, " more "}]}"

static void spread(void **state)
{
	const struct there one_a[] = {{"a1", WEB, NULL}, {0}};
	const struct there two_a_one_b[] = {{"a1", WEB, NULL}, {"a2", WEB, NULL}, {"b1", WEB, NULL}, {0}};
	const struct there leaving[] = {{"a1", WEB ", deletionTimestamp: '2026-01-01T00:00:00Z'", NULL}, {0}};

	expect(SPREAD("topologyKey: zone"), NULL, "a1 a2 b1", unlabelled);
	expect(SPREAD("topologyKey: zone"), one_a, "b1", uneven);
	expect(SPREAD("topologyKey: zone"), leaving, "a1 a2 b1", unlabelled);
	expect(SPREAD("topologyKey: zone, minDomains: 3"), one_a, "b1", uneven);
	expect(SPREAD("topologyKey: zone, minDomains: 3"), two_a_one_b, "", uneven);
	expect(SPREAD("topologyKey: host"), two_a_one_b, "x", uneven);
	// A node that the pod cannot use at all is no domain, unless the policy says so.
	expect(
	    "{nodeSelector: {zone: a}, topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: "
	    "DoNotSchedule, labelSelector: {matchLabels: {app: web}}}]}",
	    one_a, "a1 a2 b1", unlabelled);
	expect(
	    "{nodeSelector: {zone: a}, topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: "
	    "DoNotSchedule, nodeAffinityPolicy: Ignore, labelSelector: {matchLabels: {app: web}}}]}",
	    one_a, "b1", uneven);
}

static void preferences(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_json *pod = yaml(
	    &a,
	    "{metadata: {labels: {app: web}}, spec: {affinity: {podAntiAffinity: "
	    "{preferredDuringSchedulingIgnoredDuringExecution: [{weight: 100, podAffinityTerm: " TERM(
		"host", "web") "}]}, podAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 10, "
			       "podAffinityTerm: " TERM("zone", "web") "}]}}, topologySpreadConstraints: [{maxSkew: 1, "
								       "topologyKey: zone, whenUnsatisfiable: "
								       "ScheduleAnyway, labelSelector: {matchLabels: "
								       "{app: web}}}]}}");
	AUTO(fl_near_free) struct fl_near *n = fl_near_new(&a, pod, ns_labels, &a);
	for (int i = 0; i < 4; i++)
		fl_near_node(n, node(&a, i));
	fl_near_pod(n, yaml(&a, "{metadata: {" WEB "}}"), node(&a, 0));
	const int64_t likings[] = {-90, 10, 0, 0}, crowds[] = {1, 1, 0, 1000000};
	for (int i = 0; i < 4; i++) {
		assert_null(fl_near_refusal(n, node(&a, i)));
		assert_int_equal(fl_near_liking(n, node(&a, i)), likings[i]);
		assert_int_equal(fl_near_crowd(n, node(&a, i)), crowds[i]);
	}
	assert_true(fl_near_depends(pod));
	assert_false(fl_near_repels(pod));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(affinity),
	    cmocka_unit_test(anti_affinity),
	    cmocka_unit_test(spread),
	    cmocka_unit_test(preferences),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
