// SPDX-License-Identifier: Apache-2.0
// What kinds with a pod template share, and what ReplicaSet and ReplicationController do (replicaset.c).
#pragma once

#include "api/kind.h"

void fl_workload_set_template_defaults(struct fl_arena *a, struct fl_json *obj);
void fl_workload_set_status_replicas(struct fl_arena *a, struct fl_json *obj);
// spec.selector: there, well formed, not empty.
void fl_workload_validate_selector(struct fl_causes *c, const struct fl_json *selector);
// The counts of a status that `keys` (NULL-terminated) names are not negative.
void fl_workload_validate_counts(struct fl_causes *c, const struct fl_json *status, const char *const *keys);

// Hooks of both kinds that only keep a number of pods.
void fl_workload_validate_replica_status(struct fl_causes *c, const struct fl_json *status);
void fl_workload_replica_row(struct fl_arena *a, const struct fl_json *obj, int64_t now_ns, struct fl_json *cells);
const char *fl_workload_replica_field(struct fl_arena *a, const struct fl_json *obj, const char *path);
