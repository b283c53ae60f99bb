// SPDX-License-Identifier: Apache-2.0
// Rules of ReplicationControllers (what they share with ReplicaSets and what not) and of ControllerRevisions.
#include "kind_rules.h"

#define META "\"metadata\":{\"name\":\"x\",\"namespace\":\"d\"}"
#define POD  "\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i:1\"}]%s}"

static struct result rc(const char *spec, const struct fl_json *old)
{
	return write_of(kind_of("v1", "ReplicationController"),
			fl_arena_printf(&arena, "{" META ",\"spec\":{%s}}", spec), old, NULL);
}

// A template with one label and `more` in the pod's spec.
static const char *template(const char *more)
{
	return fl_arena_printf(&arena, "\"template\":{\"metadata\":{\"labels\":{\"app\":\"a\"}}," POD "}", more);
}

static void selector_from_template(void **state)
{
	struct result r = rc(template(""), NULL);

	assert_string_equal(said(&r.causes), "");
	assert_json(fl_json_path(r.obj, "spec", "selector", NULL), "{\"app\":\"a\"}");
	assert_json(fl_json_path(r.obj, "metadata", "labels", NULL), "{\"app\":\"a\"}");
	assert_json(fl_json_path(r.obj, "spec", "replicas", NULL), "1");
	assert_json(fl_json_get(r.obj, "status"), "{\"replicas\":0}");
	assert_json(fl_json_path(rc(fl_arena_printf(&arena, "\"replicas\":0,%s", template("")), NULL).obj, "spec",
				 "replicas", NULL),
		    "0");
}

static void refusals(void **state)
{
	struct result r = rc("\"replicas\":-1", NULL);

	assert_string_equal(said(&r.causes), "spec.selector: Required value\n"
					     "spec.replicas: Invalid value: -1: must be greater than or equal to 0\n"
					     "spec.template: Required value");
	r = rc(fl_arena_printf(&arena, "\"selector\":{\"app\":\"b\"},%s",
			       template(",\"restartPolicy\":\"Never\",\"activeDeadlineSeconds\":3")),
	       NULL);
	assert_string_equal(said(&r.causes),
			    "spec.template.metadata.labels: Invalid value: {\"app\":\"a\"}: `selector` does not match "
			    "template `labels`\n"
			    "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: "
			    "\"Always\"\n"
			    "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in "
			    "ReplicationController is not Supported");
}

static void selector_may_change(void **state)
{
	struct result first = rc(template(""), NULL), r;
	const char *other = "\"selector\":{\"app\":\"b\"},\"template\":{\"metadata\":{\"labels\":{\"app\":\"b\"}},"
			    "\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i:1\"}]}}";

	r = rc(other, first.obj);
	assert_string_equal(said(&r.causes), "");
}

// On the host's network a pod's ports are the host's, a template's are not until a pod is made of it.
static void host_ports_of_templates(void **state)
{
	static const char *const kinds[][2] = {
	    {"apps/v1", "Deployment"}, {"apps/v1", "ReplicaSet"}, {"v1", "ReplicationController"}};

	for (size_t i = 0; i < FL_COUNT(kinds); i++) {
		const char *selector = i < 2 ? "{\"matchLabels\":{\"app\":\"a\"}}" : "{\"app\":\"a\"}";
		struct result r = write_of(
		    kind_of(kinds[i][0], kinds[i][1]),
		    fl_arena_printf(
			&arena,
			"{" META ",\"spec\":{\"selector\":%s,\"template\":{\"metadata\":{\"labels\":{\"app\":"
			"\"a\"}},\"spec\":{\"hostNetwork\":true,\"containers\":[{\"name\":\"c\",\"image\":\"i:1\","
			"\"ports\":[{\"containerPort\":80}]}]}}}}",
			selector),
		    NULL, NULL);
		const struct fl_json *containers = fl_json_path(r.obj, "spec", "template", "spec", "containers", NULL);

		assert_string_equal(said(&r.causes), "");
		assert_json(fl_json_get(fl_json_index(containers, 0), "ports"),
			    "[{\"containerPort\":80,\"protocol\":\"TCP\"}]");
	}
}

static void status(void **state)
{
	const struct fl_kind *k = kind_of("v1", "ReplicationController");
	struct result first = rc(template(""), NULL);
	struct result r =
	    write_of(k, "{" META ",\"status\":{\"replicas\":1,\"readyReplicas\":2}}", first.obj, "status");

	assert_string_equal(said(&r.causes),
			    "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas");
	// Metadata that comes with a status counts, but for the labels of a Deployment.
	r = write_of(k, "{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\",\"labels\":{\"n\":\"2\"}}}", first.obj,
		     "status");
	assert_json(fl_json_path(r.obj, "metadata", "labels", NULL), "{\"n\":\"2\"}");
	r = write_of(kind_of("apps/v1", "Deployment"),
		     "{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\",\"labels\":{\"n\":\"2\"}}}",
		     parse("{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\",\"labels\":{\"n\":\"1\"}},\"spec\":{}}"),
		     "status");
	assert_json(fl_json_path(r.obj, "metadata", "labels", NULL), "{\"n\":\"1\"}");
}

static void rows(void **state)
{
	const struct fl_kind *k = kind_of("v1", "ReplicationController");
	const char *obj =
	    "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"replicas\":2,\"selector\":{\"b\":\"2\",\"a\":\"1\"},"
	    "\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}},"
	    "\"status\":{\"replicas\":1}}";

	assert_string_equal(row_of(k, obj), "[\"x\",2,1,0,\"<unknown>\",\"c\",\"i\",\"a=1,b=2\"]");
	assert_string_equal(k->hooks->field(&arena, parse(obj), "status.replicas"), "1");
	assert_true(k->has_scale && k->has_status && k->has_generation);
	assert_string_equal(row_of(kind_of("apps/v1", "ReplicaSet"), "{\"metadata\":{\"name\":\"x\"},\"spec\":{"
								     "\"selector\":{\"matchLabels\":{\"a\":\"1\"}}}}"),
			    "[\"x\",0,0,0,\"<unknown>\",\"\",\"\",\"a=1\"]");
}

static void controller_revisions(void **state)
{
	const struct fl_kind *k = kind_of("apps/v1", "ControllerRevision");
	struct result r = write_of(k, "{" META ",\"revision\":-1}", NULL, NULL);

	assert_string_equal(said(&r.causes), "data: Required value: data is mandatory\n"
					     "revision: Invalid value: -1: must be greater than or equal to 0");
	r = write_of(k, "{" META ",\"revision\":2,\"data\":{\"a\":2}}",
		     parse("{" META ",\"revision\":1,\"data\":{\"a\":1}}"), NULL);
	assert_string_equal(said(&r.causes), "data: Invalid value: {\"a\":2}: field is immutable");
	assert_string_equal(row_of(k, "{\"metadata\":{\"name\":\"x\"},\"revision\":3}"),
			    "[\"x\",\"<none>\",3,\"<unknown>\"]");
	assert_string_equal(row_of(k, "{\"metadata\":{\"name\":\"x\",\"ownerReferences\":[{\"kind\":\"Other\"},{"
				      "\"apiVersion\":\"apps/v1\",\"kind\":\"DaemonSet\",\"name\":\"d\",\"controller\":"
				      "true}]},\"revision\":3}"),
			    "[\"x\",\"daemonset.apps/d\",3,\"<unknown>\"]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(selector_from_template),  TEST(refusals), TEST(selector_may_change),
	    TEST(host_ports_of_templates), TEST(status),   TEST(rows),
	    TEST(controller_revisions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
