// SPDX-License-Identifier: Apache-2.0
// Pod addresses of this node's share of the pod range. What is taken is known from the pods on disk, so nothing is kept
// of its own and nothing can leak: at the start each pod found claims its addresses again.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"

#define FL_IPAM_MAX 65536 // addresses used of one range; a /64 is larger than any node

struct fl_ipam { // one range
	struct fl_cidr cidr;
	uint32_t size, next; // addresses by index from the range's base
	uint8_t *taken;      // bitmap
};

// The base address, the gateway (base + 1) and, for IPv4, the broadcast address are never given out. -EINVAL for a
// range without room for a pod.
FL_WUR int fl_ipam_init(struct fl_ipam *m, const struct fl_cidr *cidr, struct fl_err *err);
void fl_ipam_deinit(struct fl_ipam *m);
struct fl_ip fl_ipam_gateway(const struct fl_ipam *m);
// The next free one, going round, so that an address rests before it is used again. -EADDRNOTAVAIL when all are taken.
FL_WUR int fl_ipam_take(struct fl_ipam *m, struct fl_ip *ret, struct fl_err *err);
bool fl_ipam_claim(struct fl_ipam *m, const struct fl_ip *ip);   // false: outside of the range, reserved, or taken
void fl_ipam_release(struct fl_ipam *m, const struct fl_ip *ip); // one that is outside or free is ignored
