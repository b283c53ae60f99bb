// SPDX-License-Identifier: Apache-2.0
// The choice of the OCI runtime, with scripts in the place of crun.
#include "pods_harness.h"

static char *dir;
static struct fl_node_paths paths;
static char *rootfs;

static void install(const char *name, const char *script)
{
	AUTO_FREE char *path = fl_asprintf("%s/path/%s", dir, name);

	assert_int_equal(fl_file_write(path, script, strlen(script), 0755, NULL), 0);
}

static void expect_choice(const char *wanted, const char *name)
{
	struct fl_runtime r = {0};
	struct fl_err err = {0};

	if (fl_runtime_find(&paths, wanted, rootfs, &r, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(r.name, name);
	fl_runtime_deinit(&r);
}

static void forget(void)
{
	AUTO_FREE char *file = fl_asprintf("%s/runtime.choice", paths.run);

	assert_int_equal(fl_file_remove_all(file, NULL), 0);
}

static void crun_is_taken_where_it_works(void **state)
{
	struct fl_runtime r = {0};
	struct fl_err err = {0};

	expect_choice(NULL, "runc");
	forget();
	install("crun", "#!/bin/sh\necho 'setrlimit: Operation not permitted' >&2\nexit 1\n");
	expect_choice("", "runc");
	install("crun", "#!/bin/sh\n[ \"$1\" = --version ] && { echo 'crun version 9.8'; exit; }\nexec runc \"$@\"\n");
	expect_choice(NULL, "runc"); // asked once for each boot
	forget();
	assert_int_equal(fl_runtime_find(&paths, NULL, rootfs, &r, &err), 0);
	assert_string_equal(r.name, "crun");
	assert_string_equal(r.version, "crun://9.8");
	fl_runtime_deinit(&r);
	expect_choice("runc", "runc"); // another wish, another answer
	assert_int_equal(fl_runtime_find(&paths, "nosuch", rootfs, &r, &err), -ENOENT);
	assert_string_equal(err.text, "OCI runtime nosuch is not installed");
	AUTO_FREE char *left =
	    run_shell("ls %s; find /sys/fs/cgroup -name 'fairlead-%s' | wc -l", paths.run, paths.tag);
	assert_non_null(strstr(left, "runtime.choice"));
	assert_null(strstr(left, "trial"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(crun_is_taken_where_it_works)};
	struct fl_err err = {0};

	if (geteuid() != 0) {
		printf("SKIP: needs root\n");
		return 77;
	}
	dir = fl_asprintf("/tmp/fairlead-runtime-test-%d", (int)getpid());
	AUTO_FREE char *bin = fl_asprintf("%s/path", dir), *path = fl_asprintf("%s:%s", bin, getenv("PATH"));

	if (fl_node_paths_init(&paths, dir, true, &err) < 0 || fl_file_mkdirs(bin, 0755, &err) < 0)
		return 1;
	setenv("PATH", path, 1);
	if (fl_image_embedded(&paths, &rootfs, &err) < 0)
		return 1;
	int rc = cmocka_run_group_tests(tests, NULL, NULL);

	if (fl_node_cleanup(&(struct fl_node_opts){.data_dir = dir}, &err) < 0 || fl_file_remove_all(dir, &err) < 0)
		rc = 1;
	free(rootfs);
	fl_node_paths_deinit(&paths);
	free(dir);
	return rc;
}
