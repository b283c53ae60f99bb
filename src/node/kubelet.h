// SPDX-License-Identifier: Apache-2.0
// The node's HTTPS endpoint, at which an API server asks for what only the node has:
//
//   GET /containerLogs/<ns>/<pod>/<container>?follow=true&...     the text of a log
//   GET /healthz                                                 "ok"
//
// A client shows a certificate of the cluster's CA, and is kube-apiserver or of the group system:masters; everybody
// else gets 403.
#pragma once

#include <uv.h>

#include "node/pods.h"

struct fl_kubelet;

struct fl_kubelet_opts {
	uv_loop_t *loop;
	const char *cert_file, *key_file, *client_ca_file;
	uint16_t port; // 0 picks one
	const struct fl_pods *pods;
};

FL_WUR int fl_kubelet_start(const struct fl_kubelet_opts *o, struct fl_kubelet **ret, uint16_t *ret_port,
			    struct fl_err *err);
// Ends all streams; `done` runs once, when nothing of it is left. The memory is freed before.
void fl_kubelet_stop(struct fl_kubelet **k, void (*done)(void *arg), void *arg);
