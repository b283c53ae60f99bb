// SPDX-License-Identifier: Apache-2.0
// The few things of a pod that controllers decide on, read once from its tree.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "api/object.h"

struct fl_podview { // strings point into the tree
	const struct fl_json *tree;
	const char *ns, *name, *uid;
	const char *node;       // "" when it is not bound
	const char *phase;      // Pending, Running, Succeeded, Failed, Unknown
	bool ready;             // condition Ready is True
	bool deleting;          // has a deletionTimestamp
	bool finished;          // Succeeded or Failed
	int64_t ready_since_ns; // lastTransitionTime of Ready; 0 when absent
	int64_t created_ns;
};

struct fl_podview fl_podview_read(const struct fl_json *tree);
// Ready for at least min_ready_s. `ret_wait_ns` (may be NULL): how long until then, where it is ready.
// (podutil.IsPodAvailable)
bool fl_podview_available(const struct fl_podview *p, int64_t min_ready_s, int64_t now_ns, int64_t *ret_wait_ns);
// The i-th address: status.podIPs, or podIP alone; NULL behind the last.
const char *fl_podview_ip(const struct fl_podview *p, size_t i);
