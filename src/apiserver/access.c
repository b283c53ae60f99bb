// SPDX-License-Identifier: Apache-2.0
#include "apiserver/access.h"

#include "apiserver/respond.h"
#include "base/mem.h"

static const char *const anonymous_groups[] = {"system:unauthenticated"};

const char *const fl_access_public_paths[] = {"/version", "/healthz", "/livez", "/readyz", NULL};

static bool is_member(const char *const *groups, unsigned n, const char *group)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(groups[i], group))
			return true;
	return false;
}

static bool is_public(const char *path)
{
	for (const char *const *p = fl_access_public_paths; *p; p++) {
		size_t n = strlen(*p);
		if (!strncmp(path, *p, n) && (!path[n] || path[n] == '/'))
			return true;
	}
	return false;
}

bool fl_access_may(const char *const *groups, unsigned n, const char *verb, const char *path)
{
	if (is_member(groups, n, "system:authenticated") || is_member(groups, n, "system:masters"))
		return true;
	return path && is_public(path) && (!strcmp(verb, "get") || !strcmp(verb, "list"));
}

static bool may_impersonate(struct fl_request *r, const char *user)
{
	if (fl_access_may(r->groups, r->n_groups, "impersonate", NULL))
		return true;
	struct fl_status st = {
	    .code = 403,
	    .reason = "Forbidden",
	    .message =
		fl_arena_printf(r->a,
				"users \"%s\" is forbidden: User \"%s\" cannot impersonate resource \"users\" in "
				"API group \"\" at the cluster scope",
				user, r->user),
	    .kind = "users",
	    .name = user,
	};
	fl_respond_status(r, &st);
	return false;
}

// The groups that come with a user whose groups the caller does not name. (serviceaccount.MakeGroupNames)
static unsigned add_usual_groups(struct fl_request *r, const char **groups, unsigned n)
{
	static const char prefix[] = "system:serviceaccount:";
	const char *ns = r->user + sizeof(prefix) - 1;
	if (!n && fl_starts_with(r->user, prefix) && strchr(ns, ':')) {
		groups[n++] = "system:serviceaccounts";
		groups[n++] = fl_arena_printf(r->a, "system:serviceaccounts:%.*s", (int)(strchr(ns, ':') - ns), ns);
	}
	bool anonymous = !strcmp(r->user, "system:anonymous");
	const char *last = anonymous ? anonymous_groups[0] : "system:authenticated";
	if (!is_member(groups, n, "system:authenticated") && !is_member(groups, n, anonymous_groups[0]))
		groups[n++] = last;
	return n;
}

// apiserver endpoints/filters WithImpersonation. Extra attributes are dropped: nothing here asks for them.
static bool impersonate(struct fl_request *r)
{
	const char *user = fl_http_header(r->http, "impersonate-user"),
		   *uid = fl_http_header(r->http, "impersonate-uid");
	const char *list = fl_http_header_all(r->http, "impersonate-group");
	if (fl_str_empty(user)) {
		if (!list && !uid && !fl_http_has_header_of(r->http, "impersonate-extra-"))
			return true;
		fl_respond_error(
		    r, 400, "BadRequest",
		    "groups, a uid or extras are impersonated without a user: Impersonate-User is missing");
		return false;
	}
	if (!may_impersonate(r, user))
		return false;
	unsigned n = 0, cap = 4;
	for (const char *p = list; p && *p; p++)
		cap += *p == ',';
	const char **groups = fl_arena_alloc(r->a, cap * sizeof(*groups));
	char *copy = fl_arena_strdup(r->a, list ? list : "");
	for (char *save = NULL, *g = strtok_r(copy, ",", &save); g; g = strtok_r(NULL, ",", &save)) {
		g += *g == ' ';
		if (*g)
			groups[n++] = g;
	}
	r->user = user;
	r->uid = uid;
	r->credential = NULL;
	r->n_groups = add_usual_groups(r, groups, n);
	r->groups = groups;
	return true;
}

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
		return impersonate(r);
	}
	const char **groups = fl_arena_alloc(r->a, (id->n_groups + 1) * sizeof(*groups));
	for (unsigned i = 0; i < id->n_groups; i++)
		groups[i] = id->groups[i];
	groups[id->n_groups] = "system:authenticated";
	r->user = id->user;
	r->credential = id->credential;
	r->groups = groups;
	r->n_groups = id->n_groups + 1;
	return impersonate(r);
}

bool fl_access_authorize(struct fl_request *r, bool is_resource)
{
	if (fl_access_may(r->groups, r->n_groups, r->verb, is_resource ? NULL : r->path))
		return true;
	if (!is_resource) {
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
