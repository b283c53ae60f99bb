// SPDX-License-Identifier: Apache-2.0
// JSON Pointer: section 5 of RFC 6901. JSON Patch: appendix A of RFC 6902, and where Kubernetes is more lenient.
// Bounds.
#include "json_test.h"

#include <errno.h>

#include "base/limits.h"
#include "base/mem.h"
#include "json/patch.h"

static void pointer_examples_of_the_rfc(void **state)
{
	struct fl_json *j =
	    parse("{\"foo\":[\"bar\",\"baz\"],\"\":0,\"a/b\":1,\"c%d\":2,\"e^f\":3,\"g|h\":4,\"i\\\\j\":5,"
		  "\"k\\\"l\":6,\" \":7,\"m~n\":8}");
	static const char *const cases[][2] = {
	    {"/foo", "[\"bar\",\"baz\"]"},
	    {"/foo/0", "\"bar\""},
	    {"/", "0"},
	    {"/a~1b", "1"},
	    {"/c%d", "2"},
	    {"/e^f", "3"},
	    {"/g|h", "4"},
	    {"/i\\j", "5"},
	    {"/k\"l", "6"},
	    {"/ ", "7"},
	    {"/m~0n", "8"},
	};
	assert_ptr_equal(fl_json_pointer(j, ""), j);
	for (size_t i = 0; i < FL_COUNT(cases); i++)
		assert_json(fl_json_pointer(j, cases[i][0]), cases[i][1]);
	static const char *const none[] = {"foo",    "/foo/2", "/foo/-",   "/foo/01", "/foo/-1",
					   "/foo/x", "/foo/",  "/foo/0/x", "/nope/x", "/foo/99999999999999999999",
					   "//",     "/m~n~"};
	for (size_t i = 0; i < FL_COUNT(none); i++)
		assert_null(fl_json_pointer(j, none[i]));
	assert_null(fl_json_pointer(NULL, ""));
	assert_int_equal(fl_json_pointer(parse("{\"~1\":{\"x\":1}}"), "/~01/x")->i, 1); // "~01" is "~1", not "/"
}

static int apply(const char *doc, const char *patch, struct fl_json **ret, struct fl_err *err)
{
	return fl_json_patch(&arena, parse(doc), parse(patch), ret, err);
}

static void good(const char *doc, const char *patch, const char *want)
{
	struct fl_json *j = NULL;
	struct fl_err err = {0};
	if (apply(doc, patch, &j, &err) < 0)
		fail_msg("%s: %s", patch, err.text);
	assert_json(j, want);
	check_links(j);
}

static void bad(const char *doc, const char *patch, int code, const char *text)
{
	struct fl_json *j = NULL;
	struct fl_err err = {0};
	assert_int_equal(apply(doc, patch, &j, &err), code);
	assert_string_equal(err.text, text);
	assert_null(j);
	assert_int_equal(apply(doc, patch, &j, NULL), code);
}

static void patch_examples_of_the_rfc(void **state)
{
	good("{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\"}]",
	     "{\"foo\":\"bar\",\"baz\":\"qux\"}"); // A.1
	good("{\"foo\":[\"bar\",\"baz\"]}", "[{\"op\":\"add\",\"path\":\"/foo/1\",\"value\":\"qux\"}]",
	     "{\"foo\":[\"bar\",\"qux\",\"baz\"]}"); // A.2
	good("{\"baz\":\"qux\",\"foo\":\"bar\"}", "[{\"op\":\"remove\",\"path\":\"/baz\"}]",
	     "{\"foo\":\"bar\"}"); // A.3
	good("{\"foo\":[\"bar\",\"qux\",\"baz\"]}", "[{\"op\":\"remove\",\"path\":\"/foo/1\"}]",
	     "{\"foo\":[\"bar\",\"baz\"]}"); // A.4
	good("{\"baz\":\"qux\",\"foo\":\"bar\"}", "[{\"op\":\"replace\",\"path\":\"/baz\",\"value\":\"boo\"}]",
	     "{\"baz\":\"boo\",\"foo\":\"bar\"}"); // A.5
	good("{\"foo\":{\"bar\":\"baz\",\"waldo\":\"fred\"},\"qux\":{\"corge\":\"grault\"}}",
	     "[{\"op\":\"move\",\"from\":\"/foo/waldo\",\"path\":\"/qux/thud\"}]",
	     "{\"foo\":{\"bar\":\"baz\"},\"qux\":{\"corge\":\"grault\",\"thud\":\"fred\"}}"); // A.6
	good("{\"foo\":[\"all\",\"grass\",\"cows\",\"eat\"]}",
	     "[{\"op\":\"move\",\"from\":\"/foo/1\",\"path\":\"/foo/3\"}]",
	     "{\"foo\":[\"all\",\"cows\",\"eat\",\"grass\"]}"); // A.7
	good(
	    "{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}",
	    "[{\"op\":\"test\",\"path\":\"/baz\",\"value\":\"qux\"},{\"op\":\"test\",\"path\":\"/foo/1\",\"value\":2}]",
	    "{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}"); // A.8
	bad("{\"baz\":\"qux\"}", "[{\"op\":\"test\",\"path\":\"/baz\",\"value\":\"bar\"}]", -ECANCELED,
	    "testing value /baz failed: test failed"); // A.9
	good("{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/child\",\"value\":{\"grandchild\":{}}}]",
	     "{\"foo\":\"bar\",\"child\":{\"grandchild\":{}}}"); // A.10
	good("{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\",\"xyz\":123}]",
	     "{\"foo\":\"bar\",\"baz\":\"qux\"}"); // A.11
	bad("{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz/bat\",\"value\":\"qux\"}]", -ENOENT,
	    "add operation does not apply: doc is missing path: \"/baz/bat\": missing value"); // A.12
	good("{\"/\":9,\"~1\":10}", "[{\"op\":\"test\",\"path\":\"/~01\",\"value\":10}]",
	     "{\"/\":9,\"~1\":10}"); // A.14
	bad("{\"/\":9,\"~1\":10}", "[{\"op\":\"test\",\"path\":\"/~01\",\"value\":\"10\"}]", -ECANCELED,
	    "testing value /~01 failed: test failed"); // A.15
	good("{\"foo\":[\"bar\"]}", "[{\"op\":\"add\",\"path\":\"/foo/-\",\"value\":[\"abc\",\"def\"]}]",
	     "{\"foo\":[\"bar\",[\"abc\",\"def\"]]}"); // A.16
}

static void the_whole_document(void **state)
{
	good("{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"\",\"value\":[1]}]", "[1]");
	good("{\"a\":1}", "[{\"op\":\"add\",\"path\":\"\",\"value\":{\"b\":2}}]", "{\"b\":2}");
	good("{\"a\":{\"b\":2}}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"\"}]", "{\"b\":2}");
	good("{\"a\":{\"b\":2}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"\"}]", "{\"b\":2}");
	good("{\"a\":1}", "[{\"op\":\"copy\",\"from\":\"\",\"path\":\"/b\"}]", "{\"a\":1,\"b\":{\"a\":1}}");
	good("{\"a\":1}", "[{\"op\":\"test\",\"path\":\"\",\"value\":{\"a\":1.0}}]", "{\"a\":1}");
	good("{\"a\":1}", "[]", "{\"a\":1}");
	bad("{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"\"}]", -ENOENT,
	    "remove operation does not apply: doc is missing path: \"\": missing value");
}

static void objects(void **state)
{
	good("{\"a\":1,\"b\":2}", "[{\"op\":\"add\",\"path\":\"/a\",\"value\":{}}]", "{\"a\":{},\"b\":2}");
	good("{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/new\",\"value\":2}]", "{\"a\":1,\"new\":2}"); // Kubernetes
	good("{}", "[{\"op\":\"test\",\"path\":\"/gone\",\"value\":null}]", "{}");                        // Kubernetes
	good("{\"a\":null}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":null}]", "{\"a\":null}");
	good("{\"a\":{\"b\":1,\"c\":2}}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":{\"c\":2,\"b\":1}}]",
	     "{\"a\":{\"b\":1,\"c\":2}}");
	bad("{\"a\":{\"b\":1,\"c\":2}}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":{\"b\":1}}]", -ECANCELED,
	    "testing value /a failed: test failed");
	good("{\"a\":1}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a\"}]", "{\"a\":1}");
	good("{\"a\":1}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/b\"},{\"op\":\"remove\",\"path\":\"/a\"}]",
	     "{\"b\":1}");
	good("{\"a\":{\"x\":1},\"b\":2}", "[{\"op\":\"move\",\"from\":\"/a/x\",\"path\":\"/b\"}]",
	     "{\"a\":{},\"b\":1}");
	good("{\"\":{\"\":1}}", "[{\"op\":\"replace\",\"path\":\"//\",\"value\":2}]", "{\"\":{\"\":2}}");
	good("{\"metadata\":{}}", "[{\"op\":\"add\",\"path\":\"/metadata/example.com~1x\",\"value\":\"1\"}]",
	     "{\"metadata\":{\"example.com/x\":\"1\"}}");
	bad("{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"/b\"}]", -ENOENT,
	    "error in remove for path: '/b': Unable to remove nonexistent key: b: missing value");
	bad("{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"/a/b\"}]", -ENOENT,
	    "remove operation does not apply: doc is missing path: \"/a/b\": missing value");
	bad("{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/x/y\",\"value\":1}]", -ENOENT,
	    "replace operation does not apply: doc is missing path: /x/y: missing value");
	bad("{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/x/y\",\"value\":1}]", -ENOENT,
	    "test operation does not apply: is missing path: /x/y: missing value");
	bad("{\"a\":1}", "[{\"op\":\"copy\",\"from\":\"/x\",\"path\":\"/y\"}]", -ENOENT,
	    "copy operation does not apply: doc is missing from path: /x: missing value");
	bad("{\"a\":1}", "[{\"op\":\"move\",\"from\":\"/x/y\",\"path\":\"/y\"}]", -ENOENT,
	    "move operation does not apply: doc is missing from path: \"/x/y\": missing value");
	bad("{\"a\":{\"b\":{}}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b/c\"}]", -ENOENT,
	    "move operation does not apply: doc is missing destination path: \"/a/b/c\": missing value");
}

static void arrays(void **state)
{
	good("[1,2]", "[{\"op\":\"add\",\"path\":\"/0\",\"value\":0}]", "[0,1,2]");
	good("[1,2]", "[{\"op\":\"add\",\"path\":\"/2\",\"value\":3}]", "[1,2,3]");
	good("[]", "[{\"op\":\"add\",\"path\":\"/0\",\"value\":3}]", "[3]");
	good("[1,2,3]", "[{\"op\":\"replace\",\"path\":\"/2\",\"value\":9}]", "[1,2,9]");
	good("[1,2,3]", "[{\"op\":\"replace\",\"path\":\"/0\",\"value\":9}]", "[9,2,3]");
	good("[1,2,3]", "[{\"op\":\"remove\",\"path\":\"/2\"},{\"op\":\"add\",\"path\":\"/-\",\"value\":4}]",
	     "[1,2,4]");
	good("[1,2,3]", "[{\"op\":\"remove\",\"path\":\"/-1\"}]", "[1,2]");                // Kubernetes
	good("[1,2,3]", "[{\"op\":\"replace\",\"path\":\"/-3\",\"value\":0}]", "[0,2,3]"); // Kubernetes
	good("[1,2,3]", "[{\"op\":\"add\",\"path\":\"/-1\",\"value\":4}]", "[1,2,3,4]");   // Kubernetes
	good("[1,2,3]", "[{\"op\":\"test\",\"path\":\"/-1\",\"value\":3}]", "[1,2,3]");    // Kubernetes
	bad("[1]", "[{\"op\":\"add\",\"path\":\"/2\",\"value\":0}]", -ENOENT,
	    "error in add for path: '/2': Unable to access invalid index: 2: invalid index referenced");
	bad("[1]", "[{\"op\":\"add\",\"path\":\"/x\",\"value\":0}]", -ENOENT,
	    "error in add for path: '/x': value was not a proper array index: 'x'");
	bad("[1]", "[{\"op\":\"remove\",\"path\":\"/1\"}]", -ENOENT,
	    "error in remove for path: '/1': Unable to access invalid index: 1: invalid index referenced");
	bad("[1]", "[{\"op\":\"remove\",\"path\":\"/-\"}]", -ENOENT,
	    "error in remove for path: '/-': value was not a proper array index: '-'");
	bad("[1]", "[{\"op\":\"replace\",\"path\":\"/1\",\"value\":0}]", -ENOENT,
	    "replace operation does not apply: doc is missing key: /1: missing value");
	bad("[1]", "[{\"op\":\"replace\",\"path\":\"/-2\",\"value\":0}]", -ENOENT,
	    "replace operation does not apply: doc is missing key: /-2: missing value");
	bad("[1]", "[{\"op\":\"test\",\"path\":\"/7\",\"value\":0}]", -ENOENT,
	    "error in test for path: '/7': Unable to access invalid index: 7: invalid index referenced");
	bad("[1]", "[{\"op\":\"copy\",\"from\":\"/7\",\"path\":\"/0\"}]", -ENOENT,
	    "error in copy for path: '/7': Unable to access invalid index: 7: invalid index referenced");
}

static void malformed_patches(void **state)
{
	bad("{}", "{}", -EINVAL, "a JSON patch must be an array of operations");
	bad("{}", "[1]", -EINVAL, "an operation of a JSON patch must be an object");
	bad("{}", "[{}]", -EINVAL, "Unexpected kind: unknown");
	bad("{}", "[{\"op\":\"spam\",\"path\":\"/a\"}]", -EINVAL, "Unexpected kind: spam");
	bad("{}", "[{\"op\":\"add\",\"value\":1}]", -EINVAL, "add operation failed to decode path: missing value");
	bad("{}", "[{\"op\":\"add\",\"path\":5,\"value\":1}]", -EINVAL,
	    "add operation failed to decode path: missing value");
	bad("{}", "[{\"op\":\"add\",\"path\":\"a\",\"value\":1}]", -EINVAL,
	    "add operation: path \"a\" is not a JSON pointer");
	bad("{}", "[{\"op\":\"add\",\"path\":\"/a\\u0000b\",\"value\":1}]", -EINVAL,
	    "add operation: path \"/a\" is not a JSON pointer");
	bad("{}", "[{\"op\":\"add\",\"path\":\"/a\"}]", -EINVAL, "add operation failed to decode value: missing value");
	bad("{}", "[{\"op\":\"test\",\"path\":\"/a\"}]", -EINVAL,
	    "test operation failed to decode value: missing value");
	bad("{}", "[{\"op\":\"move\",\"path\":\"/a\"}]", -EINVAL,
	    "move operation failed to decode from: missing value");
}

static void the_patch_is_not_used_up(void **state)
{
	struct fl_json *patch = parse("[{\"op\":\"add\",\"path\":\"/"
				      "-\",\"value\":{\"a\":[1]}},{\"op\":\"add\",\"path\":\"/0/a/-\",\"value\":2}]");
	char *before = text_of(patch);
	for (int i = 0; i < 2; i++) {
		struct fl_json *j;
		assert_int_equal(fl_json_patch(&arena, parse("[]"), patch, &j, NULL), 0);
		assert_json(j, "[{\"a\":[1,2]}]");
	}
	assert_json(patch, before);
}

static void operations_are_bounded(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	for (int i = 0; i <= FL_MAX_JSON_PATCH_OPS; i++)
		fl_buf_printf(&b, "%s{\"op\":\"add\",\"path\":\"/a\",\"value\":1}", i ? "," : "[");
	fl_buf_putc(&b, ']');
	bad("{}", b.data, -E2BIG, "The allowed maximum operations in a JSON patch is 10000, got 10001");
}

// Each copy doubles the document: 2^40 bytes if nobody counted.
static void copies_are_bounded(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	for (int i = 0; i < 40; i++)
		fl_buf_printf(&b, "%s{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/a/-\"}", i ? "," : "[");
	fl_buf_putc(&b, ']');
	struct fl_json *j;
	struct fl_err err = {0};
	assert_int_equal(apply("{\"a\":[\"0123456789\"]}", b.data, &j, &err), -EFBIG);
	assert_non_null(strstr(err.text, "Unable to complete the copy, the accumulated size increase of copy is "));
	assert_true(arena.total < 256u << 20);
}

static void depth_is_bounded(void **state)
{
	static const char *const ops[] = {
	    "{\"op\":\"add\",\"path\":\"%s/a\",\"value\":{\"a\":{}}}",
	    "{\"op\":\"replace\",\"path\":\"%s/a\",\"value\":{\"a\":{}}}",
	    "{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"%s/a\"}",
	    "{\"op\":\"move\",\"from\":\"/b\",\"path\":\"%s/a\"}",
	};
	for (size_t k = 0; k < FL_COUNT(ops); k++) {
		AUTO(fl_buf_deinit) struct fl_buf doc = {0}, path = {0}, patch = {0};
		for (int i = 0; i < FL_MAX_JSON_DEPTH - 1; i++) {
			fl_buf_puts(&doc, "{\"a\":");
			if (i)
				fl_buf_puts(&path, "/a");
		}
		fl_buf_puts(&doc, "{}");
		for (int i = 0; i < FL_MAX_JSON_DEPTH - 2; i++)
			fl_buf_putc(&doc, '}');
		fl_buf_puts(&doc, ",\"b\":{\"c\":{\"d\":{}}}}");
		const char *cut = strstr(ops[k], "%s");
		fl_buf_putc(&patch, '[');
		fl_buf_append(&patch, ops[k], (size_t)(cut - ops[k]));
		fl_buf_puts(&patch, path.data);
		fl_buf_puts(&patch, cut + 2);
		fl_buf_putc(&patch, ']');
		struct fl_json *j;
		struct fl_err err = {0};
		assert_int_equal(apply(doc.data, patch.data, &j, &err), -EFBIG);
		assert_non_null(strstr(err.text, "exceeded max depth"));
		fl_arena_reset(&arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(pointer_examples_of_the_rfc),
	    TEST(patch_examples_of_the_rfc),
	    TEST(the_whole_document),
	    TEST(objects),
	    TEST(arrays),
	    TEST(malformed_patches),
	    TEST(the_patch_is_not_used_up),
	    TEST(operations_are_bounded),
	    TEST(copies_are_bounded),
	    TEST(depth_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
