// SPDX-License-Identifier: Apache-2.0
// What a stranger may have put into a tree that is to be removed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

#define LEVELS 5000

static char dir[] = "/tmp/fl-file.XXXXXX";

static int begin(void **state)
{
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int end(void **state)
{
	return fl_file_remove_all(dir, NULL);
}

static void put(int at, const char *name)
{
	AUTO_CLOSE int fd = openat(at, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
}

// LEVELS directories in each other below dir/name, with a file and an empty directory beside each.
static void nest(const char *name)
{
	int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (int i = 0; i < LEVELS; i++) {
		const char *next = i ? "d" : name;
		int below;

		put(at, "file");
		assert_true(mkdirat(at, "empty", 0700) == 0 || i <= 1);
		assert_int_equal(mkdirat(at, next, 0700), 0);
		below = openat(at, next, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(below >= 0);
		close(at);
		at = below;
	}
	close(at);
}

static void a_tree_deeper_than_descriptors_reach_is_removed(void **state)
{
	struct rlimit before, few;
	struct fl_err err = {0};
	AUTO_FREE char *taken = fl_asprintf("%s/..deep0", dir), *below = fl_asprintf("%s/..deep0/x", dir),
		       *file = fl_asprintf("%s/..deep1", dir);

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = (struct rlimit){.rlim_cur = 256, .rlim_max = before.rlim_max};
	nest("one");
	nest("two");
	assert_int_equal(mkdir(taken, 0700), 0); // names that the removal would like to use
	assert_int_equal(mkdir(below, 0700), 0);
	put(AT_FDCWD, file);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	int rc = fl_file_remove_all(dir, &err);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_string_equal(err.text, "");
	assert_int_equal(rc, 0);
	assert_int_equal(access(dir, F_OK), -1);
}

static void a_link_is_removed_and_not_followed(void **state)
{
	AUTO_FREE char *tree = fl_asprintf("%s/tree", dir), *link = fl_asprintf("%s/tree/link", dir),
		       *kept = fl_asprintf("%s/kept", dir), *file = fl_asprintf("%s/kept/file", dir);

	assert_int_equal(fl_file_mkdirs(tree, 0700, NULL), 0);
	assert_int_equal(fl_file_mkdirs(kept, 0700, NULL), 0);
	put(AT_FDCWD, file);
	assert_int_equal(symlink(kept, link), 0);
	assert_int_equal(fl_file_remove_all(tree, NULL), 0);
	assert_int_equal(symlink(kept, link), -1); // its folder is gone
	assert_int_equal(symlink(kept, tree), 0);
	assert_int_equal(fl_file_remove_all(tree, NULL), 0);
	assert_int_equal(access(tree, F_OK), -1);
	assert_int_equal(access(file, F_OK), 0);
	assert_int_equal(fl_file_remove_all(tree, NULL), 0); // nothing there
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_tree_deeper_than_descriptors_reach_is_removed, begin, end),
	    cmocka_unit_test_setup_teardown(a_link_is_removed_and_not_followed, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
