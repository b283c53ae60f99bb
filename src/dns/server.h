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
	const struct fl_dns_opts *dns; // listen, port, clients
	struct fl_zone *zone;
	struct fl_forwarder *forwarder;
	bool (*is_synced)(
	    void *arg); // until then names of ours are answered with SERVFAIL, so that nobody caches an NXDOMAIN
	void *arg;
};

FL_WUR int fl_dns_server_new(uv_loop_t *loop, const struct fl_dns_server_opts *o, struct fl_dns_server **ret,
			     struct fl_err *err);
uint16_t fl_dns_server_port(const struct fl_dns_server *s); // in use, where port 0 was asked for
void fl_dns_server_free(struct fl_dns_server **s);

// One message in, one out: the whole of what the sockets do but forwarding. Returns the answer's length; 0: no answer
// is due; -1: forward it, *ret_target (may be "") being the name whose addresses are wanted behind a CNAME. `out` holds
// FL_DNS_TCP_MAX bytes; `tcp` lifts the size bound.
long fl_dns_respond(struct fl_zone *zone, bool synced, bool allowed, const uint8_t *in, size_t len, bool tcp,
		    struct fl_dns_query *ret_query, uint8_t *out, char ret_target[static FL_DNS_NAME_MAX]);
// The answer to `q` made of what an upstream said (NULL: SERVFAIL). With a CNAME in front where `alias` is not NULL.
size_t fl_dns_relay(const struct fl_dns_query *q, const uint8_t *question, const char *alias, uint32_t ttl_s,
		    const uint8_t *msg, size_t len, bool tcp, uint8_t *out);
