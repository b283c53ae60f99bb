// SPDX-License-Identifier: Apache-2.0
#include "objects.h"

#include "controller/endpoints/topology.h"

#define NODE(meta, ready)                                                                                              \
	"{metadata: {name: n, labels: {" meta "}}, status: {allocatable: {cpu: '2'}, conditions: [{type: Ready, "      \
	"status: '" ready "'}]}}"
#define ZONE(z) "topology.kubernetes.io/zone: " z

static void test_refusals(void **state)
{
	static const struct {
		const char *nodes[3];
		size_t endpoints;
		const char *says;
	} cases[] = {
	    {{NULL}, 3, "Insufficient Node information"},
	    {{NODE("", "True")}, 3, "Insufficient Node information"},
	    {{"{metadata: {labels: {" ZONE("a") "}}, status: {conditions: [{type: Ready, status: 'True'}]}}"},
	     3,
	     "Insufficient Node information"},
	    {{NODE(ZONE("a"), "True"), NODE("", "True")}, 3, "Insufficient Node information"},
	    {{NODE(ZONE("a"), "True"), NODE(ZONE("a"), "True")}, 3, "Nodes only ready in one zone"},
	    {{NODE(ZONE("a"), "True"), NODE(ZONE("b"), "False")}, 3, "Nodes only ready in one zone"},
	    {{NODE(ZONE("a"), "True"), NODE("node-role.kubernetes.io/control-plane: ''", "True")},
	     3,
	     "Nodes only ready in one zone"},
	    {{NODE(ZONE("a"), "True"), NODE(ZONE("b"), "True")},
	     1,
	     "Insufficient number of endpoints (1 endpoints, 2 zones)"},
	    {{NODE(ZONE("a"), "True"), NODE(ZONE("b"), "True")},
	     2,
	     "Hints by the processors of zones are not made here"},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		AUTO(fl_arena_deinit) struct fl_arena a = {0};
		struct fl_topology t = {0};
		for (size_t n = 0; n < 3 && cases[i].nodes[n]; n++)
			fl_topology_add(&t, yaml(&a, "%s", cases[i].nodes[n]));
		const char *got = fl_topology_refusal(&a, &t, cases[i].endpoints);
		if (!fl_starts_with(got, cases[i].says))
			fail_msg("case %zu: %s", i, got);
	}
}

static void test_wanted(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	assert_true(
	    fl_topology_wanted(yaml(&a, "{metadata: {annotations: {service.kubernetes.io/topology-mode: Auto}}}")));
	assert_true(fl_topology_wanted(
	    yaml(&a, "{metadata: {annotations: {service.kubernetes.io/topology-aware-hints: auto}}}")));
	assert_false(
	    fl_topology_wanted(yaml(&a, "{metadata: {annotations: {service.kubernetes.io/topology-mode: Disabled}}}")));
	assert_false(fl_topology_wanted(yaml(&a, "{metadata: {name: x}}")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_wanted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
