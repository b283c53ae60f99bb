// SPDX-License-Identifier: Apache-2.0
// What is to become of an object, by what is known of its owners. Pure.
#pragma once

#include "json/json.h"

enum fl_owner_state {
	FL_OWNER_SOLID,   // there, and not waiting for its dependents to go
	FL_OWNER_WAITING, // being deleted in the foreground: it goes when its dependents have gone
	FL_OWNER_ABSENT,
	FL_OWNER_UNKNOWN, // neither seen nor known to be gone: the server must be asked
};

enum fl_garbage_verdict { FL_GARBAGE_KEEP, FL_GARBAGE_ASK, FL_GARBAGE_TRIM, FL_GARBAGE_DELETE };

#define FL_FINALIZER_ORPHAN     "orphan"
#define FL_FINALIZER_FOREGROUND "foregroundDeletion"

struct fl_garbage_in {
	const struct fl_json *object;
	bool has_dependents;
	enum fl_owner_state (*state)(void *arg, const struct fl_json *ref);
	void *arg;
};

// TRIM: *ret_refs holds the references that stay. DELETE: *ret_policy is the propagationPolicy.
enum fl_garbage_verdict fl_garbage_judge(struct fl_arena *a, const struct fl_garbage_in *in, struct fl_json **ret_refs,
					 const char **ret_policy);
// A merge patch for this very state of the object: ownerReferences become `refs`.
struct fl_json *fl_garbage_refs_patch(struct fl_arena *a, const struct fl_json *object, struct fl_json *refs);
struct fl_json *fl_garbage_finalizer_patch(struct fl_arena *a, const struct fl_json *object, const char *finalizer);
// Being deleted, with the finalizer.
bool fl_garbage_is_ending(const struct fl_json *object, const char *finalizer);
// The object holds its owner back (blockOwnerDeletion).
bool fl_garbage_blocks(const struct fl_json *object, const char *owner_uid);
// The ownerReferences with none that blocks; NULL when none does. Before an object is deleted in the foreground whose
// dependent is being deleted so: in a circle of owners each would wait for the next for ever. (k8s:
// unblockOwnerReferencesStrategicMergePatch)
struct fl_json *fl_garbage_unblock(struct fl_arena *a, const struct fl_json *object);
