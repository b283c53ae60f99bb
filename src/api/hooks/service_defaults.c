// SPDX-License-Identifier: Apache-2.0
// What a Service gets that its client did not say: defaults that depend on other fields, on an update what was
// allocated before, and nothing of what the new type has no use for. clusterIP and clusterIPs are two names of one
// thing and are kept in step. (k8s: SetDefaults_Service; registry/core/service patchAllocatedValues,
// normalizeClusterIPs, dropTypeDependentFields)
#include <stdio.h>

#include "api/hooks/service.h"
#include "base/mem.h"
#include "base/str.h"

static bool same(const struct fl_json *spec, const struct fl_json *old, const char *key)
{
	const struct fl_json *x = fl_json_get(spec, key), *y = fl_json_get(old, key);

	return x == y || (x && y && fl_json_equal(x, y));
}

static void copy(struct fl_arena *a, struct fl_json *to, const struct fl_json *from, const char *key)
{
	if (fl_json_get(from, key))
		fl_json_set(a, to, key, fl_json_clone(a, fl_json_get(from, key)));
}

static void default_affinity(struct fl_arena *a, struct fl_json *spec)
{
	struct fl_json *client_ip;

	if (fl_streq(fl_json_str(spec, "sessionAffinity"), "None"))
		fl_json_remove(spec, "sessionAffinityConfig");
	if (!fl_streq(fl_json_str(spec, "sessionAffinity"), "ClientIP"))
		return;
	client_ip = fl_json_ensure_object(a, fl_json_ensure_object(a, spec, "sessionAffinityConfig"), "clientIP");
	if (!fl_json_get(client_ip, "timeoutSeconds"))
		fl_json_set_int(a, client_ip, "timeoutSeconds", FL_SERVICE_AFFINITY_S);
}

static void default_target_ports(struct fl_arena *a, struct fl_json *spec)
{
	fl_json_each (p, fl_json_get(spec, "ports")) {
		const struct fl_json *target = fl_json_get(p, "targetPort"), *port = fl_json_get(p, "port");
		bool unset = !target || (target->type == FL_JSON_INT && target->i == 0) ||
			     (target->type == FL_JSON_STRING && target->str.len == 0);

		if (unset && port)
			fl_json_set(a, p, "targetPort", fl_json_clone(a, port));
	}
}

static void default_ip_modes(struct fl_arena *a, struct fl_json *obj)
{
	fl_json_each (i, fl_json_path(obj, "status", "loadBalancer", "ingress", NULL))
		if (!fl_str_empty(fl_json_str(i, "ip")) && !fl_json_get(i, "ipMode"))
			fl_json_set_str(a, i, "ipMode", "VIP");
}

static void default_policies(struct fl_arena *a, struct fl_json *spec)
{
	if (fl_service_externally_accessible(spec) && !fl_json_get(spec, "externalTrafficPolicy"))
		fl_json_set_str(a, spec, "externalTrafficPolicy", "Cluster");
	if (fl_service_needs_cluster_ip(spec) && !fl_json_get(spec, "internalTrafficPolicy"))
		fl_json_set_str(a, spec, "internalTrafficPolicy", "Cluster");
	if (fl_service_is_type(spec, "LoadBalancer") && !fl_json_get(spec, "allocateLoadBalancerNodePorts"))
		fl_json_set_bool(a, spec, "allocateLoadBalancerNodePorts", true);
}

// --- what was allocated before ---

static bool uses_node_port(const struct fl_json *ports, int64_t node_port)
{
	fl_json_each (p, ports)
		if (fl_json_int(p, "nodePort", 0) == node_port)
			return true;
	return false;
}

// By name: number and protocol of a port may change, its node port stays.
static int64_t old_node_port(const struct fl_json *old_ports, const struct fl_json *port)
{
	fl_json_each (o, old_ports)
		if (fl_streq(fl_json_str_or(o, "name", ""), fl_json_str_or(port, "name", "")))
			return fl_json_int(o, "nodePort", 0);
	return 0;
}

static void keep_node_ports(struct fl_arena *a, struct fl_json *spec, const struct fl_json *old)
{
	struct fl_json *ports = fl_json_get(spec, "ports");

	fl_json_each (p, ports) {
		int64_t was = old_node_port(fl_json_get(old, "ports"), p);

		if (!fl_json_int(p, "nodePort", 0) && was && !uses_node_port(ports, was))
			fl_json_set_int(a, p, "nodePort", was);
	}
}

static void keep_allocated(struct fl_arena *a, struct fl_json *spec, const struct fl_json *old)
{
	if (fl_service_needs_cluster_ip(old) && fl_service_needs_cluster_ip(spec)) {
		if (!fl_json_get(spec, "clusterIP"))
			copy(a, spec, old, "clusterIP");
		if (!fl_json_get(spec, "clusterIPs") && same(spec, old, "clusterIP"))
			copy(a, spec, old, "clusterIPs");
	}
	if (fl_service_may_have_node_ports(old) && fl_service_may_have_node_ports(spec))
		keep_node_ports(a, spec, old);
	if (fl_service_needs_health_check(old) && fl_service_needs_health_check(spec) &&
	    !fl_json_int(spec, "healthCheckNodePort", 0))
		copy(a, spec, old, "healthCheckNodePort");
}

// Clients write the singular (old ones) or both.
static void sync_cluster_ips(struct fl_arena *a, struct fl_json *spec, const struct fl_json *old)
{
	const char *ip = fl_json_str(spec, "clusterIP");
	bool have_list = fl_json_count(fl_json_get(spec, "clusterIPs"));
	bool changed = old && !same(spec, old, "clusterIP");

	if (!old ? ip && !have_list : changed && (!have_list || same(spec, old, "clusterIPs"))) {
		if (!ip)
			fl_json_remove(spec, "clusterIPs");
		else
			fl_json_append(fl_json_set_array(a, spec, "clusterIPs"), fl_json_new_str(a, ip));
	} else if (old && !changed && !have_list) {
		copy(a, spec, old, "clusterIPs");
	}
}

// --- what the new type has no use for ---

static bool same_node_ports(const struct fl_json *spec, const struct fl_json *old)
{
	const struct fl_json *old_ports = fl_json_get(old, "ports");

	fl_json_each (p, fl_json_get(spec, "ports")) {
		int64_t node_port = fl_json_int(p, "nodePort", 0);

		if (node_port && !uses_node_port(old_ports, node_port))
			return false;
	}
	return true;
}

// Contradictions change nothing here; the precheck finds them again and answers them.
static void default_families(struct fl_arena *a, struct fl_json *spec, const struct fl_json *old_spec)
{
	static const char *const keys[] = {"clusterIPs", "ipFamilies", "ipFamilyPolicy"};
	struct fl_json *tried = fl_json_clone(a, spec);
	struct fl_causes contradictions = {.arena = a};

	fl_service_init_families(&contradictions, tried, old_spec);
	for (size_t i = 0; i < FL_COUNT(keys) && !contradictions.n; i++)
		copy(a, spec, tried, keys[i]);
}

static void drop_if_same(struct fl_json *spec, const struct fl_json *old, const char *key)
{
	if (same(spec, old, key))
		fl_json_remove(spec, key);
}

static void drop_unused(struct fl_json *spec, const struct fl_json *old)
{
	bool was_lb = fl_service_is_type(old, "LoadBalancer"), is_lb = fl_service_is_type(spec, "LoadBalancer");

	if (fl_service_needs_cluster_ip(old) && !fl_service_needs_cluster_ip(spec)) {
		if (same(spec, old, "clusterIPs")) {
			fl_json_remove(spec, "clusterIP");
			fl_json_remove(spec, "clusterIPs");
		}
		drop_if_same(spec, old, "ipFamilies");
		drop_if_same(spec, old, "ipFamilyPolicy");
		drop_if_same(spec, old, "internalTrafficPolicy");
	}
	if (fl_service_may_have_node_ports(old) && !fl_service_may_have_node_ports(spec) && same_node_ports(spec, old))
		fl_json_each (p, fl_json_get(spec, "ports"))
			fl_json_remove(p, "nodePort");
	if (fl_service_needs_health_check(old) && !fl_service_needs_health_check(spec))
		drop_if_same(spec, old, "healthCheckNodePort");
	if (was_lb && !is_lb) {
		drop_if_same(spec, old, "allocateLoadBalancerNodePorts");
		drop_if_same(spec, old, "loadBalancerClass");
	}
	if (fl_service_externally_accessible(old) && !fl_service_externally_accessible(spec))
		drop_if_same(spec, old, "externalTrafficPolicy");
}

void fl_service_set_defaults(struct fl_arena *a, struct fl_json *obj)
{
	struct fl_json *spec = fl_json_ensure_object(a, obj, "spec");

	default_affinity(a, spec);
	default_target_ports(a, spec);
	default_policies(a, spec);
	default_ip_modes(a, obj);
}

// A load balancer's addresses are none of the other types', though it may go away only later.
static void drop_load_balancer(struct fl_arena *a, struct fl_json *obj)
{
	struct fl_json *status = fl_json_get(obj, "status");

	if (fl_json_count(fl_json_get(status, "loadBalancer")))
		fl_json_set_object(a, status, "loadBalancer");
}

void fl_service_prepare(struct fl_arena *a, struct fl_json *obj, const struct fl_json *old, const char *subresource)
{
	struct fl_json *spec = fl_json_ensure_object(a, obj, "spec");
	const struct fl_json *old_spec = fl_json_get(old, "spec");

	if (old_spec)
		keep_allocated(a, spec, old_spec);
	sync_cluster_ips(a, spec, old_spec);
	if (old_spec)
		drop_unused(spec, old_spec);
	default_families(a, spec, old_spec);
	if (old && !*subresource && !fl_service_is_type(spec, "LoadBalancer"))
		drop_load_balancer(a, obj);
}
