// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
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
	char message[256];
};

static void on_image(void *arg, int rc, const struct fl_image *image, const char *message)
{
	struct answer *a = arg;

	*a = (struct answer){.calls = a->calls + 1, .rc = rc, .image = image};
	snprintf(a->message, sizeof(a->message), "%s", message ? message : "");
}

static void the_embedded_image_is_there(void **state)
{
	static const char *const names[] = {"fairlead/echo", "fairlead/echo:1", "docker.io/fairlead/echo:latest",
					    "fairlead/echo@sha256:00"};
	AUTO_FREE char *dir = fl_asprintf("/tmp/fairlead-image-test-%d", (int)getpid());
	struct fl_node_paths paths;
	struct fl_images *images;
	struct answer a = {0};
	struct fl_err err = {0};
	struct stat st;

	assert_int_equal(fl_node_paths_init(&paths, dir, true, &err), 0);
	images = fl_images_new(&paths);
	for (size_t i = 0; i < FL_COUNT(names); i++) {
		fl_images_ensure(images, names[i], "IfNotPresent", on_image, &a);
		assert_int_equal(a.calls, i + 1);
		assert_int_equal(a.rc, 0);
	}
	assert_string_equal(a.image->entrypoint[0], "/bin/fairlead-echo");
	assert_int_equal(strncmp(a.image->id, "sha256:", 7), 0);
	assert_int_equal(strlen(a.image->id), 7 + 64);
	AUTO_FREE char *program = fl_asprintf("%s/bin/fairlead-echo", a.image->rootfs), *data = NULL;
	size_t len;
	struct fl_embedded echo = fl_embedded_echo();
	assert_int_equal(fl_file_read(program, &data, &len, &err), 0);
	assert_int_equal(len, echo.len);
	assert_memory_equal(data, echo.data, len);
	assert_int_equal(stat(program, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0755);

	static const char *const others[] = {"nginx", "fairlead/echoes", "quay.io/fairlead/echo", "fairlead/echo/x:1"};
	for (size_t i = 0; i < FL_COUNT(others); i++) {
		fl_images_ensure(images, others[i], "Always", on_image, &a);
		assert_int_equal(a.rc, -ENOENT);
		assert_non_null(strstr(a.message, others[i]));
	}
	fl_images_ensure(images, "no spaces", "Always", on_image, &a);
	assert_int_equal(a.rc, -EINVAL);
	fl_images_ensure(images, "", "Always", on_image, &a);
	assert_int_equal(a.rc, -EINVAL);
	fl_images_free(&images);
	fl_node_paths_deinit(&paths);
	assert_int_equal(fl_file_remove_all(dir, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(the_embedded_image_is_there)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
