// SPDX-License-Identifier: Apache-2.0
// The hash map against a plain table of what it should hold, through many random changes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/rand.h"

static int values[4096];

static void empty_map_is_valid(void **state)
{
	struct fl_map m = {0};
	assert_null(fl_map_get(&m, "x"));
	assert_null(fl_map_del(&m, "x"));
	struct fl_map_iter it = {0};
	assert_false(fl_map_next(&m, &it));
	fl_map_deinit(&m);
}

static void set_get_replace_del(void **state)
{
	AUTO(fl_map_deinit) struct fl_map m = {0};
	char key[] = "name";
	assert_null(fl_map_set(&m, key, &values[1]));
	key[0] = 'x'; // the key was copied
	assert_ptr_equal(fl_map_get(&m, "name"), &values[1]);
	assert_null(fl_map_get(&m, "xame"));
	assert_ptr_equal(fl_map_set(&m, "name", &values[2]), &values[1]);
	assert_int_equal(m.n, 1);
	assert_ptr_equal(fl_map_del(&m, "name"), &values[2]);
	assert_null(fl_map_del(&m, "name"));
	assert_int_equal(m.n, 0);
}

static void keys_are_bytes(void **state)
{
	AUTO(fl_map_deinit) struct fl_map m = {0};
	fl_map_set_n(&m, "a\0b", 3, &values[1]);
	fl_map_set_n(&m, "a\0c", 3, &values[2]);
	fl_map_set_n(&m, "", 0, &values[3]);
	fl_map_set_n(&m, "a", 1, &values[4]);
	assert_int_equal(m.n, 4);
	assert_ptr_equal(fl_map_get_n(&m, "a\0b", 3), &values[1]);
	assert_ptr_equal(fl_map_get_n(&m, "a\0c", 3), &values[2]);
	assert_ptr_equal(fl_map_get(&m, ""), &values[3]);
	assert_ptr_equal(fl_map_get(&m, "a"), &values[4]);
	assert_ptr_equal(fl_map_del_n(&m, "a\0b", 3), &values[1]);
	assert_null(fl_map_get_n(&m, "a\0b", 3));
	assert_ptr_equal(fl_map_get_n(&m, "a\0c", 3), &values[2]);
}

static void random_changes(void **state)
{
	AUTO(fl_map_deinit) struct fl_map m = {0};
	void *model[2048] = {0};
	size_t n = 0;
	for (int step = 0; step < 200000; step++) {
		size_t k = fl_random_below(FL_COUNT(model));
		// Phases of growth and of shrinking, so that both kinds of rehash happen.
		bool set = fl_random_below(100) < (step / 25000 % 2 ? 20u : 80u);
		char key[16];
		snprintf(key, sizeof(key), "key-%zu", k);
		assert_ptr_equal(fl_map_get(&m, key), model[k]);
		if (set) {
			void *value = &values[fl_random_below(FL_COUNT(values))];
			assert_ptr_equal(fl_map_set(&m, key, value), model[k]);
			n += !model[k];
			model[k] = value;
		} else {
			assert_ptr_equal(fl_map_del(&m, key), model[k]);
			n -= !!model[k];
			model[k] = NULL;
		}
		assert_int_equal(m.n, n);
	}
	size_t seen = 0;
	for (struct fl_map_iter it = {0}; fl_map_next(&m, &it); seen++) {
		size_t k;
		assert_int_equal(sscanf(it.key, "key-%zu", &k), 1);
		assert_int_equal(it.key_len, strlen(it.key));
		assert_ptr_equal(it.value, model[k]);
		model[k] = NULL; // each once
	}
	assert_int_equal(seen, n);
}

static void values_may_be_replaced_while_iterating(void **state)
{
	AUTO(fl_map_deinit) struct fl_map m = {0};
	for (int i = 0; i < 100; i++) {
		char key[8];
		snprintf(key, sizeof(key), "%d", i);
		fl_map_set(&m, key, &values[0]);
	}
	size_t seen = 0;
	for (struct fl_map_iter it = {0}; fl_map_next(&m, &it); seen++)
		fl_map_set_n(&m, it.key, it.key_len, &values[1]);
	assert_int_equal(seen, 100);
}

static void shrinks_when_emptied(void **state)
{
	AUTO(fl_map_deinit) struct fl_map m = {0};
	char key[8];
	for (int i = 0; i < 10000; i++) {
		snprintf(key, sizeof(key), "%d", i);
		fl_map_set(&m, key, &values[0]);
	}
	size_t full = m.cap;
	for (int i = 0; i < 10000; i++) {
		snprintf(key, sizeof(key), "%d", i);
		assert_non_null(fl_map_del(&m, key));
	}
	assert_true(m.cap < full / 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(empty_map_is_valid),
	    cmocka_unit_test(set_get_replace_del),
	    cmocka_unit_test(keys_are_bytes),
	    cmocka_unit_test(random_changes),
	    cmocka_unit_test(values_may_be_replaced_while_iterating),
	    cmocka_unit_test(shrinks_when_emptied),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
