// SPDX-License-Identifier: Apache-2.0
// Small disks: tmpfs in a mount namespace of the test, entered before there is a second thread. Needs root, python3,
// skopeo, umoci.
#include "image_harness.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

static uint64_t free_bytes(struct image_fixture *f)
{
	struct statvfs fs;

	assert_int_equal(statvfs(f->store.dir, &fs), 0);
	return (uint64_t)fs.f_bavail * fs.f_frsize;
}

static void small_disk(struct image_fixture *f, const char *size)
{
	AUTO_FREE char *options = fl_asprintf("size=%s", size);

	assert_int_equal(mount("images", f->store.dir, "tmpfs", 0, options), 0);
	assert_int_equal(fl_image_store_open(&f->paths, &f->store, NULL), 0);
}

static void a_full_disk_is_told_and_left_as_it_was(void **state)
{
	struct image_fixture *f = *state;
	AUTO_FREE char *large = make_image(f, "large.tar", "name=large:1 fill=9000000"),
		       *small = make_image(f, "small.tar", "name=small:1");
	uint64_t before;

	small_disk(f, "16m");
	import_ok(f, small, NULL);
	before = free_bytes(f);
	assert_int_equal(import(f, large, NULL), -ENOSPC);
	if (!strstr(f->got.message, "no space left on device") && !strstr(f->got.message, "not enough free space"))
		fail_msg("%s", f->got.message);
	expect_only(f, 1, true);
	assert_int_equal(free_bytes(f), before);
	struct fl_image_ref ref;
	char id[72], digest[72];
	assert_int_equal(fl_image_ref_parse("small:1", &ref, NULL), 0);
	assert_int_equal(fl_image_store_find(&f->store, &ref, id, digest, NULL), 0); // unharmed
	assert_int_equal(umount(f->store.dir), 0);
}

// 85 and 80 % of a disk that three images fill to nine tenths: the one that was not used for the longest time goes.
static void the_longest_unused_goes_first(void **state)
{
	static const char *const names[] = {"old:1", "used:1", "new:1"};
	struct image_fixture *f = *state;
	AUTO_FREE char *a = make_image(f, "0.tar", "name=old:1 fill=5000000"),
		       *b = make_image(f, "1.tar", "name=used:1 fill=5100000"),
		       *c = make_image(f, "2.tar", "name=new:1 fill=5200000");
	const char *const files[] = {a, b, c};
	char id[3][72], digest[72];
	struct fl_image_ref ref;
	uint64_t freed = 0;
	unsigned n = 0;

	small_disk(f, "64m");
	for (size_t i = 0; i < 3; i++) {
		const struct timespec then[2] = {{.tv_sec = 1000 * (time_t)(i + 1)},
						 {.tv_sec = 1000 * (time_t)(i + 1)}};

		import_ok(f, files[i], NULL);
		assert_int_equal(fl_image_ref_parse(names[i], &ref, NULL), 0);
		assert_int_equal(fl_image_store_find(&f->store, &ref, id[i], digest, NULL), 0);
		AUTO_FREE char *file = fl_image_store_path(&f->store, id[i], "image.json");
		assert_int_equal(utimensat(AT_FDCWD, file, then, 0), 0);
	}
	// A container uses the oldest but one.
	AUTO_FREE char *attempt = fl_asprintf("%s/u/containers/c/0", f->paths.pods),
		       *lower = fl_asprintf("%s/lower", attempt);
	assert_int_equal(fl_file_mkdirs(attempt, 0755, NULL), 0);
	assert_int_equal(fl_image_store_use(&f->store, id[1], lower, NULL), 0);
	unsigned used = (unsigned)(100 - free_bytes(f) * 100 / (64 << 20));
	assert_in_range(used, 40, 60); // packed and unpacked
	assert_int_equal(fl_image_store_collect(&f->store, used + 5, used, 0, &freed, &n, NULL), 0);
	assert_int_equal(n, 0); // not yet
	assert_int_equal(fl_image_store_collect(&f->store, used - 2, used - 5, 0, &freed, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_true(freed > 10000000);
	expect_only(f, 2, true);
	assert_int_equal(fl_image_ref_parse("old:1", &ref, NULL), 0);
	assert_int_equal(fl_image_store_find(&f->store, &ref, id[0], digest, NULL), -ENOENT);
	// Too young to go, then not; what is in use never does.
	AUTO_FREE char *info = fl_image_store_path(&f->store, id[2], "image.json");
	assert_int_equal(utimensat(AT_FDCWD, info, NULL, 0), 0);
	assert_int_equal(fl_image_store_collect(&f->store, 1, 0, 3600, &freed, &n, NULL), 0);
	assert_int_equal(n, 0);
	assert_int_equal(fl_image_store_collect(&f->store, 1, 0, 0, &freed, &n, NULL), 0);
	assert_int_equal(n, 1);
	expect_only(f, 1, true);
	AUTO_FREE char *left = fl_image_store_path(&f->store, id[1], "rootfs/srv/fill");
	assert_int_equal(access(left, F_OK), 0);
	assert_int_equal(umount(f->store.dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_full_disk_is_told_and_left_as_it_was, image_setup, image_teardown),
	    cmocka_unit_test_setup_teardown(the_longest_unused_goes_first, image_setup, image_teardown),
	};

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		perror("mount namespace");
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
