// SPDX-License-Identifier: Apache-2.0
// `fairlead down` for the node: everything that the role made on this host goes, whatever state it was left in. Nothing
// is asked of the API. The order: processes, then what they hold, then what led to them. cgroups are the last word on
// which processes are ours.
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "io/subprocess.h"
#include "node/cgroup.h"
#include "node/ctr.h"
#include "node/egress.h"
#include "node/firewall/firewall.h"
#include "node/hostports.h"
#include "node/node.h"
#include "node/podnet.h"

#define SHIM_WAIT_MS 5000
#define SHIM_LOOK_MS 50

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
	fl_node_each_entry(path, add_attempt, arg);
}

static void add_pod(const char *path, const char *name, void *arg)
{
	AUTO_FREE char *containers = fl_asprintf("%s/containers", path);

	fl_node_each_entry(containers, add_container, arg);
}

// Waits until every shim ended, and ends meanwhile what they may still start. One that does not end is killed.
static void wait_shims(const struct fl_node_paths *p, struct shims *s)
{
	uint64_t until = fl_mono_ms() + SHIM_WAIT_MS;
	size_t left = s->fds.n;

	while (left && fl_mono_ms() < until) {
		fl_node_cgroups_kill(p);
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

static void delete_containers(const struct fl_node_paths *p, const struct fl_node_opts *o)
{
	AUTO_FREE char *keep = NULL;
	const char *runtime[] = {runtime_of(p, o, &keep), p->runtime_root};

	fl_node_each_entry(p->runtime_root, delete_container, runtime);
}

static void remove_network(const char *path, const char *name, void *arg)
{
	const struct fl_node_paths *p = arg;
	AUTO_FREE char *uid = fl_strndup(name, strcspn(name, ".")); // an entry of ns/, or the directory of a pod
	struct fl_err err = {0};

	if (fl_podnet_del(p, uid, &err) < 0)
		fl_warn("network of pod %s: %s", uid, err.text);
}

// What is left of a pod without its object is never taken for the pod.
static void forget_pod(const char *path, const char *name, void *arg)
{
	AUTO_FREE char *object = fl_asprintf("%s/pod.json", path);

	if (unlink(object) < 0 && errno != ENOENT && errno != ENOTDIR)
		fl_warn("remove %s: %s", object, strerror(errno));
}

int fl_node_cleanup(const struct fl_node_opts *opts, struct fl_err *err)
{
	AUTO(fl_node_paths_deinit) struct fl_node_paths p = {0};
	struct shims shims = {0};
	int rc = fl_node_paths_init(&p, opts->data_dir, false, err);

	if (rc == -ENOENT)
		return 0; // never ran here
	if (rc < 0)
		return rc;
	fl_node_each_entry(p.pods, add_pod, &shims);
	rc = fl_node_cgroups_remove(&p, NULL, err); // ends the containers; their shims see it and end
	wait_shims(&p, &shims);
	if (rc == 0)
		rc = fl_node_cgroups_remove(&p, NULL, err); // what a shim was still starting
	if (rc < 0)
		return rc;
	delete_containers(&p, opts);
	fl_node_each_entry(p.ns, remove_network, &p);
	fl_node_each_entry(p.pods, remove_network, &p);
	fl_mounts_detach_below(p.pods);
	fl_mounts_detach_below(p.run);
	rc = fl_firewall_cleanup(p.run, err);
	if (rc == 0)
		rc = fl_hostports_apply(NULL, 0, err);
	if (rc == 0)
		rc = fl_egress_cleanup(err);
	if (rc == 0)
		rc = fl_podnet_host_cleanup(&p, err);
	if (rc == 0) {
		fl_node_each_entry(p.pods, forget_pod, NULL);
		rc = fl_file_remove_all(p.pods, err);
	}
	if (rc == 0)
		rc = fl_file_remove_all(p.run, err);
	return rc;
}
