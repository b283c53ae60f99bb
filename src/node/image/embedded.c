// SPDX-License-Identifier: Apache-2.0
// The embedded image, fairlead/echo, unpacked once for each build of its program, into a directory named after the
// program's SHA-256 and without a name in the store.
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
#include "node/image.h"

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

const char *fl_image_embedded_hex(void)
{
	return fl_embedded_echo().sha256;
}

int fl_image_embedded(const struct fl_node_paths *paths, char **ret, struct fl_err *err)
{
	struct fl_embedded file = fl_embedded_echo();
	AUTO_FREE char *rootfs = fl_asprintf("%s/%s/rootfs", paths->images, file.sha256), *dir = NULL, *tmp = NULL;
	AUTO(fl_image_stage_end) struct fl_image_stage stage = {.lock_fd = -1};
	struct fl_image_store store;
	int rc = 0;

	if (access(rootfs, F_OK) < 0) {
		rc = fl_image_store_open(paths, &store, err);
		if (rc == 0)
			rc = fl_image_stage_begin(&store, &stage, err);
		if (rc < 0)
			return rc;
		dir = fl_asprintf("%s/image", stage.dir);
		tmp = fl_asprintf("%s/rootfs", dir);
		rc = fl_file_mkdirs(tmp, 0755, err);
		if (rc == 0)
			rc = unpack_echo(tmp, &file, err);
		if (rc == 0)
			rc = fl_image_store_place(&store, dir, file.sha256, err);
		if (rc < 0)
			return fl_err_prefix(err, "unpack image fairlead/echo");
		// Its pages are not needed again in this process.
		uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE),
			  from = ((uintptr_t)file.data + page - 1) & ~(page - 1);

		madvise((void *)from, ((uintptr_t)file.data + file.len - from) & ~(page - 1), MADV_DONTNEED);
	}
	*ret = TAKE_PTR(rootfs);
	return 0;
}
