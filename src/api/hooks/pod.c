// SPDX-License-Identifier: Apache-2.0
// Pods: what a new one gets (also what Kubernetes' admission plugins DefaultTolerationSeconds and Priority add),
// field selectors. What an update may change is in pod_update.c, the row of `kubectl get pods` in pod_table.c, the
// spec's rules in pod_spec.c.
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

// On the host's network a port is the host's. In a template it stays open, as in Kubernetes since 1.28: the pods made
// of it get theirs here.
static void default_host_ports(struct fl_arena *a, struct fl_json *containers)
{
	fl_json_each (ct, containers)
		fl_json_each (p, fl_json_get(ct, "ports"))
			if (!fl_json_int(p, "hostPort", 0) && fl_json_get(p, "containerPort"))
				fl_json_set_int(a, p, "hostPort", fl_json_int(p, "containerPort", 0));
}

static void set_defaults(struct fl_arena *a, struct fl_json *obj)
{
	struct fl_json *spec = fl_json_ensure_object(a, obj, "spec");

	fl_pod_spec_set_defaults(a, spec);
	if (fl_json_bool(spec, "hostNetwork", false)) {
		default_host_ports(a, fl_json_get(spec, "containers"));
		default_host_ports(a, fl_json_get(spec, "initContainers"));
	}
	default_requests(a, fl_json_get(spec, "containers"));
	default_requests(a, fl_json_get(spec, "initContainers"));
	if (!fl_json_get(spec, "enableServiceLinks"))
		fl_json_set_bool(a, spec, "enableServiceLinks", true);
}

// Nobody schedules a pod with gates, so nobody else would say why it waits. (k8s: applySchedulingGatedCondition)
static void tell_gated(struct fl_arena *a, struct fl_json *status, const char *created)
{
	struct fl_json *cond =
	    fl_json_append(fl_json_set_array(a, status, "conditions"), fl_json_new(a, FL_JSON_OBJECT));

	fl_json_set_str(a, cond, "type", "PodScheduled");
	fl_json_set_str(a, cond, "status", "False");
	fl_json_set_str(a, cond, "lastTransitionTime", created);
	fl_json_set_str(a, cond, "reason", "SchedulingGated");
	fl_json_set_str(a, cond, "message", "Scheduling is blocked due to non-empty scheduling gates");
}

static void prepare(struct fl_arena *a, struct fl_json *obj, const struct fl_json *old, const char *subresource)
{
	struct fl_json *spec = fl_json_ensure_object(a, obj, "spec"), *status;
	struct fl_json *meta = fl_json_ensure_object(a, obj, "metadata");

	status = fl_json_ensure_object(a, obj, "status");
	if (fl_streq(subresource, "status")) // podStatusStrategy: old kubelets break them
		fl_json_set(a, meta, "ownerReferences",
			    fl_json_clone(a, fl_json_path(old, "metadata", "ownerReferences", NULL)));
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
		if (fl_json_count(fl_json_get(spec, "schedulingGates")))
			tell_gated(a, status, fl_json_str(meta, "creationTimestamp"));
	}
}

static void validate(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *old, const char *subresource)
{
	const struct fl_json *spec = fl_json_get(obj, "spec"), *old_spec = fl_json_get(old, "spec");

	if (fl_streq(subresource, "status"))
		return;
	fl_pod_spec_validate(c, "spec", spec);
	if (!old && fl_json_count(fl_json_get(spec, "ephemeralContainers")))
		fl_cause_add(c, FL_CAUSE_FORBIDDEN, "spec.ephemeralContainers", NULL, "cannot be set on create");
	if (!old && fl_json_count(fl_json_get(spec, "schedulingGates")) && !fl_str_empty(fl_json_str(spec, "nodeName")))
		fl_cause_add(c, FL_CAUSE_FORBIDDEN, "spec.nodeName", NULL,
			     "cannot be set until all schedulingGates have been cleared");
	// The scheduler's binding is the one way to change nodeName, and comes as a subresource.
	if (old_spec && fl_str_empty(subresource))
		fl_pod_validate_update(c, spec, old_spec);
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
