// SPDX-License-Identifier: Apache-2.0
// Addresses and node ports of Services: bands, chosen values, refusals in Kubernetes' words, exhaustion, and books that
// equal the Services after thousands of random writes, failing ones and restarts included.
#include <stdio.h>

#include "base/rand.h"
#include "support.h"

#define SERVICES "/api/v1/namespaces/default/services"

static void start(struct api *f, const struct api_config *c)
{
	memset(f, 0, sizeof(*f));
	api_start(f, c);
}

static struct answer *create(struct api *f, int status, const char *name, const char *spec)
{
	return expect(f, status,
		      ask_with(f, "POST", SERVICES, "{\"metadata\":{\"name\":\"%s\"},\"spec\":{%s}}", name, spec));
}

static struct answer *set(struct api *f, int status, const char *name, const char *spec)
{
	char path[96];
	snprintf(path, sizeof(path), SERVICES "/%s", name);
	return expect(f, status, patch_with(f, "merge", path, "{\"spec\":{%s}}", spec));
}

static struct answer *remove_service(struct api *f, const char *name)
{
	char path[96];
	snprintf(path, sizeof(path), SERVICES "/%s", name);
	return expect(f, 200, ask(f, "DELETE", path));
}

static void assert_says(struct answer *a, const char *field, const char *message)
{
	if (strcmp(at(a, "details.causes[0].field"), field) || !contains(a, message))
		fail_msg("%s", a->body.data);
}

static void test_bands(void **state)
{
	struct api f;
	start(&f, &(struct api_config){.cidr = "10.50.0.0/22", .port_low = 30000, .port_high = 32767});
	for (int i = 0; i < 50; i++) { // /22: 1,024 addresses, so 64 are the static band; 86 of 2,768 ports
		char name[8];
		unsigned a, b;
		snprintf(name, sizeof(name), "s%d", i);
		struct answer *s = create(&f, 201, name, "\"type\":\"NodePort\",\"ports\":[{\"port\":80}]");
		assert_int_equal(sscanf(at(s, "spec.clusterIP"), "10.50.%u.%u", &a, &b), 2);
		assert_true(a * 256 + b > 63);
		assert_true(number_at(s, "spec.ports[0].nodePort") > 30085);
	}
	struct answer *s =
	    create(&f, 201, "low",
		   "\"clusterIP\":\"10.50.0.10\",\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":30036}]");
	assert_string_equal(at(s, "spec.clusterIPs"), "[\"10.50.0.10\"]");
	assert_int_equal(number_at(s, "spec.ports[0].nodePort"), 30036);
	api_end(&f);
}

static void test_refusals(void **state)
{
	struct api f;
	start(&f, NULL);
	create(&f, 201, "a",
	       "\"clusterIP\":\"10.96.100.100\",\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":30036}]");
	struct fl_service_alloc_stats before = fl_service_alloc_stats(f.s.alloc);
	assert_says(create(&f, 422, "b", "\"clusterIP\":\"10.96.100.100\",\"ports\":[{\"port\":80}]"),
		    "spec.clusterIPs", "failed to allocate IP 10.96.100.100: provided IP is already allocated");
	assert_says(create(&f, 422, "b", "\"clusterIP\":\"10.97.0.1\",\"ports\":[{\"port\":80}]"), "spec.clusterIPs",
		    "failed to allocate IP 10.97.0.1: the provided network does not match the current range");
	create(&f, 422, "b", "\"clusterIP\":\"10.96.0.0\",\"ports\":[{\"port\":80}]");     // the network's own
	create(&f, 422, "b", "\"clusterIP\":\"10.96.255.255\",\"ports\":[{\"port\":80}]"); // broadcast
	create(&f, 422, "b", "\"clusterIP\":\"10.96.0.1\",\"ports\":[{\"port\":80}]");     // default/kubernetes
	create(&f, 422, "b", "\"clusterIP\":\"nonsense\",\"ports\":[{\"port\":80}]");
	assert_says(create(&f, 422, "b", "\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":30036}]"),
		    "spec.ports[0].nodePort", "Invalid value: 30036: provided port is already allocated");
	assert_says(create(&f, 422, "b",
			   "\"type\":\"NodePort\",\"ports\":[{\"port\":1,\"name\":\"a\"},{\"port\":80,\"name\":\"b\","
			   "\"nodePort\":20000}]"),
		    "spec.ports[1].nodePort",
		    "provided port is not in the valid range. The range of valid ports is 30000-32767");
	create(&f, 422, "b",
	       "\"type\":\"NodePort\",\"ports\":[{\"port\":80},{\"port\":81}]"); // names are missing: validation
	create(&f, 422, "B!", "\"type\":\"NodePort\",\"ports\":[{\"port\":80}]");
	struct fl_service_alloc_stats after = fl_service_alloc_stats(f.s.alloc);
	assert_memory_equal(&before, &after, sizeof(before));
	api_end(&f);
}

static void test_exhaustion(void **state)
{
	struct api f;
	start(&f, &(struct api_config){.cidr = "10.50.0.0/27", .port_low = 30000, .port_high = 30009});
	char name[8];
	for (int i = 0; i < 29; i++) { // 30 addresses, one is default/kubernetes'
		snprintf(name, sizeof(name), "s%d", i);
		create(&f, 201, name,
		       i < 10 ? "\"type\":\"NodePort\",\"ports\":[{\"port\":80}]" : "\"ports\":[{\"port\":80}]");
	}
	struct answer *a = create(&f, 500, "more", "\"ports\":[{\"port\":80}]");
	assert_string_equal(at(a, "message"), "Internal error occurred: failed to allocate a serviceIP: range is full");
	assert_string_equal(at(a, "reason"), "InternalError");
	remove_service(&f, "s28");
	a = create(&f, 500, "more", "\"type\":\"NodePort\",\"ports\":[{\"port\":80}]");
	assert_string_equal(at(a, "message"), "Internal error occurred: failed to allocate a nodePort: range is full");
	set(&f, 500, "s20", "\"type\":\"NodePort\"");
	remove_service(&f, "s3");
	a = create(&f, 500, "more",
		   "\"type\":\"LoadBalancer\",\"externalTrafficPolicy\":\"Local\",\"ports\":[{\"port\":80}]");
	assert_string_equal(at(a, "message"),
			    "Internal error occurred: failed to allocate a HealthCheck NodePort: range is full");
	create(&f, 201, "more", "\"type\":\"NodePort\",\"ports\":[{\"port\":80}]");
	create(&f, 201, "headless", "\"clusterIP\":\"None\",\"ports\":[{\"port\":80}]");
	create(&f, 201, "external", "\"type\":\"ExternalName\",\"externalName\":\"example.org\"");
	struct fl_service_alloc_stats st = fl_service_alloc_stats(f.s.alloc);
	assert_int_equal(st.ips[0], 29);
	assert_int_equal(st.ports, 10);
	api_end(&f);
}

static void test_types(void **state)
{
	struct api f;
	start(&f, NULL);
	struct answer *a = create(&f, 201, "t", "\"ports\":[{\"port\":80}]");
	const char *ip = at(a, "spec.clusterIP");
	a = set(&f, 200, "t", "\"type\":\"NodePort\"");
	assert_string_equal(at(a, "spec.clusterIP"), ip);
	long long port = number_at(a, "spec.ports[0].nodePort");
	a = set(&f, 200, "t", "\"type\":\"LoadBalancer\",\"externalTrafficPolicy\":\"Local\"");
	assert_int_equal(number_at(a, "spec.ports[0].nodePort"), port);
	assert_int_equal(fl_service_alloc_stats(f.s.alloc).ports, 2);
	set(&f, 200, "t", "\"type\":\"ClusterIP\"");
	assert_int_equal(fl_service_alloc_stats(f.s.alloc).ports, 0);
	set(&f, 200, "t", "\"type\":\"ExternalName\",\"externalName\":\"a.example.org\"");
	assert_int_equal(fl_service_alloc_stats(f.s.alloc).ips[0], 1);
	a = set(&f, 200, "t", "\"type\":\"ClusterIP\",\"externalName\":null");
	assert_int_equal(fl_service_alloc_stats(f.s.alloc).ips[0], 2);
	assert_string_not_equal(at(a, "spec.clusterIP"), "");
	a = create(&f, 201, "dns",
		   "\"type\":\"NodePort\",\"ports\":[{\"name\":\"u\",\"port\":53,\"protocol\":\"UDP\"},{\"name\":\"t\","
		   "\"port\":53}]");
	assert_int_equal(number_at(a, "spec.ports[0].nodePort"), number_at(a, "spec.ports[1].nodePort"));
	assert_int_equal(fl_service_alloc_stats(f.s.alloc).ports, 1);
	a = create(&f, 201, "none",
		   "\"type\":\"LoadBalancer\",\"allocateLoadBalancerNodePorts\":false,\"ports\":[{\"port\":80}]");
	assert_null(node_at(a, "spec.ports[0].nodePort"));
	// One that asks for no node ports may choose some, and gives them back like any other.
	for (unsigned i = 0; i < 2; i++) {
		uint64_t before = fl_service_alloc_stats(f.s.alloc).ports;
		const char *name = i ? "chosen1" : "chosen0";
		create(&f, 201, name,
		       "\"type\":\"LoadBalancer\",\"allocateLoadBalancerNodePorts\":false,\"ports\":[{\"port\":80,"
		       "\"nodePort\":30005}]");
		assert_int_equal(fl_service_alloc_stats(f.s.alloc).ports, before + 1);
		a = set(&f, 200, name,
			i ? "\"type\":\"ExternalName\",\"externalName\":\"a.example.org\"" : "\"type\":\"ClusterIP\"");
		assert_null(node_at(a, "spec.ports[0].nodePort"));
		assert_int_equal(fl_service_alloc_stats(f.s.alloc).ports, before);
	}
	// Exchange of two ports within one Service is no conflict with itself.
	a = create(&f, 201, "two",
		   "\"type\":\"NodePort\",\"ports\":[{\"name\":\"a\",\"port\":1,\"nodePort\":30001},{\"name\":\"b\","
		   "\"port\":2,\"nodePort\":30002}]");
	a = set(&f, 200, "two",
		"\"ports\":[{\"name\":\"a\",\"port\":1,\"nodePort\":30002},{\"name\":\"b\",\"port\":2,\"nodePort\":"
		"30001}]");
	assert_int_equal(number_at(a, "spec.ports[0].nodePort"), 30002);
	a = set(&f, 200, "two", "\"ports\":[{\"name\":\"a\",\"port\":1,\"nodePort\":30002}]");
	create(&f, 201, "other", "\"type\":\"NodePort\",\"ports\":[{\"port\":1,\"nodePort\":30001}]"); // given back
	api_end(&f);
}

static void test_two_families(void **state)
{
	struct api f;
	start(&f, &(struct api_config){.cidr6 = "fd00:10::/112"});
	struct answer *a = create(&f, 201, "both", "\"ipFamilyPolicy\":\"RequireDualStack\",\"ports\":[{\"port\":80}]");
	assert_int_equal(fl_json_count(node_at(a, "spec.clusterIPs")), 2);
	assert_true(fl_starts_with(at(a, "spec.clusterIPs[1]"), "fd00:10::"));
	a = create(&f, 201, "six", "\"ipFamilies\":[\"IPv6\"],\"ports\":[{\"port\":80}]");
	assert_true(fl_starts_with(at(a, "spec.clusterIP"), "fd00:10::"));
	a = create(&f, 201, "chosen",
		   "\"clusterIP\":\"fd00:10::7\",\"clusterIPs\":[\"fd00:10::7\",\"10.96.0.7\"],\"ipFamilyPolicy\":"
		   "\"PreferDualStack\",\"ports\":[{"
		   "\"port\":80}]");
	assert_string_equal(at(a, "spec.ipFamilies"), "[\"IPv6\",\"IPv4\"]");
	create(&f, 422, "again",
	       "\"clusterIP\":\"10.96.0.8\",\"clusterIPs\":[\"10.96.0.8\",\"fd00:10::7\"],\"ipFamilyPolicy\":"
	       "\"PreferDualStack\",\"ports\":[{"
	       "\"port\":80}]");
	create(&f, 201, "eight",
	       "\"clusterIP\":\"10.96.0.8\",\"ports\":[{\"port\":80}]"); // nothing stayed of the refusal
	a = set(&f, 200, "both", "\"ipFamilyPolicy\":\"SingleStack\",\"ipFamilies\":[\"IPv4\"],\"clusterIPs\":null");
	assert_int_equal(fl_json_count(node_at(a, "spec.clusterIPs")), 1);
	struct fl_service_alloc_stats st = fl_service_alloc_stats(f.s.alloc);
	assert_int_equal(st.ips[0], 4); // kubernetes, both, chosen, eight
	assert_int_equal(st.ips[1], 2);
	api_end(&f);
}

// --- thousands of random writes ---

static bool count_held(void *arg, struct fl_object *o)
{
	struct fl_service_alloc *fresh = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	fl_service_alloc_adopt(fresh, fl_object_tree(o, &a));
	return true;
}

// The books must be those that a restart would make of the Services.
static void assert_books(struct api *f)
{
	struct fl_service_alloc_opts o = {.cidrs = {f->opts.service_cidrs[0]},
					  .n_cidrs = 1,
					  .port_low = f->opts.node_port_low,
					  .port_high = f->opts.node_port_high};
	struct fl_service_alloc *fresh = fl_service_alloc_new(&o);
	fl_store_list(f->s.store, fl_resource_intern("", "services"), NULL, NULL, NULL, count_held, fresh);
	struct fl_service_alloc_stats want = fl_service_alloc_stats(fresh), have = fl_service_alloc_stats(f->s.alloc);
	fl_service_alloc_free(&fresh);
	assert_int_equal(have.ips[0], want.ips[0]);
	assert_int_equal(have.ports, want.ports);
}

static void random_spec(struct fl_buf *b)
{
	static const char *const types[] = {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"};
	unsigned t = (unsigned)fl_random_below(FL_COUNT(types)), ports = 1 + (unsigned)fl_random_below(3);
	fl_buf_printf(b, "\"type\":\"%s\"", types[t]);
	fl_buf_puts(b, t == 3 ? ",\"externalName\":\"a.example.org\"" : ",\"externalName\":null");
	if (t == 2 && fl_random_below(2))
		fl_buf_puts(b, ",\"externalTrafficPolicy\":\"Local\"");
	if (t == 2 && fl_random_below(3) == 0)
		fl_buf_puts(b, ",\"allocateLoadBalancerNodePorts\":false");
	if (t != 3 && fl_random_below(4) == 0)
		fl_buf_printf(b, ",\"clusterIP\":\"10.50.0.%u\"", (unsigned)fl_random_below(70));
	if (t == 0 && fl_random_below(5) == 0)
		fl_buf_puts(b, ",\"clusterIP\":\"None\"");
	fl_buf_puts(b, ",\"ports\":[");
	for (unsigned i = 0; i < ports; i++) {
		fl_buf_printf(b, "%s{\"name\":\"p%u\",\"port\":%u,\"protocol\":\"%s\"", i ? "," : "", i,
			      1 + (unsigned)fl_random_below(3), fl_random_below(2) ? "TCP" : "UDP");
		if ((t == 1 || t == 2) && fl_random_below(3) == 0)
			fl_buf_printf(b, ",\"nodePort\":%u", 30000 + (unsigned)fl_random_below(45));
		fl_buf_putc(b, '}');
	}
	fl_buf_putc(b, ']');
}

static struct answer *random_write(struct api *f)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	unsigned i = (unsigned)fl_random_below(40), what = (unsigned)fl_random_below(20);
	const char *dry = fl_random_below(8) == 0 ? "?dryRun=All" : "";
	char path[128];
	snprintf(path, sizeof(path), SERVICES "/s%u%s", i, dry);
	if (what < 4) {
		return start_with(f, "DELETE", path, "{}");
	} else if (what < 5) {
		return start_with(f, "DELETE", SERVICES "?labelSelector=batch", "{}");
	} else if (what < 12) {
		random_spec(&b);
		snprintf(path, sizeof(path), SERVICES "%s", dry);
		return start_with(f, "POST", path, "{\"metadata\":{\"name\":\"s%u\"%s},\"spec\":{%s}}", i,
				  fl_random_below(9) == 0   ? ",\"labels\":{\"batch\":\"1\"}"
				  : fl_random_below(9) == 0 ? ",\"finalizers\":[\"example.org/x\"]"
							    : "",
				  b.data);
	}
	if (what < 17) {
		random_spec(&b);
		AUTO_FREE char *body = fl_asprintf("{\"spec\":{%s}}", b.data);
		return api_send(f, f->admin, "PATCH", path, "application/merge-patch+json", NULL, body, strlen(body));
	}
	static const char free_it[] = "{\"metadata\":{\"finalizers\":null}}";
	return api_send(f, f->admin, "PATCH", path, "application/merge-patch+json", NULL, free_it, strlen(free_it));
}

static void test_random_writes(void **state)
{
	struct api f;
	start(&f, &(struct api_config){.cidr = "10.50.0.0/26", .port_low = 30000, .port_high = 30039});
	unsigned ok = 0, refused = 0;
	for (unsigned round = 0; round < 250; round++) {
		struct answer *a[16];
		for (size_t i = 0; i < FL_COUNT(a); i++)
			a[i] = random_write(&f);
		for (size_t i = 0; i < FL_COUNT(a); i++) {
			if (fl_random_below(20) == 0)
				cancel(a[i]);
			WAIT(&f, a[i]->done);
			ok += a[i]->status == 200 || a[i]->status == 201;
			refused += a[i]->status == 422;
		}
		WAIT(&f, TAILQ_EMPTY(&f.s.pending));
		assert_books(&f);
		if (round % 50 == 49)
			api_restart(&f);
	}
	assert_true(ok > 500 && refused > 100); // it did something
	api_end(&f);
}

// The same on a disk that fails every few writes.
static void test_random_failing_writes(void **state)
{
	struct api f;
	start(&f, &(struct api_config){.held = true, .cidr = "10.50.0.0/26", .port_low = 30000, .port_high = 30039});
	struct answer *ns = start_with(&f, "POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"default\"}}");
	WAIT(&f, held.queue);
	held_commit(1);
	expect(&f, 201, ns);
	unsigned ok = 0, failed = 0;
	for (unsigned round = 0; round < 150; round++) {
		struct answer *a[12];
		for (size_t i = 0; i < FL_COUNT(a); i++)
			a[i] = random_write(&f);
		for (bool done = false; !done;) {
			done = true;
			for (size_t i = 0; i < FL_COUNT(a); i++)
				done &= a[i]->done;
			if (held.queue && fl_random_below(6) == 0)
				held_fail(-5, "the disk is broken");
			else if (held.queue)
				held_commit(1 + fl_random_below(4));
			if (!done)
				uv_run(&f.loop, held.queue ? UV_RUN_NOWAIT : UV_RUN_ONCE);
		}
		for (size_t i = 0; i < FL_COUNT(a); i++) {
			ok += a[i]->status == 200 || a[i]->status == 201;
			failed += contains(a[i], "the disk is broken");
		}
		while (held.queue)
			held_commit(100);
		assert_books(&f);
	}
	assert_true(ok > 200 && failed > 50);
	api_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bands),
	    cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_exhaustion),
	    cmocka_unit_test(test_types),
	    cmocka_unit_test(test_two_families),
	    cmocka_unit_test(test_random_writes),
	    cmocka_unit_test(test_random_failing_writes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
