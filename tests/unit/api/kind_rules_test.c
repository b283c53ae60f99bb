// SPDX-License-Identifier: Apache-2.0
// Rules of metadata, and of the kinds that need few: namespaces, nodes, config maps, leases, events, endpoints.
#include "kind_rules.h"

static void names(void **state)
{
	static const struct {
		const char *api_version, *kind, *meta, *refusal;
	} cases[] = {
	    {"v1", "ConfigMap", "{\"namespace\":\"d\"}",
	     "metadata.name: Required value: name or generateName is required"},
	    {"v1", "ConfigMap", "{\"name\":\"a.b\",\"namespace\":\"d\"}", ""},
	    {"v1", "ConfigMap", "{\"name\":\"a\"}", "metadata.namespace: Required value"},
	    {"v1", "Node", "{\"name\":\"a\",\"namespace\":\"d\"}",
	     "metadata.namespace: Forbidden: not allowed on this type"},
	    {"v1", "Event", "{\"name\":\"Any_Thing\",\"namespace\":\"default\"}", ""},
	    {"v1", "Event", "{\"name\":\"a/b\",\"namespace\":\"default\"}",
	     "metadata.name: Invalid value: \"a/b\": may not contain '/'"},
	    {"v1", "Namespace", "{\"name\":\"a.b\"}",
	     "metadata.name: Invalid value: \"a.b\": a lowercase RFC 1123 label must consist of lower case "
	     "alphanumeric "
	     "characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', "
	     "regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"},
	    {"v1", "ConfigMap", "{\"name\":\"x\",\"generateName\":\"x-\",\"namespace\":\"d\"}", ""},
	    {"v1", "ConfigMap", "{\"name\":\"x\",\"generateName\":\"-x\",\"namespace\":\"d\"}",
	     "metadata.generateName: Invalid value: \"-x\": a lowercase RFC 1123 subdomain must consist of lower case "
	     "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
	     "'example.com', regex used for validation is "
	     "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"},
	};

	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct result r = write_of(kind_of(cases[i].api_version, cases[i].kind),
					   fl_arena_printf(&arena, "{\"metadata\":%s}", cases[i].meta), NULL, NULL);

		assert_string_equal(said(&r.causes), cases[i].refusal);
	}
}

static const char *meta_refusal(const char *meta, const struct fl_json *old)
{
	struct result r =
	    write_of(kind_of("v1", "ConfigMap"), fl_arena_printf(&arena, "{\"metadata\":%s}", meta), old, NULL);

	return said(&r.causes);
}

static void metadata(void **state)
{
	const struct fl_json *old =
	    parse("{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\",\"uid\":\"u\",\"generation\":3,"
		  "\"deletionTimestamp\":\"2026-01-01T00:00:00Z\",\"finalizers\":[\"a.b/c\"]}}");
	struct fl_buf big = {0};

	assert_string_equal(
	    meta_refusal(
		"{\"name\":\"x\",\"namespace\":\"d\",\"labels\":{\"-\":\"v\",\"k\":\"-v\"},\"finalizers\":[\"orphan\","
		"\"foregroundDeletion\",\"b c\"]}",
		NULL),
	    "metadata.labels: Invalid value: \"-\": name part must consist of alphanumeric characters, '-', '_' or "
	    "'.', and "
	    "must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex "
	    "used for "
	    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')\n"
	    "metadata.labels: Invalid value: \"-v\": a valid label must be an empty string or consist of alphanumeric "
	    "characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "
	    "'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')\n"
	    "metadata.finalizers: Invalid value: \"b c\": name part must consist of alphanumeric characters, '-', '_' "
	    "or "
	    "'.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', "
	    "regex "
	    "used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')\n"
	    "metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\",\"b c\"]: finalizer orphan and "
	    "foregroundDeletion cannot be both set\n"
	    "metadata.finalizers[2]: Invalid value: \"b c\": name is neither a standard finalizer name nor is it fully "
	    "qualified");
	assert_string_equal(
	    meta_refusal("{\"name\":\"x\",\"namespace\":\"d\",\"uid\":\"v\",\"generation\":2,\"deletionTimestamp\":"
			 "\"2026-01-01T00:00:00Z\",\"finalizers\":[\"a.b/c\",\"n.b/c\"]}",
			 old),
	    "metadata.uid: Invalid value: \"v\": field is immutable\n"
	    "metadata.generation: Invalid value: 2: must not be decremented\n"
	    "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new "
	    "finalizers []string{\"n.b/c\"}");
	assert_string_equal(
	    meta_refusal(
		"{\"name\":\"x\",\"namespace\":\"d\",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Pod\","
		"\"name\":\"a\",\"uid\":\"u\",\"controller\":true},{\"apiVersion\":\"apps/"
		"\",\"kind\":\"X\",\"name\":\"b\","
		"\"controller\":true}]}",
		NULL),
	    "metadata.ownerReferences.apiVersion: Invalid value: \"apps/\": version must not be empty\n"
	    "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty\n"
	    "metadata.ownerReferences: Invalid value: "
	    "[{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"a\",\"uid\":\"u\","
	    "\"controller\":true},{\"apiVersion\":\"apps/"
	    "\",\"kind\":\"X\",\"name\":\"b\",\"controller\":true,\"uid\":\"\"}]: Only "
	    "one reference can have Controller set to true. Found \"true\" in references for a and b");
	fl_buf_puts(&big, "{\"name\":\"x\",\"namespace\":\"d\",\"annotations\":{\"a\":\"");
	for (unsigned i = 0; i < 256 * 1024; i++)
		fl_buf_putc(&big, 'x');
	fl_buf_puts(&big, "\"}}");
	assert_string_equal(meta_refusal(big.data, NULL),
			    "metadata.annotations: Too long: may not be more than 262144 bytes");
	fl_buf_deinit(&big);
}

static void namespaces(void **state)
{
	const struct fl_kind *k = kind_of("v1", "Namespace");
	struct result r = write_of(
			  k, "{\"metadata\":{\"name\":\"n\",\"labels\":{\"kubernetes.io/metadata.name\":\"other\"}}}",
			  NULL, NULL),
		      u;

	assert_json(r.obj, "{\"metadata\":{\"name\":\"n\",\"labels\":{\"kubernetes.io/metadata.name\":\"n\"}},\"spec\":"
			   "{\"finalizers\":[\"kubernetes\"]},\"status\":{\"phase\":\"Active\"}}");
	u = write_of(
	    k, "{\"metadata\":{\"name\":\"n\"},\"spec\":{\"finalizers\":[]},\"status\":{\"phase\":\"Terminating\"}}",
	    r.obj, NULL);
	assert_json(fl_json_get(u.obj, "spec"), "{\"finalizers\":[\"kubernetes\"]}");
	assert_json(fl_json_get(u.obj, "status"), "{\"phase\":\"Active\"}");
	u = write_of(k, "{\"metadata\":{\"name\":\"n\"},\"spec\":{}}", r.obj, "finalize");
	assert_int_equal(fl_json_count(fl_json_path(u.obj, "spec", "finalizers", NULL)), 0);
	u = write_of(k, "{\"metadata\":{\"name\":\"n\"},\"status\":{\"phase\":\"Terminating\"}}", r.obj, "status");
	assert_string_equal(said(&u.causes), "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if "
					     "`deletionTimestamp` is empty");
	u = write_of(k, "{\"metadata\":{\"name\":\"n\"},\"spec\":{\"finalizers\":[\"x\",\"a.b/c\"]}}", NULL, NULL);
	assert_string_equal(said(&u.causes),
			    "spec.finalizers[0]: Invalid value: \"x\": name is neither a standard finalizer "
			    "name nor is it fully qualified");
	assert_string_equal(row_of(k, text_of(r.obj)), "[\"n\",\"Active\",\"<unknown>\"]");
}

static void config_maps(void **state)
{
	const struct fl_kind *k = kind_of("v1", "ConfigMap");
	const struct fl_json *old =
	    parse("{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\"},\"immutable\":true,\"data\":{\"a\":\"1\"}}");
	struct result r =
	    write_of(k,
		     "{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\"},\"data\":{\"a b\":\"1\",\"c\":\"2\"},"
		     "\"binaryData\":{\"c\":\"AA==\",\"..d\":\"\"}}",
		     NULL, NULL);

	assert_string_equal(
	    said(&r.causes),
	    "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' "
	    "or '.' "
	    "(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')\n"
	    "data[c]: Invalid value: \"c\": duplicate of key present in binaryData\n"
	    "binaryData[..d]: Invalid value: \"..d\": must not start with '..'");
	r = write_of(k, "{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\"},\"data\":{\"a\":\"2\"}}", old, NULL);
	assert_string_equal(said(&r.causes), "immutable: Forbidden: field is immutable when `immutable` is set\n"
					     "data: Forbidden: field is immutable when `immutable` is set");
	assert_string_equal(
	    row_of(k, "{\"metadata\":{\"name\":\"x\"},\"data\":{\"a\":\"1\"},\"binaryData\":{\"b\":\"\"}}"),
	    "[\"x\",2,\"<unknown>\"]");
}

static void leases(void **state)
{
	const struct fl_kind *k = kind_of("coordination.k8s.io/v1", "Lease");
	struct result r =
	    write_of(k,
		     "{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\"},\"spec\":{\"leaseDurationSeconds\":0,"
		     "\"leaseTransitions\":-1,\"holderIdentity\":\"\"}}",
		     NULL, NULL);

	assert_string_equal(said(&r.causes),
			    "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0\n"
			    "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0");
	assert_json(fl_json_path(r.obj, "spec", "holderIdentity", NULL), "\"\"");
	assert_string_equal(row_of(k, "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"holderIdentity\":\"h\"}}"),
			    "[\"x\",\"h\",\"<unknown>\"]");
}

static void nodes(void **state)
{
	const struct fl_kind *k = kind_of("v1", "Node");
	struct result r =
	    write_of(k,
		     "{\"metadata\":{\"name\":\"n\"},\"spec\":{\"podCIDRs\":[\"10.0.0.0/24\",\"10.1.0.0/24\"],"
		     "\"taints\":[{\"key\":\"a\",\"effect\":\"X\"},{\"key\":\"b\",\"effect\":\"NoSchedule\"},{\"key\":"
		     "\"b\",\"effect\":\"NoSchedule\"}]},\"status\":{\"capacity\":{\"cpu\":\"2\"}}}",
		     NULL, NULL);

	assert_json(fl_json_path(r.obj, "status", "allocatable", NULL), "{\"cpu\":\"2\"}");
	assert_string_equal(
	    said(&r.causes),
	    "spec.taints[0].effect: Unsupported value: \"X\": supported values: \"NoSchedule\", "
	    "\"PreferNoSchedule\", "
	    "\"NoExecute\"\n"
	    "spec.taints[2]: Duplicate value: {\"effect\":\"NoSchedule\",\"key\":\"b\"}: taints must be unique by "
	    "key and "
	    "effect pair\n"
	    "spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"10.1.0.0/24\"]: may specify no more than one CIDR for "
	    "each IP "
	    "family");
	r = write_of(k,
		     "{\"metadata\":{\"name\":\"n\"},\"spec\":{\"podCIDR\":\"10.9.0.0/"
		     "24\",\"externalID\":\"x\",\"unschedulable\":true}}",
		     parse("{\"metadata\":{\"name\":\"n\"},\"spec\":{\"podCIDR\":\"10.0.0.0/24\"}}"), NULL);
	assert_string_equal(
	    said(&r.causes),
	    "spec.podCIDR: Forbidden: node updates may not change podCIDR except from \"\" to valid\n"
	    "spec: Forbidden: node updates may only change labels, taints, or capacity (or configSource, if "
	    "the DynamicKubeletConfig feature gate is enabled)");
	assert_string_equal(
	    row_of(k, "{\"metadata\":{\"name\":\"n\",\"labels\":{\"node-role.kubernetes.io/worker\":\"\","
		      "\"node-role.kubernetes.io/"
		      "control-plane\":\"\"}},\"spec\":{\"unschedulable\":true},\"status\":{\"conditions\":"
		      "[{\"type\":\"Ready\",\"status\":\"Unknown\"}],\"addresses\":[{\"type\":\"InternalIP\","
		      "\"address\":\"10.0.0.1\"}],"
		      "\"nodeInfo\":{\"kubeletVersion\":\"v1\",\"osImage\":\"\"}}}"),
	    "[\"n\",\"NotReady,SchedulingDisabled\",\"control-plane,worker\",\"<unknown>\",\"v1\",\"10.0.0.1\",\"<none>"
	    "\",\"<unknown>\","
	    "\"<unknown>\",\"<unknown>\"]");
}

static void events(void **state)
{
	const struct fl_kind *k = kind_of("v1", "Event"), *view = kind_of("events.k8s.io/v1", "Event");
	struct result r =
	    write_of(k, "{\"metadata\":{\"name\":\"e\",\"namespace\":\"a\"},\"involvedObject\":{\"namespace\":\"b\"}}",
		     NULL, NULL);

	assert_string_equal(said(&r.causes),
			    "involvedObject.namespace: Invalid value: \"b\": does not match event.namespace");
	assert_true(fl_json_is(fl_json_get(r.obj, "eventTime"), FL_JSON_NULL));
	r = write_of(
	    view,
	    "{\"metadata\":{\"name\":\"e\",\"namespace\":\"a\"},\"regarding\":{\"namespace\":\"a\"},\"type\":\"Odd\"}",
	    NULL, NULL);
	assert_string_equal(said(&r.causes),
			    "eventTime: Required value\nreportingController: Required value\n"
			    "reportingInstance: Required value\naction: Required value\nreason: Required "
			    "value\ntype: Unsupported value: \"Odd\": supported values: \"Normal\", \"Warning\"");
	assert_string_equal(
	    row_of(
		k,
		"{\"metadata\":{\"name\":\"e\"},\"involvedObject\":{\"kind\":\"Pod\",\"name\":\"p\",\"fieldPath\":"
		"\"f\"},"
		"\"reason\":\"R\",\"message\":\" "
		"m\\n\",\"type\":\"Normal\",\"source\":{\"component\":\"c\",\"host\":\"h\"},"
		"\"firstTimestamp\":\"2027-01-15T07:00:00Z\",\"lastTimestamp\":\"2027-01-15T07:59:52Z\",\"count\":4}"),
	    "[\"8s\",\"Normal\",\"R\",\"pod/p\",\"f\",\"c, h\",\"m\",\"60m\",4,\"e\"]");
	assert_string_equal(
	    row_of(
		view,
		"{\"metadata\":{\"name\":\"e\"},\"regarding\":{\"kind\":\"Pod\",\"name\":\"p\"},\"note\":\"m\","
		"\"eventTime\":\"2027-01-15T07:59:00.000000Z\",\"reportingController\":\"c\",\"series\":{\"count\":7,"
		"\"lastObservedTime\":\"2027-01-15T07:59:30.000000Z\"}}"),
	    "[\"30s\",\"\",\"\",\"pod/p\",\"\",\"c\",\"m\",\"60s\",7,\"e\"]");
	assert_string_equal(
	    k->hooks->field(&arena, parse("{\"involvedObject\":{\"uid\":\"u\"}}"), "involvedObject.uid"), "u");
	assert_null(k->hooks->field(&arena, parse("{}"), "involvedObject.x"));
}

static void endpoints(void **state)
{
	const struct fl_kind *k = kind_of("v1", "Endpoints"), *slice = kind_of("discovery.k8s.io/v1", "EndpointSlice");
	struct result r =
	    write_of(k,
		     "{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\"},\"subsets\":[{\"ports\":[{\"port\":0},"
		     "{\"port\":1,\"name\":\"a\",\"protocol\":\"X\"}]}]}",
		     NULL, NULL);

	assert_string_equal(
	    said(&r.causes),
	    "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`\n"
	    "subsets[0].ports[0].name: Required value\n"
	    "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive\n"
	    "subsets[0].ports[1].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", "
	    "\"UDP\"");
	assert_string_equal(row_of(k,
				   "{\"metadata\":{\"name\":\"x\"},\"subsets\":[{\"addresses\":[{\"ip\":\"1.1.1.1\"},{"
				   "\"ip\":\"fd00::1\"}],"
				   "\"ports\":[{\"port\":80},{\"port\":81}]},{\"addresses\":[{\"ip\":\"2.2.2.2\"}]}]}"),
			    "[\"x\",\"1.1.1.1:80,[fd00::1]:80,1.1.1.1:81 + 2 more...\",\"<unknown>\"]");
	assert_non_null(k->hooks->deprecated);
	assert_string_equal(
	    row_of(
		slice,
		"{\"metadata\":{\"name\":\"x\"},\"addressType\":\"IPv4\",\"ports\":[{\"port\":80},{\"name\":\"a\"}],"
		"\"endpoints\":[{\"addresses\":[\"1.1.1.1\",\"1.1.1.2\"]},{\"addresses\":[\"1.1.1.3\",\"1.1.1.4\"]}]}"),
	    "[\"x\",\"IPv4\",\"80,a\",\"1.1.1.1,1.1.1.2,1.1.1.3 + 1 more...\",\"<unknown>\"]");
	assert_string_equal(row_of(slice, "{\"metadata\":{\"name\":\"x\"},\"endpoints\":null}"),
			    "[\"x\",\"\",\"<unset>\",\"<unset>\",\"<unknown>\"]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(names),  TEST(metadata), TEST(namespaces), TEST(config_maps),
	    TEST(leases), TEST(nodes),    TEST(events),     TEST(endpoints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
