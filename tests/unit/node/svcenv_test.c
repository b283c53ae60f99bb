// SPDX-License-Identifier: Apache-2.0
#include "node/svcenv.h"

#include "tree.h"

struct fixture {
	struct fl_arena a;
	struct fl_object *services[8];
	unsigned n;
};

// As a server sends it, through the reduction that the node's cache makes of it.
static void add_service(struct fixture *f, const char *ns, const char *name, const char *spec)
{
	const char *text =
	    fl_arena_printf(&f->a,
			    "{'kind':'Service','apiVersion':'v1','metadata':{'name':'%s','namespace':'%s','uid':'u-%s',"
			    "'resourceVersion':'7','labels':{'a':'b'}},'spec':{%s},'status':{'loadBalancer':{}}}",
			    name, ns, name, spec);
	const char *full = text_of(&f->a, tree(&f->a, text));
	struct fl_buf small = {0};
	struct fl_err err = {0};

	fl_json_write(&small, fl_service_env_reduce(&f->a, tree(&f->a, text)));
	assert_true(small.len < strlen(full));
	if (fl_object_parse(fl_resource_intern("", "services"), small.data, small.len, &f->services[f->n++], &err) < 0)
		fail_msg("%s", err.text);
	fl_buf_deinit(&small);
}

static void each(void *arg, const char *ns, bool (*visit)(void *arg, const struct fl_object *o), void *visit_arg)
{
	struct fixture *f = arg;

	for (unsigned i = 0; i < f->n; i++) {
		if (strcmp(f->services[i]->ns, ns) == 0 && !visit(visit_arg, f->services[i]))
			return;
	}
}

static void expect(struct fixture *f, const char *ns, const char *more_spec, const char *fallback, const char *want)
{
	struct fl_pod_spec pod = {0};
	struct fl_err err = {0};
	const char *text =
	    fl_arena_printf(&f->a,
			    "{'metadata':{'name':'web','namespace':'%s','uid':'u1'},'spec':{'containers':"
			    "[{'name':'c'}]%s}}",
			    ns, more_spec);
	struct fl_service_env_source s = {.pod = &pod, .each = each, .arg = f};

	assert_int_equal(fl_pod_spec_read(&f->a, tree(&f->a, text), &pod, &err), 0);
	if (fallback)
		fl_ip_parse(fallback, &s.kubernetes_ip);
	assert_string_equal(text_of(&f->a, fl_service_env(&f->a, &s)), want);
}

static void done(struct fixture *f)
{
	for (unsigned i = 0; i < f->n; i++)
		fl_object_put(&f->services[i]);
	fl_arena_deinit(&f->a);
}

#define KUBERNETES                                                                                                     \
	"'KUBERNETES_SERVICE_HOST=10.96.0.1','KUBERNETES_SERVICE_PORT=443','KUBERNETES_SERVICE_PORT_HTTPS=443',"       \
	"'KUBERNETES_PORT=tcp://10.96.0.1:443','KUBERNETES_PORT_443_TCP=tcp://10.96.0.1:443',"                         \
	"'KUBERNETES_PORT_443_TCP_PROTO=tcp','KUBERNETES_PORT_443_TCP_PORT=443',"                                      \
	"'KUBERNETES_PORT_443_TCP_ADDR=10.96.0.1'"

static void as_kubelet_makes_them(void **state)
{
	struct fixture f = {0};

	add_service(&f, "shop", "red-is",
		    "'clusterIP':'10.96.0.7','ports':[{'name':'main-db','port':6379,"
		    "'protocol':'TCP'},{'name':'probe','port':53,'protocol':'UDP'}]");
	add_service(&f, "shop", "headless", "'clusterIP':'None','ports':[{'port':80}]");
	add_service(&f, "shop", "outside", "'type':'ExternalName','externalName':'example.org'");
	add_service(&f, "other", "hidden", "'clusterIP':'10.96.0.9','ports':[{'port':80}]");
	add_service(&f, "default", "kubernetes", "'clusterIP':'10.96.0.1','ports':[{'name':'https','port':443}]");
	add_service(&f, "default", "plain", "'clusterIP':'10.96.0.8','ports':[{'port':80,'protocol':'TCP'}]");
	expect(&f, "shop", "", NULL,
	       "['RED_IS_SERVICE_HOST=10.96.0.7','RED_IS_SERVICE_PORT=6379','RED_IS_SERVICE_PORT_MAIN_DB=6379',"
	       "'RED_IS_SERVICE_PORT_PROBE=53','RED_IS_PORT=tcp://10.96.0.7:6379',"
	       "'RED_IS_PORT_6379_TCP=tcp://10.96.0.7:6379','RED_IS_PORT_6379_TCP_PROTO=tcp',"
	       "'RED_IS_PORT_6379_TCP_PORT=6379','RED_IS_PORT_6379_TCP_ADDR=10.96.0.7',"
	       "'RED_IS_PORT_53_UDP=udp://10.96.0.7:53','RED_IS_PORT_53_UDP_PROTO=udp','RED_IS_PORT_53_UDP_PORT=53',"
	       "'RED_IS_PORT_53_UDP_ADDR=10.96.0.7'," KUBERNETES "]");
	// Elsewhere, and without links, only kubernetes.
	expect(&f, "empty", "", NULL, "[" KUBERNETES "]");
	expect(&f, "shop", ",'enableServiceLinks':false", NULL, "[" KUBERNETES "]");
	expect(&f, "default", ",'enableServiceLinks':false", NULL, "[" KUBERNETES "]");
	expect(&f, "default", "", NULL,
	       "[" KUBERNETES ",'PLAIN_SERVICE_HOST=10.96.0.8','PLAIN_SERVICE_PORT=80',"
	       "'PLAIN_PORT=tcp://10.96.0.8:80','PLAIN_PORT_80_TCP=tcp://10.96.0.8:80','PLAIN_PORT_80_TCP_PROTO=tcp',"
	       "'PLAIN_PORT_80_TCP_PORT=80','PLAIN_PORT_80_TCP_ADDR=10.96.0.8']");
	done(&f);
}

static void ipv6_and_own_kubernetes(void **state)
{
	struct fixture f = {0};

	expect(&f, "ns1", "", "10.96.0.1", "[" KUBERNETES "]"); // before the Service is there
	add_service(&f, "default", "kubernetes", "'clusterIP':'10.96.0.1','ports':[{'name':'https','port':443}]");
	add_service(&f, "ns1", "kubernetes", "'clusterIP':'fd00::5','ports':[{'port':1,'protocol':'SCTP'}]");
	expect(&f, "ns1", "", "10.96.0.1",
	       "['KUBERNETES_SERVICE_HOST=fd00::5','KUBERNETES_SERVICE_PORT=1','KUBERNETES_PORT=sctp://[fd00::5]:1',"
	       "'KUBERNETES_PORT_1_SCTP=sctp://[fd00::5]:1','KUBERNETES_PORT_1_SCTP_PROTO=sctp',"
	       "'KUBERNETES_PORT_1_SCTP_PORT=1','KUBERNETES_PORT_1_SCTP_ADDR=fd00::5']");
	expect(&f, "ns1", ",'enableServiceLinks':false", NULL, "[" KUBERNETES "]");
	done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(as_kubelet_makes_them),
	    cmocka_unit_test(ipv6_and_own_kubernetes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
