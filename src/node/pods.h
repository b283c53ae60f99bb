// SPDX-License-Identifier: Apache-2.0
// The pods of this node: from the objects bound to it to running containers and back to status. Knows no API client:
// what it wants written or fetched goes through struct fl_pods_api, so a test drives it with objects alone.
//
//   fl_pods_set ----> [setup: references, network, files] -> [containers: pull, start, probe, restart] <-> status
//   fl_pods_gone --> [stop: SIGTERM, grace, SIGKILL] -> [tear down: network, files] -> delete_pod -> forgotten
//
// Single-threaded on the loop; what blocks (namespaces, trees of files) runs in libuv's thread pool.
#pragma once

#include <uv.h>

#include "api/object.h"
#include "base/ip.h"
#include "node/image.h"
#include "node/paths.h"
#include "node/svcenv.h"

struct fl_pods;

// rc 0 or -errno (-ENOENT: no such object); body may be NULL. Exactly once for each request below.
typedef void (*fl_pods_done)(void *arg, int rc, const struct fl_json *body);

struct fl_pods_api { // none may call `done` before it returns
	void (*write_status)(void *arg, const struct fl_object *pod, const struct fl_json *status, fl_pods_done done,
			     void *done_arg);
	// The object of a pod whose containers are gone: delete with grace 0 and its uid as precondition.
	void (*delete_pod)(void *arg, const struct fl_object *pod, fl_pods_done done, void *done_arg);
	// A ConfigMap or Secret.
	void (*fetch)(void *arg, bool secret, const char *ns, const char *name, fl_pods_done done, void *done_arg);
	// From now on (or no longer) the node wants to hear by fl_pods_changed that this ConfigMap or Secret changed.
	// As often off as on.
	void (*follow)(void *arg, bool secret, const char *ns, const char *name, bool on);
	void (*event)(void *arg, const struct fl_object *pod, const char *type, const char *reason, const char *text);
	// What is known of the Services; no container starts before services_known, which fl_pods_services_synced
	// tells.
	bool (*services_known)(void *arg);
	fl_services_each services;
};

struct fl_pods_opts { // strings and pointers are borrowed for the life of the pods
	uv_loop_t *loop;
	const struct fl_node_paths *paths;
	const char *runtime, *runtime_name; // program; name for containerIDs ("runc")
	const char *cluster_domain;
	struct fl_ip node_ips[2], dns_ips[2];
	unsigned n_node_ips, n_dns_ips;
	struct fl_cidr pod_cidrs[2];
	unsigned n_pod_cidrs;
	struct fl_ip kubernetes_ip;
	int64_t node_cpu_milli, node_memory, node_disk; // what the Node tells: thousandths, bytes, bytes
	const char *insecure_registries;                // of images; may be NULL
	uint64_t image_max_bytes;                       // 0: FL_IMAGE_MAX_BYTES
	const struct fl_pods_api *api;
	void *api_arg;
};

// Finds again what an earlier run left running. Status is written only after fl_pods_synced().
FL_WUR int fl_pods_new(const struct fl_pods_opts *o, struct fl_pods **ret, struct fl_err *err);
void fl_pods_free(struct fl_pods **p); // lets go; containers go on. Requests under way must not call back any more

void fl_pods_set(struct fl_pods *p, const struct fl_object *pod); // new, or changed
void fl_pods_gone(struct fl_pods *p, const char *uid);            // is in the API no longer
// All pods of the API were told by fl_pods_set: those that were not are gone.
void fl_pods_synced(struct fl_pods *p);

// A ConfigMap or Secret that is followed has this revision now; 0: it is gone.
void fl_pods_changed(struct fl_pods *p, bool secret, const char *ns, const char *name, uint64_t rv);
void fl_pods_services_synced(struct fl_pods *p); // containers wait for it

// Puts back links, routes and host ports of running pods that somebody took from the kernel; to be called now and then.
void fl_pods_keep(struct fl_pods *p);

size_t fl_pods_count(const struct fl_pods *p);

// Log file of a container's newest run, or of the one that its lastState tells of. -ENOENT: no such pod or container
// (text as kubelet says it), or nothing is left of it here; -EAGAIN: it has not been started, err says why it waits.
// `running`: more may come.
struct fl_pods_log {
	char *path; // free()
	bool running;
};
FL_WUR int fl_pods_log(const struct fl_pods *p, const char *ns, const char *name, const char *container, bool previous,
		       struct fl_pods_log *ret, struct fl_err *err);
