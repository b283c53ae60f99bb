// SPDX-License-Identifier: Apache-2.0
// What is left in a namespace that is being deleted, as the conditions of its status. Pure.
#pragma once

#include "json/json.h"

struct fl_ns_rest; // what has been found so far; lives in an arena

struct fl_ns_rest *fl_ns_rest_new(struct fl_arena *a);
// `resource` as "pods." or "deployments.apps"; `list`: an answer to a list of it.
void fl_ns_rest_count(struct fl_ns_rest *r, const char *resource, const struct fl_json *list);
void fl_ns_rest_delete_failed(struct fl_ns_rest *r, const char *message);
void fl_ns_rest_discovery_failed(struct fl_ns_rest *r, const char *message);
bool fl_ns_rest_is_empty(const struct fl_ns_rest *r); // nothing is left and nothing failed
// The merge patch of the namespace's status, or NULL when its conditions say so already. (k8s: namespace deletion
// status_condition_utils)
struct fl_json *fl_ns_rest_patch(struct fl_arena *a, const struct fl_ns_rest *r, const struct fl_json *ns,
				 int64_t now_ns);
