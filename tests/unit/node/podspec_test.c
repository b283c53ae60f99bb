// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "node/podspec.h"
#include "tree.h"

static struct fl_pod_spec read_spec(struct fl_arena *a, const char *spec)
{
	struct fl_pod_spec p;
	struct fl_err err = {0};
	const char *text =
	    fl_arena_printf(a, "{'metadata':{'name':'web','namespace':'ns1','uid':'u'},'spec':%s}", spec);

	if (fl_pod_spec_read(a, tree(a, text), &p, &err) < 0)
		fail_msg("%s", err.text);
	return p;
}

static void defaults(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_pod_spec p =
	    read_spec(&a, "{'initContainers':[{'name':'i','image':'x:1','restartPolicy':'Always'}],"
			  "'containers':[{'name':'c','image':'x'},{'name':'d','image':'r:5000/x@sha256:0'}]}");

	assert_int_equal(p.n_init, 1);
	assert_int_equal(p.n_containers, 3);
	assert_true(p.containers[0].init && p.containers[0].sidecar && !p.containers[1].init);
	assert_string_equal(p.containers[0].pull_policy, "IfNotPresent");
	assert_string_equal(p.containers[1].pull_policy, "Always");
	assert_string_equal(p.containers[2].pull_policy, "IfNotPresent");
	assert_int_equal(p.restart, FL_RESTART_ALWAYS);
	assert_true(p.grace_s == 30 && p.deletion_grace_s == 30 && !p.deleted);
	assert_string_equal(p.dns_policy, "ClusterFirst");
	assert_string_equal(p.hostname, "web");
}

static void host_names_are_cut(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_pod_spec p =
	    read_spec(&a, "{'hostname':'a123456789b123456789c123456789d123456789e123456789f123456789g1-3',"
			  "'containers':[{'name':'c','image':'x'}]}");

	assert_string_equal(p.hostname, "a123456789b123456789c123456789d123456789e123456789f123456789g1");
}

static void what_cannot_run_is_refused(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	static const char *const bad[] = {
	    "{'metadata':{'name':'w','uid':'u'},'spec':{'containers':[]}}",
	    "{'metadata':{'name':'w'},'spec':{'containers':[{'name':'c'}]}}",
	    "{'metadata':{'name':'w','uid':'../x'},'spec':{'containers':[{'name':'c'}]}}",
	    "{'metadata':{'name':'w','uid':'u'},'spec':{'containers':[{'name':'c'},{'name':'c'}]}}",
	    "{'metadata':{'name':'w','uid':'u'},'spec':{'containers':[{'name':'../c'}]}}",
	    "{}",
	};
	struct fl_pod_spec p;
	struct fl_err err = {0};

	for (size_t i = 0; i < FL_COUNT(bad); i++)
		assert_int_equal(fl_pod_spec_read(&a, tree(&a, bad[i]), &p, &err), -EINVAL);
}

static void quality_of_service(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	static const struct {
		const char *resources, *qos;
	} cases[] = {
	    {"{}", "BestEffort"},
	    {"{'limits':{'cpu':'1','memory':'1Gi'}}", "Guaranteed"},
	    {"{'limits':{'cpu':'1','memory':'1Gi'},'requests':{'cpu':'1000m','memory':'1024Mi'}}", "Guaranteed"},
	    {"{'limits':{'cpu':'1','memory':'1Gi'},'requests':{'cpu':'500m'}}", "Burstable"},
	    {"{'requests':{'memory':1000}}", "Burstable"},
	    {"{'limits':{'cpu':'1'}}", "Burstable"},
	};

	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		struct fl_pod_spec p =
		    read_spec(&a, fl_arena_printf(&a, "{'containers':[{'name':'c','image':'x','resources':%s}]}",
						  cases[i].resources));

		assert_string_equal(fl_node_pod_qos(&p), cases[i].qos);
	}
	const struct fl_json *c = tree(
	    &a, "{'resources':{'limits':{'cpu':'1500m','memory':'1.5Ki'}},'ports':[{'name':'a','containerPort':7}]}");
	assert_int_equal(fl_container_resource(c, "limits", "cpu"), 1500);
	assert_int_equal(fl_container_resource(c, "requests", "memory"), 1536);
	assert_int_equal(fl_container_port(c, fl_json_new_str(&a, "a")), 7);
	assert_int_equal(fl_container_port(c, fl_json_new_int(&a, 80)), 80);
	assert_int_equal(fl_container_port(c, fl_json_new_int(&a, 65536)), 0);
	assert_int_equal(fl_container_port(c, fl_json_new_str(&a, "b")), 0);
}

static const char *forbidden(struct fl_arena *a, const char *spec, const char *name)
{
	struct fl_pod_spec p = read_spec(
	    a, fl_arena_printf(a,
			       "{'containers':[{'name':'c','image':'x'}],'securityContext':{'sysctls':[{'name':'%s',"
			       "'value':'1'}]}%s}",
			       name, spec));

	return fl_pod_forbidden_sysctl(a, &p);
}

static void sysctls_that_are_safe(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};

	assert_null(forbidden(&a, "", "net.ipv4.tcp_rmem"));
	assert_null(forbidden(&a, "", "net/ipv4/tcp_rmem"));
	assert_null(forbidden(&a, ",'hostNetwork':true", "kernel.shm_rmid_forced"));
	assert_string_equal(forbidden(&a, "", "kernel/msgmax"), "forbidden sysctl: \"kernel.msgmax\" not allowlisted");
	assert_string_equal(forbidden(&a, ",'hostNetwork':true", "net.ipv4.tcp_rmem"),
			    "forbidden sysctl: \"net.ipv4.tcp_rmem\" not allowed with host net enabled");
	assert_string_equal(forbidden(&a, ",'hostIPC':true", "kernel.shm_rmid_forced"),
			    "forbidden sysctl: \"kernel.shm_rmid_forced\" not allowed with host ipc enabled");
	assert_string_equal(fl_sysctl_name(&a, "net.ipv4.conf.eth0/5.rp_filter"), "net.ipv4.conf.eth0/5.rp_filter");
	assert_string_equal(fl_sysctl_name(&a, "net/ipv4/conf/eth0.5/rp_filter"), "net.ipv4.conf.eth0/5.rp_filter");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(defaults),
	    cmocka_unit_test(host_names_are_cut),
	    cmocka_unit_test(what_cannot_run_is_refused),
	    cmocka_unit_test(quality_of_service),
	    cmocka_unit_test(sysctls_that_are_safe),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
