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

static void identifies(const char *s, const char *ns, const char *name, const char *uid, unsigned rv)
{
	struct fl_scan_meta m;
	if (!fl_scan_identify(text(s), &m))
		fail_msg("%s", s);
	assert_span(m.name, name);
	assert_span(m.uid, uid);
	if (ns)
		assert_span(m.ns, ns);
	else
		assert_null(m.ns.p);
	assert_int_equal(m.rv, rv);
}

static void identifies_objects(void **state)
{
	identifies(
	    "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"namespace\":\"d\",\"uid\":\"u\",\"resourceVersion\":"
	    "\"7\",\"x\":1}}",
	    "d", "a", "u", 7);
	identifies(" { \"spec\":{\"metadata\":{\"name\":\"no\"}}, \"metadata\" : { \"labels\":{\"name\":\"}\"}, "
		   "\"resourceVersion\":\"12\",\"uid\":\"u\",\"name\":\"a\"}}",
		   NULL, "a", "u", 12);
	// no further than needed: the rest may be cut off or be more than the object
	identifies("{\"metadata\":{\"name\":\"a\",\"uid\":\"u\",\"resourceVersion\":\"7\"", NULL, "a", "u", 7);
	static const char *const not [] = {
	    "",
	    "[]",
	    "{}",
	    "{\"metadata\":[]}",
	    "{\"metadata\":{\"name\":\"a\",\"uid\":\"u\"}}",
	    "{\"metadata\":{\"name\":\"a\",\"uid\":\"u\",\"resourceVersion\":7}}",
	    "{\"metadata\":{\"name\":\"a\",\"uid\":\"u\",\"resourceVersion\":\"\"}}",
	    "{\"metadata\":{\"name\":\"a\",\"uid\":\"u\",\"resourceVersion\":\"7x\"}}",
	    "{\"metadata\":{\"name\":\"a\",\"uid\":\"u\",\"resourceVersion\":\"18446744073709551616\"}}",
	    "{\"metadata\":{\"name\":\"\\u0061\",\"uid\":\"u\",\"resourceVersion\":\"7\"}}",
	    "{\"kind\":,\"metadata\":{\"name\":\"a\",\"uid\":\"u\",\"resourceVersion\":\"7\"}}",
	    "{\"metadata\":{\"name\":\"a\" \"uid\":\"u\",\"resourceVersion\":\"7\"}}",
	};
	for (size_t i = 0; i < sizeof(not ) / sizeof(*not ); i++) {
		struct fl_scan_meta m;
		if (fl_scan_identify(text(not [i]), &m))
			fail_msg("identified: %s", not [i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(finds_members),        cmocka_unit_test(walks_arrays),
	    cmocka_unit_test(tells_what_is_broken), cmocka_unit_test(reads_plain_strings),
	    cmocka_unit_test(identifies_objects),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
