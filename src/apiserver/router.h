// SPDX-License-Identifier: Apache-2.0
// From a request to the function that answers it.
#pragma once

#include "apiserver/server.h"

void fl_router_handle(struct fl_http_req *http, void *server);
