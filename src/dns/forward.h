// SPDX-License-Identifier: Apache-2.0
// Everything that is not ours: asked of upstream servers, kept in a bounded cache for as long as they say.
//
//   ask -> cache? -> the same question under way? -> UDP to an upstream (own port and id each) -> truncated? -> TCP ->
//   next upstream -> once more -> give up
//
// A server that fails to answer twice in a row is asked last for a while, so a dead one does not slow every name down.
#pragma once

#include <uv.h>

#include "dns/upstreams.h"
#include "dns/wire.h"

struct fl_forwarder;

struct fl_forwarder_opts {
	struct fl_upstreams upstreams; // copied
	unsigned try_ms;               // for the first try of each upstream, twice that for the second; 0 = 1000
};

struct fl_forwarder *fl_forwarder_new(uv_loop_t *loop, const struct fl_forwarder_opts *o);
// All that wait are told (NULL) before this returns. Handles close in the loop's next turns.
void fl_forwarder_free(struct fl_forwarder **f);

// Exactly once, perhaps before the ask returns. `msg`: a whole answer without OPT, TTLs counted down, its id to be
// replaced, its question as long as the one asked; NULL when no upstream could tell. Borrowed for the call.
typedef void (*fl_forward_done)(void *arg, const uint8_t *msg, size_t len);
// Asks for the type of `q` and `name`, in class IN.
void fl_forwarder_ask(struct fl_forwarder *f, const struct fl_dns_query *q, const char *name, fl_forward_done done,
		      void *arg);
size_t fl_forwarder_cached(const struct fl_forwarder *f);  // entries
size_t fl_forwarder_pending(const struct fl_forwarder *f); // questions under way
