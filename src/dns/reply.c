// SPDX-License-Identifier: Apache-2.0
#include "dns/reply.h"

#include <string.h>

// Our question, our id, an answer. Some servers leave the question out when they refuse.
static bool is_ours(const uint8_t *query, size_t query_len, const uint8_t *msg, size_t len, uint16_t *ret_type)
{
	size_t a = FL_DNS_HEADER, b = FL_DNS_HEADER;
	char asked[FL_DNS_NAME_MAX], answered[FL_DNS_NAME_MAX];
	if (len < FL_DNS_HEADER || memcmp(msg, query, 2) != 0 || !(msg[2] & 0x80) || msg[2] & 0x78)
		return false;
	if (fl_dns_count(msg, 0) == 0)
		return fl_dns_rcode(msg) != FL_DNS_NOERROR && fl_dns_rcode(msg) != FL_DNS_NXDOMAIN;
	if (fl_dns_count(msg, 0) != 1 || !fl_dns_read_name(query, query_len, &a, asked) ||
	    !fl_dns_read_name(msg, len, &b, answered) || a != b || b + 4 > len || memcmp(msg + b, query + a, 4) != 0 ||
	    strcmp(asked, answered) != 0)
		return false;
	*ret_type = fl_dns_get16(query + a);
	return true;
}

struct facts {
	size_t end; // of what is kept
	unsigned kept_additional;
	bool answered; // by a record of the type asked for
	bool soa;
	uint32_t ttl_s;
};

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static bool read_facts(const uint8_t *msg, size_t len, uint16_t type, struct facts *f)
{
	size_t pos = FL_DNS_HEADER;
	char name[FL_DNS_NAME_MAX];
	unsigned answers = fl_dns_count(msg, 1), firm = answers + fl_dns_count(msg, 2),
		 all = firm + fl_dns_count(msg, 3);
	*f = (struct facts){.ttl_s = FL_DNS_TTL_MAX_S};
	if (!fl_dns_read_name(msg, len, &pos, name))
		return false;
	pos += 4;
	f->end = pos;
	for (unsigned i = 0; i < all; i++) {
		struct fl_dns_rr rr;
		if (!fl_dns_read_rr(msg, len, &pos, &rr))
			return false;
		if (rr.type == FL_DNS_OPT)
			return i >= firm;
		f->end = pos;
		f->kept_additional += i >= firm;
		f->ttl_s = least(f->ttl_s, rr.ttl > INT32_MAX ? 0 : rr.ttl); // RFC 2181 section 8
		if (i < answers)
			f->answered |= rr.type == type || type == FL_DNS_ANY;
		else if (i < firm && rr.type == FL_DNS_SOA && rr.rdlength >= 22) {
			f->soa = true;
			f->ttl_s = least(f->ttl_s, fl_dns_get32(msg + rr.rdata_at + rr.rdlength - 4)); // MINIMUM
		}
	}
	return true;
}

enum fl_dns_reply fl_dns_reply_judge(const uint8_t *query, size_t query_len, uint8_t *msg, size_t *len,
				     uint32_t *ret_ttl_s)
{
	uint16_t type = 0;
	struct facts f;
	if (!is_ours(query, query_len, msg, *len, &type))
		return FL_DNS_REPLY_STRANGE;
	unsigned rcode = fl_dns_rcode(msg);
	if ((rcode == FL_DNS_FORMERR || rcode == FL_DNS_NOTIMP) && fl_dns_count(query, 3))
		return FL_DNS_REPLY_NO_EDNS;
	if (rcode != FL_DNS_NOERROR && rcode != FL_DNS_NXDOMAIN)
		return FL_DNS_REPLY_FAILED;
	if (fl_dns_is_truncated(msg))
		return FL_DNS_REPLY_TRUNCATED;
	if (!read_facts(msg, *len, type, &f))
		return FL_DNS_REPLY_STRANGE;
	*len = f.end;
	fl_dns_put16(msg + 10, f.kept_additional);
	if (rcode == FL_DNS_NXDOMAIN || !f.answered)
		*ret_ttl_s = f.soa ? least(f.ttl_s, FL_DNS_NEGATIVE_MAX_S) : 0;
	else
		*ret_ttl_s = f.ttl_s;
	return FL_DNS_REPLY_GOOD;
}

void fl_dns_reply_age(uint8_t *msg, size_t len, uint32_t age_s)
{
	size_t pos = FL_DNS_HEADER;
	char name[FL_DNS_NAME_MAX];
	struct fl_dns_rr rr;
	if (!fl_dns_read_name(msg, len, &pos, name))
		return;
	for (pos += 4; pos < len && fl_dns_read_rr(msg, len, &pos, &rr);)
		fl_dns_put32(msg + rr.ttl_at, rr.ttl > age_s ? rr.ttl - age_s : 0);
}
