// SPDX-License-Identifier: Apache-2.0
// Where a pod may run and as whom: affinity, spread, gates, operating system, security contexts.
// (k8s: validateAffinity, validateTopologySpreadConstraints, validateSchedulingGates, ValidatePodSecurityContext,
// ValidateSecurityContext)
#include <ctype.h>

#include "api/hooks/pod_spec.h"
#include "api/validate.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

#define MAX_SYSCTL_CHARS 253

static const char *sub(struct fl_causes *c, const char *field, const char *name)
{
	return fl_arena_printf(c->arena, "%s.%s", field, name);
}

static const char *at(struct fl_causes *c, const char *field, const char *name, size_t i)
{
	return fl_arena_printf(c->arena, "%s.%s[%zu]", field, name, i);
}

// --- affinity ---

static void validate_requirement(struct fl_causes *c, const char *field, const struct fl_json *r)
{
	const char *op = fl_json_str_or(r, "operator", ""), *values_field = sub(c, field, "values");
	const struct fl_json *values = fl_json_get(r, "values");
	size_t n = fl_json_count(values), i = 0;

	if (fl_streq(op, "In") || fl_streq(op, "NotIn")) {
		if (!n)
			fl_cause_add(c, FL_CAUSE_REQUIRED, values_field, NULL,
				     "must be specified when `operator` is 'In' or 'NotIn'");
	} else if (fl_streq(op, "Exists") || fl_streq(op, "DoesNotExist")) {
		if (n)
			fl_cause_add(c, FL_CAUSE_FORBIDDEN, values_field, NULL,
				     "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
	} else if (fl_streq(op, "Gt") || fl_streq(op, "Lt")) {
		if (n != 1)
			fl_cause_add(c, FL_CAUSE_REQUIRED, values_field, NULL,
				     "must be specified single value when `operator` is 'Lt' or 'Gt'");
	} else {
		fl_cause_add(c, FL_CAUSE_INVALID, sub(c, field, "operator"), fl_json_new_str(c->arena, op),
			     "not a valid selector operator");
	}
	fl_validate_qualified_name(c, sub(c, field, "key"), fl_json_str_or(r, "key", ""));
	fl_json_each (v, values)
		fl_validate_string(c, at(c, field, "values", i++), v, fl_check_label_value);
}

static void validate_node_term(struct fl_causes *c, const char *field, const struct fl_json *term)
{
	size_t i = 0;

	fl_json_each (r, fl_json_get(term, "matchExpressions"))
		validate_requirement(c, at(c, field, "matchExpressions", i++), r);
}

static void validate_weight(struct fl_causes *c, const char *field, const struct fl_json *weighted)
{
	int64_t weight = fl_json_int(weighted, "weight", 0);

	if (weight < 1 || weight > 100)
		fl_cause_add(c, FL_CAUSE_INVALID, sub(c, field, "weight"), fl_json_new_int(c->arena, weight),
			     "must be in the range 1-100");
}

static void validate_node_affinity(struct fl_causes *c, const char *field, const struct fl_json *affinity)
{
	static const char *const preferred = "preferredDuringSchedulingIgnoredDuringExecution";
	const struct fl_json *required = fl_json_get(affinity, "requiredDuringSchedulingIgnoredDuringExecution");
	const struct fl_json *terms = fl_json_get(required, "nodeSelectorTerms");
	const char *required_field = sub(c, field, "requiredDuringSchedulingIgnoredDuringExecution");
	size_t i = 0;

	if (required && !fl_json_count(terms))
		fl_cause_add(c, FL_CAUSE_REQUIRED, sub(c, required_field, "nodeSelectorTerms"), NULL,
			     "must have at least one node selector term");
	fl_json_each (t, terms)
		validate_node_term(c, at(c, required_field, "nodeSelectorTerms", i++), t);
	i = 0;
	fl_json_each (w, fl_json_get(affinity, preferred)) {
		const char *here = at(c, field, preferred, i++);

		validate_weight(c, here, w);
		validate_node_term(c, sub(c, here, "preference"), fl_json_get(w, "preference"));
	}
}

static void validate_pod_term(struct fl_causes *c, const char *field, const struct fl_json *term)
{
	if (fl_json_get(term, "labelSelector"))
		fl_validate_selector(c, sub(c, field, "labelSelector"), fl_json_get(term, "labelSelector"));
	if (fl_str_empty(fl_json_str(term, "topologyKey")))
		fl_cause_add(c, FL_CAUSE_REQUIRED, sub(c, field, "topologyKey"), NULL, "can not be empty");
	else
		fl_validate_qualified_name(c, sub(c, field, "topologyKey"), fl_json_str(term, "topologyKey"));
}

static void validate_pod_affinity(struct fl_causes *c, const char *field, const struct fl_json *affinity)
{
	static const char *const required = "requiredDuringSchedulingIgnoredDuringExecution",
				 *const preferred = "preferredDuringSchedulingIgnoredDuringExecution";
	size_t i = 0;

	fl_json_each (t, fl_json_get(affinity, required))
		validate_pod_term(c, at(c, field, required, i++), t);
	i = 0;
	fl_json_each (w, fl_json_get(affinity, preferred)) {
		const char *here = at(c, field, preferred, i++);

		validate_weight(c, here, w);
		validate_pod_term(c, sub(c, here, "podAffinityTerm"), fl_json_get(w, "podAffinityTerm"));
	}
}

// --- spread, gates, operating system ---

static void validate_spread(struct fl_causes *c, const char *field, const struct fl_json *constraint)
{
	const struct fl_json *skew = fl_json_get(constraint, "maxSkew");
	const char *key = fl_json_str(constraint, "topologyKey");

	if (fl_json_int(constraint, "maxSkew", 0) <= 0)
		fl_cause_add(c, FL_CAUSE_INVALID, sub(c, field, "maxSkew"), skew ? skew : fl_json_new_int(c->arena, 0),
			     "must be greater than zero");
	if (fl_str_empty(key))
		fl_cause_add(c, FL_CAUSE_REQUIRED, sub(c, field, "topologyKey"), NULL, "can not be empty");
	else
		fl_validate_qualified_name(c, sub(c, field, "topologyKey"), key);
	if (fl_json_get(constraint, "labelSelector"))
		fl_validate_selector(c, sub(c, field, "labelSelector"), fl_json_get(constraint, "labelSelector"));
}

static void validate_gates(struct fl_causes *c, const char *field, const struct fl_json *gates)
{
	AUTO(fl_map_deinit) struct fl_map seen = {0};
	size_t i = 0;

	fl_json_each (g, gates) {
		const char *here = fl_arena_printf(c->arena, "%s[%zu]", field, i++);
		const char *name = fl_json_str_or(g, "name", "");

		fl_validate_qualified_name(c, sub(c, here, "name"), name);
		if (fl_map_set(&seen, name, &seen))
			fl_cause_add(c, FL_CAUSE_DUPLICATE, here, fl_json_new_str(c->arena, name), NULL);
	}
}

void fl_pod_placement_validate(struct fl_causes *c, const char *field, const struct fl_json *spec)
{
	static const char *const systems[] = {"linux", "windows", NULL};
	const struct fl_json *affinity = fl_json_get(spec, "affinity"), *os = fl_json_get(spec, "os");
	const char *here = sub(c, field, "affinity");
	size_t i = 0;

	validate_node_affinity(c, sub(c, here, "nodeAffinity"), fl_json_get(affinity, "nodeAffinity"));
	validate_pod_affinity(c, sub(c, here, "podAffinity"), fl_json_get(affinity, "podAffinity"));
	validate_pod_affinity(c, sub(c, here, "podAntiAffinity"), fl_json_get(affinity, "podAntiAffinity"));
	fl_json_each (t, fl_json_get(spec, "topologySpreadConstraints"))
		validate_spread(c, at(c, field, "topologySpreadConstraints", i++), t);
	validate_gates(c, sub(c, field, "schedulingGates"), fl_json_get(spec, "schedulingGates"));
	if (os && fl_str_empty(fl_json_str(os, "name")))
		fl_cause_add(c, FL_CAUSE_REQUIRED, sub(c, field, "os.name"), NULL, "cannot be empty");
	else if (os)
		fl_validate_one_of(c, sub(c, field, "os"), fl_json_get(os, "name"), systems);
}

// --- security contexts ---

static void validate_id(struct fl_causes *c, const char *field, const struct fl_json *id)
{
	if (fl_json_is(id, FL_JSON_INT) && (id->i < 0 || id->i > INT32_MAX))
		fl_cause_add(c, FL_CAUSE_INVALID, field, id, "must be between 0 and 2147483647, inclusive");
}

static void validate_ids(struct fl_causes *c, const char *field, const struct fl_json *context)
{
	static const char *const ids[] = {"runAsUser", "runAsGroup", "fsGroup"};

	for (size_t i = 0; i < FL_COUNT(ids); i++)
		validate_id(c, sub(c, field, ids[i]), fl_json_get(context, ids[i]));
	fl_json_each (g, fl_json_get(context, "supplementalGroups"))
		validate_id(c, sub(c, field, "supplementalGroups"), g);
}

// Labels of a-z, 0-9, - and _ between dots or slashes; each begins and ends with a letter or a digit.
static bool is_sysctl(const char *name)
{
	bool inside = false; // of a label, behind a letter or digit

	if (strlen(name) > MAX_SYSCTL_CHARS)
		return false;
	for (const char *p = name; *p; p++) {
		unsigned char ch = (unsigned char)*p;
		bool plain = islower(ch) || isdigit(ch);

		if (ch == '.' || ch == '/') {
			if (!inside || p[-1] == '-' || p[-1] == '_')
				return false;
			inside = false;
		} else if (plain) {
			inside = true;
		} else if ((ch != '-' && ch != '_') || !inside) {
			return false;
		}
	}
	return inside && name[strlen(name) - 1] != '-' && name[strlen(name) - 1] != '_';
}

static void validate_sysctls(struct fl_causes *c, const char *field, const struct fl_json *sysctls)
{
	AUTO(fl_map_deinit) struct fl_map seen = {0};
	size_t i = 0;

	fl_json_each (s, sysctls) {
		const char *here = fl_arena_printf(c->arena, "%s[%zu].name", field, i++);
		const char *name = fl_require(c, here, s, "name");

		if (!name)
			continue;
		if (!is_sysctl(name))
			fl_cause_add(c, FL_CAUSE_INVALID, here, fl_json_get(s, "name"),
				     "must have at most %d characters and match regex "
				     "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
				     MAX_SYSCTL_CHARS);
		else if (fl_map_set(&seen, name, &seen))
			fl_cause_add(c, FL_CAUSE_DUPLICATE, here, fl_json_get(s, "name"), NULL);
	}
}

void fl_pod_security_validate(struct fl_causes *c, const char *field, const struct fl_json *spec)
{
	const struct fl_json *context = fl_json_get(spec, "securityContext"),
			     *share = fl_json_get(spec, "shareProcessNamespace");
	const char *here = sub(c, field, "securityContext");

	validate_ids(c, here, context);
	if (share && share->b && fl_json_bool(spec, "hostPID", false))
		fl_cause_add(c, FL_CAUSE_INVALID, sub(c, field, "shareProcessNamespace"), share,
			     "ShareProcessNamespace and HostPID cannot both be enabled");
	validate_sysctls(c, sub(c, here, "sysctls"), fl_json_get(context, "sysctls"));
}

void fl_container_security_validate(struct fl_causes *c, const char *field, const struct fl_json *context)
{
	bool strict = fl_json_get(context, "allowPrivilegeEscalation") &&
		      !fl_json_bool(context, "allowPrivilegeEscalation", true);

	validate_ids(c, field, context);
	fl_json_each (cap, fl_json_path(context, "capabilities", "add", NULL))
		if (strict && fl_streq(fl_json_string(cap), "CAP_SYS_ADMIN"))
			fl_cause_add(
			    c, FL_CAUSE_INVALID, field, context,
			    "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
	if (strict && fl_json_bool(context, "privileged", false))
		fl_cause_add(c, FL_CAUSE_INVALID, field, context,
			     "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
}
