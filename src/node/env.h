// SPDX-License-Identifier: Apache-2.0
// A container's environment and command line: values, references, $(NAME) expansion (Kubernetes "Define environment
// variables", kubelet makeEnvironmentVariables). Pure: what is referred to is handed in.
#pragma once

#include "base/ip.h"
#include "node/image.h"
#include "node/podspec.h"
#include "node/svcenv.h"

struct fl_env_source {
	const struct fl_pod_spec *pod;
	const struct fl_container_spec *container;
	const struct fl_ip *pod_ips, *host_ips;
	unsigned n_pod_ips, n_host_ips;
	struct fl_ip kubernetes_ip; // see fl_service_env_source
	fl_services_each services;  // NULL: not known
	void *services_arg;
	int64_t node_cpu_milli, node_memory, node_disk; // what an unset limit means in a resourceFieldRef
	// The ConfigMap or Secret of that name in the pod's namespace; NULL when it does not exist.
	const struct fl_json *(*lookup)(void *arg, bool secret, const char *name);
	void *arg;
};

struct fl_env {
	struct fl_json *all;  // array of "NAME=value" strings: of the image, of Services, envFrom, env; the last wins
	struct fl_json *pods; // those that the pod gave, all but the image's: what $(NAME) sees
};

// -ENOENT with what is missing, worded as kubelet words CreateContainerConfigError. In `a`.
FL_WUR int fl_env_build(struct fl_arena *a, const struct fl_env_source *s, const struct fl_image *image,
			struct fl_env *ret, struct fl_err *err);

// $(NAME) with the values of `env` (array of "NAME=value"); an unknown name stays as it is, $$ is $.
const char *fl_env_expand(struct fl_arena *a, const char *text, const struct fl_json *env);

// Value of a fieldRef: metadata, spec and status fields of the pod. NULL: no such field.
const char *fl_env_field(struct fl_arena *a, const struct fl_env_source *s, const char *path);
// Value of a resourceFieldRef; without containerName that of s->container, which may be NULL. NULL: no such resource.
const char *fl_env_resource(struct fl_arena *a, const struct fl_env_source *s, const struct fl_json *ref);

// command and args of the container over those of the image, expanded. -EINVAL when nothing is left to run.
FL_WUR int fl_env_command(struct fl_arena *a, const struct fl_container_spec *c, const struct fl_image *image,
			  const struct fl_env *env, struct fl_json **ret, struct fl_err *err);

// Calls `each` for every ConfigMap and Secret that a pod refers to (env, envFrom, volumes), perhaps more than once.
void fl_pod_references(const struct fl_pod_spec *p, void (*each)(void *arg, bool secret, const char *name), void *arg);
