// SPDX-License-Identifier: Apache-2.0
// Where the node keeps what, for one data directory:
//
//   <data>/node/bin/fairlead-shim
//   <data>/node/images/<id>/rootfs
//   <data>/node/pods/<uid>/            pod.json  etc/{hosts,hostname,resolv.conf}  volumes/<name>
//                   .../containers/<name>/<attempt>/   see cmd/fairlead-shim/main.c
//                   .../logs/<name>/<attempt>.log
//   <data>/run/node/                   boot_id  host  runtime/ (state of the OCI runtime)  ns/<uid>.{net,uts,ipc}
//
// The second tree is dropped when it comes from an earlier boot. cgroups: /fairlead-<hash>/<uid>/<container>.
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct fl_node_paths {
	char *root, *run; // absolute, no symlinks
	char *pods, *images, *shim, *runtime_root, *ns;
	char cgroup[32]; // "/fairlead-89abcdef"
	char tag[9];     // "89abcdef": FNV-1a of the data directory
};

// Makes the directories. `create` false: only computes, -ENOENT when the data directory does not exist.
FL_WUR int fl_node_paths_init(struct fl_node_paths *p, const char *data_dir, int create, struct fl_err *err);
void fl_node_paths_deinit(struct fl_node_paths *p);
// Empties <run>/node when it was made before the last boot. To be called once, before anything is looked up there.
FL_WUR int fl_node_paths_check_boot(const struct fl_node_paths *p, struct fl_err *err);

// Replaces a file by renaming, without waiting for the disk: what a power failure takes here it takes together with the
// containers that the file speaks of.
FL_WUR int fl_node_file_put(const char *path, const void *data, size_t len, mode_t mode, struct fl_err *err);
