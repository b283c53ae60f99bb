// SPDX-License-Identifier: Apache-2.0
// Label and field selectors (Kubernetes "Labels and Selectors"; apimachinery labels.Parse). Immutable once parsed.
#pragma once

#include "api/kind.h"

struct fl_selector; // lives in the arena it was parsed into

// labelSelector query text: a=b, a==b, a!=b, a in (x,y), a notin (x), a, !a. -EINVAL with Kubernetes' wording.
FL_WUR int fl_label_selector_parse(struct fl_arena *a, const char *text, struct fl_selector **ret, struct fl_err *err);
// metav1.LabelSelector object (matchLabels, matchExpressions); NULL or missing selects nothing, {} everything.
FL_WUR int fl_label_selector_from_json(struct fl_arena *a, const struct fl_json *sel, struct fl_selector **ret,
				       struct fl_err *err);
// A plain map as Service.spec.selector; NULL or {} selects nothing.
struct fl_selector *fl_label_selector_from_map(struct fl_arena *a, const struct fl_json *map);
bool fl_selector_matches(const struct fl_selector *s, const struct fl_json *labels); // labels: the map, or NULL
bool fl_selector_is_everything(const struct fl_selector *s);

// fieldSelector text: path=value, path==value, path!=value, comma-separated, \-escapes. -EINVAL with "field label not
// supported: spec.foo" when the kind does not know the path.
struct fl_field_selector;
FL_WUR int fl_field_selector_parse(struct fl_arena *a, const struct fl_kind *k, const char *text,
				   struct fl_field_selector **ret, struct fl_err *err);
bool fl_field_selector_matches(struct fl_arena *scratch, const struct fl_field_selector *s, const struct fl_json *obj);
// The value that metadata.name must equal, or NULL: lets a list become a get.
const char *fl_field_selector_name(const struct fl_field_selector *s);
