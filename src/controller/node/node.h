// SPDX-License-Identifier: Apache-2.0
// Controller: nodes that have fallen silent, pods whose node is gone, and pods that ended long ago.
#pragma once

#include "controller/hub.h"

struct fl_node_controller;

// Of the pods that have ended, the `max_ended` youngest stay; 0: FL_ENDED_MAX.
struct fl_node_controller *fl_node_controller_new(struct fl_hub *h, size_t max_ended);
void fl_node_controller_free(struct fl_node_controller **c); // after the hub
