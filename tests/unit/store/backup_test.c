// SPDX-License-Identifier: Apache-2.0
// Backups taken by another process while the store is written to are snapshots; a restore gives back what was in one,
// at a revision that nobody has seen, and is refused or whole whatever happens on the way.
#include <errno.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/backup.h"
#include "support.h"

// ---- a process that makes backups

struct helper {
	pid_t pid;
	int ask[2], answer[2];
};

struct answer {
	int rc;
	struct fl_store_copied copied;
	struct fl_err err;
};

static void helper_start(struct helper *h, const char *dir, const char *file)
{
	assert_int_equal(pipe(h->ask), 0);
	assert_int_equal(pipe(h->answer), 0);
	h->pid = fork();
	if (h->pid == 0) {
		char go;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(h->ask[1]);
		while (read(h->ask[0], &go, 1) == 1) {
			struct answer a = {0};
			a.rc = fl_store_backup(dir, file, &a.copied, &a.err);
			if (write(h->answer[1], &a, sizeof(a)) != sizeof(a))
				_exit(1);
		}
		_exit(0);
	}
	assert_true(h->pid > 0);
	close(h->ask[0]);
}

static void helper_stop(struct helper *h)
{
	int status;
	close(h->ask[1]);
	assert_int_equal(waitpid(h->pid, &status, 0), h->pid);
	assert_int_equal(status, 0);
	close(h->answer[0]);
	close(h->answer[1]);
}

// ---- a store that is written to

static struct {
	unsigned seed, texts, under_way;
	bool stop;
} churn;

static void churn_write(struct bed *b);

static void on_written(void *arg, int rc, struct fl_object *obj, const struct fl_err *err)
{
	assert_int_equal(rc, 0);
	churn.under_way--;
	if (!churn.stop)
		churn_write(arg);
}

static void churn_write(struct bed *b)
{
	char name[16], text[600];
	snprintf(name, sizeof(name), "o-%02u", (unsigned)rand_r(&churn.seed) % 300);
	snprintf(text, sizeof(text), "v%u %0*d", ++churn.texts, 500, 0);
	AUTO(fl_object_put) struct fl_object *head = fl_store_head(b->s, b->things, "ns", name);
	enum fl_store_verb verb = !head ? FL_STORE_CREATE : rand_r(&churn.seed) % 4 ? FL_STORE_UPDATE : FL_STORE_DELETE;
	churn.under_way++;
	assert_int_equal(submit(b, verb, b->things, "ns", name, text, 0, on_written, b), 0);
}

static char *list_at(struct bed *b, uint64_t rv)
{
	struct shown s = {0};
	struct fl_err err;
	fl_buf_puts(&s.b, "");
	assert_int_equal(fl_store_list_at(b->s, rv, b->things, NULL, NULL, NULL, show, &s, &err), 0);
	return fl_buf_take(&s.b);
}

static void restore(struct bed *b, const char *file, struct fl_store_copied *ret)
{
	struct fl_err err = {0};
	if (fl_store_restore(b->dir, file, ret, &err) < 0)
		fail_msg("restore: %s", err.text);
}

// The answer of the helper, while writes go on.
static void wait_answer(struct bed *b, struct helper *h, struct answer *ret)
{
	fd_set set;
	struct timeval now = {0};
	do {
		uv_run(&b->loop, UV_RUN_ONCE);
		FD_ZERO(&set);
		FD_SET(h->answer[0], &set);
	} while (select(h->answer[0] + 1, &set, NULL, NULL, &now) == 0);
	assert_int_equal(read(h->answer[0], ret, sizeof(*ret)), sizeof(*ret));
}

static void test_backup_while_written(void **state)
{
	struct bed b, copy;
	struct helper h;
	bed_init(&b);
	bed_init(&copy);
	AUTO_FREE char *file = bed_path(&copy, "backup");
	helper_start(&h, b.dir, file); // before there are threads
	bed_open(&b);
	memset(&churn, 0, sizeof(churn));
	churn.seed = 7;
	for (int i = 0; i < 16; i++)
		churn_write(&b);
	for (int round = 0; round < 20; round++) {
		struct answer a;
		uint64_t before = fl_store_revision(b.s), after;
		while (fl_store_revision(b.s) < before + 500) // a checkpoint or two between them
			uv_run(&b.loop, UV_RUN_ONCE);
		before = fl_store_revision(b.s);
		assert_int_equal(write(h.ask[1], "x", 1), 1);
		wait_answer(&b, &h, &a);
		after = fl_store_revision(b.s);
		if (a.rc < 0)
			fail_msg("backup: %s", a.err.text);
		assert_true(after > before); // it did not wait for the writers to end, nor they for it
		uint64_t at = a.copied.revision - 1;
		assert_true(at >= before && at <= after + 512);
		while (fl_store_revision(b.s) < at)
			uv_run(&b.loop, UV_RUN_ONCE);
		AUTO_FREE char *want = list_at(&b, at);
		struct fl_store_copied c;
		restore(&copy, file, &c);
		bed_open(&copy);
		assert_string_equal(list_now(&copy, NULL), want);
		assert_int_equal(a.copied.objects, fl_store_count(copy.s, copy.things, NULL));
		assert_int_equal(a.copied.objects, c.objects);
		bed_close(&copy);
	}
	churn.stop = true;
	while (churn.under_way)
		uv_run(&b.loop, UV_RUN_ONCE);
	helper_stop(&h);
	bed_deinit(&b);
	bed_deinit(&copy);
}

// After `kill -9` the newest writes are in the write-ahead log alone, and nobody has it open.
static void test_backup_of_a_crashed_store(void **state)
{
	struct bed *b = *state, copy;
	AUTO_FREE char *db = bed_path(b, "fairlead.db"), *wal = bed_path(b, "fairlead.db-wal");
	AUTO(fl_buf_deinit) struct fl_buf data = {0}, log = {0};
	bed_init(&copy);
	AUTO_FREE char *file = bed_path(&copy, "backup");
	write_wait(b, FL_STORE_CREATE, "ns", "x", "only in the log");
	AUTO_FREE char *want = fl_strdup(list_now(b, NULL));
	read_all(db, &data);
	read_all(wal, &log);
	bed_close(b);
	write_all(db, data.data, data.len);
	write_all(wal, log.data, log.len);
	struct fl_store_copied c;
	struct fl_err err;
	assert_int_equal(fl_store_backup(b->dir, file, &c, &err), 0);
	restore(&copy, file, &c);
	bed_open(&copy);
	assert_string_equal(list_now(&copy, NULL), want);
	bed_deinit(&copy);
	bed_open(b); // as it was
	assert_string_equal(list_now(b, NULL), want);
}

static int setup_filled(void **state)
{
	bed_setup(state);
	bed_fill(*state);
	return 0;
}

static void refused_backup(struct bed *b, const char *dir, const char *file, int code, const char *why)
{
	struct fl_store_copied c = {.revision = 77};
	struct fl_err err = {0};
	assert_int_equal(fl_store_backup(dir, file, &c, &err), code);
	if (!strstr(err.text, why) || !strstr(err.text, file))
		fail_msg("error text: %s", err.text);
	assert_int_equal(c.revision, 77);
}

static void test_backup_file(void **state)
{
	struct bed *b = *state;
	AUTO_FREE char *file = bed_path(b, "backup"), *db = bed_path(b, "fairlead.db"),
		       *nowhere = bed_path(b, "no/backup"), *link_to_db = bed_path(b, "link");
	struct fl_store_copied c;
	struct fl_err err;
	struct stat st;
	write_all(file, "older", 5);
	assert_int_equal(chmod(file, 0644), 0);
	assert_int_equal(fl_store_backup(b->dir, file, &c, &err), 0);
	assert_int_equal(c.revision, 61);
	assert_int_equal(c.objects, 20);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(st.st_size, c.bytes);
	refused_backup(b, b->dir, nowhere, -ENOENT, "No such file");
	refused_backup(b, b->dir, db, -EINVAL, "the store itself");
	assert_int_equal(symlink(db, link_to_db), 0);
	refused_backup(b, b->dir, link_to_db, -EINVAL, "the store itself");
	refused_backup(b, "/nonexistent", file, -ENOENT, "No such file");
	assert_true(write_wait(b, FL_STORE_UPDATE, "ns", "o-01", "y") > 0); // and the store is as before
}

static void test_backup_of_a_damaged_store(void **state)
{
	struct bed *b = *state;
	AUTO_FREE char *file = bed_path(b, "backup"), *db = bed_path(b, "fairlead.db");
	AUTO(fl_buf_deinit) struct fl_buf data = {0}, was = {0}, is = {0};
	struct fl_store_copied c;
	struct fl_err err;
	assert_int_equal(fl_store_backup(b->dir, file, &c, &err), 0);
	read_all(file, &was);
	bed_close(b);
	read_all(db, &data);
	char *at = memmem(data.data, data.len, "text of 47 ", 11);
	at[9] ^= 4;
	write_all(db, data.data, data.len);
	refused_backup(b, b->dir, file, -EBADMSG, "things ns/o-07");
	read_all(file, &is);
	assert_int_equal(is.len, was.len);
	assert_memory_equal(is.data, was.data, is.len); // the older backup is still there
	at[9] ^= 4;
	write_all(db, data.data, data.len);
}

static int watch_from(struct bed *b, uint64_t rv)
{
	struct fl_store_watch_opts o = {.resource = b->things, .from_rv = rv};
	struct fl_store_watch *w = NULL;
	struct fl_err err;
	int rc = fl_store_watch_open(b->s, &o, &w, &err);
	if (rc == 0)
		bed_turn(b); // nothing to deliver, on_event is NULL
	fl_store_watch_close(&w);
	return rc;
}

static void test_restore(void **state)
{
	struct bed *b = *state;
	AUTO_FREE char *file = bed_path(b, "backup");
	struct fl_store_copied c;
	struct fl_err err = {0};
	write_wait(b, FL_STORE_DELETE, "ns", "o-19", "gone"); // the newest row of the backup is a deletion
	AUTO_FREE char *want = fl_strdup(list_now(b, NULL));
	assert_int_equal(fl_store_backup(b->dir, file, &c, &err), 0);
	for (int i = 0; i < 100; i++)
		write_wait(b, i ? FL_STORE_UPDATE : FL_STORE_CREATE, "ns", "later", "x");
	uint64_t seen = fl_store_revision(b->s);

	assert_int_equal(fl_store_restore(b->dir, file, &c, &err), -EBUSY);
	assert_non_null(strstr(err.text, "another process has it open"));
	assert_true(write_wait(b, FL_STORE_UPDATE, "ns", "later", "x") > 0);
	bed_close(b);

	uint64_t last = seen + 1;
	for (int round = 0; round < 3; round++) {
		restore(b, file, &c);
		bed_open(b);
		assert_string_equal(list_now(b, NULL), want);
		uint64_t rv = fl_store_revision(b->s);
		assert_int_equal(c.revision, rv);
		assert_int_equal(rv, last + FL_STORE_REVISION_LEAP); // above what was there, not only above the backup
		assert_int_equal(watch_from(b, seen), -ESTALE);
		assert_int_equal(watch_from(b, last), -ESTALE);
		assert_int_equal(watch_from(b, rv), 0);
		assert_int_equal(fl_store_list_at(b->s, seen, b->things, NULL, NULL, NULL, show, NULL, &err), -ESTALE);
		assert_int_equal(write_wait(b, FL_STORE_UPDATE, "ns", "o-03", "new"), rv + 1);
		assert_int_equal(write_wait(b, FL_STORE_CREATE, "ns", "new", "new"), rv + 2);
		// The row that carried the revision goes with the first compaction.
		fl_store_upkeep(b->s, uv_now(&b->loop) + 3600 * 1000);
		fl_store_upkeep(b->s, uv_now(&b->loop) + 7200 * 1000);
		assert_int_equal(fl_store_compacted(b->s), rv + 1);
		struct fl_store_stats st;
		do {
			write_wait(b, FL_STORE_UPDATE, "ns", "new", "x");
			fl_store_get_stats(b->s, &st);
		} while (st.log_rows - st.objects > fl_store_revision(b->s) - fl_store_compacted(b->s));
		last = fl_store_revision(b->s);
		bed_close(b);
		bed_open(b);
		assert_int_equal(fl_store_revision(b->s), last);
		assert_int_equal(fl_store_count(b->s, b->things, NULL), 20);
		bed_close(b);
	}
}

// The store is lost, or cannot say how far it came, and not for the first time: what was given after the first restore
// does not come again after the second.
static void test_restore_over_what_cannot_be_read(void **state)
{
	struct bed *b = *state;
	AUTO_FREE char *file = bed_path(b, "backup"), *db = bed_path(b, "fairlead.db"),
		       *wal = bed_path(b, "fairlead.db-wal");
	struct fl_store_copied c;
	struct fl_err err = {0};
	uint64_t last = fl_store_revision(b->s);
	assert_int_equal(fl_store_backup(b->dir, file, &c, &err), 0);
	for (int round = 0; round < 4; round++) {
		bed_close(b);
		unlink(wal);
		if (round % 2)
			write_all(db, "what was the header of a file", 29);
		else
			unlink(db);
		restore(b, file, &c);
		bed_open(b);
		assert_int_equal(fl_store_revision(b->s), c.revision);
		assert_true(c.revision > last && c.revision > FL_STORE_REVISION_LEAP);
		assert_true(c.revision < 1ULL << 53);
		assert_int_equal(watch_from(b, last), -ESTALE);
		for (int i = 0; i < 50; i++)
			last = (uint64_t)write_wait(b, FL_STORE_UPDATE, "ns", "o-03", "new");
		assert_int_equal(last, c.revision + 50);
	}
}

// A file that was copied by hand from a stopped store, with its history.
static void test_restore_of_a_plain_copy(void **state)
{
	struct bed *b = *state, copy;
	AUTO_FREE char *db = bed_path(b, "fairlead.db");
	struct fl_store_copied c;
	struct fl_store_stats st;
	bed_init(&copy);
	AUTO_FREE char *want = fl_strdup(list_now(b, NULL));
	bed_close(b);
	restore(&copy, db, &c);
	bed_open(&copy);
	assert_string_equal(list_now(&copy, NULL), want);
	fl_store_get_stats(copy.s, &st);
	assert_int_equal(st.log_rows, 21);
	bed_deinit(&copy);
}

static void refused_restore(struct bed *b, const char *file, const char *why)
{
	struct fl_store_copied c;
	struct fl_err err = {0};
	AUTO_FREE char *tmp = bed_path(b, "fairlead.db.tmp"), *new = bed_path(b, "fairlead.db.new");
	assert_int_equal(fl_store_restore(b->dir, file, &c, &err), -EBADMSG);
	if (!strstr(err.text, why) || !strstr(err.text, file))
		fail_msg("error text: %s", err.text);
	assert_int_equal(access(tmp, F_OK), -1);
	assert_int_equal(access(new, F_OK), -1);
}

static void test_restore_refused(void **state)
{
	struct bed *b = *state;
	AUTO_FREE char *file = bed_path(b, "backup");
	AUTO(fl_buf_deinit) struct fl_buf data = {0};
	struct fl_store_copied c;
	struct fl_err err;
	AUTO_FREE char *want = fl_strdup(list_now(b, NULL));
	assert_int_equal(fl_store_backup(b->dir, file, &c, &err), 0);
	read_all(file, &data);
	bed_close(b);
	assert_int_equal(fl_store_restore(b->dir, "/nonexistent/file", &c, &err), -ENOENT);
	write_all(file, data.data, data.len / 2 / 8192 * 8192);
	refused_restore(b, file, "");
	write_all(file, "just some text", 14);
	refused_restore(b, file, "not a database");
	write_all(file, "", 0);
	refused_restore(b, file, "nothing in it");
	// user_version, big-endian at byte 60 of the header
	data.data[63] = 9;
	write_all(file, data.data, data.len);
	refused_restore(b, file, "version 9, newer than this program");
	data.data[63] = 1;
	// Any page lost: refused, or nothing is missing.
	size_t page = 8192, refusals = 0;
	AUTO(fl_buf_deinit) struct fl_buf bad = {0};
	for (size_t at = page; at < data.len; at += page) {
		bad.len = 0;
		fl_buf_append(&bad, data.data, data.len);
		memset(bad.data + at, 0, page);
		write_all(file, bad.data, bad.len);
		int rc = fl_store_restore(b->dir, file, &c, &err);
		assert_true(rc == 0 || rc == -EBADMSG);
		refusals += rc < 0;
		bed_open(b);
		assert_string_equal(list_now(b, NULL), want);
		bed_close(b);
	}
	assert_true(refusals >= 3);
}

// The power goes between the steps of a replacement: the file that was decided on is there at the next start, and the
// write-ahead log of the former one is never played into it.
static void test_interrupted_replacement(void **state)
{
	struct bed *b = *state, copy;
	AUTO_FREE char *file = bed_path(b, "backup"), *db = bed_path(b, "fairlead.db"),
		       *wal = bed_path(b, "fairlead.db-wal"), *new = bed_path(b, "fairlead.db.new"),
		       *tmp = bed_path(b, "fairlead.db.tmp");
	AUTO(fl_buf_deinit) struct fl_buf data = {0}, log = {0}, sealed = {0};
	struct fl_store_copied c;
	struct fl_err err;
	AUTO_FREE char *want = fl_strdup(list_now(b, NULL));
	assert_int_equal(fl_store_backup(b->dir, file, &c, &err), 0);
	bed_init(&copy);
	restore(&copy, file, &c);
	AUTO_FREE char *copied = bed_path(&copy, "fairlead.db");
	read_all(copied, &sealed);
	bed_deinit(&copy);
	for (int i = 0; i < 20; i++)
		write_wait(b, i ? FL_STORE_UPDATE : FL_STORE_CREATE, "ns", "later", "x");
	AUTO_FREE char *former = fl_strdup(list_now(b, NULL));
	read_all(db, &data);
	read_all(wal, &log);
	bed_close(b);
	for (int step = 0; step < 5; step++) {
		write_all(db, data.data, data.len);
		write_all(wal, log.data, log.len);
		if (step == 0)
			write_all(tmp, sealed.data, sealed.len / 2);
		else
			write_all(new, sealed.data, sealed.len);
		if (step >= 2)
			unlink(wal);
		if (step == 3)
			unlink(db);
		if (step == 4)
			rename(new, db);
		bed_open(b);
		assert_string_equal(list_now(b, NULL), step ? want : former);
		bed_close(b);
		assert_int_equal(access(new, F_OK), -1);
	}
}

static void test_former_file_is_kept(void **state)
{
	struct bed *b = *state;
	AUTO_FREE char *file = bed_path(b, "backup"), *db = bed_path(b, "fairlead.db"),
		       *kept = bed_path(b, "fairlead.db.replaced");
	AUTO(fl_buf_deinit) struct fl_buf was = {0}, is = {0};
	struct fl_store_copied c;
	struct fl_err err;
	assert_int_equal(fl_store_backup(b->dir, file, &c, &err), 0);
	for (int round = 0; round < 2; round++) {
		assert_true(write_wait(b, FL_STORE_UPDATE, "ns", "o-00", "later") > 0);
		bed_close(b);
		read_all(db, &was);
		restore(b, file, &c);
		read_all(kept, &is);
		assert_int_equal(is.len, was.len);
		assert_memory_equal(is.data, was.data, is.len);
		bed_open(b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_backup_while_written),
	    cmocka_unit_test_setup_teardown(test_backup_of_a_crashed_store, setup_filled, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_backup_file, setup_filled, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_backup_of_a_damaged_store, setup_filled, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_restore, setup_filled, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_restore_over_what_cannot_be_read, setup_filled, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_restore_of_a_plain_copy, setup_filled, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_restore_refused, setup_filled, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_interrupted_replacement, setup_filled, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_former_file_is_kept, setup_filled, bed_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
