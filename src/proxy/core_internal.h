// SPDX-License-Identifier: Apache-2.0
// The tables of the core, for core.c that changes them and core_view.c that shows them.
#pragma once

#include "base/map.h"
#include "proxy/core.h"
#include "proxy/model.h"

struct service;

struct claim {
	struct fl_proxy_frontend value;
	struct service *owner;
	struct claim *next; // of the slot, by rank
};

struct slot_key {
	struct fl_ip ip;
	uint8_t proto;
	uint16_t port;
};

struct slot {
	struct slot_key key;
	struct claim *claims;
	struct fl_proxy_frontend applied; // its pool lives: whoever replaces a pool touches the slots of its Service
	bool is_applied, touched;
};

struct pool {
	struct fl_proxy_pool value; // strings and lists are its own
};

struct service {
	char *key; // "namespace/name"
	bool present, dirty;
	struct fl_proxy_service spec;
	FL_VEC(struct slice *) slices;
	FL_VEC(struct pool *) pools;
	struct claim **claims;
	size_t n_claims;
	uint16_t health_port; // as told to on_health_change
	unsigned n_local_endpoints;
};

struct slice {
	struct service *service;
	struct fl_proxy_slice value;
};

struct fl_proxy_core {
	struct fl_proxy_core_opts opts;
	char *node_name, *zone;
	struct fl_map services;     // key -> struct service
	struct fl_map slices;       // "namespace/name" -> struct slice
	struct fl_map slots;        // frontend key -> struct slot
	struct fl_map pool_ids;     // id -> struct pool
	struct fl_map vips, locals; // address -> count
	FL_VEC(struct service *) dirty;
	bool full;
	struct fl_proxy_core_stats stats;

	// One sync round.
	struct fl_arena arena;
	FL_VEC(struct slot *) touched;
	FL_VEC(struct pool *) retired;
	FL_VEC(struct fl_proxy_frontend_change) frontend_changes;
	FL_VEC(struct fl_proxy_pool_change) pool_changes;
	FL_VEC(struct fl_proxy_ip_change) vip_changes, local_changes;
	FL_VEC(int64_t) triggers, programmed; // of changes seen; of those that the last sync applied
	struct fl_map lost_pools;             // id -> struct pool: UDP pools of which endpoints stopped serving
	FL_VEC(struct slot_key) udp_changes;
};

struct slot_key fl_proxy_core_key(const struct fl_proxy_frontend *f);
bool fl_proxy_core_pool_serves(const struct fl_proxy_pool *p, const struct fl_ip *ip, uint16_t port);
