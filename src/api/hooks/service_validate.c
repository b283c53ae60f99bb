// SPDX-License-Identifier: Apache-2.0
// Rules of a Service, in the order and the words of Kubernetes (pkg/apis/core/validation ValidateService,
// ValidateServiceUpdate, ValidateServiceStatusUpdate). Allocation has its own refusals, which come before these.
#include <stdio.h>

#include "api/hooks/service.h"
#include "api/validate.h"
#include "base/ip.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

#define KUBELET_PORT 10250

static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
static const char *const policies[] = {"Cluster", "Local", NULL};

static const char *port_field(struct fl_causes *c, size_t i, const char *name)
{
	return fl_arena_printf(c->arena, "spec.ports[%zu]%s%s", i, *name ? "." : "", name);
}

// `names` holds those of the ports before this one.
static void validate_port_name(struct fl_causes *c, const struct fl_json *ports, size_t i, const struct fl_json *port,
			       struct fl_map *names)
{
	const struct fl_json *name = fl_json_get(port, "name");
	const char *field = port_field(c, i, "name");

	if (fl_str_empty(fl_json_string(name))) {
		if (fl_json_count(ports) > 1)
			fl_cause_add(c, FL_CAUSE_REQUIRED, field, NULL, NULL);
		return;
	}
	fl_validate_string(c, field, name, fl_check_dns1123_label);
	if (fl_json_count(ports) > 1 && fl_map_set(names, fl_json_string(name), names))
		fl_cause_add(c, FL_CAUSE_DUPLICATE, field, name, NULL);
}

static void validate_port(struct fl_causes *c, const struct fl_json *ports, size_t i, const struct fl_json *port,
			  struct fl_map *names)
{
	const char *app_protocol = fl_json_str(port, "appProtocol");

	validate_port_name(c, ports, i, port, names);
	fl_validate_port_number(c, port_field(c, i, "port"), fl_json_get(port, "port"));
	if (!fl_json_get(port, "protocol"))
		fl_cause_add(c, FL_CAUSE_REQUIRED, port_field(c, i, "protocol"), NULL, NULL);
	else
		fl_validate_one_of(c, port_field(c, i, "protocol"), fl_json_get(port, "protocol"), protocols);
	fl_validate_port_or_name(c, port_field(c, i, "targetPort"), fl_json_get(port, "targetPort"));
	if (app_protocol)
		fl_validate_qualified_name(c, port_field(c, i, "appProtocol"), app_protocol);
}

// Whether a port before this one has the same number and protocol; `seen` learns them.
static bool stands_before(struct fl_map *seen, const struct fl_json *port, const char *number)
{
	AUTO_FREE char *key =
	    fl_asprintf("%lld/%s", (long long)fl_json_int(port, number, 0), fl_json_str_or(port, "protocol", ""));

	return fl_map_set(seen, key, seen);
}

// Kubernetes shows its internal struct here, so this is what clients have seen for years.
static struct fl_json *port_key(struct fl_arena *a, const struct fl_json *port)
{
	struct fl_json *k = fl_json_new(a, FL_JSON_OBJECT);

	fl_json_set_str(a, k, "Name", "");
	fl_json_set_str(a, k, "Protocol", fl_json_str_or(port, "protocol", ""));
	fl_json_set(a, k, "AppProtocol", fl_json_new(a, FL_JSON_NULL));
	fl_json_set_int(a, k, "Port", fl_json_int(port, "port", 0));
	fl_json_set_int(a, k, "TargetPort", 0);
	fl_json_set_int(a, k, "NodePort", 0);
	return k;
}

static void validate_unique_ports(struct fl_causes *c, const struct fl_json *ports)
{
	AUTO(fl_map_deinit) struct fl_map node_ports = {0}, numbers = {0};
	size_t i = 0;

	if (fl_json_count(ports) < 2)
		return;
	fl_json_each (p, ports) {
		if (fl_json_int(p, "nodePort", 0) && stands_before(&node_ports, p, "nodePort"))
			fl_cause_add(c, FL_CAUSE_DUPLICATE, port_field(c, i, "nodePort"), fl_json_get(p, "nodePort"),
				     NULL);
		i++;
	}
	i = 0;
	fl_json_each (p, ports) {
		if (stands_before(&numbers, p, "port"))
			fl_cause_add(c, FL_CAUSE_DUPLICATE, port_field(c, i, ""), port_key(c->arena, p), NULL);
		i++;
	}
}

static void validate_external_name(struct fl_causes *c, const struct fl_json *spec)
{
	static const char *const forbidden[] = {"clusterIPs", "ipFamilies", "ipFamilyPolicy"};
	const struct fl_json *name = fl_json_get(spec, "externalName");
	const char *s = fl_json_string(name);
	size_t n = s ? strlen(s) : 0;

	for (size_t i = 0; i < FL_COUNT(forbidden); i++)
		if (fl_json_get(spec, forbidden[i]))
			fl_cause_add(c, FL_CAUSE_FORBIDDEN, fl_arena_printf(c->arena, "spec.%s", forbidden[i]), NULL,
				     "may not be set for ExternalName services");
	if (n && s[n - 1] == '.')
		n--;
	if (n)
		fl_validate_string(c, "spec.externalName", fl_json_new_strn(c->arena, s, n),
				   fl_check_dns1123_subdomain);
	else
		fl_cause_add(c, FL_CAUSE_REQUIRED, "spec.externalName", NULL, NULL);
}

// Load balancers that open whole firewalls must not open the nodes' own door.
static void validate_exposed(struct fl_causes *c, const struct fl_json *ports)
{
	size_t i = 0;

	fl_json_each (p, ports) {
		if (fl_json_int(p, "port", 0) == KUBELET_PORT)
			fl_cause_add(c, FL_CAUSE_INVALID, fl_arena_printf(c->arena, "spec.ports[%zu]", i),
				     fl_json_get(p, "port"),
				     "may not expose port %d externally since it is used by kubelet", KUBELET_PORT);
		i++;
	}
}

static void validate_type(struct fl_causes *c, const struct fl_json *spec)
{
	const char *type = fl_service_type(spec);

	if (fl_service_is_type(spec, "ExternalName")) {
		validate_external_name(c, spec);
		return;
	}
	if (!fl_json_count(fl_json_get(spec, "ports")) && !fl_service_is_headless(spec))
		fl_cause_add(c, FL_CAUSE_REQUIRED, "spec.ports", NULL, NULL);
	if (fl_streq(type, "LoadBalancer"))
		validate_exposed(c, fl_json_get(spec, "ports"));
	if (fl_service_is_headless(spec) && (fl_streq(type, "LoadBalancer") || fl_streq(type, "NodePort")))
		fl_cause_add(c, FL_CAUSE_INVALID, "spec.clusterIPs[0]", fl_json_new_str(c->arena, "None"),
			     "may not be set to 'None' for %s services", type);
}

static void validate_affinity(struct fl_causes *c, const struct fl_json *spec)
{
	static const char *const known[] = {"ClientIP", "None", NULL};
	static const char *const why = "when session affinity type is ClientIP";
	const struct fl_json *config = fl_json_get(spec, "sessionAffinityConfig");
	const struct fl_json *client_ip = fl_json_get(config, "clientIP");
	const struct fl_json *timeout = fl_json_get(client_ip, "timeoutSeconds");
	const char *affinity = fl_json_str_or(spec, "sessionAffinity", "");

	if (!*affinity)
		fl_cause_add(c, FL_CAUSE_REQUIRED, "spec.sessionAffinity", NULL, NULL);
	else
		fl_validate_one_of(c, "spec.sessionAffinity", fl_json_get(spec, "sessionAffinity"), known);
	if (fl_streq(affinity, "None") && config)
		fl_cause_add(c, FL_CAUSE_FORBIDDEN, "spec.sessionAffinityConfig", NULL,
			     "must not be set when session affinity is None");
	if (!fl_streq(affinity, "ClientIP"))
		return;
	if (!config)
		fl_cause_add(c, FL_CAUSE_REQUIRED, "spec.sessionAffinityConfig", NULL, "%s", why);
	else if (!client_ip)
		fl_cause_add(c, FL_CAUSE_REQUIRED, "spec.sessionAffinityConfig.clientIP", NULL, "%s", why);
	else if (!timeout)
		fl_cause_add(c, FL_CAUSE_REQUIRED, "spec.sessionAffinityConfig.clientIP.timeoutSeconds", NULL, "%s",
			     why);
	else if (timeout->i <= 0 || timeout->i > FL_SERVICE_MAX_AFFINITY_S)
		fl_cause_add(c, FL_CAUSE_INVALID, "spec.sessionAffinityConfig.clientIP.timeoutSeconds", timeout,
			     "must be greater than 0 and less than %d", FL_SERVICE_MAX_AFFINITY_S);
}

static void validate_external_ips(struct fl_causes *c, const struct fl_json *spec)
{
	size_t i = 0;

	fl_json_each (ip, fl_json_get(spec, "externalIPs")) {
		const char *field = fl_arena_printf(c->arena, "spec.externalIPs[%zu]", i++);
		struct fl_ip parsed;

		if (fl_validate_ip(c, field, ip, &parsed))
			fl_validate_non_special_ip(c, field, ip, &parsed);
	}
}

static const char *trimmed(struct fl_arena *a, const char *s, size_t n)
{
	while (n && (*s == ' ' || *s == '\t'))
		s++, n--;
	while (n && (s[n - 1] == ' ' || s[n - 1] == '\t'))
		n--;
	return fl_arena_strndup(a, s, n);
}

static void validate_cidr(struct fl_causes *c, const char *field, const char *s, size_t n)
{
	const char *text = trimmed(c->arena, s, n);
	struct fl_cidr cidr;

	if (!fl_cidr_parse(text, &cidr, true))
		fl_cause_add(c, FL_CAUSE_INVALID, field, fl_json_new_str(c->arena, text),
			     "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
}

#define RANGES_ANNOTATION "service.beta.kubernetes.io/load-balancer-source-ranges"

// The field, or the annotation that came before it. Kubernetes misspells the field's path; so clients know it.
static void validate_source_ranges(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *spec)
{
	const struct fl_json *ranges = fl_json_get(spec, "loadBalancerSourceRanges");
	const char *annotation = fl_json_str(fl_json_path(obj, "metadata", "annotations", NULL), RANGES_ANNOTATION);
	const char *field = "spec.LoadBalancerSourceRanges";
	size_t i = 0;

	if (!fl_json_count(ranges)) {
		if (!annotation)
			return;
		field = "metadata.annotations[" RANGES_ANNOTATION "]";
	}
	if (!fl_service_is_type(spec, "LoadBalancer"))
		fl_cause_add(c, FL_CAUSE_FORBIDDEN, field, NULL, "may only be used when `type` is 'LoadBalancer'");
	fl_json_each (r, ranges)
		if (fl_json_string(r))
			validate_cidr(c, fl_arena_printf(c->arena, "%s[%zu]", field, i++), r->str.s, r->str.len);
	if (fl_json_count(ranges) || !annotation[strspn(annotation, " \t")])
		return;
	for (const char *s = annotation;; s++) {
		size_t n = strcspn(s, ",");

		validate_cidr(c, field, s, n);
		s += n;
		if (!*s)
			break;
	}
}

static void validate_load_balancer(struct fl_causes *c, const struct fl_json *spec)
{
	const char *only = "may only be used when `type` is 'LoadBalancer'";
	const char *class = fl_json_str(spec, "loadBalancerClass");
	bool is_lb = fl_service_is_type(spec, "LoadBalancer");

	if (!is_lb && fl_json_get(spec, "allocateLoadBalancerNodePorts"))
		fl_cause_add(c, FL_CAUSE_FORBIDDEN, "spec.allocateLoadBalancerNodePorts", NULL, "%s", only);
	if (class && is_lb)
		fl_validate_qualified_name(c, "spec.loadBalancerClass", class);
	else if (class)
		fl_cause_add(c, FL_CAUSE_FORBIDDEN, "spec.loadBalancerClass", NULL, "%s", only);
}

static void validate_traffic_policies(struct fl_causes *c, const struct fl_json *spec)
{
	static const char *const distributions[] = {"PreferClose", "PreferSameZone", "PreferSameNode", NULL};
	const struct fl_json *external = fl_json_get(spec, "externalTrafficPolicy");
	const struct fl_json *internal = fl_json_get(spec, "internalTrafficPolicy");
	const struct fl_json *port = fl_json_get(spec, "healthCheckNodePort");

	if (!fl_service_externally_accessible(spec)) {
		if (external)
			fl_cause_add(c, FL_CAUSE_INVALID, "spec.externalTrafficPolicy", external,
				     "may only be set for externally-accessible services");
	} else if (!external) {
		fl_cause_add(c, FL_CAUSE_REQUIRED, "spec.externalTrafficPolicy", NULL, NULL);
	} else {
		fl_validate_one_of(c, "spec.externalTrafficPolicy", external, policies);
	}
	if (!fl_service_needs_health_check(spec)) {
		if (port)
			fl_cause_add(c, FL_CAUSE_INVALID, "spec.healthCheckNodePort", port,
				     "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is "
				     "'Local'");
	} else if (!port) {
		fl_cause_add(c, FL_CAUSE_REQUIRED, "spec.healthCheckNodePort", NULL, NULL);
	} else {
		fl_validate_port_number(c, "spec.healthCheckNodePort", port);
	}
	if (internal)
		fl_validate_one_of(c, "spec.internalTrafficPolicy", internal, policies);
	else if (fl_service_needs_cluster_ip(spec))
		fl_cause_add(c, FL_CAUSE_REQUIRED, "spec.internalTrafficPolicy", NULL, NULL);
	if (fl_json_get(spec, "trafficDistribution"))
		fl_validate_one_of(c, "spec.trafficDistribution", fl_json_get(spec, "trafficDistribution"),
				   distributions);
}

static void validate_spec(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *spec)
{
	static const char *const types[] = {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort", NULL};
	const struct fl_json *ports = fl_json_get(spec, "ports");
	AUTO(fl_map_deinit) struct fl_map names = {0};
	size_t i = 0;

	validate_type(c, spec);
	fl_json_each (p, ports)
		validate_port(c, ports, i++, p, &names);
	fl_validate_labels(c, "spec.selector", fl_json_get(spec, "selector"));
	validate_affinity(c, spec);
	fl_service_validate_cluster_ips(c, spec);
	validate_external_ips(c, spec);
	fl_validate_one_of(c, "spec.type", fl_json_get(spec, "type"), types);
	i = 0;
	fl_json_each (p, ports) {
		if (fl_service_is_type(spec, "ClusterIP") && fl_json_int(p, "nodePort", 0))
			fl_cause_add(c, FL_CAUSE_FORBIDDEN, port_field(c, i, "nodePort"), NULL,
				     "may not be used when `type` is 'ClusterIP'");
		i++;
	}
	validate_unique_ports(c, ports);
	validate_source_ranges(c, obj, spec);
	validate_load_balancer(c, spec);
	validate_traffic_policies(c, spec);
}

// --- update ---

// One of clusterIPs, ipFamilies: the first never changes, the second only comes or goes.
static void validate_list_change(struct fl_causes *c, const struct fl_json *spec, const struct fl_json *old_spec,
				 const char *key, const char *primary, const char *secondary)
{
	const struct fl_json *now = fl_json_get(spec, key), *old = fl_json_get(old_spec, key);
	size_t n_now = fl_json_count(now), n_old = fl_json_count(old), n = n_now < n_old ? n_now : n_old;
	const struct fl_json *shown = now ? now : fl_json_new(c->arena, FL_JSON_ARRAY);

	if (n_now != n_old && n > 1)
		n = 1;
	for (size_t i = 0; i < n; i++)
		if (!fl_json_equal(fl_json_index(now, i), fl_json_index(old, i)))
			fl_cause_add(c, FL_CAUSE_INVALID, fl_arena_printf(c->arena, "spec.%s[%zu]", key, i), shown,
				     "may not change once set");
	if (n_old && !n_now)
		fl_cause_add(c, FL_CAUSE_INVALID, fl_arena_printf(c->arena, "spec.%s[0]", key), shown,
			     "primary %s can not be unset", primary);
	if (n_old > 1 && n_now == 1 && !fl_streq(fl_json_str(spec, "ipFamilyPolicy"), "SingleStack"))
		fl_cause_add(c, FL_CAUSE_INVALID, "spec.ipFamilyPolicy", fl_json_get(spec, "ipFamilyPolicy"),
			     "must be set to 'SingleStack' when releasing the secondary %s", secondary);
}

static void validate_update(struct fl_causes *c, const struct fl_json *spec, const struct fl_json *old)
{
	const struct fl_json *class = fl_json_get(spec, "loadBalancerClass");
	const struct fl_json *old_class = fl_json_get(old, "loadBalancerClass");
	bool external_name = fl_service_is_type(spec, "ExternalName") || fl_service_is_type(old, "ExternalName");
	bool headless = fl_service_is_headless(spec) && fl_service_is_headless(old);

	if (!external_name && !headless) {
		validate_list_change(c, spec, old, "clusterIPs", "clusterIP", "clusterIP");
		validate_list_change(c, spec, old, "ipFamilies", "ipFamily", "ipFamily");
	}
	if (fl_service_is_type(spec, "LoadBalancer") && fl_service_is_type(old, "LoadBalancer") && class != old_class &&
	    (!class || !old_class || !fl_json_equal(class, old_class)))
		fl_cause_add(c, FL_CAUSE_INVALID, "spec.loadBalancerClass",
			     class ? class : fl_json_new(c->arena, FL_JSON_NULL), "may not change once set");
	if (fl_service_needs_health_check(spec) && fl_service_needs_health_check(old) &&
	    fl_json_int(spec, "healthCheckNodePort", 0) != fl_json_int(old, "healthCheckNodePort", 0))
		fl_cause_add(c, FL_CAUSE_FORBIDDEN, "spec.healthCheckNodePort", NULL, "field is immutable");
}

// --- status ---

static void validate_hostname(struct fl_causes *c, const char *field, const struct fl_json *hostname)
{
	struct fl_ip ip;

	if (fl_str_empty(fl_json_string(hostname)))
		return;
	fl_validate_string(c, field, hostname, fl_check_dns1123_subdomain);
	if (fl_ip_parse(fl_json_string(hostname), &ip))
		fl_cause_add(c, FL_CAUSE_INVALID, field, hostname, "must be a DNS name, not an IP address");
}

static void validate_status(struct fl_causes *c, const struct fl_json *obj)
{
	static const char *const modes[] = {"Proxy", "VIP", NULL};
	const struct fl_json *ingress = fl_json_path(obj, "status", "loadBalancer", "ingress", NULL);
	size_t i = 0;

	if (fl_json_count(ingress) && !fl_service_is_type(fl_json_get(obj, "spec"), "LoadBalancer")) {
		fl_cause_add(c, FL_CAUSE_FORBIDDEN, "status.loadBalancer.ingress", NULL,
			     "may only be used when `spec.type` is \"LoadBalancer\"");
		return;
	}
	fl_json_each (e, ingress) {
		const char *field = fl_arena_printf(c->arena, "status.loadBalancer.ingress[%zu]", i++);
		const char *mode_field = fl_arena_printf(c->arena, "%s.ipMode", field);
		const struct fl_json *ip = fl_json_get(e, "ip"), *mode = fl_json_get(e, "ipMode");
		struct fl_ip parsed;

		if (ip)
			(void)fl_validate_ip(c, fl_arena_printf(c->arena, "%s.ip", field), ip, &parsed);
		if (ip && !mode)
			fl_cause_add(c, FL_CAUSE_REQUIRED, mode_field, NULL, "must be specified when `ip` is set");
		else if (!ip && mode)
			fl_cause_add(c, FL_CAUSE_FORBIDDEN, mode_field, NULL,
				     "may not be specified when `ip` is not set");
		else if (mode)
			fl_validate_one_of(c, mode_field, mode, modes);
		validate_hostname(c, fl_arena_printf(c->arena, "%s.hostname", field), fl_json_get(e, "hostname"));
	}
}

void fl_service_validate(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *old,
			 const char *subresource)
{
	const struct fl_json *spec = fl_json_get(obj, "spec");

	if (fl_streq(subresource, "status")) {
		validate_status(c, obj);
		return;
	}
	if (old)
		validate_update(c, spec, fl_json_get(old, "spec"));
	validate_spec(c, obj, spec);
}
