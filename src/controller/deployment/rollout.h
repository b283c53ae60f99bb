// SPDX-License-Identifier: Apache-2.0
// Sizes of a Deployment's ReplicaSets, step by step. Arithmetic alone: no objects, no I/O.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json/json.h"

struct fl_rollout {
	int64_t replicas; // of the Deployment
	int64_t max_surge, max_unavailable;
	int64_t status_replicas; // what its status says it has
	bool recreate;
};

struct fl_rollout_set {
	const char *name;
	int64_t size; // spec.replicas
	int64_t available;
	int64_t created_ns;
	int64_t desired, max; // annotations of the last scaling; -1 absent
	bool is_new;          // its template is the Deployment's
	bool pods_left;       // some of its pods have not ended yet
	int64_t want;         // out: the size it should have
	bool touch;           // out: its annotations are to follow although the size stays
};

// spec.replicas and the strategy. Surge percents are rounded up, unavailable ones down; both 0 counts as one
// unavailable. (k8s: ResolveFenceposts)
void fl_rollout_read(const struct fl_json *deployment, struct fl_rollout *ret);
// The size with which the new set starts or goes on, beside `sets` (which hold it or not). (k8s: NewRSNewReplicas)
int64_t fl_rollout_new_size(const struct fl_rollout *r, const struct fl_rollout_set *sets, size_t n, int64_t now);
// One step of a rollout; the new set is among the sets, except with recreate before it may exist. Sets `want` of all.
void fl_rollout_step(const struct fl_rollout *r, struct fl_rollout_set *sets, size_t n);
// Recreate: the old pods have all ended, so the new set may be made.
bool fl_rollout_may_create(const struct fl_rollout *r, const struct fl_rollout_set *sets, size_t n);
// The Deployment's size was changed, or it is paused: sizes follow in proportion, without rolling on.
void fl_rollout_scale(const struct fl_rollout *r, struct fl_rollout_set *sets, size_t n);
