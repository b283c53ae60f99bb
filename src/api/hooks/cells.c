// SPDX-License-Identifier: Apache-2.0
// Formatting shared by the tables of all kinds.
#include "api/hooks/cells.h"

#include <stdlib.h>

#include "api/table.h"
#include "base/mem.h"
#include "base/str.h"

void fl_cell_string(struct fl_arena *a, struct fl_json *cells, const char *s)
{
	fl_json_append(cells, fl_json_new_str(a, s ? s : ""));
}

void fl_cell_int(struct fl_arena *a, struct fl_json *cells, int64_t i)
{
	fl_json_append(cells, fl_json_new_int(a, i));
}

void fl_cell_name(struct fl_arena *a, struct fl_json *cells, const struct fl_json *obj)
{
	fl_cell_string(a, cells, fl_json_str(fl_json_get(obj, "metadata"), "name"));
}

void fl_cell_age(struct fl_arena *a, struct fl_json *cells, const struct fl_json *obj, int64_t now_ns)
{
	const char *created = fl_json_str(fl_json_get(obj, "metadata"), "creationTimestamp");

	fl_cell_string(a, cells, fl_human_age(a, created, now_ns));
}

static int by_key(const void *x, const void *y)
{
	return strcmp((*(const struct fl_json *const *)x)->key, (*(const struct fl_json *const *)y)->key);
}

// Comma between what is already there and what follows.
static void separate(struct fl_buf *b)
{
	if (b->len)
		fl_buf_putc(b, ',');
}

static void write_labels(struct fl_buf *b, const struct fl_json *map)
{
	AUTO_FREE const struct fl_json **sorted = fl_calloc(fl_json_count(map) + 1, sizeof(*sorted));
	size_t n = 0;

	fl_json_each (l, map)
		sorted[n++] = l;
	qsort(sorted, n, sizeof(*sorted), by_key);
	for (size_t i = 0; i < n; i++) {
		separate(b);
		fl_buf_printf(b, "%s=%s", sorted[i]->key, fl_json_string(sorted[i]) ? sorted[i]->str.s : "");
	}
}

const char *fl_format_labels(struct fl_arena *a, const struct fl_json *map)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};

	write_labels(&b, map);
	return b.len ? fl_arena_strndup(a, b.data, b.len) : "<none>";
}

static int by_text(const void *x, const void *y)
{
	return strcmp(*(const char *const *)x, *(const char *const *)y);
}

static void write_requirement(struct fl_buf *b, const struct fl_json *r)
{
	const char *op = fl_json_str_or(r, "operator", ""), *key = fl_json_str_or(r, "key", "");
	const struct fl_json *values = fl_json_get(r, "values");
	AUTO_FREE const char **sorted = fl_calloc(fl_json_count(values) + 1, sizeof(*sorted));
	size_t n = 0;

	separate(b);
	if (fl_streq(op, "Exists") || fl_streq(op, "DoesNotExist")) {
		fl_buf_printf(b, "%s%s", fl_streq(op, "Exists") ? "" : "!", key);
		return;
	}
	fl_json_each (v, values)
		if (fl_json_string(v))
			sorted[n++] = fl_json_string(v);
	qsort(sorted, n, sizeof(*sorted), by_text);
	fl_buf_printf(b, "%s %s (", key, fl_streq(op, "In") ? "in" : "notin");
	for (size_t i = 0; i < n; i++)
		fl_buf_printf(b, "%s%s", i ? "," : "", sorted[i]);
	fl_buf_putc(b, ')');
}

const char *fl_format_selector(struct fl_arena *a, const struct fl_json *selector)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};

	write_labels(&b, fl_json_get(selector, "matchLabels"));
	fl_json_each (r, fl_json_get(selector, "matchExpressions"))
		write_requirement(&b, r);
	return b.len ? fl_arena_strndup(a, b.data, b.len) : "<none>";
}

const char *fl_join(struct fl_arena *a, const struct fl_json *array, const char *key)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};

	fl_json_each (e, array) {
		const char *s = key ? fl_json_str(e, key) : fl_json_string(e);

		if (!s)
			continue;
		separate(&b);
		fl_buf_puts(&b, s);
	}
	return b.len ? fl_arena_strndup(a, b.data, b.len) : "";
}
