// SPDX-License-Identifier: Apache-2.0
// The row of `kubectl get pods`. STATUS is the phase unless something says more: the pod's reason, the init container
// that everything waits for, the reason of a waiting or ended container, or deletion. (k8s: printPod)
#include "api/hooks/cells.h"
#include "api/hooks/pod.h"
#include "api/table.h"
#include "base/str.h"

struct summary {
	const char *reason;
	int64_t restarts, ready, total;
	const char *last_restart; // RFC 3339, or NULL
};

static const struct fl_json *by_name(const struct fl_json *list, const char *name)
{
	fl_json_each (e, list)
		if (fl_streq(fl_json_str(e, "name"), name))
			return e;
	return NULL;
}

static bool is_sidecar(const struct fl_json *container)
{
	return fl_streq(fl_json_str(container, "restartPolicy"), "Always");
}

static bool has_condition(const struct fl_json *obj, const char *type)
{
	fl_json_each (c, fl_json_path(obj, "status", "conditions", NULL))
		if (fl_streq(fl_json_str(c, "type"), type))
			return fl_streq(fl_json_str(c, "status"), "True");
	return false;
}

static void count_restarts(struct summary *s, const struct fl_json *st)
{
	const char *when = fl_json_str(fl_json_path(st, "lastState", "terminated", NULL), "finishedAt");

	s->restarts += fl_json_int(st, "restartCount", 0);
	// Equal length and zone, so text order is time order.
	if (when && (!s->last_restart || strcmp(when, s->last_restart) > 0))
		s->last_restart = when;
}

static const char *ended_reason(struct fl_arena *a, const char *prefix, const struct fl_json *terminated)
{
	const char *reason = fl_json_str_or(terminated, "reason", "");
	long long signal = fl_json_int(terminated, "signal", 0);

	if (*reason)
		return fl_arena_printf(a, "%s%s", prefix, reason);
	if (signal)
		return fl_arena_printf(a, "%sSignal:%lld", prefix, signal);
	return fl_arena_printf(a, "%sExitCode:%lld", prefix, (long long)fl_json_int(terminated, "exitCode", 0));
}

// True while an init container holds the pod up. `sidecars` counts what stays when all of them are done.
static bool look_at_init(struct fl_arena *a, const struct fl_json *obj, struct summary *s, struct summary *sidecars)
{
	const struct fl_json *init = fl_json_path(obj, "spec", "initContainers", NULL);
	size_t i = 0;

	fl_json_each (st, fl_json_path(obj, "status", "initContainerStatuses", NULL)) {
		const struct fl_json *state = fl_json_get(st, "state"), *ended = fl_json_get(state, "terminated");
		const char *waiting = fl_json_str_or(fl_json_get(state, "waiting"), "reason", "");
		bool sidecar = is_sidecar(by_name(init, fl_json_str(st, "name")));

		count_restarts(s, st);
		if (sidecar)
			count_restarts(sidecars, st);
		i++;
		if (ended && !fl_json_int(ended, "exitCode", 0))
			continue;
		if (sidecar && fl_json_bool(st, "started", false)) {
			s->ready += fl_json_bool(st, "ready", false);
			continue;
		}
		if (ended)
			s->reason = ended_reason(a, "Init:", ended);
		else if (*waiting && !fl_streq(waiting, "PodInitializing"))
			s->reason = fl_arena_printf(a, "Init:%s", waiting);
		else
			s->reason = fl_arena_printf(a, "Init:%zu/%zu", i - 1, fl_json_count(init));
		return true;
	}
	return false;
}

// The first container's state wins, so they are looked at from the last one on.
static void look_at_containers(struct fl_arena *a, const struct fl_json *obj, struct summary *s)
{
	const struct fl_json *list = fl_json_path(obj, "status", "containerStatuses", NULL);
	bool running = false;

	for (size_t i = fl_json_count(list); i-- > 0;) {
		const struct fl_json *st = fl_json_index(list, i), *state = fl_json_get(st, "state");
		const char *waiting = fl_json_str_or(fl_json_get(state, "waiting"), "reason", "");

		count_restarts(s, st);
		if (*waiting) {
			s->reason = waiting;
		} else if (fl_json_get(state, "terminated")) {
			s->reason = ended_reason(a, "", fl_json_get(state, "terminated"));
		} else if (fl_json_bool(st, "ready", false) && fl_json_get(state, "running")) {
			running = true;
			s->ready++;
		}
	}
	if (fl_streq(s->reason, "Completed") && running)
		s->reason = has_condition(obj, "Ready") ? "Running" : "NotReady";
}

static void summarize(struct fl_arena *a, const struct fl_json *obj, struct summary *s)
{
	const struct fl_json *spec = fl_json_get(obj, "spec"), *status = fl_json_get(obj, "status");
	const char *phase = fl_json_str_or(status, "phase", ""), *reason = fl_json_str_or(status, "reason", "");
	bool deleted = fl_json_str(fl_json_get(obj, "metadata"), "deletionTimestamp");
	struct summary sidecars = {0};
	bool initializing;

	s->reason = *reason ? reason : phase;
	s->total = (int64_t)fl_json_count(fl_json_get(spec, "containers"));
	fl_json_each (c, fl_json_get(status, "conditions"))
		if (fl_streq(fl_json_str(c, "type"), "PodScheduled") &&
		    fl_streq(fl_json_str(c, "reason"), "SchedulingGated"))
			s->reason = "SchedulingGated";
	fl_json_each (ct, fl_json_get(spec, "initContainers"))
		s->total += is_sidecar(ct);
	initializing = look_at_init(a, obj, s, &sidecars);
	if (!initializing || has_condition(obj, "Initialized")) {
		s->restarts = sidecars.restarts;
		s->last_restart = sidecars.last_restart;
		look_at_containers(a, obj, s);
	}
	if (deleted && fl_streq(reason, "NodeLost"))
		s->reason = "Unknown";
	else if (deleted && !fl_streq(phase, "Succeeded") && !fl_streq(phase, "Failed"))
		s->reason = "Terminating";
}

static const char *restarts_text(struct fl_arena *a, const struct summary *s, int64_t now_ns)
{
	if (s->restarts && s->last_restart)
		return fl_arena_printf(a, "%lld (%s ago)", (long long)s->restarts,
				       fl_human_age(a, s->last_restart, now_ns));
	return fl_arena_printf(a, "%lld", (long long)s->restarts);
}

static const char *gates_text(struct fl_arena *a, const struct fl_json *obj)
{
	const struct fl_json *gates = fl_json_path(obj, "spec", "readinessGates", NULL);
	size_t satisfied = 0;

	if (!fl_json_count(gates))
		return "<none>";
	fl_json_each (g, gates)
		satisfied += has_condition(obj, fl_json_str_or(g, "conditionType", ""));
	return fl_arena_printf(a, "%zu/%zu", satisfied, fl_json_count(gates));
}

static const char *or_none(const char *s)
{
	return fl_str_empty(s) ? "<none>" : s;
}

void fl_pod_table_row(struct fl_arena *a, const struct fl_json *obj, int64_t now_ns, struct fl_json *cells)
{
	const struct fl_json *status = fl_json_get(obj, "status");
	struct summary s = {0};

	summarize(a, obj, &s);
	fl_cell_name(a, cells, obj);
	fl_cell_string(a, cells, fl_arena_printf(a, "%lld/%lld", (long long)s.ready, (long long)s.total));
	fl_cell_string(a, cells, s.reason);
	fl_cell_string(a, cells, restarts_text(a, &s, now_ns));
	fl_cell_age(a, cells, obj, now_ns);
	fl_cell_string(a, cells, or_none(fl_json_str(fl_json_index(fl_json_get(status, "podIPs"), 0), "ip")));
	fl_cell_string(a, cells, or_none(fl_json_str(fl_json_get(obj, "spec"), "nodeName")));
	fl_cell_string(a, cells, or_none(fl_json_str(status, "nominatedNodeName")));
	fl_cell_string(a, cells, gates_text(a, obj));
}
