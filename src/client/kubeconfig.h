// SPDX-License-Identifier: Apache-2.0
// kubeconfig files (Kubernetes "Organizing Cluster Access Using kubeconfig Files"): read for our roles, written for
// people.
#pragma once

#include "base/err.h"

struct fl_kubeconfig { // PEM texts, not paths; every member may be NULL but server. free: fl_kubeconfig_deinit
	char *server;
	char *ca_pem, *cert_pem, *key_pem;
	char *token;
	char *tls_server_name;
	char *ns; // of the context; "default" when it names none
	int insecure_skip_verify;
};

// `path` NULL: $KUBECONFIG (first file that exists), then ~/.kube/config. `context` NULL: current-context. Relative
// file names in it count from its folder. -ENOENT, -EINVAL with the file and member named.
FL_WUR int fl_kubeconfig_load(const char *path, const char *context, struct fl_kubeconfig *ret, struct fl_err *err);
void fl_kubeconfig_deinit(struct fl_kubeconfig *c);

// Block YAML with data inline, mode 0600, written to a temporary file and renamed. `user` names the user and, with
// `cluster`, the context.
FL_WUR int fl_kubeconfig_write(const char *path, const struct fl_kubeconfig *c, const char *cluster, const char *user,
			       struct fl_err *err);
