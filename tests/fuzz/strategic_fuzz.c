// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: [target, patch] merged strategically into a Pod is a document again, or refused with a text; the
// patch stays as it was.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/kind.h"
#include "api/strategic.h"
#include "base/mem.h"
#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_buf_deinit) struct fl_buf text = {0};
	const struct fl_kind *pod = fl_kind_by_kind(fl_registry_builtin(), "v1", "Pod");
	struct fl_json *pair, *merged = NULL, *back = NULL;
	struct fl_err err = {0};

	if (fl_json_parse(&a, (const char *)data, size, NULL, &pair, NULL) < 0 || fl_json_count(pair) != 2 ||
	    pair->type != FL_JSON_ARRAY)
		return 0;
	struct fl_json *patch = fl_json_index(pair, 1), *before = fl_json_clone(&a, patch);
	int rc = fl_strategic_merge(&a, fl_kind_schema(pod), fl_json_index(pair, 0), patch, &merged, &err);
	CHECK(fl_json_equal(patch, before));
	if (rc < 0) {
		CHECK(err.code == rc && err.text[0]);
		return 0;
	}
	fl_json_write(&text, merged);
	CHECK(fl_json_parse(&a, text.data, text.len, NULL, &back, NULL) == 0);
	CHECK(fl_json_equal(merged, back));
	return 0;
}
