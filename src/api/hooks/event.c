// SPDX-License-Identifier: Apache-2.0
// Events, stored in their core/v1 form and seen through events.k8s.io/v1 as well. The view renames fields both ways, so
// a client of either sees every Event; the table is the same for both. (k8s: pkg/apis/core/validation/events.go,
// events/v1 conversion, printEvent)
#include <ctype.h>

#include "api/hooks/cells.h"
#include "api/hooks/hooks.h"
#include "api/table.h"
#include "api/validate.h"
#include "base/mem.h"
#include "base/str.h"

enum { REASON_MAX = 128, ACTION_MAX = 128, INSTANCE_MAX = 128, NOTE_MAX = 1024 };

// core/v1 name, events.k8s.io/v1 name; everything else is called the same in both.
static const char *const renamed[][2] = {
    {"involvedObject", "regarding"},
    {"message", "note"},
    {"source", "deprecatedSource"},
    {"firstTimestamp", "deprecatedFirstTimestamp"},
    {"lastTimestamp", "deprecatedLastTimestamp"},
    {"count", "deprecatedCount"},
    {"reportingComponent", "reportingController"},
};

static struct fl_json *rename_fields(struct fl_arena *a, struct fl_json *obj, unsigned from, unsigned to)
{
	fl_json_each (m, obj) {
		for (size_t i = 0; i < FL_COUNT(renamed); i++) {
			if (!fl_streq(m->key, renamed[i][from]))
				continue;
			m->key = renamed[i][to];
			m->key_len = (uint32_t)strlen(m->key);
			break;
		}
	}
	return obj;
}

static struct fl_json *to_stored(struct fl_arena *a, struct fl_json *obj)
{
	fl_json_set_str(a, obj, "apiVersion", "v1");
	return rename_fields(a, obj, 1, 0);
}

static struct fl_json *from_stored(struct fl_arena *a, struct fl_json *obj)
{
	fl_json_set_str(a, obj, "apiVersion", "events.k8s.io/v1");
	return rename_fields(a, obj, 0, 1);
}

// eventTime has no "omitempty" in Go: clients see it as null when it is not set.
static void set_defaults(struct fl_arena *a, struct fl_json *obj)
{
	if (!fl_json_get(obj, "eventTime"))
		fl_json_set(a, obj, "eventTime", fl_json_new(a, FL_JSON_NULL));
}

// --- validation ---

static void validate_namespace(struct fl_causes *c, const struct fl_json *obj, const char *ref)
{
	const char *ns = fl_json_str_or(fl_json_get(obj, "metadata"), "namespace", "");
	const char *about = fl_json_str_or(fl_json_get(obj, ref), "namespace", "");

	// Events about objects without a namespace are kept in default (or kube-system, for nodes' own reporters).
	if (!*about ? (*ns && !fl_streq(ns, "default") && !fl_streq(ns, "kube-system")) : !fl_streq(ns, about))
		fl_cause_add(c, FL_CAUSE_INVALID, fl_arena_printf(c->arena, "%s.namespace", ref),
			     fl_json_new_str(c->arena, about), "does not match event.namespace");
}

static void require_short(struct fl_causes *c, const struct fl_json *obj, const char *key, size_t max)
{
	const char *s = fl_require(c, key, obj, key);

	if (s && strlen(s) > max)
		fl_cause_add(c, FL_CAUSE_INVALID, key, fl_json_new_str(c->arena, ""), "can have at most %zu characters",
			     max);
}

// What the newer API asks for, in either view, as soon as eventTime is set.
static void validate_new_style(struct fl_causes *c, const struct fl_json *obj, const char *controller, const char *note)
{
	static const char *const types[] = {"Normal", "Warning", NULL};
	const char *reporter = fl_require(c, controller, obj, controller), *text = fl_json_str_or(obj, note, "");

	if (reporter)
		fl_validate_qualified_name(c, controller, reporter);
	require_short(c, obj, "reportingInstance", INSTANCE_MAX);
	require_short(c, obj, "action", ACTION_MAX);
	require_short(c, obj, "reason", REASON_MAX);
	if (strlen(text) > NOTE_MAX)
		fl_cause_add(c, FL_CAUSE_INVALID, note, fl_json_new_str(c->arena, ""), "can have at most %d characters",
			     NOTE_MAX);
	fl_validate_one_of(c, "type", fl_json_get(obj, "type"), types);
}

static void validate(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *old, const char *subresource)
{
	validate_namespace(c, obj, "involvedObject");
	if (fl_json_str(obj, "eventTime") && !old)
		validate_new_style(c, obj, "reportingComponent", "message");
}

static void validate_view(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *old,
			  const char *subresource)
{
	validate_namespace(c, obj, "regarding");
	if (!fl_json_str(obj, "eventTime") && !old)
		fl_cause_add(c, FL_CAUSE_REQUIRED, "eventTime", NULL, NULL);
	if (!old)
		validate_new_style(c, obj, "reportingController", "note");
}

// --- table and fields, of the stored form ---

static const char *with_host(struct fl_arena *a, const char *component, const char *host)
{
	return fl_str_empty(host) ? component : fl_arena_printf(a, "%s, %s", component, host);
}

static const char *reporter_of(struct fl_arena *a, const struct fl_json *obj)
{
	const struct fl_json *source = fl_json_get(obj, "source");

	if (fl_json_str(source, "component"))
		return with_host(a, fl_json_str(source, "component"), fl_json_str(source, "host"));
	return with_host(a, fl_json_str_or(obj, "reportingComponent", ""), fl_json_str(obj, "reportingInstance"));
}

static const char *about(struct fl_arena *a, const struct fl_json *obj)
{
	const struct fl_json *ref = fl_json_get(obj, "involvedObject");
	char *text = fl_arena_printf(a, "%s/%s", fl_json_str_or(ref, "kind", ""), fl_json_str_or(ref, "name", ""));

	for (char *p = text; *p && *p != '/'; p++)
		*p = (char)tolower((unsigned char)*p);
	return text;
}

static const char *trim(struct fl_arena *a, const char *s)
{
	size_t n;

	s += strspn(s, " \t\r\n");
	n = strlen(s);
	while (n && isspace((unsigned char)s[n - 1]))
		n--;
	return fl_arena_strndup(a, s, n);
}

static void table_row(struct fl_arena *a, const struct fl_json *obj, int64_t now_ns, struct fl_json *cells)
{
	const struct fl_json *series = fl_json_get(obj, "series");
	const char *first = fl_json_str(obj, "firstTimestamp"), *last = fl_json_str(obj, "lastTimestamp");
	int64_t count = fl_json_int(obj, "count", 0);

	if (!first)
		first = fl_json_str(obj, "eventTime");
	if (!last)
		last = first;
	if (series) {
		last = fl_json_str(series, "lastObservedTime");
		count = fl_json_int(series, "count", 0);
	} else if (!count) {
		count = 1;
	}
	fl_cell_string(a, cells, fl_human_age(a, last, now_ns));
	fl_cell_string(a, cells, fl_json_str(obj, "type"));
	fl_cell_string(a, cells, fl_json_str(obj, "reason"));
	fl_cell_string(a, cells, about(a, obj));
	fl_cell_string(a, cells, fl_json_str(fl_json_get(obj, "involvedObject"), "fieldPath"));
	fl_cell_string(a, cells, reporter_of(a, obj));
	fl_cell_string(a, cells, trim(a, fl_json_str_or(obj, "message", "")));
	fl_cell_string(a, cells, fl_human_age(a, first, now_ns));
	fl_cell_int(a, cells, count);
	fl_cell_name(a, cells, obj);
}

static const char *field(struct fl_arena *a, const struct fl_json *obj, const char *path)
{
	static const char *const of_object[] = {"kind",       "namespace",       "name",     "uid",
						"apiVersion", "resourceVersion", "fieldPath"};
	static const char *const own[] = {"reason", "reportingComponent", "type"};
	static const char prefix[] = "involvedObject.";

	if (fl_starts_with(path, prefix)) {
		for (size_t i = 0; i < FL_COUNT(of_object); i++)
			if (fl_streq(path + sizeof(prefix) - 1, of_object[i]))
				return fl_json_str_or(fl_json_get(obj, "involvedObject"), of_object[i], "");
		return NULL;
	}
	for (size_t i = 0; i < FL_COUNT(own); i++)
		if (fl_streq(path, own[i]))
			return fl_json_str_or(obj, own[i], "");
	if (fl_streq(path, "source")) {
		const char *component = fl_json_str_or(fl_json_get(obj, "source"), "component", "");

		return *component ? component : fl_json_str_or(obj, "reportingComponent", "");
	}
	return NULL;
}

// The view's own rows and fields: its tree under the stored names.
static struct fl_json *stored_copy(struct fl_arena *a, const struct fl_json *obj)
{
	return to_stored(a, fl_json_clone(a, obj));
}

static void view_row(struct fl_arena *a, const struct fl_json *obj, int64_t now_ns, struct fl_json *cells)
{
	table_row(a, stored_copy(a, obj), now_ns, cells);
}

static const char *view_field(struct fl_arena *a, const struct fl_json *obj, const char *path)
{
	if (fl_starts_with(path, "regarding."))
		path = fl_arena_printf(a, "involvedObject.%s", path + strlen("regarding."));
	else if (fl_streq(path, "reportingController"))
		path = "reportingComponent";
	return field(a, stored_copy(a, obj), path);
}

const struct fl_kind_hooks fl_hooks_event = {
    .name = "event",
    .set_defaults = set_defaults,
    .validate = validate,
    .table_row = table_row,
    .field = field,
};

const struct fl_kind_hooks fl_hooks_event_view = {
    .name = "event.events.k8s.io",
    .set_defaults = set_defaults,
    .validate = validate_view,
    .table_row = view_row,
    .field = view_field,
    .to_stored = to_stored,
    .from_stored = from_stored,
};
