// SPDX-License-Identifier: Apache-2.0
// Names are not stored: a query's labels say which Service is meant, one hash lookup finds it, and its records are
// written from it. A change costs one Service. Reverse names have a table of their own, by address.
#include "dns/zone.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "dns/service.h"

struct fl_zone {
	struct fl_zone_opts o;
	size_t domain_len;
	struct fl_map services;   // "ns/name" -> struct fl_dns_service *
	struct fl_map slices;     // "ns/name" -> struct fl_dns_slice *
	struct fl_map namespaces; // name -> itself
	struct fl_map reverse;    // 17 bytes of struct fl_ip -> struct reverse *
	unsigned turn;            // where the next answer begins in a list of addresses
	uint32_t serial;
};

struct reverse {
	FL_VEC(char *) names;
};

struct fl_zone *fl_zone_new(const struct fl_zone_opts *o)
{
	struct fl_zone *z = FL_NEW(struct fl_zone);
	z->o = *o;
	z->domain_len = strlen(o->domain);
	z->serial = 1;
	return z;
}

static void free_reverse(struct reverse *r)
{
	for (size_t i = 0; i < r->names.n; i++)
		free(r->names.v[i]);
	fl_vec_deinit(&r->names);
	free(r);
}

void fl_zone_free(struct fl_zone **ret)
{
	struct fl_zone *z = *ret;
	if (!z)
		return;
	*ret = NULL;
	for (struct fl_map_iter it = {0}; fl_map_next(&z->services, &it);)
		fl_dns_service_free(it.value);
	for (struct fl_map_iter it = {0}; fl_map_next(&z->slices, &it);)
		fl_dns_slice_free(it.value);
	for (struct fl_map_iter it = {0}; fl_map_next(&z->reverse, &it);)
		free_reverse(it.value);
	fl_map_deinit(&z->services);
	fl_map_deinit(&z->slices);
	fl_map_deinit(&z->namespaces);
	fl_map_deinit(&z->reverse);
	free(z);
}

size_t fl_zone_services(const struct fl_zone *z)
{
	return z->services.n;
}

// --- feeding ---

static size_t reverse_key(const struct fl_ip *ip, uint8_t key[static 17])
{
	key[0] = ip->family;
	memcpy(key + 1, ip->b, 16);
	return 17;
}

static void reverse_add(struct fl_zone *z, const struct fl_ip *ip, const char *name)
{
	uint8_t key[17];
	size_t n = reverse_key(ip, key);
	struct reverse *r = fl_map_get_n(&z->reverse, key, n);
	if (!r) {
		r = FL_NEW(struct reverse);
		fl_map_set_n(&z->reverse, key, n, r);
	}
	fl_vec_push(&r->names, fl_strdup(name));
}

static void reverse_del(struct fl_zone *z, const struct fl_ip *ip, const char *name)
{
	uint8_t key[17];
	size_t n = reverse_key(ip, key);
	struct reverse *r = fl_map_get_n(&z->reverse, key, n);
	if (!r)
		return;
	for (size_t i = 0; i < r->names.n; i++) {
		if (strcmp(r->names.v[i], name) != 0)
			continue;
		free(r->names.v[i]);
		fl_vec_remove(&r->names, i);
		break;
	}
	if (!r->names.n) {
		fl_map_del_n(&z->reverse, key, n);
		free_reverse(r);
	}
}

// Calls `act` for each address of a Service with the name that its PTR gives.
static void each_reverse(struct fl_zone *z, const struct fl_dns_service *s,
			 void (*act)(struct fl_zone *z, const struct fl_ip *ip, const char *name))
{
	char name[FL_DNS_NAME_MAX * 2];
	if (!s->exists)
		return;
	if (s->type == FL_DNS_CLUSTER_IP) {
		snprintf(name, sizeof(name), "%s.%s.svc.%s", s->name, s->ns, z->o.domain);
		for (unsigned i = 0; i < s->n_ips; i++)
			act(z, &s->ips[i], name);
	} else if (s->type == FL_DNS_HEADLESS) {
		for (size_t k = 0; k < s->slices.n; k++)
			for (unsigned i = 0; i < s->slices.v[k]->n_endpoints; i++) {
				const struct fl_dns_endpoint *e = &s->slices.v[k]->endpoints[i];
				if (!fl_dns_endpoint_is_served(s, e))
					continue;
				snprintf(name, sizeof(name), "%s.%s.%s.svc.%s", e->hostname, s->name, s->ns,
					 z->o.domain);
				act(z, &e->ip, name);
			}
	}
}

static struct fl_dns_service *service_at(struct fl_zone *z, const char *ns, const char *name)
{
	char key[FL_DNS_NAME_MAX * 2];
	int n = snprintf(key, sizeof(key), "%s/%s", ns, name);
	return n > 0 && (size_t)n < sizeof(key) ? fl_map_get(&z->services, key) : NULL;
}

static struct fl_dns_service *service_make(struct fl_zone *z, const char *ns, const char *name)
{
	struct fl_dns_service *s = service_at(z, ns, name);
	if (s)
		return s;
	s = fl_dns_service_new(ns, name);
	AUTO_FREE char *key = fl_asprintf("%s/%s", ns, name);
	fl_map_set(&z->services, key, s);
	return s;
}

// A Service that neither exists nor has slices is forgotten.
static void service_drop_if_empty(struct fl_zone *z, struct fl_dns_service *s)
{
	if (s->exists || s->slices.n)
		return;
	AUTO_FREE char *key = fl_asprintf("%s/%s", s->ns, s->name);
	fl_map_del(&z->services, key);
	fl_dns_service_free(s);
}

void fl_zone_set_service(struct fl_zone *z, const char *ns, const char *name, const struct fl_object *obj)
{
	if (!obj && !service_at(z, ns, name))
		return;
	struct fl_dns_service *s = service_make(z, ns, name);
	each_reverse(z, s, reverse_del);
	fl_dns_service_set(s, obj);
	each_reverse(z, s, reverse_add);
	service_drop_if_empty(z, s);
	z->serial++;
}

void fl_zone_set_slice(struct fl_zone *z, const char *ns, const char *name, const struct fl_object *obj)
{
	AUTO_FREE char *key = fl_asprintf("%s/%s", ns, name);
	struct fl_dns_slice *old = fl_map_get(&z->slices, key), *new_slice = obj ? fl_dns_slice_new(obj) : NULL;
	if (old) {
		struct fl_dns_service *s = service_at(z, ns, old->service);
		if (s) {
			each_reverse(z, s, reverse_del);
			fl_dns_service_remove_slice(s, old);
			each_reverse(z, s, reverse_add);
			service_drop_if_empty(z, s);
		}
		fl_map_del(&z->slices, key);
		fl_dns_slice_free(old);
	}
	if (new_slice) {
		struct fl_dns_service *s = service_make(z, ns, new_slice->service);
		fl_map_set(&z->slices, key, new_slice);
		each_reverse(z, s, reverse_del);
		fl_vec_push(&s->slices, new_slice);
		each_reverse(z, s, reverse_add);
	}
	z->serial++;
}

void fl_zone_set_namespace(struct fl_zone *z, const char *name, bool exists)
{
	if (exists)
		fl_map_set(&z->namespaces, name, z);
	else
		fl_map_del(&z->namespaces, name);
}

// --- answering ---

struct question {
	struct fl_zone *z;
	struct fl_dns_msg *m;
	uint16_t type;
	char *label[8]; // from the zone outwards: label[0] is nearest to the zone
	unsigned n;
};

static bool wants(const struct question *q, uint16_t type)
{
	return q->type == type || q->type == FL_DNS_ANY;
}

static bool wants_ip(const struct question *q, const struct fl_ip *ip)
{
	return wants(q, ip->family == AF_INET ? FL_DNS_A : FL_DNS_AAAA);
}

static int negative(struct question *q, int rcode)
{
	char ns[FL_DNS_NAME_MAX], mail[FL_DNS_NAME_MAX];
	snprintf(ns, sizeof(ns), "ns.dns.%s", q->z->o.domain);
	snprintf(mail, sizeof(mail), "hostmaster.%s", q->z->o.domain);
	fl_dns_add_soa(q->m, FL_DNS_AUTHORITY, q->z->o.domain, q->z->o.ttl_s, ns, mail, q->z->serial, q->z->o.ttl_s);
	return rcode;
}

static int done(struct question *q)
{
	return q->m->n_answer || q->m->truncated ? FL_DNS_NOERROR : negative(q, FL_DNS_NOERROR);
}

static int answer_apex(struct question *q)
{
	char ns[FL_DNS_NAME_MAX], mail[FL_DNS_NAME_MAX];
	snprintf(ns, sizeof(ns), "ns.dns.%s", q->z->o.domain);
	snprintf(mail, sizeof(mail), "hostmaster.%s", q->z->o.domain);
	if (wants(q, FL_DNS_SOA))
		fl_dns_add_soa(q->m, FL_DNS_ANSWER, NULL, q->z->o.ttl_s, ns, mail, q->z->serial, q->z->o.ttl_s);
	if (wants(q, FL_DNS_NS)) {
		fl_dns_add_name(q->m, FL_DNS_ANSWER, NULL, FL_DNS_NS, q->z->o.ttl_s, ns);
		for (unsigned i = 0; i < q->z->o.n_dns_ips; i++)
			fl_dns_add_ip(q->m, FL_DNS_ADDITIONAL, ns, q->z->o.ttl_s, &q->z->o.dns_ips[i]);
	}
	return done(q);
}

// The i-th served endpoint of all slices, in an order that begins elsewhere each time.
struct served {
	const struct fl_dns_endpoint *v[1024];
	const struct fl_dns_slice *slice[1024];
	unsigned n;
};

static void collect_served(const struct fl_dns_service *s, struct served *out)
{
	out->n = 0;
	for (size_t k = 0; k < s->slices.n; k++)
		for (unsigned i = 0; i < s->slices.v[k]->n_endpoints && out->n < FL_COUNT(out->v); i++)
			if (fl_dns_endpoint_is_served(s, &s->slices.v[k]->endpoints[i])) {
				out->v[out->n] = &s->slices.v[k]->endpoints[i];
				out->slice[out->n++] = s->slices.v[k];
			}
}

static int answer_service_name(struct question *q, const struct fl_dns_service *s)
{
	if (s->type == FL_DNS_CLUSTER_IP) {
		for (unsigned i = 0; i < s->n_ips; i++)
			if (wants_ip(q, &s->ips[i]))
				fl_dns_add_ip(q->m, FL_DNS_ANSWER, NULL, q->z->o.ttl_s, &s->ips[i]);
		return done(q);
	}
	struct served served;
	collect_served(s, &served);
	if (!served.n)
		return negative(q, FL_DNS_NXDOMAIN);
	unsigned first = q->z->turn++ % served.n;
	for (unsigned i = 0; i < served.n; i++) {
		const struct fl_ip *ip = &served.v[(first + i) % served.n]->ip;
		bool before = false; // an address that stands in two slices is one record
		for (unsigned k = 0; k < i && !before && served.n <= 256; k++)
			before = fl_ip_equal(ip, &served.v[(first + k) % served.n]->ip);
		if (!before && wants_ip(q, ip))
			fl_dns_add_ip(q->m, FL_DNS_ANSWER, NULL, q->z->o.ttl_s, ip);
	}
	return done(q);
}

static int answer_hostname(struct question *q, const struct fl_dns_service *s, const char *hostname)
{
	bool found = false;
	if (s->type == FL_DNS_HEADLESS) {
		struct served served;
		collect_served(s, &served);
		for (unsigned i = 0; i < served.n; i++) {
			if (strcmp(served.v[i]->hostname, hostname) != 0)
				continue;
			found = true;
			if (wants_ip(q, &served.v[i]->ip))
				fl_dns_add_ip(q->m, FL_DNS_ANSWER, NULL, q->z->o.ttl_s, &served.v[i]->ip);
		}
	}
	return found ? done(q) : negative(q, FL_DNS_NXDOMAIN);
}

static int answer_srv(struct question *q, const struct fl_dns_service *s, const char *proto, const char *port)
{
	char target[FL_DNS_NAME_MAX * 2];
	bool found = false;
	if (s->type == FL_DNS_CLUSTER_IP) {
		snprintf(target, sizeof(target), "%s.%s.svc.%s", s->name, s->ns, q->z->o.domain);
		for (unsigned i = 0; i < s->n_ports; i++) {
			if (strcmp(s->ports[i].name, port) != 0 || strcmp(s->ports[i].protocol, proto) != 0)
				continue;
			found = true;
			if (!wants(q, FL_DNS_SRV))
				continue;
			fl_dns_add_srv(q->m, FL_DNS_ANSWER, NULL, q->z->o.ttl_s, 0, 100, s->ports[i].port, target);
			for (unsigned k = 0; k < s->n_ips; k++)
				fl_dns_add_ip(q->m, FL_DNS_ADDITIONAL, target, q->z->o.ttl_s, &s->ips[k]);
		}
	} else if (s->type == FL_DNS_HEADLESS) {
		struct served served;
		collect_served(s, &served);
		for (unsigned i = 0; i < served.n; i++)
			for (unsigned k = 0; k < served.slice[i]->n_ports; k++) {
				const struct fl_dns_port *p = &served.slice[i]->ports[k];
				if (strcmp(p->name, port) != 0 || strcmp(p->protocol, proto) != 0)
					continue;
				found = true;
				if (!wants(q, FL_DNS_SRV))
					continue;
				snprintf(target, sizeof(target), "%s.%s.%s.svc.%s", served.v[i]->hostname, s->name,
					 s->ns, q->z->o.domain);
				fl_dns_add_srv(q->m, FL_DNS_ANSWER, NULL, q->z->o.ttl_s, 0,
					       (uint16_t)(100 / served.n ? 100 / served.n : 1), p->port, target);
				fl_dns_add_ip(q->m, FL_DNS_ADDITIONAL, target, q->z->o.ttl_s, &served.v[i]->ip);
			}
	}
	return found ? done(q) : negative(q, FL_DNS_NXDOMAIN);
}

// _tcp.<svc>... exists when something below it does.
static int answer_protocol(struct question *q, const struct fl_dns_service *s, const char *proto)
{
	for (unsigned i = 0; i < s->n_ports; i++)
		if (!strcmp(s->ports[i].protocol, proto) && s->ports[i].name[0])
			return negative(q, FL_DNS_NOERROR);
	return negative(q, FL_DNS_NXDOMAIN);
}

static bool known_namespace(const struct question *q, const char *ns)
{
	return fl_map_get(&q->z->namespaces, ns) != NULL;
}

static int answer_svc(struct question *q, enum fl_zone_verdict *verdict, char *target)
{
	if (q->n == 1)
		return negative(q, FL_DNS_NOERROR);
	if (q->n == 2)
		return negative(q, known_namespace(q, q->label[1]) ? FL_DNS_NOERROR : FL_DNS_NXDOMAIN);
	const struct fl_dns_service *s = service_at(q->z, q->label[1], q->label[2]);
	if (!s || !s->exists)
		return negative(q, FL_DNS_NXDOMAIN);
	if (s->type == FL_DNS_EXTERNAL_NAME) {
		if (q->n != 3)
			return negative(q, FL_DNS_NXDOMAIN);
		fl_dns_add_name(q->m, FL_DNS_ANSWER, NULL, FL_DNS_CNAME, q->z->o.ttl_s, s->external_name);
		if (q->type == FL_DNS_A || q->type == FL_DNS_AAAA) {
			snprintf(target, FL_DNS_NAME_MAX, "%s", s->external_name);
			*verdict = FL_ZONE_CHASE;
		}
		return FL_DNS_NOERROR;
	}
	switch (q->n) {
	case 3:
		return answer_service_name(q, s);
	case 4:
		return q->label[3][0] == '_' ? answer_protocol(q, s, q->label[3] + 1)
					     : answer_hostname(q, s, q->label[3]);
	case 5:
		if (q->label[3][0] == '_' && q->label[4][0] == '_')
			return answer_srv(q, s, q->label[3] + 1, q->label[4] + 1);
		return negative(q, FL_DNS_NXDOMAIN);
	default:
		return negative(q, FL_DNS_NXDOMAIN);
	}
}

// 10-244-0-5, or an IPv6 address with dashes for colons (2001-db8--1).
static bool dashed_ip(const char *label, struct fl_ip *ret)
{
	char text[64];
	size_t n = strlen(label);
	if (n >= sizeof(text))
		return false;
	for (int family = 0; family < 2; family++) {
		for (size_t i = 0; i <= n; i++)
			text[i] = (char)(label[i] == '-' ? (family ? ':' : '.') : label[i]);
		if (fl_ip_parse(text, ret))
			return true;
	}
	return false;
}

static int answer_pod(struct question *q)
{
	struct fl_ip ip;
	if (q->n == 1)
		return negative(q, FL_DNS_NOERROR);
	if (!known_namespace(q, q->label[1]))
		return negative(q, FL_DNS_NXDOMAIN);
	if (q->n == 2)
		return negative(q, FL_DNS_NOERROR);
	if (q->n != 3 || !dashed_ip(q->label[2], &ip))
		return negative(q, FL_DNS_NXDOMAIN);
	if (wants_ip(q, &ip))
		fl_dns_add_ip(q->m, FL_DNS_ANSWER, NULL, q->z->o.ttl_s, &ip);
	return done(q);
}

static int answer_ns(struct question *q)
{
	if (q->n == 1)
		return negative(q, FL_DNS_NOERROR);
	if (q->n != 2 || strcmp(q->label[1], "ns") != 0)
		return negative(q, FL_DNS_NXDOMAIN);
	for (unsigned i = 0; i < q->z->o.n_dns_ips; i++)
		if (wants_ip(q, &q->z->o.dns_ips[i]))
			fl_dns_add_ip(q->m, FL_DNS_ANSWER, NULL, q->z->o.ttl_s, &q->z->o.dns_ips[i]);
	return done(q);
}

// Address of a reverse name; false when it is none.
static bool reverse_ip(const char *name, struct fl_ip *ret)
{
	unsigned a, b, c, d;
	int end = 0;
	char text[64];
	if (sscanf(name, "%3u.%3u.%3u.%3u.in-addr.arpa%n", &d, &c, &b, &a, &end) == 4 && end && !name[end]) {
		snprintf(text, sizeof(text), "%u.%u.%u.%u", a, b, c, d);
		return fl_ip_parse(text, ret);
	}
	if (strlen(name) != 72 || strcmp(name + 63, ".ip6.arpa") != 0)
		return false;
	size_t n = 0;
	for (int i = 31; i >= 0; i--) {
		if (i && name[i * 2 + 1] != '.')
			return false;
		text[n++] = name[i * 2];
		if (i % 4 == 0 && i)
			text[n++] = ':';
	}
	text[n] = 0;
	return fl_ip_parse(text, ret);
}

static enum fl_zone_verdict answer_reverse(struct fl_zone *z, struct fl_dns_msg *m, int *ret_rcode)
{
	struct fl_ip ip;
	uint8_t key[17];
	if (!reverse_ip(m->q->name, &ip))
		return FL_ZONE_FOREIGN;
	const struct reverse *r = fl_map_get_n(&z->reverse, key, reverse_key(&ip, key));
	if (!r)
		return FL_ZONE_FOREIGN;
	if (m->q->type == FL_DNS_PTR || m->q->type == FL_DNS_ANY)
		for (size_t i = 0; i < r->names.n; i++)
			fl_dns_add_name(m, FL_DNS_ANSWER, NULL, FL_DNS_PTR, z->o.ttl_s, r->names.v[i]);
	*ret_rcode = FL_DNS_NOERROR;
	return FL_ZONE_ANSWERED;
}

enum fl_zone_verdict fl_zone_answer(struct fl_zone *z, struct fl_dns_msg *m, int *ret_rcode,
				    char ret_target[static FL_DNS_NAME_MAX])
{
	const char *name = m->q->name;
	size_t len = strlen(name);
	if (len < z->domain_len || strcmp(name + len - z->domain_len, z->o.domain) != 0 ||
	    (len > z->domain_len && name[len - z->domain_len - 1] != '.'))
		return fl_ends_with(name, ".arpa") ? answer_reverse(z, m, ret_rcode) : FL_ZONE_FOREIGN;
	struct question q = {.z = z, .m = m, .type = m->q->type};
	enum fl_zone_verdict verdict = FL_ZONE_ANSWERED;
	char rest[FL_DNS_NAME_MAX];
	size_t n = len > z->domain_len ? len - z->domain_len - 1 : 0;
	memcpy(rest, name, n);
	rest[n] = 0;
	while (n) { // labels from the right
		char *dot = memrchr(rest, '.', n);
		if (q.n == FL_COUNT(q.label)) {
			*ret_rcode = negative(&q, FL_DNS_NXDOMAIN);
			return verdict;
		}
		q.label[q.n++] = dot ? dot + 1 : rest;
		n = dot ? (size_t)(dot - rest) : 0;
		if (dot)
			*dot = 0;
	}
	if (q.n == 0) {
		*ret_rcode = answer_apex(&q);
	} else if (!strcmp(q.label[0], "svc")) {
		*ret_rcode = answer_svc(&q, &verdict, ret_target);
	} else if (!strcmp(q.label[0], "pod")) {
		*ret_rcode = answer_pod(&q);
	} else if (!strcmp(q.label[0], "dns")) {
		*ret_rcode = answer_ns(&q);
	} else if (q.n == 1 && !strcmp(q.label[0], "dns-version")) {
		if (wants(&q, FL_DNS_TXT))
			fl_dns_add_txt(m, FL_DNS_ANSWER, NULL, 28800, "1.1.0");
		*ret_rcode = done(&q);
	} else {
		*ret_rcode = negative(&q, FL_DNS_NXDOMAIN);
	}
	return verdict;
}
