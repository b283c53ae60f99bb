// SPDX-License-Identifier: Apache-2.0
// The cgroups of a node's pods: /fairlead-<hash>/<uid>/<container>, in one tree (v2), in one for each controller (v1),
// or in both (hybrid). The OCI runtime makes all three levels and removes only the last one.
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "node/paths.h"

// How the host's cgroups are, as far as a container's limits depend on it.
struct fl_node_cgroups {
	bool unified; // v2 alone
	bool swap;    // the kernel bounds swap: memory.swap.max (v2), memory.memsw.limit_in_bytes (v1)
};
struct fl_node_cgroups fl_node_cgroups_find(const struct fl_node_paths *p);

typedef void (*fl_node_visit_fn)(const char *path, const char *name, void *arg);

// Calls `visit` for each entry of a directory; one that cannot be read has none.
void fl_node_each_entry(const char *dir, fl_node_visit_fn visit, void *arg);

// Kills every process in the node's cgroups.
void fl_node_cgroups_kill(const struct fl_node_paths *p);
// Kills what is left in the cgroups of pod `uid` (NULL: of the whole node) and removes them. One that is not there is
// no error; -EBUSY when processes do not end within 5 s, for which it waits.
FL_WUR int fl_node_cgroups_remove(const struct fl_node_paths *p, const char *uid, struct fl_err *err);
