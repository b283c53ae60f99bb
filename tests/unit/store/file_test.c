// SPDX-License-Identifier: Apache-2.0
// Opening: one process at a time, known format, and damage is named instead of being served.
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support.h"

// A store of a few objects with history, closed.
static int setup(void **state)
{
	bed_setup(state);
	bed_fill(*state);
	bed_close(*state);
	return 0;
}

static void refused(struct bed *b, int code, const char *a, const char *c)
{
	struct fl_err err = {0};
	struct fl_store *s = NULL;
	assert_int_equal(fl_store_open(&b->loop, &b->opts, &s, &err), code);
	assert_null(s);
	if (!strstr(err.text, a) || !strstr(err.text, c) || !strstr(err.text, b->dir))
		fail_msg("error text: %s", err.text);
	bed_turn(b);
}

static void test_reopen(void **state)
{
	struct bed *b = *state;
	bed_open(b);
	assert_int_equal(fl_store_revision(b->s), 60);
	assert_int_equal(fl_store_count(b->s, b->things, "ns"), 20);
	AUTO(fl_object_put) struct fl_object *o = fl_store_get(b->s, b->things, "ns", "o-07");
	assert_int_equal(o->rv, 48);
	assert_int_equal(o->create_rv, 8);
	assert_string_equal(o->uid, "u-1");
	assert_ptr_equal(o->resource, b->things);
	assert_non_null(strstr(o->json, "text of 47 "));
	assert_int_equal(write_wait(b, FL_STORE_UPDATE, "ns", "o-07", "x"), 61);
}

static void test_modes(void **state)
{
	struct bed *b = *state;
	AUTO_FREE char *file = bed_path(b, "fairlead.db");
	AUTO_FREE char *wal = bed_path(b, "fairlead.db-wal");
	AUTO_FREE char *sub = bed_path(b, "new");
	AUTO_FREE char *sub_file = bed_path(b, "new/fairlead.db"), *sub_lock = bed_path(b, "new/lock");
	struct stat st;
	bed_open(b);
	write_wait(b, FL_STORE_CREATE, "ns", "x", "x");
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stat(wal, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	bed_close(b);
	struct fl_store_opts o = {.path = sub};
	struct fl_store *s;
	struct fl_err err;
	assert_int_equal(fl_store_open(&b->loop, &o, &s, &err), 0);
	assert_int_equal(stat(sub, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	fl_store_close(&s);
	bed_turn(b);
	unlink(sub_file);
	unlink(sub_lock);
	rmdir(sub);
}

static void test_second_process(void **state)
{
	struct bed *b = *state;
	char pid[32];
	snprintf(pid, sizeof(pid), "pid %d", (int)getpid());
	bed_open(b);
	refused(b, -EBUSY, "another process has it open", pid);
	assert_true(write_wait(b, FL_STORE_CREATE, "ns", "x", "x") > 0); // and the first is not disturbed
	bed_close(b);
	bed_open(b);
}

static void test_not_ours(void **state)
{
	struct bed *b = *state;
	AUTO_FREE char *file = bed_path(b, "fairlead.db");
	bed_sql(b, "PRAGMA user_version = 99");
	refused(b, -EBADMSG, "version 99", "knows version 1");
	bed_sql(b, "PRAGMA user_version = 1; PRAGMA application_id = 77");
	refused(b, -EBADMSG, "not a Fairlead store", "0000004d");
	unlink(file);
	bed_sql(b, "CREATE TABLE shopping (item TEXT)");
	refused(b, -EBADMSG, "not a Fairlead store", "fairlead.db");
	char text[5000];
	memset(text, 'x', sizeof(text));
	write_all(file, text, sizeof(text));
	refused(b, -EBADMSG, "not a database", "fairlead.db");
	unlink(file);
	bed_open(b); // a new one
}

static void test_flipped_bit(void **state)
{
	struct bed *b = *state;
	AUTO_FREE char *file = bed_path(b, "fairlead.db");
	AUTO(fl_buf_deinit) struct fl_buf data = {0};
	read_all(file, &data);
	char *at = memmem(data.data, data.len, "text of 47 ", 11);
	assert_non_null(at);
	at[9] ^= 4;
	write_all(file, data.data, data.len);
	refused(b, -EBADMSG, "revision 48 (things ns/o-07) is damaged", "checksum");
	at[9] ^= 4;
	write_all(file, data.data, data.len);
	bed_open(b);
}

static void test_missing_rows(void **state)
{
	struct bed *b = *state;
	AUTO_FREE char *file = bed_path(b, "fairlead.db");
	AUTO(fl_buf_deinit) struct fl_buf data = {0};
	read_all(file, &data);
	bed_sql(b, "DELETE FROM log WHERE name = 'o-07'");
	refused(b, -EBADMSG, "19 objects found", "there are 20");
	write_all(file, data.data, data.len);
	// A row that is gone from the table and not from the index.
	bed_sql(b, "CREATE TABLE keep AS SELECT * FROM sqlite_schema WHERE name = 'log_key';"
		   "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'log_key'");
	bed_sql(b, "DELETE FROM log WHERE rev = 48; PRAGMA writable_schema = ON;"
		   "INSERT INTO sqlite_schema SELECT * FROM keep");
	bed_sql(b, "DROP TABLE keep");
	refused(b, -EBADMSG, "revision 48 (things ns/o-07) is missing", "");
	write_all(file, data.data, data.len);
	bed_sql(b, "DELETE FROM log WHERE rev > 10; UPDATE meta SET value = 30 WHERE key = 'compacted'");
	refused(b, -EBADMSG, "up to 30 are missing", "ends at 10");
	write_all(file, data.data, data.len);
	bed_sql(b, "DROP TABLE meta");
	refused(b, -EBADMSG, "not the schema", "meta");
	write_all(file, data.data, data.len);
	bed_open(b);
}

static void test_lost_file_beside_log(void **state)
{
	struct bed *b = *state;
	AUTO_FREE char *file = bed_path(b, "fairlead.db"), *wal = bed_path(b, "fairlead.db-wal");
	AUTO(fl_buf_deinit) struct fl_buf log = {0}, data = {0};
	bed_open(b);
	assert_int_equal(write_wait(b, FL_STORE_CREATE, "ns", "only-in-the-log", "x"), 61);
	read_all(wal, &log);
	read_all(file, &data);
	bed_close(b);
	// As after a crash: both files, and the write is only in the log.
	write_all(file, data.data, data.len);
	write_all(wal, log.data, log.len);
	bed_open(b);
	assert_int_equal(fl_store_revision(b->s), 61);
	bed_close(b);
	unlink(file);
	write_all(wal, log.data, log.len);
	refused(b, -EBADMSG, "missing or empty", "fairlead.db-wal");
	write_all(file, "", 0);
	refused(b, -EBADMSG, "missing or empty", "fairlead.db-wal");
	struct stat st;
	assert_int_equal(stat(wal, &st), 0); // refused, not deleted
	assert_int_equal(st.st_size, log.len);
}

static void test_truncated(void **state)
{
	struct bed *b = *state;
	AUTO_FREE char *file = bed_path(b, "fairlead.db");
	AUTO(fl_buf_deinit) struct fl_buf data = {0};
	read_all(file, &data);
	for (size_t len = 512; len < data.len; len += data.len / 5) {
		write_all(file, data.data, len);
		refused(b, -EBADMSG, "fairlead.db", "");
	}
	write_all(file, data.data, data.len);
	bed_open(b);
}

// Any page of the file is lost: either the store is refused, or nothing is missing from it.
static void test_any_page_zeroed(void **state)
{
	struct bed *b = *state;
	AUTO_FREE char *file = bed_path(b, "fairlead.db");
	AUTO(fl_buf_deinit) struct fl_buf data = {0}, bad = {0};
	bed_open(b);
	AUTO_FREE char *want = fl_strdup(list_now(b, NULL));
	bed_close(b);
	read_all(file, &data);
	size_t page = 8192, refusals = 0;
	for (size_t at = page; at < data.len; at += page) {
		for (int kind = 0; kind < 2; kind++) {
			bad.len = 0;
			fl_buf_append(&bad, data.data, data.len);
			if (kind == 0)
				memset(bad.data + at, 0, page);
			else // an older or foreign page in its place
				memcpy(bad.data + at, data.data + (at == page ? 3 * page : at - page), page);
			write_all(file, bad.data, bad.len);
			struct fl_err err = {0};
			int rc = fl_store_open(&b->loop, &b->opts, &b->s, &err);
			if (rc == 0)
				assert_string_equal(list_now(b, NULL), want);
			else
				assert_int_equal(rc, -EBADMSG);
			refusals += rc < 0;
			bed_close(b);
		}
	}
	assert_true(refusals >= data.len / page); // most of them hold something that lives
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_reopen, setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_modes, setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_second_process, setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_not_ours, setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_flipped_bit, setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_missing_rows, setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_lost_file_beside_log, setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_truncated, setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_any_page_zeroed, setup, bed_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
