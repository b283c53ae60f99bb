// SPDX-License-Identifier: Apache-2.0
// ServiceAccounts: of the Secrets that one names only the names are kept. (k8s: registry/core/serviceaccount)
#include "api/hooks/cells.h"
#include "api/hooks/hooks.h"
#include "base/str.h"

static void prepare(struct fl_arena *a, struct fl_json *obj, const struct fl_json *old, const char *subresource)
{
	fl_json_each (ref, fl_json_get(obj, "secrets")) {
		struct fl_json *next;

		for (struct fl_json *m = ref->kids.first; m; m = next) {
			next = m->next;
			if (!fl_streq(m->key, "name"))
				fl_json_remove_child(ref, m);
		}
	}
}

static void table_row(struct fl_arena *a, const struct fl_json *obj, int64_t now_ns, struct fl_json *cells)
{
	fl_cell_name(a, cells, obj);
	fl_cell_age(a, cells, obj, now_ns);
}

const struct fl_kind_hooks fl_hooks_serviceaccount = {
    .name = "serviceaccount",
    .prepare = prepare,
    .table_row = table_row,
};
