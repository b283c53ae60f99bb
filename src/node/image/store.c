// SPDX-License-Identifier: Apache-2.0
// Names and what they lead to. See store.h.
#include "node/image/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/vec.h"
#include "node/image/internal.h"

int fl_image_lock(const struct fl_image_store *s, int how, struct fl_err *err)
{
	AUTO_FREE char *path = fl_asprintf("%s/lock", s->dir);
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int rc;

	if (fd < 0)
		return fl_err_set(err, -errno, "open %s: %s", path, strerror(errno));
	do
		rc = flock(fd, how);
	while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return fl_err_set(err, -errno, "lock %s: %s", path, strerror(errno));
	return TAKE_FD(fd);
}

bool fl_image_is_hex_name(const char *name)
{
	return strlen(name) == 64 && strspn(name, "0123456789abcdef") == 64;
}

const char *fl_image_hex(const char *id)
{
	return fl_starts_with(id, "sha256:") ? id + strlen("sha256:") : id;
}

char *fl_image_store_path(const struct fl_image_store *s, const char *id, const char *file)
{
	return fl_asprintf("%s/%s/%s", s->dir, fl_image_hex(id), file);
}

char *fl_image_tmp_name(const struct fl_image_store *s)
{
	uint64_t r;

	fl_random(&r, sizeof(r));
	return fl_asprintf("%s/tmp/%016llx", s->dir, (unsigned long long)r);
}

int fl_image_store_open(const struct fl_node_paths *paths, struct fl_image_store *ret, struct fl_err *err)
{
	struct fl_image_store s = {.dir = paths->images, .pods = paths->pods};
	static const char *const parts[] = {"tmp", "blobs/sha256"};
	int rc = fl_file_mkdirs(s.dir, 0700, err);

	if (rc == 0 && chmod(s.dir, 0700) < 0)
		rc = fl_err_set(err, -errno, "mode of %s: %s", s.dir, strerror(errno));
	for (size_t i = 0; rc == 0 && i < FL_COUNT(parts); i++) {
		AUTO_FREE char *path = fl_asprintf("%s/%s", s.dir, parts[i]);

		rc = fl_file_mkdirs(path, 0700, err);
	}
	if (rc == 0)
		*ret = s;
	return rc;
}

// --- names ---

int fl_image_names_read(const struct fl_image_store *s, struct fl_arena *a, struct fl_json **ret, struct fl_err *err)
{
	AUTO_FREE char *path = fl_asprintf("%s/names.json", s->dir), *text = NULL;
	struct fl_json *names = NULL;
	size_t len = 0;
	int rc = fl_file_read(path, &text, &len, err);

	if (rc == -ENOENT) {
		*ret = fl_json_new(a, FL_JSON_OBJECT);
		return 0;
	}
	if (rc == 0)
		rc = fl_json_parse(a, text, len, NULL, &names, err);
	if (rc == 0 && !fl_json_is(names, FL_JSON_OBJECT))
		rc = fl_err_set(err, -EINVAL, "no object");
	if (rc < 0)
		return fl_err_prefix(err, "names of images in %s", path);
	*ret = names;
	return 0;
}

int fl_image_names_write(const struct fl_image_store *s, const struct fl_json *names, struct fl_err *err)
{
	AUTO_FREE char *path = fl_asprintf("%s/names.json", s->dir);
	AUTO(fl_buf_deinit) struct fl_buf b = {0};

	fl_json_write_pretty(&b, names, 1);
	fl_buf_putc(&b, '\n');
	return fl_file_write(path, b.data, b.len, 0600, err);
}

static bool is_there(const struct fl_image_store *s, const char *hex)
{
	AUTO_FREE char *path = fl_image_store_path(s, hex, "image.json");

	return access(path, F_OK) == 0;
}

int fl_image_store_find(const struct fl_image_store *s, const struct fl_image_ref *ref, char ret_id[72],
			char ret_digest[72], struct fl_err *err)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	char name[FL_IMAGE_REF_STRLEN];
	struct fl_json *names = NULL;
	const struct fl_json *e;
	const char *hex, *digest;
	int rc = fl_image_names_read(s, &a, &names, err);

	if (rc < 0)
		return rc;
	e = fl_json_get(names, fl_image_ref_format(ref, name));
	hex = fl_json_str_or(e, "image", "");
	digest = fl_json_str_or(e, "digest", "");
	if (!fl_image_is_hex_name(hex) || !is_there(s, hex))
		return fl_err_set(err, -ENOENT, "image %s is not here", name);
	snprintf(ret_id, 72, "sha256:%s", hex);
	snprintf(ret_digest, 72, "%s", fl_image_is_digest(digest) ? digest : "");
	return 0;
}

static void enter(struct fl_arena *a, struct fl_json *names, const struct fl_image_ref *ref, const char *hex,
		  const char *digest)
{
	char name[FL_IMAGE_REF_STRLEN];
	struct fl_json *e = fl_json_set_object(a, names, fl_image_ref_format(ref, name));

	fl_json_set_str(a, e, "image", hex);
	fl_json_set_str(a, e, "digest", digest);
}

// To be called with the lock held.
static int enter_names(const struct fl_image_store *s, const char *id, const struct fl_image_ref *ref,
		       const char *digest, struct fl_err *err)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_image_ref by_digest = *ref;
	struct fl_json *names = NULL;
	int rc = fl_image_names_read(s, &a, &names, err);

	if (rc < 0)
		return rc;
	by_digest.tag[0] = '\0';
	snprintf(by_digest.digest, sizeof(by_digest.digest), "%s", digest);
	enter(&a, names, ref, fl_image_hex(id), digest);
	enter(&a, names, &by_digest, fl_image_hex(id), digest);
	return fl_image_names_write(s, names, err);
}

int fl_image_store_name(const struct fl_image_store *s, const char *id, const struct fl_image_ref *ref,
			const char *digest, struct fl_err *err)
{
	AUTO_CLOSE int lock = fl_image_lock(s, LOCK_EX, err);

	if (lock < 0)
		return lock;
	if (!is_there(s, fl_image_hex(id)))
		return fl_err_set(err, -ENOENT, "image %s is not here", id);
	return enter_names(s, id, ref, digest, err);
}

// --- images ---

int fl_image_store_info(const struct fl_image_store *s, struct fl_arena *a, const char *id, struct fl_json **ret,
			struct fl_err *err)
{
	AUTO_FREE char *path = fl_image_store_path(s, id, "image.json"), *text = NULL;
	size_t len = 0;
	int rc = fl_file_read(path, &text, &len, err);

	return rc < 0 ? rc : fl_json_parse(a, text, len, NULL, ret, err);
}

int fl_image_store_use(const struct fl_image_store *s, const char *id, const char *lower, struct fl_err *err)
{
	AUTO_FREE char *rootfs = fl_image_store_path(s, id, "rootfs");
	AUTO_FREE char *info = fl_image_store_path(s, id, "image.json");
	AUTO_CLOSE int lock = fl_image_lock(s, LOCK_SH, err);

	if (lock < 0)
		return lock;
	if (access(rootfs, F_OK) < 0)
		return fl_err_set(err, -ENOENT, "image %s was removed", id);
	if (symlink(rootfs, lower) < 0)
		return fl_err_set(err, -errno, "link %s: %s", lower, strerror(errno));
	utimensat(AT_FDCWD, info, NULL, 0); // the time of its last use; the embedded image has none
	return 0;
}

int fl_image_store_place(const struct fl_image_store *s, const char *dir, const char *id, struct fl_err *err)
{
	AUTO_FREE char *to = fl_asprintf("%s/%s", s->dir, fl_image_hex(id));
	AUTO_CLOSE int lock = fl_image_lock(s, LOCK_EX, err);

	if (lock < 0)
		return lock;
	if (access(to, F_OK) == 0)
		return 0;
	if (rename(dir, to) < 0)
		return fl_err_set(err, -errno, "rename %s to %s: %s", dir, to, strerror(errno));
	return 0;
}

// --- power failures ---

static char *boot_id(void)
{
	char *text = NULL;

	return fl_file_read("/proc/sys/kernel/random/boot_id", &text, NULL, NULL) == 0 ? text : fl_strdup("");
}

static bool came_in_this_boot(const struct fl_image_store *s, const char *hex)
{
	AUTO_FREE char *path = fl_image_store_path(s, hex, "boot_id"), *now = boot_id(), *then = NULL;

	return fl_file_read(path, &then, NULL, NULL) == 0 && strcmp(then, now) == 0;
}

bool fl_image_is_unsafe(const struct fl_image_store *s, const char *hex)
{
	AUTO_FREE char *synced = fl_image_store_path(s, hex, "synced");

	return access(synced, F_OK) < 0 && !came_in_this_boot(s, hex);
}

int fl_image_store_settle(const struct fl_image_store *s, struct fl_err *err)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO_CLOSE int fs = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct fl_image_entry *images = NULL;
	const char **marks;
	size_t n = 0, wanted = 0;
	int rc = fl_image_store_list(s, &a, &images, &n, err);

	if (rc < 0)
		return rc;
	marks = fl_arena_zalloc(&a, (n + 1) * sizeof(*marks));
	for (size_t i = 0; i < n; i++) {
		const char *mark = fl_arena_printf(&a, "%s/%s/synced", s->dir, fl_image_hex(images[i].id));

		if (access(mark, F_OK) < 0 && !fl_image_is_unsafe(s, fl_image_hex(images[i].id)))
			marks[wanted++] = mark;
	}
	if (wanted && (fs < 0 || syncfs(fs) < 0))
		return fl_err_set(err, -errno, "sync %s: %s", s->dir, strerror(errno));
	for (size_t i = 0; i < wanted; i++) {
		AUTO_CLOSE int fd = open(marks[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

		if (fd < 0 && errno != ENOENT) // removed meanwhile
			return fl_err_set(err, -errno, "create %s: %s", marks[i], strerror(errno));
	}
	return 0;
}

int fl_image_store_commit(const struct fl_image_store *s, const char *dir, const struct fl_image_manifest *m,
			  const struct fl_image_ref *ref, const char *digest, struct fl_err *err)
{
	AUTO_FREE char *image = fl_asprintf("%s/image", dir), *from = fl_asprintf("%s/rootfs", dir),
		       *to = fl_asprintf("%s/image/rootfs", dir), *info = fl_asprintf("%s/image/image.json", dir),
		       *boot = fl_asprintf("%s/image/boot_id", dir), *now = boot_id();
	AUTO_FREE char *place = fl_asprintf("%s/%s", s->dir, fl_image_hex(m->id));
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	AUTO_CLOSE int lock = -1;
	struct stat st;
	int rc = fl_file_mkdirs(image, 0700, err);

	if (rc < 0)
		return rc;
	if (lstat(from, &st) < 0 || !S_ISDIR(st.st_mode))
		return fl_err_set(err, -EINVAL, "no root file system came of it");
	if (rename(from, to) < 0)
		return fl_err_set(err, -errno, "rename %s: %s", from, strerror(errno));
	fl_json_write(&b, m->info);
	rc = fl_node_file_put(info, b.data, b.len, 0600, err);
	if (rc == 0)
		rc = fl_node_file_put(boot, now, strlen(now), 0600, err);
	if (rc < 0)
		return rc;
	lock = fl_image_lock(s, LOCK_EX, err);
	if (lock < 0)
		return lock;
	if (!is_there(s, fl_image_hex(m->id)) && rename(image, place) < 0)
		return fl_err_set(err, -errno, "rename %s to %s: %s", image, place, strerror(errno));
	return enter_names(s, m->id, ref, digest, err);
}

// --- list ---

struct building {
	const char *hex;
	FL_VEC(const char *) tags, digests;
};

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const char *const *sorted(struct fl_arena *a, const char **v, size_t n)
{
	const char **copy = fl_arena_zalloc(a, (n + 1) * sizeof(*copy));

	if (n) {
		memcpy(copy, v, n * sizeof(*copy));
		qsort(copy, n, sizeof(*copy), compare_names);
	}
	return copy;
}

static const char *first_name(const struct fl_image_entry *e)
{
	return e->tags[0] ? e->tags[0] : e->digests[0] ? e->digests[0] : e->id;
}

static int compare_entries(const void *a, const void *b)
{
	return strcmp(first_name(a), first_name(b));
}

static void finish(const struct fl_image_store *s, struct fl_arena *a, struct building *b, struct fl_image_entry *e)
{
	AUTO_FREE char *path = fl_image_store_path(s, b->hex, "image.json");
	struct fl_json *info = NULL;
	struct stat st;

	e->id = fl_arena_printf(a, "sha256:%s", b->hex);
	e->tags = sorted(a, b->tags.v, b->tags.n);
	e->digests = sorted(a, b->digests.v, b->digests.n);
	if (fl_image_store_info(s, a, b->hex, &info, NULL) == 0)
		e->size = (uint64_t)fl_json_int(info, "size", 0);
	if (stat(path, &st) == 0)
		e->used_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	fl_vec_deinit(&b->tags);
	fl_vec_deinit(&b->digests);
}

int fl_image_store_list(const struct fl_image_store *s, struct fl_arena *a, struct fl_image_entry **ret, size_t *ret_n,
			struct fl_err *err)
{
	FL_VEC(struct building) all = {0};
	struct fl_image_entry *entries;
	struct fl_json *names = NULL;
	int rc = fl_image_names_read(s, a, &names, err);
	size_t i;

	if (rc < 0)
		return rc;
	fl_json_each (n, names) {
		const char *hex = fl_json_str_or(n, "image", "");

		if (!fl_image_is_hex_name(hex) || !is_there(s, hex))
			continue;
		for (i = 0; i < all.n && strcmp(all.v[i].hex, hex) != 0; i++)
			;
		if (i == all.n)
			fl_vec_push(&all, (struct building){.hex = hex});
		if (strchr(n->key, '@'))
			fl_vec_push(&all.v[i].digests, n->key);
		else
			fl_vec_push(&all.v[i].tags, n->key);
	}
	entries = fl_arena_zalloc(a, (all.n + 1) * sizeof(*entries));
	for (i = 0; i < all.n; i++)
		finish(s, a, &all.v[i], &entries[i]);
	if (all.n)
		qsort(entries, all.n, sizeof(*entries), compare_entries);
	*ret = entries;
	*ret_n = all.n;
	fl_vec_deinit(&all);
	return 0;
}
