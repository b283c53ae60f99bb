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
	if (c->txn) {
		fl_alloc_txn_abort(c->txn);
		free(c->txn);
		c->txn = NULL;
	}
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
	c->txn = FL_NEW(struct fl_alloc_txn);
	fl_service_alloc_prepare(c->s->alloc, c->a, c->obj, c->old_tree, c->txn, &c->causes);
	return !c->causes.n || invalid(c);
}

static bool validate(struct fl_change *c)
{
	fl_kind_validate(c->kind, &c->causes, c->obj, c->old_tree, c->subresource);
	return !c->causes.n || invalid(c);
}

static bool choose_name(struct fl_change *c, struct fl_json *meta)
{
	const char *name = fl_json_str(meta, "name"), *base = fl_json_str(meta, "generateName");
	if (!fl_str_empty(name) || fl_str_empty(base)) {
		c->name = name;
		return true;
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
	return true;
}

bool fl_change_create(struct fl_change *c, struct fl_json *obj)
{
	c->obj = obj;
	c->causes.arena = c->a;
	struct fl_json *meta = metadata(c, obj);
	const char *ns = fl_json_str(meta, "namespace");
	if (!fl_str_empty(ns) && strcmp(ns, c->ns) != 0)
		return refuse(c, 400, "BadRequest",
			      "the namespace of the provided object does not match the namespace sent on the request");
	if (!fl_str_empty(fl_json_str(meta, "resourceVersion")))
		return refuse(c, 400, "BadRequest", "resourceVersion should not be set on objects to be created");
	fl_json_set_str(c->a, meta, "namespace", c->ns[0] ? c->ns : NULL);
	choose_name(c, meta);
	if (!fl_admission_namespace(c))
		return false;

	static const char *const set_by_server[] = {"selfLink",      "deletionTimestamp", "deletionGracePeriodSeconds",
						    "managedFields", "generation",        "resourceVersion"};
	for (unsigned i = 0; i < FL_COUNT(set_by_server); i++)
		fl_json_remove(meta, set_by_server[i]);
	char uid[FL_UUID_STRLEN], now[FL_TIME_STRLEN];
	fl_uuid4(uid);
	fl_json_set_str(c->a, meta, "uid", uid);
	fl_json_set_str(c->a, meta, "creationTimestamp", fl_time_now(now));
	if (c->kind->has_generation)
		fl_json_set_int(c->a, meta, "generation", 1);
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

static bool check_identity(struct fl_change *c, const struct fl_json *meta, const struct fl_json *old_meta)
{
	const char *name = fl_json_str(meta, "name"), *ns = fl_json_str(meta, "namespace"),
		   *uid = fl_json_str(meta, "uid"), *rv = fl_json_str(meta, "resourceVersion");
	if (fl_str_empty(name) || strcmp(name, c->name) != 0)
		return refuse(c, 400, "BadRequest",
			      fl_arena_printf(c->a,
					      "the name of the object (%s) does not match the name on the URL (%s)",
					      name ? name : "", c->name));
	if (!fl_str_empty(ns) && strcmp(ns, c->ns) != 0)
		return refuse(c, 400, "BadRequest",
			      "the namespace of the provided object does not match the namespace sent on the request");
	if (!fl_str_empty(uid) && !fl_streq(uid, fl_json_str(old_meta, "uid")))
		return refuse_named(c, 409, "Conflict",
				    fl_arena_printf(c->a,
						    "Operation cannot be fulfilled on %s \"%s\": StorageError: invalid "
						    "object, Precondition failed: UID in precondition: "
						    "%s, UID in object meta: %s",
						    qualified(c), c->name, uid, fl_json_str(old_meta, "uid")));
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
	fl_json_remove(meta, "managedFields");
	fl_kind_prepare(c->kind, c->a, obj, c->old_tree, c->subresource);
	if (c->kind->has_generation && differs_beyond_metadata(obj, c->old_tree))
		fl_json_set_int(c->a, meta, "generation", fl_json_int(old_meta, "generation", 0) + 1);
	if (!allocate(c) || !validate(c))
		return false;
	fl_json_set(c->a, meta, "resourceVersion", fl_json_clone(c->a, fl_json_get(old_meta, "resourceVersion")));
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

// --- delete ---

static bool check_preconditions(struct fl_change *c, const struct fl_json *options)
{
	const struct fl_json *pre = fl_json_get(options, "preconditions"), *meta = fl_json_get(c->old_tree, "metadata");
	const char *uid = fl_json_str(pre, "uid"), *rv = fl_json_str(pre, "resourceVersion");
	const char *why = NULL;
	if (uid && !fl_streq(uid, fl_json_str(meta, "uid")))
		why = fl_arena_printf(c->a,
				      "the UID in the precondition (%s) does not match the UID in record (%s). The "
				      "object might have been deleted and then recreated",
				      uid, fl_json_str(meta, "uid"));
	else if (rv && !fl_streq(rv, fl_json_str(meta, "resourceVersion")))
		why = fl_arena_printf(c->a,
				      "the ResourceVersion in the precondition (%s) does not match the ResourceVersion "
				      "in record (%s). The object might have been "
				      "modified",
				      rv, fl_json_str(meta, "resourceVersion"));
	if (!why)
		return true;
	c->status = (struct fl_status){
	    .code = 409,
	    .reason = "Conflict",
	    .message =
		fl_arena_printf(c->a, "Operation cannot be fulfilled on %s \"%s\": %s", c->kind->kind, c->name, why),
	    .group = c->kind->group,
	    .kind = c->kind->kind,
	    .name = c->name,
	};
	return false;
}

// Seconds that the object may stay to end in good order; only pods have any (pkg/registry/core/pod:
// CheckGracefulDelete).
static int64_t grace_of(struct fl_change *c, const struct fl_json *options)
{
	if (strcmp(c->kind->resource, "pods") != 0)
		return 0;
	const struct fl_json *spec = fl_json_get(c->old_tree, "spec");
	const char *phase = fl_json_str(fl_json_get(c->old_tree, "status"), "phase");
	int64_t grace = fl_json_int(options, "gracePeriodSeconds", -1);
	if (grace < 0)
		grace = fl_json_int(spec, "terminationGracePeriodSeconds", 30);
	if (fl_str_empty(fl_json_str(spec, "nodeName")) || fl_streq(phase, "Failed") || fl_streq(phase, "Succeeded"))
		grace = 0;
	return grace;
}

// Puts or takes away the garbage collector's finalizers as the propagation policy says.
static void set_propagation(struct fl_change *c, struct fl_json *meta, const struct fl_json *options)
{
	const char *policy = fl_json_str(options, "propagationPolicy");
	if (!policy && fl_json_bool(options, "orphanDependents", false))
		policy = "Orphan";
	if (!policy)
		return;
	struct fl_json *list = fl_json_get(meta, "finalizers"), *kept = fl_json_new(c->a, FL_JSON_ARRAY);
	fl_json_each (f, list)
		if (!fl_streq(fl_json_string(f), "orphan") && !fl_streq(fl_json_string(f), "foregroundDeletion"))
			fl_json_append(kept, fl_json_clone(c->a, f));
	if (!strcmp(policy, "Orphan"))
		fl_json_append(kept, fl_json_new_str(c->a, "orphan"));
	else if (!strcmp(policy, "Foreground"))
		fl_json_append(kept, fl_json_new_str(c->a, "foregroundDeletion"));
	fl_json_set(c->a, meta, "finalizers", fl_json_count(kept) ? kept : NULL);
}

bool fl_change_remove(struct fl_change *c, const struct fl_json *options, bool *ret_gone)
{
	if (!check_preconditions(c, options) || !fl_admission_delete(c))
		return false;
	c->obj = fl_json_clone(c->a, c->old_tree);
	struct fl_json *meta = metadata(c, c->obj);
	int64_t grace = grace_of(c, options);
	const char *deleted_at = fl_json_str(meta, "deletionTimestamp");
	bool was_graceful = deleted_at && fl_json_int(meta, "deletionGracePeriodSeconds", 0) > 0;
	bool namespaced_content =
	    !strcmp(c->kind->resource, "namespaces") && fl_json_count(fl_json_path(c->obj, "spec", "finalizers", NULL));
	set_propagation(c, meta, options);

	if (grace > 0 && deleted_at && grace >= fl_json_int(meta, "deletionGracePeriodSeconds", 0)) {
		c->unchanged = fl_json_equal(c->obj, c->old_tree); // being deleted already, at least as fast
		*ret_gone = false;
		return true;
	}
	if (grace == 0 && !fl_json_count(fl_json_get(meta, "finalizers")) && !namespaced_content) {
		if (is_service(c)) {
			c->txn = FL_NEW(struct fl_alloc_txn);
			fl_service_alloc_prepare_delete(c->s->alloc, c->old_tree, c->txn);
		}
		*ret_gone = true;
		return true;
	}
	char when[FL_TIME_STRLEN];
	if (!deleted_at || was_graceful)
		fl_json_set_str(c->a, meta, "deletionTimestamp",
				fl_time_format(fl_real_ns() + grace * 1000000000, when));
	if (!namespaced_content)
		fl_json_set_int(c->a, meta, "deletionGracePeriodSeconds", grace);
	else
		fl_json_set_str(c->a, fl_json_ensure_object(c->a, c->obj, "status"), "phase", "Terminating");
	if (c->kind->has_generation && !deleted_at)
		fl_json_set_int(c->a, meta, "generation", fl_json_int(meta, "generation", 0) + 1);
	c->unchanged = deleted_at && fl_json_equal(c->obj, c->old_tree);
	*ret_gone = false;
	return true;
}

// --- submit ---

struct pending {
	fl_change_done done;
	void *arg;
	struct fl_alloc_txn *txn;
};

static void on_stored(void *arg, int rc, struct fl_object *obj, const struct fl_err *err)
{
	struct pending *p = arg;
	if (p->txn) {
		if (rc == 0)
			fl_alloc_txn_commit(p->txn);
		else
			fl_alloc_txn_abort(p->txn);
		free(p->txn);
	}
	if (rc == 0) {
		p->done(p->arg, obj, NULL);
	} else {
		struct fl_status st = {
		    .code = rc == -ENOSPC ? 507 : 500,
		    .reason = rc == -ENOSPC ? "InsufficientStorage" : "InternalError",
		    .message = err ? err->text : "the write failed",
		};
		p->done(p->arg, NULL, &st);
	}
	free(p);
}

bool fl_change_submit(struct fl_change *c, enum fl_store_verb verb, fl_change_done done, void *arg)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	struct fl_json *meta = fl_json_get(c->obj, "metadata");
	long rv_at;
	fl_object_serialize(&b, fl_kind_to_stored(c->kind, c->a, c->obj), &rv_at);
	if (b.len > FL_MAX_OBJECT_BYTES)
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
	struct pending *p = FL_NEW(struct pending);
	*p = (struct pending){.done = done, .arg = arg, .txn = c->txn};
	struct fl_err err = {0};
	int rc = fl_store_submit(c->s->store, &w, on_stored, p, &err);
	if (rc == 0) {
		c->txn = NULL;
		return true;
	}
	free(p);
	if (rc == -EEXIST)
		return refuse_named(c, 409, "AlreadyExists",
				    fl_arena_printf(c->a, "%s \"%s\" already exists", qualified(c), c->name));
	if (rc == -ENOENT)
		return refuse_named(c, 404, "NotFound",
				    fl_arena_printf(c->a, "%s \"%s\" not found", qualified(c), c->name));
	if (rc == -ESTALE)
		return refuse_named(
		    c, 409, "Conflict",
		    fl_arena_printf(c->a, "Operation cannot be fulfilled on %s \"%s\": the object has been modified",
				    qualified(c), c->name));
	return refuse(c, rc == -ENOSPC ? 507 : 500, rc == -ENOSPC ? "InsufficientStorage" : "InternalError",
		      fl_arena_strdup(c->a, err.text));
}
