// SPDX-License-Identifier: Apache-2.0
// Subresources that are not the object itself: scale, binding, finalize, log, and those that a pod does not have here.
#pragma once

#include "apiserver/server.h"

void fl_subresource_scale(struct fl_request *r);    // GET, PUT, PATCH; autoscaling/v1 Scale
void fl_subresource_binding(struct fl_request *r);  // POST pods/<name>/binding
void fl_subresource_finalize(struct fl_request *r); // PUT namespaces/<name>/finalize
void fl_subresource_stream(struct fl_request *r);   // pods/<name>/exec, attach, portforward: where it is to be had
void fl_subresource_log(struct fl_request *r);      // GET pods/<name>/log, from the node's HTTPS endpoint
