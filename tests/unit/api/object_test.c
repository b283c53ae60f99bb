// SPDX-License-Identifier: Apache-2.0
// Objects at rest: the place of the resourceVersion, references, reading a server's object back.
#include "api_test.h"

#include <errno.h>

#include "api/object.h"
#include "base/mem.h"

static void interned_names(void **state)
{
	char group[] = "apps", plural[] = "deployments";

	assert_ptr_equal(fl_resource_intern("apps", "deployments"), fl_resource_intern(group, plural));
	assert_string_equal(fl_resource_intern("", "pods"), "pods");
	assert_string_equal(fl_resource_intern("apps", "deployments"), "apps/deployments");
	assert_ptr_not_equal(fl_resource_intern("", "deployments"), fl_resource_intern("apps", "deployments"));
}

static void serialized_form(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct fl_json *j =
	    parse("{\"spec\":{\"a\":1},\"metadata\":{\"labels\":{\"x\":\"y\"},\"resourceVersion\":\"7\","
		  "\"uid\":\"u\",\"name\":\"n\",\"namespace\":\"ns\"},\"apiVersion\":\"v1\",\"kind\":\"K\"}");
	long rv_at = -1;
	struct fl_object *o;

	fl_object_serialize(&b, j, &rv_at);
	check_links(j);
	assert_string_equal(
	    b.data, "{\"kind\":\"K\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"n\",\"namespace\":\"ns\",\"uid\":"
		    "\"u\",\"resourceVersion\":\"\",\"labels\":{\"x\":\"y\"}},\"spec\":{\"a\":1}}");
	o = fl_object_new(fl_resource_intern("", "ks"), "ns", "n", "u", b.data, b.len, rv_at, 18446744073709551615ull);
	assert_string_equal(fl_json_str(fl_json_get(fl_object_tree(o, &arena), "metadata"), "resourceVersion"),
			    "18446744073709551615");
	assert_int_equal(o->len, strlen(o->json));
	assert_string_equal(o->ns, "ns");
	assert_string_equal(o->name, "n");
	assert_string_equal(o->uid, "u");
	fl_object_put(&o);
	assert_null(o);
}

static void serialized_without_metadata(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	long rv_at = -1;

	fl_buf_puts(&b, "before");
	fl_object_serialize(&b, parse("{\"data\":{}}"), &rv_at);
	assert_string_equal(b.data, "before{\"data\":{},\"metadata\":{\"resourceVersion\":\"\"}}");
	assert_int_equal(b.data[strlen("before") + (size_t)rv_at], '"');
}

static void references(void **state)
{
	struct fl_object *o = fl_object_new(fl_resource_intern("", "ks"), "", "n", "", "{}", 2, -1, 3), *second;

	second = fl_object_get(o);
	fl_object_put(&o);
	assert_string_equal(second->json, "{}");
	assert_int_equal(second->rv, 3);
	fl_object_put(&second);
	fl_object_put(&second);
	assert_null(fl_object_get(NULL));
}

static void parsed_from_a_server(void **state)
{
	static const char text[] =
	    "{\"metadata\":{\"name\":\"n\",\"namespace\":\"a\",\"uid\":\"u\",\"resourceVersion\":\"42\"}}";
	static const char *const bad[] = {
	    "{\"metadata\":{\"resourceVersion\":\"42\"}}",
	    "{\"metadata\":{\"name\":\"n\"}}",
	    "{\"metadata\":{\"name\":\"n\",\"resourceVersion\":\"x\"}}",
	    "{\"metadata\"",
	    "[]",
	};
	struct fl_object *o = NULL;
	struct fl_err err = {0};

	assert_int_equal(fl_object_parse(fl_resource_intern("", "ks"), text, strlen(text), &o, &err), 0);
	assert_int_equal(o->rv, 42);
	assert_string_equal(o->json, text);
	fl_object_put(&o);
	for (size_t i = 0; i < FL_COUNT(bad); i++) {
		assert_int_equal(fl_object_parse(fl_resource_intern("", "ks"), bad[i], strlen(bad[i]), &o, &err),
				 -EINVAL);
		assert_null(o);
		assert_non_null(strstr(err.text, "ks"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(interned_names), TEST(serialized_form),      TEST(serialized_without_metadata),
	    TEST(references),     TEST(parsed_from_a_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
