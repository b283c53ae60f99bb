// SPDX-License-Identifier: Apache-2.0
// The resources that the server has (Kubernetes API discovery): what a namespace may hold, what may own or be owned.
#pragma once

#include "client/client.h"

struct fl_discovery;

struct fl_resource { // lives as long as the fl_discovery
	struct fl_gvr gvr;
	const char *kind;
	bool namespaced;
	bool can_list, can_watch, can_delete, can_delete_collection;
};

struct fl_discovery *fl_discovery_new(struct fl_client *c);
void fl_discovery_free(struct fl_discovery **d); // without callbacks
// Asks the server anew; resources are only added. Several callers at once share one round. `done` from a later turn; rc
// < 0: something could not be read and may be missing from the list.
void fl_discovery_refresh(struct fl_discovery *d, void (*done)(void *arg, int rc, const struct fl_err *err), void *arg);
const struct fl_resource *const *fl_discovery_list(const struct fl_discovery *d, size_t *ret_n);
// By group (of an apiVersion, any version of it) and kind; NULL when unknown.
const struct fl_resource *fl_discovery_by_kind(const struct fl_discovery *d, const char *api_version, const char *kind);
