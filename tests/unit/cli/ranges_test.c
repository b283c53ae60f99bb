// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/rtnetlink.h>
#include <sched.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/ranges.h"

static enum fl_clash clash(const char *route, uint8_t type, uint8_t protocol, const char *range)
{
	struct fl_route r = {.type = type, .protocol = protocol};
	struct fl_cidr c;

	assert_true(fl_cidr_parse(range, &c, false));
	if (route)
		assert_true(fl_cidr_parse(route, &r.dst, false));
	return fl_ranges_clash(&r, &c);
}

static void each_kind_of_route(void **state)
{
	static const char range[] = "10.96.0.0/12";

	assert_int_equal(clash("10.100.0.0/16", RTN_UNICAST, 2, range), FL_CLASH_INSIDE);
	assert_int_equal(clash("10.96.0.0/12", RTN_UNICAST, 2, range), FL_CLASH_INSIDE);
	assert_int_equal(clash("10.111.255.255/32", RTN_UNICAST, 3, range), FL_CLASH_INSIDE);
	assert_int_equal(clash("10.0.0.0/8", RTN_UNICAST, 3, range), FL_CLASH_AROUND);
	assert_int_equal(clash("10.112.0.0/16", RTN_UNICAST, 3, range), FL_CLASH_NONE);
	assert_int_equal(clash("192.168.0.0/16", RTN_UNICAST, 3, range), FL_CLASH_NONE);
	assert_int_equal(clash("10.100.0.0/16", RTN_UNREACHABLE, 3, range), FL_CLASH_NONE);
	assert_int_equal(clash("10.96.0.0/12", RTN_UNICAST, FL_ROUTE_PROTOCOL, range), FL_CLASH_NONE);
	assert_int_equal(clash("0.0.0.0/0", RTN_UNICAST, 3, range), FL_CLASH_NONE);
	assert_int_equal(clash(NULL, RTN_UNICAST, 3, range), FL_CLASH_NONE);
	assert_int_equal(clash("fd00:10:96::/64", RTN_UNICAST, 3, range), FL_CLASH_NONE);
	assert_int_equal(clash("fd00:10:96::/112", RTN_UNICAST, 3, "fd00:10:96::/112"), FL_CLASH_INSIDE);
}

static void a_host_with_such_a_route(void **state)
{
	struct fl_options o = {0};
	struct fl_err err = {0};

	if (unshare(CLONE_NEWNET) < 0 || system("ip link set lo up && ip link add e0 type veth peer name e1 && "
						"ip addr add 10.100.3.4/16 dev e0 && ip link set e0 up") != 0)
		skip(); // needs root
	char *argv[] = {"up", NULL};
	assert_int_equal(fl_options_parse(1, argv, &o, &err), 0);
	assert_int_equal(fl_ranges_check(&o, &err), -EADDRINUSE);
	assert_string_equal(err.text, "--service-cidr 10.96.0.0/12: this host has a route into it (10.100.0.0/16 dev "
				      "e0), what is there would be cut off; choose another range");
	assert_int_equal(system("ip addr flush dev e0 && ip addr add 10.1.2.3/8 dev e0"), 0);
	assert_int_equal(fl_ranges_check(&o, &err), 0); // told, not refused
	assert_int_equal(system("ip route add 10.244.7.0/24 dev e0"), 0);
	assert_int_equal(fl_ranges_check(&o, &err), 0); // pods of another node
	assert_int_equal(system("ip route add 10.244.0.0/25 dev e0"), 0);
	assert_int_equal(fl_ranges_check(&o, &err), -EADDRINUSE);
	assert_true(fl_starts_with(err.text, "--pod-cidr 10.244.0.0/24: "));
	fl_options_deinit(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_kind_of_route),
	    cmocka_unit_test(a_host_with_such_a_route),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
