// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "apiserver/alloc.h"
#include "base/mem.h"
#include "base/rand.h"

static void test_claim_and_release(void **state)
{
	AUTO(fl_range_free) struct fl_range *r = fl_range_new(10000, 0);
	assert_int_equal(fl_range_claim(r, 0), 0);
	assert_int_equal(fl_range_claim(r, 0), -EEXIST);
	assert_int_equal(fl_range_claim(r, 9999), 0);
	assert_int_equal(fl_range_claim(r, 10000), -ERANGE);
	assert_int_equal(fl_range_claim(r, UINT64_MAX), -ERANGE);
	assert_int_equal(fl_range_used(r), 2);
	fl_range_release(r, 5); // was free
	fl_range_release(r, 10000);
	fl_range_release(r, 0);
	fl_range_release(r, 0);
	assert_int_equal(fl_range_used(r), 1);
	assert_int_equal(fl_range_claim(r, 0), 0);
}

// Dynamic ones come from above the band until that is full, then from the band.
static void test_band(void **state)
{
	enum { SIZE = 5000, BAND = 256 };
	AUTO(fl_range_free) struct fl_range *r = fl_range_new(SIZE, BAND);
	uint64_t i;
	for (unsigned n = 0; n < SIZE - BAND; n++) {
		assert_int_equal(fl_range_next(r, &i), 0);
		assert_in_range(i, BAND, SIZE - 1);
	}
	for (unsigned n = 0; n < BAND; n++) {
		assert_int_equal(fl_range_next(r, &i), 0);
		assert_in_range(i, 0, BAND - 1);
	}
	assert_int_equal(fl_range_next(r, &i), -ENOSPC);
	fl_range_release(r, 4321);
	assert_int_equal(fl_range_next(r, &i), 0);
	assert_int_equal(i, 4321);
	assert_int_equal(fl_range_used(r), SIZE);
}

static void test_sizes(void **state)
{
	static const struct {
		uint64_t size, band;
	} cases[] = {{0, 0}, {1, 0}, {1, 1}, {1, 16}, {10, 10}, {30, 16}, {4096, 256}, {4097, 4096}};
	for (size_t c = 0; c < FL_COUNT(cases); c++) {
		AUTO(fl_range_free) struct fl_range *r = fl_range_new(cases[c].size, cases[c].band);
		uint64_t i;
		for (uint64_t n = 0; n < cases[c].size; n++)
			assert_int_equal(fl_range_next(r, &i), 0);
		assert_int_equal(fl_range_next(r, &i), -ENOSPC);
		assert_int_equal(fl_range_used(r), cases[c].size);
	}
	AUTO(fl_range_free) struct fl_range *huge = fl_range_new((1ull << 32) - 1, 256);
	uint64_t i;
	for (unsigned n = 0; n < 1000; n++)
		assert_int_equal(fl_range_next(huge, &i), 0);
}

// Against a plain array.
static void test_random(void **state)
{
	enum { SIZE = 300, BAND = 20 };
	AUTO(fl_range_free) struct fl_range *r = fl_range_new(SIZE, BAND);
	bool model[SIZE] = {false};
	uint64_t used = 0;
	for (unsigned n = 0; n < 20000; n++) {
		uint64_t i = fl_random_below(SIZE);
		switch (fl_random_below(3)) {
		case 0:
			assert_int_equal(fl_range_claim(r, i), model[i] ? -EEXIST : 0);
			used += !model[i];
			model[i] = true;
			break;
		case 1:
			fl_range_release(r, i);
			used -= model[i];
			model[i] = false;
			break;
		default:
			if (fl_range_next(r, &i) < 0) {
				assert_int_equal(used, SIZE);
				break;
			}
			assert_false(model[i]);
			model[i] = true;
			used++;
		}
		assert_int_equal(fl_range_used(r), used);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_claim_and_release),
	    cmocka_unit_test(test_band),
	    cmocka_unit_test(test_sizes),
	    cmocka_unit_test(test_random),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
