// SPDX-License-Identifier: Apache-2.0
// Equality in value: member order, kinds of numbers, size.
#include "json_test.h"

#include "base/mem.h"

static bool equal(const char *a, const char *b)
{
	struct fl_json *x = parse(a), *y = parse(b);
	bool e = fl_json_equal(x, y);
	assert_int_equal(e, fl_json_equal(y, x));
	assert_true(fl_json_equal(x, x));
	assert_true(fl_json_equal(x, fl_json_clone(&arena, x)));
	return e;
}

static void scalars(void **state)
{
	assert_true(equal("null", "null"));
	assert_true(equal("true", "true"));
	assert_false(equal("true", "false"));
	assert_false(equal("null", "false"));
	assert_false(equal("0", "false"));
	assert_false(equal("\"\"", "null"));
	assert_true(equal("\"a\"", "\"\\u0061\""));
	assert_false(equal("\"a\\u0000b\"", "\"a\\u0000c\""));
	assert_false(equal("\"a\"", "\"ab\""));
	assert_false(equal("\"1\"", "1"));
}

static void numbers(void **state)
{
	assert_true(equal("1", "1.0"));
	assert_true(equal("100", "1e2"));
	assert_true(equal("0", "-0.0"));
	assert_false(equal("1", "1.5"));
	assert_false(equal("1", "2"));
	assert_true(equal("9007199254740992", "9007199254740992.0"));
	assert_false(equal("9007199254740993", "9007199254740992.0"));
	assert_false(equal("9223372036854775807", "9223372036854775808"));
	assert_true(equal("-9223372036854775808", "-9223372036854775808.0"));
	assert_false(equal("1", "1e300"));
}

static void containers(void **state)
{
	assert_true(equal("{}", "{}"));
	assert_false(equal("{}", "[]"));
	assert_true(equal("[1,[2,{}]]", "[1,[2,{}]]"));
	assert_false(equal("[1,2]", "[2,1]"));
	assert_false(equal("[1]", "[1,1]"));
	assert_true(equal("{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}"));
	assert_true(equal("{\"x\":0,\"a\":1,\"b\":{\"c\":1,\"d\":2}}", "{\"x\":0,\"b\":{\"d\":2,\"c\":1},\"a\":1}"));
	assert_false(equal("{\"a\":1,\"b\":2}", "{\"a\":1,\"c\":2}"));
	assert_false(equal("{\"a\":1,\"b\":2}", "{\"b\":1,\"a\":2}"));
	assert_false(equal("{\"a\":1}", "{\"a\":1,\"b\":2}"));
	assert_false(equal("{\"a\":null}", "{\"b\":null}"));
}

static void null_pointers(void **state)
{
	assert_true(fl_json_equal(NULL, NULL));
	assert_false(fl_json_equal(NULL, parse("null")));
	assert_false(fl_json_equal(parse("null"), NULL));
}

// Reversed order is the worst case of a search by name; 200,000 members compared in pairs would not end.
static void large_objects_in_another_order(void **state)
{
	for (int n = 1; n <= 200000; n = n < 70 ? n + 1 : n * 50) {
		AUTO(fl_buf_deinit) struct fl_buf a = {0}, b = {0}, c = {0};
		for (int i = 0; i < n; i++) {
			fl_buf_printf(&a, "%s\"%d\":%d", i ? "," : "{", i, i);
			fl_buf_printf(&b, "%s\"%d\":%d", i ? "," : "{", n - 1 - i, n - 1 - i);
			fl_buf_printf(&c, "%s\"%d\":%d", i ? "," : "{", n - 1 - i, i == n / 2 ? -1 : n - 1 - i);
		}
		fl_buf_putc(&a, '}');
		fl_buf_putc(&b, '}');
		fl_buf_putc(&c, '}');
		assert_true(equal(a.data, b.data));
		assert_false(equal(a.data, c.data));
		fl_arena_reset(&arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(scalars), TEST(numbers), TEST(containers), TEST(null_pointers), TEST(large_objects_in_another_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
