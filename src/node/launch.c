// SPDX-License-Identifier: Apache-2.0
// Start and end of one container: image, configuration, shim, probes, what is kept of a run that ended. An attempt's
// directory is complete before its shim starts; its number is the restart count, so what is on disk tells how often.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "node/logs.h"
#include "node/pod.h"
#include "node/podpause.h"
#include "node/subpath.h"

#define MESSAGE_MAX    4096 // kubelet: of a termination message
#define LOG_LINES      80   // kubelet: MaxContainerTerminationMessageLogLines
#define LOG_MAX        2048 // kubelet: MaxContainerTerminationMessageLogLength
#define CONFIG_WAIT_MS 5000

char *fl_container_dir(const struct container *c, unsigned attempt)
{
	return fl_asprintf("%s/containers/%s/%u", c->pod->dir, c->name, attempt);
}

char *fl_container_log(const struct container *c, unsigned attempt)
{
	return fl_asprintf("%s/logs/%s/%u.log", c->pod->dir, c->name, attempt);
}

static char *container_id(const struct container *c, unsigned attempt)
{
	return fl_asprintf("%s-%s-%u", c->pod->uid, c->name, attempt);
}

void fl_run_end_clear(struct run_end *e)
{
	free(e->message);
	*e = (struct run_end){0};
}

void fl_container_wait(struct container *c, const char *reason, const char *message, uint64_t delay_ms)
{
	char *copy = message ? fl_strdup(message) : NULL;

	c->state = CONTAINER_WAITING;
	c->wait_reason = reason;
	free(c->wait_message);
	c->wait_message = copy;
	c->waits_since_ms = uv_now(c->pod->pods->o.loop);
	c->not_before_ms = c->waits_since_ms + delay_ms;
}

void fl_container_unqueue(struct container *c)
{
	struct fl_pods *pods = c->pod->pods;

	if (c->state != CONTAINER_QUEUED)
		return;
	c->state = CONTAINER_WAITING;
	for (size_t i = 0; i < pods->queue.n; i++) {
		if (pods->queue.v[i] == c) {
			fl_vec_remove(&pods->queue, i);
			break;
		}
	}
	if (pods->slots && pods->queue.n)
		fl_pod_kick(pods->queue.v[0]->pod);
}

void fl_container_release(struct container *c)
{
	fl_prober_stop(&c->prober);
	fl_action_cancel(&c->hook);
	fl_ctr_free(&c->ctr);
	fl_container_unqueue(c);
}

// --- slots: how many containers may be starting at once ---

static void slot_free(struct container *c)
{
	struct fl_pods *pods = c->pod->pods;

	if (!c->has_slot)
		return;
	c->has_slot = false;
	pods->slots++;
	if (pods->queue.n)
		fl_pod_kick(pods->queue.v[0]->pod);
}

static bool slot_take(struct container *c)
{
	struct fl_pods *pods = c->pod->pods;
	bool queued = c->state == CONTAINER_QUEUED;

	if (!pods->slots || (pods->queue.n && pods->queue.v[0] != c)) {
		if (!queued)
			fl_vec_push(&pods->queue, c);
		c->state = CONTAINER_QUEUED;
		return false;
	}
	if (queued)
		fl_vec_remove(&pods->queue, 0);
	pods->slots--;
	c->has_slot = true;
	if (pods->slots && pods->queue.n)
		fl_pod_kick(pods->queue.v[0]->pod);
	return true;
}

// --- while it runs ---

// So that a restart of the node does not make a ready pod unready.
static void record_ready(struct container *c)
{
	AUTO_FREE char *dir = fl_container_dir(c, c->attempt), *path = fl_asprintf("%s/ready", dir);
	const char *text = fl_prober_ready(c->prober) ? "ready\n" : fl_prober_started(c->prober) ? "started\n" : "";
	struct fl_err err = {0};

	if (fl_node_file_put(path, text, strlen(text), 0600, &err) < 0)
		fl_warn("readiness is not recorded: %s", err.text);
}

static void on_ready(void *arg, bool ready)
{
	struct container *c = arg;

	record_ready(c);
	fl_pod_kick(c->pod);
}

static void on_startup(void *arg)
{
	struct container *c = arg;

	record_ready(c);
	fl_pod_kick(c->pod);
}

static void on_failure(void *arg, enum fl_probe_use use, const char *text, bool kill, int64_t grace_s)
{
	struct container *c = arg;
	struct pod *p = c->pod;

	fl_pod_event(p, "Warning", "Unhealthy", "%s", text);
	if (!kill || p->stage != POD_RUNNING)
		return;
	fl_pod_event(p, "Normal", "Killing", "Container %s failed %s probe%s", c->name,
		     use == FL_PROBE_STARTUP ? "startup" : "liveness",
		     p->restart != FL_RESTART_NEVER || c->sidecar ? ", will be restarted" : "");
	fl_container_stop(c, grace_s >= 0 ? grace_s : p->grace_s);
	fl_pod_kick(p);
}

static void probes_start(struct container *c)
{
	struct pod *p = c->pod;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_pod_spec spec = {0};

	if (fl_pod_spec_read(&a, fl_object_tree(p->obj, &a), &spec, NULL) < 0 || c->index >= spec.n_containers)
		return;
	struct fl_prober_opts o = {
	    .place = c->place,
	    .container = spec.containers[c->index].json,
	    .was_ready = c->was_ready,
	    .was_started = c->was_started,
	    .on_ready = on_ready,
	    .on_startup = on_startup,
	    .on_failure = on_failure,
	    .arg = c,
	};
	if (!c->init || c->sidecar)
		c->prober = fl_prober_start(&o);
	c->was_ready = c->was_started = false;
}

// The image of a container that was started by an earlier run of the node.
static void image_recall(struct container *c)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO_FREE char *dir = fl_container_dir(c, c->attempt), *lower = fl_asprintf("%s/lower", dir);
	struct fl_pod_spec spec = {0};

	if (fl_pod_spec_read(&a, fl_object_tree(c->pod->obj, &a), &spec, NULL) < 0 || c->index >= spec.n_containers)
		return;
	c->image = fl_images_recall(c->pod->pods->images, lower, spec.containers[c->index].image);
}

static void on_started(void *arg, int64_t started_ns)
{
	struct container *c = arg;
	bool found = !c->has_slot;

	slot_free(c);
	c->state = CONTAINER_RUNNING;
	c->started_ns = started_ns;
	c->tries = 0;
	c->stop = STOP_NOT;
	fl_container_place(c);
	if (!found)
		fl_pod_event(c->pod, "Normal", "Started", "Container started");
	fl_container_post_start(c);
}

void fl_container_running(struct container *c)
{
	if (c->stop == STOP_NOT)
		probes_start(c);
	fl_pod_kick(c->pod);
}

// --- after it ended ---

// The end of what it left there (kubelet: tail.ReadAtMost).
static char *termination_message(const struct container *c, unsigned attempt)
{
	AUTO_FREE char *dir = fl_container_dir(c, attempt), *path = fl_asprintf("%s/termination-log", dir);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	char text[MESSAGE_MAX + 1], *from = text;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return NULL;
	n = pread(fd, text, MESSAGE_MAX, st.st_size > MESSAGE_MAX ? st.st_size - MESSAGE_MAX : 0);
	if (n <= 0)
		return NULL;
	text[n] = '\0';
	while (st.st_size > MESSAGE_MAX && (*from & 0xC0) == 0x80) // the rest of a character that was cut
		from++;
	return fl_strdup(from);
}

// The end of what it wrote to its log.
static char *last_words(const struct container *c, unsigned attempt)
{
	AUTO_FREE char *path = fl_container_log(c, attempt);
	AUTO(fl_logs_free) struct fl_logs *log = NULL;
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	const struct fl_logs_opts o = {.tail_lines = LOG_LINES, .limit_bytes = -1};

	if (fl_logs_open(path, &o, &log, NULL) < 0)
		return NULL;
	while (fl_logs_read(log, &b) == 1)
		;
	if (!b.len)
		return NULL;
	return b.len > LOG_MAX ? fl_strdup(b.data + b.len - LOG_MAX) : fl_buf_take(&b);
}

static char *message_of(const struct container *c, const struct fl_ctr_exit *e)
{
	char *text = e->message ? fl_strdup(e->message) : termination_message(c, c->attempt);

	if (!text && e->ran && e->code != 0 && c->logs_are_told)
		text = last_words(c, c->attempt);
	return text;
}

static void run_end_set(struct container *c, const struct fl_ctr_exit *e)
{
	fl_run_end_clear(&c->now);
	c->now = (struct run_end){
	    .code = e->code,
	    .reason = e->lost        ? "ContainerStatusUnknown"
		      : !e->ran      ? "StartError"
		      : e->oom       ? "OOMKilled"
		      : e->code == 0 ? "Completed"
				     : "Error",
	    .message = message_of(c, e),
	    .started_ns = e->started_ns,
	    .finished_ns = e->finished_ns,
	    .ran = e->ran,
	    .attempt = c->attempt,
	};
	c->state = CONTAINER_ENDED;
	c->stop = STOP_NOT;
	c->in_post_start = false;
	c->told_backoff = false;
	c->was_ready = c->was_started = false;
	c->ended_ms = fl_mono_ms();
}

// The file system of a run that ended is of no more use; its exit record and log are kept until the run after the next.
static void drop_files(struct container *c, unsigned attempt)
{
	static const char *const parts[] = {"upper", "work", "rootfs"};

	for (size_t i = 0; i < FL_COUNT(parts); i++) {
		AUTO_FREE char *dir = fl_container_dir(c, attempt);

		fl_work_remove(c->pod->pods, fl_asprintf("%s/%s", dir, parts[i]));
	}
	if (attempt >= 2) {
		AUTO_FREE char *log = fl_container_log(c, attempt - 2);

		fl_work_remove(c->pod->pods, fl_container_dir(c, attempt - 2));
		fl_work_remove(c->pod->pods, TAKE_PTR(log));
		for (int i = 1; i <= 4; i++) {
			AUTO_FREE char *current = fl_container_log(c, attempt - 2);

			fl_work_remove(c->pod->pods, fl_asprintf("%s.%d", current, i));
		}
	}
}

static void on_exit_of(void *arg, const struct fl_ctr_exit *e)
{
	struct container *c = arg;

	slot_free(c);
	fl_prober_stop(&c->prober);
	fl_action_cancel(&c->hook);
	fl_ctr_free(&c->ctr);
	run_end_set(c, e);
	drop_files(c, c->attempt);
	if (!e->ran)
		fl_pod_event(c->pod, "Warning", "Failed", "Error: %s", e->message ? e->message : "cannot be started");
	fl_pod_kick(c->pod);
}

// --- start ---

static int build_config(struct container *c, struct fl_arena *a, const char *dir, struct fl_json **ret,
			struct fl_err *err)
{
	struct pod *p = c->pod;
	const struct fl_pods_opts *o = &p->pods->o;
	AUTO_FREE char *net = fl_podnet_ns_path(o->paths, p->uid, "net"),
		       *uts = fl_podnet_ns_path(o->paths, p->uid, "uts"),
		       *ipc = fl_podnet_ns_path(o->paths, p->uid, "ipc"),
		       *pid = fl_podnet_ns_path(o->paths, p->uid, "pid");
	struct fl_pod_spec spec = {0};
	struct fl_env env = {0};
	struct fl_json *argv = NULL;
	struct fl_oci_mount *mounts = NULL;
	unsigned n_mounts = 0;
	int rc = fl_pod_spec_read(a, fl_object_tree(p->obj, a), &spec, err);

	if (rc < 0)
		return rc;
	struct fl_env_source source = {
	    .pod = &spec,
	    .container = &spec.containers[c->index],
	    .pod_ips = p->ips,
	    .host_ips = o->node_ips,
	    .n_pod_ips = p->n_ips,
	    .n_host_ips = o->n_node_ips,
	    .kubernetes_ip = o->kubernetes_ip,
	    .services = o->api->services,
	    .services_arg = o->api_arg,
	    .node_cpu_milli = o->node_cpu_milli,
	    .node_memory = o->node_memory,
	    .node_disk = o->node_disk,
	    .lookup = fl_docs_lookup,
	    .arg = p->docs,
	};
	rc = fl_env_build(a, &source, c->image, &env, err);
	if (rc == 0)
		rc = fl_env_command(a, source.container, c->image, &env, &argv, err);
	if (rc == 0)
		rc = fl_volumes_mounts(a, p->dir, &spec, source.container, env.pods, &mounts, &n_mounts, err);
	for (unsigned i = 0; rc == 0 && i < n_mounts; i++) {
		const char *at = fl_arena_printf(a, "%s/subpaths/%s/%u", p->dir, c->name, i);

		if (!mounts[i].subpath)
			continue;
		rc = fl_subpath_bind(mounts[i].source, mounts[i].subpath, at, err);
		mounts[i].source = at;
	}
	if (rc == 0 && spec.share_pid)
		rc = fl_podpause_start(o->paths, p->uid, err); // lives, unless somebody ended it
	if (rc == 0 && spec.n_containers > 1 && !spec.host_ipc)
		rc = fl_volumes_shm(p->dir, err); // is there, unless an earlier version set the pod up
	if (rc < 0)
		return rc;
	AUTO_FREE char *passwd = fl_image_read_file(c->image, "etc/passwd"),
		       *group = fl_image_read_file(c->image, "etc/group");
	struct fl_oci_opts oci = {
	    .pod = &spec,
	    .container = source.container,
	    .image = c->image,
	    .argv = argv,
	    .env = env.all,
	    .netns = p->host_network ? NULL : net,
	    .utsns = p->host_network ? NULL : uts,
	    .ipcns = ipc,
	    .pidns = spec.share_pid ? pid : NULL,
	    .shm = spec.host_ipc           ? "/dev/shm"
		   : spec.n_containers > 1 ? fl_arena_printf(a, "%s/shm", p->dir)
					   : NULL,
	    .cgroup = fl_arena_printf(a, "%s/%s/%s", o->paths->cgroup, p->uid, c->name),
	    .termination_log = fl_arena_printf(a, "%s/termination-log", dir),
	    .mounts = mounts,
	    .n_mounts = n_mounts,
	    .passwd = passwd,
	    .group = group,
	    .may_lower_oom_score = p->pods->may_lower_oom_score,
	    .node_memory = o->node_memory,
	    .cgroups = fl_node_cgroups_find(o->paths),
	};
	return fl_oci_config(a, &oci, ret, err);
}

static int make_dir(const struct container *c, const char *dir, const struct fl_json *config, struct fl_err *err)
{
	static const char *const parts[] = {"rootfs", "upper", "work"};
	AUTO_FREE char *log = fl_container_log(c, c->attempt), *slash = NULL;
	AUTO_FREE char *lower = fl_asprintf("%s/lower", dir), *file = fl_asprintf("%s/config.json", dir);
	AUTO_FREE char *message = fl_asprintf("%s/termination-log", dir);
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	int rc = fl_file_remove_all(dir, err); // of a start that was not made

	for (size_t i = 0; rc == 0 && i < FL_COUNT(parts); i++) {
		AUTO_FREE char *part = fl_asprintf("%s/%s", dir, parts[i]);

		rc = fl_file_mkdirs(part, 0755, err);
	}
	slash = fl_strdup(log);
	*strrchr(slash, '/') = '\0';
	if (rc == 0)
		rc = fl_file_mkdirs(slash, 0755, err);
	if (rc == 0)
		rc = fl_images_use(c->pod->pods->images, c->image, lower, err);
	if (rc == 0)
		rc = fl_node_file_put(message, "", 0, 0666, err);
	fl_json_write(&b, config);
	if (rc == 0)
		rc = fl_node_file_put(file, b.data, b.len, 0600, err);
	return rc;
}

// The image went (by hand, or for want of room) between the moment that it was found and now: it is asked for again.
static bool lost_image(struct container *c)
{
	if (access(c->image->rootfs, F_OK) == 0)
		return false;
	c->image_ready = false;
	c->state = CONTAINER_WAITING;
	return true;
}

static struct fl_ctr_opts ctr_opts(struct container *c, struct fl_arena *a, const char *dir)
{
	const struct fl_pods_opts *o = &c->pod->pods->o;
	AUTO_FREE char *id = container_id(c, c->attempt), *log = fl_container_log(c, c->attempt);

	return (struct fl_ctr_opts){
	    .loop = o->loop,
	    .paths = o->paths,
	    .runtime = o->runtime,
	    .dir = dir,
	    .id = fl_arena_strdup(a, id),
	    .cgroup = fl_arena_printf(a, "%s/%s/%s", o->paths->cgroup, c->pod->uid, c->name),
	    .log = fl_arena_strdup(a, log),
	    .on_started = on_started,
	    .on_exit = on_exit_of,
	    .arg = c,
	};
}

static void start(struct container *c)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO_FREE char *dir = fl_container_dir(c, c->attempt);
	struct fl_json *config = NULL;
	struct fl_ctr_opts o = ctr_opts(c, &a, dir);
	struct fl_err err = {0};
	const char *reason = "CreateContainerConfigError";
	int rc = build_config(c, &a, dir, &config, &err);

	if (rc == 0) {
		reason = "CreateContainerError";
		rc = make_dir(c, dir, config, &err);
	}
	if (rc == -ENOENT && lost_image(c)) {
		slot_free(c);
		fl_pod_kick(c->pod);
		return;
	}
	if (rc == 0)
		rc = fl_ctr_start(&o, &c->ctr, &err);
	if (rc < 0) {
		if (!c->tries++)
			fl_pod_event(c->pod, "Warning", "Failed", "Error: %s", err.text);
		fl_container_wait(c, reason, err.text, CONFIG_WAIT_MS);
		c->pod->docs_missing = true;
		c->pod->retry_at_ms = uv_now(c->pod->pods->o.loop) + CONFIG_WAIT_MS / 2;
		slot_free(c);
		fl_pod_kick(c->pod);
		return;
	}
	fl_run_end_clear(&c->now);
	c->state = CONTAINER_STARTING;
	fl_pod_event(c->pod, "Normal", "Created", "Container created");
}

void fl_container_launch(struct container *c)
{
	uint64_t now = uv_now(c->pod->pods->o.loop);

	if (c->state == CONTAINER_WAITING && now < c->not_before_ms) {
		if (!fl_container_pull_wait(c))
			return;
		c->not_before_ms = now;
	}
	if (c->state == CONTAINER_WAITING && !c->image_ready)
		fl_container_pull(c);
	if (c->state == CONTAINER_PULLING || (c->state == CONTAINER_WAITING && now < c->not_before_ms) ||
	    !c->image_ready)
		return;
	if (slot_take(c))
		start(c);
}

// --- what an earlier run of the node left ---

static int newest_attempt(const struct container *c)
{
	AUTO_FREE char *path = fl_asprintf("%s/containers/%s", c->pod->dir, c->name);
	DIR *d = opendir(path);
	int newest = -1;

	if (!d)
		return -1;
	for (struct dirent *e; (e = readdir(d));) {
		unsigned long long n;

		if (fl_parse_u64(e->d_name, &n) && n < 1000000000 && (int)n > newest)
			newest = (int)n;
	}
	closedir(d);
	return newest;
}

static void read_last(struct container *c)
{
	AUTO_FREE char *dir = NULL;
	struct fl_ctr_exit e;

	if (!c->attempt)
		return;
	dir = fl_container_dir(c, c->attempt - 1);
	if (!fl_ctr_read_exit(dir, &e))
		return;
	c->attempt--;
	run_end_set(c, &e);
	c->attempt++;
	c->last = c->now;
	c->now = (struct run_end){0};
	c->has_last = true;
}

// Prepared, and perhaps handed to a shim that died before its first deed: nobody runs it, nobody ever did.
static bool never_began(const char *dir)
{
	AUTO_FREE char *lock = fl_asprintf("%s/lock", dir);
	struct stat st;

	return stat(lock, &st) < 0 || (st.st_size == 0 && fl_ctr_shim_pid(dir) == 0);
}

void fl_container_again(struct container *c)
{
	AUTO_FREE char *dir = fl_container_dir(c, c->attempt + 1);
	struct fl_err err = {0};

	if (fl_file_mkdirs(dir, 0755, &err) < 0)
		fl_warn("that container %s runs again is not recorded: %s", c->name, err.text);
	fl_container_next_run(c);
}

bool fl_container_lives(const struct container *c)
{
	AUTO_FREE char *dir = fl_container_dir(c, c->attempt);

	return c->state == CONTAINER_STARTING && fl_ctr_shim_pid(dir) != 0;
}

void fl_container_adopt(struct container *c)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	int newest = newest_attempt(c);
	struct fl_ctr_exit e;
	struct fl_ctr_opts o;

	if (newest < 0)
		return;
	c->attempt = (unsigned)newest;
	image_recall(c);
	read_last(c);
	AUTO_FREE char *dir = fl_container_dir(c, c->attempt);

	if (!fl_ctr_read_exit(dir, &e) && never_began(dir)) {
		c->state = CONTAINER_WAITING;
		return;
	}
	AUTO_FREE char *ready_path = fl_asprintf("%s/ready", dir), *ready = NULL;

	if (fl_file_read(ready_path, &ready, NULL, NULL) == 0) {
		c->was_ready = strncmp(ready, "ready", 5) == 0;
		c->was_started = c->was_ready || strncmp(ready, "started", 7) == 0;
	}
	o = ctr_opts(c, &a, dir);
	if (fl_ctr_read_exit(dir, &e))
		run_end_set(c, &e);
	else if (fl_ctr_find(&o, &c->ctr, NULL) == 0)
		c->state = CONTAINER_STARTING;
}
