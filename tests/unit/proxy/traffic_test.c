// SPDX-License-Identifier: Apache-2.0
// Packets through the rules: who answers, with which source, and how refusals look, from the host, from pods and from
// outside.
#include "stage_test.h"

static const char web[] = "kind: Service\n"
			  "apiVersion: v1\n"
			  "metadata: {name: web}\n"
			  "spec:\n"
			  "  type: NodePort\n"
			  "  clusterIP: 10.96.0.20\n"
			  "  clusterIPs: [10.96.0.20, \"fd00:10:96::20\"]\n"
			  "  ports: [{name: http, port: 80, protocol: TCP, nodePort: 30080}]\n";

static void start_web(int family, int servers[PODS], unsigned pods)
{
	for (int i = 0; i < PODS; i++)
		servers[i] = serve(&net, net.pod[i], family, SOCK_STREAM, 8080);
	feed_apply(&f, web);
	feed_slice(&f, "web", family, HTTP_PORTS, pods);
}

static void stop(const int servers[PODS])
{
	for (int i = 0; i < PODS; i++)
		close(servers[i]);
}

// Connects until each of `pods` answered; another one must not.
static void check_spread(int from, const char *address, uint16_t port, const int *servers, unsigned pods)
{
	unsigned seen = 0;

	for (int i = 0; i < 400 && seen != pods; i++) {
		struct meeting m = meet(&net, from, address, port, servers, PODS);

		seen |= 1u << m.server;
		part(&m);
	}
	assert_int_equal(seen, pods);
}

static void cluster_ip_from_host(void **state)
{
	int servers[PODS];

	stage(false);
	start_web(AF_INET, servers, 0x7);
	check_spread(net.host, "10.96.0.20", 80, servers, 0x7);
	struct meeting m = meet(&net, net.host, "10.96.0.20", 80, servers, PODS);
	assert_ip(&m.source, "10.244.0.1");
	exchange(&m);
	part(&m);
	stop(servers);
}

static void cluster_ip_from_pod(void **state)
{
	int servers[PODS];

	stage(false);
	start_web(AF_INET, servers, 0x7);
	check_spread(net.pod[3], "10.96.0.20", 80, servers, 0x7);
	struct meeting m = meet(&net, net.pod[3], "10.96.0.20", 80, servers, PODS);
	assert_ip(&m.source, "10.244.0.13"); // pods see each other's addresses
	exchange(&m);
	part(&m);
	stop(servers);
}

static void ipv6(void **state)
{
	int servers[PODS];

	stage(false);
	start_web(AF_INET6, servers, 0x3);
	check_spread(net.host, "fd00:10:96::20", 80, servers, 0x3);
	check_spread(net.pod[2], "fd00:10:96::20", 80, servers, 0x3);
	struct meeting m = meet(&net, net.pod[2], "fd00:10:96::20", 80, servers, PODS);
	assert_ip(&m.source, "fd00:10:244::12");
	part(&m);
	check_spread(net.pod[2], "fd00:10:244::1", 30080, servers, 0x3);
	stop(servers);
}

// Pod 0 reaches itself, and sees the node's address.
static void check_hairpin(const int *servers)
{
	struct meeting m = meet(&net, net.pod[0], "10.96.0.20", 80, servers, PODS);

	assert_int_equal(m.server, 0);
	assert_ip(&m.source, "10.244.0.1");
	exchange(&m);
	part(&m);
}

static void hairpin(void **state)
{
	int servers[PODS];

	stage(false);
	start_web(AF_INET, servers, 0x1);
	check_hairpin(servers);
	stop(servers);
}

// A slice written by hand, which says nothing of nodes: the pod may be anywhere, and is here.
static void hairpin_without_node_name(void **state)
{
	int servers[PODS];

	stage(false);
	start_web(AF_INET, servers, 0);
	feed_apply(&f, "kind: EndpointSlice\n"
		       "apiVersion: discovery.k8s.io/v1\n"
		       "metadata: {name: web-by-hand, labels: {kubernetes.io/service-name: web}}\n"
		       "addressType: IPv4\n"
		       "ports: [{name: http, port: 8080, protocol: TCP}]\n"
		       "endpoints: [{addresses: [10.244.0.10]}]\n");
	feed_sync(&f);
	check_hairpin(servers);
	stop(servers);
}

// Who ends but still serves is asked only while nobody else is ready (KEP-1669).
static void terminating(void **state)
{
	static const char head[] = "kind: EndpointSlice\n"
				   "apiVersion: discovery.k8s.io/v1\n"
				   "metadata: {name: web-4, labels: {kubernetes.io/service-name: web}}\n"
				   "addressType: IPv4\n"
				   "ports: [{name: http, port: 8080, protocol: TCP}]\n"
				   "endpoints:\n"
				   "- {addresses: [10.244.0.10], nodeName: node-a, conditions: {ready: false, "
				   "serving: true, terminating: true}}\n"
				   "- {addresses: [10.244.0.12], nodeName: node-a, conditions: {ready: false, "
				   "serving: false, terminating: true}}\n";
	AUTO_FREE char *and_ready = fl_asprintf(
	    "%s- {addresses: [10.244.0.11], nodeName: node-a, conditions: {ready: true, serving: true}}\n", head);
	int servers[PODS];

	stage(false);
	start_web(AF_INET, servers, 0x1);
	struct meeting before = meet(&net, net.pod[3], "10.96.0.20", 80, servers, PODS);
	feed_apply(&f, head);
	feed_sync(&f);
	for (int i = 0; i < 10; i++)
		check_spread(net.pod[3], "10.96.0.20", 80, servers, 0x1);
	feed_apply(&f, and_ready);
	feed_sync(&f);
	for (int i = 0; i < 10; i++)
		check_spread(net.pod[3], "10.96.0.20", 80, servers, 0x2);
	exchange(&before); // begun while it was ready
	part(&before);
	stop(servers);
}

static void node_port(void **state)
{
	int servers[PODS];

	stage(true);
	start_web(AF_INET, servers, 0x3);
	check_spread(net.client, "192.0.2.1", 30080, servers, 0x3);
	check_spread(net.host, "192.0.2.1", 30080, servers, 0x3);
	check_spread(net.host, "10.244.0.1", 30080, servers, 0x3);
	check_spread(net.pod[3], "192.0.2.1", 30080, servers, 0x3);
	check_spread(net.pod[3], "10.244.0.1", 30080, servers, 0x3);
	struct meeting m = meet(&net, net.client, "192.0.2.1", 30080, servers, PODS);
	assert_ip(&m.source, "10.244.0.1"); // policy Cluster: hidden behind this node
	exchange(&m);
	part(&m);
	// A cluster IP has no node ports.
	int fd = start_connect(&net, net.pod[3], SOCK_STREAM, "10.96.0.20", 30080);
	assert_int_equal(await_connect(fd, WAIT_MS), ECONNREFUSED);
	close(fd);
	stop(servers);
}

static void external_policy_local(void **state)
{
	int servers[PODS];

	stage(true);
	for (int i = 0; i < PODS; i++)
		servers[i] = serve(&net, net.pod[i], AF_INET, SOCK_STREAM, 8080);
	feed_apply(&f, "kind: Service\n"
		       "apiVersion: v1\n"
		       "metadata: {name: ext}\n"
		       "spec:\n"
		       "  type: LoadBalancer\n"
		       "  clusterIP: 10.96.0.30\n"
		       "  externalTrafficPolicy: Local\n"
		       "  ports: [{port: 80, protocol: TCP, nodePort: 30081}]\n"
		       "status: {loadBalancer: {ingress: [{ip: 198.51.100.7}]}}\n"
		       "---\n"
		       "kind: EndpointSlice\n"
		       "apiVersion: discovery.k8s.io/v1\n"
		       "metadata: {name: ext-4, labels: {kubernetes.io/service-name: ext}}\n"
		       "addressType: IPv4\n"
		       "ports: [{port: 8080, protocol: TCP}]\n"
		       "endpoints:\n"
		       "- {addresses: [10.244.0.10], conditions: {ready: true}, nodeName: node-a}\n"
		       "- {addresses: [10.244.0.11], conditions: {ready: true}, nodeName: elsewhere}\n");
	feed_sync(&f);
	for (int i = 0; i < 20; i++) {
		struct meeting m =
		    meet(&net, net.client, i % 2 ? "192.0.2.1" : "198.51.100.7", i % 2 ? 30081 : 80, servers, PODS);

		assert_int_equal(m.server, 0);
		assert_ip(&m.source, "192.0.2.2"); // the client's own
		part(&m);
	}
	check_spread(net.pod[3], "198.51.100.7", 80, servers, 0x3); // pods know no policy Local
	check_spread(net.host, "192.0.2.1", 30081, servers, 0x3);
	struct meeting m = meet(&net, net.pod[3], "198.51.100.7", 80, servers, PODS);
	assert_ip(&m.source, "10.244.0.13");
	part(&m);

	// None here any more: outside traffic is dropped, pods still get through.
	feed_apply(&f, "kind: EndpointSlice\n"
		       "apiVersion: discovery.k8s.io/v1\n"
		       "metadata: {name: ext-4, labels: {kubernetes.io/service-name: ext}}\n"
		       "addressType: IPv4\n"
		       "ports: [{port: 8080, protocol: TCP}]\n"
		       "endpoints:\n"
		       "- {addresses: [10.244.0.11], conditions: {ready: true}, nodeName: elsewhere}\n");
	feed_sync(&f);
	check_spread(net.pod[3], "198.51.100.7", 80, servers, 0x2);
	int fd = start_connect(&net, net.client, SOCK_STREAM, "198.51.100.7", 80);
	assert_int_equal(await_connect(fd, 300), -1);
	close(fd);
	stop(servers);
}

static void source_ranges(void **state)
{
	int servers[PODS];

	stage(true);
	for (int i = 0; i < PODS; i++)
		servers[i] = serve(&net, net.pod[i], AF_INET, SOCK_STREAM, 8080);
	const char *lb = "kind: Service\n"
			 "apiVersion: v1\n"
			 "metadata: {name: lb}\n"
			 "spec:\n"
			 "  type: LoadBalancer\n"
			 "  clusterIP: 10.96.0.50\n"
			 "  loadBalancerSourceRanges: [192.0.2.%s]\n"
			 "  ports: [{name: http, port: 80, protocol: TCP, nodePort: 30085}]\n"
			 "status: {loadBalancer: {ingress: [{ip: 203.0.113.1}]}}\n";
	const char *at = strstr(lb, "%s");
	AUTO_FREE char *open_to_client = fl_asprintf("%.*s0/30%s", (int)(at - lb), lb, at + 2);
	AUTO_FREE char *closed_to_client = fl_asprintf("%.*s4/30%s", (int)(at - lb), lb, at + 2);

	feed_apply(&f, open_to_client);
	feed_slice(&f, "lb", AF_INET, HTTP_PORTS, 0x3);
	check_spread(net.client, "203.0.113.1", 80, servers, 0x3);
	feed_apply(&f, closed_to_client);
	feed_sync(&f);
	int fd = start_connect(&net, net.client, SOCK_STREAM, "203.0.113.1", 80);
	assert_int_equal(await_connect(fd, 300), -1);
	close(fd);
	check_spread(net.client, "192.0.2.1", 30085, servers, 0x3);
	check_spread(net.pod[3], "10.96.0.50", 80, servers, 0x3);
	stop(servers);
}

static void udp(void **state)
{
	int servers[PODS];
	char c;

	stage(true);
	for (int i = 0; i < PODS; i++)
		servers[i] = serve(&net, net.pod[i], AF_INET, SOCK_DGRAM, 5353);
	feed_apply(&f, "kind: Service\n"
		       "apiVersion: v1\n"
		       "metadata: {name: dns}\n"
		       "spec:\n"
		       "  type: NodePort\n"
		       "  clusterIP: 10.96.0.10\n"
		       "  ports: [{name: dns, port: 53, protocol: UDP, nodePort: 30053}]\n");
	feed_slice(&f, "dns", AF_INET, "[{name: dns, port: 5353, protocol: UDP}]", 0x3);
	struct {
		int from;
		const char *address;
		uint16_t port;
	} ways[] = {
	    {net.host, "10.96.0.10", 53},
	    {net.pod[3], "10.96.0.10", 53},
	    {net.pod[0], "10.96.0.10", 53}, // may be itself
	    {net.client, "192.0.2.1", 30053},
	};
	for (size_t i = 0; i < 10 * FL_COUNT(ways); i++) {
		size_t w = i % FL_COUNT(ways);
		struct sockaddr_storage sa;
		socklen_t len = sizeof(sa);
		int fd = start_connect(&net, ways[w].from, SOCK_DGRAM, ways[w].address, ways[w].port);

		assert_int_equal(send(fd, "q", 1, 0), 1);
		int server = await_any(servers, PODS);
		assert_true(server < 2);
		assert_int_equal(recvfrom(servers[server], &c, 1, 0, (struct sockaddr *)&sa, &len), 1);
		assert_int_equal(sendto(servers[server], "r", 1, 0, (struct sockaddr *)&sa, len), 1);
		await_readable(fd); // a connected socket takes it from the virtual address only
		assert_int_equal(recv(fd, &c, 1, 0), 1);
		assert_int_equal(c, 'r');
		close(fd);
	}
	stop(servers);
}

static uint64_t count_of(const char *name)
{
	struct fl_proxy_counter list[8];
	unsigned n = 0;

	must(fl_proxy_nft_ops.counters(f.backend, list, 8, &n, &err));
	for (unsigned i = 0; i < n; i++) {
		if (fl_streq(list[i].name, name))
			return list[i].packets;
	}
	fail_msg("no counter %s", name);
	return 0;
}

static void check_refused(int from, const char *address, uint16_t port)
{
	int fd = start_connect(&net, from, SOCK_STREAM, address, port);
	int error = await_connect(fd, WAIT_MS);

	if (error != ECONNREFUSED)
		fail_msg("%s port %u: %s instead of a refusal", address, port,
			 error < 0 ? "nothing"
			 : error   ? strerror(error)
				   : "connected");
	close(fd);
}

static void refusals(void **state)
{
	char c;

	stage(true);
	feed_apply(&f, web);
	feed_apply(&f, "kind: Service\n"
		       "apiVersion: v1\n"
		       "metadata: {name: dns}\n"
		       "spec: {clusterIP: 10.96.0.10, ports: [{name: dns, port: 53, protocol: UDP}]}\n");
	feed_sync(&f);
	check_refused(net.host, "10.96.0.20", 80);
	check_refused(net.pod[0], "10.96.0.20", 80);
	check_refused(net.client, "10.96.0.20", 80);
	check_refused(net.client, "192.0.2.1", 30080);
	check_refused(net.pod[0], "fd00:10:96::20", 80);
	check_refused(net.host, "fd00:10:96::20", 80);
	assert_int_equal(count_of("no-endpoints"), 6);
	check_refused(net.pod[0], "10.96.0.20", 81);
	check_refused(net.host, "10.96.0.20", 81);
	assert_int_equal(count_of("unknown-port"), 2);

	int fd = start_connect(&net, net.pod[0], SOCK_DGRAM, "10.96.0.10", 53);
	assert_int_equal(send(fd, "q", 1, 0), 1);
	await_readable(fd);
	assert_int_equal(recv(fd, &c, 1, 0), -1);
	assert_int_equal(errno, ECONNREFUSED);
	close(fd);

	// Not allocated (yet): silence, so that a client's retry finds the rules that may be on their way.
	fd = start_connect(&net, net.pod[0], SOCK_STREAM, "10.96.0.99", 80);
	assert_int_equal(await_connect(fd, 300), -1);
	close(fd);
	assert_true(count_of("unallocated-vip") >= 1);
}

static void established_survive(void **state)
{
	int servers[PODS];

	stage(false);
	start_web(AF_INET, servers, 0x1);
	struct meeting pod = meet(&net, net.pod[3], "10.96.0.20", 80, servers, PODS);
	struct meeting host = meet(&net, net.host, "10.96.0.20", 80, servers, PODS);
	feed_slice(&f, "web", AF_INET, HTTP_PORTS, 0x2);
	exchange(&pod);
	exchange(&host);
	check_spread(net.pod[3], "10.96.0.20", 80, servers, 0x2);
	feed_delete_all(&f);
	feed_sync(&f);
	exchange(&pod);
	exchange(&host);
	part(&pod);
	part(&host);
	stop(servers);
}

static void affinity(void **state)
{
	int servers[PODS], first = -1;

	stage(false);
	for (int i = 0; i < PODS; i++)
		servers[i] = serve(&net, net.pod[i], AF_INET, SOCK_STREAM, 8080);
	feed_apply(&f, "kind: Service\n"
		       "apiVersion: v1\n"
		       "metadata: {name: sticky}\n"
		       "spec:\n"
		       "  clusterIP: 10.96.0.40\n"
		       "  sessionAffinity: ClientIP\n"
		       "  ports: [{name: http, port: 80, protocol: TCP}]\n");
	feed_slice(&f, "sticky", AF_INET, HTTP_PORTS, 0x7);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 30; i++) {
			struct meeting m = meet(&net, net.pod[3], "10.96.0.40", 80, servers, PODS);

			if (i == 0)
				assert_int_not_equal(m.server, first); // gone in the second round
			else
				assert_int_equal(m.server, first);
			first = m.server;
			part(&m);
		}
		feed_slice(&f, "sticky", AF_INET, HTTP_PORTS, 0x7 & ~(1u << first));
	}
	stop(servers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(cluster_ip_from_host, finish),
	    cmocka_unit_test_teardown(cluster_ip_from_pod, finish),
	    cmocka_unit_test_teardown(ipv6, finish),
	    cmocka_unit_test_teardown(hairpin, finish),
	    cmocka_unit_test_teardown(hairpin_without_node_name, finish),
	    cmocka_unit_test_teardown(terminating, finish),
	    cmocka_unit_test_teardown(node_port, finish),
	    cmocka_unit_test_teardown(external_policy_local, finish),
	    cmocka_unit_test_teardown(source_ranges, finish),
	    cmocka_unit_test_teardown(udp, finish),
	    cmocka_unit_test_teardown(refusals, finish),
	    cmocka_unit_test_teardown(established_survive, finish),
	    cmocka_unit_test_teardown(affinity, finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
