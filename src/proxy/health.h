// SPDX-License-Identifier: Apache-2.0
// HTTP of the proxy: /healthz and /livez, /metrics and /proxyMode, and one small server for each Service with a
// healthCheckNodePort, by which load balancers find the nodes that have an endpoint (Kubernetes, "Preserving the client
// source IP").
#pragma once

#include <uv.h>

#include "proxy/metrics.h"
#include "proxy/proxy.h"

struct fl_proxy_health;

struct fl_proxy_health_opts {
	uv_loop_t *loop;
	const struct fl_proxy_opts *opts;       // the two listen addresses
	const struct fl_proxy_backend_ops *ops; // with the next two, for /metrics
	struct fl_proxy_backend *backend;
	struct fl_proxy_core **core; // set before the first request
	struct fl_proxy_metrics *metrics;
};

// -EINVAL for an address that does not parse, -EADDRINUSE.
FL_WUR int fl_proxy_health_new(const struct fl_proxy_health_opts *opts, struct fl_proxy_health **ret,
			       struct fl_err *err);
// Stops and frees the servers; the loop must run on until its handles are closed.
void fl_proxy_health_free(struct fl_proxy_health **h);

// Facts for /healthz. synced: changes reach the kernel, or none wait. eligible: this node takes new load-balanced
// traffic.
void fl_proxy_health_set(struct fl_proxy_health *h, bool synced, bool eligible);

// Fits fl_proxy_core_opts.on_health_change with the health as arg.
void fl_proxy_health_service(struct fl_proxy_health *h, const char *ns, const char *name, uint16_t port,
			     unsigned n_local);
