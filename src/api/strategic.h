// SPDX-License-Identifier: Apache-2.0
// Strategic merge patch (apimachinery strategicpatch): lists merged by x-kubernetes-patch-merge-key, directives $patch,
// $retainKeys, $deleteFromPrimitiveList/<list>, $setElementOrder/<list>.
#pragma once

#include "api/schema.h"

// Merges `patch` into `target` (edited in place; may become garbage on failure, so pass a clone). -EINVAL with the
// reason.
FL_WUR int fl_strategic_merge(struct fl_arena *a, const struct fl_schema *s, struct fl_json *target,
			      const struct fl_json *patch, struct fl_json **ret, struct fl_err *err);
