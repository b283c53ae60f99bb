// SPDX-License-Identifier: Apache-2.0
// Pods: what a new one gets (also what Kubernetes' admission plugins DefaultTolerationSeconds and Priority add), what
// an update may change, field selectors. The row of `kubectl get pods` is in pod_table.c, the spec's rules in
// pod_spec.c.
#include "api/hooks/pod.h"

#include "api/hooks/hooks.h"
#include "api/hooks/pod_spec.h"
#include "api/hooks/warnings.h"
#include "api/priority.h"
#include "api/validate.h"
#include "base/mem.h"
#include "base/str.h"

enum { TOLERATION_S = 300 };

// What is limited is requested, unless the pod says otherwise.
static void default_requests(struct fl_arena *a, struct fl_json *containers)
{
	fl_json_each (ct, containers) {
		struct fl_json *resources = fl_json_get(ct, "resources");
		const struct fl_json *limits = fl_json_get(resources, "limits");
		struct fl_json *requests;

		if (!fl_json_count(limits))
			continue;
		requests = fl_json_ensure_object(a, resources, "requests");
		fl_json_each (l, limits)
			if (!fl_json_get(requests, l->key))
				fl_json_set(a, requests, l->key, fl_json_clone(a, l));
	}
}

static bool tolerates(const struct fl_json *tolerations, const char *key)
{
	fl_json_each (t, tolerations) {
		const char *own = fl_json_str_or(t, "key", ""), *effect = fl_json_str_or(t, "effect", "");

		if ((!*own || fl_streq(own, key)) && (!*effect || fl_streq(effect, "NoExecute")))
			return true;
	}
	return false;
}

static void default_tolerations(struct fl_arena *a, struct fl_json *spec)
{
	static const char *const keys[] = {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"};
	struct fl_json *tolerations = fl_json_get(spec, "tolerations");

	for (size_t i = 0; i < FL_COUNT(keys); i++) {
		struct fl_json *t;

		if (tolerates(tolerations, keys[i]))
			continue;
		if (!tolerations)
			tolerations = fl_json_set_array(a, spec, "tolerations");
		t = fl_json_append(tolerations, fl_json_new(a, FL_JSON_OBJECT));
		fl_json_set_str(a, t, "key", keys[i]);
		fl_json_set_str(a, t, "operator", "Exists");
		fl_json_set_str(a, t, "effect", "NoExecute");
		fl_json_set_int(a, t, "tolerationSeconds", TOLERATION_S);
	}
}

static void default_priority(struct fl_arena *a, struct fl_json *spec)
{
	int64_t priority = 0;

	if (!fl_pod_priority(fl_json_str_or(spec, "priorityClassName", ""), &priority))
		priority = 0; // of a Pod that was admitted before classes were looked at
	if (!fl_json_get(spec, "priority"))
		fl_json_set_int(a, spec, "priority", priority);
	if (!fl_json_get(spec, "preemptionPolicy"))
		fl_json_set_str(a, spec, "preemptionPolicy", "PreemptLowerPriority");
}

static void set_defaults(struct fl_arena *a, struct fl_json *obj)
{
	struct fl_json *spec = fl_json_ensure_object(a, obj, "spec");

	fl_pod_spec_set_defaults(a, spec);
	default_requests(a, fl_json_get(spec, "containers"));
	default_requests(a, fl_json_get(spec, "initContainers"));
	if (!fl_json_get(spec, "enableServiceLinks"))
		fl_json_set_bool(a, spec, "enableServiceLinks", true);
}

static void prepare(struct fl_arena *a, struct fl_json *obj, const struct fl_json *old, const char *subresource)
{
	struct fl_json *spec = fl_json_ensure_object(a, obj, "spec"), *status;

	status = fl_json_ensure_object(a, obj, "status");
	if (!fl_json_get(status, "qosClass"))
		fl_json_set_str(a, status, "qosClass", fl_pod_qos(spec));
	if (*subresource)
		return;
	default_tolerations(a, spec);
	if (old)
		fl_json_set(a, spec, "priority", fl_json_clone(a, fl_json_path(old, "spec", "priority", NULL)));
	default_priority(a, spec);
	if (!old) {
		fl_json_set_str(a, status, "phase", "Pending");
		fl_json_set_str(a, status, "qosClass", fl_pod_qos(spec));
	}
}

// --- update ---

#define MAY_CHANGE                                                                                                     \
	"pod updates may not change fields other than "                                                                \
	"`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` "   \
	"(only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if "   \
	"it was previously negative)"

static void take_images(struct fl_arena *a, struct fl_json *list, const struct fl_json *old)
{
	size_t i = 0;

	fl_json_each (ct, list)
		fl_json_set(a, ct, "image", fl_json_clone(a, fl_json_get(fl_json_index(old, i++), "image")));
}

static bool keeps_tolerations(const struct fl_json *now, const struct fl_json *old)
{
	fl_json_each (o, old) {
		bool found = false;

		fl_json_each (n, now)
			found = found || fl_json_equal(n, o);
		if (!found)
			return false;
	}
	return true;
}

// The new spec with all that may change put back: what differs from the old one then was not allowed.
static struct fl_json *without_allowed_changes(struct fl_arena *a, const struct fl_json *spec,
					       const struct fl_json *old)
{
	struct fl_json *s = fl_json_clone(a, spec);
	int64_t grace = fl_json_int(old, "terminationGracePeriodSeconds", 0);

	take_images(a, fl_json_get(s, "containers"), fl_json_get(old, "containers"));
	take_images(a, fl_json_get(s, "initContainers"), fl_json_get(old, "initContainers"));
	fl_json_set(a, s, "activeDeadlineSeconds", fl_json_clone(a, fl_json_get(old, "activeDeadlineSeconds")));
	if (keeps_tolerations(fl_json_get(s, "tolerations"), fl_json_get(old, "tolerations")))
		fl_json_set(a, s, "tolerations", fl_json_clone(a, fl_json_get(old, "tolerations")));
	if (grace < 0 && fl_json_int(s, "terminationGracePeriodSeconds", 0) == 1)
		fl_json_set_int(a, s, "terminationGracePeriodSeconds", grace);
	return s;
}

static void list_differences(struct fl_buf *b, const struct fl_json *now, const struct fl_json *old)
{
	fl_json_each (m, now) {
		const struct fl_json *o = fl_json_get(old, m->key);

		if (!o || !fl_json_equal(m, o))
			fl_buf_printf(b, "%sspec.%s", b->len ? ", " : "", m->key);
	}
	fl_json_each (m, old)
		if (!fl_json_get(now, m->key))
			fl_buf_printf(b, "%sspec.%s", b->len ? ", " : "", m->key);
}

static void validate_deadline(struct fl_causes *c, const struct fl_json *spec, const struct fl_json *old)
{
	static const char *const field = "spec.activeDeadlineSeconds";
	const struct fl_json *now = fl_json_get(spec, "activeDeadlineSeconds");
	const struct fl_json *was = fl_json_get(old, "activeDeadlineSeconds");

	if (was && !now)
		fl_cause_add(c, FL_CAUSE_INVALID, field, fl_json_new(c->arena, FL_JSON_NULL),
			     "must not update from a positive integer to nil value");
	else if (was && now->i > was->i)
		fl_cause_add(c, FL_CAUSE_INVALID, field, now, "must be less than or equal to previous value");
}

static void validate_update(struct fl_causes *c, const struct fl_json *spec, const struct fl_json *old)
{
	static const char *const lists[] = {"containers", "initContainers"};
	AUTO(fl_buf_deinit) struct fl_buf changed = {0};
	struct fl_json *masked;

	for (size_t i = 0; i < FL_COUNT(lists); i++) {
		if (fl_json_count(fl_json_get(spec, lists[i])) == fl_json_count(fl_json_get(old, lists[i])))
			continue;
		fl_cause_add(c, FL_CAUSE_FORBIDDEN, fl_arena_printf(c->arena, "spec.%s", lists[i]), NULL,
			     "pod updates may not add or remove containers");
		return;
	}
	validate_deadline(c, spec, old);
	masked = without_allowed_changes(c->arena, spec, old);
	if (fl_json_equal(masked, old))
		return;
	list_differences(&changed, masked, old);
	fl_cause_add(c, FL_CAUSE_FORBIDDEN, "spec", NULL, MAY_CHANGE "\nchanged: %s", changed.data ? changed.data : "");
}

static void validate(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *old, const char *subresource)
{
	const struct fl_json *spec = fl_json_get(obj, "spec"), *old_spec = fl_json_get(old, "spec");

	if (fl_streq(subresource, "status"))
		return;
	fl_pod_spec_validate(c, "spec", spec);
	if (!old && fl_json_count(fl_json_get(spec, "ephemeralContainers")))
		fl_cause_add(c, FL_CAUSE_FORBIDDEN, "spec.ephemeralContainers", NULL, "cannot be set on create");
	// The scheduler's binding is the one way to change nodeName, and comes as a subresource.
	if (old_spec && fl_str_empty(subresource))
		validate_update(c, spec, old_spec);
}

static const char *field(struct fl_arena *a, const struct fl_json *obj, const char *path)
{
	static const char *const in_spec[] = {"nodeName", "restartPolicy", "schedulerName", "serviceAccountName"};
	static const char *const in_status[] = {"phase", "podIP", "nominatedNodeName"};
	const struct fl_json *spec = fl_json_get(obj, "spec"), *status = fl_json_get(obj, "status");

	if (fl_streq(path, "spec.hostNetwork"))
		return fl_json_bool(spec, "hostNetwork", false) ? "true" : "false";
	if (fl_starts_with(path, "spec."))
		for (size_t i = 0; i < FL_COUNT(in_spec); i++)
			if (fl_streq(path + 5, in_spec[i]))
				return fl_json_str_or(spec, in_spec[i], "");
	if (fl_starts_with(path, "status."))
		for (size_t i = 0; i < FL_COUNT(in_status); i++)
			if (fl_streq(path + 7, in_status[i]))
				return fl_json_str_or(status, in_status[i], "");
	return NULL;
}

const struct fl_kind_hooks fl_hooks_pod = {
    .name = "pod",
    .set_defaults = set_defaults,
    .prepare = prepare,
    .validate = validate,
    .table_row = fl_pod_table_row,
    .field = field,
    .warn = fl_pod_warn,
};
