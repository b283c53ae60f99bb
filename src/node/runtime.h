// SPDX-License-Identifier: Apache-2.0
// Which OCI runtime runs the containers.
#pragma once

#include "base/err.h"
#include "node/paths.h"

struct fl_runtime {
	char *program; // absolute path
	char *name;    // "runc"
	char *version; // "runc://1.1.5", as a Node tells it
};

// Absolute path of an installed program, looked up in PATH; NULL: there is none. free() it.
char *fl_runtime_program(const char *name);
void fl_runtime_deinit(struct fl_runtime *r);
// `wanted` NULL or "": crun if it is installed and runs a container of `rootfs` (the embedded image's) here, else runc.
// The answer is kept in <run>/node for the rest of the boot. Blocking, for the start only. -ENOENT: none is installed.
FL_WUR int fl_runtime_find(const struct fl_node_paths *p, const char *wanted, const char *rootfs,
			   struct fl_runtime *ret, struct fl_err *err);
