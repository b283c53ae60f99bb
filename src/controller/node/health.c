// SPDX-License-Identifier: Apache-2.0
#include "controller/node/health.h"

#include "base/clock.h"
#include "controller/meta.h"
#include "controller/scheduler/fit.h"

static const char *const watched[] = {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"};

static bool is_watched(const char *type)
{
	for (size_t i = 0; i < sizeof(watched) / sizeof(*watched); i++)
		if (fl_streq(type, watched[i]))
			return true;
	return false;
}

static struct fl_json *unknown(struct fl_arena *a, const struct fl_json *had, const char *type, const char *now)
{
	struct fl_json *c = had ? fl_json_clone(a, had) : fl_json_new(a, FL_JSON_OBJECT);
	fl_json_set_str(a, c, "type", type);
	fl_json_set_str(a, c, "status", "Unknown");
	fl_json_set_str(a, c, "lastTransitionTime", now);
	fl_json_set_str(a, c, "reason", had ? "NodeStatusUnknown" : "NodeStatusNeverUpdated");
	fl_json_set_str(a, c, "message",
			had ? "Kubelet stopped posting node status." : "Kubelet never posted node status.");
	return c;
}

static struct fl_json *guarded(struct fl_arena *a, const struct fl_json *node)
{
	const struct fl_json *meta = fl_json_get(node, "metadata");
	struct fl_json *patch = fl_json_new(a, FL_JSON_OBJECT), *pm = fl_json_set_object(a, patch, "metadata");
	fl_json_set_str(a, pm, "uid", fl_json_str_or(meta, "uid", ""));
	fl_json_set_str(a, pm, "resourceVersion", fl_json_str_or(meta, "resourceVersion", ""));
	return patch;
}

struct fl_json *fl_health_unknown_patch(struct fl_arena *a, const struct fl_json *node, int64_t now_ns)
{
	char time[FL_TIME_STRLEN];
	const char *now = fl_time_format(now_ns, time);
	const struct fl_json *status = fl_json_get(node, "status");
	struct fl_json *patch = guarded(a, node),
		       *conditions = fl_json_set_array(a, fl_json_set_object(a, patch, "status"), "conditions");
	bool changed = false;
	fl_json_each (c, fl_json_get(status, "conditions")) {
		const char *type = fl_json_str_or(c, "type", "");
		bool stays = !is_watched(type) || fl_streq(fl_json_str(c, "status"), "Unknown");
		fl_json_append(conditions, stays ? fl_json_clone(a, c) : unknown(a, c, type, now));
		changed |= !stays;
	}
	for (size_t i = 0; i < sizeof(watched) / sizeof(*watched); i++)
		if (!fl_meta_condition(status, watched[i])) {
			fl_json_append(conditions, unknown(a, NULL, watched[i], now));
			changed = true;
		}
	return changed ? patch : NULL;
}

static const char *ready_status(const struct fl_json *node)
{
	return fl_json_str_or(fl_meta_condition(fl_json_get(node, "status"), "Ready"), "status", "Unknown");
}

bool fl_health_is_silent(const struct fl_json *node)
{
	return !strcmp(ready_status(node), "Unknown");
}

// (k8s: nodeConditionToTaintKeyStatusMap)
static const struct {
	const char *key, *condition, *status;
	bool evicts; // NoExecute as well as NoSchedule
} told_by[] = {
    {"node.kubernetes.io/not-ready", "Ready", "False", true},
    {"node.kubernetes.io/unreachable", "Ready", "Unknown", true},
    {"node.kubernetes.io/memory-pressure", "MemoryPressure", "True", false},
    {"node.kubernetes.io/disk-pressure", "DiskPressure", "True", false},
    {"node.kubernetes.io/pid-pressure", "PIDPressure", "True", false},
    {"node.kubernetes.io/network-unavailable", "NetworkUnavailable", "True", false},
    {"node.kubernetes.io/unschedulable", NULL, NULL, false}, // by spec.unschedulable
};

static bool is_told(const struct fl_json *node, size_t i)
{
	if (!told_by[i].condition)
		return fl_json_bool(fl_json_get(node, "spec"), "unschedulable", false);
	if (!strcmp(told_by[i].condition, "Ready"))
		return !strcmp(told_by[i].status, ready_status(node));
	return fl_streq(fl_json_str(fl_meta_condition(fl_json_get(node, "status"), told_by[i].condition), "status"),
			told_by[i].status);
}

// A taint that the node's state speaks of, and does not ask for.
static bool is_untrue(const struct fl_json *node, const struct fl_json *taint)
{
	const char *effect = fl_json_str_or(taint, "effect", "");
	for (size_t i = 0; i < FL_COUNT(told_by); i++)
		if (fl_streq(fl_json_str(taint, "key"), told_by[i].key) &&
		    (!strcmp(effect, "NoSchedule") || (told_by[i].evicts && !strcmp(effect, "NoExecute"))))
			return !is_told(node, i);
	return false;
}

static bool has_taint(const struct fl_json *taints, const char *key, const char *effect)
{
	fl_json_each (t, taints)
		if (fl_streq(fl_json_str(t, "key"), key) && fl_streq(fl_json_str(t, "effect"), effect))
			return true;
	return false;
}

static bool want_taint(struct fl_arena *a, struct fl_json *taints, const char *key, const char *effect, const char *now)
{
	if (has_taint(taints, key, effect))
		return false;
	struct fl_json *t = fl_json_append(taints, fl_json_new(a, FL_JSON_OBJECT));
	fl_json_set_str(a, t, "key", key);
	fl_json_set_str(a, t, "effect", effect);
	fl_json_set_str(a, t, "timeAdded", now);
	return true;
}

struct fl_json *fl_health_taints_patch(struct fl_arena *a, const struct fl_json *node, int64_t now_ns)
{
	char time[FL_TIME_STRLEN];
	const char *now = fl_time_format(now_ns, time);
	struct fl_json *patch = guarded(a, node);
	struct fl_json *taints = fl_json_set_array(a, fl_json_set_object(a, patch, "spec"), "taints");
	bool changed = false;
	fl_json_each (t, fl_json_path(node, "spec", "taints", NULL)) {
		if (is_untrue(node, t)) {
			changed = true;
			continue;
		}
		struct fl_json *kept = fl_json_append(taints, fl_json_clone(a, t));
		if (fl_streq(fl_json_str(t, "effect"), "NoExecute") && !fl_meta_time_ns(fl_json_str(t, "timeAdded"))) {
			fl_json_set_str(a, kept, "timeAdded", now);
			changed = true;
		}
	}
	for (size_t i = 0; i < FL_COUNT(told_by); i++)
		if (is_told(node, i)) {
			changed |= want_taint(a, taints, told_by[i].key, "NoSchedule", now);
			changed |= told_by[i].evicts && want_taint(a, taints, told_by[i].key, "NoExecute", now);
		}
	return changed ? patch : NULL;
}

struct fl_json *fl_health_pod_unready_patch(struct fl_arena *a, const struct fl_podview *p, int64_t now_ns)
{
	char time[FL_TIME_STRLEN];
	if (!p->ready)
		return NULL;
	struct fl_json *patch = fl_json_new(a, FL_JSON_OBJECT);
	struct fl_json *list = fl_json_set_array(a, fl_json_set_object(a, patch, "status"), "conditions");
	struct fl_json *c = fl_json_append(list, fl_json_new(a, FL_JSON_OBJECT));
	fl_json_set_str(a, c, "type", "Ready");
	fl_json_set_str(a, c, "status", "False");
	fl_json_set_str(a, c, "lastTransitionTime", fl_time_format(now_ns, time));
	return patch;
}

// How long the pod tolerates one taint: -1 for ever, 0 not at all. Of several tolerations the first that covers it
// counts. (k8s: GetMatchingTolerations)
static int64_t tolerated_s(const struct fl_json *pod, const struct fl_json *taint)
{
	fl_json_each (t, fl_json_path(pod, "spec", "tolerations", NULL)) {
		if (!fl_fit_toleration_covers(t, fl_json_str_or(taint, "key", ""), fl_json_str_or(taint, "value", ""),
					      "NoExecute"))
			continue;
		if (!fl_json_is(fl_json_get(t, "tolerationSeconds"), FL_JSON_INT))
			return -1;
		int64_t s = fl_json_int(t, "tolerationSeconds", 0);
		return s > 0 ? s : 0;
	}
	return 0;
}

// Since when the pod is on its node.
static int64_t bound_ns(const struct fl_podview *p)
{
	const struct fl_json *c = fl_meta_condition(fl_json_get(p->tree, "status"), "PodScheduled");
	int64_t at =
	    fl_streq(fl_json_str(c, "status"), "True") ? fl_meta_time_ns(fl_json_str(c, "lastTransitionTime")) : 0;
	return at ? at : p->created_ns;
}

int64_t fl_health_evict_at(const struct fl_json *node, const struct fl_podview *p)
{
	int64_t first = -1;
	fl_json_each (t, fl_json_path(node, "spec", "taints", NULL)) {
		if (!fl_streq(fl_json_str(t, "effect"), "NoExecute"))
			continue;
		int64_t s = tolerated_s(p->tree, t), met = fl_meta_time_ns(fl_json_str(t, "timeAdded"));
		if (s == 0)
			return 0;
		if (s < 0 || !met)
			continue;
		if (bound_ns(p) > met)
			met = bound_ns(p);
		int64_t at = met + fl_clamp_seconds(s) * 1000000000;
		if (first < 0 || at < first)
			first = at;
	}
	return first;
}

bool fl_health_evicts(const struct fl_json *node)
{
	fl_json_each (t, fl_json_path(node, "spec", "taints", NULL))
		if (fl_streq(fl_json_str(t, "effect"), "NoExecute"))
			return true;
	return false;
}
