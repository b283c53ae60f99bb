// SPDX-License-Identifier: Apache-2.0
// Controller: EndpointSlices of Endpoints that somebody made by hand for a Service without a selector.
#pragma once

#include "controller/hub.h"

struct fl_mirror_controller;

struct fl_mirror_controller *fl_mirror_controller_new(struct fl_hub *h);
void fl_mirror_controller_free(struct fl_mirror_controller **c); // after the hub
