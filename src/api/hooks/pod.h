// SPDX-License-Identifier: Apache-2.0
// Inside of the Pod rules: what its files share.
#pragma once

#include "json/json.h"

void fl_pod_table_row(struct fl_arena *a, const struct fl_json *obj, int64_t now_ns, struct fl_json *cells);
