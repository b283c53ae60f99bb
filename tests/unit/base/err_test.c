// SPDX-License-Identifier: Apache-2.0
// Error texts: codes, replacement, prefixes, cutting.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/err.h"

static void code_is_made_negative(void **state)
{
	struct fl_err err = {0};
	assert_int_equal(fl_err_set(&err, ENOENT, "no %s", "file"), -ENOENT);
	assert_int_equal(err.code, -ENOENT);
	assert_string_equal(err.text, "no file");
	assert_int_equal(fl_err_set(&err, -EINVAL, "newer"), -EINVAL);
	assert_string_equal(err.text, "newer");
}

static void no_place_for_the_text(void **state)
{
	assert_int_equal(fl_err_set(NULL, EINVAL, "x"), -EINVAL);
	assert_int_equal(fl_err_prefix(NULL, "x"), -EIO);
}

static void prefix_keeps_code_and_text(void **state)
{
	struct fl_err err = {0};
	fl_err_set(&err, -EACCES, "permission denied");
	assert_int_equal(fl_err_prefix(&err, "reading %s", "/etc/x"), -EACCES);
	assert_string_equal(err.text, "reading /etc/x: permission denied");
}

static void arguments_may_point_into_the_text(void **state)
{
	struct fl_err err = {0};
	fl_err_set(&err, -EIO, "inner");
	fl_err_set(&err, -EIO, "outer: %s!", err.text);
	assert_string_equal(err.text, "outer: inner!");
	fl_err_prefix(&err, "%s", err.text);
	assert_string_equal(err.text, "outer: inner!: outer: inner!");
}

static void long_texts_are_cut_between_characters(void **state)
{
	struct fl_err err = {0};
	char text[3000];
	for (int shift = 0; shift < 4; shift++) {
		memset(text, 'a', (size_t)shift);
		for (size_t i = (size_t)shift; i + 2 < sizeof(text); i += 2)
			memcpy(text + i, "\xc3\xa9", 2);
		text[sizeof(text) - 4] = '\0';
		fl_err_set(&err, -EIO, "%s", text);
		size_t n = strlen(err.text);
		assert_in_range(n, sizeof(err.text) - 3, sizeof(err.text) - 1);
		assert_int_equal((n - (size_t)shift) % 2, 0);
		assert_memory_equal(err.text, text, n);
		fl_err_prefix(&err, "%s", text);
		assert_true(strlen(err.text) < sizeof(err.text));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(code_is_made_negative),
	    cmocka_unit_test(no_place_for_the_text),
	    cmocka_unit_test(prefix_keeps_code_and_text),
	    cmocka_unit_test(arguments_may_point_into_the_text),
	    cmocka_unit_test(long_texts_are_cut_between_characters),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
