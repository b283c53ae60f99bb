// SPDX-License-Identifier: Apache-2.0
// The YAML writer: the layout of kubectl, and that what is written reads back as the same.
#include "json_test.h"

#include "base/mem.h"
#include "base/rand.h"
#include "json/yaml.h"
#include "json/yaml_scalar.h"

static void writes(const char *json, const char *yaml)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct fl_json *j = parse(json), *back;
	fl_yaml_write(&b, j);
	assert_string_equal(b.data, yaml);
	assert_int_equal(fl_yaml_parse(&arena, b.data, b.len, NULL, &back, NULL), 0);
	assert_true(fl_json_equal(j, back));
}

static void layout_of_kubectl(void **state)
{
	writes("{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"annotations\":{},\"name\":\"web\"},"
	       "\"spec\":{\"ports\":[{"
	       "\"port\":80,\"targetPort\":\"http\"},{\"port\":443}],\"list\":[[1,2],[]],\"none\":null},\"status\":{"
	       "\"loadBalancer\":{}}}",
	       "apiVersion: v1\n"
	       "kind: Service\n"
	       "metadata:\n"
	       "  annotations: {}\n"
	       "  name: web\n"
	       "spec:\n"
	       "  ports:\n"
	       "  - port: 80\n"
	       "    targetPort: http\n"
	       "  - port: 443\n"
	       "  list:\n"
	       "  - - 1\n"
	       "    - 2\n"
	       "  - []\n"
	       "  none: null\n"
	       "status:\n"
	       "  loadBalancer: {}\n");
}

static void text_that_would_be_read_as_something_else(void **state)
{
	static const char *const quoted[] = {"true",
					     "no",
					     "y",
					     "null",
					     "~",
					     "",
					     "1",
					     "0x10",
					     "1.5",
					     "1e3",
					     ".inf",
					     "-5",
					     "1_0",
					     "<<",
					     "12:30",
					     "2001-01-01",
					     "2024-01-01T00:00:00Z",
					     "2024-01-01 00:00:00"};
	for (size_t i = 0; i < FL_COUNT(quoted); i++) {
		AUTO_FREE char *json = fl_asprintf("[\"%s\"]", quoted[i]), *yaml = fl_asprintf("- \"%s\"\n", quoted[i]);
		writes(json, yaml);
	}
	static const char *const plain[] = {"web",       "10.0.0.1", "10.96.0.0/12", "a:b",   "http://x/y",
					    "1Gi",       "100m",     "nginx:1.25",   "TCP",   "x-y_z",
					    "yesterday", "2001-01",  "1.2.3",        "12:3x", "2024-13-01"};
	for (size_t i = 0; i < FL_COUNT(plain); i++) {
		AUTO_FREE char *json = fl_asprintf("[\"%s\"]", plain[i]), *yaml = fl_asprintf("- %s\n", plain[i]);
		writes(json, yaml);
	}
}

static void text_with_marks_and_lines(void **state)
{
	writes("{\"a\":\"x: y\",\"b\":\"# no\",\"c\":\"- d\",\"d\":\"*e\",\"e\":\"it's\",\"f\":\" lead\",\"g\":\"a # "
	       "b\",\"h\":\"{x}\"}",
	       "a: 'x: y'\nb: '# no'\nc: '- d'\nd: '*e'\ne: it's\nf: ' lead'\ng: 'a # b'\nh: '{x}'\n");
	writes("{\"a\":\"one\\ntwo\\n\",\"b\":\"one\\ntwo\",\"c\":\"one\\n\\n\"}",
	       "a: |\n  one\n  two\nb: |-\n  one\n  two\nc: |+\n  one\n\n");
	writes("{\"a\":\"tab\\there\",\"b\":\"\\u0001\",\"c\":\"\\u00e9\",\"d\":\"\xf0\x9f\x98\x80\"}",
	       "a: \"tab\\there\"\nb: \"\\x01\"\nc: \xc3\xa9\nd: \"\\U0001F600\"\n");
	writes("{\"x y\":1,\"true\":2,\"a: b\":3,\"\":4}", "x y: 1\n\"true\": 2\n'a: b': 3\n\"\": 4\n");
}

static void long_lines_are_not_folded(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf json = {0}, yaml = {0};
	fl_buf_puts(&json, "[\"");
	fl_buf_puts(&yaml, "- ");
	for (int i = 0; i < 100; i++) {
		fl_buf_puts(&json, i ? " word" : "word");
		fl_buf_puts(&yaml, i ? " word" : "word");
	}
	fl_buf_puts(&json, "\"]");
	fl_buf_putc(&yaml, '\n');
	writes(json.data, yaml.data);
}

static void numbers(void **state)
{
	writes("[0,-1,9223372036854775807,1.5,0.1,100.0,1e6,1234567.5,1e-5,0.0001,1e20,1.5e300,-2.5]",
	       "- 0\n- -1\n- 9223372036854775807\n- 1.5\n- 0.1\n- 100\n- 1000000\n- 1.2345675e+06\n- 1e-05\n- "
	       "0.0001\n- 1e+20\n"
	       "- 1.5e+300\n- -2.5\n");
}

static void scalars_alone(void **state)
{
	writes("\"x\"", "x\n");
	writes("5", "5\n");
	writes("null", "null\n");
	writes("{}", "{}\n");
	writes("[]", "[]\n");
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_buf_puts(&b, "---\n");
	fl_yaml_write(&b, NULL);
	assert_string_equal(b.data, "---\nnull\n");
}

static void broken_utf8_is_mended(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_yaml_write(&b, fl_json_new_strn(&arena, "a\xff\xc3z", 4));
	assert_string_equal(b.data, "a\xef\xbf\xbd\xef\xbf\xbdz\n");
}

// Random text made of what YAML finds meaningful, as value and as name.
static void random_text_reads_back(void **state)
{
	static const char *const pieces[] = {" ",
					     "\n",
					     "\t",
					     ":",
					     "-",
					     "#",
					     "'",
					     "\"",
					     "\\",
					     "a",
					     "1",
					     "?",
					     "*",
					     "&",
					     "!",
					     "|",
					     ">",
					     "%",
					     "@",
					     "`",
					     "[",
					     "]",
					     "{",
					     "}",
					     ",",
					     "<<",
					     "~",
					     "\r",
					     "\xc2\x85",
					     "\xe2\x80\xa8",
					     "\xef\xbb\xbf",
					     "\x7f",
					     "\xc2\xa0",
					     ": ",
					     " #",
					     "\n\n",
					     "- ",
					     "...",
					     "---",
					     "\xf0\x9f\x98\x80",
					     "\x01"};
	for (int i = 0; i < 20000; i++) {
		AUTO(fl_buf_deinit) struct fl_buf text = {0}, b = {0};
		for (uint64_t n = fl_random_below(8); n > 0; n--)
			fl_buf_puts(&text, pieces[fl_random_below(FL_COUNT(pieces))]);
		fl_buf_puts(&text, "");
		struct fl_json *j = parse("{\"list\":[]}"), *back = NULL;
		fl_json_append(fl_json_get(j, "list"), fl_json_new_strn(&arena, text.data, text.len));
		fl_json_set_str(&arena, j, "value", text.data);
		fl_json_set_int(&arena, j, text.data, 1);
		fl_yaml_write(&b, j);
		struct fl_err err = {0};
		if (fl_yaml_parse(&arena, b.data, b.len, NULL, &back, &err) < 0 || !fl_json_equal(j, back))
			fail_msg("%s\n%s\n%s", text_of(j), b.data, back ? text_of(back) : err.text);
		fl_arena_reset(&arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(layout_of_kubectl),
	    TEST(text_that_would_be_read_as_something_else),
	    TEST(text_with_marks_and_lines),
	    TEST(long_lines_are_not_folded),
	    TEST(numbers),
	    TEST(scalars_alone),
	    TEST(broken_utf8_is_mended),
	    TEST(random_text_reads_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
