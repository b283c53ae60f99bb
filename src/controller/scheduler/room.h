// SPDX-License-Identifier: Apache-2.0
// What a pod asks of a node's resources, and what the pods of a node take together. (Kubernetes "Resource Management
// for Pods and Containers"; k8s: PodRequests)
#pragma once

#include "base/map.h"
#include "base/vec.h"
#include "json/json.h"

struct fl_demand_amount {
	const char *resource; // "cpu", "memory" ...
	__int128 nano;        // in nano units, more than 0
};

struct fl_demand { // lives in an arena
	FL_VEC(struct fl_demand_amount) amounts;
};

// Strings are copied into `a`. The largest of: all containers together with the side-cars; an init container with the
// side-cars before it. Requests, or limits where there is no request; overhead on top. fl_demand_deinit afterwards.
void fl_demand_read(struct fl_arena *a, const struct fl_json *pod, struct fl_demand *ret);
void fl_demand_deinit(struct fl_demand *d);

struct fl_room { // taken on one node; zeroed: nothing
	size_t pods;
	struct fl_map amounts; // resource -> __int128 *
};

void fl_room_add(struct fl_room *r, const struct fl_demand *d);
void fl_room_sub(struct fl_room *r, const struct fl_demand *d); // what was added before
void fl_room_deinit(struct fl_room *r);
__int128 fl_room_taken(const struct fl_room *r, const char *resource);
