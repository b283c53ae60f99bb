// SPDX-License-Identifier: Apache-2.0
// Inside of the Service rules: what its files share.
#pragma once

#include "api/hooks/hooks.h"

enum { FL_SERVICE_MAX_AFFINITY_S = 86400, FL_SERVICE_AFFINITY_S = 10800 };

static inline const char *fl_service_type(const struct fl_json *spec)
{
	return fl_json_str_or(spec, "type", "");
}

// Which fields mean something for a Service of this spec. NULL spec: false.
bool fl_service_is_type(const struct fl_json *spec, const char *type);
bool fl_service_is_headless(const struct fl_json *spec);
bool fl_service_needs_cluster_ip(const struct fl_json *spec);
bool fl_service_may_have_node_ports(const struct fl_json *spec);
bool fl_service_needs_health_check(const struct fl_json *spec);
bool fl_service_externally_accessible(const struct fl_json *spec);

void fl_service_set_defaults(struct fl_arena *a, struct fl_json *obj);
void fl_service_prepare(struct fl_arena *a, struct fl_json *obj, const struct fl_json *old, const char *subresource);
void fl_service_validate(struct fl_causes *c, const struct fl_json *obj, const struct fl_json *old,
			 const char *subresource);

// ipFamilies and ipFamilyPolicy from what the client said, what it was and what the cluster has. Adds causes and leaves
// the rest as it is when they contradict each other. (k8s: initIPFamilyFields)
void fl_service_init_families(struct fl_causes *c, struct fl_json *spec, const struct fl_json *old_spec);
// clusterIP, clusterIPs, ipFamilies, ipFamilyPolicy agree. (k8s: ValidateServiceClusterIPsRelatedFields)
void fl_service_validate_cluster_ips(struct fl_causes *c, const struct fl_json *spec);
