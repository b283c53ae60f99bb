// SPDX-License-Identifier: Apache-2.0
// The zone's tables: zone.c keeps them, answer.c reads them.
#pragma once

#include "base/map.h"
#include "base/set.h"
#include "dns/service.h"
#include "dns/zone.h"

struct fl_zone {
	struct fl_zone_opts o; // domain: own copy
	size_t domain_len;
	char *ns_name, *mail;     // of the SOA
	struct fl_set services;   // struct fl_dns_service, by name
	struct fl_set slices;     // struct fl_dns_slice, by key
	struct fl_map namespaces; // name -> revision
	struct fl_set reverse;    // struct fl_zone_reverse, the first of each address
	unsigned turn;            // where the next answer begins in a list of addresses
};

// Who has an address: a Service, or one of its endpoints.
struct fl_zone_reverse {
	struct fl_zone_reverse *next;
	const struct fl_dns_service *service;
	const struct fl_ip *ip; // a cluster IP, inside of the Service; or an endpoint's, inside of that
};

// NULL: it is a cluster IP.
static inline const struct fl_dns_endpoint *fl_zone_reverse_endpoint(const struct fl_zone_reverse *r)
{
	bool is_cluster_ip = r->ip == &r->service->ips[0] || r->ip == &r->service->ips[1];
	return is_cluster_ip ? NULL : FL_CONTAINER_OF(r->ip, struct fl_dns_endpoint, ip);
}

struct fl_dns_service *fl_zone_service(const struct fl_zone *z, const char *name, size_t n); // NULL: there is none
const struct fl_zone_reverse *fl_zone_reverse_of(const struct fl_zone *z, const struct fl_ip *ip); // NULL: nobody
