// SPDX-License-Identifier: Apache-2.0
// Runs the probes of one running container and tells verdicts.
//
// The startup probe goes first; the others begin when it succeeded. A container that is not ready yet is looked at in
// short steps at first (0.1 s, doubled up to its period), so that periodSeconds 10 does not mean ten seconds of waiting
// for a server that was up after ten milliseconds; these early looks never count as failures.
#pragma once

#include "node/probe.h"

struct fl_prober;

struct fl_prober_opts {
	struct fl_action_place place;            // strings copied
	const struct fl_json *container;         // read, not kept
	bool was_ready, was_started;             // verdicts of an earlier run of the node, to go on from
	void (*on_ready)(void *arg, bool ready); // the verdict changed
	void (*on_startup)(void *arg);           // the startup probe succeeded
	// Counted failures: `text` is kubelet's event message ("Readiness probe failed: ..."); with `kill` the
	// container is to be killed (liveness or startup), `grace_s` -1 = the pod's.
	void (*on_failure)(void *arg, enum fl_probe_use use, const char *text, bool kill, int64_t grace_s);
	void *arg;
};

// NULL when the container has no probe at all. Verdicts without a probe: ready and started.
struct fl_prober *fl_prober_start(const struct fl_prober_opts *o);
void fl_prober_stop(struct fl_prober **p);         // accepts NULL inside; no callback after this
bool fl_prober_ready(const struct fl_prober *p);   // p may be NULL
bool fl_prober_started(const struct fl_prober *p); // p may be NULL
