// SPDX-License-Identifier: Apache-2.0
// Formats: an older file is brought up step by step, each step whole or not at all; a newer one is refused by name. The
// steps are this test's own: format 1 is the first there is. A file of it is kept in tests/golden/store.
#include <errno.h>
#include <stdio.h>

#include "powercut_vfs.h"
#include "store/sqlite/internal.h"
#include "support.h"

static int steps_run;
static bool fail_second;

// What a change of the format does: a column, its values, an index.
static int to_2(sqlite3 *db, struct fl_err *err)
{
	steps_run++;
	return fl_sqlite_exec(db,
			      "ALTER TABLE log ADD COLUMN size INTEGER NOT NULL DEFAULT 0;"
			      "UPDATE log SET size = length(value);"
			      "CREATE INDEX log_size ON log (size)",
			      err);
}

static int to_3(sqlite3 *db, struct fl_err *err)
{
	steps_run++;
	int rc = fl_sqlite_exec(db, "DELETE FROM log WHERE rev <= 40; INSERT INTO meta VALUES ('third', 3)", err);
	return rc == 0 && fail_second ? fl_sqlite_exec(db, "SELECT no_such_column FROM log", err) : rc;
}

static const fl_sqlite_step steps[] = {NULL, to_2, to_3};

static int setup(void **state)
{
	bed_setup(state);
	bed_fill(*state);
	bed_close(*state);
	steps_run = 0;
	fail_second = false;
	return 0;
}

static sqlite3 *open_db(struct bed *b, const char *vfs)
{
	AUTO_FREE char *file = bed_path(b, "fairlead.db");
	sqlite3 *db;
	assert_int_equal(sqlite3_open_v2(file, &db, SQLITE_OPEN_READWRITE, vfs), SQLITE_OK);
	return db;
}

static int64_t number(sqlite3 *db, const char *sql)
{
	int64_t n = -1;
	struct fl_err err;
	if (fl_sqlite_int(db, sql, &n, &err) < 0)
		fail_msg("%s", err.text);
	return n;
}

static void test_steps(void **state)
{
	struct bed *b = *state;
	struct fl_err err = {0};
	sqlite3 *db = open_db(b, NULL);
	assert_int_equal(fl_sqlite_migrate(db, steps, 3, &err), 0);
	assert_int_equal(steps_run, 2);
	assert_int_equal(number(db, "PRAGMA user_version"), 3);
	assert_int_equal(number(db, "SELECT count(*) FROM log WHERE size > 700"), 20);
	assert_int_equal(number(db, "SELECT value FROM meta WHERE key = 'third'"), 3);
	assert_int_equal(fl_sqlite_migrate(db, steps, 3, &err), 0);
	assert_int_equal(steps_run, 2); // nothing is done twice
	// The program that knew two formats meets the third.
	assert_int_equal(fl_sqlite_migrate(db, steps, 2, &err), -EBADMSG);
	assert_non_null(strstr(err.text, b->dir));
	assert_non_null(strstr(err.text, "version 3, newer than this program, which knows version 2"));
	assert_int_equal(number(db, "PRAGMA user_version"), 3);
	sqlite3_close(db);
}

static void test_step_fails(void **state)
{
	struct bed *b = *state;
	struct fl_err err = {0};
	sqlite3 *db = open_db(b, NULL);
	fail_second = true;
	assert_true(fl_sqlite_migrate(db, steps, 3, &err) < 0);
	assert_non_null(strstr(err.text, "to format version 3"));
	assert_non_null(strstr(err.text, "no_such_column"));
	assert_int_equal(number(db, "PRAGMA user_version"), 2); // the first step stays, of the second nothing
	assert_int_equal(number(db, "SELECT count(*) FROM log WHERE size > 0"), 60);
	assert_int_equal(number(db, "SELECT count(*) FROM meta WHERE key = 'third'"), 0);
	fail_second = false;
	assert_int_equal(fl_sqlite_migrate(db, steps, 3, &err), 0);
	assert_int_equal(steps_run, 3);
	assert_int_equal(number(db, "SELECT count(*) FROM log"), 20);
	sqlite3_close(db);
}

// The power goes at any operation of the disk: the file is of one version or the next, and whole.
static void test_power_cut(void **state)
{
	struct bed b;
	struct fl_err err;
	bool ended = false;
	int at[4] = {0};
	bed_init(&b);
	powercut_reset(1);
	b.opts.sqlite_vfs = POWERCUT_VFS;
	bed_open(&b);
	bed_fill(&b);
	bed_close(&b);
	AUTO_FREE char *file = bed_path(&b, "fairlead.db");
	AUTO(fl_buf_deinit) struct fl_buf was = {0};
	read_all(file, &was);
	for (long cut = 1; !ended; cut++) {
		sqlite3 *db = open_db(&b, POWERCUT_VFS);
		powercut_cut_after(cut);
		ended = fl_sqlite_migrate(db, steps, 3, &err) == 0;
		sqlite3_close(db);
		powercut_restore(cut % 2 ? POWERCUT_DROP_ALL : POWERCUT_TORN);
		db = open_db(&b, POWERCUT_VFS);
		int64_t version = number(db, "PRAGMA user_version");
		assert_in_range(version, 1, 3);
		at[version]++;
		assert_int_equal(number(db, "SELECT count(*) FROM log"), version == 3 ? 20 : 60);
		assert_int_equal(number(db, "SELECT count(*) FROM pragma_table_info('log') WHERE name = 'size'"),
				 version > 1);
		assert_int_equal(number(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"),
				 1);
		sqlite3_close(db);
		powercut_reset(1); // what is there now is on the disk
		write_all(file, was.data, was.len);
	}
	assert_true(at[1] > 5 && at[2] > 5 && at[3] >= 1);
	print_message("power cuts: %d before, %d between, %d after\n", at[1], at[2], at[3]);
	bed_deinit(&b);
	powercut_reset(0);
}

static void test_no_version(void **state)
{
	struct bed *b = *state;
	struct fl_err err = {0};
	bed_sql(b, "PRAGMA user_version = 0");
	assert_int_equal(fl_store_open(&b->loop, &b->opts, &b->s, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "has no version"));
}

#define FORMAT_1 "tests/golden/store/format-1.sql"

static void on_event(void *arg, struct fl_store_event *e)
{
	fl_buf_printf(arg, " %d:", (int)e->rv);
	show_object(arg, e->obj);
}

// A file as the first version left it: whole, with its history, and it can be written.
static void test_file_of_format_1(void **state)
{
	struct bed b;
	struct fl_err err = {0};
	struct fl_store_watch *w;
	AUTO(fl_buf_deinit) struct fl_buf sql = {0}, told = {0};
	bed_init(&b);
	read_all(FORMAT_1, &sql);
	fl_buf_append(&sql, "", 1);
	bed_sql(&b, sql.data);
	bed_open(&b);
	assert_int_equal(fl_store_revision(b.s), 6);
	assert_string_equal(list_now(&b, "ns"), "ns/kept=second@3 ns/unicode=\xc3\xa9 '\\@6");
	assert_int_equal(fl_store_count(b.s, b.things, NULL), 3);
	struct fl_store_watch_opts o = {.resource = b.things, .from_rv = 2, .on_event = on_event, .arg = &told};
	assert_int_equal(fl_store_watch_open(b.s, &o, &w, &err), 0);
	assert_int_equal(write_wait(&b, FL_STORE_UPDATE, "ns", "kept", "third"), 7);
	bed_turn(&b);
	fl_store_watch_close(&w);
	assert_string_equal(told.data, " 3: ns/kept=second@3 4: ns/gone=short@4 5: /wide=no namespace@5"
				       " 6: ns/unicode=\xc3\xa9 '\\@6 7: ns/kept=third@7");
	bed_close(&b);
	sqlite3 *db = open_db(&b, NULL);
	assert_int_equal(number(db, "PRAGMA user_version"), FL_SQLITE_FORMAT);
	sqlite3_close(db);
	bed_open(&b);
	assert_string_equal(list_now(&b, "ns"), "ns/kept=third@7 ns/unicode=\xc3\xa9 '\\@6");
	bed_close(&b);
	bed_deinit(&b);
}

int main(void)
{
	powercut_register();
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_steps, setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_step_fails, setup, bed_teardown),
	    cmocka_unit_test(test_power_cut),
	    cmocka_unit_test_setup_teardown(test_no_version, setup, bed_teardown),
	    cmocka_unit_test(test_file_of_format_1),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
