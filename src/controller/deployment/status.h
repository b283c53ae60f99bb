// SPDX-License-Identifier: Apache-2.0
// status of a Deployment: counts and the conditions Available, Progressing and ReplicaFailure. Pure.
#pragma once

#include "controller/deployment/plan.h"

struct fl_deploy_status_in {
	const struct fl_json *deployment;
	const struct fl_rollout *rollout;
	const struct fl_json *const *sets; // all ReplicaSets' trees
	size_t n_sets;
	const struct fl_json *new_set; // NULL: not there yet
	const char *created;           // name of a new set that this pass makes, or NULL
	const char *create_error;
	bool progress; // false for scaling and pause: no progress is judged
	int64_t now_ns;
};

struct fl_json *fl_deploy_status(struct fl_arena *a, const struct fl_deploy_status_in *in, int64_t *ret_wait_ns);
// All replicas are of the new template and available, and the status is of this generation.
bool fl_deploy_complete(const struct fl_json *deployment, const struct fl_json *status);
