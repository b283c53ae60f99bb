// SPDX-License-Identifier: Apache-2.0
// The network of this host's pods: one network namespace a pod (with the pod's UTS and IPC namespaces beside it), a
// routed veth pair, one /32 (or /128) route. A pod on the host's network has an IPC namespace only.
//
//        host                                          pod
//   lo: 10.244.0.1/32  (gateway, DNS listens here)     eth0: 10.244.0.7/32
//   10.244.0.7 dev flv1a2b3c4d5e6 proto 117   <---->   10.244.0.1 dev eth0 scope link
//   unreachable 10.244.0.0/24 proto 117                default via 10.244.0.1
//
// No bridge: the host routes, so what filters and counts routed packets sees every one of them. IPv6 cannot ask a veth
// for an address that stands on lo: there the gateway is fe80::1, on each host end. Everything is found again by name
// (flv + hash of the pod's uid) and by the record <run>/host.
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/ip.h"
#include "io/netlink.h"
#include "node/paths.h"

#define FL_PODNET_IFNAME_LEN 16

struct fl_podnet_host {
	struct fl_cidr cidrs[2];
	unsigned n_cidrs;
};

struct fl_podnet_pod {
	const char *uid, *hostname;
	struct fl_ip ips[2];
	unsigned n_ips;
	unsigned mtu;      // 0: the kernel's
	bool host_network; // no network and no host name of its own: an IPC namespace alone
};

// The host's side, once at start: addresses on lo, unreachable route for free addresses, forwarding. What a sysctl was
// before is recorded when it had to be changed. Idempotent.
FL_WUR int fl_podnet_host_setup(const struct fl_node_paths *p, const struct fl_podnet_host *h, struct fl_err *err);
// Puts back what of it somebody took while the node runs; nothing is written, and nobody told, when nothing was.
FL_WUR int fl_podnet_host_keep(const struct fl_node_paths *p, const struct fl_podnet_host *h, bool *ret_mended,
			       struct fl_err *err);
// Takes all of it back, from the record alone. Idempotent.
FL_WUR int fl_podnet_host_cleanup(const struct fl_node_paths *p, struct fl_err *err);

// Blocking (a few ms); may run in any thread, which is in the node's namespaces before and after. On failure nothing is
// left behind. A pod that has its namespaces already gets its links and routes again (idempotent).
FL_WUR int fl_podnet_add(const struct fl_node_paths *p, const struct fl_podnet_pod *pod, struct fl_err *err);
// For a pod that was found with its namespaces: its links and routes as fl_podnet_add makes them, if somebody (a `down`
// that was killed, a network manager) took them. On failure what is there stays.
FL_WUR int fl_podnet_mend(const struct fl_node_paths *p, const struct fl_podnet_pod *pod, struct fl_err *err);
// The same while the pod runs, if its link on the host is gone or down, or a route to it is. `nl` was opened with
// NETLINK_ROUTE. Costs a few system calls when nothing is missing. What somebody changes inside of the pod stays.
FL_WUR int fl_podnet_keep(struct fl_netlink *nl, const struct fl_node_paths *p, const struct fl_podnet_pod *pod,
			  bool *ret_mended, struct fl_err *err);
FL_WUR int fl_podnet_del(const struct fl_node_paths *p, const char *uid, struct fl_err *err); // idempotent
bool fl_podnet_exists(const struct fl_node_paths *p, const char *uid, bool host_network); // its namespaces are mounted

// <ns>/<uid>.<kind>, kind "net", "uts", "ipc", or podpause.h's: free()
char *fl_podnet_ns_path(const struct fl_node_paths *p, const char *uid, const char *kind);
const char *fl_podnet_ifname(const char *uid, char buf[static FL_PODNET_IFNAME_LEN]);
// Mount points at or below `dir`, deepest last, for the caller to unmount: clean-up after a crash.
void fl_mounts_detach_below(const char *dir);
