// SPDX-License-Identifier: Apache-2.0
// The certificates of one installation, under <data-dir>/pki: a CA (10 years), and what it signs (1 year): the API
// server's serving certificate, the client certificates of the roles and of the administrator, the node's serving
// certificate. Made at the first start; signed anew when half their life is over, when the clock says that they are not
// in time, when they no longer cover the names and addresses in use or are not of this CA. Kubeconfigs of the roles are
// under <data-dir>/kubeconfig.
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/ip.h"

struct fl_pki_layout_opts {
	const char *data_dir, *node_name, *cluster_domain;
	struct fl_ip
	    ips[8]; // addresses of the API server and the node: advertised, listened on, first of each service range
	unsigned n_ips;
};

// Makes what is missing and signs anew what must be. *ret_signed becomes true when something was signed, also where
// what followed failed; it is never made false. -EKEYREJECTED: the CA has expired, its key is missing or another's.
FL_WUR int fl_pki_ensure(const struct fl_pki_layout_opts *o, bool *ret_signed, struct fl_err *err);

// Writes admin.kubeconfig (mode 0600) for `admin_server` and the roles' for `role_server`; both "https://host:port".
// Needs fl_pki_ensure.
FL_WUR int fl_pki_write_kubeconfigs(const char *data_dir, const char *node_name, const char *admin_server,
				    const char *role_server, struct fl_err *err);
