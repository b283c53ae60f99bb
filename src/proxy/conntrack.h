// SPDX-License-Identifier: Apache-2.0
// Tracked UDP connections that lead astray. A UDP client that keeps sending never starts a new connection, so the
// kernel would send its packets to a dead endpoint for good (or past a Service that came later). Such entries are
// deleted, and no others: a restart or a busy neighbour keeps its connections.
#pragma once

#include "proxy/core.h"

struct fl_proxy_conntrack;

struct fl_proxy_conntrack *fl_proxy_conntrack_new(void);
void fl_proxy_conntrack_free(struct fl_proxy_conntrack **ct);

// Notes a frontend to look at; fits fl_proxy_core_opts.on_udp_change. Node ports by the unspecified address.
void fl_proxy_conntrack_note(void *ct, const struct fl_ip *ip, uint16_t port);
bool fl_proxy_conntrack_pending(const struct fl_proxy_conntrack *ct);

// One pass over the UDP connections of this network namespace for all that was noted: deletes those to a noted frontend
// whose endpoint does not serve it. Costs a walk over the connection table, so not for every single change.
FL_WUR int fl_proxy_conntrack_clean(struct fl_proxy_conntrack *ct, const struct fl_proxy_core *core,
				    unsigned *ret_deleted, struct fl_err *err);
