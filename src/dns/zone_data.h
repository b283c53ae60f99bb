// SPDX-License-Identifier: Apache-2.0
// The zone's tables: zone.c keeps them, answer.c reads them.
#pragma once

#include "base/map.h"
#include "dns/service.h"
#include "dns/zone.h"

struct fl_zone {
	struct fl_zone_opts o; // domain: own copy
	size_t domain_len;
	char *ns_name, *mail;     // of the SOA
	struct fl_map services;   // "<name>.<namespace>" -> struct fl_dns_service *
	struct fl_map slices;     // "<namespace>/<name>" -> struct fl_dns_slice *
	struct fl_map namespaces; // name -> the zone
	struct fl_map reverse;    // 4 or 16 octets of an address -> struct fl_zone_reverse *
	unsigned turn;            // where the next answer begins in a list of addresses
};

// Who has an address: a Service, or one of its endpoints.
struct fl_zone_reverse {
	struct fl_zone_reverse *next;
	const struct fl_dns_service *service;
	const struct fl_dns_endpoint *endpoint; // NULL: a cluster IP
};

const struct fl_zone_reverse *fl_zone_reverse_of(const struct fl_zone *z, const struct fl_ip *ip); // NULL: nobody
