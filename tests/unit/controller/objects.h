// SPDX-License-Identifier: Apache-2.0
// Objects in a test's own words: YAML (so JSON with single quotes too) to trees.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "json/yaml.h"

static inline struct fl_json *yaml_n(struct fl_arena *a, const char *text, size_t n)
{
	struct fl_json *j = NULL;
	struct fl_err err = {0};
	if (fl_yaml_parse(a, text, n, NULL, &j, &err) < 0)
		fail_msg("%s in:\n%.*s", err.text, (int)n, text);
	return j;
}

__attribute__((format(printf, 2, 3))) static inline struct fl_json *yaml(struct fl_arena *a, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	const char *text = fl_arena_vprintf(a, fmt, ap);
	va_end(ap);
	return yaml_n(a, text, strlen(text));
}

static inline const char *compact(struct fl_arena *a, const struct fl_json *j)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	if (!j)
		return "(none)";
	fl_json_write(&b, j);
	return fl_arena_strndup(a, b.data, b.len);
}

// Equal in value to the YAML text.
static inline void assert_is(struct fl_arena *a, const struct fl_json *got, const char *want)
{
	struct fl_json *w = yaml_n(a, want, strlen(want));
	if (!got || !fl_json_equal(got, w))
		fail_msg("got  %s\nwant %s", compact(a, got), compact(a, w));
}
