// SPDX-License-Identifier: Apache-2.0
// What is told about a pod: its status, when it changed; in the end the deletion of its object.
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "node/pod.h"

// The first status ("ContainerCreating") waits that long: a container that starts at once makes it one write, not two.
#define FIRST_STATUS_MS 100
#define RETRY_FIRST_MS  200
#define RETRY_MAX_MS    10000

static const char *runtime_id(struct fl_arena *a, const struct container *c, unsigned attempt)
{
	return fl_arena_printf(a, "%s://%s-%s-%u", c->pod->pods->o.runtime_name, c->pod->uid, c->name, attempt);
}

static struct fl_cstate_view end_view(struct fl_arena *a, const struct container *c, const struct run_end *e)
{
	return (struct fl_cstate_view){
	    .kind = FL_CSTATE_TERMINATED,
	    .reason = e->reason,
	    .message = e->message,
	    .exit_code = e->code,
	    .started_ns = e->started_ns,
	    .finished_ns = e->finished_ns,
	    .container_id = runtime_id(a, c, e->attempt),
	};
}

static struct fl_cstate_view waiting_view(struct fl_arena *a, const struct container *c)
{
	const struct pod *p = c->pod;
	const char *reason = c->wait_reason ? c->wait_reason : "ContainerCreating", *message = c->wait_message;

	if (!c->wait_reason && p->n_init && !c->init)
		reason = "PodInitializing";
	return (struct fl_cstate_view){.kind = FL_CSTATE_WAITING, .reason = reason, .message = message};
}

// As containerd tells it: the name with its tag, in the long form.
static const char *image_name(struct fl_arena *a, const struct container *c, const char *name)
{
	struct fl_image_ref ref;

	if (!c->image || fl_image_ref_parse(name, &ref, NULL) < 0)
		return name;
	return *ref.digest ? name : fl_image_ref_format(&ref, fl_arena_alloc(a, FL_IMAGE_REF_STRLEN));
}

static void container_view(struct fl_arena *a, const struct container *c, const struct fl_container_spec *spec,
			   struct fl_container_view *v)
{
	*v = (struct fl_container_view){
	    .restarts = c->attempt,
	    .image = image_name(a, c, spec->image),
	    .image_id = c->image ? c->image->ref : NULL,
	};
	if (c->has_last) {
		v->has_last = true;
		v->last = end_view(a, c, &c->last);
	}
	switch (c->state) {
	case CONTAINER_RUNNING:
		if (c->in_post_start) {
			v->now = waiting_view(a, c);
			break;
		}
		v->now = (struct fl_cstate_view){.kind = FL_CSTATE_RUNNING,
						 .started_ns = c->started_ns,
						 .container_id = runtime_id(a, c, c->attempt)};
		v->started = fl_prober_started(c->prober);
		v->ready = fl_prober_ready(c->prober);
		break;
	case CONTAINER_ENDED:
		v->now = end_view(a, c, &c->now);
		if (fl_container_pauses(c)) {
			v->has_last = true;
			v->last = v->now;
			v->now = (struct fl_cstate_view){
			    .kind = FL_CSTATE_WAITING,
			    .reason = "CrashLoopBackOff",
			    .message = fl_arena_printf(a, "back-off %llus restarting failed container=%s pod=%s_%s(%s)",
						       (unsigned long long)c->backoff.delay_ms / 1000, c->name,
						       c->pod->name, c->pod->ns, c->pod->uid),
			};
		}
		if (c->init && !c->sidecar)
			v->ready = c->now.code == 0;
		break;
	default:
		v->now = waiting_view(a, c);
	}
}

void fl_pod_view(struct pod *p, const struct fl_pod_spec *spec, struct fl_arena *a, struct fl_pod_view *ret)
{
	struct fl_container_view *views = fl_arena_zalloc(a, p->n_containers * sizeof(*views));
	bool failed = p->fail_reason && p->stage >= POD_TEARDOWN; // told when nothing of it runs

	for (unsigned i = 0; i < p->n_containers; i++)
		container_view(a, &p->containers[i], &spec->containers[i], &views[i]);
	*ret = (struct fl_pod_view){
	    .spec = spec,
	    .old_status = fl_json_get(spec->root, "status"),
	    .ips = p->ips,
	    .host_ips = p->pods->o.node_ips,
	    .n_ips = p->stage == POD_RUNNING || p->stage == POD_STOPPING ? p->n_ips : 0,
	    .n_host_ips = p->pods->o.n_node_ips,
	    .start_ns = p->start_ns,
	    .now_ns = fl_real_ns(),
	    .network_ready = p->stage == POD_RUNNING || p->stage == POD_STOPPING,
	    .ended = p->ended || (p->doomed && p->stage >= POD_TEARDOWN),
	    .rejected = p->rejected,
	    .reason = p->rejected ? p->reject_reason
		      : failed    ? p->fail_reason
				  : NULL,
	    .message = p->rejected ? p->reject_message
		       : failed    ? p->fail_message
				   : NULL,
	    .containers = views,
	};
}

static uint64_t retry_delay(unsigned tries)
{
	uint64_t delay = (uint64_t)RETRY_FIRST_MS << (tries > 6 ? 6 : tries);

	return delay > RETRY_MAX_MS ? RETRY_MAX_MS : delay;
}

static void on_status_written(void *arg, int rc, const struct fl_json *body)
{
	struct pod *p = arg;

	p->status_busy = false;
	if (rc == -ENOENT || rc == -ESTALE) {
		// Gone, or another pod of this name: the list will say so.
	} else if (rc < 0) {
		p->status_hash = 0;
		p->status_at_ms = uv_now(p->pods->o.loop) + retry_delay(p->status_tries++);
	} else {
		p->status_tries = 0;
	}
	if (!p->dead)
		fl_pod_kick(p);
	fl_pod_unref(p);
}

// There is more to tell than that the pod was taken up.
static bool is_urgent(const struct pod *p)
{
	for (unsigned i = 0; i < p->n_containers; i++) {
		if (p->containers[i].state >= CONTAINER_RUNNING || p->containers[i].tries)
			return true;
	}
	return p->stage == POD_SETUP_WAIT || p->stage >= POD_STOPPING;
}

void fl_pod_tell(struct pod *p)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct fl_pod_spec spec = {0};
	struct fl_pod_view view;
	struct fl_json *status;
	uint64_t hash, now = uv_now(p->pods->o.loop);

	p->status_wanted = false;
	if (!p->in_api || !p->pods->synced || p->deleting || p->silent)
		return;
	if (fl_pod_spec_read(&a, fl_object_tree(p->obj, &a), &spec, NULL) < 0)
		return;
	for (unsigned i = 0; i < p->n_containers; i++) {
		// Found again a moment ago: what it is doing is known soon.
		if (p->containers[i].state == CONTAINER_STARTING && !p->containers[i].has_slot)
			return;
	}
	fl_pod_view(p, &spec, &a, &view);
	status = fl_pod_status(&a, &view, &p->transitions);
	fl_json_write(&b, status);
	hash = fl_hash(b.data, b.len) | 1;
	if (hash == p->status_hash)
		return;
	p->status_wanted = true;
	if (p->status_busy)
		return; // its end looks again
	if (!p->status_first_ms)
		p->status_first_ms = now + FIRST_STATUS_MS;
	if (!p->status_tries)
		p->status_at_ms = is_urgent(p) ? now : p->status_first_ms;
	if (now < p->status_at_ms)
		return;
	p->status_wanted = false;
	p->status_busy = true;
	p->status_hash = hash;
	fl_pod_ref(p);
	p->pods->o.api->write_status(p->pods->o.api_arg, p->obj, status, on_status_written, p);
}

static void on_deleted(void *arg, int rc, const struct fl_json *body)
{
	struct pod *p = arg;

	p->deleting = false;
	if (rc < 0 && rc != -ENOENT && rc != -ESTALE)
		p->delete_at_ms = uv_now(p->pods->o.loop) + retry_delay(p->status_tries++);
	else
		p->delete_at_ms = UINT64_MAX; // done; finalizers of others may still hold the object
	if (!p->dead)
		fl_pod_kick(p);
	fl_pod_unref(p);
}

void fl_pod_delete(struct pod *p)
{
	if (!p->in_api || !p->pods->synced || p->deleting || p->status_busy || p->status_wanted ||
	    uv_now(p->pods->o.loop) < p->delete_at_ms)
		return;
	p->deleting = true;
	fl_pod_ref(p);
	p->pods->o.api->delete_pod(p->pods->o.api_arg, p->obj, on_deleted, p);
}
