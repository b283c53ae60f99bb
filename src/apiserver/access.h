// SPDX-License-Identifier: Apache-2.0
// Who is asking, and may they? (Kubernetes "Authenticating", "Authorization Overview", "User impersonation")
// Identity comes from the client certificate: CN is the user, each O a group. Whoever our CA signed may do everything,
// also act as somebody else (Impersonate-User, -Group, -Uid: kubectl --as); whoever shows no certificate may read
// health and version, nothing else. Tokens and RBAC stand on this seam later.
#pragma once

#include "apiserver/server.h"

// Fills user, uid, groups and credential of r, as impersonated. False: the answer (400, 401, 403) has been sent.
bool fl_access_authenticate(struct fl_request *r);
// False: the answer (403) has been sent.
bool fl_access_authorize(struct fl_request *r, bool is_resource);

// Whether somebody of these groups may. `path` NULL: `verb` any resource of any kind; else that path, which is none.
bool fl_access_may(const char *const *groups, unsigned n, const char *verb, const char *path);
extern const char *const fl_access_public_paths[]; // that anybody may read, with all below them; NULL-terminated
