// SPDX-License-Identifier: Apache-2.0
// What the files of this folder share beyond their public headers.
#pragma once

#include "client/client.h"
#include "io/http_client.h"

// A whole call (connect, TLS, answer) of a get or a write. A server that takes longer is down for its caller.
#define FL_CLIENT_CALL_TIMEOUT_MS 30000
// A page of a list: up to 500 objects.
#define FL_CLIENT_LIST_TIMEOUT_MS 60000
// One watch line: an object at rest (FL_MAX_OBJECT_BYTES; etcd's limit elsewhere) with room for wider JSON.
#define FL_CLIENT_MAX_FRAME_BYTES (8 * 1024 * 1024)

struct fl_http_client *fl_client_http(struct fl_client *c);
const char *fl_client_server(const struct fl_client *c); // without a slash at its end
// The error code of an answer (see fl_client_done); `body` is the parsed Status or NULL. 0 for 2xx.
int fl_client_status_code(int http_status, const struct fl_json *body, struct fl_err *err);

// The server cannot be reached: one log line for the client, however many calls and watches fail of it; one more when
// it answers again.
void fl_client_note_lost(struct fl_client *c, const struct fl_err *err);
void fl_client_note_back(struct fl_client *c);
