// SPDX-License-Identifier: Apache-2.0
// What a file holds: an OCI layout (a directory, or an archive of one), or what `docker save` writes. An archive is
// opened by tar in the stage, and each image of it is put before skopeo as a layout of its own, so that names that
// stand twice in it mean what they say.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "node/image/fetch_internal.h"

#define IMAGES_MAX 1000

static const char layout_file[] = "{\"imageLayoutVersion\":\"1.0.0\"}";

static char *in_stage(const struct fl_image_fetch *f, const char *name)
{
	return fl_asprintf("%s/%s", f->stage.dir, name);
}

// A regular file, not one that a link in the archive leads to.
static bool is_file(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static int read_json(struct fl_image_fetch *f, const char *path, struct fl_json **ret)
{
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int rc;

	if (!is_file(path))
		return fl_err_set(&f->err, -EINVAL, "%s is no file", strrchr(path, '/') + 1);
	rc = fl_file_read(path, &text, &len, &f->err);
	if (rc == 0)
		rc = fl_json_parse(&f->arena, text, len, NULL, ret, &f->err);
	return rc < 0 ? fl_err_prefix(&f->err, "%s", strrchr(path, '/') + 1) : 0;
}

// --- names ---

static int add_name(struct fl_image_fetch *f, struct fl_image_source *s, const char *text)
{
	struct fl_image_ref ref;
	int rc = fl_image_ref_parse(text, &ref, &f->err);

	if (rc < 0)
		return fl_err_prefix(&f->err, "name \"%.200s\"", text);
	fl_vec_push(&s->refs, ref);
	return 0;
}

// The annotations that tell the name: containerd's and Docker's whole one; the standard one is a name with skopeo, but
// only a tag with others.
static const char *annotated_name(const struct fl_json *descriptor)
{
	const struct fl_json *notes = fl_json_get(descriptor, "annotations");
	const char *name = fl_json_str(notes, "io.containerd.image.name"),
		   *ref = fl_json_str(notes, "org.opencontainers.image.ref.name");

	if (!fl_str_empty(name))
		return name;
	return ref && (strchr(ref, ':') || strchr(ref, '/')) ? ref : NULL;
}

static int nameless(struct fl_image_fetch *f, size_t n)
{
	return fl_err_set(&f->err, -EINVAL,
			  n > 1 ? "it holds %zu images, and one of them without a name"
				: "it does not name its image: give the name with --name",
			  n);
}

static int check_count(struct fl_image_fetch *f, size_t n)
{
	if (n == 0)
		return fl_err_set(&f->err, -EINVAL, "it holds no image");
	if (n > IMAGES_MAX)
		return fl_err_set(&f->err, -EINVAL, "it holds %zu images, more than %d", n, IMAGES_MAX);
	if (n > 1 && f->name)
		return fl_err_set(&f->err, -EINVAL, "it holds %zu images: --name can name only one", n);
	return 0;
}

// --- OCI ---

// stage/s<i>: a layout that holds the one descriptor, with the blobs of `src`.
static int make_source(struct fl_image_fetch *f, size_t i, const struct fl_json *descriptor)
{
	AUTO_FREE char *dir = fl_asprintf("%s/s%zu", f->stage.dir, i), *index = fl_asprintf("%s/index.json", dir),
		       *layout = fl_asprintf("%s/oci-layout", dir), *blobs = fl_asprintf("%s/blobs", dir);
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct fl_json *doc = fl_json_new(&f->arena, FL_JSON_OBJECT), *one;
	int rc = fl_file_mkdirs(dir, 0700, &f->err);

	if (rc < 0)
		return rc;
	fl_json_set_int(&f->arena, doc, "schemaVersion", 2);
	one = fl_json_append(fl_json_set_array(&f->arena, doc, "manifests"), fl_json_clone(&f->arena, descriptor));
	fl_json_remove(one, "annotations");
	fl_json_write(&b, doc);
	if (symlink("../src/blobs", blobs) < 0)
		return fl_err_set(&f->err, -errno, "link %s: %s", blobs, strerror(errno));
	rc = fl_node_file_put(index, b.data, b.len, 0600, &f->err);
	return rc < 0 ? rc : fl_node_file_put(layout, layout_file, sizeof(layout_file) - 1, 0600, &f->err);
}

static int read_layout(struct fl_image_fetch *f)
{
	AUTO_FREE char *path = in_stage(f, "src/index.json");
	const struct fl_json *list;
	struct fl_json *index = NULL;
	size_t i = 0, n;
	int rc = read_json(f, path, &index);

	if (rc < 0)
		return rc;
	list = fl_json_get(index, "manifests");
	n = fl_json_count(list);
	rc = check_count(f, n);
	for (const struct fl_json *d = fl_json_index(list, 0); rc == 0 && d; d = d->next, i++) {
		struct fl_image_source s = {.from = fl_arena_printf(&f->arena, "oci:s%zu", i)};
		const char *name = f->name ? f->name : annotated_name(d);

		rc = name ? add_name(f, &s, name) : nameless(f, n);
		if (rc == 0)
			rc = make_source(f, i, d);
		fl_vec_push(&f->sources, s);
	}
	return rc;
}

static void take_layout(struct fl_image_fetch *f)
{
	int rc = read_layout(f);

	if (rc < 0)
		fl_image_fetch_fail(f, rc, f->err.text);
	else
		fl_image_fetch_next_source(f);
}

static void on_extracted(void *arg, int rc, const char *out, size_t out_len, const char *message)
{
	struct fl_image_fetch *f = arg;

	f->tool = NULL;
	if (rc < 0)
		fl_image_fetch_fail(f, rc, message);
	else
		take_layout(f);
}

// --- docker save ---

// Plain tar; else it is packed, which tar sees through, but skopeo's reader of these archives does not (1.9:
// "unexpected EOF").
static bool is_plain(const struct fl_image_fetch *f)
{
	AUTO_FREE char *path = in_stage(f, "archive");
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	char magic[5];

	return fd >= 0 && pread(fd, magic, sizeof(magic), 257) == sizeof(magic) && memcmp(magic, "ustar", 5) == 0;
}

static int read_saved(struct fl_image_fetch *f, const char *archive)
{
	AUTO_FREE char *path = in_stage(f, "meta/manifest.json");
	struct fl_json *list = NULL;
	size_t i = 0;
	int rc = read_json(f, path, &list);

	if (rc == 0)
		rc = check_count(f, fl_json_is(list, FL_JSON_ARRAY) ? fl_json_count(list) : 0);
	for (const struct fl_json *d = fl_json_index(list, 0); rc == 0 && d; d = d->next, i++) {
		struct fl_image_source s = {.from = fl_arena_printf(&f->arena, "docker-archive:%s:@%zu", archive, i)};

		if (f->name)
			rc = add_name(f, &s, f->name);
		const struct fl_json *tags = fl_json_get(d, "RepoTags");

		fl_json_each (tag, tags) {
			if (rc == 0 && !f->name && fl_json_string(tag))
				rc = add_name(f, &s, fl_json_string(tag));
		}
		if (rc == 0 && !s.refs.n)
			rc = nameless(f, fl_json_count(list));
		fl_vec_push(&f->sources, s);
	}
	return rc;
}

static void take_saved(struct fl_image_fetch *f, const char *archive)
{
	int rc = read_saved(f, archive);

	if (rc < 0)
		fl_image_fetch_fail(f, rc, f->err.text);
	else
		fl_image_fetch_next_source(f);
}

static void on_repacked(void *arg, int rc, const char *out, size_t out_len, const char *message)
{
	struct fl_image_fetch *f = arg;

	f->tool = NULL;
	if (rc < 0)
		fl_image_fetch_fail(f, rc, message);
	else
		take_saved(f, "plain");
}

static void on_opened(void *arg, int rc, const char *out, size_t out_len, const char *message)
{
	static const char *const repack[] = {
	    "tar", "--create", "--file", "plain", "--directory", "src", "--transform=s,^\\./,,", ".", NULL};
	struct fl_image_fetch *f = arg;

	f->tool = NULL;
	if (rc < 0)
		fl_image_fetch_fail(f, rc, message);
	else
		fl_image_fetch_run(f, repack, on_repacked);
}

// --- which of them ---

static void extract(struct fl_image_fetch *f, fl_image_step next)
{
	static const char *const argv[] = {"tar",         "--extract", "--file",          "archive",
					   "--directory", "src",       "--no-same-owner", "--no-same-permissions",
					   NULL};
	AUTO_FREE char *src = in_stage(f, "src");
	int rc = fl_file_mkdirs(src, 0700, &f->err);

	if (rc < 0)
		fl_image_fetch_fail(f, rc, f->err.text);
	else
		fl_image_fetch_run(f, argv, next);
}

// tar complains of each name that is not in the archive, so what counts is what came.
static void on_peeked(void *arg, int rc, const char *out, size_t out_len, const char *message)
{
	struct fl_image_fetch *f = arg;
	AUTO_FREE char *index = in_stage(f, "meta/index.json"), *layout = in_stage(f, "meta/oci-layout"),
		       *manifest = in_stage(f, "meta/manifest.json"), *text = NULL;

	f->tool = NULL;
	if (is_file(index) && is_file(layout)) {
		extract(f, on_extracted);
		return;
	}
	if (!is_file(manifest)) {
		bool told = rc < 0 && !strstr(message, "Not found in archive");

		text = fl_asprintf(
		    "it is no image archive: it has neither index.json (OCI) nor manifest.json (docker save)%s%s",
		    told ? ": " : "", told ? message : "");
		fl_image_fetch_fail(f, rc == 0 || rc == -EIO ? -EINVAL : rc, text);
		return;
	}
	if (is_plain(f))
		take_saved(f, "archive");
	else
		extract(f, on_opened);
}

void fl_image_import_begin(struct fl_image_fetch *f)
{
	static const char *const peek[] = {"tar",
					   "--extract",
					   "--file",
					   "archive",
					   "--directory",
					   "meta",
					   "--no-same-owner",
					   "index.json",
					   "./index.json",
					   "oci-layout",
					   "./oci-layout",
					   "manifest.json",
					   "./manifest.json",
					   NULL};
	AUTO_FREE char *link = NULL, *meta = in_stage(f, "meta"), *real = realpath(f->file, NULL);
	struct stat st;
	int rc = 0;

	if (!real || stat(real, &st) < 0 || access(real, R_OK) < 0) {
		rc = fl_err_set(&f->err, -errno, "%s", strerror(errno));
	} else if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)) {
		rc = fl_err_set(&f->err, -EINVAL, "it is neither a file nor a directory");
	} else {
		link = in_stage(f, S_ISDIR(st.st_mode) ? "src" : "archive");
		if (symlink(real, link) < 0)
			rc = fl_err_set(&f->err, -errno, "link %s: %s", link, strerror(errno));
	}
	if (rc == 0)
		rc = fl_file_mkdirs(meta, 0700, &f->err);
	if (rc < 0) {
		fl_image_fetch_fail(f, rc, f->err.text);
		return;
	}
	if (S_ISDIR(st.st_mode))
		take_layout(f);
	else
		fl_image_fetch_run(f, peek, on_peeked);
}
