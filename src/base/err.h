// SPDX-License-Identifier: Apache-2.0
// Errors that a person or an API client will read: a code and a fixed text buffer on the caller's stack.
#pragma once

#include <stdarg.h>

struct fl_err {
	int code;       // negative errno; 0 when nothing was reported
	char text[768]; // what was attempted, on which object, then why
};

// Writes the text and returns `code` (made negative), so that a caller can `return fl_err_set(err, -EINVAL, ...)`.
// `err` may be NULL: then only the code is returned. Keeps an already written text out: the newest call wins.
__attribute__((format(printf, 3, 4))) int fl_err_set(struct fl_err *err, int code, const char *fmt, ...);

// Puts "<what>: " before the text that a callee left in `err`; returns err->code (or -EIO when err is NULL).
__attribute__((format(printf, 2, 3))) int fl_err_prefix(struct fl_err *err, const char *fmt, ...);

#define FL_WUR __attribute__((warn_unused_result))
