// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "node/oci.h"
#include "tree.h"

struct fixture {
	struct fl_arena a;
	struct fl_pod_spec pod;
	struct fl_image image;
	struct fl_oci_opts o;
	struct fl_json *config;
	struct fl_err err;
};

// `spec`: more members of the pod's spec; `container`: more members of its container.
static int build(struct fixture *f, const char *spec, const char *container)
{
	const char *text =
	    fl_arena_printf(&f->a,
			    "{'metadata':{'name':'web','namespace':'n','uid':'u'},'spec':{%s%s'containers':[{"
			    "'name':'c','image':'x'%s%s}]}}",
			    spec, *spec ? "," : "", *container ? "," : "", container);

	assert_int_equal(fl_pod_spec_read(&f->a, tree(&f->a, text), &f->pod, &f->err), 0);
	f->image.rootfs = "/r";
	f->image.workdir = "/w";
	f->image.user = f->image.user ? f->image.user : "";
	f->o.pod = &f->pod;
	f->o.container = &f->pod.containers[0];
	f->o.image = &f->image;
	f->o.argv = tree(&f->a, "['/bin/x','y']");
	f->o.env = tree(&f->a, "['A=1']");
	f->o.cgroup = "/fairlead-0/u/c";
	f->o.node_memory = 1000000000;
	return fl_oci_config(&f->a, &f->o, &f->config, &f->err);
}

static const char *at(struct fixture *f, const char *pointer)
{
	struct fl_json *j = f->config;
	char *save = NULL, *copy = fl_arena_strdup(&f->a, pointer);

	for (char *key = strtok_r(copy, "/", &save); key; key = strtok_r(NULL, "/", &save))
		j = fl_json_is(j, FL_JSON_ARRAY) ? fl_json_index(j, (size_t)atoi(key)) : fl_json_get(j, key);
	return text_of(&f->a, j);
}

static void plain_container(void **state)
{
	struct fixture f = {
	    .o = {.netns = "/ns/net", .utsns = "/ns/uts", .ipcns = "/ns/ipc", .termination_log = "/d/t"}};
	const struct fl_oci_mount mounts[] = {{.source = "/d/hosts", .target = "/etc/hosts"},
					      {.source = "/v", .target = "/data", .read_only = true}};

	f.o.mounts = mounts;
	f.o.n_mounts = 2;
	assert_int_equal(build(&f, "", ""), 0);
	assert_string_equal(at(&f, "process/args"), "['/bin/x','y']");
	assert_string_equal(at(&f, "process/env"), "['A=1']");
	assert_string_equal(at(&f, "process/cwd"), "'/w'");
	assert_string_equal(at(&f, "process/user"), "{'uid':0,'gid':0,'additionalGids':[0]}");
	assert_string_equal(at(&f, "process/noNewPrivileges"), "false");
	assert_string_equal(at(&f, "process/oomScoreAdj"), "1000"); // best effort
	assert_string_equal(at(&f, "root"), "{'path':'rootfs','readonly':false}");
	assert_string_equal(at(&f, "linux/cgroupsPath"), "'/fairlead-0/u/c'");
	assert_string_equal(at(&f, "linux/namespaces"),
			    "[{'type':'mount'},{'type':'pid'},{'type':'network','path':'/ns/net'},"
			    "{'type':'uts','path':'/ns/uts'},{'type':'ipc','path':'/ns/ipc'}]");
	assert_string_equal(at(&f, "linux/sysctl"),
			    "{'net.ipv4.ip_unprivileged_port_start':'0','net.ipv4.ping_group_range':'0 2147483647'}");
	assert_string_equal(at(&f, "linux/resources"),
			    "{'devices':[{'allow':false,'access':'rwm'}],'cpu':{'shares':2}}");
	assert_string_equal(at(&f, "mounts/7"), "{'destination':'/data','type':'bind','source':'/v',"
						"'options':['rbind','rprivate','ro']}");
	assert_string_equal(at(&f, "mounts/9"), "{'destination':'/dev/termination-log','type':'bind','source':'/d/t',"
						"'options':['rbind','rprivate','rw']}");
	assert_non_null(strstr(at(&f, "process/capabilities/effective"), "'CAP_NET_RAW'"));
	assert_null(strstr(at(&f, "process/capabilities/effective"), "'CAP_SYS_ADMIN'"));
	fl_arena_deinit(&f.a);
}

static void no_mount_hides_another(void **state)
{
	struct fixture f = {.o = {.termination_log = "/d/t"}};
	const struct fl_oci_mount mounts[] = {
	    {.source = "/d/hosts", .target = "/etc/hosts"}, {.source = "/d/hostname", .target = "/etc/hostname"},
	    {.source = "/v/f", .target = "/e/./f/"},        {.source = "/v/1", .target = "/e"},
	    {.source = "/v/2", .target = "//x/../etc"},
	};
	static const char *const want[] = {"/v/1", "/v/2", "/d/hosts", "/d/hostname", "/v/f", "/d/t"};

	f.o.mounts = mounts;
	f.o.n_mounts = FL_COUNT(mounts);
	assert_int_equal(build(&f, "", "'terminationMessagePath':'/e/f/log'"), 0);
	for (size_t i = 0; i < FL_COUNT(want); i++)
		assert_string_equal(at(&f, fl_arena_printf(&f.a, "mounts/%zu/source", 7 + i)),
				    fl_arena_printf(&f.a, "'%s'", want[i]));
	assert_string_equal(at(&f, "mounts/13"), "");
	fl_arena_deinit(&f.a);
}

static void on_unified_cgroups(void **state)
{
	struct fixture f = {.o.cgroups = {.unified = true, .swap = true}};
	static const char limit[] = "'resources':{'limits':{'memory':'64Mi'}}";

	assert_int_equal(build(&f, "", limit), 0);
	assert_string_equal(at(&f, "linux/namespaces"), "[{'type':'mount'},{'type':'pid'},{'type':'cgroup'}]");
	assert_string_equal(at(&f, "linux/resources/memory"), "{'limit':67108864}");
	assert_string_equal(at(&f, "linux/resources/unified"), "{'memory.oom.group':'1','memory.swap.max':'0'}");
	assert_int_equal(build(&f, "", "'securityContext':{'privileged':true}"), 0);
	assert_string_equal(at(&f, "linux/namespaces"), "[{'type':'mount'},{'type':'pid'}]"); // sees all of them
	f.o.cgroups.swap = false;                                                             // a kernel without
	assert_int_equal(build(&f, "", ""), 0);
	assert_string_equal(at(&f, "linux/resources/unified"), "{'memory.oom.group':'1'}");
	// v1
	f.o.cgroups = (struct fl_node_cgroups){.swap = true};
	assert_int_equal(build(&f, "", limit), 0);
	assert_string_equal(at(&f, "linux/namespaces"), "[{'type':'mount'},{'type':'pid'}]");
	assert_string_equal(at(&f, "linux/resources/memory"), "{'limit':67108864,'swap':67108864}");
	assert_string_equal(at(&f, "linux/resources/unified"), "");
	fl_arena_deinit(&f.a);
}

static void host_namespaces_and_privilege(void **state)
{
	struct fixture f = {0};

	assert_int_equal(
	    build(&f, "'hostNetwork':true,'hostPID':true,'hostIPC':true", "'securityContext':{'privileged':true}"), 0);
	assert_string_equal(at(&f, "linux/namespaces"), "[{'type':'mount'}]");
	assert_string_equal(at(&f, "linux/maskedPaths"), "");
	assert_string_equal(at(&f, "linux/resources/devices/0/allow"), "true");
	assert_non_null(strstr(at(&f, "process/capabilities/bounding"), "'CAP_SYS_ADMIN'"));
	assert_non_null(strstr(at(&f, "mounts/5"), "'rw'"));
	fl_arena_deinit(&f.a);
}

static void limits(void **state)
{
	struct fixture f = {0};

	assert_int_equal(build(&f, "",
			       "'resources':{'limits':{'cpu':'250m','memory':'64Mi'},'requests':{'cpu':'100m',"
			       "'memory':'32Mi'}}"),
			 0);
	assert_string_equal(at(&f, "linux/resources/cpu"), "{'shares':102,'period':100000,'quota':25000}");
	assert_string_equal(at(&f, "linux/resources/memory"), "{'limit':67108864}");
	assert_string_equal(at(&f, "process/oomScoreAdj"), "967"); // 1000 - 1000 * 33554432 / 10^9
	memset(&f.o, 0, sizeof(f.o));
	assert_int_equal(build(&f, "", "'resources':{'limits':{'cpu':'2','memory':'64Mi'}}"), 0);
	assert_string_equal(at(&f, "process/oomScoreAdj"), "0");
	f.o.may_lower_oom_score = true;
	assert_int_equal(build(&f, "", "'resources':{'limits':{'cpu':'2','memory':'64Mi'}}"), 0);
	assert_string_equal(at(&f, "process/oomScoreAdj"), "-997"); // guaranteed
	fl_arena_deinit(&f.a);
}

static void users(void **state)
{
	static const char passwd[] = "root:x:0:0:root:/:/bin/sh\nweb:x:33:34:web:/srv:/bin/false\nbroken\n:x\n";
	struct fixture f = {.image.user = "web", .o.passwd = passwd};

	assert_int_equal(build(&f, "'securityContext':{'fsGroup':7,'supplementalGroups':[8]}", ""), 0);
	assert_string_equal(at(&f, "process/user"), "{'uid':33,'gid':34,'additionalGids':[34,8,7]}");
	assert_string_equal(at(&f, "process/capabilities/effective"), "[]");
	f.image.user = "33:5";
	assert_int_equal(build(&f, "", ""), 0);
	assert_string_equal(at(&f, "process/user"), "{'uid':33,'gid':5,'additionalGids':[5]}");
	assert_int_equal(
	    build(&f, "'securityContext':{'runAsUser':1,'runAsGroup':2}", "'securityContext':{'runAsUser':9}"), 0);
	assert_string_equal(at(&f, "process/user"), "{'uid':9,'gid':2,'additionalGids':[2]}");
	f.image.user = "nosuch";
	assert_int_equal(build(&f, "", ""), -EINVAL);
	assert_string_equal(f.err.text, "unable to find user nosuch: no matching entries in passwd file");
	f.image.user = "";
	assert_int_equal(build(&f, "'securityContext':{'runAsNonRoot':true}", ""), -EINVAL);
	assert_string_equal(f.err.text, "container has runAsNonRoot and image will run as root");
	assert_int_equal(build(&f, "'securityContext':{'runAsNonRoot':true,'runAsUser':0}", ""), -EINVAL);
	assert_string_equal(f.err.text, "container's runAsUser breaks non-root policy");
	fl_arena_deinit(&f.a);
}

static void capabilities(void **state)
{
	struct fixture f = {0};

	assert_int_equal(build(&f, "",
			       "'securityContext':{'capabilities':{'drop':['ALL'],'add':['NET_ADMIN']},"
			       "'allowPrivilegeEscalation':false,'readOnlyRootFilesystem':true}"),
			 0);
	assert_string_equal(at(&f, "process/capabilities/bounding"), "['CAP_NET_ADMIN']");
	assert_string_equal(at(&f, "process/noNewPrivileges"), "true");
	assert_string_equal(at(&f, "root/readonly"), "true");
	assert_int_equal(build(&f, "", "'securityContext':{'capabilities':{'drop':['CAP_KILL','NET_RAW']}}"), 0);
	assert_null(strstr(at(&f, "process/capabilities/bounding"), "CAP_KILL"));
	assert_null(strstr(at(&f, "process/capabilities/bounding"), "CAP_NET_RAW"));
	assert_non_null(strstr(at(&f, "process/capabilities/bounding"), "CAP_CHOWN"));
	fl_arena_deinit(&f.a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(plain_container),
	    cmocka_unit_test(host_namespaces_and_privilege),
	    cmocka_unit_test(limits),
	    cmocka_unit_test(users),
	    cmocka_unit_test(capabilities),
	    cmocka_unit_test(no_mount_hides_another),
	    cmocka_unit_test(on_unified_cgroups),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
