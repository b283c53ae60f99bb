// SPDX-License-Identifier: Apache-2.0
// /api/v1, /apis, then the preferred version of each group: plain discovery, which every server has.
#include "controller/discovery.h"

#include "base/mem.h"
#include "base/vec.h"

struct waiter {
	void (*done)(void *arg, int rc, const struct fl_err *err);
	void *arg;
};

struct fl_discovery {
	struct fl_client *c;
	FL_VEC(struct fl_resource *) resources;
	FL_VEC(struct waiter) waiters;
	FL_VEC(struct request *) requests; // under way
	struct fl_err err;                 // first of this round
};

struct request {
	struct fl_discovery *d;
	struct fl_client_call *call;
	char *group, *version; // group NULL: the list of groups
};

struct fl_discovery *fl_discovery_new(struct fl_client *c)
{
	struct fl_discovery *d = FL_NEW(struct fl_discovery);
	d->c = c;
	return d;
}

static void free_request(struct request *r)
{
	fl_client_cancel(&r->call);
	free(r->group);
	free(r->version);
	free(r);
}

void fl_discovery_free(struct fl_discovery **dp)
{
	struct fl_discovery *d = TAKE_PTR(*dp);
	if (!d)
		return;
	for (size_t i = 0; i < d->requests.n; i++)
		free_request(d->requests.v[i]);
	for (size_t i = 0; i < d->resources.n; i++) {
		struct fl_resource *r = d->resources.v[i];
		free((void *)(uintptr_t)r->gvr.group);
		free((void *)(uintptr_t)r->gvr.version);
		free((void *)(uintptr_t)r->gvr.plural);
		free((void *)(uintptr_t)r->kind);
		free(r);
	}
	fl_vec_deinit(&d->requests);
	fl_vec_deinit(&d->resources);
	fl_vec_deinit(&d->waiters);
	free(d);
}

static struct fl_resource *find(const struct fl_discovery *d, const char *group, const char *plural)
{
	for (size_t i = 0; i < d->resources.n; i++)
		if (!strcmp(d->resources.v[i]->gvr.group, group) && !strcmp(d->resources.v[i]->gvr.plural, plural))
			return d->resources.v[i];
	return NULL;
}

static bool has_verb(const struct fl_json *resource, const char *verb)
{
	fl_json_each (v, fl_json_get(resource, "verbs"))
		if (fl_streq(fl_json_string(v), verb))
			return true;
	return false;
}

static void take_resource(struct fl_discovery *d, const struct request *rq, const struct fl_json *j)
{
	const char *plural = fl_json_str_or(j, "name", ""), *kind = fl_json_str_or(j, "kind", "");
	if (!plural[0] || !kind[0] || strchr(plural, '/') || find(d, rq->group, plural))
		return;
	struct fl_resource *r = FL_NEW(struct fl_resource);
	*r = (struct fl_resource){
	    .gvr = {fl_strdup(rq->group), fl_strdup(rq->version), fl_strdup(plural)},
	    .kind = fl_strdup(kind),
	    .namespaced = fl_json_bool(j, "namespaced", false),
	    .can_list = has_verb(j, "list"),
	    .can_watch = has_verb(j, "watch"),
	    .can_delete = has_verb(j, "delete"),
	    .can_delete_collection = has_verb(j, "deletecollection"),
	};
	fl_vec_push(&d->resources, r);
}

static void ask(struct fl_discovery *d, const char *group, const char *version);

static void take_groups(struct fl_discovery *d, const struct fl_json *body)
{
	fl_json_each (g, fl_json_get(body, "groups")) {
		const char *name = fl_json_str(g, "name"),
			   *version = fl_json_str(fl_json_get(g, "preferredVersion"), "version");
		if (!fl_str_empty(name) && !fl_str_empty(version))
			ask(d, name, version);
	}
}

static void finish(struct fl_discovery *d)
{
	size_t n = d->waiters.n;
	struct waiter *waiters = d->waiters.v;
	struct fl_err err = d->err;
	d->waiters.v = NULL;
	d->waiters.n = d->waiters.cap = 0;
	d->err = (struct fl_err){0};
	for (size_t i = 0; i < n; i++)
		waiters[i].done(waiters[i].arg, err.code, &err);
	free(waiters);
}

static void on_answer(void *arg, int rc, int http_status, struct fl_arena *a, struct fl_json *body,
		      const struct fl_err *err)
{
	struct request *rq = arg;
	struct fl_discovery *d = rq->d;
	rq->call = NULL;
	if (rc < 0 && !d->err.code) {
		d->err = *err;
		fl_err_prefix(&d->err, "discovery of %s", rq->group ? rq->group : "the API groups");
	} else if (rc == 0 && !rq->group) {
		take_groups(d, body);
	} else if (rc == 0) {
		fl_json_each (j, fl_json_get(body, "resources"))
			take_resource(d, rq, j);
	}
	for (size_t i = 0; i < d->requests.n; i++)
		if (d->requests.v[i] == rq) {
			fl_vec_remove(&d->requests, i);
			break;
		}
	free_request(rq);
	if (!d->requests.n)
		finish(d);
}

static void ask(struct fl_discovery *d, const char *group, const char *version)
{
	struct request *rq = FL_NEW(struct request);
	AUTO_FREE char *path = !group     ? fl_strdup("/apis")
			       : group[0] ? fl_asprintf("/apis/%s/%s", group, version)
					  : fl_asprintf("/api/%s", version);
	rq->d = d;
	rq->group = group ? fl_strdup(group) : NULL;
	rq->version = version ? fl_strdup(version) : NULL;
	fl_vec_push(&d->requests, rq);
	fl_client_raw(d->c, "GET", path, NULL, NULL, 0, on_answer, rq, &rq->call);
}

void fl_discovery_refresh(struct fl_discovery *d, void (*done)(void *arg, int rc, const struct fl_err *err), void *arg)
{
	struct waiter w = {done, arg};
	fl_vec_push(&d->waiters, w);
	if (d->requests.n)
		return;
	ask(d, "", "v1");
	ask(d, NULL, NULL);
}

const struct fl_resource *const *fl_discovery_list(const struct fl_discovery *d, size_t *ret_n)
{
	*ret_n = d->resources.n;
	return (const struct fl_resource *const *)d->resources.v;
}

const struct fl_resource *fl_discovery_by_kind(const struct fl_discovery *d, const char *api_version, const char *kind)
{
	const char *slash = strchr(api_version, '/');
	size_t n = slash ? (size_t)(slash - api_version) : 0;
	for (size_t i = 0; i < d->resources.n; i++) {
		const struct fl_resource *r = d->resources.v[i];
		if (!strcmp(r->kind, kind) && strlen(r->gvr.group) == n && !memcmp(r->gvr.group, api_version, n))
			return r;
	}
	return NULL;
}
