// SPDX-License-Identifier: Apache-2.0
// Inside of the Pod rules: what its files share.
#pragma once

#include "api/status.h"

void fl_pod_table_row(struct fl_arena *a, const struct fl_json *obj, int64_t now_ns, struct fl_json *cells);
// Adds a cause for each part of `spec` that an update may not change so. (pod_update.c)
void fl_pod_validate_update(struct fl_causes *c, const struct fl_json *spec, const struct fl_json *old);
