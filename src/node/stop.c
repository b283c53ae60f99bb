// SPDX-License-Identifier: Apache-2.0
// Lifecycle hooks, and the end of a container that is to end.
//
//   started -> postStart -> counts as running            its failure ends the container
//   stop    -> preStop -> (a sidecar waits for its turn) -> SIGTERM -> SIGKILL
//              |<------------- grace period ------------------------>|
//
// As kubelet does it (kuberuntime_container.go killContainer): whatever the hook and the waiting took, two seconds are
// left between the signals. A hook is run at least once: one that the end of this process cut short runs again.
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/version.h"
#include "node/pod.h"

#define USER_AGENT    "kube-lifecycle/" FL_KUBE_MAJOR "." FL_KUBE_MINOR
#define LEAST_TERM_MS 2000 // kubelet: minimumGracePeriodInSeconds
#define KILL_AGAIN_MS 10000

void fl_container_place(struct container *c)
{
	const struct fl_pods_opts *o = &c->pod->pods->o;
	AUTO_FREE char *dir = fl_container_dir(c, c->attempt);

	fl_arena_reset(&c->place_arena);
	c->place = (struct fl_action_place){
	    .loop = o->loop,
	    .http = c->pod->pods->http,
	    .pod_ip = c->pod->ips[0],
	    .runtime = o->runtime,
	    .runtime_root = o->paths->runtime_root,
	    .id = fl_arena_printf(&c->place_arena, "%s-%s-%u", c->pod->uid, c->name, c->attempt),
	    .dir = fl_arena_strdup(&c->place_arena, dir),
	};
}

// The hook is told by *done, perhaps at once. 0 also when the container has no such hook: *ret stays NULL then.
static int hook_start(struct container *c, const char *which, void (*done)(void *arg, bool success, const char *text),
		      struct fl_action **ret, struct fl_err *err)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_pod_spec spec = {0};
	struct fl_action_spec action;
	const struct fl_json *container, *handler;
	const char *why;

	if (fl_pod_spec_read(&a, fl_object_tree(c->pod->obj, &a), &spec, NULL) < 0 || c->index >= spec.n_containers)
		return 0;
	container = spec.containers[c->index].json;
	handler = fl_json_path(container, "lifecycle", which, NULL);
	if (!handler)
		return 0;
	if (!fl_action_read(container, handler, &action, &why))
		return fl_err_set(err, -EINVAL, "%s", why);
	if (action.kind == FL_ACTION_TCP) // kubelet knows the field, and refuses it
		return fl_err_set(err, -EINVAL, "invalid handler: tcpSocket");
	struct fl_action_opts o = {.place = &c->place,
				   .spec = &action,
				   .user_agent = USER_AGENT,
				   .any_status = true,
				   .on_done = done,
				   .arg = c};
	return fl_action_start(&o, ret, err);
}

// --- postStart ---

static char *post_start_mark(const struct container *c)
{
	AUTO_FREE char *dir = fl_container_dir(c, c->attempt);

	return fl_asprintf("%s/post-start", dir);
}

static void post_start_failed(struct container *c, const char *text)
{
	c->in_post_start = true; // never became running for those who look
	// The text may tell secrets of the container.
	fl_pod_event(c->pod, "Warning", "FailedPostStartHook", "PostStartHook failed");
	fl_debug("postStart of %s/%s %s: %s", c->pod->ns, c->pod->name, c->name, text);
	if (c->stop == STOP_NOT)
		fl_pod_event(c->pod, "Normal", "Killing", "FailedPostStartHook");
	fl_container_stop(c, c->pod->grace_s);
	fl_pod_kick(c->pod);
}

static void on_post_start(void *arg, bool success, const char *text)
{
	struct container *c = arg;
	AUTO_FREE char *mark = post_start_mark(c);
	struct fl_err err = {0};

	c->hook = NULL;
	if (!success) {
		post_start_failed(c, text);
		return;
	}
	c->in_post_start = false;
	if (fl_node_file_put(mark, "", 0, 0600, &err) < 0)
		fl_warn("postStart is not recorded: %s", err.text);
	fl_container_running(c);
}

void fl_container_post_start(struct container *c)
{
	AUTO_FREE char *mark = post_start_mark(c);
	struct fl_err err = {0};

	if (!c->has_post_start || access(mark, F_OK) == 0) {
		fl_container_running(c);
		return;
	}
	c->in_post_start = true;
	if (hook_start(c, "postStart", on_post_start, &c->hook, &err) < 0)
		post_start_failed(c, err.text);
	fl_pod_kick(c->pod); // deleted while the container was starting, it need not wait for the hook
}

// --- stop ---

static void on_pre_stop(void *arg, bool success, const char *text)
{
	struct container *c = arg;

	c->hook = NULL;
	if (!success) {
		fl_pod_event(c->pod, "Warning", "FailedPreStopHook", "PreStopHook failed");
		fl_debug("preStop of %s/%s %s: %s", c->pod->ns, c->pod->name, c->name, text);
	}
	c->stop = STOP_TURN;
	fl_pod_kick(c->pod);
}

void fl_container_stop(struct container *c, int64_t grace_s)
{
	uint64_t now = uv_now(c->pod->pods->o.loop), deadline = now + (uint64_t)(grace_s < 0 ? 0 : grace_s) * 1000;
	struct fl_err err = {0};

	if (c->state != CONTAINER_RUNNING)
		return;
	if (c->stop != STOP_NOT) {
		if (deadline < c->stop_deadline_ms)
			c->stop_deadline_ms = deadline;
		return;
	}
	fl_action_cancel(&c->hook); // postStart
	c->stop = STOP_TURN;
	c->stop_deadline_ms = deadline;
	if (!c->has_pre_stop || deadline <= now)
		return;
	c->stop = STOP_HOOK;
	if (hook_start(c, "preStop", on_pre_stop, &c->hook, &err) < 0)
		on_pre_stop(c, false, err.text);
}

void fl_container_stop_look(struct container *c, bool turn, uint64_t *next)
{
	uint64_t now = uv_now(c->pod->pods->o.loop), kill_at;

	if (c->state != CONTAINER_RUNNING || c->stop == STOP_NOT)
		return;
	if (c->stop == STOP_HOOK && now >= c->stop_deadline_ms) {
		fl_action_cancel(&c->hook);
		c->stop = STOP_TURN;
	}
	if (c->stop == STOP_TURN && (turn || now >= c->stop_deadline_ms)) {
		c->stop = STOP_TERM;
		c->term_ms = now;
		c->kill_again_ms = 0;
		fl_ctr_kill(c->ctr, c->stop_signal ? c->stop_signal : c->image ? c->image->stop_signal : SIGTERM);
	}
	if (c->stop != STOP_TERM) {
		fl_earliest(next, c->stop_deadline_ms);
		return;
	}
	kill_at = c->stop_deadline_ms > c->term_ms + LEAST_TERM_MS ? c->stop_deadline_ms : c->term_ms + LEAST_TERM_MS;
	if (c->kill_again_ms)
		kill_at = c->kill_again_ms;
	if (now >= kill_at) {
		fl_ctr_kill(c->ctr, SIGKILL);
		c->kill_again_ms = kill_at = now + KILL_AGAIN_MS;
	}
	fl_earliest(next, kill_at);
}
