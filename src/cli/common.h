// SPDX-License-Identifier: Apache-2.0
// What several verbs do alike.
#pragma once

#include "base/log.h"
#include "cli/options.h"

// Parses argv into `ret` and sets the log up. -1: go on. Otherwise the exit status: help was printed (0), or the
// options are wrong (2).
int fl_cli_parse(int argc, char **argv, struct fl_options *ret);
bool fl_cli_log_level(const char *text, enum fl_log_level *ret); // false: no such level
// Exit status for a verb's result; prints the error.
int fl_cli_end(int rc, const struct fl_err *err);

FL_WUR int fl_cli_enter_netns(const char *path, struct fl_err *err); // NULL: stays
// Repairs the store if the options ask for it, one line a finding.
FL_WUR int fl_cli_repair(const struct fl_options *o, struct fl_err *err);
char *fl_cli_port_file(const struct fl_options *o); // free() it
char *fl_cli_run_dir(const struct fl_options *o);   // free() it

// A reset under way leaves <data-dir>/reset, so that whoever comes next (with the lock) finishes it: half of the data
// is worse than none. Removes all that is there but the lock.
FL_WUR int fl_cli_begin_reset(const char *data_dir, struct fl_err *err);
FL_WUR int fl_cli_finish_reset(const char *data_dir, bool keep_output,
			       struct fl_err *err); // 0 also when none was begun

// The options of the running `up`, for `down` and `reset`: <data-dir>/up.options, one argument a line.
FL_WUR int fl_cli_save_options(const struct fl_options *o, struct fl_err *err);
FL_WUR int fl_cli_load_options(const char *data_dir, struct fl_options *ret,
			       struct fl_err *err); // -ENOENT: never was up
