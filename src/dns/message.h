// SPDX-License-Identifier: Apache-2.0
// Writing DNS messages: an answer record by record, and queries of our own.
//
// Sections are written in their order (answer, authority, additional). A record that does not fit is left out and sets
// TC, but for an additional one, which may be missing (RFC 2181 section 9). A name that ends as the question's name
// does points into the question, which shortens nearly all that we serve; a record whose name has no wire form is left
// out.
#pragma once

#include "base/ip.h"
#include "dns/wire.h"

enum fl_dns_section { FL_DNS_ANSWER, FL_DNS_AUTHORITY, FL_DNS_ADDITIONAL, FL_DNS_SECTION_COUNT };

struct fl_dns_msg {
	uint8_t *buf;
	size_t cap, len, reserved; // cap: what may be sent; reserved: of it, for the OPT record
	const struct fl_dns_query *q;
	size_t match_len; // of q->name that may be pointed to; 0 where it holds escapes
	enum fl_dns_section section;
	uint16_t count[FL_DNS_SECTION_COUNT];
	bool truncated;
};

// Begins the answer to `q` in `buf` (cap at least FL_DNS_UDP_MIN); `question` are the q->question_len octets of the
// query's question. `q` must live as long as `m`.
void fl_dns_begin(struct fl_dns_msg *m, uint8_t *buf, size_t cap, const struct fl_dns_query *q,
		  const uint8_t *question);
// `owner` NULL: the question's name. False when the record was left out.
bool fl_dns_add_ip(struct fl_dns_msg *m, enum fl_dns_section s, const char *owner, uint32_t ttl,
		   const struct fl_ip *ip); // A or AAAA
bool fl_dns_add_name(struct fl_dns_msg *m, enum fl_dns_section s, const char *owner, uint16_t type, uint32_t ttl,
		     const char *target); // CNAME, NS, PTR
struct fl_dns_srv {
	uint16_t priority, weight, port;
	const char *target;
};
bool fl_dns_add_srv(struct fl_dns_msg *m, enum fl_dns_section s, const char *owner, uint32_t ttl,
		    const struct fl_dns_srv *srv);
bool fl_dns_add_txt(struct fl_dns_msg *m, enum fl_dns_section s, const char *owner, uint16_t class_, uint32_t ttl,
		    const char *text); // at most 255 octets
struct fl_dns_soa {
	const char *mname, *rname;
	uint32_t serial, minimum;
};
bool fl_dns_add_soa(struct fl_dns_msg *m, enum fl_dns_section s, const char *owner, uint32_t ttl,
		    const struct fl_dns_soa *soa);
// Writes header and OPT; returns the length to send.
size_t fl_dns_end(struct fl_dns_msg *m, unsigned rcode, bool authoritative, bool recursion_available);

// A query of our own, RD set, without OPT. Returns its length, 0 when the name has no wire form or does not fit.
size_t fl_dns_make_query(uint8_t *buf, size_t cap, uint16_t id, const char *name, uint16_t type);
// Appends an OPT record with our UDP size. Returns the new length, 0 when it does not fit.
size_t fl_dns_add_opt(uint8_t *buf, size_t cap, size_t len, bool dnssec_ok);
