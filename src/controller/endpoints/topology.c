// SPDX-License-Identifier: Apache-2.0
#include "controller/endpoints/topology.h"

#include "api/quantity.h"
#include "base/mem.h"
#include "controller/meta.h"

bool fl_topology_wanted(const struct fl_json *service)
{
	static const char *const annotations[] = {"service.kubernetes.io/topology-mode",
						  "service.kubernetes.io/topology-aware-hints"};
	for (size_t i = 0; i < FL_COUNT(annotations); i++) {
		const char *mode = fl_meta_annotation(service, annotations[i]);
		if (fl_streq(mode, "Auto") || fl_streq(mode, "auto"))
			return true;
	}
	return false;
}

void fl_topology_add(struct fl_topology *t, const struct fl_json *node)
{
	const struct fl_json *status = fl_json_get(node, "status");
	const char *zone = fl_meta_label(node, "topology.kubernetes.io/zone");
	const char *cpu = fl_json_str(fl_json_get(status, "allocatable"), "cpu");
	struct fl_quantity q = {0};
	if (fl_meta_label(node, "node-role.kubernetes.io/control-plane") ||
	    !fl_streq(fl_json_str(fl_meta_condition(status, "Ready"), "status"), "True"))
		return;
	t->n_nodes++;
	if (fl_str_empty(zone) || !cpu || !fl_quantity_parse(cpu, &q) || !q.nano) {
		t->insufficient = true;
		return;
	}
	for (unsigned i = 0; i < t->n_zones; i++)
		if (!strcmp(t->zones[i], zone))
			return;
	if (t->n_zones < FL_COUNT(t->zones))
		t->zones[t->n_zones++] = zone;
}

const char *fl_topology_refusal(struct fl_arena *a, const struct fl_topology *t, size_t n_endpoints)
{
	if (t->insufficient || !t->n_nodes)
		return "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes";
	if (t->n_zones < 2)
		return "Nodes only ready in one zone";
	if (t->n_zones > n_endpoints)
		return fl_arena_printf(a, "Insufficient number of endpoints (%zu endpoints, %u zones)", n_endpoints,
				       t->n_zones);
	return "Hints by the processors of zones are not made here: use spec.trafficDistribution: PreferSameZone";
}
