// SPDX-License-Identifier: Apache-2.0
// Removal: by name, and of what nobody uses when the disk runs low. What is removed is renamed into tmp/ under the
// lock, so that it is no image any more, and deleted after it.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/vec.h"
#include "node/image/internal.h"

#define READ_BYTES 65536

#define ID_DIGITS_MIN 12

// --- use ---

static void each_dir(const char *dir, void (*visit)(const char *path, void *arg), void *arg)
{
	DIR *d = opendir(dir);

	if (!d)
		return;
	for (struct dirent *e; (e = readdir(d));) {
		AUTO_FREE char *path = fl_asprintf("%s/%s", dir, e->d_name);

		if (e->d_name[0] != '.')
			visit(path, arg);
	}
	closedir(d);
}

static void visit_attempt(const char *path, void *arg)
{
	AUTO_FREE char *lower = fl_asprintf("%s/lower", path);
	char target[4096], *slash;
	ssize_t n = readlink(lower, target, sizeof(target) - 1);

	if (n <= 0)
		return;
	target[n] = '\0'; // .../images/<hex>/rootfs
	slash = strrchr(target, '/');
	if (!slash)
		return;
	*slash = '\0';
	slash = strrchr(target, '/');
	if (slash && fl_image_is_hex_name(slash + 1))
		fl_map_set(arg, slash + 1, arg);
}

static void visit_container(const char *path, void *arg)
{
	each_dir(path, visit_attempt, arg);
}

static void visit_pod(const char *path, void *arg)
{
	AUTO_FREE char *containers = fl_asprintf("%s/containers", path);

	each_dir(containers, visit_container, arg);
}

void fl_image_in_use(const struct fl_image_store *s, struct fl_map *used)
{
	each_dir(s->pods, visit_pod, used);
}

// --- by name ---

static bool names_hex(const char *text, const char *hex)
{
	const char *digits = fl_image_hex(text);
	size_t n = strlen(digits);

	return n >= ID_DIGITS_MIN && n <= 64 && strncmp(digits, hex, n) == 0;
}

// Takes the names away that `text` means; *ret_hex: the image that they led to. With the lock held.
static int take_names(struct fl_arena *a, struct fl_json *names, const char *text, const char **ret_hex,
		      struct fl_err *err)
{
	char name[FL_IMAGE_REF_STRLEN];
	struct fl_image_ref ref;
	struct fl_err why = {0};
	const char *hex = NULL;
	int rc = fl_image_ref_parse(text, &ref, &why);

	if (rc == 0) {
		const char *at = fl_json_str(fl_json_get(names, fl_image_ref_format(&ref, name)), "image");

		if (at) {
			hex = fl_arena_strdup(a, at);
			fl_json_remove(names, name);
		}
	}
	for (struct fl_json *n = names->kids.first, *next; !hex && n; n = next) {
		next = n->next;
		if (names_hex(text, fl_json_str_or(n, "image", "")))
			hex = fl_arena_strdup(a, fl_json_str(n, "image"));
		for (struct fl_json *m = hex ? names->kids.first : NULL, *after; m; m = after) {
			after = m->next;
			if (fl_streq(fl_json_str(m, "image"), hex))
				fl_json_remove_child(names, m);
		}
	}
	if (!hex)
		return fl_err_set(err, -ENOENT, "image %s is not here%s%s", text, rc < 0 ? ": " : "", why.text);
	*ret_hex = hex;
	return 0;
}

// Digests that no tag stands beside go with the image; true: a tag is left.
static bool has_tag(const struct fl_json *names, const char *hex)
{
	fl_json_each (n, names) {
		if (fl_streq(fl_json_str(n, "image"), hex) && !strchr(n->key, '@'))
			return true;
	}
	return false;
}

static void drop_names(struct fl_json *names, const char *hex)
{
	for (struct fl_json *n = names->kids.first, *next; n; n = next) {
		next = n->next;
		if (fl_streq(fl_json_str(n, "image"), hex))
			fl_json_remove_child(names, n);
	}
}

// Renames the image away; *ret is where it is now, to be deleted without the lock. NULL: it was not there.
static int put_away(const struct fl_image_store *s, const char *hex, char **ret, struct fl_err *err)
{
	AUTO_FREE char *from = fl_asprintf("%s/%s", s->dir, hex), *to = fl_image_tmp_name(s);

	if (rename(from, to) < 0 && errno != ENOENT)
		return fl_err_set(err, -errno, "rename %s: %s", from, strerror(errno));
	*ret = TAKE_PTR(to);
	return 0;
}

int fl_image_store_remove(const struct fl_image_store *s, const char *text, bool *ret_gone, struct fl_err *err)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_map_deinit) struct fl_map used = {0};
	AUTO_FREE char *away = NULL;
	struct fl_json *names = NULL;
	const char *hex = NULL;
	int lock = fl_image_lock(s, LOCK_EX, err), rc = lock < 0 ? lock : 0;
	bool gone = false;

	if (rc == 0)
		rc = fl_image_names_read(s, &a, &names, err);
	if (rc == 0)
		rc = take_names(&a, names, text, &hex, err);
	if (rc == 0 && !has_tag(names, hex)) {
		fl_image_in_use(s, &used);
		if (fl_map_get(&used, hex))
			rc = fl_err_set(err, -EBUSY, "image %s is used by a container", text);
		drop_names(names, hex);
		gone = true;
	}
	if (rc == 0)
		rc = fl_image_names_write(s, names, err);
	if (rc == 0 && gone)
		rc = put_away(s, hex, &away, err);
	if (lock >= 0)
		close(lock);
	if (rc == 0 && away)
		rc = fl_file_remove_all(away, err);
	if (rc == 0 && gone)
		rc = fl_image_store_trim_blobs(s, err);
	if (rc == 0)
		*ret_gone = gone;
	return rc;
}

// --- blobs ---

// Whether the file holds what its name says.
static bool is_whole(const char *path, const char *hex)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	AUTO_FREE char *buf = fl_malloc(READ_BYTES);
	EVP_MD_CTX *sum = EVP_MD_CTX_new();
	unsigned char raw[EVP_MAX_MD_SIZE];
	char text[2 * EVP_MAX_MD_SIZE + 1] = "";
	unsigned len = 0;
	ssize_t n = -1;
	bool ok = fd >= 0 && sum && EVP_DigestInit_ex(sum, EVP_sha256(), NULL);

	while (ok && (n = read(fd, buf, READ_BYTES)) > 0)
		ok = EVP_DigestUpdate(sum, buf, (size_t)n);
	ok = ok && n == 0 && EVP_DigestFinal_ex(sum, raw, &len);
	EVP_MD_CTX_free(sum);
	for (unsigned i = 0; i < len; i++)
		snprintf(text + (size_t)2 * i, 3, "%02x", raw[i]);
	return ok && strcmp(text, hex) == 0;
}

void fl_image_store_drop_blobs(const struct fl_image_store *s, const char *const *digests)
{
	for (; digests && *digests; digests++) {
		AUTO_FREE char *path = fl_asprintf("%s/blobs/sha256/%s", s->dir, fl_image_hex(*digests));

		if (!is_whole(path, fl_image_hex(*digests))) // others may be unpacking the rest
			unlink(path);
	}
}

// Whether work is under way that may rely on blobs that no image names yet.
static bool stages_live(const struct fl_image_store *s)
{
	AUTO_FREE char *tmp = fl_asprintf("%s/tmp", s->dir);
	DIR *d = opendir(tmp);
	bool any = false;

	if (!d)
		return false;
	for (struct dirent *e; (e = readdir(d));) {
		AUTO_FREE char *lock = fl_asprintf("%s/%s/lock", tmp, e->d_name);

		any = any || (e->d_name[0] != '.' && access(lock, F_OK) == 0);
	}
	closedir(d);
	return any;
}

int fl_image_store_trim_blobs(const struct fl_image_store *s, struct fl_err *err)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_map_deinit) struct fl_map wanted = {0};
	AUTO_FREE char *dir = fl_asprintf("%s/blobs/sha256", s->dir);
	AUTO_CLOSE int lock = fl_image_lock(s, LOCK_EX, err);
	struct fl_image_entry *images = NULL;
	size_t n = 0;
	DIR *d;
	int rc = lock < 0 ? lock : fl_image_store_list(s, &a, &images, &n, err);

	if (rc < 0 || stages_live(s))
		return rc;
	for (size_t i = 0; i < n; i++) {
		struct fl_json *info = NULL;

		if (fl_image_store_info(s, &a, images[i].id, &info, NULL) < 0)
			continue;
		fl_json_each (b, fl_json_get(info, "blobs"))
			fl_map_set(&wanted, fl_image_hex(fl_json_string(b) ? fl_json_string(b) : ""), &wanted);
	}
	d = opendir(dir);
	if (!d)
		return fl_err_set(err, -errno, "read %s: %s", dir, strerror(errno));
	for (struct dirent *e; (e = readdir(d));) {
		if (e->d_name[0] != '.' && !fl_map_get(&wanted, e->d_name))
			unlinkat(dirfd(d), e->d_name, 0);
	}
	closedir(d);
	return 0;
}

// --- when the disk runs low ---

static unsigned used_percent(const struct fl_image_store *s, uint64_t *ret_used)
{
	struct statvfs fs;

	if (statvfs(s->dir, &fs) < 0 || !fs.f_blocks)
		return 0;
	*ret_used = (fs.f_blocks - fs.f_bfree) * fs.f_frsize;
	// As df counts: what root keeps for itself is not there for us to use.
	return (unsigned)((fs.f_blocks - fs.f_bfree) * 100 / (fs.f_blocks - fs.f_bfree + fs.f_bavail));
}

static int compare_use(const void *a, const void *b)
{
	const struct fl_image_entry *x = a, *y = b;

	return x->used_ns < y->used_ns ? -1 : x->used_ns > y->used_ns;
}

// One image that nobody uses; *ret_away NULL: it is in use, or gone.
static int evict(const struct fl_image_store *s, const struct fl_image_entry *e, char **ret_away, struct fl_err *err)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_map_deinit) struct fl_map used = {0};
	AUTO_CLOSE int lock = fl_image_lock(s, LOCK_EX, err);
	struct fl_json *names = NULL;
	int rc = lock < 0 ? lock : fl_image_names_read(s, &a, &names, err);

	if (rc < 0)
		return rc;
	fl_image_in_use(s, &used);
	if (fl_map_get(&used, fl_image_hex(e->id)))
		return 0;
	drop_names(names, fl_image_hex(e->id));
	rc = fl_image_names_write(s, names, err);
	return rc < 0 ? rc : put_away(s, fl_image_hex(e->id), ret_away, err);
}

int fl_image_store_collect(const struct fl_image_store *s, unsigned high_percent, unsigned low_percent,
			   unsigned min_age_s, uint64_t *ret_freed, unsigned *ret_n, struct fl_err *err)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_image_entry *images = NULL;
	uint64_t before = 0, after = 0;
	unsigned removed = 0;
	size_t n = 0;
	int rc;

	*ret_freed = 0;
	*ret_n = 0;
	if (used_percent(s, &before) < high_percent)
		return 0;
	rc = fl_image_store_trim_blobs(s, err);
	if (rc == 0)
		rc = fl_image_store_list(s, &a, &images, &n, err);
	if (rc == 0 && n)
		qsort(images, n, sizeof(*images), compare_use);
	for (size_t i = 0; rc == 0 && i < n && used_percent(s, &after) > low_percent; i++) {
		AUTO_FREE char *away = NULL;

		if (fl_real_ns() - images[i].used_ns < (int64_t)min_age_s * 1000000000)
			continue;
		rc = evict(s, &images[i], &away, err);
		if (rc == 0 && away) {
			removed++;
			rc = fl_file_remove_all(away, err);
			if (rc == 0)
				rc = fl_image_store_trim_blobs(s, err);
		}
	}
	used_percent(s, &after);
	*ret_freed = after < before ? before - after : 0;
	*ret_n = removed;
	return rc;
}
