// SPDX-License-Identifier: Apache-2.0
// Shared by the tests of src/json: an arena for the running test, documents as C strings, comparison as text.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "json/json.h"

static struct fl_arena arena;

static inline int drop_arena(void **state)
{
	fl_arena_deinit(&arena);
	return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, drop_arena)

static inline struct fl_json *parse(const char *text)
{
	struct fl_json *j = NULL;
	struct fl_err err = {0};
	if (fl_json_parse(&arena, text, strlen(text), NULL, &j, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return j;
}

// The compact text, in the arena.
static inline char *text_of(const struct fl_json *j)
{
	struct fl_buf b = {0};
	fl_json_write(&b, j);
	char *s = fl_arena_strndup(&arena, b.data, b.len);
	fl_buf_deinit(&b);
	return s;
}

#define assert_json(j, text) assert_string_equal(text_of(j), text)

// Checks what no text shows: the tail pointer, the count, names only in objects.
static inline void check_links(const struct fl_json *j)
{
	if (j->type < FL_JSON_ARRAY)
		return;
	uint32_t n = 0;
	const struct fl_json *last = NULL;
	for (const struct fl_json *k = j->kids.first; k; last = k, k = k->next, n++) {
		assert_int_equal(k->key != NULL, j->type == FL_JSON_OBJECT);
		assert_int_equal(k->key_len, k->key ? k->key_len : 0);
		check_links(k);
	}
	assert_int_equal(n, j->kids.count);
	assert_ptr_equal(last, j->kids.last);
}
