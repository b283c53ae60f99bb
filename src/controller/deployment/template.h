// SPDX-License-Identifier: Apache-2.0
// Pod templates: when two are the same, and their hash.
#pragma once

#include "json/json.h"

#define FL_LABEL_TEMPLATE_HASH "pod-template-hash"

// Equal but for the pod-template-hash label; null and absent members are the same. (k8s: EqualIgnoreHash)
bool fl_podtemplate_equal(const struct fl_json *a, const struct fl_json *b);
// FNV-32a over the template without the hash label, members in the order of their names, and the collision count where
// it is not 0; in the alphabet of generated names.
void fl_podtemplate_hash(const struct fl_json *template, int64_t collisions, char buf[static 11]);
