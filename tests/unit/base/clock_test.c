// SPDX-License-Identifier: Apache-2.0
// RFC 3339 in and out, over four centuries, against the C library's calendar.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

#define NS INT64_C(1000000000)

static void formats(void **state)
{
	char buf[FL_TIME_STRLEN];
	assert_string_equal(fl_time_format(0, buf), "1970-01-01T00:00:00Z");
	assert_string_equal(fl_time_format(-1, buf), "1969-12-31T23:59:59Z");
	assert_string_equal(fl_time_format(INT64_C(1709210096999999999), buf), "2024-02-29T12:34:56Z");
	assert_string_equal(fl_time_format_micro(INT64_C(1709210096123456789), buf), "2024-02-29T12:34:56.123456Z");
	assert_string_equal(fl_time_format_micro(0, buf), "1970-01-01T00:00:00.000000Z");
	assert_string_equal(fl_time_format_micro(-1000, buf), "1969-12-31T23:59:59.999999Z");
}

static void agrees_with_libc(void **state)
{
	char ours[FL_TIME_STRLEN], theirs[FL_TIME_STRLEN];
	for (int64_t s = -9 * NS; s < 9 * NS; s += 86399 * 7 + 13) {
		time_t t = (time_t)s;
		struct tm tm;
		gmtime_r(&t, &tm);
		strftime(theirs, sizeof(theirs), "%Y-%m-%dT%H:%M:%SZ", &tm);
		assert_string_equal(fl_time_format(s * NS, ours), theirs);
		int64_t back;
		assert_true(fl_time_parse(ours, &back));
		assert_int_equal(back, s * NS);
	}
}

static void parses(void **state)
{
	static const struct {
		const char *text;
		int64_t ns;
	} cases[] = {
	    {"1970-01-01T00:00:00Z", 0},
	    {"1970-01-01T00:00:00+00:00", 0},
	    {"1970-01-01T02:00:00+02:00", 0},
	    {"1969-12-31T18:30:00-05:30", 0},
	    {"1970-01-01T00:00:00.5Z", NS / 2},
	    {"1970-01-01T00:00:01.000000001Z", NS + 1},
	    {"1970-01-01T00:00:00.1234567899Z", 123456789},
	    {"2000-02-29T00:00:00Z", 951782400 * NS},
	    {"2262-04-11T23:47:16.854775807Z", INT64_MAX},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		int64_t ns = -7;
		if (!fl_time_parse(cases[i].text, &ns))
			fail_msg("refused %s", cases[i].text);
		assert_int_equal(ns, cases[i].ns);
	}
}

static void refuses(void **state)
{
	static const char *const bad[] = {
	    "",
	    "2024",
	    "2024-01-01",
	    "2024-01-01T00:00:00",
	    "2024-01-01t00:00:00Z",
	    "2024-01-01 00:00:00Z",
	    "2024-01-01T00:00:00z",
	    "2024-1-01T00:00:00Z",
	    "2024-13-01T00:00:00Z",
	    "2024-00-01T00:00:00Z",
	    "2024-01-00T00:00:00Z",
	    "2024-04-31T00:00:00Z",
	    "2023-02-29T00:00:00Z",
	    "1900-02-29T00:00:00Z",
	    "2024-01-01T24:00:00Z",
	    "2024-01-01T00:60:00Z",
	    "2024-01-01T00:00:60Z",
	    "2024-01-01T00:00:00.Z",
	    "2024-01-01T00:00:00+0200",
	    "2024-01-01T00:00:00+02",
	    "2024-01-01T00:00:00+25:00",
	    "2024-01-01T00:00:00ZZ",
	    "-024-01-01T00:00:00Z",
	    "0001-01-01T00:00:00Z", // outside what nanoseconds can say
	    "9999-12-31T23:59:59Z",
	    "2262-04-11T23:47:16.854775808Z",
	};
	int64_t ns = 42;
	for (size_t i = 0; i < FL_COUNT(bad); i++) {
		if (fl_time_parse(bad[i], &ns))
			fail_msg("took '%s'", bad[i]);
		assert_int_equal(ns, 42);
	}
}

static void clocks_run_forward(void **state)
{
	uint64_t ms = fl_mono_ms(), ns = fl_mono_ns();
	assert_true(ns / 1000000 >= ms);
	assert_true(fl_mono_ns() >= ns);
	int64_t before = (int64_t)time(NULL) - 1, real = fl_real_ns() / NS;
	assert_true(real >= before && real <= (int64_t)time(NULL) + 1);
	char buf[FL_TIME_STRLEN];
	int64_t now;
	assert_true(fl_time_parse(fl_time_now(buf), &now));
	assert_true(now / NS >= before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(formats), cmocka_unit_test(agrees_with_libc),   cmocka_unit_test(parses),
	    cmocka_unit_test(refuses), cmocka_unit_test(clocks_run_forward),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
