// SPDX-License-Identifier: Apache-2.0
// Probe specifications and verdicts. See probe.h.
#include "node/probe.h"

#include "base/clock.h"
#include "base/mem.h"

static const char *const keys[FL_PROBE_USE_COUNT] = {"startupProbe", "livenessProbe", "readinessProbe"};
static const char *const names[FL_PROBE_USE_COUNT] = {"Startup", "Liveness", "Readiness"};

const char *fl_probe_use_name(enum fl_probe_use use)
{
	return names[use];
}

static unsigned number(const struct fl_json *p, const char *key, unsigned otherwise, unsigned least)
{
	int64_t v = fl_json_int(p, key, otherwise);

	return v < least ? least : v > 1000000 ? 1000000 : (unsigned)v;
}

bool fl_probe_read(const struct fl_json *container, enum fl_probe_use use, struct fl_probe_spec *ret,
		   const char **ret_why)
{
	const struct fl_json *p = fl_json_get(container, keys[use]);

	*ret_why = NULL;
	if (!fl_json_is(p, FL_JSON_OBJECT))
		return false;
	struct fl_probe_spec s = {
	    .initial_delay_s = number(p, "initialDelaySeconds", 0, 0),
	    .period_s = number(p, "periodSeconds", 10, 1),
	    .timeout_s = number(p, "timeoutSeconds", 1, 1),
	    .success_threshold = number(p, "successThreshold", 1, 1),
	    .failure_threshold = number(p, "failureThreshold", 3, 1),
	    .grace_s = fl_clamp_seconds(fl_json_int(p, "terminationGracePeriodSeconds", -1)),
	};

	if (!fl_action_read(container, p, &s.action, ret_why))
		return false;
	*ret = s;
	return true;
}

void fl_probe_state_init(struct fl_probe_state *s, enum fl_probe_use use)
{
	*s = (struct fl_probe_state){.verdict = use == FL_PROBE_LIVENESS};
}

bool fl_probe_state_add(struct fl_probe_state *s, const struct fl_probe_spec *p, bool success)
{
	bool before = s->verdict;

	if (success) {
		s->failures = 0;
		if (s->successes < p->success_threshold)
			s->successes++;
		if (s->successes >= p->success_threshold)
			s->verdict = true;
	} else {
		s->successes = 0;
		if (s->failures < p->failure_threshold)
			s->failures++;
		if (s->failures >= p->failure_threshold)
			s->verdict = false;
	}
	return s->verdict != before;
}
