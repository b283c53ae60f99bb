// SPDX-License-Identifier: Apache-2.0
// What a container may put in the way of who measures its files.
#include "node/usage.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"

#define FILE_BYTES  65536
#define LARGE_BYTES (128 * FILE_BYTES)
#define LEVELS      1000

static char dir[] = "/tmp/fl-usage.XXXXXX";
static atomic_bool go_on, stop = true;

static void put(int at, const char *name)
{
	char bytes[FILE_BYTES];
	AUTO_CLOSE int fd = openat(at, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	memset(bytes, 'x', sizeof(bytes));
	assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	fsync(fd); // or the file system may not have decided on its blocks
}

static void put_large(int at, const char *name)
{
	AUTO_CLOSE int fd = openat(at, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	for (int i = 0; i < LARGE_BYTES / FILE_BYTES; i++) {
		char bytes[FILE_BYTES];

		memset(bytes, 'x', sizeof(bytes));
		assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	}
	fsync(fd);
}

static int begin(void **state)
{
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int end(void **state)
{
	struct fl_err err = {0};

	return fl_file_remove_all(dir, &err);
}

static void only_what_is_below_counts(void **state)
{
	AUTO_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	put(fd, "a");
	uint64_t one = fl_usage_of(dir, UINT64_MAX, &go_on);
	assert_in_range(one, FILE_BYTES, 2 * FILE_BYTES);
	assert_int_equal(linkat(fd, "a", fd, "b", 0), 0);
	assert_int_equal(symlinkat("/", fd, "root"), 0);
	assert_int_equal(symlinkat(".", fd, "loop"), 0);
	assert_int_equal(mkfifoat(fd, "fifo", 0600), 0);
	AUTO_CLOSE int sparse = openat(fd, "sparse", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(sparse, INT64_C(1) << 40), 0);
	assert_int_equal(fl_usage_of(dir, UINT64_MAX, &go_on), one);
	// What is asked for may be a link itself: nothing of where it leads.
	AUTO_FREE char *link = fl_asprintf("%s/root", dir), *none = fl_asprintf("%s/none", dir);
	assert_int_equal(fl_usage_of(link, UINT64_MAX, &go_on), 0);
	assert_int_equal(fl_usage_of(none, UINT64_MAX, &go_on), 0);
}

static void a_tree_deeper_than_any_path_is_walked(void **state)
{
	static const char name[] = "a-directory-whose-name-is-long-enough-that-no-path-leads-to-the-deepest-one";
	int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (int i = 0; i < LEVELS; i++) {
		if (i == LEVELS / 2)
			put_large(at, "half");
		assert_int_equal(mkdirat(at, name, 0700), 0);
		int next = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		if (i % 100 == 0) { // read before the way down, or after it
			assert_int_equal(mkdirat(at, "a", 0700), 0);
			put(at, "z");
		}
		close(at);
		at = next;
	}
	put_large(at, "last");
	close(at);
	struct rlimit before, few;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = (struct rlimit){.rlim_cur = 400, .rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	uint64_t all = fl_usage_of(dir, UINT64_MAX, &go_on);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_in_range(all, 2 * LARGE_BYTES, 3 * LARGE_BYTES); // the directories are less than one of them
	assert_true(fl_usage_of(dir, 0, &go_on) <= all);
}

static void it_ends_when_it_is_told_to(void **state)
{
	AUTO_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	put(fd, "a");
	assert_int_equal(fl_usage_of(dir, UINT64_MAX, &stop), 0);
	assert_true(fl_usage_of(dir, UINT64_MAX, &go_on) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(only_what_is_below_counts, begin, end),
	    cmocka_unit_test_setup_teardown(a_tree_deeper_than_any_path_is_walked, begin, end),
	    cmocka_unit_test_setup_teardown(it_ends_when_it_is_told_to, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
