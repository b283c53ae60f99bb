// SPDX-License-Identifier: Apache-2.0
// metadata.managedFields: who set which fields of an object last; and server-side apply, which goes by it. Pure
// functions on trees. (apimachinery util/managedfields, structured-merge-diff merge.Updater)
//
//   create, update, patch:  live, new  --compare-->  what changed is taken from all others and given to the writer
//   apply:                  live, configuration  --merge--> without what the applier no longer names and nobody owns
//                                                --compare--> what it changes of others is a conflict, or forced
//
// An entry is known by manager, operation, apiVersion (not of an Apply) and subresource. More than ten Update entries
// are joined, the oldest first, into "ancient-changes". An object without entries stays without them under updates,
// as in Kubernetes; the first apply books all that it has as "before-first-apply".
#pragma once

#include "api/kind.h"

struct fl_writer {
	const char *manager;     // "kubectl-create"; "" is "unknown"
	const char *subresource; // NULL or "" for the object itself
	const char *now;         // RFC 3339
	bool unrecorded;         // one of our own roles: gets no entry, but others lose what it changes
};

// The name before the first slash of a User-Agent, printable and at most 128 bytes: who writes without a fieldManager.
const char *fl_manager_of_user_agent(struct fl_arena *a, const char *user_agent);
// Whether one of our own roles says that it writes; `user_agent` may be NULL.
bool fl_manager_is_role(const char *user_agent);
// Adds what is wrong with the parameters of a write (validation ValidateFieldManager, ValidatePatchOptions). `manager`
// and `force` are the parameters' texts or NULL.
void fl_managed_validate_options(struct fl_causes *c, const char *manager, const char *force, bool apply);

// Sets or removes metadata.managedFields of `obj`: decoded and with its defaults (fl_kind_default), not prepared yet,
// so that what the server chooses belongs to nobody. What the client sent there counts, as Kubernetes has it (a
// client may hand over or reset ownership). `live` is NULL on create.
void fl_managed_update(const struct fl_kind *k, struct fl_arena *a, struct fl_json *obj, const struct fl_json *live,
		       const struct fl_writer *w);

// The state that `patch`, an apply configuration, makes of `live` (NULL: there is none), with its managedFields; to
// be decoded and prepared like the result of any patch. Returns false with *ret_refusal: 409 with one cause for each
// conflict (added to `causes`), 400, 500 as Kubernetes has it for a configuration that does not fit its schema.
FL_WUR bool fl_managed_apply(const struct fl_kind *k, struct fl_arena *a, const struct fl_json *patch,
			     const struct fl_json *live, const struct fl_writer *w, bool force, struct fl_json **ret,
			     struct fl_causes *causes, struct fl_status *ret_refusal);

// A write that changed nothing but times in managedFields changes nothing: obj gets those of `old` back.
void fl_managed_keep_times(struct fl_arena *a, struct fl_json *obj, const struct fl_json *old);
