// SPDX-License-Identifier: Apache-2.0
// Watches a starting node until it can be used: the API serves, the Node is Ready, DNS answers.
#pragma once

#include <uv.h>

#include "base/err.h"
#include "base/ip.h"

struct fl_ready;

struct fl_ready_opts {
	const char *kubeconfig, *node_name, *domain;
	struct fl_ip dns_ip; // family 0: DNS is not waited for
	uint16_t dns_port;
	int service_family;          // of the address that it must know of default/kubernetes
	void (*on_ready)(void *arg); // once
	void *arg;
};

FL_WUR int fl_ready_start(uv_loop_t *loop, const struct fl_ready_opts *o, struct fl_ready **ret, struct fl_err *err);
void fl_ready_free(struct fl_ready **r); // accepts NULL inside
