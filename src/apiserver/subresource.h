// SPDX-License-Identifier: Apache-2.0
// Subresources that are not the object itself: scale, binding, finalize, log.
#pragma once

#include "apiserver/server.h"

void fl_subresource_scale(struct fl_request *r);    // GET, PUT, PATCH; autoscaling/v1 Scale
void fl_subresource_binding(struct fl_request *r);  // POST pods/<name>/binding
void fl_subresource_finalize(struct fl_request *r); // PUT namespaces/<name>/finalize
void fl_subresource_log(struct fl_request *r);      // GET pods/<name>/log, from the node's HTTPS endpoint
