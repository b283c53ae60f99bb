// SPDX-License-Identifier: Apache-2.0
// The older Endpoints object of a Service (core/v1; deprecated, still read by many clients).
#pragma once

#include "controller/endpoints/members.h"

#define FL_ENDPOINTS_MAX              1000
#define FL_LABEL_ENDPOINTS_MANAGED_BY "endpoints.kubernetes.io/managed-by"
#define FL_ENDPOINTS_MANAGER          "endpoint-controller"

// The whole object that should stand instead of `existing` (NULL: none); NULL when that is right already. Addresses
// with the same ports share a subset; ready and not-ready ones stand apart; beyond `max` addresses the not-ready go
// first and an annotation says so.
struct fl_json *fl_endpoints_plan(struct fl_arena *a, const struct fl_members_in *in, const struct fl_json *existing,
				  size_t max);
