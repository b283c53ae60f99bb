// SPDX-License-Identifier: Apache-2.0
// Who is asking, and may they? (Kubernetes "Authenticating", "Authorization Overview")
// Identity comes from the client certificate: CN is the user, each O a group. Whoever our CA signed may do everything;
// whoever shows no certificate may read health and version, nothing else. Tokens and RBAC stand on this seam later.
#pragma once

#include "apiserver/server.h"

// Fills r->user and r->groups. False: the answer (401) has been sent.
bool fl_access_authenticate(struct fl_request *r);
// False: the answer (403) has been sent.
bool fl_access_authorize(struct fl_request *r, bool is_resource);
