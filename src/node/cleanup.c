// SPDX-License-Identifier: Apache-2.0
// `fairlead down` for the node: everything that the role made on this host goes, whatever state it was left in. Nothing
// is asked of the API. The order: processes, then what they hold, then what led to them. cgroups are the last word on
// which processes are ours.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "io/subprocess.h"
#include "node/ctr.h"
#include "node/node.h"
#include "node/podnet.h"

#define SHIM_WAIT_MS   5000
#define SHIM_LOOK_MS   50
#define CGROUP_WAIT_MS 5000
#define CGROUP_ROOT    "/sys/fs/cgroup"

typedef void (*visit_fn)(const char *path, const char *name, void *arg);

// Calls `visit` for each entry of a directory; one that cannot be read has none.
static void each_entry(const char *dir, visit_fn visit, void *arg)
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

// --- cgroups: one tree (v2), one per controller (v1), or both (hybrid) ---

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
		each_entry(path, kill_listed, arg);
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
		each_entry(path, thaw, arg);
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
	each_entry(path, remove_cgroup, arg);
	if (rmdir(path) < 0 && errno != ENOENT)
		*(bool *)arg = false;
}

// Each place where our top cgroup may be.
static void each_cgroup(const struct fl_node_paths *p, visit_fn visit, void *arg)
{
	AUTO_FREE char *top = fl_asprintf(CGROUP_ROOT "%s", p->cgroup);
	DIR *d = opendir(CGROUP_ROOT);

	if (is_directory(top))
		visit(top, "", arg);
	if (!d)
		return;
	for (struct dirent *e; (e = readdir(d));) {
		AUTO_FREE char *path = fl_asprintf(CGROUP_ROOT "/%s%s", e->d_name, p->cgroup);

		if (e->d_name[0] != '.' && strcmp(e->d_name, p->cgroup + 1) != 0 && is_directory(path))
			visit(path, "", arg);
	}
	closedir(d);
}

static int remove_cgroups(const struct fl_node_paths *p, struct fl_err *err)
{
	uint64_t until = fl_mono_ms() + CGROUP_WAIT_MS;

	for (;;) {
		unsigned killed = 0;
		bool gone = true;

		each_cgroup(p, thaw, NULL);
		each_cgroup(p, kill_listed, &killed);
		each_cgroup(p, remove_cgroup, &gone);
		if (gone)
			return 0;
		if (fl_mono_ms() > until)
			return fl_err_set(err, -EBUSY, "cgroup %s cannot be removed: processes in it do not end",
					  p->cgroup);
		poll(NULL, 0, 5); // the kernel takes a moment to empty a cgroup
	}
}

// --- shims ---

struct shims {
	FL_VEC(struct pollfd) fds; // pidfds; -1: ended
};

static void add_attempt(const char *path, const char *name, void *arg)
{
	struct shims *s = arg;
	int pid = fl_ctr_shim_pid(path), fd;

	for (int i = 0; pid < 0 && i < 100; i++) { // just being started
		poll(NULL, 0, 10);
		pid = fl_ctr_shim_pid(path);
	}
	if (pid <= 0)
		return;
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return;
	if (fl_ctr_shim_pid(path) != pid) { // it ended, and the pid may be somebody else's by now
		close(fd);
		return;
	}
	fl_vec_push(&s->fds, ((struct pollfd){.fd = fd, .events = POLLIN}));
}

static void add_container(const char *path, const char *name, void *arg)
{
	each_entry(path, add_attempt, arg);
}

static void add_pod(const char *path, const char *name, void *arg)
{
	AUTO_FREE char *containers = fl_asprintf("%s/containers", path);

	each_entry(containers, add_container, arg);
}

// Waits until every shim ended, and ends meanwhile what they may still start. One that does not end is killed.
static void wait_shims(const struct fl_node_paths *p, struct shims *s)
{
	uint64_t until = fl_mono_ms() + SHIM_WAIT_MS;
	size_t left = s->fds.n;
	unsigned killed = 0;

	while (left && fl_mono_ms() < until) {
		each_cgroup(p, kill_listed, &killed);
		if (poll(s->fds.v, s->fds.n, SHIM_LOOK_MS) < 1)
			continue;
		for (size_t i = 0; i < s->fds.n; i++) {
			if (s->fds.v[i].fd < 0 || !(s->fds.v[i].revents & POLLIN))
				continue;
			close(s->fds.v[i].fd);
			s->fds.v[i].fd = -1;
			left--;
		}
	}
	for (size_t i = 0; i < s->fds.n; i++) {
		if (s->fds.v[i].fd < 0)
			continue;
		syscall(SYS_pidfd_send_signal, s->fds.v[i].fd, SIGKILL, NULL, 0);
		close(s->fds.v[i].fd);
	}
	fl_vec_deinit(&s->fds);
}

// --- what else ---

static void delete_container(const char *path, const char *name, void *arg)
{
	const char *const *runtime = arg; // program, state directory
	const char *const argv[] = {runtime[0], "--root", runtime[1], "delete", "--force", name, NULL};
	int status;

	if (fl_subprocess_run(argv, 10000, &status, NULL, NULL) < 0)
		fl_warn("runtime cannot delete a container id=%s", name);
}

static const char *runtime_of(const struct fl_node_paths *p, const struct fl_node_opts *o, char **keep)
{
	AUTO_FREE char *file = fl_asprintf("%s/runtime.choice", p->run);

	if (fl_file_read(file, keep, NULL, NULL) == 0) {
		(*keep)[strcspn(*keep, "\n")] = '\0';
		return *keep;
	}
	return fl_str_empty(o->runtime) ? "runc" : o->runtime;
}

static void remove_network(const char *path, const char *name, void *arg)
{
	const struct fl_node_paths *p = arg;
	AUTO_FREE char *uid = fl_strndup(name, strcspn(name, ".")); // an entry of ns/, or the directory of a pod
	struct fl_err err = {0};

	if (fl_podnet_del(p, uid, &err) < 0)
		fl_warn("network of pod %s: %s", uid, err.text);
}

int fl_node_cleanup(const struct fl_node_opts *opts, struct fl_err *err)
{
	AUTO(fl_node_paths_deinit) struct fl_node_paths p = {0};
	AUTO_FREE char *keep = NULL;
	struct shims shims = {0};
	int rc = fl_node_paths_init(&p, opts->data_dir, false, err);

	if (rc == -ENOENT)
		return 0; // never ran here
	if (rc < 0)
		return rc;
	each_entry(p.pods, add_pod, &shims);
	rc = remove_cgroups(&p, err); // ends the containers; their shims see it and end
	wait_shims(&p, &shims);
	if (rc == 0)
		rc = remove_cgroups(&p, err); // what a shim was still starting
	if (rc < 0)
		return rc;
	each_entry(p.runtime_root, delete_container, (const char *[]){runtime_of(&p, opts, &keep), p.runtime_root});
	each_entry(p.ns, remove_network, &p);
	each_entry(p.pods, remove_network, &p);
	fl_mounts_detach_below(p.pods);
	fl_mounts_detach_below(p.run);
	rc = fl_podnet_host_cleanup(&p, err);
	if (rc == 0)
		rc = fl_file_remove_all(p.pods, err);
	if (rc == 0)
		rc = fl_file_remove_all(p.run, err);
	return rc;
}
