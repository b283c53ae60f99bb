// SPDX-License-Identifier: Apache-2.0
// What a ReplicaSet or a ReplicationController needs: pods to make, to remove, to take over or to let go, and its
// status. Pure.
#pragma once

#include "api/selector.h"
#include "base/vec.h"
#include "controller/pod.h"

#define FL_RS_BURST 64 // pods made or removed in one pass; the next pass follows at once

// The two kinds differ in their names, in the form of their selector and in one member of the status.
struct fl_rs_kind {
	const char *api_version, *kind;
	bool plain_selector; // a map of labels, no LabelSelector
	bool tells_terminating;
};
extern const struct fl_rs_kind fl_rs_replicaset, fl_rs_replicationcontroller;

struct fl_rs_in {
	const struct fl_rs_kind *kind;
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
	int64_t wait_ns; // until a ready pod counts as available, or the next one may be made; 0: none waits
};

void fl_rs_plan_make(struct fl_arena *a, const struct fl_rs_in *in, struct fl_rs_plan *ret);
void fl_rs_plan_deinit(struct fl_rs_plan *p);
// A pod of the template, to be created.
struct fl_json *fl_rs_new_pod(struct fl_arena *a, const struct fl_rs_kind *kind, const struct fl_json *rs);
// spec.selector; NULL when it is broken or selects everything, which no set may.
struct fl_selector *fl_rs_selector(struct fl_arena *a, const struct fl_rs_kind *kind, const struct fl_json *rs);
