// SPDX-License-Identifier: Apache-2.0
// Ports of this host that lead to pods (hostPort): tables "ip fairlead-host-ports" and "ip6 fairlead-host-ports" in
// this network namespace, beside the proxy's.
//
//   prerouting, output (before the proxy) -> is it for a host port?  -> DNAT to the pod
//   postrouting                           -> from a pod to itself?   -> masquerade
//
// Clients: other hosts, pods, this host by any of its addresses but the loopback ones, where a program of the host may
// listen on its own. All of the tables is written anew with each change, in one transaction: there are few, and what a
// crash left is gone with the next write.
#pragma once

#include "api/hostport.h"
#include "base/err.h"

struct fl_hostport_rule {
	struct fl_host_port port;
	struct fl_ip pod_ip; // rules of the other family than port.ip's are left out
};

// Blocking, under a millisecond. n 0: the tables go.
FL_WUR int fl_hostports_apply(const struct fl_hostport_rule *rules, size_t n, struct fl_err *err);
// The same unless the tables stand that these rules need, with their rules. Costs three questions a family.
FL_WUR int fl_hostports_keep(const struct fl_hostport_rule *rules, size_t n, struct fl_err *err);
// -EADDRINUSE: a program of this host has the port.
FL_WUR int fl_hostports_check_free(const struct fl_host_port *p, struct fl_err *err);
