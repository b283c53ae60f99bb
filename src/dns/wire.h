// SPDX-License-Identifier: Apache-2.0
// DNS messages (RFC 1035 section 4, EDNS RFC 6891): reading what strangers send, writing answers. Pure functions over
// bytes; nothing is allocated. Names are handled in presentation form: lower case, labels joined by dots, no final dot,
// the root is "". A label that holds a dot, a NUL or other than printable ASCII has no such form and is refused: no
// name that we serve has one.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"

#define FL_DNS_NAME_MAX 256  // presentation form with NUL (RFC 1035 2.3.4: 255 octets on the wire)
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
	FL_DNS_ANY = 255,
};

enum fl_dns_rcode {
	FL_DNS_NOERROR = 0,
	FL_DNS_FORMERR = 1,
	FL_DNS_SERVFAIL = 2,
	FL_DNS_NXDOMAIN = 3,
	FL_DNS_NOTIMP = 4,
	FL_DNS_REFUSED = 5,
	FL_DNS_BADVERS = 16,
};

struct fl_dns_query {
	uint16_t id, type, class_;
	bool recursion_desired, checking_disabled, edns, dnssec_ok;
	uint8_t edns_version;
	uint16_t udp_size;          // what the client takes: at least 512
	char name[FL_DNS_NAME_MAX]; // lower case
	size_t question_len;        // bytes 12 .. 12 + question_len are the question as sent
};

// Parses a query. 0; -EBADMSG: not even an answer is due (too short, or a response); or a positive rcode to answer with
// (FORMERR, NOTIMP): then id and the flags are set. Extra records are skipped; more than one question is FORMERR.
int fl_dns_parse_query(const uint8_t *msg, size_t len, struct fl_dns_query *ret);

// Reads the name at *pos (compressed or not) into `name`, advances *pos behind it. False on anything malformed (loops,
// lengths, odd labels).
bool fl_dns_read_name(const uint8_t *msg, size_t len, size_t *pos, char name[static FL_DNS_NAME_MAX]);

// One resource record of a message.
struct fl_dns_rr {
	char name[FL_DNS_NAME_MAX];
	uint16_t type, class_, rdlength;
	uint32_t ttl;
	size_t ttl_at, rdata_at; // offsets in the message
};
bool fl_dns_read_rr(const uint8_t *msg, size_t len, size_t *pos, struct fl_dns_rr *ret);

// An answer under construction.
struct fl_dns_msg {
	uint8_t *buf;
	size_t cap, len; // cap: what may be sent; a record beyond it sets TC and is left out
	bool truncated;
	uint16_t n_answer, n_authority, n_additional;
	const struct fl_dns_query *q;
	size_t reserved; // for the OPT record
};

// Begins the answer to `q` in `buf` (cap at least 512); `question` are the bytes of the query's question.
void fl_dns_begin(struct fl_dns_msg *m, uint8_t *buf, size_t cap, const struct fl_dns_query *q,
		  const uint8_t *question);
enum fl_dns_section { FL_DNS_ANSWER, FL_DNS_AUTHORITY, FL_DNS_ADDITIONAL };
// `owner` NULL: the question's name, as a pointer to it. False when it did not fit.
bool fl_dns_add_ip(struct fl_dns_msg *m, enum fl_dns_section s, const char *owner, uint32_t ttl,
		   const struct fl_ip *ip); // A or AAAA
bool fl_dns_add_name(struct fl_dns_msg *m, enum fl_dns_section s, const char *owner, uint16_t type, uint32_t ttl,
		     const char *target);
bool fl_dns_add_srv(struct fl_dns_msg *m, enum fl_dns_section s, const char *owner, uint32_t ttl, uint16_t priority,
		    uint16_t weight, uint16_t port, const char *target);
bool fl_dns_add_txt(struct fl_dns_msg *m, enum fl_dns_section s, const char *owner, uint32_t ttl, const char *text);
bool fl_dns_add_soa(struct fl_dns_msg *m, enum fl_dns_section s, const char *owner, uint32_t ttl, const char *mname,
		    const char *rname, uint32_t serial, uint32_t minimum);
// Writes header and OPT; returns the length to send.
size_t fl_dns_end(struct fl_dns_msg *m, int rcode, bool authoritative, bool recursion_available);

// A query of our own. Returns its length, 0 when the name has no wire form.
size_t fl_dns_make_query(uint8_t *buf, size_t cap, uint16_t id, const char *name, uint16_t type);
