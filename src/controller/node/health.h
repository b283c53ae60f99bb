// SPDX-License-Identifier: Apache-2.0
// What a Node's state asks for: conditions, taints, evictions. Pure.
#pragma once

#include "controller/pod.h"

#define FL_HEALTH_GRACE_MS 40000 // without a heartbeat (Lease or status) the node counts as lost

// Merge patch of the status of a Node whose heartbeat has stopped: Ready and the pressure conditions become Unknown.
// NULL when they are already. Like the next one, it holds the resourceVersion: a node that is back is not overruled.
struct fl_json *fl_health_unknown_patch(struct fl_arena *a, const struct fl_json *node, int64_t now_ns);
// Merge patch of spec.taints so that they say what the node's state says: not-ready (Ready is False), unreachable
// (Unknown), each NoSchedule and NoExecute; unschedulable, and the pressures, NoSchedule. Other taints stay; one with
// NoExecute that does not say since when it stands (kubectl taint) is given that. NULL when nothing changes. (k8s:
// nodelifecycle)
struct fl_json *fl_health_taints_patch(struct fl_arena *a, const struct fl_json *node, int64_t now_ns);
// Ready is Unknown. (Of a node that says False itself, the word on its pods is still its own.)
bool fl_health_is_silent(const struct fl_json *node);
// Strategic merge patch of the status of a pod on a silent node: Ready becomes False. NULL when it is not True.
struct fl_json *fl_health_pod_unready_patch(struct fl_arena *a, const struct fl_podview *p, int64_t now_ns);
// When the pod is to be evicted by the node's NoExecute taints: real time; 0: at once; -1: never. What it tolerates for
// a time counts from when both were there; a taint without a timeAdded waits for the patch above. (k8s: tainteviction)
int64_t fl_health_evict_at(const struct fl_json *node, const struct fl_podview *p);
bool fl_health_evicts(const struct fl_json *node); // it has a NoExecute taint
