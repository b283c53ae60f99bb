// SPDX-License-Identifier: Apache-2.0
// The store under several processes, of which any may be killed at any moment. Needs root, python3, skopeo, umoci.
#include "image_harness.h"

#include <poll.h>
#include <signal.h>

static bool matches(struct image_fixture *f, const char *pattern)
{
	return run("ls -d %s/%s >/dev/null 2>&1", f->store.dir, pattern) == 0;
}

static pid_t in_child(struct image_fixture *f, const char *file)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(import(f, file, NULL) == 0 ? 0 : 1);
	assert_true(pid > 0);
	return pid;
}

static void wait_a_little(void)
{
	poll(NULL, 0, 1);
}

// Killed when each of these things is there to be seen; the tools die with their parent, the next start takes away what
// they left, and the image is whole or not there.
static void killed_at_any_moment(void **state)
{
	static const char *const moments[] = {
	    "tmp/*",         "tmp/*/src/blobs",         "tmp/*/0/index.json", "tmp/*/0/rootfs", "tmp/*/0/rootfs/bin",
	    "tmp/*/0/image", "tmp/*/0/image/image.json"};
	struct image_fixture *f = *state;
	AUTO_FREE char *file = make_image(f, "a.tar", "name=a:1 fill=3000000");
	unsigned whole = 0;

	for (size_t i = 0; i < FL_COUNT(moments); i++) {
		struct fl_image_ref ref;
		char id[72], digest[72];
		pid_t pid = in_child(f, file);
		int status;

		while (!matches(f, moments[i]) && waitpid(pid, &status, WNOHANG) == 0)
			wait_a_little();
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		// Until the tools are dead, too, something may come again.
		do {
			wait_a_little();
			assert_int_equal(fl_image_store_sweep(&f->store, NULL, NULL), 0);
		} while (count_entries(f->store.dir, "tmp"));
		assert_int_equal(fl_image_ref_parse("a:1", &ref, NULL), 0);
		if (fl_image_store_find(&f->store, &ref, id, digest, NULL) == 0) {
			AUTO_FREE char *rootfs = fl_image_store_path(&f->store, id, "rootfs");

			assert_int_equal(run("test $(stat -c %%s %s/srv/fill) = 3000000", rootfs), 0);
			whole++;
			expect_only(f, 1, true);
		} else {
			expect_only(f, 0, true);
		}
	}
	assert_true(whole < FL_COUNT(moments));
	import_ok(f, file, NULL);
	expect_only(f, 1, true);
}

// An image in its place whose name was not written yet.
static void an_image_without_name_is_a_leftover(void **state)
{
	struct image_fixture *f = *state;
	AUTO_FREE char *file = make_image(f, "a.tar", "name=a:1"), *names = fl_asprintf("%s/names.json", f->store.dir);
	AUTO_FREE char *attempt = fl_asprintf("%s/u/containers/c/0", f->paths.pods),
		       *lower = fl_asprintf("%s/lower", attempt);

	import_ok(f, file, NULL);
	assert_int_equal(fl_image_store_sweep(&f->store, NULL, NULL), 0);
	expect_only(f, 1, true);
	unlink(names);
	// While a container uses it, it stays.
	assert_int_equal(fl_file_mkdirs(attempt, 0755, NULL), 0);
	assert_int_equal(fl_image_store_use(&f->store, f->got.id, lower, NULL), 0);
	assert_int_equal(fl_image_store_sweep(&f->store, NULL, NULL), 0);
	expect_only(f, 1, true);
	unlink(lower);
	assert_int_equal(fl_image_store_sweep(&f->store, f->got.id + 7, NULL), 0); // as the embedded one
	expect_only(f, 1, true);
	assert_int_equal(fl_image_store_sweep(&f->store, NULL, NULL), 0);
	expect_only(f, 0, true);
}

// A power failure may have taken the contents of files that nobody had synced; the boot after it knows by the mark.
static void what_was_not_synced_does_not_outlive_the_boot(void **state)
{
	struct image_fixture *f = *state;
	AUTO_FREE char *a = make_image(f, "a.tar", "name=a:1 text=a"), *b = make_image(f, "b.tar", "name=b:1 text=b");
	struct fl_image_entry *list = NULL;
	struct fl_arena arena = {0};
	size_t n = 0;

	import_ok(f, a, NULL);
	assert_int_equal(fl_image_store_settle(&f->store, NULL), 0);
	import_ok(f, b, NULL);
	assert_int_equal(fl_image_store_sweep(&f->store, NULL, NULL), 0);
	expect_only(f, 2, true);
	assert_int_equal(run("echo another >%s/boot && for d in %s/*/boot_id; do cp %s/boot $d; done", f->work,
			     f->store.dir, f->work),
			 0);
	assert_int_equal(fl_image_store_settle(&f->store, NULL), 0); // too late
	assert_int_equal(fl_image_store_sweep(&f->store, NULL, NULL), 0);
	expect_only(f, 1, true);
	assert_int_equal(fl_image_store_list(&f->store, &arena, &list, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_string_equal(list[0].tags[0], "docker.io/library/a:1");
	import_ok(f, b, NULL);
	expect_only(f, 2, true);
	fl_arena_deinit(&arena);
}

static void only_damaged_blobs_are_dropped(void **state)
{
	struct image_fixture *f = *state;
	static const char hello[] = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
	AUTO_FREE char *dir = fl_asprintf("%s/blobs/sha256", f->store.dir),
		       *whole = fl_asprintf("%s/blobs/sha256/%s", f->store.dir, hello),
		       *cut = fl_asprintf("%s/blobs/sha256/%064d", f->store.dir, 1),
		       *other = fl_asprintf("%s/blobs/sha256/%064d", f->store.dir, 2),
		       *of_whole = fl_asprintf("sha256:%s", hello), *of_cut = fl_asprintf("sha256:%064d", 1),
		       *of_none = fl_asprintf("sha256:%064d", 3);

	assert_int_equal(fl_file_mkdirs(dir, 0755, NULL), 0);
	assert_int_equal(fl_file_write(whole, "hello", 5, 0644, NULL), 0);
	assert_int_equal(fl_file_write(cut, "hell", 4, 0644, NULL), 0);
	assert_int_equal(fl_file_write(other, "hell", 4, 0644, NULL), 0);
	fl_image_store_drop_blobs(&f->store, (const char *const[]){of_whole, of_cut, of_none, NULL});
	assert_int_equal(access(whole, F_OK), 0); // another image that is being unpacked may need it
	assert_int_equal(access(cut, F_OK), -1);
	assert_int_equal(access(other, F_OK), 0); // not asked about
}

static void removal(void **state)
{
	struct image_fixture *f = *state;
	AUTO_FREE char *a = make_image(f, "a.tar", "name=a:1 name=a:2 text=a"),
		       *b = make_image(f, "b.tar", "name=b:1 text=b");
	AUTO_FREE char *attempt = fl_asprintf("%s/u/containers/c/0", f->paths.pods),
		       *lower = fl_asprintf("%s/lower", attempt);
	struct fl_err err = {0};
	bool gone = true;
	unsigned blobs;

	import_ok(f, b, NULL);
	blobs = count_entries(f->store.dir, "blobs/sha256");
	import_ok(f, a, NULL);
	assert_true(count_entries(f->store.dir, "blobs/sha256") > blobs);
	assert_int_equal(fl_file_mkdirs(attempt, 0755, NULL), 0);
	assert_int_equal(fl_image_store_use(&f->store, f->got.id, lower, NULL), 0);
	assert_int_equal(fl_image_store_remove(&f->store, "c:1", &gone, &err), -ENOENT);
	assert_string_equal(err.text, "image c:1 is not here");
	assert_int_equal(fl_image_store_remove(&f->store, "a:1", &gone, &err), 0);
	assert_false(gone); // a:2 leads to it
	assert_int_equal(fl_image_store_remove(&f->store, "docker.io/library/a:2", &gone, &err), -EBUSY);
	assert_string_equal(err.text, "image docker.io/library/a:2 is used by a container");
	expect_only(f, 2, true);
	unlink(lower);
	assert_int_equal(fl_image_store_remove(&f->store, "a:2", &gone, &err), 0);
	assert_true(gone);
	expect_only(f, 1, true);
	assert_int_equal(count_entries(f->store.dir, "blobs/sha256"), blobs); // those of the other stay
	assert_int_equal(fl_image_store_use(&f->store, f->got.id, lower, &err), -ENOENT);
	import_ok(f, a, NULL);
	AUTO_FREE char *prefix = fl_asprintf("%.12s", f->got.id + 7);
	assert_int_equal(fl_image_store_remove(&f->store, prefix, &gone, &err), 0); // with all its names
	expect_only(f, 1, true);
	assert_int_equal(fl_image_store_remove(&f->store, "b:1", &gone, &err), 0);
	expect_only(f, 0, false);
	AUTO_FREE char *names = fl_asprintf("%s/names.json", f->store.dir), *text = NULL;
	assert_int_equal(fl_file_read(names, &text, NULL, NULL), 0);
	assert_string_equal(text, "{}\n");
}

// Three processes bring the same image, a fourth sweeps and a fifth removes; every one of them ends well, and the store
// is whole.
static void many_at_once(void **state)
{
	struct image_fixture *f = *state;
	AUTO_FREE char *a = make_image(f, "a.tar", "name=a:1 text=a fill=1000000"),
		       *b = make_image(f, "b.tar", "name=b:1 text=b fill=1000000");
	pid_t pids[4] = {in_child(f, a), in_child(f, a), in_child(f, b), fork()};
	struct fl_image_entry *list = NULL;
	struct fl_arena arena = {0};
	size_t n = 0;
	int status;

	if (pids[3] == 0) {
		bool gone;

		for (int i = 0; i < 200; i++) {
			if (fl_image_store_sweep(&f->store, NULL, NULL) < 0)
				_exit(1);
			if (fl_image_store_remove(&f->store, "a:1", &gone, NULL) < 0)
				wait_a_little();
		}
		_exit(0);
	}
	for (size_t i = 0; i < FL_COUNT(pids); i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(fl_image_store_list(&f->store, &arena, &list, &n, NULL), 0);
	assert_in_range(n, 1, 2);
	assert_string_equal(list[n - 1].tags[0], "docker.io/library/b:1");
	expect_only(f, (unsigned)n, true);
	fl_arena_deinit(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(killed_at_any_moment, image_setup, image_teardown),
	    cmocka_unit_test_setup_teardown(an_image_without_name_is_a_leftover, image_setup, image_teardown),
	    cmocka_unit_test_setup_teardown(what_was_not_synced_does_not_outlive_the_boot, image_setup, image_teardown),
	    cmocka_unit_test_setup_teardown(removal, image_setup, image_teardown),
	    cmocka_unit_test_setup_teardown(only_damaged_blobs_are_dropped, image_setup, image_teardown),
	    cmocka_unit_test_setup_teardown(many_at_once, image_setup, image_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
