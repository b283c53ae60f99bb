// SPDX-License-Identifier: Apache-2.0
// ReplicaSets. (k8s: pkg/apis/apps/validation ValidateReplicaSet, printReplicaSet)
#include "api/hooks/workload.h"

#include "api/hooks/cells.h"
#include "api/hooks/hooks.h"
#include "api/hooks/pod_spec.h"
#include "api/hooks/warnings.h"
#include "api/validate.h"
#include "base/mem.h"
#include "base/str.h"

void fl_workload_validate_selector(struct fl_causes *c, const struct fl_json *selector)
{
	if (!selector) {
		fl_cause_add(c, FL_CAUSE_REQUIRED, "spec.selector", NULL, NULL);
		return;
	}
	fl_validate_selector(c, "spec.selector", selector);
	if (!fl_json_count(fl_json_get(selector, "matchLabels")) &&
	    !fl_json_count(fl_json_get(selector, "matchExpressions")))
		fl_cause_add(c, FL_CAUSE_INVALID, "spec.selector", selector,
			     "empty selector is invalid for deployment");
}

void fl_workload_validate_counts(struct fl_causes *c, const struct fl_json *status, const char *const *keys)
{
	for (size_t i = 0; keys[i]; i++)
		fl_validate_non_negative(c, fl_arena_printf(c->arena, "status.%s", keys[i]),
					 fl_json_get(status, keys[i]));
}

void fl_workload_set_template_defaults(struct fl_arena *a, struct fl_json *obj)
{
	struct fl_json *template = fl_json_ensure_object(a, fl_json_ensure_object(a, obj, "spec"), "template");

	fl_pod_spec_set_defaults(a, fl_json_ensure_object(a, template, "spec"));
}

// `replicas` has no "omitempty" in Go.
void fl_workload_set_status_replicas(struct fl_arena *a, struct fl_json *obj)
{
	struct fl_json *status = fl_json_ensure_object(a, obj, "status");

	if (!fl_json_get(status, "replicas"))
		fl_json_set_int(a, status, "replicas", 0);
}

static void set_defaults(struct fl_arena *a, struct fl_json *obj)
{
	fl_workload_set_template_defaults(a, obj);
	fl_workload_set_status_replicas(a, obj);
}

void fl_workload_validate_replica_status(struct fl_causes *c, const struct fl_json *status)
{
	static const char *const counts[] = {"replicas",          "fullyLabeledReplicas", "readyReplicas",
					     "availableReplicas", "observedGeneration",   NULL};
	static const char *const parts[] = {"fullyLabeledReplicas", "readyReplicas", "availableReplicas"};
	int64_t all = fl_json_int(status, "replicas", 0), ready = fl_json_int(status, "readyReplicas", 0);

	fl_workload_validate_counts(c, status, counts);
	for (size_t i = 0; i < FL_COUNT(parts); i++)
		if (fl_json_int(status, parts[i], 0) > all)
			fl_cause_add(c, FL_CAUSE_INVALID, fl_arena_printf(c->arena, "status.%s", parts[i]),
				     fl_json_get(status, parts[i]), "cannot be greater than status.replicas");
	if (fl_json_int(status, "availableReplicas", 0) > ready)
		fl_cause_add(c, FL_CAUSE_INVALID, "status.availableReplicas", fl_json_get(status, "availableReplicas"),
			     "cannot be greater than readyReplicas");
}

static void validate(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *old, const char *subresource)
{
	const struct fl_json *spec = fl_json_get(obj, "spec"), *selector = fl_json_get(spec, "selector");

	if (fl_streq(subresource, "status")) {
		fl_workload_validate_replica_status(c, fl_json_get(obj, "status"));
		return;
	}
	fl_validate_non_negative(c, "spec.replicas", fl_json_get(spec, "replicas"));
	fl_validate_non_negative(c, "spec.minReadySeconds", fl_json_get(spec, "minReadySeconds"));
	fl_workload_validate_selector(c, selector);
	fl_pod_template_validate(c, "spec.template", fl_json_get(spec, "template"), selector, "ReplicaSet");
	if (old)
		fl_validate_immutable(c, "spec.selector", selector, fl_json_path(old, "spec", "selector", NULL));
}

void fl_workload_replica_row(struct fl_arena *a, const struct fl_json *obj, int64_t now_ns, struct fl_json *cells)
{
	const struct fl_json *spec = fl_json_get(obj, "spec"), *status = fl_json_get(obj, "status");
	const struct fl_json *selector = fl_json_get(spec, "selector");

	fl_cell_name(a, cells, obj);
	fl_cell_int(a, cells, fl_json_int(spec, "replicas", 0));
	fl_cell_int(a, cells, fl_json_int(status, "replicas", 0));
	fl_cell_int(a, cells, fl_json_int(status, "readyReplicas", 0));
	fl_cell_age(a, cells, obj, now_ns);
	fl_cells_containers(a, cells, fl_json_get(spec, "template"));
	// A LabelSelector, or the plain map of a ReplicationController.
	fl_cell_string(a, cells,
		       selector && !fl_json_get(selector, "matchLabels") && !fl_json_get(selector, "matchExpressions")
			   ? fl_format_labels(a, selector)
			   : fl_format_selector(a, selector));
}

const char *fl_workload_replica_field(struct fl_arena *a, const struct fl_json *obj, const char *path)
{
	if (fl_streq(path, "status.replicas"))
		return fl_arena_printf(a, "%lld", (long long)fl_json_int(fl_json_get(obj, "status"), "replicas", 0));
	return NULL;
}

const struct fl_kind_hooks fl_hooks_replicaset = {
    .name = "replicaset",
    .set_defaults = set_defaults,
    .validate = validate,
    .table_row = fl_workload_replica_row,
    .field = fl_workload_replica_field,
    .warn = fl_workload_warn,
};
