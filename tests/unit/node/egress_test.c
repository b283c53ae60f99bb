// SPDX-License-Identifier: Apache-2.0
// Pods that talk to a host which has no route back to them: this process's network namespace is the node, with a pod on
// one side and the other host on the other.
#include "node/egress.h"
#include "own_network.h"
#include "pods_harness.h"

static char *pod, *other; // "ip netns exec ..."

static struct fl_cidr cidr(const char *text)
{
	struct fl_cidr c;

	assert_true(fl_cidr_parse(text, &c, false));
	return c;
}

static struct fl_egress egress(const char *cluster4, const char *cluster6)
{
	return (struct fl_egress){.pods = {cidr("10.244.0.0/24"), cidr("fd00:10:244::/64")},
				  .cluster = {cidr(cluster4), cidr(cluster6)},
				  .n = 2};
}

static int begin(void **state)
{
	AUTO_FREE char *p = fl_asprintf("fl-eg-%d-pod", (int)getpid()), *o = fl_asprintf("fl-eg-%d-out", (int)getpid());
	AUTO_FREE char *said = run_shell(
	    "{ for n in %s %s; do ip netns add $n && ip -n $n link set lo up; "
	    "ip netns exec $n sh -c 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad'; done; ip link set lo up; "
	    "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad; "
	    "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding; "
	    "ip link add fl-p type veth peer name eth0 netns %s; ip link add fl-o type veth peer name eth0 netns %s; "
	    "ip addr add 10.244.0.1/24 dev fl-p; ip addr add fd00:10:244::1/64 dev fl-p nodad; ip link set fl-p up; "
	    "ip addr add 192.0.2.1/24 dev fl-o; ip addr add 2001:db8::1/64 dev fl-o nodad; ip link set fl-o up; "
	    "ip -n %s addr add 10.244.0.2/24 dev eth0; ip -n %s addr add fd00:10:244::2/64 dev eth0 nodad; "
	    "ip -n %s addr add 192.0.2.2/24 dev eth0; ip -n %s addr add 2001:db8::2/64 dev eth0 nodad; "
	    "ip -n %s link set eth0 up; ip -n %s link set eth0 up; "
	    "ip -n %s route add default via 10.244.0.1; ip -n %s -6 route add default via fd00:10:244::1; } 2>&1",
	    p, o, p, o, p, p, o, o, p, o, p, p);

	assert_string_equal(said, "");
	pod = fl_asprintf("ip netns exec %s", p);
	other = fl_asprintf("ip netns exec %s", o);
	return 0;
}

static int end(void **state)
{
	free(run_shell("ip link del fl-p; ip link del fl-o; ip netns del fl-eg-%d-pod; ip netns del fl-eg-%d-out",
		       (int)getpid(), (int)getpid()));
	free(pod);
	free(other);
	return 0;
}

// The address that the other host sees when the pod sends it a datagram; "" when nothing comes back. The receiver's
// child reads the datagram first: socat gives up, without the answer, when it has nobody to write it to.
static char *seen(const char *family, const char *address)
{
	static int port = 9000; // a receiver's child outlives it for a moment, and would take the next one's datagram

	port++;
	AUTO_FREE char *said = run_shell("%s socat -T 5 UDP%s-RECVFROM:%d SYSTEM:'read it; echo $SOCAT_PEERADDR' & "
					 "until %s ss -Hlun 'sport = %d' | grep -q .; do sleep 0.01; done; "
					 "echo hello | %s socat -T 2 -t 2 - UDP%s:%s:%d; kill $! 2>/dev/null; wait",
					 other, family, port, other, port, pod, family, address, port);

	return TAKE_PTR(said);
}

static void goes_by_the_node_s_address(void **state)
{
	struct fl_egress e = egress("10.244.0.0/16", "fd00:10::/32");
	struct fl_err err = {0};
	AUTO_FREE char *before = seen("4", "192.0.2.2");

	assert_string_equal(before, ""); // nobody can answer a pod
	assert_int_equal(fl_egress_apply(&e, &err), 0);
	assert_int_equal(fl_egress_apply(&e, &err), 0);
	AUTO_FREE char *four = seen("4", "192.0.2.2"), *six = seen("6", "[2001:db8::2]");
	assert_string_equal(four, "192.0.2.1");
	assert_string_equal(six, "[2001:0db8:0000:0000:0000:0000:0000:0001]");
	AUTO_FREE char *one = run_shell("nft list ruleset | grep -c masquerade");
	assert_string_equal(one, "2");
	assert_int_equal(fl_egress_cleanup(&err), 0);
	AUTO_FREE char *after = run_shell("nft list ruleset");
	assert_string_equal(after, "");
}

static void stays_a_pod_s_among_pods(void **state)
{
	struct fl_egress e = egress("192.0.0.0/16", "2001:db8::/32"); // the other host's addresses count as pods'
	struct fl_err err = {0};

	free(run_shell("%s ip route add 10.244.0.0/16 via 192.0.2.1; %s ip -6 route add fd00:10::/32 via 2001:db8::1",
		       other, other));
	assert_int_equal(fl_egress_apply(&e, &err), 0);
	AUTO_FREE char *four = seen("4", "192.0.2.2"), *six = seen("6", "[2001:db8::2]");
	assert_string_equal(four, "10.244.0.2");
	assert_string_equal(six, "[fd00:0010:0244:0000:0000:0000:0000:0002]");
	assert_int_equal(fl_egress_cleanup(&err), 0);
}

static void comes_back_when_somebody_flushes(void **state)
{
	struct fl_egress e = egress("10.244.0.0/16", "fd00:10::/32");
	struct fl_err err = {0};

	assert_int_equal(fl_egress_apply(&e, &err), 0);
	AUTO_FREE char *before = run_shell("nft list ruleset");
	free(run_shell("nft delete table ip6 fairlead-egress"));
	assert_int_equal(fl_egress_keep(&e, &err), 0);
	AUTO_FREE char *after = run_shell("nft list ruleset");
	assert_string_equal(after, before);
	free(run_shell("nft flush table ip fairlead-egress"));
	AUTO_FREE char *flushed = run_shell("nft list ruleset | grep -c masquerade");
	assert_string_equal(flushed, "1"); // the other family's
	assert_int_equal(fl_egress_keep(&e, &err), 0);
	AUTO_FREE char *refilled = run_shell("nft list ruleset");
	assert_string_equal(refilled, before);
	e.n = 0; // --no-masquerade
	assert_int_equal(fl_egress_keep(&e, &err), 0);
	assert_int_equal(fl_egress_apply(&e, &err), 0);
	AUTO_FREE char *none = run_shell("nft list ruleset");
	assert_string_equal(none, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(goes_by_the_node_s_address, begin, end),
	    cmocka_unit_test_setup_teardown(stays_a_pod_s_among_pods, begin, end),
	    cmocka_unit_test_setup_teardown(comes_back_when_somebody_flushes, begin, end),
	};

	int status = own_network();

	if (status)
		return status;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
