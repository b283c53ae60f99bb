// SPDX-License-Identifier: Apache-2.0
// EndpointSlices of a Service (Kubernetes "EndpointSlices", "Distribution of EndpointSlices"; facts.md 1.2).
#pragma once

#include "base/vec.h"
#include "controller/endpoints/members.h"

#define FL_SLICE_MAX_ENDPOINTS 100
#define FL_LABEL_SERVICE_NAME  "kubernetes.io/service-name"
#define FL_LABEL_MANAGED_BY    "endpointslice.kubernetes.io/managed-by"
#define FL_SLICE_MANAGER       "endpointslice-controller.k8s.io"

enum fl_slice_op { FL_SLICE_CREATE, FL_SLICE_UPDATE, FL_SLICE_DELETE };

struct fl_slice_step {
	enum fl_slice_op op;
	const char *name, *uid; // of an existing one
	struct fl_json *slice;  // whole object; NULL for a delete
};

typedef FL_VEC(struct fl_slice_step) fl_slice_plan; // free with fl_vec_deinit

// Equal for two lists of the same ports in any order.
const char *fl_slices_ports_key(struct fl_arena *a, const struct fl_json *ports);
// Desired slices as steps from `existing` (trees; those of this Service that we manage). No step for a slice that is
// right already. Never changes its inputs. *ret_missing_node: a pod was left out because its Node is not there.
void fl_slices_plan(struct fl_arena *a, const struct fl_members_in *in, const struct fl_json *const *existing,
		    size_t n_existing, unsigned max_endpoints, fl_slice_plan *ret, bool *ret_missing_node);
