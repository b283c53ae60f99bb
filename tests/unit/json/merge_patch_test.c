// SPDX-License-Identifier: Apache-2.0
// JSON Merge Patch: appendix A of RFC 7386, order, sharing, size.
#include "json_test.h"

#include "base/mem.h"
#include "json/patch.h"

static void examples_of_the_rfc(void **state)
{
	static const char *const cases[][3] = {
	    {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
	    {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
	    {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
	    {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
	    {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
	    {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
	    {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
	    {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
	    {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
	    {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
	    {"{\"a\":\"foo\"}", "null", "null"},
	    {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
	    {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
	    {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
	    {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct fl_json *j = fl_json_merge_patch(&arena, parse(cases[i][0]), parse(cases[i][1]));
		assert_json(j, cases[i][2]);
		check_links(j);
	}
}

static void order_of_the_target_is_kept(void **state)
{
	struct fl_json *target = parse("{\"a\":1,\"b\":{\"x\":1},\"c\":3}");
	struct fl_json *j = fl_json_merge_patch(&arena, target, parse("{\"d\":4,\"c\":30,\"b\":{\"y\":2},\"a\":[]}"));
	assert_ptr_equal(j, target);
	assert_json(j, "{\"a\":[],\"b\":{\"x\":1,\"y\":2},\"c\":30,\"d\":4}");
}

static void no_target(void **state)
{
	assert_json(fl_json_merge_patch(&arena, NULL, parse("{\"a\":{\"b\":null,\"c\":1}}")), "{\"a\":{\"c\":1}}");
	assert_json(fl_json_merge_patch(&arena, NULL, parse("5")), "5");
}

static void the_patch_is_not_used_up(void **state)
{
	struct fl_json *patch = parse("{\"a\":{\"b\":[1]},\"c\":\"x\",\"d\":null}");
	char *before = text_of(patch);
	struct fl_json *one = fl_json_merge_patch(&arena, parse("{}"), patch);
	fl_json_append(fl_json_path(one, "a", "b", NULL), fl_json_new_int(&arena, 2));
	struct fl_json *two = fl_json_merge_patch(&arena, parse("{\"d\":1}"), patch);
	assert_json(one, "{\"a\":{\"b\":[1,2]},\"c\":\"x\"}");
	assert_json(two, "{\"a\":{\"b\":[1]},\"c\":\"x\"}");
	assert_json(patch, before);
}

// Around and far beyond the size where an index takes over: a third removed, a third changed, a third added.
static void objects_of_any_size(void **state)
{
	for (int n = 1; n <= 150000; n = n < 120 ? n + 1 : n * 40) {
		AUTO(fl_buf_deinit) struct fl_buf target = {0}, patch = {0};
		for (int i = 0; i < n; i++) {
			fl_buf_printf(&target, "%s\"%d\":%d", i ? "," : "{", i, i);
			const char *value = i % 3 == 0 ? "null" : i % 3 == 1 ? "{\"n\":null,\"v\":1}" : "\"s\"";
			fl_buf_printf(&patch, "%s\"%d\":%s", i ? "," : "{", i % 3 == 2 ? i + n : i, value);
		}
		fl_buf_putc(&target, '}');
		fl_buf_putc(&patch, '}');
		struct fl_json *j = fl_json_merge_patch(&arena, parse(target.data), parse(patch.data));
		check_links(j);
		int removed = (n + 2) / 3, changed = (n + 1) / 3, added = n / 3, seen[4] = {0};
		assert_int_equal(j->kids.count, n - removed + added);
		fl_json_each (m, j)
			seen[m->type == FL_JSON_INT      ? 0
			     : m->type == FL_JSON_OBJECT ? 1
			     : m->type == FL_JSON_STRING ? 2
							 : 3]++;
		assert_int_equal(seen[0], n - removed - changed);
		assert_int_equal(seen[1], changed);
		assert_int_equal(seen[2], added);
		fl_arena_reset(&arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(examples_of_the_rfc),      TEST(order_of_the_target_is_kept), TEST(no_target),
	    TEST(the_patch_is_not_used_up), TEST(objects_of_any_size),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
