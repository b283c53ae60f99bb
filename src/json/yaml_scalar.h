// SPDX-License-Identifier: Apache-2.0
// What a plain YAML scalar means.
#pragma once

#include "json/json.h"

enum fl_yaml_kind {
	FL_YAML_STRING,
	FL_YAML_NULL,
	FL_YAML_BOOL,
	FL_YAML_INT,
	FL_YAML_FLOAT, // may be infinite or NaN, which JSON cannot say
};

// Decides what the plain scalar `s` is. For a bool or number, `ret` gets type and value; a float with an integral value
// that fits int64 gets type FL_JSON_INT there, as it comes out of the detour over JSON that sigs.k8s.io/yaml makes.
enum fl_yaml_kind fl_yaml_resolve(const char *s, size_t len, struct fl_json *ret);

// A number as kubectl prints it in YAML.
void fl_yaml_write_number(struct fl_buf *b, const struct fl_json *j);

// Appends s with each broken byte replaced by U+FFFD.
void fl_yaml_mend_utf8(struct fl_buf *b, const char *s, size_t len);
