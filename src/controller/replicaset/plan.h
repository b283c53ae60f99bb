// SPDX-License-Identifier: Apache-2.0
// What a ReplicaSet needs: pods to make, to remove, to take over or to let go, and its status. Pure.
#pragma once

#include "base/vec.h"
#include "controller/pod.h"

#define FL_RS_BURST 64 // pods made or removed in one pass; the next pass follows at once

struct fl_rs_in {
	const struct fl_json *rs;
	// Pods that it controls, and pods without a controller that its selector matches.
	const struct fl_podview *pods;
	size_t n_pods;
	int64_t now_ns;
	const char *failure; // message of the last pass's failure to make or remove pods; NULL: it went well
};

struct fl_rs_plan { // pods by index into fl_rs_in.pods
	FL_VEC(size_t) adopt, release, remove;
	unsigned create;
	struct fl_json *status;
	int64_t wait_ns; // until a ready pod counts as available; 0: none waits
};

void fl_rs_plan_make(struct fl_arena *a, const struct fl_rs_in *in, struct fl_rs_plan *ret);
void fl_rs_plan_deinit(struct fl_rs_plan *p);
// A pod of the ReplicaSet's template, to be created.
struct fl_json *fl_rs_new_pod(struct fl_arena *a, const struct fl_json *rs);
