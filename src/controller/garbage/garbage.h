// SPDX-License-Identifier: Apache-2.0
// Controller: garbage collection by ownerReferences (Kubernetes "Garbage Collection"): background, orphan, foreground.
#pragma once

#include "controller/discovery.h"
#include "controller/hub.h"

struct fl_garbage;

struct fl_garbage *fl_garbage_new(struct fl_hub *h, struct fl_discovery *d);
void fl_garbage_free(struct fl_garbage **g); // before the hub: its own informers stand in it
