// SPDX-License-Identifier: Apache-2.0
// Sockets of the DNS role: UDP and TCP on each listen address, one thread. A query is answered from the zone at once,
// or handed to the forwarder.
#pragma once

#include <uv.h>

#include "dns/dns.h"
#include "dns/forward.h"
#include "dns/zone.h"

struct fl_dns_server;

struct fl_dns_server_opts {
	const struct fl_dns_opts *dns; // listen, port, clients, ttl_s; not copied
	struct fl_zone *zone;
	struct fl_forwarder *forwarder;
	// Until it says so, names of ours are answered with SERVFAIL, so that nobody keeps an NXDOMAIN.
	bool (*is_synced)(void *arg);
	void *arg;
};

// On failure the loop must still be run, so that what was opened closes.
FL_WUR int fl_dns_server_new(uv_loop_t *loop, const struct fl_dns_server_opts *o, struct fl_dns_server **ret,
			     struct fl_err *err);
uint16_t fl_dns_server_port(const struct fl_dns_server *s); // in use, where port 0 was asked for
// Answers nobody any more. Memory goes when its handles have closed (turns of the loop) and the forwarder has told
// about every question, as it does at the latest when it is freed. Zone and forwarder are not used after this.
void fl_dns_server_free(struct fl_dns_server **s);

// What came and what became of it, since the start.
enum fl_dns_counter {
	FL_DNS_COUNT_UDP,        // queries by UDP
	FL_DNS_COUNT_TCP,        // queries by TCP
	FL_DNS_COUNT_ANSWERED,   // from the zone, or with an error of the query's own
	FL_DNS_COUNT_FORWARDED,  // handed to the forwarder
	FL_DNS_COUNT_UNANSWERED, // of these: no upstream could tell
	FL_DNS_COUNT_REFUSED,    // names of others, asked by strangers
	FL_DNS_COUNT_MALFORMED,  // not even an answer was due
	FL_DNS_COUNT_UNSENT,     // answers that the socket did not take
	FL_DNS_COUNT_TCP_CLOSED, // idle TCP clients that made room for others
	FL_DNS_COUNTER_COUNT,
};
uint64_t fl_dns_server_count(const struct fl_dns_server *s, enum fl_dns_counter c);
