// SPDX-License-Identifier: Apache-2.0
// DELETE of one object and of a collection; eviction of a pod.
#pragma once

#include "apiserver/server.h"

void fl_delete_object(struct fl_request *r);
void fl_delete_eviction(struct fl_request *r); // POST pods/<name>/eviction
void fl_delete_collection(struct fl_request *r);
