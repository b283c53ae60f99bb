// SPDX-License-Identifier: Apache-2.0
// Controller: gives each pod without a node one of those it may run on: the one that it prefers, else the one with the
// fewest pods.
#pragma once

#include "controller/hub.h"

struct fl_scheduler;

struct fl_scheduler *fl_scheduler_new(struct fl_hub *h);
void fl_scheduler_free(struct fl_scheduler **s); // after the hub
