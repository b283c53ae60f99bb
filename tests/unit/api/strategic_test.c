// SPDX-License-Identifier: Apache-2.0
// Strategic merge patch: what real Kubernetes answered, then each directive on its own (Kubernetes documentation
// "Update API Objects in Place Using kubectl patch"; design "preserve order in strategic merge patch").
#include "api_test.h"

#include <errno.h>

#include "api/kind.h"
#include "api/strategic.h"

static const struct fl_schema *schema(const char *api_version, const char *kind)
{
	return fl_kind_schema(fl_kind_by_kind(fl_registry_builtin(), api_version, kind));
}

static struct fl_json *merge(const char *api_version, const char *kind, const char *target, const char *patch)
{
	struct fl_json *ret = NULL, *p = parse(patch), *before = fl_json_clone(&arena, p);
	struct fl_err err = {0};
	if (fl_strategic_merge(&arena, schema(api_version, kind), parse(target), p, &ret, &err) < 0)
		fail_msg("%s: %s", patch, err.text);
	assert_same(p, before); // the patch belongs to the caller
	check_links(ret);
	return ret;
}

static const char *refused(const char *target, const char *patch)
{
	static struct fl_err err;
	struct fl_json *ret = NULL;
	err = (struct fl_err){0};
	assert_int_equal(fl_strategic_merge(&arena, schema("v1", "Pod"), parse(target), parse(patch), &ret, &err),
			 -EINVAL);
	assert_null(ret);
	return err.text;
}

#define assert_pod(target, patch, want) assert_same(merge("v1", "Pod", target, patch), parse(want))

// Replays the patches of a file; each is applied to the Service as it was answered before. Returns the last answer.
static struct fl_json *replay(const char *path, struct fl_json *service, unsigned *ret_replayed)
{
	const struct fl_kind *k = fl_kind_by_kind(fl_registry_builtin(), "v1", "Service");
	char *text = read_golden(path, NULL), *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		struct fl_json *x = parse(line), *request = fl_json_get(x, "request"), *body = fl_json_get(x, "body");
		struct fl_json *merged = NULL;
		struct fl_err err = {0};
		if (!fl_streq(fl_json_str(fl_json_get(body, "metadata"), "name"), "k"))
			continue;
		if (fl_starts_with(fl_json_str(x, "case"), "strategic merge ")) {
			assert_int_equal(fl_strategic_merge(&arena, fl_kind_schema(k), fl_json_clone(&arena, service),
							    fl_json_get(request, "body"), &merged, &err),
					 0);
			fl_kind_prepare(k, &arena, merged, service, NULL); // the server's defaults
			assert_same(fl_json_get(merged, "spec"), fl_json_get(body, "spec"));
			++*ret_replayed;
		}
		service = body;
	}
	return service;
}

static void as_recorded(void **state)
{
	unsigned replayed = 0;
	struct fl_json *k = replay("tests/golden/oracle/http/service-defaults.jsonl", NULL, &replayed);

	assert_non_null(k);
	assert_int_equal(replayed, 0);
	replay("tests/golden/oracle/http/write.jsonl", k, &replayed);
	assert_int_equal(replayed, 4);
}

static void maps(void **state)
{
	assert_pod("{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}}",
		   "{\"metadata\":{\"labels\":{\"b\":null,\"c\":\"3\",\"d\":null}}}",
		   "{\"metadata\":{\"labels\":{\"a\":\"1\",\"c\":\"3\"}}}");
	assert_pod("{}", "{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":null}}}",
		   "{\"metadata\":{\"labels\":{\"a\":\"1\"}}}");
	assert_pod("{\"spec\":{\"nodeName\":\"x\",\"hostname\":\"h\"}}", "{\"spec\":{\"nodeName\":\"y\"}}",
		   "{\"spec\":{\"nodeName\":\"y\",\"hostname\":\"h\"}}");
	assert_pod("{\"spec\":{\"nodeName\":\"x\"}}", "{\"spec\":null}", "{}");
	assert_pod("{\"spec\":{\"hostname\":{\"a\":1}}}", "{\"spec\":{\"hostname\":\"h\"}}",
		   "{\"spec\":{\"hostname\":\"h\"}}");
	// A selector is merged as a map by this patch, although server-side apply takes it whole.
	assert_same(merge("v1", "Service", "{\"spec\":{\"selector\":{\"a\":\"1\"}}}",
			  "{\"spec\":{\"selector\":{\"b\":\"2\"}}}"),
		    parse("{\"spec\":{\"selector\":{\"a\":\"1\",\"b\":\"2\"}}}"));
}

static void map_directives(void **state)
{
	assert_pod("{\"spec\":{\"nodeSelector\":{\"a\":\"1\"}}}",
		   "{\"spec\":{\"nodeSelector\":{\"$patch\":\"replace\",\"b\":\"2\"}}}",
		   "{\"spec\":{\"nodeSelector\":{\"b\":\"2\"}}}");
	assert_pod("{\"spec\":{\"nodeSelector\":{\"a\":\"1\"}}}",
		   "{\"spec\":{\"nodeSelector\":{\"$patch\":\"delete\"}}}", "{\"spec\":{\"nodeSelector\":{}}}");
	assert_pod("{\"metadata\":{\"name\":\"x\"}}", "{\"$patch\":\"replace\",\"kind\":\"Pod\"}",
		   "{\"kind\":\"Pod\"}");
	// Nothing to direct: kube-apiserver drops the whole value.
	assert_pod("{\"spec\":{}}", "{\"spec\":{\"nodeSelector\":{\"$patch\":\"delete\"}}}", "{\"spec\":{}}");
}

#define THREE "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"1\"},{\"name\":\"b\"},{\"name\":\"c\"}]}}"

static void lists_by_key(void **state)
{
	assert_pod(THREE, "{\"spec\":{\"containers\":[{\"name\":\"a\",\"tty\":true}]}}",
		   "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"1\",\"tty\":true},{\"name\":\"b\"},{"
		   "\"name\":\"c\"}]}}");
	assert_pod(THREE, "{\"spec\":{\"containers\":[{\"name\":\"d\",\"tty\":null,\"image\":\"x\"}]}}",
		   "{\"spec\":{\"containers\":[{\"name\":\"d\",\"image\":\"x\"},{\"name\":\"a\",\"image\":\"1\"},{"
		   "\"name\":\"b\"},{\"name\":\"c\"}]}}");
	// The patch's order for its own elements; what the server had before one of them stays before it.
	assert_pod(THREE, "{\"spec\":{\"containers\":[{\"name\":\"c\"},{\"name\":\"a\"}]}}",
		   "{\"spec\":{\"containers\":[{\"name\":\"b\"},{\"name\":\"c\"},{\"name\":\"a\",\"image\":\"1\"}]}}");
	assert_pod(THREE, "{\"spec\":{\"containers\":[]}}", THREE);
	assert_pod("{\"spec\":{\"containers\":[]}}", "{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"}]}}",
		   "{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"}]}}");
}

static void list_directives(void **state)
{
	assert_pod(THREE, "{\"spec\":{\"containers\":[{\"name\":\"b\",\"$patch\":\"delete\"}]}}",
		   "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"1\"},{\"name\":\"c\"}]}}");
	assert_pod(THREE, "{\"spec\":{\"containers\":[{\"name\":\"x\",\"$patch\":\"delete\"}]}}", THREE);
	assert_pod(THREE, "{\"spec\":{\"containers\":[{\"$patch\":\"replace\"},{\"name\":\"z\"}]}}",
		   "{\"spec\":{\"containers\":[{\"name\":\"z\"}]}}");
	assert_pod(THREE, "{\"spec\":{\"containers\":[{\"$patch\":\"replace\"}]}}", "{\"spec\":{\"containers\":[]}}");
	assert_pod("{\"spec\":{}}",
		   "{\"spec\":{\"containers\":[{\"name\":\"b\",\"$patch\":\"delete\"},{\"name\":\"c\"}]}}",
		   "{\"spec\":{\"containers\":[{\"name\":\"c\"}]}}");
	assert_pod(THREE, "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":null}]}}",
		   "{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"}]}}");
}

static void atomic_lists(void **state)
{
	assert_pod("{\"spec\":{\"tolerations\":[{\"key\":\"a\"}],\"containers\":[{\"name\":\"a\",\"args\":[\"1\"]}]}}",
		   "{\"spec\":{\"tolerations\":[{\"key\":\"b\"}],\"containers\":[{\"name\":\"a\",\"args\":[\"2\"]}]}}",
		   "{\"spec\":{\"tolerations\":[{\"key\":\"b\"}],\"containers\":[{\"name\":\"a\",\"args\":[\"2\"]}]}}");
}

static void primitive_lists(void **state)
{
	assert_pod("{\"metadata\":{\"finalizers\":[\"a\",\"b\"]}}", "{\"metadata\":{\"finalizers\":[\"c\",\"a\"]}}",
		   "{\"metadata\":{\"finalizers\":[\"c\",\"a\",\"b\"]}}");
	assert_pod("{\"metadata\":{\"finalizers\":[\"a\",\"b\",\"c\"]}}",
		   "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"b\",\"x\"]}}",
		   "{\"metadata\":{\"finalizers\":[\"a\",\"c\"]}}");
	assert_pod("{\"metadata\":{}}", "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"b\"]}}",
		   "{\"metadata\":{}}");
	assert_pod("{\"metadata\":{\"finalizers\":[\"a\",\"b\",\"c\"]}}",
		   "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"a\"],\"$setElementOrder/finalizers\":["
		   "\"d\",\"c\",\"b\"],\"finalizers\":[\"d\"]}}",
		   "{\"metadata\":{\"finalizers\":[\"d\",\"c\",\"b\"]}}");
}

static void element_order(void **state)
{
	assert_pod(THREE,
		   "{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"c\"},{\"name\":\"b\"},{\"name\":"
		   "\"a\"}]}}",
		   "{\"spec\":{\"containers\":[{\"name\":\"c\"},{\"name\":\"b\"},{\"name\":\"a\",\"image\":\"1\"}]}}");
	// An element that only the server has keeps its place relative to its old neighbours.
	assert_pod(THREE,
		   "{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"c\"},{\"name\":\"d\"}],"
		   "\"containers\":[{\"name\":\"d\",\"image\":\"4\"},{\"name\":\"a\",\"$patch\":\"delete\"}]}}",
		   "{\"spec\":{\"containers\":[{\"name\":\"b\"},{\"name\":\"c\"},{\"name\":\"d\",\"image\":\"4\"}]}}");
	assert_pod("{\"spec\":{}}",
		   "{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"a\"},{\"name\":\"b\"}],\"containers\":[{"
		   "\"name\":\"b\"}]}}",
		   "{\"spec\":{\"containers\":[{\"name\":\"b\"}]}}");
	assert_pod("{\"spec\":{}}", "{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"a\"}]}}", "{\"spec\":{}}");
	// As kubectl apply sends it: the order beside a change deep inside.
	assert_same(merge("apps/v1", "Deployment",
			  "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"x\",\"image\":\"1\",\"env\":"
			  "[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"B\",\"value\":\"2\"}]}]}}}}",
			  "{\"spec\":{\"template\":{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"x\"}],"
			  "\"containers\":[{\"name\":\"x\",\"$setElementOrder/env\":[{\"name\":\"B\"},{\"name\":\"C\"}"
			  "],\"env\":[{\"name\":\"C\",\"value\":\"3\"},{\"$patch\":\"delete\",\"name\":\"A\"}]}]}}}}"),
		    parse("{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"x\",\"image\":\"1\",\"env\":"
			  "[{\"name\":\"B\",\"value\":\"2\"},{\"name\":\"C\",\"value\":\"3\"}]}]}}}}"));
}

static void retain_keys(void **state)
{
	assert_same(merge("apps/v1", "Deployment",
			  "{\"spec\":{\"strategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxSurge\":1}}}}",
			  "{\"spec\":{\"strategy\":{\"$retainKeys\":[\"type\"],\"type\":\"Recreate\"}}}"),
		    parse("{\"spec\":{\"strategy\":{\"type\":\"Recreate\"}}}"));
	assert_pod("{\"spec\":{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}]}}",
		   "{\"spec\":{\"volumes\":[{\"$retainKeys\":[\"name\",\"hostPath\"],\"name\":\"v\",\"hostPath\":{"
		   "\"path\":\"/x\"}}]}}",
		   "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"hostPath\":{\"path\":\"/x\"}}]}}");
	assert_pod("{\"spec\":{\"volumes\":[{\"name\":\"v\"}]}}",
		   "{\"spec\":{\"volumes\":[{\"$retainKeys\":[\"name\"],\"name\":\"w\"}]}}",
		   "{\"spec\":{\"volumes\":[{\"name\":\"w\"},{\"name\":\"v\"}]}}");
}

static void refusals(void **state)
{
	assert_non_null(strstr(refused(THREE, "{\"spec\":{\"containers\":[{\"image\":\"x\"}]}}"),
			       "does not contain declared merge key: name"));
	assert_non_null(strstr(refused(THREE, "{\"spec\":{\"containers\":[\"x\"]}}"),
			       "containers: list element types are not identical"));
	assert_non_null(
	    strstr(refused(THREE, "{\"spec\":{\"containers\":[[]]}}"), "containers: lists of lists are not supported"));
	assert_non_null(strstr(refused(THREE, "{\"spec\":{\"containers\":[{\"name\":\"a\",\"$patch\":\"x\"}]}}"),
			       "unknown patch type: \"x\" in map: "));
	assert_non_null(strstr(refused(THREE, "{\"spec\":{\"containers\":[{\"name\":\"a\",\"$patch\":\"merge\"}]}}"),
			       "merging lists cannot yet be specified in the patch"));
	assert_non_null(strstr(refused("{\"spec\":{}}", "{\"spec\":{\"$patch\":1}}"), "unknown patch type: 1 in map"));
	assert_string_equal(refused("{\"spec\":{}}", "{\"spec\":{\"$retainKeys\":[\"a\"],\"hostname\":\"x\"}}"),
			    "invalid patch format of retainKeys");
	assert_string_equal(refused("{\"spec\":{}}", "{\"spec\":{\"$retainKeys\":1}}"),
			    "invalid patch format of retainKeys");
	assert_string_equal(refused(THREE, "{\"spec\":{\"$setElementOrder/containers\":1}}"),
			    "invalid patch format of setElementOrder list");
	assert_string_equal(refused(THREE, "{\"spec\":{\"$setElementOrder\":[]}}"),
			    "invalid patch format of setElementOrder list");
	assert_string_equal(refused("{\"spec\":{\"hostname\":\"x\"}}", "{\"spec\":{\"$setElementOrder/hostname\":[]}}"),
			    "invalid patch format of setElementOrder list");
	assert_string_equal(refused("{\"metadata\":{}}", "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":1}}"),
			    "invalid patch format of primitive list");
	assert_non_null(strstr(refused(THREE, "{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"a\"},{\"name\":"
					      "\"b\"}],\"containers\":[{\"name\":\"b\"},{\"name\":\"a\"}]}}"),
			       "the order in patch list containers doesn't match"));
	assert_string_equal(refused("{}", "[]"), "invalid JSON document");
}

// A quadratic join would need minutes here.
static void long_lists(void **state)
{
	struct fl_json *target = parse("{\"metadata\":{}}"), *patch = parse("{\"metadata\":{}}"), *ret = NULL;
	struct fl_json *have = fl_json_set_array(&arena, fl_json_get(target, "metadata"), "finalizers");
	struct fl_json *order =
	    fl_json_set_array(&arena, fl_json_get(patch, "metadata"), "$setElementOrder/finalizers");
	enum { N = 100000 };

	for (int i = 0; i < N; i++) {
		fl_json_append(have, fl_json_new_str(&arena, fl_arena_printf(&arena, "f%d", i)));
		fl_json_append(order, fl_json_new_str(&arena, fl_arena_printf(&arena, "f%d", N - 1 - i)));
	}
	assert_int_equal(fl_strategic_merge(&arena, schema("v1", "Pod"), target, patch, &ret, NULL), 0);
	const struct fl_json *list = fl_json_path(ret, "metadata", "finalizers", NULL);
	assert_int_equal(fl_json_count(list), N);
	assert_string_equal(fl_json_string(list->kids.first), "f99999");
	assert_string_equal(fl_json_string(list->kids.last), "f0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(as_recorded),     TEST(maps),         TEST(map_directives),  TEST(lists_by_key),
	    TEST(list_directives), TEST(atomic_lists), TEST(primitive_lists), TEST(element_order),
	    TEST(retain_keys),     TEST(refusals),     TEST(long_lists),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
