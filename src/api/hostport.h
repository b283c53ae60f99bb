// SPDX-License-Identifier: Apache-2.0
// The ports of a node that a Pod asks for (spec.containers[].ports[].hostPort), for those who must keep them apart: the
// scheduler and the node. Pure.
#pragma once

#include <stdint.h>

#include "base/ip.h"
#include "json/json.h"

struct fl_host_port {
	struct fl_ip ip;  // family 0: every address of the node
	uint8_t protocol; // IPPROTO_*
	uint16_t port;    // of the node
	uint16_t container_port;
};

// Of regular containers and sidecars, in `a`. Returns how many; *ret is NULL for none.
size_t fl_host_ports(struct fl_arena *a, const struct fl_json *pod, struct fl_host_port **ret);
// Both cannot be had on one node: port and protocol are the same, and the address, or one of them wants every address
// (Kubernetes: pkg/scheduler/framework HostPortInfo).
bool fl_host_port_clash(const struct fl_host_port *x, const struct fl_host_port *y);
const char *fl_host_port_text(struct fl_arena *a, const struct fl_host_port *p); // "8080/TCP", "10.0.0.1:53/UDP"
