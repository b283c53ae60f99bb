// SPDX-License-Identifier: Apache-2.0
// What outlives the proxy, and what must not: restarts, strangers' tables, other layouts, cleanup.
#include "stage_test.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>

#include "proxy/nft/read.h"

static const char web[] = "kind: Service\n"
			  "apiVersion: v1\n"
			  "metadata: {name: web}\n"
			  "spec:\n"
			  "  type: NodePort\n"
			  "  clusterIP: 10.96.0.20\n"
			  "  sessionAffinity: ClientIP\n"
			  "  ports: [{name: http, port: 80, protocol: TCP, nodePort: 30080}]\n";

static const char plain_web[] = "kind: Service\n"
				"apiVersion: v1\n"
				"metadata: {name: web}\n"
				"spec: {clusterIP: 10.96.0.20, ports: [{name: http, port: 80, protocol: TCP}]}\n";

static int store_generation(const struct nlmsghdr *msg, void *arg)
{
	// One attribute follows the header: NFTA_GEN_ID, in network order like all of them.
	memcpy(arg, (const char *)msg + sizeof(*msg) + sizeof(struct nfgenmsg) + sizeof(struct nlattr), 4);
	return 0;
}

// Counts the transactions of this namespace: the same number twice means nothing was written in between.
static uint32_t generation(void)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	AUTO(nft_batch_deinit) struct nft_batch b = {0};
	uint32_t id = 0;

	must(fl_netlink_open(NETLINK_NETFILTER, &nl, &err));
	nft_msg_begin(&b, NFT_MSG_GETGEN, 0);
	nft_msg_end(&b);
	must(fl_netlink_talk(nl, (struct nlmsghdr *)(void *)b.buf.data, store_generation, &id, &err));
	assert_int_not_equal(id, 0);
	return id;
}

static uint64_t table_handle(void)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	struct nft_table_info info;

	must(fl_netlink_open(NETLINK_NETFILTER, &nl, &err));
	must(nft_read_table(nl, false, &info, &err));
	return info.handle;
}

static void new_process(void)
{
	feed_deinit(&f);
	feed_init(&f, &cfg, "node-a");
}

static void restart_writes_nothing(void **state)
{
	int servers[PODS];

	stage(false);
	for (int i = 0; i < PODS; i++)
		servers[i] = serve(&net, net.pod[i], AF_INET, SOCK_STREAM, 8080);
	feed_apply(&f, web);
	feed_slice(&f, "web", AF_INET, HTTP_PORTS, 0x7);
	struct meeting before = meet(&net, net.pod[3], "10.96.0.20", 80, servers, PODS);
	AUTO_FREE char *text = kernel_text(&f);
	uint32_t was = generation();

	new_process();
	feed_apply(&f, web);
	feed_slice(&f, "web", AF_INET, HTTP_PORTS, 0x7);
	assert_int_equal(generation(), was);
	AUTO_FREE char *text_after = kernel_text(&f);
	assert_string_equal(text, text_after);
	exchange(&before);
	struct meeting after = meet(&net, net.pod[3], "10.96.0.20", 80, servers, PODS);
	assert_int_equal(after.server, before.server); // its memory of clients is in the kernel too
	part(&before);
	part(&after);
	for (int i = 0; i < PODS; i++)
		close(servers[i]);
}

static void restart_catches_up(void **state)
{
	stage(false);
	feed_apply(&f, web);
	feed_apply(&f, "kind: Service\n"
		       "apiVersion: v1\n"
		       "metadata: {name: gone}\n"
		       "spec: {clusterIP: 10.96.0.21, ports: [{port: 80, protocol: TCP}]}\n");
	feed_slice(&f, "web", AF_INET, HTTP_PORTS, 0x7);
	feed_slice(&f, "gone", AF_INET, "[{port: 80, protocol: TCP}]", 0xf);

	new_process(); // one Service went, one came, one changed
	const char *fresh = "kind: Service\n"
			    "apiVersion: v1\n"
			    "metadata: {name: fresh}\n"
			    "spec: {clusterIP: 10.96.0.21, ports: [{port: 80, protocol: UDP}]}\n";
	feed_apply(&f, web);
	feed_apply(&f, fresh);
	feed_slice(&f, "web", AF_INET, HTTP_PORTS, 0x5);
	AUTO_FREE char *caught_up = kernel_text(&f);

	must(fl_proxy_nft_ops.cleanup(&err));
	new_process();
	feed_apply(&f, web);
	feed_apply(&f, fresh);
	feed_slice(&f, "web", AF_INET, HTTP_PORTS, 0x5);
	AUTO_FREE char *from_nothing = kernel_text(&f);
	assert_string_equal(caught_up, from_nothing);
}

static void removed_table_comes_back(void **state)
{
	struct fl_err e = {0};

	stage(false);
	feed_apply(&f, web);
	feed_slice(&f, "web", AF_INET, HTTP_PORTS, 0x3);
	AUTO_FREE char *before = kernel_text(&f);
	assert_int_equal(fl_proxy_nft_ops.check(f.backend, &e), 0);
	must(fl_proxy_nft_ops.cleanup(&err)); // a stranger's flush
	assert_int_equal(fl_proxy_nft_ops.check(f.backend, &e), -ESTALE);
	fl_proxy_core_resync(f.core);
	feed_sync(&f);
	AUTO_FREE char *after = kernel_text(&f);
	assert_string_equal(before, after);
	assert_int_equal(fl_proxy_nft_ops.check(f.backend, &e), 0);

	// The same, found by a change that does not fit any more.
	must(fl_proxy_nft_ops.cleanup(&err));
	feed_apply(&f, "kind: Service\n"
		       "apiVersion: v1\n"
		       "metadata: {name: more}\n"
		       "spec: {clusterIP: 10.96.0.21, ports: [{port: 80, protocol: TCP}]}\n");
	assert_int_equal(fl_proxy_core_sync(f.core, &e), -ENOENT);
	assert_true(fl_proxy_core_dirty(f.core));
	feed_sync(&f);
	feed_delete(&f, "Service default/more");
	feed_sync(&f);
	AUTO_FREE char *again = kernel_text(&f);
	assert_string_equal(before, again);
}

static void flushed_rules_come_back(void **state)
{
	struct fl_err e = {0};

	stage(false);
	feed_apply(&f, web);
	feed_slice(&f, "web", AF_INET, HTTP_PORTS, 0x3);
	AUTO_FREE char *before = kernel_text(&f);
	uint64_t handle = table_handle();
	flush_rules();
	assert_int_equal(fl_proxy_nft_ops.check(f.backend, &e), -ESTALE);
	assert_string_equal(e.text, "nftables: somebody removed the rules of table ip fairlead");
	fl_proxy_core_resync(f.core);
	feed_sync(&f);
	AUTO_FREE char *after = kernel_text(&f);
	assert_string_equal(before, after);
	assert_int_equal(table_handle(), handle); // no packet saw other elements
	assert_int_equal(fl_proxy_nft_ops.check(f.backend, &e), 0);

	// While no proxy ran.
	flush_rules();
	new_process();
	feed_apply(&f, web);
	feed_slice(&f, "web", AF_INET, HTTP_PORTS, 0x3);
	AUTO_FREE char *restarted = kernel_text(&f);
	assert_string_equal(before, restarted);
	assert_int_equal(table_handle(), handle);
}

// A chain that waits for tidy was flushed with the others: who needs it again must not take it as it is.
static void flushed_garbage_is_written_anew(void **state)
{
	stage(false);
	feed_apply(&f, plain_web);
	feed_slice(&f, "web", AF_INET, HTTP_PORTS, 0x7);
	AUTO_FREE char *before = kernel_text(&f);
	feed_slice(&f, "web", AF_INET, HTTP_PORTS, 0x3);
	flush_rules();
	fl_proxy_core_resync(f.core);
	feed_sync(&f);
	feed_slice(&f, "web", AF_INET, HTTP_PORTS, 0x7);
	AUTO_FREE char *after = kernel_text(&f);
	assert_string_equal(before, after);
}

// Connects without pause while rules change; every attempt must succeed, and at once: a lost first packet would be sent
// again after a second.
struct knocker {
	pthread_t thread;
	atomic_bool stop;
	int netns, listeners[PODS];
	unsigned knocks, failures, retransmits;
	int error; // of the last failure
};

static void *knock(void *arg)
{
	struct knocker *k = arg;
	struct pollfd p[PODS];

	for (int i = 0; i < PODS; i++)
		p[i] = (struct pollfd){.fd = k->listeners[i], .events = POLLIN};
	if (setns(k->netns, CLONE_NEWNET) < 0)
		return NULL;
	while (!atomic_load(&k->stop)) {
		struct fl_ip ip = ip_of("10.96.0.20");
		struct sockaddr_storage sa;
		socklen_t len;
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		struct tcp_info info = {0};
		struct linger reset = {.l_onoff = 1}; // or the ports run out in TIME_WAIT

		fl_ip_to_sockaddr(&ip, 80, &sa, &len);
		k->knocks++;
		if (connect(fd, (struct sockaddr *)&sa, len) < 0) {
			k->failures++;
			k->error = errno;
		}
		len = sizeof(info);
		getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len);
		k->retransmits += info.tcpi_total_retrans;
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		close(fd);
		while (poll(p, PODS, 0) > 0) {
			for (int i = 0; i < PODS; i++) {
				if (p[i].revents)
					close(accept(p[i].fd, NULL, NULL));
			}
		}
	}
	return NULL;
}

static void start_knocking(struct knocker *k)
{
	*k = (struct knocker){.netns = net.pod[3]};
	for (int i = 0; i < PODS; i++)
		k->listeners[i] = serve(&net, net.pod[i], AF_INET, SOCK_STREAM, 8080);
	assert_int_equal(pthread_create(&k->thread, NULL, knock, k), 0);
}

static void stop_knocking(struct knocker *k)
{
	atomic_store(&k->stop, true);
	pthread_join(k->thread, NULL);
	for (int i = 0; i < PODS; i++)
		close(k->listeners[i]);
	if (k->failures)
		fail_msg("%u of %u failed: %s", k->failures, k->knocks, strerror(k->error));
	assert_int_equal(k->retransmits, 0);
	assert_true(k->knocks > 0);
}

static void endpoints_change_without_gap(void **state)
{
	struct knocker k;

	stage(false);
	feed_apply(&f, plain_web);
	feed_slice(&f, "web", AF_INET, HTTP_PORTS, 0x7);
	start_knocking(&k);
	for (unsigned i = 0; i < 20000; i++) {
		static const unsigned sets[] = {0x7, 0x3, 0x6, 0x1, 0x4, 0x5, 0x2};

		feed_slice(&f, "web", AF_INET, HTTP_PORTS, sets[i % FL_COUNT(sets)]);
		if (i % 1000 == 0)
			must(fl_proxy_nft_ops.tidy(f.backend, &err));
	}
	stop_knocking(&k);
}

// Services whose endpoints come and go, through none, and which go and come back themselves, with what goes last tidied
// away at any moment: each transaction fits what the kernel has, and what is left is what a first pass writes.
static void through_none_and_back(void **state)
{
	static const char *const specs[] = {
	    "{clusterIP: 10.96.0.20, ports: [{name: http, port: 80, protocol: TCP}]}",
	    "{clusterIP: 10.96.0.20, internalTrafficPolicy: Local, ports: [{name: http, port: 80, protocol: TCP}]}",
	    "{clusterIP: 10.96.0.20, sessionAffinity: ClientIP, ports: [{name: http, port: 80, protocol: TCP}]}",
	    "{clusterIP: 10.96.0.20, type: NodePort, ports: [{name: http, port: 80, protocol: TCP, nodePort: 30080}]}",
	    "{clusterIP: 10.96.0.21, externalIPs: [10.96.0.20], ports: [{name: http, port: 80, protocol: TCP}]}",
	};
	static const unsigned masks[] = {0, 0x1, 0, 0x3, 0, 0x7};
	uint32_t dice = 1;
	bool there = false;

	stage(false);
	feed_apply(&f, "kind: Service\napiVersion: v1\nmetadata: {name: other}\nspec: {clusterIP: 10.96.0.22, ports: "
		       "[{port: 80, protocol: TCP}]}\n");
	for (unsigned i = 0; i < 4000; i++) {
		dice = dice * 1664525 + 1013904223;
		unsigned what = (dice >> 16) % 8, which = dice >> 24;

		if (what < 2) {
			AUTO_FREE char *text =
			    fl_asprintf("kind: Service\napiVersion: v1\nmetadata: {name: web}\nspec: %s\n",
					specs[which % FL_COUNT(specs)]);
			feed_apply(&f, text);
			there = true;
		} else if (what == 2 && there) {
			feed_delete(&f, "Service default/web");
			there = false;
		} else if (what == 3) {
			must(fl_proxy_nft_ops.tidy(f.backend, &err));
		} else if (what > 3) {
			feed_slice(&f, "web", AF_INET, HTTP_PORTS, masks[which % FL_COUNT(masks)]);
		}
		feed_sync(&f);
	}
	struct fl_proxy_core_stats stats;
	fl_proxy_core_counts(f.core, &stats);
	assert_int_equal(stats.full_syncs, 1); // the first; no other was needed
	feed_apply(&f, plain_web);
	feed_slice(&f, "web", AF_INET, HTTP_PORTS, 0);
	AUTO_FREE char *walked = kernel_text(&f);
	must(fl_proxy_nft_ops.cleanup(&err));
	fl_proxy_core_resync(f.core);
	feed_sync(&f);
	AUTO_FREE char *from_nothing = kernel_text(&f);
	assert_string_equal(walked, from_nothing);
}

static void other_rules_without_gap(void **state)
{
	struct knocker k;

	stage(false);
	feed_apply(&f, plain_web);
	feed_slice(&f, "web", AF_INET, HTTP_PORTS, 0x3);
	uint64_t handle = table_handle();
	start_knocking(&k);
	for (int i = 0; i < 300; i++) {
		cfg.masquerade_all = i % 2 == 0;
		new_process();
		feed_apply(&f, plain_web);
		feed_slice(&f, "web", AF_INET, HTTP_PORTS, 0x3);
		AUTO_FREE char *text = kernel_text(&f);
		assert_int_equal(strstr(text, "0x0af40000") != NULL,
				 i % 2); // the pod range stands in the rules, or not
	}
	stop_knocking(&k);
	assert_int_equal(table_handle(), handle);
}

static void put_message(struct nft_batch *b, uint16_t type, const char *table, const char *chain)
{
	nft_msg_begin(b, type, NLM_F_CREATE);
	nft_attr_str(b, NFTA_TABLE_NAME, table);
	if (chain)
		nft_attr_str(b, NFTA_CHAIN_NAME, chain);
	nft_msg_end(b);
}

static int count_answer(const struct nlmsghdr *msg, void *arg)
{
	(*(int *)arg)++;
	return 0;
}

// Messages that a dump of `type` (chains, tables) answers with.
static int count_objects(uint16_t type)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	AUTO(nft_batch_deinit) struct nft_batch b = {0};
	int n = 0;

	must(fl_netlink_open(NETLINK_NETFILTER, &nl, &err));
	nft_msg_begin(&b, type, NLM_F_DUMP);
	nft_msg_end(&b);
	must(fl_netlink_talk(nl, (struct nlmsghdr *)(void *)b.buf.data, count_answer, &n, &err));
	return n;
}

static void count_our_routes(const struct fl_route *r, void *arg)
{
	*(int *)arg += r->protocol == FL_ROUTE_PROTOCOL && r->metric;
}

static int our_routes(void)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	int n = 0;

	must(fl_netlink_open(NETLINK_ROUTE, &nl, &err));
	must(fl_route_list(nl, count_our_routes, &n, &err));
	return n;
}

static void cleanup_leaves_strangers_alone(void **state)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	struct nft_batch b;
	char forwarding[8];

	if (!own_netns())
		skip();
	cfg = test_config();
	snprintf(run_dir, sizeof(run_dir), "/tmp/fairlead-proxy-test-%d", (int)getpid());
	mkdir(run_dir, 0700);
	opts = (struct fl_proxy_opts){
	    .run_dir = run_dir, .service_cidrs = {cfg.service_cidrs[0], cfg.service_cidrs[1]}, .n_service_cidrs = 2};
	write_sysctl("net/ipv4/ip_forward", "0");
	must(fl_netlink_open(NETLINK_NETFILTER, &nl, &err));
	nft_batch_init(&b, nl, NFT_TABLE);
	b.family = NFPROTO_IPV4;
	put_message(&b, NFT_MSG_NEWTABLE, "bystander", NULL);
	put_message(&b, NFT_MSG_NEWCHAIN, "bystander", "mine");
	must(nft_batch_send(&b, &err));
	nft_batch_deinit(&b);

	must(fl_proxy_host_sysctls(&opts, &err));
	must(fl_proxy_host_sysctls(&opts, &err)); // a second start must not take its own value for the former one
	must(fl_proxy_host_routes(&opts, &err));
	must(fl_proxy_host_routes(&opts, &err));
	assert_int_equal(our_routes(), 2);
	must(fl_sysctl_read("net/ipv4/ip_forward", forwarding, sizeof(forwarding), &err));
	assert_string_equal(forwarding, "1");
	feed_init(&f, &cfg, "node-a");
	feed_apply(&f, web);
	feed_sync(&f);
	assert_int_equal(count_objects(NFT_MSG_GETTABLE), 3);
	feed_deinit(&f);
	f = (struct feed){0};

	must(fl_proxy_cleanup(&opts, &err));
	must(fl_proxy_cleanup(&opts, &err));
	assert_int_equal(count_objects(NFT_MSG_GETTABLE), 1);
	assert_int_equal(count_objects(NFT_MSG_GETCHAIN), 1);
	assert_int_equal(our_routes(), 0);
	must(fl_sysctl_read("net/ipv4/ip_forward", forwarding, sizeof(forwarding), &err));
	assert_string_equal(forwarding, "0");
	assert_int_equal(rmdir(run_dir), 0); // empty: no state left
}

static void see_source(const struct fl_route *r, void *arg)
{
	if (r->protocol == FL_ROUTE_PROTOCOL && r->dst.ip.family == AF_INET)
		*(struct fl_ip *)arg = r->prefsrc;
}

static struct fl_ip route_source(void)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	struct fl_ip ip = {0};

	must(fl_netlink_open(NETLINK_ROUTE, &nl, &err));
	must(fl_route_list(nl, see_source, &ip, &err));
	return ip;
}

// The node's address may come after the proxy, and go; ranges may change between two starts.
static void routes_follow_the_host(void **state)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	struct fl_ip node_ip = ip_of("192.0.2.7"), got;

	if (!own_netns())
		skip();
	opts = (struct fl_proxy_opts){
	    .run_dir = "/nonexistent", .n_service_cidrs = 1, .node_ips = {node_ip}, .n_node_ips = 1};
	fl_cidr_parse("10.96.0.0/12", &opts.service_cidrs[0], false);
	must(fl_proxy_host_routes(&opts, &err));
	got = route_source();
	assert_int_equal(got.family, 0);
	must(fl_proxy_host_routes(&opts, &err));
	must(fl_netlink_open(NETLINK_ROUTE, &nl, &err));
	must(fl_addr_replace(nl, 1, &node_ip, 32, &err));
	must(fl_proxy_host_routes(&opts, &err));
	got = route_source();
	assert_true(fl_ip_equal(&got, &node_ip));
	assert_int_equal(our_routes(), 1);
	fl_cidr_parse("10.112.0.0/16", &opts.service_cidrs[0], false);
	must(fl_proxy_host_routes(&opts, &err));
	assert_int_equal(our_routes(), 1);
	must(fl_addr_del(nl, 1, &node_ip, 32, &err)); // the kernel takes the route with it
	assert_int_equal(our_routes(), 0);
	must(fl_proxy_host_routes(&opts, &err));
	assert_int_equal(our_routes(), 1);
}

static void unknown_mode(void **state)
{
	struct fl_err e = {0};

	assert_null(fl_proxy_backend_find("winkernel", &e));
	assert_string_equal(e.text, "proxy mode \"winkernel\" is not one of: nftables");
	assert_ptr_equal(fl_proxy_backend_find(NULL, &e), &fl_proxy_nft_ops);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(restart_writes_nothing, finish),
	    cmocka_unit_test_teardown(restart_catches_up, finish),
	    cmocka_unit_test_teardown(removed_table_comes_back, finish),
	    cmocka_unit_test_teardown(flushed_rules_come_back, finish),
	    cmocka_unit_test_teardown(flushed_garbage_is_written_anew, finish),
	    cmocka_unit_test_teardown(endpoints_change_without_gap, finish),
	    cmocka_unit_test_teardown(through_none_and_back, finish),
	    cmocka_unit_test_teardown(other_rules_without_gap, finish),
	    cmocka_unit_test(cleanup_leaves_strangers_alone),
	    cmocka_unit_test(routes_follow_the_host),
	    cmocka_unit_test(unknown_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
