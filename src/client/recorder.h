// SPDX-License-Identifier: Apache-2.0
// Events (core/v1) about an object, as `kubectl describe` shows them. Same reason and message again within ten minutes
// raises the count of the one there.
#pragma once

#include "client/client.h"

struct fl_recorder;

struct fl_recorder *fl_recorder_new(struct fl_client *c, const char *component, const char *host); // host may be NULL
void fl_recorder_free(struct fl_recorder **r);
// type "Normal" or "Warning". Never fails to the caller: an event that cannot be written is dropped, with one log line
// where the server refused it.
__attribute__((format(printf, 5, 6))) void fl_recorder_event(struct fl_recorder *r, const struct fl_object *about,
							     const char *type, const char *reason, const char *fmt,
							     ...);
