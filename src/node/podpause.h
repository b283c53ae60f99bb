// SPDX-License-Identifier: Apache-2.0
// The process namespace that containers of a pod share (shareProcessNamespace). Its PID 1 is `/pause`, a second face of
// the shim (cmd/fairlead-shim/pause.h), which reaps what loses its parents. It outlives the node role; should it end,
// the kernel ends all processes of the namespace, and the containers are started again in a new one.
//
//   <run>/ns/<uid>.pid       the namespace, bound
//   <run>/ns/<uid>.pause     number of its first process, as this host counts
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "node/paths.h"

// Blocking (a few ms). Idempotent: one that lives is kept.
FL_WUR int fl_podpause_start(const struct fl_node_paths *p, const char *uid, struct fl_err *err);
bool fl_podpause_lives(const struct fl_node_paths *p, const char *uid);
// Ends it, and with it whatever is left in the namespace. Idempotent, also where there was none.
FL_WUR int fl_podpause_end(const struct fl_node_paths *p, const char *uid, struct fl_err *err);
