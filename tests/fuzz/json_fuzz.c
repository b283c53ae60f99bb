// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: what the JSON parser takes must come back the same from what the writers print, must equal its own
// clone, and survives being its own merge patch and the subject of the JSON patches found in it.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "check.h"
#include "json/patch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ignore(void *arg, const char *path)
{
	*(size_t *)arg += strlen(path);
}

// Text is compared from the second writing on: -0.0 is written as -0, which is read as the integer 0.
static void reads_back(struct fl_arena *a, const struct fl_json *j, const struct fl_buf *text)
{
	struct fl_json *back, *again;
	AUTO(fl_buf_deinit) struct fl_buf second = {0};
	AUTO(fl_buf_deinit) struct fl_buf third = {0};
	CHECK(fl_json_parse(a, text->data, text->len, NULL, &back, NULL) == 0);
	CHECK(fl_json_equal(j, back) && fl_json_equal(back, j));
	fl_json_write(&second, back);
	CHECK(fl_json_parse(a, second.data, second.len, NULL, &again, NULL) == 0);
	fl_json_write(&third, again);
	CHECK(second.len == third.len && memcmp(second.data, third.data, third.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct fl_err err = {0};
	struct fl_json *j;
	size_t reported = 0;
	struct fl_json_parse_opts opts = {.on_duplicate = ignore, .arg = &reported};
	int rc = fl_json_parse(&a, (const char *)data, size, &opts, &j, &err);
	if (rc < 0) {
		CHECK(err.code == rc && err.text[0]);
		return 0;
	}
	fl_json_write(&b, j);
	reads_back(&a, j, &b);
	b.len = 0;
	fl_json_write_pretty(&b, j, 2);
	reads_back(&a, j, &b);

	struct fl_json *copy = fl_json_clone(&a, j);
	CHECK(fl_json_equal(j, copy));
	// Nulls vanish in a merge, so merging once more must change nothing.
	struct fl_json *merged = fl_json_merge_patch(&a, copy, j);
	struct fl_json *twice = fl_json_merge_patch(&a, fl_json_clone(&a, merged), j);
	CHECK(fl_json_equal(merged, twice));
	// [document, patch] is how the corpus carries JSON patches.
	if (fl_json_is(j, FL_JSON_ARRAY) && fl_json_count(j) == 2) {
		struct fl_json *patched;
		struct fl_json *target = fl_json_clone(&a, fl_json_index(j, 0));
		if (fl_json_patch(&a, target, fl_json_index(j, 1), &patched, &err) == 0) {
			b.len = 0;
			fl_json_write(&b, patched);
			reads_back(&a, patched, &b);
		}
	}
	return 0;
}
