// SPDX-License-Identifier: Apache-2.0
// One line of a container log file as the Container Runtime Interface writes it (KEP "CRI logging format"):
//
//   2016-10-06T00:17:09.669794202Z stdout F the text
//
// F ends a line, P is a part of one that was too long. Also compiled into the container shim, so it stands on the C
// library alone.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FL_CRILOG_PREFIX_LEN 40         // "<30 characters of time> stdout F "; the same for stderr
#define FL_CRILOG_TEXT_MAX   (16 << 10) // longer lines are cut into P parts, as container runtimes do

// Writes the 40 bytes before the text; no NUL.
void fl_crilog_prefix(char buf[static FL_CRILOG_PREFIX_LEN], int64_t real_ns, bool is_stderr, bool partial);

struct fl_crilog_line { // points into the line that was parsed
	const char *time;
	size_t time_len;
	bool is_stderr, partial;
	const char *text;
	size_t text_len;
};

// `line` without its newline. False when it is no such line (half written by a crash).
bool fl_crilog_parse(const char *line, size_t len, struct fl_crilog_line *ret);
