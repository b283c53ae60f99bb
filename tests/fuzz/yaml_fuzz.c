// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: what the YAML parser takes must come back the same through the YAML writer and through JSON.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/mem.h"
#include "check.h"
#include "json/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ignore(void *arg, const char *path)
{
	*(size_t *)arg += strlen(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct fl_err err = {0};
	struct fl_json *j, *back;
	size_t reported = 0;
	struct fl_json_parse_opts opts = {.on_duplicate = ignore, .arg = &reported};
	int rc = fl_yaml_parse(&a, (const char *)data, size, &opts, &j, &err);
	CHECK(a.total < 64u * 1024 * 1024 + 200 * size);
	if (rc < 0) {
		CHECK(err.code == rc && err.text[0]);
		return 0;
	}
	fl_json_write(&b, j);
	CHECK(fl_json_parse(&a, b.data, b.len, NULL, &back, NULL) == 0 && fl_json_equal(j, back));
	b.len = 0;
	fl_yaml_write(&b, j);
	if (fl_yaml_parse(&a, b.data, b.len, NULL, &back, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	CHECK(fl_json_equal(j, back));
	return 0;
}
