// SPDX-License-Identifier: Apache-2.0
#include "dns/wire.h"

#include <errno.h>
#include <string.h>

#define LABEL_MAX   63
#define WIRE_MAX    255
#define MAX_RECORDS 512 // skipped in a query; nothing honest sends more

static bool is_plain(int c)
{
	return c > ' ' && c <= '~' && c != '.' && c != '\\';
}

static char *put_octet(char *out, int c)
{
	if (is_plain(c)) {
		*out++ = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
		return out;
	}
	*out++ = '\\';
	*out++ = (char)('0' + c / 100);
	*out++ = (char)('0' + c / 10 % 10);
	*out++ = (char)('0' + c % 10);
	return out;
}

bool fl_dns_read_name(const uint8_t *msg, size_t len, size_t *pos, char name[static FL_DNS_NAME_MAX])
{
	// A pointer leads to what stands wholly before the labels that it ends (RFC 1035 section 4.1.4: "a prior
	// occurrence"), so the walk ends, and no name depends on what follows it.
	size_t start = *pos, at = start, limit = len, end = 0, wire = 0;
	char *out = name;
	for (;;) {
		if (at >= limit)
			return false;
		unsigned n = msg[at];
		if ((n & 0xc0) == 0xc0) {
			if (at + 1 >= limit)
				return false;
			size_t to = (n & 0x3fu) << 8 | msg[at + 1];
			if (to < FL_DNS_HEADER || to >= start)
				return false;
			if (!end)
				end = at + 2;
			limit = start;
			start = at = to;
			continue;
		}
		if (n & 0xc0 || at + 1 + n > limit || (wire += n + 1) > WIRE_MAX)
			return false;
		at++;
		if (!n)
			break;
		if (out != name)
			*out++ = '.';
		for (const uint8_t *p = msg + at, *label_end = p + n; p < label_end; p++)
			out = put_octet(out, *p);
		at += n;
	}
	*out = 0;
	*pos = end ? end : at;
	return true;
}

bool fl_dns_read_rr(const uint8_t *msg, size_t len, size_t *pos, struct fl_dns_rr *rr)
{
	size_t at = *pos;
	if (!fl_dns_read_name(msg, len, &at, rr->name) || at + 10 > len)
		return false;
	rr->type = fl_dns_get16(msg + at);
	rr->class_ = fl_dns_get16(msg + at + 2);
	rr->ttl_at = at + 4;
	rr->ttl = fl_dns_get32(msg + at + 4);
	rr->rdlength = fl_dns_get16(msg + at + 8);
	rr->rdata_at = at + 10;
	if (rr->rdata_at + rr->rdlength > len)
		return false;
	*pos = rr->rdata_at + rr->rdlength;
	return true;
}

static bool read_opt(struct fl_dns_query *q, const struct fl_dns_rr *rr)
{
	if (q->edns || rr->name[0]) // one only, of the root (RFC 6891 section 6.1.1)
		return false;
	q->edns = true;
	q->udp_size = rr->class_ < FL_DNS_UDP_MIN ? FL_DNS_UDP_MIN : rr->class_;
	q->edns_version = (uint8_t)(rr->ttl >> 16);
	q->dnssec_ok = rr->ttl & 0x8000;
	return true;
}

int fl_dns_parse_query(const uint8_t *msg, size_t len, struct fl_dns_query *q)
{
	if (len < FL_DNS_HEADER || msg[2] & 0x80)
		return -EBADMSG;
	memset(q, 0, offsetof(struct fl_dns_query, name) + 1);
	q->id = fl_dns_get16(msg);
	q->recursion_desired = msg[2] & 1;
	q->checking_disabled = msg[3] & 0x10;
	q->udp_size = FL_DNS_UDP_MIN;
	q->opcode = msg[2] >> 3 & 15;
	if (q->opcode != 0)
		return FL_DNS_NOTIMP;
	size_t pos = FL_DNS_HEADER;
	if (fl_dns_count(msg, 0) != 1 || !fl_dns_read_name(msg, len, &pos, q->name) || pos + 4 > len)
		return FL_DNS_FORMERR;
	q->name_len = (uint16_t)strlen(q->name);
	q->type = fl_dns_get16(msg + pos);
	q->class_ = fl_dns_get16(msg + pos + 2);
	pos += 4;
	q->question_len = (uint16_t)(pos - FL_DNS_HEADER);
	unsigned records = fl_dns_count(msg, 1) + fl_dns_count(msg, 2) + fl_dns_count(msg, 3);
	if (records > MAX_RECORDS)
		return FL_DNS_FORMERR;
	for (unsigned i = 0; i < records; i++) {
		struct fl_dns_rr rr;
		if (!fl_dns_read_rr(msg, len, &pos, &rr) || (rr.type == FL_DNS_OPT && !read_opt(q, &rr)))
			return FL_DNS_FORMERR;
	}
	return 0;
}

// --- presentation form to wire ---

// The octet at *p, which is advanced behind it; -1: a backslash without three digits that make an octet.
static int take_octet(const char **p)
{
	const char *s = *p;
	if (*s != '\\') {
		(*p)++;
		return (uint8_t)*s;
	}
	int v = 0;
	for (int i = 1; i <= 3; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -1;
		v = v * 10 + (s[i] - '0');
	}
	*p += 4;
	return v <= 255 ? v : -1;
}

size_t fl_dns_name_wire_len(const char *name)
{
	size_t total = 1;
	while (*name) {
		size_t label = 0;
		for (; *name && *name != '.'; label++)
			if (take_octet(&name) < 0)
				return 0;
		total += label + 1;
		if (!label || label > LABEL_MAX || total > WIRE_MAX)
			return 0;
		if (*name == '.' && !*++name)
			return 0;
	}
	return total;
}

void fl_dns_name_to_wire(uint8_t *to, const char *name)
{
	while (*name) {
		uint8_t *length = to++;
		while (*name && *name != '.')
			*to++ = (uint8_t)take_octet(&name);
		*length = (uint8_t)(to - length - 1);
		if (*name)
			name++;
	}
	*to = 0;
}
