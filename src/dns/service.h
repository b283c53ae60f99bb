// SPDX-License-Identifier: Apache-2.0
// What DNS keeps of a Service and of an EndpointSlice: the few fields that records are made of. The objects themselves
// are dropped.
#pragma once

#include "api/object.h"
#include "base/ip.h"
#include "base/vec.h"
#include "dns/wire.h"

enum fl_dns_service_type { FL_DNS_CLUSTER_IP, FL_DNS_HEADLESS, FL_DNS_EXTERNAL_NAME };

struct fl_dns_port {      // named ones only: an unnamed port has no record
	const char *name; // behind the array of ports
	char protocol[6]; // tcp, udp, sctp
	uint16_t port;
};

struct fl_dns_endpoint {
	const char *hostname; // NULL: it is called by its address with dashes (as CoreDNS does)
	struct fl_ip ip;
	bool ready;
};

// One allocation, which its parts point into.
struct fl_dns_slice {
	uint64_t rv;
	const char *service; // label kubernetes.io/service-name
	struct fl_dns_endpoint *endpoints;
	struct fl_dns_port *ports;
	unsigned n_endpoints, n_ports;
	const char *key; // "<namespace>/<name>"
};

struct fl_dns_service {
	uint64_t rv;
	bool exists; // false: slices came first
	bool publish_not_ready;
	bool addresses_known; // `addresses` is up to date
	uint8_t type;         // enum fl_dns_service_type
	uint8_t n_ips;
	struct fl_ip ips[2];
	unsigned n_ports;
	struct fl_dns_port *ports;
	char *external_name;                        // lower case, no final dot; NULL: it has none that can be written
	FL_SMALL_VEC(struct fl_dns_slice *) slices; // borrowed from the zone
	FL_SMALL_VEC(struct fl_ip) addresses;       // of a headless Service: each served address once
	char name[];                                // "<name>.<namespace>", as in a query
};

struct fl_dns_service *fl_dns_service_new(const char *name);
void fl_dns_service_free(struct fl_dns_service *s);
void fl_dns_service_set(struct fl_dns_service *s, const struct fl_object *obj); // NULL: gone
void fl_dns_service_add_slice(struct fl_dns_service *s, struct fl_dns_slice *slice);
void fl_dns_service_remove_slice(struct fl_dns_service *s, const struct fl_dns_slice *slice);
void fl_dns_service_know_addresses(struct fl_dns_service *s); // brings `addresses` up to date

// NULL: belongs to no Service, or has no addresses (FQDN).
struct fl_dns_slice *fl_dns_slice_new(const struct fl_object *obj, const char *key); // free() it

// Only ready endpoints have records, unless the Service wants all (publishNotReadyAddresses).
static inline bool fl_dns_endpoint_is_served(const struct fl_dns_service *s, const struct fl_dns_endpoint *e)
{
	return s->exists && s->type != FL_DNS_EXTERNAL_NAME && (e->ready || s->publish_not_ready);
}

// The first label of the endpoint's name.
const char *fl_dns_endpoint_label(const struct fl_dns_endpoint *e, char buf[static FL_IP_STRLEN]);
// An address written with dashes: 10-244-0-5, or IPv6 with dashes for colons (2001-db8--1).
bool fl_dns_parse_dashed(const char *label, struct fl_ip *ret);
