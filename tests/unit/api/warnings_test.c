// SPDX-License-Identifier: Apache-2.0
// What is accepted with a warning: Services, Pods and templates, each case beside one that says nothing.
#include "kind_rules.h"

struct warning_case {
	const char *spec, *says; // lines; "" for nothing
};

static const char *warnings(const char *api_version, const char *kind, const char *obj, const char *old)
{
	struct fl_json *texts = parse("[]");
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	kind_of(api_version, kind)->hooks->warn(&arena, parse(obj), old ? parse(old) : NULL, texts);
	fl_json_each (t, texts)
		fl_buf_printf(&b, "%s%s", b.len ? "\n" : "", fl_json_string(t));
	return fl_arena_strdup(&arena, b.len ? b.data : "");
}

static void check(const char *api_version, const char *kind, const char *format, const struct warning_case *cases,
		  size_t n)
{
	for (size_t i = 0; i < n; i++) {
		AUTO(fl_buf_deinit) struct fl_buf b = {0};
		const char *at = strchr(format, '@');
		fl_buf_printf(&b, "%.*s%s%s", (int)(at - format), format, cases[i].spec, at + 1);
		assert_string_equal(warnings(api_version, kind, b.data, NULL), cases[i].says);
	}
}

static void services(void **state)
{
	static const struct warning_case cases[] = {
	    {"\"clusterIP\":\"10.0.0.1\",\"clusterIPs\":[\"10.0.0.1\"],\"sessionAffinity\":\"ClientIP\"", ""},
	    {"\"type\":\"ClusterIP\",\"clusterIP\":\"None\",\"sessionAffinity\":\"None\"", ""},
	    {"\"type\":\"ClusterIP\",\"clusterIP\":\"None\",\"sessionAffinity\":\"ClientIP\"",
	     "spec.SessionAffinity is ignored for headless services"},
	    {"\"type\":\"ClusterIP\",\"clusterIP\":\"None\",\"loadBalancerIP\":\"1.1.1.1\"",
	     "spec.loadBalancerIP is ignored for headless services"},
	    {"\"externalIPs\":[\"1.1.1.1\"]",
	     "spec.externalIPs is deprecated and may no longer be implemented in some clusters"},
	    {"\"type\":\"ExternalName\",\"externalName\":\"a.b\"", ""},
	    {"\"type\":\"NodePort\",\"externalName\":\"a.b\"",
	     "spec.externalName is ignored when spec.type is not \"ExternalName\""},
	    {"\"trafficDistribution\":\"PreferSameZone\"", ""},
	    {"\"trafficDistribution\":\"PreferClose\"",
	     "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\""},
	    {"\"clusterIPs\":[\"fd00::1\",\"2001:db8:0:0::2\"]",
	     "spec.clusterIPs[1]: IPv6 address \"2001:db8:0:0::2\" should be in RFC 5952 canonical format "
	     "(\"2001:db8::2\")"},
	    {"\"type\":\"LoadBalancer\",\"loadBalancerSourceRanges\":[\"10.0.0.0/8\",\"fd00::/8\"]", ""},
	    {"\"type\":\"LoadBalancer\",\"loadBalancerSourceRanges\":[\"10.0.0.0/8\",\"192.12.2.8/24\",\"FD00::/8\"]",
	     "spec.loadBalancerSourceRanges[1]: CIDR value \"192.12.2.8/24\" is ambiguous in this context (should be "
	     "\"192.12.2.0/24\" or \"192.12.2.8/32\"?)\n"
	     "spec.loadBalancerSourceRanges[2]: IPv6 CIDR value \"FD00::/8\" should be in RFC 5952 canonical format "
	     "(\"fd00::/8\")"},
	};
	check("v1", "Service", "{\"spec\":{@}}", cases, FL_COUNT(cases));
	assert_string_equal(
	    warnings("v1", "Service",
		     "{\"metadata\":{\"annotations\":{\"service.kubernetes.io/topology-aware-hints\":\"auto\"}}}",
		     NULL),
	    "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use "
	    "service.kubernetes.io/topology-mode instead");
}

static const struct warning_case specs[] = {
    {"\"containers\":[{\"env\":[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"B\",\"value\":\"1\"},"
     "{\"name\":\"A\",\"value\":\"$(A)2\"}],\"resources\":{\"limits\":{\"memory\":\"1.5Gi\"}}}]",
     ""},
    {"\"containers\":[{\"env\":[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"A\",\"value\":\"2\"},"
     "{\"name\":\"A\",\"value\":\"$(A)\"}]}]",
     "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply\n"
     "spec.containers[0].env[2]: hides previous definition of \"A\", which may be dropped when using apply"},
    {"\"containers\":[{\"ports\":[{\"containerPort\":80},{\"containerPort\":80,\"protocol\":\"UDP\"}]},"
     "{\"ports\":[{\"containerPort\":81}]}]",
     ""},
    {"\"containers\":[{\"ports\":[{\"containerPort\":80}]},{\"ports\":[{\"containerPort\":80}]}]",
     "spec.containers[1].ports[0]: duplicate port definition with spec.containers[0].ports[0]"},
    {"\"containers\":[{\"ports\":[{\"containerPort\":80},{\"containerPort\":80,\"hostPort\":8080}]}]",
     "spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]"},
    {"\"containers\":[{\"ports\":[{\"containerPort\":80,\"hostPort\":8080,\"hostIP\":\"1.1.1.1\"},"
     "{\"containerPort\":80,\"hostPort\":8080}]}]",
     "spec.containers[0].ports[1]: dangerously ambiguous port definition with spec.containers[0].ports[0]"},
    {"\"containers\":[{\"stdin\":true,\"tty\":true},{\"stdin\":false},{\"tty\":true}]",
     "spec.containers[0].stdin: nothing can be attached to a container here; it has no terminal and its input ends at "
     "once\n"
     "spec.containers[2].tty: nothing can be attached to a container here; it has no terminal and its input ends at "
     "once"},
    {"\"containers\":[{\"resources\":{\"requests\":{\"memory\":\"100m\"}}}]",
     "spec.containers[0].resources.requests[memory]: fractional byte value \"100m\" is invalid, must be an integer"},
    {"\"nodeSelector\":{\"kubernetes.io/os\":\"linux\",\"beta.kubernetes.io/os\":\"linux\"}",
     "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead"},
    {"\"imagePullSecrets\":[{\"name\":\"a\"},{\"name\":\"a\"},{}]",
     "spec.imagePullSecrets[1].name: duplicate name \"a\"\nspec.imagePullSecrets[2].name: invalid empty name \"\""},
    {"\"hostAliases\":[{\"ip\":\"1.1.1.1\"},{\"ip\":\"1.1.1.1\"}]", "spec.hostAliases[1].ip: duplicate ip \"1.1.1.1\""},
    {"\"affinity\":{\"podAntiAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[{\"topologyKey\":\"x\"}],"
     "\"preferredDuringSchedulingIgnoredDuringExecution\":[{\"podAffinityTerm\":{\"labelSelector\":{}}}]}}",
     "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: a null "
     "labelSelector results in matching no pod"},
    {"\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":"
     "[{\"matchExpressions\":[{\"key\":\"beta.kubernetes.io/arch\"}]}]}}}",
     "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]."
     "matchExpressions[0].key: beta.kubernetes.io/arch is deprecated since v1.14; use \"kubernetes.io/arch\" instead"},
    {"\"topologySpreadConstraints\":[{\"topologyKey\":\"x\"}]",
     "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod"},
};

static void pods(void **state)
{
	static const char twice[] = "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"imagePullSecrets\":[{},{}]}}";
	check("v1", "Pod", "{\"metadata\":{\"name\":\"a\"},\"spec\":{@}}", specs, FL_COUNT(specs));
	assert_string_equal(warnings("v1", "Pod", twice, twice), ""); // who writes to one that is there did not make it
	assert_string_equal(
	    warnings("v1", "Pod", "{\"metadata\":{\"name\":\"a.b\"}}", NULL),
	    "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label "
	    "is "
	    "recommended: [a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
	    "must "
	    "start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
	    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')]");
}

static void templates(void **state)
{
	static const char now[] = "{\"metadata\":{\"name\":\"a\",\"generation\":2},\"spec\":{\"template\":{\"spec\":{"
				  "\"imagePullSecrets\":[{}]}}}}";
	static const char says[] = "spec.template.spec.imagePullSecrets[0].name: invalid empty name \"\"";
	static const char *const kinds[][2] = {
	    {"apps/v1", "Deployment"}, {"apps/v1", "ReplicaSet"}, {"v1", "ReplicationController"}};
	for (size_t i = 0; i < FL_COUNT(kinds); i++) {
		assert_string_equal(warnings(kinds[i][0], kinds[i][1], now, NULL), says);
		assert_string_equal(warnings(kinds[i][0], kinds[i][1], now, "{\"metadata\":{\"generation\":1}}"), says);
		assert_string_equal(warnings(kinds[i][0], kinds[i][1], now, now), ""); // a label was changed, no more
	}
}

static void long_lists_end(void **state)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_buf_puts(&b, "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"containers\":[{\"ports\":[");
	for (unsigned i = 0; i < 3000; i++)
		fl_buf_printf(&b, "%s{\"containerPort\":80}", i ? "," : "");
	fl_buf_puts(&b, "]}]}}");
	struct fl_json *texts = parse("[]");
	kind_of("v1", "Pod")->hooks->warn(&arena, parse(b.data), NULL, texts);
	assert_int_equal(fl_json_count(texts), 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(services),
	    TEST(pods),
	    TEST(templates),
	    TEST(long_lists_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
