// SPDX-License-Identifier: Apache-2.0
#include "apiserver/router.h"

#include "apiserver/access.h"
#include "apiserver/delete.h"
#include "apiserver/docs.h"
#include "apiserver/read.h"
#include "apiserver/request.h"
#include "apiserver/respond.h"
#include "apiserver/review.h"
#include "apiserver/subresource.h"
#include "apiserver/write.h"
#include "base/mem.h"

static const struct {
	const char *verb;
	void (*handle)(struct fl_request *r);
	bool on_object, on_collection, on_status;
} verbs[] = {
    {"get", fl_read_get, true, false, true},          {"list", fl_read_list, false, true, false},
    {"watch", fl_watch_start, true, true, false},     {"create", fl_write_create, false, true, false},
    {"update", fl_write_update, true, false, true},   {"patch", fl_write_patch, true, false, true},
    {"delete", fl_delete_object, true, false, false}, {"deletecollection", fl_delete_collection, false, true, false},
};

static const struct {
	const char *resource, *subresource;
	void (*handle)(struct fl_request *r);
} subresources[] = {
    {"pods", "attach", fl_subresource_stream},
    {"pods", "binding", fl_subresource_binding},
    {"pods", "eviction", fl_delete_eviction},
    {"pods", "exec", fl_subresource_stream},
    {"pods", "log", fl_subresource_log},
    {"pods", "portforward", fl_subresource_stream},
    {"namespaces", "finalize", fl_subresource_finalize},
};

static void handle_subresource(struct fl_request *r)
{
	if (!strcmp(r->subresource, "scale") && r->kind->has_scale) {
		fl_subresource_scale(r);
		return;
	}
	for (unsigned i = 0; i < FL_COUNT(subresources); i++)
		if (!strcmp(subresources[i].resource, r->kind->resource) &&
		    !strcmp(subresources[i].subresource, r->subresource)) {
			subresources[i].handle(r);
			return;
		}
	fl_respond_no_resource(r);
}

static bool has_verb(const char *const *verbs_of, const char *verb)
{
	for (; *verbs_of; verbs_of++)
		if (!strcmp(*verbs_of, verb))
			return true;
	return false;
}

// Writes to all namespaces at once are no request of Kubernetes: a POST needs its namespace, and so does what would
// delete every object of a kind.
static bool needs_namespace(const struct fl_request *r)
{
	return r->kind->namespaced && !r->ns[0] && (!strcmp(r->verb, "create") || !strcmp(r->verb, "deletecollection"));
}

static void handle_resource(struct fl_request *r)
{
	if (!r->kind) {
		// An unknown group or version is no path of ours at all; an unknown resource in a known one is.
		unsigned n;
		const struct fl_kind *const *kinds = fl_registry_kinds(r->s->registry, &n);
		for (unsigned i = 0; i < n; i++)
			if (!strcmp(kinds[i]->group, r->group) && !strcmp(kinds[i]->version, r->version)) {
				fl_respond_no_resource(r);
				return;
			}
		fl_respond_text(r, 404, "404 page not found\n");
		return;
	}
	if (r->kind->namespaced && r->name && !r->ns[0]) {
		fl_respond_no_resource(r);
		return;
	}
	if (r->kind->hooks->deprecated) // whatever comes of the request
		fl_respond_add_warning(r, r->kind->hooks->deprecated);
	bool status = r->subresource && !strcmp(r->subresource, "status") && r->kind->has_status;
	if (r->subresource && !status) {
		handle_subresource(r);
		return;
	}
	for (unsigned i = 0; i < FL_COUNT(verbs); i++) {
		if (strcmp(verbs[i].verb, r->verb) != 0)
			continue;
		if (!has_verb(r->kind->verbs, r->verb) || needs_namespace(r))
			break;
		if (status ? verbs[i].on_status : r->name ? verbs[i].on_object : verbs[i].on_collection) {
			if (r->kind->is_virtual)
				fl_review_create(r);
			else
				verbs[i].handle(r);
			return;
		}
		break;
	}
	fl_respond_method_not_allowed(r);
}

void fl_router_handle(struct fl_http_req *http, void *server)
{
	struct fl_request *r = fl_arena_alloc(fl_http_arena(http), sizeof(*r));
	bool is_resource;
	if (fl_request_parse(server, http, r, &is_resource) < 0) {
		fl_respond_error(r, 400, "BadRequest", "the path or query of the request does not decode");
		return;
	}
	if (!fl_access_authenticate(r) || !fl_access_authorize(r, is_resource))
		return;
	if (!is_resource) {
		if (!fl_docs_serve(r))
			fl_respond_text(r, 404, "404 page not found\n");
		return;
	}
	if (!fl_request_negotiate(r) && !fl_streq(r->subresource, "log")) {
		struct fl_status st = {
		    .code = 406,
		    .reason = "NotAcceptable",
		    .message = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, "
			       "application/json;stream=watch",
		    .kind = "",
		};
		fl_respond_status(r, &st);
		return;
	}
	const char *include = fl_request_param(r, "includeObject");
	if (r->form == FL_FORM_TABLE && !fl_str_empty(include) && strcmp(include, "None") != 0 &&
	    strcmp(include, "Metadata") != 0 && strcmp(include, "Object") != 0) {
		fl_respond_error(
		    r, 400, "BadRequest",
		    "Unable to convert to Table as requested: includeObject: Invalid value: \"%s\": must be "
		    "'Metadata', 'Object', 'None', or empty",
		    include);
		return;
	}
	handle_resource(r);
}
