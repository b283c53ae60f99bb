// SPDX-License-Identifier: Apache-2.0
// The API server role: HTTPS in front of the store. See README.md in this folder.
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"

struct fl_apiserver_opts {
	const char *data_dir;           // the store lives in data_dir/store
	const struct fl_ip *listen_ips; // n_listen of them
	unsigned n_listen;
	uint16_t port;         // 0 picks one
	const char *port_file; // where the chosen port is written, decimal, once requests are served; or NULL
	const char *cert_file, *key_file;                 // serving certificate
	const char *client_ca_file;                       // CA of client certificates
	const char *kubelet_cert_file, *kubelet_key_file; // what this server shows to a node's HTTPS endpoint
	struct fl_ip advertise_ip;                        // endpoint of default/kubernetes
	struct fl_cidr service_cidrs[2];                  // first = primary family
	unsigned n_service_cidrs;
	uint16_t node_port_low, node_port_high;
	unsigned history_s; // how far back a watch may start; 0: FL_STORE_LOG_KEEP_MS
};

// Serves until SIGTERM or SIGINT; then commits what was accepted and returns 0.
FL_WUR int fl_apiserver_run(const struct fl_apiserver_opts *opts, struct fl_err *err);
