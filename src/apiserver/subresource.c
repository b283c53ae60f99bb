// SPDX-License-Identifier: Apache-2.0
#include "apiserver/subresource.h"

#include "api/selector.h"
#include "api/table.h"
#include "apiserver/apply.h"
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

// pkg/printers/internalversion printScale
static void scale_row(struct fl_arena *a, const struct fl_json *scale, int64_t now_ns, struct fl_json *cells)
{
	const struct fl_json *meta = fl_json_get(scale, "metadata");
	fl_json_append(cells, fl_json_new_str(a, fl_json_str_or(meta, "name", "")));
	fl_json_append(cells, fl_json_new_int(a, fl_json_int(fl_json_get(scale, "spec"), "replicas", 0)));
	fl_json_append(cells, fl_json_new_int(a, fl_json_int(fl_json_get(scale, "status"), "replicas", 0)));
	fl_json_append(cells, fl_json_new_str(a, fl_human_age(a, fl_json_str(meta, "creationTimestamp"), now_ns)));
}

static const struct fl_column scale_columns[] = {
    {"Name", "string", "name", "", 0},
    {"Desired", "integer", "", "", 0},
    {"Available", "integer", "", "", 0},
    {"Age", "string", "", "", 0},
};
static const struct fl_kind_hooks scale_hooks = {.name = "scale", .table_row = scale_row};
static const struct fl_kind scale_kind = {
    .kind = "Scale", .columns = scale_columns, .n_columns = FL_COUNT(scale_columns), .hooks = &scale_hooks};

static void respond_scale(struct fl_request *r, int code, struct fl_object *o)
{
	struct fl_json *scale = scale_of(r, fl_object_tree(o, r->a));
	if (r->form == FL_FORM_TABLE)
		scale = fl_table_of(r, &scale_kind, r->a, scale, true, fl_real_ns());
	else if (r->form == FL_FORM_PARTIAL)
		scale = fl_partial_metadata(r, r->a, scale);
	fl_respond_tree(r, code, scale);
}

// Parent object of r->kind's scale_spec_path, and the last member's name.
static struct fl_json *replicas_parent(struct fl_request *r, struct fl_json *obj, const char **ret_last)
{
	const char *path = r->kind->scale_spec_path, *dot = strrchr(path, '.');
	*ret_last = dot ? dot + 1 : path;
	return dot ? dotted(obj, fl_arena_strndup(r->a, path, (size_t)(dot - path))) : obj;
}

// The Scale that the client wants, from its patch or body. False: answered.
static bool wanted_scale(struct fl_request *r, struct fl_change *c, struct fl_json **ret)
{
	if (!strcmp(r->verb, "patch")) {
		const struct fl_schema *schema =
		    fl_registry_schema_by_kind(r->s->registry, "autoscaling/v1", "Scale", NULL);
		return fl_patch_apply(r, schema, schema != NULL, scale_of(r, c->old_tree), ret) &&
		       fl_body_decode_patched_type(r, "autoscaling/v1", "Scale", *ret);
	}
	if (!fl_body_type(r, "autoscaling/v1", "Scale", ret))
		return false;
	if (*ret)
		return true;
	fl_respond_error(r, 400, "BadRequest", "the object provided is empty (must be of type Scale)");
	return false;
}

static bool check_scale(struct fl_request *r, const struct fl_json *scale)
{
	const struct fl_json *replicas = fl_json_path(scale, "spec", "replicas", NULL),
			     *meta = fl_json_get(scale, "metadata");
	const char *name = fl_json_str_or(meta, "name", ""), *ns = fl_json_str_or(meta, "namespace", "");
	struct fl_causes causes = {.arena = r->a};
	if (strcmp(name, r->name) != 0) {
		fl_respond_error(r, 400, "BadRequest",
				 "the name of the object (%s) does not match the name on the URL (%s)", name, r->name);
		return false;
	}
	if (*ns && strcmp(ns, r->ns) != 0) {
		fl_respond_error(
		    r, 400, "BadRequest",
		    "the namespace of the provided object does not match the namespace sent on the request");
		return false;
	}
	if (!replicas || replicas->i >= 0)
		return true;
	fl_cause_add(&causes, FL_CAUSE_INVALID, "spec.replicas", replicas, "must be greater than or equal to 0");
	struct fl_status st = fl_status_invalid(r->a, "autoscaling", "Scale", r->name, &causes);
	fl_respond_status(r, &st);
	return false;
}

// The Scale's configuration says one thing of the object: its number. The scale's part of managedFields says so in the
// object's own words, as Kubernetes' scale handler keeps it. (managedfields/scalehandler.go)
static struct fl_json *configuration_of(struct fl_request *r, const struct fl_json *scale)
{
	struct fl_json *obj = fl_json_new(r->a, FL_JSON_OBJECT), *at = obj;
	const struct fl_json *replicas = fl_json_path(scale, "spec", "replicas", NULL);
	fl_json_set_str(r->a, obj, "apiVersion", r->kind->api_version);
	fl_json_set_str(r->a, obj, "kind", r->kind->kind);
	fl_json_set(r->a, obj, "metadata", fl_json_clone(r->a, fl_json_get(scale, "metadata")));
	char *path = fl_arena_strdup(r->a, r->kind->scale_spec_path);
	for (char *dot; replicas && (dot = strchr(path, '.')); path = dot + 1) {
		*dot = 0;
		at = fl_json_set_object(r->a, at, path);
	}
	if (replicas)
		fl_json_set_int(r->a, at, path, replicas->i);
	return obj;
}

static bool applied_scale(struct fl_request *r, struct fl_change *c, struct fl_json **ret)
{
	struct fl_json *scale;
	bool good = fl_apply_parse(r, &scale);
	if (good && !fl_streq(fl_json_str(scale, "apiVersion"), "autoscaling/v1")) {
		fl_respond_error(
		    r, 400, "BadRequest",
		    "Incorrect version specified in apply patch. Specified patch version: %s, expected: autoscaling/v1",
		    fl_json_str_or(scale, "apiVersion", ""));
		good = false;
	}
	if (!good || !fl_body_decode_type(r, "autoscaling/v1", "Scale", scale) || !check_scale(r, scale)) {
		fl_change_deinit(c);
		return false;
	}
	return fl_apply_configuration(r, c, configuration_of(r, scale), ret);
}

static bool rescaled(struct fl_request *r, struct fl_change *c, struct fl_json **ret)
{
	struct fl_json *scale;
	if (!wanted_scale(r, c, &scale) || !check_scale(r, scale)) {
		fl_change_deinit(c);
		return false;
	}
	struct fl_json *obj = fl_json_clone(r->a, c->old_tree);
	const char *last;
	struct fl_json *parent = replicas_parent(r, obj, &last);
	// Absent is zero, as Go's omitempty writes it.
	fl_json_set_int(r->a, parent, last, fl_json_int(fl_json_get(scale, "spec"), "replicas", 0));
	static const char *const preconditions[] = {"uid", "resourceVersion"};
	for (unsigned i = 0; i < FL_COUNT(preconditions); i++)
		fl_json_set_str(r->a, fl_json_get(obj, "metadata"), preconditions[i],
				fl_json_str(fl_json_get(scale, "metadata"), preconditions[i]));
	*ret = obj;
	return true;
}

static void scale_write(struct fl_request *r)
{
	bool dry_run, patch = !strcmp(r->verb, "patch"), apply = patch && fl_apply_is_asked(r);
	struct fl_json *obj;
	if (!fl_write_dry_run(r, patch ? "PatchOptions" : "UpdateOptions", &dry_run))
		return;
	struct fl_change c = fl_write_change(r, dry_run);
	if (!fl_change_load(&c)) {
		fl_write_refuse(r, &c);
		return;
	}
	if (!(apply ? applied_scale(r, &c, &obj) : rescaled(r, &c, &obj)))
		return;
	if (!fl_change_update(&c, obj))
		fl_write_refuse(r, &c);
	else
		fl_write_finish(r, &c, FL_STORE_UPDATE, 200, respond_scale);
}

void fl_subresource_scale(struct fl_request *r)
{
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

static bool binding_invalid(struct fl_request *r, struct fl_causes *causes)
{
	struct fl_status st = fl_status_invalid(r->a, "", "Binding", r->name, causes);
	fl_respond_status(r, &st);
	return false;
}

// registry/core/pod/storage BindingREST, validation.ValidatePodBinding. False: answered.
static bool check_binding(struct fl_request *r, const struct fl_json *binding)
{
	const struct fl_json *target = fl_json_get(binding, "target");
	const char *kind = fl_json_str_or(target, "kind", ""),
		   *name = fl_json_str_or(fl_json_get(binding, "metadata"), "name", "");
	struct fl_causes causes = {.arena = r->a};
	if (*name && strcmp(name, r->name) != 0) {
		fl_respond_error(r, 400, "BadRequest", "name in URL does not match name in Binding object");
		return false;
	}
	if (*kind && strcmp(kind, "Node") != 0)
		fl_cause_add(&causes, FL_CAUSE_NOT_SUPPORTED, "target.kind", fl_json_get(target, "kind"),
			     "supported values: \"Node\", \"<empty>\"");
	if (fl_str_empty(fl_json_str(target, "name")))
		fl_cause_add(&causes, FL_CAUSE_REQUIRED, "target.name", NULL, NULL);
	return !causes.n || binding_invalid(r, &causes);
}

// Why the pod cannot be bound; NULL when it can.
static const char *unbindable(struct fl_request *r, const struct fl_json *binding, const struct fl_json *pod)
{
	const struct fl_json *meta = fl_json_get(pod, "metadata"), *spec = fl_json_get(pod, "spec"),
			     *asked = fl_json_get(binding, "metadata");
	const char *node = fl_json_str(spec, "nodeName"), *uid = fl_json_str(asked, "uid"),
		   *rv = fl_json_str(asked, "resourceVersion");
	if (!fl_str_empty(uid) && !fl_streq(uid, fl_json_str(meta, "uid")))
		return fl_arena_printf(r->a, "Precondition failed: UID in precondition: %s, UID in object meta: %s",
				       uid, fl_json_str(meta, "uid"));
	if (!fl_str_empty(rv) && !fl_streq(rv, fl_json_str(meta, "resourceVersion")))
		return "the object has been modified; please apply your changes to the latest version and try again";
	if (fl_json_str(meta, "deletionTimestamp"))
		return fl_arena_printf(r->a, "pod %s is being deleted, cannot be assigned to a host", r->name);
	if (!fl_str_empty(node))
		return fl_arena_printf(r->a, "pod %s is already assigned to node \"%s\"", r->name, node);
	if (fl_json_count(fl_json_get(spec, "schedulingGates")))
		return fl_arena_printf(r->a, "pod %s has non-empty .spec.schedulingGates", r->name);
	return NULL;
}

void fl_subresource_binding(struct fl_request *r)
{
	struct fl_json *body = NULL;
	bool dry_run;
	if (strcmp(r->verb, "create") != 0) {
		fl_respond_method_not_allowed(r);
		return;
	}
	if (!fl_write_dry_run(r, "CreateOptions", &dry_run) || !fl_body_type(r, "v1", "Binding", &body) ||
	    !check_binding(r, body))
		return;
	struct fl_change c = fl_write_change(r, dry_run);
	if (!fl_change_load(&c)) {
		fl_write_refuse(r, &c);
		return;
	}
	const char *why = unbindable(r, body, c.old_tree);
	if (why) {
		c.status = (struct fl_status){
		    .code = 409,
		    .reason = "Conflict",
		    .message =
			fl_arena_printf(r->a, "Operation cannot be fulfilled on pods/binding \"%s\": %s", r->name, why),
		    .kind = "pods/binding",
		    .name = r->name};
		fl_write_refuse(r, &c);
		return;
	}
	struct fl_json *obj = fl_json_clone(r->a, c.old_tree),
		       *annotations = fl_json_path(body, "metadata", "annotations", NULL);
	fl_json_set_str(r->a, fl_json_ensure_object(r->a, obj, "spec"), "nodeName",
			fl_json_str(fl_json_get(body, "target"), "name"));
	fl_json_each (an, annotations)
		fl_json_set_str(r->a, fl_json_ensure_object(r->a, fl_json_get(obj, "metadata"), "annotations"), an->key,
				fl_json_string(an));
	if (!fl_change_update(&c, obj)) {
		fl_write_refuse(r, &c);
		return;
	}
	set_condition(r->a, c.obj, "PodScheduled", "True"); // an update keeps the status, so it comes after
	fl_write_finish(r, &c, FL_STORE_UPDATE, 201, fl_respond_success);
}

// --- exec, attach, portforward ---

// Streams into a container are not served. kubectl prints the message of the Status, so it says what to do instead.
void fl_subresource_stream(struct fl_request *r)
{
	AUTO(fl_object_put) struct fl_object *o = fl_store_get(r->s->store, r->kind->resource, r->ns, r->name);
	if (!o) {
		fl_respond_not_found(r);
		return;
	}
	const char *node = fl_json_str_or(fl_json_get(fl_object_tree(o, r->a), "spec"), "nodeName", "");
	if (fl_streq(r->subresource, "exec"))
		fl_respond_error(r, 404, "NotFound", "exec is not served; on %s: fairlead exec -n %s %s -- COMMAND",
				 *node ? fl_arena_printf(r->a, "node %s", node) : "the pod's node", r->ns, r->name);
	else
		fl_respond_error(r, 404, "NotFound", "%s is not served; %s", r->subresource,
				 fl_streq(r->subresource, "attach")
				     ? "what a container writes is in its log"
				     : "the pod's own address and its Services answer on every node");
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
	struct fl_change c = fl_write_change(r, dry_run);
	if (!fl_change_load(&c)) {
		fl_write_refuse(r, &c);
		return;
	}
	const struct fl_json *meta = fl_json_get(body, "metadata");
	struct fl_json *obj = fl_json_clone(r->a, c.old_tree), *obj_meta = fl_json_get(obj, "metadata");
	fl_json_set(r->a, fl_json_ensure_object(r->a, obj, "spec"), "finalizers",
		    fl_json_clone(r->a, fl_json_path(body, "spec", "finalizers", NULL)));
	fl_json_set_str(r->a, obj_meta, "resourceVersion", fl_json_str(meta, "resourceVersion"));
	fl_json_set_str(r->a, obj_meta, "name", fl_json_str_or(meta, "name", ""));
	if (!fl_change_update(&c, obj)) {
		fl_write_refuse(r, &c);
		return;
	}
	bool gone = !c.unchanged && fl_change_is_released(c.kind, c.obj);
	fl_write_finish(r, &c, gone ? FL_STORE_DELETE : FL_STORE_UPDATE, 200, NULL);
}
