// SPDX-License-Identifier: Apache-2.0
// Command line of every verb: one table of options, one resolved form. The supervisor hands its resolved options to its
// roles in the same words, so a role is started alone with the options that `up` would give it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"

#define FL_MAX_LISTEN 4

struct fl_options { // strings belong to the options; fl_options_deinit
	char *data_dir, *node_name, *cluster_domain, *proxy_mode, *netns, *kubeconfig, *runtime, *upstream, *log_level;
	char *listen_text;                  // --api-listen as given
	struct fl_ip listen[FL_MAX_LISTEN]; // n_listen 0: all addresses
	unsigned n_listen;
	uint16_t api_port;
	struct fl_ip advertise;
	struct fl_cidr service_cidrs[2], pod_cidrs[2];
	unsigned n_service_cidrs, n_pod_cidrs;
	struct fl_ip node_ips[2];
	unsigned n_node_ips;
	uint16_t node_port_low, node_port_high;
	uint16_t kubelet_port;
	char *metrics_listen, *healthz_listen; // of the proxy; NULL = off
	char *insecure_registries;             // of images
	uint64_t image_max_bytes;              // 0: the default
	unsigned history_s;                    // of the store; 0: the default
	bool no_masquerade;                    // of pods
	bool repair;
	bool help;
};

void fl_options_deinit(struct fl_options *o);
// Parses argv[1..]; does not look at the host. -EINVAL names the option and what is wrong with it.
FL_WUR int fl_options_parse(int argc, char *const *argv, struct fl_options *ret, struct fl_err *err);
// One address to listen on: "[v6]:port", "v4:port", ":port" (*ret_any: all addresses). Writes into `text`.
bool fl_options_parse_listen(char *text, struct fl_ip *ret_ip, bool *ret_any, uint16_t *ret_port);
// Whether the options make sense, alone and together; does not look at the host. -EINVAL names the option and why not.
FL_WUR int fl_options_check(const struct fl_options *o, struct fl_err *err);
// Whether this host is the one that resolved options speak of. In the network namespace that they name.
FL_WUR int fl_options_check_host(const struct fl_options *o, struct fl_err *err);
// Whether --api-listen has the API server listen on this address.
bool fl_options_listens_on(const struct fl_options *o, const struct fl_ip *ip);
// Fills in what was left to the host: node name and addresses, advertise address (the node's; where the API server does
// not listen on it, the first that it listens on and others can send to). In the network namespace that the options
// name.
FL_WUR int fl_options_resolve(struct fl_options *o, struct fl_err *err);
// The options as arguments, NULL-terminated, to be freed with fl_options_free_argv: parsing them gives the same
// options.
char **fl_options_to_argv(const struct fl_options *o);
void fl_options_free_argv(char **argv);
void fl_options_print_help(const char *verb);

// Derived facts that several roles must agree on.
struct fl_cidr fl_options_node_pod_cidr(const struct fl_options *o,
					unsigned i); // this node's part of pod_cidrs[i]: a /24, or a /64
struct fl_ip fl_options_pod_gateway(const struct fl_options *o,
				    unsigned i); // its first address: on this host, where DNS listens
struct fl_ip fl_options_dns_ip(const struct fl_options *o, unsigned i); // service_cidrs[i] base + 10
