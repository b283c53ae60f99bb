// SPDX-License-Identifier: Apache-2.0
// Nothing is answered before it is durable, and nothing breaks when the client, the disk or the server goes away in
// between. The engine's commits are held by the test.
#include <errno.h>
#include <stdio.h>

#include "support.h"

#define SERVICES "/api/v1/namespaces/default/services"

static unsigned queued(void)
{
	unsigned n = 0;
	for (struct fl_engine_write *w = held.queue; w; w = w->next)
		n++;
	return n;
}

static void commit_all(void)
{
	held_commit(queued());
}

static void commit_one_by_one(struct api *f, struct answer *a)
{
	while (!a->done) {
		if (held.queue)
			held_commit(1);
		uv_run(&f->loop, held.queue ? UV_RUN_NOWAIT : UV_RUN_ONCE);
	}
}

static int setup(void **state)
{
	struct api *f = FL_NEW(struct api);
	api_start(f, &(struct api_config){.held = true, .cidr = "10.96.0.0/24", .port_low = 30000, .port_high = 30099});
	struct answer *a = start_with(f, "POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"default\"}}");
	WAIT(f, queued() == 1);
	assert_false(a->done);
	commit_all();
	expect(f, 201, a);
	*state = f;
	return 0;
}

static struct answer *start_service(struct api *f, const char *name, const char *spec)
{
	return start_with(f, "POST", SERVICES,
			  "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"ports\":[{\"port\":80}]%s}}", name, spec);
}

// Answers that are certain come at once: a request behind `a` has been answered, and `a` has not.
static void assert_waits(struct api *f, struct answer *a)
{
	expect(f, 200, ask(f, "GET", "/healthz"));
	assert_false(a->done);
}

static void test_answer_follows_commit(void **state)
{
	struct api *f = *state;
	struct answer *a = start_service(f, "a", "");
	WAIT(f, queued() == 1);
	assert_waits(f, a);
	expect(f, 404, ask(f, "GET", SERVICES "/a")); // not there yet for readers
	commit_all();
	expect(f, 201, a);
	expect(f, 200, ask(f, "GET", SERVICES "/a"));
}

static void test_refusals_wait_for_what_they_rest_on(void **state)
{
	struct api *f = *state;
	struct answer *first = start_service(f, "a", "");
	WAIT(f, queued() == 1);
	struct answer *again = start_service(f, "a", "");
	struct answer *same = start_with(f, "PATCH", SERVICES "/a", "{}"); // wrong type: certain
	expect(f, 415, same);
	assert_waits(f, again);
	commit_all();
	expect(f, 201, first);
	assert_string_equal(at(expect(f, 409, again), "reason"), "AlreadyExists");

	struct answer *gone = start_with(f, "DELETE", SERVICES "/a", "{}");
	WAIT(f, queued() == 1);
	struct answer *missing = start_with(f, "DELETE", SERVICES "/a", "{}");
	assert_waits(f, missing);
	commit_all();
	expect(f, 200, gone);
	expect(f, 404, missing);
}

static void test_refusals_fail_with_what_they_rest_on(void **state)
{
	struct api *f = *state;
	struct answer *first = start_service(f, "a", "");
	WAIT(f, queued() == 1);
	struct answer *again = start_service(f, "a", "");
	assert_waits(f, again);
	held_fail(-ENOSPC, "the disk is full");
	assert_string_equal(at(expect(f, 507, first), "message"), "the disk is full");
	assert_string_equal(at(expect(f, 507, again), "reason"), "InsufficientStorage");
	struct answer *third = start_service(f, "a", "");
	WAIT(f, queued() == 1);
	commit_all();
	expect(f, 201, third);
}

static void test_unchanged_waits(void **state)
{
	struct api *f = *state;
	struct answer *first = start_service(f, "a", "");
	WAIT(f, queued() == 1);
	struct answer *same =
	    start_with(f, "PUT", SERVICES "/a", "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"ports\":[{\"port\":80}]}}");
	assert_waits(f, same);
	assert_int_equal(queued(), 1); // nothing changed, nothing to write
	commit_all();
	expect(f, 201, first);
	expect(f, 200, same);

	first =
	    start_with(f, "PUT", SERVICES "/a", "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"ports\":[{\"port\":81}]}}");
	WAIT(f, queued() == 1);
	same =
	    start_with(f, "PUT", SERVICES "/a", "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"ports\":[{\"port\":81}]}}");
	assert_waits(f, same);
	held_fail(-EIO, "the disk is broken");
	expect(f, 500, first);
	assert_string_equal(at(expect(f, 500, same), "message"), "the disk is broken");
	assert_int_equal(number_at(expect(f, 200, ask(f, "GET", SERVICES "/a")), "spec.ports[0].port"), 80);
}

static void test_client_leaves(void **state)
{
	struct api *f = *state;
	struct answer *a[8];
	for (unsigned i = 0; i < FL_COUNT(a); i++) {
		char name[8];
		snprintf(name, sizeof(name), "s%u", i);
		a[i] = start_service(f, name, "");
	}
	WAIT(f, queued() == FL_COUNT(a));
	struct answer *same = start_service(f, "s0", ""); // waits for another's write
	assert_waits(f, same);
	for (unsigned i = 0; i < FL_COUNT(a); i += 2)
		cancel(a[i]);
	cancel(same);
	held_commit(4);
	assert_waits(f, a[5]);
	cancel(a[5]);
	commit_all();
	expect(f, 201, a[1]);
	expect(f, 201, a[3]);
	expect(f, 201, a[7]);
	assert_int_equal(fl_json_count(node_at(ask(f, "GET", SERVICES), "items")), 8); // written all the same
}

static void test_clients_leave_failing_writes(void **state)
{
	struct api *f = *state;
	struct answer *a = start_service(f, "a", ""), *b = start_service(f, "b", "");
	WAIT(f, queued() == 2);
	cancel(a);
	expect(f, 200, ask(f, "GET", "/healthz"));
	held_fail(-EIO, "the disk is broken");
	expect(f, 500, b);
	assert_int_equal(fl_service_alloc_stats(f->s.alloc).ips[0], 0);
}

// What failing writes had claimed is free again; what they would have given back is still held.
static void test_books_follow_the_disk(void **state)
{
	struct api *f = *state;
	struct answer *a = start_service(f, "a", ",\"type\":\"NodePort\"");
	WAIT(f, queued() == 1);
	assert_int_equal(fl_service_alloc_stats(f->s.alloc).ports, 1);
	held_fail(-ENOSPC, "full");
	expect(f, 507, a);
	assert_int_equal(fl_service_alloc_stats(f->s.alloc).ports, 0);
	assert_int_equal(fl_service_alloc_stats(f->s.alloc).ips[0], 0);

	a = start_service(f, "a", ",\"type\":\"NodePort\",\"clusterIP\":\"10.96.0.9\"");
	WAIT(f, queued() == 1);
	commit_all();
	long long port = number_at(expect(f, 201, a), "spec.ports[0].nodePort");
	a = start_with(f, "DELETE", SERVICES "/a", "{}");
	WAIT(f, queued() == 1);
	char spec[96];
	snprintf(spec, sizeof(spec), ",\"clusterIP\":\"10.96.0.9\"");
	expect(f, 422, start_service(f, "b", spec)); // not free before the deletion is durable
	held_fail(-ENOSPC, "full");
	expect(f, 507, a);
	expect(f, 422, start_service(f, "b", spec));
	assert_int_equal(number_at(ask(f, "GET", SERVICES "/a"), "spec.ports[0].nodePort"), port);

	a = start_with(f, "DELETE", SERVICES "/a", "{}");
	WAIT(f, queued() == 1);
	commit_all();
	expect(f, 200, a);
	a = start_service(f, "b", spec);
	WAIT(f, queued() == 1);
	commit_all();
	expect(f, 201, a);
}

// A chain of writes built on each other fails as a whole, and each takes back what is its own.
static void test_chain_fails_together(void **state)
{
	struct api *f = *state;
	struct answer *a = start_service(f, "a", ",\"type\":\"NodePort\"");
	WAIT(f, queued() == 1);
	struct answer *b =
	    start_with(f, "PUT", SERVICES "/a",
		       "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"type\":\"ClusterIP\",\"ports\":[{\"port\":80}]}}");
	WAIT(f, queued() == 2);
	struct answer *c = start_with(f, "DELETE", SERVICES "/a", "{}");
	WAIT(f, queued() == 3);
	struct answer *d = start_service(f, "a", ",\"type\":\"LoadBalancer\",\"externalTrafficPolicy\":\"Local\"");
	WAIT(f, queued() == 4);
	held_fail(-EIO, "broken");
	expect(f, 500, a);
	expect(f, 500, b);
	expect(f, 500, c);
	expect(f, 500, d);
	struct fl_service_alloc_stats st = fl_service_alloc_stats(f->s.alloc);
	assert_int_equal(st.ports, 0);
	assert_int_equal(st.ips[0], 0);
}

static void test_create_then_delete_before_durable(void **state)
{
	struct api *f = *state;
	struct answer *a = start_service(f, "a", ",\"type\":\"NodePort\"");
	WAIT(f, queued() == 1);
	struct answer *b = start_with(f, "DELETE", SERVICES "/a", "{}");
	WAIT(f, queued() == 2);
	held_commit(1);
	expect(f, 201, a);
	assert_false(b->done);
	expect(f, 200, ask(f, "GET", SERVICES "/a"));
	commit_all();
	expect(f, 200, b);
	expect(f, 404, ask(f, "GET", SERVICES "/a"));
	assert_int_equal(fl_service_alloc_stats(f->s.alloc).ports, 0);
}

static void make_many(struct api *f, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char name[16];
		snprintf(name, sizeof(name), "m-%03u", i);
		struct answer *a = start_service(f, name, "");
		WAIT(f, held.queue);
		commit_all();
		expect(f, 201, a);
	}
}

static void test_collection_fails_in_the_middle(void **state)
{
	struct api *f = *state;
	make_many(f, 20);
	struct answer *a = start_with(f, "DELETE", SERVICES, "{}");
	WAIT(f, queued() == 20);
	held_commit(7);
	assert_waits(f, a);
	held_fail(-ENOSPC, "full");
	assert_string_equal(at(expect(f, 507, a), "message"), "full");
	assert_int_equal(fl_json_count(node_at(ask(f, "GET", SERVICES), "items")), 13);

	a = start_with(f, "DELETE", SERVICES, "{}");
	WAIT(f, queued() == 13);
	held_commit(2);
	cancel(a); // the client leaves while its deletions are under way
	expect(f, 200, ask(f, "GET", "/healthz"));
	commit_all();
	assert_int_equal(fl_json_count(node_at(ask(f, "GET", SERVICES), "items")), 0);
}

static void test_collection_in_portions(void **state)
{
	struct api *f = *state;
	make_many(f, 250);
	struct answer *a = start_with(f, "DELETE", SERVICES "?limit=3", "{}");
	commit_one_by_one(f, a);
	assert_int_equal(fl_json_count(node_at(expect(f, 200, a), "items")), 3);
	a = start_with(f, "DELETE", SERVICES, "{\"dryRun\":[\"All\"]}");
	assert_int_equal(fl_json_count(node_at(expect(f, 200, a), "items")), 247);
	assert_int_equal(queued(), 0);
	a = start_with(f, "DELETE", SERVICES, "{}");
	commit_one_by_one(f, a);
	assert_int_equal(fl_json_count(node_at(expect(f, 200, a), "items")), 247);
	assert_int_equal(fl_service_alloc_stats(f->s.alloc).ips[0], 0);
}

static void test_stop_with_writes_under_way(void **state)
{
	struct api *f = *state;
	struct answer *writes[32], *watches[64];
	for (unsigned i = 0; i < FL_COUNT(watches); i++)
		watches[i] = start_watch(f, f->admin,
					 i % 2 ? SERVICES "?watch=1" : SERVICES "?watch=1&labelSelector=a%3Db", NULL);
	for (unsigned i = 0; i < FL_COUNT(writes); i++) {
		char name[8];
		snprintf(name, sizeof(name), "s%u", i);
		writes[i] = start_service(f, name, "");
	}
	WAIT(f, queued() == FL_COUNT(writes));
	held_commit(10);
	api_stop_serving(f, 50); // the rest is not decided when the connections are cut
	for (unsigned i = 0; i < FL_COUNT(watches); i++)
		WAIT(f, watches[i]->done);
	for (unsigned i = 10; i < FL_COUNT(writes); i++) {
		WAIT(f, writes[i]->done);
		assert_true(writes[i]->rc < 0);
	}
	commit_all(); // decided with nobody left to tell
	assert_int_equal(fl_store_count(f->s.store, fl_resource_intern("", "services"), NULL), 32);
}

static void test_writes_after_the_store_closes(void **state)
{
	struct api *f = *state;
	start_service(f, "a", "");
	WAIT(f, queued() == 1);
	struct answer *again = start_service(f, "a", "");
	assert_waits(f, again);
	// teardown stops HTTP and closes the store while both wait
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_answer_follows_commit, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_refusals_wait_for_what_they_rest_on, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_refusals_fail_with_what_they_rest_on, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_unchanged_waits, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_client_leaves, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_clients_leave_failing_writes, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_books_follow_the_disk, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_chain_fails_together, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_create_then_delete_before_durable, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_collection_fails_in_the_middle, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_collection_in_portions, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_stop_with_writes_under_way, setup, api_teardown),
	    cmocka_unit_test_setup_teardown(test_writes_after_the_store_closes, setup, api_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
