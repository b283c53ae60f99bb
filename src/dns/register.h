// SPDX-License-Identifier: Apache-2.0
// Makes Service kube-system/kube-dns and this node's EndpointSlice of it say where this server is, and keeps trying
// until they do.
#pragma once

#include "client/client.h"
#include "dns/dns.h"

struct fl_dns_registration;
struct fl_dns_registration *fl_dns_register(struct fl_client *c, const struct fl_dns_opts *o);
void fl_dns_registration_free(struct fl_dns_registration **r); // before the client
