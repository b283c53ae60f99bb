// SPDX-License-Identifier: Apache-2.0
// Rules of metadata that all kinds share (apimachinery api/validation ObjectMeta). The rule of a name is the kind's
// own and stands in its document.
#include "api/kind.h"
#include "api/validate.h"
#include "base/mem.h"
#include "base/str.h"

static fl_name_check name_check(enum fl_name_rule rule)
{
	static const fl_name_check checks[] = {
	    [FL_NAME_PATH_SEGMENT] = fl_check_path_segment,
	    [FL_NAME_SUBDOMAIN] = fl_check_dns1123_subdomain,
	    [FL_NAME_LABEL] = fl_check_dns1123_label,
	};
	_Static_assert(FL_COUNT(checks) == FL_NAME_RULE_COUNT, "a check for each rule");

	return checks[rule];
}

// A prefix may end in a dash, since letters follow it.
static void validate_generate_name(struct fl_causes *c, const struct fl_kind *k, const struct fl_json *value)
{
	const char *s = fl_json_string(value), *why;
	size_t n = s ? strlen(s) : 0;
	char *probe;

	if (!n)
		return;
	probe = fl_arena_strndup(c->arena, s, n);
	if (n > 1 && probe[n - 1] == '-')
		probe[n - 1] = 'a';
	why = name_check(k->name_rule)(c->arena, probe);
	if (why)
		fl_cause_add(c, FL_CAUSE_INVALID, "metadata.generateName", value, "%s", why);
}

static void validate_name(struct fl_causes *c, const struct fl_kind *k, const struct fl_json *meta)
{
	const struct fl_json *name = fl_json_get(meta, "name"), *ns = fl_json_get(meta, "namespace");

	if (fl_str_empty(fl_json_string(name)))
		fl_cause_add(c, FL_CAUSE_REQUIRED, "metadata.name", NULL, "name or generateName is required");
	else
		fl_validate_string(c, "metadata.name", name, name_check(k->name_rule));
	if (k->namespaced) {
		if (fl_str_empty(fl_json_string(ns)))
			fl_cause_add(c, FL_CAUSE_REQUIRED, "metadata.namespace", NULL, NULL);
		else
			fl_validate_string(c, "metadata.namespace", ns, fl_check_dns1123_label);
	} else if (!fl_str_empty(fl_json_string(ns))) {
		fl_cause_add(c, FL_CAUSE_FORBIDDEN, "metadata.namespace", NULL, "not allowed on this type");
	}
}

static void validate_owner(struct fl_causes *c, const char *field, const struct fl_json *ref)
{
	static const struct {
		const char *key, *text;
	} required[] = {{"kind", "must not be empty"}, {"name", "must not be empty"}, {"uid", "must not be empty"}};
	const char *version = fl_json_str_or(ref, "apiVersion", "");
	const char *slash = strchr(version, '/');

	if (!*version || (slash && !slash[1]))
		fl_cause_add(c, FL_CAUSE_INVALID, fl_arena_printf(c->arena, "%s.apiVersion", field),
			     fl_json_new_str(c->arena, version), "version must not be empty");
	for (size_t i = 0; i < FL_COUNT(required); i++) {
		if (fl_str_empty(fl_json_str(ref, required[i].key)))
			fl_cause_add(c, FL_CAUSE_INVALID, fl_arena_printf(c->arena, "%s.%s", field, required[i].key),
				     fl_json_new_str(c->arena, ""), "%s", required[i].text);
	}
	if (fl_streq(version, "v1") && fl_streq(fl_json_str(ref, "kind"), "Event"))
		fl_cause_add(c, FL_CAUSE_INVALID, field, ref, "/v1, Kind=Event is disallowed from being an owner");
}

static void validate_owners(struct fl_causes *c, const struct fl_json *owners)
{
	const char *controller = NULL;

	fl_json_each (ref, owners) {
		validate_owner(c, "metadata.ownerReferences", ref);
		if (!fl_json_bool(ref, "controller", false))
			continue;
		if (controller)
			fl_cause_add(c, FL_CAUSE_INVALID, "metadata.ownerReferences", owners,
				     "Only one reference can have Controller set to true. Found \"true\" in references "
				     "for %s and %s",
				     controller, fl_json_str_or(ref, "name", ""));
		controller = fl_json_str_or(ref, "name", "");
	}
}

static bool contains(const struct fl_json *list, const char *s)
{
	fl_json_each (e, list)
		if (fl_streq(fl_json_string(e), s))
			return true;
	return false;
}

// (k8s: validateKubeFinalizerName, IsStandardFinalizerName)
static void validate_new_finalizer(struct fl_causes *c, const char *field, const struct fl_json *f)
{
	const char *s = fl_json_string(f);

	if (s && !strchr(s, '/') && !fl_streq(s, "kubernetes") && !fl_streq(s, "orphan") &&
	    !fl_streq(s, "foregroundDeletion"))
		fl_cause_add(c, FL_CAUSE_INVALID, field, f,
			     "name is neither a standard finalizer name nor is it fully qualified");
}

static void validate_finalizers(struct fl_causes *c, const struct fl_json *finalizers, const struct fl_json *old_meta)
{
	const struct fl_json *old = fl_json_get(old_meta, "finalizers");
	struct fl_json *added = fl_json_new(c->arena, FL_JSON_ARRAY);
	size_t i = 0;

	fl_json_each (f, finalizers) {
		if (fl_json_string(f))
			fl_validate_qualified_name(c, "metadata.finalizers", fl_json_string(f));
		if (!contains(old, fl_json_string(f)))
			fl_json_append(added, fl_json_clone(c->arena, f));
	}
	if (contains(finalizers, "orphan") && contains(finalizers, "foregroundDeletion"))
		fl_cause_add(c, FL_CAUSE_INVALID, "metadata.finalizers", finalizers,
			     "finalizer orphan and foregroundDeletion cannot be both set");
	fl_json_each (f, finalizers) {
		const char *field = fl_arena_printf(c->arena, "metadata.finalizers[%zu]", i++);

		if (!contains(old, fl_json_string(f)))
			validate_new_finalizer(c, field, f);
	}
	if (fl_json_str(old_meta, "deletionTimestamp") && fl_json_count(added)) {
		AUTO(fl_buf_deinit) struct fl_buf list = {0};

		fl_json_each (f, added)
			fl_buf_printf(&list, "%s\"%s\"", list.len ? ", " : "", fl_json_string(f));
		fl_cause_add(c, FL_CAUSE_FORBIDDEN, "metadata.finalizers", NULL,
			     "no new finalizers can be added if the object is being deleted, found new finalizers "
			     "[]string{%s}",
			     list.data);
	}
}

static void validate_unchanged(struct fl_causes *c, const struct fl_json *meta, const struct fl_json *old)
{
	static const char *const keys[] = {
	    "name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"};

	for (size_t i = 0; i < FL_COUNT(keys); i++)
		fl_validate_immutable(c, fl_arena_printf(c->arena, "metadata.%s", keys[i]), fl_json_get(meta, keys[i]),
				      fl_json_get(old, keys[i]));
	if (fl_json_int(meta, "generation", 0) < fl_json_int(old, "generation", 0))
		fl_cause_add(c, FL_CAUSE_INVALID, "metadata.generation", fl_json_get(meta, "generation"),
			     "must not be decremented");
}

void fl_object_validate_meta(struct fl_causes *c, const struct fl_kind *k, const struct fl_json *obj,
			     const struct fl_json *old)
{
	const struct fl_json *meta = fl_json_get(obj, "metadata"), *old_meta = fl_json_get(old, "metadata");

	if (old) {
		validate_unchanged(c, meta, old_meta);
	} else {
		validate_generate_name(c, k, fl_json_get(meta, "generateName"));
		validate_name(c, k, meta);
		fl_validate_non_negative(c, "metadata.generation", fl_json_get(meta, "generation"));
	}
	fl_validate_labels(c, "metadata.labels", fl_json_get(meta, "labels"));
	fl_validate_annotations(c, "metadata.annotations", fl_json_get(meta, "annotations"));
	validate_owners(c, fl_json_get(meta, "ownerReferences"));
	validate_finalizers(c, fl_json_get(meta, "finalizers"), old_meta);
}
