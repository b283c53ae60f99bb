// SPDX-License-Identifier: Apache-2.0
// Links, addresses, routes and sysctls in a network namespace of the test's own.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <string.h>

#include "base/mem.h"
#include "io/netlink.h"

static struct fl_netlink *nl;
static struct fl_err err;

#define must(call)                                                                                                     \
	do {                                                                                                           \
		if ((call) < 0)                                                                                        \
			fail_msg("%s: %s", #call, err.text);                                                           \
	} while (0)

static int set_up(void **state)
{
	if (unshare(CLONE_NEWNET) < 0)
		return 0;
	must(fl_netlink_open(NETLINK_ROUTE, &nl, &err));
	must(fl_link_set_up(nl, 1, true, &err));
	return 0;
}

static int tear_down(void **state)
{
	fl_netlink_free(&nl);
	return 0;
}

static void require_namespace(void)
{
	if (!nl)
		skip();
}

static struct fl_ip ip(const char *text)
{
	struct fl_ip v;

	assert_true(fl_ip_parse(text, &v));
	return v;
}

static struct fl_cidr cidr(const char *text)
{
	struct fl_cidr v;

	assert_true(fl_cidr_parse(text, &v, false));
	return v;
}

// A veth pair, both ends here and up. Returns the index of the first.
static int make_veth(void)
{
	int index, far_index;

	must(fl_link_add_veth(nl, "near", "far", -1, 1400, &err));
	must(fl_link_index(nl, "near", &index, &err));
	must(fl_link_index(nl, "far", &far_index, &err));
	must(fl_link_set_up(nl, index, true, &err));
	must(fl_link_set_up(nl, far_index, true, &err));
	return index;
}

static void links(void **state)
{
	int index;

	require_namespace();
	make_veth();
	assert_int_equal(fl_link_add_veth(nl, "near", "other", -1, 0, &err), -EEXIST);
	assert_int_equal(fl_link_index(nl, "absent", &index, &err), -ENODEV);
	assert_non_null(strstr(err.text, "find link absent"));
	assert_int_equal(fl_link_index(nl, "a-name-beyond-fifteen", &index, &err), -EINVAL);
	must(fl_link_del(nl, "near", &err));
	assert_int_equal(fl_link_index(nl, "far", &index, &err), -ENODEV); // its peer went with it
	assert_int_equal(fl_link_del(nl, "near", &err), -ENODEV);
}

static void veth_into_namespace(void **state)
{
	int index;

	require_namespace();
	AUTO_CLOSE int here = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	AUTO_CLOSE int there = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_int_equal(setns(here, CLONE_NEWNET), 0);
	must(fl_link_add_veth(nl, "host0", "eth0", there, 0, &err));
	must(fl_link_index(nl, "host0", &index, &err));
	assert_int_equal(fl_link_index(nl, "eth0", &index, &err), -ENODEV);
}

struct seen {
	const char *want;
	unsigned n;
	struct fl_addr_info addr;
	struct fl_route route;
};

static void see_addr(const struct fl_addr_info *a, void *arg)
{
	struct seen *s = arg;
	char text[FL_IP_STRLEN];

	if (strcmp(fl_ip_format(&a->ip, text), s->want) != 0)
		return;
	s->n++;
	s->addr = *a;
}

static void addresses(void **state)
{
	struct fl_ip four = ip("192.0.2.7"), six = ip("2001:db8::7");
	struct seen s = {.want = "192.0.2.7"};

	require_namespace();
	int index = make_veth();
	must(fl_addr_replace(nl, index, &four, 24, &err));
	must(fl_addr_replace(nl, index, &four, 24, &err)); // again: no change, no error
	must(fl_addr_replace(nl, index, &six, 64, &err));
	must(fl_addr_list(nl, see_addr, &s, &err));
	assert_int_equal(s.n, 1);
	assert_int_equal(s.addr.bits, 24);
	assert_int_equal(s.addr.ifindex, index);
	assert_string_equal(s.addr.ifname, "near");
	s = (struct seen){.want = "2001:db8::7"};
	must(fl_addr_list(nl, see_addr, &s, &err));
	assert_int_equal(s.n, 1);
	assert_false(s.addr.tentative); // usable at once
	must(fl_addr_del(nl, index, &four, 24, &err));
	assert_int_equal(fl_addr_del(nl, index, &four, 24, &err), -EADDRNOTAVAIL);
}

static void see_route(const struct fl_route *r, void *arg)
{
	struct seen *s = arg;
	char text[FL_CIDR_STRLEN] = "default";

	if (r->dst.ip.family)
		fl_cidr_format(&r->dst, text);
	if (strcmp(text, s->want) != 0)
		return;
	s->n++;
	s->route = *r;
}

static void routes(void **state)
{
	struct fl_ip own = ip("192.0.2.7");

	require_namespace();
	int index = make_veth();
	must(fl_addr_replace(nl, index, &own, 24, &err));
	struct fl_route vip = {
	    .dst = cidr("10.96.0.0/12"),
	    .ifindex = 1,
	    .prefsrc = own,
	    .scope = RT_SCOPE_LINK,
	    .metric = 77,
	    .mtu = 1400,
	};
	struct fl_route world = {.gateway = ip("192.0.2.1"), .ifindex = index};
	struct fl_route six = {.dst = cidr("fd00:10:96::/112"), .ifindex = index, .metric = 78};
	struct fl_route refused = {.dst = cidr("10.97.0.0/24"), .type = RTN_UNREACHABLE};
	must(fl_route_replace(nl, &vip, &err));
	must(fl_route_replace(nl, &vip, &err));
	must(fl_route_replace(nl, &world, &err));
	must(fl_route_replace(nl, &six, &err));
	must(fl_route_replace(nl, &refused, &err));

	struct seen s = {.want = "10.96.0.0/12"};
	must(fl_route_list(nl, see_route, &s, &err));
	assert_int_equal(s.n, 1);
	assert_int_equal(s.route.protocol, FL_ROUTE_PROTOCOL);
	assert_int_equal(s.route.metric, 77);
	assert_true(fl_ip_equal(&s.route.prefsrc, &own));
	s = (struct seen){.want = "default"};
	must(fl_route_list(nl, see_route, &s, &err));
	assert_int_equal(s.n, 1);
	assert_true(fl_ip_equal(&s.route.gateway, &world.gateway));
	s = (struct seen){.want = "fd00:10:96::/112"};
	must(fl_route_list(nl, see_route, &s, &err));
	assert_int_equal(s.n, 1);
	s = (struct seen){.want = "10.97.0.0/24"};
	must(fl_route_list(nl, see_route, &s, &err));
	assert_int_equal(s.route.type, RTN_UNREACHABLE);

	must(fl_route_del(nl, &vip, &err));
	assert_int_equal(fl_route_del(nl, &vip, &err), -ENOENT);
	must(fl_route_del(nl, &refused, &err));
	vip.prefsrc = ip("203.0.113.1"); // not an address of this host
	assert_int_equal(fl_route_replace(nl, &vip, &err), -EINVAL);
	assert_non_null(strstr(err.text, "set route 10.96.0.0/12: "));
	assert_non_null(strstr(err.text, "(")); // the kernel's own words
}

// A route that somebody else made is not deleted, even when it leads to the same place.
static void strangers_routes_stay(void **state)
{
	struct fl_ip own = ip("192.0.2.7");
	struct fl_route connected = {.dst = cidr("192.0.2.0/24")};

	require_namespace();
	must(fl_addr_replace(nl, make_veth(), &own, 24, &err)); // the kernel adds the route of the network
	assert_int_equal(fl_route_del(nl, &connected, &err), -ENOENT);
}

static void primary_address(void **state)
{
	struct fl_ip got, on_lo = ip("10.244.0.1"), on_link = ip("192.0.2.7"), routed = ip("198.51.100.7");

	require_namespace();
	assert_int_equal(fl_host_primary_ip(AF_INET, &got, &err), -ENOENT);
	must(fl_addr_replace(nl, 1, &on_lo, 32, &err));
	must(fl_host_primary_ip(AF_INET, &got, &err));
	assert_true(fl_ip_equal(&got, &on_lo));
	int index = make_veth(), far_index;
	must(fl_addr_replace(nl, index, &on_link, 24, &err));
	must(fl_host_primary_ip(AF_INET, &got, &err));
	assert_true(fl_ip_equal(&got, &on_link)); // a link's address goes before one of lo
	must(fl_link_index(nl, "far", &far_index, &err));
	must(fl_addr_replace(nl, far_index, &routed, 24, &err));
	must(fl_route_replace(nl, &(struct fl_route){.gateway = ip("198.51.100.1"), .ifindex = far_index}, &err));
	must(fl_host_primary_ip(AF_INET, &got, &err));
	assert_true(fl_ip_equal(&got, &routed)); // the default route's link goes before others
	assert_int_equal(fl_host_primary_ip(AF_INET6, &got, &err), -ENOENT);
}

static void sysctls(void **state)
{
	char value[16], small[1];

	require_namespace();
	must(fl_sysctl_write("net/ipv4/ip_forward", "1", &err));
	must(fl_sysctl_read("net/ipv4/ip_forward", value, sizeof(value), &err));
	assert_string_equal(value, "1");
	assert_int_equal(fl_sysctl_read("net/ipv4/ip_forward", small, sizeof(small), &err), -ENOSPC);
	assert_int_equal(fl_sysctl_read("net/ipv4/absent", value, sizeof(value), &err), -ENOENT);
	assert_int_equal(fl_sysctl_write("../etc/passwd", "x", &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(links, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(veth_into_namespace, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(addresses, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(routes, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(strangers_routes_stay, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(primary_address, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(sysctls, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
