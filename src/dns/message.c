// SPDX-License-Identifier: Apache-2.0
#include "dns/message.h"

#include <assert.h>
#include <string.h>

#define OPT_LEN 11
#define POINTER 0xc000

void fl_dns_begin(struct fl_dns_msg *m, uint8_t *buf, size_t cap, const struct fl_dns_query *q, const uint8_t *question)
{
	*m = (struct fl_dns_msg){.buf = buf, .cap = cap, .q = q, .reserved = q->edns ? OPT_LEN : 0};
	memset(buf, 0, FL_DNS_HEADER);
	memcpy(buf + FL_DNS_HEADER, question, q->question_len);
	m->len = FL_DNS_HEADER + q->question_len;
	// Without escapes an offset in the text is an offset on the wire: each label's dot stands for its length.
	if (q->question_len == q->name_len + 6)
		m->match_len = q->name_len;
}

// Where in `name` a suffix begins that the question ends with as well; its length there is *ret_len, 0 = nowhere.
static const char *shared_suffix(const struct fl_dns_msg *m, const char *name, size_t *ret_len)
{
	size_t n = strlen(name);
	for (const char *p = name; p; p = strchr(p, '.')) {
		if (*p == '.')
			p++;
		size_t rest = n - (size_t)(p - name), at = m->match_len - rest;
		if (rest && rest <= m->match_len && !memcmp(m->q->name + at, p, rest) &&
		    (!at || m->q->name[at - 1] == '.')) {
			*ret_len = rest;
			return p;
		}
	}
	*ret_len = 0;
	return name + n;
}

// Writes a name at buf + at, below `room`. Returns the offset behind it; 0 when it does not fit or has no wire form.
static size_t put_name(struct fl_dns_msg *m, size_t at, size_t room, const char *name, bool may_point)
{
	size_t suffix = 0, wire = fl_dns_name_wire_len(name);
	if (!wire)
		return 0;
	const char *tail = may_point ? shared_suffix(m, name, &suffix) : name;
	if (!suffix) {
		if (at + wire > room)
			return 0;
		fl_dns_name_to_wire(m->buf + at, name);
		return at + wire;
	}
	size_t head = (size_t)(tail - name);
	if (at + head + 2 > room)
		return 0;
	if (head) { // labels before the suffix, without the dot between
		char text[FL_DNS_NAME_MAX];
		memcpy(text, name, head - 1);
		text[head - 1] = 0;
		size_t n = fl_dns_name_wire_len(text);
		if (at + n + 2 > room)
			return 0;
		fl_dns_name_to_wire(m->buf + at, text);
		at += n - 1; // the pointer stands in place of its root
	}
	fl_dns_put16(m->buf + at, (unsigned)(POINTER | (FL_DNS_HEADER + m->match_len - suffix)));
	return at + 2;
}

struct rr {
	size_t rdlength_at, rdata; // offsets
	size_t room;               // end of what may be written
};

// Owner, type, class, ttl. False when these and `rdata_min` octets do not fit.
static bool begin_rr(struct fl_dns_msg *m, enum fl_dns_section s, const char *owner, uint16_t type, uint16_t class_,
		     uint32_t ttl, size_t rdata_min, struct rr *ret)
{
	size_t room = m->cap - m->reserved, at = m->len;
	assert(s >= m->section);
	if (m->truncated)
		return false;
	if (!owner) {
		if (at + 2 > room)
			return false;
		fl_dns_put16(m->buf + at, POINTER | FL_DNS_HEADER);
		at += 2;
	} else {
		at = put_name(m, at, room, owner, true);
	}
	if (!at || at + 10 + rdata_min > room)
		return false;
	fl_dns_put16(m->buf + at, type);
	fl_dns_put16(m->buf + at + 2, class_);
	fl_dns_put32(m->buf + at + 4, ttl);
	*ret = (struct rr){.rdlength_at = at + 8, .rdata = at + 10, .room = room};
	return true;
}

static bool commit(struct fl_dns_msg *m, enum fl_dns_section s, const struct rr *rr, size_t end)
{
	fl_dns_put16(m->buf + rr->rdlength_at, (unsigned)(end - rr->rdata));
	m->len = end;
	m->section = s;
	m->count[s]++;
	return true;
}

// A record was left out: for want of room, or because one of its names (NULL: none) is none.
static bool left_out(struct fl_dns_msg *m, enum fl_dns_section s, const char *a, const char *b, const char *c)
{
	if (s != FL_DNS_ADDITIONAL && (!a || fl_dns_name_wire_len(a)) && (!b || fl_dns_name_wire_len(b)) &&
	    (!c || fl_dns_name_wire_len(c)))
		m->truncated = true;
	return false;
}

bool fl_dns_add_ip(struct fl_dns_msg *m, enum fl_dns_section s, const char *owner, uint32_t ttl, const struct fl_ip *ip)
{
	size_t n;
	struct rr rr;
	const uint8_t *raw = fl_ip_raw(ip, &n);
	if (!begin_rr(m, s, owner, n == 4 ? FL_DNS_A : FL_DNS_AAAA, FL_DNS_IN, ttl, n, &rr))
		return left_out(m, s, owner, NULL, NULL);
	memcpy(m->buf + rr.rdata, raw, n);
	return commit(m, s, &rr, rr.rdata + n);
}

bool fl_dns_add_name(struct fl_dns_msg *m, enum fl_dns_section s, const char *owner, uint16_t type, uint32_t ttl,
		     const char *target)
{
	struct rr rr;
	size_t end;
	if (!begin_rr(m, s, owner, type, FL_DNS_IN, ttl, 1, &rr) ||
	    !(end = put_name(m, rr.rdata, rr.room, target, true)))
		return left_out(m, s, owner, target, NULL);
	return commit(m, s, &rr, end);
}

bool fl_dns_add_srv(struct fl_dns_msg *m, enum fl_dns_section s, const char *owner, uint32_t ttl,
		    const struct fl_dns_srv *srv)
{
	struct rr rr;
	size_t end;
	if (!begin_rr(m, s, owner, FL_DNS_SRV, FL_DNS_IN, ttl, 7, &rr) ||
	    !(end = put_name(m, rr.rdata + 6, rr.room, srv->target, false))) // RFC 2782: no compression
		return left_out(m, s, owner, srv->target, NULL);
	uint8_t *p = m->buf + rr.rdata;
	fl_dns_put16(p, srv->priority);
	fl_dns_put16(p + 2, srv->weight);
	fl_dns_put16(p + 4, srv->port);
	return commit(m, s, &rr, end);
}

bool fl_dns_add_txt(struct fl_dns_msg *m, enum fl_dns_section s, const char *owner, uint16_t class_, uint32_t ttl,
		    const char *text)
{
	struct rr rr;
	size_t n = strlen(text);
	assert(n <= 255);
	if (!begin_rr(m, s, owner, FL_DNS_TXT, class_, ttl, n + 1, &rr))
		return left_out(m, s, owner, NULL, NULL);
	m->buf[rr.rdata] = (uint8_t)n;
	memcpy(m->buf + rr.rdata + 1, text, n);
	return commit(m, s, &rr, rr.rdata + 1 + n);
}

bool fl_dns_add_soa(struct fl_dns_msg *m, enum fl_dns_section s, const char *owner, uint32_t ttl,
		    const struct fl_dns_soa *soa)
{
	struct rr rr;
	size_t at;
	if (!begin_rr(m, s, owner, FL_DNS_SOA, FL_DNS_IN, ttl, 22, &rr) ||
	    !(at = put_name(m, rr.rdata, rr.room, soa->mname, true)) ||
	    !(at = put_name(m, at, rr.room, soa->rname, true)) || at + 20 > rr.room)
		return left_out(m, s, owner, soa->mname, soa->rname);
	uint8_t *p = m->buf + at;
	fl_dns_put32(p, soa->serial);
	fl_dns_put32(p + 4, 7200); // refresh, retry, expire: for secondaries, of which there are none
	fl_dns_put32(p + 8, 1800);
	fl_dns_put32(p + 12, 86400);
	fl_dns_put32(p + 16, soa->minimum);
	return commit(m, s, &rr, at + 20);
}

static void put_opt(uint8_t *p, unsigned rcode, bool dnssec_ok)
{
	memset(p, 0, OPT_LEN);
	fl_dns_put16(p + 1, FL_DNS_OPT);
	fl_dns_put16(p + 3, FL_DNS_UDP_MAX);
	p[5] = (uint8_t)(rcode >> 4);
	p[7] = dnssec_ok ? 0x80 : 0; // RFC 3225: an answer repeats it
}

size_t fl_dns_end(struct fl_dns_msg *m, unsigned rcode, bool authoritative, bool recursion_available)
{
	const struct fl_dns_query *q = m->q;
	uint8_t *b = m->buf;
	if (q->edns) {
		put_opt(b + m->len, rcode, q->dnssec_ok);
		m->len += OPT_LEN;
		m->count[FL_DNS_ADDITIONAL]++;
	}
	fl_dns_put16(b, q->id);
	b[2] = (uint8_t)(0x80 | q->opcode << 3 | (authoritative ? 4 : 0) | (m->truncated ? 2 : 0) |
			 (q->recursion_desired ? 1 : 0));
	b[3] = (uint8_t)((recursion_available ? 0x80 : 0) | (q->checking_disabled ? 0x10 : 0) | (rcode & 15));
	fl_dns_put16(b + 4, q->question_len ? 1 : 0);
	for (unsigned i = 0; i < FL_DNS_SECTION_COUNT; i++)
		fl_dns_put16(b + 6 + 2 * i, m->count[i]);
	return m->len;
}

size_t fl_dns_make_query(uint8_t *buf, size_t cap, uint16_t id, const char *name, uint16_t type)
{
	size_t n = fl_dns_name_wire_len(name);
	if (!n || FL_DNS_HEADER + n + 4 > cap)
		return 0;
	memset(buf, 0, FL_DNS_HEADER);
	fl_dns_put16(buf, id);
	buf[2] = 1; // recursion desired
	buf[5] = 1; // one question
	fl_dns_name_to_wire(buf + FL_DNS_HEADER, name);
	fl_dns_put16(buf + FL_DNS_HEADER + n, type);
	fl_dns_put16(buf + FL_DNS_HEADER + n + 2, FL_DNS_IN);
	return FL_DNS_HEADER + n + 4;
}

size_t fl_dns_add_opt(uint8_t *buf, size_t cap, size_t len, bool dnssec_ok)
{
	if (len + OPT_LEN > cap)
		return 0;
	put_opt(buf + len, 0, dnssec_ok);
	buf[11]++;
	return len + OPT_LEN;
}
