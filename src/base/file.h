// SPDX-License-Identifier: Apache-2.0
// Whole files: read with a bound, replaced so that a reader sees the old or the new one, never half of it.
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

#define FL_FILE_MAX (16 * 1024 * 1024)

// At most FL_FILE_MAX bytes; *ret is NUL-terminated beyond its length, free() it. ret_len may be NULL. -EFBIG beyond
// the bound.
FL_WUR int fl_file_read(const char *path, char **ret, size_t *ret_len, struct fl_err *err);
#define FL_FILE_TMP ".tmp." // and the pid: what follows the name of a file whose writing was cut short
// Written to a temporary file beside it, synced, renamed over it; then the folder is synced.
FL_WUR int fl_file_write(const char *path, const void *data, size_t len, mode_t mode, struct fl_err *err);
FL_WUR int fl_file_mkdirs(const char *path, mode_t mode,
			  struct fl_err *err); // with all parents; existing ones are kept
// Removes a file or a whole tree; does not follow links, does not cross into another mount. Absent: 0.
FL_WUR int fl_file_remove_all(const char *path, struct fl_err *err);
