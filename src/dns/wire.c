// SPDX-License-Identifier: Apache-2.0
#include "dns/wire.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"

#define HEADER       12
#define MAX_POINTERS 16 // a name needs no more; a loop has endless
#define OPT_LEN      11
#define MAX_RECORDS  512 // skipped in a query; nothing honest sends more

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

static int lower(int c)
{
	return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

bool fl_dns_read_name(const uint8_t *msg, size_t len, size_t *pos, char name[static FL_DNS_NAME_MAX])
{
	size_t at = *pos, out = 0, wire = 0;
	bool jumped = false;
	for (unsigned pointers = 0;;) {
		if (at >= len)
			return false;
		unsigned n = msg[at];
		if ((n & 0xc0) == 0xc0) {
			if (at + 1 >= len || ++pointers > MAX_POINTERS)
				return false;
			size_t to = (n & 0x3fu) << 8 | msg[at + 1];
			if (!jumped)
				*pos = at + 2;
			jumped = true;
			if (to >= at) // only backwards
				return false;
			at = to;
			continue;
		}
		if (n & 0xc0 || at + 1 + n > len || (wire += n + 1) > 255)
			return false;
		at++;
		if (!n)
			break;
		if (out)
			name[out++] = '.';
		for (unsigned i = 0; i < n; i++) {
			int c = msg[at + i];
			if (c <= ' ' || c > '~' || c == '.' || c == '\\')
				return false;
			name[out++] = (char)lower(c);
		}
		at += n;
	}
	name[out] = 0;
	if (!jumped)
		*pos = at;
	return true;
}

bool fl_dns_read_rr(const uint8_t *msg, size_t len, size_t *pos, struct fl_dns_rr *rr)
{
	size_t at = *pos;
	if (!fl_dns_read_name(msg, len, &at, rr->name) || at + 10 > len)
		return false;
	rr->type = get16(msg + at);
	rr->class_ = get16(msg + at + 2);
	rr->ttl_at = at + 4;
	rr->ttl = get32(msg + at + 4);
	rr->rdlength = get16(msg + at + 8);
	rr->rdata_at = at + 10;
	if (rr->rdata_at + rr->rdlength > len)
		return false;
	*pos = rr->rdata_at + rr->rdlength;
	return true;
}

int fl_dns_parse_query(const uint8_t *msg, size_t len, struct fl_dns_query *q)
{
	if (len < HEADER || msg[2] & 0x80)
		return -EBADMSG;
	memset(q, 0, offsetof(struct fl_dns_query, name));
	q->name[0] = 0;
	q->question_len = 0;
	q->id = get16(msg);
	q->recursion_desired = msg[2] & 1;
	q->checking_disabled = msg[3] & 0x10;
	q->udp_size = FL_DNS_UDP_MIN;
	if ((msg[2] >> 3 & 15) != 0)
		return FL_DNS_NOTIMP;
	size_t pos = HEADER;
	if (get16(msg + 4) != 1 || !fl_dns_read_name(msg, len, &pos, q->name) || pos + 4 > len)
		return FL_DNS_FORMERR;
	q->type = get16(msg + pos);
	q->class_ = get16(msg + pos + 2);
	pos += 4;
	q->question_len = pos - HEADER;
	unsigned records = get16(msg + 6) + get16(msg + 8) + get16(msg + 10);
	if (records > MAX_RECORDS)
		return FL_DNS_FORMERR;
	for (unsigned i = 0; i < records; i++) {
		struct fl_dns_rr rr;
		if (!fl_dns_read_rr(msg, len, &pos, &rr))
			return FL_DNS_FORMERR;
		if (rr.type != FL_DNS_OPT)
			continue;
		if (q->edns || rr.name[0])
			return FL_DNS_FORMERR;
		q->edns = true;
		q->udp_size = rr.class_ < FL_DNS_UDP_MIN ? FL_DNS_UDP_MIN : rr.class_;
		q->edns_version = (uint8_t)(rr.ttl >> 16);
		q->dnssec_ok = rr.ttl & 0x8000;
	}
	return 0;
}

// --- writing ---

// Wire form of a presentation name; 0 when it has none.
static size_t put_name(uint8_t *p, size_t cap, const char *name)
{
	size_t n = 0;
	while (*name) {
		size_t label = strcspn(name, ".");
		if (!label || label > 63 || n + label + 2 > cap || n + label + 2 > 255)
			return 0;
		p[n++] = (uint8_t)label;
		memcpy(p + n, name, label);
		n += label;
		name += label;
		if (*name == '.')
			name++;
	}
	if (n + 1 > cap)
		return 0;
	p[n++] = 0;
	return n;
}

void fl_dns_begin(struct fl_dns_msg *m, uint8_t *buf, size_t cap, const struct fl_dns_query *q, const uint8_t *question)
{
	*m = (struct fl_dns_msg){.buf = buf, .cap = cap, .q = q, .reserved = q->edns ? OPT_LEN : 0};
	memset(buf, 0, HEADER);
	memcpy(buf + HEADER, question, q->question_len);
	m->len = HEADER + q->question_len;
}

// Owner, type, class, ttl; the caller writes rdata at the returned place and calls commit. NULL when it does not fit.
static uint8_t *begin_rr(struct fl_dns_msg *m, const char *owner, uint16_t type, uint32_t ttl, size_t rdata_max,
			 size_t *ret_start)
{
	if (m->truncated)
		return NULL;
	size_t room = m->cap - m->reserved, at = m->len;
	if (!owner) {
		if (at + 2 > room)
			return NULL;
		put16(m->buf + at, 0xc000 | HEADER);
		at += 2;
	} else {
		size_t n = at < room ? put_name(m->buf + at, room - at, owner) : 0;
		if (!n)
			return NULL;
		at += n;
	}
	if (at + 10 + rdata_max > room)
		return NULL;
	put16(m->buf + at, type);
	put16(m->buf + at + 2, 1);
	put32(m->buf + at + 4, ttl);
	*ret_start = at + 8;
	return m->buf + at + 10;
}

static bool commit(struct fl_dns_msg *m, enum fl_dns_section s, size_t start, size_t rdlength)
{
	put16(m->buf + start, (unsigned)rdlength);
	m->len = start + 2 + rdlength;
	uint16_t *count = s == FL_DNS_ANSWER      ? &m->n_answer
			  : s == FL_DNS_AUTHORITY ? &m->n_authority
						  : &m->n_additional;
	(*count)++;
	return true;
}

static bool full(struct fl_dns_msg *m, enum fl_dns_section s)
{
	if (s != FL_DNS_ADDITIONAL) // what rides along may be left out silently (RFC 2181 section 9)
		m->truncated = true;
	return false;
}

bool fl_dns_add_ip(struct fl_dns_msg *m, enum fl_dns_section s, const char *owner, uint32_t ttl, const struct fl_ip *ip)
{
	size_t n, start;
	const uint8_t *raw = fl_ip_raw(ip, &n);
	uint8_t *p = begin_rr(m, owner, n == 4 ? FL_DNS_A : FL_DNS_AAAA, ttl, n, &start);
	if (!p)
		return full(m, s);
	memcpy(p, raw, n);
	return commit(m, s, start, n);
}

bool fl_dns_add_name(struct fl_dns_msg *m, enum fl_dns_section s, const char *owner, uint16_t type, uint32_t ttl,
		     const char *target)
{
	size_t start;
	uint8_t *p = begin_rr(m, owner, type, ttl, 1, &start);
	size_t n = p ? put_name(p, m->cap - m->reserved - start - 2, target) : 0;
	return n ? commit(m, s, start, n) : full(m, s);
}

bool fl_dns_add_srv(struct fl_dns_msg *m, enum fl_dns_section s, const char *owner, uint32_t ttl, uint16_t priority,
		    uint16_t weight, uint16_t port, const char *target)
{
	size_t start;
	uint8_t *p = begin_rr(m, owner, FL_DNS_SRV, ttl, 7, &start);
	size_t n = p ? put_name(p + 6, m->cap - m->reserved - start - 8, target) : 0;
	if (!n)
		return full(m, s);
	put16(p, priority);
	put16(p + 2, weight);
	put16(p + 4, port);
	return commit(m, s, start, n + 6);
}

bool fl_dns_add_txt(struct fl_dns_msg *m, enum fl_dns_section s, const char *owner, uint32_t ttl, const char *text)
{
	size_t start, n = strlen(text);
	uint8_t *p = n <= 255 ? begin_rr(m, owner, FL_DNS_TXT, ttl, n + 1, &start) : NULL;
	if (!p)
		return full(m, s);
	p[0] = (uint8_t)n;
	memcpy(p + 1, text, n);
	return commit(m, s, start, n + 1);
}

bool fl_dns_add_soa(struct fl_dns_msg *m, enum fl_dns_section s, const char *owner, uint32_t ttl, const char *mname,
		    const char *rname, uint32_t serial, uint32_t minimum)
{
	size_t start, room;
	uint8_t *p = begin_rr(m, owner, FL_DNS_SOA, ttl, 22, &start);
	if (!p)
		return full(m, s);
	room = m->cap - m->reserved - start - 2;
	size_t a = put_name(p, room, mname), b = a ? put_name(p + a, room - a, rname) : 0;
	if (!b || a + b + 20 > room)
		return full(m, s);
	uint8_t *n = p + a + b;
	put32(n, serial);
	put32(n + 4, 7200);   // refresh
	put32(n + 8, 1800);   // retry
	put32(n + 12, 86400); // expire
	put32(n + 16, minimum);
	return commit(m, s, start, a + b + 20);
}

size_t fl_dns_end(struct fl_dns_msg *m, int rcode, bool authoritative, bool recursion_available)
{
	uint8_t *b = m->buf;
	if (m->q->edns) {
		uint8_t *p = b + m->len;
		memset(p, 0, OPT_LEN);
		put16(p + 1, FL_DNS_OPT);
		put16(p + 3, FL_DNS_UDP_MAX);
		p[5] = (uint8_t)(rcode >> 4);
		m->len += OPT_LEN;
		m->n_additional++;
	}
	put16(b, m->q->id);
	b[2] = (uint8_t)(0x80 | (authoritative ? 4 : 0) | (m->truncated ? 2 : 0) | (m->q->recursion_desired ? 1 : 0));
	b[3] = (uint8_t)((recursion_available ? 0x80 : 0) | (m->q->checking_disabled ? 0x10 : 0) | (rcode & 15));
	put16(b + 4, m->q->question_len ? 1 : 0);
	put16(b + 6, m->n_answer);
	put16(b + 8, m->n_authority);
	put16(b + 10, m->n_additional);
	return m->len;
}

size_t fl_dns_make_query(uint8_t *buf, size_t cap, uint16_t id, const char *name, uint16_t type)
{
	if (cap < HEADER + 5)
		return 0;
	memset(buf, 0, HEADER);
	put16(buf, id);
	buf[2] = 1; // recursion desired
	put16(buf + 4, 1);
	size_t n = put_name(buf + HEADER, cap - HEADER - 4, name);
	if (!n)
		return 0;
	put16(buf + HEADER + n, type);
	put16(buf + HEADER + n + 2, 1);
	return HEADER + n + 4;
}
