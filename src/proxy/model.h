// SPDX-License-Identifier: Apache-2.0
// Services and EndpointSlices as the proxy sees them, and the pure function from them to frontends and pools. No I/O,
// no state: every rule of Kubernetes about which address leads to which endpoint stands here.
#pragma once

#include "api/object.h"
#include "base/vec.h"
#include "proxy/backend.h"

// There are many of these: small heads, names behind their array in one allocation, bits.
struct fl_proxy_service_port {
	const char *name; // "" when unnamed
	uint8_t proto;
	uint16_t port, node_port; // node_port 0: none
};

struct fl_proxy_service {
	int64_t created_ns; // metadata.creationTimestamp: the older Service wins an address that two of them claim
	struct fl_ip cluster_ips[2];
	unsigned n_cluster_ips; // 0: nothing to proxy (headless, ExternalName, another proxy's)
	FL_SMALL_VEC(struct fl_proxy_service_port) ports;
	FL_SMALL_VEC(struct fl_ip) external_ips;
	FL_SMALL_VEC(struct fl_ip) lb_ips;
	FL_SMALL_VEC(struct fl_cidr) source_ranges; // of the load balancer addresses
	bool internal_local, external_local;
	uint32_t affinity_s;
	uint16_t health_check_port; // healthCheckNodePort; 0 = none
};

struct fl_proxy_slice_port {
	const char *name;
	uint8_t proto;
	uint16_t port;
};

struct fl_proxy_slice_endpoint {
	struct fl_ip ip;
	bool ready : 1, serving : 1, terminating : 1, local : 1;
	bool has_zone_hint : 1, zone_hit : 1, has_node_hint : 1,
	    node_hit : 1; // hit: a hint names this node's zone, this node
};

struct fl_proxy_slice {
	uint8_t family;
	bool nodes_unsaid; // some endpoint does not say which node it is on
	FL_SMALL_VEC(struct fl_proxy_slice_port) ports;
	FL_SMALL_VEC(struct fl_proxy_slice_endpoint) endpoints;
};

// Where this proxy runs. zone may be NULL or "" (unknown): zone hints are then not followed.
struct fl_proxy_where {
	const char *node_name, *zone;
};

// Both read objects that an API server has validated and defaulted; what does not parse is left out. Results are freed
// with the functions below.
void fl_proxy_service_parse(const struct fl_json *obj, struct fl_proxy_service *ret);
void fl_proxy_service_deinit(struct fl_proxy_service *s);
// False when the slice belongs to no Service or holds no addresses (type FQDN); *ret_service (in `a`) is the Service's
// name.
bool fl_proxy_slice_parse(const struct fl_json *obj, const struct fl_proxy_where *where, struct fl_arena *a,
			  struct fl_proxy_slice *ret, const char **ret_service);
void fl_proxy_slice_deinit(struct fl_proxy_slice *s);

// What a Service asks for. Arrays and strings in the arena of the call; frontends[i].pool points into pools;
// pools[i].id is 0. Endpoints in the order of address and port, without duplicates.
struct fl_proxy_desired {
	struct fl_proxy_frontend *frontends;
	struct fl_proxy_pool *pools;
	size_t n_frontends, n_pools;
	unsigned n_local_endpoints; // ready addresses on this node; only for Services with a healthCheckNodePort
};
void fl_proxy_derive(const char *key, const struct fl_proxy_service *svc, const struct fl_proxy_slice *const *slices,
		     size_t n_slices, struct fl_arena *a, struct fl_proxy_desired *ret);

// Puts `list` (n entries) in an order that agrees with `old` in as many positions as possible.
void fl_proxy_keep_slots(const struct fl_proxy_endpoint *old, size_t n_old, struct fl_proxy_endpoint *list, size_t n,
			 struct fl_arena *a);

const char *fl_proxy_proto_name(uint8_t proto); // "tcp", "udp", "sctp"
