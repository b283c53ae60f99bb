// SPDX-License-Identifier: Apache-2.0
// ControllerRevisions: a numbered state that does not change. (k8s: ValidateControllerRevision,
// printControllerRevision)
#include <ctype.h>

#include "api/hooks/cells.h"
#include "api/hooks/hooks.h"
#include "api/validate.h"
#include "base/str.h"

static void validate(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *old, const char *subresource)
{
	const struct fl_json *data = fl_json_get(obj, "data");

	if (!data)
		fl_cause_add(c, FL_CAUSE_REQUIRED, "data", NULL, "data is mandatory");
	fl_validate_non_negative(c, "revision", fl_json_get(obj, "revision"));
	if (old)
		fl_validate_immutable(c, "data", data, fl_json_get(old, "data"));
}

// "daemonset.apps/web"
static const char *controller_of(struct fl_arena *a, const struct fl_json *obj)
{
	fl_json_each (ref, fl_json_path(obj, "metadata", "ownerReferences", NULL)) {
		const char *version = fl_json_str_or(ref, "apiVersion", ""), *slash = strchr(version, '/');
		char *kind;

		if (!fl_json_bool(ref, "controller", false))
			continue;
		kind = fl_arena_printf(a, "%s%s%.*s", fl_json_str_or(ref, "kind", ""), slash ? "." : "",
				       slash ? (int)(slash - version) : 0, version);
		for (char *p = kind; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		return fl_arena_printf(a, "%s/%s", kind, fl_json_str_or(ref, "name", ""));
	}
	return "<none>";
}

static void table_row(struct fl_arena *a, const struct fl_json *obj, int64_t now_ns, struct fl_json *cells)
{
	fl_cell_name(a, cells, obj);
	fl_cell_string(a, cells, controller_of(a, obj));
	fl_cell_int(a, cells, fl_json_int(obj, "revision", 0));
	fl_cell_age(a, cells, obj, now_ns);
}

const struct fl_kind_hooks fl_hooks_controllerrevision = {
    .name = "controllerrevision",
    .validate = validate,
    .table_row = table_row,
};
