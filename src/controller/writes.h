// SPDX-License-Identifier: Apache-2.0
// The writes of one reconcile. They run side by side; when all have answered, the key is done - well, or to be tried
// again. A callback may add further ones. Each answer goes into the informer's cache before its callback runs. Errors
// are logged here, once.
#pragma once

#include "controller/hub.h"

struct fl_writes;

// rc as fl_client_done; `answer` (may be NULL) and `err` are borrowed.
typedef void (*fl_writes_done)(void *arg, int rc, const struct fl_json *answer, const struct fl_err *err);

// `queue` and `key` (copied) of the reconcile; fl_writes_end must follow.
struct fl_writes *fl_writes_begin(struct fl_hub *h, struct fl_workqueue *queue, const char *key);
// `done` may be NULL; `arg` belongs to the caller and is not freed when the role ends with writes under way.
void fl_writes_create(struct fl_writes *w, const struct fl_gvr *gvr, const char *ns, const struct fl_json *obj,
		      fl_writes_done done, void *arg);
void fl_writes_update(struct fl_writes *w, const struct fl_gvr *gvr, const char *ns, const char *name,
		      const char *subresource, const struct fl_json *obj, fl_writes_done done, void *arg);
void fl_writes_patch(struct fl_writes *w, const struct fl_gvr *gvr, const char *ns, const char *name,
		     const char *subresource, enum fl_patch_type type, const struct fl_json *patch, fl_writes_done done,
		     void *arg);
// POST to a subresource: "binding".
void fl_writes_post(struct fl_writes *w, const struct fl_gvr *gvr, const char *ns, const char *name,
		    const char *subresource, const struct fl_json *obj, fl_writes_done done, void *arg);
// Not there any more counts as done. `uid` must not be NULL.
void fl_writes_delete(struct fl_writes *w, const struct fl_gvr *gvr, const char *ns, const char *name, const char *uid,
		      int grace_seconds, const char *propagation, fl_writes_done done, void *arg);
// The same for exactly this state: refused (409) when the object has changed since `resource_version`.
void fl_writes_delete_exact(struct fl_writes *w, const struct fl_gvr *gvr, const char *ns, const char *name,
			    const char *uid, const char *resource_version, const char *propagation);
// Any request whose answer goes into no cache, e.g. a read past the caches. 404 counts as done.
void fl_writes_raw(struct fl_writes *w, const struct fl_gvr *gvr, const char *method, const char *ns, const char *name,
		   const char *path, const struct fl_json *body, fl_writes_done done, void *arg);
void fl_writes_fail(struct fl_writes *w);                     // the key is to be tried again, with back-off
void fl_writes_again(struct fl_writes *w, unsigned delay_ms); // once more after a delay although all went well
struct fl_arena *fl_writes_arena(struct fl_writes *w);        // lives until the key is done: for callbacks' arguments
void fl_writes_end(struct fl_writes *w);                      // `w` must not be used after it

// The watch often tells of a write before its answer comes. For a listener, about a change that would queue the key:
// true when the key's reconcile has writes under way, of which this may be one. Then it is theirs: what none of their
// answers turns out to be queues the key when they are done.
bool fl_writes_echo(struct fl_hub *h, const struct fl_workqueue *queue, const char *key, const struct fl_object *o);

// For the hub: its list of writes under way, and its end without callbacks.
struct fl_writes **fl_hub_writes(struct fl_hub *h);
const struct fl_workqueue **fl_hub_answered(struct fl_hub *h);
void fl_writes_drop_all(struct fl_writes **list);
