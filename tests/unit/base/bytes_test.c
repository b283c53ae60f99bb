// SPDX-License-Identifier: Apache-2.0
// Reference counting of shared bytes, also from several threads.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"

static void copies_and_terminates(void **state)
{
	char source[] = "abc";
	AUTO(fl_bytes_put) struct fl_bytes *b = fl_bytes_new(source, 3);
	source[0] = 'x';
	assert_int_equal(b->len, 3);
	assert_memory_equal(b->data, "abc", 4);
}

static void data_may_be_filled_by_the_caller(void **state)
{
	AUTO(fl_bytes_put) struct fl_bytes *b = fl_bytes_new(NULL, 4);
	memcpy(b->data, "wxyz", 4);
	assert_string_equal(b->data, "wxyz");
	AUTO(fl_bytes_put) struct fl_bytes *empty = fl_bytes_new(NULL, 0);
	assert_string_equal(empty->data, "");
}

static void put_nulls_and_accepts_null(void **state)
{
	struct fl_bytes *b = NULL;
	fl_bytes_put(&b);
	assert_null(fl_bytes_get(NULL));
	b = fl_bytes_new("x", 1);
	struct fl_bytes *again = fl_bytes_get(b);
	assert_ptr_equal(again, b);
	assert_int_equal(atomic_load(&b->refs), 2);
	fl_bytes_put(&b);
	assert_null(b);
	assert_string_equal(again->data, "x");
	fl_bytes_put(&again);
}

static void built_in_place(void **state)
{
	struct fl_buf b = {0};
	fl_bytes_begin(&b);
	for (int i = 0; i < 1000; i++)
		fl_buf_puts(&b, "0123456789");
	AUTO(fl_bytes_put) struct fl_bytes *text = fl_bytes_end(&b);
	assert_null(b.data);
	assert_int_equal(text->len, 10000);
	assert_int_equal(atomic_load(&text->refs), 1);
	assert_memory_equal(text->data + 9990, "0123456789", 11);
	fl_bytes_begin(&b);
	AUTO(fl_bytes_put) struct fl_bytes *none = fl_bytes_end(&b);
	assert_int_equal(none->len, 0);
	assert_string_equal(none->data, "");
}

static void *get_and_put(void *arg)
{
	for (int i = 0; i < 20000; i++) {
		struct fl_bytes *b = fl_bytes_get(arg);
		fl_bytes_put(&b);
	}
	return NULL;
}

static void counts_across_threads(void **state)
{
	AUTO(fl_bytes_put) struct fl_bytes *b = fl_bytes_new("shared", 6);
	pthread_t threads[4];
	for (size_t i = 0; i < FL_COUNT(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, get_and_put, b), 0);
	for (size_t i = 0; i < FL_COUNT(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&b->refs), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(copies_and_terminates),      cmocka_unit_test(data_may_be_filled_by_the_caller),
	    cmocka_unit_test(put_nulls_and_accepts_null), cmocka_unit_test(built_in_place),
	    cmocka_unit_test(counts_across_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
