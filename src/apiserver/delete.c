// SPDX-License-Identifier: Apache-2.0
// DELETE over HTTP (endpoints/handlers/delete.go, registry.Store.DeleteCollection). What it does to an object:
// remove.c.
//
// A collection is deleted in portions, so that other requests get their turn and ten thousand trees are never in memory
// at once. Which objects are meant is decided at the start. The first failure ends it; what was deleted stays deleted.
#include "apiserver/delete.h"

#include <errno.h>
#include <inttypes.h>

#include "apiserver/body.h"
#include "apiserver/read.h"
#include "apiserver/respond.h"
#include "apiserver/write.h"
#include "base/mem.h"
#include "base/vec.h"

#define PORTION 256 // deletions of a collection under way at once

static bool invalid_options(struct fl_request *r, const struct fl_causes *causes)
{
	struct fl_status st = fl_status_invalid(r->a, "meta.k8s.io", "DeleteOptions", "", causes);
	fl_respond_status(r, &st);
	return false;
}

// apimachinery metav1/validation ValidateDeleteOptions
static bool check_options(struct fl_request *r, const struct fl_json *o, bool *ret_dry_run)
{
	struct fl_causes causes = {.arena = r->a};
	const struct fl_json *policy = fl_json_get(o, "propagationPolicy"), *dry_run = fl_json_get(o, "dryRun");
	const char *p = fl_json_string(policy);
	if (p && fl_json_get(o, "orphanDependents"))
		fl_cause_add(&causes, FL_CAUSE_INVALID, "propagationPolicy", policy,
			     "orphanDependents and deletionPropagation cannot be both set");
	if (p && strcmp(p, "Foreground") != 0 && strcmp(p, "Background") != 0 && strcmp(p, "Orphan") != 0)
		fl_cause_add(&causes, FL_CAUSE_NOT_SUPPORTED, "propagationPolicy", policy,
			     "supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"");
	fl_json_each (d, dry_run) {
		if (fl_streq(fl_json_string(d), "All"))
			*ret_dry_run = true;
		else
			fl_cause_add(&causes, FL_CAUSE_NOT_SUPPORTED, "dryRun", dry_run, "supported values: \"All\"");
	}
	return !causes.n || invalid_options(r, &causes);
}

// DeleteOptions from the body or, where there is none, from the query.
static bool delete_options(struct fl_request *r, struct fl_json **ret, bool *ret_dry_run)
{
	struct fl_json *o = NULL;
	if (!fl_body_type(r, "v1", "DeleteOptions", &o))
		return false;
	if (!o)
		o = fl_json_new(r->a, FL_JSON_OBJECT);
	const char *grace = fl_request_param(r, "gracePeriodSeconds"),
		   *policy = fl_request_param(r, "propagationPolicy");
	int64_t n = 0;
	if (!fl_request_int(r, "gracePeriodSeconds", &n))
		return false;
	if (!fl_str_empty(grace))
		fl_json_set_int(r->a, o, "gracePeriodSeconds", n);
	if (!fl_str_empty(policy))
		fl_json_set_str(r->a, o, "propagationPolicy", policy);
	if (fl_request_param(r, "orphanDependents"))
		fl_json_set_bool(r->a, o, "orphanDependents", fl_request_flag(r, "orphanDependents"));
	*ret = o;
	return fl_write_dry_run(r, "DeleteOptions", ret_dry_run) && check_options(r, o, ret_dry_run);
}

// --- one object ---

static void respond_deleted(struct fl_request *r, int code, struct fl_object *o)
{
	if (r->kind->return_deleted) {
		fl_respond_object(r, code, o);
		return;
	}
	struct fl_json *st = fl_json_new(r->a, FL_JSON_OBJECT), *details;
	fl_json_set_str(r->a, st, "kind", "Status");
	fl_json_set_str(r->a, st, "apiVersion", "v1");
	fl_json_set_object(r->a, st, "metadata");
	fl_json_set_str(r->a, st, "status", "Success");
	details = fl_json_set_object(r->a, st, "details");
	fl_json_set_str(r->a, details, "name", o->name);
	if (r->group[0])
		fl_json_set_str(r->a, details, "group", r->group);
	fl_json_set_str(r->a, details, "kind", r->plural);
	fl_json_set_str(r->a, details, "uid", o->uid);
	fl_respond_tree(r, code, st);
}

// 202 tells a client that asked for its dependents' end as well that the object itself is still there.
static int code_of(const struct fl_json *options, bool gone)
{
	const struct fl_json *orphan = fl_json_get(options, "orphanDependents");
	bool cascade = (orphan && !fl_json_bool(options, "orphanDependents", false)) ||
		       fl_streq(fl_json_str(options, "propagationPolicy"), "Foreground");
	return !gone && cascade ? 202 : 200;
}

void fl_delete_object(struct fl_request *r)
{
	struct fl_json *options;
	bool dry_run, gone;
	if (!delete_options(r, &options, &dry_run))
		return;
	struct fl_change c = fl_write_change(r, dry_run);
	if (!fl_change_load(&c) || !fl_change_remove(&c, options, &gone))
		fl_write_refuse(r, &c);
	else
		fl_write_finish(r, &c, gone ? FL_STORE_DELETE : FL_STORE_UPDATE, code_of(options, gone),
				gone ? respond_deleted : NULL);
}

// --- eviction (registry/core/pod/storage EvictionREST) ---

// No PodDisruptionBudget is served, so none forbids it: the pod is deleted as the options in the body say.
void fl_delete_eviction(struct fl_request *r)
{
	struct fl_json *body = NULL;
	bool dry_run, gone;
	if (strcmp(r->verb, "create") != 0) {
		fl_respond_method_not_allowed(r);
		return;
	}
	if (!fl_write_dry_run(r, "CreateOptions", &dry_run) || !fl_body_type(r, "policy/v1", "Eviction", &body))
		return;
	if (!fl_streq(fl_json_str(fl_json_get(body, "metadata"), "name"), r->name)) {
		fl_respond_error(r, 400, "BadRequest", "name in URL does not match name in Eviction object");
		return;
	}
	struct fl_json *options = fl_json_get(body, "deleteOptions");
	if (!options)
		options = fl_json_new(r->a, FL_JSON_OBJECT);
	if (!check_options(r, options, &dry_run))
		return;
	struct fl_change c = fl_write_change(r, dry_run);
	if (!fl_change_load(&c) || !fl_change_remove(&c, options, &gone))
		fl_write_refuse(r, &c);
	else
		fl_write_finish(r, &c, gone ? FL_STORE_DELETE : FL_STORE_UPDATE, 201, fl_respond_success);
}

// --- a collection ---

struct collection {
	struct fl_request *r; // NULL once the client is gone: no further portion then
	uint64_t limit;
	struct fl_filter filter;
	struct fl_arena scratch;
	const struct fl_json *options;
	bool dry_run, answered, submitting;
	FL_VEC(struct fl_object *) objects; // as they were at the start
	size_t at;
	unsigned under_way;
	struct fl_buf items;
	struct fl_buf failure; // a Status, of the first one
	int failure_code;
};

static void free_collection(struct collection *l)
{
	for (size_t i = 0; i < l->objects.n; i++)
		fl_object_put(&l->objects.v[i]);
	fl_vec_deinit(&l->objects);
	fl_arena_deinit(&l->scratch);
	fl_buf_deinit(&l->items);
	fl_buf_deinit(&l->failure);
	free(l);
}

static void maybe_free(struct collection *l)
{
	if (!l->r && !l->under_way && !l->submitting)
		free_collection(l);
}

static void collection_closed(struct fl_http_req *req, void *arg, bool gone)
{
	struct collection *l = arg;
	l->r = NULL;
	maybe_free(l);
}

static void answer_collection(struct collection *l)
{
	struct fl_request *r = l->r;
	l->answered = true;
	fl_http_set_header(r->http, "Cache-Control", "no-cache, private");
	if (l->failure.len) {
		fl_http_respond(r->http, l->failure_code, "application/json", l->failure.data, l->failure.len);
		return;
	}
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	fl_buf_printf(
	    &b, "{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":{\"resourceVersion\":\"%" PRIu64 "\"},\"items\":[",
	    r->kind->list_kind, r->kind->api_version, fl_store_revision(r->s->store));
	fl_buf_append(&b, l->items.data, l->items.len);
	fl_buf_puts(&b, "]}\n");
	fl_http_respond(r->http, 200, "application/json", b.data, b.len);
}

static void failed(struct collection *l, const struct fl_status *st)
{
	if (st->code == 404 || l->failure.len) // gone meanwhile is as good as deleted
		return;
	l->failure_code = st->code;
	fl_status_write(&l->failure, st);
}

static void deleted(struct collection *l, const struct fl_object *o)
{
	if (!l->r)
		return;
	if (l->items.len)
		fl_buf_putc(&l->items, ',');
	if (!l->r->kind->stored_as) {
		fl_append_list_item(&l->items, l->r->kind, o);
		return;
	}
	fl_json_write(&l->items, fl_kind_from_stored(l->r->kind, &l->scratch, fl_object_tree(o, &l->scratch)));
}

static void next_portion(struct collection *l);

static void collection_stored(void *arg, struct fl_object *obj, const struct fl_status *st)
{
	struct collection *l = arg;
	if (st)
		failed(l, st);
	else
		deleted(l, obj);
	if (--l->under_way == 0)
		next_portion(l);
}

static void delete_one(struct collection *l, const struct fl_object *o)
{
	struct fl_change c = fl_write_change(l->r, l->dry_run);
	bool gone;
	c.a = c.causes.arena = &l->scratch;
	c.ns = o->ns;
	c.name = o->name;
	if (!fl_change_load(&c) || !fl_change_remove(&c, l->options, &gone)) {
		failed(l, &c.status);
	} else if (c.unchanged || l->dry_run) {
		deleted(l, c.old);
	} else {
		l->under_way++;
		if (!fl_change_submit(&c, gone ? FL_STORE_DELETE : FL_STORE_UPDATE, collection_stored, l)) {
			l->under_way--;
			failed(l, &c.status);
		}
	}
	fl_change_deinit(&c);
	fl_arena_reset(&l->scratch);
}

static void next_portion(struct collection *l)
{
	l->submitting = true;
	while (l->r && !l->under_way && !l->failure.len && l->at < l->objects.n)
		for (unsigned n = 0; n < PORTION && l->at < l->objects.n && !l->failure.len; n++)
			delete_one(l, l->objects.v[l->at++]);
	l->submitting = false;
	if (l->r && !l->under_way && !l->answered)
		answer_collection(l);
	else
		maybe_free(l);
}

static bool choose(void *arg, struct fl_object *o)
{
	struct collection *l = arg;
	bool all = fl_filter_is_all(&l->filter);
	if (all || fl_filter_matches(&l->filter, &l->scratch,
				     fl_kind_from_stored(l->r->kind, &l->scratch, fl_object_tree(o, &l->scratch))))
		fl_vec_push(&l->objects, fl_object_get(o));
	fl_arena_reset(&l->scratch);
	return !l->limit || l->objects.n < l->limit;
}

void fl_delete_collection(struct fl_request *r)
{
	struct fl_json *options;
	bool dry_run;
	struct fl_filter filter;
	int64_t limit = 0;
	if (!delete_options(r, &options, &dry_run) || !fl_request_int(r, "limit", &limit) ||
	    !fl_filter_parse(r, r->a, &filter))
		return;
	struct collection *l = FL_NEW(struct collection);
	*l = (struct collection){
	    .r = r, .filter = filter, .options = options, .dry_run = dry_run, .limit = limit > 0 ? (size_t)limit : 0};
	fl_store_list_head(r->s->store, r->kind->resource, r->kind->namespaced ? r->ns : NULL, choose, l);
	fl_http_on_close(r->http, collection_closed, l);
	next_portion(l);
}
