// SPDX-License-Identifier: Apache-2.0
// YAML into the JSON tree: libyaml's events with YAML 1.1 scalar rules as sigs.k8s.io/yaml has them (yes/no/on/off are
// booleans, 0o17 and 017 numbers, quoted scalars always strings). Aliases are expanded up to a bound, so that a small
// document cannot become a large tree.
#pragma once

#include "json/json.h"

// Parses the first document of `text`. An empty document gives null. -EINVAL with line and column; -E2BIG when aliases
// or depth pass their bounds. `opts` as for fl_json_parse.
FL_WUR int fl_yaml_parse(struct fl_arena *a, const char *text, size_t len, const struct fl_json_parse_opts *opts,
			 struct fl_json **ret, struct fl_err *err);

// Block style with sorted-as-given members, as kubectl prints objects. For kubeconfig files and `-o yaml`.
void fl_yaml_write(struct fl_buf *b, const struct fl_json *j);
