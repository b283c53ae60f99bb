// SPDX-License-Identifier: Apache-2.0
// What a client reads before it speaks of objects: version, health, discovery, OpenAPI.
#pragma once

#include "apiserver/server.h"

struct fl_docs *fl_docs_new(void);
void fl_docs_free(struct fl_docs **d);
// Answers a request whose path is no resource; false when the path is unknown here too.
bool fl_docs_serve(struct fl_request *r);
