// SPDX-License-Identifier: Apache-2.0
// The proxy role: watches Services and EndpointSlices and programs the kernel of this host, so that every Service's
// addresses lead to its endpoints. The rules stay when it exits.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"

struct fl_proxy_opts {
	const char *kubeconfig; // path
	const char *node_name;  // the endpoints whose nodeName this is are local
	const char *mode;       // "nftables"; NULL = that
	const char *run_dir;    // keeps the sysctls' former values until cleanup; must exist
	struct fl_cidr service_cidrs[2], pod_cidrs[2];
	unsigned n_service_cidrs, n_pod_cidrs;
	struct fl_ip node_ips[2]; // source of this host's own traffic to virtual addresses; none: its primary address
	unsigned n_node_ips;
	uint16_t node_port_first, node_port_last;
	bool masquerade_all;        // hide every client of a cluster IP behind this node
	const char *metrics_listen; // "127.0.0.1:10249" serves /metrics, /proxyMode; NULL or "" = off
	const char *healthz_listen; // "0.0.0.0:10256" serves /healthz, /livez; NULL or "" = off
};

// Runs until SIGTERM or SIGINT; then 0. Returns early only when it cannot start: -EINVAL (options), -EPERM,
// -EOPNOTSUPP (kernel).
FL_WUR int fl_proxy_run(const struct fl_proxy_opts *opts, struct fl_err *err);

// Removes tables, routes and state, restores sysctls. Idempotent; needs run_dir and mode only (mode NULL: every one).
FL_WUR int fl_proxy_cleanup(const struct fl_proxy_opts *opts, struct fl_err *err);
