// SPDX-License-Identifier: Apache-2.0
// Reading a container's log file as `kubectl logs` asks for it. Synchronous and restartable: each call delivers what is
// there; whoever follows calls again. Goes on in the new file when the shim rotated the log.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct fl_logs;

struct fl_logs_opts {
	int64_t tail_lines;  // the last so many; -1: all
	int64_t since_ns;    // real time; lines before it are left out; 0: all
	int64_t limit_bytes; // of output; -1: no limit
	bool timestamps;
	bool no_stdout, no_stderr;
};

// v1.PodLogOptions as a query string: tailLines, sinceSeconds, sinceTime, limitBytes, timestamps, follow, previous,
// stream. -EINVAL names the bad one. Unknown ones are ignored.
FL_WUR int fl_logs_parse_query(const char *query, int64_t now_ns, struct fl_logs_opts *ret, bool *ret_follow,
			       bool *ret_previous, struct fl_err *err);

FL_WUR int fl_logs_open(const char *path, const struct fl_logs_opts *o, struct fl_logs **ret, struct fl_err *err);
void fl_logs_free(struct fl_logs **l);
// Appends some text (some 64 KiB at most) to `b`. 1: there may be more at once; 0: the end for now; -ENODATA: the limit
// is reached, there will be no more; another -errno: the file cannot be read.
FL_WUR int fl_logs_read(struct fl_logs *l, struct fl_buf *b);
