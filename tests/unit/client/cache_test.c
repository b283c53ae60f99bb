// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "client/cache.h"

static struct fl_object *make(unsigned ns, unsigned name, uint64_t rv)
{
	char n[32], s[32];
	snprintf(s, sizeof(s), "ns%u", ns);
	snprintf(n, sizeof(n), "name%u", name);
	return fl_object_new(fl_resource_intern("", "pods"), s, n, "", "{}", 2, -1, rv);
}

static bool add_one(void *arg, const struct fl_object *o)
{
	(*(size_t *)arg)++;
	return true;
}

static bool end_at_once(void *arg, const struct fl_object *o)
{
	(*(size_t *)arg)++;
	return false;
}

// Against a plain array, with many puts and takes.
static void keeps_what_was_put(void **state)
{
	enum { NS = 3, NAMES = 200, ROUNDS = 20000 };
	static uint64_t want[NS][NAMES];
	struct fl_cache c = {0};
	unsigned seed = 1;
	size_t n = 0;
	for (uint64_t round = 1; round <= ROUNDS; round++) {
		seed = seed * 1103515245 + 12345;
		unsigned ns = seed >> 16 & 1 ? 0 : seed >> 8 & 1 ? 1 : 2, name = (seed >> 17) % NAMES;
		bool put = round < ROUNDS / 2 ? (seed >> 9) % 3 : !((seed >> 9) % 3);
		char name_text[32], ns_text[32];
		snprintf(ns_text, sizeof(ns_text), "ns%u", ns);
		snprintf(name_text, sizeof(name_text), "name%u", name);
		struct fl_object *old =
		    put ? fl_cache_put(&c, make(ns, name, round)) : fl_cache_take(&c, ns_text, name_text);
		assert_int_equal(old ? old->rv : 0, want[ns][name]);
		n += put && !old;
		n -= !put && old;
		want[ns][name] = put ? round : 0;
		fl_object_put(&old);
		assert_int_equal(c.n, n);
		for (unsigned i = 0; round % 97 == 0 && i < NAMES; i++) {
			snprintf(name_text, sizeof(name_text), "name%u", i);
			const struct fl_object *o = fl_cache_find(&c, ns_text, name_text);
			assert_int_equal(o ? o->rv : 0, want[ns][i]);
		}
	}
	size_t seen = 0, one = 0, in_one = 0, expected = 0;
	assert_true(fl_cache_each(&c, NULL, add_one, &seen));
	assert_int_equal(seen, n);
	assert_false(fl_cache_each(&c, NULL, end_at_once, &one));
	assert_int_equal(one, 1);
	for (unsigned i = 0; i < NAMES; i++)
		expected += want[1][i] != 0;
	fl_cache_each(&c, "ns1", add_one, &in_one);
	assert_int_equal(in_one, expected);
	assert_true(fl_cache_each(&c, "none", add_one, &in_one));
	assert_null(fl_cache_find(&c, NULL, "name1"));
	fl_cache_deinit(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(keeps_what_was_put)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
