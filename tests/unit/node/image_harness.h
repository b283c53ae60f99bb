// SPDX-License-Identifier: Apache-2.0
// A store under /tmp named after the pid, images made by tests/images/make_image.py, and fetches run to their end.
#pragma once

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "node/image.h"
#include "node/image/fetch.h"

struct fetched {
	int rc;
	bool done, present;
	char id[80], names[1024], message[1024];
};

struct image_fixture {
	char *dir; // data directory; archives are beside it in `work`
	char *work;
	struct fl_node_paths paths;
	struct fl_image_store store;
	uint64_t max_bytes;
	struct fetched got;
};

static inline int run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static inline int run(const char *fmt, ...)
{
	struct fl_buf b = {0};
	va_list ap;
	int rc;

	va_start(ap, fmt);
	fl_buf_vprintf(&b, fmt, ap);
	va_end(ap);
	rc = system(b.data);
	fl_buf_deinit(&b);
	return WIFEXITED(rc) ? WEXITSTATUS(rc) : -1;
}

// `args`: KEY=VALUE words. The archive is <work>/<name>; a directory when it does not end in .tar.
static inline char *make_image(struct image_fixture *f, const char *name, const char *args)
{
	char *path = fl_asprintf("%s/%s", f->work, name);

	if (run("python3 tests/images/make_image.py %s mark=%d %s", path, (int)getpid(), args) != 0)
		fail_msg("make_image.py %s %s", name, args);
	return path;
}

static inline void on_fetched(void *arg, int rc, const struct fl_image_fetched *r, const char *message)
{
	struct fetched *g = arg;

	*g = (struct fetched){.rc = rc, .done = true, .present = r && r->present};
	snprintf(g->id, sizeof(g->id), "%s", r && r->id ? r->id : "");
	snprintf(g->names, sizeof(g->names), "%s", r ? r->names : "");
	snprintf(g->message, sizeof(g->message), "%s", message);
}

static inline int fetch(struct image_fixture *f, const struct fl_image_fetch_opts *base)
{
	struct fl_image_fetch_opts o = *base;
	uv_loop_t loop;

	assert_int_equal(uv_loop_init(&loop), 0);
	o.loop = &loop;
	o.store = &f->store;
	o.max_bytes = f->max_bytes;
	o.done = on_fetched;
	o.arg = &f->got;
	f->got = (struct fetched){0};
	fl_image_fetch_start(&o);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	assert_true(f->got.done);
	return f->got.rc;
}

static inline int import(struct image_fixture *f, const char *file, const char *name)
{
	return fetch(f, &(struct fl_image_fetch_opts){.file = file, .name = name});
}

static inline void import_ok(struct image_fixture *f, const char *file, const char *name)
{
	if (import(f, file, name) != 0)
		fail_msg("import %s: %s", file, f->got.message);
}

static inline unsigned count_entries(const char *dir, const char *below)
{
	AUTO_FREE char *path = fl_asprintf("%s/%s", dir, below);
	DIR *d = opendir(path);
	unsigned n = 0;

	if (!d)
		return 0;
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

// Nothing but names.json, lock, tmp/, blobs/sha256/, and `images` images.
static inline void expect_only(struct image_fixture *f, unsigned images, bool blobs)
{
	AUTO_FREE char *names = fl_asprintf("%s/names.json", f->store.dir);
	unsigned fixed = access(names, F_OK) == 0 ? 4 : 3;

	assert_int_equal(count_entries(f->store.dir, "tmp"), 0);
	assert_int_equal(count_entries(f->store.dir, ""), fixed + images);
	if (!blobs)
		assert_int_equal(count_entries(f->store.dir, "blobs/sha256"), 0);
}

// Path of a file in the image that came last; free()
static inline char *in_image(struct image_fixture *f, const char *file)
{
	AUTO_FREE char *below = fl_asprintf("rootfs/%s", file);

	return fl_image_store_path(&f->store, f->got.id, below);
}

static inline char *text_in_image(struct image_fixture *f, const char *file)
{
	AUTO_FREE char *path = in_image(f, file);
	char *text = NULL;

	return fl_file_read(path, &text, NULL, NULL) == 0 ? text : NULL;
}

static inline int image_setup(void **state)
{
	struct image_fixture *f = FL_NEW(struct image_fixture);

	*state = f;
	f->work = fl_asprintf("/tmp/fairlead-images-test-%d", (int)getpid());
	f->dir = fl_asprintf("%s/data", f->work);
	assert_int_equal(fl_node_paths_init(&f->paths, f->dir, true, NULL), 0);
	assert_int_equal(fl_image_store_open(&f->paths, &f->store, NULL), 0);
	return 0;
}

static inline int image_teardown(void **state)
{
	struct image_fixture *f = *state;
	AUTO_FREE char *escaped = fl_asprintf("/tmp/fairlead-escaped-%d", (int)getpid());
	bool out = access(escaped, F_OK) == 0;

	unlink(escaped);
	fl_node_paths_deinit(&f->paths);
	if (fl_file_remove_all(f->work, NULL) < 0)
		return -1;
	free(f->dir);
	free(f->work);
	free(f);
	return out ? -1 : 0; // an image wrote outside of its tree
}
