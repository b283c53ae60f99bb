// SPDX-License-Identifier: Apache-2.0
// Tables for `kubectl get`: columns from the kind's document, cells from its hook or, where it has none, the name and
// the age. Durations are worded as apimachinery's duration.HumanDuration words them.
#include "api/table.h"

#include <assert.h>
#include <inttypes.h>

#include "base/clock.h"
#include "base/str.h"

#define NS_PER_S INT64_C(1000000000)

static void add_columns(struct fl_arena *a, struct fl_json *table, const struct fl_kind *k)
{
	struct fl_json *columns = fl_json_set_array(a, table, "columnDefinitions");

	for (unsigned i = 0; i < k->n_columns; i++) {
		const struct fl_column *c = &k->columns[i];
		struct fl_json *def = fl_json_append(columns, fl_json_new(a, FL_JSON_OBJECT));
		fl_json_set_str(a, def, "name", c->name);
		fl_json_set_str(a, def, "type", c->type);
		fl_json_set_str(a, def, "format", c->format ? c->format : "");
		fl_json_set_str(a, def, "description", c->description ? c->description : "");
		fl_json_set_int(a, def, "priority", c->priority);
	}
}

struct fl_json *fl_table_new(struct fl_arena *a, const struct fl_kind *k, bool with_columns)
{
	struct fl_json *table = fl_json_new(a, FL_JSON_OBJECT);

	fl_json_set_str(a, table, "kind", "Table");
	fl_json_set_str(a, table, "apiVersion", "meta.k8s.io/v1");
	fl_json_set_object(a, table, "metadata");
	if (with_columns)
		add_columns(a, table, k);
	else
		fl_json_set(a, table, "columnDefinitions", fl_json_new(a, FL_JSON_NULL));
	fl_json_set_array(a, table, "rows");
	return table;
}

static void default_row(struct fl_arena *a, const struct fl_kind *k, const struct fl_json *obj, int64_t now_ns,
			struct fl_json *cells)
{
	const struct fl_json *meta = fl_json_get(obj, "metadata");

	for (unsigned i = 0; i < k->n_columns; i++) {
		const struct fl_column *c = &k->columns[i];
		struct fl_json *cell;
		if (fl_streq(c->format, "name"))
			cell = fl_json_new_str(a, fl_json_str_or(meta, "name", ""));
		else if (fl_streq(c->name, "Age"))
			cell = fl_json_new_str(a, fl_human_age(a, fl_json_str(meta, "creationTimestamp"), now_ns));
		else if (fl_streq(c->name, "Created At"))
			cell = fl_json_new_str(a, fl_json_str_or(meta, "creationTimestamp", ""));
		else
			cell = fl_json_new(a, FL_JSON_NULL); // kubectl shows <none>
		fl_json_append(cells, cell);
	}
}

void fl_table_add(struct fl_arena *a, struct fl_json *table, const struct fl_kind *k, struct fl_json *obj,
		  enum fl_table_include include, int64_t now_ns)
{
	struct fl_json *row = fl_json_append(fl_json_get(table, "rows"), fl_json_new(a, FL_JSON_OBJECT));
	struct fl_json *cells = fl_json_set_array(a, row, "cells"), *partial, *meta;

	if (k->hooks->table_row)
		k->hooks->table_row(a, obj, now_ns, cells);
	else
		default_row(a, k, obj, now_ns, cells);
	assert(fl_json_count(cells) == k->n_columns);
	switch (include) {
	case FL_TABLE_OBJECT:
		fl_json_set(a, row, "object", obj);
		break;
	case FL_TABLE_METADATA:
		partial = fl_json_set_object(a, row, "object");
		fl_json_set_str(a, partial, "kind", "PartialObjectMetadata");
		fl_json_set_str(a, partial, "apiVersion", "meta.k8s.io/v1");
		meta = fl_json_get(obj, "metadata");
		if (meta) {
			fl_json_remove_child(obj, meta);
			fl_json_set(a, partial, "metadata", meta);
		}
		break;
	case FL_TABLE_NONE:
		fl_json_set(a, row, "object", fl_json_new(a, FL_JSON_NULL));
		break;
	}
}

// "<major><unit>" with "<minor><unit>" behind it unless that is zero.
static const char *two(struct fl_arena *a, int64_t major, const char *major_unit, int64_t minor, const char *minor_unit)
{
	return minor ? fl_arena_printf(a, "%" PRId64 "%s%" PRId64 "%s", major, major_unit, minor, minor_unit)
		     : fl_arena_printf(a, "%" PRId64 "%s", major, major_unit);
}

const char *fl_human_duration(struct fl_arena *a, int64_t ns)
{
	int64_t seconds = ns / NS_PER_S, minutes = seconds / 60, hours = minutes / 60, days = hours / 24;

	// Clocks of two machines may differ a little: that much of the future is now.
	if (seconds < -1)
		return "<invalid>";
	if (seconds < 0)
		return "0s";
	if (seconds < 2 * 60)
		return two(a, seconds, "s", 0, "");
	if (minutes < 10)
		return two(a, minutes, "m", seconds % 60, "s");
	if (minutes < 3 * 60)
		return two(a, minutes, "m", 0, "");
	if (hours < 8)
		return two(a, hours, "h", minutes % 60, "m");
	if (hours < 48)
		return two(a, hours, "h", 0, "");
	if (days < 8)
		return two(a, days, "d", hours % 24, "h");
	if (days < 2 * 365)
		return two(a, days, "d", 0, "");
	if (days < 8 * 365)
		return two(a, days / 365, "y", days % 365, "d");
	return two(a, days / 365, "y", 0, "");
}

const char *fl_human_age(struct fl_arena *a, const char *rfc3339, int64_t now_ns)
{
	int64_t then_ns, age_ns;

	if (fl_str_empty(rfc3339) || !fl_time_parse(rfc3339, &then_ns))
		return "<unknown>";
	if (__builtin_sub_overflow(now_ns, then_ns, &age_ns))
		age_ns = INT64_MAX; // Go's time.Since saturates too
	return fl_human_duration(a, age_ns);
}
