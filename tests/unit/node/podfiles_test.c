// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "node/podfiles.h"
#include "node/podnet.h"
#include "tree.h"

static char dir[64];

static struct fl_pod_spec spec_of(struct fl_arena *a, const char *more)
{
	struct fl_pod_spec p;
	const char *text = fl_arena_printf(
	    a, "{'metadata':{'name':'web','namespace':'ns1','uid':'u'},'spec':{'containers':[{'name':'c'}]%s}}", more);

	assert_int_equal(fl_pod_spec_read(a, tree(a, text), &p, NULL), 0);
	return p;
}

static void expect_resolv_conf(const char *more, const char *want)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct fl_pod_spec p = spec_of(&a, more);
	struct fl_dns_config d = {.n_servers = 1,
				  .domain = "cluster.local",
				  .host_resolv_conf =
				      "# a comment\nsearch old.example\nnameserver 192.0.2.53\nsearch example.com\n"
				      "options edns0\n"};

	fl_ip_parse("10.96.0.10", &d.servers[0]);
	fl_podfiles_resolv_conf(&b, &p, &d);
	assert_string_equal(b.data, want);
}

static void resolv_conf_by_policy(void **state)
{
	expect_resolv_conf("", "search ns1.svc.cluster.local svc.cluster.local cluster.local old.example example.com\n"
			       "nameserver 10.96.0.10\noptions ndots:5\n");
	expect_resolv_conf(",'dnsPolicy':'Default'", "search example.com\nnameserver 192.0.2.53\noptions edns0\n");
	expect_resolv_conf(",'hostNetwork':true", "search example.com\nnameserver 192.0.2.53\noptions edns0\n");
	expect_resolv_conf(",'dnsPolicy':'None','dnsConfig':{'nameservers':['1.2.3.4'],'searches':['x.y'],"
			   "'options':[{'name':'ndots','value':'2'},{'name':'edns0'}]}",
			   "search x.y\nnameserver 1.2.3.4\noptions ndots:2 edns0\n");
	expect_resolv_conf(",'hostNetwork':true,'dnsPolicy':'ClusterFirstWithHostNet','dnsConfig':{'options':"
			   "[{'name':'ndots','value':'1'}]}",
			   "search ns1.svc.cluster.local svc.cluster.local cluster.local old.example example.com\n"
			   "nameserver 10.96.0.10\noptions ndots:1\n");
}

static void hosts_file(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct fl_pod_spec p = spec_of(&a, ",'subdomain':'sub','hostAliases':[{'ip':'1.1.1.1','hostnames':['a','b']}]");
	struct fl_ip ip;

	fl_ip_parse("10.0.0.2", &ip);
	fl_podfiles_hosts(&b, &p, &ip, 1, "cluster.local", NULL);
	assert_string_equal(b.data, "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"
				    "::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n"
				    "fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
				    "10.0.0.2\tweb.sub.ns1.svc.cluster.local\tweb\n\n# Entries added by HostAliases.\n"
				    "1.1.1.1\ta\tb\n");
}

static struct fl_json *config_map;

static const struct fl_json *lookup(void *arg, bool secret, const char *name)
{
	return strcmp(name, "there") == 0 ? config_map : NULL;
}

static int write_volume(struct fl_arena *a, const char *volume, struct fl_err *err)
{
	struct fl_pod_spec p = spec_of(a, fl_arena_printf(a, ",'volumes':[{'name':'v',%s}]", volume));
	struct fl_env_source s = {.pod = &p, .lookup = lookup};
	int rc;

	config_map = tree(a, "{'data':{'k':'v','bad/../../x':'y'},'binaryData':{'b':'AAE='}}");
	rc = fl_volumes_write(dir, &s, err);
	return rc;
}

static void expect_file(const char *name, const char *text, size_t len, mode_t mode)
{
	AUTO_FREE char *path = fl_asprintf("%s/volumes/v/%s", dir, name), *have = NULL;
	struct stat st;
	size_t n;

	assert_int_equal(fl_file_read(path, &have, &n, NULL), 0);
	assert_int_equal(n, len);
	assert_memory_equal(have, text, len);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, mode);
}

static void volumes_from_objects(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_err err = {0};

	assert_int_equal(write_volume(&a,
				      "'configMap':{'name':'there','defaultMode':416,'items':[{'key':'k','path':'d/f'},"
				      "{'key':'b','path':'bin','mode':256}]}",
				      &err),
			 0);
	expect_file("d/f", "v", 1, 0640);
	expect_file("bin", "\0\1", 2, 0400);
	assert_int_equal(
	    write_volume(&a, "'downwardAPI':{'items':[{'path':'name','fieldRef':{'fieldPath':'metadata.name'}}]}",
			 &err),
	    0);
	expect_file("name", "web", 3, 0644);
	assert_int_equal(
	    write_volume(&a,
			 "'projected':{'sources':[{'configMap':{'name':'there','items':[{'key':'k','path':'p'}]}},"
			 "{'configMap':{'name':'gone','optional':true}}]}",
			 &err),
	    0);
	expect_file("p", "v", 1, 0644);
}

static void volumes_that_are_refused(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_err err = {0};

	assert_int_equal(write_volume(&a, "'configMap':{'name':'gone'}", &err), -ENOENT);
	assert_string_equal(err.text, "MountVolume.SetUp failed for volume \"v\": configmap \"gone\" not found");
	assert_int_equal(write_volume(&a, "'configMap':{'name':'gone','optional':true}", &err), 0);
	assert_int_equal(write_volume(&a, "'configMap':{'name':'there','items':[{'key':'z','path':'z'}]}", &err),
			 -ENOENT);
	assert_int_equal(
	    write_volume(&a, "'configMap':{'name':'there','items':[{'key':'k','path':'../../../x'}]}", &err), -EINVAL);
	assert_int_equal(write_volume(&a, "'configMap':{'name':'there','items':[{'key':'k','path':'/etc/x'}]}", &err),
			 -EINVAL);
	assert_int_equal(write_volume(&a, "'configMap':{'name':'there'}", &err), -EINVAL); // the key that leads out
	assert_int_equal(write_volume(&a, "'nfs':{'server':'x'}", &err), -ENOTSUP);
	assert_string_equal(err.text,
			    "MountVolume.SetUp failed for volume \"v\": volume type nfs is not offered by this node");
	assert_int_equal(write_volume(&a, "'hostPath':{'path':'relative'}", &err), -EINVAL);
}

static void mounts_of_a_container(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_pod_spec p;
	const struct fl_json *env = tree(&a, "['N=w']");
	struct fl_oci_mount *m;
	struct fl_err err = {0};
	unsigned n;

	assert_int_equal(
	    fl_pod_spec_read(
		&a,
		tree(&a, "{'metadata':{'name':'w','uid':'u'},'spec':{'volumes':[{'name':'e','emptyDir':{}},"
			 "{'name':'m','configMap':{'name':'x'}},{'name':'h','hostPath':{'path':'/srv'}}],"
			 "'containers':[{'name':'c','volumeMounts':[{'name':'e','mountPath':'/e'},"
			 "{'name':'m','mountPath':'/etc/hosts','subPath':'hosts'},{'name':'h','mountPath':'h',"
			 "'readOnly':true}]},{'name':'d','volumeMounts':[{'name':'e','mountPath':'/e',"
			 "'subPathExpr':'x-$(N)'}]},{'name':'f','volumeMounts':[{'name':'z','mountPath':'/z'}]}]}}"),
		&p, &err),
	    0);
	assert_int_equal(fl_volumes_mounts(&a, "/p", &p, &p.containers[0], env, &m, &n, &err), 0);
	assert_int_equal(n, 5);
	assert_string_equal(m[0].target, "/etc/hostname"); // /etc/hosts is the container's own
	assert_string_equal(m[2].source, "/p/volumes/e");
	assert_false(m[2].read_only);
	assert_string_equal(m[3].source, "/p/volumes/m");
	assert_string_equal(m[3].subpath, "hosts");
	assert_true(m[3].read_only);
	assert_string_equal(m[4].source, "/srv");
	assert_string_equal(m[4].target, "/h");
	assert_true(m[4].read_only);
	assert_int_equal(fl_volumes_mounts(&a, "/p", &p, &p.containers[1], env, &m, &n, &err), 0);
	assert_string_equal(m[3].subpath, "x-w");
	assert_int_equal(fl_volumes_mounts(&a, "/p", &p, &p.containers[2], env, &m, &n, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(resolv_conf_by_policy), cmocka_unit_test(hosts_file),
	    cmocka_unit_test(volumes_from_objects),  cmocka_unit_test(volumes_that_are_refused),
	    cmocka_unit_test(mounts_of_a_container),
	};
	if (geteuid() != 0) {
		printf("SKIP: needs root\n"); // tmpfs
		return 77;
	}
	snprintf(dir, sizeof(dir), "/tmp/fairlead-podfiles-test-%d", (int)getpid());
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	fl_mounts_detach_below(dir);
	return fl_file_remove_all(dir, NULL) < 0 ? 1 : rc;
}
