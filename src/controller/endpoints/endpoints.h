// SPDX-License-Identifier: Apache-2.0
// Controller: Endpoints and EndpointSlices of every Service with a selector.
#pragma once

#include "controller/hub.h"

struct fl_endpoints_controller;

struct fl_endpoints_controller *fl_endpoints_controller_new(struct fl_hub *h);
void fl_endpoints_controller_free(struct fl_endpoints_controller **c); // after the hub
