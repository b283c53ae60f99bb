// SPDX-License-Identifier: Apache-2.0
// What the files of this folder share: the server, and one request on its way through it.
#pragma once

#include <sys/queue.h>
#include <uv.h>

#include "api/kind.h"
#include "apiserver/apiserver.h"
#include "io/http_client.h"
#include "io/http_server.h"
#include "store/store.h"

struct fl_service_alloc;
struct fl_docs;
struct fl_pending;

// The parsed form of an object that an event is about, for every watcher with a selector.
struct fl_event_tree {
	struct fl_object *of;
	struct fl_arena arena;
	struct fl_json *tree;
};

struct fl_apiserver {
	uv_loop_t *loop;
	const struct fl_apiserver_opts *opts;
	const struct fl_registry *registry;
	struct fl_store *store;
	struct fl_http_server *http;
	struct fl_http_client *kubelet; // to the nodes' HTTPS endpoints
	struct fl_service_alloc *alloc;
	const char *namespaces;     // the resource
	struct fl_object *admitted; // state of a namespace that was found to take new objects, or NULL
	struct fl_docs *docs;
	TAILQ_HEAD(fl_pending_list, fl_pending) pending; // changes given to the store and not decided yet, in order
	struct fl_arena scratch;                         // of the watch that sends something at this moment
	struct fl_event_tree trees[2];                   // of the newest event: the object and what it was before
	unsigned next_tree;
	uint16_t port; // in use
	bool ready;    // bootstrap objects are there
};

enum fl_form { // of the answer, from the Accept header
	FL_FORM_JSON,
	FL_FORM_YAML,
	FL_FORM_TABLE,
	FL_FORM_PARTIAL, // PartialObjectMetadata
	FL_FORM_COUNT,
};

struct fl_param {
	const char *key, *value;
};

// Parsed once per request; lives in the request's arena, so until its on_close has run.
struct fl_request {
	struct fl_apiserver *s;
	struct fl_http_req *http;
	struct fl_arena *a;
	const char *verb; // get, list, watch, create, update, patch, delete, deletecollection
	const char *path; // decoded
	bool watch_path;  // /api/v1/watch/...
	// Resource requests only (kind != NULL, or plural set and kind NULL when it is unknown):
	const char *group, *version, *plural;
	const char *ns;   // "" when none was named
	const char *name; // NULL for collections
	const char *subresource;
	const struct fl_kind *kind;
	struct fl_param *params;
	unsigned n_params;
	enum fl_form form;
	const char *form_version; // of the Table or PartialObjectMetadata: v1, v1beta1
	size_t warned;            // bytes of Warning headers
	const char *user, *uid;   // uid NULL: unknown
	const char *credential;   // what proved the user, or NULL
	const char *const *groups;
	unsigned n_groups;
};

const char *fl_request_param(const struct fl_request *r, const char *key); // NULL when absent
// There and neither "false" nor "0": so Kubernetes reads a boolean parameter, an empty one included.
// A whole number, as Go's strconv reads it. Absent or empty: *ret stays. False: 400 is answered.
bool fl_request_int(struct fl_request *r, const char *key, int64_t *ret);
bool fl_request_flag(const struct fl_request *r, const char *key);
// Indented output: ?pretty=true, or by default to what people read with: curl, wget, browsers.
bool fl_request_pretty(const struct fl_request *r);
