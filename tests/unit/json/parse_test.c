// SPDX-License-Identifier: Apache-2.0
// The parser: what it takes, what it refuses and in which words, repeated names, bounds.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "json/json.h"

static struct fl_arena arena;

static int deinit_arena(void **state)
{
	fl_arena_deinit(&arena);
	return 0;
}

static struct fl_json *parse_n(const char *text, size_t len)
{
	struct fl_json *j = NULL;
	struct fl_err err = {0};
	if (fl_json_parse(&arena, text, len, NULL, &j, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return j;
}

static struct fl_json *parse(const char *text)
{
	return parse_n(text, strlen(text));
}

static void scalars(void **state)
{
	assert_int_equal(parse("null")->type, FL_JSON_NULL);
	assert_true(parse(" true ")->b);
	assert_false(parse("\t\r\nfalse\n")->b);
	assert_int_equal(parse("0")->i, 0);
	assert_string_equal(parse("\"\"")->str.s, "");
	assert_string_equal(parse("\"x\"")->str.s, "x");
}

static void integers_to_the_edge_of_int64(void **state)
{
	static const struct {
		const char *text;
		int64_t i;
	} cases[] = {
	    {"-0", 0},
	    {"1", 1},
	    {"-1", -1},
	    {"1234567890", 1234567890},
	    {"9223372036854775807", INT64_MAX},
	    {"-9223372036854775808", INT64_MIN},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct fl_json *j = parse(cases[i].text);
		assert_int_equal(j->type, FL_JSON_INT);
		assert_true(j->i == cases[i].i);
	}
}

static void other_numbers_are_floats(void **state)
{
	static const struct {
		const char *text;
		double f;
	} cases[] = {
	    {"9223372036854775808", 0x1p63},
	    {"-9223372036854775809", -0x1p63},
	    {"18446744073709551616", 0x1p64},
	    {"123456789012345678901234567890", 123456789012345678901234567890.0},
	    {"0.5", 0.5},
	    {"-0.0", -0.0},
	    {"1.0", 1.0},
	    {"1e3", 1000},
	    {"1E+3", 1000},
	    {"25e-1", 2.5},
	    {"0e0", 0},
	    {"1e-400", 0},
	    {"1.7976931348623157e308", 1.7976931348623157e308},
	    {"5e-324", 5e-324},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct fl_json *j = parse(cases[i].text);
		assert_int_equal(j->type, FL_JSON_FLOAT);
		assert_true(j->f == cases[i].f && signbit(j->f) == signbit(cases[i].f));
	}
}

static void escapes(void **state)
{
	static const struct {
		const char *text, *s;
		uint32_t len;
	} cases[] = {
	    {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
	    {"\"a\\u0000b\"", "a\0b", 3},
	    {"\"\\u0041\\u00e9\\u20AC\"", "A\xc3\xa9\xe2\x82\xac", 6},
	    {"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80", 4},
	    {"\"\\ud800\"", "\xef\xbf\xbd", 3},
	    {"\"\\ud800x\"", "\xef\xbf\xbdx", 4},
	    {"\"\\ude00\\ud83d\"", "\xef\xbf\xbd\xef\xbf\xbd", 6},
	    {"\"\\ud83d\\u0041\"",
	     "\xef\xbf\xbd"
	     "A",
	     4},
	    {"\"\\ud83d\\ud83d\\ude00\"", "\xef\xbf\xbd\xf0\x9f\x98\x80", 7},
	    {"\"\\uD83D\\n\"", "\xef\xbf\xbd\n", 4},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct fl_json *j = parse(cases[i].text);
		assert_int_equal(j->str.len, cases[i].len);
		assert_memory_equal(j->str.s, cases[i].s, cases[i].len + 1);
	}
}

// Every length around the width of the scanner, every kind of special byte at every place.
static void strings_of_all_lengths(void **state)
{
	static const char *const specials[][2] = {{"", ""},
						  {"\\n", "\n"},
						  {"\xc3\xa9", "\xc3\xa9"},
						  {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
						  {"\\u00e9", "\xc3\xa9"}};
	for (size_t len = 0; len < 50; len++) {
		for (size_t at = 0; at <= len; at++) {
			for (size_t k = 0; k < FL_COUNT(specials); k++) {
				char text[128] = "\"", want[128] = "";
				memset(text + 1, 'a', at);
				memset(want, 'a', at);
				strcat(text, specials[k][0]);
				strcat(want, specials[k][1]);
				memset(text + strlen(text), 'z', len - at);
				memset(want + strlen(want), 'z', len - at);
				strcat(text, "\"");
				struct fl_json *j = parse(text);
				assert_string_equal(j->str.s, want);
				assert_int_equal(j->str.len, strlen(want));
			}
		}
		fl_arena_reset(&arena);
	}
}

static void utf8_is_checked(void **state)
{
	static const char *const good[] = {"\x7f",         "\xc2\x80",         "\xdf\xbf",
					   "\xe0\xa0\x80", "\xed\x9f\xbf",     "\xee\x80\x80",
					   "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
	static const char *const bad[] = {"\x80",
					  "\xbf",
					  "\xc0\x80",
					  "\xc1\xbf",
					  "\xc3",
					  "\xe0\x80\x80",
					  "\xe2\x82",
					  "\xed\xa0\x80",
					  "\xed\xbf\xbf",
					  "\xf0\x80\x80\x80",
					  "\xf0\x9f\x98",
					  "\xf4\x90\x80\x80",
					  "\xf5\x80\x80\x80",
					  "\xff",
					  "\xfe",
					  "\xc3\x28",
					  "\xe2\x28\xa1"};
	char text[32];
	for (size_t i = 0; i < FL_COUNT(good); i++) {
		snprintf(text, sizeof(text), "\"a%sb\"", good[i]);
		assert_int_equal(parse(text)->str.len, strlen(good[i]) + 2);
	}
	for (size_t i = 0; i < FL_COUNT(bad); i++) {
		struct fl_json *j;
		struct fl_err err = {0};
		snprintf(text, sizeof(text), "\"a%s\"", bad[i]);
		assert_int_equal(fl_json_parse(&arena, text, strlen(text), NULL, &j, &err), -EINVAL);
		assert_string_equal(err.text, "invalid UTF-8 in string literal (line 1 column 3)");
	}
}

static void containers_keep_order(void **state)
{
	struct fl_json *j = parse("{\"z\":1, \"a\":[1,\"x\",null,{}] ,\"\":{\"k\":[[]]}}");
	assert_int_equal(j->type, FL_JSON_OBJECT);
	assert_int_equal(j->kids.count, 3);
	static const char *const keys[] = {"z", "a", ""};
	size_t i = 0;
	fl_json_each (m, j) {
		assert_string_equal(m->key, keys[i]);
		assert_int_equal(m->key_len, strlen(keys[i++]));
	}
	assert_int_equal(i, 3);
	assert_ptr_equal(j->kids.last->next, NULL);
	assert_string_equal(j->kids.last->key, "");
	struct fl_json *a = fl_json_get(j, "a");
	assert_int_equal(fl_json_count(a), 4);
	assert_null(a->kids.first->key);
}

static void refusals_have_the_words_of_go(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
	    {"", "unexpected end of JSON input"},
	    {"  ", "unexpected end of JSON input"},
	    {"{\"apiVersion\":\"v1\",", "unexpected end of JSON input"},
	    {"{\"a\"", "unexpected end of JSON input"},
	    {"{\"a\":", "unexpected end of JSON input"},
	    {"[1", "unexpected end of JSON input"},
	    {"\"abc", "unexpected end of JSON input"},
	    {"\"abc\\", "unexpected end of JSON input"},
	    {"\"\\u12", "unexpected end of JSON input"},
	    {"tru", "unexpected end of JSON input"},
	    {"-", "unexpected end of JSON input"},
	    {"1.", "unexpected end of JSON input"},
	    {"1e", "unexpected end of JSON input"},
	    {"1e+", "unexpected end of JSON input"},
	    {"x", "invalid character 'x' looking for beginning of value (line 1 column 1)"},
	    {"[1,]", "invalid character ']' looking for beginning of value (line 1 column 4)"},
	    {"+1", "invalid character '+' looking for beginning of value (line 1 column 1)"},
	    {".5", "invalid character '.' looking for beginning of value (line 1 column 1)"},
	    {"NaN", "invalid character 'N' looking for beginning of value (line 1 column 1)"},
	    {"{a:1}", "invalid character 'a' looking for beginning of object key string (line 1 column 2)"},
	    {"{\"a\":1,}", "invalid character '}' looking for beginning of object key string (line 1 column 8)"},
	    {"{\"a\" 1}", "invalid character '1' after object key (line 1 column 6)"},
	    {"{\"a\":1\n \"b\":2}", "invalid character '\"' after object key:value pair (line 2 column 2)"},
	    {"{\"a\":1]", "invalid character ']' after object key:value pair (line 1 column 7)"},
	    {"[1 2]", "invalid character '2' after array element (line 1 column 4)"},
	    {"[1}", "invalid character '}' after array element (line 1 column 3)"},
	    {"1 2", "invalid character '2' after top-level value (line 1 column 3)"},
	    {"{}}", "invalid character '}' after top-level value (line 1 column 3)"},
	    {"01", "invalid character '1' after top-level value (line 1 column 2)"},
	    {"0x10", "invalid character 'x' after top-level value (line 1 column 2)"},
	    {"-x", "invalid character 'x' in numeric literal (line 1 column 2)"},
	    {"1.x", "invalid character 'x' after decimal point in numeric literal (line 1 column 3)"},
	    {"1ex", "invalid character 'x' in exponent of numeric literal (line 1 column 3)"},
	    {"trux", "invalid character 'x' in literal true (expecting 'e') (line 1 column 4)"},
	    {"fals!", "invalid character '!' in literal false (expecting 'e') (line 1 column 5)"},
	    {"nil", "invalid character 'i' in literal null (expecting 'u') (line 1 column 2)"},
	    {"\"\\x\"", "invalid character 'x' in string escape code (line 1 column 3)"},
	    {"\"\\u00g0\"", "invalid character 'g' in \\u hexadecimal character escape (line 1 column 6)"},
	    {"\"\n\"", "invalid character '\\n' in string literal (line 1 column 2)"},
	    {"\"\x01\"", "invalid character '\\x01' in string literal (line 1 column 2)"},
	    {"'a'", "invalid character '\\'' looking for beginning of value (line 1 column 1)"},
	    {"\\", "invalid character '\\\\' looking for beginning of value (line 1 column 1)"},
	    {"\xef\xbb\xbf{}", "invalid character '\xc3\xaf' looking for beginning of value (line 1 column 1)"},
	    {"1e999", "json: cannot unmarshal number 1e999 into Go value of type float64 (line 1 column 1)"},
	    {"[-1e999]", "json: cannot unmarshal number -1e999 into Go value of type float64 (line 1 column 2)"},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct fl_json *j = (void *)1;
		struct fl_err err = {0};
		assert_int_equal(fl_json_parse(&arena, cases[i].text, strlen(cases[i].text), NULL, &j, &err), -EINVAL);
		assert_string_equal(err.text, cases[i].error);
		assert_ptr_equal(j, (void *)1);
		assert_int_equal(fl_json_parse(&arena, cases[i].text, strlen(cases[i].text), NULL, &j, NULL), -EINVAL);
	}
}

static void a_nul_is_no_end(void **state)
{
	struct fl_json *j;
	struct fl_err err = {0};
	assert_int_equal(fl_json_parse(&arena, "1\0", 2, NULL, &j, &err), -EINVAL);
	assert_string_equal(err.text, "invalid character '\\x00' after top-level value (line 1 column 2)");
	assert_int_equal(fl_json_parse(&arena, "\"a\0b\"", 5, NULL, &j, &err), -EINVAL);
	assert_string_equal(err.text, "invalid character '\\x00' in string literal (line 1 column 3)");
	assert_int_equal(fl_json_parse(&arena, NULL, 0, NULL, &j, &err), -EINVAL);
}

static void text_is_not_kept(void **state)
{
	char text[] = "{\"key\":\"value\"}";
	struct fl_json *j = parse(text);
	memset(text, 'x', sizeof(text));
	assert_string_equal(fl_json_str(j, "key"), "value");
	assert_string_equal(j->kids.first->key, "key");
}

// Every prefix of a document is refused, and no byte beyond it is read (seen by AddressSanitizer).
static void truncation_anywhere(void **state)
{
	static const char doc[] =
	    "{\"a\":[1,-2.5e3,\"x\\u00e9\xc3\xa9\\n\",true,false,null],\"b\":{\"c\":\"\\ud83d\\ude00\"}}";
	for (size_t n = 0; n < sizeof(doc) - 1; n++) {
		AUTO_FREE char *exact = fl_malloc(n);
		memcpy(exact, doc, n);
		struct fl_json *j;
		assert_int_equal(fl_json_parse(&arena, exact, n, NULL, &j, NULL), -EINVAL);
	}
	parse(doc);
}

static void nest(struct fl_buf *b, size_t depth, char open, char close)
{
	b->len = 0;
	for (size_t i = 0; i < depth; i++)
		fl_buf_puts(b, open == '{' ? "{\"a\":" : "[");
	fl_buf_puts(b, "1");
	for (size_t i = 0; i < depth; i++)
		fl_buf_putc(b, close);
}

static void depth_is_bounded(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	for (int object = 0; object < 2; object++) {
		char open = object ? '{' : '[', close = object ? '}' : ']';
		struct fl_json *j;
		struct fl_err err = {0};
		nest(&b, FL_MAX_JSON_DEPTH, open, close);
		parse(b.data);
		nest(&b, FL_MAX_JSON_DEPTH + 1, open, close);
		assert_int_equal(fl_json_parse(&arena, b.data, b.len, NULL, &j, &err), -EINVAL);
		assert_non_null(strstr(err.text, "exceeded max depth"));
		nest(&b, 1000000, open, close);
		assert_int_equal(fl_json_parse(&arena, b.data, b.len, NULL, &j, &err), -EINVAL);
		struct fl_json_parse_opts three = {.max_depth = 3}, huge = {.max_depth = 100000};
		nest(&b, 3, open, close);
		assert_int_equal(fl_json_parse(&arena, b.data, b.len, &three, &j, &err), 0);
		nest(&b, 4, open, close);
		assert_int_equal(fl_json_parse(&arena, b.data, b.len, &three, &j, &err), -EINVAL);
		nest(&b, FL_MAX_JSON_DEPTH + 1, open, close);
		assert_int_equal(fl_json_parse(&arena, b.data, b.len, &huge, &j, &err), -EINVAL);
	}
}

static void leaves_out(unsigned depth, const char *text, const char *want)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct fl_json_parse_opts opts = {.left_out = {"metadata", "managedFields", depth}};
	struct fl_json *j;
	struct fl_err err = {0};
	int rc = fl_json_parse(&arena, text, strlen(text), &opts, &j, &err);
	if (!want) {
		assert_int_equal(rc, -EINVAL);
		assert_true(err.text[0]);
		return;
	}
	assert_int_equal(rc, 0);
	fl_json_write(&b, j);
	assert_string_equal(b.data, want);
}

static void leaves_out_what_nobody_reads(void **state)
{
	leaves_out(2, "{\"metadata\":{\"managedFields\":[]}}", "{\"metadata\":{}}");
	leaves_out(2, "{\"metadata\":{\"a\":1, \"managedFields\" : [ {\"f\":\"]}\\\"\u00e9\"} ] , \"b\":2},\"c\":3}",
		   "{\"metadata\":{\"a\":1,\"b\":2},\"c\":3}");
	leaves_out(2, "{\"metadata\":{\"managedFields\":{\"x\":[1,{\"y\":{}}]},\"b\":2}}", "{\"metadata\":{\"b\":2}}");
	leaves_out(3, "{\"object\":{\"metadata\":{\"managedFields\":[1]}}}", "{\"object\":{\"metadata\":{}}}");
	// not that member, not there, or a scalar
	leaves_out(0, "{\"metadata\":{\"managedFields\":[1]}}", "{\"metadata\":{\"managedFields\":[1]}}");
	leaves_out(3, "{\"metadata\":{\"managedFields\":[1]}}", "{\"metadata\":{\"managedFields\":[1]}}");
	leaves_out(2, "{\"a\":{\"metadata\":{\"managedFields\":[1]}}}",
		   "{\"a\":{\"metadata\":{\"managedFields\":[1]}}}");
	leaves_out(2, "{\"meta\":{\"managedFields\":[1]}}", "{\"meta\":{\"managedFields\":[1]}}");
	leaves_out(2, "{\"metadata\":{\"managedField\":[1]}}", "{\"metadata\":{\"managedField\":[1]}}");
	leaves_out(2, "{\"metadata\":{\"managedFields\":null}}", "{\"metadata\":{\"managedFields\":null}}");
	leaves_out(2, "[{\"managedFields\":[1]}]", "[{\"managedFields\":[1]}]");
	// its end must be there, and what follows is looked at
	static const char *const broken[] = {"[",   "[\"",   "[\"\\",        "[\"\\\"]", "[{]}",     "[[]}}",
					     "[]}", "[],}}", "[] \"b\":1}}", "[]]}}",    "{\"a\":[}"};
	for (size_t i = 0; i < FL_COUNT(broken); i++) {
		AUTO_FREE char *text = fl_asprintf("{\"metadata\":{\"managedFields\":%s", broken[i]);
		leaves_out(2, text, NULL);
	}
}

static void note(void *arg, const char *path)
{
	fl_buf_puts(arg, path);
	fl_buf_putc(arg, ' ');
}

static void duplicates(const char *text, const char *reports, const char *result)
{
	AUTO(fl_buf_deinit) struct fl_buf seen = {0}, out = {0};
	struct fl_json_parse_opts opts = {.on_duplicate = note, .arg = &seen};
	struct fl_json *j;
	assert_int_equal(fl_json_parse(&arena, text, strlen(text), &opts, &j, NULL), 0);
	assert_string_equal(seen.data ? seen.data : "", reports);
	fl_json_write(&out, j);
	assert_string_equal(out.data, result);
	out.len = 0;
	fl_json_write(&out, parse(text)); // the same without anybody listening
	assert_string_equal(out.data, result);
}

static void repeated_names_are_reported_and_the_last_wins(void **state)
{
	duplicates("{\"a\":1,\"b\":2}", "", "{\"a\":1,\"b\":2}");
	duplicates("{\"a\":1,\"b\":2,\"a\":3}", "a ", "{\"a\":3,\"b\":2}");
	duplicates("{\"a\":1,\"a\":2,\"a\":3}", "a a ", "{\"a\":3}");
	duplicates("{\"a\":{\"x\":1},\"a\":[1,2]}", "a ", "{\"a\":[1,2]}");
	duplicates("{\"a\":[1,2],\"a\":{\"x\":1,\"x\":2}}", "a a.x ", "{\"a\":{\"x\":2}}");
	duplicates("{\"metadata\":{\"name\":\"x\",\"name\":\"y\"}}", "metadata.name ",
		   "{\"metadata\":{\"name\":\"y\"}}");
	duplicates("{\"spec\":{\"ports\":[{\"port\":1},{\"port\":2,\"port\":3}]}}", "spec.ports[1].port ",
		   "{\"spec\":{\"ports\":[{\"port\":1},{\"port\":3}]}}");
	duplicates("[[{\"\":1,\"\":2}]]", "[0][0]. ", "[[{\"\":2}]]");
	duplicates("{\"a\":1,\"\\u0061\":2}", "a ", "{\"a\":2}");
	duplicates("{\"ab\":1,\"ba\":2,\"aXb\":3,\"aYb\":4}", "", "{\"ab\":1,\"ba\":2,\"aXb\":3,\"aYb\":4}");
}

// All names of an object must be told apart at any count: few (compared), many (looked up).
static void names_of_any_number(void **state)
{
	for (int n = 1; n < 200; n++) {
		AUTO(fl_buf_deinit) struct fl_buf text = {0}, seen = {0};
		struct fl_json_parse_opts opts = {.on_duplicate = note, .arg = &seen};
		for (int i = 0; i < n; i++)
			fl_buf_printf(&text, "%s\"name%d\":%d", i ? "," : "{", i, i);
		fl_buf_printf(&text, ",\"name%d\":-1}", n / 2);
		struct fl_json *j;
		assert_int_equal(fl_json_parse(&arena, text.data, text.len, &opts, &j, NULL), 0);
		assert_int_equal(j->kids.count, n);
		char want[32];
		snprintf(want, sizeof(want), "name%d ", n / 2);
		assert_string_equal(seen.data, want);
		want[strlen(want) - 1] = '\0';
		assert_int_equal(fl_json_int(j, want, 0), -1);
		fl_arena_reset(&arena);
	}
}

// Half a million names take as long as their number, not its square: with comparisons in pairs this would not end.
static void many_names_are_not_quadratic(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf text = {0};
	for (int i = 0; i < 500000; i++)
		fl_buf_printf(&text, "%s\"%x\":1", i ? "," : "{", i);
	fl_buf_putc(&text, '}');
	struct fl_json *j = parse_n(text.data, text.len);
	assert_int_equal(j->kids.count, 500000);
	text.len = 0;
	for (int i = 0; i < 500000; i++)
		fl_buf_printf(&text, "%s\"a\":%d", i ? "," : "{", i);
	fl_buf_putc(&text, '}');
	j = parse_n(text.data, text.len);
	assert_int_equal(j->kids.count, 1);
	assert_int_equal(j->kids.first->i, 499999);
}

static void failure_inside_indexed_objects_leaks_nothing(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf text = {0};
	for (int level = 0; level < 5; level++) {
		for (int i = 0; i < 40; i++)
			fl_buf_printf(&text, "%s\"k%d\":1", i ? "," : "{", i);
		fl_buf_puts(&text, ",\"deeper\":");
	}
	struct fl_json *j;
	assert_int_equal(fl_json_parse(&arena, text.data, text.len, NULL, &j, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(scalars, deinit_arena),
	    cmocka_unit_test_teardown(integers_to_the_edge_of_int64, deinit_arena),
	    cmocka_unit_test_teardown(other_numbers_are_floats, deinit_arena),
	    cmocka_unit_test_teardown(escapes, deinit_arena),
	    cmocka_unit_test_teardown(strings_of_all_lengths, deinit_arena),
	    cmocka_unit_test_teardown(utf8_is_checked, deinit_arena),
	    cmocka_unit_test_teardown(containers_keep_order, deinit_arena),
	    cmocka_unit_test_teardown(refusals_have_the_words_of_go, deinit_arena),
	    cmocka_unit_test_teardown(a_nul_is_no_end, deinit_arena),
	    cmocka_unit_test_teardown(text_is_not_kept, deinit_arena),
	    cmocka_unit_test_teardown(truncation_anywhere, deinit_arena),
	    cmocka_unit_test_teardown(depth_is_bounded, deinit_arena),
	    cmocka_unit_test_teardown(leaves_out_what_nobody_reads, deinit_arena),
	    cmocka_unit_test_teardown(repeated_names_are_reported_and_the_last_wins, deinit_arena),
	    cmocka_unit_test_teardown(names_of_any_number, deinit_arena),
	    cmocka_unit_test_teardown(many_names_are_not_quadratic, deinit_arena),
	    cmocka_unit_test_teardown(failure_inside_indexed_objects_leaks_nothing, deinit_arena),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
