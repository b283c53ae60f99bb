// SPDX-License-Identifier: Apache-2.0
// The bump allocator: alignment, growth, large blocks, reset, printf.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/arena.h"
#include "base/mem.h"

static void empty_arena_is_valid(void **state)
{
	struct fl_arena a = {0};
	fl_arena_reset(&a);
	fl_arena_deinit(&a);
	assert_null(a.head);
	assert_int_equal(a.total, 0);
}

static void blocks_are_aligned_and_apart(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct {
		unsigned char *p;
		size_t n;
	} blocks[500];
	for (size_t i = 0; i < FL_COUNT(blocks); i++) {
		blocks[i].n = i * 7 % 301;
		blocks[i].p = fl_arena_alloc(&a, blocks[i].n);
		assert_int_equal((uintptr_t)blocks[i].p % 16, 0);
		memset(blocks[i].p, (int)(i & 0xff), blocks[i].n);
	}
	for (size_t i = 0; i < FL_COUNT(blocks); i++)
		for (size_t k = 0; k < blocks[i].n; k++)
			assert_int_equal(blocks[i].p[k], i & 0xff);
}

static void zero_sized_blocks_are_distinct(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	assert_ptr_not_equal(fl_arena_alloc(&a, 0), fl_arena_alloc(&a, 0));
}

static void large_block_leaves_the_current_chunk_in_use(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	char *first = fl_arena_alloc(&a, 16);
	memset(fl_arena_alloc(&a, 5u << 20), 1, 5u << 20);
	char *second = fl_arena_alloc(&a, 16);
	assert_ptr_equal(second, first + 16);
	assert_true(a.total >= 5u << 20);
}

static void chunks_grow_so_that_many_small_blocks_cost_few_mallocs(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	size_t used = 0;
	while (used < 8u << 20) {
		fl_arena_alloc(&a, 64);
		used += 64;
	}
	assert_true(a.total >= used);
	assert_true(a.total < used + (2u << 20));
}

static void zalloc_clears_reused_memory(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	memset(fl_arena_alloc(&a, 1000), 0xff, 1000);
	fl_arena_reset(&a);
	unsigned char *p = fl_arena_zalloc(&a, 1000);
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(p[i], 0);
}

static void reset_keeps_the_largest_chunk_only(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	fl_arena_alloc(&a, 100);
	fl_arena_alloc(&a, 100000);
	fl_arena_alloc(&a, 5000);
	size_t before = a.total;
	fl_arena_reset(&a);
	assert_true(a.total < before);
	assert_true(a.total >= 100000);
	size_t kept = a.total;
	memset(fl_arena_alloc(&a, 90000), 7, 90000);
	assert_int_equal(a.total, kept);
}

static void strings_are_copied(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	char source[] = "hello";
	char *s = fl_arena_strdup(&a, source), *t = fl_arena_strndup(&a, "a\0b", 3);
	source[0] = 'j';
	assert_string_equal(s, "hello");
	assert_memory_equal(t, "a\0b", 4);
	assert_string_equal(fl_arena_strndup(&a, NULL, 0), "");
}

static void printf_of_any_length(void **state)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	assert_string_equal(fl_arena_printf(&a, "%s/%d", "x", 7), "x/7");
	for (int n = 250; n < 260; n++) {
		char *s = fl_arena_printf(&a, "%*d", n, 5);
		assert_int_equal(strlen(s), n);
		assert_int_equal(s[n - 1], '5');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(empty_arena_is_valid),
	    cmocka_unit_test(blocks_are_aligned_and_apart),
	    cmocka_unit_test(zero_sized_blocks_are_distinct),
	    cmocka_unit_test(large_block_leaves_the_current_chunk_in_use),
	    cmocka_unit_test(chunks_grow_so_that_many_small_blocks_cost_few_mallocs),
	    cmocka_unit_test(zalloc_clears_reused_memory),
	    cmocka_unit_test(reset_keeps_the_largest_chunk_only),
	    cmocka_unit_test(strings_are_copied),
	    cmocka_unit_test(printf_of_any_length),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
