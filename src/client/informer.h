// SPDX-License-Identifier: Apache-2.0
// Reflector and cache: lists a resource, watches it, keeps the newest objects, tells of each change. Reconnects with
// back-off, resumes from the last revision (bookmarks), relists on 410 Gone and then reports the difference only.
#pragma once

#include "client/client.h"

struct fl_informer;

struct fl_informer_opts {
	const struct fl_gvr *gvr;   // not copied
	const char *ns;             // NULL = all namespaces
	const char *label_selector; // text, or NULL
	const char *field_selector; // text, or NULL
	// One change: old NULL = added, new NULL = deleted. Both borrowed for the call. The cache already holds the new
	// state.
	void (*on_change)(void *arg, const struct fl_object *old, const struct fl_object *new_obj);
	void (*on_synced)(void *arg); // once, after the first full list was delivered
	void *arg;
};

FL_WUR int fl_informer_start(struct fl_client *c, const struct fl_informer_opts *opts, struct fl_informer **ret,
			     struct fl_err *err);
void fl_informer_stop(struct fl_informer **i); // frees the cache; accepts NULL inside
bool fl_informer_synced(const struct fl_informer *i);
const struct fl_object *fl_informer_find(const struct fl_informer *i, const char *ns,
					 const char *name); // borrowed; NULL when absent
size_t fl_informer_count(const struct fl_informer *i);
// In no order; ns NULL = all. `visit` returning false ends the walk. The cache must not change during it.
void fl_informer_each(const struct fl_informer *i, const char *ns, bool (*visit)(void *arg, const struct fl_object *o),
		      void *arg);
