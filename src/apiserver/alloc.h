// SPDX-License-Identifier: Apache-2.0
// Service addresses and node ports. The books are kept in memory and made from the Services in the store at start, so
// that a crash cannot leak anything; a claim is made before the write and taken back when the write fails.
//
// Static bands (KEP-3070, KEP-3668): addresses and ports that clients choose tend to be low, so dynamic allocation
// takes the upper part of the range first: above min(max(16, size/16), 256) addresses, above min(max(16, size/32), 128)
// ports.
#pragma once

#include <stdint.h>

#include "api/status.h"
#include "base/ip.h"
#include "base/str.h"
#include "store/store.h"

// A range of numbered items, each taken or free.
struct fl_range;
struct fl_range *fl_range_new(uint64_t size, uint64_t static_band); // size at most 2^32; items 0..size-1
void fl_range_free(struct fl_range **r);
int fl_range_claim(struct fl_range *r, uint64_t i);    // -EEXIST: taken. -ERANGE: outside
int fl_range_next(struct fl_range *r, uint64_t *ret);  // -ENOSPC: all taken
void fl_range_release(struct fl_range *r, uint64_t i); // free already: nothing
uint64_t fl_range_used(const struct fl_range *r);

struct fl_service_alloc;

struct fl_service_alloc_opts {
	struct fl_cidr cidrs[2];
	unsigned n_cidrs;
	uint16_t port_low, port_high;
};

struct fl_service_alloc *fl_service_alloc_new(const struct fl_service_alloc_opts *opts);
void fl_service_alloc_free(struct fl_service_alloc **a);
// Takes what a stored Service holds; used once per Service at start. What is taken twice is left alone and logged; what
// lies outside of the ranges, which were others when it was given, stays the Service's and stands in no book.
void fl_service_alloc_adopt(struct fl_service_alloc *a, const struct fl_json *service);

// What one write claims and gives back. The claims hold from `prepare` on, what is given back is free again only after
// `commit`: a write that fails changes nothing, and nobody takes what it may still have to keep.
struct fl_alloc_txn;

// Fills in what `obj` leaves to us (clusterIPs, nodePorts, healthCheckNodePort) and claims what it asks for beyond what
// `old` (NULL on create) has, which is never refused. A chosen value that cannot be had is a cause; a range without
// anything left is told in *ret_exhausted (a text that lives forever). In both cases nothing stays claimed and NULL is
// returned.
struct fl_alloc_txn *fl_service_alloc_prepare(struct fl_service_alloc *a, struct fl_arena *arena, struct fl_json *obj,
					      const struct fl_json *old, struct fl_causes *causes,
					      const char **ret_exhausted);
// The object is going away: all that it holds is given back at commit.
struct fl_alloc_txn *fl_service_alloc_prepare_delete(struct fl_service_alloc *a, const struct fl_json *old);
void fl_alloc_txn_commit(struct fl_alloc_txn *t); // the write is durable
void fl_alloc_txn_free(struct fl_alloc_txn **t);  // takes back the claims of one that was not committed; accepts NULL

// What the books say, for tests and metrics.
struct fl_service_alloc_stats {
	uint64_t ips[2], ports;
};
struct fl_service_alloc_stats fl_service_alloc_stats(const struct fl_service_alloc *a);
