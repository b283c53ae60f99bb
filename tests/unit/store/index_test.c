// SPDX-License-Identifier: Apache-2.0
// The ordered index against a plain sorted array, under many random changes.
#include "store/index.h"

#include <stdio.h>

#include "support.h"

static const char *resource;

static struct fl_object *object(unsigned i, uint64_t rv)
{
	char ns[8], name[16];
	snprintf(ns, sizeof(ns), "ns%u", i % 7);
	snprintf(name, sizeof(name), "o-%05u", i);
	return fl_object_new(resource, ns, name, "u", "{}", 2, -1, rv);
}

#define KEYS 3000
static struct fl_object *model[KEYS]; // borrowed from the index; NULL: absent
static unsigned order[KEYS];          // keys in order of (ns, name)

static int by_key(const void *a, const void *b)
{
	unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
	if (x % 7 != y % 7)
		return (int)(x % 7) - (int)(y % 7);
	return (x > y) - (x < y);
}

static void check(const struct fl_store_index *ix)
{
	struct fl_store_index_pos pos = {0};
	size_t n = 0;
	for (unsigned i = 0; i < KEYS; i++) {
		struct fl_object *want = model[order[i]];
		if (!want)
			continue;
		assert_int_equal(fl_store_index_rank(ix, fl_store_index_seek(ix, want->ns, want->name, false)), n);
		assert_int_equal(fl_store_index_rank(ix, fl_store_index_seek(ix, want->ns, want->name, true)), n + 1);
		assert_ptr_equal(fl_store_index_next(ix, &pos), want);
		assert_ptr_equal(fl_store_index_get(ix, want->ns, want->name), want);
		n++;
	}
	assert_null(fl_store_index_next(ix, &pos));
	assert_int_equal(ix->n, n);
}

static void change(struct fl_store_index *ix, unsigned key, bool set, uint64_t rv)
{
	struct fl_object *o = object(key, rv);
	struct fl_object *old = set ? fl_store_index_set(ix, o) : fl_store_index_remove(ix, o->ns, o->name);
	assert_ptr_equal(old, model[key]);
	model[key] = set ? o : NULL;
	fl_object_put(&old);
	fl_object_put(&o);
}

static void test_random(void **state)
{
	struct fl_store_index ix = {0};
	unsigned seed = 42;
	uint64_t rv = 0;
	for (unsigned i = 0; i < KEYS; i++)
		order[i] = i;
	qsort(order, KEYS, sizeof(order[0]), by_key);
	check(&ix);
	// Grow, shrink to almost nothing, grow again.
	const unsigned sets[] = {90, 50, 8, 70, 0};
	for (size_t phase = 0; phase < FL_COUNT(sets); phase++) {
		for (int i = 0; i < 8000; i++)
			change(&ix, (unsigned)rand_r(&seed) % KEYS, (unsigned)rand_r(&seed) % 100 < sets[phase], ++rv);
		check(&ix);
	}
	for (unsigned i = 0; i < KEYS; i++)
		change(&ix, i, false, ++rv);
	check(&ix);
	assert_int_equal(ix.blocks.n, 0);
	fl_store_index_deinit(&ix);
}

static void test_in_order(void **state)
{
	struct fl_store_index ix = {0};
	char name[16];
	for (unsigned i = 0; i < 12000; i++) {
		snprintf(name, sizeof(name), "o-%05u", i);
		struct fl_object *o = fl_object_new(resource, "ns", name, "u", "{}", 2, -1, i);
		assert_null(fl_store_index_set(&ix, o));
		fl_object_put(&o);
	}
	// A load in order leaves no half-empty blocks.
	assert_int_equal(ix.blocks.n, 100);
	fl_store_index_deinit(&ix);
}

int main(void)
{
	resource = fl_resource_intern("", "things");
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_random),
	    cmocka_unit_test(test_in_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
