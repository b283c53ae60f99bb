// SPDX-License-Identifier: Apache-2.0
// What the options say together must make sense before anything is started: a role that refuses its options would only
// be started again and again. What depends on the host is asked of it last (fl_options_check_host).
#include <errno.h>
#include <string.h>

#include "api/validate.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/common.h"
#include "cli/options.h"
#include "dns/upstreams.h"
#include "io/netlink.h"
#include "node/runtime.h"
#include "proxy/backend.h"

#define LEAST_SERVICES 32 // addresses: the first, the one of DNS and a static band

static bool has_family(const struct fl_cidr *cidrs, unsigned n, int family)
{
	for (unsigned i = 0; i < n; i++)
		if (cidrs[i].ip.family == family)
			return true;
	return false;
}

static int check_cidrs(const struct fl_options *o, struct fl_err *err)
{
	char text[FL_CIDR_STRLEN];
	for (unsigned i = 0; i < o->n_service_cidrs; i++) {
		const struct fl_cidr *c = &o->service_cidrs[i];
		if (fl_cidr_size(c) < LEAST_SERVICES)
			return fl_err_set(err, -EINVAL, "--service-cidr %s: too small, %d addresses are the least",
					  fl_cidr_format(c, text), LEAST_SERVICES);
		for (unsigned j = 0; j < o->n_pod_cidrs; j++)
			if (fl_cidr_overlaps(c, &o->pod_cidrs[j]))
				return fl_err_set(err, -EINVAL, "--service-cidr %s overlaps --pod-cidr",
						  fl_cidr_format(c, text));
		if (!has_family(o->pod_cidrs, o->n_pod_cidrs, c->ip.family))
			return fl_err_set(err, -EINVAL,
					  "--service-cidr %s: no --pod-cidr is of its family, so no pod could serve it",
					  fl_cidr_format(c, text));
	}
	for (unsigned i = 0; i < o->n_pod_cidrs; i++) {
		unsigned most = o->pod_cidrs[i].ip.family == AF_INET ? 24 : 64;
		if (o->pod_cidrs[i].bits > most)
			return fl_err_set(err, -EINVAL, "--pod-cidr %s: a node takes a /%u of it",
					  fl_cidr_format(&o->pod_cidrs[i], text), most);
	}
	if (o->n_service_cidrs == 2 && o->service_cidrs[0].ip.family == o->service_cidrs[1].ip.family)
		return fl_err_set(err, -EINVAL, "--service-cidr: two ranges must be of different families");
	if (o->n_pod_cidrs == 2 && o->pod_cidrs[0].ip.family == o->pod_cidrs[1].ip.family)
		return fl_err_set(err, -EINVAL, "--pod-cidr: two ranges must be of different families");
	return 0;
}

// An address that others can send to: pods reach the API server by it, through an Endpoints object.
static int check_reachable(const char *option, const struct fl_ip *ip, struct fl_err *err)
{
	char text[FL_IP_STRLEN];
	const char *why = fl_ip_is_unspecified(ip)  ? "the unspecified address"
			  : fl_ip_is_loopback(ip)   ? "a loopback address, which pods cannot reach"
			  : fl_ip_is_link_local(ip) ? "a link-local address"
			  : fl_ip_is_multicast(ip)  ? "a multicast address"
						    : NULL;
	return why ? fl_err_set(err, -EINVAL, "--%s %s: %s", option, fl_ip_format(ip, text), why) : 0;
}

static int check_name(const char *option, const char *name, struct fl_err *err)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const char *why = name ? fl_check_dns1123_subdomain(&a, name) : NULL;
	return why ? fl_err_set(err, -EINVAL, "--%s %s: %s", option, name, why) : 0;
}

static int check_listen(const char *option, const char *text, struct fl_err *err)
{
	struct fl_ip ip;
	uint16_t port;
	bool any;
	AUTO_FREE char *copy = text ? fl_strdup(text) : NULL;
	if (!copy || fl_options_parse_listen(copy, &ip, &any, &port))
		return 0;
	return fl_err_set(err, -EINVAL, "--%s %s: expected [IP]:PORT", option, text);
}

int fl_options_check(const struct fl_options *o, struct fl_err *err)
{
	struct fl_upstreams upstreams;
	enum fl_log_level level;
	int rc = check_cidrs(o, err);
	for (unsigned i = 0; i < o->n_node_ips && rc == 0; i++)
		rc = check_reachable("node-ip", &o->node_ips[i], err);
	if (rc == 0 && o->n_node_ips == 2 && o->node_ips[0].family == o->node_ips[1].family)
		rc = fl_err_set(err, -EINVAL, "--node-ip: two addresses must be of different families");
	if (rc == 0 && o->advertise.family)
		rc = check_reachable("advertise-address", &o->advertise, err);
	if (rc == 0 && o->advertise.family && o->advertise.family != o->service_cidrs[0].ip.family)
		rc = fl_err_set(err, -EINVAL, "--advertise-address: of another family than the first --service-cidr");
	if (rc == 0)
		rc = check_name("node-name", o->node_name, err);
	if (rc == 0)
		rc = check_name("cluster-domain", o->cluster_domain, err);
	if (rc == 0 && !fl_proxy_backend_find(o->proxy_mode, err))
		rc = fl_err_prefix(err, "--proxy-mode");
	if (rc == 0 && o->upstream && fl_upstreams_init(&upstreams, o->upstream, NULL, NULL, 0, err) < 0)
		rc = fl_err_prefix(err, "--upstream-dns");
	if (rc == 0)
		rc = check_listen("proxy-metrics", o->metrics_listen, err);
	if (rc == 0)
		rc = check_listen("proxy-healthz", o->healthz_listen, err);
	if (rc == 0 && o->log_level && !fl_cli_log_level(o->log_level, &level))
		rc = fl_err_set(err, -EINVAL, "--log-level %s: expected debug, info, warn or error", o->log_level);
	return rc;
}

struct search {
	const struct fl_ip *ip;
	bool found;
};

static void look(const struct fl_addr_info *a, void *arg)
{
	struct search *s = arg;
	s->found |= fl_ip_equal(&a->ip, s->ip);
}

static int check_is_here(struct fl_netlink *nl, const char *option, const struct fl_ip *ip, struct fl_err *err)
{
	char text[FL_IP_STRLEN];
	struct search s = {.ip = ip};
	if (fl_ip_is_unspecified(ip) || fl_ip_is_loopback(ip))
		return 0;
	int rc = fl_addr_list(nl, look, &s, err);
	if (rc < 0 || s.found)
		return rc;
	return fl_err_set(err, -EADDRNOTAVAIL, "--%s %s: no interface of this host has it", option,
			  fl_ip_format(ip, text));
}

int fl_options_check_host(const struct fl_options *o, struct fl_err *err)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	int rc = fl_netlink_open(NETLINK_ROUTE, &nl, err);
	for (unsigned i = 0; i < o->n_node_ips && rc == 0; i++)
		rc = check_is_here(nl, "node-ip", &o->node_ips[i], err);
	for (unsigned i = 0; i < o->n_listen && rc == 0; i++)
		rc = check_is_here(nl, "api-listen", &o->listen[i], err);
	AUTO_FREE char *runtime = o->runtime ? fl_runtime_program(o->runtime) : NULL;
	if (rc == 0 && o->runtime && !runtime)
		rc = fl_err_set(err, -ENOENT, "--runtime %s: no such program", o->runtime);
	return rc;
}
