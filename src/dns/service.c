// SPDX-License-Identifier: Apache-2.0
#include "dns/service.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

static void lower_copy(char *to, size_t size, const char *from)
{
	size_t n = 0;
	for (; from[n] && n + 1 < size; n++)
		to[n] = (char)tolower((unsigned char)from[n]);
	to[n] = 0;
}

static void free_ports(struct fl_dns_port *ports, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		free(ports[i].name);
	free(ports);
}

static struct fl_dns_port *read_ports(const struct fl_json *list, unsigned *ret_n)
{
	unsigned n = 0;
	struct fl_dns_port *ports = fl_calloc(fl_json_count(list) + 1, sizeof(*ports));
	fl_json_each (p, list) {
		ports[n].name = fl_strdup(fl_json_str_or(p, "name", ""));
		lower_copy(ports[n].protocol, sizeof(ports[n].protocol), fl_json_str_or(p, "protocol", "TCP"));
		ports[n++].port = (uint16_t)fl_json_int(p, "port", 0);
	}
	*ret_n = n;
	return ports;
}

struct fl_dns_service *fl_dns_service_new(const char *ns, const char *name)
{
	struct fl_dns_service *s = FL_NEW(struct fl_dns_service);
	s->ns = fl_strdup(ns);
	s->name = fl_strdup(name);
	return s;
}

static void clear(struct fl_dns_service *s)
{
	free_ports(s->ports, s->n_ports);
	free(s->external_name);
	s->ports = NULL;
	s->external_name = NULL;
	s->n_ports = s->n_ips = 0;
	s->exists = s->publish_not_ready = false;
}

void fl_dns_service_free(struct fl_dns_service *s)
{
	clear(s);
	fl_vec_deinit(&s->slices);
	free(s->ns);
	free(s->name);
	free(s);
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
	s->publish_not_ready = fl_json_bool(spec, "publishNotReadyAddresses", false);
	s->ports = read_ports(fl_json_get(spec, "ports"), &s->n_ports);
	if (fl_streq(fl_json_str(spec, "type"), "ExternalName")) {
		char name[256];
		lower_copy(name, sizeof(name), fl_json_str_or(spec, "externalName", ""));
		size_t n = strlen(name);
		if (n && name[n - 1] == '.')
			name[n - 1] = 0;
		s->type = FL_DNS_EXTERNAL_NAME;
		s->external_name = fl_strdup(name);
		return;
	}
	s->type = fl_streq(ip, "None") ? FL_DNS_HEADLESS : FL_DNS_CLUSTER_IP;
	fl_json_each (j, fl_json_get(spec, "clusterIPs"))
		if (s->n_ips < FL_COUNT(s->ips) && fl_json_string(j) &&
		    fl_ip_parse(fl_json_string(j), &s->ips[s->n_ips]))
			s->n_ips++;
	if (!s->n_ips && ip && fl_ip_parse(ip, &s->ips[0]))
		s->n_ips = 1;
}

void fl_dns_service_remove_slice(struct fl_dns_service *s, const struct fl_dns_slice *slice)
{
	for (size_t i = 0; i < s->slices.n; i++)
		if (s->slices.v[i] == slice) {
			fl_vec_remove(&s->slices, i);
			return;
		}
}

static char *dashed(const char *ip)
{
	char *s = fl_strdup(ip);
	for (char *p = s; *p; p++)
		if (*p == '.' || *p == ':')
			*p = '-';
	return s;
}

struct fl_dns_slice *fl_dns_slice_new(const struct fl_object *obj)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_json *o = fl_object_tree(obj, &a), *list = fl_json_get(o, "endpoints");
	const char *service = fl_json_str(fl_json_path(o, "metadata", "labels", NULL), "kubernetes.io/service-name");
	if (fl_str_empty(service) || fl_streq(fl_json_str(o, "addressType"), "FQDN"))
		return NULL;
	struct fl_dns_slice *s = FL_NEW(struct fl_dns_slice);
	s->service = fl_strdup(service);
	s->ports = read_ports(fl_json_get(o, "ports"), &s->n_ports);
	s->endpoints = fl_calloc(fl_json_count(list) + 1, sizeof(*s->endpoints));
	fl_json_each (e, list) {
		// All addresses of an endpoint are the same thing; the first is the one to use (EndpointSlice API).
		const char *ip = fl_json_string(fl_json_index(fl_json_get(e, "addresses"), 0)),
			   *hostname = fl_json_str(e, "hostname");
		struct fl_dns_endpoint *ep = &s->endpoints[s->n_endpoints];
		if (!ip || !fl_ip_parse(ip, &ep->ip))
			continue;
		ep->ready = fl_json_bool(fl_json_get(e, "conditions"), "ready", true);
		ep->hostname = fl_str_empty(hostname) ? dashed(ip) : fl_strdup(hostname);
		s->n_endpoints++;
	}
	return s;
}

void fl_dns_slice_free(struct fl_dns_slice *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < s->n_endpoints; i++)
		free(s->endpoints[i].hostname);
	free(s->endpoints);
	free_ports(s->ports, s->n_ports);
	free(s->service);
	free(s);
}
