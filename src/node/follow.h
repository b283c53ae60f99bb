// SPDX-License-Identifier: Apache-2.0
// Watches single ConfigMaps and Secrets, each once however many pods refer to it, as kubelet does: a node reads what
// its pods name and nothing else. Only names and revisions are kept.
#pragma once

#include "client/client.h"

struct fl_follow;

// on_change: `rv` 0 says that the object is gone. Runs on the client's loop.
struct fl_follow *
fl_follow_new(struct fl_client *c,
	      void (*on_change)(void *arg, bool secret, const char *ns, const char *name, uint64_t rv), void *arg);
void fl_follow_free(struct fl_follow **f); // no callback after this; accepts NULL inside
void fl_follow_want(struct fl_follow *f, bool secret, const char *ns, const char *name, bool on);
