// SPDX-License-Identifier: Apache-2.0
// The life of one pod: fl_pod_kick() asks for a look; a look does whatever is due now and sets the timer for what is
// due next. Everything that happens to a pod (object changed, container started or ended, job done, time passed) only
// changes its state and kicks it, so the order of events never matters.
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "node/pod.h"

#define SETUP_RETRY_MAX_MS 30000
#define RETRY_FIRST_MS     500

void fl_pod_kick(struct pod *p)
{
	if (!p->dead && !p->pods->closing)
		uv_timer_start(&p->timer, fl_pod_on_timer, 0, 0);
}

// --- setup ---

static void setup_retry(struct pod *p, const char *reason, const char *message)
{
	uint64_t delay = (uint64_t)RETRY_FIRST_MS << (p->tries > 6 ? 6 : p->tries);

	fl_pod_event(p, "Warning", reason, "%s", message);
	p->tries++;
	p->stage = POD_SETUP_WAIT;
	p->retry_at_ms = uv_now(p->pods->o.loop) + (delay > SETUP_RETRY_MAX_MS ? SETUP_RETRY_MAX_MS : delay);
	fl_pod_kick(p);
}

static int take_ips(struct pod *p, struct fl_err *err)
{
	struct fl_pods *pods = p->pods;

	if (p->n_ips)
		return 0;
	if (p->host_network) {
		for (unsigned i = 0; i < pods->o.n_node_ips; i++)
			p->ips[p->n_ips++] = pods->o.node_ips[i];
		return 0;
	}
	for (unsigned i = 0; i < pods->n_ipam; i++) {
		int rc = fl_ipam_take(&pods->ipam[i], &p->ips[p->n_ips], err);

		if (rc < 0) {
			while (p->n_ips)
				fl_ipam_release(&pods->ipam[p->n_ips - 1], &p->ips[p->n_ips - 1]), p->n_ips--;
			return rc;
		}
		p->n_ips++;
	}
	return 0;
}

void fl_pod_release_ips(struct pod *p)
{
	for (unsigned i = 0; i < p->n_ips && !p->host_network; i++) {
		for (unsigned k = 0; k < p->pods->n_ipam; k++)
			fl_ipam_release(&p->pods->ipam[k], &p->ips[i]);
	}
	p->n_ips = 0;
}

void fl_pod_reject(struct pod *p, const char *reason, const char *why)
{
	p->rejected = true;
	p->reject_reason = reason;
	p->reject_message = fl_asprintf("Pod was rejected: %s", why);
	p->stage = POD_OVER;
	fl_pod_event(p, "Warning", reason, "%s", why);
}

static void setup_begin(struct pod *p)
{
	struct fl_err err = {0};
	int rc;

	if (p->fetch_failed) {
		setup_retry(p, "FailedMount", "a ConfigMap or Secret of the pod cannot be read now");
		return;
	}
	rc = fl_pod_take_ports(p, &err);
	if (rc == -EEXIST) {
		fl_pod_reject(p, "NodePorts", err.text);
		fl_pod_kick(p);
		return;
	}
	if (rc < 0 || take_ips(p, &err) < 0) {
		setup_retry(p, "FailedCreatePodSandBox", err.text);
		return;
	}
	fl_pod_setup_start(p);
}

void fl_pod_setup_done(struct pod *p, int rc, const char *message)
{
	struct fl_err err = {0};

	if (rc < 0) {
		setup_retry(p, strstr(message, "network of the pod") ? "FailedCreatePodSandBox" : "FailedMount",
			    message);
		return;
	}
	p->stage = POD_RUNNING;
	if (p->n_host_ports && !p->host_network && fl_pods_open_ports(p->pods, &err) < 0) {
		setup_retry(p, "FailedCreatePodSandBox", err.text);
		return;
	}
	p->tries = 0;
	fl_pod_kick(p);
}

// --- containers ---

bool fl_container_restarts(const struct container *c)
{
	const struct pod *p = c->pod;

	if (p->doomed || p->ended || p->rejected)
		return false;
	if (c->sidecar)
		return true;
	if (c->init)
		return c->now.code != 0 && p->restart != FL_RESTART_NEVER;
	return p->restart == FL_RESTART_ALWAYS || (p->restart == FL_RESTART_ON_FAILURE && c->now.code != 0);
}

bool fl_container_pauses(const struct container *c)
{
	return c->state == CONTAINER_ENDED && c->told_backoff && fl_container_restarts(c);
}

static bool container_active(const struct container *c)
{
	return c->state == CONTAINER_STARTING || c->state == CONTAINER_RUNNING;
}

// Whether the init container at `i` lets the next ones go.
static bool init_passed(const struct container *c)
{
	if (c->sidecar)
		return c->state == CONTAINER_RUNNING && !c->in_post_start && fl_prober_started(c->prober);
	return c->state == CONTAINER_ENDED && c->now.code == 0;
}

void fl_container_next_run(struct container *c)
{
	fl_run_end_clear(&c->last);
	c->last = c->now;
	c->now = (struct run_end){0};
	c->has_last = true;
	c->attempt++;
	c->not_before_ms = 0;
	c->image_ready = false;
	c->state = CONTAINER_WAITING;
	c->wait_reason = "ContainerCreating";
	free(c->wait_message);
	c->wait_message = NULL;
}

static void restart_when_due(struct container *c, uint64_t *next)
{
	uint64_t until = fl_backoff_until(&c->backoff, c->ended_ms), now = fl_mono_ms();

	if (now < until) {
		if (!c->told_backoff) {
			c->told_backoff = true;
			fl_pod_event(c->pod, "Warning", "BackOff",
				     "Back-off restarting failed container %s in pod %s_%s(%s)", c->name, c->pod->name,
				     c->pod->ns, c->pod->uid);
		}
		fl_earliest(next, uv_now(c->pod->pods->o.loop) + (until - now));
		return;
	}
	fl_backoff_next(&c->backoff, c->ended_ms);
	fl_container_next_run(c);
}

static void container_look(struct container *c, bool may_start, uint64_t *next)
{
	uint64_t now = uv_now(c->pod->pods->o.loop);

	if (c->state == CONTAINER_ENDED && fl_container_restarts(c))
		restart_when_due(c, next);
	if (may_start && (c->state == CONTAINER_WAITING || c->state == CONTAINER_QUEUED)) {
		fl_container_launch(c);
		if (c->state == CONTAINER_WAITING && c->not_before_ms > now) {
			fl_earliest(next, c->not_before_ms);
			if (fl_container_lacks_image(c))
				fl_earliest(next, now + FL_IMPORT_LOOK_MS);
			if (fl_streq(c->wait_reason, "ErrImagePull"))
				fl_earliest(next, c->waits_since_ms + FL_PULL_ERROR_SHOWN_MS);
		}
	}
	fl_container_stop_look(c, true, next);
}

// The pod ended by itself when no regular container runs or will run, or an init container failed for good.
bool fl_pod_has_ended(const struct pod *p)
{
	bool all = true;

	for (unsigned i = 0; i < p->n_containers; i++) {
		const struct container *c = &p->containers[i];
		bool over = c->state == CONTAINER_ENDED && !fl_container_restarts(c);

		if (c->init && !c->sidecar && over && c->now.code != 0)
			return true;
		if (!c->init)
			all = all && over;
	}
	return all;
}

// Containers are started one after the other, and postStart belongs to the start.
static bool holds_back(const struct container *c)
{
	if (!c->has_post_start)
		return false;
	return (c->state >= CONTAINER_PULLING && c->state <= CONTAINER_STARTING) ||
	       (c->state == CONTAINER_RUNNING && c->in_post_start && c->stop == STOP_NOT);
}

static void end(struct pod *p)
{
	p->ended = true;
	p->stage = POD_STOPPING;
	p->stop_at_ms = uv_now(p->pods->o.loop) + (uint64_t)p->grace_s * 1000;
}

// A regular container runs, so the init containers were through once: what restarts waits for none of them any more
// (kubelet: computeInitContainerActions, podHasInitialized).
static bool has_begun(const struct pod *p)
{
	for (unsigned i = p->n_init; i < p->n_containers; i++) {
		if (p->containers[i].state == CONTAINER_RUNNING)
			return true;
	}
	return false;
}

static void containers_look(struct pod *p, uint64_t *next)
{
	bool begun = has_begun(p), passed = true, held = false, known;

	fl_pod_refs_look(p, next);
	// Found on disk, it may have been deleted or have ended by what the API knows.
	known = p->seen && p->docs && p->pods->o.api->services_known(p->pods->o.api_arg);
	for (unsigned i = 0; i < p->n_containers; i++) {
		struct container *c = &p->containers[i];
		bool go = !held && (passed || (begun && (c->sidecar || !c->init)));

		if (go || container_active(c) || (c->state == CONTAINER_ENDED && !c->init))
			container_look(c, known && go, next);
		else
			fl_container_unqueue(c); // nobody gets past the head of the queue
		if (c->init && !init_passed(c))
			passed = false;
		if (holds_back(c))
			held = true;
	}
	if (fl_pod_has_ended(p)) {
		end(p); // sidecars, if any
		fl_pod_kick(p);
	}
}

// --- stop ---

// Sidecars end after those that they serve, in the reverse of the order that they were started in.
static bool stop_turn(const struct pod *p, unsigned i)
{
	if (!p->containers[i].sidecar)
		return true;
	for (unsigned k = i + 1; k < p->n_containers; k++) {
		const struct container *later = &p->containers[k];

		if (container_active(later) && (later->sidecar || !later->init))
			return false;
	}
	return true;
}

static void stop_look(struct pod *p, uint64_t *next)
{
	uint64_t now = uv_now(p->pods->o.loop);
	int64_t left_s = p->stop_at_ms > now ? (int64_t)(p->stop_at_ms - now + 999) / 1000 : 0;
	bool active = false;
	struct fl_err err = {0};

	for (unsigned i = 0; i < p->n_containers; i++) {
		struct container *c = &p->containers[i];

		if (c->state == CONTAINER_RUNNING) {
			if (c->stop == STOP_NOT)
				fl_pod_event(p, "Normal", "Killing", "Stopping container %s", c->name);
			fl_container_stop(c, left_s);
		}
		if (c->state == CONTAINER_QUEUED)
			fl_container_unqueue(c);
		active = active || container_active(c);
	}
	for (unsigned i = 0; i < p->n_containers; i++)
		fl_container_stop_look(&p->containers[i], stop_turn(p, i), next);
	if (active || p->updating)
		return;
	fl_pod_teardown_start(p, p->doomed);
	if (p->holds_ports && !p->host_network && fl_pods_open_ports(p->pods, &err) < 0)
		fl_warn("%s", err.text); // the next change of any of them writes all anew
}

static void doom(struct pod *p)
{
	uint64_t now = uv_now(p->pods->o.loop);

	p->stop_at_ms = now + (uint64_t)p->grace_s * 1000;
	switch (p->stage) {
	case POD_SETUP:
	case POD_TEARDOWN:
		return; // their end comes here again
	case POD_OVER:
		if (!p->cleared && !p->updating)
			fl_pod_teardown_start(p, true); // the logs that were kept for it
		return;
	default:
		p->stage = POD_STOPPING;
	}
}

void fl_pod_teardown_done(struct pod *p, int rc, const char *message)
{
	if (rc < 0) {
		fl_warn("pod %s/%s cannot be taken down: %s", p->ns, p->name, message);
		p->stage = POD_STOPPING;
		p->retry_at_ms = uv_now(p->pods->o.loop) + 1000;
		if (!p->dead)
			uv_timer_start(&p->timer, fl_pod_on_timer, 1000, 0);
		return;
	}
	fl_pod_release_ips(p);
	fl_pod_release_ports(p);
	p->stage = POD_OVER;
	fl_pod_kick(p);
}

// --- the look ---

void fl_pod_on_timer(uv_timer_t *timer)
{
	struct pod *p = timer->data;
	uint64_t next = UINT64_MAX, now = uv_now(p->pods->o.loop);

	if (p->dead || p->pods->closing)
		return;
	if (p->doomed && p->stage != POD_STOPPING)
		doom(p);
	if (p->ended && p->stage < POD_STOPPING && p->stage != POD_SETUP) // by the word of the API
		end(p);
	fl_pod_deadline_look(p, &next);
	fl_pod_measure_look(p, &next);
	if (p->stage == POD_SETUP_WAIT && now < p->retry_at_ms)
		fl_earliest(&next, p->retry_at_ms);
	else if (p->stage == POD_SETUP_WAIT)
		p->stage = POD_NEW;
	if (p->stage == POD_NEW) {
		p->stage = POD_FETCHING;
		fl_pod_fetch(p);
	}
	if (p->stage == POD_FETCHING && p->fetches == 0 && !p->updating)
		setup_begin(p);
	if (p->stage == POD_RUNNING)
		containers_look(p, &next);
	if (p->stage == POD_STOPPING)
		stop_look(p, &next);
	if (p->stage == POD_OVER && p->cleared && !p->in_api && p->pods->synced) {
		fl_pod_forget(p);
		return;
	}
	fl_pod_tell(p);
	if (p->stage == POD_OVER && p->doomed && p->cleared)
		fl_pod_delete(p);
	if (p->status_wanted && !p->status_busy)
		fl_earliest(&next, p->status_at_ms);
	if (p->delete_at_ms && !p->deleting)
		fl_earliest(&next, p->delete_at_ms);
	if (next != UINT64_MAX && !p->dead && !uv_is_active((uv_handle_t *)&p->timer)) {
		now = uv_now(p->pods->o.loop);
		uv_timer_start(&p->timer, fl_pod_on_timer, next > now ? next - now : 0, 0);
	}
}
