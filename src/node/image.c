// SPDX-License-Identifier: Apache-2.0
// The image store. The embedded image is unpacked once for each build of its program, into a directory named after the
// program's SHA-256, and renamed into place, so that half an image is never seen.
#include "node/image.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "node/embed.h"

struct fl_images {
	const struct fl_node_paths *paths;
	struct fl_image echo;
	char echo_id[80];
	char *echo_rootfs; // NULL until unpacked
};

struct fl_images *fl_images_new(const struct fl_node_paths *paths)
{
	struct fl_images *im = FL_NEW(struct fl_images);

	im->paths = paths;
	return im;
}

void fl_images_free(struct fl_images **im)
{
	if (!*im)
		return;
	free((*im)->echo_rootfs);
	free(*im);
	*im = NULL;
}

// Name without "docker.io/", tag and digest; "" when it is none (k8s.io/distribution reference grammar, loosely).
static void repository_of(const char *ref, char *buf, size_t size)
{
	const char *slash, *colon;
	size_t n;

	if (fl_starts_with(ref, "docker.io/"))
		ref += strlen("docker.io/");
	n = strcspn(ref, "@");
	slash = memrchr(ref, '/', n);
	colon = memrchr(ref, ':', n);
	if (colon && (!slash || colon > slash))
		n = (size_t)(colon - ref);
	snprintf(buf, size, "%.*s", (int)n, ref);
}

static bool is_reference(const char *ref)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:@";

	return *ref && strspn(ref, allowed) == strlen(ref) && ref[0] != '/' && ref[0] != ':' && ref[0] != '@';
}

static int write_file(const char *dir, const char *name, const void *data, size_t len, mode_t mode, struct fl_err *err)
{
	AUTO_FREE char *path = fl_asprintf("%s/%s", dir, name);

	// The program is synced, the small files are not worth the wait: without them it runs as well.
	return mode & 0100 ? fl_file_write(path, data, len, mode, err) : fl_node_file_put(path, data, len, mode, err);
}

static int make_dir(const char *dir, const char *name, mode_t mode, struct fl_err *err)
{
	AUTO_FREE char *path = fl_asprintf("%s/%s", dir, name);
	int rc = fl_file_mkdirs(path, 0755, err);

	if (rc == 0 && chmod(path, mode) < 0)
		rc = fl_err_set(err, -errno, "mode of %s: %s", path, strerror(errno));
	return rc;
}

static int unpack_echo(const char *rootfs, const struct fl_embedded *file, struct fl_err *err)
{
	static const char passwd[] = "root:x:0:0:root:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n";
	static const char group[] = "root:x:0:\nnobody:x:65534:\n";
	static const struct {
		const char *name;
		mode_t mode;
	} dirs[] = {{"bin", 0755}, {"etc", 0755}, {"proc", 0755}, {"sys", 0755}, {"dev", 0755}, {"tmp", 01777}};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < FL_COUNT(dirs); i++)
		rc = make_dir(rootfs, dirs[i].name, dirs[i].mode, err);
	if (rc == 0)
		rc = write_file(rootfs, "etc/passwd", passwd, sizeof(passwd) - 1, 0644, err);
	if (rc == 0)
		rc = write_file(rootfs, "etc/group", group, sizeof(group) - 1, 0644, err);
	if (rc == 0)
		rc = write_file(rootfs, "bin/fairlead-echo", file->data, file->len, 0755, err);
	return rc;
}

static int ensure_echo(struct fl_images *im, struct fl_err *err)
{
	static const char *const entrypoint[] = {"/bin/fairlead-echo", NULL}, *const none[] = {NULL};
	static const char *const env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	struct fl_embedded file = fl_embedded_echo();
	AUTO_FREE char *dir = fl_asprintf("%s/%s", im->paths->images, file.sha256);
	AUTO_FREE char *tmp = fl_asprintf("%s.%d", dir, (int)getpid()), *tmp_rootfs = fl_asprintf("%s/rootfs", tmp);
	AUTO_FREE char *rootfs = fl_asprintf("%s/rootfs", dir);

	if (im->echo_rootfs)
		return 0;
	if (access(rootfs, F_OK) < 0) {
		int rc = fl_file_mkdirs(tmp_rootfs, 0755, err);

		if (rc == 0)
			rc = unpack_echo(tmp_rootfs, &file, err);
		if (rc == 0 && rename(tmp, dir) < 0 && access(rootfs, F_OK) < 0)
			rc = fl_err_set(err, -errno, "rename %s: %s", tmp, strerror(errno));
		if (fl_file_remove_all(tmp, NULL) < 0 || rc < 0)
			return rc < 0 ? fl_err_prefix(err, "unpack image fairlead/echo") : 0;
		// Its pages are not needed again in this process.
		uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE),
			  from = ((uintptr_t)file.data + page - 1) & ~(page - 1);

		madvise((void *)from, ((uintptr_t)file.data + file.len - from) & ~(page - 1), MADV_DONTNEED);
	}
	snprintf(im->echo_id, sizeof(im->echo_id), "sha256:%s", file.sha256);
	im->echo_rootfs = TAKE_PTR(rootfs);
	im->echo = (struct fl_image){
	    .id = im->echo_id,
	    .rootfs = im->echo_rootfs,
	    .entrypoint = entrypoint,
	    .cmd = none,
	    .env = env,
	    .workdir = "/",
	    .user = "",
	};
	return 0;
}

void fl_images_ensure(struct fl_images *im, const char *ref, const char *policy, fl_image_done done, void *arg)
{
	char repository[256];
	AUTO_FREE char *message = NULL;
	struct fl_err err = {0};

	if (!is_reference(ref)) {
		message = fl_asprintf("Failed to apply default image tag \"%s\": couldn't parse image name", ref);
		done(arg, -EINVAL, NULL, message);
		return;
	}
	repository_of(ref, repository, sizeof(repository));
	if (strcmp(repository, "fairlead/echo") == 0) {
		int rc = ensure_echo(im, &err);

		done(arg, rc, rc == 0 ? &im->echo : NULL, err.text);
		return;
	}
	message = fl_asprintf("failed to pull image \"%s\": this node has the image fairlead/echo only", ref);
	done(arg, -ENOENT, NULL, message);
}
