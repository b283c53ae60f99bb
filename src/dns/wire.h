// SPDX-License-Identifier: Apache-2.0
// Reading DNS messages (RFC 1035 section 4, EDNS RFC 6891) that strangers sent. Pure functions over bytes; nothing is
// allocated.
//
// Names are handled in presentation form: lower case, labels joined by dots, no final dot, the root is "". An octet
// of a label that is no printable ASCII, or a dot, a backslash or a space, is written as \DDD (RFC 1035 section 5.1),
// so any name of the wire has exactly one form and can be written back.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define FL_DNS_HEADER   12
#define FL_DNS_NAME_MAX 1024 // presentation form with NUL: 255 octets on the wire, four characters each at worst
#define FL_DNS_UDP_MIN  512  // RFC 1035 2.3.4: what every client takes
#define FL_DNS_UDP_MAX  1232 // what passes any path unfragmented (DNS flag day 2020)
#define FL_DNS_TCP_MAX  65535

enum fl_dns_type {
	FL_DNS_A = 1,
	FL_DNS_NS = 2,
	FL_DNS_CNAME = 5,
	FL_DNS_SOA = 6,
	FL_DNS_PTR = 12,
	FL_DNS_TXT = 16,
	FL_DNS_AAAA = 28,
	FL_DNS_SRV = 33,
	FL_DNS_OPT = 41,
	FL_DNS_META_FIRST = 249, // TKEY, TSIG, IXFR, AXFR, MAILB, MAILA: no data to look up (RFC 6895 section 3.1)
	FL_DNS_META_LAST = 254,
	FL_DNS_ANY = 255,
};

enum fl_dns_class { FL_DNS_IN = 1, FL_DNS_CH = 3 };

enum fl_dns_rcode {
	FL_DNS_NOERROR = 0,
	FL_DNS_FORMERR = 1,
	FL_DNS_SERVFAIL = 2,
	FL_DNS_NXDOMAIN = 3,
	FL_DNS_NOTIMP = 4,
	FL_DNS_REFUSED = 5,
	FL_DNS_BADVERS = 16,
};

static inline uint16_t fl_dns_get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t fl_dns_get32(const uint8_t *p)
{
	return (uint32_t)fl_dns_get16(p) << 16 | fl_dns_get16(p + 2);
}

static inline void fl_dns_put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void fl_dns_put32(uint8_t *p, uint32_t v)
{
	fl_dns_put16(p, v >> 16);
	fl_dns_put16(p + 2, v & 0xffff);
}

// What the 12 octets say; the caller has at least these.
static inline unsigned fl_dns_rcode(const uint8_t *msg)
{
	return msg[3] & 15;
}

static inline bool fl_dns_is_truncated(const uint8_t *msg)
{
	return msg[2] & 2;
}

// Records of section `i`: 0 questions, 1 answers, 2 authority, 3 additional.
static inline unsigned fl_dns_count(const uint8_t *msg, unsigned i)
{
	return fl_dns_get16(msg + 4 + 2 * i);
}

struct fl_dns_query {
	uint16_t id, type, class_;
	uint8_t opcode;
	bool recursion_desired, checking_disabled, edns, dnssec_ok;
	uint8_t edns_version;
	uint16_t udp_size;          // what the client takes: at least 512
	uint16_t question_len;      // octets 12 .. 12 + question_len are the question as sent, without pointers
	uint16_t name_len;          // strlen(name)
	char name[FL_DNS_NAME_MAX]; // lower case
};

// Parses a query. 0; -EBADMSG: not even an answer is due (too short, or a response); or a positive rcode to answer with
// (FORMERR, NOTIMP): then id and the flags are set, and the question where question_len is not 0. Extra records are
// skipped; more than one question is FORMERR (RFC 9619).
int fl_dns_parse_query(const uint8_t *msg, size_t len, struct fl_dns_query *ret);

// Reads the name at *pos (compressed or not) into `name`, advances *pos behind it. False on anything malformed
// (lengths, pointers that lead elsewhere than backwards, or into the header); *pos is untouched then, `name` is not.
bool fl_dns_read_name(const uint8_t *msg, size_t len, size_t *pos, char name[static FL_DNS_NAME_MAX]);

// One resource record of a message.
struct fl_dns_rr {
	uint16_t type, class_, rdlength;
	uint32_t ttl;
	size_t ttl_at, rdata_at; // offsets in the message
	char name[FL_DNS_NAME_MAX];
};
bool fl_dns_read_rr(const uint8_t *msg, size_t len, size_t *pos, struct fl_dns_rr *ret);

// Octets of the name on the wire, uncompressed; 0 when it has no wire form (empty or long label, too long, bad escape).
size_t fl_dns_name_wire_len(const char *name);
// Writes them; the caller has made sure that they fit.
void fl_dns_name_to_wire(uint8_t *to, const char *name);
