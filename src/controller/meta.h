// SPDX-License-Identifier: Apache-2.0
// What several controllers read from objects and write into them: owners, labels, conditions, numbers or percents.
// All pure; trees live in the caller's arena.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "api/object.h"
#include "controller/index.h"

// The ownerReference with controller: true, or NULL.
struct fl_json *fl_meta_controller(const struct fl_json *obj);
bool fl_meta_controlled_by(const struct fl_json *obj, const char *uid);
// A reference to `owner` with controller and blockOwnerDeletion. (metav1.NewControllerRef)
struct fl_json *fl_meta_owner_ref(struct fl_arena *a, const struct fl_json *owner, const char *api_version,
				  const char *kind);
// Index pairs of an object: its controller's uid under FL_PAIR_CONTROLLER; for one without a controller "" there, and
// its labels, by which it may be adopted.
#define FL_PAIR_CONTROLLER "\001controller"
struct fl_pair *fl_meta_pairs(struct fl_arena *a, const struct fl_json *obj, size_t *ret_n);
// Merge patches that make `owner_ref` the controller of `obj`, or take the reference with `uid` out. They hold the
// object's uid and resourceVersion, so that they never meet another object or an older state.
struct fl_json *fl_meta_adopt_patch(struct fl_arena *a, const struct fl_json *obj, struct fl_json *owner_ref);
struct fl_json *fl_meta_release_patch(struct fl_arena *a, const struct fl_json *obj, const char *uid);

const char *fl_meta_label(const struct fl_json *obj, const char *key);
const char *fl_meta_annotation(const struct fl_json *obj, const char *key);
bool fl_meta_deleting(const struct fl_json *obj);
bool fl_meta_has_finalizer(const struct fl_json *obj, const char *finalizer);
int64_t fl_meta_created_ns(const struct fl_json *obj); // 0 when absent
int64_t fl_meta_time_ns(const char *rfc3339);          // 0 when absent or broken

// The condition of a type in a status, or NULL.
struct fl_json *fl_meta_condition(const struct fl_json *status, const char *type);
// A merge patch {"status": ...} from `old` (may be NULL) to `now`; NULL when they are equal. Members that are gone
// become null.
struct fl_json *fl_meta_status_patch(struct fl_arena *a, const struct fl_json *old, const struct fl_json *now);

// IntOrString "25%" or 3 of `total`; percents are rounded up or down. `otherwise` when `v` is NULL or no number.
// (apimachinery intstr.GetScaledValueFromIntOrPercent)
int64_t fl_meta_scaled(const struct fl_json *v, int64_t total, bool round_up, int64_t otherwise);
