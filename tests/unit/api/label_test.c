// SPDX-License-Identifier: Apache-2.0
// Syntax of label keys and values, and the words for broken ones.
#include "api_test.h"

#include "api/label.h"

static const char *key_errors(const char *key)
{
	struct fl_buf b = {0};
	bool bad = fl_label_key_errors(key, &b);
	assert_int_equal(bad, b.len != 0);
	char *s = fl_arena_strndup(&arena, b.data ? b.data : "", b.len);
	fl_buf_deinit(&b);
	return s;
}

static char *repeat(char c, size_t n)
{
	char *s = fl_arena_zalloc(&arena, n + 1);
	memset(s, c, n);
	return s;
}

static void good_keys(void **state)
{
	static const char *const keys[] = {"a",         "app", "App_1.x-y", "kubernetes.io/name",
					   "a.b-c.d/e", "x/A", "0",         "a..b"};
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		assert_string_equal(key_errors(keys[i]), "");
	assert_string_equal(key_errors(repeat('a', 63)), "");
	assert_string_equal(key_errors(fl_arena_printf(&arena, "%s/b", repeat('a', 253))), "");
}

static void bad_keys(void **state)
{
	assert_non_null(strstr(key_errors(""), "name part must be non-empty; name part must consist of"));
	assert_string_equal(key_errors(repeat('a', 64)), "name part must be no more than 63 characters");
	assert_non_null(strstr(key_errors("a/b/c"), "a qualified name must consist of"));
	assert_non_null(strstr(key_errors("a/b/c"), "with an optional DNS subdomain prefix and '/'"));
	assert_string_equal(key_errors("/b"), "prefix part must be non-empty");
	assert_non_null(strstr(key_errors("A/b"), "prefix part a lowercase RFC 1123 subdomain"));
	assert_non_null(strstr(key_errors("a..b/b"), "prefix part a lowercase RFC 1123 subdomain"));
	assert_non_null(strstr(key_errors("a-/b"), "prefix part"));
	assert_non_null(strstr(key_errors("-a.b/b"), "prefix part"));
	assert_non_null(strstr(key_errors("a./b"), "prefix part"));
	assert_non_null(strstr(key_errors(".a/b"), "prefix part"));
	assert_string_equal(key_errors(fl_arena_printf(&arena, "%s/b", repeat('a', 254))),
			    "prefix part must be no more than 253 characters");
	assert_non_null(strstr(key_errors("a/"), "name part must be non-empty"));
	assert_non_null(strstr(key_errors("-a"), "name part must consist of"));
	assert_non_null(strstr(key_errors("a "), "name part must consist of"));
	assert_non_null(strstr(key_errors("\xc3\xa4"), "name part must consist of"));
}

static void values(void **state)
{
	assert_null(fl_label_value_error(""));
	assert_null(fl_label_value_error("a"));
	assert_null(fl_label_value_error("A-b_c.9"));
	assert_null(fl_label_value_error(repeat('x', 63)));
	assert_string_equal(fl_label_value_error(repeat('x', 64)), "must be no more than 63 characters");
	assert_non_null(strstr(fl_label_value_error("-a"), "a valid label must be an empty string or consist of"));
	assert_non_null(fl_label_value_error("a."));
	assert_non_null(fl_label_value_error("a b"));
	assert_non_null(fl_label_value_error("a/b"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(good_keys), TEST(bad_keys), TEST(values)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
