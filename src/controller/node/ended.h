// SPDX-License-Identifier: Apache-2.0
// Pods that have ended and that nobody has deleted: how many there are, and which are to go first. (k8s: podgc)
#pragma once

#include <stddef.h>

#include "base/map.h"
#include "base/vec.h"
#include "controller/pod.h"

#define FL_ENDED_MAX   12500 // kube-controller-manager's --terminated-pod-gc-threshold
#define FL_ENDED_BURST 64    // deleted in one pass; the next follows at once

// A zeroed one is valid and empty.
struct fl_ended {
	struct fl_map pods; // "ns/name" -> what decides on its turn
};

typedef FL_VEC(const char *) fl_ended_keys;

// Takes the pod in or out, as it is now.
void fl_ended_note(struct fl_ended *e, const char *key, const struct fl_podview *p);
void fl_ended_forget(struct fl_ended *e, const char *key);
// Keys of those above `max`, at most FL_ENDED_BURST: evicted ones first, then the oldest. Valid until the next change.
void fl_ended_surplus(const struct fl_ended *e, size_t max, fl_ended_keys *ret);
void fl_ended_deinit(struct fl_ended *e);
