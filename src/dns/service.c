// SPDX-License-Identifier: Apache-2.0
#include "dns/service.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

// Strings one behind the other in room that somebody has counted out.
static char *put(char **at, const char *s)
{
	size_t n = strlen(s) + 1;
	char *to = memcpy(*at, s, n);
	*at += n;
	return to;
}

static void lower(char *s)
{
	for (; *s; s++)
		*s = (char)(*s >= 'A' && *s <= 'Z' ? *s + 32 : *s);
}

static const char *put_lower(char **at, const char *s)
{
	char *to = put(at, s);
	lower(to);
	return to;
}

// How many ports have a name, and how long the names are together.
static unsigned count_ports(const struct fl_json *list, size_t *ret_bytes)
{
	unsigned n = 0;
	*ret_bytes = 0;
	fl_json_each (p, list) {
		const char *name = fl_json_str(p, "name");
		if (fl_str_empty(name))
			continue;
		*ret_bytes += strlen(name) + 1;
		n++;
	}
	return n;
}

// Fills `ports`, which has room for those counted, and puts their names to *at. Returns how many they are.
static unsigned read_ports(const struct fl_json *list, struct fl_dns_port *ports, char **at)
{
	unsigned n = 0;
	fl_json_each (p, list) {
		const char *name = fl_json_str(p, "name"), *protocol = fl_json_str_or(p, "protocol", "TCP");
		int64_t port = fl_json_int(p, "port", 0);
		if (fl_str_empty(name) || port < 1 || port > 65535 || strlen(protocol) >= sizeof(ports->protocol))
			continue;
		ports[n].name = put_lower(at, name);
		strcpy(ports[n].protocol, protocol);
		lower(ports[n].protocol);
		ports[n++].port = (uint16_t)port;
	}
	return n;
}

struct fl_dns_service *fl_dns_service_new(const char *name)
{
	struct fl_dns_service *s = fl_calloc(1, sizeof(*s) + strlen(name) + 1);
	strcpy(s->name, name);
	return s;
}

static void clear(struct fl_dns_service *s)
{
	free(s->ports);
	free(s->external_name);
	s->ports = NULL;
	s->external_name = NULL;
	s->n_ports = s->n_ips = 0;
	s->rv = 0;
	s->exists = s->publish_not_ready = s->addresses_known = false;
}

void fl_dns_service_free(struct fl_dns_service *s)
{
	clear(s);
	fl_vec_deinit(&s->slices);
	fl_vec_deinit(&s->addresses);
	free(s);
}

static char *read_external_name(const struct fl_json *spec)
{
	AUTO_FREE char *name = fl_strdup(fl_json_str_or(spec, "externalName", ""));
	size_t n = strlen(name);
	lower(name);
	if (n && name[n - 1] == '.')
		name[n - 1] = 0;
	return fl_dns_name_wire_len(name) > 1 ? TAKE_PTR(name) : NULL;
}

void fl_dns_service_set(struct fl_dns_service *s, const struct fl_object *obj)
{
	clear(s);
	if (!obj)
		return;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_json *spec = fl_json_get(fl_object_tree(obj, &a), "spec");
	const char *ip = fl_json_str(spec, "clusterIP");
	s->exists = true;
	s->rv = obj->rv;
	s->publish_not_ready = fl_json_bool(spec, "publishNotReadyAddresses", false);
	if (fl_streq(fl_json_str(spec, "type"), "ExternalName")) {
		s->type = FL_DNS_EXTERNAL_NAME;
		s->external_name = read_external_name(spec);
		return;
	}
	s->type = fl_streq(ip, "None") ? FL_DNS_HEADLESS : FL_DNS_CLUSTER_IP;
	const struct fl_json *ports = fl_json_get(spec, "ports");
	size_t bytes;
	unsigned n = count_ports(ports, &bytes);
	if (n) {
		s->ports = fl_malloc(n * sizeof(*s->ports) + bytes);
		char *names = (char *)&s->ports[n];
		s->n_ports = read_ports(ports, s->ports, &names);
	}
	fl_json_each (j, fl_json_get(spec, "clusterIPs"))
		if (s->n_ips < FL_COUNT(s->ips) && fl_json_string(j) &&
		    fl_ip_parse(fl_json_string(j), &s->ips[s->n_ips]))
			s->n_ips++;
	if (!s->n_ips && ip && fl_ip_parse(ip, &s->ips[0]))
		s->n_ips = 1;
}

void fl_dns_service_add_slice(struct fl_dns_service *s, struct fl_dns_slice *slice)
{
	s->addresses_known = false;
	fl_vec_reserve(&s->slices, s->slices.n + 1); // most have one: no room to spare
	fl_vec_push(&s->slices, slice);
}

void fl_dns_service_remove_slice(struct fl_dns_service *s, const struct fl_dns_slice *slice)
{
	s->addresses_known = false;
	for (size_t i = 0; i < s->slices.n; i++)
		if (s->slices.v[i] == slice) {
			fl_vec_remove(&s->slices, i);
			return;
		}
}

static int compare_ips(const void *a, const void *b)
{
	return fl_ip_cmp(a, b);
}

void fl_dns_service_know_addresses(struct fl_dns_service *s)
{
	if (s->addresses_known)
		return;
	s->addresses_known = true;
	fl_vec_deinit(&s->addresses);
	for (size_t k = 0; k < s->slices.n; k++)
		for (unsigned i = 0; i < s->slices.v[k]->n_endpoints; i++)
			if (fl_dns_endpoint_is_served(s, &s->slices.v[k]->endpoints[i]))
				fl_vec_push(&s->addresses, s->slices.v[k]->endpoints[i].ip);
	if (!s->addresses.n)
		return;
	qsort(s->addresses.v, s->addresses.n, sizeof(*s->addresses.v), compare_ips);
	size_t n = 1;
	for (size_t i = 1; i < s->addresses.n; i++) // an address may stand in two slices
		if (!fl_ip_equal(&s->addresses.v[i], &s->addresses.v[n - 1]))
			s->addresses.v[n++] = s->addresses.v[i];
	s->addresses.n = n;
}

struct fl_dns_slice *fl_dns_slice_new(const struct fl_object *obj, const char *key)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_json *o = fl_object_tree(obj, &a), *list = fl_json_get(o, "endpoints");
	const struct fl_json *ports = fl_json_get(o, "ports");
	const char *service = fl_json_str(fl_json_path(o, "metadata", "labels", NULL), "kubernetes.io/service-name");
	if (fl_str_empty(service) || fl_streq(fl_json_str(o, "addressType"), "FQDN"))
		return NULL;
	size_t bytes, n_endpoints = fl_json_count(list);
	unsigned n_ports = count_ports(ports, &bytes);
	bytes += strlen(service) + 1 + strlen(key) + 1;
	fl_json_each (e, list)
		bytes += strlen(fl_json_str_or(e, "hostname", "")) + 1;
	struct fl_dns_slice *s =
	    fl_malloc(sizeof(*s) + n_endpoints * sizeof(*s->endpoints) + n_ports * sizeof(*s->ports) + bytes);
	*s = (struct fl_dns_slice){.rv = obj->rv, .endpoints = (struct fl_dns_endpoint *)(s + 1)};
	s->ports = (struct fl_dns_port *)(s->endpoints + n_endpoints);
	char *at = (char *)(s->ports + n_ports);
	s->service = put(&at, service);
	s->key = put(&at, key);
	s->n_ports = read_ports(ports, s->ports, &at);
	fl_json_each (e, list) {
		// All addresses of an endpoint are the same thing; the first is the one to use (EndpointSlice API).
		const char *ip = fl_json_string(fl_json_index(fl_json_get(e, "addresses"), 0)),
			   *hostname = fl_json_str(e, "hostname");
		struct fl_dns_endpoint *ep = &s->endpoints[s->n_endpoints];
		*ep = (struct fl_dns_endpoint){0};
		if (!ip || !fl_ip_parse(ip, &ep->ip))
			continue;
		ep->ready = fl_json_bool(fl_json_get(e, "conditions"), "ready", true); // unknown counts as ready
		if (!fl_str_empty(hostname))
			ep->hostname = put_lower(&at, hostname);
		s->n_endpoints++;
	}
	return s;
}

const char *fl_dns_endpoint_label(const struct fl_dns_endpoint *e, char buf[static FL_IP_STRLEN])
{
	if (e->hostname)
		return e->hostname;
	fl_ip_format(&e->ip, buf);
	for (char *p = buf; *p; p++)
		if (*p == '.' || *p == ':')
			*p = '-';
	return buf;
}

bool fl_dns_parse_dashed(const char *label, struct fl_ip *ret)
{
	static const char separators[] = {'.', ':'};
	char text[64];
	size_t n = strlen(label);
	if (n >= sizeof(text) || strspn(label, "0123456789abcdef-") != n)
		return false;
	for (unsigned k = 0; k < FL_COUNT(separators); k++) {
		for (size_t i = 0; i <= n; i++)
			text[i] = (char)(label[i] == '-' ? separators[k] : label[i]);
		if (fl_ip_parse(text, ret))
			return true;
	}
	return false;
}
