// SPDX-License-Identifier: Apache-2.0
// What /metrics shows: kube-proxy's names where the fact is the same, so that dashboards and alerts keep working.
#pragma once

#include "base/str.h"
#include "proxy/backend.h"
#include "proxy/core.h"

#define FL_PROXY_MAX_BUCKETS 96

struct fl_proxy_histogram {
	uint64_t counts[FL_PROXY_MAX_BUCKETS + 1]; // one per bound, then the rest
	uint64_t n;
	double sum;
};

struct fl_proxy_metrics {
	struct fl_proxy_histogram sync, full_sync, partial_sync, programming; // seconds
	double last_sync, last_queued;                                        // real time, seconds
	uint64_t healthz[2], livez[2];                                        // answers 200, 503
};

// One sync that succeeded, of `seconds`; with the moments at which its changes were triggered.
void fl_proxy_metrics_synced(struct fl_proxy_metrics *m, double seconds, bool full, const int64_t *triggers_ns,
			     size_t n_triggers);

// Prometheus text format 0.0.4.
void fl_proxy_metrics_write(const struct fl_proxy_metrics *m, const struct fl_proxy_core_stats *s,
			    const struct fl_proxy_counter *counters, unsigned n_counters, struct fl_buf *ret);
