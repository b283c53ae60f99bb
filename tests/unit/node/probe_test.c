// SPDX-License-Identifier: Apache-2.0
#include "node/probe.h"
#include "tree.h"

static void defaults_are_those_of_kubernetes(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_probe_spec p;
	const char *why;
	const struct fl_json *c = tree(&a, "{'ports':[{'name':'http','containerPort':8080}],"
					   "'readinessProbe':{'httpGet':{'port':'http'}},'livenessProbe':{'grpc':{'"
					   "port':1},'terminationGracePeriodSeconds':3},"
					   "'startupProbe':{'tcpSocket':{'port':'nosuch'}}}");

	assert_true(fl_probe_read(c, FL_PROBE_READINESS, &p, &why));
	assert_int_equal(p.action.kind, FL_ACTION_HTTP);
	assert_int_equal(p.action.port, 8080);
	assert_string_equal(p.action.path, "/");
	assert_true(p.period_s == 10 && p.timeout_s == 1 && p.success_threshold == 1 && p.failure_threshold == 3);
	assert_int_equal(p.grace_s, -1);
	assert_true(fl_probe_read(c, FL_PROBE_LIVENESS, &p, &why));
	assert_int_equal(p.action.kind, FL_ACTION_GRPC);
	assert_string_equal(p.action.service, "");
	assert_int_equal(p.grace_s, 3);
	assert_false(fl_probe_read(c, FL_PROBE_STARTUP, &p, &why));
	assert_string_equal(why, "its port names no port of the container");
	assert_false(fl_probe_read(tree(&a, "{}"), FL_PROBE_STARTUP, &p, &why));
	assert_null(why);
}

static void add_all(struct fl_probe_state *s, const struct fl_probe_spec *p, const char *results, const char *verdicts)
{
	for (size_t i = 0; results[i]; i++) {
		bool before = s->verdict, changed = fl_probe_state_add(s, p, results[i] == '+');

		assert_int_equal(s->verdict, verdicts[i] == '+');
		assert_int_equal(changed, before != s->verdict);
	}
}

static void thresholds_turn_the_verdict(void **state)
{
	struct fl_probe_spec p = {.success_threshold = 2, .failure_threshold = 3};
	struct fl_probe_state s;

	fl_probe_state_init(&s, FL_PROBE_READINESS);
	add_all(&s, &p, "-+-++--+---+", //
		"----++++++--");
	fl_probe_state_init(&s, FL_PROBE_LIVENESS);
	assert_true(s.verdict);
	p.success_threshold = 1;
	add_all(&s, &p, "--+---", "+++++-");
	assert_int_equal(s.failures, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(defaults_are_those_of_kubernetes),
	    cmocka_unit_test(thresholds_turn_the_verdict),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
