// SPDX-License-Identifier: Apache-2.0
#include "apiserver/change.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "apiserver/admission.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rand.h"

#define MAX_GENERATED_BASE 58 // metadata.generateName is cut here before five characters are added (names/generate.go)
#define GENERATE_TRIES     7  // KEP-4420

void fl_change_deinit(struct fl_change *c)
{
	fl_object_put(&c->old);
	fl_alloc_txn_free(&c->txn);
}

static bool refuse(struct fl_change *c, int code, const char *reason, const char *message)
{
	c->status = (struct fl_status){.code = code, .reason = reason, .message = message};
	return false;
}

static bool refuse_named(struct fl_change *c, int code, const char *reason, const char *message)
{
	c->status = (struct fl_status){.code = code,
				       .reason = reason,
				       .message = message,
				       .group = c->kind->group,
				       .kind = c->kind->plural,
				       .name = c->name};
	return false;
}

static const char *qualified(struct fl_change *c)
{
	return c->kind->group[0] ? fl_arena_printf(c->a, "%s.%s", c->kind->plural, c->kind->group) : c->kind->plural;
}

static bool invalid(struct fl_change *c)
{
	c->status = fl_status_invalid(c->a, c->kind->group, c->kind->kind, c->name ? c->name : "", &c->causes);
	return false;
}

bool fl_change_load(struct fl_change *c)
{
	c->old = fl_store_head(c->s->store, c->kind->resource, c->ns, c->name);
	if (!c->old)
		return refuse_named(c, 404, "NotFound",
				    fl_arena_printf(c->a, "%s \"%s\" not found", qualified(c), c->name));
	c->old_tree = fl_kind_from_stored(c->kind, c->a, fl_object_tree(c->old, c->a));
	return true;
}

static struct fl_json *metadata(struct fl_change *c, struct fl_json *obj)
{
	return fl_json_ensure_object(c->a, obj, "metadata");
}

static bool is_service(const struct fl_change *c)
{
	return !strcmp(c->kind->resource, "services");
}

static bool allocate(struct fl_change *c)
{
	fl_kind_precheck(c->kind, &c->causes, c->obj, c->old_tree, c->subresource);
	if (c->causes.n)
		return invalid(c);
	if (!is_service(c) || c->subresource)
		return true;
	const char *exhausted = NULL;
	c->txn = fl_service_alloc_prepare(c->s->alloc, c->a, c->obj, c->old_tree, &c->causes, &exhausted);
	if (exhausted) // no fault of the object's
		return refuse(c, 500, "InternalError", fl_arena_printf(c->a, "Internal error occurred: %s", exhausted));
	return !c->causes.n || invalid(c);
}

static bool validate(struct fl_change *c)
{
	fl_kind_validate(c->kind, &c->causes, c->obj, c->old_tree, c->subresource);
	return !c->causes.n || invalid(c);
}

static bool uid_conflict(struct fl_change *c, const char *asked, const char *have)
{
	return refuse_named(c, 409, "Conflict",
			    fl_arena_printf(c->a,
					    "Operation cannot be fulfilled on %s \"%s\": StorageError: invalid object, "
					    "Precondition failed: UID in precondition: %s, UID in object meta: %s",
					    qualified(c), c->name, asked, have));
}

static bool names_match(struct fl_change *c, const struct fl_json *meta)
{
	const char *name = fl_json_str_or(meta, "name", ""), *ns = fl_json_str(meta, "namespace");
	if (c->name && strcmp(name, c->name) != 0)
		return refuse(c, 400, "BadRequest",
			      fl_arena_printf(c->a,
					      "the name of the object (%s) does not match the name on the URL (%s)",
					      name, c->name));
	if (!fl_str_empty(ns) && strcmp(ns, c->ns) != 0)
		return refuse(c, 400, "BadRequest",
			      "the namespace of the provided object does not match the namespace sent on the request");
	return true;
}

static void choose_name(struct fl_change *c, struct fl_json *meta)
{
	const char *name = fl_json_str(meta, "name"), *base = fl_json_str(meta, "generateName");
	if (!fl_str_empty(name) || fl_str_empty(base)) {
		c->name = name;
		return;
	}
	for (unsigned i = 0; i < GENERATE_TRIES; i++) {
		char suffix[6];
		fl_random_suffix(suffix, 5);
		c->name = fl_arena_printf(c->a, "%.*s%s", MAX_GENERATED_BASE, base, suffix);
		struct fl_object *taken = fl_store_head(c->s->store, c->kind->resource, c->ns, c->name);
		if (!taken)
			break;
		fl_object_put(&taken);
	}
	fl_json_set_str(c->a, meta, "name", c->name);
}

// Before the server adds what is its own.
static void book_owners(struct fl_change *c, struct fl_json *meta)
{
	if (c->applied)
		return;
	if (c->writer) {
		fl_kind_default(c->kind, c->a, c->obj);
		fl_managed_update(c->kind, c->a, c->obj, c->old_tree, c->writer);
	} else {
		fl_json_set(c->a, meta, "managedFields",
			    fl_json_clone(c->a, fl_json_path(c->old_tree, "metadata", "managedFields", NULL)));
	}
}

bool fl_change_create(struct fl_change *c, struct fl_json *obj)
{
	c->obj = obj;
	c->causes.arena = c->a;
	struct fl_json *meta = metadata(c, obj);
	if (!names_match(c, meta))
		return false;
	if (!c->name && !fl_str_empty(fl_json_str(meta, "resourceVersion")))
		return refuse(c, 400, "BadRequest", "resourceVersion should not be set on objects to be created");
	if (c->name && !fl_str_empty(fl_json_str(meta, "uid"))) // a PUT that means one certain object
		return uid_conflict(c, fl_json_str(meta, "uid"), "");
	fl_json_set_str(c->a, meta, "namespace", c->ns[0] ? c->ns : NULL);
	choose_name(c, meta);
	if (!fl_admission_namespace(c) || !fl_admission_pod(c, obj))
		return false;

	static const char *const set_by_server[] = {"selfLink", "deletionTimestamp", "deletionGracePeriodSeconds",
						    "generation", "resourceVersion"};
	for (unsigned i = 0; i < FL_COUNT(set_by_server); i++)
		fl_json_remove(meta, set_by_server[i]);
	char uid[FL_UUID_STRLEN], now[FL_TIME_STRLEN];
	fl_uuid4(uid);
	fl_json_set_str(c->a, meta, "uid", uid);
	fl_json_set_str(c->a, meta, "creationTimestamp", fl_time_now(now));
	if (c->kind->has_generation)
		fl_json_set_int(c->a, meta, "generation", 1);
	book_owners(c, meta);
	fl_kind_prepare(c->kind, c->a, obj, NULL, NULL);
	return allocate(c) && validate(c);
}

static bool differs_beyond_metadata(const struct fl_json *a, const struct fl_json *b)
{
	fl_json_each (m, a) {
		if (!strcmp(m->key, "metadata") || !strcmp(m->key, "status"))
			continue;
		const struct fl_json *o = fl_json_get(b, m->key);
		if (!o || !fl_json_equal(m, o))
			return true;
	}
	fl_json_each (m, b)
		if (strcmp(m->key, "metadata") != 0 && strcmp(m->key, "status") != 0 && !fl_json_get(a, m->key))
			return true;
	return false;
}

static bool counts_generation(const struct fl_change *c, const struct fl_json *old_meta)
{
	// The other subresources leave the specification alone, or are no work of the user's (binding).
	if (!c->kind->has_generation || (c->subresource && strcmp(c->subresource, "scale") != 0))
		return false;
	if (differs_beyond_metadata(c->obj, c->old_tree))
		return true;
	const struct fl_json *now = fl_json_path(c->obj, "metadata", "annotations", NULL),
			     *was = fl_json_get(old_meta, "annotations");
	return c->kind->generation_of_annotations && (fl_json_count(now) || fl_json_count(was)) &&
	       !(now && was && fl_json_equal(now, was));
}

static bool check_identity(struct fl_change *c, const struct fl_json *meta, const struct fl_json *old_meta)
{
	const char *uid = fl_json_str(meta, "uid"), *rv = fl_json_str(meta, "resourceVersion");
	if (!names_match(c, meta))
		return false;
	if (!fl_str_empty(uid) && !fl_streq(uid, fl_json_str(old_meta, "uid")))
		return uid_conflict(c, uid, fl_json_str_or(old_meta, "uid", ""));
	unsigned long long n = 0;
	if (!fl_str_empty(rv) && strcmp(rv, "0") != 0) {
		if (!fl_parse_u64(rv, &n) || n != c->old->rv)
			return refuse_named(c, 409, "Conflict",
					    fl_arena_printf(c->a,
							    "Operation cannot be fulfilled on %s \"%s\": the object "
							    "has been modified; please apply your changes to the "
							    "latest version and try again",
							    qualified(c), c->name));
	} else if (!c->kind->unconditional_update && !c->subresource) {
		fl_cause_add(&c->causes, FL_CAUSE_INVALID, "metadata.resourceVersion", fl_json_new_int(c->a, 0),
			     "must be specified for an update");
		return invalid(c);
	}
	return true;
}

bool fl_change_update(struct fl_change *c, struct fl_json *obj)
{
	c->obj = obj;
	c->causes.arena = c->a;
	struct fl_json *meta = metadata(c, obj), *old_meta = fl_json_get(c->old_tree, "metadata");
	if (!check_identity(c, meta, old_meta))
		return false;
	static const char *const kept[] = {
	    "namespace",  "uid",         "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
	    "generation", "generateName"};
	for (unsigned i = 0; i < FL_COUNT(kept); i++)
		fl_json_set(c->a, meta, kept[i], fl_json_clone(c->a, fl_json_get(old_meta, kept[i])));
	fl_json_remove(meta, "selfLink");
	book_owners(c, meta);
	fl_kind_prepare(c->kind, c->a, obj, c->old_tree, c->subresource);
	if (counts_generation(c, old_meta))
		fl_json_set_int(c->a, meta, "generation", fl_json_int(old_meta, "generation", 0) + 1);
	if (!allocate(c) || !validate(c))
		return false;
	fl_json_set(c->a, meta, "resourceVersion", fl_json_clone(c->a, fl_json_get(old_meta, "resourceVersion")));
	fl_managed_keep_times(c->a, obj, c->old_tree);
	c->unchanged = fl_json_equal(obj, c->old_tree);
	return true;
}

bool fl_change_is_released(const struct fl_kind *k, const struct fl_json *obj)
{
	const struct fl_json *meta = fl_json_get(obj, "metadata");
	return fl_json_str(meta, "deletionTimestamp") && !fl_json_count(fl_json_get(meta, "finalizers")) &&
	       !fl_json_int(meta, "deletionGracePeriodSeconds", 0) &&
	       !(strcmp(k->resource, "namespaces") == 0 &&
		 fl_json_count(fl_json_path(obj, "spec", "finalizers", NULL)));
}

void fl_change_release(struct fl_change *c)
{
	if (!is_service(c))
		return;
	fl_alloc_txn_free(&c->txn);
	c->txn = fl_service_alloc_prepare_delete(c->s->alloc, c->old_tree);
}

// --- submit ---

struct waiter {
	struct waiter *next;
	fl_change_done done;
	void *arg;
};

struct fl_pending {
	TAILQ_ENTRY(fl_pending) link;
	struct fl_apiserver *s;
	fl_change_done done;
	void *arg;
	struct fl_alloc_txn *txn;
	struct waiter *waiters, **waiters_tail; // told when this one is decided, and with it all before it
};

static void tell_waiters(struct waiter *w, const struct fl_status *st)
{
	while (w) {
		struct waiter *next = w->next;
		w->done(w->arg, NULL, st);
		free(w);
		w = next;
	}
}

static const char *failure_reason(int rc)
{
	return rc == -ENOSPC ? "InsufficientStorage" : rc == -ESHUTDOWN ? "ServiceUnavailable" : "InternalError";
}

static int failure_code(int rc)
{
	return rc == -ENOSPC ? 507 : rc == -ESHUTDOWN ? 503 : 500;
}

static void on_stored(void *arg, int rc, struct fl_object *obj, const struct fl_err *err)
{
	struct fl_pending *p = arg;
	struct fl_status st = {.code = failure_code(rc), .reason = failure_reason(rc)};
	TAILQ_REMOVE(&p->s->pending, p, link);
	if (p->txn && rc == 0)
		fl_alloc_txn_commit(p->txn);
	fl_alloc_txn_free(&p->txn);
	if (rc < 0)
		st.message = err->text;
	p->done(p->arg, obj, rc < 0 ? &st : NULL);
	tell_waiters(p->waiters, rc < 0 ? &st : NULL);
	free(p);
}

void fl_change_already_exists(struct fl_change *c)
{
	refuse_named(c, 409, "AlreadyExists", fl_arena_printf(c->a, "%s \"%s\" already exists", qualified(c), c->name));
}

static bool submit_refused(struct fl_change *c, int rc, const struct fl_err *err)
{
	if (rc == -EEXIST) {
		fl_change_already_exists(c);
		return false;
	}
	return refuse(c, failure_code(rc), failure_reason(rc), fl_arena_strdup(c->a, err->text));
}

bool fl_change_submit(struct fl_change *c, enum fl_store_verb verb, fl_change_done done, void *arg)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct fl_json *meta = fl_json_get(c->obj, "metadata");
	long rv_at;
	fl_object_serialize(&b, fl_kind_to_stored(c->kind, c->a, c->obj), &rv_at);
	if (b.len > FL_MAX_OBJECT_BYTES && verb != FL_STORE_DELETE)
		return refuse_named(c, 413, "RequestEntityTooLarge",
				    fl_arena_printf(c->a, "%s \"%s\" is too large: %zu bytes, the limit is %d",
						    qualified(c), c->name, b.len, FL_MAX_OBJECT_BYTES));
	struct fl_store_write w = {
	    .verb = verb,
	    .resource = c->kind->resource,
	    .ns = c->ns,
	    .name = c->name,
	    .uid = fl_json_str_or(meta, "uid", ""),
	    .expect_rv = c->old ? c->old->rv : 0,
	    .value = b.data,
	    .len = b.len,
	    .rv_at = rv_at,
	    .expires_ns = c->kind->ttl_seconds ? fl_real_ns() + c->kind->ttl_seconds * 1000000000 : 0,
	};
	struct fl_pending *p = FL_NEW(struct fl_pending);
	*p = (struct fl_pending){.s = c->s, .done = done, .arg = arg};
	struct fl_err err = {0};
	int rc = fl_store_submit(c->s->store, &w, on_stored, p, &err);
	if (rc < 0) {
		free(p);
		return submit_refused(c, rc, &err);
	}
	p->txn = TAKE_PTR(c->txn);
	TAILQ_INSERT_TAIL(&c->s->pending, p, link);
	return true;
}

bool fl_change_is_settled(const struct fl_change *c)
{
	if (fl_str_empty(c->name))
		return true;
	AUTO(fl_object_put) struct fl_object *head = fl_store_head(c->s->store, c->kind->resource, c->ns, c->name);
	AUTO(fl_object_put) struct fl_object *durable = fl_store_get(c->s->store, c->kind->resource, c->ns, c->name);
	return head == durable || TAILQ_EMPTY(&c->s->pending);
}

void fl_change_when_settled(struct fl_apiserver *s, fl_change_done done, void *arg)
{
	struct fl_pending *p = TAILQ_LAST(&s->pending, fl_pending_list);
	struct waiter *w = FL_NEW(struct waiter);
	*w = (struct waiter){.done = done, .arg = arg};
	if (!p->waiters)
		p->waiters_tail = &p->waiters;
	*p->waiters_tail = w;
	p->waiters_tail = &w->next;
}
