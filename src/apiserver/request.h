// SPDX-License-Identifier: Apache-2.0
// From an HTTP request to what it asks for (apiserver RequestInfo): path, verb, query, form of the answer. Parameters
// that nobody here knows are ignored, as Kubernetes ignores them.
#pragma once

#include "apiserver/server.h"

// Fills all but user and groups. False when the path is no resource path (/version, /openapi/v3 ...): then only path,
// params and verb are set. An unknown resource leaves `kind` NULL with plural set. -EINVAL when the query does not
// decode.
FL_WUR int fl_request_parse(struct fl_apiserver *s, struct fl_http_req *http, struct fl_request *ret,
			    bool *ret_is_resource);

// Chooses r->form from Accept; false = 406 (RFC 9110 section 12.5.1; q values are not weighed, the first that we have
// is taken, as clients list them in order of preference).
bool fl_request_negotiate(struct fl_request *r);
