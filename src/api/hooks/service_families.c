// SPDX-License-Identifier: Apache-2.0
// ipFamilies, ipFamilyPolicy and clusterIPs of a Service on a single- or dual-stack cluster (KEP-563; k8s:
// registry/core/service/storage/alloc.go initIPFamilyFields, validation ValidateServiceClusterIPsRelatedFields).
// The cluster's families are a setting of the process, since they come from its service CIDRs.
#include <netinet/in.h>
#include <stdatomic.h>

#include "api/hooks/service.h"
#include "api/validate.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

static atomic_int primary_family = AF_INET;
static atomic_int secondary_family; // 0 = single stack

void fl_api_set_service_families(int primary, int secondary)
{
	atomic_store(&primary_family, primary);
	atomic_store(&secondary_family, secondary);
}

static const char *family_name(int family)
{
	return family == AF_INET6 ? "IPv6" : "IPv4";
}

static bool is_dual_stack_cluster(void)
{
	return atomic_load(&secondary_family) != 0;
}

static bool is_configured(const char *family)
{
	return fl_streq(family, family_name(atomic_load(&primary_family))) ||
	       (is_dual_stack_cluster() && fl_streq(family, family_name(atomic_load(&secondary_family))));
}

static const char *other_family(const char *family)
{
	return fl_streq(family, "IPv4") ? "IPv6" : "IPv4";
}

static bool same_list(const struct fl_json *spec, const struct fl_json *old, const char *key)
{
	const struct fl_json *x = fl_json_get(spec, key), *y = fl_json_get(old, key);

	if (!fl_json_count(x) || !fl_json_count(y))
		return fl_json_count(x) == fl_json_count(y);
	return fl_json_equal(x, y);
}

static size_t count(const struct fl_json *spec, const char *key)
{
	return fl_json_count(fl_json_get(spec, key));
}

static void truncate_to_first(struct fl_json *spec, const char *key)
{
	struct fl_json *list = fl_json_get(spec, key);

	while (fl_json_count(list) > 1)
		fl_json_remove_child(list, fl_json_index(list, 1));
}

static const char *policy_of(const struct fl_json *spec)
{
	return fl_json_str_or(spec, "ipFamilyPolicy", "");
}

static bool is_headless_without_selector(const struct fl_json *spec)
{
	return fl_streq(fl_json_str(spec, "clusterIP"), "None") && !count(spec, "selector");
}

// A PreferDualStack Service whose addresses nobody touched keeps what it has, whatever became of the cluster.
static bool is_settled(const struct fl_json *spec, const struct fl_json *old)
{
	return old && fl_streq(policy_of(spec), "PreferDualStack") && fl_service_needs_cluster_ip(spec) &&
	       fl_streq(fl_service_type(spec), fl_service_type(old)) &&
	       (!fl_json_get(old, "ipFamilyPolicy") || fl_streq(policy_of(old), "PreferDualStack")) &&
	       same_list(spec, old, "clusterIPs") && same_list(spec, old, "ipFamilies");
}

static void default_policy(struct fl_arena *a, struct fl_json *spec, const struct fl_json *old)
{
	const char *policy = "SingleStack";

	if (fl_json_get(spec, "ipFamilyPolicy"))
		return;
	if (fl_json_str(old, "ipFamilyPolicy"))
		policy = policy_of(old);
	else if (is_headless_without_selector(spec))
		policy = "RequireDualStack";
	fl_json_set_str(a, spec, "ipFamilyPolicy", policy);
}

static void bad_policy(struct fl_causes *c, const struct fl_json *spec, const char *why)
{
	fl_cause_add(c, FL_CAUSE_INVALID, "spec.ipFamilyPolicy", fl_json_get(spec, "ipFamilyPolicy"), "%s", why);
}

// Giving the second family back must be said by policy; then it is done even if the lists still name both.
static void check_reduction(struct fl_causes *c, struct fl_json *spec, const struct fl_json *old)
{
	if (fl_streq(policy_of(spec), "SingleStack")) {
		if (same_list(spec, old, "clusterIPs"))
			truncate_to_first(spec, "clusterIPs");
		if (same_list(spec, old, "ipFamilies"))
			truncate_to_first(spec, "ipFamilies");
		return;
	}
	if (count(spec, "clusterIPs") && count(spec, "clusterIPs") < count(old, "clusterIPs"))
		bad_policy(c, spec, "must be 'SingleStack' to release the secondary cluster IP");
	if (count(spec, "ipFamilies") && count(spec, "ipFamilies") < count(old, "ipFamilies"))
		bad_policy(c, spec, "must be 'SingleStack' to release the secondary IP family");
}

static struct fl_json *families_of(struct fl_arena *a, struct fl_json *spec)
{
	struct fl_json *list = fl_json_get(spec, "ipFamilies");

	return list ? list : fl_json_set_array(a, spec, "ipFamilies");
}

// The families of the addresses that the client chose.
static void infer_families(struct fl_causes *c, struct fl_json *spec)
{
	const struct fl_json *ips = fl_json_get(spec, "clusterIPs");
	size_t i = 0;

	fl_json_each (ip, ips) {
		const char *s = fl_json_string(ip), *family;

		if (fl_streq(s, "None"))
			return;
		family = s && strchr(s, ':') ? "IPv6" : "IPv4";
		if (i >= count(spec, "ipFamilies")) {
			if (is_configured(family))
				fl_json_append(families_of(c->arena, spec), fl_json_new_str(c->arena, family));
			else
				fl_cause_add(c, FL_CAUSE_INVALID, fl_arena_printf(c->arena, "spec.clusterIPs[%zu]", i),
					     ips, "%s is not configured on this cluster", family);
		}
		i++;
	}
}

static void add_family(struct fl_arena *a, struct fl_json *spec, const char *family)
{
	fl_json_append(families_of(a, spec), fl_json_new_str(a, family));
}

static const char *first_family(const struct fl_json *spec)
{
	return fl_json_string(fl_json_index(fl_json_get(spec, "ipFamilies"), 0));
}

// The list is complete afterwards: one family, or both where policy and cluster allow it.
static void complete_families(struct fl_arena *a, struct fl_json *spec, bool may_add)
{
	if (!count(spec, "ipFamilies"))
		add_family(a, spec, family_name(atomic_load(&primary_family)));
	if (may_add && count(spec, "ipFamilies") == 1 && !fl_streq(policy_of(spec), "SingleStack"))
		add_family(a, spec, other_family(first_family(spec)));
}

static void check_cluster(struct fl_causes *c, const struct fl_json *spec)
{
	size_t i = 0;

	if (fl_streq(policy_of(spec), "RequireDualStack") && !is_dual_stack_cluster())
		bad_policy(c, spec, "this cluster is not configured for dual-stack services");
	fl_json_each (f, fl_json_get(spec, "ipFamilies")) {
		if (!is_configured(fl_json_string(f)))
			fl_cause_add(c, FL_CAUSE_INVALID, fl_arena_printf(c->arena, "spec.ipFamilies[%zu]", i), f,
				     "not configured on this cluster");
		i++;
	}
}

void fl_service_init_families(struct fl_causes *c, struct fl_json *spec, const struct fl_json *old)
{
	struct fl_arena *a = c->arena;

	if (fl_service_is_type(spec, "ExternalName") || is_settled(spec, old))
		return;
	default_policy(a, spec, old);
	fl_service_validate_cluster_ips(c, spec);
	if (c->n)
		return;
	if (old)
		check_reduction(c, spec, old);
	if (fl_streq(policy_of(spec), "SingleStack")) {
		if (count(spec, "clusterIPs") == 2)
			bad_policy(c, spec,
				   "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are "
				   "specified");
		if (count(spec, "ipFamilies") == 2)
			bad_policy(c, spec,
				   "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are "
				   "specified");
	}
	infer_families(c, spec);
	if (c->n)
		return;
	// Endpoints of these are somebody else's, so even a single-stack cluster lets them have both families.
	if (is_headless_without_selector(spec)) {
		complete_families(a, spec, true);
		return;
	}
	check_cluster(c, spec);
	if (!c->n)
		complete_families(a, spec, is_dual_stack_cluster());
}

// --- validation ---

static void validate_sync(struct fl_causes *c, const struct fl_json *spec)
{
	const struct fl_json *ips = fl_json_get(spec, "clusterIPs");
	const char *ip = fl_json_str(spec, "clusterIP"), *first = fl_json_string(fl_json_index(ips, 0));

	if (!fl_str_empty(ip)) {
		if (!fl_json_count(ips))
			fl_cause_add(c, FL_CAUSE_REQUIRED, "spec.clusterIPs", NULL, NULL);
		else if (!fl_streq(first, ip))
			fl_cause_add(c, FL_CAUSE_INVALID, "spec.clusterIPs", ips, "first value must match `clusterIP`");
	} else if (fl_json_count(ips)) {
		fl_cause_add(c, FL_CAUSE_INVALID, "spec.clusterIPs", ips,
			     "must be empty when `clusterIP` is not specified");
	}
}

static void validate_families(struct fl_causes *c, const struct fl_json *spec)
{
	static const char *const families[] = {"IPv4", "IPv6", NULL};
	static const char *const policies[] = {"PreferDualStack", "RequireDualStack", "SingleStack", NULL};
	const struct fl_json *list = fl_json_get(spec, "ipFamilies");
	AUTO(fl_map_deinit) struct fl_map seen = {0};
	size_t i = 0;

	fl_json_each (f, list) {
		const char *field = fl_arena_printf(c->arena, "spec.ipFamilies[%zu]", i);

		fl_validate_one_of(c, field, f, families);
		if (fl_json_count(list) > 1 && fl_json_string(f) && fl_map_set(&seen, fl_json_string(f), &seen))
			fl_cause_add(c, FL_CAUSE_DUPLICATE, field, f, NULL);
		i++;
	}
	if (fl_json_get(spec, "ipFamilyPolicy"))
		fl_validate_one_of(c, "spec.ipFamilyPolicy", fl_json_get(spec, "ipFamilyPolicy"), policies);
}

// Each an address, or "None" alone. False when one is not, so that nothing is said about families of no address.
static bool validate_addresses(struct fl_causes *c, const struct fl_json *ips)
{
	size_t i = 0;
	bool good = true;

	fl_json_each (ip, ips) {
		const char *field = fl_arena_printf(c->arena, "spec.clusterIPs[%zu]", i);
		struct fl_ip parsed;

		if (i++ == 0 && fl_streq(fl_json_string(ip), "None")) {
			if (fl_json_count(ips) > 1) {
				good = false;
				fl_cause_add(c, FL_CAUSE_INVALID, "spec.clusterIPs", ips,
					     "'None' must be the first and only value");
			}
			continue;
		}
		good = fl_validate_ip(c, field, ip, &parsed) && good;
	}
	if (fl_json_count(ips) > 2)
		fl_cause_add(c, FL_CAUSE_INVALID, "spec.clusterIPs", ips, "may only hold up to 2 values");
	return good;
}

static bool is_v6(const struct fl_json *ip)
{
	return fl_json_string(ip) && strchr(fl_json_string(ip), ':');
}

void fl_service_validate_cluster_ips(struct fl_causes *c, const struct fl_json *spec)
{
	const struct fl_json *ips = fl_json_get(spec, "clusterIPs"), *families = fl_json_get(spec, "ipFamilies");
	unsigned before = c->n;
	size_t i = 0;

	if (fl_service_is_type(spec, "ExternalName"))
		return;
	validate_sync(c, spec);
	validate_families(c, spec);
	if (!validate_addresses(c, ips))
		return;
	if (fl_json_count(ips) > 1 && is_v6(fl_json_index(ips, 0)) == is_v6(fl_json_index(ips, 1)))
		fl_cause_add(c, FL_CAUSE_INVALID, "spec.clusterIPs", ips,
			     "may specify no more than one IP for each IP family");
	if (fl_service_is_headless(spec) || c->n > before)
		return;
	fl_json_each (ip, ips) {
		const char *family = fl_json_string(fl_json_index(families, i));

		if (family && is_v6(ip) != fl_streq(family, "IPv6"))
			fl_cause_add(c, FL_CAUSE_INVALID, fl_arena_printf(c->arena, "spec.clusterIPs[%zu]", i), ip,
				     "expected an %s value as indicated by `ipFamilies[%zu]`", family, i);
		i++;
	}
}
