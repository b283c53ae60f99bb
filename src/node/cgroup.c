// SPDX-License-Identifier: Apache-2.0
#include "node/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#define CGROUP_WAIT_MS 5000
#define CGROUP_ROOT    "/sys/fs/cgroup"

void fl_node_each_entry(const char *dir, fl_node_visit_fn visit, void *arg)
{
	DIR *d = opendir(dir);

	if (!d)
		return;
	for (struct dirent *e; (e = readdir(d));) {
		AUTO_FREE char *path = fl_asprintf("%s/%s", dir, e->d_name);

		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			visit(path, e->d_name, arg);
	}
	closedir(d);
}

// The root has no memory.swap.max: it is looked for where this process is, and where pods are once one was there.
static bool has_swap_max(const struct fl_node_paths *p)
{
	AUTO_FREE char *text = NULL;
	AUTO_FREE char *pods = fl_asprintf(CGROUP_ROOT "%s/memory.swap.max", p->cgroup), *own = NULL;

	if (access(pods, F_OK) == 0)
		return true;
	if (fl_file_read("/proc/self/cgroup", &text, NULL, NULL) < 0 || !fl_starts_with(text, "0::/"))
		return false;
	own = fl_asprintf(CGROUP_ROOT "%.*s/memory.swap.max", (int)strcspn(text + 3, "\n"), text + 3);
	return access(own, F_OK) == 0;
}

struct fl_node_cgroups fl_node_cgroups_find(const struct fl_node_paths *p)
{
	struct statfs fs;
	bool unified = statfs(CGROUP_ROOT, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;

	return (struct fl_node_cgroups){
	    .unified = unified,
	    .swap = unified ? has_swap_max(p) : access(CGROUP_ROOT "/memory/memory.memsw.limit_in_bytes", F_OK) == 0,
	};
}

static bool is_directory(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static void kill_listed(const char *path, const char *name, void *arg)
{
	AUTO_FREE char *text = NULL;
	char *save = NULL;

	if (is_directory(path)) {
		fl_node_each_entry(path, kill_listed, arg);
		return;
	}
	if (strcmp(name, "cgroup.procs") != 0 || fl_file_read(path, &text, NULL, NULL) < 0)
		return;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		pid_t pid = (pid_t)atoi(line);

		if (pid > 1 && kill(pid, SIGKILL) == 0)
			(*(unsigned *)arg)++;
	}
}

static void thaw(const char *path, const char *name, void *arg)
{
	int fd;

	if (is_directory(path)) {
		fl_node_each_entry(path, thaw, arg);
		return;
	}
	if (strcmp(name, "freezer.state") != 0)
		return;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, "THAWED", 6) < 0)
		fl_warn("thaw %s: %s", path, strerror(errno));
	close(fd);
}

static void remove_cgroup(const char *path, const char *name, void *arg)
{
	if (!is_directory(path))
		return;
	fl_node_each_entry(path, remove_cgroup, arg);
	if (rmdir(path) < 0 && errno != ENOENT)
		*(bool *)arg = false;
}

// Each place where the cgroup may be.
static void each_cgroup(const char *cgroup, fl_node_visit_fn visit, void *arg)
{
	AUTO_FREE char *unified = fl_asprintf(CGROUP_ROOT "%s", cgroup);
	DIR *d = opendir(CGROUP_ROOT);

	if (is_directory(unified))
		visit(unified, "", arg);
	if (!d)
		return;
	for (struct dirent *e; (e = readdir(d));) {
		AUTO_FREE char *path = fl_asprintf(CGROUP_ROOT "/%s%s", e->d_name, cgroup);

		if (e->d_name[0] != '.' && strcmp(path, unified) != 0 && is_directory(path))
			visit(path, "", arg);
	}
	closedir(d);
}

void fl_node_cgroups_kill(const struct fl_node_paths *p)
{
	unsigned killed = 0;

	each_cgroup(p->cgroup, kill_listed, &killed);
}

int fl_node_cgroups_remove(const struct fl_node_paths *p, const char *uid, struct fl_err *err)
{
	AUTO_FREE char *cgroup = fl_asprintf("%s%s%s", p->cgroup, uid ? "/" : "", uid ? uid : "");
	uint64_t until = fl_mono_ms() + CGROUP_WAIT_MS;

	for (;;) {
		unsigned killed = 0;
		bool gone = true;

		each_cgroup(cgroup, thaw, NULL);
		each_cgroup(cgroup, kill_listed, &killed);
		each_cgroup(cgroup, remove_cgroup, &gone);
		if (gone)
			return 0;
		if (fl_mono_ms() > until)
			return fl_err_set(err, -EBUSY, "cgroup %s cannot be removed: processes in it do not end",
					  cgroup);
		poll(NULL, 0, 5); // the kernel takes a moment to empty a cgroup
	}
}
