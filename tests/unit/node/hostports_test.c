// SPDX-License-Identifier: Apache-2.0
// Ports of the host: from a neighbour, from the host, from pods; taken and free; over a restart of the node.
#include <arpa/inet.h>
#include <signal.h>

#include "node/hostports.h"
#include "own_network.h"
#include "pods_harness.h"

#define POD(uid, ip_more, port, more)                                                                                  \
	"{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"" uid                                        \
	"\",\"namespace\":\"default\",\"uid\":\"" uid "\",\"resourceVersion\":\"1\"" more                              \
	"},\"spec\":{\"terminationGracePeriodSeconds\":1,\"containers\":[{\"name\":\"c\","                             \
	"\"image\":\"fairlead/echo\",\"ports\":[{\"containerPort\":8080,\"hostPort\":" port ip_more                    \
	"},{\"containerPort\":8081,\"hostPort\":" port ",\"protocol\":\"UDP\"}]}]}}"
#define DELETED ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\",\"deletionGracePeriodSeconds\":1"

// First line of what an address answers, from `where`: "" this host, "ip netns exec X" or "nsenter ...".
static char *ask(const char *where, const char *url)
{
	return run_shell("%s curl -s -m 5 --retry 20 --retry-connrefused --retry-delay 0 %s | head -1", where, url);
}

static void expect_answer(const char *where, const char *url, const char *name)
{
	AUTO_FREE char *got = ask(where, url);

	assert_string_equal(got, name);
}

static void neighbour_add(const char *ns) // 192.0.2.2, with a link to this host's 192.0.2.1
{
	free(run_shell("ip netns add %s; ip link add fl-n type veth peer name eth0 netns %s; "
		       "ip addr add 192.0.2.1/24 dev fl-n; ip addr add 192.0.2.9/24 dev fl-n; ip link set fl-n up; "
		       "ip -n %s addr add 192.0.2.2/24 dev eth0; ip -n %s link set eth0 up; ip -n %s link set lo up",
		       ns, ns, ns, ns, ns));
}

static int teardown(void **state)
{
	free(run_shell("ip netns del fl-ports-%d 2>/dev/null", (int)getpid())); // of a test that failed
	return harness_teardown(state);
}

static void lead_to_the_pod(void **state)
{
	struct harness *h = harness_new("ports");
	AUTO_FREE char *ns = fl_asprintf("fl-ports-%d", (int)getpid());
	AUTO_FREE char *outside = fl_asprintf("ip netns exec %s", ns);

	neighbour_add(ns);
	fl_pods_synced(h->pods);
	harness_set(h, POD("a", "", "7080", ""));
	harness_set(h, POD("b", ",\"hostIP\":\"192.0.2.9\"", "7081", ""));
	expect_status(h, "a", "phase", "Running");
	expect_status(h, "b", "phase", "Running");
	AUTO_FREE char *in_a = fl_asprintf("nsenter --net=%s/a.net", h->paths.ns);
	AUTO_FREE char *in_b = fl_asprintf("nsenter --net=%s/b.net", h->paths.ns);
	expect_answer(outside, "http://192.0.2.1:7080/", "a");
	expect_answer(outside, "http://192.0.2.9:7080/", "a");
	expect_answer("", "http://192.0.2.1:7080/", "a");
	expect_answer(in_b, "http://192.0.2.1:7080/", "a");
	expect_answer(in_a, "http://192.0.2.1:7080/", "a"); // back to itself
	expect_answer(outside, "http://192.0.2.9:7081/", "b");
	AUTO_FREE char *other = run_shell("%s curl -s -m 5 http://192.0.2.1:7081/ || echo refused", outside);
	assert_string_equal(other, "refused"); // not at that address
	AUTO_FREE char *client = run_shell("%s curl -s http://192.0.2.1:7080/ | grep -o 'client [^:]*'", outside);
	assert_string_equal(client, "client 192.0.2.2"); // its address is seen
	AUTO_FREE char *udp = run_shell("%s sh -c 'echo hello | socat -t 2 - UDP4:192.0.2.1:7080'", outside);
	assert_string_equal(udp, "hello");

	// The node goes and comes; then the pods go, and their ports with them.
	harness_node_stop(h);
	expect_answer(outside, "http://192.0.2.1:7080/", "a");
	harness_node_start(h);
	harness_set(h, POD("a", "", "7080", ""));
	harness_set(h, POD("b", ",\"hostIP\":\"192.0.2.9\"", "7081", ""));
	fl_pods_synced(h->pods);
	expect_status(h, "a", "phase", "Running");
	expect_answer(outside, "http://192.0.2.1:7080/", "a");
	harness_set(h, POD("a", "", "7080", DELETED));
	assert_true(harness_wait(h, is_deleted, "a"));
	AUTO_FREE char *gone = run_shell("%s curl -s -m 5 http://192.0.2.1:7080/ || echo refused", outside);
	assert_string_equal(gone, "refused");
	expect_answer(outside, "http://192.0.2.9:7081/", "b");
	harness_set(h, POD("b", ",\"hostIP\":\"192.0.2.9\"", "7081", DELETED));
	assert_true(harness_wait(h, is_deleted, "b"));
	AUTO_FREE char *tables = run_shell("nft list tables | grep -c host-ports");
	assert_string_equal(tables, "0");
	free(run_shell("ip netns del %s", ns));
	harness_free(h);
}

static void are_given_once(void **state)
{
	struct harness *h = harness_new("ports-twice");
	const int on = 1;
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(7090)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	fl_pods_synced(h->pods);
	harness_set(h, POD("a", "", "7080", ""));
	expect_status(h, "a", "phase", "Running");
	harness_set(h, POD("late", "", "7080", ""));
	expect_status(h, "late", "phase", "Failed");
	assert_string_equal(status_at(h, "late", "reason"), "NodePorts");
	assert_string_equal(status_at(h, "late", "message"),
			    "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the "
			    "requested pod ports: 7080/TCP is used by pod default/a");
	assert_non_null(strstr(h->events.data, "late NodePorts: Predicate NodePorts failed: "));
	// kubectl shows the reason unless a container has one.
	assert_string_equal(status_at(h, "late", "containerStatuses"), "");
	// One that is about to go is waited for.
	harness_set(h, POD("a", "", "7080", DELETED));
	harness_set(h, POD("next", "", "7080", ""));
	expect_status(h, "next", "phase", "Running");
	assert_true(harness_wait(h, is_deleted, "a"));
	expect_answer("", "http://10.244.0.1:7080/", "next");

	// A program of the host.
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 1), 0);
	harness_set(h, POD("blocked", "", "7090", ""));
	expect_status(h, "blocked", "containerStatuses.0.state.waiting.reason", "ContainerCreating");
	assert_string_equal(status_at(h, "blocked", "phase"), "Pending");
	assert_non_null(strstr(h->events.data, "blocked FailedCreatePodSandBox: cannot open hostport 7090/TCP: a "
					       "program of this host uses it"));
	close(fd);
	expect_status(h, "blocked", "phase", "Running");
	harness_free(h);
	AUTO_FREE char *tables = run_shell("nft list tables | grep -c host-ports");
	assert_string_equal(tables, "0");
}

static void come_back_when_somebody_flushes(void **state)
{
	struct fl_hostport_rule r = {.port = {.protocol = IPPROTO_TCP, .port = 7080, .container_port = 8080}};
	struct fl_err err = {0};
	static const char *const ways[] = {"flush ruleset", "flush table ip fairlead-host-ports",
					   "flush chain ip fairlead-host-ports output",
					   "flush chain ip fairlead-host-ports postrouting"};

	fl_ip_parse("10.244.0.9", &r.pod_ip);
	assert_int_equal(fl_hostports_keep(&r, 1, &err), 0);
	AUTO_FREE char *before = run_shell("nft list ruleset");
	assert_non_null(strstr(before, "7080"));
	for (size_t i = 0; i < FL_COUNT(ways); i++) {
		free(run_shell("nft %s", ways[i]));
		AUTO_FREE char *gone = run_shell("nft list ruleset");
		assert_string_not_equal(gone, before);
		assert_int_equal(fl_hostports_keep(&r, 1, &err), 0);
		AUTO_FREE char *after = run_shell("nft list ruleset");
		assert_string_equal(after, before);
	}
	assert_int_equal(fl_hostports_apply(NULL, 0, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(lead_to_the_pod, teardown),
	    cmocka_unit_test_teardown(are_given_once, harness_teardown),
	    cmocka_unit_test(come_back_when_somebody_flushes),
	};

	int status = own_network();

	if (status)
		return status;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
