// SPDX-License-Identifier: Apache-2.0
// Controller: empties a namespace that is being deleted, then lets it go.
#pragma once

#include "controller/discovery.h"
#include "controller/hub.h"

struct fl_namespace_controller;

struct fl_namespace_controller *fl_namespace_controller_new(struct fl_hub *h, struct fl_discovery *d);
void fl_namespace_controller_free(struct fl_namespace_controller **c); // after the hub
