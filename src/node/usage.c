// SPDX-License-Identifier: Apache-2.0
// A walk with open directories, never with paths, so that no name that a container makes is too long or leads out.
// Below a depth that nobody reaches by accident it goes on with one directory open at a time, which reads more of them
// twice.
#include "node/usage.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/vec.h"

#define DEPTH_MAX 256 // directories in each other that are open at once

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

struct level {
	ino_t ino;
	long at; // see telldir
};

static DIR *open_dir(int fd) // takes fd
{
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d && fd >= 0)
		close(fd);
	return d;
}

// Adds the next entry. *ret_below: it opened, if it is a directory; -1. False: there is none, or enough is known.
static bool next(struct walk *w, DIR *d, int *ret_below)
{
	struct dirent *e;
	struct stat st;

	*ret_below = -1;
	if (w->bytes > w->enough || atomic_load(w->stop) || !(e = readdir(d)))
		return false;
	if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
	    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != w->dev)
		return true;
	add(w, &st);
	if (S_ISDIR(st.st_mode))
		*ret_below = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return true;
}

// One descriptor whatever the depth: the way back is "..", and where the reading of each directory stood. One that is
// moved meanwhile ends it: the rest counts when it is measured next.
static void walk_deep(struct walk *w, int fd) // takes fd
{
	FL_VEC(struct level) up = {0};
	DIR *d = open_dir(fd);
	int below;

	while (d) {
		struct stat st = {0};

		if (next(w, d, &below)) {
			if (below < 0)
				continue;
			if (fstat(dirfd(d), &st) < 0)
				st.st_ino = 0; // no way back
			fl_vec_push(&up, ((struct level){.ino = st.st_ino, .at = telldir(d)}));
			closedir(d);
			d = open_dir(below);
			continue;
		}
		if (!up.n || w->bytes > w->enough || atomic_load(w->stop))
			break;
		below = openat(dirfd(d), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		closedir(d);
		d = open_dir(below);
		up.n--;
		if (!d || fstat(dirfd(d), &st) < 0 || st.st_ino != up.v[up.n].ino || st.st_dev != w->dev)
			break;
		seekdir(d, up.v[up.n].at);
	}
	if (d)
		closedir(d);
	fl_vec_deinit(&up);
}

static void walk(struct walk *w, int fd, unsigned depth) // takes fd
{
	DIR *d = open_dir(fd);
	int below;

	while (d && next(w, d, &below)) {
		if (below >= 0 && depth)
			walk(w, below, depth - 1);
		else if (below >= 0)
			walk_deep(w, below);
	}
	if (d)
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
	walk(&w, fd, DEPTH_MAX);
	return w.bytes;
}
