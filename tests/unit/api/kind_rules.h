// SPDX-License-Identifier: Apache-2.0
// For the tests of one kind's rules: a write from text to causes, and the row of a table.
#pragma once

#include "api_test.h"

#include "api/kind.h"
#include "base/mem.h"

struct result {
	struct fl_json *obj;
	struct fl_causes early, causes;
};

static inline const struct fl_kind *kind_of(const char *api_version, const char *kind)
{
	const struct fl_kind *k = fl_kind_by_kind(fl_registry_builtin(), api_version, kind);

	assert_non_null(k);
	return k;
}

// As a handler does it, without allocation.
static inline struct result write_of(const struct fl_kind *k, const char *text, const struct fl_json *old,
				     const char *subresource)
{
	struct result r = {.obj = parse(text), .early = {.arena = &arena}, .causes = {.arena = &arena}};
	struct fl_err err = {0};

	if (fl_schema_decode(fl_kind_schema(k), &arena, r.obj, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	fl_schema_prune(fl_kind_schema(k), r.obj, NULL, NULL);
	fl_kind_prepare(k, &arena, r.obj, old, subresource);
	check_links(r.obj);
	fl_kind_precheck(k, &r.early, r.obj, old, subresource);
	fl_kind_validate(k, &r.causes, r.obj, old, subresource);
	return r;
}

// "field: message" of each cause, one a line.
static inline const char *said(const struct fl_causes *c)
{
	struct fl_buf b = {0};
	char *s;

	for (unsigned i = 0; i < c->n; i++)
		fl_buf_printf(&b, "%s%s: %s", i ? "\n" : "", c->v[i].field, c->v[i].message);
	s = fl_arena_strndup(&arena, b.data ? b.data : "", b.len);
	fl_buf_deinit(&b);
	return s;
}

#define NOW_NS 1800000000000000000 // 2027-01-15T08:00:00Z

static inline const char *row_of(const struct fl_kind *k, const char *text)
{
	struct fl_json *cells = parse("[]");

	k->hooks->table_row(&arena, parse(text), NOW_NS, cells);
	return text_of(cells);
}
