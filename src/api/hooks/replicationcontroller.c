// SPDX-License-Identifier: Apache-2.0
// ReplicationControllers: ReplicaSets whose selector is a plain map that may change, and comes from the template when
// nobody gives one. (k8s: SetDefaults_ReplicationController, ValidateReplicationControllerSpec)
#include "api/hooks/hooks.h"
#include "api/hooks/pod_spec.h"
#include "api/hooks/warnings.h"
#include "api/hooks/workload.h"
#include "api/validate.h"
#include "base/str.h"

static void set_defaults(struct fl_arena *a, struct fl_json *obj)
{
	struct fl_json *spec = fl_json_ensure_object(a, obj, "spec"), *meta = fl_json_ensure_object(a, obj, "metadata");
	const struct fl_json *labels = fl_json_path(spec, "template", "metadata", "labels", NULL);

	if (fl_json_get(spec, "template"))
		fl_workload_set_template_defaults(a, obj);
	if (labels && !fl_json_count(fl_json_get(spec, "selector")))
		fl_json_set(a, spec, "selector", fl_json_clone(a, labels));
	if (labels && !fl_json_count(fl_json_get(meta, "labels")))
		fl_json_set(a, meta, "labels", fl_json_clone(a, labels));
	fl_workload_set_status_replicas(a, obj);
}

static void validate(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *old, const char *subresource)
{
	const struct fl_json *spec = fl_json_get(obj, "spec"), *map = fl_json_get(spec, "selector");
	struct fl_json *selector = fl_json_new(c->arena, FL_JSON_OBJECT);

	if (fl_streq(subresource, "status")) {
		fl_workload_validate_replica_status(c, fl_json_get(obj, "status"));
		return;
	}
	fl_validate_non_negative(c, "spec.minReadySeconds", fl_json_get(spec, "minReadySeconds"));
	if (!fl_json_count(map))
		fl_cause_add(c, FL_CAUSE_REQUIRED, "spec.selector", NULL, NULL);
	fl_validate_non_negative(c, "spec.replicas", fl_json_get(spec, "replicas"));
	if (!fl_json_get(spec, "template")) {
		fl_cause_add(c, FL_CAUSE_REQUIRED, "spec.template", NULL, NULL);
		return;
	}
	fl_json_set(c->arena, selector, "matchLabels", fl_json_clone(c->arena, map));
	fl_pod_template_validate(c, "spec.template", fl_json_get(spec, "template"), selector, "ReplicationController");
}

const struct fl_kind_hooks fl_hooks_replicationcontroller = {
    .name = "replicationcontroller",
    .set_defaults = set_defaults,
    .validate = validate,
    .table_row = fl_workload_replica_row,
    .field = fl_workload_replica_field,
    .warn = fl_workload_warn,
};
