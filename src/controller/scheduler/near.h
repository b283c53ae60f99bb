// SPDX-License-Identifier: Apache-2.0
// Where a pod may and would rather be for the sake of the pods that are there: podAffinity, podAntiAffinity (its own,
// and that of the others), topologySpreadConstraints. (Kubernetes "Assigning Pods to Nodes", "Pod Topology Spread
// Constraints"; k8s: plugins interpodaffinity, podtopologyspread.) Pure: told all nodes, then all pods, then asked.
#pragma once

#include "json/json.h"

struct fl_near;

// Labels of a namespace, or NULL.
typedef const struct fl_json *(*fl_near_ns_labels)(void *arg, const char *ns);

bool fl_near_depends(const struct fl_json *pod); // on other pods: all of them have to be told
bool fl_near_repels(const struct fl_json *pod);  // others: it has to be told to each of them

// In `a`, as is all that follows; trees must outlive it. `arg` is ns_labels'.
struct fl_near *fl_near_new(struct fl_arena *a, const struct fl_json *pod, fl_near_ns_labels ns_labels, void *arg);
void fl_near_free(struct fl_near **n);                            // accepts NULL inside
void fl_near_node(struct fl_near *n, const struct fl_json *node); // each one, whether the pod fits there or not
// Each pod that has a node and has not ended, after the nodes.
void fl_near_pod(struct fl_near *n, const struct fl_json *pod, const struct fl_json *node);
// Why the pod may not go there, in Kubernetes' words; NULL: it may.
const char *fl_near_refusal(const struct fl_near *n, const struct fl_json *node);
// By preferred terms: more is better. By constraints that may be broken: the pods in the node's domains, less is
// better.
int64_t fl_near_liking(const struct fl_near *n, const struct fl_json *node);
int64_t fl_near_crowd(const struct fl_near *n, const struct fl_json *node);
