// SPDX-License-Identifier: Apache-2.0
// meta.k8s.io/v1 Table: what `kubectl get` prints.
#pragma once

#include "api/kind.h"

enum fl_table_include { FL_TABLE_METADATA, FL_TABLE_NONE, FL_TABLE_OBJECT };

// {"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{},"columnDefinitions":[...],"rows":[]}
struct fl_json *fl_table_new(struct fl_arena *a, const struct fl_kind *k, bool with_columns);
// One row of `obj` appended to table.rows. `obj` is moved or cloned into row.object as `include` says.
void fl_table_add(struct fl_arena *a, struct fl_json *table, const struct fl_kind *k, struct fl_json *obj,
		  enum fl_table_include include, int64_t now_ns);
// "5m10s", "3d4h" as apimachinery duration.HumanDuration; "<unknown>" for no time, "<invalid>" for the future.
const char *fl_human_duration(struct fl_arena *a, int64_t ns);
const char *fl_human_age(struct fl_arena *a, const char *rfc3339, int64_t now_ns);
