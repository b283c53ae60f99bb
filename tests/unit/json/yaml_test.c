// SPDX-License-Identifier: Apache-2.0
// YAML documents as Kubernetes manifests have them: what they become, what is refused, aliases and their bounds.
#include "json_test.h"

#include <errno.h>
#include <stdio.h>

#include "base/limits.h"
#include "base/mem.h"
#include "json/yaml.h"

static void good(const char *yaml, const char *json)
{
	struct fl_json *j = NULL;
	struct fl_err err = {0};
	if (fl_yaml_parse(&arena, yaml, strlen(yaml), NULL, &j, &err) < 0)
		fail_msg("%s: %s", yaml, err.text);
	assert_json(j, json);
	check_links(j);
}

static void bad(const char *yaml, int code, const char *text)
{
	struct fl_json *j = NULL;
	struct fl_err err = {0};
	assert_int_equal(fl_yaml_parse(&arena, yaml, strlen(yaml), NULL, &j, &err), code);
	assert_string_equal(err.text, text);
	assert_null(j);
	assert_int_equal(fl_yaml_parse(&arena, yaml, strlen(yaml), NULL, &j, NULL), code);
}

static void a_manifest(void **state)
{
	good("# a Service\n"
	     "apiVersion: v1\n"
	     "kind: Service\n"
	     "metadata:\n"
	     "  name: web\n"
	     "  labels: {app: web, \"tier\": 'front'}\n"
	     "  annotations:\n"
	     "    note: |\n"
	     "      two\n"
	     "      lines\n"
	     "    folded: >-\n"
	     "      one\n"
	     "      line\n"
	     "spec:\n"
	     "  ports:\n"
	     "  - port: 80\n"
	     "    targetPort: http\n"
	     "  - {port: 443, protocol: TCP}\n"
	     "  selector:\n"
	     "    version: \"1\"\n"
	     "---\n"
	     "kind: Second\n",
	     "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"web\",\"labels\":{\"app\":\"web\","
	     "\"tier\":"
	     "\"front\"},\"annotations\":{\"note\":\"two\\nlines\\n\",\"folded\":\"one "
	     "line\"}},\"spec\":{\"ports\":[{\"port\":"
	     "80,\"targetPort\":\"http\"},{\"port\":443,\"protocol\":\"TCP\"}],\"selector\":{\"version\":\"1\"}}}");
}

static void small_documents(void **state)
{
	good("", "null");
	good("# only a comment\n", "null");
	good("---\n", "null");
	good("--- \n...\n", "null");
	good("x", "\"x\"");
	good("[]", "[]");
	good("{}", "{}");
	good("{\"a\": [1, 2.5, true, null, \"x\\u00e9\"]}", "{\"a\":[1,2.5,true,null,\"x\xc3\xa9\"]}");
	good("- 1\n- - 2\n  - 3\n-\n", "[1,[2,3],null]");
	good("a:\nb: ~\n", "{\"a\":null,\"b\":null}");
	good("\xef\xbb\xbf"
	     "a: 1",
	     "{\"a\":1}");
	good("%YAML 1.1\n---\na: 1\n", "{\"a\":1}");
	good("\"a\\0b\": \"c\\x01\"", "{\"a\\u0000b\":\"c\\u0001\"}");
}

static void scalars(void **state)
{
	good("[yes, 'yes', \"no\", off, 017, 0o17, '017', 1e3, 1.5, 80.0, 2001-01-01, 12:30, 1_000]",
	     "[true,\"yes\",\"no\",false,15,15,\"017\",1000,1.5,80,\"2001-01-01\",\"12:30\",1000]");
	good("[!!str 5, !!str yes, !!int 5, !!float 5, !!float 1.5, !!bool on, !!null ~, !!null '', !custom 5]",
	     "[\"5\",\"yes\",5,5,1.5,true,null,null,\"5\"]");
	good("[!!binary aGVsbG8=, !!binary '', !!binary Yf8=, !!timestamp 2001-01-01]",
	     "[\"hello\",\"\",\"a\xef\xbf\xbd\",\"2001-01-01\"]");
	bad("!!int x", -EINVAL, "yaml: line 1: cannot decode !!str `x` as a !!int (column 1)");
	bad("!!bool 1", -EINVAL, "yaml: line 1: cannot decode !!int `1` as a !!bool (column 1)");
	bad("!!int 1.5", -EINVAL, "yaml: line 1: cannot decode !!float `1.5` as a !!int (column 1)");
	bad("!!binary '='", -EINVAL, "yaml: line 1: !!binary value contains invalid base64 data (column 1)");
	bad("a: .nan", -EINVAL, "yaml: line 1: json: unsupported value: .nan (column 4)");
	bad("a: -.inf", -EINVAL, "yaml: line 1: json: unsupported value: -.inf (column 4)");
}

static void names_become_strings(void **state)
{
	good("{1: a, 0x10: b, true: c, no: d, 1.5: e, x: f, '': g, 2001-01-01: h}",
	     "{\"1\":\"a\",\"16\":\"b\",\"true\":\"c\",\"false\":\"d\",\"1.5\":\"e\",\"x\":\"f\",\"\":\"g\",\"2001-01-"
	     "01\":\"h\"}");
	bad("~: 1", -EINVAL, "yaml: line 1: unsupported map key (column 1)");
	bad("{a: {[1]: 2}}", -EINVAL, "yaml: line 1: unsupported map key (column 6)");
	bad("? {a: 1}\n: 2", -EINVAL, "yaml: line 1: unsupported map key (column 3)");
}

static void broken_documents(void **state)
{
	bad("a: b: c", -EINVAL, "yaml: line 1: mapping values are not allowed in this context (column 5)");
	bad("a: 1\n b: 2", -EINVAL, "yaml: line 2: mapping values are not allowed in this context (column 3)");
	bad("a:\n\t- 1", -EINVAL, "yaml: line 2: found character that cannot start any token (column 1)");
	bad("[1, 2", -EINVAL, "yaml: line 2: did not find expected ',' or ']' (column 1)");
	bad("\"abc", -EINVAL, "yaml: line 1: found unexpected end of stream (column 5)");
	bad("a: *nope", -EINVAL, "yaml: line 1: unknown anchor 'nope' referenced (column 4)");
	bad("a: \xff\xfe", -EINVAL, "yaml: invalid leading UTF-8 octet (offset 3)");
	bad("a: \x01", -EINVAL, "yaml: control characters are not allowed (offset 3)");
	bad("a: 1\n]", -EINVAL, "yaml: line 2: did not find expected key (column 1)");
}

static void aliases(void **state)
{
	good("a: &x {b: [1]}\nc: *x\nd: [*x, *x]",
	     "{\"a\":{\"b\":[1]},\"c\":{\"b\":[1]},\"d\":[{\"b\":[1]},{\"b\":[1]}]}");
	good("- &x 1\n- &x 2\n- *x", "[1,2,2]");
	good("&x a: 1\nb: *x", "{\"a\":1,\"b\":\"a\"}");
	bad("&a [*a]", -EINVAL, "yaml: line 1: anchor 'a' value contains itself (column 5)");
	bad("&a {b: {c: *a}}", -EINVAL, "yaml: line 1: anchor 'a' value contains itself (column 12)");
}

static void merge_keys(void **state)
{
	good("base: &b {x: 1, w: 2}\nover: {<<: *b, w: 3, z: 4}",
	     "{\"base\":{\"x\":1,\"w\":2},\"over\":{\"w\":3,\"z\":4,\"x\":1}}");
	good("over: {w: 3, <<: {x: 1, w: 2}}", "{\"over\":{\"w\":3,\"x\":1}}");
	good("{<<: [{a: 1}, {a: 2, b: 2}], c: 3}", "{\"c\":3,\"a\":1,\"b\":2}");
	good("{'<<': 1}", "{\"<<\":1}");
	bad("{<<: 1}", -EINVAL, "yaml: line 1: map merge requires map or sequence of maps as the value (column 7)");
	bad("{<<: [1]}", -EINVAL, "yaml: line 1: map merge requires map or sequence of maps as the value (column 9)");
}

// "Billion laughs": ten levels of ten aliases each.
static void aliases_are_bounded(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_buf_puts(&b, "a0: &a0 [lol,lol,lol,lol,lol,lol,lol,lol,lol,lol]\n");
	for (int level = 1; level < 10; level++) {
		fl_buf_printf(&b, "a%d: &a%d [", level, level);
		for (int i = 0; i < 10; i++)
			fl_buf_printf(&b, "%s*a%d", i ? "," : "", level - 1);
		fl_buf_puts(&b, "]\n");
	}
	struct fl_json *j;
	struct fl_err err = {0};
	assert_int_equal(fl_yaml_parse(&arena, b.data, b.len, NULL, &j, &err), -E2BIG);
	assert_non_null(strstr(err.text, "document contains excessive aliasing"));
	assert_true(arena.total < 64u << 20);

	// One long text a thousand times.
	b.len = 0;
	fl_buf_puts(&b, "a: &a ");
	for (int i = 0; i < 100000; i++)
		fl_buf_putc(&b, 'x');
	for (int i = 0; i < 1000; i++)
		fl_buf_printf(&b, "\nb%d: *a", i);
	fl_arena_reset(&arena);
	assert_int_equal(fl_yaml_parse(&arena, b.data, b.len, NULL, &j, &err), -E2BIG);
	assert_true(arena.total < 64u << 20);
}

static void directives_are_bounded(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	for (int i = 0; i < 65; i++) {
		struct fl_json *j;
		struct fl_err err = {0};
		fl_buf_printf(&b, "%%TAG !%d! tag:example.com,2000:\n", i);
		size_t len = b.len;
		fl_buf_puts(&b, "--- !1!x '%TAG'\n");
		assert_int_equal(fl_yaml_parse(&arena, b.data, b.len, NULL, &j, &err), i == 0   ? -EINVAL
										       : i < 64 ? 0
												: -E2BIG);
		b.len = len;
	}
}

static void deep_flow_is_bounded_by_size(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct fl_json *j;
	struct fl_err err = {0};
	for (int i = 0; i < 400; i++)
		fl_buf_putc(&b, '[');
	for (int i = 0; i < 200000; i++)
		fl_buf_puts(&b, "1,");
	assert_int_equal(fl_yaml_parse(&arena, b.data, b.len, NULL, &j, &err), -E2BIG);
	assert_non_null(strstr(err.text, "document is nested too deeply for its size"));
	b.len = 0;
	for (int i = 0; i < 20; i++)
		fl_buf_putc(&b, '[');
	for (int i = 0; i < 200000; i++)
		fl_buf_puts(&b, "1,");
	for (int i = 0; i < 20; i++)
		fl_buf_putc(&b, ']');
	assert_int_equal(fl_yaml_parse(&arena, b.data, b.len, NULL, &j, &err), 0);
}

static void depth_is_bounded(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct fl_json *j;
	struct fl_err err = {0};
	for (int i = 0; i < FL_MAX_JSON_DEPTH; i++)
		fl_buf_putc(&b, '[');
	for (int i = 0; i < FL_MAX_JSON_DEPTH; i++)
		fl_buf_putc(&b, ']');
	assert_int_equal(fl_yaml_parse(&arena, b.data, b.len, NULL, &j, &err), 0);
	b.len = 0;
	for (int i = 0; i < 100000; i++)
		fl_buf_putc(&b, '[');
	assert_int_equal(fl_yaml_parse(&arena, b.data, b.len, NULL, &j, &err), -E2BIG);
	assert_non_null(strstr(err.text, "exceeded max depth"));
	struct fl_json_parse_opts two = {.max_depth = 2};
	assert_int_equal(fl_yaml_parse(&arena, "[[1]]", 5, &two, &j, &err), 0);
	assert_int_equal(fl_yaml_parse(&arena, "[[{}]]", 6, &two, &j, &err), -E2BIG);
	// An alias brings its depth with it: each level wraps the one before.
	b.len = 0;
	fl_buf_puts(&b, "- &a0 []\n");
	for (int i = 1; i < FL_MAX_JSON_DEPTH + 5; i++)
		fl_buf_printf(&b, "- &a%d [*a%d]\n", i, i - 1);
	assert_int_equal(fl_yaml_parse(&arena, b.data, b.len, NULL, &j, &err), -E2BIG);
}

static void note(void *arg, const char *path)
{
	fl_buf_puts(arg, path);
	fl_buf_putc(arg, ' ');
}

static void repeated_names(void **state)
{
	static const char *const cases[][3] = {
	    {"{a: 1, b: 2}", "", "{\"a\":1,\"b\":2}"},
	    {"{a: 1, b: 2, a: 3}", "a ", "{\"a\":3,\"b\":2}"},
	    {"{1: a, '1': b}", "1 ", "{\"1\":\"b\"}"},
	    {"metadata: {name: x, name: z}", "metadata.name ", "{\"metadata\":{\"name\":\"z\"}}"},
	    {"spec:\n  ports:\n  - port: 1\n  - port: 2\n    port: 3\n", "spec.ports[1].port ",
	     "{\"spec\":{\"ports\":[{\"port\":1},{\"port\":3}]}}"},
	    {"a: {x: 1}\na: [1]\n", "a ", "{\"a\":[1]}"},
	    {"{<<: {a: 1}, a: 2}", "", "{\"a\":2}"},
	};
	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		AUTO(fl_buf_deinit) struct fl_buf seen = {0};
		struct fl_json_parse_opts opts = {.on_duplicate = note, .arg = &seen};
		struct fl_json *j;
		assert_int_equal(fl_yaml_parse(&arena, cases[i][0], strlen(cases[i][0]), &opts, &j, NULL), 0);
		assert_string_equal(seen.data ? seen.data : "", cases[i][1]);
		assert_json(j, cases[i][2]);
	}
}

static void names_of_any_number(void **state)
{
	for (int n = 1; n < 60; n++) {
		AUTO(fl_buf_deinit) struct fl_buf text = {0}, seen = {0};
		struct fl_json_parse_opts opts = {.on_duplicate = note, .arg = &seen};
		for (int i = 0; i < n; i++)
			fl_buf_printf(&text, "name%d: %d\n", i, i);
		fl_buf_printf(&text, "name%d: -1\n", n / 2);
		struct fl_json *j;
		char want[32];
		assert_int_equal(fl_yaml_parse(&arena, text.data, text.len, &opts, &j, NULL), 0);
		assert_int_equal(j->kids.count, n);
		snprintf(want, sizeof(want), "name%d ", n / 2);
		assert_string_equal(seen.data, want);
		want[strlen(want) - 1] = '\0';
		assert_int_equal(fl_json_int(j, want, 0), -1);
		check_links(j);
	}
}

static void no_text(void **state)
{
	struct fl_json *j;
	assert_int_equal(fl_yaml_parse(&arena, NULL, 0, NULL, &j, NULL), 0);
	assert_true(fl_json_is(j, FL_JSON_NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_manifest),
	    TEST(small_documents),
	    TEST(scalars),
	    TEST(names_become_strings),
	    TEST(broken_documents),
	    TEST(aliases),
	    TEST(merge_keys),
	    TEST(aliases_are_bounded),
	    TEST(depth_is_bounded),
	    TEST(repeated_names),
	    TEST(names_of_any_number),
	    TEST(no_text),
	    TEST(directives_are_bounded),
	    TEST(deep_flow_is_bounded_by_size),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
