// SPDX-License-Identifier: Apache-2.0
// One run of one container: the shim that keeps it, from its start or from the moment that we find it again. The
// container outlives this handle; only fl_ctr_kill() ends it.
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "base/err.h"
#include "node/paths.h"

struct fl_ctr;

struct fl_ctr_exit {
	int code;  // 128 + signal for a container ended by one; 128 for one that could not be started
	bool oom;  // the kernel killed something in it for want of memory
	bool ran;  // false: it never started; `message` says why
	bool lost; // its shim was killed: how it ended is not known
	int64_t started_ns, finished_ns; // real time
	const char *message;             // or NULL; gone after the call
};

struct fl_ctr_opts { // strings are copied
	uv_loop_t *loop;
	const struct fl_node_paths *paths; // borrowed
	const char *runtime;
	const char *dir; // the attempt's directory: config.json, lower, rootfs/, upper/, work/ are there
	const char *id, *cgroup, *log;
	void (*on_started)(void *arg, int64_t started_ns);                // not when it fails; on_exit comes then
	void (*on_exit)(void *arg, const struct fl_ctr_exit *exit_state); // once, last; free the handle in it or later
	void *arg;
};

// Starts it. Callbacks come later, from the loop.
FL_WUR int fl_ctr_start(const struct fl_ctr_opts *o, struct fl_ctr **ret, struct fl_err *err);
// Takes up what an earlier run of the node started: callbacks come as for a start; a container whose shim is gone
// without an exit record is ended, and on_exit says `lost`. -ENOENT: there is no such attempt.
FL_WUR int fl_ctr_find(const struct fl_ctr_opts *o, struct fl_ctr **ret, struct fl_err *err);
void fl_ctr_kill(struct fl_ctr *c, int signal); // by the OCI runtime; errors of a container already gone are ignored
void fl_ctr_free(struct fl_ctr **c);            // no callback after this; the container goes on

// How an attempt ended, from its directory. False: it has not ended, or nothing is known.
bool fl_ctr_read_exit(const char *dir, struct fl_ctr_exit *ret);
// Pid of the shim that keeps `dir`; 0: none does. -1: one is just being started.
int fl_ctr_shim_pid(const char *dir);
// The newest error in a log of the OCI runtime (JSON lines); NULL when there is none. free()
char *fl_ctr_runtime_error(const char *log_path);
