// SPDX-License-Identifier: Apache-2.0
// A row survives the way through SQLite, and its checksum covers every column.
#include <errno.h>

#include "store/sqlite/internal.h"
#include "support.h"

static const struct fl_sqlite_row sample = {
    .rev = 12,
    .create_rev = 3,
    .prev = 7,
    .resource = "apps/deployments",
    .ns = "ns",
    .name = "a",
    .uid = "u",
    .expires_ns = 5,
    .live = 9,
    .deleted = false,
    .value = "{\"a\":1}",
    .len = 7,
};

static void test_sum_covers_all(void **state)
{
	struct fl_sqlite_row r[13];
	for (size_t i = 0; i < FL_COUNT(r); i++)
		r[i] = sample;
	r[1].rev++;
	r[2].create_rev++;
	r[3].prev++;
	r[4].resource = "apps/deployment";
	r[5].ns = "";
	r[6].name = "b";
	r[7].uid = "";
	r[8].expires_ns = 0;
	r[9].live--;
	r[10].deleted = true;
	r[11].value = "{\"a\":2}";
	r[12].len--;
	for (size_t i = 0; i < FL_COUNT(r); i++)
		for (size_t j = 0; j < i; j++)
			assert_true(fl_sqlite_row_sum(&r[i]) != fl_sqlite_row_sum(&r[j]));
	// Stored in files: it must not change between builds and machines.
	assert_true(fl_sqlite_row_sum(&sample) == 0xad8cb230d6c95d76ULL);
}

static void test_round_trip(void **state)
{
	sqlite3 *db;
	sqlite3_stmt *in, *out;
	struct fl_sqlite_row r = sample, got;
	struct fl_err err;
	assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "CREATE TABLE log (" FL_SQLITE_ROW_COLUMNS ")", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(
	    fl_sqlite_prepare(db, "INSERT INTO log VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)", &in, &err), 0);
	r.sum = fl_sqlite_row_sum(&r);
	fl_sqlite_row_bind(in, &r);
	assert_int_equal(sqlite3_step(in), SQLITE_DONE);
	assert_int_equal(fl_sqlite_prepare(db, "SELECT " FL_SQLITE_ROW_COLUMNS " FROM log", &out, &err), 0);
	assert_int_equal(sqlite3_step(out), SQLITE_ROW);
	assert_int_equal(fl_sqlite_row_read(out, &got, &err), 0);
	AUTO(fl_object_put) struct fl_object *o = fl_sqlite_row_object(&got);
	assert_ptr_equal(o->resource, fl_resource_intern("apps", "deployments"));
	assert_string_equal(o->json, "{\"a\":1}");
	assert_int_equal(o->rv, 12);
	assert_int_equal(o->create_rv, 3);
	assert_int_equal(o->expires_ns, 5);
	sqlite3_reset(out);
	assert_int_equal(sqlite3_exec(db, "UPDATE log SET name = 'b'", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(out), SQLITE_ROW);
	assert_int_equal(fl_sqlite_row_read(out, &got, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "revision 12 (apps/deployments ns/b)"));
	fl_sqlite_finalize(&in);
	fl_sqlite_finalize(&out);
	fl_sqlite_close(&db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sum_covers_all),
	    cmocka_unit_test(test_round_trip),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
