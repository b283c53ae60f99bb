// SPDX-License-Identifier: Apache-2.0
// The node role: registers this host as a Node, runs the pods bound to it, tells their state, serves their logs.
// What it needs of the API server goes through the list/watch client; what it tells a person goes through the API.
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"

struct fl_node_opts { // strings are borrowed for the call
	const char *kubeconfig;
	const char *data_dir; // our files: <data_dir>/node, what does not outlive a boot: <data_dir>/run/node
	const char *node_name;
	const char *cluster_domain; // "cluster.local"
	const char *runtime;        // OCI runtime, name or path; NULL or "": crun if it works here, else runc
	// HTTPS endpoint (logs): PEM files. A client must show a certificate of client_ca_file.
	const char *serving_cert_file, *serving_key_file, *client_ca_file;
	uint16_t kubelet_port;    // 0: the kernel picks one; the Node object tells which
	struct fl_ip node_ips[2]; // the first is status.hostIP
	unsigned n_node_ips;
	struct fl_cidr
	    pod_cidrs[2]; // this node's own share, one a family; its first address becomes this host's, on lo
	unsigned n_pod_cidrs;
	struct fl_cidr cluster_cidrs[2]; // pods of all nodes, in the order of pod_cidrs
	bool no_masquerade;              // pods reach other hosts by their own addresses, which have routes there
	uint16_t api_port;               // of the API server on this host: what the host's firewall must let pods reach
	struct fl_ip dns_ips[2];         // name servers of pods with dnsPolicy ClusterFirst
	unsigned n_dns_ips;
	const char
	    *insecure_registries;   // comma-separated HOST[:PORT] or CIDR: images are pulled from them without good TLS
	uint64_t image_max_bytes;   // of an image, packed and unpacked; 0: the default
	struct fl_ip kubernetes_ip; // first address of the service range: KUBERNETES_SERVICE_HOST; family 0 = not set
};

// Runs until SIGTERM or SIGINT. Pods stay running on exit and are found again by the next run; nothing starts twice.
// Must be called in the network namespace of the node, as root. -EINVAL, -EPERM, -ENOENT (no runtime) ... with the
// reason in err.
FL_WUR int fl_node_run(const struct fl_node_opts *opts, struct fl_err *err);

// Ends every pod of this data directory and removes what the role made on the host: containers, namespaces, links,
// routes, addresses, mounts, cgroups; sysctls get their old values. Idempotent, also after everything was killed. Only
// data_dir and runtime of `opts` are read. Images stay.
FL_WUR int fl_node_cleanup(const struct fl_node_opts *opts, struct fl_err *err);

struct fl_node_exec_opts {
	const char *data_dir, *ns, *pod;
	const char *container;   // NULL: the first
	const char *const *argv; // NULL-terminated
	bool tty;
};
// Becomes the OCI runtime's `exec` in a running container of a local pod; returns only when that failed.
FL_WUR int fl_node_exec(const struct fl_node_exec_opts *opts, struct fl_err *err);
