// SPDX-License-Identifier: Apache-2.0
// What pods ask of images: policies, pulls shared and bounded, removal when the disk runs low. See node/image.h.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/vec.h"
#include "node/image.h"
#include "node/image/fetch.h"

#define PULLS_MAX     3 // at once
#define HOUSE_MS      60000
#define HIGH_PERCENT  85
#define LOW_PERCENT   80
#define MIN_AGE_S     120 // kubelet: imageMinimumGCAge
#define STATUS_IMAGES 50  // kubelet: nodeStatusMaxImages
#define STATUS_NAMES  5   // kubelet: maxNamesPerImageInNodeStatus

struct waiter {
	void (*done)(void *arg, const struct fl_image_result *r);
	void *arg;
	uint64_t since_ms;
};

struct pull {
	struct fl_images *im;
	char *key; // name and logins
	struct fl_image_ref ref;
	struct fl_arena arena;
	struct fl_image_login *logins;
	size_t n_logins;
	FL_VEC(struct waiter) waiters;
	struct fl_image_fetch *fetch; // NULL: waits for its turn
	uint64_t started_ms;
};

struct cached {
	struct fl_arena arena;
	struct fl_image image;
};

struct fl_images {
	struct fl_images_opts o;
	struct fl_image_store store;
	bool open, closing;
	struct fl_map cache;         // ref and id -> struct cached
	FL_VEC(struct pull *) pulls; // in the order of their coming
	unsigned running;
	uv_timer_t timer;
	uv_work_t work; // leftovers, collection
	bool working, timer_open;
};

// --- loaded images ---

static const char *const *strings(struct fl_arena *a, const struct fl_json *array)
{
	const char **v = fl_arena_zalloc(a, (fl_json_count(array) + 1) * sizeof(*v));
	size_t n = 0;

	if (!fl_json_is(array, FL_JSON_ARRAY))
		return v;
	fl_json_each (e, array) {
		if (fl_json_string(e))
			v[n++] = fl_json_string(e);
	}
	return v;
}

int fl_signal_of(const char *text)
{
	static const char *const aliases[][2] = {{"CLD", "CHLD"}, {"IOT", "ABRT"}, {"IO", "POLL"}};
	unsigned long long n;

	if (fl_str_empty(text))
		return SIGTERM;
	if (fl_parse_u64(text, &n))
		return n > 0 && n < (unsigned long long)SIGRTMAX ? (int)n : SIGTERM;
	if (fl_starts_with(text, "SIG"))
		text += 3;
	if (strcmp(text, "RTMIN") == 0 || strcmp(text, "RTMAX") == 0)
		return text[3] == 'I' ? SIGRTMIN : SIGRTMAX;
	if (fl_starts_with(text, "RTMIN+") && fl_parse_u64(text + 6, &n) && n <= (unsigned)(SIGRTMAX - SIGRTMIN))
		return SIGRTMIN + (int)n;
	if (fl_starts_with(text, "RTMAX-") && fl_parse_u64(text + 6, &n) && n <= (unsigned)(SIGRTMAX - SIGRTMIN))
		return SIGRTMAX - (int)n;
	for (size_t i = 0; i < FL_COUNT(aliases); i++) {
		if (strcmp(text, aliases[i][0]) == 0)
			text = aliases[i][1];
	}
	for (int s = 1; s < 32; s++) {
		if (fl_streq(sigabbrev_np(s), text))
			return s;
	}
	return SIGTERM;
}

static const struct fl_image *load(struct fl_images *im, const char *id, const char *ref, struct fl_err *err)
{
	AUTO_FREE char *key = fl_asprintf("%s %s", ref, id);
	struct cached *c = fl_map_get(&im->cache, key);
	AUTO_FREE char *rootfs = NULL;
	struct fl_json *info = NULL;
	const struct fl_json *config;
	int rc;

	if (c)
		return &c->image;
	c = FL_NEW(struct cached);
	rc = fl_image_store_info(&im->store, &c->arena, id, &info, err);
	if (rc < 0) {
		fl_arena_deinit(&c->arena);
		free(c);
		return NULL;
	}
	rootfs = fl_image_store_path(&im->store, id, "rootfs");
	config = fl_json_get(info, "config");
	c->image = (struct fl_image){
	    .id = fl_arena_strdup(&c->arena, id),
	    .ref = fl_arena_strdup(&c->arena, ref),
	    .rootfs = fl_arena_strdup(&c->arena, rootfs),
	    .entrypoint = strings(&c->arena, fl_json_get(config, "Entrypoint")),
	    .cmd = strings(&c->arena, fl_json_get(config, "Cmd")),
	    .env = strings(&c->arena, fl_json_get(config, "Env")),
	    .workdir = fl_json_str_or(config, "WorkingDir", ""),
	    .user = fl_json_str_or(config, "User", ""),
	    .stop_signal = fl_signal_of(fl_json_str(config, "StopSignal")),
	    .size = (uint64_t)fl_json_int(info, "size", 0),
	};
	fl_map_set(&im->cache, key, c);
	return &c->image;
}

static const struct fl_image *load_echo(struct fl_images *im, struct fl_err *err)
{
	static const char *const entrypoint[] = {"/bin/fairlead-echo", NULL}, *const none[] = {NULL};
	static const char *const env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	struct cached *c = fl_map_get(&im->cache, "echo");
	AUTO_FREE char *rootfs = NULL;

	if (c)
		return &c->image;
	if (fl_image_embedded(im->o.paths, &rootfs, err) < 0)
		return NULL;
	c = FL_NEW(struct cached);
	c->image = (struct fl_image){
	    .id = fl_arena_printf(&c->arena, "sha256:%s", fl_image_embedded_hex()),
	    .rootfs = fl_arena_strdup(&c->arena, rootfs),
	    .entrypoint = entrypoint,
	    .cmd = none,
	    .env = env,
	    .workdir = "/",
	    .user = "",
	    .stop_signal = SIGTERM,
	};
	c->image.ref = c->image.id;
	fl_map_set(&im->cache, "echo", c);
	return &c->image;
}

static bool is_echo(const struct fl_image_ref *ref)
{
	return strcmp(ref->name, "docker.io/fairlead/echo") == 0 &&
	       (!*ref->digest || strcmp(ref->digest + strlen("sha256:"), fl_image_embedded_hex()) == 0);
}

// -ENOENT: it is not here.
static int find(struct fl_images *im, const struct fl_image_ref *ref, const struct fl_image **ret, struct fl_err *err)
{
	char id[72], digest[72];
	AUTO_FREE char *name = NULL;
	int rc = im->open ? fl_image_store_find(&im->store, ref, id, digest, err) : -ENOENT;

	if (rc < 0)
		return rc;
	name = *digest ? fl_asprintf("%s@%s", ref->name, digest) : fl_strdup(id);
	*ret = load(im, id, name, err);
	return *ret ? 0 : -ENOENT;
}

// --- answers ---

static void answer(const struct waiter *w, int rc, const struct fl_image *image, const char *reason,
		   const char *message)
{
	struct fl_image_result r = {.rc = rc, .image = image, .reason = reason, .message = message};

	w->done(w->arg, &r);
}

static void pull_free(struct pull *p)
{
	fl_vec_deinit(&p->waiters);
	fl_arena_deinit(&p->arena);
	free(p->key);
	free(p);
}

static void start_pulls(struct fl_images *im);

static void house_soon(struct fl_images *im);

static void on_fetched(void *arg, int rc, const struct fl_image_fetched *fetched, const char *message)
{
	struct pull *p = arg;
	struct fl_images *im = p->im;
	struct fl_err err = {0};
	uint64_t now = uv_now(im->o.loop);
	struct fl_image_result r = {.pulled = true, .pull_ms = now - p->started_ms};
	char name[FL_IMAGE_REF_STRLEN];
	AUTO_FREE char *text = NULL;

	p->fetch = NULL;
	im->running--;
	for (size_t i = 0; i < im->pulls.n; i++) {
		if (im->pulls.v[i] == p) {
			fl_vec_remove(&im->pulls, i);
			break;
		}
	}
	if (rc == 0)
		rc = find(im, &p->ref, &r.image, &err);
	else
		fl_err_set(&err, rc, "%s", message);
	if (rc < 0) {
		text = fl_asprintf("failed to pull and unpack image \"%s\": %s", fl_image_ref_format(&p->ref, name),
				   err.text);
		r.reason = "ErrImagePull";
		r.message = text;
	}
	r.rc = rc;
	if (rc == -ENOSPC || rc == 0)
		house_soon(im);
	start_pulls(im);
	for (size_t i = 0; i < p->waiters.n; i++) {
		r.total_ms = now - p->waiters.v[i].since_ms;
		p->waiters.v[i].done(p->waiters.v[i].arg, &r);
	}
	pull_free(p);
}

static void start_pulls(struct fl_images *im)
{
	for (size_t i = 0; i < im->pulls.n && im->running < PULLS_MAX && !im->closing; i++) {
		struct pull *p = im->pulls.v[i];
		struct fl_image_fetch_opts o = {
		    .loop = im->o.loop,
		    .store = &im->store,
		    .ref = &p->ref,
		    .logins = p->logins,
		    .n_logins = p->n_logins,
		    .insecure_registries = im->o.insecure_registries,
		    .max_bytes = im->o.max_bytes,
		    .done = on_fetched,
		    .arg = p,
		};

		if (p->fetch)
			continue;
		p->started_ms = uv_now(im->o.loop);
		p->fetch = fl_image_fetch_start(&o);
		im->running++;
	}
}

// The pull under way that serves this one too, or a new one.
static struct pull *pull_for(struct fl_images *im, const struct fl_image_ref *ref, const struct fl_image_request *r)
{
	AUTO(fl_buf_deinit) struct fl_buf key = {0};
	char name[FL_IMAGE_REF_STRLEN];
	struct pull *p = FL_NEW(struct pull);

	p->n_logins = fl_image_logins(&p->arena, r->secrets, r->n_secrets, ref, &p->logins);
	fl_buf_puts(&key, fl_image_ref_format(ref, name));
	for (size_t i = 0; i < p->n_logins; i++)
		fl_buf_printf(&key, "\n%s\n%s", p->logins[i].user, p->logins[i].password);
	for (size_t i = 0; i < im->pulls.n; i++) {
		if (strcmp(im->pulls.v[i]->key, key.data) == 0) {
			pull_free(p);
			return im->pulls.v[i];
		}
	}
	p->im = im;
	p->ref = *ref;
	p->key = fl_buf_take(&key);
	fl_vec_push(&im->pulls, p);
	return p;
}

void fl_images_ensure(struct fl_images *im, const struct fl_image_request *r)
{
	struct waiter w = {r->done, r->arg, uv_now(im->o.loop)};
	AUTO_FREE char *message = NULL;
	const struct fl_image *image = NULL;
	struct fl_image_ref ref;
	struct fl_err err = {0};
	struct pull *p;
	int rc = fl_image_ref_parse(r->ref, &ref, &err);

	if (rc < 0) {
		message = fl_asprintf("Failed to apply default image tag \"%s\": couldn't parse image name \"%s\": %s",
				      r->ref, r->ref, err.text);
		answer(&w, -EINVAL, NULL, "InvalidImageName", message);
		return;
	}
	if (is_echo(&ref)) {
		image = load_echo(im, &err);
		answer(&w, image ? 0 : err.code, image, "ErrImagePull", err.text);
		return;
	}
	if (strcmp(r->policy, "Always") != 0 && find(im, &ref, &image, &err) == 0) {
		answer(&w, 0, image, NULL, NULL);
		return;
	}
	if (strcmp(r->policy, "Never") == 0) {
		message = fl_asprintf("Container image \"%s\" is not present with pull policy of Never", r->ref);
		answer(&w, -ENOENT, NULL, "ErrImageNeverPull", message);
		return;
	}
	if (!im->open || im->closing) {
		answer(&w, -EIO, NULL, "ErrImagePull", "the image store cannot be opened");
		return;
	}
	if (r->on_pulling)
		r->on_pulling(r->arg);
	p = pull_for(im, &ref, r);
	fl_vec_push(&p->waiters, w);
	start_pulls(im);
}

bool fl_images_has(const struct fl_images *im, const char *text)
{
	char id[72], digest[72];
	struct fl_image_ref ref;

	return fl_image_ref_parse(text, &ref, NULL) == 0 &&
	       (is_echo(&ref) || fl_image_store_find(&im->store, &ref, id, digest, NULL) == 0);
}

// --- of containers that run ---

const struct fl_image *fl_images_recall(struct fl_images *im, const char *lower, const char *text)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	char target[4096], id[72], found[72], digest[72], *slash;
	ssize_t n = readlink(lower, target, sizeof(target) - 1);
	struct fl_image_entry *list = NULL;
	struct fl_image_ref ref;
	size_t count = 0;

	if (n <= 0)
		return NULL;
	target[n] = '\0';
	slash = strrchr(target, '/');
	if (!slash)
		return NULL;
	*slash = '\0';
	slash = strrchr(target, '/');
	snprintf(id, sizeof(id), "sha256:%.64s", slash ? slash + 1 : "");
	if (strcmp(id + strlen("sha256:"), fl_image_embedded_hex()) == 0)
		return load_echo(im, NULL);
	if (fl_image_ref_parse(text, &ref, NULL) == 0 &&
	    fl_image_store_find(&im->store, &ref, found, digest, NULL) == 0 && strcmp(found, id) == 0 && *digest)
		return load(im, id, fl_arena_printf(&a, "%s@%s", ref.name, digest), NULL);
	// The name leads elsewhere by now.
	if (fl_image_store_list(&im->store, &a, &list, &count, NULL) < 0)
		count = 0;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(list[i].id, id) == 0 && list[i].digests[0])
			return load(im, id, list[i].digests[0], NULL);
	}
	return load(im, id, id, NULL);
}

int fl_images_use(struct fl_images *im, const struct fl_image *image, const char *lower, struct fl_err *err)
{
	return fl_image_store_use(&im->store, image->id, lower, err);
}

// --- the disk ---

static void house_work(uv_work_t *work)
{
	struct fl_images *im = FL_CONTAINER_OF(work, struct fl_images, work);
	struct fl_err err = {0};
	uint64_t freed = 0;
	unsigned n = 0;

	if (fl_image_store_sweep(&im->store, fl_image_embedded_hex(), &err) < 0)
		fl_warn("leftovers of images stay behind: %s", err.text);
	if (fl_image_store_settle(&im->store, &err) < 0)
		fl_warn("images are not safe from a power failure: %s", err.text);
	if (fl_image_store_collect(&im->store, im->o.high_percent, im->o.low_percent, MIN_AGE_S, &freed, &n, &err) < 0)
		fl_warn("unused images cannot be removed: %s", err.text);
	else if (n)
		fl_info("disk runs low, unused images are removed images=%u bytes=%llu", n, (unsigned long long)freed);
}

static void on_house(uv_timer_t *timer);

static void house_after(uv_work_t *work, int status)
{
	struct fl_images *im = FL_CONTAINER_OF(work, struct fl_images, work);

	im->working = false;
	if (!im->closing)
		uv_timer_start(&im->timer, on_house, HOUSE_MS, 0);
}

static void on_house(uv_timer_t *timer)
{
	struct fl_images *im = timer->data;

	if (im->working || im->closing)
		return;
	im->working = true;
	uv_queue_work(im->o.loop, &im->work, house_work, house_after);
}

static void house_soon(struct fl_images *im)
{
	if (!im->closing)
		uv_timer_start(&im->timer, on_house, 0, 0);
}

// --- Node.status.images ---

static int compare_size(const void *a, const void *b)
{
	const struct fl_image_entry *x = a, *y = b;

	return x->size > y->size ? -1 : x->size < y->size;
}

struct fl_json *fl_images_status(struct fl_arena *a, const char *data_dir)
{
	struct fl_json *list = fl_json_new(a, FL_JSON_ARRAY), *e, *names;
	struct fl_image_store store = {.dir = fl_arena_printf(a, "%s/node/images", data_dir), .pods = ""};
	struct fl_image_entry *images = NULL;
	size_t n = 0;

	if (fl_image_store_list(&store, a, &images, &n, NULL) < 0)
		n = 0;
	if (n)
		qsort(images, n, sizeof(*images), compare_size);
	for (size_t i = 0; i < n && i < STATUS_IMAGES - 1; i++) {
		e = fl_json_append(list, fl_json_new(a, FL_JSON_OBJECT));
		names = fl_json_set_array(a, e, "names");
		for (const char *const *d = images[i].digests; *d && fl_json_count(names) < STATUS_NAMES; d++)
			fl_json_append(names, fl_json_new_str(a, *d));
		for (const char *const *t = images[i].tags; *t && fl_json_count(names) < STATUS_NAMES; t++)
			fl_json_append(names, fl_json_new_str(a, *t));
		fl_json_set_int(a, e, "sizeBytes", (int64_t)images[i].size);
	}
	e = fl_json_append(list, fl_json_new(a, FL_JSON_OBJECT));
	fl_json_append(fl_json_set_array(a, e, "names"), fl_json_new_str(a, "docker.io/fairlead/echo:latest"));
	return list;
}

// --- life ---

struct fl_images *fl_images_new(const struct fl_images_opts *o)
{
	struct fl_images *im = FL_NEW(struct fl_images);
	struct fl_err err = {0};

	im->o = *o;
	if (!im->o.high_percent) {
		im->o.high_percent = HIGH_PERCENT;
		im->o.low_percent = LOW_PERCENT;
	}
	im->open = fl_image_store_open(o->paths, &im->store, &err) == 0;
	if (!im->open) {
		fl_warn("images other than the embedded one cannot be used: %s", err.text);
		im->store = (struct fl_image_store){.dir = o->paths->images, .pods = o->paths->pods};
	}
	uv_timer_init(o->loop, &im->timer);
	im->timer.data = im;
	im->timer_open = true;
	house_soon(im);
	return im;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct fl_images *im = handle->data;

	im->timer_open = false;
}

void fl_images_free(struct fl_images **imp)
{
	struct fl_images *im = *imp;

	if (!im)
		return;
	*imp = NULL;
	im->closing = true;
	for (size_t i = im->pulls.n; i-- > 0;) {
		struct pull *p = im->pulls.v[i];

		if (p->fetch) {
			fl_image_fetch_cancel(p->fetch);
			continue;
		}
		fl_vec_remove(&im->pulls, i);
		for (size_t k = 0; k < p->waiters.n; k++)
			answer(&p->waiters.v[k], -ECANCELED, NULL, "ErrImagePull", "canceled");
		pull_free(p);
	}
	uv_close((uv_handle_t *)&im->timer, on_timer_closed);
	while (im->pulls.n || im->working || im->timer_open)
		uv_run(im->o.loop, UV_RUN_ONCE);
	for (struct fl_map_iter it = {0}; fl_map_next(&im->cache, &it);) {
		struct cached *c = it.value;

		fl_arena_deinit(&c->arena);
		free(c);
	}
	fl_map_deinit(&im->cache);
	fl_vec_deinit(&im->pulls);
	free(im);
}
