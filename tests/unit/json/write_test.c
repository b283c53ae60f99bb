// SPDX-License-Identifier: Apache-2.0
// The writer against what Go's encoding/json prints: escapes, floats, layout.
#include "json_test.h"

#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/rand.h"

static void assert_string(const char *s, size_t len, const char *want)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	AUTO_FREE char *exact = fl_malloc(len); // so that AddressSanitizer sees a read beyond it
	memcpy(exact, s, len);
	fl_json_write_string(&b, exact, len);
	assert_string_equal(b.data, want);
	assert_int_equal(b.len, strlen(want));
}

static void escapes(void **state)
{
	assert_string("", 0, "\"\"");
	assert_string("a\"b\\c/", 6, "\"a\\\"b\\\\c/\"");
	assert_string("\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\"");
	assert_string("\0\x01\x1f\x7f", 4, "\"\\u0000\\u0001\\u001f\x7f\"");
	assert_string("<>&", 3, "\"<>&\"");
	assert_string("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
	assert_string("\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa", 9, "\"\\u2028\\u2029\xe2\x80\xaa\"");
	assert_string("a\xff\xc3", 3, "\"a\\ufffd\\ufffd\"");
	assert_string("\xed\xa0\x80", 3, "\"\\ufffd\\ufffd\\ufffd\"");
}

static void strings_of_all_lengths(void **state)
{
	for (size_t len = 0; len < 70; len++) {
		for (size_t at = 0; at < len; at++) {
			char s[70], want[80];
			memset(s, 'x', len);
			s[at] = '\n';
			want[0] = '"';
			memset(want + 1, 'x', at);
			memcpy(want + 1 + at, "\\n", 2);
			memset(want + 3 + at, 'x', len - at - 1);
			strcpy(want + 2 + len, "\"");
			assert_string(s, len, want);
		}
	}
}

static void integers(void **state)
{
	static const int64_t cases[] = {0, 1, -1, 9, 10, 99, 100, -100, INT32_MAX, INT64_MAX, INT64_MIN};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		char want[32];
		snprintf(want, sizeof(want), "%lld", (long long)cases[i]);
		assert_json(fl_json_new_int(&arena, cases[i]), want);
	}
}

static struct fl_json *new_float(double f)
{
	struct fl_json *j = fl_json_new(&arena, FL_JSON_FLOAT);
	j->f = f;
	return j;
}

static void floats(void **state)
{
	static const struct {
		double f;
		const char *text;
	} cases[] = {
	    {0, "0"},
	    {-0.0, "-0"},
	    {1, "1"},
	    {100, "100"},
	    {-1.5, "-1.5"},
	    {0.1, "0.1"},
	    {0.30000000000000004, "0.30000000000000004"},
	    {1.0 / 3, "0.3333333333333333"},
	    {2.0 / 3, "0.6666666666666666"},
	    {123456.789, "123456.789"},
	    {0.000001, "0.000001"},
	    {0.00000123, "0.00000123"},
	    {0.0000001, "1e-7"},
	    {1.5e-10, "1.5e-10"},
	    {1e20, "100000000000000000000"},
	    {1.25e20, "125000000000000000000"},
	    {1e21, "1e+21"},
	    {-1.5e300, "-1.5e+300"},
	    {0x1p53, "9007199254740992"},
	    {92233720368547504.0, "92233720368547504"}, // exact, as it is read as an integer
	    {0x1p63, "9223372036854776000"},
	    {1.7976931348623157e308, "1.7976931348623157e+308"},
	    {2.2250738585072014e-308, "2.2250738585072014e-308"},
	    {5e-324, "5e-324"},
	    {NAN, "null"},
	    {INFINITY, "null"},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++)
		assert_json(new_float(cases[i].f), cases[i].text);
}

static void random_floats_read_back(void **state)
{
	for (int i = 0; i < 50000; i++) {
		uint64_t bits;
		double f;
		fl_random(&bits, sizeof(bits));
		memcpy(&f, &bits, sizeof(f));
		if (!isfinite(f))
			continue;
		struct fl_json *j = parse(text_of(new_float(f)));
		double back = j->type == FL_JSON_INT ? (double)j->i : j->f;
		assert_true(back == f);
		if (i % 1000 == 0)
			fl_arena_reset(&arena);
	}
}

static void layout(void **state)
{
	static const char compact[] = "{\"a\":1,\"b\":[],\"c\":{},\"d\":[1,[2],{\"e\":null}],\"f\\n\":true}";
	struct fl_json *j = parse(" { \"a\" : 1 , \"b\":[ ],\"c\":{ },\"d\":[1,[2],{\"e\":null}],\"f\\n\":true}");
	assert_json(j, compact);
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_json_write_pretty(&b, j, 4);
	assert_string_equal(b.data, "{\n"
				    "    \"a\": 1,\n"
				    "    \"b\": [],\n"
				    "    \"c\": {},\n"
				    "    \"d\": [\n"
				    "        1,\n"
				    "        [\n"
				    "            2\n"
				    "        ],\n"
				    "        {\n"
				    "            \"e\": null\n"
				    "        }\n"
				    "    ],\n"
				    "    \"f\\n\": true\n"
				    "}");
	assert_json(parse(b.data), compact);
}

static void appends_to_what_is_there(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_buf_puts(&b, "x=");
	fl_json_write(&b, parse("[1]"));
	fl_json_write(&b, NULL);
	assert_string_equal(b.data, "x=[1]null");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(escapes), TEST(strings_of_all_lengths),   TEST(integers), TEST(floats), TEST(random_floats_read_back),
	    TEST(layout),  TEST(appends_to_what_is_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
