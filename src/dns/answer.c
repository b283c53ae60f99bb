// SPDX-License-Identifier: Apache-2.0
// One question to the zone. The labels before the domain, read from the right, lead to an answer_...() function, which
// writes records or says why there are none: NOERROR without records when the name exists (RFC 2308 NODATA), else
// NXDOMAIN; both with the SOA.
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "dns/zone.h"
#include "dns/zone_data.h"

#define VERSION_TTL_S 28800 // specification 1.1.0, section 2.2
#define MAX_LABELS    5     // _port._proto.service.namespace.svc
#define LABEL_MAX     63    // octets (RFC 1035 section 2.3.4)
#define SERVED_MAX    8     // endpoints under one hostname whose repetition is looked for
#define PTR_MAX       16    // names of one address; a host's own may stand in thousands of Services

struct question {
	struct fl_zone *z;
	struct fl_dns_msg *m;
	const char *owner; // of the records; NULL: the question's name
	uint16_t type;
	const char *label[MAX_LABELS]; // from the zone outwards: label[0] is nearest to the zone
	unsigned n;
	const char *service; // "<name>.<namespace>": label[2] and label[1]
	size_t service_len;
	unsigned before; // records that stood in the answer already (of an alias)
};

static bool wants(const struct question *q, uint16_t type)
{
	return q->type == type || q->type == FL_DNS_ANY;
}

static void add_ip(struct question *q, const struct fl_ip *ip)
{
	if (wants(q, ip->family == AF_INET ? FL_DNS_A : FL_DNS_AAAA))
		fl_dns_add_ip(q->m, FL_DNS_ANSWER, q->owner, q->z->o.ttl_s, ip);
}

static void add_soa(struct question *q, enum fl_dns_section section, const char *owner, uint32_t ttl_s)
{
	const struct fl_zone *z = q->z;
	struct fl_dns_soa soa = {.mname = z->ns_name, .rname = z->mail, .serial = z->o.serial, .minimum = 0};
	fl_dns_add_soa(q->m, section, owner, ttl_s, &soa);
}

static unsigned negative(struct question *q, unsigned rcode)
{
	add_soa(q, FL_DNS_AUTHORITY, q->z->o.domain, 0);
	return rcode;
}

// The name exists: its records stand there, or it has none of that type.
static unsigned done(struct question *q)
{
	bool found = q->m->count[FL_DNS_ANSWER] > q->before || q->m->truncated;
	return found ? FL_DNS_NOERROR : negative(q, FL_DNS_NOERROR);
}

static unsigned answer_apex(struct question *q)
{
	const struct fl_zone *z = q->z;
	if (wants(q, FL_DNS_SOA))
		add_soa(q, FL_DNS_ANSWER, q->owner, z->o.ttl_s);
	if (wants(q, FL_DNS_NS)) {
		fl_dns_add_name(q->m, FL_DNS_ANSWER, q->owner, FL_DNS_NS, z->o.ttl_s, z->ns_name);
		for (unsigned i = 0; i < z->o.n_dns_ips; i++)
			fl_dns_add_ip(q->m, FL_DNS_ADDITIONAL, z->ns_name, z->o.ttl_s, &z->o.dns_ips[i]);
	}
	return done(q);
}

static unsigned answer_service(struct question *q, struct fl_dns_service *s)
{
	if (s->type == FL_DNS_CLUSTER_IP) {
		for (unsigned i = 0; i < s->n_ips; i++)
			add_ip(q, &s->ips[i]);
		return done(q);
	}
	fl_dns_service_know_addresses(s);
	size_t n = s->addresses.n;
	if (!n) // specification 1.1.0, section 2.4.1
		return negative(q, FL_DNS_NXDOMAIN);
	size_t first = q->z->turn++ % n; // clients take the first: each its turn
	for (size_t i = 0; i < n; i++)
		add_ip(q, &s->addresses.v[first + i < n ? first + i : first + i - n]);
	return done(q);
}

// Walks the served endpoints of a Service: for (struct place p = {0}; next_served(s, &p);) use p.endpoint, p.slice.
struct place {
	size_t k;
	unsigned i;
	const struct fl_dns_slice *slice;
	const struct fl_dns_endpoint *endpoint;
};

static bool next_served(const struct fl_dns_service *s, struct place *p)
{
	for (; p->k < s->slices.n; p->k++, p->i = 0) {
		p->slice = s->slices.v[p->k];
		while (p->i < p->slice->n_endpoints) {
			p->endpoint = &p->slice->endpoints[p->i++];
			if (fl_dns_endpoint_is_served(s, p->endpoint))
				return true;
		}
	}
	return false;
}

static unsigned answer_endpoint(struct question *q, const struct fl_dns_service *s, const char *label)
{
	struct fl_ip dashed;
	bool is_dashed = fl_dns_parse_dashed(label, &dashed);
	const struct fl_ip *seen[SERVED_MAX]; // an endpoint may stand in two slices
	unsigned n = 0;
	for (struct place p = {0}; next_served(s, &p);) {
		const struct fl_dns_endpoint *e = p.endpoint;
		if (e->hostname ? strcmp(e->hostname, label) != 0 : !is_dashed || !fl_ip_equal(&e->ip, &dashed))
			continue;
		bool again = false;
		for (unsigned i = 0; i < n && i < SERVED_MAX; i++)
			again |= fl_ip_equal(seen[i], &e->ip);
		if (again)
			continue;
		if (n < SERVED_MAX)
			seen[n] = &e->ip;
		n++;
		add_ip(q, &e->ip);
	}
	return n ? done(q) : negative(q, FL_DNS_NXDOMAIN);
}

static bool is_port(const struct fl_dns_port *p, const char *protocol, const char *name)
{
	return !strcmp(p->protocol, protocol) && !strcmp(p->name, name);
}

static void add_srv(struct question *q, uint16_t weight, uint16_t port, const char *target)
{
	struct fl_dns_srv srv = {.weight = weight, .port = port, .target = target};
	fl_dns_add_srv(q->m, FL_DNS_ANSWER, q->owner, q->z->o.ttl_s, &srv);
}

static void add_extra_ip(struct question *q, const char *owner, const struct fl_ip *ip)
{
	fl_dns_add_ip(q->m, FL_DNS_ADDITIONAL, owner, q->z->o.ttl_s, ip);
}

static void name_service(const struct fl_zone *z, const struct fl_dns_service *s, char to[static FL_DNS_NAME_MAX])
{
	snprintf(to, FL_DNS_NAME_MAX, "%s.svc.%s", s->name, z->o.domain);
}

static void name_endpoint(const struct fl_zone *z, const struct fl_dns_service *s, const struct fl_dns_endpoint *e,
			  char to[static FL_DNS_NAME_MAX])
{
	char text[FL_IP_STRLEN];
	snprintf(to, FL_DNS_NAME_MAX, "%s.%s.svc.%s", fl_dns_endpoint_label(e, text), s->name, z->o.domain);
}

static unsigned answer_srv(struct question *q, const struct fl_dns_service *s, const char *protocol, const char *name)
{
	char target[FL_DNS_NAME_MAX];
	const struct fl_dns_port *port = NULL;
	for (unsigned i = 0; i < s->n_ports && !port; i++)
		if (is_port(&s->ports[i], protocol, name))
			port = &s->ports[i];
	if (!port)
		return negative(q, FL_DNS_NXDOMAIN);
	if (!wants(q, FL_DNS_SRV))
		return done(q);
	name_service(q->z, s, target);
	add_srv(q, 100, port->port, target);
	for (unsigned i = 0; i < s->n_ips; i++)
		add_extra_ip(q, target, &s->ips[i]);
	return done(q);
}

// The port's number is the endpoints' own, which may differ from slice to slice (named targetPort).
static uint16_t port_of(const struct fl_dns_slice *slice, const char *protocol, const char *name)
{
	for (unsigned i = 0; i < slice->n_ports; i++)
		if (is_port(&slice->ports[i], protocol, name))
			return slice->ports[i].port;
	return 0;
}

// Of the endpoints that share a name, as a pod's own in two families do, and `more` of n octets: a port or an address.
static bool is_first(struct fl_map *seen, const struct fl_dns_endpoint *e, const void *more, size_t n)
{
	char text[FL_IP_STRLEN], key[LABEL_MAX + sizeof(struct fl_ip)];
	const char *label = fl_dns_endpoint_label(e, text);
	size_t len = strnlen(label, LABEL_MAX);
	memcpy(key, label, len);
	memcpy(key + len, more, n);
	return !fl_map_set_n(seen, key, len + n, seen);
}

static unsigned answer_headless_srv(struct question *q, const struct fl_dns_service *s, const char *protocol,
				    const char *name)
{
	AUTO(fl_map_deinit) struct fl_map targets = {0}, addresses = {0};
	char target[FL_DNS_NAME_MAX];
	unsigned n = 0;
	for (struct place p = {0}; next_served(s, &p);) {
		uint16_t port = port_of(p.slice, protocol, name);
		n += port && is_first(&targets, p.endpoint, &port, sizeof(port));
	}
	if (!n)
		return negative(q, FL_DNS_NXDOMAIN);
	if (!wants(q, FL_DNS_SRV))
		return done(q);
	uint16_t weight = (uint16_t)(n < 100 ? 100 / n : 1);
	fl_map_deinit(&targets);
	for (struct place p = {0}; next_served(s, &p);) {
		uint16_t port = port_of(p.slice, protocol, name);
		if (!port || !is_first(&targets, p.endpoint, &port, sizeof(port)))
			continue;
		name_endpoint(q->z, s, p.endpoint, target);
		add_srv(q, weight, port, target);
	}
	for (struct place p = {0}; next_served(s, &p);) {
		const struct fl_ip *ip = &p.endpoint->ip;
		if (!port_of(p.slice, protocol, name) || !is_first(&addresses, p.endpoint, ip, sizeof(*ip)))
			continue;
		name_endpoint(q->z, s, p.endpoint, target);
		add_extra_ip(q, target, ip);
	}
	return done(q);
}

// _tcp.<svc>... has no records, but exists when something below it does (RFC 8020).
static unsigned answer_protocol(struct question *q, const struct fl_dns_service *s, const char *protocol)
{
	for (unsigned i = 0; i < s->n_ports; i++)
		if (!strcmp(s->ports[i].protocol, protocol))
			return negative(q, FL_DNS_NOERROR);
	return negative(q, FL_DNS_NXDOMAIN);
}

static unsigned answer_external(struct question *q, const struct fl_dns_service *s, enum fl_zone_verdict *verdict,
				char *ret_target)
{
	if (q->n != 3 || !s->external_name)
		return negative(q, FL_DNS_NXDOMAIN);
	fl_dns_add_name(q->m, FL_DNS_ANSWER, q->owner, FL_DNS_CNAME, q->z->o.ttl_s, s->external_name);
	if (q->type == FL_DNS_A || q->type == FL_DNS_AAAA) {
		strcpy(ret_target, s->external_name);
		*verdict = FL_ZONE_CHASE;
	}
	return FL_DNS_NOERROR;
}

static bool is_namespace(const struct question *q, const char *name)
{
	return fl_map_get(&q->z->namespaces, name) != NULL;
}

static unsigned answer_svc(struct question *q, enum fl_zone_verdict *verdict, char *ret_target)
{
	if (q->n == 1)
		return negative(q, FL_DNS_NOERROR);
	if (q->n == 2)
		return negative(q, is_namespace(q, q->label[1]) ? FL_DNS_NOERROR : FL_DNS_NXDOMAIN);
	struct fl_dns_service *s = fl_zone_service(q->z, q->service, q->service_len);
	if (!s || !s->exists)
		return negative(q, FL_DNS_NXDOMAIN);
	if (s->type == FL_DNS_EXTERNAL_NAME)
		return answer_external(q, s, verdict, ret_target);
	if (q->n == 3)
		return answer_service(q, s);
	const char *outer = q->label[3];
	if (q->n == 4)
		return *outer == '_' ? answer_protocol(q, s, outer + 1) : answer_endpoint(q, s, outer);
	if (*outer != '_' || q->label[4][0] != '_')
		return negative(q, FL_DNS_NXDOMAIN);
	return s->type == FL_DNS_HEADLESS ? answer_headless_srv(q, s, outer + 1, q->label[4] + 1)
					  : answer_srv(q, s, outer + 1, q->label[4] + 1);
}

static unsigned answer_pod(struct question *q)
{
	struct fl_ip ip;
	if (q->n == 1)
		return negative(q, FL_DNS_NOERROR);
	if (!is_namespace(q, q->label[1]))
		return negative(q, FL_DNS_NXDOMAIN);
	if (q->n == 2)
		return negative(q, FL_DNS_NOERROR);
	if (q->n != 3 || !fl_dns_parse_dashed(q->label[2], &ip))
		return negative(q, FL_DNS_NXDOMAIN);
	add_ip(q, &ip);
	return done(q);
}

static unsigned answer_ns(struct question *q)
{
	if (q->n == 1)
		return negative(q, FL_DNS_NOERROR);
	if (q->n != 2 || strcmp(q->label[1], "ns") != 0)
		return negative(q, FL_DNS_NXDOMAIN);
	for (unsigned i = 0; i < q->z->o.n_dns_ips; i++)
		add_ip(q, &q->z->o.dns_ips[i]);
	return done(q);
}

static unsigned answer_version(struct question *q)
{
	if (wants(q, FL_DNS_TXT))
		fl_dns_add_txt(q->m, FL_DNS_ANSWER, q->owner, FL_DNS_IN, VERSION_TTL_S, "1.1.0");
	return done(q);
}

// --- reverse names ---

static bool reverse_ip4(const char *name, struct fl_ip *ret)
{
	char text[4 * 4];
	const char *part[4];
	size_t len[4];
	for (unsigned i = 0; i < 4; i++) {
		part[i] = name;
		len[i] = strcspn(name, ".");
		name += len[i];
		if (!len[i] || len[i] > 3 || *name++ != '.')
			return false;
	}
	if (strcmp(name, "in-addr.arpa") != 0)
		return false;
	snprintf(text, sizeof(text), "%.*s.%.*s.%.*s.%.*s", (int)len[3], part[3], (int)len[2], part[2], (int)len[1],
		 part[1], (int)len[0], part[0]);
	return fl_ip_parse(text, ret);
}

static int nibble(int c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool reverse_ip6(const char *name, struct fl_ip *ret)
{
	struct fl_ip ip = {.family = AF_INET6};
	if (strlen(name) != 64 + 8 || strcmp(name + 64, "ip6.arpa") != 0)
		return false;
	for (unsigned i = 0; i < 32; i++) {
		int v = nibble(name[2 * i]);
		if (v < 0 || name[2 * i + 1] != '.')
			return false;
		ip.b[15 - i / 2] |= (uint8_t)(i % 2 ? v << 4 : v);
	}
	*ret = ip;
	return true;
}

static enum fl_zone_verdict answer_reverse(struct question *q, const char *name, unsigned *ret_rcode)
{
	struct fl_ip ip;
	if (!reverse_ip4(name, &ip) && !reverse_ip6(name, &ip))
		return FL_ZONE_FOREIGN;
	const struct fl_zone_reverse *r = fl_zone_reverse_of(q->z, &ip);
	if (!r)
		return FL_ZONE_FOREIGN;
	char seen[PTR_MAX][FL_DNS_NAME_MAX]; // an endpoint may stand in two slices
	unsigned n = 0;
	for (; r && n < PTR_MAX && wants(q, FL_DNS_PTR); r = r->next) {
		bool again = false;
		const struct fl_dns_endpoint *e = fl_zone_reverse_endpoint(r);
		if (e)
			name_endpoint(q->z, r->service, e, seen[n]);
		else
			name_service(q->z, r->service, seen[n]);
		for (unsigned i = 0; i < n; i++)
			again |= !strcmp(seen[i], seen[n]);
		if (!again)
			fl_dns_add_name(q->m, FL_DNS_ANSWER, q->owner, FL_DNS_PTR, q->z->o.ttl_s, seen[n++]);
	}
	*ret_rcode = FL_DNS_NOERROR;
	return FL_ZONE_ANSWERED;
}

// --- ---

// Cuts the first n octets of `name`, copied to `rest`, into labels. False: more than any name of ours has.
static bool split(struct question *q, const char *name, size_t n, char *rest)
{
	memcpy(rest, name, n);
	rest[n] = 0;
	while (n) {
		if (q->n == MAX_LABELS)
			return false;
		char *dot = memrchr(rest, '.', n);
		q->label[q->n++] = dot ? dot + 1 : rest;
		n = dot ? (size_t)(dot - rest) : 0;
		if (dot)
			*dot = 0;
	}
	if (q->n > 2) {
		q->service = name + (q->label[2] - rest);
		q->service_len = strlen(q->label[2]) + 1 + strlen(q->label[1]);
	}
	return true;
}

static bool is_below(const struct fl_zone *z, const char *name, size_t len)
{
	if (len < z->domain_len)
		return false;
	const char *tail = name + len - z->domain_len;
	return !memcmp(tail, z->o.domain, z->domain_len) && (tail == name || tail[-1] == '.');
}

enum fl_zone_verdict fl_zone_answer(struct fl_zone *z, struct fl_dns_msg *m, const char *name, unsigned *ret_rcode,
				    char ret_target[static FL_DNS_NAME_MAX])
{
	struct question q = {.z = z, .m = m, .owner = name, .type = m->q->type, .before = m->count[FL_DNS_ANSWER]};
	enum fl_zone_verdict verdict = FL_ZONE_ANSWERED;
	char rest[FL_DNS_NAME_MAX];
	size_t len = name ? strlen(name) : m->q->name_len;
	if (!name)
		name = m->q->name;
	if (!is_below(z, name, len))
		return fl_ends_with(name, ".arpa") ? answer_reverse(&q, name, ret_rcode) : FL_ZONE_FOREIGN;
	if (!split(&q, name, len > z->domain_len ? len - z->domain_len - 1 : 0, rest))
		*ret_rcode = negative(&q, FL_DNS_NXDOMAIN);
	else if (q.n == 0)
		*ret_rcode = answer_apex(&q);
	else if (!strcmp(q.label[0], "svc"))
		*ret_rcode = answer_svc(&q, &verdict, ret_target);
	else if (!strcmp(q.label[0], "pod"))
		*ret_rcode = answer_pod(&q);
	else if (!strcmp(q.label[0], "dns"))
		*ret_rcode = answer_ns(&q);
	else if (q.n == 1 && !strcmp(q.label[0], "dns-version"))
		*ret_rcode = answer_version(&q);
	else
		*ret_rcode = negative(&q, FL_DNS_NXDOMAIN);
	return verdict;
}
