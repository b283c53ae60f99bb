// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/str.h"
#include "client/workqueue.h"

struct log {
	uv_loop_t loop;
	struct fl_workqueue *q;
	char text[512]; // keys in the order of their work
	unsigned n, running, most;
	bool hold; // work does not finish by itself
	int fail;  // so many more times
	bool add_again;
	bool change_at_success; // the key changes while the pass that succeeds is under way
};

static void work(void *arg, const char *key)
{
	struct log *l = arg;
	size_t at = strlen(l->text);
	snprintf(l->text + at, sizeof(l->text) - at, "%s ", key);
	l->n++;
	if (++l->running > l->most)
		l->most = l->running;
	if (l->add_again) {
		l->add_again = false;
		fl_workqueue_add(l->q, key);
		fl_workqueue_add(l->q, key);
	}
	if (l->change_at_success && !l->fail) {
		l->change_at_success = false;
		fl_workqueue_add(l->q, key);
	}
	if (l->hold)
		return;
	l->running--;
	fl_workqueue_done(l->q, key, l->fail ? l->fail--, 0 : 1);
}

static void begin(struct log *l, unsigned concurrency)
{
	*l = (struct log){0};
	uv_loop_init(&l->loop);
	l->q = fl_workqueue_new(&l->loop, concurrency, work, l);
}

static void end(struct log *l)
{
	fl_workqueue_free(&l->q);
	uv_run(&l->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&l->loop), 0);
}

static void each_key_once(void **state)
{
	struct log l;
	begin(&l, 4);
	fl_workqueue_add(l.q, "a");
	fl_workqueue_add(l.q, "b");
	fl_workqueue_add(l.q, "a");
	assert_int_equal(l.n, 0); // from a later turn only
	uv_run(&l.loop, UV_RUN_DEFAULT);
	assert_string_equal(l.text, "a b ");
	end(&l);
}

static void at_most_so_many(void **state)
{
	struct log l;
	begin(&l, 2);
	l.hold = true;
	fl_workqueue_add(l.q, "a");
	fl_workqueue_add(l.q, "b");
	fl_workqueue_add(l.q, "c");
	uv_run(&l.loop, UV_RUN_DEFAULT);
	assert_string_equal(l.text, "a b ");
	l.running--;
	fl_workqueue_done(l.q, "a", 1);
	uv_run(&l.loop, UV_RUN_DEFAULT);
	assert_string_equal(l.text, "a b c ");
	assert_int_equal(l.most, 2);
	fl_workqueue_done(l.q, "b", 1);
	fl_workqueue_done(l.q, "c", 1);
	end(&l);
}

static void again_after_a_change_meanwhile(void **state)
{
	struct log l;
	begin(&l, 1);
	l.add_again = true;
	fl_workqueue_add(l.q, "a");
	uv_run(&l.loop, UV_RUN_DEFAULT);
	assert_string_equal(l.text, "a a ");
	end(&l);
}

static void never_twice_at_once(void **state)
{
	struct log l;
	begin(&l, 4);
	l.hold = true;
	fl_workqueue_add(l.q, "a");
	uv_run(&l.loop, UV_RUN_DEFAULT);
	fl_workqueue_add(l.q, "a");
	fl_workqueue_add_after(l.q, "a", 1);
	uv_run(&l.loop, UV_RUN_DEFAULT);
	assert_string_equal(l.text, "a ");
	l.hold = false;
	l.running--;
	fl_workqueue_done(l.q, "a", 1);
	uv_run(&l.loop, UV_RUN_DEFAULT);
	assert_string_equal(l.text, "a a ");
	end(&l);
}

static void failures_come_again(void **state)
{
	struct log l;
	begin(&l, 1);
	l.fail = 5;
	fl_workqueue_add(l.q, "a");
	uv_run(&l.loop, UV_RUN_DEFAULT);
	assert_int_equal(l.n, 6);
	fl_workqueue_add(l.q, "a"); // nothing is left of the failures
	uv_run(&l.loop, UV_RUN_DEFAULT);
	assert_int_equal(l.n, 7);
	end(&l);
}

static void a_change_is_not_lost_after_failures(void **state)
{
	struct log l;
	begin(&l, 1);
	l.fail = 6;
	l.change_at_success = true;
	fl_workqueue_add(l.q, "a");
	uv_run(&l.loop, UV_RUN_DEFAULT);
	assert_int_equal(l.n, 8); // six failures, a success, and the change
	end(&l);
}

static void delays_in_order(void **state)
{
	struct log l;
	begin(&l, 1);
	static const unsigned delays[] = {40, 10, 30, 20, 5, 35};
	for (unsigned i = 0; i < 6; i++) {
		char key[8];
		snprintf(key, sizeof(key), "%u", delays[i]);
		fl_workqueue_add_after(l.q, key, delays[i]);
	}
	fl_workqueue_add_after(l.q, "40", 15); // earlier wins
	fl_workqueue_add_after(l.q, "5", 60);  // later does not
	fl_workqueue_add(l.q, "35");           // at once wins
	uv_run(&l.loop, UV_RUN_DEFAULT);
	assert_string_equal(l.text, "35 5 10 40 20 30 ");
	end(&l);
}

static void paused_gathers(void **state)
{
	struct log l;
	begin(&l, 1);
	fl_workqueue_pause(l.q, true);
	fl_workqueue_add(l.q, "a");
	fl_workqueue_add_after(l.q, "b", 1);
	uv_run(&l.loop, UV_RUN_DEFAULT);
	assert_int_equal(l.n, 0);
	fl_workqueue_pause(l.q, false);
	uv_run(&l.loop, UV_RUN_DEFAULT);
	assert_int_equal(l.n, 2);
	end(&l);
}

static void many(void **state)
{
	struct log l;
	begin(&l, 8);
	l.hold = false;
	for (unsigned i = 0; i < 5000; i++) {
		char key[16];
		snprintf(key, sizeof(key), "%u", i);
		fl_workqueue_add_after(l.q, key, (i * 7919) % 13);
	}
	uv_run(&l.loop, UV_RUN_DEFAULT);
	assert_int_equal(l.n, 5000);
	end(&l);
}

static void freed_with_keys_under_way(void **state)
{
	struct log l;
	begin(&l, 1);
	l.hold = true;
	fl_workqueue_add(l.q, "a");
	fl_workqueue_add(l.q, "b");
	fl_workqueue_add_after(l.q, "c", 100000);
	uv_run(&l.loop, UV_RUN_NOWAIT);
	end(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_key_once),
	    cmocka_unit_test(at_most_so_many),
	    cmocka_unit_test(again_after_a_change_meanwhile),
	    cmocka_unit_test(never_twice_at_once),
	    cmocka_unit_test(failures_come_again),
	    cmocka_unit_test(a_change_is_not_lost_after_failures),
	    cmocka_unit_test(delays_in_order),
	    cmocka_unit_test(paused_gathers),
	    cmocka_unit_test(many),
	    cmocka_unit_test(freed_with_keys_under_way),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
