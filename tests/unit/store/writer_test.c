// SPDX-License-Identifier: Apache-2.0
// The writer thread on a disk that is full or fails: writes are refused with the reason, the rest goes on, and writes
// return when there is room. And what it does unasked: bounded log, bounded file, groups.
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/log.h"
#include "powercut_vfs.h"
#include "support.h"

static int setup(void **state)
{
	struct bed *b = fl_calloc(1, sizeof(*b));
	bed_init(b);
	powercut_reset(1);
	b->opts.sqlite_vfs = POWERCUT_VFS;
	bed_open(b);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	powercut_room(-1);
	bed_teardown(state);
	powercut_reset(0);
	return 0;
}

struct tally {
	int ok, failed, last_rc;
	char text[sizeof(((struct fl_err *)0)->text)];
};

static void on_tally(void *arg, int rc, struct fl_object *obj, const struct fl_err *err)
{
	struct tally *t = arg;
	if (rc == 0) {
		t->ok++;
		return;
	}
	t->failed++;
	t->last_rc = rc;
	snprintf(t->text, sizeof(t->text), "%s", err->text);
}

static void put(struct bed *b, unsigned key, const char *text, struct tally *t)
{
	char name[16];
	snprintf(name, sizeof(name), "o-%02u", key);
	AUTO(fl_object_put) struct fl_object *head = fl_store_head(b->s, b->things, "ns", name);
	assert_int_equal(
	    submit(b, head ? FL_STORE_UPDATE : FL_STORE_CREATE, b->things, "ns", name, text, 0, on_tally, t), 0);
}

static void test_full_disk(void **state)
{
	struct bed *b = *state;
	char text[3000] = {0};
	unsigned seed = 5, key = 0;
	memset(text, 'x', sizeof(text) - 1);
	for (int round = 0; round < 40; round++) {
		struct tally t = {0};
		// Full in the middle of a group, of a checkpoint, at once.
		powercut_room((int64_t)((unsigned)rand_r(&seed) % (round % 2 ? 60000 : 6000000)));
		while (!t.failed && t.ok < 20000) {
			for (int i = 0; i < 10; i++)
				put(b, ++key % 50, text, &t);
			bed_turn(b);
		}
		assert_true(t.failed > 0);
		assert_int_equal(t.last_rc, -ENOSPC);
		assert_non_null(strstr(t.text, "no space left on the disk"));
		assert_non_null(strstr(t.text, "fairlead.db"));
		// Reads go on, head has fallen back to what is committed.
		struct shown heads = {0};
		fl_store_list_head(b->s, b->things, NULL, show, &heads);
		assert_string_equal(heads.b.data ? heads.b.data : "", list_now(b, NULL));
		fl_buf_deinit(&heads.b);

		powercut_room(-1);
		assert_true(write_wait(b, round ? FL_STORE_UPDATE : FL_STORE_CREATE, "ns", "after", "room") > 0);
		AUTO_FREE char *before = fl_strdup(list_now(b, NULL));
		uint64_t rv = fl_store_revision(b->s);
		bed_close(b);
		bed_open(b);
		assert_string_equal(list_now(b, NULL), before);
		assert_int_equal(fl_store_revision(b->s), rv);
	}
}

static void test_failing_sync(void **state)
{
	struct bed *b = *state;
	assert_int_equal(write_wait(b, FL_STORE_CREATE, "ns", "a", "one"), 1);
	powercut_fail_syncs(1, 2);
	struct tally t = {0};
	for (unsigned i = 0; i < 5; i++)
		put(b, i, "x", &t);
	bed_turn(b);
	assert_int_equal(t.failed, 5);
	assert_int_equal(t.last_rc, -EIO);
	assert_string_equal(list_now(b, NULL), "ns/a=one@1");
	while (write_wait(b, FL_STORE_UPDATE, "ns", "a", "two") < 0)
		;
	AUTO_FREE char *before = fl_strdup(list_now(b, NULL));
	assert_non_null(strstr(before, "ns/a=two@"));
	assert_null(strchr(before, ' '));
	bed_close(b);
	bed_open(b);
	assert_string_equal(list_now(b, NULL), before);
}

static void test_groups_share_a_sync(void **state)
{
	struct bed *b = *state;
	struct tally t = {0};
	struct fl_store_stats st;
	for (unsigned i = 0; i < 1000; i++)
		put(b, i, "x", &t);
	bed_turn(b);
	fl_store_get_stats(b->s, &st);
	assert_int_equal(st.writes, 1000);
	assert_int_equal(st.objects, 1000);
	assert_in_range(st.commits, 2, 500); // the loop's thread queues faster than the disk syncs, however slow it is
}

static uint64_t wal_size(struct bed *b)
{
	AUTO_FREE char *path = fl_asprintf("%s/fairlead.db-wal", b->dir);
	struct stat st;
	return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

// The same objects are written again and again: neither file grows without end, and both shrink after a peak.
static void test_bounded_files(void **state)
{
	struct bed *b = *state;
	struct fl_store_stats st;
	struct tally t = {0};
	char text[1000] = {0};
	memset(text, 'x', sizeof(text) - 1);
	bed_close(b);
	b->opts.sqlite_vfs = NULL;
	b->opts.log_events = 1000;
	bed_open(b);
	for (int round = 0; round < 2000; round++) {
		for (unsigned i = 0; i < 50; i++)
			put(b, i, text, &t);
		bed_turn(b);
	}
	assert_int_equal(t.ok, 100000); // 100 MB written
	fl_store_get_stats(b->s, &st);
	assert_in_range(wal_size(b), 1, 8 * 1024 * 1024);
	assert_in_range(st.log_rows, 900, 3000);
	assert_in_range(st.file_bytes, 1, 24 * 1024 * 1024);
	bed_close(b);
	assert_int_equal(wal_size(b), 0);
}

static void test_file_shrinks(void **state)
{
	struct bed *b = *state;
	struct tally t = {0};
	char text[2000] = {0};
	char name[16];
	memset(text, 'x', sizeof(text) - 1);
	bed_close(b);
	b->opts.sqlite_vfs = NULL;
	b->opts.log_events = 1000;
	bed_open(b);
	for (unsigned i = 0; i < 10000; i++)
		put(b, i, text, &t);
	bed_turn(b);
	bed_close(b);
	bed_open(b);
	struct fl_store_stats peak, st;
	fl_store_get_stats(b->s, &peak);
	assert_true(peak.file_bytes > 20 * 1024 * 1024);
	for (unsigned i = 0; i < 10000; i++) {
		snprintf(name, sizeof(name), "o-%02u", i);
		assert_int_equal(submit(b, FL_STORE_DELETE, b->things, "ns", name, "", 0, on_tally, &t), 0);
	}
	bed_turn(b);
	assert_int_equal(t.failed, 0);
	// Each write gives the writer's unasked work its turn; closing copies the log into the file.
	for (int i = 0; i < 3000; i++) {
		write_wait(b, i ? FL_STORE_UPDATE : FL_STORE_CREATE, "ns", "tick", "x");
		if (i % 250)
			continue;
		bed_close(b);
		bed_open(b);
		fl_store_get_stats(b->s, &st);
		if (st.file_bytes < peak.file_bytes / 3)
			return;
	}
	fail_msg("the file has %d bytes, at its peak %d", (int)st.file_bytes, (int)peak.file_bytes);
}

int main(void)
{
	fl_log_init("writer_test", FL_LOG_ERROR); // warnings about a full disk are its subject
	powercut_register();
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_failing_sync, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_groups_share_a_sync, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_bounded_files, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_file_shrinks, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
