// SPDX-License-Identifier: Apache-2.0
// The byte buffer and the string helpers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

static void empty_buffer_is_valid(void **state)
{
	struct fl_buf b = {0};
	fl_buf_consume(&b, 5);
	fl_buf_deinit(&b);
	AUTO_FREE char *s = fl_buf_take(&b);
	assert_string_equal(s, "");
	fl_buf_append(&b, NULL, 0);
	assert_string_equal(b.data, "");
	fl_buf_deinit(&b);
}

static void appends_and_terminates(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	for (int i = 0; i < 1000; i++) {
		fl_buf_putc(&b, (char)('a' + i % 26));
		assert_int_equal(b.data[b.len], '\0');
	}
	fl_buf_puts(&b, "end");
	fl_buf_append(&b, "\0z", 2);
	assert_int_equal(b.len, 1005);
	assert_memory_equal(b.data + 1000, "end\0z", 6);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(b.data[i], 'a' + i % 26);
}

static void prints_at_every_fill_level(void **state)
{
	for (int fill = 0; fill < 200; fill++) {
		AUTO(fl_buf_deinit) struct fl_buf b = {0};
		for (int i = 0; i < fill; i++)
			fl_buf_putc(&b, '.');
		fl_buf_printf(&b, "%0*d", fill, 7);
		fl_buf_printf(&b, "%s", "");
		size_t want = (size_t)fill + (fill ? (size_t)fill : 1);
		assert_int_equal(b.len, want);
		assert_int_equal(strlen(b.data), want);
		assert_int_equal(b.data[b.len - 1], '7');
	}
}

static void consumes_from_the_front(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_buf_puts(&b, "abcdef");
	fl_buf_consume(&b, 2);
	assert_string_equal(b.data, "cdef");
	fl_buf_consume(&b, 0);
	assert_int_equal(b.len, 4);
	fl_buf_consume(&b, 99);
	assert_int_equal(b.len, 0);
	assert_string_equal(b.data, "");
}

static void take_hands_over(void **state)
{
	struct fl_buf b = {0};
	fl_buf_puts(&b, "x");
	AUTO_FREE char *s = fl_buf_take(&b);
	assert_string_equal(s, "x");
	assert_null(b.data);
	assert_int_equal(b.len + b.cap, 0);
}

static void reserve_keeps_content(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_buf_puts(&b, "keep");
	fl_buf_reserve(&b, 100000);
	assert_true(b.cap > 100004);
	assert_string_equal(b.data, "keep");
}

static void comparisons(void **state)
{
	assert_true(fl_streq(NULL, NULL));
	assert_false(fl_streq(NULL, ""));
	assert_false(fl_streq("", NULL));
	assert_true(fl_streq("a", "a"));
	assert_false(fl_streq("a", "b"));
	assert_true(fl_starts_with("abc", "ab"));
	assert_true(fl_starts_with("abc", ""));
	assert_false(fl_starts_with("ab", "abc"));
	assert_true(fl_ends_with("abc", "bc"));
	assert_true(fl_ends_with("abc", ""));
	assert_false(fl_ends_with("bc", "abc"));
	assert_true(fl_str_empty(NULL));
	assert_true(fl_str_empty(""));
	assert_false(fl_str_empty(" "));
}

static void numbers(void **state)
{
	static const struct {
		const char *text;
		unsigned long long value;
	} good[] = {{"0", 0}, {"007", 7}, {"18446744073709551615", ~0ULL}};
	static const char *const bad[] = {
	    "", " 1", "1 ", "+1", "-1", "0x1", "1.0", "18446744073709551616", "99999999999999999999999"};
	unsigned long long v;
	for (size_t i = 0; i < FL_COUNT(good); i++) {
		assert_true(fl_parse_u64(good[i].text, &v));
		assert_true(v == good[i].value);
	}
	v = 5;
	for (size_t i = 0; i < FL_COUNT(bad); i++) {
		assert_false(fl_parse_u64(bad[i], &v));
		assert_true(v == 5);
	}
}

__attribute__((format(printf, 1, 2))) static void check_format(const char *fmt, ...)
{
	char got[64], want[64];
	va_list ap;

	for (size_t cap = 0; cap <= sizeof(got); cap++) {
		memset(got, '#', sizeof(got));
		memset(want, '#', sizeof(want));
		va_start(ap, fmt);
		int n = vsnprintf(want, cap, fmt, ap);
		va_end(ap);
		va_start(ap, fmt);
		assert_int_equal(fl_vformat(got, cap, fmt, ap), n);
		va_end(ap);
		if (cap)
			assert_string_equal(got, want);
		for (size_t i = cap; i < sizeof(got); i++)
			assert_int_equal(got[i], '#');
	}
}

// Ours or the C library's, whoever formats: the same text, cut at the same place.
static void formats_as_vsnprintf(void **state)
{
	char digits[FL_U64_STRLEN];

	check_format("plain");
	check_format("%s", "");
	check_format("a[%zu].%s=%d/%u", (size_t)7, "name", -12, 34u);
	check_format("%c%s%c", '[', "x", ']');
	check_format("%d %d %u", INT32_MIN, INT32_MAX, UINT32_MAX);
	check_format("%ld %lu %lld", LONG_MIN, ULONG_MAX, LLONG_MIN);
	check_format("%llu|%zu", ULLONG_MAX, (size_t)0);
	check_format("%s 100%% %05d %.3s %x", "before", 42, "cut off", 255);
	check_format("%s%-5s|", "flags", "a");
	assert_int_equal(fl_format_u64(digits, 0), 1);
	assert_string_equal(digits, "0");
	assert_int_equal(fl_format_u64(digits, UINT64_MAX), 20);
	assert_string_equal(digits, "18446744073709551615");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(empty_buffer_is_valid),
	    cmocka_unit_test(appends_and_terminates),
	    cmocka_unit_test(prints_at_every_fill_level),
	    cmocka_unit_test(formats_as_vsnprintf),
	    cmocka_unit_test(consumes_from_the_front),
	    cmocka_unit_test(take_hands_over),
	    cmocka_unit_test(reserve_keeps_content),
	    cmocka_unit_test(comparisons),
	    cmocka_unit_test(numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
