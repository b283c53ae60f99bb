// SPDX-License-Identifier: Apache-2.0
// Makes Service kube-system/kube-dns and this node's EndpointSlices of it say where this server is, and keeps trying
// until they do. The slices carry a hint for this node: a proxy that knows hints leads a pod's questions to its own
// node's server, so another node's death is nothing to it.
#pragma once

#include "client/client.h"
#include "dns/dns.h"

struct fl_dns_registration;
// Both must live until it is freed. Does nothing when `o` has no cluster IPs.
struct fl_dns_registration *fl_dns_register(struct fl_client *c, const struct fl_dns_opts *o);
// An object of this name is gone: when it is one of ours, it is made again.
void fl_dns_registration_gone(struct fl_dns_registration *r, const char *ns, const char *name);
bool fl_dns_registration_done(const struct fl_dns_registration *r);
void fl_dns_registration_free(struct fl_dns_registration **r); // before the client
