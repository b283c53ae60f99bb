// SPDX-License-Identifier: Apache-2.0
// Base64: the vectors of RFC 4648 section 10, and what Go's decoder refuses. Percent-encoding: RFC 3986.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/mem.h"
#include "base/rand.h"
#include "base/str.h"

static void base64_vectors(void **state)
{
	static const char *const cases[][2] = {
	    {"", ""},
	    {"f", "Zg=="},
	    {"fo", "Zm8="},
	    {"foo", "Zm9v"},
	    {"foob", "Zm9vYg=="},
	    {"fooba", "Zm9vYmE="},
	    {"foobar", "Zm9vYmFy"},
	    {"\xff\xfe\xfd", "//79"},
	    {"\xfb\xef\xbe", "++++"},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		AUTO(fl_buf_deinit) struct fl_buf b = {0}, back = {0};
		fl_base64_encode(&b, cases[i][0], strlen(cases[i][0]));
		assert_string_equal(b.data, cases[i][1]);
		assert_true(fl_base64_decode(&back, b.data, b.len));
		assert_string_equal(back.data, cases[i][0]);
	}
}

static void base64_round_trip(void **state)
{
	for (size_t n = 0; n < 300; n++) {
		unsigned char bytes[300];
		fl_random(bytes, n);
		AUTO(fl_buf_deinit) struct fl_buf b = {0}, back = {0};
		fl_buf_puts(&b, "x");
		fl_buf_puts(&back, "y");
		fl_base64_encode(&b, bytes, n);
		assert_true(fl_base64_decode(&back, b.data + 1, b.len - 1));
		assert_int_equal(back.len, n + 1);
		assert_memory_equal(back.data + 1, bytes, n);
	}
}

static void base64_skips_line_ends(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	assert_true(fl_base64_decode(&b, "Zm9v\r\nYmFy\n", 11));
	assert_string_equal(b.data, "foobar");
}

static void base64_refuses(void **state)
{
	static const char *const bad[] = {"Z",        "Zg",   "Zg=",   "Zm8",  "Zg===", "=",     "====",  "Zm9v=",
					  "Zg==Zg==", "Zm=9", "Zm 9v", "Zm9_", "Zm9-",  "Zm9v!", "Zg=\n", "Z\x80=="};
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_buf_puts(&b, "kept");
	for (size_t i = 0; i < FL_COUNT(bad); i++) {
		if (fl_base64_decode(&b, bad[i], strlen(bad[i])))
			fail_msg("took '%s'", bad[i]);
		assert_int_equal(b.len, 4);
		assert_string_equal(b.data, "kept");
	}
}

static void percent_decodes_in_place(void **state)
{
	char a[] = "a%2Fb%2fc+d%25";
	assert_true(fl_percent_decode(a, false));
	assert_string_equal(a, "a/b/c+d%");
	char b[] = "a+b%2B";
	assert_true(fl_percent_decode(b, true));
	assert_string_equal(b, "a b+");
	char c[] = "%C3%A9";
	assert_true(fl_percent_decode(c, false));
	assert_string_equal(c, "\xc3\xa9");
	char d[] = "";
	assert_true(fl_percent_decode(d, false));
}

static void percent_refuses_and_leaves_alone(void **state)
{
	static const char *const bad[] = {"%", "a%2", "%zz", "%00", "ok%20then%g0", "%%20", "x%0"};
	for (size_t i = 0; i < FL_COUNT(bad); i++) {
		char s[32];
		strcpy(s, bad[i]);
		assert_false(fl_percent_decode(s, true));
		assert_string_equal(s, bad[i]);
	}
}

static void percent_encodes_what_is_reserved(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_percent_encode(&b, "aZ09-._~ /?&=%+\xc3\xa9");
	assert_string_equal(b.data, "aZ09-._~%20%2F%3F%26%3D%25%2B%C3%A9");
	assert_true(fl_percent_decode(b.data, true));
	assert_string_equal(b.data, "aZ09-._~ /?&=%+\xc3\xa9");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(base64_vectors),
	    cmocka_unit_test(base64_round_trip),
	    cmocka_unit_test(base64_skips_line_ends),
	    cmocka_unit_test(base64_refuses),
	    cmocka_unit_test(percent_decodes_in_place),
	    cmocka_unit_test(percent_refuses_and_leaves_alone),
	    cmocka_unit_test(percent_encodes_what_is_reserved),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
