// SPDX-License-Identifier: Apache-2.0
// Volumes of a pod's spec: a name, and exactly one source. The sources that a node of ours can mount are checked in
// full, the others by their document's schema alone. (k8s: ValidateVolumes)
#include "api/hooks/pod_spec.h"
#include "api/quantity.h"
#include "api/validate.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

static const char *sub(struct fl_causes *c, const char *field, const char *name)
{
	return fl_arena_printf(c->arena, "%s.%s", field, name);
}

static void validate_mode(struct fl_causes *c, const char *field, const struct fl_json *mode)
{
	if (fl_json_is(mode, FL_JSON_INT) && (mode->i < 0 || mode->i > 0777))
		fl_cause_add(c, FL_CAUSE_INVALID, field, mode,
			     "must be a number between 0 and 0777 (octal), both inclusive");
}

static bool steps_back(const char *path)
{
	return path && (fl_streq(path, "..") || fl_starts_with(path, "../") || strstr(path, "/../") ||
			fl_ends_with(path, "/.."));
}

static void validate_relative(struct fl_causes *c, const char *field, const struct fl_json *path)
{
	const char *s = fl_json_string(path);

	if (fl_str_empty(s)) {
		fl_cause_add(c, FL_CAUSE_REQUIRED, field, NULL, NULL);
		return;
	}
	if (*s == '/')
		fl_cause_add(c, FL_CAUSE_INVALID, field, path, "must be a relative path");
	if (steps_back(s))
		fl_cause_add(c, FL_CAUSE_INVALID, field, path, "must not contain '..'");
}

static void validate_items(struct fl_causes *c, const char *field, const struct fl_json *source)
{
	size_t i = 0;

	validate_mode(c, sub(c, field, "defaultMode"), fl_json_get(source, "defaultMode"));
	fl_json_each (item, fl_json_get(source, "items")) {
		const char *here = fl_arena_printf(c->arena, "%s.items[%zu]", field, i++);

		fl_require(c, sub(c, here, "key"), item, "key");
		validate_relative(c, sub(c, here, "path"), fl_json_get(item, "path"));
		validate_mode(c, sub(c, here, "mode"), fl_json_get(item, "mode"));
	}
}

static void validate_downward(struct fl_causes *c, const char *field, const struct fl_json *item)
{
	const struct fl_json *of_pod = fl_json_get(item, "fieldRef"),
			     *of_container = fl_json_get(item, "resourceFieldRef");

	validate_relative(c, sub(c, field, "path"), fl_json_get(item, "path"));
	fl_pod_field_ref_validate(c, sub(c, field, "fieldRef"), of_pod, true);
	if (of_pod && of_container)
		fl_cause_add(c, FL_CAUSE_INVALID, field, fl_json_new_str(c->arena, "resource"),
			     "fieldRef and resourceFieldRef can not be specified simultaneously");
	else if (of_container)
		fl_pod_resource_ref_validate(c, sub(c, field, "resourceFieldRef"), of_container, true);
	else if (!of_pod)
		fl_cause_add(c, FL_CAUSE_REQUIRED, field, NULL, "one of fieldRef and resourceFieldRef is required");
	validate_mode(c, sub(c, field, "mode"), fl_json_get(item, "mode"));
}

static void validate_source(struct fl_causes *c, const char *field, const struct fl_json *source)
{
	const char *here = sub(c, field, source->key);

	if (fl_streq(source->key, "hostPath")) {
		if (steps_back(fl_require(c, sub(c, here, "path"), source, "path")))
			fl_cause_add(c, FL_CAUSE_INVALID, sub(c, here, "path"), fl_json_get(source, "path"),
				     "must not contain '..'");
	} else if (fl_streq(source->key, "emptyDir")) {
		struct fl_quantity limit;
		const char *text = fl_json_str(source, "sizeLimit");

		if (text && fl_quantity_parse(text, &limit) && limit.nano < 0)
			fl_cause_add(c, FL_CAUSE_FORBIDDEN, sub(c, here, "sizeLimit"), NULL,
				     "SizeLimit field must be a valid resource quantity");
	} else if (fl_streq(source->key, "secret")) {
		fl_require(c, sub(c, here, "secretName"), source, "secretName");
		validate_items(c, here, source);
	} else if (fl_streq(source->key, "configMap")) {
		fl_require(c, sub(c, here, "name"), source, "name");
		validate_items(c, here, source);
	} else if (fl_streq(source->key, "projected")) {
		validate_mode(c, sub(c, here, "defaultMode"), fl_json_get(source, "defaultMode"));
	} else if (fl_streq(source->key, "downwardAPI")) {
		size_t i = 0;

		validate_mode(c, sub(c, here, "defaultMode"), fl_json_get(source, "defaultMode"));
		fl_json_each (item, fl_json_get(source, "items"))
			validate_downward(c, fl_arena_printf(c->arena, "%s.items[%zu]", here, i++), item);
	} else if (fl_streq(source->key, "nfs")) {
		fl_require(c, sub(c, here, "server"), source, "server");
		fl_require(c, sub(c, here, "path"), source, "path");
	} else if (fl_streq(source->key, "persistentVolumeClaim")) {
		fl_require(c, sub(c, here, "claimName"), source, "claimName");
	}
}

static void validate_volume(struct fl_causes *c, const char *field, const struct fl_json *v)
{
	unsigned n = 0;

	fl_json_each (source, v) {
		if (fl_streq(source->key, "name"))
			continue;
		if (n++)
			fl_cause_add(c, FL_CAUSE_FORBIDDEN, sub(c, field, source->key), NULL,
				     "may not specify more than 1 volume type");
		else
			validate_source(c, field, source);
	}
	if (!n)
		fl_cause_add(c, FL_CAUSE_REQUIRED, field, NULL, "must specify a volume type");
}

void fl_pod_volumes_validate(struct fl_causes *c, const char *field, const struct fl_json *volumes)
{
	AUTO(fl_map_deinit) struct fl_map names = {0};
	size_t i = 0;

	fl_json_each (v, volumes) {
		const char *here = fl_arena_printf(c->arena, "%s[%zu]", field, i), *name_field = sub(c, here, "name");
		const char *name = fl_require(c, name_field, v, "name");

		if (name)
			fl_validate_string(c, name_field, fl_json_get(v, "name"), fl_check_dns1123_label);
		if (name && fl_map_set(&names, name, &names))
			fl_cause_add(c, FL_CAUSE_DUPLICATE, name_field, fl_json_get(v, "name"), NULL);
		validate_volume(c, here, v);
		i++;
	}
}
