// SPDX-License-Identifier: Apache-2.0
#include "apiserver/subresource.h"

#include "api/selector.h"
#include "apiserver/body.h"
#include "apiserver/respond.h"
#include "apiserver/write.h"
#include "base/clock.h"
#include "base/mem.h"

// --- scale (autoscaling/v1) ---

static struct fl_json *dotted(struct fl_json *obj, const char *path)
{
	char part[64];
	while (obj && path && *path) {
		size_t n = strcspn(path, ".");
		if (n >= sizeof(part))
			return NULL;
		memcpy(part, path, n);
		part[n] = 0;
		obj = fl_json_get(obj, part);
		path += n + (path[n] == '.');
	}
	return path ? obj : NULL;
}

// A LabelSelector (or a plain map) as selector text.
static const char *selector_text(struct fl_arena *a, const struct fl_json *sel)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	const struct fl_json *map = fl_json_get(sel, "matchLabels"), *exprs = fl_json_get(sel, "matchExpressions");
	if (!map && !exprs)
		map = sel;
	fl_json_each (l, map)
		fl_buf_printf(&b, "%s%s=%s", b.len ? "," : "", l->key, fl_json_string(l) ? fl_json_string(l) : "");
	fl_json_each (e, exprs) {
		const char *key = fl_json_str_or(e, "key", ""), *op = fl_json_str_or(e, "operator", "");
		if (b.len)
			fl_buf_putc(&b, ',');
		if (!strcmp(op, "Exists") || !strcmp(op, "DoesNotExist")) {
			fl_buf_printf(&b, "%s%s", op[0] == 'D' ? "!" : "", key);
			continue;
		}
		fl_buf_printf(&b, "%s %s (", key, !strcmp(op, "NotIn") ? "notin" : "in");
		const char *sep = "";
		fl_json_each (v, fl_json_get(e, "values")) {
			fl_buf_printf(&b, "%s%s", sep, fl_json_string(v) ? fl_json_string(v) : "");
			sep = ",";
		}
		fl_buf_putc(&b, ')');
	}
	return b.len ? fl_arena_strdup(a, b.data) : NULL;
}

static struct fl_json *scale_of(struct fl_request *r, struct fl_json *obj)
{
	struct fl_arena *a = r->a;
	const struct fl_json *meta = fl_json_get(obj, "metadata");
	struct fl_json *s = fl_json_new(a, FL_JSON_OBJECT);
	fl_json_set_str(a, s, "kind", "Scale");
	fl_json_set_str(a, s, "apiVersion", "autoscaling/v1");
	struct fl_json *m = fl_json_set_object(a, s, "metadata");
	static const char *const kept[] = {"name", "namespace", "uid", "resourceVersion", "creationTimestamp"};
	for (unsigned i = 0; i < FL_COUNT(kept); i++)
		fl_json_set_str(a, m, kept[i], fl_json_str(meta, kept[i]));
	struct fl_json *want = dotted(obj, r->kind->scale_spec_path), *have = dotted(obj, r->kind->scale_status_path);
	fl_json_set_int(a, fl_json_set_object(a, s, "spec"), "replicas", fl_json_is(want, FL_JSON_INT) ? want->i : 0);
	struct fl_json *status = fl_json_set_object(a, s, "status");
	fl_json_set_int(a, status, "replicas", fl_json_is(have, FL_JSON_INT) ? have->i : 0);
	fl_json_set_str(a, status, "selector", selector_text(a, dotted(obj, r->kind->scale_selector_path)));
	return s;
}

static void respond_scale(struct fl_request *r, int code, struct fl_object *o)
{
	fl_respond_tree(r, code, scale_of(r, fl_object_tree(o, r->a)));
}

// Parent object of r->kind's scale_spec_path, and the last member's name.
static struct fl_json *replicas_parent(struct fl_request *r, struct fl_json *obj, const char **ret_last)
{
	const char *path = r->kind->scale_spec_path, *dot = strrchr(path, '.');
	*ret_last = dot ? dot + 1 : path;
	return dot ? dotted(obj, fl_arena_strndup(r->a, path, (size_t)(dot - path))) : obj;
}

static void scale_write(struct fl_request *r)
{
	bool dry_run;
	if (!fl_write_dry_run(r, "UpdateOptions", &dry_run))
		return;
	struct fl_change c = {.s = r->s,
			      .a = r->a,
			      .kind = r->kind,
			      .ns = r->ns,
			      .name = r->name,
			      .subresource = "scale",
			      .dry_run = dry_run,
			      .causes = {.arena = r->a}};
	struct fl_json *scale = NULL;
	if (!fl_change_load(&c)) {
		fl_respond_status(r, &c.status);
		return;
	}
	struct fl_json *old_scale = scale_of(r, c.old_tree);
	const struct fl_schema *schema = fl_registry_schema_by_kind(r->s->registry, "autoscaling/v1", "Scale", NULL);
	bool ok = !strcmp(r->verb, "patch") ? fl_write_apply_patch(r, schema, schema != NULL, old_scale, &scale)
					    : fl_body_any(r, &scale);
	if (!ok) {
		fl_change_deinit(&c);
		return;
	}
	const struct fl_json *replicas = fl_json_path(scale, "spec", "replicas", NULL);
	const char *rv = fl_json_str(fl_json_get(scale, "metadata"), "resourceVersion");
	int64_t n = fl_json_is(replicas, FL_JSON_INT) ? replicas->i : 0; // absent is zero, as omitempty writes it
	if (n < 0 || n > INT32_MAX || (replicas && !fl_json_is(replicas, FL_JSON_INT))) {
		fl_cause_add(&c.causes, FL_CAUSE_INVALID, "spec.replicas", replicas,
			     "must be greater than or equal to 0");
		struct fl_status st = fl_status_invalid(r->a, "autoscaling", "Scale", r->name, &c.causes);
		fl_respond_status(r, &st);
		fl_change_deinit(&c);
		return;
	}
	struct fl_json *obj = fl_json_clone(r->a, c.old_tree);
	const char *last;
	struct fl_json *parent = replicas_parent(r, obj, &last);
	fl_json_set_int(r->a, parent, last, n);
	fl_json_set_str(r->a, fl_json_get(obj, "metadata"), "resourceVersion", rv);
	if (!fl_change_update(&c, obj)) {
		fl_respond_status(r, &c.status);
		fl_change_deinit(&c);
		return;
	}
	fl_write_finish(r, &c, FL_STORE_UPDATE, 200, respond_scale);
}

void fl_subresource_scale(struct fl_request *r)
{
	r->form = r->form == FL_FORM_YAML ? FL_FORM_YAML : FL_FORM_JSON;
	if (!strcmp(r->verb, "update") || !strcmp(r->verb, "patch")) {
		scale_write(r);
		return;
	}
	if (strcmp(r->verb, "get") != 0) {
		fl_respond_method_not_allowed(r);
		return;
	}
	AUTO(fl_object_put) struct fl_object *o = fl_store_get(r->s->store, r->kind->resource, r->ns, r->name);
	if (o)
		respond_scale(r, 200, o);
	else
		fl_respond_not_found(r);
}

// --- binding ---

static void respond_created(struct fl_request *r, int code, struct fl_object *o)
{
	struct fl_json *st = fl_json_new(r->a, FL_JSON_OBJECT);
	fl_json_set_str(r->a, st, "kind", "Status");
	fl_json_set_str(r->a, st, "apiVersion", "v1");
	fl_json_set_object(r->a, st, "metadata");
	fl_json_set_str(r->a, st, "status", "Success");
	fl_json_set_int(r->a, st, "code", 201);
	fl_respond_tree(r, 201, st);
}

static void set_condition(struct fl_arena *a, struct fl_json *obj, const char *type, const char *value)
{
	struct fl_json *status = fl_json_ensure_object(a, obj, "status"), *list = fl_json_get(status, "conditions"),
		       *found = NULL;
	if (!fl_json_is(list, FL_JSON_ARRAY))
		list = fl_json_set_array(a, status, "conditions");
	fl_json_each (c, list)
		if (fl_streq(fl_json_str(c, "type"), type))
			found = c;
	if (!found) {
		found = fl_json_append(list, fl_json_new(a, FL_JSON_OBJECT));
		fl_json_set_str(a, found, "type", type);
	}
	char now[FL_TIME_STRLEN];
	fl_json_set_str(a, found, "status", value);
	fl_json_set_str(a, found, "lastTransitionTime", fl_time_now(now));
	fl_json_remove(found, "reason");
	fl_json_remove(found, "message");
}

void fl_subresource_binding(struct fl_request *r)
{
	struct fl_json *body = NULL;
	bool dry_run;
	if (strcmp(r->verb, "create") != 0) {
		fl_respond_method_not_allowed(r);
		return;
	}
	if (!fl_write_dry_run(r, "CreateOptions", &dry_run) || !fl_body_any(r, &body))
		return;
	const char *node = fl_json_str(fl_json_get(body, "target"), "name");
	struct fl_change c = {.s = r->s,
			      .a = r->a,
			      .kind = r->kind,
			      .ns = r->ns,
			      .name = r->name,
			      .subresource = "binding",
			      .dry_run = dry_run,
			      .causes = {.arena = r->a}};
	if (!fl_change_load(&c)) {
		fl_respond_status(r, &c.status);
		return;
	}
	const char *bound = fl_json_str(fl_json_get(c.old_tree, "spec"), "nodeName");
	if (fl_str_empty(node) || !fl_str_empty(bound) ||
	    fl_json_str(fl_json_get(c.old_tree, "metadata"), "deletionTimestamp")) {
		const char *why =
		    fl_str_empty(node) ? "target.name: Required value"
		    : !fl_str_empty(bound)
			? fl_arena_printf(r->a, "pod %s is already assigned to node \"%s\"", r->name, bound)
			: fl_arena_printf(r->a, "pod %s is being deleted, cannot be assigned to a host", r->name);
		struct fl_status st = {
		    .code = fl_str_empty(node) ? 422 : 409,
		    .reason = fl_str_empty(node) ? "Invalid" : "Conflict",
		    .message =
			fl_arena_printf(r->a, "Operation cannot be fulfilled on pods/binding \"%s\": %s", r->name, why),
		    .kind = "pods/binding",
		    .name = r->name};
		fl_respond_status(r, &st);
		fl_change_deinit(&c);
		return;
	}
	struct fl_json *obj = fl_json_clone(r->a, c.old_tree);
	fl_json_set_str(r->a, fl_json_ensure_object(r->a, obj, "spec"), "nodeName", node);
	set_condition(r->a, obj, "PodScheduled", "True");
	if (!fl_change_update(&c, obj)) {
		fl_respond_status(r, &c.status);
		fl_change_deinit(&c);
		return;
	}
	fl_write_finish(r, &c, FL_STORE_UPDATE, 201, respond_created);
}

// --- finalize ---

void fl_subresource_finalize(struct fl_request *r)
{
	struct fl_json *body;
	bool dry_run;
	if (strcmp(r->verb, "update") != 0 || strcmp(r->kind->resource, "namespaces") != 0) {
		fl_respond_method_not_allowed(r);
		return;
	}
	if (!fl_write_dry_run(r, "UpdateOptions", &dry_run) || !fl_body_object(r, r->kind, &body))
		return;
	struct fl_change c = {.s = r->s,
			      .a = r->a,
			      .kind = r->kind,
			      .ns = "",
			      .name = r->name,
			      .subresource = "finalize",
			      .dry_run = dry_run,
			      .causes = {.arena = r->a}};
	if (!fl_change_load(&c)) {
		fl_respond_status(r, &c.status);
		return;
	}
	struct fl_json *obj = fl_json_clone(r->a, c.old_tree);
	fl_json_set(r->a, fl_json_ensure_object(r->a, obj, "spec"), "finalizers",
		    fl_json_clone(r->a, fl_json_path(body, "spec", "finalizers", NULL)));
	fl_json_set_str(r->a, fl_json_get(obj, "metadata"), "resourceVersion",
			fl_json_str(fl_json_get(body, "metadata"), "resourceVersion"));
	if (!fl_change_update(&c, obj)) {
		fl_respond_status(r, &c.status);
		fl_change_deinit(&c);
		return;
	}
	bool gone = fl_change_is_released(c.kind, c.obj);
	fl_write_finish(r, &c, gone ? FL_STORE_DELETE : FL_STORE_UPDATE, 200, NULL);
}
