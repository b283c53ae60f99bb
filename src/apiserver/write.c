// SPDX-License-Identifier: Apache-2.0
#include "apiserver/write.h"

#include <errno.h>
#include <strings.h>

#include "api/strategic.h"
#include "apiserver/body.h"
#include "apiserver/read.h"
#include "apiserver/respond.h"
#include "base/mem.h"
#include "base/vec.h"
#include "json/patch.h"
#include "json/yaml.h"

// --- a change on its way to the disk; the client may leave meanwhile ---

struct waiting {
	struct fl_request *r; // NULL once the client is gone
	int code;
	fl_write_answer answer;
};

static void on_gone(struct fl_http_req *req, void *arg, bool gone)
{
	((struct waiting *)arg)->r = NULL;
}

static void respond_object(struct fl_request *r, int code, struct fl_object *o)
{
	fl_respond_object(r, code, o);
}

static void on_done(void *arg, struct fl_object *obj, const struct fl_status *st)
{
	struct waiting *w = arg;
	if (w->r) {
		fl_http_on_close(w->r->http, NULL, NULL);
		if (st)
			fl_respond_status(w->r, st);
		else
			w->answer(w->r, w->code, obj);
	}
	free(w);
}

void fl_write_finish(struct fl_request *r, struct fl_change *c, enum fl_store_verb verb, int code,
		     fl_write_answer answer)
{
	if (!answer)
		answer = respond_object;
	if (c->unchanged) {
		answer(r, code, c->old);
		fl_change_deinit(c);
		return;
	}
	if (c->dry_run) {
		AUTO(fl_buf_deinit) struct fl_buf b = {0};
		struct fl_json *meta = fl_json_get(c->obj, "metadata");
		long rv_at;
		bool fresh = verb == FL_STORE_CREATE;
		fl_object_serialize(&b, c->obj, &rv_at);
		AUTO(fl_object_put)
		struct fl_object *o =
		    fl_object_new(c->kind->resource, c->ns, c->name ? c->name : "", fl_json_str_or(meta, "uid", ""),
				  b.data, b.len, rv_at, fresh ? 0 : c->old->rv);
		if (fresh) {
			fl_json_remove(meta, "resourceVersion");
			fl_respond_object_tree(r, code, c->obj);
		} else {
			answer(r, code, o);
		}
		fl_change_deinit(c);
		return;
	}
	struct waiting *w = FL_NEW(struct waiting);
	struct fl_request *kept = fl_arena_alloc(r->a, sizeof(*kept));
	*kept = *r;
	*w = (struct waiting){.r = kept, .code = code, .answer = answer};
	fl_http_on_close(r->http, on_gone, w);
	if (!fl_change_submit(c, verb, on_done, w)) {
		fl_http_on_close(r->http, NULL, NULL);
		fl_respond_status(r, &c->status);
		free(w);
	}
	fl_change_deinit(c);
}

static bool fail(struct fl_request *r, struct fl_change *c)
{
	fl_respond_status(r, &c->status);
	fl_change_deinit(c);
	return false;
}

bool fl_write_dry_run(struct fl_request *r, const char *options_kind, bool *ret)
{
	const char *v = fl_request_param(r, "dryRun");
	*ret = false;
	if (!v)
		return true;
	if (!strcmp(v, "All")) {
		*ret = true;
		return true;
	}
	struct fl_causes causes = {.arena = r->a};
	struct fl_json *list = fl_json_new(r->a, FL_JSON_ARRAY);
	fl_json_append(list, fl_json_new_str(r->a, v));
	fl_cause_add(&causes, FL_CAUSE_NOT_SUPPORTED, "dryRun", list, "supported values: \"All\"");
	struct fl_status st = fl_status_invalid(r->a, "meta.k8s.io", options_kind, "", &causes);
	fl_respond_status(r, &st);
	return false;
}

static struct fl_change change_of(struct fl_request *r, bool dry_run)
{
	return (struct fl_change){.s = r->s,
				  .a = r->a,
				  .kind = r->kind,
				  .ns = r->ns,
				  .name = r->name,
				  .subresource = r->subresource,
				  .dry_run = dry_run,
				  .causes = {.arena = r->a}};
}

static void warn(struct fl_request *r, const struct fl_json *obj)
{
	const char *w = r->kind->hooks->warning ? r->kind->hooks->warning(obj) : NULL;
	if (w)
		fl_respond_add_warning(r, w);
}

void fl_write_create(struct fl_request *r)
{
	struct fl_json *obj;
	bool dry_run;
	if (!fl_write_dry_run(r, "CreateOptions", &dry_run) || !fl_body_object(r, r->kind, &obj))
		return;
	// A namespaced kind may be posted without a namespace in the path only if the body has none: then it is the
	// default one.
	if (r->kind->namespaced && !r->ns[0])
		r->ns = "default";
	struct fl_change c = change_of(r, dry_run);
	c.name = NULL;
	if (!fl_change_create(&c, obj)) {
		fail(r, &c);
		return;
	}
	warn(r, obj);
	fl_write_finish(r, &c, FL_STORE_CREATE, 201, NULL);
}

// After an update: an object that was only waiting for its last finalizer leaves the store.
static void finish_update(struct fl_request *r, struct fl_change *c)
{
	bool gone = !c->unchanged && fl_change_is_released(c->kind, c->obj);
	if (gone && !strcmp(c->kind->resource, "services") && !c->dry_run) {
		if (c->txn)
			fl_alloc_txn_abort(c->txn);
		else
			c->txn = FL_NEW(struct fl_alloc_txn);
		fl_service_alloc_prepare_delete(r->s->alloc, c->old_tree, c->txn);
	}
	fl_write_finish(r, c, gone ? FL_STORE_DELETE : FL_STORE_UPDATE, 200, NULL);
}

void fl_write_update(struct fl_request *r)
{
	struct fl_json *obj;
	bool dry_run;
	if (!fl_write_dry_run(r, "UpdateOptions", &dry_run) || !fl_body_object(r, r->kind, &obj))
		return;
	struct fl_change c = change_of(r, dry_run);
	if (!fl_change_load(&c)) {
		if (!r->kind->create_on_update || r->subresource) {
			fail(r, &c);
			return;
		}
		if (!fl_change_create(&c, obj)) {
			fail(r, &c);
			return;
		}
		fl_write_finish(r, &c, FL_STORE_CREATE, 201, NULL);
		return;
	}
	if (!fl_change_update(&c, obj)) {
		fail(r, &c);
		return;
	}
	warn(r, obj);
	finish_update(r, &c);
}

// --- patch ---

static const char *patch_type(struct fl_request *r)
{
	const char *t = fl_http_header(r->http, "content-type");
	return t ? fl_arena_strndup(r->a, t, strcspn(t, "; ")) : "";
}

static bool rejected(struct fl_request *r)
{
	struct fl_status st = {.code = 422,
			       .reason = "Invalid",
			       .message = "the server rejected our request due to an error in our request",
			       .kind = ""};
	fl_respond_status(r, &st);
	return false;
}

bool fl_write_apply_patch(struct fl_request *r, const struct fl_schema *schema, bool strategic,
			  const struct fl_json *target, struct fl_json **ret)
{
	size_t len;
	const char *body = fl_http_body(r->http, &len), *type = patch_type(r);
	bool is_json = !strcasecmp(type, "application/json-patch+json"),
	     is_merge = !strcasecmp(type, "application/merge-patch+json"),
	     is_strategic = strategic && !strcasecmp(type, "application/strategic-merge-patch+json");
	if (!is_json && !is_merge && !is_strategic) {
		struct fl_status st = {.code = 415,
				       .reason = "UnsupportedMediaType",
				       .message = "415: Unsupported Media Type",
				       .kind = ""};
		fl_respond_status(r, &st);
		return false;
	}
	struct fl_err err = {0};
	struct fl_json *patch, *clone = fl_json_clone(r->a, target);
	if (fl_json_parse(r->a, body, len, NULL, &patch, &err) < 0) {
		fl_respond_error(r, 400, "BadRequest", "error decoding patch: %s", err.text);
		return false;
	}
	if (is_json)
		return fl_json_patch(r->a, clone, patch, ret, &err) == 0 || rejected(r);
	if (!fl_json_is(patch, FL_JSON_OBJECT)) {
		fl_respond_error(
		    r, 400, "BadRequest",
		    "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}");
		return false;
	}
	if (is_merge) {
		*ret = fl_json_merge_patch(r->a, clone, patch);
		return true;
	}
	if (fl_strategic_merge(r->a, schema, clone, patch, ret, &err) < 0) {
		fl_respond_error(r, 400, "BadRequest", "%s", err.text);
		return false;
	}
	return true;
}

void fl_write_patch(struct fl_request *r)
{
	bool dry_run;
	if (!fl_write_dry_run(r, "PatchOptions", &dry_run))
		return;
	struct fl_change c = change_of(r, dry_run);
	struct fl_json *obj;
	if (!fl_change_load(&c)) {
		fail(r, &c);
		return;
	}
	if (!fl_write_apply_patch(r, fl_kind_schema(r->kind), r->kind->strategic_merge, c.old_tree, &obj) ||
	    !fl_body_decode(r, r->kind, obj, NULL)) {
		fl_change_deinit(&c);
		return;
	}
	if (!fl_change_update(&c, obj)) {
		fail(r, &c);
		return;
	}
	warn(r, obj);
	finish_update(r, &c);
}

// --- delete ---

// DeleteOptions from the body and, over it, from the query.
static bool delete_options(struct fl_request *r, struct fl_json **ret, bool *ret_dry_run)
{
	struct fl_json *o = NULL;
	if (!fl_body_any(r, &o) || !fl_write_dry_run(r, "DeleteOptions", ret_dry_run))
		return false;
	if (!fl_json_is(o, FL_JSON_OBJECT))
		o = fl_json_new(r->a, FL_JSON_OBJECT);
	const char *grace = fl_request_param(r, "gracePeriodSeconds"),
		   *policy = fl_request_param(r, "propagationPolicy");
	unsigned long long n;
	if (grace && fl_parse_u64(grace, &n) && n < INT32_MAX)
		fl_json_set_int(r->a, o, "gracePeriodSeconds", (int64_t)n);
	if (policy)
		fl_json_set_str(r->a, o, "propagationPolicy", policy);
	if (fl_request_param(r, "orphanDependents"))
		fl_json_set_bool(r->a, o, "orphanDependents", fl_request_flag(r, "orphanDependents"));
	fl_json_each (d, fl_json_get(o, "dryRun"))
		*ret_dry_run |= fl_streq(fl_json_string(d), "All");
	*ret = o;
	return true;
}

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

void fl_write_delete(struct fl_request *r)
{
	struct fl_json *options;
	bool dry_run, gone;
	if (!delete_options(r, &options, &dry_run))
		return;
	struct fl_change c = change_of(r, dry_run);
	if (!fl_change_load(&c) || !fl_change_remove(&c, options, &gone)) {
		fail(r, &c);
		return;
	}
	fl_write_finish(r, &c, gone ? FL_STORE_DELETE : FL_STORE_UPDATE, 200, gone ? respond_deleted : NULL);
}

// --- deletecollection ---

struct collection {
	struct fl_request *r; // NULL once the client is gone
	struct fl_buf items;
	unsigned left;
	bool failed;
	struct fl_status first_failure;
};

static void collection_gone(struct fl_http_req *req, void *arg, bool gone)
{
	((struct collection *)arg)->r = NULL;
}

static void collection_end(struct collection *l)
{
	if (l->r) {
		struct fl_request *r = l->r;
		fl_http_on_close(r->http, NULL, NULL);
		if (l->failed) {
			fl_respond_status(r, &l->first_failure);
		} else {
			AUTO(fl_buf_deinit) struct fl_buf b = {0};
			fl_buf_printf(&b,
				      "{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":{\"resourceVersion\":\"%"
				      "llu\"},\"items\":[",
				      r->kind->list_kind, r->kind->api_version,
				      (unsigned long long)fl_store_revision(r->s->store));
			fl_buf_append(&b, l->items.data, l->items.len);
			fl_buf_puts(&b, "]}\n");
			fl_http_respond(r->http, 200, "application/json", b.data, b.len);
		}
	}
	fl_buf_deinit(&l->items);
	free(l);
}

static void collection_done(void *arg, struct fl_object *obj, const struct fl_status *st)
{
	struct collection *l = arg;
	if (st && l->r && !l->failed && st->code != 404) {
		l->failed = true;
		l->first_failure = *st;
		l->first_failure.message = fl_arena_strdup(l->r->a, st->message);
	}
	if (obj && l->r) {
		if (l->items.len)
			fl_buf_putc(&l->items, ',');
		fl_append_list_item(&l->items, l->r->kind, obj);
	}
	if (--l->left == 0)
		collection_end(l);
}

struct chosen {
	struct fl_filter filter;
	struct fl_arena scratch;
	FL_VEC(struct fl_object *) objects;
};

static bool choose(void *arg, struct fl_object *o)
{
	struct chosen *ch = arg;
	if (fl_filter_is_all(&ch->filter) ||
	    fl_filter_matches(&ch->filter, &ch->scratch, fl_object_tree(o, &ch->scratch)))
		fl_vec_push(&ch->objects, fl_object_get(o));
	fl_arena_reset(&ch->scratch);
	return true;
}

void fl_write_delete_collection(struct fl_request *r)
{
	struct fl_json *options;
	bool dry_run;
	struct chosen ch = {0};
	if (!delete_options(r, &options, &dry_run) || !fl_filter_parse(r, r->a, &ch.filter))
		return;
	fl_store_list_head(r->s->store, r->kind->resource, r->ns[0] || !r->kind->namespaced ? r->ns : NULL, choose,
			   &ch);
	struct collection *l = FL_NEW(struct collection);
	struct fl_request *kept = fl_arena_alloc(r->a, sizeof(*kept));
	*kept = *r;
	*l = (struct collection){.r = kept, .left = 1};
	fl_http_on_close(r->http, collection_gone, l);
	for (size_t i = 0; i < ch.objects.n; i++) {
		struct fl_object *o = ch.objects.v[i];
		struct fl_change c = change_of(r, dry_run);
		bool gone;
		c.ns = o->ns;
		c.name = o->name;
		l->left++;
		if (!fl_change_load(&c) || !fl_change_remove(&c, options, &gone))
			collection_done(l, NULL, &c.status);
		else if (c.unchanged || dry_run)
			collection_done(l, c.old, NULL);
		else if (!fl_change_submit(&c, gone ? FL_STORE_DELETE : FL_STORE_UPDATE, collection_done, l))
			collection_done(l, NULL, &c.status);
		fl_change_deinit(&c);
		fl_object_put(&ch.objects.v[i]);
	}
	fl_vec_deinit(&ch.objects);
	fl_arena_deinit(&ch.scratch);
	if (--l->left == 0)
		collection_end(l);
}
