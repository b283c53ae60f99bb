// SPDX-License-Identifier: Apache-2.0
// From a query's octets to an answer's octets, without sockets: the whole of what the server does but forwarding.
#pragma once

#include "dns/message.h"
#include "dns/zone.h"

enum fl_dns_verdict {
	FL_DNS_SEND,    // the answer stands in `out`
	FL_DNS_DROP,    // no answer is due
	FL_DNS_FORWARD, // ask an upstream for the question, or for the addresses of `target`
};

struct fl_dns_exchange {
	struct fl_dns_query q;
	const uint8_t *question;      // its octets in `in`
	char target[FL_DNS_NAME_MAX]; // "": of the question itself; else it is an alias of this name
	size_t len;                   // of the answer
	unsigned rcode;               // of the answer
};

// Who asks. `allowed` says whether names of others are looked up for it, else they are refused. Asked only for such a
// name: it may have to look at this host's addresses.
struct fl_dns_asker {
	bool (*allowed)(void *arg);
	void *arg;
};

// `synced` false: names of ours are answered with SERVFAIL, so that nobody keeps an NXDOMAIN. `out` holds
// FL_DNS_UDP_MAX octets, or FL_DNS_TCP_MAX with `tcp`. `x` must live as long as `in`.
enum fl_dns_verdict fl_dns_respond(struct fl_zone *zone, bool synced, const struct fl_dns_asker *asker,
				   const uint8_t *in, size_t len, bool tcp, struct fl_dns_exchange *x, uint8_t *out);

// The answer to `q` made of what an upstream said (`msg` as fl_forward_done gives it; NULL: SERVFAIL). `alias` not
// NULL: a CNAME to it stands in front, with this TTL, and `msg` has its addresses. Returns the length.
size_t fl_dns_relay(const struct fl_dns_query *q, const uint8_t *question, const char *alias, uint32_t ttl_s,
		    const uint8_t *msg, size_t len, bool tcp, uint8_t *out);
