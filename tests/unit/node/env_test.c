// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "node/env.h"
#include "tree.h"

static const struct fl_image image = {
    .id = "sha256:0",
    .rootfs = "/nowhere",
    .entrypoint = (const char *const[]){"/entry", NULL},
    .cmd = (const char *const[]){"default", NULL},
    .env = (const char *const[]){"PATH=/bin", "LANG=C", NULL},
    .workdir = "/",
    .user = "",
};

struct fixture {
	struct fl_arena a;
	struct fl_pod_spec pod;
	struct fl_env_source s;
	struct fl_ip pod_ips[2], host_ip;
	struct fl_json *map, *secret;
};

static const struct fl_json *lookup(void *arg, bool secret, const char *name)
{
	struct fixture *f = arg;

	return strcmp(name, "there") != 0 ? NULL : secret ? f->secret : f->map;
}

static void setup(struct fixture *f, const char *container)
{
	struct fl_err err = {0};
	const char *text = fl_arena_printf(
	    &f->a,
	    "{'metadata':{'name':'web','namespace':'ns1','uid':'u1','labels':{'app.kubernetes.io/name':'w'},"
	    "'annotations':{'x':'y'}},'spec':{'nodeName':'n1','serviceAccountName':'sa','containers':[%s]}}",
	    container);

	assert_int_equal(fl_pod_spec_read(&f->a, tree(&f->a, text), &f->pod, &err), 0);
	f->map = tree(&f->a, "{'data':{'k':'v','other':'w'}}");
	f->secret = tree(&f->a, "{'data':{'k':'c2VjcmV0'}}");
	fl_ip_parse("10.0.0.2", &f->pod_ips[0]);
	fl_ip_parse("fd00::2", &f->pod_ips[1]);
	fl_ip_parse("192.0.2.1", &f->host_ip);
	f->s = (struct fl_env_source){.pod = &f->pod,
				      .container = &f->pod.containers[0],
				      .pod_ips = f->pod_ips,
				      .n_pod_ips = 2,
				      .host_ips = &f->host_ip,
				      .n_host_ips = 1,
				      .node_cpu_milli = 2000,
				      .node_memory = 1 << 30,
				      .node_disk = 50000000000,
				      .lookup = lookup,
				      .arg = f};
}

static void expect_env(const char *env, const char *want)
{
	struct fixture f = {0};
	struct fl_env got = {0};
	struct fl_err err = {0};

	setup(&f, fl_arena_printf(&f.a, "{'name':'c','image':'x',%s}", env));
	if (fl_env_build(&f.a, &f.s, &image, &got, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(text_of(&f.a, got.all),
			    fl_arena_printf(&f.a, "['PATH=/bin','LANG=C','HOSTNAME=web'%s]", want));
	fl_arena_deinit(&f.a);
}

static void expect_error(const char *env, const char *want)
{
	struct fixture f = {0};
	struct fl_env got = {0};
	struct fl_err err = {0};

	setup(&f, fl_arena_printf(&f.a, "{'name':'c','image':'x',%s}", env));
	assert_true(fl_env_build(&f.a, &f.s, &image, &got, &err) < 0);
	assert_string_equal(err.text, want);
	fl_arena_deinit(&f.a);
}

static void values_and_expansion(void **state)
{
	expect_env("'env':[{'name':'A','value':'1'},{'name':'B','value':'$(A)-$(C)-$$(A)-$(PATH)-$(D'},{'name':'E'}]",
		   ",'A=1','B=1-$(C)-$(A)-$(PATH)-$(D','E='");
	expect_env("'env':[{'name':'A','value':'1'},{'name':'A','value':'2'}]", ",'A=2'");
}

static void references(void **state)
{
	expect_env("'env':[{'name':'N','valueFrom':{'fieldRef':{'fieldPath':'metadata.name'}}},"
		   "{'name':'I','valueFrom':{'fieldRef':{'fieldPath':'status.podIP'}}},"
		   "{'name':'IS','valueFrom':{'fieldRef':{'fieldPath':'status.podIPs'}}},"
		   "{'name':'H','valueFrom':{'fieldRef':{'fieldPath':'status.hostIP'}}},"
		   "{'name':'L','valueFrom':{'fieldRef':{'fieldPath':'metadata.labels[\\u0027app.kubernetes.io/"
		   "name\\u0027]'}}},"
		   "{'name':'NODE','valueFrom':{'fieldRef':{'fieldPath':'spec.nodeName'}}}]",
		   ",'N=web','I=10.0.0.2','IS=10.0.0.2,fd00::2','H=192.0.2.1','L=w','NODE=n1'");
	expect_env("'env':[{'name':'C','valueFrom':{'configMapKeyRef':{'name':'there','key':'k'}}},"
		   "{'name':'S','valueFrom':{'secretKeyRef':{'name':'there','key':'k'}}},"
		   "{'name':'O','valueFrom':{'configMapKeyRef':{'name':'gone','key':'k','optional':true}}}]",
		   ",'C=v','S=secret'");
	expect_env("'envFrom':[{'prefix':'P_','configMapRef':{'name':'there'}}],'env':[{'name':'P_k','value':'own'}]",
		   ",'P_k=own','P_other=w'");
	expect_env("'resources':{'limits':{'memory':'64Mi'}},'env':[{'name':'M','valueFrom':{'resourceFieldRef':"
		   "{'resource':'limits.memory','divisor':'1Mi'}}},{'name':'C','valueFrom':{'resourceFieldRef':"
		   "{'resource':'limits.cpu'}}}]",
		   ",'M=64','C=2'");
	expect_env(
	    "'envFrom':[{'prefix':'S_','secretRef':{'name':'there'}},{'configMapRef':{'name':'gone','optional':true}},"
	    "{'secretRef':{'name':'gone','optional':true}}],'env':[{'name':'O','valueFrom':{'secretKeyRef':"
	    "{'name':'there','key':'z','optional':true}}},{'name':'A','valueFrom':{'fieldRef':{'fieldPath':"
	    "'metadata.annotations[\\u0027x\\u0027]'}}},{'name':'R','value':'$(S_k)'}]",
	    ",'S_k=secret','A=y','R=secret'");
	expect_env("'resources':{'requests':{'cpu':'250m','memory':'1Gi'}},'env':[{'name':'C','valueFrom':"
		   "{'resourceFieldRef':{'containerName':'c','resource':'requests.cpu','divisor':'1m'}}},{'name':'M',"
		   "'valueFrom':{'resourceFieldRef':{'resource':'requests.memory'}}},{'name':'E','valueFrom':"
		   "{'resourceFieldRef':{'resource':'limits.memory','divisor':'1Mi'}}}]",
		   ",'C=250','M=1073741824','E=1024'");
	expect_env(
	    "'resources':{'limits':{'ephemeral-storage':'2Gi','hugepages-2Mi':'4Mi'}},'env':[{'name':'S',"
	    "'valueFrom':{'resourceFieldRef':{'resource':'limits.ephemeral-storage','divisor':'1Mi'}}},{'name':'R',"
	    "'valueFrom':{'resourceFieldRef':{'resource':'requests.ephemeral-storage'}}},{'name':'H','valueFrom':"
	    "{'resourceFieldRef':{'resource':'limits.hugepages-2Mi'}}}]",
	    ",'S=2048','R=2147483648','H=4194304'");
	// Nothing is set: the node's own, and of huge pages none.
	expect_env(
	    "'env':[{'name':'S','valueFrom':{'resourceFieldRef':{'resource':'limits.ephemeral-storage'}}},"
	    "{'name':'R','valueFrom':{'resourceFieldRef':{'resource':'requests.ephemeral-storage'}}},{'name':'H',"
	    "'valueFrom':{'resourceFieldRef':{'resource':'limits.hugepages-1Gi'}}}]",
	    ",'S=50000000000','R=0','H=0'");
}

static void what_is_missing_is_named(void **state)
{
	expect_error("'env':[{'name':'C','valueFrom':{'configMapKeyRef':{'name':'gone','key':'k'}}}]",
		     "configmap \"gone\" not found");
	expect_error("'env':[{'name':'C','valueFrom':{'secretKeyRef':{'name':'there','key':'z'}}}]",
		     "couldn't find key z in Secret ns1/there");
	expect_error("'envFrom':[{'secretRef':{'name':'gone'}}]", "secret \"gone\" not found");
	expect_error("'env':[{'name':'F','valueFrom':{'fieldRef':{'fieldPath':'spec.x'}}}]",
		     "unsupported fieldPath: spec.x");
	expect_error("'env':[{'name':'R','valueFrom':{'resourceFieldRef':{'resource':'limits.pods'}}}]",
		     "unsupported container resource : limits.pods");
}

static void expect_command(const char *container, const char *want)
{
	struct fixture f = {0};
	struct fl_json *argv;
	struct fl_err err = {0};

	setup(&f, fl_arena_printf(&f.a, "{'name':'c','image':'x'%s}", container));
	struct fl_env env = {.all = tree(&f.a, "['A=1','PATH=/bin']"), .pods = tree(&f.a, "['A=1']")};
	assert_int_equal(fl_env_command(&f.a, &f.pod.containers[0], &image, &env, &argv, &err), 0);
	assert_string_equal(text_of(&f.a, argv), want);
	fl_arena_deinit(&f.a);
}

static void command_over_entrypoint(void **state)
{
	expect_command("", "['/entry','default']");
	expect_command(",'args':['$(A)','$(B)','$(PATH)']", "['/entry','1','$(B)','$(PATH)']");
	expect_command(",'command':['/own']", "['/own']");
	expect_command(",'command':['/own'],'args':['x']", "['/own','x']");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(values_and_expansion),
	    cmocka_unit_test(references),
	    cmocka_unit_test(what_is_missing_is_named),
	    cmocka_unit_test(command_over_entrypoint),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
