// SPDX-License-Identifier: Apache-2.0
// Running a program to its end on a libuv loop, with its output collected up to a bound. No shell is involved.
#pragma once

#include <stdint.h>
#include <uv.h>

#include "base/err.h"

struct fl_subprocess;

struct fl_subprocess_opts {
	const char *const *argv; // NULL-terminated; argv[0] is looked up in PATH
	const char *const *env;  // NULL: inherited
	const char *cwd;         // NULL: inherited
	const void *input;       // written to its stdin, copied; NULL: /dev/null
	size_t input_len;
	unsigned timeout_ms; // then SIGKILL to its process group; 0 = none
	size_t max_output;   // bytes kept of stdout and of stderr each; the rest is read and dropped. 0 = 64 KiB
	// exit_status: 0..255, or -signal; rc -ETIMEDOUT when it was killed by the time-out, else 0. Texts
	// NUL-terminated, gone after the call.
	void (*on_exit)(void *arg, int rc, int exit_status, const char *out, size_t out_len, const char *errout,
			size_t err_len);
	void *arg;
};

FL_WUR int fl_subprocess_start(uv_loop_t *loop, const struct fl_subprocess_opts *opts, struct fl_subprocess **ret,
			       struct fl_err *err);
void fl_subprocess_kill(struct fl_subprocess *p, int signal); // before on_exit only
int fl_subprocess_pid(const struct fl_subprocess *p);         // likewise
// Blocking form for start-up and clean-up code that runs outside a loop. ret_out may be NULL; free() it.
FL_WUR int fl_subprocess_run(const char *const *argv, unsigned timeout_ms, int *ret_exit_status, char **ret_out,
			     struct fl_err *err);
