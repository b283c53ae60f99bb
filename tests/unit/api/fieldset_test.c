// SPDX-License-Identifier: Apache-2.0
#include "api/apply/fieldset.h"

#include <errno.h>

#include "api_test.h"

static struct fl_fieldset set(const char *text)
{
	struct fl_fieldset s;
	struct fl_err err = {0};

	if (fl_fieldset_from_json(&arena, parse(text), &s, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return s;
}

static const char *text_of_set(struct fl_fieldset s)
{
	return text_of(fl_fieldset_to_json(&arena, &s));
}

#define X "{\"f:a\":{\".\":{},\"f:x\":{},\"f:y\":{}},\"f:b\":{}}"
#define Y "{\"f:a\":{\"f:x\":{}},\"f:c\":{}}"

static void operations(void **state)
{
	struct fl_fieldset x = set(X), y = set(Y), none = {0};

	assert_string_equal(text_of_set(fl_fieldset_union(&arena, &x, &y)),
			    "{\"f:a\":{\".\":{},\"f:x\":{},\"f:y\":{}},\"f:b\":{},\"f:c\":{}}");
	assert_string_equal(text_of_set(fl_fieldset_intersection(&arena, &x, &y)), "{\"f:a\":{\"f:x\":{}}}");
	assert_string_equal(text_of_set(fl_fieldset_difference(&arena, &x, &y)),
			    "{\"f:a\":{\".\":{},\"f:y\":{}},\"f:b\":{}}");
	assert_string_equal(text_of_set(fl_fieldset_difference(&arena, &y, &x)), "{\"f:c\":{}}");
	assert_string_equal(text_of_set(fl_fieldset_union(&arena, &none, &y)), text_of_set(y));
	assert_true(fl_fieldset_is_empty(&(struct fl_fieldset){0}));
	none = fl_fieldset_intersection(&arena, &x, &none);
	assert_true(fl_fieldset_is_empty(&none));
}

// A difference takes paths, pruning takes what is below them too.
static void difference_and_prune(void **state)
{
	struct fl_fieldset x = set(X), a = set("{\"f:a\":{}}");

	assert_string_equal(text_of_set(fl_fieldset_difference(&arena, &x, &a)),
			    "{\"f:a\":{\"f:x\":{},\"f:y\":{}},\"f:b\":{}}");
	assert_string_equal(text_of_set(fl_fieldset_prune(&arena, &x, &a)), "{\"f:b\":{}}");
}

static void operands_stay(void **state)
{
	struct fl_fieldset x = set(X), y = set(Y), u = fl_fieldset_union(&arena, &x, &y);

	(void)fl_fieldset_difference(&arena, &u, &x);
	assert_string_equal(text_of_set(x), X);
	assert_string_equal(text_of_set(y), Y);
}

static void named_twice(void **state)
{
	struct fl_fieldset s = {0}, kids = set("{\"f:x\":{}}");

	fl_fieldset_add(&arena, &s, "f:b", 3, true, (struct fl_fieldset){0});
	fl_fieldset_add(&arena, &s, "f:a", 3, false, kids);
	fl_fieldset_add(&arena, &s, "f:a", 3, true, set("{\"f:y\":{}}"));
	fl_fieldset_add(&arena, &s, "f:nothing", 9, false, (struct fl_fieldset){0});
	fl_fieldset_finish(&arena, &s);
	assert_string_equal(text_of_set(s), X);
	assert_true(fl_fieldset_find(&s, "f:a", 3)->member);
	assert_null(fl_fieldset_find(&s, "f:nothing", 9));
}

static void append_line(void *arg, const char *path)
{
	fl_buf_printf(arg, "%s\n", path);
}

static void paths(void **state)
{
	struct fl_fieldset s = set("{\"f:m\":{\"f:fin\":{\"v:\\\"a.b/c\\\"\":{}}},\"f:p\":{\"k:{\\\"port\\\":80,"
				   "\\\"protocol\\\":\\\"TCP\\\"}\":{\".\":{},\"f:name\":{}}},\"i:3\":{}}");
	struct fl_buf b = {0};

	fl_fieldset_paths(&arena, &s, append_line, &b);
	assert_string_equal(b.data, ".m.fin[=\"a.b/c\"]\n.p[port=80,protocol=\"TCP\"]\n"
				    ".p[port=80,protocol=\"TCP\"].name\n[3]\n");
	fl_buf_deinit(&b);
}

static void broken(void **state)
{
	static const char *const texts[] = {"[]", "{\"a\":{}}", "{\"f:a\":1}", "{\"f:a\":{\"x:b\":{}}}", "{\"f\":{}}"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct fl_fieldset s = {0};

		assert_int_equal(fl_fieldset_from_json(&arena, parse(texts[i]), &s, NULL), -EINVAL);
		assert_true(fl_fieldset_is_empty(&s));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(operations), TEST(difference_and_prune), TEST(operands_stay), TEST(named_twice), TEST(paths),
	    TEST(broken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
