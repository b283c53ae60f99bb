// SPDX-License-Identifier: Apache-2.0
// The wording of causes and Status objects.
#include "api_test.h"

#include "api/status.h"
#include "base/mem.h"

static const char *message_of(enum fl_cause_type type, const char *value, const char *detail)
{
	struct fl_causes c = {.arena = &arena};

	fl_cause_add(&c, type, "f", value ? parse(value) : NULL, detail ? "%s" : NULL, detail);
	return c.v[0].message;
}

static void wording(void **state)
{
	static const struct {
		enum fl_cause_type type;
		const char *value, *detail, *text;
	} cases[] = {
	    {FL_CAUSE_REQUIRED, NULL, NULL, "Required value"},
	    {FL_CAUSE_REQUIRED, NULL, "why", "Required value: why"},
	    {FL_CAUSE_INVALID, "0", "must be 1", "Invalid value: 0: must be 1"},
	    {FL_CAUSE_INVALID, "\"a\"", "no", "Invalid value: \"a\": no"},
	    {FL_CAUSE_INVALID, "[\"a\"]", "no", "Invalid value: [\"a\"]: no"},
	    {FL_CAUSE_INVALID, "{\"b\":\"2\",\"a\":\"1\"}", "no", "Invalid value: {\"a\":\"1\",\"b\":\"2\"}: no"},
	    {FL_CAUSE_NOT_SUPPORTED, "\"x\"", "supported values: \"y\"",
	     "Unsupported value: \"x\": supported values: \"y\""},
	    {FL_CAUSE_DUPLICATE, "\"x\"", NULL, "Duplicate value: \"x\""},
	    {FL_CAUSE_FORBIDDEN, "\"x\"", "never", "Forbidden: never"},
	    {FL_CAUSE_NOT_FOUND, "\"x\"", NULL, "Not found: \"x\""},
	    {FL_CAUSE_TOO_LONG, "\"x\"", "may not be more than 3 bytes", "Too long: may not be more than 3 bytes"},
	    {FL_CAUSE_TOO_MANY, "3", "must have at most 2 items", "Too many: 3: must have at most 2 items"},
	    {FL_CAUSE_NAMESPACE_TERMINATING, NULL, "as given", "as given"},
	};

	for (size_t i = 0; i < FL_COUNT(cases); i++)
		assert_string_equal(message_of(cases[i].type, cases[i].value, cases[i].detail), cases[i].text);
}

static void invalid(void **state)
{
	struct fl_causes c = {.arena = &arena};
	struct fl_status s;

	fl_cause_add(&c, FL_CAUSE_REQUIRED, "spec.a", NULL, NULL);
	s = fl_status_invalid(&arena, "", "Service", "x", &c);
	assert_string_equal(s.message, "Service \"x\" is invalid: spec.a: Required value");
	fl_cause_add(&c, FL_CAUSE_REQUIRED, "spec.b", NULL, NULL);
	fl_cause_add(&c, FL_CAUSE_REQUIRED, "spec.a", NULL, NULL); // said once, though both are causes
	s = fl_status_invalid(&arena, "apps", "Deployment", "x", &c);
	assert_string_equal(s.message,
			    "Deployment.apps \"x\" is invalid: [spec.a: Required value, spec.b: Required value]");
	assert_json(fl_json_path(fl_status_tree(&arena, &s), "details", "group", NULL), "\"apps\"");
	assert_int_equal(fl_json_count(fl_json_path(fl_status_tree(&arena, &s), "details", "causes", NULL)), 3);
}

static void at_most_a_hundred_causes(void **state)
{
	struct fl_causes c = {.arena = &arena};
	struct fl_status s;

	for (unsigned i = 0; i < 300; i++)
		fl_cause_add(&c, FL_CAUSE_REQUIRED, fl_arena_printf(&arena, "f%u", i), NULL, NULL);
	s = fl_status_invalid(&arena, "", "K", "x", &c);
	assert_int_equal(fl_json_count(fl_json_path(fl_status_tree(&arena, &s), "details", "causes", NULL)), 100);
}

// A value is cut between two characters, wherever the bound falls.
static void long_values(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};

	for (unsigned i = 0; i < 3000; i++)
		fl_buf_puts(&b, "\u00e9");
	for (unsigned shift = 0; shift < 2; shift++) {
		struct fl_causes c = {.arena = &arena};

		fl_cause_add(&c, FL_CAUSE_INVALID, "f",
			     fl_json_new_str(&arena, fl_arena_printf(&arena, "%s%s", shift ? "x" : "", b.data)), "%s",
			     "why");
		assert_true(fl_ends_with(c.v[0].message, "\u00e9...: why"));
		assert_in_range(strlen(c.v[0].message), 4090, 4110);
	}
}

static void trees(void **state)
{
	struct fl_status ok = {.code = 200, .kind = "deployments", .group = "apps", .name = "w", .uid = "u"};
	struct fl_status busy = {.code = 429, .reason = "TooManyRequests", .message = "later", .retry_after_s = 1};
	AUTO(fl_buf_deinit) struct fl_buf b = {0};

	fl_status_write(&b, &ok);
	assert_string_equal(b.data,
			    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Success\","
			    "\"details\":{\"name\":\"w\",\"group\":\"apps\",\"kind\":\"deployments\",\"uid\":\"u\"}}");
	assert_json(fl_status_tree(&arena, &busy),
		    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":"
		    "\"later\",\"reason\":\"TooManyRequests\",\"details\":{\"retryAfterSeconds\":1},\"code\":429}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(wording), TEST(invalid), TEST(at_most_a_hundred_causes),
					   TEST(long_values), TEST(trees)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
