// SPDX-License-Identifier: Apache-2.0
#include "controller/controllers.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <uv.h>

#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/notify.h"
#include "base/rand.h"
#include "controller/deployment/deployment.h"
#include "controller/endpoints/endpoints.h"
#include "controller/garbage/garbage.h"
#include "controller/hub.h"
#include "controller/leader.h"
#include "controller/mirror/mirror.h"
#include "controller/namespace/namespace.h"
#include "controller/node/node.h"
#include "controller/replicaset/replicaset.h"
#include "controller/scheduler/scheduler.h"
#include "controller/serviceaccount/serviceaccount.h"

#define LEASE_S 15

struct role {
	uv_loop_t loop;
	uv_signal_t term, interrupt;
	int lock; // on the kubeconfig; -1: none
	bool lost, ending;
	struct fl_client *client;
	struct fl_leader *leader;
	struct fl_hub *hub;
	struct fl_discovery *discovery;
	struct fl_endpoints_controller *endpoints;
	struct fl_mirror_controller *mirror;
	struct fl_deployment_controller *deployments;
	struct fl_replicaset_controller *replicasets;
	struct fl_scheduler *scheduler;
	struct fl_namespace_controller *namespaces;
	struct fl_garbage *garbage;
	struct fl_node_controller *nodes;
	struct fl_serviceaccount_controller *accounts;
};

static void on_released(void *arg)
{
	struct role *r = arg;
	uv_stop(&r->loop);
}

// Ends; a leader says so first, so that the next one need not wait for its Lease to run out. A second signal ends at
// once.
static void on_signal(uv_signal_t *s, int number)
{
	struct role *r = s->data;
	bool again = r->ending;
	r->ending = true;
	if (!again && r->leader && !r->lost) {
		fl_hub_stand_down(r->hub);
		if (fl_leader_release(r->leader, on_released, r))
			return;
	}
	uv_stop(s->loop);
}

static void on_synced(void *arg)
{
	fl_info("all caches are filled");
	fl_notify_ready();
}

static char *machine_id(void)
{
	char *text = NULL;
	return fl_file_read("/etc/machine-id", &text, NULL, NULL) < 0 ? fl_strdup("") : text;
}

// The same for each process that runs alone with this kubeconfig on this machine, so that one that is started again
// needs not wait for its own Lease to run out; another for a second one beside it. The kernel drops the lock with the
// process.
static char *make_identity(struct role *r, const char *kubeconfig)
{
	static const uint8_t key[16] = {0};
	char host[256] = "", uuid[FL_UUID_STRLEN];
	size_t n = sizeof(host);
	uv_os_gethostname(host, &n);
	AUTO_FREE char *path = kubeconfig ? realpath(kubeconfig, NULL) : NULL;
	r->lock = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (r->lock < 0 || flock(r->lock, LOCK_EX | LOCK_NB) < 0) {
		fl_uuid4(uuid);
		return fl_asprintf("%s_%s", host, uuid);
	}
	AUTO_FREE char *machine = machine_id();
	AUTO_FREE char *all = fl_asprintf("%s:%s", machine, path);
	return fl_asprintf("%s_%016llx", host, (unsigned long long)fl_siphash13(key, all, strlen(all)));
}

static void on_leading(void *arg)
{
	struct role *r = arg;
	fl_hub_lead(r->hub);
}

static void on_lost(void *arg)
{
	struct role *r = arg;
	r->lost = true;
	fl_hub_stand_down(r->hub);
	uv_stop(&r->loop);
}

static int start(struct role *r, const struct fl_controllers_opts *opts, struct fl_err *err)
{
	AUTO(fl_kubeconfig_deinit) struct fl_kubeconfig cfg = {0};
	int rc = fl_kubeconfig_load(opts->kubeconfig, NULL, &cfg, err);
	if (rc < 0)
		return rc;
	rc = fl_client_new(&r->loop, &cfg, "fairlead-controllers", &r->client, err);
	if (rc < 0)
		return rc;
	r->hub = fl_hub_new(r->client);
	r->endpoints = fl_endpoints_controller_new(r->hub);
	r->mirror = fl_mirror_controller_new(r->hub);
	r->deployments = fl_deployment_controller_new(r->hub);
	r->replicasets = fl_replicaset_controller_new(r->hub);
	r->scheduler = fl_scheduler_new(r->hub);
	r->accounts = fl_serviceaccount_controller_new(r->hub, cfg.ca_pem);
	r->discovery = fl_discovery_new(r->client);
	r->namespaces = fl_namespace_controller_new(r->hub, r->discovery);
	r->garbage = fl_garbage_new(r->hub, r->discovery);
	r->nodes = fl_node_controller_new(r->hub, opts->max_ended);
	fl_hub_on_synced(r->hub, on_synced, r);
	rc = fl_hub_start(r->hub, err);
	if (rc < 0)
		return rc;
	AUTO_FREE char *identity = make_identity(r, opts->kubeconfig);
	struct fl_leader_opts leader = {
	    .ns = "kube-system",
	    .name = "fairlead-controllers",
	    .identity = identity,
	    .duration_s = opts->lease_s ? opts->lease_s : LEASE_S,
	    .on_leading = on_leading,
	    .on_lost = on_lost,
	    .arg = r,
	};
	r->leader = fl_leader_new(r->client, &leader);
	return 0;
}

static void stop(struct role *r)
{
	fl_leader_free(&r->leader);
	fl_garbage_free(&r->garbage);
	fl_hub_free(&r->hub);
	fl_node_controller_free(&r->nodes);
	fl_namespace_controller_free(&r->namespaces);
	fl_discovery_free(&r->discovery);
	fl_serviceaccount_controller_free(&r->accounts);
	fl_scheduler_free(&r->scheduler);
	fl_replicaset_controller_free(&r->replicasets);
	fl_deployment_controller_free(&r->deployments);
	fl_mirror_controller_free(&r->mirror);
	fl_endpoints_controller_free(&r->endpoints);
	fl_client_free(&r->client);
	uv_close((uv_handle_t *)&r->term, NULL);
	uv_close((uv_handle_t *)&r->interrupt, NULL);
	uv_run(&r->loop, UV_RUN_DEFAULT);
	uv_loop_close(&r->loop);
}

int fl_controllers_run(const struct fl_controllers_opts *opts, struct fl_err *err)
{
	struct role r = {.lock = -1};
	uv_loop_init(&r.loop);
	uv_signal_init(&r.loop, &r.term);
	uv_signal_init(&r.loop, &r.interrupt);
	r.term.data = r.interrupt.data = &r;
	uv_signal_start(&r.term, on_signal, SIGTERM);
	uv_signal_start(&r.interrupt, on_signal, SIGINT);
	int rc = start(&r, opts, err);
	if (rc == 0)
		uv_run(&r.loop, UV_RUN_DEFAULT);
	stop(&r);
	fl_close_fd(&r.lock);
	if (rc == 0 && r.lost)
		return fl_err_set(err, -ECANCELED,
				  "the Lease kube-system/fairlead-controllers could not be renewed in time");
	return rc;
}
