// SPDX-License-Identifier: Apache-2.0
// The pace of transactions, by a clock that the tests turn.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/pace.h"

#define MS UINT64_C(1000000)

struct flood {
	unsigned changes;            // of each turn of the loop
	uint64_t turn_ns, cost_ns;   // of a transaction
	uint64_t now, spent, begun;  // all transactions' time
	unsigned n, longest_wait_ms; // transactions
};

// The role's loop: a transaction when there is something to write and nothing to wait for, else the timer.
static void run(struct flood *f, struct fl_proxy_pace *p, unsigned turns)
{
	f->begun = f->now;
	for (unsigned i = 0; i < turns; i++) {
		p->changes += f->changes;
		f->now += f->turn_ns;
		unsigned wait_ms = fl_proxy_pace_wait_ms(p, f->now);

		if (wait_ms > f->longest_wait_ms)
			f->longest_wait_ms = wait_ms;
		if (wait_ms)
			continue;
		f->now += f->cost_ns;
		f->spent += f->cost_ns;
		f->n++;
		fl_proxy_pace_spent(p, f->cost_ns, f->now);
	}
}

static void single_changes_wait_for_nothing(void **state)
{
	struct fl_proxy_pace p = {0};
	struct flood f = {.changes = 1, .turn_ns = 4 * MS, .cost_ns = MS, .now = 12345 * MS};

	run(&f, &p, 1000);
	assert_int_equal(f.n, 1000);
	assert_int_equal(p.changes, 0);

	struct flood full = {.changes = FL_PROXY_PACE_BATCH, .turn_ns = 4 * MS, .cost_ns = MS, .now = f.now};
	run(&full, &p, 1000);
	assert_true(full.n < 1000 / 4);
}

static void a_flood_takes_its_part_of_the_time(void **state)
{
	struct fl_proxy_pace p = {0};
	struct flood f = {.changes = 20, .turn_ns = MS / 10, .cost_ns = 2 * MS, .now = MS};

	run(&f, &p, 100000);
	uint64_t share = (f.now - f.begun) / FL_PROXY_PACE_DUTY;
	assert_true(f.spent <= share + 7 * MS);
	assert_true(f.spent >= share - 7 * MS); // and no less: nobody waits in vain
	assert_in_range(f.longest_wait_ms, 1, FL_PROXY_PACE_MAX_MS);
}

// The last change of a flood, when nothing comes after it: one wait of the timer, then it goes.
static void the_last_change_goes(void **state)
{
	struct fl_proxy_pace p = {0};
	uint64_t now = MS;

	for (unsigned cost_ms = 1; cost_ms < 3000; cost_ms = 3 * cost_ms + 1) {
		p.changes = 1000;
		fl_proxy_pace_spent(&p, cost_ms * MS, now += cost_ms * MS);
		p.changes = 1;
		unsigned wait_ms = fl_proxy_pace_wait_ms(&p, now);
		assert_true(wait_ms <= FL_PROXY_PACE_MAX_MS);
		assert_int_equal(fl_proxy_pace_wait_ms(&p, now + wait_ms * MS), 0);
	}
	assert_int_equal(fl_proxy_pace_wait_ms(&p, now), FL_PROXY_PACE_MAX_MS); // however long it took
}

static void few_changes_owe_a_part(void **state)
{
	struct fl_proxy_pace all = {.changes = FL_PROXY_PACE_BATCH}, some = {.changes = FL_PROXY_PACE_BATCH - 1},
			     none = {0};

	fl_proxy_pace_spent(&all, 6 * MS, MS);
	fl_proxy_pace_spent(&some, 6 * MS, MS);
	fl_proxy_pace_spent(&none, 6 * MS, MS); // rules that somebody removed
	assert_int_equal(all.debt_ns, 6 * MS);
	assert_int_equal(some.debt_ns, 6 * MS * 7 / 8);
	assert_int_equal(none.debt_ns, 0);
	assert_int_equal(fl_proxy_pace_wait_ms(&all, MS), 26);
	assert_int_equal(fl_proxy_pace_wait_ms(&some, MS), 7);
	assert_int_equal(fl_proxy_pace_wait_ms(&all, MS + 25 * MS), 0);
	assert_int_equal(fl_proxy_pace_wait_ms(&all, UINT64_MAX), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(single_changes_wait_for_nothing),
	    cmocka_unit_test(a_flood_takes_its_part_of_the_time),
	    cmocka_unit_test(the_last_change_goes),
	    cmocka_unit_test(few_changes_owe_a_part),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
