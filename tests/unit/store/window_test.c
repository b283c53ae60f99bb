// SPDX-License-Identifier: Apache-2.0
#include "store/window.h"

#include <stdio.h>

#include "support.h"

static const char *resource;

static void push(struct fl_store_window *w, enum fl_event_type type, uint64_t rv, size_t size, bool with_prev)
{
	AUTO_FREE char *json = fl_calloc(1, size);
	AUTO(fl_object_put) struct fl_object *o = fl_object_new(resource, "", "a", "u", json, size, -1, rv);
	AUTO(fl_object_put)
	struct fl_object *prev = with_prev ? fl_object_new(resource, "", "a", "u", json, size, -1, rv - 1) : NULL;
	fl_store_window_push(w, type, rv, o, prev);
}

static void test_bound_on_events(void **state)
{
	struct fl_store_window w;
	fl_store_window_init(&w, 100, 7);
	assert_int_equal(w.floor, 7);
	for (uint64_t rv = 10; rv < 1000; rv += 2) // revisions may have gaps
		push(&w, FL_EVENT_ADDED, rv, 10, false);
	assert_int_equal(w.n, 100);
	assert_int_equal(w.floor, 998 - 200);
	assert_int_equal(fl_store_window_find(&w, w.floor), 0);
	assert_int_equal(fl_store_window_at(&w, 0)->rv, 800);
	assert_int_equal(fl_store_window_find(&w, 900), 51);
	assert_int_equal(fl_store_window_find(&w, 901), 51);
	assert_int_equal(fl_store_window_at(&w, 51)->rv, 902);
	assert_int_equal(fl_store_window_find(&w, 998), 100);
	assert_int_equal(fl_store_window_find(&w, 5), 0);
	fl_store_window_deinit(&w);
}

static void test_bound_on_bytes(void **state)
{
	struct fl_store_window w;
	fl_store_window_init(&w, 4096, 0);
	for (uint64_t rv = 1; rv <= 100; rv++)
		push(&w, FL_EVENT_MODIFIED, rv * 2, 1024 * 1024, true);
	assert_in_range(w.n, 5, 8);
	assert_true(w.bytes <= FL_STORE_WINDOW_BYTES);
	assert_int_equal(w.floor, 200 - 2 * w.n);
	// A creation keeps nothing alive that the index does not.
	size_t before = w.bytes;
	push(&w, FL_EVENT_ADDED, 300, 1024 * 1024, false);
	assert_int_equal(w.bytes, before);
	// One event is kept however large it is.
	push(&w, FL_EVENT_DELETED, 301, FL_STORE_WINDOW_BYTES, true);
	assert_int_equal(w.n, 1);
	assert_int_equal(w.floor, 300);
	fl_store_window_deinit(&w);
}

int main(void)
{
	resource = fl_resource_intern("", "things");
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bound_on_events),
	    cmocka_unit_test(test_bound_on_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
