// SPDX-License-Identifier: Apache-2.0
// The proxy core over the nftables backend, in a network namespace of its own: full load, restart, one change, first
// packet. Usage: proxy_bench [services [endpoints [changes]]], default 10000 3 300. Needs root.
//
// One change is what lies between the object and the rule in the kernel: parse, derive, compare, transaction.
#include <errno.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/netlink.h"
#include "proxy/core.h"

#define FIRST_PACKETS 2000

static void die(const char *what, const struct fl_err *err)
{
	fprintf(stderr, "proxy_bench: %s: %s\n", what, err ? err->text : strerror(errno));
	exit(1);
}

static struct fl_object *parse(const char *resource, char *json)
{
	struct fl_object *o = NULL;
	struct fl_err err = {0};

	if (fl_object_parse(resource, json, strlen(json), &o, &err) < 0)
		die("object", &err);
	free(json);
	return o;
}

static struct fl_object *service(unsigned i)
{
	return parse(
	    fl_resource_intern("", "services"),
	    fl_asprintf("{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"svc-%u\","
			"\"namespace\":\"default\",\"uid\":\"u\",\"resourceVersion\":\"1\"},\"spec\":{"
			"\"clusterIP\":\"10.%u.%u.%u\",\"ports\":[{\"name\":\"http\",\"port\":80,\"protocol\":\"UDP\","
			"\"targetPort\":8080}]}}",
			i, 96 + (i >> 16), i >> 8 & 255, i & 255));
}

static struct fl_object *slice(unsigned i, unsigned endpoints, unsigned salt)
{
	struct fl_buf b = {0};

	fl_buf_printf(
	    &b,
	    "{\"kind\":\"EndpointSlice\",\"apiVersion\":\"discovery.k8s.io/v1\",\"metadata\":{\"name\":\"svc-%u-x\","
	    "\"namespace\":\"default\",\"uid\":\"u\",\"resourceVersion\":\"1\",\"labels\":{"
	    "\"kubernetes.io/service-name\":\"svc-%u\"}},\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"http\","
	    "\"port\":8080,\"protocol\":\"UDP\"}],\"endpoints\":[",
	    i, i);
	for (unsigned e = 0; e < endpoints; e++) {
		unsigned n = i * endpoints + e;

		fl_buf_printf(
		    &b, "%s{\"addresses\":[\"10.%u.%u.%u\"],\"conditions\":{\"ready\":true},\"nodeName\":\"node-b\"}",
		    e ? "," : "", 128 + (n >> 16) + (e == 0 ? salt % 100 : 0), n >> 8 & 255, n & 255);
	}
	fl_buf_puts(&b, "]}");
	return parse(fl_resource_intern("discovery.k8s.io", "endpointslices"), fl_buf_take(&b));
}

static void sync_now(struct fl_proxy_core *c)
{
	struct fl_err err = {0};

	if (fl_proxy_core_sync(c, &err) < 0)
		die("sync", &err);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void report(const char *what, uint64_t *ns, unsigned n)
{
	qsort(ns, n, sizeof(*ns), by_value);
	printf("%-44s p50 %8.3f ms   p99 %8.3f ms   max %8.3f ms\n", what, (double)ns[n / 2] / 1e6,
	       (double)ns[n * 99 / 100] / 1e6, (double)ns[n - 1] / 1e6);
}

static void bench_changes(struct fl_proxy_core *c, unsigned services, unsigned endpoints, unsigned changes,
			  const char *what, bool count_changes)
{
	uint64_t *ns = fl_calloc(changes, sizeof(*ns));

	for (unsigned i = 0; i < changes; i++) {
		unsigned victim = (i * 7919u) % services;
		struct fl_object *o = slice(victim, endpoints - (count_changes && i % 2), i + 1);
		uint64_t start = fl_mono_ns();

		fl_proxy_core_slice(c, NULL, o);
		sync_now(c);
		ns[i] = fl_mono_ns() - start;
		fl_object_put(&o);
	}
	report(what, ns, changes);
	free(ns);
}

// UDP sockets, so that each datagram is the first packet of a connection. Nobody is at the end of it: what counts is
// the way through the rules and out.
static void bench_first_packet(const char *what, const char *address, uint16_t port)
{
	uint64_t *ns = fl_calloc(FIRST_PACKETS, sizeof(*ns));
	struct sockaddr_storage sa;
	socklen_t len;
	struct fl_ip ip;

	fl_ip_parse(address, &ip);
	fl_ip_to_sockaddr(&ip, port, &sa, &len);
	for (unsigned i = 0; i < FIRST_PACKETS; i++) {
		AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		uint64_t start = fl_mono_ns();

		if (sendto(fd, "x", 1, 0, (struct sockaddr *)&sa, len) != 1)
			die("first packet", NULL);
		ns[i] = fl_mono_ns() - start;
	}
	report(what, ns, FIRST_PACKETS);
	free(ns);
}

static void set_up_host(void)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	struct fl_err err = {0};
	struct fl_ip ip;
	struct fl_route r = {.ifindex = 1, .scope = RT_SCOPE_LINK};

	fl_ip_parse("192.0.2.1", &ip);
	fl_cidr_parse("10.0.0.0/8", &r.dst, false);
	if (unshare(CLONE_NEWNET) < 0)
		die("network namespace", NULL);
	if (fl_netlink_open(NETLINK_ROUTE, &nl, &err) < 0 || fl_link_set_up(nl, 1, true, &err) < 0 ||
	    fl_addr_replace(nl, 1, &ip, 32, &err) < 0 || fl_route_replace(nl, &r, &err) < 0)
		die("network", &err);
}

static struct fl_proxy_core *new_core(struct fl_proxy_backend **ret_backend)
{
	struct fl_proxy_backend_config cfg = {.n_service_cidrs = 1, .n_pod_cidrs = 1};
	struct fl_err err = {0};

	fl_cidr_parse("10.96.0.0/12", &cfg.service_cidrs[0], false);
	fl_cidr_parse("10.128.0.0/9", &cfg.pod_cidrs[0], false);
	if (fl_proxy_nft_ops.open(&cfg, ret_backend, &err) < 0)
		die("open", &err);
	return fl_proxy_core_new(
	    &(struct fl_proxy_core_opts){.node_name = "node-a", .ops = &fl_proxy_nft_ops, .backend = *ret_backend});
}

int main(int argc, char **argv)
{
	unsigned services = argc > 1 ? (unsigned)atoi(argv[1]) : 10000,
		 endpoints = argc > 2 ? (unsigned)atoi(argv[2]) : 3;
	unsigned changes = argc > 3 ? (unsigned)atoi(argv[3]) : 300;
	struct fl_proxy_backend *backend = NULL;
	struct fl_err err = {0};
	uint64_t start;

	if (!services || services > 500000 || endpoints < 2 || endpoints > 100 || !changes) {
		fprintf(stderr, "usage: proxy_bench [services [endpoints >= 2 [changes]]]\n");
		return 2;
	}
	set_up_host();
	printf("services %u, endpoints %u each\n", services, endpoints);
	for (int restart = 0; restart < 2; restart++) {
		struct fl_proxy_core *c = new_core(&backend);

		start = fl_mono_ns();
		for (unsigned i = 0; i < services; i++) {
			struct fl_object *s = service(i), *e = slice(i, endpoints, 0);

			fl_proxy_core_service(c, NULL, s);
			fl_proxy_core_slice(c, NULL, e);
			fl_object_put(&s);
			fl_object_put(&e);
		}
		uint64_t fed = fl_mono_ns();
		sync_now(c);
		printf("%-44s feed %7.1f ms   sync %7.1f ms\n",
		       restart ? "restart, kernel already as wanted" : "first sync", (double)(fed - start) / 1e6,
		       (double)(fl_mono_ns() - fed) / 1e6);
		if (restart) {
			bench_changes(c, services, endpoints, changes, "one endpoint replaced", false);
			bench_changes(c, services, endpoints, changes, "one endpoint more or less", true);
			bench_first_packet("first packet, no Service", "10.250.0.1", 9);
			bench_first_packet("first packet, a cluster IP", "10.96.0.1", 80);
		}
		fl_proxy_core_free(&c);
		fl_proxy_nft_ops.close(&backend);
	}
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	printf("peak resident %ld KiB, %.2f s user, %.2f s system\n", u.ru_maxrss,
	       (double)u.ru_utime.tv_sec + (double)u.ru_utime.tv_usec / 1e6,
	       (double)u.ru_stime.tv_sec + (double)u.ru_stime.tv_usec / 1e6);
	start = fl_mono_ns();
	if (fl_proxy_nft_ops.cleanup(&err) < 0)
		die("cleanup", &err);
	printf("%-44s %7.1f ms\n", "cleanup", (double)(fl_mono_ns() - start) / 1e6);
	return 0;
}
