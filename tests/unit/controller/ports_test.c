// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "controller/scheduler/ports.h"

static struct fl_json *pod(struct fl_arena *a, const char *ports)
{
	const char *text = fl_arena_printf(a,
					   "{\"spec\":{\"initContainers\":[{\"ports\":[{\"hostPort\":9000}]}],"
					   "\"containers\":[{\"ports\":[%s]}]}}",
					   ports);
	struct fl_json *j = NULL;

	assert_int_equal(fl_json_parse(a, text, strlen(text), NULL, &j, NULL), 0);
	return j;
}

static void each_port_of_a_node_once(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_ports_deinit) struct fl_ports p = {0};
	const struct fl_json *web = pod(&a, "{\"containerPort\":80,\"hostPort\":8080}");
	const struct fl_json *udp = pod(&a, "{\"hostPort\":8080,\"protocol\":\"UDP\"}");
	const struct fl_json *one = pod(&a, "{\"hostPort\":8080,\"hostIP\":\"192.0.2.1\"}");
	const struct fl_json *two = pod(&a, "{\"hostPort\":8080,\"hostIP\":\"192.0.2.2\"}");
	const struct fl_json *none = pod(&a, "{\"containerPort\":8080}");

	fl_ports_hold(&p, "u1", "n1", web);
	fl_ports_hold(&p, "u2", "n1", none);
	assert_false(fl_ports_free_on(&p, "n1", web));
	assert_false(fl_ports_free_on(&p, "n1", one)); // the other has every address
	assert_true(fl_ports_free_on(&p, "n1", udp));
	assert_true(fl_ports_free_on(&p, "n1", none));
	assert_true(fl_ports_free_on(&p, "n2", web));
	assert_true(fl_ports_release(&p, "u1"));
	assert_false(fl_ports_release(&p, "u1"));
	assert_false(fl_ports_release(&p, "u2"));
	fl_ports_hold(&p, "u3", "n1", one);
	fl_ports_hold(&p, "u3", "n1", one); // told again
	assert_true(fl_ports_free_on(&p, "n1", two));
	assert_false(fl_ports_free_on(&p, "n1", one));
	assert_false(fl_ports_free_on(&p, "n1", web));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(each_port_of_a_node_once)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
