// SPDX-License-Identifier: Apache-2.0
// What a Deployment needs next: ReplicaSets to make, change or remove, its revision and its status. Pure.
#pragma once

#include "base/vec.h"
#include "controller/deployment/rollout.h"

#define FL_ANNOTATION_REVISION "deployment.kubernetes.io/revision"

struct fl_deploy_set_in {
	const struct fl_json *rs; // a ReplicaSet that the Deployment controls, or may adopt
	bool pods_left;           // pods of it that have not ended, deleted ones included (asked of for Recreate only)
};

struct fl_deploy_in {
	const struct fl_json *deployment;
	const struct fl_deploy_set_in *sets;
	size_t n_sets;
	int64_t now_ns;
	const char *create_error; // message of the last pass's failure to make the new ReplicaSet; NULL: none
};

enum fl_deploy_op { FL_DEPLOY_CREATE, FL_DEPLOY_PATCH, FL_DEPLOY_DELETE };

struct fl_deploy_step { // on a ReplicaSet
	enum fl_deploy_op op;
	const char *name, *uid;
	struct fl_json *body; // the object, or a merge patch
	int64_t from, to;     // sizes, for the event; equal: no scaling
};

struct fl_deploy_plan {
	FL_VEC(struct fl_deploy_step) steps;
	struct fl_json *revision_patch; // merge patch of the Deployment; NULL: none
	struct fl_json *status;
	int64_t wait_ns; // until the progress deadline is to be looked at; 0: not at all
};

void fl_deploy_plan_make(struct fl_arena *a, const struct fl_deploy_in *in, struct fl_deploy_plan *ret);
void fl_deploy_plan_deinit(struct fl_deploy_plan *p);
