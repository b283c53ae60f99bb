// SPDX-License-Identifier: Apache-2.0
// Service (core/v1) and EndpointSlice (discovery.k8s.io/v1) into the few members that a proxy needs.
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "proxy/model.h"

#define LABEL_PROXY_NAME   "service.kubernetes.io/service-proxy-name" // another proxy takes care of it
#define LABEL_HEADLESS     "service.kubernetes.io/headless"
#define LABEL_SERVICE_NAME "kubernetes.io/service-name"
#define ANNOTATION_RANGES  "service.beta.kubernetes.io/load-balancer-source-ranges"
#define AFFINITY_SECONDS   10800 // default of sessionAffinityConfig.clientIP.timeoutSeconds

static uint8_t parse_proto(const char *name)
{
	if (fl_streq(name, "UDP"))
		return IPPROTO_UDP;
	if (fl_streq(name, "SCTP"))
		return IPPROTO_SCTP;
	return IPPROTO_TCP; // the default
}

const char *fl_proxy_proto_name(uint8_t proto)
{
	return proto == IPPROTO_UDP ? "udp" : proto == IPPROTO_SCTP ? "sctp" : "tcp";
}

static uint16_t parse_port(const struct fl_json *object, const char *key)
{
	int64_t i = fl_json_int(object, key, 0);

	return i > 0 && i <= 65535 ? (uint16_t)i : 0;
}

static void add_cluster_ip(struct fl_proxy_service *s, const char *text)
{
	struct fl_ip ip;

	if (!text || s->n_cluster_ips == FL_COUNT(s->cluster_ips) || !fl_ip_parse(text, &ip))
		return; // "None" and "" do not parse
	if (s->n_cluster_ips && s->cluster_ips[0].family == ip.family)
		return;
	s->cluster_ips[s->n_cluster_ips++] = ip;
}

static void add_source_range(struct fl_proxy_service *s, const char *text)
{
	struct fl_cidr c;

	if (text && fl_cidr_parse(text, &c, true))
		fl_vec_push(&s->source_ranges, c);
}

// spec.loadBalancerSourceRanges, or the annotation that came before it.
static void parse_source_ranges(const struct fl_json *meta, const struct fl_json *spec, struct fl_proxy_service *s)
{
	const struct fl_json *list = fl_json_get(spec, "loadBalancerSourceRanges");
	const char *text = fl_json_str(fl_json_get(meta, "annotations"), ANNOTATION_RANGES);

	fl_json_each (each, list)
		add_source_range(s, fl_json_string(each));
	if (fl_json_count(list) || !text)
		return;
	AUTO_FREE char *copy = fl_strdup(text);
	char *save = NULL;
	for (char *part = strtok_r(copy, ", ", &save); part; part = strtok_r(NULL, ", ", &save))
		add_source_range(s, part);
}

// Room for `n` entries of `size` bytes and, behind them, for the names of the ports, of which *ret_names is the first.
static void *new_ports(const struct fl_json *ports, size_t size, char **ret_names)
{
	size_t n = fl_json_count(ports), bytes = n * size;

	fl_json_each (p, ports)
		bytes += strlen(fl_json_str_or(p, "name", "")) + 1;
	char *room = fl_malloc(bytes ? bytes : 1);
	*ret_names = room + n * size;
	return room;
}

static const char *put_name(const struct fl_json *port, char **at)
{
	const char *name = fl_json_str_or(port, "name", "");
	size_t n = strlen(name) + 1;
	char *to = memcpy(*at, name, n);

	*at += n;
	return to;
}

void fl_proxy_service_parse(const struct fl_json *obj, struct fl_proxy_service *ret)
{
	const struct fl_json *meta = fl_json_get(obj, "metadata"), *spec = fl_json_get(obj, "spec");
	const struct fl_json *labels = fl_json_get(meta, "labels");
	const char *type = fl_json_str_or(spec, "type", "ClusterIP");
	const char *created = fl_json_str(meta, "creationTimestamp");
	struct fl_proxy_service s = {0};
	struct fl_ip ip;
	char *names = NULL;

	if (!created || !fl_time_parse(created, &s.created_ns))
		s.created_ns = 0;

	*ret = s;
	if (fl_streq(type, "ExternalName") || fl_json_get(labels, LABEL_PROXY_NAME) ||
	    fl_json_get(labels, LABEL_HEADLESS))
		return;

	const struct fl_json *ips = fl_json_get(spec, "clusterIPs");
	fl_json_each (each, ips)
		add_cluster_ip(&s, fl_json_string(each));
	if (s.n_cluster_ips == 0)
		add_cluster_ip(&s, fl_json_str(spec, "clusterIP"));
	if (s.n_cluster_ips == 0) {
		*ret = s;
		return;
	}

	bool is_lb = fl_streq(type, "LoadBalancer"), has_node_ports = is_lb || fl_streq(type, "NodePort");
	const struct fl_json *ports = fl_json_get(spec, "ports");
	s.ports.v = new_ports(ports, sizeof(*s.ports.v), &names);
	s.ports.cap = (uint32_t)fl_json_count(ports);
	fl_json_each (p, ports) {
		struct fl_proxy_service_port port = {
		    .proto = parse_proto(fl_json_str(p, "protocol")),
		    .port = parse_port(p, "port"),
		    .node_port = has_node_ports ? parse_port(p, "nodePort") : 0,
		};

		if (!port.port)
			continue;
		port.name = put_name(p, &names);
		fl_vec_push(&s.ports, port);
	}
	fl_json_each (each, fl_json_get(spec, "externalIPs")) {
		const char *text = fl_json_string(each);

		if (text && fl_ip_parse(text, &ip))
			fl_vec_push(&s.external_ips, ip);
	}
	if (is_lb) {
		fl_json_each (each, fl_json_path(obj, "status", "loadBalancer", "ingress", NULL)) {
			const char *text = fl_json_str(each, "ip");

			// ipMode Proxy: the load balancer must see the traffic, so it is not short-circuited
			// (KEP-1860).
			if (text && fl_ip_parse(text, &ip) && !fl_streq(fl_json_str(each, "ipMode"), "Proxy"))
				fl_vec_push(&s.lb_ips, ip);
		}
		s.health_check_port = parse_port(spec, "healthCheckNodePort");
		parse_source_ranges(meta, spec, &s);
	}
	s.internal_local = fl_streq(fl_json_str(spec, "internalTrafficPolicy"), "Local");
	s.external_local = fl_streq(fl_json_str(spec, "externalTrafficPolicy"), "Local");
	if (fl_streq(fl_json_str(spec, "sessionAffinity"), "ClientIP")) {
		int64_t t = fl_json_int(fl_json_path(spec, "sessionAffinityConfig", "clientIP", NULL), "timeoutSeconds",
					AFFINITY_SECONDS);
		s.affinity_s = t > 0 && t <= 86400 ? (uint32_t)t : AFFINITY_SECONDS;
	}
	*ret = s;
}

void fl_proxy_service_deinit(struct fl_proxy_service *s)
{
	fl_vec_deinit(&s->ports);
	fl_vec_deinit(&s->external_ips);
	fl_vec_deinit(&s->lb_ips);
	fl_vec_deinit(&s->source_ranges);
	*s = (struct fl_proxy_service){0};
}

// hints.<member>[].name: whether there are any, and whether one is `mine`.
static void parse_hints(const struct fl_json *hints, const char *member, const char *mine, bool *ret_has, bool *ret_hit)
{
	fl_json_each (h, fl_json_get(hints, member)) {
		*ret_has = true;
		if (!fl_str_empty(mine) && fl_streq(fl_json_str(h, "name"), mine))
			*ret_hit = true;
	}
}

static void parse_endpoint(const struct fl_json *ep, const struct fl_proxy_where *where, struct fl_proxy_slice *s)
{
	const struct fl_json *cond = fl_json_get(ep, "conditions"), *hints = fl_json_get(ep, "hints");
	struct fl_proxy_slice_endpoint e = {.ready = fl_json_bool(cond, "ready", true)}; // unknown counts as ready
	bool has_zone = false, zone = false, has_node = false, node = false;

	e.serving = fl_json_bool(cond, "serving", e.ready);
	e.terminating = fl_json_bool(cond, "terminating", false);
	const char *node_name = fl_json_str_or(ep, "nodeName", "");
	e.local = *node_name && fl_streq(node_name, where->node_name);
	s->nodes_unsaid |= !*node_name;
	parse_hints(hints, "forZones", where->zone, &has_zone, &zone);
	parse_hints(hints, "forNodes", where->node_name, &has_node, &node);
	e.has_zone_hint = has_zone;
	e.zone_hit = zone;
	e.has_node_hint = has_node;
	e.node_hit = node;

	// The addresses of one endpoint are interchangeable; consumers use the first (EndpointSlice API).
	const char *address = fl_json_string(fl_json_index(fl_json_get(ep, "addresses"), 0));
	if (address && fl_ip_parse(address, &e.ip) && e.ip.family == s->family)
		fl_vec_push(&s->endpoints, e);
}

bool fl_proxy_slice_parse(const struct fl_json *obj, const struct fl_proxy_where *where, struct fl_arena *a,
			  struct fl_proxy_slice *ret, const char **ret_service)
{
	const struct fl_json *meta = fl_json_get(obj, "metadata");
	const struct fl_json *labels = fl_json_get(meta, "labels");
	const char *service = fl_json_str(labels, LABEL_SERVICE_NAME);
	const char *type = fl_json_str_or(obj, "addressType", "");
	struct fl_proxy_slice s = {.family = fl_streq(type, "IPv4") ? AF_INET : fl_streq(type, "IPv6") ? AF_INET6 : 0};

	if (fl_str_empty(service) || !s.family || fl_json_get(labels, LABEL_PROXY_NAME) ||
	    fl_json_get(labels, LABEL_HEADLESS))
		return false;

	const struct fl_json *ports = fl_json_get(obj, "ports");
	char *names = NULL;
	s.ports.v = new_ports(ports, sizeof(*s.ports.v), &names);
	s.ports.cap = (uint32_t)fl_json_count(ports);
	fl_json_each (p, ports) {
		struct fl_proxy_slice_port port = {
		    .proto = parse_proto(fl_json_str(p, "protocol")),
		    .port = parse_port(p, "port"),
		};

		if (!port.port)
			continue; // null: "all ports", which only non-Service consumers use
		port.name = put_name(p, &names);
		fl_vec_push(&s.ports, port);
	}
	const struct fl_json *endpoints = fl_json_get(obj, "endpoints");
	fl_vec_reserve(&s.endpoints, fl_json_count(endpoints));
	fl_json_each (ep, endpoints)
		parse_endpoint(ep, where, &s);

	*ret = s;
	*ret_service = fl_arena_strdup(a, service);
	return true;
}

void fl_proxy_slice_deinit(struct fl_proxy_slice *s)
{
	fl_vec_deinit(&s->ports);
	fl_vec_deinit(&s->endpoints);
	*s = (struct fl_proxy_slice){0};
}
