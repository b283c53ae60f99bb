// SPDX-License-Identifier: Apache-2.0
// What kinds with a pod template share (replicaset.c).
#pragma once

#include "api/kind.h"

void fl_workload_set_template_defaults(struct fl_arena *a, struct fl_json *obj);
// spec.selector: there, well formed, not empty.
void fl_workload_validate_selector(struct fl_causes *c, const struct fl_json *selector);
// The counts of a status that `keys` (NULL-terminated) names are not negative.
void fl_workload_validate_counts(struct fl_causes *c, const struct fl_json *status, const char *const *keys);
