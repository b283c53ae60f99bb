// SPDX-License-Identifier: Apache-2.0
// The annotation service.kubernetes.io/topology-mode: Auto asks for hints by the processors of zones. Where Kubernetes
// gives none for want of zones it says so in an event; so does this. Hints by zones' processors are not made here at
// all: spec.trafficDistribution makes those that are. (k8s: topologycache)
#pragma once

#include "json/json.h"

// What the nodes say: filled node by node, starting from zeros.
struct fl_topology {
	const char *zones[64]; // of ready nodes, each once; borrowed from the trees
	unsigned n_zones, n_nodes;
	bool insufficient; // a ready node without zone or processors
};

bool fl_topology_wanted(
    const struct fl_json *service); // the annotation says Auto (or auto, or the older annotation does)
void fl_topology_add(struct fl_topology *t, const struct fl_json *node);
// Why there are no hints for so many endpoints; never NULL.
const char *fl_topology_refusal(struct fl_arena *a, const struct fl_topology *t, size_t n_endpoints);
