// SPDX-License-Identifier: Apache-2.0
// Label selectors: what matches, and what is answered to what does not parse (the words of apimachinery's
// labels.Parse).
#include "api_test.h"

#include <errno.h>

#include "api/selector.h"

static struct fl_selector *selector(const char *text)
{
	struct fl_selector *s = NULL;
	struct fl_err err = {0};
	if (fl_label_selector_parse(&arena, text, &s, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return s;
}

static const char *refused(const char *text)
{
	static struct fl_err err;
	struct fl_selector *s = (void *)1;
	err = (struct fl_err){0};
	assert_int_equal(fl_label_selector_parse(&arena, text, &s, &err), -EINVAL);
	assert_ptr_equal(s, (void *)1);
	return err.text;
}

static bool matches(const char *text, const char *labels)
{
	return fl_selector_matches(selector(text), labels ? parse(labels) : NULL);
}

#define AB "{\"a\":\"b\",\"n\":\"5\",\"e\":\"\"}"

static void equality(void **state)
{
	assert_true(matches("a=b", AB));
	assert_true(matches("a==b", AB));
	assert_true(matches(" a = b , e = ", AB));
	assert_false(matches("a=c", AB));
	assert_false(matches("x=b", AB));
	assert_true(matches("e=", AB));
	assert_true(matches("e=,a=b", AB));
	assert_false(matches("x=", AB));
	assert_true(matches("a!=c", AB));
	assert_true(matches("x!=c", AB));
	assert_false(matches("a!=b", AB));
	assert_false(matches("a=b,a=c", AB));
	assert_true(matches("a!=b", NULL));
	assert_false(matches("a=b", NULL));
}

static void sets(void **state)
{
	assert_true(matches("a in (b)", AB));
	assert_true(matches("a in (x, b ,z)", AB));
	assert_false(matches("a in (x,y)", AB));
	assert_false(matches("x in (b)", AB));
	assert_true(matches("a notin (x)", AB));
	assert_true(matches("x notin (b)", AB));
	assert_false(matches("a notin (b,b)", AB));
	assert_true(matches("e in ()", AB));
	assert_true(matches("e in (,)", AB));
	assert_true(matches("e in (a,)", AB));
	assert_true(matches("e in (,a)", AB));
	assert_true(matches("e in (b,,c)", AB));
	assert_false(matches("a in (c,,d)", AB));
	assert_true(matches("in in (in,notin)", "{\"in\":\"notin\"}"));
	assert_true(matches("notin=in", "{\"notin\":\"in\"}"));
}

static void existence_and_order(void **state)
{
	assert_true(matches("a", AB));
	assert_false(matches("x", AB));
	assert_true(matches("!x", AB));
	assert_true(matches("! x", AB));
	assert_false(matches("!a", AB));
	assert_true(matches("a,!x,n", AB));
	assert_true(matches("n>4", AB));
	assert_false(matches("n>5", AB));
	assert_true(matches("n<6", AB));
	assert_non_null(strstr(refused("n<-6"), "a valid label must be")); // a bound is a label value too
	assert_false(matches("a>1", AB));
	assert_false(matches("x<1", AB));
}

static void everything(void **state)
{
	assert_true(fl_selector_is_everything(selector("")));
	assert_true(fl_selector_is_everything(selector("  \t\n")));
	assert_true(matches("", NULL));
	assert_false(fl_selector_is_everything(selector("a")));
}

static void words_of_errors(void **state)
{
	assert_string_equal(refused("=="), "found '==', expected: !, identifier, or 'end of string'");
	assert_string_equal(refused(","), "found ',', expected: !, identifier, or 'end of string'");
	assert_string_equal(refused("a=b,"), "found '', expected: identifier after ','");
	assert_string_equal(refused("a=b,,c"), "found ',', expected: identifier after ','");
	assert_string_equal(refused("a=b c"), "found 'c', expected: ',' or 'end of string'");
	assert_string_equal(refused("!a=b"), "found '=', expected: ',' or 'end of string'");
	assert_string_equal(refused("!"), "unable to parse requirement: found '', expected: identifier");
	assert_string_equal(refused("a b"),
			    "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt");
	assert_string_equal(refused("a=)"), "unable to parse requirement: found ')', expected: identifier");
	assert_string_equal(refused("a in b"), "unable to parse requirement: found 'b' expected: '('");
	assert_string_equal(refused("a in (b"), "unable to parse requirement: found '', expected: ',' or ')'");
	assert_string_equal(refused("a in (b c)"), "unable to parse requirement: found 'c', expected: ',' or ')'");
	assert_string_equal(refused("a in (=)"),
			    "unable to parse requirement: found '=', expected: ',', ')' or identifier");
	assert_string_equal(refused("a in (b,=)"),
			    "unable to parse requirement: found '=', expected: ',', or identifier");
	assert_string_equal(refused("a>b"), "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', "
					    "'Lt' operators, the value must be an integer");
	assert_non_null(strstr(refused("-a=b"), "unable to parse requirement: <nil>: Invalid value: \"-a\": name part "
						"must consist of alphanumeric characters"));
	assert_non_null(strstr(refused("a=-b"), "unable to parse requirement: values[0][a]: Invalid value: \"-b\": a "
						"valid label must be an empty string or consist of"));
	assert_non_null(strstr(refused("a in (-b,-c)"), "unable to parse requirement: [values[0][a]: Invalid value: "
							"\"-b\": a valid label"));
	assert_non_null(strstr(refused("a=b=c"), "found '=', expected: ',' or 'end of string'"));
}

static void no_error_wanted(void **state)
{
	struct fl_selector *s = NULL;
	assert_int_equal(fl_label_selector_parse(&arena, "a in (b", &s, NULL), -EINVAL);
	assert_int_equal(fl_label_selector_parse(&arena, "-", &s, NULL), -EINVAL);
}

static void from_objects(void **state)
{
	struct fl_selector *s = NULL;
	struct fl_err err = {0};

	assert_int_equal(fl_label_selector_from_json(&arena, NULL, &s, &err), 0);
	assert_false(fl_selector_matches(s, parse(AB)));
	assert_false(fl_selector_is_everything(s));
	assert_int_equal(fl_label_selector_from_json(&arena, parse("{}"), &s, &err), 0);
	assert_true(fl_selector_matches(s, NULL));
	assert_true(fl_selector_is_everything(s));
	assert_int_equal(fl_label_selector_from_json(
			     &arena,
			     parse("{\"matchLabels\":{\"a\":\"b\"},\"matchExpressions\":[{\"key\":\"n\",\"operator\":"
				   "\"In\",\"values\":[\"6\",\"5\"]},{\"key\":\"x\",\"operator\":\"DoesNotExist\"},"
				   "{\"key\":\"e\",\"operator\":\"Exists\"},{\"key\":\"a\",\"operator\":\"NotIn\","
				   "\"values\":[\"z\"]}]}"),
			     &s, &err),
			 0);
	assert_true(fl_selector_matches(s, parse(AB)));
	assert_false(fl_selector_matches(s, parse("{\"a\":\"b\",\"n\":\"5\",\"e\":\"\",\"x\":\"\"}")));
	assert_false(fl_selector_matches(s, parse("{\"a\":\"z\",\"n\":\"5\",\"e\":\"\"}")));
}

static const char *refused_object(const char *text)
{
	static struct fl_err err;
	struct fl_selector *s = NULL;
	err = (struct fl_err){0};
	assert_int_equal(fl_label_selector_from_json(&arena, parse(text), &s, &err), -EINVAL);
	return err.text;
}

static void bad_objects(void **state)
{
	assert_string_equal(refused_object("{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Like\"}]}"),
			    "\"Like\" is not a valid label selector operator");
	assert_string_equal(refused_object("{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\"}]}"),
			    "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty");
	assert_non_null(strstr(refused_object("{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Exists\","
					      "\"values\":[\"x\"]}]}"),
			       "values set must be empty for exists and does not exist"));
	assert_non_null(strstr(refused_object("{\"matchLabels\":{\"-\":\"x\"}}"), "key: Invalid value: \"-\""));
	assert_non_null(
	    strstr(refused_object("{\"matchLabels\":{\"a\":\"-\"}}"), "values[0][a]: Invalid value: \"-\""));
}

static void from_maps(void **state)
{
	assert_false(fl_selector_matches(fl_label_selector_from_map(&arena, NULL), parse(AB)));
	assert_false(fl_selector_matches(fl_label_selector_from_map(&arena, parse("{}")), parse(AB)));
	struct fl_selector *s = fl_label_selector_from_map(&arena, parse("{\"a\":\"b\",\"n\":\"5\"}"));
	assert_true(fl_selector_matches(s, parse(AB)));
	assert_false(fl_selector_matches(s, parse("{\"a\":\"b\"}")));
	assert_false(fl_selector_matches(s, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(equality),
	    TEST(sets),
	    TEST(existence_and_order),
	    TEST(everything),
	    TEST(words_of_errors),
	    TEST(no_error_wanted),
	    TEST(from_objects),
	    TEST(bad_objects),
	    TEST(from_maps),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
