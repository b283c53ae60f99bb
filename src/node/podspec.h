// SPDX-License-Identifier: Apache-2.0
// The parts of a Pod object that the node acts on, read from its tree. Missing fields get Kubernetes' defaults, so that
// a pod that no API server defaulted (a test's) runs as well.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "api/object.h"

enum fl_restart_policy { FL_RESTART_ALWAYS, FL_RESTART_ON_FAILURE, FL_RESTART_NEVER };

struct fl_container_spec { // strings point into the tree
	const struct fl_json *json;
	const char *name, *image, *pull_policy;
	bool init;
	bool sidecar; // an init container with restartPolicy Always: those after it need only its start
};

struct fl_pod_spec {
	const struct fl_json *root, *meta, *spec;
	const char *ns, *name, *uid, *node_name;
	const char *hostname; // as the kernel shall have it: spec.hostname or the name, 63 characters at most
	const char *dns_policy, *service_account;
	enum fl_restart_policy restart;
	bool host_network, host_pid, host_ipc;
	bool share_pid; // among its containers
	int64_t grace_s;
	int64_t deadline_s;                   // activeDeadlineSeconds; -1: none
	bool deleted;                         // deletionTimestamp is set
	int64_t deletion_grace_s;             // metadata.deletionGracePeriodSeconds; grace_s when absent
	struct fl_container_spec *containers; // init containers first
	unsigned n_containers, n_init;
};

// Points into `root` and `a`. -EINVAL when it is no pod that can run: no uid, no container, a name twice.
FL_WUR int fl_pod_spec_read(struct fl_arena *a, const struct fl_json *root, struct fl_pod_spec *ret,
			    struct fl_err *err);

// "Guaranteed", "Burstable", "BestEffort" (k8s: pkg/apis/core/v1/helper/qos).
const char *fl_node_pod_qos(const struct fl_pod_spec *p);
// milli-CPUs or bytes of resources.<which>.<name>, "limits" or "requests"; -1 when unset. A missing request is its
// limit.
int64_t fl_container_resource(const struct fl_json *container, const char *which, const char *name);
// A quantity of bytes, as text or number; -1 when it is none.
int64_t fl_quantity_bytes(const struct fl_json *v);
// Number of a port given as number or as name of a port of the container; 0 when there is none.
uint16_t fl_container_port(const struct fl_json *container, const struct fl_json *port);

// securityContext.sysctls: those that Kubernetes calls safe are set in the pod's namespaces. Why another one is
// refused, in the kubelet's words; NULL: none is.
const char *fl_pod_forbidden_sysctl(struct fl_arena *a, const struct fl_pod_spec *p);
// "net/ipv4/tcp_rmem" is the same as "net.ipv4.tcp_rmem", which is returned.
const char *fl_sysctl_name(struct fl_arena *a, const char *name);
