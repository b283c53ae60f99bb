// SPDX-License-Identifier: Apache-2.0
// A write and its answer are apart: the answer goes out when the store says that the write is durable, and the client
// may have left by then.
//
//   request --change--> store ... durable --> struct waiting --> answer
//      |                                          ^
//      '-- client leaves: on_close ---------------'  r = NULL: nobody to tell; the write stands all the same
//
// `waiting` belongs to both sides and goes with the last of them. A refusal, or "nothing to change", that was read off
// a state whose own write is still under way waits for that write too.
#include "apiserver/write.h"

#include "apiserver/apply.h"
#include "apiserver/body.h"
#include "apiserver/respond.h"
#include "base/clock.h"
#include "base/mem.h"

struct waiting {
	struct fl_request *r; // NULL once the request is over
	bool decided;         // the store has spoken
	int code;
	fl_write_answer answer;
	struct fl_object *unchanged; // of a change that changes nothing
	struct fl_status refusal;    // lives with the request
};

static void end_waiting(struct waiting *w)
{
	fl_object_put(&w->unchanged);
	free(w);
}

static void on_close(struct fl_http_req *req, void *arg, bool gone)
{
	struct waiting *w = arg;
	w->r = NULL;
	if (w->decided)
		end_waiting(w);
}

// Nothing of `w` is needed after this but its memory, until on_close.
static void decide(struct waiting *w, struct fl_object *obj, const struct fl_status *st)
{
	w->decided = true;
	if (!w->r)
		end_waiting(w);
	else if (st)
		fl_respond_status(w->r, st);
	else
		w->answer(w->r, w->code, obj);
}

static void on_stored(void *arg, struct fl_object *obj, const struct fl_status *st)
{
	decide(arg, obj, st);
}

static void on_settled(void *arg, struct fl_object *none, const struct fl_status *st)
{
	struct waiting *w = arg;
	decide(w, w->unchanged, st ? st : w->unchanged ? NULL : &w->refusal);
}

static struct waiting *wait_for(struct fl_request *r, int code, fl_write_answer answer)
{
	struct waiting *w = FL_NEW(struct waiting);
	*w = (struct waiting){.r = r, .code = code, .answer = answer};
	fl_http_on_close(r->http, on_close, w);
	return w;
}

// Answers the refusal in c->status when the writes that it was read off are decided. The change itself ends before.
static void refuse_when_settled(struct waiting *w, const struct fl_change *c)
{
	w->refusal = c->status;
	if (c->status.causes) {
		struct fl_causes *kept = fl_arena_alloc(w->r->a, sizeof(*kept));
		*kept = *c->status.causes;
		w->refusal.causes = kept;
	}
	fl_change_when_settled(w->r->s, on_settled, w);
}

void fl_write_refuse(struct fl_request *r, struct fl_change *c)
{
	if (fl_change_is_settled(c))
		fl_respond_status(r, &c->status);
	else
		refuse_when_settled(wait_for(r, 0, NULL), c);
	fl_change_deinit(c);
}

static void answer_unchanged(struct fl_request *r, struct fl_change *c, int code, fl_write_answer answer)
{
	if (fl_change_is_settled(c)) {
		answer(r, code, c->old);
		return;
	}
	struct waiting *w = wait_for(r, code, answer);
	w->unchanged = fl_object_get(c->old);
	fl_change_when_settled(r->s, on_settled, w);
}

// What the write would have answered. A created object has no revision then.
static void answer_dry_run(struct fl_request *r, struct fl_change *c, enum fl_store_verb verb, int code,
			   fl_write_answer answer)
{
	struct fl_json *meta = fl_json_get(c->obj, "metadata");
	if (verb == FL_STORE_CREATE) {
		AUTO(fl_object_put)
		struct fl_object *head = fl_store_head(r->s->store, c->kind->resource, c->ns, c->name);
		if (head) {
			fl_change_already_exists(c);
			fl_respond_status(r, &c->status);
			return;
		}
		fl_json_remove(meta, "resourceVersion");
		fl_respond_object_tree(r, code, c->obj);
		return;
	}
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	long rv_at;
	const char *uid = fl_json_str_or(meta, "uid", "");
	fl_object_serialize(&b, fl_kind_to_stored(c->kind, c->a, c->obj), &rv_at);
	AUTO(fl_object_put)
	struct fl_object *o = fl_object_new(c->kind->resource, c->ns, c->name, uid, b.data, b.len, rv_at, c->old->rv);
	answer(r, code, o);
}

void fl_write_finish(struct fl_request *r, struct fl_change *c, enum fl_store_verb verb, int code,
		     fl_write_answer answer)
{
	if (!answer)
		answer = fl_respond_object;
	if (c->unchanged) {
		answer_unchanged(r, c, code, answer);
	} else if (c->dry_run) {
		answer_dry_run(r, c, verb, code, answer);
	} else {
		struct waiting *w = wait_for(r, code, answer);
		if (!fl_change_submit(c, verb, on_stored, w)) {
			if (fl_change_is_settled(c))
				decide(w, NULL, &c->status);
			else
				refuse_when_settled(w, c);
		}
	}
	fl_change_deinit(c);
}

bool fl_write_dry_run(struct fl_request *r, const char *options_kind, bool *ret)
{
	const char *v = fl_request_param(r, "dryRun");
	struct fl_causes causes = {.arena = r->a};
	bool patch = !strcmp(options_kind, "PatchOptions");
	*ret = v != NULL;
	if (strcmp(options_kind, "DeleteOptions") != 0)
		fl_managed_validate_options(&causes, fl_request_param(r, "fieldManager"),
					    patch ? fl_request_param(r, "force") : NULL, patch && fl_apply_is_asked(r));
	if (v && strcmp(v, "All") != 0) {
		struct fl_json *list = fl_json_new(r->a, FL_JSON_ARRAY);
		fl_json_append(list, fl_json_new_str(r->a, v));
		fl_cause_add(&causes, FL_CAUSE_NOT_SUPPORTED, "dryRun", list, "supported values: \"All\"");
	}
	const char *field_validation = fl_request_param(r, "fieldValidation");
	if (!fl_str_empty(field_validation) && strcmp(options_kind, "DeleteOptions") != 0 &&
	    strcmp(field_validation, "Ignore") != 0 && strcmp(field_validation, "Strict") != 0 &&
	    strcmp(field_validation, "Warn") != 0)
		fl_cause_add(&causes, FL_CAUSE_NOT_SUPPORTED, "fieldValidation",
			     fl_json_new_str(r->a, field_validation),
			     "supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"");
	if (!causes.n)
		return true;
	struct fl_status st = fl_status_invalid(r->a, "meta.k8s.io", options_kind, "", &causes);
	fl_respond_status(r, &st);
	return false;
}

// Who owns what the request changes. Our own roles get no entry (docs/decisions/0010-managed-fields.md).
static const struct fl_writer *writer_of(struct fl_request *r)
{
	struct fl_writer *w = fl_arena_zalloc(r->a, sizeof(*w));
	const char *manager = fl_request_param(r, "fieldManager"), *agent = fl_http_header(r->http, "user-agent");
	char now[FL_TIME_STRLEN];
	if (fl_streq(r->subresource, "binding")) // the scheduler's, and nobody's
		return NULL;
	w->subresource = r->subresource;
	w->now = fl_arena_strdup(r->a, fl_time_now(now));
	w->unrecorded = fl_str_empty(manager) && fl_manager_is_role(agent);
	w->manager = fl_str_empty(manager) ? fl_manager_of_user_agent(r->a, agent) : manager;
	return w;
}

struct fl_change fl_write_change(struct fl_request *r, bool dry_run)
{
	return (struct fl_change){.s = r->s,
				  .a = r->a,
				  .kind = r->kind,
				  .ns = r->ns,
				  .name = r->name,
				  .subresource = r->subresource,
				  .dry_run = dry_run,
				  .writer = writer_of(r),
				  .causes = {.arena = r->a}};
}

static void warn(struct fl_request *r, const struct fl_json *obj, const struct fl_json *old)
{
	if (!r->kind->hooks->warn || r->subresource)
		return;
	struct fl_json *texts = fl_json_new(r->a, FL_JSON_ARRAY);
	r->kind->hooks->warn(r->a, obj, old, texts);
	fl_json_each (text, texts)
		fl_respond_add_warning(r, fl_json_string(text));
}

static void create(struct fl_request *r, struct fl_change *c, struct fl_json *obj)
{
	if (!fl_change_create(c, obj)) {
		fl_write_refuse(r, c);
		return;
	}
	warn(r, c->obj, NULL);
	fl_write_finish(r, c, FL_STORE_CREATE, 201, NULL);
}

void fl_write_create(struct fl_request *r)
{
	struct fl_json *obj;
	bool dry_run;
	if (!fl_write_dry_run(r, "CreateOptions", &dry_run) || !fl_body_object(r, r->kind, &obj))
		return;
	struct fl_change c = fl_write_change(r, dry_run);
	create(r, &c, obj);
}

static void update(struct fl_request *r, struct fl_change *c, struct fl_json *obj)
{
	if (!fl_change_update(c, obj)) {
		fl_write_refuse(r, c);
		return;
	}
	warn(r, c->obj, c->old_tree);
	// One that was only waiting for its last finalizer leaves the store.
	bool gone = !c->unchanged && fl_change_is_released(c->kind, c->obj);
	if (gone && !c->dry_run)
		fl_change_release(c);
	fl_write_finish(r, c, gone ? FL_STORE_DELETE : FL_STORE_UPDATE, 200, NULL);
}

void fl_write_update(struct fl_request *r)
{
	struct fl_json *obj;
	bool dry_run;
	if (!fl_write_dry_run(r, "UpdateOptions", &dry_run) || !fl_body_object(r, r->kind, &obj))
		return;
	struct fl_change c = fl_write_change(r, dry_run);
	if (fl_change_load(&c))
		update(r, &c, obj);
	else if (r->kind->create_on_update && !r->subresource)
		create(r, &c, obj);
	else
		fl_write_refuse(r, &c);
}

void fl_write_patch(struct fl_request *r)
{
	bool dry_run;
	if (!fl_write_dry_run(r, "PatchOptions", &dry_run))
		return;
	struct fl_change c = fl_write_change(r, dry_run);
	struct fl_json *obj;
	if (fl_apply_is_asked(r)) {
		if (!fl_apply(r, &c, &obj))
			return;
		if (c.old)
			update(r, &c, obj);
		else
			create(r, &c, obj);
		return;
	}
	if (!fl_change_load(&c)) {
		fl_write_refuse(r, &c);
		return;
	}
	if (!fl_patch_apply(r, fl_kind_schema(r->kind), r->kind->strategic_merge, c.old_tree, &obj) ||
	    !fl_body_decode_patched(r, r->kind, obj))
		fl_change_deinit(&c);
	else
		update(r, &c, obj);
}
