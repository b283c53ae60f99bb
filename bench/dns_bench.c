// SPDX-License-Identifier: Apache-2.0
// Cluster DNS under load: what one question costs in memory, and what a server process answers over loopback UDP, with
// 10,000 Services (and 40,000 endpoints) in the zone.
//
//   dns_bench [seconds of each load] [servers]     default 2, 1
//
// The load generator keeps a fixed number of questions under way (a closed loop) on eight sockets: names of Services,
// of ones that do not exist, AAAA of IPv4 Services, reverse names, as the table below says. The server is a process of
// its own; its processor time is what the kernel says. More than one server: each on a port of its own with an even
// share of the load, which is the best that SO_REUSEPORT could do.
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/object.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "dns/respond.h"
#include "dns/server.h"

#define SERVICES    10000
#define ENDPOINTS   4
#define SOCKETS     8
#define BATCH       32
#define MAX_SERVERS 8
#define MAX_WINDOW  512

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

// ---- the zone

static struct fl_object *object(const char *resource, const char *kind, const char *name, const char *rest)
{
	AUTO_FREE char *json = fl_asprintf(
	    "{\"kind\":\"%s\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"default\","
	    "\"uid\":\"1\",\"resourceVersion\":\"1\",%s}",
	    kind, name, rest);
	struct fl_object *o = NULL;
	struct fl_err err = {0};
	if (fl_object_parse(resource, json, strlen(json), &o, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	return o;
}

static void add_service(struct fl_zone *z, unsigned i)
{
	AUTO_FREE char *name = fl_asprintf("service-%u", i), *slice_name = fl_asprintf("service-%u-abcde", i),
		       *spec = fl_asprintf("\"labels\":{}},\"spec\":{\"clusterIP\":\"10.96.%u.%u\",\"clusterIPs\":"
					   "[\"10.96.%u.%u\"],\"ports\":[{\"name\":\"http\",\"port\":80}]}",
					   i / 250, i % 250, i / 250, i % 250);
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_buf_printf(&b,
		      "\"labels\":{\"kubernetes.io/service-name\":\"%s\"}},\"addressType\":\"IPv4\",\"ports\":[{"
		      "\"name\":\"http\",\"port\":8080}],\"endpoints\":[",
		      name);
	for (unsigned k = 0; k < ENDPOINTS; k++) {
		unsigned n = i * ENDPOINTS + k;
		fl_buf_printf(&b, "%s{\"addresses\":[\"10.%u.%u.%u\"]}", k ? "," : "", 128 + n / 62500, n / 250 % 250,
			      n % 250);
	}
	fl_buf_puts(&b, "]");
	const char *slices = fl_resource_intern("discovery.k8s.io", "endpointslices");
	AUTO(fl_object_put) struct fl_object *s = object(fl_resource_intern("", "services"), "Service", name, spec);
	AUTO(fl_object_put) struct fl_object *e = object(slices, "EndpointSlice", slice_name, b.data);
	fl_zone_set_service(z, "default", name, s);
	fl_zone_set_slice(z, "default", slice_name, e);
}

static struct fl_zone *new_zone(unsigned n)
{
	struct fl_zone_opts o = {.domain = "cluster.local", .ttl_s = 5};
	struct fl_zone *z = NULL;
	struct fl_err err = {0};
	if (fl_zone_new(&o, &z, &err) < 0)
		die(err.text);
	fl_zone_set_namespace(z, "default", true);
	for (unsigned i = 0; i < n; i++)
		add_service(z, i);
	return z;
}

// ---- questions

static const struct mix {
	const char *what;
	uint16_t type;
	const char *before, *after; // a number below SERVICES
	uint8_t rcode;
} mixes[] = {
    {"A of a Service", FL_DNS_A, "service-", ".default.svc.cluster.local", FL_DNS_NOERROR},
    {"AAAA, none", FL_DNS_AAAA, "service-", ".default.svc.cluster.local", FL_DNS_NOERROR},
    {"search path, NXDOMAIN", FL_DNS_A, "host-", ".example.com.default.svc.cluster.local", FL_DNS_NXDOMAIN},
    {"SRV", FL_DNS_SRV, "_http._tcp.service-", ".default.svc.cluster.local", FL_DNS_NOERROR},
};

static size_t question(const struct mix *m, unsigned i, uint16_t id, uint8_t *buf, size_t cap)
{
	char name[128];
	snprintf(name, sizeof(name), "%s%u%s", m->before, i % SERVICES, m->after);
	size_t n = fl_dns_make_query(buf, cap, id, name, m->type);
	return fl_dns_add_opt(buf, cap, n, false);
}

static bool is_allowed(void *arg)
{
	return true;
}

// What answering costs without sockets.
static void in_memory(struct fl_zone *z)
{
	enum { N = 4096, ROUNDS = 50 };
	static uint8_t q[N][96], out[FL_DNS_UDP_MAX];
	static size_t len[N];
	static struct fl_dns_exchange x;
	struct fl_dns_asker asker = {is_allowed, NULL};
	for (size_t k = 0; k < FL_COUNT(mixes); k++) {
		for (unsigned i = 0; i < N; i++)
			len[i] = question(&mixes[k], i * 7919, (uint16_t)i, q[i], sizeof(q[i]));
		size_t octets = 0;
		uint64_t t0 = fl_mono_ns();
		for (unsigned r = 0; r < ROUNDS; r++)
			for (unsigned i = 0; i < N; i++) {
				if (fl_dns_respond(z, true, &asker, q[i], len[i], false, &x, out) != FL_DNS_SEND ||
				    x.rcode != mixes[k].rcode)
					die("unexpected answer");
				octets += x.len;
			}
		double ns = (double)(fl_mono_ns() - t0) / (N * ROUNDS);
		printf("in memory  %-24s %6.0f ns a question, answer of %zu octets\n", mixes[k].what, ns,
		       octets / (N * ROUNDS));
	}
}

// ---- the server

static bool is_synced(void *arg)
{
	return true;
}

static void serve(struct fl_zone *z, int port_fd)
{
	uv_loop_t loop;
	struct fl_dns_opts o = {.n_listen = 1, .ttl_s = 5};
	struct fl_forwarder_opts f = {0};
	struct fl_dns_server *s = NULL;
	struct fl_err err = {0};
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	uv_loop_init(&loop);
	fl_ip_parse("127.0.0.1", &o.listen[0]);
	struct fl_dns_server_opts so = {
	    .dns = &o, .zone = z, .forwarder = fl_forwarder_new(&loop, &f), .is_synced = is_synced};
	if (fl_dns_server_new(&loop, &so, &s, &err) < 0)
		die(err.text);
	uint16_t port = fl_dns_server_port(s);
	if (write(port_fd, &port, sizeof(port)) != sizeof(port))
		die("pipe");
	uv_run(&loop, UV_RUN_DEFAULT);
}

struct server {
	pid_t pid;
	uint16_t port;
};

static struct server start_server(struct fl_zone *z)
{
	struct server s;
	int p[2];
	if (pipe(p) < 0 || (s.pid = fork()) < 0)
		die("fork");
	if (!s.pid) {
		serve(z, p[1]);
		_exit(0);
	}
	close(p[1]);
	if (read(p[0], &s.port, sizeof(s.port)) != sizeof(s.port))
		die("server");
	close(p[0]);
	return s;
}

static double cpu_seconds(const struct server *s, unsigned n, double *ret_user)
{
	double all = 0, user_all = 0;
	for (unsigned i = 0; i < n; i++) {
		char path[64], line[512];
		unsigned long user = 0, sys = 0;
		snprintf(path, sizeof(path), "/proc/%d/stat", s[i].pid);
		FILE *f = fopen(path, "re");
		if (!f || !fgets(line, sizeof(line), f) || !strrchr(line, ')') ||
		    sscanf(strrchr(line, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
			   &sys) != 2)
			die(path);
		fclose(f);
		all += (double)(user + sys) / (double)sysconf(_SC_CLK_TCK);
		user_all += (double)user / (double)sysconf(_SC_CLK_TCK);
	}
	*ret_user = user_all;
	return all;
}

// ---- load

struct load {
	int fd[SOCKETS];
	unsigned window;                       // of a socket
	uint64_t sent_ns[SOCKETS][MAX_WINDOW]; // by id: 0 = free
	uint8_t query[SOCKETS][MAX_WINDOW][96];
	size_t len[SOCKETS][MAX_WINDOW];
	unsigned next;
	uint64_t done, lost, latency[1 << 16]; // histogram in 0.25 us
};
static struct load load;

static void send_free(struct load *l, unsigned s)
{
	struct mmsghdr m[MAX_WINDOW];
	struct iovec iov[MAX_WINDOW];
	unsigned n = 0;
	uint64_t now = fl_mono_ns();
	for (unsigned id = 0; id < l->window; id++) {
		if (l->sent_ns[s][id]) {
			if (now - l->sent_ns[s][id] < 1000000000ull)
				continue;
			l->lost++;
		}
		unsigned k = l->next++;
		l->len[s][id] = question(&mixes[k % FL_COUNT(mixes)], k * 7919, (uint16_t)id, l->query[s][id],
					 sizeof(l->query[s][id]));
		iov[n] = (struct iovec){l->query[s][id], l->len[s][id]};
		m[n] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[n], .msg_iovlen = 1}};
		n++;
		l->sent_ns[s][id] = now;
	}
	for (unsigned i = 0; i < n;) {
		int sent = sendmmsg(l->fd[s], m + i, n - i, 0);
		if (sent < 0)
			die("sendmmsg");
		i += (unsigned)sent;
	}
}

static void receive(struct load *l, unsigned s)
{
	static uint8_t buf[BATCH][FL_DNS_UDP_MAX];
	struct mmsghdr m[BATCH];
	struct iovec iov[BATCH];
	for (;;) {
		for (unsigned i = 0; i < BATCH; i++) {
			iov[i] = (struct iovec){buf[i], sizeof(buf[i])};
			m[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i], .msg_iovlen = 1}};
		}
		int n = recvmmsg(l->fd[s], m, BATCH, MSG_DONTWAIT, NULL);
		uint64_t now = fl_mono_ns();
		for (int i = 0; i < n; i++) {
			unsigned id = fl_dns_get16(buf[i]);
			if (id >= l->window || !l->sent_ns[s][id])
				continue;
			uint64_t took = (now - l->sent_ns[s][id]) / 250;
			l->latency[took < FL_COUNT(l->latency) ? took : FL_COUNT(l->latency) - 1]++;
			l->sent_ns[s][id] = 0;
			l->done++;
		}
		if (n < BATCH)
			return;
	}
}

static double percentile(const struct load *l, double p)
{
	uint64_t want = (uint64_t)((double)l->done * p), seen = 0;
	for (size_t i = 0; i < FL_COUNT(l->latency); i++)
		if ((seen += l->latency[i]) > want)
			return (double)(i + 1) / 4;
	return (double)FL_COUNT(l->latency) / 4;
}

static void run_load(const struct server *servers, unsigned n_servers, unsigned under_way, double seconds)
{
	struct load *l = &load;
	struct pollfd p[SOCKETS];
	unsigned n = under_way < SOCKETS ? under_way : SOCKETS;
	memset(l, 0, sizeof(*l));
	l->window = under_way / n;
	for (unsigned s = 0; s < n; s++) {
		struct sockaddr_in sa = {.sin_family = AF_INET,
					 .sin_port = htons(servers[s % n_servers].port),
					 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		l->fd[s] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (l->fd[s] < 0 || connect(l->fd[s], (struct sockaddr *)&sa, sizeof(sa)) < 0)
			die("socket");
		p[s] = (struct pollfd){.fd = l->fd[s], .events = POLLIN};
	}
	double user0, user1, cpu0 = cpu_seconds(servers, n_servers, &user0);
	uint64_t t0 = fl_mono_ns(), end = t0 + (uint64_t)(seconds * 1e9);
	while (fl_mono_ns() < end) {
		for (unsigned s = 0; s < n; s++)
			send_free(l, s);
		if (poll(p, n, 100) < 0)
			die("poll");
		for (unsigned s = 0; s < n; s++)
			if (p[s].revents)
				receive(l, s);
	}
	double took = (double)(fl_mono_ns() - t0) / 1e9, cpu1 = cpu_seconds(servers, n_servers, &user1);
	printf("over UDP   %4u under way, %u server%s: %8.0f/s  p50 %6.1f us  p99 %7.1f us  lost %" PRIu64
	       "  server: %4.2f processors, %4.2f us a question (%4.2f of it user)\n",
	       under_way, n_servers, n_servers > 1 ? "s" : "", (double)l->done / took, percentile(l, 0.5),
	       percentile(l, 0.99), l->lost, (cpu1 - cpu0) / took, (cpu1 - cpu0) * 1e6 / (double)l->done,
	       (user1 - user0) * 1e6 / (double)l->done);
	fflush(stdout);
	for (unsigned s = 0; s < n; s++)
		close(l->fd[s]);
}

static size_t private_kib(pid_t pid)
{
	char path[64], line[256];
	size_t sum = 0, kib;
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	FILE *f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Private_Clean: %zu", &kib) == 1 || sscanf(line, "Private_Dirty: %zu", &kib) == 1)
			sum += kib;
	fclose(f);
	return sum;
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 2;
	unsigned n_servers = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
	static const unsigned under_way[] = {1, 8, 64, 512, 2048};
	struct server servers[MAX_SERVERS];
	if (seconds <= 0 || n_servers < 1 || n_servers > MAX_SERVERS) {
		fprintf(stderr, "usage: dns_bench [seconds] [servers, at most %d]\n", MAX_SERVERS);
		return 2;
	}
	size_t before = private_kib(getpid());
	uint64_t t0 = fl_mono_ns();
	struct fl_zone *z = new_zone(SERVICES);
	double ms = (double)(fl_mono_ns() - t0) / 1e6;
	printf("zone       %u Services, %u endpoints: %.1f us each to read and enter, %zu KiB\n", SERVICES,
	       SERVICES * ENDPOINTS, ms * 1e3 / SERVICES, private_kib(getpid()) - before);
	in_memory(z);
	fflush(stdout);
	for (unsigned i = 0; i < n_servers; i++)
		servers[i] = start_server(z);
	for (size_t i = 0; i < FL_COUNT(under_way); i++)
		run_load(servers, n_servers, under_way[i], seconds);
	for (unsigned i = 0; i < n_servers; i++) {
		kill(servers[i].pid, SIGKILL);
		waitpid(servers[i].pid, NULL, 0);
	}
	fl_zone_free(&z);
	return 0;
}
