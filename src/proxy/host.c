// SPDX-License-Identifier: Apache-2.0
// Routes: the service range through lo, with a source address that endpoints can answer to. Rules translate the packet
// in the output hook and it is routed again then; what is not translated goes nowhere. Other routes to the same range
// win by their metric, and ours are told from them by protocol and metric.
//
// Sysctls: run_dir/proxy-sysctls holds `path value` lines of what stood there before. A value that was as wanted is not
// noted, so several roles can each restore what they changed.
#include "proxy/host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "io/netlink.h"

#define ROUTE_METRIC 9600u
#define DEFAULT_MTU  1500u
#define LO_INDEX     1 // of lo, in every network namespace

// ---- sysctls

static char *saved_path(const struct fl_proxy_opts *opts)
{
	return fl_asprintf("%s/proxy-sysctls", opts->run_dir);
}

static int note(const char *file, const char *path, const char *value, struct fl_err *err)
{
	AUTO_FREE char *line = fl_asprintf("%s %s\n", path, value);
	AUTO_CLOSE int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, line, strlen(line)) != (ssize_t)strlen(line))
		return fl_err_set(err, -errno, "note sysctl %s in %s: %s", path, file, strerror(errno));
	return 0;
}

static int set_sysctl(const char *file, const char *path, const char *want, struct fl_err *err)
{
	char now[64];
	int rc = fl_sysctl_read(path, now, sizeof(now), err);

	if (rc < 0 || fl_streq(now, want))
		return rc;
	rc = note(file, path, now, err);
	return rc < 0 ? rc : fl_sysctl_write(path, want, err);
}

int fl_proxy_host_sysctls(const struct fl_proxy_opts *opts, struct fl_err *err)
{
	AUTO_FREE char *file = saved_path(opts);
	struct fl_err ignored;
	bool v4 = opts->n_service_cidrs == 0, v6 = false; // not told: at least what every cluster needs
	int rc = 0;

	for (unsigned i = 0; i < opts->n_service_cidrs; i++) {
		v4 |= opts->service_cidrs[i].ip.family == AF_INET;
		v6 |= opts->service_cidrs[i].ip.family == AF_INET6;
	}
	if (v4)
		rc = set_sysctl(file, "net/ipv4/ip_forward", "1", err);
	if (rc == 0 && v6)
		rc = set_sysctl(file, "net/ipv6/conf/all/forwarding", "1", err);
	// A segment outside of the window that conntrack knows would pass untranslated to its endpoint and be answered
	// with a reset. Absent until conntrack is in use: then the kernel has no such check either.
	if (rc == 0)
		(void)set_sysctl(file, "net/netfilter/nf_conntrack_tcp_be_liberal", "1", &ignored);
	return rc;
}

static int restore_sysctls(const char *file, struct fl_err *err)
{
	FILE *f = fopen(file, "re");
	char line[256];
	int rc = 0;

	if (!f)
		return errno == ENOENT ? 0 : fl_err_set(err, -errno, "read %s: %s", file, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		char path[128], value[64];
		struct fl_err mine = {0};

		if (sscanf(line, "%127s %63s", path, value) != 2)
			continue;
		if (fl_sysctl_write(path, value, &mine) < 0 && rc == 0)
			rc = fl_err_set(err, mine.code, "%s", mine.text);
	}
	fclose(f);
	if (rc == 0 && unlink(file) < 0 && errno != ENOENT)
		rc = fl_err_set(err, -errno, "remove %s: %s", file, strerror(errno));
	return rc;
}

// ---- routes

static struct fl_ip choose_source(const struct fl_proxy_opts *opts, uint8_t family)
{
	struct fl_ip ip = {0};
	struct fl_err ignored;

	for (unsigned i = 0; i < opts->n_node_ips; i++) {
		if (opts->node_ips[i].family == family)
			return opts->node_ips[i];
	}
	if (fl_host_primary_ip(family, &ip, &ignored) < 0)
		return (struct fl_ip){0};
	return ip;
}

struct mtu_search {
	const struct fl_ip *ip;
	char ifname[IFNAMSIZ];
};

static void match_address(const struct fl_addr_info *a, void *arg)
{
	struct mtu_search *s = arg;

	if (fl_ip_equal(&a->ip, s->ip))
		memcpy(s->ifname, a->ifname, sizeof(s->ifname));
}

// MTU of the link that carries `ip`: what connections through it would have without the detour over lo.
static uint32_t link_mtu(struct fl_netlink *nl, const struct fl_ip *ip)
{
	struct mtu_search s = {.ip = ip};
	struct ifreq req = {0};
	struct fl_err ignored;

	if (!ip->family || fl_addr_list(nl, match_address, &s, &ignored) < 0 || !*s.ifname || fl_streq(s.ifname, "lo"))
		return DEFAULT_MTU;
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	memcpy(req.ifr_name, s.ifname, sizeof(req.ifr_name));
	if (fd < 0 || ioctl(fd, SIOCGIFMTU, &req) < 0 || req.ifr_mtu < 1280)
		return DEFAULT_MTU;
	return (uint32_t)req.ifr_mtu;
}

struct ours {
	FL_VEC(struct fl_route) routes;
};

static void collect(const struct fl_route *r, void *arg)
{
	struct ours *o = arg;

	if (r->protocol == FL_ROUTE_PROTOCOL && r->metric == ROUTE_METRIC)
		fl_vec_push(&o->routes, *r);
}

static const struct fl_route *find_route(const struct ours *o, const struct fl_cidr *c)
{
	for (size_t i = 0; i < o->routes.n; i++) {
		if (fl_ip_equal(&o->routes.v[i].dst.ip, &c->ip) && o->routes.v[i].dst.bits == c->bits)
			return &o->routes.v[i];
	}
	return NULL;
}

// Writes only what differs: each change of a route makes every connection of the host look up its own again.
static int set_route(struct fl_netlink *nl, const struct fl_proxy_opts *opts, const struct fl_cidr *c,
		     const struct fl_route *there, struct fl_err *err)
{
	struct fl_route r = {
	    .dst = *c,
	    .ifindex = LO_INDEX,
	    .prefsrc = choose_source(opts, c->ip.family),
	    .scope = RT_SCOPE_LINK,
	    .metric = ROUTE_METRIC,
	};

	if (there && fl_ip_equal(&there->prefsrc, &r.prefsrc))
		return 0;
	r.mtu = link_mtu(nl, &r.prefsrc);
	int rc = fl_route_replace(nl, &r, err);
	if (rc != -EINVAL || !r.prefsrc.family)
		return rc;
	if (there && !there->prefsrc.family)
		return 0;
	r.prefsrc = (struct fl_ip){0}; // the address is not there (yet): let the kernel choose one
	return fl_route_replace(nl, &r, err);
}

static int delete_route(struct fl_netlink *nl, const struct fl_route *r, struct fl_err *err)
{
	int rc = fl_route_del(nl, r, err);

	return rc == -ENOENT ? 0 : rc;
}

static bool is_service_cidr(const struct fl_proxy_opts *opts, const struct fl_cidr *c)
{
	for (unsigned i = 0; i < opts->n_service_cidrs; i++) {
		if (fl_ip_equal(&opts->service_cidrs[i].ip, &c->ip) && opts->service_cidrs[i].bits == c->bits)
			return true;
	}
	return false;
}

int fl_proxy_host_routes(const struct fl_proxy_opts *opts, struct fl_err *err)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	struct ours o = {0};
	int rc = fl_netlink_open(NETLINK_ROUTE, &nl, err);

	if (rc == 0)
		rc = fl_route_list(nl, collect, &o, err);
	if (rc == 0 && opts->n_service_cidrs > o.routes.n)
		rc = fl_link_set_up(nl, LO_INDEX, true, err);
	for (unsigned i = 0; rc == 0 && i < opts->n_service_cidrs; i++)
		rc = set_route(nl, opts, &opts->service_cidrs[i], find_route(&o, &opts->service_cidrs[i]), err);
	for (size_t i = 0; rc == 0 && i < o.routes.n; i++) {
		if (!is_service_cidr(opts, &o.routes.v[i].dst))
			rc = delete_route(nl, &o.routes.v[i], err);
	}
	fl_vec_deinit(&o.routes);
	return rc;
}

int fl_proxy_host_cleanup(const struct fl_proxy_opts *opts, struct fl_err *err)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	AUTO_FREE char *file = saved_path(opts);
	struct ours o = {0};
	int rc = fl_netlink_open(NETLINK_ROUTE, &nl, err);

	if (rc == 0)
		rc = fl_route_list(nl, collect, &o, err);
	for (size_t i = 0; rc == 0 && i < o.routes.n; i++)
		rc = delete_route(nl, &o.routes.v[i], err);
	fl_vec_deinit(&o.routes);
	return rc < 0 ? rc : restore_sysctls(file, err);
}
