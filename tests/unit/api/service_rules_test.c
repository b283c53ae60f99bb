// SPDX-License-Identifier: Apache-2.0
// Services beyond what is recorded (oracle_replay_test.c): two families, changes of type, what an update keeps.
#include "kind_rules.h"

#include <netinet/in.h>

#define META "\"metadata\":{\"name\":\"x\",\"namespace\":\"d\"}"

static struct result service(const char *spec, const struct fl_json *old)
{
	return write_of(kind_of("v1", "Service"), fl_arena_printf(&arena, "{" META ",\"spec\":%s}", spec), old, NULL);
}

static struct fl_json *stored(const char *spec)
{
	return parse(fl_arena_printf(&arena, "{" META ",\"spec\":%s,\"status\":{\"loadBalancer\":{}}}", spec));
}

static const char *spec_text(const struct result *r, const char *key)
{
	const struct fl_json *v = fl_json_path(r->obj, "spec", key, NULL);

	return v ? text_of(v) : "-";
}

static int dual_stack(void **state)
{
	fl_api_set_service_families(AF_INET, AF_INET6);
	return 0;
}

static int single_stack(void **state)
{
	fl_api_set_service_families(AF_INET, 0);
	return drop_arena(state);
}

static void families(void **state)
{
	static const struct {
		const char *spec, *families, *policy, *refusal;
	} cases[] = {
	    {"{\"ports\":[{\"port\":1}]}", "[\"IPv4\"]", "\"SingleStack\"", ""},
	    {"{\"ports\":[{\"port\":1}],\"ipFamilyPolicy\":\"PreferDualStack\"}", "[\"IPv4\",\"IPv6\"]",
	     "\"PreferDualStack\"", ""},
	    {"{\"ports\":[{\"port\":1}],\"ipFamilyPolicy\":\"RequireDualStack\",\"ipFamilies\":[\"IPv6\"]}",
	     "[\"IPv6\",\"IPv4\"]", "\"RequireDualStack\"", ""},
	    {"{\"ports\":[{\"port\":1}],\"clusterIP\":\"fd00::1\"}", "[\"IPv6\"]", "\"SingleStack\"", ""},
	    {"{\"ports\":[{\"port\":1}],\"ipFamilies\":[\"IPv4\",\"IPv6\"]}", "[\"IPv4\",\"IPv6\"]", "-",
	     "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' "
	     "when "
	     "multiple IP families are specified"},
	    {"{\"ports\":[{\"port\":1}],\"clusterIP\":\"fd00::1\",\"clusterIPs\":[\"fd00::1\",\"fd00::2\"]}", "-", "-",
	     "spec.clusterIPs: Invalid value: [\"fd00::1\",\"fd00::2\"]: may specify no more than one IP for each IP "
	     "family"},
	    {"{\"ports\":[{\"port\":1}],\"clusterIP\":\"fd00::1\",\"ipFamilies\":[\"IPv4\"]}", "[\"IPv4\"]", "-",
	     "spec.clusterIPs[0]: Invalid value: \"fd00::1\": expected an IPv4 value as indicated by `ipFamilies[0]`"},
	    {"{\"clusterIP\":\"None\"}", "[\"IPv4\",\"IPv6\"]", "\"RequireDualStack\"", ""},
	    {"{\"type\":\"ExternalName\",\"externalName\":\"a.b.\"}", "-", "-", ""},
	};

	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct result r = service(cases[i].spec, NULL);

		assert_string_equal(spec_text(&r, "ipFamilies"), cases[i].families);
		assert_string_equal(spec_text(&r, "ipFamilyPolicy"), cases[i].policy);
		assert_string_equal(said(&r.early), cases[i].refusal);
	}
}

static const char dual_spec[] =
    "{\"type\":\"ClusterIP\",\"ports\":[{\"port\":1,\"protocol\":\"TCP\",\"targetPort\":1}],"
    "\"clusterIP\":\"10.0.0.1\",\"clusterIPs\":[\"10.0.0.1\",\"fd00::1\"],\"ipFamilies\":["
    "\"IPv4\",\"IPv6\"],\"ipFamilyPolicy\":\"RequireDualStack\",\"sessionAffinity\":\"None\","
    "\"internalTrafficPolicy\":\"Cluster\"}";

static void downgrade(void **state)
{
	struct fl_json *old = stored(dual_spec), *now = fl_json_clone(&arena, fl_json_get(old, "spec"));
	struct result r;

	fl_json_set_str(&arena, now, "ipFamilyPolicy", "SingleStack");
	r = service(text_of(now), old);
	assert_string_equal(spec_text(&r, "clusterIPs"), "[\"10.0.0.1\"]");
	assert_string_equal(spec_text(&r, "ipFamilies"), "[\"IPv4\"]");
	assert_int_equal(r.early.n + r.causes.n, 0);

	// The list alone does not say it.
	fl_json_set_str(&arena, now, "ipFamilyPolicy", "RequireDualStack");
	fl_json_set(&arena, now, "ipFamilies", parse("[\"IPv4\"]"));
	r = service(text_of(now), old);
	assert_string_equal(
	    said(&r.early),
	    "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": must be 'SingleStack' to release "
	    "the secondary IP family");
}

static const char node_port_spec[] =
    "{\"type\":\"NodePort\",\"ports\":[{\"name\":\"a\",\"port\":1,\"protocol\":\"TCP\",\"targetPort\":1,\"nodePort\":"
    "30001},"
    "{\"name\":\"b\",\"port\":2,\"protocol\":\"TCP\",\"targetPort\":2,\"nodePort\":30002}],\"clusterIP\":\"10.0.0.1\","
    "\"clusterIPs\":[\"10.0.0.1\"],\"ipFamilies\":[\"IPv4\"],\"ipFamilyPolicy\":\"SingleStack\",\"sessionAffinity\":"
    "\"None\",\"internalTrafficPolicy\":\"Cluster\",\"externalTrafficPolicy\":\"Cluster\"}";

// A PUT from a manifest that knows nothing of what was allocated.
static void update_keeps_what_was_allocated(void **state)
{
	struct fl_json *old = stored(node_port_spec);
	struct result r =
	    service("{\"type\":\"NodePort\",\"ports\":[{\"name\":\"b\",\"port\":2},{\"name\":\"c\",\"port\":3}]}", old);

	assert_string_equal(spec_text(&r, "clusterIP"), "\"10.0.0.1\"");
	assert_string_equal(spec_text(&r, "clusterIPs"), "[\"10.0.0.1\"]");
	assert_string_equal(spec_text(&r, "ports"),
			    "[{\"name\":\"b\",\"port\":2,\"protocol\":\"TCP\",\"targetPort\":2,\"nodePort\":30002},"
			    "{\"name\":\"c\",\"port\":3,\"protocol\":\"TCP\",\"targetPort\":3}]");
	assert_int_equal(r.early.n + r.causes.n, 0);
}

// Found again by its name, whatever else of the port is another.
static void update_follows_a_port_by_name(void **state)
{
	struct fl_json *old =
	    stored("{\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"protocol\":\"TCP\",\"nodePort\":30001}]}");
	struct result r = service("{\"type\":\"NodePort\",\"ports\":[{\"port\":8080,\"protocol\":\"UDP\"}]}", old);

	assert_string_equal(spec_text(&r, "ports"),
			    "[{\"port\":8080,\"protocol\":\"UDP\",\"targetPort\":8080,\"nodePort\":30001}]");
	r = service("{\"type\":\"NodePort\",\"ports\":[{\"name\":\"b\",\"port\":1},{\"name\":\"a\",\"port\":2}]}",
		    stored(node_port_spec));
	assert_string_equal(spec_text(&r, "ports"),
			    "[{\"name\":\"b\",\"port\":1,\"protocol\":\"TCP\",\"targetPort\":1,\"nodePort\":30002},"
			    "{\"name\":\"a\",\"port\":2,\"protocol\":\"TCP\",\"targetPort\":2,\"nodePort\":30001}]");
}

// A node port that another port claims now is not given twice.
static void update_with_a_moved_node_port(void **state)
{
	struct result r =
	    service("{\"type\":\"NodePort\",\"ports\":[{\"name\":\"a\",\"port\":1},{\"name\":\"c\",\"port\":3,"
		    "\"nodePort\":30001}]}",
		    stored(node_port_spec));

	assert_string_equal(
	    spec_text(&r, "ports"),
	    "[{\"name\":\"a\",\"port\":1,\"protocol\":\"TCP\",\"targetPort\":1},{\"name\":\"c\",\"port\":3,"
	    "\"nodePort\":30001,\"protocol\":\"TCP\",\"targetPort\":3}]");
}

static void change_of_type(void **state)
{
	struct fl_json *old = stored(node_port_spec), *now = fl_json_clone(&arena, fl_json_get(old, "spec"));
	struct result r;

	fl_json_set_str(&arena, now, "type", "ClusterIP");
	r = service(text_of(now), old);
	assert_null(strstr(spec_text(&r, "ports"), "nodePort"));
	assert_string_equal(spec_text(&r, "externalTrafficPolicy"), "-");
	assert_string_equal(spec_text(&r, "clusterIP"), "\"10.0.0.1\"");
	assert_int_equal(r.early.n + r.causes.n, 0);

	fl_json_set_str(&arena, now, "type", "ExternalName");
	fl_json_set_str(&arena, now, "externalName", "x.example.com");
	r = service(text_of(now), old);
	assert_string_equal(spec_text(&r, "clusterIPs"), "-");
	assert_string_equal(spec_text(&r, "ipFamilies"), "-");
	assert_int_equal(r.early.n + r.causes.n, 0);

	// What the client changed at the same time is not dropped for it.
	fl_json_set_str(&arena, now, "clusterIP", "10.0.0.9");
	r = service(text_of(now), old);
	assert_non_null(
	    strstr(said(&r.causes), "spec.clusterIPs: Forbidden: may not be set for ExternalName services"));
}

// Also one that is asked for no node ports may have some.
static void change_of_type_without_allocation(void **state)
{
	static const char *const types[] = {"ClusterIP", "ExternalName"};
	struct fl_json *old = stored(node_port_spec), *lb = fl_json_get(old, "spec");
	struct result r;

	fl_json_set_str(&arena, lb, "type", "LoadBalancer");
	fl_json_set_bool(&arena, lb, "allocateLoadBalancerNodePorts", false);
	fl_json_set_str(&arena, lb, "externalName", "x.example.com");
	for (size_t i = 0; i < FL_COUNT(types); i++) {
		struct fl_json *now = fl_json_clone(&arena, lb);

		fl_json_set_str(&arena, now, "type", types[i]);
		r = service(text_of(now), old);
		assert_string_equal(said(&r.causes), "");
		assert_null(strstr(spec_text(&r, "ports"), "nodePort"));
	}
}

// A load balancer's addresses end with it.
static void change_of_type_ends_the_balancer(void **state)
{
	static const char status[] = "{\"loadBalancer\":{\"ingress\":[{\"ip\":\"203.0.113.9\",\"ipMode\":\"VIP\"}]}}";
	struct fl_json *old = stored(node_port_spec);
	struct result r;

	fl_json_set_str(&arena, fl_json_get(old, "spec"), "type", "LoadBalancer");
	fl_json_set(&arena, old, "status", parse(status));
	r = service(text_of(fl_json_get(old, "spec")), old);
	assert_json(fl_json_get(r.obj, "status"), status);
	r = service(node_port_spec, old);
	assert_json(fl_json_get(r.obj, "status"), "{\"loadBalancer\":{}}");
	assert_string_equal(said(&r.causes), "");
}

static void immutable_parts(void **state)
{
	struct fl_json *old =
	    stored("{\"type\":\"LoadBalancer\",\"loadBalancerClass\":\"a/b\",\"ports\":[{\"port\":1}],"
		   "\"clusterIP\":\"10.0.0.1\",\"clusterIPs\":[\"10.0.0.1\"],\"ipFamilies\":[\"IPv4\"],"
		   "\"ipFamilyPolicy\":\"SingleStack\",\"externalTrafficPolicy\":\"Local\","
		   "\"healthCheckNodePort\":30005}");
	struct result r = service("{\"type\":\"LoadBalancer\",\"loadBalancerClass\":\"a/c\",\"ports\":[{\"port\":1}],"
				  "\"clusterIP\":\"10.0.0.2\",\"externalTrafficPolicy\":\"Local\","
				  "\"healthCheckNodePort\":30006}",
				  old);

	assert_string_equal(said(&r.causes),
			    "spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set\n"
			    "spec.loadBalancerClass: Invalid value: \"a/c\": may not change once set\n"
			    "spec.healthCheckNodePort: Forbidden: field is immutable");
}

static void source_ranges_annotation(void **state)
{
	struct result r =
	    write_of(kind_of("v1", "Service"),
		     "{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\",\"annotations\":{\"service.beta.kubernetes.io/"
		     "load-balancer-source-ranges\":\" 10.0.0.0/8, "
		     "nope\"}},\"spec\":{\"type\":\"LoadBalancer\",\"ports\":[{\"port\":1}]}}",
		     NULL, NULL);

	assert_string_equal(
	    said(&r.causes),
	    "metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]: Invalid value: "
	    "\"nope\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
}

static void status_is_apart(void **state)
{
	struct fl_json *old = stored("{\"type\":\"LoadBalancer\",\"ports\":[{\"port\":1}]}");
	struct result r =
	    write_of(kind_of("v1", "Service"),
		     "{" META ",\"spec\":{\"type\":\"ClusterIP\"},\"status\":{\"loadBalancer\":{\"ingress\":["
		     "{\"ip\":\"203.0.113.9\"},{\"hostname\":\"1.2.3.4\"},{\"ipMode\":\"VIP\"}]}}}",
		     old, "status");

	assert_string_equal(spec_text(&r, "type"), "\"LoadBalancer\"");
	assert_json(fl_json_index(fl_json_path(r.obj, "status", "loadBalancer", "ingress", NULL), 0),
		    "{\"ip\":\"203.0.113.9\",\"ipMode\":\"VIP\"}");
	assert_string_equal(
	    said(&r.causes),
	    "status.loadBalancer.ingress[1].hostname: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP "
	    "address\n"
	    "status.loadBalancer.ingress[2].ipMode: Forbidden: may not be specified when `ip` is not set");
	// and the other way round
	r = service("{\"type\":\"LoadBalancer\",\"ports\":[{\"port\":1}]}",
		    parse("{" META ",\"spec\":{},\"status\":{\"loadBalancer\":{\"ingress\":[{\"hostname\":\"h\"}]}}}"));
	assert_json(fl_json_get(r.obj, "status"), "{\"loadBalancer\":{\"ingress\":[{\"hostname\":\"h\"}]}}");
}

static void rows(void **state)
{
	static const char *const cases[][2] = {
	    {"{\"metadata\":{\"name\":\"a\",\"creationTimestamp\":\"2027-01-15T07:58:30Z\"},\"spec\":{\"type\":"
	     "\"LoadBalancer\","
	     "\"clusterIPs\":[\"10.0.0.1\",\"fd00::1\"],\"externalIPs\":[\"1.1.1.1\"],\"selector\":{\"b\":\"2\",\"a\":"
	     "\"1\"},"
	     "\"ports\":[{\"port\":80,\"nodePort\":30080,\"protocol\":\"TCP\"},{\"port\":53,\"protocol\":\"UDP\"}]},"
	     "\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"9.9.9.9\"},{\"hostname\":\"h\"},{\"ip\":\"9.9.9.9\"}"
	     "]}}}",
	     "[\"a\",\"LoadBalancer\",\"10.0.0.1\",\"9.9.9.9,h,1.1.1.1\",\"80:30080/TCP,53/UDP\",\"90s\",\"a=1,b=2\"]"},
	    {"{\"metadata\":{\"name\":\"b\"},\"spec\":{\"type\":\"NodePort\",\"externalIPs\":[\"1.1.1.1\",\"2.2.2.2\"]}"
	     "}",
	     "[\"b\",\"NodePort\",\"<none>\",\"1.1.1.1,2.2.2.2\",\"<none>\",\"<unknown>\",\"<none>\"]"},
	};

	for (size_t i = 0; i < FL_COUNT(cases); i++)
		assert_string_equal(row_of(kind_of("v1", "Service"), cases[i][0]), cases[i][1]);
}

static void selectable_fields(void **state)
{
	const struct fl_kind_hooks *h = kind_of("v1", "Service")->hooks;
	const struct fl_json *obj =
	    stored("{\"type\":\"NodePort\",\"clusterIP\":\"None\",\"externalIPs\":[\"1.1.1.1\"]}");

	assert_string_equal(h->field(&arena, obj, "spec.type"), "NodePort");
	assert_string_equal(h->field(&arena, obj, "spec.clusterIP"), "None");
	assert_null(h->field(&arena, obj, "spec.foo"));
	assert_null(h->deprecated);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(families, dual_stack, single_stack),
	    cmocka_unit_test_setup_teardown(downgrade, dual_stack, single_stack),
	    TEST(update_keeps_what_was_allocated),
	    TEST(update_follows_a_port_by_name),
	    TEST(update_with_a_moved_node_port),
	    TEST(change_of_type),
	    TEST(change_of_type_without_allocation),
	    TEST(change_of_type_ends_the_balancer),
	    TEST(immutable_parts),
	    TEST(source_ranges_annotation),
	    TEST(status_is_apart),
	    TEST(rows),
	    TEST(selectable_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
