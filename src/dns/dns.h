// SPDX-License-Identifier: Apache-2.0
// The cluster DNS role. See README.md in this folder.
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"

struct fl_dns_opts {
	const char *kubeconfig;
	const char *node_name;
	const char *domain;     // cluster.local
	struct fl_ip listen[4]; // addresses to bind, FREEBIND: they may come later (the node's pod gateway, 10.244.0.1)
	unsigned n_listen;
	uint16_t port;               // 53
	struct fl_ip cluster_ips[2]; // of Service kube-system/kube-dns, which this role creates together with its
				     // EndpointSlice; none: not registered
	unsigned n_cluster_ips;
	struct fl_cidr clients[8]; // sources that are answered for names outside the domain (forwarding); others are
				   // refused. Own addresses always are.
	unsigned n_clients;
	const char *upstream; // "ip[:port],..." or NULL: from /etc/resolv.conf
	unsigned ttl_s;       // of our own records; 0 = 5
};

// Serves until SIGTERM or SIGINT, then returns 0.
FL_WUR int fl_dns_run(const struct fl_dns_opts *opts, struct fl_err *err);
