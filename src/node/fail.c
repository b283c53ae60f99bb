// SPDX-License-Identifier: Apache-2.0
// Pods that the node itself ends, for good: activeDeadlineSeconds is over, or what they wrote exceeds their limits of
// local storage. Why stands in <pod>/failed before anything is stopped, so that no restart of the node lets the pod run
// on. The status tells it when nothing of the pod runs any more (kubelet: no terminal phase before that).
//
// Storage is measured by walking (usage.h), one pod at a time on a node, never for more than a fiftieth of the time.
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "api/quantity.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "node/pod.h"
#include "node/usage.h"

#define MEASURE_FIRST_MS 1000
#define MEASURE_MS       5000
#define MEASURE_SHARE    50 // of the time, one part
#define EVICT_GRACE_S    1  // kubelet: immediateEvictionGracePeriodSeconds

static char *mark_of(const struct pod *p)
{
	return fl_asprintf("%s/failed", p->dir);
}

void fl_pod_fail(struct pod *p, const char *reason, const char *message, int64_t grace_s)
{
	AUTO_FREE char *mark = mark_of(p), *text = fl_asprintf("%s\n%s", reason, message);
	struct fl_err err = {0};

	if (p->ended || p->doomed || p->rejected || (p->stage != POD_RUNNING && p->stage != POD_SETUP_WAIT))
		return;
	// Without its directory the pod was never set up: the next run of the node would find the same again.
	if (fl_node_file_put(mark, text, strlen(text), 0600, &err) < 0 && err.code != -ENOENT)
		fl_warn("pod %s/%s: its end is not recorded: %s", p->ns, p->name, err.text);
	p->fail_reason = fl_strdup(reason);
	p->fail_message = fl_strdup(message);
	p->ended = true;
	p->stage = POD_STOPPING;
	p->stop_at_ms = uv_now(p->pods->o.loop) + (uint64_t)(grace_s < 0 ? 0 : grace_s) * 1000;
	fl_pod_kick(p);
}

bool fl_pod_fail_find(struct pod *p)
{
	AUTO_FREE char *mark = mark_of(p), *text = NULL;
	char *message;

	if (fl_file_read(mark, &text, NULL, NULL) < 0 || !(message = strchr(text, '\n')))
		return false;
	*message++ = '\0';
	p->fail_reason = fl_strdup(text);
	p->fail_message = fl_strdup(message);
	return true;
}

void fl_pod_deadline_look(struct pod *p, uint64_t *next)
{
	int64_t now = fl_real_ns(), left_ms;

	if (p->deadline_s < 0 || p->ended || p->doomed || (p->stage != POD_RUNNING && p->stage != POD_SETUP_WAIT))
		return;
	left_ms = p->deadline_s > INT64_MAX / 2000000000 ? INT64_MAX / 2000000
							 : p->deadline_s * 1000 - (now - p->start_ns) / 1000000;
	if (left_ms > 0) {
		fl_earliest(next, uv_now(p->pods->o.loop) + (uint64_t)left_ms);
		return;
	}
	fl_pod_event(p, "Normal", "DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
	fl_pod_fail(p, "DeadlineExceeded", "Pod was active on the node longer than the specified deadline", p->grace_s);
}

// --- local storage ---

struct measure {
	uv_work_t work;
	struct pod *pod;
	struct fl_object *obj;
	char *message; // what is exceeded; NULL: nothing
	uint64_t took_ms;
};

static const char *limit_text(struct fl_arena *a, const struct fl_json *limit)
{
	return fl_json_string(limit) ? fl_json_string(limit) : fl_arena_printf(a, "%lld", (long long)limit->i);
}

// NULL: it has none, or one that is memory's.
static const struct fl_json *disk_volume(const struct fl_json *v)
{
	const struct fl_json *e = fl_json_get(v, "emptyDir");

	return e && !fl_streq(fl_json_str(e, "medium"), "Memory") ? e : NULL;
}

static const struct fl_json *storage_limit(const struct fl_json *container)
{
	return fl_json_path(container, "resources", "limits", "ephemeral-storage", NULL);
}

// The first one says how the sum is printed.
static void add(struct fl_quantity *sum, const struct fl_quantity *q)
{
	if (sum->nano == 0)
		sum->format = q->format;
	sum->nano += q->nano;
}

// Of the pod: all regular containers and sidecars, or an init container with the sidecars before it, if that is more
// (k8s.io/component-helpers/resource AggregateContainerLimits).
static struct fl_quantity pod_limit(const struct fl_pod_spec *spec)
{
	struct fl_quantity sum = {0}, sidecars = {0}, init = {0};

	for (unsigned i = spec->n_init; i < spec->n_containers + spec->n_init; i++) { // the regular ones first
		const struct fl_container_spec *c = &spec->containers[i % spec->n_containers];
		const char *text = fl_json_string(storage_limit(c->json)); // canonical, by the API
		struct fl_quantity q = {0}, with = sidecars;

		if (text && (!fl_quantity_parse(text, &q) || q.nano < 0))
			q = (struct fl_quantity){0};
		add(&with, &q);
		if (!c->init || c->sidecar)
			add(&sum, &q);
		if (c->sidecar)
			sidecars = with;
		if (c->init && with.nano > init.nano)
			init = with;
	}
	return init.nano > sum.nano ? init : sum;
}

static bool has_limits(const struct fl_pod_spec *spec)
{
	fl_json_each (v, fl_json_get(spec->spec, "volumes")) {
		if (fl_quantity_bytes(fl_json_get(disk_volume(v), "sizeLimit")) > 0)
			return true;
	}
	return pod_limit(spec).nano > 0;
}

// Its writable layer, of all runs that still have one, and its logs.
static uint64_t container_usage(const struct pod *p, const char *name, uint64_t enough)
{
	AUTO_FREE char *layers = fl_asprintf("%s/containers/%s", p->dir, name),
		       *logs = fl_asprintf("%s/logs/%s", p->dir, name);
	const atomic_bool *stop = &p->pods->stop_measuring;
	uint64_t bytes = fl_usage_of(logs, enough, stop);

	return bytes > enough ? bytes : bytes + fl_usage_of(layers, enough - bytes, stop);
}

static char *pod_exceeded(const struct fl_quantity *limit)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};

	fl_quantity_write(&b, limit);
	return fl_asprintf("Pod ephemeral local storage usage exceeds the total limit of containers %s. ", b.data);
}

// In the order of kubelet's eviction manager (localStorageEviction) and with its texts, which have a space at their
// end: an emptyDir, the pod as a whole, a regular container.
static char *exceeded(const struct pod *p, struct fl_arena *a, const struct fl_pod_spec *spec)
{
	struct fl_quantity limit = pod_limit(spec);
	uint64_t enough = limit.nano ? (uint64_t)(limit.nano / 1000000000) : UINT64_MAX, total = 0;
	AUTO_FREE char *etc = fl_asprintf("%s/etc", p->dir), *found = NULL;

	fl_json_each (v, fl_json_get(spec->spec, "volumes")) {
		const struct fl_json *e = disk_volume(v), *size = fl_json_get(e, "sizeLimit");
		const char *name = fl_json_str_or(v, "name", "");
		AUTO_FREE char *dir = fl_asprintf("%s/volumes/%s", p->dir, name);
		int64_t max = fl_quantity_bytes(size);
		uint64_t used;

		if (!e || (max <= 0 && !limit.nano))
			continue;
		used = fl_usage_of(dir, max > 0 ? (uint64_t)max : enough, &p->pods->stop_measuring);
		if (max > 0 && used > (uint64_t)max)
			return fl_asprintf("Usage of EmptyDir volume \"%s\" exceeds the limit \"%s\". ", name,
					   limit_text(a, size));
		total += used;
	}
	if (!limit.nano)
		return NULL;
	total += fl_usage_of(etc, enough, &p->pods->stop_measuring); // hosts and the like: containers write to them
	for (unsigned i = 0; total <= enough && i < spec->n_containers; i++) {
		const struct fl_container_spec *c = &spec->containers[i];
		const struct fl_json *own = storage_limit(c->json);
		int64_t max = fl_quantity_bytes(own);
		uint64_t used = container_usage(p, c->name, enough - total);

		total += used;
		if (!c->init && max > 0 && used > (uint64_t)max && !found)
			found = fl_asprintf("Container %s exceeded its local ephemeral storage limit \"%s\". ", c->name,
					    limit_text(a, own));
	}
	return total > enough ? pod_exceeded(&limit) : TAKE_PTR(found);
}

static void measure_work(uv_work_t *work)
{
	struct measure *m = FL_CONTAINER_OF(work, struct measure, work);
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_pod_spec spec = {0};
	uint64_t began = fl_mono_ms();

	if (fl_pod_spec_read(&a, fl_object_tree(m->obj, &a), &spec, NULL) == 0)
		m->message = exceeded(m->pod, &a, &spec);
	m->took_ms = fl_mono_ms() - began;
}

static void measure_after(uv_work_t *work, int status)
{
	struct measure *m = FL_CONTAINER_OF(work, struct measure, work);
	struct pod *p = m->pod;
	struct fl_pods *pods = p->pods;

	pods->measuring = false;
	pods->jobs--;
	if (!pods->closing && !p->dead) {
		uint64_t pause = m->took_ms * MEASURE_SHARE;

		p->measure_at_ms = uv_now(pods->o.loop) + (pause > MEASURE_MS ? pause : MEASURE_MS);
		if (m->message && p->stage == POD_RUNNING && !p->ended && !p->doomed) {
			fl_pod_event(p, "Warning", "Evicted", "%s", m->message);
			fl_pod_fail(p, "Evicted", m->message, EVICT_GRACE_S);
		}
		fl_pod_kick(p);
	}
	fl_object_put(&m->obj);
	fl_pod_unref(p);
	free(m->message);
	free(m);
}

void fl_pod_read_limits(struct pod *p, const struct fl_pod_spec *spec)
{
	p->measure_at_ms = has_limits(spec) ? uv_now(p->pods->o.loop) + MEASURE_FIRST_MS : 0;
}

void fl_pod_measure_look(struct pod *p, uint64_t *next)
{
	uint64_t now = uv_now(p->pods->o.loop);
	struct measure *m;

	if (!p->measure_at_ms || p->stage != POD_RUNNING || p->ended || p->doomed)
		return;
	if (now >= p->measure_at_ms && p->pods->measuring)
		p->measure_at_ms = now + MEASURE_FIRST_MS;
	if (now < p->measure_at_ms) {
		if (p->measure_at_ms != UINT64_MAX)
			fl_earliest(next, p->measure_at_ms);
		return;
	}
	p->measure_at_ms = UINT64_MAX; // until it is measured
	p->pods->measuring = true;
	p->pods->jobs++;
	m = FL_NEW(struct measure);
	m->pod = p;
	m->obj = fl_object_get(p->obj);
	fl_pod_ref(p);
	uv_queue_work(p->pods->o.loop, &m->work, measure_work, measure_after);
}
