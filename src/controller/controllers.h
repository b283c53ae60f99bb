// SPDX-License-Identifier: Apache-2.0
// The role `controllers`: every loop that makes the state of the world follow the objects. One process, one libuv loop,
// one list/watch per kind shared by all controllers. Of several such processes one acts (Lease
// kube-system/fairlead-controllers); the others keep their caches filled.
#pragma once

#include <stddef.h>

#include "base/err.h"

struct fl_controllers_opts {
	const char *kubeconfig; // path; NULL as fl_kubeconfig_load
	unsigned lease_s;       // duration of the leader's Lease; 0: 15
	size_t max_ended;       // pods that have ended and are kept; 0: 12,500, as Kubernetes does
};

// Runs until SIGTERM or SIGINT, then returns 0. A server that cannot be reached is waited for. -ECANCELED: this process
// led and could not renew its Lease; a fresh one may be started at once.
FL_WUR int fl_controllers_run(const struct fl_controllers_opts *opts, struct fl_err *err);
