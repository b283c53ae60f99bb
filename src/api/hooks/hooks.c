// SPDX-License-Identifier: Apache-2.0
// From the name in a document to the hooks.
#include "api/hooks/hooks.h"

#include "api/registry.h"
#include "base/str.h"

static const struct fl_kind_hooks *const all[] = {
    &fl_hooks_configmap,
    &fl_hooks_controllerrevision,
    &fl_hooks_deployment,
    &fl_hooks_endpoints,
    &fl_hooks_endpointslice,
    &fl_hooks_event,
    &fl_hooks_event_view,
    &fl_hooks_lease,
    &fl_hooks_namespace,
    &fl_hooks_node,
    &fl_hooks_pod,
    &fl_hooks_replicaset,
    &fl_hooks_replicationcontroller,
    &fl_hooks_secret,
    &fl_hooks_service,
    &fl_hooks_serviceaccount,
    NULL,
};

const struct fl_kind_hooks *fl_kind_hooks_find(const char *name)
{
	for (size_t i = 0; all[i]; i++)
		if (fl_streq(all[i]->name, name))
			return all[i];
	return NULL;
}
