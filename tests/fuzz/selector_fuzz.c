// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: label and field selectors from a query string are parsed or refused with a text; what is parsed can
// be matched, and a selector that is everything matches anything.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/selector.h"
#include "base/mem.h"
#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_kind *pod = fl_kind_by_kind(fl_registry_builtin(), "v1", "Pod");
	const char *text = fl_arena_strndup(&a, (const char *)data, size);
	struct fl_selector *labels = NULL;
	struct fl_field_selector *fields = NULL;
	struct fl_err err = {0};
	struct fl_json *obj = fl_json_new(&a, FL_JSON_OBJECT);
	struct fl_json *meta = fl_json_set_object(&a, obj, "metadata");
	struct fl_json *map = fl_json_set_object(&a, meta, "labels");

	fl_json_set_str(&a, meta, "name", "a");
	fl_json_set_str(&a, map, "a", "b");
	fl_json_set_str(&a, map, "n", "5");
	int rc = fl_label_selector_parse(&a, text, &labels, &err);
	CHECK(rc == 0 || (err.code == rc && err.text[0]));
	if (rc == 0) {
		bool matched = fl_selector_matches(labels, map);
		CHECK(matched || !fl_selector_is_everything(labels));
		fl_selector_matches(labels, NULL);
	}
	err = (struct fl_err){0};
	rc = fl_field_selector_parse(&a, pod, text, &fields, &err);
	CHECK(rc == 0 || (err.code == rc && err.text[0]));
	if (rc == 0 && fl_field_selector_matches(&a, fields, obj)) {
		const char *name = fl_field_selector_name(fields);
		CHECK(!name || strcmp(name, "a") == 0);
	}
	return 0;
}
