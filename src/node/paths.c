// SPDX-License-Identifier: Apache-2.0
// The node's directories. See paths.h.
#include "node/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

static uint32_t fnv1a(const char *s)
{
	uint32_t h = 2166136261u;

	for (; *s; s++)
		h = (h ^ (uint8_t)*s) * 16777619u;
	return h;
}

int fl_node_paths_init(struct fl_node_paths *p, const char *data_dir, int create, struct fl_err *err)
{
	AUTO(fl_node_paths_deinit) struct fl_node_paths n = {0};
	AUTO_FREE char *real = NULL;
	int rc;

	if (create) {
		rc = fl_file_mkdirs(data_dir, 0755, err);
		if (rc < 0)
			return rc;
	}
	real = realpath(data_dir, NULL);
	if (!real)
		return fl_err_set(err, -errno, "data directory %s: %s", data_dir, strerror(errno));
	snprintf(n.tag, sizeof(n.tag), "%08x", fnv1a(real));
	snprintf(n.cgroup, sizeof(n.cgroup), "/fairlead-%s", n.tag);
	n.root = fl_asprintf("%s/node", real);
	n.run = fl_asprintf("%s/run/node", real);
	n.pods = fl_asprintf("%s/pods", n.root);
	n.images = fl_asprintf("%s/images", n.root);
	n.shim = fl_asprintf("%s/bin/fairlead-shim", n.root);
	n.runtime_root = fl_asprintf("%s/runtime", n.run);
	n.ns = fl_asprintf("%s/ns", n.run);
	if (create) {
		AUTO_FREE char *bin = fl_asprintf("%s/bin", n.root);
		const char *const dirs[] = {n.root, n.run, n.pods, n.images, bin, n.runtime_root, n.ns};

		for (size_t i = 0; i < FL_COUNT(dirs); i++) {
			rc = fl_file_mkdirs(dirs[i], 0711, err);
			if (rc < 0)
				return rc;
		}
	}
	*p = n;
	memset(&n, 0, sizeof(n)); // handed over
	return 0;
}

void fl_node_paths_deinit(struct fl_node_paths *p)
{
	char **const all[] = {&p->root, &p->run, &p->pods, &p->images, &p->shim, &p->runtime_root, &p->ns};

	for (size_t i = 0; i < FL_COUNT(all); i++) {
		free(*all[i]);
		*all[i] = NULL;
	}
}

int fl_node_paths_check_boot(const struct fl_node_paths *p, struct fl_err *err)
{
	AUTO_FREE char *file = fl_asprintf("%s/boot_id", p->run), *now = NULL, *then = NULL;
	int rc = fl_file_read("/proc/sys/kernel/random/boot_id", &now, NULL, err);

	if (rc < 0)
		return rc;
	if (fl_file_read(file, &then, NULL, NULL) == 0 && strcmp(then, now) == 0)
		return 0;
	rc = fl_file_remove_all(p->run, err);
	if (rc == 0)
		rc = fl_file_mkdirs(p->runtime_root, 0711, err);
	if (rc == 0)
		rc = fl_file_mkdirs(p->ns, 0711, err);
	if (rc == 0)
		rc = fl_file_write(file, now, strlen(now), 0600, err);
	return rc;
}

int fl_node_file_put(const char *path, const void *data, size_t len, mode_t mode, struct fl_err *err)
{
	AUTO_FREE char *tmp = fl_asprintf("%s.new", path);
	AUTO_CLOSE int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	const char *p = data;

	if (fd < 0)
		return fl_err_set(err, -errno, "create %s: %s", tmp, strerror(errno));
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fl_err_set(err, -errno, "write %s: %s", tmp, strerror(errno));
		p += n;
		len -= (size_t)n;
	}
	if (fchmod(fd, mode) < 0 || rename(tmp, path) < 0)
		return fl_err_set(err, -errno, "replace %s: %s", path, strerror(errno));
	return 0;
}
