// SPDX-License-Identifier: Apache-2.0
// The node role's wiring: paths, runtime, host network, API client, pods, HTTPS endpoint, heartbeat, loop.
#include "node/node.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <uv.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/version.h"
#include "client/client.h"
#include "client/informer.h"
#include "client/recorder.h"
#include "node/egress.h"
#include "node/embed.h"
#include "node/firewall/firewall.h"
#include "node/follow.h"
#include "node/image.h"
#include "node/kubelet.h"
#include "node/nodeobj.h"
#include "node/podnet.h"
#include "node/pods.h"
#include "node/runtime.h"

#define LOOK_MS 1000 // what others did to this host

struct node {
	const struct fl_node_opts *o;
	struct fl_node_paths paths;
	int lock_fd;
	struct fl_runtime runtime;
	uv_loop_t loop;
	uv_signal_t signals[2];
	struct fl_client *client;
	struct fl_recorder *recorder;
	struct fl_pods *pods;
	struct fl_informer *informer, *services;
	struct fl_follow *follow;
	struct fl_kubelet *kubelet;
	struct fl_heart *heart;
	struct fl_egress egress;
	struct fl_firewall *firewall;
	uv_timer_t look_timer;
	unsigned firewall_told; // serial of the problem that the API was told
	bool stopping;
};

// --- what the pods want of the API ---

struct request {
	fl_pods_done done;
	void *arg;
};

static void on_answer(void *arg, int rc, int http_status, struct fl_arena *a, struct fl_json *body,
		      const struct fl_err *err)
{
	struct request *r = arg;

	if (rc < 0 && rc != -ENOENT && rc != -ESTALE)
		fl_warn("API request: %s", err ? err->text : "no answer");
	r->done(r->arg, rc, body);
	free(r);
}

static struct request *request_new(fl_pods_done done, void *arg)
{
	struct request *r = FL_NEW(struct request);

	*r = (struct request){done, arg};
	return r;
}

static void write_status(void *arg, const struct fl_object *pod, const struct fl_json *status, fl_pods_done done,
			 void *done_arg)
{
	struct node *n = arg;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_json *patch = fl_json_new(&a, FL_JSON_OBJECT);

	// The uid makes it fail (409) on a pod of the same name that came later.
	fl_json_set_str(&a, fl_json_set_object(&a, patch, "metadata"), "uid", pod->uid);
	fl_json_set(&a, patch, "status", fl_json_clone(&a, status));
	fl_client_patch(n->client, &fl_gvr_pods, pod->ns, pod->name, "status", FL_PATCH_MERGE, patch, on_answer,
			request_new(done, done_arg), NULL);
}

static void delete_pod(void *arg, const struct fl_object *pod, fl_pods_done done, void *done_arg)
{
	struct node *n = arg;

	fl_client_delete(n->client, &fl_gvr_pods, pod->ns, pod->name, pod->uid, 0, NULL, on_answer,
			 request_new(done, done_arg), NULL);
}

static void fetch(void *arg, bool secret, const char *ns, const char *name, fl_pods_done done, void *done_arg)
{
	struct node *n = arg;

	fl_client_get(n->client, secret ? &fl_gvr_secrets : &fl_gvr_configmaps, ns, name, on_answer,
		      request_new(done, done_arg), NULL);
}

static void follow(void *arg, bool secret, const char *ns, const char *name, bool on)
{
	struct node *n = arg;

	fl_follow_want(n->follow, secret, ns, name, on);
}

static void on_followed(void *arg, bool secret, const char *ns, const char *name, uint64_t rv)
{
	struct node *n = arg;

	if (n->pods)
		fl_pods_changed(n->pods, secret, ns, name, rv);
}

static void event(void *arg, const struct fl_object *pod, const char *type, const char *reason, const char *text)
{
	struct node *n = arg;

	fl_recorder_event(n->recorder, pod, type, reason, "%s", text);
}

static bool services_known(void *arg)
{
	const struct node *n = arg;

	return n->services && fl_informer_synced(n->services);
}

static void each_service(void *arg, const char *ns, bool (*visit)(void *arg, const struct fl_object *service),
			 void *visit_arg)
{
	const struct node *n = arg;

	fl_informer_each(n->services, ns, visit, visit_arg);
}

static void on_services_synced(void *arg)
{
	struct node *n = arg;

	fl_pods_services_synced(n->pods);
}

static const struct fl_pods_api api = {
    .write_status = write_status,
    .delete_pod = delete_pod,
    .fetch = fetch,
    .follow = follow,
    .event = event,
    .services_known = services_known,
    .services = each_service,
};

static void on_pod(void *arg, const struct fl_object *old, const struct fl_object *new_obj)
{
	struct node *n = arg;

	if (new_obj)
		fl_pods_set(n->pods, new_obj);
	else
		fl_pods_gone(n->pods, old->uid);
}

static void on_synced(void *arg)
{
	struct node *n = arg;

	fl_pods_synced(n->pods);
}

// --- start ---

static int take_lock(struct node *n, struct fl_err *err)
{
	AUTO_FREE char *path = fl_asprintf("%s/lock", n->paths.root);

	n->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (n->lock_fd < 0)
		return fl_err_set(err, -errno, "create %s: %s", path, strerror(errno));
	if (flock(n->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return fl_err_set(err, -EBUSY, "another node role runs on %s", n->paths.root);
	return 0;
}

// The program of the shims, unless it is there already. Those that run keep the file that they were started from.
static int install_shim(const struct node *n, struct fl_err *err)
{
	struct fl_embedded shim = fl_embedded_shim();
	AUTO_FREE char *mark = fl_asprintf("%s.sha256", n->paths.shim), *have = NULL;
	int rc;

	if (fl_file_read(mark, &have, NULL, NULL) == 0 && strcmp(have, shim.sha256) == 0 &&
	    access(n->paths.shim, X_OK) == 0)
		return 0;
	rc = fl_file_write(n->paths.shim, shim.data, shim.len, 0755, err);
	return rc < 0 ? rc : fl_file_write(mark, shim.sha256, strlen(shim.sha256), 0644, err);
}

static int find_runtime(struct node *n, struct fl_err *err)
{
	AUTO_FREE char *rootfs = NULL;
	int rc = fl_image_embedded(&n->paths, &rootfs, err);

	return rc < 0 ? rc : fl_runtime_find(&n->paths, n->o->runtime, rootfs, &n->runtime, err);
}

static int start_firewall(struct node *n, struct fl_err *err)
{
	const struct fl_node_opts *o = n->o;
	struct fw_host h = {
	    .pods = {o->pod_cidrs[0], o->pod_cidrs[1]},
	    .cluster = {o->cluster_cidrs[0], o->cluster_cidrs[1]},
	    .n_pods = o->n_pod_cidrs,
	    .node_ips = {o->node_ips[0], o->node_ips[1]},
	    .n_node_ips = o->n_node_ips,
	    .api_port = o->api_port,
	};

	for (unsigned i = 0; i < h.n_pods; i++)
		if (!h.cluster[i].ip.family)
			h.cluster[i] = h.pods[i];
	int rc = fl_firewall_new(&h, n->paths.run, &n->firewall, err);
	if (rc == 0)
		fl_firewall_look(n->firewall);
	return rc;
}

static int start_egress(struct node *n, struct fl_err *err)
{
	const struct fl_node_opts *o = n->o;

	n->egress.n = o->no_masquerade ? 0 : o->n_pod_cidrs;
	for (unsigned i = 0; i < n->egress.n; i++) {
		n->egress.pods[i] = o->pod_cidrs[i];
		n->egress.cluster[i] = o->cluster_cidrs[i].ip.family ? o->cluster_cidrs[i] : o->pod_cidrs[i];
	}
	return fl_egress_apply(&n->egress, err);
}

static struct fl_podnet_host pod_network(const struct node *n)
{
	const struct fl_node_opts *o = n->o;

	return (struct fl_podnet_host){.cidrs = {o->pod_cidrs[0], o->pod_cidrs[1]}, .n_cidrs = o->n_pod_cidrs};
}

static int prepare_host(struct node *n, struct fl_err *err)
{
	struct fl_podnet_host h = pod_network(n);
	int rc = fl_node_paths_init(&n->paths, n->o->data_dir, true, err);

	if (rc == 0)
		rc = take_lock(n, err);
	if (rc == 0)
		rc = fl_node_paths_check_boot(&n->paths, err);
	if (rc == 0)
		rc = fl_podnet_host_setup(&n->paths, &h, err);
	if (rc == 0)
		rc = start_egress(n, err);
	if (rc == 0)
		rc = start_firewall(n, err);
	if (rc == 0)
		rc = install_shim(n, err);
	if (rc == 0)
		rc = find_runtime(n, err);
	return rc;
}

static int start_pods(struct node *n, struct fl_err *err)
{
	const struct fl_node_opts *o = n->o;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_node_facts f;

	fl_node_facts_read(&a, o->data_dir, n->runtime.version, &f);
	struct fl_pods_opts p = {
	    .loop = &n->loop,
	    .paths = &n->paths,
	    .runtime = n->runtime.program,
	    .runtime_name = n->runtime.name,
	    .cluster_domain = o->cluster_domain,
	    .node_ips = {o->node_ips[0], o->node_ips[1]},
	    .dns_ips = {o->dns_ips[0], o->dns_ips[1]},
	    .n_node_ips = o->n_node_ips,
	    .n_dns_ips = o->n_dns_ips,
	    .pod_cidrs = {o->pod_cidrs[0], o->pod_cidrs[1]},
	    .n_pod_cidrs = o->n_pod_cidrs,
	    .kubernetes_ip = o->kubernetes_ip,
	    .node_cpu_milli = f.cpu_milli,
	    .node_memory = f.memory_bytes,
	    .node_disk = f.disk_bytes,
	    .insecure_registries = o->insecure_registries,
	    .image_max_bytes = o->image_max_bytes,
	    .api = &api,
	    .api_arg = n,
	};
	return fl_pods_new(&p, &n->pods, err);
}

// --- the host's firewall ---

static void tell_firewall(struct node *n, const char *problem)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct fl_json *node = fl_json_new(&a, FL_JSON_OBJECT);

	fl_json_set_str(&a, node, "kind", "Node");
	fl_json_set_str(&a, node, "apiVersion", "v1");
	fl_json_set_str(&a, fl_json_set_object(&a, node, "metadata"), "name", n->o->node_name);
	fl_json_write(&b, node);
	// A kubelet speaks of its node by the name in place of the uid; `kubectl describe node` looks for that.
	struct fl_object *about =
	    fl_object_new(fl_resource_intern("", "nodes"), "", n->o->node_name, n->o->node_name, b.data, b.len, -1, 0);

	if (problem)
		fl_recorder_event(n->recorder, about, "Warning", "HostFirewallBlocksPods", "%.1000s", problem);
	else
		fl_recorder_event(n->recorder, about, "Normal", "HostFirewallOpen", "nothing blocks pods any more");
	fl_object_put(&about);
}

// What somebody took from the kernel comes back: a flushed ruleset, a deleted link or route, forwarding switched off.
static void keep_network(struct node *n)
{
	struct fl_podnet_host h = pod_network(n);
	struct fl_err err = {0};
	bool mended = false;

	if (fl_egress_keep(&n->egress, &err) < 0)
		fl_warn("%s", err.text);
	if (fl_podnet_host_keep(&n->paths, &h, &mended, &err) < 0)
		fl_warn("%s", err.text);
	if (mended)
		fl_warn("the pod network of this host was changed by somebody and is again as it was");
	fl_pods_keep(n->pods);
}

static void on_look(uv_timer_t *t)
{
	struct node *n = t->data;
	unsigned serial = 0;

	keep_network(n);
	fl_firewall_look(n->firewall);
	const char *problem = fl_firewall_problem(n->firewall, &serial);
	if (serial == n->firewall_told)
		return;
	n->firewall_told = serial;
	fl_heart_set_firewall(n->heart, problem);
	tell_firewall(n, problem);
}

static int start_client(struct node *n, struct fl_err *err)
{
	AUTO(fl_kubeconfig_deinit) struct fl_kubeconfig cfg = {0};
	int rc = fl_kubeconfig_load(n->o->kubeconfig, NULL, &cfg, err);

	if (rc == 0)
		rc = fl_client_new(&n->loop, &cfg, "fairlead-node/" FL_VERSION, &n->client, err);
	if (rc == 0)
		n->recorder = fl_recorder_new(n->client, "kubelet", n->o->node_name);
	if (rc == 0)
		n->follow = fl_follow_new(n->client, on_followed, n);
	return rc;
}

static int start_serving(struct node *n, struct fl_err *err)
{
	const struct fl_node_opts *o = n->o;
	AUTO_FREE char *selector = fl_asprintf("spec.nodeName=%s", o->node_name);
	struct fl_kubelet_opts k = {
	    .loop = &n->loop,
	    .cert_file = o->serving_cert_file,
	    .key_file = o->serving_key_file,
	    .client_ca_file = o->client_ca_file,
	    .port = o->kubelet_port,
	    .pods = n->pods,
	};
	struct fl_informer_opts i = {
	    .gvr = &fl_gvr_pods, .field_selector = selector, .on_change = on_pod, .on_synced = on_synced, .arg = n};
	struct fl_informer_opts services = {
	    .gvr = &fl_gvr_services, .reduce = fl_service_env_reduce, .on_synced = on_services_synced, .arg = n};
	uint16_t port = 0;
	int rc = fl_kubelet_start(&k, &n->kubelet, &port, err);

	if (rc == 0)
		rc = fl_informer_start(n->client, &i, &n->informer, err);
	if (rc == 0)
		rc = fl_informer_start(n->client, &services, &n->services, err);
	if (rc == 0)
		n->heart = fl_heart_start(n->client, o, n->runtime.version, port);
	if (rc == 0)
		uv_timer_start(&n->look_timer, on_look, 0, LOOK_MS);
	return rc;
}

// --- end ---

static void on_kubelet_stopped(void *arg)
{
	struct node *n = arg;

	fl_heart_stop(&n->heart);
	fl_informer_stop(&n->informer);
	fl_informer_stop(&n->services);
	fl_follow_free(&n->follow);
	fl_recorder_free(&n->recorder);
	fl_pods_free(&n->pods);
	fl_client_free(&n->client);
	uv_close((uv_handle_t *)&n->look_timer, NULL);
	for (size_t i = 0; i < FL_COUNT(n->signals); i++)
		uv_close((uv_handle_t *)&n->signals[i], NULL);
}

static void stop(struct node *n)
{
	if (n->stopping)
		return;
	n->stopping = true;
	fl_kubelet_stop(&n->kubelet, on_kubelet_stopped, n);
}

static void on_signal(uv_signal_t *signal, int number)
{
	stop(signal->data);
}

static void watch_signals(struct node *n)
{
	static const int numbers[] = {SIGTERM, SIGINT};

	for (size_t i = 0; i < FL_COUNT(numbers); i++) {
		uv_signal_init(&n->loop, &n->signals[i]);
		n->signals[i].data = n;
		uv_signal_start(&n->signals[i], on_signal, numbers[i]);
	}
}

static int check_opts(const struct fl_node_opts *o, struct fl_err *err)
{
	if (geteuid() != 0)
		return fl_err_set(err, -EPERM, "the node role needs root");
	if (fl_str_empty(o->data_dir) || fl_str_empty(o->node_name))
		return fl_err_set(err, -EINVAL, "the node role needs a data directory and a node name");
	if (!o->n_node_ips)
		return fl_err_set(err, -EINVAL, "the node role needs an address of this host");
	return 0;
}

int fl_node_run(const struct fl_node_opts *opts, struct fl_err *err)
{
	struct node n = {.o = opts, .lock_fd = -1};
	int rc = check_opts(opts, err);

	if (rc == 0)
		rc = prepare_host(&n, err);
	if (rc < 0)
		goto out;
	rc = uv_loop_init(&n.loop);
	if (rc < 0) {
		fl_err_set(err, rc, "event loop: %s", uv_strerror(rc));
		goto out;
	}
	watch_signals(&n);
	uv_timer_init(&n.loop, &n.look_timer);
	n.look_timer.data = &n;
	rc = start_client(&n, err);
	if (rc == 0)
		rc = start_pods(&n, err);
	if (rc == 0)
		rc = start_serving(&n, err);
	if (rc < 0)
		stop(&n);
	uv_run(&n.loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&n.loop) == UV_EBUSY)
		fl_debug("the loop ends with open handles");
out:
	fl_firewall_free(&n.firewall);
	fl_runtime_deinit(&n.runtime);
	fl_node_paths_deinit(&n.paths);
	fl_close_fd(&n.lock_fd);
	return rc;
}
