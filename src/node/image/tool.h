// SPDX-License-Identifier: Apache-2.0
// skopeo, umoci and tar as child processes that are watched while they run: each dies with us, writes no more than it
// may, leaves room on the disk, and is ended when it makes no progress.
#pragma once

#include <stdint.h>
#include <uv.h>

#include "base/err.h"

struct fl_image_tool;

struct fl_image_tool_opts { // strings are borrowed until the program was started
	uv_loop_t *loop;
	const char *const *argv; // NULL-terminated
	const char *cwd;         // on the file system that is watched
	uint64_t max_bytes;      // that it may write
	size_t max_output;       // kept of its output
	// Once, from the loop. rc 0: it ended well. -ENOENT: it is not installed, -EFBIG: it wrote too much, -ENOSPC:
	// the disk became too full, -ETIMEDOUT: no progress, -EIO: it failed; `message` says why. Texts gone after it.
	void (*on_exit)(void *arg, int rc, const char *out, size_t out_len, const char *message);
	void *arg;
};

FL_WUR int fl_image_tool_start(const struct fl_image_tool_opts *o, struct fl_image_tool **ret, struct fl_err *err);
// Ends it; no callback after this.
void fl_image_tool_cancel(struct fl_image_tool **t);
