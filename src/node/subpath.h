// SPDX-License-Identifier: Apache-2.0
// A part of a volume as a mount (volumeMounts[].subPath). A container may have put links into its volume, so the path
// is opened below the volume's root by the kernel (openat2, RESOLVE_BENEATH) and what was opened is bound to a place of
// ours, which the OCI runtime gets: nothing that happens in the volume later leads elsewhere.
#pragma once

#include "base/err.h"

// Binds <root>/<sub> to `at`, where nothing may be mounted afterwards but this. What is missing is made as directories,
// with the root's mode. -EXDEV and -ELOOP: the path leads out of the volume.
FL_WUR int fl_subpath_bind(const char *root, const char *sub, const char *at, struct fl_err *err);
