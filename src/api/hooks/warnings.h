// SPDX-License-Identifier: Apache-2.0
// What is accepted and yet hardly meant: texts for Warning headers, one function for each kind that has some.
// (k8s: WarningsOnCreate, WarningsOnUpdate)
#pragma once

#include "api/kind.h"

__attribute__((format(printf, 3, 4))) void fl_warn(struct fl_arena *a, struct fl_json *texts, const char *format, ...);

// pkg/api/service GetWarningsForService
void fl_service_warn(struct fl_arena *a, const struct fl_json *obj, const struct fl_json *old, struct fl_json *texts);
// pkg/api/pod GetWarningsForPod: of a new Pod alone, as people do not write to those that are there.
void fl_pod_warn(struct fl_arena *a, const struct fl_json *obj, const struct fl_json *old, struct fl_json *texts);
// Of a workload whose name and template its pods get. (pkg/api/pod GetWarningsForPodTemplate)
void fl_workload_warn(struct fl_arena *a, const struct fl_json *obj, const struct fl_json *old, struct fl_json *texts);
