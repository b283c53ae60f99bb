// SPDX-License-Identifier: Apache-2.0
// May a pod run on a node? (Kubernetes "Assigning Pods to Nodes", "Taints and Tolerations".) Pure.
#pragma once

#include "controller/scheduler/room.h"

typedef FL_VEC(const char *) fl_refusals; // texts in an arena; fl_vec_deinit

// Adds why it may not, in Kubernetes' words: "node(s) were unschedulable"; nothing when it may. Several only for
// resources. `taken` by the pods that the node has, `ports_free`: none of them has this one's host ports; a resource
// that the node does not tell of is not limited.
void fl_fit_refusals(struct fl_arena *a, const struct fl_json *pod, const struct fl_demand *demand,
		     const struct fl_json *node, const struct fl_room *taken, bool ports_free, fl_refusals *ret);
// The taint that keeps the pod away, as fl_fit_refusals says it, or NULL.
const char *fl_fit_taint(struct fl_arena *a, const struct fl_json *pod, const struct fl_json *node);
bool fl_fit_selects(const struct fl_json *pod, const struct fl_json *node); // nodeSelector, required nodeAffinity
// Of nodes that fit: taints PreferNoSchedule that the pod does not tolerate; sum of its preferred nodeAffinity's
// weights.
int64_t fl_fit_unwanted_taints(const struct fl_json *pod, const struct fl_json *node);
int64_t fl_fit_preference(const struct fl_json *pod, const struct fl_json *node);
// A toleration of the pod covers the taint.
bool fl_fit_tolerates(const struct fl_json *pod, const char *key, const char *value, const char *effect);
// This one toleration does.
bool fl_fit_toleration_covers(const struct fl_json *toleration, const char *key, const char *value, const char *effect);
