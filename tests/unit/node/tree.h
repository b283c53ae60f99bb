// SPDX-License-Identifier: Apache-2.0
// Documents in tests: written with single quotes, compared as text.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "json/json.h"

static inline struct fl_json *tree(struct fl_arena *a, const char *text)
{
	char *copy = fl_arena_strdup(a, text);
	struct fl_json *j = NULL;
	struct fl_err err = {0};

	for (char *p = copy; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	if (fl_json_parse(a, copy, strlen(copy), NULL, &j, &err) < 0)
		fail_msg("%s in %s", err.text, copy);
	return j;
}

// Compact text with single quotes.
static inline const char *text_of(struct fl_arena *a, const struct fl_json *j)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	char *copy;

	if (!j)
		return "";
	fl_json_write(&b, j);
	copy = fl_arena_strdup(a, b.data);
	for (char *p = copy; *p; p++)
		*p = *p == '"' ? '\'' : *p;
	return copy;
}
