// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: DNS octets from strangers. The first octet chooses the way in: a client's query is answered from a
// small zone, and whatever is answered must be a well-formed message of the query's id and question, no longer than the
// client takes; an upstream's reply is judged and, where it is good, aged and relayed, which must give such a message
// as well.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "check.h"
#include "dns/reply.h"
#include "dns/respond.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char service[] = "{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\",\"namespace\":"
			      "\"d\",\"uid\":\"1\",\"resourceVersion\":\"1\"},\"spec\":%s}";

static void add_service(struct fl_zone *z, const char *name, const char *spec)
{
	char json[512];
	struct fl_object *o = NULL;
	struct fl_err err;
	int n = snprintf(json, sizeof(json), service, name, spec);
	CHECK(fl_object_parse(fl_resource_intern("", "services"), json, (size_t)n, &o, &err) == 0);
	fl_zone_set_service(z, "d", name, o);
	fl_object_put(&o);
}

static struct fl_zone *small_zone(void)
{
	static const char slice[] =
	    "{\"kind\":\"EndpointSlice\",\"apiVersion\":\"discovery.k8s.io/v1\",\"metadata\":{\"name\":\"h-1\","
	    "\"namespace\":\"d\",\"uid\":\"1\",\"resourceVersion\":\"1\",\"labels\":{\"kubernetes.io/"
	    "service-name\":\"h\"}},"
	    "\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"p\",\"port\":1}],\"endpoints\":[{\"addresses\":"
	    "[\"10.0.0.1\"],\"hostname\":\"a\"},{\"addresses\":[\"10.0.0.2\"]},{\"addresses\":[\"10.0.0.3\"]}]}";
	struct fl_zone_opts opts = {.domain = "c.l", .ttl_s = 5};
	struct fl_zone *z = NULL;
	struct fl_object *o = NULL;
	struct fl_err err;
	CHECK(fl_zone_new(&opts, &z, &err) == 0);
	fl_zone_set_namespace(z, "d", true);
	add_service(z, "w", "{\"clusterIP\":\"10.1.0.1\",\"ports\":[{\"name\":\"p\",\"port\":1}]}");
	add_service(z, "h", "{\"clusterIP\":\"None\",\"ports\":[{\"name\":\"p\",\"port\":1}]}");
	add_service(z, "x", "{\"type\":\"ExternalName\",\"externalName\":\"y.d.svc.c.l\"}");
	add_service(z, "y", "{\"type\":\"ExternalName\",\"externalName\":\"www.example.com\"}");
	add_service(z, "o", "{\"type\":\"ExternalName\",\"externalName\":\"o.d.svc.c.l\"}");
	CHECK(fl_object_parse(fl_resource_intern("discovery.k8s.io", "endpointslices"), slice, strlen(slice), &o,
			      &err) == 0);
	fl_zone_set_slice(z, "d", "h-1", o);
	fl_object_put(&o);
	return z;
}

static void check_answer(const struct fl_dns_query *q, const uint8_t *question, const uint8_t *msg, size_t len,
			 bool tcp)
{
	size_t pos = FL_DNS_HEADER;
	char name[FL_DNS_NAME_MAX];
	struct fl_dns_rr rr;
	CHECK(len >= FL_DNS_HEADER && (tcp || len <= (q->udp_size < FL_DNS_UDP_MAX ? q->udp_size : FL_DNS_UDP_MAX)));
	CHECK(fl_dns_get16(msg) == q->id && msg[2] & 0x80);
	CHECK(fl_dns_count(msg, 0) == (q->question_len > 0));
	if (q->question_len) {
		CHECK(len >= FL_DNS_HEADER + q->question_len && !memcmp(msg + pos, question, q->question_len));
		CHECK(fl_dns_read_name(msg, len, &pos, name) && !strcmp(name, q->name));
		pos += 4;
	}
	for (unsigned s = 1; s < 4; s++)
		for (unsigned i = fl_dns_count(msg, s); i; i--)
			CHECK(fl_dns_read_rr(msg, len, &pos, &rr));
	CHECK(pos == len);
}

static bool is_allowed(void *arg)
{
	return *(const bool *)arg;
}

static void answer(const uint8_t *data, size_t size, unsigned way)
{
	static struct fl_zone *z;
	static uint8_t out[FL_DNS_TCP_MAX];
	static struct fl_dns_exchange x;
	bool tcp = way & 2, allowed = way & 8;
	struct fl_dns_asker asker = {is_allowed, &allowed};
	if (!z)
		z = small_zone();
	enum fl_dns_verdict v = fl_dns_respond(z, way & 4, &asker, data, size, tcp, &x, out);
	if (v == FL_DNS_SEND)
		check_answer(&x.q, x.question, out, x.len, tcp);
	CHECK(v != FL_DNS_FORWARD || way & 8);
	if (v != FL_DNS_FORWARD)
		return;
	CHECK(fl_dns_name_wire_len(x.q.name) == x.q.question_len - 4u); // a name that was read can be written
	uint8_t wire[256];
	char again[FL_DNS_NAME_MAX];
	size_t pos = 0;
	fl_dns_name_to_wire(wire, x.q.name);
	CHECK(fl_dns_read_name(wire, sizeof(wire), &pos, again) && !strcmp(again, x.q.name));
}

// A client asked what the reply's question says, or a fixed name.
static void relay(const uint8_t *data, size_t size, unsigned way)
{
	static uint8_t out[FL_DNS_TCP_MAX];
	uint8_t query[FL_DNS_HEADER + 255 + 4 + 11];
	char name[FL_DNS_NAME_MAX];
	uint16_t type = FL_DNS_A;
	size_t pos = FL_DNS_HEADER, len = size;
	uint32_t ttl_s = 0;
	struct fl_dns_query q;
	if (size > FL_DNS_TCP_MAX - 11)
		return;
	if (fl_dns_read_name(data, size, &pos, name) && pos + 4 <= size)
		type = fl_dns_get16(data + pos);
	else
		strcpy(name, "www.example.com");
	size_t query_len = fl_dns_make_query(query, sizeof(query), size >= 2 ? fl_dns_get16(data) : 0, name, type);
	CHECK(query_len);
	if (way & 2)
		query_len = fl_dns_add_opt(query, sizeof(query), query_len, way & 4);
	CHECK(fl_dns_parse_query(query, query_len, &q) == 0);
	AUTO_FREE uint8_t *msg = fl_malloc(size + 1);
	memcpy(msg, data, size);
	if (fl_dns_reply_judge(query, query_len, msg, &len, &ttl_s) != FL_DNS_REPLY_GOOD)
		return;
	CHECK(len <= size && ttl_s <= FL_DNS_TTL_MAX_S);
	bool tcp = way & 8;
	size_t n = fl_dns_relay(&q, query + FL_DNS_HEADER, NULL, 5, msg, len, tcp, out);
	check_answer(&q, query + FL_DNS_HEADER, out, n, tcp);
	n = fl_dns_relay(&q, query + FL_DNS_HEADER, "alias.example.com", 5, msg, len, tcp, out);
	check_answer(&q, query + FL_DNS_HEADER, out, n, tcp);
	// A name may point at octets that are a TTL: an aged message of such a server need not be well formed.
	fl_dns_reply_age(msg, len, way);
	n = fl_dns_relay(&q, query + FL_DNS_HEADER, "alias.example.com", 5, msg, len, tcp, out);
	check_answer(&q, query + FL_DNS_HEADER, out, n, tcp);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	unsigned way = data[0];
	AUTO_FREE uint8_t *copy =
	    fl_malloc(size); // one octet more than is given on, from its second on: tight at the end
	memcpy(copy, data, size);
	if (way & 1)
		relay(copy + 1, size - 1, way);
	else
		answer(copy + 1, size - 1, way);
	return 0;
}
