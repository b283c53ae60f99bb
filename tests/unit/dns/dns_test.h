// SPDX-License-Identifier: Apache-2.0
// Shared by the tests of src/dns: objects from YAML into a zone, questions as text, answers as text.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/object.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "dns/respond.h"
#include "json/yaml.h"

static const struct {
	const char *name;
	uint16_t type;
} type_names[] = {
    {"A", FL_DNS_A},     {"NS", FL_DNS_NS},   {"CNAME", FL_DNS_CNAME}, {"SOA", FL_DNS_SOA}, {"PTR", FL_DNS_PTR},
    {"TXT", FL_DNS_TXT}, {"SRV", FL_DNS_SRV}, {"AAAA", FL_DNS_AAAA},   {"OPT", FL_DNS_OPT}, {"ANY", FL_DNS_ANY},
    {"MX", 15},          {"AXFR", 252},
};

static inline uint16_t type_of(const char *name)
{
	for (size_t i = 0; i < FL_COUNT(type_names); i++)
		if (!strcmp(type_names[i].name, name))
			return type_names[i].type;
	fail_msg("unknown type %s", name);
	return 0;
}

static inline const char *type_name(uint16_t type)
{
	for (size_t i = 0; i < FL_COUNT(type_names); i++)
		if (type_names[i].type == type)
			return type_names[i].name;
	return "?";
}

static inline const char *rcode_name(unsigned rcode)
{
	static const char *const names[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"};
	return rcode < FL_COUNT(names) ? names[rcode] : rcode == FL_DNS_BADVERS ? "BADVERS" : "?";
}

// --- objects ---

static inline struct fl_object *object_from_yaml(const char *text, const char **ret_kind)
{
	static const struct {
		const char *kind, *group, *plural;
	} kinds[] = {{"Service", "", "services"},
		     {"EndpointSlice", "discovery.k8s.io", "endpointslices"},
		     {"Namespace", "", "namespaces"}};
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct fl_json *root = NULL;
	struct fl_object *o = NULL;
	struct fl_err err = {0};

	if (fl_yaml_parse(&a, text, strlen(text), NULL, &root, &err) < 0)
		fail_msg("%s\n%s", err.text, text);
	struct fl_json *meta = fl_json_ensure_object(&a, root, "metadata");
	const char *kind = fl_json_str_or(root, "kind", "");
	if (!fl_json_str(meta, "namespace") && strcmp(kind, "Namespace") != 0)
		fl_json_set_str(&a, meta, "namespace", "default");
	fl_json_set_str(&a, meta, "uid", "00000000-0000-4000-8000-000000000000");
	fl_json_set_str(&a, meta, "resourceVersion", "1");
	fl_json_write(&b, root);
	for (size_t i = 0; i < FL_COUNT(kinds) && !o; i++) {
		if (strcmp(kinds[i].kind, kind) != 0)
			continue;
		*ret_kind = kinds[i].kind;
		if (fl_object_parse(fl_resource_intern(kinds[i].group, kinds[i].plural), b.data, b.len, &o, &err) < 0)
			fail_msg("%s\n%s", err.text, text);
	}
	if (!o)
		fail_msg("unknown kind in\n%s", text);
	return o;
}

static inline void zone_put(struct fl_zone *z, const char *kind, const char *ns, const char *name,
			    const struct fl_object *o)
{
	if (!strcmp(kind, "Service"))
		fl_zone_set_service(z, ns, name, o);
	else if (!strcmp(kind, "EndpointSlice"))
		fl_zone_set_slice(z, ns, name, o);
	else
		fl_zone_set_namespace(z, name, o != NULL);
}

// Several YAML documents, separated by "---" lines.
static inline void zone_apply(struct fl_zone *z, const char *text)
{
	AUTO_FREE char *copy = fl_strdup(text);
	for (char *doc = copy, *end; doc; doc = end) {
		const char *kind = NULL;
		end = strstr(doc, "\n---\n");
		if (end) {
			end[1] = 0;
			end += 5;
		}
		AUTO(fl_object_put) struct fl_object *o = object_from_yaml(doc, &kind);
		zone_put(z, kind, o->ns, o->name, o);
	}
}

static inline struct fl_zone *zone_new(void)
{
	struct fl_zone_opts o = {.domain = "cluster.local", .ttl_s = 5, .serial = 1, .n_dns_ips = 1};
	struct fl_zone *z = NULL;
	struct fl_err err = {0};
	fl_ip_parse("10.96.0.10", &o.dns_ips[0]);
	if (fl_zone_new(&o, &z, &err) < 0)
		fail_msg("%s", err.text);
	return z;
}

// --- messages to text ---

static inline void print_rr(struct fl_buf *b, const char *section, const uint8_t *msg, size_t len,
			    const struct fl_dns_rr *rr)
{
	char name[FL_DNS_NAME_MAX], more[FL_DNS_NAME_MAX], text[FL_IP_STRLEN];
	size_t at = rr->rdata_at;
	struct fl_ip ip = {.family = AF_INET6};
	fl_buf_printf(b, "    %s %s %u %s", section, rr->name[0] ? rr->name : ".", rr->ttl, type_name(rr->type));
	switch (rr->type) {
	case FL_DNS_A:
		assert_int_equal(rr->rdlength, 4);
		ip = fl_ip_from4(*(const uint32_t *)memcpy(text, msg + at, 4));
		fl_buf_printf(b, " %s", fl_ip_format(&ip, text));
		break;
	case FL_DNS_AAAA:
		assert_int_equal(rr->rdlength, 16);
		memcpy(ip.b, msg + at, 16);
		fl_buf_printf(b, " %s", fl_ip_format(&ip, text));
		break;
	case FL_DNS_CNAME:
	case FL_DNS_NS:
	case FL_DNS_PTR:
		assert_true(fl_dns_read_name(msg, len, &at, name));
		assert_int_equal(at, rr->rdata_at + rr->rdlength);
		fl_buf_printf(b, " %s", name);
		break;
	case FL_DNS_SRV:
		at += 6;
		assert_true(fl_dns_read_name(msg, len, &at, name));
		fl_buf_printf(b, " %u %u %u %s", fl_dns_get16(msg + rr->rdata_at), fl_dns_get16(msg + rr->rdata_at + 2),
			      fl_dns_get16(msg + rr->rdata_at + 4), name);
		break;
	case FL_DNS_TXT:
		assert_int_equal(rr->rdlength, msg[at] + 1);
		fl_buf_printf(b, " \"%.*s\"", msg[at], msg + at + 1);
		break;
	case FL_DNS_SOA: // without the serial
		assert_true(fl_dns_read_name(msg, len, &at, name) && fl_dns_read_name(msg, len, &at, more));
		assert_int_equal(at + 20, rr->rdata_at + rr->rdlength);
		fl_buf_printf(b, " %s %s minimum %u", name, more, fl_dns_get32(msg + at + 16));
		break;
	case FL_DNS_OPT:
		fl_buf_printf(b, " size %u", rr->class_);
		break;
	}
	fl_buf_putc(b, '\n');
}

// The whole message, checked to be well formed to its last octet.
static inline void write_message(struct fl_buf *b, const uint8_t *msg, size_t len)
{
	static const char *const sections[] = {"answer", "authority", "additional"};
	size_t pos = FL_DNS_HEADER;
	char name[FL_DNS_NAME_MAX];
	struct fl_dns_rr rr;
	AUTO(fl_buf_deinit) struct fl_buf records = {0};
	unsigned rcode = fl_dns_rcode(msg);

	assert_true(len >= FL_DNS_HEADER && msg[2] & 0x80);
	if (fl_dns_count(msg, 0)) {
		assert_int_equal(fl_dns_count(msg, 0), 1);
		assert_true(fl_dns_read_name(msg, len, &pos, name));
		pos += 4;
	}
	fl_buf_puts(&records, "");
	for (unsigned s = 0; s < FL_COUNT(sections); s++)
		for (unsigned i = 0; i < fl_dns_count(msg, s + 1); i++) {
			assert_true(fl_dns_read_rr(msg, len, &pos, &rr));
			if (rr.type == FL_DNS_OPT)
				rcode |= rr.ttl >> 24 << 4;
			print_rr(&records, sections[s], msg, len, &rr);
		}
	assert_int_equal(pos, len);
	fl_buf_printf(b, "    %s%s%s%s\n", rcode_name(rcode), msg[2] & 4 ? " aa" : "", msg[2] & 2 ? " tc" : "",
		      msg[3] & 0x80 ? " ra" : "");
	fl_buf_puts(b, records.data);
}

// A query as text: "NAME TYPE [tcp] [edns=SIZE] [do] [stranger] [unsynced]". Returns its length.
struct asked {
	bool tcp, stranger, unsynced;
};

static inline size_t make_query(const char *line, uint8_t *buf, size_t cap, struct asked *ret)
{
	AUTO_FREE char *copy = fl_strdup(line);
	char *save = NULL, *name = strtok_r(copy, " ", &save), *type = strtok_r(NULL, " ", &save);
	unsigned size = 0;
	bool dnssec_ok = false;
	*ret = (struct asked){0};
	for (char *word; (word = strtok_r(NULL, " ", &save));) {
		if (!strcmp(word, "tcp"))
			ret->tcp = true;
		else if (!strcmp(word, "stranger"))
			ret->stranger = true;
		else if (!strcmp(word, "unsynced"))
			ret->unsynced = true;
		else if (!strcmp(word, "do"))
			dnssec_ok = true;
		else if (sscanf(word, "edns=%u", &size) != 1)
			fail_msg("unknown word %s", word);
	}
	size_t len = fl_dns_make_query(buf, cap, 0x1234, strcmp(name, ".") ? name : "", type_of(type));
	assert_true(len > 0);
	if (!size)
		return len;
	size_t opt = len;
	len = fl_dns_add_opt(buf, cap, len, dnssec_ok);
	fl_dns_put16(buf + opt + 3, size);
	return len;
}

static inline bool says(void *arg)
{
	return *(const bool *)arg;
}

// What the zone makes of the query, as lines.
static inline void zone_ask(struct fl_zone *z, const char *line, struct fl_buf *b)
{
	static uint8_t out[FL_DNS_TCP_MAX];
	uint8_t in[512];
	struct asked a;
	struct fl_dns_exchange x;
	size_t len = make_query(line, in, sizeof(in), &a);

	bool allowed = !a.stranger;
	struct fl_dns_asker asker = {says, &allowed};

	switch (fl_dns_respond(z, !a.unsynced, &asker, in, len, a.tcp, &x, out)) {
	case FL_DNS_SEND:
		assert_true(x.len <= (a.tcp ? FL_DNS_TCP_MAX : x.q.udp_size) && (a.tcp || x.len <= FL_DNS_UDP_MAX));
		assert_memory_equal(out, in, 2);
		write_message(b, out, x.len);
		break;
	case FL_DNS_DROP:
		fl_buf_puts(b, "    (nothing)\n");
		break;
	case FL_DNS_FORWARD:
		fl_buf_printf(b, "    forward%s%s\n", x.target[0] ? " for " : "", x.target);
		break;
	}
}
