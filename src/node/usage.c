// SPDX-License-Identifier: Apache-2.0
// A walk with open directories, never with paths, so that no name that a container makes is too long or leads out.
#include "node/usage.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

struct walk {
	dev_t dev;
	uint64_t bytes, enough;
	const atomic_bool *stop;
};

static void add(struct walk *w, const struct stat *st)
{
	uint64_t bytes = (uint64_t)st->st_blocks * 512;

	w->bytes += S_ISDIR(st->st_mode) || st->st_nlink < 2 ? bytes : bytes / st->st_nlink;
}

static void walk(struct walk *w, int fd, unsigned depth) // takes fd
{
	DIR *d = fdopendir(fd);

	if (!d) {
		close(fd);
		return;
	}
	for (struct dirent *e; w->bytes <= w->enough && !atomic_load(w->stop) && (e = readdir(d));) {
		struct stat st;
		int below;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != w->dev)
			continue;
		add(w, &st);
		if (!S_ISDIR(st.st_mode) || depth == 0)
			continue;
		below = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (below >= 0)
			walk(w, below, depth - 1);
	}
	closedir(d);
}

uint64_t fl_usage_of(const char *dir, uint64_t enough, const atomic_bool *stop)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct walk w = {.enough = enough, .stop = stop};
	struct stat st;

	if (fd < 0)
		return 0;
	if (fstat(fd, &st) < 0) {
		close(fd);
		return 0;
	}
	w.dev = st.st_dev;
	walk(&w, fd, FL_USAGE_DEPTH);
	return w.bytes;
}
