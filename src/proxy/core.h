// SPDX-License-Identifier: Apache-2.0
// Change tracking: fed with objects as they come and go, it keeps what was applied, recomputes only the Services that
// changed, and hands the backend the difference: O(change), never O(services).
#pragma once

#include "api/object.h"
#include "proxy/backend.h"

struct fl_proxy_core;

struct fl_proxy_core_opts {
	const char *node_name; // copied
	const struct fl_proxy_backend_ops *ops;
	struct fl_proxy_backend *backend; // borrowed
	// After an apply that succeeded, for each UDP frontend of which tracked connections may now lead astray: it is
	// new or gone, endpoints of it stopped serving, or the apply was a full one: then rules may have been missing.
	// Node ports by the unspecified address. May be NULL.
	void (*on_udp_change)(void *arg, const struct fl_ip *ip, uint16_t port);
	// In a sync, whether or not its apply succeeds: a Service's healthCheckNodePort (0 = none any more) or the
	// number of its ready endpoints on this node is another one. May be NULL.
	void (*on_health_change)(void *arg, const char *ns, const char *name, uint16_t port, unsigned n_local);
	void *arg;
};

struct fl_proxy_core *fl_proxy_core_new(const struct fl_proxy_core_opts *opts);
void fl_proxy_core_free(struct fl_proxy_core **c); // what is in the kernel stays

// One change as an informer tells it: old NULL = added, new NULL = deleted. O(size of the object); applies nothing.
void fl_proxy_core_service(struct fl_proxy_core *c, const struct fl_object *old, const struct fl_object *new_obj);
void fl_proxy_core_slice(struct fl_proxy_core *c, const struct fl_object *old, const struct fl_object *new_obj);

// What it keeps, for an informer that does not (struct fl_informer_keeper): the revision that it was fed last, 0 =
// none.
uint64_t fl_proxy_core_service_rv(const struct fl_proxy_core *c, const char *ns, const char *name);
uint64_t fl_proxy_core_slice_rv(const struct fl_proxy_core *c, const char *ns, const char *name);
typedef void fl_proxy_visit(void *arg, const char *ns, const char *name, uint64_t rv);
void fl_proxy_core_each_service(const struct fl_proxy_core *c, fl_proxy_visit *visit, void *arg);
void fl_proxy_core_each_slice(const struct fl_proxy_core *c, fl_proxy_visit *visit, void *arg);

// The zone of this node (label topology.kubernetes.io/zone; NULL = unknown). Counts for slices fed afterwards: the
// caller feeds all of them again.
void fl_proxy_core_set_zone(struct fl_proxy_core *c, const char *zone);

// True when fl_proxy_core_sync has something to do.
bool fl_proxy_core_dirty(const struct fl_proxy_core *c);

// Brings the kernel to what the objects say. The first call, and the one after a failure, converges from whatever the
// kernel holds. On failure the rules stand as before; call it again later.
FL_WUR int fl_proxy_core_sync(struct fl_proxy_core *c, struct fl_err *err);
void fl_proxy_core_resync(struct fl_proxy_core *c); // makes the next sync a full one

// Whether connections to this UDP frontend may (still) be answered by that endpoint. False without such a frontend.
bool fl_proxy_core_udp_serves(const struct fl_proxy_core *c, const struct fl_ip *ip, uint16_t port,
			      const struct fl_ip *endpoint_ip, uint16_t endpoint_port);

// Moments (real time, ns) at which what the last sync brought into the kernel was triggered, as the annotation
// endpoints.kubernetes.io/last-change-trigger-time says. At most FL_PROXY_MAX_TRIGGERS, borrowed until the next call of
// this interface.
#define FL_PROXY_MAX_TRIGGERS 1024
size_t fl_proxy_core_triggers(const struct fl_proxy_core *c, const int64_t **ret);

// The tables of the model in a fixed order: for golden tests and support.
void fl_proxy_core_dump(const struct fl_proxy_core *c, struct fl_buf *ret);

struct fl_proxy_core_stats {
	size_t services, frontends, pools, endpoints;
	uint64_t syncs, full_syncs, sync_failures;
	uint64_t service_changes, endpoint_changes; // objects seen
	size_t pending;                             // Services that wait for a sync
	size_t no_local_endpoints[2];               // frontends whose Local set is empty: [0] internal, [1] external
};
void fl_proxy_core_counts(const struct fl_proxy_core *c, struct fl_proxy_core_stats *ret); // the counters: O(1)
void fl_proxy_core_stats(const struct fl_proxy_core *c, struct fl_proxy_core_stats *ret);  // all: O(services)
