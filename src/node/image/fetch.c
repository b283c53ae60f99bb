// SPDX-License-Identifier: Apache-2.0
// The steps of a fetch. One program or one job in the thread pool at a time; each step's end starts the next.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "node/image/fetch_internal.h"

#define MANIFEST_MAX (4 * 1024 * 1024) // of skopeo itself, and of registries

// --- end ---

static void on_timer_closed(uv_handle_t *handle)
{
	struct fl_image_fetch *f = FL_CONTAINER_OF(handle, struct fl_image_fetch, timer);

	for (size_t i = 0; i < f->sources.n; i++)
		fl_vec_deinit(&f->sources.v[i].refs);
	fl_vec_deinit(&f->sources);
	fl_buf_deinit(&f->names);
	free(f->file);
	free(f->name);
	free(f->insecure);
	fl_arena_deinit(&f->arena);
	free(f);
}

static void end_work(uv_work_t *work)
{
	struct fl_image_fetch *f = FL_CONTAINER_OF(work, struct fl_image_fetch, work);

	// A blob that does not hold what it should (a damaged disk, a power failure) must be downloaded again.
	if (f->rc == -EIO && f->manifest.blobs)
		fl_image_store_drop_blobs(f->o.store, f->manifest.blobs);
	fl_image_stage_end(&f->stage);
	// Of a download that broke off, the layers that came are of use to the next try.
	if (f->rc < 0 && !f->o.ref && fl_image_store_trim_blobs(f->o.store, NULL) < 0)
		fl_debug("blobs of %s stay until the next removal", f->file);
}

static void end_after(uv_work_t *work, int status)
{
	struct fl_image_fetch *f = FL_CONTAINER_OF(work, struct fl_image_fetch, work);
	struct fl_image_fetched r = {
	    .id = *f->present_id ? f->present_id : f->manifest.id,
	    .names = f->names.data ? f->names.data : "",
	    .size = f->size,
	    .present = *f->present_id,
	};

	if (f->cancelled)
		f->rc = fl_err_set(&f->err, -ECANCELED, "canceled");
	f->o.done(f->o.arg, f->rc, f->rc == 0 ? &r : NULL, f->err.text);
	uv_close((uv_handle_t *)&f->timer, on_timer_closed);
}

static void finish(struct fl_image_fetch *f, int rc)
{
	f->rc = rc;
	uv_queue_work(f->o.loop, &f->work, end_work, end_after);
}

void fl_image_fetch_fail(struct fl_image_fetch *f, int rc, const char *message)
{
	if (message != f->err.text)
		fl_err_set(&f->err, rc, "%s", message);
	finish(f, rc);
}

void fl_image_fetch_cancel(struct fl_image_fetch *f)
{
	f->cancelled = true;
	if (f->tool) {
		fl_image_tool_cancel(&f->tool);
		finish(f, -ECANCELED);
	}
}

void fl_image_fetch_run(struct fl_image_fetch *f, const char *const *argv, fl_image_step next)
{
	struct fl_image_tool_opts o = {
	    .loop = f->o.loop,
	    .argv = argv,
	    .cwd = f->stage.dir,
	    .max_bytes = f->o.max_bytes ? f->o.max_bytes : FL_IMAGE_MAX_BYTES,
	    .max_output = MANIFEST_MAX + 1,
	    .on_exit = next,
	    .arg = f,
	};
	int rc;

	if (f->cancelled) {
		finish(f, -ECANCELED);
		return;
	}
	rc = fl_image_tool_start(&o, &f->tool, &f->err);
	if (rc < 0)
		finish(f, rc);
}

// --- commit ---

static void commit_work(uv_work_t *work)
{
	struct fl_image_fetch *f = FL_CONTAINER_OF(work, struct fl_image_fetch, work);
	struct fl_image_source *s = &f->sources.v[f->source];
	AUTO_FREE char *dir = fl_asprintf("%s/%zu", f->stage.dir, f->source);
	const char *digest = *f->digest ? f->digest : f->manifest.digest;

	f->rc = fl_image_store_commit(f->o.store, dir, &f->manifest, &s->refs.v[0], digest, &f->err);
	for (size_t i = 1; f->rc == 0 && i < s->refs.n; i++)
		f->rc = fl_image_store_name(f->o.store, f->manifest.id, &s->refs.v[i], digest, &f->err);
	// What is in place already, or was not taken, goes now: an archive of many images needs room for one.
	if (f->rc == 0)
		f->rc = fl_file_remove_all(dir, &f->err);
}

static void commit_after(uv_work_t *work, int status)
{
	struct fl_image_fetch *f = FL_CONTAINER_OF(work, struct fl_image_fetch, work);
	struct fl_image_source *s = &f->sources.v[f->source];
	char name[FL_IMAGE_REF_STRLEN];

	if (f->rc < 0 || f->cancelled) {
		finish(f, f->rc);
		return;
	}
	for (size_t i = 0; i < s->refs.n; i++)
		fl_buf_printf(&f->names, "%s%s", f->names.len ? "\n" : "", fl_image_ref_format(&s->refs.v[i], name));
	f->size = f->manifest.size;
	f->source++;
	fl_image_fetch_next_source(f);
}

static void on_unpacked(void *arg, int rc, const char *out, size_t out_len, const char *message)
{
	struct fl_image_fetch *f = arg;

	f->tool = NULL;
	if (rc < 0) {
		fl_err_set(&f->err, rc, "unpack: %s", message);
		finish(f, rc);
		return;
	}
	uv_queue_work(f->o.loop, &f->work, commit_work, commit_after);
}

// --- copy ---

static void on_copied(void *arg, int rc, const char *out, size_t out_len, const char *message)
{
	struct fl_image_fetch *f = arg;
	AUTO_FREE char *dir = fl_asprintf("%s/%zu", f->stage.dir, f->source);
	AUTO_FREE char *image = fl_asprintf("%zu:image", f->source), *rootfs = fl_asprintf("%zu/rootfs", f->source);
	AUTO_FREE char *auth = fl_asprintf("%s/auth.json", f->stage.dir);
	const char *argv[] = {"umoci", "raw", "unpack", "--image", image, rootfs, NULL};

	f->tool = NULL;
	unlink(auth);
	if (rc < 0) {
		fl_image_fetch_fail(f, rc, message);
		return;
	}
	rc = fl_image_manifest_read(&f->arena, dir, &f->manifest, &f->err);
	if (rc < 0) {
		finish(f, rc);
		return;
	}
	if (f->manifest.size > (f->o.max_bytes ? f->o.max_bytes : FL_IMAGE_MAX_BYTES)) {
		fl_err_set(&f->err, -EFBIG, "the image has %llu bytes, more than the %llu that are allowed",
			   (unsigned long long)f->manifest.size,
			   (unsigned long long)(f->o.max_bytes ? f->o.max_bytes : FL_IMAGE_MAX_BYTES));
		finish(f, -EFBIG);
		return;
	}
	fl_image_fetch_run(f, argv, on_unpacked);
}

static int make_layout(struct fl_image_fetch *f)
{
	AUTO_FREE char *dir = fl_asprintf("%s/%zu", f->stage.dir, f->source), *blobs = fl_asprintf("%s/blobs", dir);
	int rc = fl_file_mkdirs(dir, 0700, &f->err);

	if (rc == 0 && symlink("../../../blobs", blobs) < 0)
		rc = fl_err_set(&f->err, -errno, "link %s: %s", blobs, strerror(errno));
	return rc;
}

static bool insecure(const struct fl_image_fetch *f)
{
	char registry[256];

	return fl_image_registry_insecure(fl_image_ref_registry(&f->ref, registry, sizeof(registry)), f->insecure);
}

// Arguments that skopeo gets for each registry: whom we are, whether TLS must be good. Returns how many.
static size_t registry_args(const struct fl_image_fetch *f, const char *no_tls, const char **v)
{
	size_t n = 0;

	if (f->o.n_logins) {
		v[n++] = "--authfile";
		v[n++] = "auth.json";
	}
	if (insecure(f))
		v[n++] = no_tls;
	return n;
}

static size_t common_args(const char **v)
{
	size_t n = 0;

	v[n++] = "skopeo";
	v[n++] = "--tmpdir";
	v[n++] = ".";
	if (access("/etc/containers/policy.json", F_OK) < 0) // without it skopeo refuses everything
		v[n++] = "--insecure-policy";
	return n;
}

void fl_image_fetch_next_source(struct fl_image_fetch *f)
{
	AUTO_FREE char *to = fl_asprintf("oci:%zu:image", f->source);
	const char *argv[16];
	size_t n = common_args(argv);
	int rc;

	if (f->source == f->sources.n) {
		finish(f, 0);
		return;
	}
	rc = make_layout(f);
	if (rc < 0) {
		finish(f, rc);
		return;
	}
	argv[n++] = "copy";
	argv[n++] = "--quiet";
	argv[n++] = "--dest-compress-format"; // umoci 0.4 knows no zstd; layers that are gzip stay as they are
	argv[n++] = "gzip";
	if (f->o.ref)
		n += registry_args(f, "--src-tls-verify=false", argv + n);
	argv[n++] = f->sources.v[f->source].from;
	argv[n++] = to;
	argv[n] = NULL;
	fl_image_fetch_run(f, argv, on_copied);
}

// --- registry ---

static void resolve(struct fl_image_fetch *f);

static void add_registry_source(struct fl_image_fetch *f)
{
	struct fl_image_source s = {
	    .from = fl_arena_printf(&f->arena, "docker://%s@%s", f->ref.name, f->digest),
	};

	fl_vec_push(&s.refs, f->ref);
	fl_vec_push(&f->sources, s);
}

static void name_work(uv_work_t *work)
{
	struct fl_image_fetch *f = FL_CONTAINER_OF(work, struct fl_image_fetch, work);
	struct fl_json *info = NULL;

	f->rc = fl_image_store_name(f->o.store, f->present_id, &f->ref, f->digest, &f->err);
	if (f->rc == 0 && fl_image_store_info(f->o.store, &f->arena, f->present_id, &info, NULL) == 0)
		f->size = (uint64_t)fl_json_int(info, "size", 0);
}

static void name_after(uv_work_t *work, int status)
{
	struct fl_image_fetch *f = FL_CONTAINER_OF(work, struct fl_image_fetch, work);
	char name[FL_IMAGE_REF_STRLEN];

	if (f->rc == -ENOENT) { // removed in this moment
		f->present_id[0] = '\0';
		add_registry_source(f);
		fl_image_fetch_next_source(f);
		return;
	}
	fl_buf_puts(&f->names, fl_image_ref_format(&f->ref, name));
	finish(f, f->rc);
}

// The digest is known: is it here?
static void have_digest(struct fl_image_fetch *f)
{
	struct fl_image_ref by_digest = f->ref;
	char digest[72];

	by_digest.tag[0] = '\0';
	snprintf(by_digest.digest, sizeof(by_digest.digest), "%s", f->digest);
	if (fl_image_store_find(f->o.store, &by_digest, f->present_id, digest, NULL) == 0) {
		uv_queue_work(f->o.loop, &f->work, name_work, name_after);
		return;
	}
	f->present_id[0] = '\0';
	add_registry_source(f);
	fl_image_fetch_next_source(f);
}

static void on_resolved(void *arg, int rc, const char *out, size_t out_len, const char *message)
{
	struct fl_image_fetch *f = arg;
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	f->tool = NULL;
	if (rc == -EIO && f->login + 1 < f->o.n_logins) { // perhaps the next one may
		f->login++;
		resolve(f);
		return;
	}
	if (rc < 0) {
		fl_image_fetch_fail(f, rc, message);
		return;
	}
	if (out_len > MANIFEST_MAX || !EVP_Digest(out, out_len, sum, &n, EVP_sha256(), NULL)) {
		fl_image_fetch_fail(f, -EFBIG, "its manifest has more than 4 MiB");
		return;
	}
	snprintf(f->digest, sizeof(f->digest), "sha256:");
	for (unsigned i = 0; i < n; i++)
		snprintf(f->digest + 7 + 2 * i, 3, "%02x", sum[i]);
	if (*f->ref.digest && strcmp(f->ref.digest, f->digest) != 0) {
		fl_image_fetch_fail(f, -EIO, "the registry's manifest has another digest than the name says");
		return;
	}
	have_digest(f);
}

static void resolve(struct fl_image_fetch *f)
{
	AUTO_FREE char *auth = fl_asprintf("%s/auth.json", f->stage.dir);
	char name[FL_IMAGE_REF_STRLEN];
	AUTO_FREE char *from = fl_asprintf("docker://%s", fl_image_ref_format(&f->ref, name));
	const char *argv[16];
	size_t n = common_args(argv);

	if (f->o.n_logins) {
		int rc = fl_image_auth_write(auth, &f->ref, &f->o.logins[f->login], &f->err);

		if (rc < 0) {
			finish(f, rc);
			return;
		}
	}
	argv[n++] = "inspect";
	argv[n++] = "--raw";
	n += registry_args(f, "--tls-verify=false", argv + n);
	argv[n++] = from;
	argv[n] = NULL;
	fl_image_fetch_run(f, argv, on_resolved);
}

// --- start ---

static void on_start(uv_timer_t *timer)
{
	struct fl_image_fetch *f = FL_CONTAINER_OF(timer, struct fl_image_fetch, timer);
	int rc = fl_image_stage_begin(f->o.store, &f->stage, &f->err);

	if (rc < 0 || f->cancelled)
		finish(f, rc);
	else if (f->o.ref)
		resolve(f);
	else
		fl_image_import_begin(f);
}

static void copy_logins(struct fl_image_fetch *f, const struct fl_image_fetch_opts *o)
{
	struct fl_image_login *logins = fl_arena_zalloc(&f->arena, (o->n_logins + 1) * sizeof(*logins));

	for (size_t i = 0; i < o->n_logins; i++)
		logins[i] = (struct fl_image_login){fl_arena_strdup(&f->arena, o->logins[i].user),
						    fl_arena_strdup(&f->arena, o->logins[i].password)};
	f->o.logins = logins;
}

struct fl_image_fetch *fl_image_fetch_start(const struct fl_image_fetch_opts *o)
{
	struct fl_image_fetch *f = FL_NEW(struct fl_image_fetch);

	f->o = *o;
	f->stage.lock_fd = -1;
	if (o->ref) {
		f->ref = *o->ref;
		f->o.ref = &f->ref;
	}
	f->file = fl_strdup(o->file ? o->file : "");
	f->name = o->name ? fl_strdup(o->name) : NULL;
	f->insecure = fl_strdup(o->insecure_registries ? o->insecure_registries : "");
	copy_logins(f, o);
	uv_timer_init(o->loop, &f->timer);
	uv_timer_start(&f->timer, on_start, 0, 0);
	return f;
}
