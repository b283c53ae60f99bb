// SPDX-License-Identifier: Apache-2.0
// Table cells as kube-apiserver's printers write them (pkg/printers/internalversion). For the hooks of this folder.
#pragma once

#include "json/json.h"

// Appends "" for a NULL text.
void fl_cell_string(struct fl_arena *a, struct fl_json *cells, const char *s);
void fl_cell_int(struct fl_arena *a, struct fl_json *cells, int64_t i);
void fl_cell_name(struct fl_arena *a, struct fl_json *cells, const struct fl_json *obj);
void fl_cell_age(struct fl_arena *a, struct fl_json *cells, const struct fl_json *obj, int64_t now_ns);

// "a=1,b=2" with sorted keys; "<none>" for an empty or missing map.
const char *fl_format_labels(struct fl_arena *a, const struct fl_json *map);
// metav1.LabelSelector: "app=x,tier in (a,b),!c"; "<none>" when it is missing or selects everything.
const char *fl_format_selector(struct fl_arena *a, const struct fl_json *selector);
// The strings of an array (or of `key` in its objects) joined with commas; "" when there are none.
const char *fl_join(struct fl_arena *a, const struct fl_json *array, const char *key);
