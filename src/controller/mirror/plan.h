// SPDX-License-Identifier: Apache-2.0
// EndpointSlices that say what a hand-made Endpoints object says (Kubernetes "EndpointSlice mirroring"). Pure.
#pragma once

#include "controller/endpoints/slices.h"

#define FL_MIRROR_MANAGER       "endpointslicemirroring-controller.k8s.io"
#define FL_MIRROR_MAX_ENDPOINTS 1000 // of one set of ports
#define FL_LABEL_SKIP_MIRROR    "endpointslice.kubernetes.io/skip-mirror"

// Neither skipped by its label nor a leader election's record. Its Service has to be looked at beside it.
bool fl_mirror_wants(const struct fl_json *endpoints);

struct fl_mirror_left_out {
	size_t invalid, beyond; // addresses that are none; addresses above FL_MIRROR_MAX_ENDPOINTS
};

// The steps from `existing` (the mirrored slices of this name, trees) to one slice for each set of ports and address
// family. No step for a slice that is right already. Never changes its inputs.
void fl_mirror_plan(struct fl_arena *a, const struct fl_json *endpoints, const struct fl_json *const *existing,
		    size_t n_existing, size_t max, fl_slice_plan *ret, struct fl_mirror_left_out *ret_left_out);
