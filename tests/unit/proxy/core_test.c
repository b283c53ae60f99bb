// SPDX-License-Identifier: Apache-2.0
// Change tracking against a backend that only remembers: the delta is as large as the change, failures lead to a full
// pass, and two Services that claim one address take turns.
#include "proxy_test.h"

struct fl_proxy_backend {
	int fail; // the next applies
	unsigned applies;
	bool full;
	size_t frontends, pools, vips, locals;
	struct fl_map now; // frontends in force, "address port" -> their pool's name
};

static struct fl_proxy_backend fake;

static void remember(const struct fl_proxy_frontend *f, bool added)
{
	char ip[FL_IP_STRLEN];
	AUTO_FREE char *key = fl_asprintf("%s %u", fl_ip_format(&f->ip, ip), f->port);

	free(added ? fl_map_set(&fake.now, key, fl_strdup(f->pool->name)) : fl_map_del(&fake.now, key));
}

static void forget_all(void)
{
	for (struct fl_map_iter it = {0}; fl_map_next(&fake.now, &it);)
		free(it.value);
	fl_map_deinit(&fake.now);
}

static int fake_apply(struct fl_proxy_backend *b, const struct fl_proxy_delta *d, struct fl_err *err)
{
	b->applies++;
	if (b->fail) {
		b->fail--;
		return fl_err_set(err, -EIO, "told to fail");
	}
	b->full = d->full;
	b->frontends = d->n_frontends;
	b->pools = d->n_pools;
	b->vips = d->n_vips;
	b->locals = d->n_locals;
	if (d->full)
		forget_all();
	for (size_t i = 0; i < d->n_frontends; i++) {
		if (d->frontends[i].old)
			remember(d->frontends[i].old, false);
		if (d->frontends[i].new_frontend)
			remember(d->frontends[i].new_frontend, true);
	}
	return 0;
}

static const struct fl_proxy_backend_ops fake_ops = {.name = "fake", .apply = fake_apply};

static struct feed f;

static int set_up(void **state)
{
	fake = (struct fl_proxy_backend){0};
	f = (struct feed){.core = fl_proxy_core_new(
			      &(struct fl_proxy_core_opts){.node_name = "node-a", .ops = &fake_ops, .backend = &fake})};
	return 0;
}

static int tear_down(void **state)
{
	feed_deinit(&f);
	forget_all();
	return 0;
}

static void feed_service(int i)
{
	AUTO_FREE char *yaml = fl_asprintf("kind: Service\nmetadata: {name: s%d}\n"
					   "spec: {clusterIP: 10.96.1.%d, ports: [{port: 80}]}",
					   i, i);

	feed_apply(&f, yaml);
}

static void feed_endpoints(int i, const char *endpoints)
{
	AUTO_FREE char *yaml = fl_asprintf("kind: EndpointSlice\n"
					   "metadata: {name: s%d-x, labels: {kubernetes.io/service-name: s%d}}\n"
					   "addressType: IPv4\nports: [{port: 8080}]\nendpoints: %s",
					   i, i, endpoints);

	feed_apply(&f, yaml);
}

static void delta_is_as_large_as_the_change(void **state)
{
	for (int i = 0; i < 200; i++) {
		feed_service(i);
		feed_endpoints(
		    i, "[{addresses: [10.244.0.1], nodeName: node-a}, {addresses: [10.244.0.2], nodeName: node-b}]");
	}
	assert_true(fl_proxy_core_dirty(f.core));
	feed_sync(&f);
	assert_false(fl_proxy_core_dirty(f.core));
	assert_true(fake.full);
	assert_int_equal(fake.frontends, 200);
	assert_int_equal(fake.pools, 200);
	assert_int_equal(fake.vips, 200);
	assert_int_equal(fake.locals, 1); // one address, however many Services have it

	feed_endpoints(7, "[{addresses: [10.244.0.1], nodeName: node-a}, {addresses: [10.244.0.3], nodeName: node-b}]");
	feed_sync(&f);
	assert_false(fake.full);
	assert_int_equal(fake.frontends, 1);
	assert_int_equal(fake.pools, 1);
	assert_int_equal(fake.vips + fake.locals, 0);

	feed_endpoints(7, "[{addresses: [10.244.0.1], nodeName: node-a}]");
	feed_endpoints(8, "[{addresses: [10.244.0.1], nodeName: node-a}]");
	feed_sync(&f); // two changes of one turn: one apply
	assert_int_equal(fake.applies, 3);
	assert_int_equal(fake.frontends, 2);
	assert_int_equal(fake.pools, 2);

	feed_endpoints(7, "[{addresses: [10.244.0.1], nodeName: node-a}]");
	assert_true(fl_proxy_core_dirty(f.core));
	feed_sync(&f); // nothing new: nothing to apply
	assert_int_equal(fake.applies, 3);

	feed_delete(&f, "Service default/s7");
	feed_sync(&f);
	assert_int_equal(fake.frontends, 1);
	assert_int_equal(fake.vips, 1);
	assert_int_equal(fake.locals, 0);
	feed_delete_all(&f);
	feed_sync(&f);
	assert_int_equal(fake.now.n, 0);
	assert_int_equal(fake.locals, 1);
}

static void failure_leads_to_a_full_pass(void **state)
{
	struct fl_err err = {0};

	feed_service(1);
	feed_sync(&f);
	feed_service(2);
	fake.fail = 2;
	assert_int_equal(fl_proxy_core_sync(f.core, &err), -EIO);
	assert_string_equal(err.text, "told to fail");
	assert_true(fl_proxy_core_dirty(f.core));
	feed_delete(&f, "Service default/s1");
	assert_int_equal(fl_proxy_core_sync(f.core, &err), -EIO);
	feed_sync(&f);
	assert_true(fake.full);
	assert_int_equal(fake.frontends, 1);
	assert_string_equal(fl_map_get(&fake.now, "10.96.1.2 80"), "default/s2:80");
	feed_service(3);
	feed_sync(&f);
	assert_false(fake.full);
}

static void claim(const char *name, const char *created, const char *vip)
{
	AUTO_FREE char *yaml = fl_asprintf("kind: Service\nmetadata: {name: %s, creationTimestamp: \"%s\"}\n"
					   "spec: {clusterIP: %s, externalIPs: [192.0.2.1], ports: [{port: 80}]}",
					   name, created, vip);

	feed_apply(&f, yaml);
	feed_sync(&f);
}

static void older_service_has_the_address(void **state)
{
	claim("middle", "2026-01-02T00:00:00Z", "10.96.0.2");
	assert_string_equal(fl_map_get(&fake.now, "192.0.2.1 80"), "default/middle:80");
	claim("young", "2026-01-03T00:00:00Z", "10.96.0.3");
	assert_string_equal(fl_map_get(&fake.now, "192.0.2.1 80"), "default/middle:80");
	claim("old", "2026-01-01T00:00:00Z", "10.96.0.1");
	assert_string_equal(fl_map_get(&fake.now, "192.0.2.1 80"), "default/old:80");
	feed_delete(&f, "Service default/middle");
	feed_delete(&f, "Service default/old");
	feed_sync(&f);
	assert_string_equal(fl_map_get(&fake.now, "192.0.2.1 80"), "default/young:80");
	feed_delete(&f, "Service default/young");
	feed_sync(&f);
	assert_int_equal(fake.now.n, 0);
}

// A slice may come before its Service, go after it, and move to another one.
static void any_order(void **state)
{
	feed_endpoints(1, "[{addresses: [10.244.0.1]}]");
	feed_sync(&f);
	assert_int_equal(fake.now.n, 0);
	feed_service(1);
	feed_service(2);
	feed_sync(&f);
	assert_int_equal(fake.now.n, 2);

	feed_apply(&f, "kind: EndpointSlice\nmetadata: {name: s1-x, labels: {kubernetes.io/service-name: s2}}\n"
		       "addressType: IPv4\nports: [{port: 8080}]\nendpoints: [{addresses: [10.244.0.1]}]");
	feed_sync(&f);
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_proxy_core_dump(f.core, &b);
	assert_non_null(strstr(b.data, "default/s1:80 0/0\n"));
	assert_non_null(strstr(b.data, "default/s2:80 1/0\n"));
	feed_delete(&f, "Service default/s2");
	feed_sync(&f);
	feed_delete(&f, "EndpointSlice default/s1-x");
	feed_sync(&f);
	assert_int_equal(fake.now.n, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(delta_is_as_large_as_the_change, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(failure_leads_to_a_full_pass, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(older_service_has_the_address, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(any_order, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
