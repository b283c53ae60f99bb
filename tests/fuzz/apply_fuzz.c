// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: [live, next] as a Pod that is updated, and as one that is applied to by somebody who forces. What
// comes out is a document; applied once more it is the same but for who owns it; the operands stay as they were.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/apply/managed.h"
#include "base/mem.h"
#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_document(struct fl_arena *a, const struct fl_json *obj)
{
	AUTO(fl_buf_deinit) struct fl_buf text = {0};
	struct fl_json *back = NULL;

	fl_json_write(&text, obj);
	CHECK(fl_json_parse(a, text.data, text.len, NULL, &back, NULL) == 0);
	CHECK(fl_json_equal(obj, back));
}

static void update(const struct fl_kind *k, struct fl_arena *a, const struct fl_json *live, const struct fl_json *next)
{
	struct fl_writer w = {.manager = "one", .now = "2026-11-21T10:00:00Z"};
	struct fl_json *obj = fl_json_clone(a, next);

	fl_managed_update(k, a, obj, NULL, &w);
	check_document(a, obj);
	obj = fl_json_clone(a, next);
	fl_managed_update(k, a, obj, live, &w);
	fl_managed_keep_times(a, obj, live);
	check_document(a, obj);
}

static const struct fl_json *without_owners(struct fl_arena *a, const struct fl_json *obj)
{
	struct fl_json *copy = fl_json_clone(a, obj);

	fl_json_remove(fl_json_get(copy, "metadata"), "managedFields");
	return copy;
}

static struct fl_json *apply(const struct fl_kind *k, struct fl_arena *a, const struct fl_json *live,
			     const struct fl_json *patch)
{
	struct fl_writer w = {.manager = "kubectl", .now = "2026-11-21T10:00:00Z"};
	struct fl_causes causes = {.arena = a};
	struct fl_json *obj = NULL;
	struct fl_status st = {0};

	if (fl_managed_apply(k, a, patch, live, &w, true, &obj, &causes, &st)) {
		check_document(a, obj);
		return obj;
	}
	CHECK(st.code >= 400 && st.message);
	return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_kind *k = fl_kind_by_kind(fl_registry_builtin(), "v1", "Pod");
	struct fl_json *pair, *once, *twice;

	if (fl_json_parse(&a, (const char *)data, size, NULL, &pair, NULL) < 0 || fl_json_count(pair) != 2 ||
	    pair->type != FL_JSON_ARRAY)
		return 0;
	struct fl_json *live = fl_json_index(pair, 0), *next = fl_json_index(pair, 1);
	struct fl_json *before;
	if (live->type != FL_JSON_OBJECT || next->type != FL_JSON_OBJECT ||
	    fl_schema_decode(fl_kind_schema(k), &a, live, NULL) < 0)
		return 0;
	fl_schema_prune(fl_kind_schema(k), live, NULL, NULL);
	before = fl_json_clone(&a, pair);
	fl_json_set_str(&a, next, "kind", k->kind);
	fl_json_set_str(&a, next, "apiVersion", k->api_version);
	once = apply(k, &a, live, next);
	if (once) {
		twice = apply(k, &a, once, next);
		CHECK(twice && fl_json_equal(without_owners(&a, once), without_owners(&a, twice)));
	}
	(void)apply(k, &a, NULL, next);
	CHECK(fl_json_equal(live, fl_json_index(before, 0)));
	if (fl_schema_decode(fl_kind_schema(k), &a, next, NULL) == 0) {
		fl_schema_prune(fl_kind_schema(k), next, NULL, NULL);
		update(k, &a, live, next);
	}
	return 0;
}
