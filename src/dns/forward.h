// SPDX-License-Identifier: Apache-2.0
// Everything that is not ours: asked of upstream servers, kept in a bounded cache for as long as they say.
//
//   ask -> cache? -> the same question under way? -> UDP to an upstream (own port and id each) -> truncated? -> TCP ->
//   next upstream -> give up
#pragma once

#include <uv.h>

#include "dns/wire.h"

#define FL_DNS_MAX_UPSTREAMS 3 // as resolv.conf(5)

struct fl_forwarder;

struct fl_upstream {
	struct fl_ip ip;
	uint16_t port;
};

// The upstreams of `text` ("ip[:port],..."), or with NULL those of resolv_conf. Addresses in `skip` (our own: a loop)
// are left out.
unsigned fl_upstreams_find(const char *text, const char *resolv_conf, const struct fl_ip *skip, unsigned n_skip,
			   struct fl_upstream ret[static FL_DNS_MAX_UPSTREAMS]);

struct fl_forwarder *fl_forwarder_new(uv_loop_t *loop, const struct fl_upstream *upstreams, unsigned n);
void fl_forwarder_free(struct fl_forwarder **f); // no callback runs after it

// `msg`: a whole answer without OPT, TTLs already counted down, its id to be replaced; NULL when no upstream answered.
// Called at once when cached.
typedef void (*fl_forward_done)(void *arg, const uint8_t *msg, size_t len);
void fl_forwarder_ask(struct fl_forwarder *f, const char *name, uint16_t type, fl_forward_done done, void *arg);
