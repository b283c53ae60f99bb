// SPDX-License-Identifier: Apache-2.0
// JSON Pointer (RFC 6901), JSON Patch (RFC 6902), JSON Merge Patch (RFC 7386).
#pragma once

#include "json/json.h"

// The node that `pointer` names, or NULL.
struct fl_json *fl_json_pointer(const struct fl_json *root, const char *pointer);

// Merges `patch` into `target` and returns the result, which may be `target` itself, edited. Both must live in `a` or
// longer.
struct fl_json *fl_json_merge_patch(struct fl_arena *a, struct fl_json *target, const struct fl_json *patch);

// Applies the operations of `patch` in order to `target`, edited in place; *ret is the new root. After a failure
// `target` holds the operations before the failing one and is to be dropped. -EINVAL: the patch itself is malformed.
// -ENOENT: a path does not exist. -ECANCELED: a "test" failed. -E2BIG: more than FL_MAX_JSON_PATCH_OPS operations.
// -EFBIG: copies, or nesting, beyond the bounds of base/limits.h. Where RFC 6902 and Kubernetes
// (gopkg.in/evanphx/json-patch.v4) differ, Kubernetes' clients are served: "replace" of a member that is not there adds
// it, "test" of one against null holds, indices below 0 count from the end.
FL_WUR int fl_json_patch(struct fl_arena *a, struct fl_json *target, const struct fl_json *patch, struct fl_json **ret,
			 struct fl_err *err);
