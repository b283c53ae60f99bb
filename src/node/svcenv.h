// SPDX-License-Identifier: Apache-2.0
// Environment variables that tell a container of the Services around it (Kubernetes "Discovering services: environment
// variables"; kubelet pkg/kubelet/envvars): <SVC>_SERVICE_HOST, <SVC>_SERVICE_PORT[_<NAME>] and Docker's link
// variables. Pure.
#pragma once

#include "api/object.h"
#include "base/ip.h"
#include "node/podspec.h"

// Calls `visit` for each Service of a namespace until it answers false.
typedef void (*fl_services_each)(void *arg, const char *ns, bool (*visit)(void *arg, const struct fl_object *service),
				 void *visit_arg);

struct fl_service_env_source {
	const struct fl_pod_spec *pod;
	fl_services_each each; // NULL: only what kubernetes_ip gives
	void *arg;
	struct fl_ip kubernetes_ip; // stands for default/kubernetes while that is not there; family 0: nothing does
};

// An array of "NAME=value": of the Services of the pod's namespace that have a cluster IP (with enableServiceLinks
// false: of none) and of default/kubernetes. A Service named kubernetes in the pod's own namespace hides the latter.
struct fl_json *fl_service_env(struct fl_arena *a, const struct fl_service_env_source *s);

// What fl_service_env reads of a Service, and nothing else, as a Service object: for a cache of all of them
// (fl_informer_opts.reduce). A Service without a cluster IP keeps its names only.
struct fl_json *fl_service_env_reduce(struct fl_arena *a, const struct fl_json *service);
