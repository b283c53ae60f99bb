// SPDX-License-Identifier: Apache-2.0
// Syntax of label keys and values (Kubernetes "Labels and Selectors"; apimachinery validation.IsQualifiedName and
// IsValidLabelValue), with the words that Kubernetes answers to broken ones.
#pragma once

#include <stdbool.h>

#include "base/str.h"

// Appends why `key` is no qualified name ([prefix/]name) to `text`, several reasons joined with "; "; false and nothing
// appended when it is one.
bool fl_label_key_errors(const char *key, struct fl_buf *text);
// Why `value` is no label value, or NULL when it is one. Static text.
const char *fl_label_value_error(const char *value);
