// SPDX-License-Identifier: Apache-2.0
// UDP clients that never pause: when their endpoint stops serving, or a Service comes or goes under them, their next
// packet takes the new way; everybody else's connections stay.
#include "net_test.h"

#include <sys/stat.h>

#include "proxy/conntrack.h"
#include "proxy/host.h"

#define DNS_PORTS "[{name: dns, port: 5353, protocol: UDP}]"

static struct net net;
static struct feed f;
static struct fl_proxy_conntrack *ct;
static char run_dir[64];
static struct fl_proxy_opts opts;
static int servers[PODS];

static const char dns[] = "kind: Service\n"
			  "apiVersion: v1\n"
			  "metadata: {name: dns}\n"
			  "spec:\n"
			  "  type: NodePort\n"
			  "  clusterIP: 10.96.0.10\n"
			  "  ports: [{name: dns, port: 53, protocol: UDP, nodePort: 30053}]\n";

static int set_up(void **state)
{
	struct fl_proxy_backend_config cfg = test_config();

	if (!net_init(&net, true))
		return 0;
	snprintf(run_dir, sizeof(run_dir), "/tmp/fairlead-proxy-test-%d", (int)getpid());
	mkdir(run_dir, 0700);
	opts = (struct fl_proxy_opts){
	    .run_dir = run_dir,
	    .service_cidrs = {cfg.service_cidrs[0], cfg.service_cidrs[1]},
	    .n_service_cidrs = 2,
	};
	must(fl_proxy_host_sysctls(&opts, &err));
	must(fl_proxy_host_routes(&opts, &err));
	ct = fl_proxy_conntrack_new();
	feed_init(&f, &cfg, "node-a");
	fl_proxy_core_free(&f.core);
	f.core = fl_proxy_core_new(&(struct fl_proxy_core_opts){
	    .node_name = "node-a",
	    .ops = &fl_proxy_nft_ops,
	    .backend = f.backend,
	    .on_udp_change = fl_proxy_conntrack_note,
	    .arg = ct,
	});
	for (int i = 0; i < PODS; i++)
		servers[i] = serve(&net, net.pod[i], AF_INET, SOCK_DGRAM, 5353);
	return 0;
}

static int tear_down(void **state)
{
	if (!f.core)
		return 0;
	for (int i = 0; i < PODS; i++)
		close(servers[i]);
	feed_deinit(&f);
	fl_proxy_conntrack_free(&ct);
	must(fl_proxy_cleanup(&opts, &err));
	net_deinit(&net);
	f = (struct feed){0};
	rmdir(run_dir);
	return 0;
}

static unsigned clean(void)
{
	unsigned deleted = 0;

	must(fl_proxy_conntrack_clean(ct, f.core, &deleted, &err));
	assert_false(fl_proxy_conntrack_pending(ct));
	return deleted;
}

static void require_root(void)
{
	if (!f.core)
		skip();
}

static int hears(int fd)
{
	char c;

	assert_int_equal(send(fd, "q", 1, 0), 1);
	int server = await_any(servers, PODS);
	assert_int_equal(recv(servers[server], &c, 1, 0), 1);
	return server;
}

static void endpoint_gone(void **state)
{
	int clients[3];

	require_root();
	feed_apply(&f, dns);
	feed_slice(&f, "dns", AF_INET, DNS_PORTS, 0x1);
	clean();
	clients[0] = start_connect(&net, net.pod[3], SOCK_DGRAM, "10.96.0.10", 53);
	clients[1] = start_connect(&net, net.host, SOCK_DGRAM, "10.96.0.10", 53);
	clients[2] = start_connect(&net, net.client, SOCK_DGRAM, "192.0.2.1", 30053);
	for (int i = 0; i < 3; i++)
		assert_int_equal(hears(clients[i]), 0);

	feed_slice(&f, "dns", AF_INET, DNS_PORTS, 0x3); // one more: nobody moves
	assert_false(fl_proxy_conntrack_pending(ct));
	for (int i = 0; i < 3; i++)
		assert_int_equal(hears(clients[i]), 0);

	feed_slice(&f, "dns", AF_INET, DNS_PORTS, 0x2); // theirs is gone
	assert_true(fl_proxy_conntrack_pending(ct));
	assert_int_equal(clean(), 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(hears(clients[i]), 1);

	// To no endpoint and back (k8s#139629).
	feed_slice(&f, "dns", AF_INET, DNS_PORTS, 0);
	assert_int_equal(clean(), 3);
	char c;
	assert_int_equal(send(clients[0], "q", 1, 0), 1);
	await_readable(clients[0]);
	assert_int_equal(recv(clients[0], &c, 1, 0), -1);
	assert_int_equal(errno, ECONNREFUSED);
	feed_slice(&f, "dns", AF_INET, DNS_PORTS, 0x4);
	clean();
	for (int i = 0; i < 3; i++) {
		assert_int_equal(hears(clients[i]), 2);
		close(clients[i]);
	}
}

// An endpoint that ends gracefully keeps its connections as long as it serves, though new ones go elsewhere.
static void terminating_keeps_them(void **state)
{
	require_root();
	feed_apply(&f, dns);
	feed_slice(&f, "dns", AF_INET, DNS_PORTS, 0x1);
	clean();
	int fd = start_connect(&net, net.pod[3], SOCK_DGRAM, "10.96.0.10", 53);
	assert_int_equal(hears(fd), 0);
	feed_apply(&f, "kind: EndpointSlice\n"
		       "apiVersion: discovery.k8s.io/v1\n"
		       "metadata: {name: dns-4, labels: {kubernetes.io/service-name: dns}}\n"
		       "addressType: IPv4\n"
		       "ports: [{name: dns, port: 5353, protocol: UDP}]\n"
		       "endpoints:\n"
		       "- {addresses: [10.244.0.10], conditions: {ready: false, serving: true, terminating: true}}\n"
		       "- {addresses: [10.244.0.11], conditions: {ready: true}}\n");
	feed_sync(&f);
	assert_int_equal(clean(), 0);
	assert_int_equal(hears(fd), 0);
	int other = start_connect(&net, net.pod[3], SOCK_DGRAM, "10.96.0.10", 53);
	assert_int_equal(hears(other), 1);
	close(fd);
	close(other);
}

// A client that sent to a node port before there was one.
static void service_comes_later(void **state)
{
	char c;

	require_root();
	feed_sync(&f); // connections are tracked once there are rules
	clean();
	int squatter = serve(&net, net.host, AF_INET, SOCK_DGRAM, 30053);
	int fd = start_connect(&net, net.client, SOCK_DGRAM, "192.0.2.1", 30053);
	assert_int_equal(send(fd, "q", 1, 0), 1);
	await_readable(squatter);
	assert_int_equal(recv(squatter, &c, 1, 0), 1);
	// The same port elsewhere is none of our business.
	int stranger = serve(&net, net.pod[2], AF_INET, SOCK_DGRAM, 30053);
	int other = start_connect(&net, net.client, SOCK_DGRAM, "10.244.0.12", 30053);
	assert_int_equal(send(other, "q", 1, 0), 1);
	await_readable(stranger);

	feed_apply(&f, dns);
	feed_slice(&f, "dns", AF_INET, DNS_PORTS, 0x1);
	assert_int_equal(clean(), 1);
	assert_int_equal(hears(fd), 0);
	feed_delete(&f, "Service default/dns");
	feed_sync(&f);
	assert_int_equal(clean(), 1);
	assert_int_equal(send(fd, "q", 1, 0), 1);
	await_readable(squatter);
	close(fd);
	close(other);
	close(stranger);
	close(squatter);
}

// A rule of somebody else that looks at connections: the kernel tracks them without our rules, too, as it does on a
// node.
static void track_for_others(void)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	AUTO(nft_batch_deinit) struct nft_batch b;

	must(fl_netlink_open(NETLINK_NETFILTER, &nl, &err));
	nft_batch_init(&b, nl, "bystander");
	b.family = NFPROTO_IPV4;
	nft_table(&b, NFT_MSG_NEWTABLE, NULL);
	nft_chain(&b, NFT_MSG_NEWCHAIN, "mine");
	nft_rule(&b, "mine");
	nft_expr_ct(&b, NFT_CT_STATUS, false, R(0));
	nft_rule_end(&b);
	must(nft_batch_send(&b, &err));
}

// Somebody's flush: what came before the rules were back was not translated, and must not stay so.
static void flushed_meanwhile(void **state)
{
	char c;

	require_root();
	feed_apply(&f, dns);
	feed_slice(&f, "dns", AF_INET, DNS_PORTS, 0x1);
	clean();
	int before = start_connect(&net, net.pod[3], SOCK_DGRAM, "10.96.0.10", 53);
	assert_int_equal(hears(before), 0);
	track_for_others();
	flush_rules();
	int squatter = serve(&net, net.host, AF_INET, SOCK_DGRAM, 30053);
	int fd = start_connect(&net, net.client, SOCK_DGRAM, "192.0.2.1", 30053);
	assert_int_equal(send(fd, "q", 1, 0), 1);
	await_readable(squatter);
	assert_int_equal(recv(squatter, &c, 1, 0), 1);

	fl_proxy_core_resync(f.core);
	feed_sync(&f);
	assert_true(fl_proxy_conntrack_pending(ct));
	assert_int_equal(clean(), 1);
	assert_int_equal(hears(fd), 0);
	assert_int_equal(hears(before), 0);
	close(before);
	close(fd);
	close(squatter);
}

static void restart_keeps_them(void **state)
{
	require_root();
	feed_apply(&f, dns);
	feed_slice(&f, "dns", AF_INET, DNS_PORTS, 0x3);
	clean();
	int fd = start_connect(&net, net.pod[3], SOCK_DGRAM, "10.96.0.10", 53);
	int server = hears(fd);

	fl_proxy_core_free(&f.core);
	f.core = fl_proxy_core_new(&(struct fl_proxy_core_opts){
	    .node_name = "node-a",
	    .ops = &fl_proxy_nft_ops,
	    .backend = f.backend,
	    .on_udp_change = fl_proxy_conntrack_note,
	    .arg = ct,
	});
	feed_apply(&f, dns);
	feed_slice(&f, "dns", AF_INET, DNS_PORTS, 1u << server);
	assert_true(fl_proxy_conntrack_pending(ct)); // what happened while it was away is not known
	assert_int_equal(clean(), 0);
	assert_int_equal(hears(fd), server);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(endpoint_gone, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(terminating_keeps_them, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(service_comes_later, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(flushed_meanwhile, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(restart_keeps_them, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
