// SPDX-License-Identifier: Apache-2.0
// From a query's bytes to an answer's bytes, without sockets.
#include <string.h>

#include "dns/server.h"

#define HEADER    12
#define MAX_CHAIN 8 // CNAMEs within the zone

static size_t bound(const struct fl_dns_query *q, bool tcp)
{
	if (tcp)
		return FL_DNS_TCP_MAX;
	return q->udp_size < FL_DNS_UDP_MAX ? q->udp_size : FL_DNS_UDP_MAX;
}

static size_t plain(const struct fl_dns_query *q, const uint8_t *in, uint8_t *out, int rcode)
{
	struct fl_dns_msg m;
	fl_dns_begin(&m, out, FL_DNS_UDP_MIN, q, in + HEADER);
	return fl_dns_end(&m, rcode, false, true);
}

// The records of `target` behind the alias that stands in `m` already. Only names of our own zone; false: it is not
// ours.
static bool chase_inside(struct fl_zone *zone, struct fl_dns_msg *m, const struct fl_dns_query *q,
			 char target[static FL_DNS_NAME_MAX])
{
	static uint8_t scratch[FL_DNS_TCP_MAX];
	for (unsigned i = 0; i < MAX_CHAIN; i++) {
		struct fl_dns_query inner = {.type = q->type, .class_ = 1};
		struct fl_dns_msg answer;
		char next[FL_DNS_NAME_MAX] = "";
		int rcode = 0;
		size_t n = fl_dns_make_query(scratch, sizeof(scratch), 0, target, q->type);
		if (!n)
			return true;
		memcpy(inner.name, target, strlen(target) + 1);
		inner.question_len = n - HEADER;
		fl_dns_begin(&answer, scratch, sizeof(scratch), &inner, scratch + HEADER);
		enum fl_zone_verdict v = fl_zone_answer(zone, &answer, &rcode, next);
		if (v == FL_ZONE_FOREIGN)
			return false;
		size_t len = fl_dns_end(&answer, rcode, true, true), pos = n;
		struct fl_dns_rr rr;
		for (unsigned k = 0; k < answer.n_answer && fl_dns_read_rr(scratch, len, &pos, &rr); k++) {
			struct fl_ip ip = {0};
			if (rr.type == FL_DNS_CNAME)
				fl_dns_add_name(m, FL_DNS_ANSWER, rr.name, FL_DNS_CNAME, rr.ttl, next);
			if (rr.type != FL_DNS_A && rr.type != FL_DNS_AAAA)
				continue;
			if (rr.type == FL_DNS_A) {
				uint32_t be;
				memcpy(&be, scratch + rr.rdata_at, 4);
				ip = fl_ip_from4(be);
			} else {
				ip.family = AF_INET6;
				memcpy(ip.b, scratch + rr.rdata_at, 16);
			}
			fl_dns_add_ip(m, FL_DNS_ANSWER, rr.name, rr.ttl, &ip);
		}
		if (v != FL_ZONE_CHASE)
			return true;
		memcpy(target, next, sizeof(next));
	}
	return true; // a loop: what was gathered is the answer
}

long fl_dns_respond(struct fl_zone *zone, bool synced, bool allowed, const uint8_t *in, size_t len, bool tcp,
		    struct fl_dns_query *q, uint8_t *out, char ret_target[static FL_DNS_NAME_MAX])
{
	int rc = fl_dns_parse_query(in, len, q);
	if (rc < 0)
		return 0;
	if (rc > 0)
		return (long)plain(q, in, out, rc);
	if (q->edns && q->edns_version)
		return (long)plain(q, in, out, FL_DNS_BADVERS);
	if (q->class_ != 1)
		return (long)plain(q, in, out, FL_DNS_REFUSED);
	struct fl_dns_msg m;
	fl_dns_begin(&m, out, bound(q, tcp), q, in + HEADER);
	int rcode = 0;
	ret_target[0] = 0;
	enum fl_zone_verdict v = fl_zone_answer(zone, &m, &rcode, ret_target);
	if (v == FL_ZONE_FOREIGN)
		return allowed ? -1 : (long)plain(q, in, out, FL_DNS_REFUSED);
	if (!synced)
		return (long)plain(q, in, out, FL_DNS_SERVFAIL);
	if (v == FL_ZONE_CHASE && !chase_inside(zone, &m, q, ret_target) && allowed)
		return -1;
	return (long)fl_dns_end(&m, rcode, true, true);
}

size_t fl_dns_relay(const struct fl_dns_query *q, const uint8_t *question, const char *alias, uint32_t ttl_s,
		    const uint8_t *msg, size_t len, bool tcp, uint8_t *out)
{
	struct fl_dns_msg m;
	fl_dns_begin(&m, out, bound(q, tcp), q, question);
	if (!msg && !alias)
		return fl_dns_end(&m, FL_DNS_SERVFAIL, false, true);
	if (!alias) {
		size_t opt = q->edns ? 11 : 0;
		if (len + opt > bound(q, tcp)) { // the client comes again by TCP
			m.truncated = true;
			return fl_dns_end(&m, msg[3] & 15, false, true);
		}
		memcpy(out, msg, len);
		memcpy(out + HEADER, question, q->question_len); // its own spelling, letter case and all
		m.len = len;
		m.n_answer = (uint16_t)(msg[6] << 8 | msg[7]);
		m.n_authority = (uint16_t)(msg[8] << 8 | msg[9]);
		m.n_additional = (uint16_t)(msg[10] << 8 | msg[11]);
		return fl_dns_end(&m, msg[3] & 15, false, true);
	}
	// The alias first, then the addresses that the upstream found; names are written out, since its compression
	// pointers do not fit here.
	fl_dns_add_name(&m, FL_DNS_ANSWER, NULL, FL_DNS_CNAME, ttl_s, alias);
	size_t pos = HEADER;
	char name[FL_DNS_NAME_MAX];
	if (msg && fl_dns_read_name(msg, len, &pos, name)) {
		pos += 4;
		struct fl_dns_rr rr;
		for (unsigned i = (unsigned)(msg[6] << 8 | msg[7]); i && fl_dns_read_rr(msg, len, &pos, &rr); i--) {
			size_t at = rr.rdata_at;
			struct fl_ip ip = {.family = AF_INET6};
			if (rr.type == FL_DNS_CNAME && fl_dns_read_name(msg, len, &at, name)) {
				fl_dns_add_name(&m, FL_DNS_ANSWER, rr.name, FL_DNS_CNAME, rr.ttl, name);
			} else if (rr.type == FL_DNS_A && rr.rdlength == 4) {
				uint32_t be;
				memcpy(&be, msg + at, 4);
				ip = fl_ip_from4(be);
				fl_dns_add_ip(&m, FL_DNS_ANSWER, rr.name, rr.ttl, &ip);
			} else if (rr.type == FL_DNS_AAAA && rr.rdlength == 16) {
				memcpy(ip.b, msg + at, 16);
				fl_dns_add_ip(&m, FL_DNS_ANSWER, rr.name, rr.ttl, &ip);
			}
		}
	}
	int rcode = !msg ? FL_DNS_SERVFAIL : (msg[3] & 15);
	return fl_dns_end(&m, rcode, true, true);
}
