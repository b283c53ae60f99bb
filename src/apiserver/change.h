// SPDX-License-Identifier: Apache-2.0
// One change of one object, from a decoded tree to the store: metadata, defaults, admission, allocation, validation,
// the guarded write. (apiserver registry/rest: BeforeCreate, BeforeUpdate, BeforeDelete.) Knows nothing of HTTP, so
// bootstrap uses it as requests do.
//
// Everything between reading the newest state (head) and submitting happens in one turn of the loop: a patch never
// meets a conflict.
#pragma once

#include "api/apply/managed.h"
#include "apiserver/alloc.h"
#include "apiserver/server.h"

struct fl_change {
	struct fl_apiserver *s;
	struct fl_arena *a; // lives until the change was submitted
	const struct fl_kind *kind;
	const char *ns, *name;   // ns "" for cluster-scoped; name NULL on create with generateName
	const char *subresource; // NULL, "status", "scale", "finalize", "binding"
	bool dry_run;
	const struct fl_writer *writer; // who owns what changes; NULL: owners stay as they are
	bool applied;                   // obj comes from an apply, with its owners
	struct fl_status status;        // why a step refused
	struct fl_causes causes;
	struct fl_object *old; // head that this is built on; owned: fl_change_deinit
	struct fl_json *old_tree;
	struct fl_json *obj;      // the new state
	struct fl_alloc_txn *txn; // owned until submit; NULL where nothing is allocated
	bool unchanged;           // the write would change nothing: `old` is the answer
};

// The outcome of a submitted change. st NULL: `obj` is durable (borrowed); otherwise `st` is
// what the client should see.
typedef void (*fl_change_done)(void *arg, struct fl_object *obj, const struct fl_status *st);

void fl_change_deinit(struct fl_change *c);

// Each returns false with c->status filled.
bool fl_change_load(struct fl_change *c); // reads head into old and old_tree; 404 when absent
// Prepares obj as a new object. c->name: the name that it must have (PUT), or NULL.
bool fl_change_create(struct fl_change *c, struct fl_json *obj);
bool fl_change_update(struct fl_change *c, struct fl_json *obj); // after load: prepares obj as the new state of old
// After load: what a DELETE with these options (of type DeleteOptions) makes of old. *ret_gone: it leaves the store at
// once; otherwise it stays, marked, until its finalizers or its node let it go.
bool fl_change_remove(struct fl_change *c, const struct fl_json *options, bool *ret_gone);

// After an update that leaves nothing to keep the object (fl_change_is_released): what it holds is given back when it
// is deleted.
void fl_change_release(struct fl_change *c);
// 409 AlreadyExists in c->status.
void fl_change_already_exists(struct fl_change *c);

// Submits what was prepared; `done` is called later, exactly once, if it returns true. The change itself may be dropped
// after it. Otherwise c->status says why: 409, 413, 503.
bool fl_change_submit(struct fl_change *c, enum fl_store_verb verb, fl_change_done done, void *arg);

// Whether the object is durably as this change has seen it. An answer that was read off a state whose write is still
// under way ("exists already", "nothing to change") must wait for that write, which may fail.
bool fl_change_is_settled(const struct fl_change *c);
// `done` is called once every write submitted so far is decided, with `st` when the last of them failed (a failing one
// takes those after it along). Only while a change is not settled.
void fl_change_when_settled(struct fl_apiserver *s, fl_change_done done, void *arg);

// True when nothing keeps an object that is being deleted: no finalizers, no grace, no spec.finalizers (namespaces).
bool fl_change_is_released(const struct fl_kind *k, const struct fl_json *obj);
