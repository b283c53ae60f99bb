// SPDX-License-Identifier: Apache-2.0
// All times are taken on this process's own monotonic clock. A candidate counts the duration from when it saw the Lease
// change last; the leader counts from before it sent the renewal that succeeded, and gives up earlier than any
// candidate may begin.
//
// Every write is guarded by the resourceVersion that was read. A leader whose renewal meets another version, written by
// neither itself nor in another's name, has a double with its own identity and gives up.
#include "controller/leader.h"

#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define RELEASE_MS 2000 // a goodbye waits no longer for the API server

struct fl_leader {
	struct fl_client *c;
	struct fl_leader_opts o; // strings owned
	struct fl_client_call *call;
	uv_timer_t *step, *deadline;
	char *seen_rv; // of the Lease that somebody else holds
	uint64_t seen_ms, sent_ms;
	char tried[FL_TIME_STRLEN],
	    renewed[FL_TIME_STRLEN]; // renewTime of the last write, and of the last that succeeded
	bool leading, told_holder;
	void (*on_released)(void *arg);
	void *released_arg;
};

static unsigned duration_ms(const struct fl_leader *l)
{
	return l->o.duration_s * 1000;
}

static unsigned retry_ms(const struct fl_leader *l)
{
	return duration_ms(l) * 2 / 15;
}

static void on_step(uv_timer_t *t);

static void schedule(struct fl_leader *l, uint64_t delay_ms)
{
	uv_timer_start(l->step, on_step, delay_ms, 0);
}

static void lose(struct fl_leader *l)
{
	uv_timer_stop(l->step);
	uv_timer_stop(l->deadline);
	fl_client_cancel(&l->call);
	l->o.on_lost(l->o.arg);
}

static void on_deadline(uv_timer_t *t)
{
	lose(t->data);
}

static struct fl_json *make_lease(struct fl_arena *a, const struct fl_leader *l)
{
	struct fl_json *o = fl_json_new(a, FL_JSON_OBJECT);
	fl_json_set_str(a, o, "kind", "Lease");
	fl_json_set_str(a, o, "apiVersion", "coordination.k8s.io/v1");
	struct fl_json *meta = fl_json_set_object(a, o, "metadata");
	fl_json_set_str(a, meta, "name", l->o.name);
	fl_json_set_str(a, meta, "namespace", l->o.ns);
	return o;
}

static void on_written(void *arg, int rc, int http_status, struct fl_arena *a, struct fl_json *body,
		       const struct fl_err *err)
{
	struct fl_leader *l = arg;
	l->call = NULL;
	if (rc < 0) {
		// Another was faster, or the answer to an earlier write was lost: the Lease itself tells.
		schedule(l, rc == -ESTALE || rc == -EEXIST ? 0 : retry_ms(l));
		return;
	}
	memcpy(l->renewed, l->tried, sizeof(l->renewed));
	uint64_t now = fl_mono_ms(), limit = duration_ms(l) * 2 / 3, gone = now - l->sent_ms;
	uv_timer_start(l->deadline, on_deadline, gone < limit ? limit - gone : 0, 0);
	schedule(l, duration_ms(l) / 3);
	if (!l->leading) {
		l->leading = true;
		l->o.on_leading(l->o.arg);
	}
}

// `lease` is the object as it was read, or a new one. Becomes, or stays, this process's.
static void write_lease(struct fl_leader *l, struct fl_arena *a, struct fl_json *lease)
{
	struct fl_json *spec = fl_json_ensure_object(a, lease, "spec");
	bool is_new = !fl_json_path(lease, "metadata", "resourceVersion", NULL);
	bool own = fl_streq(fl_json_str(spec, "holderIdentity"), l->o.identity);
	fl_time_format_micro(fl_real_ns(), l->tried);
	if (!own) {
		int64_t transitions = fl_json_int(spec, "leaseTransitions", 0);
		fl_json_set_str(a, spec, "acquireTime", l->tried);
		fl_json_set_int(a, spec, "leaseTransitions", is_new ? 0 : transitions + 1);
	}
	fl_json_set_str(a, spec, "holderIdentity", l->o.identity);
	fl_json_set_int(a, spec, "leaseDurationSeconds", l->o.duration_s);
	fl_json_set_str(a, spec, "renewTime", l->tried);
	l->sent_ms = fl_mono_ms();
	if (is_new)
		fl_client_create(l->c, &fl_gvr_leases, l->o.ns, lease, on_written, l, &l->call);
	else
		fl_client_update(l->c, &fl_gvr_leases, l->o.ns, l->o.name, NULL, lease, on_written, l, &l->call);
}

// Somebody else holds the Lease: how long until it may be taken.
static uint64_t watch_holder(struct fl_leader *l, const struct fl_json *lease, const char *holder)
{
	const struct fl_json *spec = fl_json_get(lease, "spec");
	const char *rv = fl_json_str_or(fl_json_get(lease, "metadata"), "resourceVersion", "");
	int64_t theirs = fl_json_int(spec, "leaseDurationSeconds", 0) * 1000;
	uint64_t now = fl_mono_ms(), lasts = theirs > duration_ms(l) ? (uint64_t)theirs : duration_ms(l);
	if (!l->told_holder)
		fl_info("another process leads, waiting holder=%s", holder);
	l->told_holder = true;
	if (!fl_streq(l->seen_rv, rv)) {
		free(l->seen_rv);
		l->seen_rv = fl_strdup(rv);
		l->seen_ms = now;
	}
	return now - l->seen_ms >= lasts ? 0 : lasts - (now - l->seen_ms);
}

static void on_read(void *arg, int rc, int http_status, struct fl_arena *a, struct fl_json *body,
		    const struct fl_err *err)
{
	struct fl_leader *l = arg;
	const struct fl_json *spec = fl_json_get(body, "spec");
	const char *holder = fl_json_str_or(spec, "holderIdentity", "");
	l->call = NULL;
	if (rc == -ENOENT) {
		write_lease(l, a, make_lease(a, l));
		return;
	}
	if (rc < 0) {
		schedule(l, retry_ms(l));
		return;
	}
	bool own = !strcmp(holder, l->o.identity);
	const char *renewed = fl_json_str_or(spec, "renewTime", "");
	if (l->leading && (!own || (strcmp(renewed, l->renewed) != 0 && strcmp(renewed, l->tried) != 0))) {
		lose(l);
		return;
	}
	uint64_t wait_ms = own || !holder[0] ? 0 : watch_holder(l, body, holder);
	if (wait_ms)
		schedule(l, wait_ms < retry_ms(l) ? wait_ms : retry_ms(l));
	else
		write_lease(l, a, body);
}

static void on_step(uv_timer_t *t)
{
	struct fl_leader *l = t->data;
	if (!l->call)
		fl_client_get(l->c, &fl_gvr_leases, l->o.ns, l->o.name, on_read, l, &l->call);
}

// --- going in order ---

static void released(struct fl_leader *l)
{
	uv_timer_stop(l->deadline);
	fl_client_cancel(&l->call);
	l->on_released(l->released_arg);
}

static void on_release_late(uv_timer_t *t)
{
	released(t->data);
}

static void give_back(struct fl_leader *l);

static void on_given_back(void *arg, int rc, int http_status, struct fl_arena *a, struct fl_json *body,
			  const struct fl_err *err)
{
	struct fl_leader *l = arg;
	l->call = NULL;
	if (rc == -ESTALE) // a renewal that was under way came first
		give_back(l);
	else
		released(l);
}

static void on_release_read(void *arg, int rc, int http_status, struct fl_arena *a, struct fl_json *lease,
			    const struct fl_err *err)
{
	struct fl_leader *l = arg;
	char now[FL_TIME_STRLEN];
	l->call = NULL;
	if (rc < 0 || !fl_streq(fl_json_str(fl_json_get(lease, "spec"), "holderIdentity"), l->o.identity)) {
		released(l);
		return;
	}
	struct fl_json *spec = fl_json_ensure_object(a, lease, "spec");
	fl_time_format_micro(fl_real_ns(), now);
	fl_json_set_str(a, spec, "holderIdentity", "");
	fl_json_set_int(a, spec, "leaseDurationSeconds", 1);
	fl_json_set_str(a, spec, "acquireTime", now);
	fl_json_set_str(a, spec, "renewTime", now);
	fl_client_update(l->c, &fl_gvr_leases, l->o.ns, l->o.name, NULL, lease, on_given_back, l, &l->call);
}

static void give_back(struct fl_leader *l)
{
	fl_client_get(l->c, &fl_gvr_leases, l->o.ns, l->o.name, on_release_read, l, &l->call);
}

bool fl_leader_release(struct fl_leader *l, void (*done)(void *arg), void *arg)
{
	if (!l->leading || l->on_released)
		return false;
	l->on_released = done;
	l->released_arg = arg;
	uv_timer_stop(l->step);
	uv_timer_start(l->deadline, on_release_late, RELEASE_MS, 0);
	fl_client_cancel(&l->call);
	give_back(l);
	return true;
}

struct fl_leader *fl_leader_new(struct fl_client *c, const struct fl_leader_opts *opts)
{
	struct fl_leader *l = FL_NEW(struct fl_leader);
	uv_timer_t **const timers[] = {&l->step, &l->deadline};
	l->c = c;
	l->o = *opts;
	l->o.ns = fl_strdup(opts->ns);
	l->o.name = fl_strdup(opts->name);
	l->o.identity = fl_strdup(opts->identity);
	for (size_t i = 0; i < FL_COUNT(timers); i++) {
		*timers[i] = FL_NEW(uv_timer_t);
		(*timers[i])->data = l;
		uv_timer_init(fl_client_loop(c), *timers[i]);
	}
	schedule(l, 0);
	return l;
}

static void free_handle(uv_handle_t *h)
{
	free(h);
}

void fl_leader_free(struct fl_leader **lp)
{
	struct fl_leader *l = TAKE_PTR(*lp);
	if (!l)
		return;
	fl_client_cancel(&l->call);
	uv_close((uv_handle_t *)l->step, free_handle);
	uv_close((uv_handle_t *)l->deadline, free_handle);
	free((void *)(uintptr_t)l->o.ns);
	free((void *)(uintptr_t)l->o.name);
	free((void *)(uintptr_t)l->o.identity);
	free(l->seen_rv);
	free(l);
}
