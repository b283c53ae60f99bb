// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/object.h"
#include "api/packed.h"
#include "base/file.h"
#include "base/mem.h"

static const struct fl_packed_names names = {
    .ns = "team", .name = "web", .uid = "0b7e8a52-94a4-4f8e-9d1c-6f2f0b6ad7c1", .rv = 4711};

// Packed and read again, the text is the same.
static size_t round_trip(const char *text, size_t n)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0}, b = {0};
	AUTO(fl_buf_deinit) struct fl_buf packed = {0}, before = {0}, after = {0};
	struct fl_json *tree;
	struct fl_err err = {0};
	if (fl_json_parse(&a, text, n, NULL, &tree, &err) < 0)
		fail_msg("%s", err.text);
	fl_buf_puts(&packed, "xyz"); // what stands before in the buffer does not matter
	fl_packed_write(&packed, tree, &names);
	char *exact = fl_malloc(packed.len - 3); // of its very size: a read beyond it is found by a sanitizer
	memcpy(exact, packed.data + 3, packed.len - 3);
	struct fl_json *again = fl_packed_read(&b, exact, packed.len - 3, &names);
	free(exact);
	fl_json_write(&before, tree);
	fl_json_write(&after, again);
	assert_string_equal(after.data, before.data);
	assert_int_equal(after.len, before.len);
	return packed.len - 3;
}

static void comes_out_as_it_went_in(void **state)
{
	static const char *const texts[] = {
	    "null", "true", "false", "0", "7", "8", "-1", "9223372036854775807", "-9223372036854775808", "1.5", "-0.0",
	    "1e300", "''", "'\\u0000'", "'kind\\u0000x'", "'1.2.3.4\\u0000'", "[]", "{}", "{'':''}", "[[],[{}],[[[]]]]",
	    "[1,2,3,4,5,6,7]", "[1,2,3,4,5,6,7,8]",
	    // what looks like a short form and is none
	    "'0B7E8A52-94A4-4F8E-9D1C-6F2F0B6AD7C1'", "'0b7e8a5294a4-4f8e-9d1c-6f2f0b6ad7c1x'", "'01.2.3.4'", "'1.2.3'",
	    "'1.2.3.'", "'1.2.3.4.'", "'1.2.3.4.5'", "'1..2.3.4'", "'00.0.0.0'", "'1.2.3.0004'", "'.1.2.3.4'",
	    "'1.2.3. 4'", "'1.2.3.4 '", "'10.0.200.99'", "'1.2.3.256'", "'2024-02-30T00:00:00Z'",
	    "'2024-02-28T00:00:00+00:00'", "'2024-02-28t00:00:00Z'", "'2024-02-28T00:00:00.5Z'", "'04711'", "'4711'",
	    "4711",
	    // short forms
	    "['web','team','0b7e8a52-94a4-4f8e-9d1c-6f2f0b6ad7c1','ffffffff-0000-ffff-0000-0123456789ab']",
	    "['1969-12-31T23:59:59Z','0000-01-01T00:00:00Z','9999-12-31T23:59:59Z','255.255.255.255','0.0.0.0']",
	    "{'kind':'Service','web':{'team':1},'long enough':'long enough','x':['long enough','long']}",
	    "['0123456789012345678901234567890','01234567890123456789012345678901']"};
	for (size_t i = 0; i < FL_COUNT(texts); i++) {
		AUTO_FREE char *text = fl_strdup(texts[i]);
		for (char *p = text; *p; p++)
			if (*p == '\'')
				*p = '"';
		round_trip(text, strlen(text));
	}
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	for (unsigned n = 0; n < 300; n++) { // many members, many strings that stand twice, a long one
		fl_buf_printf(&b, "%s\"key %u\":[\"text %u\",\"text %u\",%u]", n ? "," : "{", n, n, n / 2, n * 100);
	}
	fl_buf_puts(&b, ",\"long\":\"");
	for (unsigned n = 0; n < 100000; n++)
		fl_buf_putc(&b, 'x');
	fl_buf_puts(&b, "\"}");
	round_trip(b.data, b.len);
}

static void an_object_takes_a_third(void **state)
{
	static const char text[] =
	    "{\"kind\":\"EndpointSlice\",\"apiVersion\":\"discovery.k8s.io/"
	    "v1\",\"metadata\":{\"name\":\"web\",\"generateName\":"
	    "\"web-\",\"namespace\":\"team\",\"uid\":\"0b7e8a52-94a4-4f8e-9d1c-6f2f0b6ad7c1\",\"resourceVersion\":"
	    "\"4711\","
	    "\"generation\":3,\"creationTimestamp\":\"2026-01-02T03:04:05Z\",\"labels\":{"
	    "\"endpointslice.kubernetes.io/managed-by\":\"endpointslice-controller.k8s.io\",\"kubernetes.io/"
	    "service-name\":"
	    "\"web\"},\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"name\":\"web\",\"uid\":"
	    "\"5b7e8a52-94a4-4f8e-9d1c-6f2f0b6ad7c1\",\"controller\":true,\"blockOwnerDeletion\":true}]},"
	    "\"addressType\":"
	    "\"IPv4\",\"endpoints\":[{\"addresses\":[\"10.244.0.7\"],\"conditions\":{\"ready\":true,\"serving\":true,"
	    "\"terminating\":false},\"nodeName\":\"a-node\",\"targetRef\":{\"kind\":\"Pod\",\"namespace\":\"team\","
	    "\"name\":"
	    "\"web-5f6d-abcde\",\"uid\":\"6b7e8a52-94a4-4f8e-9d1c-6f2f0b6ad7c1\"}}],\"ports\":[{\"name\":\"http\","
	    "\"port\":"
	    "8080,\"protocol\":\"TCP\"}]}";
	assert_true(round_trip(text, strlen(text)) * 3 < strlen(text));
}

static void recorded_objects_survive(void **state)
{
	static const char *const files[] = {"service-defaults", "workloads", "endpoints", "read"};
	for (size_t i = 0; i < FL_COUNT(files); i++) {
		AUTO_FREE char *path = fl_asprintf("tests/golden/oracle/http/%s.jsonl", files[i]);
		AUTO_FREE char *text = NULL;
		size_t n = 0;
		struct fl_err err = {0};
		if (fl_file_read(path, &text, &n, &err) < 0)
			fail_msg("%s", err.text);
		for (char *line = text, *end; (end = memchr(line, '\n', n - (size_t)(line - text))); line = end + 1)
			round_trip(line, (size_t)(end - line));
	}
}

static void packs_objects_of_lists(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_object_put) struct fl_object *o = NULL;
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct fl_json *tree;
	struct fl_err err = {0};
	static const char text[] =
	    "{\"status\":{\"managedFields\":1},\"metadata\":{\"name\":\"n\",\"namespace\":\"d\",\"managedFields\":[{"
	    "\"f\":{}}],\"uid\":\"u\",\"resourceVersion\":\"7\"},\"spec\":{}}";
	assert_int_equal(fl_json_parse(&a, text, strlen(text), NULL, &tree, &err), 0);
	assert_int_equal(fl_object_pack(fl_resource_intern("", "pods"), tree, "Pod", "v1", &o, &err), 0);
	assert_string_equal(o->name, "n");
	assert_string_equal(o->ns, "d");
	assert_string_equal(o->uid, "u");
	assert_int_equal(o->rv, 7);
	assert_non_null(fl_json_path(tree, "metadata", "managedFields", NULL)); // what was given is as it was
	fl_json_write(&b, fl_object_tree(o, &a));
	assert_string_equal(
	    b.data, "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"n\",\"namespace\":\"d\",\"uid\":"
		    "\"u\",\"resourceVersion\":\"7\"},\"status\":{\"managedFields\":1},\"spec\":{}}");
	AUTO(fl_object_put) struct fl_object *none = NULL;
	fl_json_remove(fl_json_get(tree, "metadata"), "resourceVersion");
	assert_int_equal(fl_object_pack(fl_resource_intern("", "pods"), tree, NULL, NULL, &none, &err), -EINVAL);
	assert_non_null(strstr(err.text, "resourceVersion"));
}

static unsigned marks(const char *meta)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_object_put) struct fl_object *o = NULL;
	AUTO_FREE char *text = fl_asprintf("{\"metadata\":{\"name\":\"n\",\"resourceVersion\":\"7\"%s}}", meta);
	struct fl_json *tree;
	struct fl_err err = {0};
	assert_int_equal(fl_json_parse(&a, text, strlen(text), NULL, &tree, &err), 0);
	assert_int_equal(fl_object_pack(fl_resource_intern("", "pods"), tree, "Pod", "v1", &o, &err), 0);
	return fl_object_marks(o);
}

static void marks_what_is_owned_or_ending(void **state)
{
	AUTO(fl_object_put)
	struct fl_object *text = fl_object_new(fl_resource_intern("", "pods"), "", "n", "u", "{}", 2, -1, 1);
	assert_int_equal(marks(""), 0);
	assert_int_equal(marks(",\"ownerReferences\":[],\"finalizers\":[\"x\"]"), 0);
	assert_int_equal(marks(",\"ownerReferences\":[{\"uid\":\"x\"}]"), FL_OBJECT_OWNED);
	assert_int_equal(marks(",\"deletionTimestamp\":\"2026-01-02T03:04:05Z\""), FL_OBJECT_DELETING);
	assert_int_equal(fl_object_marks(text), FL_OBJECT_OWNED | FL_OBJECT_DELETING); // nobody has looked
	assert_int_equal(fl_object_marks(NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(comes_out_as_it_went_in),       cmocka_unit_test(an_object_takes_a_third),
	    cmocka_unit_test(recorded_objects_survive),      cmocka_unit_test(packs_objects_of_lists),
	    cmocka_unit_test(marks_what_is_owned_or_ending),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
