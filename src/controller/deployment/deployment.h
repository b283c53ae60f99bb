// SPDX-License-Identifier: Apache-2.0
// Controller: Deployments, by ReplicaSets of their pod template.
#pragma once

#include "controller/hub.h"

struct fl_deployment_controller;

struct fl_deployment_controller *fl_deployment_controller_new(struct fl_hub *h);
void fl_deployment_controller_free(struct fl_deployment_controller **c); // after the hub
