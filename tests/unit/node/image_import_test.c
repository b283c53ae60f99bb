// SPDX-License-Identifier: Apache-2.0
// Archives and layouts, whole and broken. Needs root (owners, devices), python3, skopeo, umoci.
#include "image_harness.h"

#include <sys/sysmacros.h>

static void layers_become_one_tree(void **state)
{
	struct image_fixture *f = *state;
	AUTO_FREE char *file = make_image(f, "a.tar", "name=test/web:1 text=hello");
	struct stat st, hard;

	import_ok(f, file, NULL);
	assert_string_equal(f->got.names, "docker.io/test/web:1");
	AUTO_FREE char *version = text_in_image(f, "etc/version"), *kept = in_image(f, "srv/kept"),
		       *link = in_image(f, "srv/hard"), *tmp = in_image(f, "tmp");
	assert_string_equal(version, "hello\n"); // of the last layer
	assert_int_equal(lstat(kept, &st), 0);
	assert_int_equal(st.st_uid, 1000);
	assert_int_equal(st.st_gid, 1001);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(lstat(link, &hard), 0);
	assert_int_equal(hard.st_ino, st.st_ino);
	assert_int_equal(lstat(tmp, &st), 0);
	assert_int_equal(st.st_mode & 07777, 01777);
	static const char *const gone[] = {"srv/deleted", "srv/.wh.deleted", "old/gone", "old/sub", "old/.wh..wh..opq"};
	for (size_t i = 0; i < FL_COUNT(gone); i++) {
		AUTO_FREE char *path = in_image(f, gone[i]);

		assert_int_equal(lstat(path, &st), -1);
	}
	AUTO_FREE char *fresh = text_in_image(f, "old/new");
	assert_string_equal(fresh, "new\n");
	expect_only(f, 1, true);
}

static void names(void **state)
{
	struct image_fixture *f = *state;
	AUTO_FREE char *tag_only = make_image(f, "tag.tar", "name=latest"), *none = make_image(f, "none", "text=2"),
		       *two = make_image(f, "two.tar", "name=quay.io/a/one:1 name=two:2 text=3"),
		       *bad = make_image(f, "bad", "name=Bad:1");
	char id[72], digest[72];
	struct fl_image_ref ref;

	assert_int_equal(import(f, tag_only, NULL), -EINVAL);
	assert_string_equal(f->got.message, "it does not name its image: give the name with --name");
	assert_int_equal(import(f, bad, NULL), -EINVAL);
	assert_string_equal(f->got.message,
			    "name \"Bad:1\": invalid reference format: repository name (Bad) must be lowercase");
	assert_int_equal(import(f, two, "x"), -EINVAL);
	assert_string_equal(f->got.message, "it holds 2 images: --name can name only one");
	expect_only(f, 0, false);
	import_ok(f, none, "nginx"); // a directory, without a name of its own
	assert_string_equal(f->got.names, "docker.io/library/nginx:latest");
	import_ok(f, tag_only, "user/img:v1");
	import_ok(f, two, NULL);
	assert_string_equal(f->got.names, "quay.io/a/one:1\ndocker.io/library/two:2");
	static const char *const known[] = {"nginx",       "docker.io/nginx", "docker.io/library/nginx:latest",
					    "user/img:v1", "quay.io/a/one:1", "two:2"};
	for (size_t i = 0; i < FL_COUNT(known); i++) {
		assert_int_equal(fl_image_ref_parse(known[i], &ref, NULL), 0);
		assert_int_equal(fl_image_store_find(&f->store, &ref, id, digest, NULL), 0);
		// Its digest is a name, too.
		ref.tag[0] = '\0';
		snprintf(ref.digest, sizeof(ref.digest), "%s", digest);
		assert_int_equal(fl_image_store_find(&f->store, &ref, id, digest, NULL), 0);
	}
	expect_only(f, 3, true);
}

static void docker_save(void **state)
{
	struct image_fixture *f = *state;
	AUTO_FREE char *layout = make_image(f, "l", "text=saved"), *plain = fl_asprintf("%s/saved.tar", f->work),
		       *packed = fl_asprintf("%s/saved.tgz", f->work);

	assert_int_equal(run("skopeo copy -q --insecure-policy oci:%s docker-archive:%s:me/saved:7", layout, plain), 0);
	assert_int_equal(run("gzip -c %s >%s", plain, packed), 0);
	import_ok(f, plain, NULL);
	assert_string_equal(f->got.names, "docker.io/me/saved:7");
	AUTO_FREE char *version = text_in_image(f, "etc/version");
	assert_string_equal(version, "saved\n");
	import_ok(f, packed, "other");
	expect_only(f, 1, true); // the same image under two names
}

static void zstd_layers(void **state)
{
	struct image_fixture *f = *state;
	AUTO_FREE char *layout = make_image(f, "l", "text=zstd"), *packed = fl_asprintf("%s/packed", f->work);
	struct stat st;

	assert_int_equal(
	    run("skopeo copy -q --insecure-policy --dest-compress-format zstd oci:%s oci:%s:1", layout, packed), 0);
	assert_int_equal(run("grep -q image.layer.v1.tar+zstd %s/blobs/sha256/*", packed), 0);
	import_ok(f, packed, "packed");
	AUTO_FREE char *version = text_in_image(f, "etc/version"), *kept = in_image(f, "srv/kept");
	assert_string_equal(version, "zstd\n");
	assert_int_equal(lstat(kept, &st), 0);
	assert_int_equal(st.st_uid, 1000);
	import_ok(f, layout, "plain"); // the same image, which its configuration names
	expect_only(f, 1, true);
}

// Each way in which a file can be broken: told, and nothing is left of it.
static void broken(void **state)
{
	static const struct {
		const char *args;
		int rc;
		const char *text;
	} cases[] = {
	    {"fault=truncated", -EINVAL, "Unexpected EOF in archive"},
	    {"fault=empty", -EINVAL, "it holds no image"},
	    {"fault=digest", -EIO, "Digest did not match, expected sha256:"},
	    {"fault=size", -EIO, "size mismatch"},
	    {"fault=config", -EIO, "reading config blob sha256:"},
	    {"fault=nolayer", -EIO, "no such file or directory"},
	    {"fault=garbage", -EIO, "unpack: create rootfs: unpack layer"},
	    {"fault=badjson", -EINVAL, "configuration of the image is broken"},
	    {"fault=hardlink", -EIO, "unpack entry: etc/stolen"},
	    {"fault=rootlink", -EIO, "refusing to change type of root directory"},
	    {"arch=s390x", -EINVAL, "the image is for linux/s390x, this node is linux/"},
	};
	struct image_fixture *f = *state;

	for (size_t i = 0; i < FL_COUNT(cases); i++) {
		AUTO_FREE char *args = fl_asprintf("name=bad:1 %s", cases[i].args),
			       *file = make_image(f, "b.tar", args);

		if (import(f, file, NULL) != cases[i].rc || !strstr(f->got.message, cases[i].text))
			fail_msg("%s: %d %s", cases[i].args, f->got.rc, f->got.message);
		expect_only(f, 0, false);
	}
}

static void what_is_no_image(void **state)
{
	struct image_fixture *f = *state;
	AUTO_FREE char *text = fl_asprintf("%s/text", f->work), *tar = fl_asprintf("%s/other.tar", f->work),
		       *missing = fl_asprintf("%s/missing", f->work);

	assert_int_equal(run("echo hello >%s && tar -C %s -cf %s text", text, f->work, tar), 0);
	assert_int_equal(import(f, text, "x"), -EINVAL);
	assert_non_null(strstr(f->got.message, "it is no image archive"));
	assert_non_null(strstr(f->got.message, "does not look like a tar archive"));
	assert_int_equal(import(f, tar, "x"), -EINVAL);
	assert_string_equal(f->got.message,
			    "it is no image archive: it has neither index.json (OCI) nor manifest.json (docker save)");
	assert_int_equal(import(f, missing, "x"), -ENOENT);
	assert_string_equal(f->got.message, "No such file or directory");
	assert_int_equal(import(f, "/dev/null", "x"), -EINVAL);
	assert_int_equal(import(f, f->work, "x"), -EINVAL); // a directory that is no layout
	expect_only(f, 0, false);
}

// Entries that lead out of the tree stay in it; the teardown looks whether something came out.
static void nothing_leaves_the_tree(void **state)
{
	struct image_fixture *f = *state;
	AUTO_FREE char *traversal = make_image(f, "t.tar", "name=t:1 fault=traversal");
	AUTO_FREE char *host = fl_asprintf("%s/host", f->work),
		       *args = fl_asprintf("name=s:1 fault=symlink target=%s", host);
	AUTO_FREE char *links = make_image(f, "s.tar", args),
		       *in = fl_asprintf("tmp/fairlead-escaped-%d", (int)getpid());

	assert_int_equal(fl_file_write(host, "root:x:0:0::/:\n", 15, 0644, NULL), 0);
	import_ok(f, traversal, NULL);
	AUTO_FREE char *kept = text_in_image(f, in);
	assert_string_equal(kept, "out\n");
	import_ok(f, links, NULL);
	AUTO_FREE char *kept_too = text_in_image(f, in), *rootfs = in_image(f, "");
	assert_string_equal(kept_too, "out\n");
	// The image's /etc/passwd is a link to a file of the host: it means one in the image, and there is none.
	struct fl_image image = {.rootfs = rootfs};
	assert_null(fl_image_read_file(&image, "etc/passwd"));
	AUTO_FREE char *group = fl_image_read_file(&image, "etc/group");
	assert_non_null(strstr(group, "logs:x:2000:web"));
	assert_null(fl_image_read_file(&image, "etc"));
	assert_null(fl_image_read_file(&image, "../../../../../../etc/hostname"));
}

// They are unpacked, as with other runtimes; the directory above is root's alone, and a container's device cgroup
// forbids them.
static void devices_are_nobodys(void **state)
{
	struct image_fixture *f = *state;
	AUTO_FREE char *file = make_image(f, "d.tar", "name=d:1 fault=devices");
	struct stat st;

	import_ok(f, file, NULL);
	AUTO_FREE char *disk = in_image(f, "srv/disk"), *fifo = in_image(f, "srv/fifo"), *rootfs = in_image(f, "");
	assert_int_equal(lstat(disk, &st), 0);
	assert_true(S_ISBLK(st.st_mode) && st.st_rdev == makedev(254, 0));
	assert_int_equal(lstat(fifo, &st), 0);
	struct fl_image image = {.rootfs = rootfs};
	assert_null(fl_image_read_file(&image, "srv/fifo")); // and does not wait for a writer
	assert_int_equal(stat(f->store.dir, &st), 0);
	assert_int_equal(st.st_mode & 077, 0);
}

static void a_bomb_is_stopped(void **state)
{
	struct image_fixture *f = *state;
	AUTO_FREE char *bomb = make_image(f, "bomb.tar", "name=bomb:1 zeros=300000000"),
		       *large = make_image(f, "large.tar", "name=large:1 fill=8000000");

	f->max_bytes = 40000000;
	assert_int_equal(import(f, bomb, NULL), -EFBIG);
	assert_string_equal(f->got.message, "unpack: umoci wrote more than the 40000000 bytes that an image may have");
	expect_only(f, 0, false);
	f->max_bytes = 6000000;
	assert_int_equal(import(f, large, NULL), -EFBIG);
	expect_only(f, 0, false);
	f->max_bytes = 40000000;
	import_ok(f, large, NULL);
}

static void missing_programs_are_named(void **state)
{
	struct image_fixture *f = *state;
	AUTO_FREE char *file = make_image(f, "a.tar", "name=a:1"), *path = fl_strdup(getenv("PATH")),
		       *bin = fl_asprintf("%s/bin", f->work);
	struct fl_image_ref ref;

	assert_int_equal(fl_image_ref_parse("127.0.0.1:1/x", &ref, NULL), 0);
	assert_int_equal(run("mkdir %s && ln -s $(command -v tar) $(command -v setpriv) %s/", bin, bin), 0);
	setenv("PATH", bin, 1);
	assert_int_equal(import(f, file, NULL), -ENOENT);
	assert_string_equal(f->got.message,
			    "skopeo is not installed: install the package skopeo (Debian: apt-get install skopeo)");
	assert_int_equal(fetch(f, &(struct fl_image_fetch_opts){.ref = &ref}), -ENOENT);
	assert_non_null(strstr(f->got.message, "skopeo is not installed"));
	setenv("PATH", path, 1);
	assert_int_equal(run("ln -s $(command -v skopeo) %s/", bin), 0);
	setenv("PATH", bin, 1);
	assert_int_equal(import(f, file, NULL), -ENOENT);
	assert_non_null(strstr(f->got.message, "umoci is not installed: install the package umoci"));
	setenv("PATH", path, 1);
	expect_only(f, 0, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(layers_become_one_tree, image_setup, image_teardown),
	    cmocka_unit_test_setup_teardown(names, image_setup, image_teardown),
	    cmocka_unit_test_setup_teardown(docker_save, image_setup, image_teardown),
	    cmocka_unit_test_setup_teardown(zstd_layers, image_setup, image_teardown),
	    cmocka_unit_test_setup_teardown(broken, image_setup, image_teardown),
	    cmocka_unit_test_setup_teardown(what_is_no_image, image_setup, image_teardown),
	    cmocka_unit_test_setup_teardown(nothing_leaves_the_tree, image_setup, image_teardown),
	    cmocka_unit_test_setup_teardown(devices_are_nobodys, image_setup, image_teardown),
	    cmocka_unit_test_setup_teardown(a_bomb_is_stopped, image_setup, image_teardown),
	    cmocka_unit_test_setup_teardown(missing_programs_are_named, image_setup, image_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
