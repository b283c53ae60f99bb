// SPDX-License-Identifier: Apache-2.0
// A small network for tests that send packets, made of namespaces that live as long as the test holds their
// descriptors:
//
//   client 192.0.2.2 ---- 192.0.2.1 host (this thread) ---- veth ---- pod 0: 10.244.0.10, fd00:10:244::10
//                                   |  lo 10.244.0.1        \--- veth ---- pod 1: 10.244.0.11, ...
//
// A socket belongs to the namespace of the thread at the time it is made, so one thread plays all parts: it enters a
// namespace, makes a socket, and comes back.
#pragma once

#include "proxy_test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/netlink.h"
#include "proxy/nft/layout.h"

#define PODS    4
#define WAIT_MS 5000 // for what must come; generous, since nothing is measured by it

struct net {
	int host, client, pod[PODS]; // namespaces
	bool with_client;
};

static inline struct fl_ip ip_of(const char *text)
{
	struct fl_ip ip;

	if (!fl_ip_parse(text, &ip))
		fail_msg("address %s", text);
	return ip;
}

static inline struct fl_ip pod_ip(int i, int family)
{
	char text[64];

	snprintf(text, sizeof(text), family == AF_INET ? "10.244.0.%d" : "fd00:10:244::%d", 10 + i);
	return ip_of(text);
}

static inline int this_netns(void)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static inline void enter(int netns)
{
	assert_int_equal(setns(netns, CLONE_NEWNET), 0);
}

static inline int new_netns(int back_to)
{
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	int fd = this_netns();
	enter(back_to);
	return fd;
}

#define must(call)                                                                                                     \
	do {                                                                                                           \
		struct fl_err err = {0};                                                                               \
		if ((call) < 0)                                                                                        \
			fail_msg("%s: %s", #call, err.text);                                                           \
	} while (0)

static inline void write_sysctl(const char *path, const char *value)
{
	must(fl_sysctl_write(path, value, &err));
}

// One end of a veth pair in `netns`, the other (`name`) here; addresses of both families on the far end.
static inline void add_link(struct net *n, const char *name, int netns, const struct fl_ip *ips, int n_ips,
			    uint8_t bits4)
{
	AUTO(fl_netlink_free) struct fl_netlink *here = NULL, *there = NULL;
	int index, far_index;

	must(fl_netlink_open(NETLINK_ROUTE, &here, &err));
	must(fl_link_add_veth(here, name, "eth0", netns, 0, &err));
	must(fl_link_index(here, name, &index, &err));
	must(fl_link_set_up(here, index, true, &err));
	enter(netns);
	must(fl_netlink_open(NETLINK_ROUTE, &there, &err));
	must(fl_link_set_up(there, 1, true, &err));
	must(fl_link_index(there, "eth0", &far_index, &err));
	must(fl_link_set_up(there, far_index, true, &err));
	for (int i = 0; i < n_ips; i++)
		must(fl_addr_replace(there, far_index, &ips[i], ips[i].family == AF_INET ? bits4 : 128, &err));
	enter(n->host);
}

static inline void add_pod(struct net *n, int i)
{
	AUTO(fl_netlink_free) struct fl_netlink *here = NULL, *there = NULL;
	struct fl_ip ips[2] = {pod_ip(i, AF_INET), pod_ip(i, AF_INET6)};
	struct fl_ip gateways[2] = {ip_of("10.244.0.1"), ip_of("fe80::1")};
	char name[16];
	int index, far_index;

	n->pod[i] = new_netns(n->host);
	snprintf(name, sizeof(name), "pod%d", i);
	add_link(n, name, n->pod[i], ips, 2, 32);
	must(fl_netlink_open(NETLINK_ROUTE, &here, &err));
	must(fl_link_index(here, name, &index, &err));
	must(fl_addr_replace(here, index, &gateways[1], 64, &err));
	for (int f = 0; f < 2; f++) {
		struct fl_route r = {.dst = {ips[f], f ? 128 : 32}, .ifindex = index, .scope = RT_SCOPE_LINK};

		must(fl_route_replace(here, &r, &err));
	}
	enter(n->pod[i]);
	must(fl_netlink_open(NETLINK_ROUTE, &there, &err));
	must(fl_link_index(there, "eth0", &far_index, &err));
	for (int f = 0; f < 2; f++) {
		struct fl_route r = {.gateway = gateways[f], .ifindex = far_index, .onlink = true};

		must(fl_route_replace(there, &r, &err));
	}
	enter(n->host);
}

// False where namespaces are not allowed.
static inline bool net_init(struct net *n, bool with_client)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	struct fl_ip gateway4 = ip_of("10.244.0.1"), gateway6 = ip_of("fd00:10:244::1");

	if (!own_netns())
		return false;
	*n = (struct net){.host = this_netns(), .client = -1, .with_client = with_client};
	must(fl_netlink_open(NETLINK_ROUTE, &nl, &err));
	must(fl_link_set_up(nl, 1, true, &err));
	must(fl_addr_replace(nl, 1, &gateway4, 32, &err));
	must(fl_addr_replace(nl, 1, &gateway6, 128, &err));
	for (int i = 0; i < PODS; i++)
		add_pod(n, i);
	if (!with_client)
		return true;

	struct fl_ip far = ip_of("192.0.2.2"), near = ip_of("192.0.2.1");
	int index, far_index;
	AUTO(fl_netlink_free) struct fl_netlink *there = NULL;

	n->client = new_netns(n->host);
	add_link(n, "outside", n->client, &far, 1, 24);
	must(fl_link_index(nl, "outside", &index, &err));
	must(fl_addr_replace(nl, index, &near, 24, &err));
	enter(n->client);
	must(fl_netlink_open(NETLINK_ROUTE, &there, &err));
	must(fl_link_index(there, "eth0", &far_index, &err));
	must(fl_route_replace(there, &(struct fl_route){.gateway = near, .ifindex = far_index}, &err));
	enter(n->host);
	return true;
}

static inline void net_deinit(struct net *n)
{
	for (int i = 0; i < PODS; i++)
		close(n->pod[i]);
	if (n->client >= 0)
		close(n->client);
	close(n->host);
}

// ---- sockets

static inline int new_socket(struct net *n, int netns, int family, int type)
{
	enter(netns);
	int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	enter(n->host);
	assert_true(fd >= 0);
	return fd;
}

// A server in a namespace, at all its addresses of the family.
static inline int serve(struct net *n, int netns, int family, int type, uint16_t port)
{
	int fd = new_socket(n, netns, family, type), on = 1;
	struct sockaddr_storage sa;
	socklen_t len;
	struct fl_ip any = ip_of(family == AF_INET ? "0.0.0.0" : "::");

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	fl_ip_to_sockaddr(&any, port, &sa, &len);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 128), 0);
	return fd;
}

// Starts to connect; the outcome is for await_connect. UDP is connected at once.
static inline int start_connect(struct net *n, int netns, int type, const char *address, uint16_t port)
{
	struct fl_ip ip = ip_of(address);
	struct sockaddr_storage sa;
	socklen_t len;
	int fd = new_socket(n, netns, ip.family, type);

	fl_ip_to_sockaddr(&ip, port, &sa, &len);
	if (connect(fd, (struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS)
		fail_msg("connect to %s: %s", address, strerror(errno));
	return fd;
}

// 0 or the error that the connection ended with; -1 when neither came within `ms`.
static inline int await_connect(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	int error = 0;
	socklen_t len = sizeof(error);

	if (poll(&p, 1, ms) == 0)
		return -1;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	return error;
}

static inline void await_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	if (poll(&p, 1, WAIT_MS) != 1)
		fail_msg("nothing to read after %d ms", WAIT_MS);
}

// The server among `n` whose queue got something.
static inline int await_any(const int *servers, int n)
{
	struct pollfd p[PODS + 1];

	for (int i = 0; i < n; i++)
		p[i] = (struct pollfd){.fd = servers[i], .events = POLLIN};
	if (poll(p, (nfds_t)n, WAIT_MS) < 1)
		fail_msg("no server heard anything after %d ms", WAIT_MS);
	for (int i = 0; i < n; i++) {
		if (p[i].revents & POLLIN)
			return i;
	}
	fail_msg("poll without an event");
	return -1;
}

struct meeting {
	int server;          // index
	int near, far;       // the client's and the server's end
	struct fl_ip source; // of the client, as the server sees it
};

static inline void part(struct meeting *m)
{
	close(m->near);
	close(m->far);
}

// Connects from `netns` by TCP; one of the servers must get it.
static inline struct meeting meet(struct net *n, int netns, const char *address, uint16_t port, const int *servers,
				  int n_servers)
{
	struct meeting m = {.near = start_connect(n, netns, SOCK_STREAM, address, port)};
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	int error = await_connect(m.near, WAIT_MS);

	if (error)
		fail_msg("connect to %s port %u: %s", address, port, error < 0 ? "no answer" : strerror(error));
	m.server = await_any(servers, n_servers);
	m.far = accept4(servers[m.server], (struct sockaddr *)&sa, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(m.far >= 0);
	assert_true(fl_ip_from_sockaddr((struct sockaddr *)&sa, &m.source, NULL));
	return m;
}

// Bytes travel both ways.
static inline void exchange(const struct meeting *m)
{
	char c = 0;

	assert_int_equal(write(m->near, "a", 1), 1);
	await_readable(m->far);
	assert_int_equal(read(m->far, &c, 1), 1);
	assert_int_equal(c, 'a');
	assert_int_equal(write(m->far, "b", 1), 1);
	await_readable(m->near);
	assert_int_equal(read(m->near, &c, 1), 1);
	assert_int_equal(c, 'b');
}

static inline void assert_ip(const struct fl_ip *got, const char *want)
{
	char text[FL_IP_STRLEN];

	assert_string_equal(fl_ip_format(got, text), want);
}

// ---- objects

// free() it. EndpointSlice <service>-<family digit> for the pods whose bits are set in `pods`.
static inline char *slice_yaml(const char *service, int family, const char *ports, unsigned pods)
{
	struct fl_buf b = {0};

	fl_buf_printf(&b,
		      "kind: EndpointSlice\napiVersion: discovery.k8s.io/v1\n"
		      "metadata: {name: %s-%d, labels: {kubernetes.io/service-name: %s}}\naddressType: %s\nports: %s\n"
		      "endpoints:\n",
		      service, family == AF_INET ? 4 : 6, service, family == AF_INET ? "IPv4" : "IPv6", ports);
	for (int i = 0; i < PODS; i++) {
		struct fl_ip ip = pod_ip(i, family);
		char text[FL_IP_STRLEN];

		if (pods & 1u << i)
			fl_buf_printf(&b, "- {addresses: [\"%s\"], conditions: {ready: true}, nodeName: node-a}\n",
				      fl_ip_format(&ip, text));
	}
	return fl_buf_take(&b);
}

static inline void feed_slice(struct feed *f, const char *service, int family, const char *ports, unsigned pods)
{
	AUTO_FREE char *yaml = slice_yaml(service, family, ports, pods);

	feed_apply(f, yaml);
	feed_sync(f);
}

static inline struct fl_proxy_backend_config test_config(void)
{
	struct fl_proxy_backend_config cfg = {.n_service_cidrs = 2, .n_pod_cidrs = 2};

	fl_cidr_parse("10.96.0.0/12", &cfg.service_cidrs[0], false);
	fl_cidr_parse("fd00:10:96::/112", &cfg.service_cidrs[1], false);
	fl_cidr_parse("10.244.0.0/16", &cfg.pod_cidrs[0], false);
	fl_cidr_parse("fd00:10:244::/48", &cfg.pod_cidrs[1], false);
	return cfg;
}

// `nft flush table ip fairlead`: rules go; table, chains, sets and elements stay.
static inline void flush_rules(void)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	AUTO(nft_batch_deinit) struct nft_batch b;

	must(fl_netlink_open(NETLINK_NETFILTER, &nl, &err));
	nft_batch_init(&b, nl, NFT_TABLE);
	b.family = NFPROTO_IPV4;
	nft_msg_begin(&b, NFT_MSG_DELRULE, 0);
	nft_attr_str(&b, NFTA_RULE_TABLE, NFT_TABLE);
	nft_msg_end(&b);
	must(nft_batch_send(&b, &err));
}
