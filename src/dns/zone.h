// SPDX-License-Identifier: Apache-2.0
// What the cluster's names mean: Services, EndpointSlices and Namespaces in, records out (Kubernetes DNS-Based Service
// Discovery, specification 1.1.0, and the pod-IP records of 1.0.1). No I/O. One thread.
//
//   <svc>.<ns>.svc.<zone>                 A/AAAA of the cluster IP; headless: of each ready endpoint;
//                                         ExternalName: CNAME
//   _<port>._<proto>.<svc>.<ns>.svc...    SRV of a named port
//   <hostname>.<svc>.<ns>.svc...          A/AAAA of the endpoint with that hostname, or with that dashed address
//   <a-b-c-d>.<ns>.pod.<zone>             A/AAAA that the name itself spells
//   d.c.b.a.in-addr.arpa, ....ip6.arpa    PTR of cluster IPs and endpoints
//   dns-version.<zone> TXT, <zone> SOA and NS, ns.dns.<zone> A
//
// Whatever else stands below the zone is NXDOMAIN at once, so the search path of a pod costs no question to an
// upstream. Negative answers say that they must not be kept (SOA minimum 0): a Service that is made a moment later is
// not missed.
#pragma once

#include "api/object.h"
#include "dns/message.h"

struct fl_zone;

struct fl_zone_opts {
	const char *domain; // "cluster.local"; copied, letter case and a final dot do not matter
	uint32_t ttl_s;
	uint32_t serial;         // of the SOA, to begin with; grows by one a change
	struct fl_ip dns_ips[2]; // of ns.dns.<zone>
	unsigned n_dns_ips;
};

// -EINVAL: the domain is no name, or so long that Services would have none.
FL_WUR int fl_zone_new(const struct fl_zone_opts *o, struct fl_zone **ret, struct fl_err *err);
void fl_zone_free(struct fl_zone **z);

// The new state of one object; `obj` NULL: it is gone. Time is proportional to the object (a Service: and its
// endpoints), not to the zone.
void fl_zone_set_service(struct fl_zone *z, const char *ns, const char *name, const struct fl_object *obj);
void fl_zone_set_slice(struct fl_zone *z, const char *ns, const char *name, const struct fl_object *obj);
void fl_zone_set_namespace(struct fl_zone *z, const char *name, uint64_t rv); // 0: it is gone
size_t fl_zone_services(const struct fl_zone *z);

// What it keeps, for informers that do not (struct fl_informer_keeper): the revision of the last state, 0 = none.
uint64_t fl_zone_service_rv(const struct fl_zone *z, const char *ns, const char *name);
uint64_t fl_zone_slice_rv(const struct fl_zone *z, const char *ns, const char *name);
uint64_t fl_zone_namespace_rv(const struct fl_zone *z, const char *name);
typedef void fl_zone_visit(void *arg, const char *ns, const char *name, uint64_t rv);
void fl_zone_each_service(const struct fl_zone *z, fl_zone_visit *visit, void *arg);
void fl_zone_each_slice(const struct fl_zone *z, fl_zone_visit *visit, void *arg);
void fl_zone_each_namespace(const struct fl_zone *z, fl_zone_visit *visit, void *arg);

enum fl_zone_verdict {
	FL_ZONE_ANSWERED, // the answer stands in `m`; *ret_rcode is its code
	FL_ZONE_FOREIGN,  // not a name of ours: nothing was written
	FL_ZONE_CHASE,    // a CNAME stands in `m`, and its target's addresses are wanted: *ret_target
};
// Adds what the zone knows of `name` (NULL: the question's name) for the question in `m`. *ret_rcode is untouched when
// it is foreign. `name` may not be ret_target.
enum fl_zone_verdict fl_zone_answer(struct fl_zone *z, struct fl_dns_msg *m, const char *name, unsigned *ret_rcode,
				    char ret_target[static FL_DNS_NAME_MAX]);
