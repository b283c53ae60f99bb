// SPDX-License-Identifier: Apache-2.0
// The same for iptables-legacy, whose rules netlink does not show: its own program is asked, and only where the kernel
// says that the old tables are in use in this network namespace. Looked at: policies and rules without a condition in
// FORWARD, INPUT and OUTPUT.
#pragma once

#include "node/firewall/plan.h"

// Pure: from what `iptables-legacy -S` prints (table filter) to the input of iptables-legacy-restore --noflush that
// makes one family's traffic pass; an empty buffer when nothing is to be done. *ret_blocking: something drops it.
void fw_legacy_plan(const struct fw_host *h, int family, const char *listed, struct fl_buf *ret, bool *ret_blocking);
// Pure: the same, to take out all that is ours.
void fw_legacy_unplan(const char *listed, struct fl_buf *ret);

// Both of them done, for both families. `dir` is where a file may be put for a moment. *ret_changed: rules were
// written.
FL_WUR int fw_legacy_mend(const struct fw_host *h, const char *dir, bool *ret_changed, struct fl_err *err);
FL_WUR int fw_legacy_unmend(const char *dir, struct fl_err *err);
