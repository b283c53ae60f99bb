// SPDX-License-Identifier: Apache-2.0
// The set against a plain table of what it should hold, through many random changes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/mem.h"
#include "base/rand.h"
#include "base/set.h"

struct item {
	uint32_t id;
	char key[8];
};

static const void *key_of(const void *item, size_t *ret_len)
{
	const struct item *i = item;

	*ret_len = strlen(i->key);
	return i->key;
}

static void an_empty_set_is_valid(void **state)
{
	struct fl_set s = {0};
	size_t at = 0;

	assert_null(fl_set_find(&s, key_of, "x", 1));
	assert_null(fl_set_remove(&s, key_of, "x", 1));
	assert_null(fl_set_next(&s, &at));
	fl_set_deinit(&s);
}

static void keys_are_compared_whole(void **state)
{
	AUTO(fl_set_deinit) struct fl_set s = {0};
	struct item a = {1, "ab"}, b = {2, "abc"};

	fl_set_add(&s, key_of, &a);
	fl_set_add(&s, key_of, &b);
	assert_ptr_equal(fl_set_find(&s, key_of, "ab", 2), &a);
	assert_ptr_equal(fl_set_find(&s, key_of, "abc", 3), &b);
	assert_null(fl_set_find(&s, key_of, "a", 1));
	assert_ptr_equal(fl_set_remove(&s, key_of, "ab", 2), &a);
	assert_null(fl_set_find(&s, key_of, "ab", 2));
	assert_ptr_equal(fl_set_find(&s, key_of, "abc", 3), &b);
}

static void random_changes(void **state)
{
	enum { ITEMS = 3000 };
	static struct item items[ITEMS];
	static bool inside[ITEMS];
	AUTO(fl_set_deinit) struct fl_set s = {0};
	size_t n = 0, at = 0, seen = 0;

	for (uint32_t i = 0; i < ITEMS; i++) {
		items[i].id = i;
		for (unsigned k = 0, v = i; k < 4; k++, v /= 16)
			items[i].key[k] = (char)('a' + v % 16);
	}
	for (unsigned round = 0; round < 60000; round++) {
		uint32_t i = (uint32_t)fl_random_below(ITEMS);
		bool grow = round < 30000 ? fl_random_below(4) > 0 : fl_random_below(4) == 0;
		struct item *there = fl_set_find(&s, key_of, items[i].key, 4);

		assert_ptr_equal(there, inside[i] ? &items[i] : NULL);
		if (grow && !inside[i]) {
			fl_set_add(&s, key_of, &items[i]);
			inside[i] = true;
			n++;
		} else if (!grow && inside[i]) {
			assert_ptr_equal(fl_set_remove(&s, key_of, items[i].key, 4), &items[i]);
			inside[i] = false;
			n--;
		}
		assert_int_equal(s.n, n);
	}
	for (const struct item *i; (i = fl_set_next(&s, &at)); seen++)
		assert_true(inside[i->id]);
	assert_int_equal(seen, n);
	for (unsigned i = 0; i < ITEMS; i++)
		(void)fl_set_remove(&s, key_of, items[i].key, 4);
	assert_int_equal(s.n, 0);
	assert_true(s.cap <= 8); // the room went back
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_empty_set_is_valid),
	    cmocka_unit_test(keys_are_compared_whole),
	    cmocka_unit_test(random_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
