// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: any JSON body goes through the rules of a kind (the first byte chooses it) as a write does: decode,
// prune, defaults, precheck, validation, table row, store form. Defaults of defaults change nothing, and neither does
// decoding what was decoded.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/kind.h"
#include "api/table.h"
#include "base/mem.h"
#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run_write(const struct fl_kind *k, struct fl_arena *a, struct fl_json *obj, const struct fl_json *old,
		      const char *subresource)
{
	struct fl_causes early = {.arena = a}, causes = {.arena = a};
	AUTO(fl_buf_deinit) struct fl_buf text = {0};
	struct fl_status st;

	fl_kind_prepare(k, a, obj, old, subresource);
	fl_kind_precheck(k, &early, obj, old, subresource);
	fl_kind_validate(k, &causes, obj, old, subresource);
	st = fl_status_invalid(a, k->group, k->kind, "x", &causes);
	fl_status_write(&text, &st);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_buf_deinit) struct fl_buf text = {0};
	struct fl_json *obj = NULL, *table, *again, *other;
	struct fl_err err = {0};
	unsigned n;
	const struct fl_kind *const *kinds = fl_registry_kinds(fl_registry_builtin(), &n), *k;
	long rv_at = -1;

	if (!size || fl_json_parse(&a, (const char *)data + 1, size - 1, NULL, &obj, &err) < 0)
		return 0;
	k = kinds[data[0] % n];
	if (fl_schema_decode(fl_kind_schema(k), &a, obj, &err) < 0) {
		CHECK(err.text[0]);
		return 0;
	}
	again = fl_json_clone(&a, obj);
	CHECK(fl_schema_decode(fl_kind_schema(k), &a, again, &err) == 0);
	CHECK(fl_json_equal(obj, again));
	fl_schema_prune(fl_kind_schema(k), obj, NULL, NULL);
	other = fl_json_clone(&a, obj);
	run_write(k, &a, obj, NULL, NULL);
	again = fl_json_clone(&a, obj);
	fl_schema_default(fl_kind_schema(k), &a, again);
	CHECK(fl_json_equal(obj, again));

	table = fl_table_new(&a, k, true);
	fl_table_add(&a, table, k, obj, FL_TABLE_NONE, 1800000000000000000);
	fl_json_each (row, fl_json_get(table, "rows"))
		CHECK(fl_json_count(fl_json_get(row, "cells")) == k->n_columns);

	run_write(k, &a, other, obj, data[0] & 0x80 ? "status" : NULL);
	fl_object_serialize(&text, fl_kind_to_stored(k, &a, obj), &rv_at);
	CHECK(rv_at > 0 && (size_t)rv_at < text.len && text.data[rv_at] == '"');
	return 0;
}
