// SPDX-License-Identifier: Apache-2.0
// What an upstream sent: whether it answers our question, and how long it may be kept. Pure.
#pragma once

#include "dns/wire.h"

#define FL_DNS_TTL_MAX_S      3600 // nothing is believed longer
#define FL_DNS_NEGATIVE_MAX_S 30   // a name that is made a moment later must not be missed for long

enum fl_dns_reply {
	FL_DNS_REPLY_STRANGE,   // forged, late or broken: the real one may still come
	FL_DNS_REPLY_TRUNCATED, // ask again by TCP
	FL_DNS_REPLY_NO_EDNS,   // the server does not know EDNS: ask again without
	FL_DNS_REPLY_FAILED,    // the server cannot tell: another may
	FL_DNS_REPLY_GOOD,
};

// Judges the *len octets of `msg` as reply to `query`, which we made. Of a good one, OPT and whatever stands behind it
// are cut off (it is between us and the server), *len is adjusted and *ret_ttl_s says how long it may be kept (RFC 2308
// section 5 for negative ones); 0: not at all.
enum fl_dns_reply fl_dns_reply_judge(const uint8_t *query, size_t query_len, uint8_t *msg, size_t *len,
				     uint32_t *ret_ttl_s);
// Counts the TTLs of a good reply down.
void fl_dns_reply_age(uint8_t *msg, size_t len, uint32_t age_s);
