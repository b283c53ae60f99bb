// SPDX-License-Identifier: Apache-2.0
// The files that a pod finds in /etc, and its volumes. Texts are pure; fl_podfiles_write and fl_volumes_write put them
// on disk and may run in any thread.
#pragma once

#include "base/ip.h"
#include "node/env.h"
#include "node/oci.h"

struct fl_dns_config {
	struct fl_ip servers[2];
	unsigned n_servers;
	const char *domain;
	const char *host_resolv_conf; // text of the host's file; "" when there is none
};

// resolv.conf by dnsPolicy and dnsConfig (Kubernetes "DNS for Services and Pods").
void fl_podfiles_resolv_conf(struct fl_buf *b, const struct fl_pod_spec *p, const struct fl_dns_config *d);
// /etc/hosts with the pod's own name and spec.hostAliases, as kubelet writes it. `host_file`: text that replaces the
// first part for a pod on the host's network; NULL else.
void fl_podfiles_hosts(struct fl_buf *b, const struct fl_pod_spec *p, const struct fl_ip *ips, unsigned n_ips,
		       const char *domain, const char *host_file);

// Makes <dir>/etc/{hosts,hostname,resolv.conf}.
FL_WUR int fl_podfiles_write(const char *dir, const struct fl_pod_spec *p, const struct fl_ip *ips, unsigned n_ips,
			     const struct fl_dns_config *d, struct fl_err *err);

// Makes <dir>/volumes/<name> for emptyDir, configMap, secret, downwardAPI and projected volumes of those; hostPath is
// used in place. Idempotent. -ENOENT for a missing ConfigMap or Secret, -ENOTSUP for a volume of another type, worded
// as kubelet words FailedMount.
FL_WUR int fl_volumes_write(const char *dir, const struct fl_env_source *s, struct fl_err *err);
// Makes <dir>/shm, what all containers of the pod have at /dev/shm. Idempotent.
FL_WUR int fl_volumes_shm(const char *dir, struct fl_err *err);
// The same for what an object or the pod's own fields may have changed, and only that.
FL_WUR int fl_volumes_update(const char *dir, const struct fl_env_source *s, bool *ret_changed, struct fl_err *err);
// The container's mounts: files of /etc, then its volumeMounts. `env` is for subPathExpr. In `a`; -EINVAL for a mount
// of no volume.
FL_WUR int fl_volumes_mounts(struct fl_arena *a, const char *dir, const struct fl_pod_spec *p,
			     const struct fl_container_spec *c, const struct fl_json *env, struct fl_oci_mount **ret,
			     unsigned *ret_n, struct fl_err *err);
