// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "node/backoff.h"

static void doubles_from_ten_seconds_to_five_minutes(void **state)
{
	static const uint64_t pauses_s[] = {0, 10, 20, 40, 80, 160, 300, 300};
	struct fl_backoff b = {0};
	uint64_t now = 1000000;

	for (size_t i = 0; i < sizeof(pauses_s) / sizeof(pauses_s[0]); i++) {
		uint64_t until = fl_backoff_until(&b, now);

		assert_int_equal(until - now, pauses_s[i] * 1000);
		assert_int_equal(fl_backoff_until(&b, now), until); // asking changes nothing
		fl_backoff_next(&b, now);
		now = until + 50; // it crashes at once
	}
}

static void is_forgotten_after_a_good_run(void **state)
{
	struct fl_backoff b = {0};
	uint64_t now = 5000;

	for (int i = 0; i < 4; i++)
		fl_backoff_next(&b, now);
	now += FL_BACKOFF_FORGET_MS; // not longer than
	assert_int_equal(fl_backoff_until(&b, now), now + 80000);
	now += 1;
	assert_int_equal(fl_backoff_until(&b, now), now);
	fl_backoff_next(&b, now);
	assert_int_equal(fl_backoff_until(&b, now + 1), now + 1 + 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(doubles_from_ten_seconds_to_five_minutes),
	    cmocka_unit_test(is_forgotten_after_a_good_run),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
