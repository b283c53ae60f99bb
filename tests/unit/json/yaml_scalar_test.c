// SPDX-License-Identifier: Apache-2.0
// What plain scalars mean: the tables of go-yaml v2 and of Go's strconv.
#include "json_test.h"

#include <math.h>

#include "base/mem.h"
#include "json/yaml_scalar.h"

static void words(void **state)
{
	static const char *const trues[] = {"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"};
	static const char *const falses[] = {"n",     "N",     "no",  "No",  "NO", "false",
					     "False", "FALSE", "off", "Off", "OFF"};
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
	static const char *const strings[] = {"yES", "tRUE", "oN", "nULL", "none", "yesterday", "ye", "truee", "~~",
					      "x",   "-",    "+",  ".",    "..",   "-.",        "=",  "!",     "<<"};
	struct fl_json j;
	for (size_t i = 0; i < FL_COUNT(trues); i++) {
		assert_int_equal(fl_yaml_resolve(trues[i], strlen(trues[i]), &j), FL_YAML_BOOL);
		assert_true(j.type == FL_JSON_BOOL && j.b);
	}
	for (size_t i = 0; i < FL_COUNT(falses); i++) {
		assert_int_equal(fl_yaml_resolve(falses[i], strlen(falses[i]), &j), FL_YAML_BOOL);
		assert_true(j.type == FL_JSON_BOOL && !j.b);
	}
	for (size_t i = 0; i < FL_COUNT(nulls); i++)
		assert_int_equal(fl_yaml_resolve(nulls[i], strlen(nulls[i]), &j), FL_YAML_NULL);
	for (size_t i = 0; i < FL_COUNT(strings); i++)
		assert_int_equal(fl_yaml_resolve(strings[i], strlen(strings[i]), &j), FL_YAML_STRING);
}

static void integers(void **state)
{
	static const struct {
		const char *text;
		int64_t i;
	} cases[] = {
	    {"0", 0},
	    {"-0", 0},
	    {"+5", 5},
	    {"-5", -5},
	    {"017", 15},
	    {"0o17", 15},
	    {"0O17", 15},
	    {"-017", -15},
	    {"0x1F", 31},
	    {"0X1f", 31},
	    {"-0x1f", -31},
	    {"0b101", 5},
	    {"-0b101", -5},
	    {"1_000_000", 1000000},
	    {"1_", 1},
	    {"0x_ff", 255},
	    {"9223372036854775807", INT64_MAX},
	    {"-9223372036854775808", INT64_MIN},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct fl_json j;
		assert_int_equal(fl_yaml_resolve(cases[i].text, strlen(cases[i].text), &j), FL_YAML_INT);
		assert_int_equal(j.type, FL_JSON_INT);
		assert_true(j.i == cases[i].i);
	}
}

static void floats(void **state)
{
	static const struct {
		const char *text;
		double f; // with an integral value: becomes an integer on the way through JSON
	} cases[] = {
	    {"1.5", 1.5},
	    {"-1.5", -1.5},
	    {"+1.5", 1.5},
	    {".5", 0.5},
	    {"-.5", -0.5},
	    {"1.", 1},
	    {"1e3", 1000},
	    {"1E-2", 0.01},
	    {"1_0.5", 10.5},
	    {"6.02e23", 6.02e23},
	    {"80.0", 80},
	    {"-0.0", 0},
	    {"089", 89},
	    {"0.1e1", 1},
	    {"9223372036854775808", 0x1p63},
	    {"0xffffffffffffffff", 0x1p64},
	    {"08", 8},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct fl_json j;
		enum fl_yaml_kind kind = fl_yaml_resolve(cases[i].text, strlen(cases[i].text), &j);
		assert_true(kind == FL_YAML_FLOAT || kind == FL_YAML_INT);
		bool integral = cases[i].f == trunc(cases[i].f) && fabs(cases[i].f) < 0x1p63;
		assert_int_equal(j.type, integral ? FL_JSON_INT : FL_JSON_FLOAT);
		assert_true(integral ? j.i == (int64_t)cases[i].f : j.f == cases[i].f);
	}
}

static void not_numbers(void **state)
{
	static const char *const strings[] = {
	    "1.2.3",    "1.2.3.4",    "0x",       "0xg",     "0b2",   "0o8",    "1e",
	    "e1",       "1e+",        "--1",      "+-1",     "1-1",   "10m",    "1Gi",
	    "12:30:45", "2001-01-01", "1,000",    "0x1.8p1", "1e999", "-1e999", ".5_0",
	    "1 ",       "0x-1",       "infinity", "nan",     "inf",   "+.",     "2001-12-14t21:59:43.10-05:00"};
	for (size_t i = 0; i < FL_COUNT(strings); i++) {
		struct fl_json j;
		if (fl_yaml_resolve(strings[i], strlen(strings[i]), &j) != FL_YAML_STRING)
			fail_msg("'%s' is no string", strings[i]);
	}
}

static void not_finite(void **state)
{
	struct fl_json j;
	assert_int_equal(fl_yaml_resolve(".inf", 4, &j), FL_YAML_FLOAT);
	assert_true(j.f == INFINITY);
	assert_int_equal(fl_yaml_resolve("+.Inf", 5, &j), FL_YAML_FLOAT);
	assert_true(j.f == INFINITY);
	assert_int_equal(fl_yaml_resolve("-.INF", 5, &j), FL_YAML_FLOAT);
	assert_true(j.f == -INFINITY);
	assert_int_equal(fl_yaml_resolve(".NaN", 4, &j), FL_YAML_FLOAT);
	assert_true(isnan(j.f));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(words), TEST(integers), TEST(floats), TEST(not_numbers), TEST(not_finite),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
