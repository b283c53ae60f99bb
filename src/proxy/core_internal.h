// SPDX-License-Identifier: Apache-2.0
// The tables of the core, for core.c that changes them and core_view.c that shows them.
#pragma once

#include "base/map.h"
#include "base/set.h"
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
	// The frontend in force, but for what the key says. Its pool lives: whoever replaces a pool touches the slots
	// of its Service. NULL: none is.
	const struct fl_proxy_pool *pool;
	uint32_t affinity_s;
	uint8_t kind;
	bool local, touched;
};

struct pool {
	struct fl_proxy_pool value; // strings and lists lie behind it
};

struct service {
	uint64_t rv; // 0: it is not there, but slices of it are
	struct fl_proxy_service spec;
	FL_SMALL_VEC(struct slice *) slices;
	FL_SMALL_VEC(struct pool *) pools;
	struct claim *claims;
	uint32_t n_claims;
	uint32_t n_local_endpoints;
	uint16_t health_port; // as told to on_health_change
	bool present, dirty;
	char key[]; // "namespace/name"
};

struct slice {
	struct service *service;
	uint64_t rv;
	struct fl_proxy_slice value;
	char key[]; // "namespace/name"
};

struct ip_count {
	struct fl_ip ip;
	uint32_t n;
};

struct fl_proxy_core {
	struct fl_proxy_core_opts opts;
	char *node_name, *zone;
	struct fl_set services;     // struct service, by key
	struct fl_set slices;       // struct slice, by key
	struct fl_set slots;        // struct slot, by its frontend's key
	struct fl_set pools;        // struct pool, by id
	struct fl_set vips, locals; // struct ip_count, by address
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

fl_set_key fl_proxy_core_slot_key;
struct slot_key fl_proxy_core_key(const struct fl_proxy_frontend *f);
bool fl_proxy_core_pool_serves(const struct fl_proxy_pool *p, const struct fl_ip *ip, uint16_t port);
