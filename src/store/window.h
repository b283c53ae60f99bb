// SPDX-License-Identifier: Apache-2.0
// The newest events of all resources, in revision order, for watches and lists that start in the recent past. Holds
// references only; bounded by a number of events and by the bytes of superseded states that it alone keeps alive.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

#define FL_STORE_WINDOW_BYTES (8u * 1024 * 1024) // superseded states kept: with 1.2 KB objects some 6,000 events

struct fl_store_slot {
	uint64_t rv;
	struct fl_object *obj, *prev;
	enum fl_event_type type;
};

struct fl_store_window {
	struct fl_store_slot *ring; // cap entries, a power of two, allocated at the first event
	size_t cap, first, n;
	unsigned max;   // events
	size_t bytes;   // of states that only the window keeps
	uint64_t floor; // every event after this revision is in the window
};

// `floor`: the newest revision there is at the start.
void fl_store_window_init(struct fl_store_window *w, unsigned max, uint64_t floor);
void fl_store_window_deinit(struct fl_store_window *w);
// Takes references of its own. Revisions ascend; drops the oldest events beyond the bounds.
void fl_store_window_push(struct fl_store_window *w, enum fl_event_type type, uint64_t rv, struct fl_object *obj,
			  struct fl_object *prev);
// Number of the first event after `rv` (0 .. n; n: none).
size_t fl_store_window_find(const struct fl_store_window *w, uint64_t rv);
const struct fl_store_slot *fl_store_window_at(const struct fl_store_window *w, size_t i);
