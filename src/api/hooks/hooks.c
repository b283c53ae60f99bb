// SPDX-License-Identifier: Apache-2.0
// From the name in a document to the hooks.
#include "api/hooks/hooks.h"

#include "api/registry.h"
#include "base/str.h"

static const struct fl_kind_hooks *const all[] = {
    &fl_hooks_service,
    NULL,
};

const struct fl_kind_hooks *fl_kind_hooks_find(const char *name)
{
	for (size_t i = 0; all[i]; i++)
		if (fl_streq(all[i]->name, name))
			return all[i];
	return NULL;
}
