// SPDX-License-Identifier: Apache-2.0
// Container probes (Kubernetes "Configure Liveness, Readiness and Startup Probes"): what a probe is, and the state
// machine that turns single results into a verdict. No I/O; prober.h runs them.
#pragma once

#include "node/action.h"

enum fl_probe_use { FL_PROBE_STARTUP, FL_PROBE_LIVENESS, FL_PROBE_READINESS, FL_PROBE_USE_COUNT };

struct fl_probe_spec { // strings point into the pod's tree or the arena
	struct fl_action_spec action;
	unsigned initial_delay_s, period_s, timeout_s, success_threshold, failure_threshold;
	int64_t grace_s; // terminationGracePeriodSeconds of the probe; -1 when unset
};

// False: the container has no such probe, or one that cannot be run, which *ret_why tells (else NULL).
bool fl_probe_read(const struct fl_json *container, enum fl_probe_use use, struct fl_probe_spec *ret,
		   const char **ret_why);
const char *fl_probe_use_name(enum fl_probe_use use); // "Startup", "Liveness", "Readiness"

struct fl_probe_state {
	bool verdict;                 // what it is now
	unsigned successes, failures; // in a row
};

// Before the first result: readiness and startup false, liveness true.
void fl_probe_state_init(struct fl_probe_state *s, enum fl_probe_use use);
// One more result. True when the verdict changed.
bool fl_probe_state_add(struct fl_probe_state *s, const struct fl_probe_spec *p, bool success);
