// SPDX-License-Identifier: Apache-2.0
// Field selectors, on kinds made for the test: one that declares spec.type, one that declares nothing.
#include "api_test.h"

#include <errno.h>

#include "api/selector.h"

static const char *field(struct fl_arena *a, const struct fl_json *obj, const char *path)
{
	if (strcmp(path, "spec.type") != 0)
		return NULL;
	return fl_json_str_or(fl_json_get(obj, "spec"), "type", "");
}

static const struct fl_kind_hooks with_field = {.name = "test", .field = field}, without = {.name = ""};
static const struct fl_kind kind = {.namespaced = true, .hooks = &with_field};
static const struct fl_kind plain = {.namespaced = true, .hooks = &without};
static const struct fl_kind cluster = {.hooks = &with_field};

static struct fl_field_selector *selector(const struct fl_kind *k, const char *text)
{
	struct fl_field_selector *s = NULL;
	struct fl_err err = {0};
	if (fl_field_selector_parse(&arena, k, text, &s, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return s;
}

static const char *refused(const struct fl_kind *k, const char *text)
{
	static struct fl_err err;
	struct fl_field_selector *s = NULL;
	err = (struct fl_err){0};
	assert_int_equal(fl_field_selector_parse(&arena, k, text, &s, &err), -EINVAL);
	assert_null(s);
	return err.text;
}

static bool matches(const char *text)
{
	const struct fl_json *obj =
	    parse("{\"metadata\":{\"name\":\"a\",\"namespace\":\"n,s\"},\"spec\":{\"type\":\"NodePort\"}}");
	return fl_field_selector_matches(&arena, selector(&kind, text), obj);
}

static void matching(void **state)
{
	assert_true(matches(""));
	assert_true(matches(",,"));
	assert_true(matches("metadata.name=a"));
	assert_true(matches("metadata.name==a"));
	assert_false(matches("metadata.name!=a"));
	assert_true(matches("metadata.name!=b"));
	assert_true(matches("spec.type=NodePort,metadata.name=a"));
	assert_false(matches("spec.type=NodePort,metadata.name=b"));
	assert_true(matches("metadata.namespace=n\\,s"));
	assert_false(matches("spec.type="));
	assert_false(matches("metadata.name=a\\=b"));
	assert_false(matches("metadata.name=a\\\\"));
}

static void unset_is_empty(void **state)
{
	const struct fl_json *obj = parse("{\"metadata\":{}}");
	assert_true(fl_field_selector_matches(&arena, selector(&kind, "spec.type=,metadata.name="), obj));
	assert_true(fl_field_selector_matches(&arena, selector(&kind, "spec.type!=x"), obj));
}

static void the_name(void **state)
{
	assert_string_equal(fl_field_selector_name(selector(&kind, "spec.type=x,metadata.name=a")), "a");
	assert_null(fl_field_selector_name(selector(&kind, "metadata.name!=a")));
	assert_null(fl_field_selector_name(selector(&kind, "")));
}

static void words_of_errors(void **state)
{
	assert_string_equal(refused(&kind, "spec.foo=a"), "field label not supported: spec.foo");
	assert_string_equal(refused(&plain, "spec.foo=a"), "\"spec.foo\" is not a known field selector: only "
							   "\"metadata.name\", \"metadata.namespace\"");
	assert_string_equal(refused(&cluster, "metadata.namespace=x"), "field label not supported: metadata.namespace");
	assert_string_equal(refused(&kind, "metadata.name"),
			    "invalid selector: 'metadata.name'; can't understand 'metadata.name'");
	assert_string_equal(refused(&kind, "metadata.name=a,b!c"), "invalid selector: 'metadata.name=a,b!c'; can't "
								   "understand 'b!c'");
	assert_string_equal(refused(&kind, "metadata.name=a\\x"),
			    "invalid field selector: invalid escape sequence: \\x");
	assert_string_equal(refused(&kind, "metadata.name=a\\"), "invalid field selector: invalid escape sequence: \\");
	assert_string_equal(refused(&kind, "metadata.name=a=b"),
			    "invalid field selector: unescaped character in value: 61");
}

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(matching), TEST(unset_is_empty), TEST(the_name), TEST(words_of_errors)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
