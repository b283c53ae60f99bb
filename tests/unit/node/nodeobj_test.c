// SPDX-License-Identifier: Apache-2.0
#include "node/nodeobj.h"
#include "tree.h"

static struct fl_node_opts options(void)
{
	struct fl_node_opts o = {.node_name = "n1", .data_dir = "/", .n_node_ips = 2, .n_pod_cidrs = 2};

	fl_ip_parse("192.0.2.1", &o.node_ips[0]);
	fl_ip_parse("2001:db8::1", &o.node_ips[1]);
	fl_cidr_parse("10.244.0.0/24", &o.pod_cidrs[0], false);
	fl_cidr_parse("fd00::/64", &o.pod_cidrs[1], false);
	return o;
}

static const struct fl_node_facts facts = {
    .kernel = "6.1",
    .os_image = "Debian",
    .machine_id = "m",
    .system_uuid = "",
    .boot_id = "b",
    .runtime_version = "runc://1.1.5",
    .cpu_milli = 2000,
    .memory_bytes = 200ll << 20,
    .disk_bytes = 1 << 20,
    .max_pods = 110,
};

static void object(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_node_opts o = options();
	struct fl_json *n = fl_node_object(&a, &o, &facts);

	assert_string_equal(text_of(&a, fl_json_get(n, "spec")),
			    "{'podCIDR':'10.244.0.0/24','podCIDRs':['10.244.0.0/24','fd00::/64']}");
	assert_string_equal(fl_json_str(fl_json_path(n, "metadata", "labels", NULL), "kubernetes.io/hostname"), "n1");
	assert_string_equal(fl_json_str(fl_json_path(n, "metadata", "labels", NULL), "kubernetes.io/os"), "linux");
}

static void status_keeps_what_is_not_ours(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_node_opts o = options();
	const struct fl_json *old =
	    tree(&a, "{'conditions':[{'type':'Ready','status':'True','lastTransitionTime':'1970-01-01T00:00:01Z'},"
		     "{'type':'DiskPressure','status':'True','lastTransitionTime':'1970-01-01T00:00:02Z'},"
		     "{'type':'NetworkUnavailable','status':'False'}]}");
	struct fl_json *s = fl_node_status(&a, &o, &facts, 10250, old, 9000000000);
	struct fl_json *c = fl_json_get(s, "conditions");

	assert_string_equal(
	    text_of(&a, fl_json_get(s, "addresses")),
	    "[{'type':'InternalIP','address':'192.0.2.1'},{'type':'InternalIP','address':'2001:db8::1'},"
	    "{'type':'Hostname','address':'n1'}]");
	assert_string_equal(text_of(&a, fl_json_get(s, "capacity")),
			    "{'cpu':'2','ephemeral-storage':'1024Ki','memory':'204800Ki','pods':'110'}");
	assert_string_equal(fl_json_str(fl_json_get(s, "allocatable"), "memory"), "102400Ki");
	assert_string_equal(text_of(&a, fl_json_get(s, "daemonEndpoints")), "{'kubeletEndpoint':{'Port':10250}}");
	assert_string_equal(fl_json_str(fl_json_get(s, "nodeInfo"), "containerRuntimeVersion"), "runc://1.1.5");
	assert_string_equal(fl_json_str(fl_json_get(s, "nodeInfo"), "systemUUID"), "m");
	assert_int_equal(fl_json_count(c), 5);
	assert_string_equal(text_of(&a, fl_json_index(c, 0)), "{'type':'NetworkUnavailable','status':'False'}");
	assert_string_equal(text_of(&a, fl_json_index(c, 2)),
			    "{'type':'DiskPressure','status':'False','lastHeartbeatTime':'1970-01-01T00:00:09Z',"
			    "'lastTransitionTime':'1970-01-01T00:00:09Z','reason':'KubeletHasNoDiskPressure',"
			    "'message':'kubelet has no disk pressure'}");
	assert_string_equal(fl_json_str(fl_json_index(c, 4), "type"), "Ready");
	assert_string_equal(fl_json_str(fl_json_index(c, 4), "lastTransitionTime"), "1970-01-01T00:00:01Z");
}

static void facts_of_this_host(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_node_facts f;

	fl_node_facts_read(&a, "/", "runc://1", &f);
	assert_true(f.cpu_milli >= 1000 && f.memory_bytes > 0 && f.disk_bytes > 0);
	assert_int_equal(strlen(f.boot_id), 36);
	assert_true(*f.kernel && *f.os_image);
}

// The condition is there while something is blocked, and gone after: it is ours, so an old one is not kept.
static void a_blocking_firewall_is_told(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_node_opts o = options();
	struct fl_node_facts f = facts;

	f.firewall = "pod to pod blocked";
	struct fl_json *s = fl_node_status(&a, &o, &f, 10250, NULL, 9000000000);
	const struct fl_json *c = fl_json_index(fl_json_get(s, "conditions"), 3);
	assert_string_equal(fl_json_str(c, "type"), "HostFirewallBlocksPods");
	assert_string_equal(fl_json_str(c, "status"), "True");
	assert_string_equal(fl_json_str(c, "message"), "pod to pod blocked");
	s = fl_node_status(&a, &o, &facts, 10250, s, 9000000000);
	assert_int_equal(fl_json_count(fl_json_get(s, "conditions")), 4);
	assert_null(strstr(text_of(&a, s), "HostFirewall"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(object),
	    cmocka_unit_test(status_keeps_what_is_not_ours),
	    cmocka_unit_test(a_blocking_firewall_is_told),
	    cmocka_unit_test(facts_of_this_host),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
