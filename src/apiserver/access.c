// SPDX-License-Identifier: Apache-2.0
#include "apiserver/access.h"

#include "apiserver/respond.h"
#include "base/mem.h"

static const char *const anonymous_groups[] = {"system:unauthenticated"};

bool fl_access_authenticate(struct fl_request *r)
{
	const struct fl_tls_identity *id = fl_http_identity(r->http);
	// The certificate is asked first; no token is known to this server.
	if (!id->user && fl_http_header(r->http, "authorization")) {
		fl_respond_error(r, 401, "Unauthorized", "Unauthorized");
		return false;
	}
	if (!id->user) {
		r->user = "system:anonymous";
		r->groups = anonymous_groups;
		r->n_groups = 1;
		return true;
	}
	const char **groups = fl_arena_alloc(r->a, (id->n_groups + 1) * sizeof(*groups));
	for (unsigned i = 0; i < id->n_groups; i++)
		groups[i] = id->groups[i];
	groups[id->n_groups] = "system:authenticated";
	r->user = id->user;
	r->groups = groups;
	r->n_groups = id->n_groups + 1;
	return true;
}

static bool is_public(const char *path)
{
	static const char *const paths[] = {"/version", "/healthz", "/livez", "/readyz"};
	for (unsigned i = 0; i < FL_COUNT(paths); i++) {
		size_t n = strlen(paths[i]);
		if (!strncmp(path, paths[i], n) && (!path[n] || path[n] == '/'))
			return true;
	}
	return false;
}

bool fl_access_authorize(struct fl_request *r, bool is_resource)
{
	for (unsigned i = 0; i < r->n_groups; i++)
		if (!strcmp(r->groups[i], "system:authenticated"))
			return true;
	if (!is_resource) {
		if (is_public(r->path) && (!strcmp(r->verb, "get") || !strcmp(r->verb, "list")))
			return true;
		struct fl_status st = {
		    .code = 403,
		    .reason = "Forbidden",
		    .message = fl_arena_printf(r->a, "forbidden: User \"%s\" cannot get path \"%s\"", r->user, r->path),
		    .kind = "",
		};
		fl_respond_status(r, &st);
		return false;
	}
	const char *where =
	    r->ns[0] ? fl_arena_printf(r->a, " in the namespace \"%s\"", r->ns) : " at the cluster scope";
	const char *what = r->subresource ? fl_arena_printf(r->a, "%s/%s", r->plural, r->subresource) : r->plural;
	struct fl_status st = {
	    .code = 403,
	    .reason = "Forbidden",
	    .message = fl_arena_printf(
		r->a, "%s%s%s%s%s%s is forbidden: User \"%s\" cannot %s resource \"%s\" in API group \"%s\"%s",
		r->plural, r->group[0] ? "." : "", r->group, r->name ? " \"" : "", r->name ? r->name : "",
		r->name ? "\"" : "", r->user, r->verb, what, r->group, where),
	    .group = r->group,
	    .kind = r->plural,
	    .name = r->name,
	};
	fl_respond_status(r, &st);
	return false;
}
