// SPDX-License-Identifier: Apache-2.0
// REST client of one API server, asynchronous on a libuv loop. JSON both ways. Every role speaks to the API through
// this and nothing else.
#pragma once

#include <uv.h>

#include "api/object.h"
#include "client/kubeconfig.h"

struct fl_client;
struct fl_client_call;

// Group, version and plural of a resource. Constants for the kinds of this project: fl_gvr_services ...
struct fl_gvr {
	const char *group, *version, *plural;
};
extern const struct fl_gvr fl_gvr_namespaces, fl_gvr_nodes, fl_gvr_pods, fl_gvr_services, fl_gvr_endpoints,
    fl_gvr_endpointslices, fl_gvr_deployments, fl_gvr_replicasets, fl_gvr_configmaps, fl_gvr_secrets,
    fl_gvr_serviceaccounts, fl_gvr_events, fl_gvr_leases, fl_gvr_replicationcontrollers, fl_gvr_controllerrevisions;

FL_WUR int fl_client_new(uv_loop_t *loop, const struct fl_kubeconfig *cfg, const char *user_agent,
			 struct fl_client **ret, struct fl_err *err);
void fl_client_free(struct fl_client **c); // cancels what is under way, without callbacks

// "/api/v1/namespaces/<ns>/<plural>/<name>/<subresource>" ; ns, name, subresource may be NULL.
const char *fl_client_path(struct fl_arena *a, const struct fl_gvr *gvr, const char *ns, const char *name,
			   const char *subresource);

enum fl_patch_type { FL_PATCH_MERGE, FL_PATCH_STRATEGIC, FL_PATCH_JSON };

// Exactly once unless cancelled or the client is freed. rc 0: HTTP 2xx, `body` is the parsed answer (in `a`, dropped
// after the call; may be NULL). rc < 0: no answer, or a Status: -ENOENT 404, -EEXIST 409 AlreadyExists, -ESTALE 409
// Conflict or 410, -EACCES 401/403, -EINVAL 400/422, -EAGAIN 429/5xx, other -errno for transport; err->text holds the
// server's message; http_status is 0 when there was no answer.
typedef void (*fl_client_done)(void *arg, int rc, int http_status, struct fl_arena *a, struct fl_json *body,
			       const struct fl_err *err);

// `ret` (may be NULL) allows cancelling until done has run. `body` trees are serialized before the call returns.
void fl_client_get(struct fl_client *c, const struct fl_gvr *gvr, const char *ns, const char *name, fl_client_done done,
		   void *arg, struct fl_client_call **ret);
void fl_client_create(struct fl_client *c, const struct fl_gvr *gvr, const char *ns, const struct fl_json *obj,
		      fl_client_done done, void *arg, struct fl_client_call **ret);
// metadata.resourceVersion of obj is the guard; subresource NULL or "status", "scale".
void fl_client_update(struct fl_client *c, const struct fl_gvr *gvr, const char *ns, const char *name,
		      const char *subresource, const struct fl_json *obj, fl_client_done done, void *arg,
		      struct fl_client_call **ret);
void fl_client_patch(struct fl_client *c, const struct fl_gvr *gvr, const char *ns, const char *name,
		     const char *subresource, enum fl_patch_type type, const struct fl_json *patch, fl_client_done done,
		     void *arg, struct fl_client_call **ret);
// uid (precondition) may be NULL; grace_seconds -1 = the kind's default; propagation NULL, "Background", "Foreground",
// "Orphan".
void fl_client_delete(struct fl_client *c, const struct fl_gvr *gvr, const char *ns, const char *name, const char *uid,
		      int grace_seconds, const char *propagation, fl_client_done done, void *arg,
		      struct fl_client_call **ret);
// Any path, e.g. "/readyz"; body and content_type may be NULL.
void fl_client_raw(struct fl_client *c, const char *method, const char *path, const char *content_type,
		   const void *body, size_t len, fl_client_done done, void *arg, struct fl_client_call **ret);
// The same, for callers who need little of an answer: the text instead of a tree, borrowed for the call. It is JSON as
// far as its first byte tells.
typedef void (*fl_client_text_done)(void *arg, int rc, int http_status, const char *text, size_t len,
				    const struct fl_err *err);
void fl_client_text(struct fl_client *c, const char *method, const char *path, const char *content_type,
		    const void *body, size_t len, fl_client_text_done done, void *arg, struct fl_client_call **ret);
// "application/merge-patch+json" ...
const char *fl_client_patch_type(enum fl_patch_type type);
void fl_client_cancel(struct fl_client_call **call);
uv_loop_t *fl_client_loop(const struct fl_client *c);
