// SPDX-License-Identifier: Apache-2.0
// From the options of the command line to the options of a role.
#pragma once

#include "cli/options.h"

FL_WUR int fl_role_node_cleanup(const struct fl_options *o, struct fl_err *err);
FL_WUR int fl_role_proxy_cleanup(const struct fl_options *o, struct fl_err *err);
