// SPDX-License-Identifier: Apache-2.0
// What pods ask of images, without a registry: names, policies, the embedded image.
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "node/embed.h"
#include "node/image.h"

struct answer {
	int calls, rc;
	const struct fl_image *image;
	char reason[64], message[512];
};

struct fixture {
	char *dir;
	struct fl_node_paths paths;
	uv_loop_t loop;
	struct fl_images *images;
	struct answer a;
};

static void on_image(void *arg, const struct fl_image_result *r)
{
	struct answer *a = arg;

	*a = (struct answer){.calls = a->calls + 1, .rc = r->rc, .image = r->image};
	snprintf(a->reason, sizeof(a->reason), "%s", r->reason ? r->reason : "");
	snprintf(a->message, sizeof(a->message), "%s", r->message ? r->message : "");
}

static void ask(struct fixture *f, const char *ref, const char *policy)
{
	struct fl_image_request r = {.ref = ref, .policy = policy, .done = on_image, .arg = &f->a};

	fl_images_ensure(f->images, &r);
}

static int setup(void **state)
{
	struct fixture *f = FL_NEW(struct fixture);

	*state = f;
	f->dir = fl_asprintf("/tmp/fairlead-image-test-%d", (int)getpid());
	assert_int_equal(fl_node_paths_init(&f->paths, f->dir, true, NULL), 0);
	assert_int_equal(uv_loop_init(&f->loop), 0);
	f->images = fl_images_new(&(struct fl_images_opts){.loop = &f->loop, .paths = &f->paths});
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fl_images_free(&f->images);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	fl_node_paths_deinit(&f->paths);
	assert_int_equal(fl_file_remove_all(f->dir, NULL), 0);
	free(f->dir);
	free(f);
	return 0;
}

static void the_embedded_image_is_there(void **state)
{
	static const char *const names[] = {"fairlead/echo", "fairlead/echo:1", "docker.io/fairlead/echo:latest"};
	struct fixture *f = *state;
	struct fl_err err = {0};
	struct stat st;

	for (size_t i = 0; i < FL_COUNT(names); i++) {
		ask(f, names[i], i ? "IfNotPresent" : "Never");
		assert_int_equal(f->a.calls, i + 1);
		assert_int_equal(f->a.rc, 0);
		assert_true(fl_images_has(f->images, names[i]));
	}
	assert_string_equal(f->a.image->entrypoint[0], "/bin/fairlead-echo");
	assert_int_equal(strncmp(f->a.image->id, "sha256:", 7), 0);
	assert_int_equal(strlen(f->a.image->id), 7 + 64);
	assert_string_equal(f->a.image->ref, f->a.image->id);
	assert_int_equal(f->a.image->stop_signal, SIGTERM);
	AUTO_FREE char *program = fl_asprintf("%s/bin/fairlead-echo", f->a.image->rootfs), *data = NULL;
	size_t len;
	struct fl_embedded echo = fl_embedded_echo();
	assert_int_equal(fl_file_read(program, &data, &len, &err), 0);
	assert_int_equal(len, echo.len);
	assert_memory_equal(data, echo.data, len);
	assert_int_equal(stat(program, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0755);
	assert_int_equal(stat(f->paths.images, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700); // device files and set-user-id programs of images are nobody's
}

static void what_is_no_name_is_told(void **state)
{
	static const char *const names[] = {"no spaces", "", "fairlead/echo@sha256:00", "a:b:c", "Nginx"};
	struct fixture *f = *state;

	for (size_t i = 0; i < FL_COUNT(names); i++) {
		AUTO_FREE char *start = fl_asprintf("Failed to apply default image tag \"%s\": couldn't parse image "
						    "name \"%s\": invalid reference format",
						    names[i], names[i]);

		ask(f, names[i], "Always");
		assert_int_equal(f->a.rc, -EINVAL);
		assert_string_equal(f->a.reason, "InvalidImageName");
		assert_int_equal(strncmp(f->a.message, start, strlen(start)), 0);
	}
}

static void never_means_never(void **state)
{
	static const char *const names[] = {"nginx", "fairlead/echoes", "quay.io/fairlead/echo", "fairlead/echo/x:1"};
	struct fixture *f = *state;

	for (size_t i = 0; i < FL_COUNT(names); i++) {
		AUTO_FREE char *text =
		    fl_asprintf("Container image \"%s\" is not present with pull policy of Never", names[i]);

		ask(f, names[i], "Never");
		assert_int_equal(f->a.rc, -ENOENT);
		assert_string_equal(f->a.reason, "ErrImageNeverPull");
		assert_string_equal(f->a.message, text);
		assert_false(fl_images_has(f->images, names[i]));
	}
}

// A pull that is under way when the node ends is answered, too.
static void a_pull_ends_with_its_owner(void **state)
{
	struct fixture *f = *state;
	int calls = f->a.calls;

	for (int i = 0; i < 6; i++) { // more than run at once
		AUTO_FREE char *name = fl_asprintf("127.0.0.1:1/nobody/%d", i / 2);

		ask(f, name, "IfNotPresent");
	}
	assert_int_equal(f->a.calls, calls);
	fl_images_free(&f->images);
	assert_int_equal(f->a.calls, calls + 6);
	assert_int_equal(f->a.rc, -ECANCELED);
	assert_string_equal(f->a.reason, "ErrImagePull");
	AUTO_FREE char *tmp = fl_asprintf("%s/tmp", f->paths.images);
	assert_int_equal(rmdir(tmp), 0); // nothing in it
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(the_embedded_image_is_there, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_no_name_is_told, setup, teardown),
	    cmocka_unit_test_setup_teardown(never_means_never, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_pull_ends_with_its_owner, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
