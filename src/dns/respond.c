// SPDX-License-Identifier: Apache-2.0
#include "dns/respond.h"

#include <string.h>

#define MAX_CHAIN 8 // aliases within the zone

static size_t room(const struct fl_dns_query *q, bool tcp)
{
	if (tcp)
		return FL_DNS_TCP_MAX;
	return q->udp_size < FL_DNS_UDP_MAX ? q->udp_size : FL_DNS_UDP_MAX;
}

static enum fl_dns_verdict bare(struct fl_dns_exchange *x, uint8_t *out, unsigned rcode)
{
	struct fl_dns_msg m;
	fl_dns_begin(&m, out, FL_DNS_UDP_MIN, &x->q, x->question);
	x->len = fl_dns_end(&m, rcode, false, true);
	x->rcode = rcode;
	return FL_DNS_SEND;
}

enum fl_dns_verdict fl_dns_respond(struct fl_zone *zone, bool synced, const struct fl_dns_asker *asker,
				   const uint8_t *in, size_t len, bool tcp, struct fl_dns_exchange *x, uint8_t *out)
{
	int bad = fl_dns_parse_query(in, len, &x->q);
	x->question = in + FL_DNS_HEADER;
	x->target[0] = 0;
	if (bad < 0)
		return FL_DNS_DROP;
	if (bad)
		return bare(x, out, (unsigned)bad);
	if (x->q.edns && x->q.edns_version)
		return bare(x, out, FL_DNS_BADVERS);
	if (x->q.class_ != FL_DNS_IN || (x->q.type >= FL_DNS_META_FIRST && x->q.type <= FL_DNS_META_LAST))
		return bare(x, out, FL_DNS_REFUSED);

	struct fl_dns_msg m;
	char name[FL_DNS_NAME_MAX];
	fl_dns_begin(&m, out, room(&x->q, tcp), &x->q, x->question);
	x->rcode = FL_DNS_NOERROR;
	enum fl_zone_verdict v = fl_zone_answer(zone, &m, NULL, &x->rcode, x->target);
	if (v == FL_ZONE_FOREIGN)
		return asker->allowed(asker->arg) ? FL_DNS_FORWARD : bare(x, out, FL_DNS_REFUSED);
	if (!synced)
		return bare(x, out, FL_DNS_SERVFAIL);
	for (unsigned i = 0; v == FL_ZONE_CHASE && i < MAX_CHAIN; i++) {
		strcpy(name, x->target);
		v = fl_zone_answer(zone, &m, name, &x->rcode, x->target);
	}
	if (v == FL_ZONE_CHASE) // they lead in a circle
		return bare(x, out, FL_DNS_SERVFAIL);
	if (v == FL_ZONE_FOREIGN && asker->allowed(asker->arg))
		return FL_DNS_FORWARD;
	x->len = fl_dns_end(&m, x->rcode, true, true);
	return FL_DNS_SEND;
}

static void relay_rr(struct fl_dns_msg *m, const uint8_t *msg, size_t len, const struct fl_dns_rr *rr)
{
	size_t at = rr->rdata_at;
	struct fl_ip ip = {.family = AF_INET6};
	char target[FL_DNS_NAME_MAX];
	if (rr->type == FL_DNS_CNAME && fl_dns_read_name(msg, len, &at, target)) {
		fl_dns_add_name(m, FL_DNS_ANSWER, rr->name, FL_DNS_CNAME, rr->ttl, target);
	} else if (rr->type == FL_DNS_A && rr->rdlength == 4) {
		uint32_t be;
		memcpy(&be, msg + at, 4);
		ip = fl_ip_from4(be);
		fl_dns_add_ip(m, FL_DNS_ANSWER, rr->name, rr->ttl, &ip);
	} else if (rr->type == FL_DNS_AAAA && rr->rdlength == 16) {
		memcpy(ip.b, msg + at, 16);
		fl_dns_add_ip(m, FL_DNS_ANSWER, rr->name, rr->ttl, &ip);
	}
}

// The alias first, then the addresses that the upstream found; names are written anew, since its compression pointers
// do not fit here.
static size_t relay_behind_alias(struct fl_dns_msg *m, const char *alias, uint32_t ttl_s, const uint8_t *msg,
				 size_t len)
{
	size_t pos = FL_DNS_HEADER;
	char name[FL_DNS_NAME_MAX];
	struct fl_dns_rr rr;
	fl_dns_add_name(m, FL_DNS_ANSWER, NULL, FL_DNS_CNAME, ttl_s, alias);
	if (!msg)
		return fl_dns_end(m, FL_DNS_SERVFAIL, false, true);
	if (fl_dns_read_name(msg, len, &pos, name)) {
		pos += 4;
		for (unsigned i = fl_dns_count(msg, 1); i && fl_dns_read_rr(msg, len, &pos, &rr); i--)
			relay_rr(m, msg, len, &rr);
	}
	return fl_dns_end(m, fl_dns_rcode(msg), true, true);
}

size_t fl_dns_relay(const struct fl_dns_query *q, const uint8_t *question, const char *alias, uint32_t ttl_s,
		    const uint8_t *msg, size_t len, bool tcp, uint8_t *out)
{
	struct fl_dns_msg m;
	fl_dns_begin(&m, out, room(q, tcp), q, question);
	if (alias)
		return relay_behind_alias(&m, alias, ttl_s, msg, len);
	if (!msg)
		return fl_dns_end(&m, FL_DNS_SERVFAIL, false, true);
	if (len > m.cap - m.reserved) { // the client comes again by TCP
		m.truncated = true;
		return fl_dns_end(&m, fl_dns_rcode(msg), false, true);
	}
	memcpy(out, msg, len);
	memcpy(out + FL_DNS_HEADER, question, q->question_len); // its own spelling, letter case and all
	m.len = len;
	for (unsigned i = 0; i < FL_DNS_SECTION_COUNT; i++)
		m.count[i] = (uint16_t)fl_dns_count(msg, i + 1);
	return fl_dns_end(&m, fl_dns_rcode(msg), false, true);
}
