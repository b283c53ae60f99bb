// SPDX-License-Identifier: Apache-2.0
// How pods reach the world: what a pod of this node sends to an address that is no pod's leaves with the node's own
// address (masquerade), since nobody else has a route back to pods. Tables "ip fairlead-egress" and
// "ip6 fairlead-egress" in this network namespace. Between pods, of other nodes too, addresses stay.
#pragma once

#include "base/err.h"
#include "base/ip.h"

struct fl_egress {
	struct fl_cidr pods[2];    // of this node, one a family
	struct fl_cidr cluster[2]; // of all nodes, in the same order
	unsigned n;                // 0: no masquerade
};

// Writes the tables anew in one transaction; none for a family without pods. Blocking, under a millisecond.
FL_WUR int fl_egress_apply(const struct fl_egress *e, struct fl_err *err);
// The same unless all of it stands: somebody's `nft flush ruleset` takes the tables, `nft flush table` their rules.
// Costs a question a family.
FL_WUR int fl_egress_keep(const struct fl_egress *e, struct fl_err *err);
FL_WUR int fl_egress_cleanup(struct fl_err *err);
