// SPDX-License-Identifier: Apache-2.0
// May a pod run on a node? (Kubernetes "Assigning Pods to Nodes", "Taints and Tolerations".) Pure.
#pragma once

#include "json/json.h"

// NULL when it may; else why not, in Kubernetes' words: "node(s) were unschedulable". `n_pods`: pods the node has.
const char *fl_fit_refusal(struct fl_arena *a, const struct fl_json *pod, const struct fl_json *node, size_t n_pods);
// A toleration of the pod covers the taint.
bool fl_fit_tolerates(const struct fl_json *pod, const char *key, const char *value, const char *effect);
// This one toleration does.
bool fl_fit_toleration_covers(const struct fl_json *toleration, const char *key, const char *value, const char *effect);
