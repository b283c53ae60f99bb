// SPDX-License-Identifier: Apache-2.0
// Which endpoints count, and which addresses lead to them: one row a rule.
#include "proxy_test.h"

#include "base/vec.h"
#include "proxy/model.h"

static struct fl_arena arena;

static int drop_arena(void **state)
{
	fl_arena_deinit(&arena);
	return 0;
}

static struct fl_json *tree(const char *yaml)
{
	struct fl_json *j = NULL;
	struct fl_err err = {0};

	if (fl_yaml_parse(&arena, yaml, strlen(yaml), NULL, &j, &err) < 0)
		fail_msg("%s\n%s", err.text, yaml);
	return j;
}

static const char *list_text(const struct fl_proxy_endpoint *list, size_t n)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	char ip[FL_IP_STRLEN];

	fl_buf_puts(&b, "");
	for (size_t i = 0; i < n; i++)
		fl_buf_printf(&b, "%s%s", i ? " " : "", strrchr(fl_ip_format(&list[i].ip, ip), '.') + 1);
	return fl_arena_strdup(&arena, b.data);
}

// Endpoints 10.0.0.1, .2 ... with these conditions, one string each.
static const struct {
	const char *what;
	const char *service; // members of spec besides those that all have
	const char *endpoints[5];
	const char *cluster, *local;
} rows[] = {
    {"ready ones only", "", {"{ready: true}", "{ready: false}", "{ready: true}"}, "1 3", ""},
    {"unknown counts as ready", "", {"{}", "{ready: null}"}, "1 2", ""},
    {"none ready: those that still serve while they terminate",
     "",
     {"{ready: false, serving: true, terminating: true}", "{ready: false, serving: false, terminating: true}",
      "{ready: false, serving: true, terminating: false}"},
     "1",
     ""},
    {"one ready: terminating ones do not count",
     "",
     {"{ready: false, serving: true, terminating: true}", "{ready: true}"},
     "2",
     ""},
    {"serving unset means as ready", "", {"{ready: false, terminating: true}"}, "", ""},
    {"internal policy Local: both lists",
     "internalTrafficPolicy: Local",
     {"{ready: true}", "{ready: true} here", "{ready: false} here"},
     "1 2",
     "2"},
    {"the two lists fall back independently",
     "internalTrafficPolicy: Local",
     {"{ready: true}", "{ready: false, serving: true, terminating: true} here"},
     "1",
     "2"},
    {"external policy Local without external addresses needs no local list",
     "externalTrafficPolicy: Local",
     {"{ready: true} here"},
     "1",
     ""},
    {"external policy Local",
     "externalTrafficPolicy: Local, externalIPs: [192.0.2.1]",
     {"{ready: true} here"},
     "1",
     "1"},
    {"zone hints: those for this zone",
     "",
     {"{ready: true} zone=z1", "{ready: true} zone=z2", "{ready: true} zone=z1"},
     "1 3",
     ""},
    {"zone hints: one ready endpoint without a hint, so none is followed",
     "",
     {"{ready: true} zone=z1", "{ready: true}", "{ready: true} zone=z2"},
     "1 2 3",
     ""},
    {"zone hints: an unready endpoint need not have one", "", {"{ready: true} zone=z1", "{ready: false}"}, "1", ""},
    {"zone hints: none for this zone", "", {"{ready: true} zone=z2", "{ready: true} zone=z3"}, "1 2", ""},
    {"zone hints do not shrink the local list",
     "internalTrafficPolicy: Local",
     {"{ready: true} zone=z1", "{ready: true} zone=z2 here"},
     "1",
     "2"},
    {"node hints go before zone hints",
     "",
     {"{ready: true} zone=z1 node=node-a", "{ready: true} zone=z1 node=node-b"},
     "1",
     ""},
    {"node hints: none for this node, zone hints are next",
     "",
     {"{ready: true} zone=z1 node=node-b", "{ready: true} zone=z2 node=node-c"},
     "1",
     ""},
    {"terminating ones know no topology",
     "",
     {"{ready: false, serving: true, terminating: true} zone=z1",
      "{ready: false, serving: true, terminating: true} zone=z2"},
     "1 2",
     ""},
};

static void put_endpoint(struct fl_buf *b, int i, const char *text)
{
	const char *end = strchr(text, '}') + 1, *zone = strstr(end, "zone="), *node = strstr(end, "node=");

	fl_buf_printf(b, "- addresses: [10.0.0.%d]\n  conditions: %.*s\n", i, (int)(end - text), text);
	if (strstr(end, "here"))
		fl_buf_puts(b, "  nodeName: node-a\n");
	if (zone || node)
		fl_buf_puts(b, "  hints:\n");
	if (zone)
		fl_buf_printf(b, "    forZones: [{name: %.2s}]\n", zone + 5);
	if (node)
		fl_buf_printf(b, "    forNodes: [{name: %.6s}]\n", node + 5);
}

static void endpoint_choice(void **state)
{
	const struct fl_proxy_where where = {"node-a", "z1"};

	for (size_t r = 0; r < FL_COUNT(rows); r++) {
		AUTO(fl_buf_deinit) struct fl_buf b = {0};
		AUTO(fl_proxy_service_deinit) struct fl_proxy_service svc = {0};
		AUTO(fl_proxy_slice_deinit) struct fl_proxy_slice slice = {0};
		const struct fl_proxy_slice *slices[] = {&slice};
		struct fl_proxy_desired d;
		const char *name;

		fl_proxy_service_parse(tree(fl_arena_printf(&arena,
							    "metadata: {name: a}\nspec: {clusterIP: 10.96.0.1, ports: "
							    "[{port: 80}]%s%s}",
							    *rows[r].service ? ", " : "", rows[r].service)),
				       &svc);
		fl_buf_puts(&b, "metadata: {name: a-1, labels: {kubernetes.io/service-name: a}}\naddressType: IPv4\n"
				"ports: [{port: 8080}]\nendpoints:\n");
		for (int i = 0; i < 5 && rows[r].endpoints[i]; i++)
			put_endpoint(&b, i + 1, rows[r].endpoints[i]);
		assert_true(fl_proxy_slice_parse(tree(b.data), &where, &arena, &slice, &name));
		assert_string_equal(name, "a");
		fl_proxy_derive("default/a", &svc, slices, 1, &arena, &d);
		assert_int_equal(d.n_pools, 1);
		const char *cluster = list_text(d.pools[0].cluster, d.pools[0].n_cluster);
		const char *local = list_text(d.pools[0].local, d.pools[0].n_local);
		if (strcmp(cluster, rows[r].cluster) != 0 || strcmp(local, rows[r].local) != 0)
			fail_msg("%s: cluster \"%s\" local \"%s\"", rows[r].what, cluster, local);
	}
}

// Each of these is no Service for this proxy.
static void not_ours(void **state)
{
	const char *const services[] = {
	    "metadata: {name: a}\nspec: {clusterIP: None, ports: [{port: 80}]}",
	    "metadata: {name: a}\nspec: {clusterIP: \"\", ports: [{port: 80}]}",
	    "metadata: {name: a}\nspec: {type: ExternalName, externalName: example.org}",
	    ("metadata: {name: a, labels: {service.kubernetes.io/service-proxy-name: mine}}\n"
	     "spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}"),
	    ("metadata: {name: a, labels: {service.kubernetes.io/headless: \"\"}}\n"
	     "spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}"),
	};
	const char *const slices[] = {
	    "metadata: {name: a-1}\naddressType: IPv4\nendpoints: []",
	    "metadata: {name: a-1, labels: {kubernetes.io/service-name: \"\"}}\naddressType: IPv4\nendpoints: []",
	    "metadata: {name: a-1, labels: {kubernetes.io/service-name: a}}\naddressType: FQDN\nendpoints: []",
	    ("metadata: {name: a-1, labels: {kubernetes.io/service-name: a, service.kubernetes.io/headless: \"\"}}\n"
	     "addressType: IPv4\nendpoints: []"),
	};
	const struct fl_proxy_where where = {"node-a", NULL};

	for (size_t i = 0; i < FL_COUNT(services); i++) {
		AUTO(fl_proxy_service_deinit) struct fl_proxy_service svc = {0};
		struct fl_proxy_desired d;

		fl_proxy_service_parse(tree(services[i]), &svc);
		fl_proxy_derive("default/a", &svc, NULL, 0, &arena, &d);
		assert_int_equal(d.n_frontends, 0);
		assert_int_equal(d.n_pools, 0);
	}
	for (size_t i = 0; i < FL_COUNT(slices); i++) {
		struct fl_proxy_slice slice;
		const char *name;

		assert_false(fl_proxy_slice_parse(tree(slices[i]), &where, &arena, &slice, &name));
	}
}

// Several slices of one Service, with ports and addresses that repeat or do not belong.
static void slices_together(void **state)
{
	const char *const texts[] = {
	    ("metadata: {labels: {kubernetes.io/service-name: a}}\naddressType: IPv4\n"
	     "ports: [{name: x, port: 1, protocol: TCP}, {name: y, port: 2, protocol: UDP}, {name: x, port: null}]\n"
	     "endpoints: [{addresses: [10.0.0.2, 10.0.0.9]}, {addresses: [10.0.0.1], conditions: {ready: false}}]"),
	    ("metadata: {labels: {kubernetes.io/service-name: a}}\naddressType: IPv4\n"
	     "ports: [{name: x, port: 1, protocol: TCP}]\n"
	     "endpoints: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.2]}, {addresses: [nonsense]}, {addresses: []}]"),
	    ("metadata: {labels: {kubernetes.io/service-name: a}}\naddressType: IPv6\n"
	     "ports: [{name: x, port: 1, protocol: TCP}]\nendpoints: [{addresses: [\"fd00::1\"]}]"),
	};
	const struct fl_proxy_where where = {"node-a", NULL};
	AUTO(fl_proxy_service_deinit) struct fl_proxy_service svc = {0};
	struct fl_proxy_slice slices[3];
	const struct fl_proxy_slice *list[] = {&slices[0], &slices[1], &slices[2]};
	struct fl_proxy_desired d;
	const char *name;

	fl_proxy_service_parse(tree("metadata: {name: a}\n"
				    "spec:\n  clusterIPs: [10.96.0.1, 10.96.0.2]\n"
				    "  ports: [{name: x, port: 80}, {name: y, port: 80, protocol: UDP},"
				    " {name: y, port: 81, protocol: TCP}]"),
			       &svc);
	for (size_t i = 0; i < 3; i++)
		assert_true(fl_proxy_slice_parse(tree(texts[i]), &where, &arena, &slices[i], &name));
	fl_proxy_derive("default/a", &svc, list, 3, &arena, &d);
	assert_int_equal(d.n_pools, 3); // of two addresses of one family the first counts
	assert_string_equal(list_text(d.pools[0].cluster, d.pools[0].n_cluster), "1 2"); // ready somewhere is ready
	assert_string_equal(list_text(d.pools[1].cluster, d.pools[1].n_cluster), "2");
	assert_int_equal(d.pools[2].n_cluster, 0); // name alone does not do: protocol differs
	for (size_t i = 0; i < 3; i++)
		fl_proxy_slice_deinit(&slices[i]);
}

static struct fl_proxy_endpoint endpoint(unsigned i)
{
	struct fl_proxy_endpoint e;

	memset(&e, 0, sizeof(e));
	e.ip = fl_ip_from4(htonl(0x0a000000u + i));
	e.port = 80;
	return e;
}

// Whatever changes, an endpoint that stays within the new length stays in its slot.
static void slots_are_kept(void **state)
{
	for (unsigned seed = 1; seed < 500; seed++) {
		struct fl_proxy_endpoint old[32], now[32];
		unsigned n_old = seed % 31, n_now = 0, bits = seed * 2654435761u;

		for (unsigned i = 0; i < n_old; i++)
			old[i] = endpoint((i * 7 + seed) % 32); // 7 and 32 share no divisor: all different
		for (unsigned i = 0; i < 32; i++) {
			if (bits >> i & 1)
				now[n_now++] = endpoint(i);
		}
		struct fl_proxy_endpoint sorted[32];
		memcpy(sorted, now, sizeof(sorted));
		fl_proxy_keep_slots(old, n_old, now, n_now, &arena);

		unsigned present = 0;
		for (unsigned i = 0; i < n_now; i++) {
			for (unsigned j = 0; j < n_now; j++)
				present += memcmp(&sorted[i], &now[j], sizeof(now[j])) == 0;
		}
		assert_int_equal(present, n_now); // a permutation
		for (unsigned slot = 0; slot < n_old && slot < n_now; slot++) {
			for (unsigned j = 0; j < n_now; j++) {
				if (memcmp(&sorted[j], &old[slot], sizeof(old[slot])) == 0)
					assert_memory_equal(&now[slot], &old[slot], sizeof(old[slot]));
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(endpoint_choice, drop_arena),
	    cmocka_unit_test_teardown(not_ours, drop_arena),
	    cmocka_unit_test_teardown(slices_together, drop_arena),
	    cmocka_unit_test_teardown(slots_are_kept, drop_arena),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
