// SPDX-License-Identifier: Apache-2.0
// Nodes: what may change, taints, pod CIDRs, and the row of `kubectl get nodes`. (k8s: validation ValidateNode,
// ValidateNodeUpdate; printersv printNode)
#include <stdlib.h>

#include "api/hooks/cells.h"
#include "api/hooks/hooks.h"
#include "api/quantity.h"
#include "api/validate.h"
#include "base/ip.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

static void set_defaults(struct fl_arena *a, struct fl_json *obj)
{
	struct fl_json *status = fl_json_ensure_object(a, obj, "status");

	if (!fl_json_get(status, "allocatable") && fl_json_get(status, "capacity"))
		fl_json_set(a, status, "allocatable", fl_json_clone(a, fl_json_get(status, "capacity")));
}

static void validate_taints(struct fl_causes *c, const struct fl_json *taints)
{
	static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute", NULL};
	AUTO(fl_map_deinit) struct fl_map seen = {0};
	size_t i = 0;

	fl_json_each (t, taints) {
		const char *field = fl_arena_printf(c->arena, "spec.taints[%zu]", i);
		const char *effect_field = fl_arena_printf(c->arena, "%s.effect", field);

		fl_validate_qualified_name(c, fl_arena_printf(c->arena, "%s.key", field), fl_json_str_or(t, "key", ""));
		fl_validate_string(c, fl_arena_printf(c->arena, "%s.value", field), fl_json_get(t, "value"),
				   fl_check_label_value);
		if (fl_str_empty(fl_json_str(t, "effect")))
			fl_cause_add(c, FL_CAUSE_REQUIRED, effect_field, NULL, NULL);
		else
			fl_validate_one_of(c, effect_field, fl_json_get(t, "effect"), effects);
		if (fl_map_set(&seen,
			       fl_arena_printf(c->arena, "%s:%s", fl_json_str_or(t, "key", ""),
					       fl_json_str_or(t, "effect", "")),
			       &seen))
			fl_cause_add(c, FL_CAUSE_DUPLICATE, field, t, "taints must be unique by key and effect pair");
		i++;
	}
}

static void validate_pod_cidrs(struct fl_causes *c, const struct fl_json *cidrs)
{
	struct fl_cidr seen[2];
	size_t i = 0;

	fl_json_each (e, cidrs) {
		const char *field = fl_arena_printf(c->arena, "spec.podCIDRs[%zu]", i);
		struct fl_cidr cidr;

		if (!fl_json_string(e) || !fl_cidr_parse(fl_json_string(e), &cidr, true)) {
			fl_cause_add(c, FL_CAUSE_INVALID, field, e,
				     "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
			return;
		}
		if (i > 1 || (i == 1 && seen[0].ip.family == cidr.ip.family)) {
			fl_cause_add(c, FL_CAUSE_INVALID, "spec.podCIDRs", cidrs,
				     "may specify no more than one CIDR for each IP family");
			return;
		}
		seen[i++] = cidr;
	}
}

static void validate_quantities(struct fl_causes *c, const struct fl_json *obj, const char *key)
{
	fl_json_each (v, fl_json_path(obj, "status", key, NULL)) {
		struct fl_quantity q;

		if (fl_json_string(v) && fl_quantity_parse(fl_json_string(v), &q) && q.nano < 0)
			fl_cause_add(c, FL_CAUSE_INVALID, fl_arena_printf(c->arena, "status.%s.%s", key, v->key), v,
				     "must be greater than or equal to 0");
	}
}

static bool same(const struct fl_json *x, const struct fl_json *y)
{
	return x == y || (x && y && fl_json_equal(x, y));
}

// Once set, an address range or an identity stays; the rest of the spec but taints and unschedulable never changes.
static void validate_update(struct fl_causes *c, const struct fl_json *spec, const struct fl_json *old)
{
	static const char *const once[] = {"podCIDR", "podCIDRs", "providerID"};
	static const char *const may_change[] = {"taints",  "unschedulable", "configSource",
						 "podCIDR", "podCIDRs",      "providerID"};
	struct fl_json *x = fl_json_clone(c->arena, spec), *y = fl_json_clone(c->arena, old);

	for (size_t i = 0; i < FL_COUNT(once); i++)
		if (fl_json_get(old, once[i]) && !same(fl_json_get(spec, once[i]), fl_json_get(old, once[i])))
			fl_cause_add(c, FL_CAUSE_FORBIDDEN, fl_arena_printf(c->arena, "spec.%s", once[i]), NULL,
				     "node updates may not change %s except from \"\" to valid", once[i]);
	for (size_t i = 0; i < FL_COUNT(may_change); i++) {
		if (x)
			fl_json_remove(x, may_change[i]);
		if (y)
			fl_json_remove(y, may_change[i]);
	}
	if (fl_json_count(x) != fl_json_count(y) || (fl_json_count(x) && !fl_json_equal(x, y)))
		fl_cause_add(c, FL_CAUSE_FORBIDDEN, "spec", NULL,
			     "node updates may only change labels, taints, or capacity (or configSource, if the "
			     "DynamicKubeletConfig feature gate is enabled)");
}

static void validate(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *old, const char *subresource)
{
	const struct fl_json *spec = fl_json_get(obj, "spec");

	validate_taints(c, fl_json_get(spec, "taints"));
	validate_quantities(c, obj, "capacity");
	validate_quantities(c, obj, "allocatable");
	validate_pod_cidrs(c, fl_json_get(spec, "podCIDRs"));
	if (old)
		validate_update(c, spec, fl_json_get(old, "spec"));
}

// --- table ---

static const char *status_text(struct fl_arena *a, const struct fl_json *obj)
{
	const char *text = "Unknown";

	fl_json_each (cond, fl_json_path(obj, "status", "conditions", NULL))
		if (fl_streq(fl_json_str(cond, "type"), "Ready"))
			text = fl_streq(fl_json_str(cond, "status"), "True") ? "Ready" : "NotReady";
	if (fl_json_bool(fl_json_get(obj, "spec"), "unschedulable", false))
		text = fl_arena_printf(a, "%s,SchedulingDisabled", text);
	return text;
}

static int by_text(const void *x, const void *y)
{
	return strcmp(*(const char *const *)x, *(const char *const *)y);
}

static const char *roles(struct fl_arena *a, const struct fl_json *obj)
{
	static const char prefix[] = "node-role.kubernetes.io/";
	const struct fl_json *labels = fl_json_path(obj, "metadata", "labels", NULL);
	AUTO_FREE const char **v = fl_calloc(fl_json_count(labels) + 1, sizeof(*v));
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	size_t n = 0;

	fl_json_each (l, labels) {
		if (fl_starts_with(l->key, prefix) && l->key[sizeof(prefix) - 1])
			v[n++] = l->key + sizeof(prefix) - 1;
		else if (fl_streq(l->key, "kubernetes.io/role") && !fl_str_empty(fl_json_string(l)))
			v[n++] = fl_json_string(l);
	}
	qsort(v, n, sizeof(*v), by_text);
	for (size_t i = 0; i < n; i++)
		if (!i || !fl_streq(v[i], v[i - 1]))
			fl_buf_printf(&b, "%s%s", b.len ? "," : "", v[i]);
	return b.len ? fl_arena_strndup(a, b.data, b.len) : "<none>";
}

static const char *address(const struct fl_json *obj, const char *type)
{
	fl_json_each (e, fl_json_path(obj, "status", "addresses", NULL))
		if (fl_streq(fl_json_str(e, "type"), type))
			return fl_json_str_or(e, "address", "<none>");
	return "<none>";
}

static const char *or_unknown(const char *s)
{
	return fl_str_empty(s) ? "<unknown>" : s;
}

static void table_row(struct fl_arena *a, const struct fl_json *obj, int64_t now_ns, struct fl_json *cells)
{
	const struct fl_json *info = fl_json_path(obj, "status", "nodeInfo", NULL);

	fl_cell_name(a, cells, obj);
	fl_cell_string(a, cells, status_text(a, obj));
	fl_cell_string(a, cells, roles(a, obj));
	fl_cell_age(a, cells, obj, now_ns);
	fl_cell_string(a, cells, fl_json_str(info, "kubeletVersion"));
	fl_cell_string(a, cells, address(obj, "InternalIP"));
	fl_cell_string(a, cells, address(obj, "ExternalIP"));
	fl_cell_string(a, cells, or_unknown(fl_json_str(info, "osImage")));
	fl_cell_string(a, cells, or_unknown(fl_json_str(info, "kernelVersion")));
	fl_cell_string(a, cells, or_unknown(fl_json_str(info, "containerRuntimeVersion")));
}

static const char *field(struct fl_arena *a, const struct fl_json *obj, const char *path)
{
	if (fl_streq(path, "spec.unschedulable"))
		return fl_json_bool(fl_json_get(obj, "spec"), "unschedulable", false) ? "true" : "false";
	return NULL;
}

const struct fl_kind_hooks fl_hooks_node = {
    .name = "node",
    .set_defaults = set_defaults,
    .validate = validate,
    .table_row = table_row,
    .field = field,
};
