// SPDX-License-Identifier: Apache-2.0
// A directory of files that changes all at once, as kubelet's AtomicWriter lays it out, so that a program may watch for
// it as it does on Kubernetes:
//
//   <dir>/..2026_01_02_15_04_05.000000001/path/name      the files
//   <dir>/..data  -> ..2026_01_02_15_04_05.000000001     exchanged by renaming
//   <dir>/path    -> ..data/path                         first part of each path
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/vec.h"

struct fl_afile { // strings are borrowed
	const char *path;
	const void *data;
	size_t len;
	mode_t mode;
};

struct fl_afiles {
	FL_VEC(struct fl_afile) list;
};

// A path that is there already gets the new content. -EINVAL: the path leads out of the directory, or begins with "..".
FL_WUR int fl_afiles_put(struct fl_afiles *f, const struct fl_afile *file, struct fl_err *err);
void fl_afiles_deinit(struct fl_afiles *f);

// Makes `dir` (which exists) hold these files and no others. Does nothing when it does. group -1: as it comes.
// *ret_changed may be NULL. Safe against a crash at any moment: the next call mends.
FL_WUR int fl_atomic_dir_write(const char *dir, const struct fl_afiles *f, int64_t group, bool *ret_changed,
			       struct fl_err *err);
