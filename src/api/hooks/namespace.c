// SPDX-License-Identifier: Apache-2.0
// Namespaces: the label with their own name, the finalizer that holds them until they are empty, the phase.
// (k8s: SetDefaults_Namespace; registry/core/namespace strategy; validation ValidateNamespace*)
#include "api/hooks/cells.h"
#include "api/hooks/hooks.h"
#include "api/validate.h"
#include "base/str.h"

static bool contains(const struct fl_json *list, const char *s)
{
	fl_json_each (e, list)
		if (fl_streq(fl_json_string(e), s))
			return true;
	return false;
}

static void set_defaults(struct fl_arena *a, struct fl_json *obj)
{
	struct fl_json *meta = fl_json_ensure_object(a, obj, "metadata");

	if (!fl_str_empty(fl_json_str(meta, "name")))
		fl_json_set_str(a, fl_json_ensure_object(a, meta, "labels"), "kubernetes.io/metadata.name",
				fl_json_str(meta, "name"));
}

static void prepare(struct fl_arena *a, struct fl_json *obj, const struct fl_json *old, const char *subresource)
{
	struct fl_json *spec = fl_json_ensure_object(a, obj, "spec"), *finalizers;

	if (old) {
		// Only `finalize` may change them.
		if (!*subresource)
			fl_json_set(a, spec, "finalizers",
				    fl_json_clone(a, fl_json_path(old, "spec", "finalizers", NULL)));
		return;
	}
	fl_json_set_str(a, fl_json_ensure_object(a, obj, "status"), "phase", "Active");
	finalizers = fl_json_get(spec, "finalizers");
	if (!finalizers)
		finalizers = fl_json_set_array(a, spec, "finalizers");
	if (!contains(finalizers, "kubernetes"))
		fl_json_append(finalizers, fl_json_new_str(a, "kubernetes"));
}

static void validate_phase(struct fl_causes *c, const struct fl_json *obj)
{
	const struct fl_json *phase = fl_json_path(obj, "status", "phase", NULL);
	bool deleted = fl_json_str(fl_json_get(obj, "metadata"), "deletionTimestamp");
	const char *must = deleted ? "Terminating" : "Active";

	if (!fl_streq(fl_json_string(phase), must))
		fl_cause_add(c, FL_CAUSE_INVALID, "status.Phase", phase ? phase : fl_json_new_str(c->arena, ""),
			     "may only be '%s' if `deletionTimestamp` is %sempty", must, deleted ? "not " : "");
}

static void validate(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *old, const char *subresource)
{
	size_t i = 0;

	if (fl_streq(subresource, "status"))
		validate_phase(c, obj);
	fl_json_each (f, fl_json_path(obj, "spec", "finalizers", NULL)) {
		const char *s = fl_json_string(f), *field = fl_arena_printf(c->arena, "spec.finalizers[%zu]", i++);

		if (!s)
			continue;
		fl_validate_qualified_name(c, field, s);
		if (!strchr(s, '/') && !fl_streq(s, "kubernetes"))
			fl_cause_add(c, FL_CAUSE_INVALID, field, f,
				     "name is neither a standard finalizer name nor is it fully qualified");
	}
}

static const char *phase(const struct fl_json *obj)
{
	return fl_json_str_or(fl_json_get(obj, "status"), "phase", "");
}

static void table_row(struct fl_arena *a, const struct fl_json *obj, int64_t now_ns, struct fl_json *cells)
{
	fl_cell_name(a, cells, obj);
	fl_cell_string(a, cells, phase(obj));
	fl_cell_age(a, cells, obj, now_ns);
}

static const char *field(struct fl_arena *a, const struct fl_json *obj, const char *path)
{
	if (fl_streq(path, "status.phase"))
		return phase(obj);
	if (fl_streq(path, "name"))
		return fl_json_str_or(fl_json_get(obj, "metadata"), "name", "");
	return NULL;
}

const struct fl_kind_hooks fl_hooks_namespace = {
    .name = "namespace",
    .set_defaults = set_defaults,
    .prepare = prepare,
    .validate = validate,
    .table_row = table_row,
    .field = field,
};
