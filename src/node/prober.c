// SPDX-License-Identifier: Apache-2.0
// One timer per probe; one look (an action, action.h) at a time per probe.
#include "node/prober.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/version.h"

#define EARLY_FIRST_MS 100

struct probe {
	struct fl_prober *prober;
	enum fl_probe_use use;
	struct fl_probe_spec spec; // strings in the prober's arena
	struct fl_probe_state state;
	uv_timer_t timer;
	uint64_t next_regular_ms;
	unsigned early_ms; // pause until the next early look; 0: no early looks (any more)
	bool counted;      // the look under way counts
	bool active;
	struct fl_action *look;
};

struct fl_prober {
	struct fl_prober_opts o;
	struct fl_arena arena;
	struct probe *probes[FL_PROBE_USE_COUNT];
	bool started;
	bool stopped;
	uint64_t began_ms;
	int open_timers;
};

static void probe_begin(struct probe *p);
static void on_timer(uv_timer_t *timer);

// --- results ---

static void schedule(struct probe *p)
{
	uint64_t now = uv_now(p->prober->o.place.loop), period = (uint64_t)p->spec.period_s * 1000;

	if (p->counted) {
		while (p->next_regular_ms <= now)
			p->next_regular_ms += period;
	}
	uint64_t wait = p->next_regular_ms > now ? p->next_regular_ms - now : 0;

	if (p->state.verdict || p->state.successes || p->use == FL_PROBE_LIVENESS) // successThreshold counts periods
		p->early_ms = 0;
	if (p->early_ms && p->early_ms < wait) {
		wait = p->early_ms;
		p->early_ms *= 2;
		p->counted = false;
	} else {
		p->counted = true;
	}
	uv_timer_start(&p->timer, on_timer, wait, 0);
}

static void others_begin(struct fl_prober *pr)
{
	for (int use = FL_PROBE_LIVENESS; use < FL_PROBE_USE_COUNT; use++) {
		struct probe *p = pr->probes[use];
		uint64_t at, now = uv_now(pr->o.place.loop);

		if (!p || p->active)
			continue;
		p->active = true;
		at = pr->began_ms + (uint64_t)p->spec.initial_delay_s * 1000;
		uv_timer_start(&p->timer, on_timer, at > now ? at - now : 0, 0);
	}
}

static void probe_result(struct probe *p, bool success, const char *why)
{
	struct fl_prober *pr = p->prober;
	bool counted = p->counted || success, changed, kill;
	char text[768];

	p->look = NULL;
	changed = counted && fl_probe_state_add(&p->state, &p->spec, success);
	if (p->use == FL_PROBE_STARTUP && p->state.verdict) {
		uv_timer_stop(&p->timer);
		pr->started = true;
		pr->o.on_startup(pr->o.arg);
		if (!pr->stopped)
			others_begin(pr);
		return;
	}
	schedule(p);
	if (changed && p->use == FL_PROBE_READINESS)
		pr->o.on_ready(pr->o.arg, p->state.verdict);
	if (success || !counted || pr->stopped)
		return;
	kill = p->use != FL_PROBE_READINESS && p->state.failures >= p->spec.failure_threshold;
	if (kill) {
		p->state.failures = 0;
		uv_timer_stop(&p->timer);
	}
	snprintf(text, sizeof(text), "%s probe failed: %s", fl_probe_use_name(p->use), why);
	pr->o.on_failure(pr->o.arg, p->use, text, kill, p->spec.grace_s);
}

// --- the probe's clock ---

static void on_look(void *arg, bool success, const char *text)
{
	probe_result(arg, success, text);
}

static void probe_begin(struct probe *p)
{
	struct fl_action_opts o = {
	    .place = &p->prober->o.place,
	    .spec = &p->spec.action,
	    .user_agent = "kube-probe/" FL_KUBE_MAJOR "." FL_KUBE_MINOR,
	    .timeout_s = p->spec.timeout_s,
	    .on_done = on_look,
	    .arg = p,
	};
	struct fl_err err = {0};

	p->active = true;
	if (p->look || p->prober->stopped)
		return;
	if (fl_action_start(&o, &p->look, &err) < 0)
		probe_result(p, false, err.text);
}

static void on_timer(uv_timer_t *timer)
{
	probe_begin(timer->data);
}

static void prober_free(struct fl_prober *pr)
{
	for (int use = 0; use < FL_PROBE_USE_COUNT; use++)
		free(pr->probes[use]);
	fl_arena_deinit(&pr->arena);
	free(pr);
}

struct fl_prober *fl_prober_start(const struct fl_prober_opts *o)
{
	struct fl_prober *pr = FL_NEW(struct fl_prober);
	bool any = false;

	pr->o = *o;
	pr->o.place.runtime = fl_arena_strdup(&pr->arena, o->place.runtime);
	pr->o.place.runtime_root = fl_arena_strdup(&pr->arena, o->place.runtime_root);
	pr->o.place.id = fl_arena_strdup(&pr->arena, o->place.id);
	pr->o.place.dir = fl_arena_strdup(&pr->arena, o->place.dir);
	pr->o.container = NULL;
	for (int use = 0; use < FL_PROBE_USE_COUNT; use++) {
		struct fl_probe_spec spec;
		const char *why;
		struct probe *p;

		if (!fl_probe_read(o->container, (enum fl_probe_use)use, &spec, &why)) {
			if (why)
				fl_warn("probe left out container=%s: %s", fl_json_str_or(o->container, "name", ""),
					why);
			continue;
		}
		fl_action_copy(&pr->arena, &spec.action);
		p = pr->probes[use] = FL_NEW(struct probe);
		p->prober = pr;
		p->use = (enum fl_probe_use)use;
		p->spec = spec;
		p->early_ms = EARLY_FIRST_MS;
		fl_probe_state_init(&p->state, p->use);
		uv_timer_init(o->place.loop, &p->timer);
		p->timer.data = p;
		pr->open_timers++;
		any = true;
	}
	if (!any) {
		prober_free(pr);
		return NULL;
	}
	pr->began_ms = uv_now(o->place.loop);
	pr->started = !pr->probes[FL_PROBE_STARTUP] || o->was_started;
	if (pr->probes[FL_PROBE_READINESS] && o->was_ready) {
		pr->probes[FL_PROBE_READINESS]->state.verdict = true;
		pr->probes[FL_PROBE_READINESS]->early_ms = 0;
	}
	for (int use = 0; use < FL_PROBE_USE_COUNT; use++) {
		struct probe *p = pr->probes[use];
		uint64_t delay;

		if (!p)
			continue;
		delay = o->was_started ? 0 : (uint64_t)p->spec.initial_delay_s * 1000;
		p->counted = use == FL_PROBE_LIVENESS || p->state.verdict;
		p->next_regular_ms =
		    uv_now(o->place.loop) + delay + (p->counted ? 0 : (uint64_t)p->spec.period_s * 1000);
		if ((use == FL_PROBE_STARTUP) != pr->started) {
			p->active = true;
			uv_timer_start(&p->timer, on_timer, delay, 0);
		}
	}
	return pr;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct probe *p = handle->data;

	if (--p->prober->open_timers == 0)
		prober_free(p->prober);
}

void fl_prober_stop(struct fl_prober **pp)
{
	struct fl_prober *pr = *pp;

	if (!pr)
		return;
	*pp = NULL;
	pr->stopped = true;
	for (int use = 0; use < FL_PROBE_USE_COUNT; use++) {
		struct probe *p = pr->probes[use];

		if (!p)
			continue;
		fl_action_cancel(&p->look);
		uv_close((uv_handle_t *)&p->timer, on_timer_closed);
	}
}

bool fl_prober_ready(const struct fl_prober *p)
{
	if (!p)
		return true;
	return p->started && (!p->probes[FL_PROBE_READINESS] || p->probes[FL_PROBE_READINESS]->state.verdict);
}

bool fl_prober_started(const struct fl_prober *p)
{
	return !p || p->started;
}
