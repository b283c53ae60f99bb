// SPDX-License-Identifier: Apache-2.0
// Pod.status. See podstatus.h.
#include "node/podstatus.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

static const char *const condition_names[FL_POD_CONDITION_COUNT] = {
    [FL_POD_READY_TO_START] = "PodReadyToStartContainers",
    [FL_POD_INITIALIZED] = "Initialized",
    [FL_POD_READY] = "Ready",
    [FL_POD_CONTAINERS_READY] = "ContainersReady",
    [FL_POD_SCHEDULED] = "PodScheduled",
};

static bool succeeded(const struct fl_container_view *c)
{
	return c->now.kind == FL_CSTATE_TERMINATED && c->now.exit_code == 0;
}

// An init container that no longer holds back the others.
static bool init_done(const struct fl_container_spec *s, const struct fl_container_view *c)
{
	return s->sidecar ? c->started : succeeded(c);
}

static bool all_init_done(const struct fl_pod_view *v)
{
	for (unsigned i = 0; i < v->spec->n_init; i++) {
		if (!init_done(&v->spec->containers[i], &v->containers[i]))
			return false;
	}
	return true;
}

// Whether an init container ended for good without success.
static bool init_failed(const struct fl_pod_view *v)
{
	for (unsigned i = 0; i < v->spec->n_init; i++) {
		const struct fl_container_view *c = &v->containers[i];

		if (!v->spec->containers[i].sidecar && v->spec->restart == FL_RESTART_NEVER &&
		    c->now.kind == FL_CSTATE_TERMINATED && c->now.exit_code != 0)
			return true;
	}
	return false;
}

const char *fl_pod_phase(const struct fl_pod_view *v)
{
	unsigned waiting = 0, running = 0, stopped = 0, good = 0;

	if (v->reason)
		return "Failed";
	if (init_failed(v))
		return "Failed";
	for (unsigned i = v->spec->n_init; i < v->spec->n_containers; i++) {
		const struct fl_container_view *c = &v->containers[i];

		if (c->now.kind == FL_CSTATE_RUNNING) {
			running++;
		} else if (c->now.kind == FL_CSTATE_TERMINATED) {
			stopped++;
			good += c->now.exit_code == 0;
		} else if (c->has_last) { // waits to be started again
			stopped++;
			good += c->last.exit_code == 0;
		} else {
			waiting++;
		}
	}
	if (!v->ended && (!all_init_done(v) && !running && !stopped))
		return "Pending";
	if (waiting && !v->ended)
		return "Pending";
	if (running)
		return "Running";
	if (stopped) {
		if (v->ended)
			return good == stopped && !waiting ? "Succeeded" : "Failed";
		if (v->spec->restart == FL_RESTART_ALWAYS)
			return "Running";
		if (good == stopped)
			return "Succeeded";
		return v->spec->restart == FL_RESTART_NEVER ? "Failed" : "Running";
	}
	return v->ended ? "Failed" : "Pending";
}

static void set_time(struct fl_arena *a, struct fl_json *o, const char *key, int64_t ns)
{
	char text[FL_TIME_STRLEN];

	if (ns)
		fl_json_set_str(a, o, key, fl_time_format(ns, text));
	else
		fl_json_set(a, o, key, fl_json_new(a, FL_JSON_NULL));
}

static struct fl_json *state_json(struct fl_arena *a, const struct fl_cstate_view *s)
{
	struct fl_json *o = fl_json_new(a, FL_JSON_OBJECT), *in;

	switch (s->kind) {
	case FL_CSTATE_WAITING:
		in = fl_json_set_object(a, o, "waiting");
		fl_json_set_str(a, in, "reason", s->reason);
		if (!fl_str_empty(s->message))
			fl_json_set_str(a, in, "message", s->message);
		break;
	case FL_CSTATE_RUNNING:
		in = fl_json_set_object(a, o, "running");
		set_time(a, in, "startedAt", s->started_ns);
		break;
	case FL_CSTATE_TERMINATED:
		in = fl_json_set_object(a, o, "terminated");
		fl_json_set_int(a, in, "exitCode", s->exit_code);
		fl_json_set_str(a, in, "reason", s->reason);
		if (!fl_str_empty(s->message))
			fl_json_set_str(a, in, "message", s->message);
		set_time(a, in, "startedAt", s->started_ns);
		set_time(a, in, "finishedAt", s->finished_ns);
		if (s->container_id)
			fl_json_set_str(a, in, "containerID", s->container_id);
		break;
	}
	return o;
}

static struct fl_json *container_json(struct fl_arena *a, const struct fl_container_spec *s,
				      const struct fl_container_view *c)
{
	struct fl_json *o = fl_json_new(a, FL_JSON_OBJECT);
	const char *signal = fl_json_str(fl_json_get(s->json, "lifecycle"), "stopSignal");
	const char *id = c->now.container_id ? c->now.container_id : c->has_last ? c->last.container_id : NULL;

	if (id)
		fl_json_set_str(a, o, "containerID", id);
	fl_json_set_str(a, o, "image", c->image ? c->image : s->image);
	fl_json_set_str(a, o, "imageID", c->image_id ? c->image_id : "");
	fl_json_set(a, o, "lastState", c->has_last ? state_json(a, &c->last) : fl_json_new(a, FL_JSON_OBJECT));
	fl_json_set_str(a, o, "name", s->name);
	fl_json_set_bool(a, o, "ready", c->ready);
	fl_json_set_int(a, o, "restartCount", c->restarts);
	fl_json_set_bool(a, o, "started", c->started);
	fl_json_set(a, o, "state", state_json(a, &c->now));
	if (!fl_str_empty(signal))
		fl_json_set_str(a, o, "stopSignal", signal);
	return o;
}

struct verdict {
	bool value;
	const char *reason, *message;
};

static const struct fl_json *old_condition(const struct fl_pod_view *v, const char *type)
{
	fl_json_each (c, fl_json_get(v->old_status, "conditions")) {
		if (fl_streq(fl_json_str(c, "type"), type))
			return c;
	}
	return NULL;
}

static const char *names_of(struct fl_arena *a, const struct fl_pod_view *v, bool init)
{
	const char *list = "";
	unsigned from = init ? 0 : v->spec->n_init, to = init ? v->spec->n_init : v->spec->n_containers;

	for (unsigned i = from; i < to; i++) {
		const struct fl_container_view *c = &v->containers[i];

		if (init ? init_done(&v->spec->containers[i], c) : c->ready)
			continue;
		list = fl_arena_printf(a, "%s%s%s", list, *list ? " " : "", v->spec->containers[i].name);
	}
	return list;
}

static struct verdict containers_ready(struct fl_arena *a, const struct fl_pod_view *v, const char *phase)
{
	const char *list = names_of(a, v, false);

	if (strcmp(phase, "Succeeded") == 0)
		return (struct verdict){false, "PodCompleted", NULL};
	if (strcmp(phase, "Failed") == 0)
		return (struct verdict){false, "PodFailed", NULL};
	for (unsigned i = 0; i < v->spec->n_init; i++) {
		if (v->spec->containers[i].sidecar && !v->containers[i].ready)
			list = fl_arena_printf(a, "%s%s%s", v->spec->containers[i].name, *list ? " " : "", list);
	}
	if (*list)
		return (struct verdict){false, "ContainersNotReady",
					fl_arena_printf(a, "containers with unready status: [%s]", list)};
	return (struct verdict){true, NULL, NULL};
}

// Ready = containers ready and every readiness gate's condition true.
static struct verdict pod_ready(struct fl_arena *a, const struct fl_pod_view *v, struct verdict ready)
{
	const char *missing = "";

	if (!ready.value)
		return ready;
	fl_json_each (g, fl_json_get(v->spec->spec, "readinessGates")) {
		const char *type = fl_json_str_or(g, "conditionType", "");
		const struct fl_json *c = old_condition(v, type);

		if (fl_streq(fl_json_str(c, "status"), "True"))
			continue;
		missing = fl_arena_printf(
		    a, "%s%s%s \"%s\"", missing, *missing ? ", " : "",
		    c ? "the status of pod readiness gate" : "corresponding condition of pod readiness gate", type);
	}
	if (*missing)
		return (struct verdict){false, "ReadinessGatesNotReady", missing};
	return ready;
}

static void verdicts(struct fl_arena *a, const struct fl_pod_view *v, const char *phase,
		     struct verdict ret[FL_POD_CONDITION_COUNT])
{
	bool initialized = all_init_done(v);

	ret[FL_POD_READY_TO_START] = (struct verdict){.value = v->network_ready};
	ret[FL_POD_SCHEDULED] = (struct verdict){.value = true};
	ret[FL_POD_INITIALIZED] = (struct verdict){.value = initialized};
	if (strcmp(phase, "Succeeded") == 0)
		ret[FL_POD_INITIALIZED] = (struct verdict){true, "PodCompleted", NULL};
	else if (!initialized)
		ret[FL_POD_INITIALIZED] = (struct verdict){
		    false, "ContainersNotInitialized",
		    fl_arena_printf(a, "containers with incomplete status: [%s]", names_of(a, v, true))};
	ret[FL_POD_CONTAINERS_READY] = containers_ready(a, v, phase);
	ret[FL_POD_READY] = pod_ready(a, v, ret[FL_POD_CONTAINERS_READY]);
}

static void take_over(const struct fl_pod_view *v, struct fl_pod_transitions *t)
{
	for (int i = 0; i < FL_POD_CONDITION_COUNT; i++) {
		const struct fl_json *old = old_condition(v, condition_names[i]);
		const char *since = fl_json_str(old, "lastTransitionTime");

		if (t->value[i] || !old || !since || !fl_time_parse(since, &t->since_ns[i]))
			continue;
		t->value[i] = fl_streq(fl_json_str(old, "status"), "True") ? 1 : -1;
	}
}

static void add_conditions(struct fl_arena *a, const struct fl_pod_view *v, const char *phase,
			   struct fl_pod_transitions *t, struct fl_json *status)
{
	struct fl_json *list = fl_json_set_array(a, status, "conditions");
	const struct fl_json *generation = fl_json_get(v->spec->meta, "generation");
	struct verdict now[FL_POD_CONDITION_COUNT];

	take_over(v, t);
	verdicts(a, v, phase, now);
	fl_json_each (old, fl_json_get(v->old_status, "conditions")) {
		bool ours = false;

		for (int i = 0; i < FL_POD_CONDITION_COUNT; i++)
			ours = ours || fl_streq(fl_json_str(old, "type"), condition_names[i]);
		if (!ours)
			fl_json_append(list, fl_json_clone(a, old));
	}
	for (int i = 0; i < FL_POD_CONDITION_COUNT; i++) {
		signed char value = now[i].value ? 1 : -1;
		struct fl_json *c = fl_json_append(list, fl_json_new(a, FL_JSON_OBJECT));

		if (t->value[i] != value) {
			t->value[i] = value;
			t->since_ns[i] = v->now_ns;
		}
		fl_json_set_str(a, c, "type", condition_names[i]);
		fl_json_set_str(a, c, "status", now[i].value ? "True" : "False");
		fl_json_set(a, c, "lastProbeTime", fl_json_new(a, FL_JSON_NULL));
		set_time(a, c, "lastTransitionTime", t->since_ns[i]);
		if (now[i].reason)
			fl_json_set_str(a, c, "reason", now[i].reason);
		if (now[i].message)
			fl_json_set_str(a, c, "message", now[i].message);
		if (fl_json_is(generation, FL_JSON_INT))
			fl_json_set(a, c, "observedGeneration", fl_json_clone(a, generation));
	}
}

static void add_ips(struct fl_arena *a, struct fl_json *status, const char *one, const char *many,
		    const struct fl_ip *ips, unsigned n)
{
	struct fl_json *list;
	char text[FL_IP_STRLEN];

	if (!n)
		return;
	fl_json_set_str(a, status, one, fl_ip_format(&ips[0], text));
	list = fl_json_set_array(a, status, many);
	for (unsigned i = 0; i < n; i++) {
		struct fl_json *entry = fl_json_append(list, fl_json_new(a, FL_JSON_OBJECT));

		fl_json_set_str(a, entry, "ip", fl_ip_format(&ips[i], text));
	}
}

struct fl_json *fl_pod_status(struct fl_arena *a, const struct fl_pod_view *v, struct fl_pod_transitions *t)
{
	struct fl_json *s = fl_json_new(a, FL_JSON_OBJECT), *list;
	const struct fl_json *generation = fl_json_get(v->spec->meta, "generation");
	const char *phase = fl_pod_phase(v);

	if (fl_json_is(generation, FL_JSON_INT))
		fl_json_set(a, s, "observedGeneration", fl_json_clone(a, generation));
	fl_json_set_str(a, s, "phase", phase);
	add_conditions(a, v, phase, t, s);
	if (v->reason)
		fl_json_set_str(a, s, "reason", v->reason);
	if (v->message)
		fl_json_set_str(a, s, "message", v->message);
	add_ips(a, s, "hostIP", "hostIPs", v->host_ips, v->n_host_ips);
	add_ips(a, s, "podIP", "podIPs", v->ips, v->n_ips);
	set_time(a, s, "startTime", v->start_ns);
	if (v->spec->n_init && !v->rejected) {
		list = fl_json_set_array(a, s, "initContainerStatuses");
		for (unsigned i = 0; i < v->spec->n_init; i++)
			fl_json_append(list, container_json(a, &v->spec->containers[i], &v->containers[i]));
	}
	if (!v->rejected) {
		list = fl_json_set_array(a, s, "containerStatuses");
		for (unsigned i = v->spec->n_init; i < v->spec->n_containers; i++)
			fl_json_append(list, container_json(a, &v->spec->containers[i], &v->containers[i]));
	}
	fl_json_set_str(a, s, "qosClass", fl_node_pod_qos(v->spec));
	return s;
}
