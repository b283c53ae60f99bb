// SPDX-License-Identifier: Apache-2.0
// config.json of the OCI runtime specification (1.0.2) for one container. Pure: a tree from trees.
#pragma once

#include "node/cgroup.h"
#include "node/image.h"
#include "node/podspec.h"

struct fl_oci_mount {
	const char *source, *target;
	const char *subpath; // below source: to be bound first (subpath.h), and source replaced; NULL: none
	const char *volume;  // its name; NULL: none
	bool read_only;
};

struct fl_oci_opts {
	const struct fl_pod_spec *pod;
	const struct fl_container_spec *container;
	const struct fl_image *image;
	const struct fl_json *argv, *env;  // arrays of strings (env.h); copied
	const char *netns, *utsns, *ipcns; // paths to join; NULL: the host's
	const char *pidns;                 // path to join; NULL: one of its own, unless the pod is in the host's
	const char *shm;                   // directory for /dev/shm; NULL: its own
	const char *cgroup;                // "/fairlead-.../<uid>/<container>"
	const char *termination_log;       // host file for terminationMessagePath
	const struct fl_oci_mount *mounts; // files and volumes; of two the one that is deeper comes on top
	unsigned n_mounts;
	const char *passwd, *group; // texts of the image's /etc/passwd and /etc/group; NULL: none
	bool may_lower_oom_score;   // CAP_SYS_RESOURCE is there
	int64_t node_memory;        // bytes, for the score of burstable pods
	struct fl_node_cgroups cgroups;
};

// -EINVAL: a security context that cannot be met (runAsNonRoot with a root image, an unknown user), worded as kubelet
// words CreateContainerConfigError.
FL_WUR int fl_oci_config(struct fl_arena *a, const struct fl_oci_opts *o, struct fl_json **ret, struct fl_err *err);
