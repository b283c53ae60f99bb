// SPDX-License-Identifier: Apache-2.0
// What is allowed is asked of access.c, so that a review says what a request would meet. Rules of the bodies:
// pkg/apis/authorization/validation.
#include "apiserver/review.h"

#include "apiserver/access.h"
#include "apiserver/body.h"
#include "apiserver/respond.h"
#include "apiserver/write.h"
#include "base/clock.h"
#include "base/mem.h"

static void append_text(struct fl_arena *a, struct fl_json *list, const char *text)
{
	fl_json_append(list, fl_json_new_str(a, text));
}

// --- who am I ---

static bool who(struct fl_request *r, struct fl_json *review, struct fl_causes *c)
{
	char now[FL_TIME_STRLEN];
	struct fl_json *meta = fl_json_set_object(r->a, review, "metadata");
	fl_json_set_str(r->a, meta, "creationTimestamp", fl_time_now(now));
	struct fl_json *info = fl_json_set_object(r->a, fl_json_set_object(r->a, review, "status"), "userInfo");
	fl_json_set_str(r->a, info, "username", r->user);
	if (r->uid)
		fl_json_set_str(r->a, info, "uid", r->uid);
	struct fl_json *groups = fl_json_set_array(r->a, info, "groups");
	for (unsigned i = 0; i < r->n_groups; i++)
		append_text(r->a, groups, r->groups[i]);
	if (r->credential)
		append_text(r->a,
			    fl_json_set_array(r->a, fl_json_set_object(r->a, info, "extra"),
					      "authentication.kubernetes.io/credential-id"),
			    r->credential);
	return true;
}

// --- may somebody ---

static void validate_attributes(struct fl_causes *c, const struct fl_json *spec)
{
	const struct fl_json *resource = fl_json_get(spec, "resourceAttributes"),
			     *path = fl_json_get(spec, "nonResourceAttributes");
	if (resource && path)
		fl_cause_add(c, FL_CAUSE_INVALID, "spec.nonResourceAttributes", path,
			     "cannot be specified in combination with resourceAttributes");
	if (!resource && !path)
		fl_cause_add(c, FL_CAUSE_INVALID, "spec.resourceAttributes", fl_json_new(c->arena, FL_JSON_NULL),
			     "exactly one of nonResourceAttributes or resourceAttributes must be specified");
}

// Only where a review is asked may it stand: `ns` of the path, or none at all.
static void validate_meta(struct fl_causes *c, struct fl_json *review, const char *ns)
{
	struct fl_json *meta = fl_json_get(review, "metadata");
	fl_json_remove(meta, "managedFields");
	fl_json_each (m, meta)
		if (!*ns || strcmp(m->key, "namespace") != 0) {
			fl_cause_add(c, FL_CAUSE_INVALID, "metadata", meta,
				     *ns ? "must be empty except for namespace" : "must be empty");
			return;
		}
}

static void answer(struct fl_request *r, struct fl_json *review, const char *const *groups, unsigned n_groups)
{
	const struct fl_json *path = fl_json_get(fl_json_get(review, "spec"), "nonResourceAttributes");
	const char *verb = fl_json_str_or(path, "verb", "");
	bool allowed = fl_access_may(groups, n_groups, verb, path ? fl_json_str_or(path, "path", "") : NULL);
	struct fl_json *status = fl_json_set_object(r->a, review, "status");
	fl_json_set_bool(r->a, status, "allowed", allowed);
}

static bool may_i(struct fl_request *r, struct fl_json *review, struct fl_causes *c)
{
	validate_meta(c, review, "");
	validate_attributes(c, fl_json_get(review, "spec"));
	answer(r, review, r->groups, r->n_groups);
	return true;
}

static bool may_one(struct fl_request *r, struct fl_json *review, struct fl_causes *c)
{
	const struct fl_json *spec = fl_json_get(review, "spec"), *list = fl_json_get(spec, "groups");
	const char *ns = fl_json_str_or(fl_json_get(spec, "resourceAttributes"), "namespace", "");
	const char **groups = fl_arena_alloc(r->a, (fl_json_count(list) + 1) * sizeof(*groups));
	unsigned n = 0;
	validate_meta(c, review, r->ns);
	validate_attributes(c, spec);
	if (!*fl_json_str_or(spec, "user", "") && !fl_json_count(list))
		fl_cause_add(c, FL_CAUSE_INVALID, "spec.user", fl_json_new_str(r->a, ""),
			     "at least one of user or group must be specified");
	if (*r->ns && fl_json_get(spec, "nonResourceAttributes"))
		fl_cause_add(c, FL_CAUSE_INVALID, "spec.nonResourceAttributes",
			     fl_json_get(spec, "nonResourceAttributes"), "disallowed on this kind of request");
	else if (*r->ns && strcmp(ns, r->ns) != 0)
		fl_cause_add(c, FL_CAUSE_INVALID, "spec.resourceAttributes.namespace", fl_json_new_str(r->a, ns),
			     "must match metadata.namespace");
	fl_json_each (g, list)
		groups[n++] = fl_json_string(g);
	answer(r, review, groups, n);
	return true;
}

// --- what may I ---

static void add_rule(struct fl_arena *a, struct fl_json *rules, const char *verb, const char *group, const char *what)
{
	struct fl_json *rule = fl_json_append(rules, fl_json_new(a, FL_JSON_OBJECT));
	append_text(a, fl_json_set_array(a, rule, "verbs"), verb);
	if (group)
		append_text(a, fl_json_set_array(a, rule, "apiGroups"), group);
	append_text(a, fl_json_set_array(a, rule, group ? "resources" : "nonResourceURLs"), what);
}

static bool my_rules(struct fl_request *r, struct fl_json *review, struct fl_causes *c)
{
	if (!*fl_json_str_or(fl_json_get(review, "spec"), "namespace", "")) {
		fl_respond_error(r, 400, "BadRequest", "no namespace on request");
		return false;
	}
	struct fl_json *status = fl_json_set_object(r->a, review, "status");
	struct fl_json *resources = fl_json_set_array(r->a, status, "resourceRules");
	struct fl_json *paths = fl_json_set_array(r->a, status, "nonResourceRules");
	fl_json_set_bool(r->a, status, "incomplete", false);
	if (fl_access_may(r->groups, r->n_groups, "*", NULL)) {
		add_rule(r->a, resources, "*", "*", "*");
		add_rule(r->a, paths, "*", NULL, "*");
		return true;
	}
	for (const char *const *p = fl_access_public_paths; *p; p++) {
		add_rule(r->a, paths, "get", NULL, *p);
		add_rule(r->a, paths, "get", NULL, fl_arena_printf(r->a, "%s/*", *p));
	}
	return true;
}

// Each fills the status, or adds what is wrong. False: it has answered already.
static const struct {
	const char *resource;
	bool (*review)(struct fl_request *r, struct fl_json *review, struct fl_causes *c);
} reviews[] = {
    {"authentication.k8s.io/selfsubjectreviews", who},
    {"authorization.k8s.io/localsubjectaccessreviews", may_one},
    {"authorization.k8s.io/selfsubjectaccessreviews", may_i},
    {"authorization.k8s.io/selfsubjectrulesreviews", my_rules},
    {"authorization.k8s.io/subjectaccessreviews", may_one},
};

void fl_review_create(struct fl_request *r)
{
	struct fl_json *review;
	bool dry_run; // makes no difference
	if (!fl_write_dry_run(r, "CreateOptions", &dry_run) || !fl_body_object(r, r->kind, &review))
		return;
	struct fl_causes causes = {.arena = r->a};
	fl_json_ensure_object(r->a, review, "metadata");
	for (unsigned i = 0; i < FL_COUNT(reviews); i++) {
		if (strcmp(reviews[i].resource, r->kind->resource) != 0)
			continue;
		if (!reviews[i].review(r, review, &causes))
			return;
		if (!causes.n) {
			fl_respond_tree(r, 201, review);
			return;
		}
		struct fl_status st = fl_status_invalid(r->a, r->kind->group, r->kind->kind, "", &causes);
		fl_respond_status(r, &st);
		return;
	}
	fl_respond_no_resource(r);
}
