// SPDX-License-Identifier: Apache-2.0
// All pods of the node: the table, what is found on disk at the start, what the list/watch client tells.
#include "node/pods.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "node/cgroup.h"
#include "node/pod.h"
#include "node/podnet.h"

#define CAP_SYS_RESOURCE_BIT 24

// --- one pod's memory ---

void fl_pod_ref(struct pod *p)
{
	p->refs++;
}

static void pod_destroy(struct pod *p)
{
	for (unsigned i = 0; i < p->n_containers; i++) {
		struct container *c = &p->containers[i];

		fl_run_end_clear(&c->now);
		fl_run_end_clear(&c->last);
		free(c->wait_message);
		free(c->name);
		fl_arena_deinit(&c->place_arena);
	}
	free(p->containers);
	fl_docs_put(&p->docs);
	fl_docs_put(&p->next);
	fl_map_deinit(&p->named);
	fl_object_put(&p->obj);
	free(p->reject_message);
	free(p->fail_reason);
	free(p->fail_message);
	free(p->host_ports);
	free(p->uid);
	free(p->ns);
	free(p->name);
	free(p->dir);
	free(p);
}

void fl_pod_unref(struct pod *p)
{
	if (--p->refs == 0)
		pod_destroy(p);
}

static void on_timer_closed(uv_handle_t *handle)
{
	fl_pod_unref(handle->data);
}

// The timer's handle holds the table's reference until it is closed.
void fl_pod_forget(struct pod *p)
{
	if (p->dead)
		return;
	p->dead = true;
	if (!p->pods->closing)
		fl_pod_unfollow(p);
	fl_map_del(&p->pods->table, p->uid);
	for (unsigned i = 0; i < p->n_containers; i++)
		fl_container_release(&p->containers[i]);
	uv_close((uv_handle_t *)&p->timer, on_timer_closed);
}

void fl_pod_event(struct pod *p, const char *type, const char *reason, const char *fmt, ...)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	va_list ap;

	va_start(ap, fmt);
	fl_buf_vprintf(&b, fmt, ap);
	va_end(ap);
	if (p->pods->o.api->event)
		p->pods->o.api->event(p->pods->o.api_arg, p->obj, type, reason, b.data ? b.data : "");
}

// What the API remembers of a container whose run we know nothing of (its files were removed): the next run counts on.
static unsigned next_attempt(const struct fl_pod_spec *spec, const struct fl_container_spec *c)
{
	const char *key = c->init ? "initContainerStatuses" : "containerStatuses";

	fl_json_each (s, fl_json_path(spec->root, "status", key, NULL)) {
		if (fl_streq(fl_json_str(s, "name"), c->name) && !fl_str_empty(fl_json_str(s, "containerID"))) {
			int64_t n = fl_json_int(s, "restartCount", 0);

			return n < 0 || n > 1000000 ? 0 : (unsigned)n + 1;
		}
	}
	return 0;
}

static int stop_signal_of(const struct fl_json *container)
{
	const char *name = fl_json_str(fl_json_get(container, "lifecycle"), "stopSignal");

	return fl_str_empty(name) ? 0 : fl_signal_of(name);
}

static void make_containers(struct pod *p, const struct fl_pod_spec *spec)
{
	p->n_containers = spec->n_containers;
	p->n_init = spec->n_init;
	p->containers = fl_calloc(spec->n_containers, sizeof(*p->containers));
	for (unsigned i = 0; i < spec->n_containers; i++) {
		struct container *c = &p->containers[i];

		c->pod = p;
		c->index = i;
		c->name = fl_strdup(spec->containers[i].name);
		c->init = spec->containers[i].init;
		c->sidecar = spec->containers[i].sidecar;
		c->has_post_start = fl_json_path(spec->containers[i].json, "lifecycle", "postStart", NULL) != NULL;
		c->has_pre_stop = fl_json_path(spec->containers[i].json, "lifecycle", "preStop", NULL) != NULL;
		c->stop_signal = stop_signal_of(spec->containers[i].json);
		c->logs_are_told = fl_streq(fl_json_str(spec->containers[i].json, "terminationMessagePolicy"),
					    "FallbackToLogsOnError");
		c->attempt = next_attempt(spec, &spec->containers[i]);
	}
}

static struct pod *pod_new(struct fl_pods *pods, const struct fl_object *obj, const struct fl_pod_spec *spec)
{
	struct pod *p = FL_NEW(struct pod);
	const char *start = fl_json_str(fl_json_get(spec->root, "status"), "startTime");

	p->pods = pods;
	p->refs = 1;
	p->uid = fl_strdup(spec->uid);
	p->ns = fl_strdup(spec->ns);
	p->name = fl_strdup(spec->name);
	p->dir = fl_asprintf("%s/%s", pods->o.paths->pods, spec->uid);
	p->obj = fl_object_get((struct fl_object *)obj);
	p->host_network = spec->host_network;
	p->restart = spec->restart;
	p->grace_s = spec->grace_s;
	p->deadline_s = spec->deadline_s;
	if (!start || !fl_time_parse(start, &p->start_ns))
		p->start_ns = fl_real_ns();
	make_containers(p, spec);
	fl_pod_read_ports(p, spec->root);
	fl_pod_read_limits(p, spec);
	uv_timer_init(pods->o.loop, &p->timer);
	p->timer.data = p;
	fl_map_set(&pods->table, p->uid, p);
	return p;
}

// --- what is on disk ---

static void claim_ips(struct pod *p)
{
	AUTO_FREE char *path = fl_asprintf("%s/ips", p->dir), *text = NULL;
	char *save = NULL;

	if (p->host_network || fl_file_read(path, &text, NULL, NULL) < 0)
		return;
	for (char *line = strtok_r(text, "\n", &save); line && p->n_ips < 2; line = strtok_r(NULL, "\n", &save)) {
		struct fl_ip ip;

		if (!fl_ip_parse(line, &ip))
			continue;
		for (unsigned i = 0; i < p->pods->n_ipam; i++) {
			if (fl_ipam_claim(&p->pods->ipam[i], &ip)) {
				p->ips[p->n_ips++] = ip;
				break;
			}
		}
	}
	if (p->n_ips != p->pods->n_ipam)
		fl_pod_release_ips(p);
}

static void mend_network(struct pod *p)
{
	struct fl_podnet_pod net = {.uid = p->uid, .ips = {p->ips[0], p->ips[1]}, .n_ips = p->n_ips};
	struct fl_err err = {0};

	if (!p->host_network && fl_podnet_mend(p->pods->o.paths, &net, &err) < 0)
		fl_warn("network of pod %s/%s stays as it was found: %s", p->ns, p->name, err.text);
}

static void keep_network(struct pod *p, struct fl_netlink *nl)
{
	struct fl_podnet_pod net = {.uid = p->uid, .ips = {p->ips[0], p->ips[1]}, .n_ips = p->n_ips};
	struct fl_err err = {0};
	bool mended = false;
	int rc = fl_podnet_keep(nl, p->pods->o.paths, &net, &mended, &err);

	if (mended)
		fl_warn("the network of pod %s/%s was gone from this host and is there again", p->ns, p->name);
	else if (rc < 0 && !p->net_told)
		fl_warn("the network of pod %s/%s is gone and cannot be put back: %s", p->ns, p->name, err.text);
	p->net_told = rc < 0;
}

void fl_pods_keep(struct fl_pods *pods)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	struct fl_err err = {0};
	int rc = fl_netlink_open(NETLINK_ROUTE, &nl, &err);

	for (struct fl_map_iter it = {0}; rc == 0 && fl_map_next(&pods->table, &it);) {
		struct pod *p = it.value;

		if (!p->host_network && p->n_ips && (p->stage == POD_RUNNING || p->stage == POD_STOPPING))
			keep_network(p, nl);
	}
	if (rc == 0)
		rc = fl_pods_keep_ports(pods, &err);
	if (rc < 0)
		fl_warn("%s", err.text);
}

// The pod may be about to be set up once more: its directory is out of the way before the slow work begins.
static void remove_remains(struct fl_pods *pods, const char *uid, const char *dir)
{
	AUTO_FREE char *aside = fl_asprintf("%s/.%s", pods->o.paths->pods, uid);
	struct fl_err err = {0};

	if (fl_node_cgroups_remove(pods->o.paths, uid, &err) < 0 || fl_podnet_del(pods->o.paths, uid, &err) < 0)
		fl_warn("remains of pod %s: %s", uid, err.text);
	fl_mounts_detach_below(dir);
	if (rename(dir, aside) == 0)
		fl_work_remove(pods, TAKE_PTR(aside));
	else if (fl_file_remove_all(dir, &err) < 0)
		fl_warn("remains of pod %s: %s", uid, err.text);
}

// Namespaces and volumes in memory are made anew, and so is what init containers made of them (kubelet:
// computePodActions: a new sandbox begins with the first init container).
static void init_again(struct pod *p)
{
	if (p->restart == FL_RESTART_NEVER)
		return;
	for (unsigned i = 0; i < p->n_containers; i++) {
		if (fl_container_lives(&p->containers[i]))
			return;
	}
	for (unsigned i = 0; i < p->n_init; i++) {
		struct container *c = &p->containers[i];

		if (!c->sidecar && c->state == CONTAINER_ENDED && c->now.code == 0)
			fl_container_again(c);
	}
}

static void pod_find(struct fl_pods *pods, const char *uid)
{
	AUTO_FREE char *dir = fl_asprintf("%s/%s", pods->o.paths->pods, uid), *file = fl_asprintf("%s/pod.json", dir);
	AUTO_FREE char *json = NULL;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_object_put) struct fl_object *obj = NULL;
	struct fl_pod_spec spec = {0};
	struct fl_err err = {0};
	struct pod *p;
	size_t len;
	int rc = fl_file_read(file, &json, &len, &err);

	if (rc == 0)
		rc = fl_object_parse(fl_resource_intern("", "pods"), json, len, &obj, &err);
	if (rc == 0)
		rc = fl_pod_spec_read(&a, fl_object_tree(obj, &a), &spec, &err);
	if (rc < 0 || !fl_streq(spec.uid, uid)) { // cut short by a crash before anything was started, or after its end
		remove_remains(pods, uid, dir);
		return;
	}
	p = pod_new(pods, obj, &spec);
	for (unsigned i = 0; i < p->n_containers; i++)
		fl_container_adopt(&p->containers[i]);
	bool failed = fl_pod_fail_find(p), over = fl_pod_has_ended(p);
	if (!over) { // something of it may run, also of one that is being ended
		claim_ips(p);
		p->holds_ports = true;
		if (p->host_network)
			for (unsigned i = 0; i < pods->o.n_node_ips; i++)
				p->ips[p->n_ips++] = pods->o.node_ips[i];
	}
	if (failed || over) {
		p->ended = true;
		p->stage = POD_STOPPING;
	} else {
		// What was set up to its end goes on at once; else all of it is made again.
		AUTO_FREE char *done = fl_pod_setup_mark(p);

		p->stage = p->n_ips && access(done, F_OK) == 0 && fl_podnet_exists(pods->o.paths, uid, p->host_network)
			       ? POD_RUNNING
			       : POD_NEW;
		if (p->stage == POD_RUNNING) {
			mend_network(p);
			fl_pod_fetch(p);
		} else {
			init_again(p);
		}
	}
	fl_pod_kick(p);
}

static int find_all(struct fl_pods *pods, struct fl_err *err)
{
	DIR *d = opendir(pods->o.paths->pods);

	if (!d)
		return fl_err_set(err, -errno, "read %s: %s", pods->o.paths->pods, strerror(errno));
	for (struct dirent *e; (e = readdir(d));) { // remains of an earlier start
		if (e->d_name[0] == '.' && !fl_streq(e->d_name, ".") && !fl_streq(e->d_name, ".."))
			fl_work_remove(pods, fl_asprintf("%s/%s", pods->o.paths->pods, e->d_name));
	}
	rewinddir(d);
	for (struct dirent *e; (e = readdir(d));) {
		if (e->d_name[0] != '.')
			pod_find(pods, e->d_name);
	}
	closedir(d);
	return 0;
}

// --- the table ---

static bool has_sys_resource(void)
{
	AUTO_FREE char *text = NULL;
	const char *at;

	if (fl_file_read("/proc/self/status", &text, NULL, NULL) < 0)
		return false;
	at = strstr(text, "CapEff:");
	return at && (strtoull(at + strlen("CapEff:"), NULL, 16) >> CAP_SYS_RESOURCE_BIT & 1);
}

int fl_pods_new(const struct fl_pods_opts *o, struct fl_pods **ret, struct fl_err *err)
{
	AUTO(fl_pods_free) struct fl_pods *pods = FL_NEW(struct fl_pods);
	struct fl_http_client_opts http = {.insecure_skip_verify = true, .http1 = true}; // as kubelet's probes
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int rc;

	pods->o = *o;
	pods->slots = cpus > 0 ? 2 * (unsigned)cpus : 2;
	pods->may_lower_oom_score = has_sys_resource();
	pods->images = fl_images_new(&(struct fl_images_opts){.loop = o->loop,
							      .paths = o->paths,
							      .insecure_registries = o->insecure_registries,
							      .max_bytes = o->image_max_bytes});
	rc = fl_http_client_new(o->loop, &http, &pods->http, err);
	for (unsigned i = 0; rc == 0 && i < o->n_pod_cidrs; i++) {
		rc = fl_ipam_init(&pods->ipam[i], &o->pod_cidrs[i], err);
		pods->n_ipam += rc == 0;
	}
	if (rc == 0)
		rc = find_all(pods, err);
	if (rc == 0)
		rc = fl_pods_open_ports(pods, err);
	if (rc < 0)
		return rc;
	*ret = TAKE_PTR(pods);
	return 0;
}

void fl_pods_free(struct fl_pods **pp)
{
	struct fl_pods *pods = *pp;

	if (!pods)
		return;
	*pp = NULL;
	pods->closing = true;
	atomic_store(&pods->stop_measuring, true);
	for (struct fl_map_iter it = {0}; fl_map_next(&pods->table, &it); it = (struct fl_map_iter){0})
		fl_pod_forget(it.value);
	fl_map_deinit(&pods->table);
	while (pods->jobs) // in the thread pool; they refer to us
		uv_run(pods->o.loop, UV_RUN_ONCE);
	for (unsigned i = 0; i < pods->n_ipam; i++)
		fl_ipam_deinit(&pods->ipam[i]);
	fl_vec_deinit(&pods->queue);
	fl_images_free(&pods->images);
	fl_http_client_free(&pods->http);
	free(pods);
}

static void pod_doom(struct pod *p, int64_t grace_s)
{
	bool shorter = grace_s < p->grace_s;

	if (!p->doomed || shorter) {
		p->grace_s = grace_s;
		if (p->stage == POD_STOPPING && p->doomed)
			p->stop_at_ms = uv_now(p->pods->o.loop) + (uint64_t)(grace_s < 0 ? 0 : grace_s) * 1000;
		else if (p->stage == POD_STOPPING)
			p->stage = POD_RUNNING; // sidecars of a pod that ended: the stop begins anew
		p->doomed = true;
	}
	fl_pod_kick(p);
}

static bool same(const struct fl_json *x, const struct fl_json *y)
{
	return x && y ? fl_json_equal(x, y) : x == y;
}

// What a volume may show of the pod itself.
static bool fields_differ(const struct fl_object *old, const struct fl_json *meta)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_json *was = fl_json_get(fl_object_tree(old, &a), "metadata");

	return !same(fl_json_get(was, "labels"), fl_json_get(meta, "labels")) ||
	       !same(fl_json_get(was, "annotations"), fl_json_get(meta, "annotations"));
}

static bool is_terminal(const struct fl_json *status)
{
	const char *phase = fl_json_str(status, "phase");

	return fl_streq(phase, "Succeeded") || fl_streq(phase, "Failed");
}

// What the API knows better than the directory of a pod: its start (pod.json was written before that was told), and
// that it is over. A terminal phase is final, though a power failure may have taken the record of the end, which is not
// synced. Once the end was seen here, the phase is our own word.
static void correct(struct pod *p, const struct fl_json *status)
{
	const char *text = fl_json_str(status, "startTime");
	int64_t start_ns;

	if (text && fl_time_parse(text, &start_ns) && start_ns <= p->start_ns - 1000000000) // told in whole seconds
		p->start_ns = start_ns;
	if (is_terminal(status) && !p->doomed && !p->rejected && (!p->in_api || !p->ended))
		p->ended = p->silent = true;
}

void fl_pods_set(struct fl_pods *pods, const struct fl_object *obj)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_pod_spec spec = {0};
	struct fl_err err = {0};
	const char *why;
	struct pod *p = fl_map_get(&pods->table, obj->uid);
	int rc = fl_pod_spec_read(&a, fl_object_tree(obj, &a), &spec, &err);

	if (rc < 0) {
		fl_warn("pod left alone: %s", err.text);
		return;
	}
	if (!p) {
		p = pod_new(pods, obj, &spec);
		if (spec.deleted || is_terminal(fl_json_get(spec.root, "status"))) {
			p->silent = true;
			p->stage = POD_OVER;
		} else if (!spec.host_network && !pods->n_ipam) {
			fl_pod_reject(p, "UnexpectedAdmissionError", "this node has no pod addresses");
		} else if ((why = fl_pod_forbidden_sysctl(&a, &spec))) {
			fl_pod_reject(p, "SysctlForbidden", why);
		}
	} else {
		correct(p, fl_json_get(spec.root, "status"));
		p->volumes_stale = p->volumes_stale || fields_differ(p->obj, spec.meta);
		p->deadline_s = spec.deadline_s;
		fl_object_put(&p->obj);
		p->obj = fl_object_get((struct fl_object *)obj);
	}
	p->in_api = p->seen = true;
	if (spec.deleted)
		pod_doom(p, spec.deletion_grace_s);
	else
		fl_pod_kick(p);
}

void fl_pods_gone(struct fl_pods *pods, const char *uid)
{
	struct pod *p = fl_map_get(&pods->table, uid);

	if (!p)
		return;
	p->in_api = false;
	if (!p->doomed)
		pod_doom(p, p->grace_s);
	fl_pod_kick(p);
}

void fl_pods_synced(struct fl_pods *pods)
{
	pods->synced = true;
	for (struct fl_map_iter it = {0}; fl_map_next(&pods->table, &it);) {
		struct pod *p = it.value;

		if (!p->seen) // removed while nobody looked
			pod_doom(p, p->grace_s);
		fl_pod_kick(p);
	}
}

void fl_pods_services_synced(struct fl_pods *pods)
{
	for (struct fl_map_iter it = {0}; fl_map_next(&pods->table, &it);)
		fl_pod_kick(it.value);
}

size_t fl_pods_count(const struct fl_pods *p)
{
	return p->table.n;
}

// --- logs ---

static struct container *find_container(const struct fl_pods *pods, const char *ns, const char *name,
					const char *container, struct fl_err *err)
{
	for (struct fl_map_iter it = {0}; fl_map_next(&pods->table, &it);) {
		struct pod *p = it.value;

		if (strcmp(p->ns, ns) != 0 || strcmp(p->name, name) != 0 || (p->doomed && !p->in_api))
			continue;
		for (unsigned i = 0; i < p->n_containers; i++) {
			if (strcmp(p->containers[i].name, container) == 0)
				return &p->containers[i];
		}
		fl_err_set(err, -ENOENT, "container \"%s\" not found in pod \"%s_%s\"", container, name, ns);
		return NULL;
	}
	fl_err_set(err, -ENOENT, "pod \"%s_%s\" not found", name, ns);
	return NULL;
}

// Why there is no log yet, in the kubelet's words (pkg/kubelet validateContainerLogStatus).
static const char *waits_for(const struct container *c)
{
	if (fl_streq(c->wait_reason, "ErrImagePull"))
		return "image can't be pulled";
	if (fl_streq(c->wait_reason, "ImagePullBackOff"))
		return "trying and failing to pull image";
	return c->wait_reason ? c->wait_reason : "ContainerCreating";
}

int fl_pods_log(const struct fl_pods *pods, const char *ns, const char *name, const char *container, bool previous,
		struct fl_pods_log *ret, struct fl_err *err)
{
	struct container *c = find_container(pods, ns, name, container, err);
	AUTO_FREE char *path = NULL;
	bool active, started, pauses;

	if (!c)
		return err ? err->code : -ENOENT;
	active = c->state == CONTAINER_RUNNING || c->state == CONTAINER_STARTING;
	started = active || c->state == CONTAINER_ENDED;
	pauses = fl_container_pauses(c);                              // its lastState is the run that just ended
	if (c->pod->silent && c->attempt && !started && !c->has_last) // by its status it ran
		return fl_err_set(err, -ENOENT,
				  "the log of container \"%s\" in pod \"%s\" was removed from this host with its pods",
				  container, name);
	if (previous && !c->has_last && !pauses)
		return fl_err_set(err, -EAGAIN, "previous terminated container \"%s\" in pod \"%s\" not found",
				  container, name);
	if (!previous && !started && !c->has_last)
		return fl_err_set(err, -EAGAIN, "container \"%s\" in pod \"%s\" is waiting to start: %s", container,
				  name, waits_for(c));
	path = fl_container_log(c, previous && !pauses ? c->last.attempt : started ? c->attempt : c->last.attempt);
	*ret = (struct fl_pods_log){.path = TAKE_PTR(path), .running = active && !previous};
	return 0;
}
