// SPDX-License-Identifier: Apache-2.0
// Controller: nodes that have fallen silent, and pods whose node is gone.
#pragma once

#include "controller/hub.h"

struct fl_node_controller;

struct fl_node_controller *fl_node_controller_new(struct fl_hub *h);
void fl_node_controller_free(struct fl_node_controller **c); // after the hub
