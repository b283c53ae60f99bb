// SPDX-License-Identifier: Apache-2.0
#include "api/apply/typed.h"

#include <errno.h>

#include "kind_rules.h"

static const struct fl_schema *service(void)
{
	return fl_kind_schema(kind_of("v1", "Service"));
}

static const struct fl_schema *pod(void)
{
	return fl_kind_schema(kind_of("v1", "Pod"));
}

static const char *fields(const struct fl_schema *s, const char *text)
{
	struct fl_fieldset set;

	assert_int_equal(fl_typed_fields(s, &arena, parse(text), &set, NULL), 0);
	return text_of(fl_fieldset_to_json(&arena, &set));
}

static void zero_values(void **state)
{
	assert_json(fl_typed_zero(service(), &arena), "{\"metadata\":{},\"spec\":{},\"status\":{\"loadBalancer\":{}}}");
	assert_json(fl_typed_zero(pod(), &arena), "{\"metadata\":{},\"spec\":{\"containers\":null},\"status\":{}}");
}

static void fields_of_a_value(void **state)
{
	assert_string_equal(
	    fields(service(), "{\"metadata\":{\"labels\":{\"a\":\"1\"},\"annotations\":{},\"finalizers\":"
			      "[\"x/y\"]},\"spec\":{\"selector\":{\"a\":\"b\"},\"ports\":[{\"port\":80}],"
			      "\"externalIPs\":[\"1.1.1.1\"],\"type\":null}}"),
	    "{\"f:metadata\":{\"f:annotations\":{},\"f:finalizers\":{\"v:\\\"x/y\\\"\":{}},\"f:labels\":{"
	    "\"f:a\":{}}},\"f:spec\":{\"f:externalIPs\":{},\"f:ports\":{\"k:{\\\"port\\\":80,"
	    "\\\"protocol\\\":\\\"TCP\\\"}\":{\".\":{},\"f:port\":{}}},\"f:selector\":{},\"f:type\":{}}}");
	assert_string_equal(fields(service(), "{\"spec\":{\"ports\":[]}}"), "{}");
}

static const char *diff(const struct fl_schema *s, const char *x, const char *y)
{
	struct fl_typed_diff d;

	assert_int_equal(fl_typed_compare(s, &arena, parse(x), parse(y), &d, NULL), 0);
	return fl_arena_printf(&arena, "+%s -%s ~%s", text_of(fl_fieldset_to_json(&arena, &d.added)),
			       text_of(fl_fieldset_to_json(&arena, &d.removed)),
			       text_of(fl_fieldset_to_json(&arena, &d.modified)));
}

static void comparison(void **state)
{
	assert_string_equal(diff(service(), "{\"spec\":{}}", "{\"spec\":{\"ports\":[{\"port\":1}]}}"),
			    "+{\"f:spec\":{\"f:ports\":{\".\":{},\"k:{\\\"port\\\":1,\\\"protocol\\\":\\\"TCP\\\"}\":{"
			    "\".\":{},\"f:port\":{}}}}} -{} ~{}");
	// Order is nobody's; an atomic list and an atomic map are one field.
	assert_string_equal(
	    diff(service(),
		 "{\"spec\":{\"ports\":[{\"port\":1},{\"port\":2,\"name\":\"a\"}],\"externalIPs\":[\"a\"],"
		 "\"selector\":{\"a\":\"1\"}}}",
		 "{\"spec\":{\"ports\":[{\"port\":2,\"name\":\"b\"},{\"port\":1}],\"externalIPs\":[\"b\"],"
		 "\"selector\":{\"b\":\"1\"}}}"),
	    "+{} -{} ~{\"f:spec\":{\"f:externalIPs\":{},\"f:ports\":{\"k:{\\\"port\\\":2,"
	    "\\\"protocol\\\":\\\"TCP\\\"}\":{\"f:name\":{}}},\"f:selector\":{}}}");
	assert_string_equal(diff(service(), "{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}}",
				 "{\"metadata\":{\"labels\":{\"a\":\"1\"}}}"),
			    "+{} -{\"f:metadata\":{\"f:labels\":{\"f:b\":{}}}} ~{}");
	assert_string_equal(
	    diff(pod(), "{\"spec\":{\"containers\":null}}", "{\"spec\":{\"containers\":[{\"name\":\"c\"}]}}"),
	    "+{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"c\\\"}\":{\".\":{},\"f:name\":{}}}}} -{} "
	    "~{}");
}

// A container may open one port under two names: then the element is one field.
static void named_twice(void **state)
{
#define POD(ports) "{\"spec\":{\"containers\":[{\"name\":\"c\",\"ports\":[" ports "]}]}}"
	const char *one = POD("{\"containerPort\":1,\"name\":\"a\"}");
	const char *two = POD("{\"containerPort\":1,\"name\":\"a\"},{\"containerPort\":1,\"name\":\"b\"}");
	const char *changed =
	    "+{} -{} ~{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"c\\\"}\":{\"f:ports\":{\"k:{"
	    "\\\"containerPort\\\":1,\\\"protocol\\\":\\\"TCP\\\"}\":{}}}}}}";

	assert_string_equal(diff(pod(), one, two), changed);
	assert_string_equal(diff(pod(), two, one), changed);
	assert_string_equal(diff(pod(), two, two), "+{} -{} ~{}");
}

static void without_key(void **state)
{
	const struct fl_json *broken = parse("{\"spec\":{\"ports\":[{\"name\":\"a\"}]}}");
	struct fl_fieldset set;
	struct fl_typed_diff d;
	struct fl_err err = {0};

	assert_int_equal(fl_typed_fields(service(), &arena, parse("{\"spec\":{\"ports\":[1]}}"), &set, &err), -EINVAL);
	// A default counts as a key, and OpenAPI shows 0 as the port's.
	assert_int_equal(fl_typed_compare(service(), &arena, parse("{}"), broken, &d, &err), 0);
	assert_int_equal(
	    fl_typed_fields(pod(), &arena, parse("{\"spec\":{\"containers\":[{\"ports\":[{}]}]}}"), &set, &err), 0);
}

static const char *merged(const char *x, const char *y)
{
	return text_of(fl_typed_merge(service(), &arena, parse(x), parse(y)));
}

#define PORTS "{\"spec\":{\"ports\":%s}}"

static const char *merged_ports(const char *x, const char *y)
{
	struct fl_json *m = fl_typed_merge(service(), &arena, parse(fl_arena_printf(&arena, PORTS, x)),
					   parse(fl_arena_printf(&arena, PORTS, y)));
	struct fl_buf b = {0};
	const char *s;

	fl_json_each (p, fl_json_path(m, "spec", "ports", NULL))
		fl_buf_printf(&b, "%lld%s ", (long long)fl_json_int(p, "port", 0), fl_json_str_or(p, "name", ""));
	s = fl_arena_strdup(&arena, b.data);
	fl_buf_deinit(&b);
	return s;
}

static void merging(void **state)
{
#define P(n)  "{\"port\":" #n "}"
#define PY(n) "{\"port\":" #n ",\"name\":\"y\"}"
	assert_string_equal(merged("{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"}},\"spec\":{\"type\":\"x\"}}",
				   "{\"metadata\":{\"labels\":{\"b\":\"3\",\"c\":\"4\"}},\"spec\":{\"selector\":{}}}"),
			    "{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"3\",\"c\":\"4\"}},\"spec\":{\"type\":\"x\","
			    "\"selector\":{}}}");
	assert_string_equal(merged("{\"spec\":{\"selector\":{\"a\":\"1\"},\"externalIPs\":[\"a\"]}}",
				   "{\"spec\":{\"selector\":{\"b\":\"2\"},\"externalIPs\":[\"b\"]}}"),
			    "{\"spec\":{\"selector\":{\"b\":\"2\"},\"externalIPs\":[\"b\"]}}");
	assert_string_equal(merged("{\"spec\":{\"ports\":[" P(1) "]}}", "{\"spec\":{\"ports\":null}}"),
			    "{\"spec\":{\"ports\":[{\"port\":1}]}}");
	assert_string_equal(merged_ports("[" P(1) "," P(2) "," P(3) "]", "[" PY(2) "]"), "1 2y 3 ");
	assert_string_equal(merged_ports("[" P(1) "," P(2) "," P(3) "]", "[" PY(3) "," PY(1) "]"), "2 3y 1y ");
	assert_string_equal(merged_ports("[" P(1) "," P(2) "]", "[" PY(3) "]"), "1 2 3y ");
	assert_string_equal(merged_ports("[" P(1) "," P(2) "]", "[" PY(3) "," PY(1) "]"), "3y 1y 2 ");
	assert_string_equal(merged_ports("[]", "[" PY(2) "," PY(1) "]"), "2y 1y ");
}

static const char *removed(const char *x, const char *set_text)
{
	struct fl_fieldset set;

	assert_int_equal(fl_fieldset_from_json(&arena, parse(set_text), &set, NULL), 0);
	return text_of(fl_typed_remove(service(), &arena, parse(x), &set));
}

static void removing(void **state)
{
	const char *x =
	    "{\"metadata\":{\"labels\":{\"a\":\"1\"}},\"spec\":{\"ports\":[{\"port\":1,\"protocol\":\"TCP\"},{"
	    "\"port\":2,\"protocol\":\"TCP\",\"name\":\"n\"}]}}";

	assert_string_equal(
	    removed(x, "{\"f:spec\":{\"f:ports\":{\"k:{\\\"port\\\":1,\\\"protocol\\\":\\\"TCP\\\"}\":{},"
		       "\"k:{\\\"port\\\":2,\\\"protocol\\\":\\\"TCP\\\"}\":{\"f:name\":{}}}}}"),
	    "{\"metadata\":{\"labels\":{\"a\":\"1\"}},\"spec\":{\"ports\":[{\"port\":2,\"protocol\":\"TCP\"}]"
	    "}}");
	assert_string_equal(removed(x, "{\"f:spec\":{},\"f:metadata\":{\"f:labels\":{\"f:a\":{}}}}"),
			    "{\"metadata\":{\"labels\":null}}");
}

static void parents(void **state)
{
	struct fl_fieldset set;

	assert_int_equal(
	    fl_fieldset_from_json(&arena,
				  parse("{\"f:metadata\":{\"f:labels\":{\"f:a\":{}}},\"f:spec\":{\"f:ports\":{"
					"\"k:{\\\"port\\\":1}\":{\"f:name\":{}}}}}"),
				  &set, NULL),
	    0);
	set = fl_typed_with_parents(service(), &arena, &set);
	assert_string_equal(
	    text_of(fl_fieldset_to_json(&arena, &set)),
	    "{\"f:metadata\":{\".\":{},\"f:labels\":{\".\":{},\"f:a\":{}}},\"f:spec\":{\".\":{},\"f:ports\":{"
	    "\".\":{},\"k:{\\\"port\\\":1}\":{\"f:name\":{}}}}}");
}

static void checks(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
	    {"{\"spec\":{\"portz\":[]}}", ".spec.portz: field not declared in schema"},
	    {"{\"spec\":{\"ports\":{}}}", ".spec.ports: expected list, got map"},
	    {"{\"spec\":[]}", ".spec: expected map, got list"},
	    {"{\"spec\":{\"type\":1}}", ".spec.type: expected string, got another type"},
	    {"{\"spec\":{\"ports\":[{\"port\":\"x\"}]}}",
	     ".spec.ports[port=\"x\",protocol=\"TCP\"].port: expected numeric (int or float), got string"},
	    {"{\"spec\":{\"ports\":[{\"port\":1},{\"port\":1}]}}",
	     ".spec.ports: duplicate entries for key [port=1,protocol=\"TCP\"]"},
	    {"{\"a\":1,\"b\":1}", "errors:\n  .a: field not declared in schema\n  .b: field not declared in schema"},
	};

	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct fl_err err = {0};

		assert_int_equal(fl_typed_check(service(), &arena, parse(cases[i].text), &err), -EINVAL);
		assert_string_equal(err.text, cases[i].why);
	}
	assert_int_equal(
	    fl_typed_check(service(), &arena,
			   parse("{\"metadata\":{\"labels\":{\"x\":\"y\"}},\"spec\":{\"ports\":[{\"port\":1,"
				 "\"targetPort\":\"a\"}],\"selector\":null}}"),
			   NULL),
	    0);
}

// A list or a map of many elements costs its length.
static void many(void **state)
{
	struct fl_json *x = parse("{\"metadata\":{\"annotations\":{}},\"spec\":{\"ports\":[]}}"), *y;
	struct fl_json *map = fl_json_path(x, "metadata", "annotations", NULL);
	struct fl_json *list = fl_json_path(x, "spec", "ports", NULL);
	struct fl_typed_diff d;

	for (unsigned i = 0; i < 50000; i++) {
		struct fl_json *p = fl_json_new(&arena, FL_JSON_OBJECT), *v = fl_json_new_str(&arena, "v");

		fl_json_set_int(&arena, p, "port", i);
		fl_json_append(list, p);
		fl_json_append(map, v);
		v->key = fl_arena_printf(&arena, "k%u", i);
		v->key_len = (uint32_t)strlen(v->key);
	}
	y = fl_typed_merge(service(), &arena, x, x);
	assert_int_equal(fl_json_count(fl_json_path(y, "spec", "ports", NULL)), 50000);
	assert_int_equal(fl_typed_compare(service(), &arena, x, y, &d, NULL), 0);
	assert_true(fl_fieldset_is_empty(&d.added) && fl_fieldset_is_empty(&d.removed) &&
		    fl_fieldset_is_empty(&d.modified));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(zero_values), TEST(fields_of_a_value), TEST(comparison), TEST(named_twice), TEST(without_key),
	    TEST(merging),     TEST(removing),          TEST(parents),    TEST(checks),      TEST(many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
