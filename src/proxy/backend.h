// SPDX-License-Identifier: Apache-2.0
// What a data plane gets to see, and the few functions it implements (src/proxy/<backend>/). A backend knows no
// Kubernetes: it sees frontends (an address that clients use), pools (the endpoints behind them) and changes of both.
//
//   Service, EndpointSlice -> model.h -> core.h -> struct fl_proxy_delta -> fl_proxy_backend_ops.apply -> kernel
//
// How to write one: src/proxy/README.md.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"
#include "base/str.h"

#define FL_PROXY_MAX_BACKENDS 65535 // of one pool; the kernel layouts count them in 16 bits

enum fl_proxy_kind {
	FL_PROXY_CLUSTER_IP,
	FL_PROXY_NODE_PORT, // ip is the unspecified address of its family: any address of this host but loopback
	FL_PROXY_EXTERNAL_IP,
	FL_PROXY_LOAD_BALANCER,
	FL_PROXY_KIND_COUNT,
};

struct fl_proxy_endpoint {
	struct fl_ip ip;
	uint16_t port; // host order
	bool local;    // on this node
	// Local, or perhaps so, since its slice does not say of all which node they are on: it may be the very client
	// that it answers.
	bool maybe_here;
};

// The endpoints of one port of a Service in one family. A position in a list is a slot: lists of old and new agree in
// as many slots as possible, so that a change of one endpoint changes one slot.
struct fl_proxy_pool {
	uint32_t id;      // a hash of the name: the same after a restart
	uint8_t family;   // AF_INET, AF_INET6
	uint8_t proto;    // IPPROTO_*
	const char *name; // "namespace/service:port"
	struct fl_proxy_endpoint *cluster, *local;
	uint16_t n_cluster, n_local; // local is filled only where a frontend has policy Local
	// Who may use its load balancer addresses; none: everybody. In order.
	struct fl_cidr *source_ranges;
	uint16_t n_source_ranges;
	// UDP only, and of no concern to a backend: every endpoint that still serves, wherever it is and whether or not
	// new connections go there.
	struct fl_proxy_endpoint *serving;
	uint16_t n_serving;
};

// An address, protocol and port that clients connect to. The three are its key: no two frontends share them.
struct fl_proxy_frontend {
	struct fl_ip ip;
	uint8_t proto; // IPPROTO_TCP, _UDP, _SCTP
	uint8_t kind;  // enum fl_proxy_kind
	// Traffic policy Local (internalTrafficPolicy of a cluster IP, externalTrafficPolicy of the other kinds): only
	// endpoints of this node. For the external kinds traffic from pods and from the host itself is exempt.
	bool local;
	uint16_t port;       // host order
	uint32_t affinity_s; // session affinity by client address, seconds; 0 = none
	const struct fl_proxy_pool *pool;
};

// A frontend is also changed when its pool is. Old and new have the same key.
struct fl_proxy_frontend_change {
	const struct fl_proxy_frontend *old, *new_frontend; // NULL: added, removed
};

struct fl_proxy_pool_change {
	const struct fl_proxy_pool *old, *new_pool; // NULL: added, removed
};

struct fl_proxy_ip_change {
	struct fl_ip ip;
	bool added; // else removed
};

struct fl_proxy_delta {
	// Everything that should exist is here as added; whatever else the backend finds is stale. Otherwise: what
	// changed since the last apply that succeeded.
	bool full;
	const struct fl_proxy_frontend_change *frontends;
	const struct fl_proxy_pool_change *pools;
	const struct fl_proxy_ip_change *vips;   // cluster IPs with at least one frontend
	const struct fl_proxy_ip_change *locals; // addresses of endpoints on this node
	size_t n_frontends, n_pools, n_vips, n_locals;
};

struct fl_proxy_backend_config {
	struct fl_cidr service_cidrs[2], pod_cidrs[2];
	unsigned n_service_cidrs, n_pod_cidrs;
	bool masquerade_all;
};

#define FL_PROXY_TIDY_MS 100 // a packet is through within microseconds, within milliseconds on a host that steals time

struct fl_proxy_backend; // each backend defines its own

struct fl_proxy_counter {
	const char *name; // of a reason: "no-endpoints"
	uint64_t packets, bytes;
};

struct fl_proxy_backend_ops {
	const char *name; // the value of --proxy-mode

	// Checks that the kernel can do it. Changes nothing. -EPERM, -EOPNOTSUPP with what is missing.
	int (*open)(const struct fl_proxy_backend_config *cfg, struct fl_proxy_backend **ret, struct fl_err *err);
	void (*close)(struct fl_proxy_backend **b); // leaves the rules in place

	// All or nothing, and every packet on its way meanwhile gets where the old or the new state sends it. With
	// delta->full the backend reads what the kernel holds and writes the difference only. After any failure the
	// core comes again with a full delta.
	int (*apply)(struct fl_proxy_backend *b, const struct fl_proxy_delta *delta, struct fl_err *err);

	// Removes what apply left behind for packets that were on their way. Call it after an apply, again and again
	// with at least FL_PROXY_TIDY_MS in between while it returns 1. NULL: nothing is ever left behind.
	int (*tidy)(struct fl_proxy_backend *b, struct fl_err *err);

	// 0 when the rules in the kernel are still ours; -ESTALE when somebody removed them. Cheap: called every few
	// seconds.
	int (*check)(struct fl_proxy_backend *b, struct fl_err *err);

	// Text of all that stands in the kernel, in a fixed order, for people and golden tests.
	int (*dump)(struct fl_proxy_backend *b, struct fl_buf *ret, struct fl_err *err);
	int (*counters)(struct fl_proxy_backend *b, struct fl_proxy_counter *ret, unsigned max, unsigned *ret_n,
			struct fl_err *err);

	// Removes all that any run of this backend left in the kernel. Nothing there: 0.
	int (*cleanup)(struct fl_err *err);
};

extern const struct fl_proxy_backend_ops fl_proxy_nft_ops;

// The backend of that name, or NULL; err then names those that exist.
const struct fl_proxy_backend_ops *fl_proxy_backend_find(const char *mode, struct fl_err *err);
