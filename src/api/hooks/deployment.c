// SPDX-License-Identifier: Apache-2.0
// Deployments. (k8s: SetDefaults_Deployment; pkg/apis/apps/validation ValidateDeployment; printDeployment)
#include <ctype.h>

#include "api/hooks/cells.h"
#include "api/hooks/hooks.h"
#include "api/hooks/pod_spec.h"
#include "api/hooks/warnings.h"
#include "api/hooks/workload.h"
#include "api/validate.h"
#include "base/str.h"

static void set_defaults(struct fl_arena *a, struct fl_json *obj)
{
	struct fl_json *spec = fl_json_ensure_object(a, obj, "spec");
	struct fl_json *strategy = fl_json_ensure_object(a, spec, "strategy"), *rolling;

	fl_workload_set_template_defaults(a, obj);
	if (!fl_streq(fl_json_str(strategy, "type"), "RollingUpdate"))
		return;
	rolling = fl_json_ensure_object(a, strategy, "rollingUpdate");
	if (!fl_json_get(rolling, "maxUnavailable"))
		fl_json_set_str(a, rolling, "maxUnavailable", "25%");
	if (!fl_json_get(rolling, "maxSurge"))
		fl_json_set_str(a, rolling, "maxSurge", "25%");
}

// deploymentStatusStrategy
static void prepare(struct fl_arena *a, struct fl_json *obj, const struct fl_json *old, const char *subresource)
{
	if (old && fl_streq(subresource, "status"))
		fl_json_set(a, fl_json_ensure_object(a, obj, "metadata"), "labels",
			    fl_json_clone(a, fl_json_path(old, "metadata", "labels", NULL)));
}

// -1 when the text is no percentage.
static int64_t percent(const char *s)
{
	int64_t n = 0;

	if (!isdigit((unsigned char)*s))
		return -1;
	for (; isdigit((unsigned char)*s) && n < 1000000; s++)
		n = n * 10 + (*s - '0');
	return s[0] == '%' && !s[1] ? n : -1;
}

static void validate_count_or_percent(struct fl_causes *c, const char *field, const struct fl_json *v)
{
	if (!fl_json_is(v, FL_JSON_STRING))
		fl_validate_non_negative(c, field, v);
	else if (percent(v->str.s) < 0)
		fl_cause_add(c, FL_CAUSE_INVALID, field, v,
			     "a valid percent string must be a numeric string followed by an ending '%%' (e.g. '1%%',  "
			     "or '93%%', regex used for validation is '[0-9]+%%')");
}

static bool is_zero(const struct fl_json *v)
{
	return fl_json_is(v, FL_JSON_STRING) ? percent(v->str.s) == 0 : !v || (v->type == FL_JSON_INT && v->i == 0);
}

static void validate_strategy(struct fl_causes *c, const struct fl_json *strategy)
{
	static const char *const types[] = {"Recreate", "RollingUpdate", NULL};
	static const char *const field = "spec.strategy.rollingUpdate";
	const struct fl_json *rolling = fl_json_get(strategy, "rollingUpdate");
	const struct fl_json *unavailable = fl_json_get(rolling, "maxUnavailable");
	const struct fl_json *surge = fl_json_get(rolling, "maxSurge");
	const char *type = fl_json_str_or(strategy, "type", "");

	if (fl_streq(type, "Recreate")) {
		if (rolling)
			fl_cause_add(c, FL_CAUSE_FORBIDDEN, field, NULL,
				     "may not be specified when strategy `type` is 'Recreate'");
		return;
	}
	if (!fl_streq(type, "RollingUpdate")) {
		fl_validate_one_of(c, "spec.strategy.type", fl_json_get(strategy, "type"), types);
		return;
	}
	validate_count_or_percent(c, "spec.strategy.rollingUpdate.maxUnavailable", unavailable);
	validate_count_or_percent(c, "spec.strategy.rollingUpdate.maxSurge", surge);
	if (is_zero(unavailable) && is_zero(surge))
		fl_cause_add(c, FL_CAUSE_INVALID, "spec.strategy.rollingUpdate.maxUnavailable", unavailable,
			     "may not be 0 when `maxSurge` is 0");
	if (fl_json_is(unavailable, FL_JSON_STRING) && percent(unavailable->str.s) > 100)
		fl_cause_add(c, FL_CAUSE_INVALID, "spec.strategy.rollingUpdate.maxUnavailable", unavailable,
			     "must not be greater than 100%%");
}

static void validate_status(struct fl_causes *c, const struct fl_json *status)
{
	static const char *const counts[] = {"observedGeneration", "replicas",
					     "updatedReplicas",    "readyReplicas",
					     "availableReplicas",  "unavailableReplicas",
					     "collisionCount",     NULL};

	fl_workload_validate_counts(c, status, counts);
}

static void validate(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *old, const char *subresource)
{
	const struct fl_json *spec = fl_json_get(obj, "spec"), *selector = fl_json_get(spec, "selector");
	const struct fl_json *deadline = fl_json_get(spec, "progressDeadlineSeconds");

	if (fl_streq(subresource, "status")) {
		validate_status(c, fl_json_get(obj, "status"));
		return;
	}
	fl_validate_non_negative(c, "spec.replicas", fl_json_get(spec, "replicas"));
	fl_workload_validate_selector(c, selector);
	fl_pod_template_validate(c, "spec.template", fl_json_get(spec, "template"), selector, "ReplicaSet");
	validate_strategy(c, fl_json_get(spec, "strategy"));
	fl_validate_non_negative(c, "spec.minReadySeconds", fl_json_get(spec, "minReadySeconds"));
	fl_validate_non_negative(c, "spec.revisionHistoryLimit", fl_json_get(spec, "revisionHistoryLimit"));
	fl_validate_non_negative(c, "spec.progressDeadlineSeconds", deadline);
	if (fl_json_is(deadline, FL_JSON_INT) && deadline->i <= fl_json_int(spec, "minReadySeconds", 0))
		fl_cause_add(c, FL_CAUSE_INVALID, "spec.progressDeadlineSeconds", deadline,
			     "must be greater than minReadySeconds");
	if (old)
		fl_validate_immutable(c, "spec.selector", selector, fl_json_path(old, "spec", "selector", NULL));
}

static void table_row(struct fl_arena *a, const struct fl_json *obj, int64_t now_ns, struct fl_json *cells)
{
	const struct fl_json *spec = fl_json_get(obj, "spec"), *status = fl_json_get(obj, "status");

	fl_cell_name(a, cells, obj);
	fl_cell_string(a, cells,
		       fl_arena_printf(a, "%lld/%lld", (long long)fl_json_int(status, "readyReplicas", 0),
				       (long long)fl_json_int(spec, "replicas", 0)));
	fl_cell_int(a, cells, fl_json_int(status, "updatedReplicas", 0));
	fl_cell_int(a, cells, fl_json_int(status, "availableReplicas", 0));
	fl_cell_age(a, cells, obj, now_ns);
	fl_cells_containers(a, cells, fl_json_get(spec, "template"));
	fl_cell_string(a, cells, fl_format_selector(a, fl_json_get(spec, "selector")));
}

const struct fl_kind_hooks fl_hooks_deployment = {
    .name = "deployment",
    .set_defaults = set_defaults,
    .prepare = prepare,
    .validate = validate,
    .table_row = table_row,
    .warn = fl_workload_warn,
};
