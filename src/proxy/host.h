// SPDX-License-Identifier: Apache-2.0
// What the proxy needs of this host besides rules: forwarding, lenient TCP tracking, and a route for the service range,
// because a packet to a virtual address is routed before any rule can translate it.
#pragma once

#include "base/err.h"
#include "base/ip.h"
#include "proxy/proxy.h"

// Sets sysctls; their former values go to run_dir once, before the first change. Idempotent.
FL_WUR int fl_proxy_host_sysctls(const struct fl_proxy_opts *opts, struct fl_err *err);

// Sets the routes of the service ranges, and removes those of ranges that are no more. Idempotent: call it again now
// and then, since the host's addresses change and the source address of a route must exist.
FL_WUR int fl_proxy_host_routes(const struct fl_proxy_opts *opts, struct fl_err *err);

// Undoes both. What is not there is not an error.
FL_WUR int fl_proxy_host_cleanup(const struct fl_proxy_opts *opts, struct fl_err *err);
