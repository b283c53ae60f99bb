// SPDX-License-Identifier: Apache-2.0
// Reflector and cache: lists a resource, watches it, keeps the newest objects, tells of each change. Reconnects with
// back-off, resumes from the last revision (bookmarks), relists on 410 Gone and then reports the difference only.
#pragma once

#include "client/client.h"

struct fl_informer;

// What a user keeps of the objects it was told of. Gets the arg of the options.
struct fl_informer_keeper {
	// The object's revision as it was told last; 0: it is not kept.
	uint64_t (*rv)(void *arg, const char *ns, const char *name);
	// Visits all that are kept; they do not change during it.
	void (*each)(void *arg, void (*visit)(void *visit_arg, const char *ns, const char *name, uint64_t rv),
		     void *visit_arg);
};

struct fl_informer_opts {
	const struct fl_gvr *gvr;   // not copied
	const char *ns;             // NULL = all namespaces
	const char *label_selector; // text, or NULL
	const char *field_selector; // text, or NULL
	bool metadata_only;         // objects are PartialObjectMetadata: kind and apiVersion say so
	// For a user that keeps what it needs in a form of its own: nothing is remembered here. There is nothing to
	// find then, "old" has a namespace, a name and a revision, and an object that was deleted and made again while
	// the connection was lost is one change. fl_informer_retell brings the content again. Borrowed.
	const struct fl_informer_keeper *keeper;
	// What is to be kept of an object, as a tree in `a` (with its metadata's names, uid and resourceVersion): a
	// cache of many objects of which little is read stays small. NULL: all is kept.
	struct fl_json *(*reduce)(struct fl_arena *a, const struct fl_json *object);
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
size_t fl_informer_count(const struct fl_informer *i);      // of the cache
// In no order; ns NULL = all. `visit` returning false ends the walk. The cache must not change during it.
void fl_informer_each(const struct fl_informer *i, const char *ns, bool (*visit)(void *arg, const struct fl_object *o),
		      void *arg);

// In on_change, about the object that is told: its tree where it is at hand, as it came from the watch, else NULL. It
// goes with the call.
const struct fl_json *fl_informer_tree(const struct fl_informer *i, const struct fl_object *o);

// Lists anew and tells of every object, changed or not, as of a change of itself.
void fl_informer_retell(struct fl_informer *i);

// Own writes at once, so that a reconcile after a write never sees the state before it (no expectations are needed):
// the answer of a create, update or patch; or that a delete removed the object. Ignored where the watch knows better
// already: an answer not newer than the watch's last event is old news. Only for informers without selectors.
// on_change runs as for an event.
void fl_informer_wrote(struct fl_informer *i, const struct fl_json *answer);
// An answer of that revision is old news: fl_informer_wrote would do nothing.
bool fl_informer_passed(const struct fl_informer *i, uint64_t rv);
void fl_informer_removed(struct fl_informer *i, const char *ns, const char *name, const char *uid);
