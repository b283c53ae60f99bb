// SPDX-License-Identifier: Apache-2.0
// The host's own firewall: whether it lets the traffic of pods and Services through, the narrow accepts that make it,
// and the words where it is not ours to change.
//
//   ruleset.c --read--> judge.c --what each packet meets--> plan.c --+--> mend.c, legacy.c   chain FAIRLEAD-<HOOK>
//                                                                    \--> problem: log line, Event, Node condition
//
// Looked at when the node starts and then every second, where a look costs one small question to the kernel unless the
// rules have changed: so what a reload of the firewall swept away is back within a second.
#pragma once

#include "node/firewall/plan.h"

struct fl_firewall;

// `dir` may hold a file for a moment. Both are copied.
FL_WUR int fl_firewall_new(const struct fw_host *h, const char *dir, struct fl_firewall **ret, struct fl_err *err);
void fl_firewall_free(struct fl_firewall **f); // leaves the rules

// One look, and what follows from it. Logs what it changed and what it cannot change, each once.
void fl_firewall_look(struct fl_firewall *f);
// What blocks pods and is not ours to mend, as one line; NULL: nothing. *ret_serial grows with each change of it. Valid
// until the next look.
const char *fl_firewall_problem(const struct fl_firewall *f, unsigned *ret_serial);

// Takes everything of ours out of the host's firewall, in this network namespace. Idempotent.
FL_WUR int fl_firewall_cleanup(const char *dir, struct fl_err *err);
