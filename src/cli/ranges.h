// SPDX-License-Identifier: Apache-2.0
// Whether the ranges of Services and of this node's pods are free on this host. A route into one of them means that
// other hosts live there, which would be cut off.
#pragma once

#include "cli/options.h"
#include "io/netlink.h"

enum fl_clash {
	FL_CLASH_NONE,
	FL_CLASH_AROUND, // a wider route: most of it stays reachable
	FL_CLASH_INSIDE, // the route is the range, or a part of it
};

// Pure: of one route and one range. Routes of ours and default routes never clash.
enum fl_clash fl_ranges_clash(const struct fl_route *r, const struct fl_cidr *range);

// -EADDRINUSE names the option, the range and the route; a wider route is logged.
FL_WUR int fl_ranges_check(const struct fl_options *o, struct fl_err *err);
