// SPDX-License-Identifier: Apache-2.0
// What DNS keeps of a Service and of an EndpointSlice: the few fields that records are made of.
#pragma once

#include "api/object.h"
#include "base/ip.h"
#include "base/vec.h"

enum fl_dns_service_type { FL_DNS_CLUSTER_IP, FL_DNS_HEADLESS, FL_DNS_EXTERNAL_NAME };

struct fl_dns_port {
	char *name;       // "" = unnamed
	char protocol[8]; // tcp, udp, sctp
	uint16_t port;
};

struct fl_dns_endpoint {
	struct fl_ip ip;
	char *hostname; // the endpoint's own, else its address with dashes (as CoreDNS names it)
	bool ready;
};

struct fl_dns_slice {
	char *service; // label kubernetes.io/service-name
	struct fl_dns_endpoint *endpoints;
	unsigned n_endpoints;
	struct fl_dns_port *ports;
	unsigned n_ports;
};

struct fl_dns_service {
	char *ns, *name;
	bool exists; // false: slices came first
	enum fl_dns_service_type type;
	bool publish_not_ready;
	struct fl_ip ips[2];
	unsigned n_ips;
	struct fl_dns_port *ports;
	unsigned n_ports;
	char *external_name;                  // lower case, no final dot
	FL_VEC(struct fl_dns_slice *) slices; // borrowed from the zone
};

struct fl_dns_service *fl_dns_service_new(const char *ns, const char *name);
void fl_dns_service_free(struct fl_dns_service *s);
void fl_dns_service_set(struct fl_dns_service *s, const struct fl_object *obj); // NULL: gone
void fl_dns_service_remove_slice(struct fl_dns_service *s, const struct fl_dns_slice *slice);
struct fl_dns_slice *
fl_dns_slice_new(const struct fl_object *obj); // NULL: belongs to no Service, or has no addresses (FQDN)
void fl_dns_slice_free(struct fl_dns_slice *slice);

static inline bool fl_dns_endpoint_is_served(const struct fl_dns_service *s, const struct fl_dns_endpoint *e)
{
	return e->ready || s->publish_not_ready;
}
