// SPDX-License-Identifier: Apache-2.0
// Who a container's process is: runAsUser, runAsGroup and supplementalGroups of the security context over the User of
// the image, names and groups looked up in the image's own passwd(5) and group(5). Pure.
#pragma once

#include "node/oci.h"

#define FL_GROUPS_MAX 64 // supplementary ones of a process; beyond: left out

struct fl_identity {
	int64_t uid, gid;
	int64_t groups[FL_GROUPS_MAX]; // the primary one first, as containerd has it (CVE-2023-25173)
	unsigned n_groups;
};

// -EINVAL: no such user or group in the image, or runAsNonRoot is not met; worded as kubelet and containerd word it.
FL_WUR int fl_identity_find(const struct fl_oci_opts *o, struct fl_identity *ret, struct fl_err *err);
