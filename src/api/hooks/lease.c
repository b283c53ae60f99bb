// SPDX-License-Identifier: Apache-2.0
// Leases. (k8s: pkg/apis/coordination/validation)
#include "api/hooks/cells.h"
#include "api/hooks/hooks.h"
#include "api/validate.h"

static void validate(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *old, const char *subresource)
{
	const struct fl_json *spec = fl_json_get(obj, "spec");
	const struct fl_json *duration = fl_json_get(spec, "leaseDurationSeconds");

	if (fl_json_is(duration, FL_JSON_INT) && duration->i <= 0)
		fl_cause_add(c, FL_CAUSE_INVALID, "spec.leaseDurationSeconds", duration, "must be greater than 0");
	fl_validate_non_negative(c, "spec.leaseTransitions", fl_json_get(spec, "leaseTransitions"));
}

static void table_row(struct fl_arena *a, const struct fl_json *obj, int64_t now_ns, struct fl_json *cells)
{
	fl_cell_name(a, cells, obj);
	fl_cell_string(a, cells, fl_json_str(fl_json_get(obj, "spec"), "holderIdentity"));
	fl_cell_age(a, cells, obj, now_ns);
}

const struct fl_kind_hooks fl_hooks_lease = {.name = "lease", .validate = validate, .table_row = table_row};
