// SPDX-License-Identifier: Apache-2.0
// A file system that is really full (a small tmpfs in a mount namespace of the test's own): writes are refused with the
// reason, everything that reads goes on, and writes return as soon as there is room.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "store/backup.h"
#include "support.h"

static struct bed bed;
static FL_VEC(uint64_t) written; // revisions acknowledged; refused ones are not given again

static int setup(void **state)
{
	struct bed *b = &bed;
	bed_init(b);
	b->opts.event_window = 64; // the rest is asked of the log,
	b->opts.log_events = 500;  // which is bounded: it is others that fill a disk
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bed *b = *state;
	bed_close(b);
	umount2(b->dir, MNT_DETACH);
	fl_vec_deinit(&written);
	bed_deinit(b);
	return 0;
}

static bool mount_small(struct bed *b)
{
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", b->dir, "tmpfs", 0, "size=64m,mode=0700") < 0) {
		print_message("SKIP: no mount of our own: %s\n", strerror(errno));
		return false;
	}
	return true;
}

// Takes what is left, to the last page.
static void fill_up(struct bed *b)
{
	AUTO_FREE char *path = bed_path(b, "filler");
	char page[4096] = {1};
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	assert_true(fd >= 0);
	while (write(fd, page, sizeof(page)) > 0)
		;
	assert_int_equal(errno, ENOSPC);
}

static void make_room(struct bed *b)
{
	AUTO_FREE char *path = bed_path(b, "filler");
	unlink(path);
}

static void on_event(void *arg, struct fl_store_event *e)
{
	(*(size_t *)arg)++;
}

static size_t events_since(struct bed *b, uint64_t rv)
{
	size_t n = 0;
	struct fl_store_watch_opts o = {.resource = b->things, .from_rv = rv, .on_event = on_event, .arg = &n};
	struct fl_store_watch *w;
	struct fl_err err;
	assert_int_equal(fl_store_watch_open(b->s, &o, &w, &err), 0);
	bed_turn(b);
	fl_store_watch_close(&w);
	return n;
}

static int64_t put(struct bed *b, const char *prefix, unsigned i)
{
	char name[16], text[3000];
	snprintf(name, sizeof(name), "%s-%03u", prefix, i);
	snprintf(text, sizeof(text), "v%u %0*d", i, 2900, 0);
	AUTO(fl_object_put) struct fl_object *head = fl_store_head(b->s, b->things, "ns", name);
	int64_t rv = write_wait(b, head ? FL_STORE_UPDATE : FL_STORE_CREATE, "ns", name, text);
	if (rv > 0)
		fl_vec_push(&written, (uint64_t)rv);
	return rv;
}

static void check_reads(struct bed *b, size_t live, size_t objects)
{
	uint64_t rv = fl_store_revision(b->s);
	struct fl_err err = {0};
	struct shown s = {0};
	size_t n = 0;
	while (n < written.n && written.v[written.n - 1 - n] > rv - 200)
		n++;
	assert_true(n > 100);
	assert_int_equal(events_since(b, rv - 200), n);
	assert_int_equal(live, written.n);
	assert_int_equal(fl_store_count(b->s, b->things, "ns"), objects);
	assert_int_equal(fl_store_list_at(b->s, rv - 200, b->things, NULL, NULL, NULL, show, &s, &err), 0);
	assert_true(s.n >= 40);
	fl_buf_deinit(&s.b);
}

static void test_full_disk(void **state)
{
	struct bed *b = *state;
	if (!mount_small(b))
		skip();
	bed_open(b);
	size_t live = 0;
	struct fl_store_watch_opts o = {.resource = b->things, .on_event = on_event, .arg = &live};
	struct fl_store_watch *w;
	struct fl_err err;
	assert_int_equal(fl_store_watch_open(b->s, &o, &w, &err), 0);
	unsigned i = 0, more = 0;
	for (int round = 0; round < 4; round++) {
		int64_t rc;
		for (unsigned n = 0; n < 700; n++)
			assert_true(put(b, "o", i++ % 40) > 0);
		fill_up(b);
		// What the files have room for goes on; more objects than that do not.
		while ((rc = put(b, "more", more)) > 0)
			more++;
		assert_int_equal(rc, -ENOSPC);
		for (int again = 0; again < 20; again++)
			assert_int_equal(put(b, "more", more), -ENOSPC);
		check_reads(b, live, 40 + more);
		make_room(b);
		assert_true(put(b, "more", more++) > 0);
	}
	AUTO_FREE char *want = fl_strdup(list_now(b, NULL));
	uint64_t rv = fl_store_revision(b->s);
	bed_close(b);
	fl_store_watch_close(&w);
	// To open it some pages are needed, to share with readers. Without them it is refused, and nothing is lost.
	fill_up(b);
	assert_int_equal(fl_store_open(&b->loop, &b->opts, &b->s, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "no space left on the disk"));
	bed_turn(b);
	make_room(b);
	bed_open(b);
	assert_string_equal(list_now(b, NULL), want);
	assert_int_equal(fl_store_revision(b->s), rv);
	assert_true(put(b, "more", more) > 0);
}

static void test_backup_to_a_full_disk(void **state)
{
	struct bed *b = *state;
	if (!mount_small(b))
		skip();
	bed_open(b);
	bed_fill(b);
	AUTO_FREE char *file = bed_path(b, "backup");
	struct fl_store_copied c;
	struct fl_err err;
	fill_up(b);
	assert_int_equal(fl_store_backup(b->dir, file, &c, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "no space left on the disk"));
	assert_int_equal(access(file, F_OK), -1);
	make_room(b);
	assert_int_equal(fl_store_backup(b->dir, file, &c, &err), 0);
	bed_close(b);
	fill_up(b);
	assert_int_equal(fl_store_restore(b->dir, file, &c, &err), -ENOSPC);
	make_room(b);
	bed_open(b); // what was there
	assert_int_equal(fl_store_revision(b->s), 60);
}

int main(void)
{
	fl_log_init("disk_test", FL_LOG_ERROR); // warnings about a full disk are its subject
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_backup_to_a_full_disk, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
