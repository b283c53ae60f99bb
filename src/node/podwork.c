// SPDX-License-Identifier: Apache-2.0
// The blocking parts of a pod's life, in libuv's thread pool. A job reads of its pod only what does not change while
// the pod is in its stage: names, directory, object, addresses, fetched documents.
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "node/cgroup.h"
#include "node/pod.h"
#include "node/podpause.h"

struct job {
	uv_work_t work;
	struct pod *pod;
	struct fl_object *obj;
	struct fl_docs *docs;
	bool everything;
	int rc;
	struct fl_err err;
};

static struct fl_env_source source_of(const struct job *j, const struct fl_pod_spec *spec)
{
	const struct pod *p = j->pod;
	const struct fl_pods_opts *o = &p->pods->o;

	return (struct fl_env_source){
	    .pod = spec,
	    .container = &spec->containers[spec->n_init], // of a resourceFieldRef that names none
	    .pod_ips = p->ips,
	    .host_ips = o->node_ips,
	    .n_pod_ips = p->n_ips,
	    .n_host_ips = o->n_node_ips,
	    .node_cpu_milli = o->node_cpu_milli,
	    .node_memory = o->node_memory,
	    .node_disk = o->node_disk,
	    .lookup = fl_docs_lookup,
	    .arg = j->docs,
	};
}

char *fl_pod_setup_mark(const struct pod *p)
{
	return fl_asprintf("%s/set-up", p->dir);
}

static int setup_network(const struct job *j, const struct fl_pod_spec *spec, struct fl_err *err)
{
	const struct pod *p = j->pod;
	struct fl_podnet_pod net = {.uid = p->uid,
				    .hostname = spec->hostname,
				    .ips = {p->ips[0], p->ips[1]},
				    .n_ips = p->n_ips,
				    .host_network = p->host_network};
	int rc = fl_podnet_add(p->pods->o.paths, &net, err);

	return rc < 0 ? fl_err_prefix(err, "network of the pod") : 0;
}

static int setup(struct job *j, struct fl_err *err)
{
	struct pod *p = j->pod;
	const struct fl_pods_opts *o = &p->pods->o;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO_FREE char *host_resolv = NULL, *file = fl_asprintf("%s/pod.json", p->dir),
		       *ips_file = fl_asprintf("%s/ips", p->dir), *done = fl_pod_setup_mark(p);
	AUTO(fl_buf_deinit) struct fl_buf ips = {0}, json = {0};
	struct fl_pod_spec spec = {0};
	struct fl_dns_config dns = {
	    .servers = {o->dns_ips[0], o->dns_ips[1]}, .n_servers = o->n_dns_ips, .domain = o->cluster_domain};
	struct fl_env_source source;
	char text[FL_IP_STRLEN];
	int rc = fl_pod_spec_read(&a, fl_object_tree(j->obj, &a), &spec, err);

	if (rc == 0)
		rc = fl_file_mkdirs(p->dir, 0711, err);
	if (rc == 0 && unlink(done) < 0 && errno != ENOENT)
		rc = fl_err_set(err, -errno, "remove %s: %s", done, strerror(errno));
	// The addresses stand on disk before they are used: whoever finds the pod again finds them taken.
	for (unsigned i = 0; i < p->n_ips; i++)
		fl_buf_printf(&ips, "%s\n", fl_ip_format(&p->ips[i], text));
	if (rc == 0 && !p->host_network)
		rc = fl_node_file_put(ips_file, ips.data ? ips.data : "", ips.len, 0644, err);
	fl_json_write(&json, fl_object_tree(j->obj, &a));
	if (rc == 0)
		rc = fl_node_file_put(file, json.data, json.len, 0600, err);
	if (rc == 0)
		rc = setup_network(j, &spec, err);
	if (rc == 0 && spec.share_pid)
		rc = fl_podpause_start(o->paths, p->uid, err);
	if (rc == 0 && spec.n_containers > 1 && !spec.host_ipc)
		rc = fl_volumes_shm(p->dir, err);
	if (fl_file_read("/etc/resolv.conf", &host_resolv, NULL, NULL) < 0)
		host_resolv = fl_strdup("");
	dns.host_resolv_conf = host_resolv;
	if (rc == 0)
		rc = fl_podfiles_write(p->dir, &spec, p->ips, p->n_ips, &dns, err);
	source = source_of(j, &spec);
	if (rc == 0)
		rc = fl_volumes_write(p->dir, &source, err);
	if (rc == 0)
		rc = fl_node_file_put(done, "", 0, 0600, err);
	return rc;
}

static void setup_work(uv_work_t *work)
{
	struct job *j = FL_CONTAINER_OF(work, struct job, work);

	j->rc = setup(j, &j->err);
}

static void job_free(struct job *j)
{
	fl_object_put(&j->obj);
	fl_docs_put(&j->docs);
	j->pod->pods->jobs--;
	fl_pod_unref(j->pod);
	free(j);
}

static void setup_after(uv_work_t *work, int status)
{
	struct job *j = FL_CONTAINER_OF(work, struct job, work);

	if (status == 0 && !j->pod->pods->closing)
		fl_pod_setup_done(j->pod, j->rc, j->err.text);
	job_free(j);
}

static struct job *job_new(struct pod *p)
{
	struct job *j = FL_NEW(struct job);

	j->pod = p;
	j->obj = fl_object_get(p->obj);
	j->docs = p->docs ? fl_docs_get(p->docs) : NULL;
	fl_pod_ref(p);
	p->pods->jobs++;
	return j;
}

void fl_pod_setup_start(struct pod *p)
{
	struct job *j = job_new(p);

	p->stage = POD_SETUP;
	p->volumes_stale = false; // it writes them from what was read by now
	uv_queue_work(p->pods->o.loop, &j->work, setup_work, setup_after);
}

static void update_work(uv_work_t *work)
{
	struct job *j = FL_CONTAINER_OF(work, struct job, work);
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_pod_spec spec = {0};
	struct fl_env_source source;
	bool changed;

	j->rc = fl_pod_spec_read(&a, fl_object_tree(j->obj, &a), &spec, &j->err);
	if (j->rc < 0)
		return;
	source = source_of(j, &spec);
	j->rc = fl_volumes_update(j->pod->dir, &source, &changed, &j->err);
}

static void update_after(uv_work_t *work, int status)
{
	struct job *j = FL_CONTAINER_OF(work, struct job, work);
	struct pod *p = j->pod;

	p->updating = false;
	if (status == 0 && !p->pods->closing) {
		if (j->rc < 0) // the volume stays as it was
			fl_pod_event(p, "Warning", "FailedMount", "%s", j->err.text);
		fl_pod_kick(p);
	}
	job_free(j);
}

void fl_pod_update_start(struct pod *p)
{
	struct job *j = job_new(p);

	p->updating = true;
	uv_queue_work(p->pods->o.loop, &j->work, update_work, update_after);
}

// Of a pod that ended, and whose object may stay for long: what it wrote (kubelet: SyncTerminatedPod). How it ended
// stays, and its logs, unless it was evicted (kubelet: ShouldPodContentBeRemoved).
static int remove_data(const struct pod *p, struct fl_err *err)
{
	static const char *const parts[] = {"volumes", "etc", "logs"};
	size_t n = FL_COUNT(parts) - !fl_streq(p->fail_reason, "Evicted");
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++) {
		AUTO_FREE char *path = fl_asprintf("%s/%s", p->dir, parts[i]);

		rc = fl_file_remove_all(path, err);
	}
	return rc;
}

static void teardown_work(uv_work_t *work)
{
	struct job *j = FL_CONTAINER_OF(work, struct job, work);
	struct pod *p = j->pod;

	j->rc = fl_podnet_del(p->pods->o.paths, p->uid, &j->err);
	if (j->rc == 0)
		j->rc = fl_node_cgroups_remove(p->pods->o.paths, p->uid, &j->err);
	fl_mounts_detach_below(p->dir);
	if (j->rc == 0)
		j->rc = j->everything ? fl_file_remove_all(p->dir, &j->err) : remove_data(p, &j->err);
}

static void teardown_after(uv_work_t *work, int status)
{
	struct job *j = FL_CONTAINER_OF(work, struct job, work);

	if (j->rc == 0 && j->everything)
		j->pod->cleared = true;
	if (status == 0 && !j->pod->pods->closing)
		fl_pod_teardown_done(j->pod, j->rc, j->err.text);
	job_free(j);
}

void fl_pod_teardown_start(struct pod *p, bool everything)
{
	struct job *j = job_new(p);

	fl_pod_unfollow(p);
	j->everything = everything;
	p->stage = POD_TEARDOWN;
	uv_queue_work(p->pods->o.loop, &j->work, teardown_work, teardown_after);
}

struct removal {
	uv_work_t work;
	char *path;
};

static void remove_work(uv_work_t *work)
{
	struct removal *r = FL_CONTAINER_OF(work, struct removal, work);
	struct fl_err err = {0};

	if (fl_file_remove_all(r->path, &err) < 0)
		fl_warn("files of a container stay behind: %s", err.text);
}

static void remove_after(uv_work_t *work, int status)
{
	struct removal *r = FL_CONTAINER_OF(work, struct removal, work);

	free(r->path);
	free(r);
}

void fl_work_remove(struct fl_pods *pods, char *path)
{
	struct removal *r = FL_NEW(struct removal);

	r->path = path;
	uv_queue_work(pods->o.loop, &r->work, remove_work, remove_after);
}
