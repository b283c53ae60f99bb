// SPDX-License-Identifier: Apache-2.0
// The role as a process of its own against a scripted API server: from watch event to rule, its HTTP, its end, its
// return.
#include "net_test.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <uv.h>

#include "base/bytes.h"
#include "base/file.h"
#include "io/http_server.h"
#include "proxy/proxy.h"

#define WATCHES 3

static struct {
	uv_loop_t loop;
	uv_timer_t tick, watchdog;
	struct fl_http_server *http;
	uint16_t port;
	struct fl_http_req *watch[WATCHES]; // services, endpointslices, nodes
	const char *lists[WATCHES];
	bool stopped;
} api;

static const char *const plurals[WATCHES] = {"/services", "/endpointslices", "/nodes"};

static struct fl_proxy_backend *reader; // looks into the kernel, writes nothing
static struct fl_proxy_opts opts;
static char run_dir[64], *kubeconfig;
static pid_t role; // 0: none runs

static void on_watch_close(struct fl_http_req *r, void *arg, bool gone)
{
	*(struct fl_http_req **)arg = NULL;
}

static void serve_api(struct fl_http_req *r, void *arg)
{
	for (int i = 0; i < WATCHES; i++) {
		if (!fl_ends_with(fl_http_path(r), plurals[i]))
			continue;
		if (strstr(fl_http_query(r), "watch=")) {
			api.watch[i] = r;
			fl_http_on_close(r, on_watch_close, &api.watch[i]);
			fl_http_start(r, 200, "application/json");
		} else {
			fl_http_respond(r, 200, "application/json", api.lists[i], strlen(api.lists[i]));
		}
		return;
	}
	fl_http_respond(r, 404, "text/plain", "", 0);
}

static void watchdog_barks(uv_timer_t *t)
{
	fprintf(stderr, "the condition a test waits for did not come\n");
	abort();
}

static void on_tick(uv_timer_t *t) // turns the loop, so that conditions outside of it are looked at again
{
}

#define wait_for(condition)                                                                                            \
	while (!(condition))                                                                                           \
	uv_run(&api.loop, UV_RUN_ONCE)

static const char services[] =
    "{\"kind\":\"ServiceList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"10\"},\"items\":[{"
    "\"metadata\":{\"name\":\"web\",\"namespace\":\"default\",\"uid\":\"a\",\"resourceVersion\":\"5\"},\"spec\":{"
    "\"type\":\"LoadBalancer\",\"clusterIP\":\"10.96.0.20\",\"externalTrafficPolicy\":\"Local\","
    "\"healthCheckNodePort\":32123,\"ports\":[{\"name\":\"http\",\"port\":80,\"protocol\":\"TCP\",\"nodePort\":30080}]}"
    "}]}";
#define SLICE(rv, ip)                                                                                                  \
	"{\"kind\":\"EndpointSlice\",\"apiVersion\":\"discovery.k8s.io/v1\",\"metadata\":{\"name\":\"web-1\","         \
	"\"namespace\":\"default\",\"uid\":\"b\",\"resourceVersion\":\"" rv "\",\"labels\":{"                          \
	"\"kubernetes.io/service-name\":\"web\"},\"annotations\":{"                                                    \
	"\"endpoints.kubernetes.io/last-change-trigger-time\":\"2026-01-01T00:00:00Z\"}},\"addressType\":\"IPv4\","    \
	"\"ports\":[{\"name\":\"http\",\"port\":8080,\"protocol\":\"TCP\"}],\"endpoints\":[{\"addresses\":[\"" ip      \
	"\"],\"conditions\":{\"ready\":true},\"nodeName\":\"node-a\"}]}"
#define LIST(kind, version, items)                                                                                     \
	"{\"kind\":\"" kind "\",\"apiVersion\":\"" version                                                             \
	"\",\"metadata\":{\"resourceVersion\":\"10\"},\"items\":[" items "]}"

static int set_up(void **state)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	struct fl_proxy_backend_config cfg = test_config();
	struct fl_http_server_opts http = {.handler = serve_api, .server_name = "test"};
	struct fl_ip ip = ip_of("127.0.0.1"), node_ip = ip_of("192.0.2.1");

	reader = NULL;
	if (!own_netns())
		return 0;
	must(fl_netlink_open(NETLINK_ROUTE, &nl, &err));
	must(fl_link_set_up(nl, 1, true, &err));
	must(fl_addr_replace(nl, 1, &node_ip, 32, &err));
	memset(&api, 0, sizeof(api));
	api.lists[0] = services;
	api.lists[1] = LIST("EndpointSliceList", "discovery.k8s.io/v1", SLICE("6", "10.244.0.5"));
	api.lists[2] = LIST("NodeList", "v1",
			    "{\"metadata\":{\"name\":\"node-a\",\"uid\":\"n\",\"resourceVersion\":\"7\"},\"spec\":{}}");
	uv_loop_init(&api.loop);
	uv_timer_init(&api.loop, &api.tick);
	uv_timer_start(&api.tick, on_tick, 5, 5);
	uv_timer_init(&api.loop, &api.watchdog);
	uv_timer_start(&api.watchdog, watchdog_barks, 60000, 0);
	must(fl_http_server_new(&api.loop, &http, &api.http, &err));
	must(fl_http_server_listen(api.http, &ip, 0, &api.port, &err));

	snprintf(run_dir, sizeof(run_dir), "/tmp/fairlead-proxy-test-%d", (int)getpid());
	mkdir(run_dir, 0700);
	kubeconfig = fl_asprintf("%s/kubeconfig", run_dir);
	AUTO_FREE char *text = fl_asprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\n"
					   "clusters: [{name: c, cluster: {server: \"http://127.0.0.1:%u\"}}]\n"
					   "users: [{name: u, user: {}}]\n"
					   "contexts: [{name: c, context: {cluster: c, user: u}}]\n",
					   api.port);
	must(fl_file_write(kubeconfig, text, strlen(text), 0600, &err));
	opts = (struct fl_proxy_opts){
	    .kubeconfig = kubeconfig,
	    .node_name = "node-a",
	    .run_dir = run_dir,
	    .service_cidrs = {cfg.service_cidrs[0], cfg.service_cidrs[1]},
	    .n_service_cidrs = 2,
	    .pod_cidrs = {cfg.pod_cidrs[0], cfg.pod_cidrs[1]},
	    .n_pod_cidrs = 2,
	    .metrics_listen = "127.0.0.1:10249",
	    .healthz_listen = "0.0.0.0:10256",
	};
	must(fl_proxy_nft_ops.open(&cfg, &reader, &err));
	return 0;
}

static void on_stopped(void *arg)
{
	api.stopped = true;
}

static int tear_down(void **state)
{
	if (!reader)
		return 0;
	if (role) { // the test failed
		kill(role, SIGKILL);
		waitpid(role, NULL, 0);
		role = 0;
	}
	fl_http_server_stop(api.http, 0, on_stopped, NULL);
	wait_for(api.stopped);
	fl_http_server_free(&api.http);
	uv_close((uv_handle_t *)&api.tick, NULL);
	uv_close((uv_handle_t *)&api.watchdog, NULL);
	uv_run(&api.loop, UV_RUN_DEFAULT);
	uv_loop_close(&api.loop);
	fl_proxy_nft_ops.close(&reader);
	must(fl_proxy_cleanup(&opts, &err));
	unlink(kubeconfig);
	free(kubeconfig);
	assert_int_equal(rmdir(run_dir), 0);
	return 0;
}

static void start_role(void)
{
	fflush(NULL);
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		struct fl_err err = {0};
		int rc = fl_proxy_run(&opts, &err);

		if (rc < 0)
			fprintf(stderr, "%s\n", err.text);
		exit(rc < 0);
	}
	assert_true(pid > 0);
	role = pid;
}

static void end_role(void)
{
	int status;

	kill(role, SIGTERM);
	wait_for(waitpid(role, &status, WNOHANG) == role);
	role = 0;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static bool kernel_has(const char *text)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct fl_err err = {0};

	// No table yet is no error of the test.
	return fl_proxy_nft_ops.dump(reader, &b, &err) == 0 && b.data && strstr(b.data, text);
}

static void send_event(int i, const char *type, const char *object)
{
	AUTO_FREE char *text = fl_asprintf("{\"type\":\"%s\",\"object\":%s}\n", type, object);
	struct fl_bytes *b = fl_bytes_new(text, strlen(text));

	wait_for(api.watch[i]);
	fl_http_write(api.watch[i], b);
	fl_bytes_put(&b);
}

// The whole answer; free() it.
static char *get(uint16_t port, const char *path)
{
	struct fl_buf b = {0};
	struct sockaddr_storage sa;
	socklen_t len;
	struct fl_ip ip = ip_of("127.0.0.1");
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	AUTO_FREE char *request = fl_asprintf("GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
	char part[4096];
	ssize_t n;

	fl_ip_to_sockaddr(&ip, port, &sa, &len);
	if (connect(fd, (struct sockaddr *)&sa, len) < 0)
		fail_msg("port %u: %s", port, strerror(errno));
	assert_int_equal(write(fd, request, strlen(request)), (ssize_t)strlen(request));
	while ((n = read(fd, part, sizeof(part))) > 0)
		fl_buf_append(&b, part, (size_t)n);
	fl_buf_puts(&b, "");
	return fl_buf_take(&b);
}

static void assert_answer(uint16_t port, const char *path, const char *const *parts)
{
	AUTO_FREE char *text = get(port, path);

	for (; *parts; parts++) {
		if (!strstr(text, *parts))
			fail_msg("%s does not hold \"%s\":\n%s", path, *parts, text);
	}
}

static void from_watch_to_rule(void **state)
{
	if (!reader)
		skip();
	start_role();
	wait_for(kernel_has("slots 10.96.0.20 . tcp . 80 .     0 : 10.244.0.5 . 8080\n"));
	assert_true(kernel_has("frontends 10.96.0.20 . tcp . 80 : goto svc-c1 \"default/web:http\"\n"));

	send_event(1, "MODIFIED", SLICE("11", "10.244.0.6"));
	wait_for(kernel_has("slots 10.96.0.20 . tcp . 80 .     0 : 10.244.0.6 . 8080\n"));

	assert_answer(10256, "/healthz", (const char *const[]){"200 OK", "\"nodeEligible\": true", NULL});
	assert_answer(10256, "/livez", (const char *const[]){"200 OK", "currentTime", NULL});
	assert_answer(10249, "/proxyMode", (const char *const[]){"nftables", NULL});
	assert_answer(10249, "/metrics",
		      (const char *const[]){
			  "kubeproxy_network_programming_duration_seconds_bucket{le=\"300\"} 0\n",
			  "kubeproxy_network_programming_duration_seconds_count 1\n",
			  "kubeproxy_sync_proxy_rules_duration_seconds_count 2\n",
			  "kubeproxy_sync_proxy_rules_endpoint_changes_total 2\n",
			  "kubeproxy_proxy_healthz_total{code=\"200\"} 1\n",
			  "fairlead_proxy_refused_packets_total{reason=\"no-endpoints\"} 0\n",
			  NULL,
		      });
	assert_answer(32123, "/",
		      (const char *const[]){"200 OK", "X-Load-Balancing-Endpoint-Weight: 1\r\n",
					    "\"localEndpoints\": 1,\n\t\"serviceProxyHealthy\": true", NULL});

	send_event(2, "MODIFIED",
		   "{\"kind\":\"Node\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"node-a\",\"uid\":\"n\","
		   "\"resourceVersion\":\"12\"},\"spec\":{\"taints\":[{\"key\":\"ToBeDeletedByClusterAutoscaler\"}]}}");
	send_event(1, "DELETED", SLICE("13", "10.244.0.6"));
	wait_for(kernel_has(" : goto no-endpoints "));
	assert_answer(32123, "/", (const char *const[]){"503 ", "\"localEndpoints\": 0", NULL});
	assert_answer(10256, "/healthz", (const char *const[]){"503 ", "\"nodeEligible\": false", NULL});
	assert_answer(10256, "/livez", (const char *const[]){"200 OK", NULL});
	end_role();
	assert_true(kernel_has("frontends 10.96.0.20")); // packets flow on without it

	// In its next life it catches up; what it left for packets on their way goes as well.
	start_role();
	wait_for(kernel_has("slots 10.96.0.20 . tcp . 80 .     0 : 10.244.0.5 . 8080\n"));
	wait_for(!kernel_has(" : goto no-endpoints "));
	end_role();
}

static void somebody_flushes(void **state)
{
	if (!reader)
		skip();
	start_role();
	wait_for(kernel_has("10.244.0.5 . 8080\n"));
	must(fl_proxy_nft_ops.cleanup(&err));
	wait_for(kernel_has("10.244.0.5 . 8080\n"));
	end_role();
}

static void bad_options(void **state)
{
	struct fl_proxy_opts bad;
	struct fl_err err = {0};

	if (!reader)
		skip();
	bad = opts;
	bad.mode = "winkernel";
	assert_int_equal(fl_proxy_run(&bad, &err), -EINVAL);
	bad = opts;
	bad.metrics_listen = "localhost";
	assert_int_equal(fl_proxy_run(&bad, &err), -EINVAL);
	assert_string_equal(err.text, "metrics address \"localhost\" is not ADDRESS:PORT");
	bad = opts;
	bad.kubeconfig = "/nonexistent";
	assert_int_equal(fl_proxy_run(&bad, &err), -ENOENT);
	bad = opts;
	bad.node_name = "";
	assert_int_equal(fl_proxy_run(&bad, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(from_watch_to_rule, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(somebody_flushes, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(bad_options, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
