// SPDX-License-Identifier: Apache-2.0
// Controller: keeps as many pods as each ReplicaSet and each ReplicationController asks for. One engine, two kinds.
#pragma once

#include "controller/hub.h"

struct fl_replicaset_controller;

struct fl_replicaset_controller *fl_replicaset_controller_new(struct fl_hub *h);
void fl_replicaset_controller_free(struct fl_replicaset_controller **c); // after the hub
