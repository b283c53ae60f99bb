// SPDX-License-Identifier: Apache-2.0
// Writes what a plan wants into the tables of others, and takes it out again: a chain FAIRLEAD-<HOOK> and jumps to it.
// In iptables' tables all of it is in iptables' own words, so that iptables(8) can list, save and delete it.
#pragma once

#include "node/firewall/plan.h"

struct fl_netlink;

// One transaction for this fix: what is ours there goes, then the chain and its jumps are made, if it has places.
// -EAGAIN when the ruleset has changed since it was read (`generation`): look again.
FL_WUR int fw_mend(struct fl_netlink *nl, const struct fw_host *h, const struct fw_fix *fix, uint32_t generation,
		   struct fl_err *err);
// Takes all that is ours out of every table of `r`. What others wrote stays as it is.
FL_WUR int fw_unmend(struct fl_netlink *nl, const struct fw_ruleset *r, uint32_t generation, struct fl_err *err);
