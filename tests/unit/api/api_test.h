// SPDX-License-Identifier: Apache-2.0
// Shared by the tests of src/api: what the tests of src/json share, and golden files (from the root of the tree).
#pragma once

#include "../json/json_test.h"

#include <stdlib.h>

#include "base/file.h"

static inline char *read_golden(const char *path, size_t *ret_len)
{
	struct fl_err err = {0};
	char *text = NULL;
	size_t len = 0;

	if (fl_file_read(path, &text, &len, &err) < 0)
		fail_msg("%s", err.text);
	char *s = fl_arena_strndup(&arena, text, len);
	free(text);
	if (ret_len)
		*ret_len = len;
	return s;
}

static inline struct fl_json *golden(const char *path)
{
	return parse(read_golden(path, NULL));
}

static inline void assert_same(const struct fl_json *got, const struct fl_json *want)
{
	if (!fl_json_equal(got, want))
		fail_msg("got  %s\nwant %s", text_of(got), text_of(want));
}
