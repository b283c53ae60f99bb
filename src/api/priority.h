// SPDX-License-Identifier: Apache-2.0
// Priorities by name. PriorityClass is no kind here: there are the two that Kubernetes brings along, and no class at
// all.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// "" is 0. False for a class that does not exist.
bool fl_pod_priority(const char *class, int64_t *ret);
