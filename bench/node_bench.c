// SPDX-License-Identifier: Apache-2.0
// One node with all its roles under 10,000 Services, seen by a client: run in the node's network namespace.
//
//   node_bench KUBECONFIG STEP...     one line a figure: `name run value unit`, what belongs to it on lines with '#'
//
//   create N   N Services from 16 connections, every tenth with session affinity: a second's number, and the time
//              until the last Endpoints and EndpointSlice exist
//   pods       3 ready pods that all of these Services select: until every one of them leads there
//   list R     all Services, R times, each after a write; HTTP/1.1 and HTTP/2
//   change R   one endpoint of a hand-made EndpointSlice: acknowledged -> rule in the kernel
//   affinity R the same, of a Service with session affinity
//   pod R      a pod's readiness: acknowledged -> controllers -> EndpointSlice -> rule in the kernel
//   memory     Pss of each process of the node
//
// The kernel tells of its rules itself: a socket in the group of nftables' changes, read by a thread of its own. What
// is waited for is the element or rule that bears the new address.
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "client/kubeconfig.h"
#include "io/http_client.h"
#include "load.h"

#define CONNS    16
#define SERVICES "/api/v1/namespaces/default/services"
#define SLICES   "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
#define PODS     "/api/v1/namespaces/default/pods"
#define LEASES   "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"

static struct load_target *target;
static struct load_conn *conn;
static const char *kubeconfig;

// --- the node's processes ---

#define MAX_ROLES 32

struct role {
	int pid;
	char name[32];
	double cpu_s;
};

static void read_proc(int pid, const char *file, char *buf, size_t size)
{
	AUTO_FREE char *path = fl_asprintf("/proc/%d/%s", pid, file), *text = NULL;
	struct fl_err err = {0};
	buf[0] = 0;
	if (fl_file_read(path, &text, NULL, &err) == 0)
		snprintf(buf, size, "%s", text);
}

// In this network namespace and named as ours; ourselves aside.
static int roles(struct role *ret)
{
	char own[64] = "", other[64], path[64], stat[512];
	int n = 0;
	if (readlink("/proc/self/ns/net", own, sizeof(own) - 1) < 0)
		load_die("namespace", strerror(errno));
	DIR *d = opendir("/proc");
	if (!d)
		load_die("/proc", strerror(errno));
	for (struct dirent *e; n < MAX_ROLES && (e = readdir(d));) {
		int pid = atoi(e->d_name);
		memset(other, 0, sizeof(other));
		snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
		if (pid <= 0 || readlink(path, other, sizeof(other) - 1) < 0 || strcmp(own, other) != 0)
			continue;
		read_proc(pid, "comm", ret[n].name, sizeof(ret[n].name));
		ret[n].name[strcspn(ret[n].name, "\n")] = 0;
		if (strncmp(ret[n].name, "fairlead", 8) != 0)
			continue;
		read_proc(pid, "stat", stat, sizeof(stat));
		unsigned long user = 0, sys = 0;
		char *p = strrchr(stat, ')');
		if (p)
			sscanf(p + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys);
		ret[n].cpu_s = (double)(user + sys) / (double)sysconf(_SC_CLK_TCK);
		ret[n++].pid = pid;
	}
	closedir(d);
	return n;
}

static void tell_cpu(const char *per_what, const struct role *before, int n_before, int per, double load_cpu)
{
	struct role now[MAX_ROLES];
	int n = roles(now);
	printf("# processor time per %s:", per_what);
	for (int i = 0; i < n; i++) {
		double was = 0;
		for (int j = 0; j < n_before; j++)
			if (before[j].pid == now[i].pid)
				was = before[j].cpu_s;
		if (now[i].cpu_s - was > 0.005)
			printf(" %s %.0f us", now[i].name, (now[i].cpu_s - was) / per * 1e6);
	}
	printf(", this load %.0f us\n", load_cpu / per * 1e6);
}

static void memory(int run)
{
	struct role r[MAX_ROLES];
	char text[4096];
	unsigned long kb, sum = 0;
	int n = roles(r);
	for (int i = 0; i < n; i++) {
		read_proc(r[i].pid, "smaps_rollup", text, sizeof(text));
		const char *p = strstr(text, "\nPss:");
		kb = p ? strtoul(p + 5, NULL, 10) : 0;
		sum += kb;
		printf("# %s %lu KiB\n", r[i].name, kb);
	}
	printf("pss_10000 %d %.1f MB\n", run, (double)sum / 1024);
}

// --- objects ---

static void service_request(void *arg, int i, const char **method, struct fl_buf *path, struct fl_buf *body)
{
	*method = "POST";
	fl_buf_puts(path, SERVICES);
	fl_buf_printf(body,
		      "{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"service-%06d\","
		      "\"namespace\":\"default\",\"labels\":{\"app\":\"web-%d\",\"tier\":\"front\"}},\"spec\":{"
		      "\"ports\":[{\"name\":\"http\",\"protocol\":\"TCP\",\"port\":80,\"targetPort\":8080}],"
		      "\"selector\":{\"app\":\"web\"},\"sessionAffinity\":\"%s\",\"type\":\"ClusterIP\"}}",
		      i, i, i % 10 ? "None" : "ClientIP");
}

static int count_of(const char *path)
{
	AUTO_FREE char *url = fl_asprintf("%s?limit=1", path);
	struct load_answer a = load_must(conn, "GET", url, NULL, NULL, 0);
	const char *rest = strstr(a.body, "\"remainingItemCount\":");
	return rest ? atoi(rest + 21) + 1 : strstr(a.body, "\"items\":[{") != NULL;
}

static void wait_count(const char *path, int n)
{
	while (count_of(path) < n)
		usleep(5000);
}

static void create(int n)
{
	struct role before[MAX_ROLES];
	int n_before = roles(before);
	struct load_job job = {
	    .conns = CONNS, .from = 0, .to = n, .request = service_request, .type = "application/json"};
	uint64_t t0 = fl_mono_ns();
	struct load_result r = load_run(target, &job);
	printf("creates 1 %.0f /s\n# p50 %.2f ms, p99 %.2f ms, refused %d\n", n / r.seconds, (double)r.p50_ns / 1e6,
	       (double)r.p99_ns / 1e6, r.bad);
	tell_cpu("Service", before, n_before, n, r.cpu_s);
	wait_count("/api/v1/endpoints", n);
	printf("last_endpoints 1 %.0f ms\n", (double)(fl_mono_ns() - t0) / 1e6);
	wait_count(SLICES, n);
	printf("last_slice 1 %.0f ms\n# both from the first request on; all %d Services were acknowledged after "
	       "%.0f ms\n# and until then:\n",
	       (double)(fl_mono_ns() - t0) / 1e6, n, r.seconds * 1e3);
	tell_cpu("Service", before, n_before, n, r.cpu_s);
}

static void post(const char *path, const char *body)
{
	load_must(conn, "POST", path, "application/json", body, strlen(body));
}

// A node of no process: its pods' states are what this program says. Its Lease keeps it alive.
static void renew(void)
{
	static uint64_t last;
	char now[FL_TIME_STRLEN];
	if (last && fl_mono_ns() - last < 5000000000)
		return;
	fl_time_now(now);
	AUTO_FREE char *body = fl_asprintf(
	    "{\"kind\":\"Lease\",\"apiVersion\":\"coordination.k8s.io/v1\",\"metadata\":{\"name\":\"ghost\"},"
	    "\"spec\":{\"holderIdentity\":\"ghost\",\"leaseDurationSeconds\":40,\"renewTime\":\"%.19s.000000Z\"}}",
	    now);
	if (last)
		load_must(conn, "PATCH", LEASES "/ghost", "application/merge-patch+json", body, strlen(body));
	else
		post(LEASES, body);
	last = fl_mono_ns();
}

static void make_node(void)
{
	static bool made;
	if (!made) {
		renew();
		post("/api/v1/nodes", "{\"kind\":\"Node\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"ghost\"}}");
		const char *ready = "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"reason\":"
				    "\"KubeletReady\",\"message\":\"\"}]}}";
		load_must(conn, "PATCH", "/api/v1/nodes/ghost/status", "application/merge-patch+json", ready,
			  strlen(ready));
	}
	made = true;
}

static void set_pod(const char *name, const char *ip, bool ready)
{
	AUTO_FREE char *path = fl_asprintf(PODS "/%s/status", name);
	const char *yes = ready ? "True" : "False";
	AUTO_FREE char *body =
	    fl_asprintf("{\"status\":{\"phase\":\"Running\",\"podIP\":\"%s\",\"podIPs\":[{\"ip\":\"%s\"}],\"hostIP\":"
			"\"192.0.2.9\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"%s\"},{\"type\":"
			"\"ContainersReady\",\"status\":\"%s\"}]}}",
			ip, ip, yes, yes);
	load_must(conn, "PATCH", path, "application/merge-patch+json", body, strlen(body));
}

static void make_pod(const char *name, const char *app, const char *ip)
{
	AUTO_FREE char *body =
	    fl_asprintf("{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\",\"labels\":{\"app\":"
			"\"%s\"}},\"spec\":{\"nodeName\":\"ghost\",\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}",
			name, app);
	post(PODS, body);
	set_pod(name, ip, true);
}

// --- the kernel's rules ---

static struct {
	int fd;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	uint32_t want;     // address, network order; 0: none
	uint64_t seen_ns;  // 0: not yet
	uint64_t elements; // and rules, new ones so far
} rules = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static void on_message(const struct nlmsghdr *h, uint64_t now)
{
	unsigned type = h->nlmsg_type & 0xff;
	if (type != NFT_MSG_NEWSETELEM && type != NFT_MSG_NEWRULE) // the latter: an endpoint of a Service with affinity
		return;
	rules.elements++;
	if (rules.want && !rules.seen_ns &&
	    memmem((const char *)h + NLMSG_HDRLEN, h->nlmsg_len - NLMSG_HDRLEN, &rules.want, sizeof(rules.want))) {
		rules.seen_ns = now;
		pthread_cond_signal(&rules.cond);
	}
}

static void *monitor(void *arg)
{
	static char buf[1 << 18];
	for (;;) {
		ssize_t n = recv(rules.fd, buf, sizeof(buf), 0);
		uint64_t now = fl_mono_ns();
		if (n < 0 && errno == ENOBUFS)
			continue;
		if (n <= 0)
			load_die("netlink", strerror(errno));
		pthread_mutex_lock(&rules.mutex);
		unsigned left = (unsigned)n;
		for (struct nlmsghdr *h = (struct nlmsghdr *)buf; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left))
			on_message(h, now);
		pthread_mutex_unlock(&rules.mutex);
	}
	return NULL;
}

static void watch_rules(void)
{
	static pthread_t thread;
	if (rules.fd)
		return;
	int group = NFNLGRP_NFTABLES, size = 16 << 20;
	rules.fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK};
	if (rules.fd < 0 || bind(rules.fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    setsockopt(rules.fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		load_die("netlink", strerror(errno));
	setsockopt(rules.fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	pthread_create(&thread, NULL, monitor, NULL);
}

static void expect(const char *ip)
{
	pthread_mutex_lock(&rules.mutex);
	rules.want = inet_addr(ip);
	rules.seen_ns = 0;
	pthread_mutex_unlock(&rules.mutex);
}

static uint64_t expected(void)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 30;
	pthread_mutex_lock(&rules.mutex);
	while (!rules.seen_ns)
		if (pthread_cond_timedwait(&rules.cond, &rules.mutex, &until) == ETIMEDOUT)
			load_die("rule", "it did not come within 30 s");
	uint64_t at = rules.seen_ns;
	pthread_mutex_unlock(&rules.mutex);
	return at;
}

static void report(const char *name, uint64_t *ns, int n)
{
	printf("%s_p50 1 %.2f ms\n", name, (double)load_quantile(ns, (size_t)n, 0.5) / 1e6);
	printf("%s_p99 1 %.2f ms\n", name, (double)load_quantile(ns, (size_t)n, 0.99) / 1e6);
}

struct change {
	uint64_t *after_ack, *after_send; // ns
	uint64_t sent;
	struct role before[MAX_ROLES];
	int n_before;
};

static void change_begin(struct change *c, int n)
{
	*c = (struct change){
	    .after_ack = fl_calloc((size_t)n, sizeof(uint64_t)),
	    .after_send = fl_calloc((size_t)n, sizeof(uint64_t)),
	};
	c->n_before = roles(c->before);
	watch_rules();
}

static void change_note(struct change *c, int i)
{
	uint64_t acked = fl_mono_ns(), rule = expected();
	c->after_ack[i] = rule > acked ? rule - acked : 0; // the rule may be faster than the answer
	c->after_send[i] = rule - c->sent;
	usleep(2000 + (unsigned)(i * 7919) % 5000); // the next one finds everybody at rest
}

static void change_end(struct change *c, const char *name, int n)
{
	AUTO_FREE char *sent = fl_asprintf("%s_from_request", name);
	report(name, c->after_ack, n);
	report(sent, c->after_send, n);
	tell_cpu(name, c->before, c->n_before, n, 0);
	free(c->after_ack);
	free(c->after_send);
}

// --- steps ---

static void change_of(const char *name, const char *service, const char *affinity, int n)
{
	struct change c;
	change_begin(&c, n);
	AUTO_FREE char *object =
	    fl_asprintf("{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\"},"
			"\"spec\":{\"ports\":[{\"port\":80,\"targetPort\":8080}],"
			"\"sessionAffinity\":\"%s\"}}",
			service, affinity);
	post(SERVICES, object);
	expect("10.245.0.3");
	AUTO_FREE char *slice = fl_asprintf(
	    "{\"kind\":\"EndpointSlice\",\"apiVersion\":\"discovery.k8s.io/v1\",\"metadata\":{\"name\":\"%s-1\","
	    "\"labels\":{\"kubernetes.io/service-name\":\"%s\"}},\"addressType\":\"IPv4\",\"ports\":[{\"name\":"
	    "\"\",\"port\":8080,\"protocol\":\"TCP\"}],\"endpoints\":[{\"addresses\":[\"10.245.0.1\"]},{"
	    "\"addresses\":[\"10.245.0.2\"]},{\"addresses\":[\"10.245.0.3\"]}]}",
	    service, service);
	post(SLICES, slice);
	expected();
	AUTO_FREE char *path = fl_asprintf(SLICES "/%s-1", service);
	for (int i = 0; i < n; i++) {
		char ip[32], body[128];
		snprintf(ip, sizeof(ip), "10.246.%d.%d", i >> 8 & 255, i & 255);
		snprintf(body, sizeof(body),
			 "[{\"op\":\"replace\",\"path\":\"/endpoints/1/addresses/0\",\"value\":\"%s\"}]", ip);
		expect(ip);
		c.sent = fl_mono_ns();
		load_must(conn, "PATCH", path, "application/json-patch+json", body, strlen(body));
		change_note(&c, i);
	}
	change_end(&c, name, n);
}

static void change(int n)
{
	change_of("change", "by-hand", "None", n);
}

static void affinity(int n)
{
	change_of("affinity", "by-hand-sticky", "ClientIP", n);
}

// The Service leads to two and three endpoints in turn: the element of its own address changes each time.
static void pod(int n)
{
	struct change c;
	change_begin(&c, n);
	make_node();
	post(SERVICES, "{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"of-pods\"},\"spec\":{"
		       "\"ports\":[{\"port\":80,\"targetPort\":8080}],\"selector\":{\"app\":\"of-pods\"}}}");
	struct load_answer a = load_must(conn, "GET", SERVICES "/of-pods", NULL, NULL, 0);
	const char *at = strstr(a.body, "\"clusterIP\":\"");
	char vip[64];
	if (!at || sscanf(at, "\"clusterIP\":\"%63[0-9.]", vip) != 1)
		load_die("Service", "it has no address");
	make_pod("of-pods-1", "of-pods", "10.247.0.1");
	make_pod("of-pods-2", "of-pods", "10.247.0.2");
	expect("10.247.0.3");
	make_pod("of-pods-3", "of-pods", "10.247.0.3");
	expected();
	usleep(100000);
	for (int i = 0; i < n; i++) {
		renew();
		expect(vip);
		c.sent = fl_mono_ns();
		set_pod("of-pods-2", "10.247.0.2", i % 2 != 0);
		change_note(&c, i);
	}
	change_end(&c, "pod", n);
}

// Every Service there is leads to three pods more.
static void pods(void)
{
	struct role before[MAX_ROLES];
	int n_before = roles(before), n = count_of(SERVICES);
	watch_rules();
	make_node();
	uint64_t t0 = fl_mono_ns();
	make_pod("web-1", "web", "10.248.0.1");
	make_pod("web-2", "web", "10.248.0.2");
	make_pod("web-3", "web", "10.248.0.3");
	// Quiet for a second: everything is told.
	for (uint64_t seen = 0, last = t0;;) {
		usleep(10000);
		renew();
		pthread_mutex_lock(&rules.mutex);
		if (rules.elements != seen)
			last = fl_mono_ns();
		seen = rules.elements;
		pthread_mutex_unlock(&rules.mutex);
		if (seen > (uint64_t)n && fl_mono_ns() - last > 1500000000) {
			printf("pods_to_all_rules 1 %.0f ms\n", (double)(last - t0) / 1e6);
			break;
		}
	}
	tell_cpu("Service", before, n_before, n, 0);
}

static void write_once(int i)
{
	char body[96];
	snprintf(body, sizeof(body), "{\"metadata\":{\"labels\":{\"round\":\"%d-%d\"}}}", getpid(), i);
	load_must(conn, "PATCH", SERVICES "/service-000001", "application/merge-patch+json", body, strlen(body));
}

static bool list_done;

static void on_list(void *arg, int rc, int status, const char *body, size_t len, const struct fl_err *err)
{
	if (rc < 0 || status != 200)
		load_die("list", rc < 0 ? err->text : body);
	*(size_t *)arg = len;
	list_done = true;
}

static void list_h2(int n)
{
	AUTO(fl_kubeconfig_deinit) struct fl_kubeconfig k = {0};
	struct fl_http_client *client = NULL;
	struct fl_err err = {0};
	uv_loop_t loop;
	size_t len = 0;
	uint64_t *ns = fl_calloc((size_t)n, sizeof(*ns));
	uv_loop_init(&loop);
	if (fl_kubeconfig_load(kubeconfig, NULL, &k, &err) < 0)
		load_die("kubeconfig", err.text);
	struct fl_http_client_opts o = {
	    .ca_pem = k.ca_pem, .cert_pem = k.cert_pem, .key_pem = k.key_pem, .user_agent = "bench"};
	if (fl_http_client_new(&loop, &o, &client, &err) < 0)
		load_die("client", err.text);
	AUTO_FREE char *url = fl_asprintf("%s" SERVICES, k.server);
	for (int i = -1; i < n; i++) { // the first one connects
		write_once(i + 1000);
		struct fl_http_call_opts call = {.method = "GET", .url = url, .on_done = on_list, .arg = &len};
		list_done = false;
		uint64_t t0 = fl_mono_ns();
		if (fl_http_client_call(client, &call, NULL, &err) < 0)
			load_die("call", err.text);
		while (!list_done)
			uv_run(&loop, UV_RUN_ONCE);
		if (i >= 0)
			ns[i] = fl_mono_ns() - t0;
	}
	report("list_h2", ns, n);
	fl_http_client_free(&client);
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
	free(ns);
}

static void list(int n)
{
	uint64_t *ns = fl_calloc((size_t)n, sizeof(*ns));
	struct load_answer a = {0};
	for (int i = 0; i < n; i++) {
		write_once(i);
		uint64_t t0 = fl_mono_ns();
		a = load_must(conn, "GET", SERVICES, NULL, NULL, 0);
		ns[i] = fl_mono_ns() - t0;
	}
	report("list_h1", ns, n);
	printf("# %.1f MB, over TLS, each with one write before it\n", (double)a.len / 1e6);
	free(ns);
	list_h2(n);
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: node_bench KUBECONFIG create N | pods | list R | change R | affinity R | pod R "
				"| memory ...\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	kubeconfig = argv[1];
	target = load_target_open(kubeconfig);
	conn = load_connect(target);
	for (int i = 2; i < argc; i++) {
		int n = i + 1 < argc ? atoi(argv[i + 1]) : 0;
		bool counts = n > 0;
		if (!strcmp(argv[i], "create") && counts)
			create(n);
		else if (!strcmp(argv[i], "list") && counts)
			list(n);
		else if (!strcmp(argv[i], "change") && counts)
			change(n);
		else if (!strcmp(argv[i], "affinity") && counts)
			affinity(n);
		else if (!strcmp(argv[i], "pod") && counts)
			pod(n);
		else if (!strcmp(argv[i], "pods"))
			pods();
		else if (!strcmp(argv[i], "memory"))
			memory(1);
		else
			load_die(argv[i], "no such step, or its number is missing");
		i += counts;
	}
	load_close(&conn);
	load_target_free(&target);
	return 0;
}
