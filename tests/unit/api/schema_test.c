// SPDX-License-Identifier: Apache-2.0
// Decoding, defaults, pruning and constraints along the compiled schemas.
#include "api_test.h"

#include <errno.h>

#include "api/kind.h"
#include "base/mem.h"

static const struct fl_schema *schema_of(const char *plural)
{
	const struct fl_kind *k = fl_kind_find(fl_registry_builtin(), "", "v1", plural);

	assert_non_null(k);
	return fl_kind_schema(k);
}

static const char *refusal(const char *plural, const char *text)
{
	struct fl_err err = {0};

	assert_int_equal(fl_schema_decode(schema_of(plural), &arena, parse(text), &err), -EINVAL);
	return fl_arena_strdup(&arena, err.text);
}

static struct fl_json *decoded(const char *plural, const char *text)
{
	struct fl_json *j = parse(text);
	struct fl_err err = {0};

	if (fl_schema_decode(schema_of(plural), &arena, j, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	check_links(j);
	return j;
}

static void wrong_types(void **state)
{
	static const char *const cases[][2] = {
	    {"{\"spec\":{\"ports\":[{\"port\":\"x\"}]}}",
	     "json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32"},
	    {"{\"spec\":[]}", "json: cannot unmarshal array into Go struct field Service.spec of type v1.ServiceSpec"},
	    {"{\"spec\":{\"ports\":{}}}",
	     "json: cannot unmarshal object into Go struct field ServiceSpec.spec.ports of type []v1.ServicePort"},
	    {"{\"metadata\":{\"labels\":{\"a\":1}}}",
	     "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"},
	    {"{\"metadata\":{\"labels\":[]}}",
	     "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string"},
	    {"{\"spec\":{\"healthCheckNodePort\":3000000000}}",
	     "json: cannot unmarshal number 3000000000 into Go struct field ServiceSpec.spec.healthCheckNodePort of "
	     "type "
	     "int32"},
	    {"{\"spec\":{\"healthCheckNodePort\":1.5}}", "json: cannot unmarshal number 1.5 into Go struct field "
							 "ServiceSpec.spec.healthCheckNodePort of type int32"},
	    {"{\"spec\":{\"publishNotReadyAddresses\":\"yes\"}}",
	     "json: cannot unmarshal string into Go struct field ServiceSpec.spec.publishNotReadyAddresses of type "
	     "bool"},
	    {"{\"spec\":{\"ports\":[{\"targetPort\":true}]}}",
	     "json: cannot unmarshal bool into Go value of type int32"},
	    {"{\"metadata\":{\"creationTimestamp\":\"x\"}}",
	     "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\""},
	    {"[]", "json: cannot unmarshal array into Go value of type v1.Service"},
	};

	for (size_t i = 0; i < FL_COUNT(cases); i++)
		assert_string_equal(refusal("services", cases[i][0]), cases[i][1]);
	assert_non_null(
	    strstr(refusal("pods", "{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":\"x\"}}}]}}"),
		   "quantities must match"));
	assert_string_equal(refusal("configmaps", "{\"binaryData\":{\"a\":\"AA*\"}}"),
			    "illegal base64 data at input byte 2");
}

// What decoding into Go's structs and back does.
static void normalized(void **state)
{
	assert_json(
	    decoded("services",
		    "{\"metadata\":{\"name\":\"x\",\"labels\":{},\"uid\":\"\",\"creationTimestamp\":null},\"spec\":"
		    "{\"clusterIP\":\"\",\"publishNotReadyAddresses\":false,\"externalIPs\":[],"
		    "\"allocateLoadBalancerNodePorts\":false,\"selector\":null},\"status\":{}}"),
	    "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"allocateLoadBalancerNodePorts\":false},\"status\":{}}");
	assert_json(decoded("configmaps", "{\"data\":{\"a\":null,\"b\":\"\"}}"), "{\"data\":{\"a\":\"\",\"b\":\"\"}}");
	assert_json(decoded("services", "{\"spec\":{\"ports\":[null,{\"port\":1}]}}"),
		    "{\"spec\":{\"ports\":[{},{\"port\":1}]}}");
	assert_json(
	    decoded("pods",
		    "{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":0.5,\"memory\":\"1024Mi\"}}}]}}"),
	    "{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":\"500m\",\"memory\":\"1Gi\"}}}]}}");
	assert_json(decoded("services", "{\"metadata\":{\"creationTimestamp\":\"2026-01-02T03:04:05.6+01:00\"}}"),
		    "{\"metadata\":{\"creationTimestamp\":\"2026-01-02T02:04:05Z\"}}");
}

static void defaults(void **state)
{
	struct fl_json *j = parse("{\"spec\":{\"ports\":[{\"port\":1}]}}");

	fl_schema_default(schema_of("services"), &arena, j);
	assert_json(fl_json_path(j, "spec", "ports", NULL), "[{\"port\":1,\"protocol\":\"TCP\"}]");
	assert_json(fl_json_path(j, "spec", "sessionAffinity", NULL), "\"None\"");
	assert_json(fl_json_get(j, "status"), "{\"loadBalancer\":{}}");
	j = parse(
	    "{\"spec\":{\"containers\":[{\"name\":\"c\",\"livenessProbe\":{\"httpGet\":{\"port\":1}}}],\"volumes\":["
	    "{\"name\":\"v\",\"secret\":{\"defaultMode\":0}}]}}");
	fl_schema_default(schema_of("pods"), &arena, j);
	assert_json(
	    fl_json_path(fl_json_index(fl_json_path(j, "spec", "containers", NULL), 0), "livenessProbe", NULL),
	    "{\"httpGet\":{\"port\":1,\"path\":\"/\",\"scheme\":\"HTTP\"},\"failureThreshold\":3,\"periodSeconds\":"
	    "10,\"successThreshold\":1,\"timeoutSeconds\":1}");
	assert_json(fl_json_path(fl_json_index(fl_json_path(j, "spec", "volumes", NULL), 0), "secret", NULL),
		    "{\"defaultMode\":0}");
}

static void collect(void *arg, const char *path)
{
	fl_buf_printf(arg, "%s ", path);
}

static void pruned(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf paths = {0};
	struct fl_json *j =
	    parse("{\"spec\":{\"portz\":[],\"ports\":[{\"port\":1,\"bar\":2},{\"foo\":{}}]},\"x\":1,"
		  "\"metadata\":{\"annotations\":{\"any\":\"key\"},\"managedFields\":[{\"fieldsV1\":{\"f:a\":{}}}]}}");

	fl_schema_prune(schema_of("services"), j, collect, &paths);
	check_links(j);
	assert_string_equal(paths.data, "spec.portz spec.ports[0].bar spec.ports[1].foo x ");
	assert_json(j, "{\"spec\":{\"ports\":[{\"port\":1},{}]},\"metadata\":{\"annotations\":{\"any\":\"key\"},"
		       "\"managedFields\":[{\"fieldsV1\":{\"f:a\":{}}}]}}");
	fl_schema_prune(schema_of("services"), j, NULL, NULL);
}

static void constraints(void **state)
{
	struct fl_causes c = {.arena = &arena};
	const struct fl_schema *s = schema_of("pods");

	fl_schema_validate(
	    fl_schema_prop(s, "spec")->schema,
	    parse("{\"restartPolicy\":\"Maybe\",\"containers\":[{\"name\":\"c\",\"ports\":[{\"containerPort\":1,"
		  "\"protocol\":\"X\"}]},{}],\"volumes\":[{}]}"),
	    "spec", &c);
	assert_int_equal(c.n, 4);
	assert_string_equal(c.v[0].field, "spec.containers[0].ports[0].protocol");
	assert_string_equal(c.v[0].message, "Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\"");
	assert_string_equal(c.v[1].field, "spec.containers[1].name");
	assert_string_equal(c.v[1].message, "Required value");
	assert_string_equal(c.v[2].field, "spec.restartPolicy");
	assert_string_equal(c.v[3].field, "spec.volumes[0].name");
}

static void properties(void **state)
{
	const struct fl_schema *s = schema_of("services");

	assert_string_equal(fl_schema_prop(s, "spec")->name, "spec");
	assert_null(fl_schema_prop(s, "specs"));
	assert_null(fl_schema_prop(s, ""));
	assert_string_equal(fl_schema_prop(fl_schema_prop(s, "spec")->schema, "ports")->schema->merge_key, "port");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(wrong_types), TEST(normalized), TEST(defaults), TEST(pruned), TEST(constraints), TEST(properties),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
