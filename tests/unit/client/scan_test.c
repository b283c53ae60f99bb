// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/scan.h"

static struct fl_span text(const char *s)
{
	return (struct fl_span){s, strlen(s)};
}

static void assert_span(struct fl_span s, const char *want)
{
	assert_non_null(s.p);
	assert_int_equal(s.n, strlen(want));
	assert_memory_equal(s.p, want, s.n);
}

static void finds_members(void **state)
{
	struct fl_span o =
	    text(" {\"a\":1, \"b\" : {\"x\":\"}\\\"]\",\"y\":[1,{\"z\":[]}]},\"c\":\"\\\\\",\n\"d\":null}");
	assert_span(fl_scan_member(o, "a"), "1");
	assert_span(fl_scan_member(o, "b"), "{\"x\":\"}\\\"]\",\"y\":[1,{\"z\":[]}]}");
	assert_span(fl_scan_member(o, "c"), "\"\\\\\"");
	assert_span(fl_scan_member(o, "d"), "null");
	assert_span(fl_scan_member(fl_scan_member(o, "b"), "y"), "[1,{\"z\":[]}]");
	assert_null(fl_scan_member(o, "x").p);
	assert_null(fl_scan_member(text("[1]"), "x").p);
	assert_null(fl_scan_member(text(""), "x").p);
}

static void walks_arrays(void **state)
{
	struct fl_scan s;
	struct fl_span k, v;
	assert_true(fl_scan_begin(&s, text("[1, \"a,b\" ,{\"c\":[2]}]")));
	assert_true(fl_scan_next(&s, &k, &v));
	assert_span(v, "1");
	assert_true(fl_scan_next(&s, &k, &v));
	assert_span(v, "\"a,b\"");
	assert_true(fl_scan_next(&s, &k, &v));
	assert_span(v, "{\"c\":[2]}");
	assert_false(fl_scan_next(&s, &k, &v));
	assert_false(s.broken);
	assert_true(fl_scan_begin(&s, text("[]")));
	assert_false(fl_scan_next(&s, &k, &v));
	assert_false(s.broken);
	assert_false(fl_scan_begin(&s, text("null")));
}

static void tells_what_is_broken(void **state)
{
	static const char *const broken[] = {
	    "{",      "{\"a\"", "{\"a\":",    "{\"a\":1", "{\"a\":1,",      "{a:1}", "{\"a\":1 \"b\":2}",
	    "[1,,2]", "[\"abc", "[{\"a\":1]", "[1,]",     "{\"a\":\"\\\"}",
	};
	for (size_t i = 0; i < sizeof(broken) / sizeof(*broken); i++) {
		struct fl_scan s;
		struct fl_span k, v;
		assert_true(fl_scan_begin(&s, text(broken[i])));
		while (fl_scan_next(&s, &k, &v))
			;
		if (!s.broken)
			fail_msg("not refused: %s", broken[i]);
	}
}

static void reads_plain_strings(void **state)
{
	char buf[4];
	assert_true(fl_span_text(text("\"abc\""), buf, sizeof(buf)));
	assert_string_equal(buf, "abc");
	assert_false(fl_span_text(text("\"abcd\""), buf, sizeof(buf)));
	assert_false(fl_span_text(text("\"\\n\""), buf, sizeof(buf)));
	assert_false(fl_span_text(text("12"), buf, sizeof(buf)));
	assert_true(fl_span_is(text("\"ADDED\""), "ADDED"));
	assert_false(fl_span_is(text("\"ADDED2\""), "ADDED"));
	assert_false(fl_span_is((struct fl_span){0}, "ADDED"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(finds_members),
	    cmocka_unit_test(walks_arrays),
	    cmocka_unit_test(tells_what_is_broken),
	    cmocka_unit_test(reads_plain_strings),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
