// SPDX-License-Identifier: Apache-2.0
// What a DELETE makes of an object (apiserver rest.BeforeDelete, registry.Store.Delete; pkg/registry/core/pod
// CheckGracefulDelete; pkg/registry/core/namespace REST.Delete).
//
//   nothing holds it                  -> gone
//   finalizers, its own or the garbage collector's (propagation policy)
//                                     -> stays with deletionTimestamp and no grace; gone with its last finalizer
//   a pod on a node                   -> stays with deletionTimestamp and its grace period, which a later DELETE may
//                                        only shorten; the node deletes it again with a grace of 0
//   a namespace                       -> Terminating; its controller empties it and takes spec.finalizers away
#include "apiserver/admission.h"
#include "apiserver/change.h"
#include "base/clock.h"
#include "base/mem.h"

static bool is(const struct fl_change *c, const char *resource)
{
	return !strcmp(c->kind->resource, resource);
}

static bool conflict(struct fl_change *c, const char *what, const char *asked, const char *have)
{
	c->status = (struct fl_status){
	    .code = 409,
	    .reason = "Conflict",
	    .message =
		fl_arena_printf(c->a,
				"Operation cannot be fulfilled on %s \"%s\": the %s in the precondition (%s) does "
				"not match the %s in record (%s). The object might have been %s",
				c->kind->kind, c->name, what, asked, what, have,
				what[0] == 'U' ? "deleted and then recreated" : "modified"),
	    .group = c->kind->group,
	    .kind = c->kind->kind,
	    .name = c->name,
	};
	return false;
}

static bool check_preconditions(struct fl_change *c, const struct fl_json *options)
{
	const struct fl_json *pre = fl_json_get(options, "preconditions"), *meta = fl_json_get(c->old_tree, "metadata");
	const char *uid = fl_json_str(pre, "uid"), *rv = fl_json_str(pre, "resourceVersion"),
		   *has_uid = fl_json_str_or(meta, "uid", ""), *has_rv = fl_json_str_or(meta, "resourceVersion", "");
	if (uid && strcmp(uid, has_uid) != 0)
		return conflict(c, "UID", uid, has_uid);
	if (rv && strcmp(rv, has_rv) != 0)
		return conflict(c, "ResourceVersion", rv, has_rv);
	return true;
}

static bool is_of_collector(const struct fl_json *finalizer)
{
	return fl_streq(fl_json_string(finalizer), "orphan") ||
	       fl_streq(fl_json_string(finalizer), "foregroundDeletion");
}

static bool any_of_collector(const struct fl_json *finalizers)
{
	fl_json_each (f, finalizers)
		if (is_of_collector(f))
			return true;
	return false;
}

// Puts or takes away the garbage collector's finalizers as the propagation policy says. Without one those that are
// there stay, or the kind's own policy counts. Events are no owners and leave at once. (store.go
// shouldOrphanDependents)
static void set_propagation(struct fl_change *c, struct fl_json *meta, const struct fl_json *options)
{
	const char *policy = fl_json_str(options, "propagationPolicy");
	if (!policy && fl_json_get(options, "orphanDependents"))
		policy = fl_json_bool(options, "orphanDependents", false) ? "Orphan" : "Background";
	struct fl_json *list = fl_json_get(meta, "finalizers"), *kept = fl_json_new(c->a, FL_JSON_ARRAY);
	if (!policy && c->kind->orphans_dependents && !any_of_collector(list))
		policy = "Orphan";
	if (!policy || c->kind->ttl_seconds)
		return;
	fl_json_each (f, list)
		if (!is_of_collector(f))
			fl_json_append(kept, fl_json_clone(c->a, f));
	if (!strcmp(policy, "Orphan"))
		fl_json_append(kept, fl_json_new_str(c->a, "orphan"));
	else if (!strcmp(policy, "Foreground"))
		fl_json_append(kept, fl_json_new_str(c->a, "foregroundDeletion"));
	fl_json_set(c->a, meta, "finalizers", fl_json_count(kept) ? kept : NULL);
}

static void mark(struct fl_change *c, struct fl_json *meta, int64_t at_ns, int64_t grace)
{
	char when[FL_TIME_STRLEN];
	int64_t generation = fl_json_int(meta, "generation", 0);
	if (!fl_json_str(meta, "deletionTimestamp") && generation > 0)
		fl_json_set_int(c->a, meta, "generation", generation + 1);
	fl_json_set_str(c->a, meta, "deletionTimestamp", fl_time_format(at_ns, when));
	if (grace >= 0)
		fl_json_set_int(c->a, meta, "deletionGracePeriodSeconds", grace);
}

// Seconds that a pod may stay to end in good order.
static int64_t pod_grace(const struct fl_change *c, const struct fl_json *options)
{
	const struct fl_json *spec = fl_json_get(c->old_tree, "spec"),
			     *asked = fl_json_get(options, "gracePeriodSeconds");
	const char *phase = fl_json_str(fl_json_get(c->old_tree, "status"), "phase");
	if (fl_str_empty(fl_json_str(spec, "nodeName")) || fl_streq(phase, "Failed") || fl_streq(phase, "Succeeded"))
		return 0;
	int64_t grace =
	    fl_json_is(asked, FL_JSON_INT) ? asked->i : fl_json_int(spec, "terminationGracePeriodSeconds", 0);
	return grace < 0 ? 1 : fl_clamp_seconds(grace); // negative: as soon as possible, but in good order
}

enum verdict { DELETE_NOW, STAYS, UNCHANGED };

static enum verdict remove_namespace(struct fl_change *c, struct fl_json *meta, const struct fl_json *options)
{
	if (!fl_json_str(meta, "deletionTimestamp")) {
		set_propagation(c, meta, options);
		mark(c, meta, fl_real_ns(), -1);
		fl_json_set_str(c->a, fl_json_ensure_object(c->a, c->obj, "status"), "phase", "Terminating");
		return STAYS;
	}
	if (fl_json_count(fl_json_path(c->obj, "spec", "finalizers", NULL)))
		return UNCHANGED;
	return fl_json_count(fl_json_get(meta, "finalizers")) ? UNCHANGED : DELETE_NOW;
}

static enum verdict remove_pod(struct fl_change *c, struct fl_json *meta, const struct fl_json *options)
{
	int64_t now = fl_real_ns(), had = fl_clamp_seconds(fl_json_int(meta, "deletionGracePeriodSeconds", 0));
	const struct fl_json *asked = fl_json_get(options, "gracePeriodSeconds");
	const char *deleted_at = fl_json_str(meta, "deletionTimestamp");
	int64_t grace, at = now;
	if (!deleted_at) {
		grace = pod_grace(c, options);
		at = now + grace * 1000000000;
	} else if (had <= 0) {
		grace = 0;
		if (fl_time_parse(deleted_at, &at) && at > now)
			at = now;
	} else {
		grace = fl_json_is(asked, FL_JSON_INT) ? asked->i < 0 ? 1 : fl_clamp_seconds(asked->i) : had;
		if (grace >= had)
			return UNCHANGED; // being deleted already, at least as fast
		at = fl_time_parse(deleted_at, &at) ? at + (grace - had) * 1000000000 : now;
	}
	set_propagation(c, meta, options);
	mark(c, meta, at, grace);
	return grace == 0 && !fl_json_count(fl_json_get(meta, "finalizers")) ? DELETE_NOW : STAYS;
}

static enum verdict remove_any(struct fl_change *c, struct fl_json *meta, const struct fl_json *options)
{
	int64_t now = fl_real_ns(), at;
	set_propagation(c, meta, options);
	if (!fl_json_count(fl_json_get(meta, "finalizers")))
		return DELETE_NOW;
	const char *deleted_at = fl_json_str(meta, "deletionTimestamp");
	mark(c, meta, deleted_at && fl_time_parse(deleted_at, &at) && at < now ? at : now, 0);
	return STAYS;
}

bool fl_change_remove(struct fl_change *c, const struct fl_json *options, bool *ret_gone)
{
	if (!check_preconditions(c, options) || !fl_admission_delete(c))
		return false;
	c->obj = fl_json_clone(c->a, c->old_tree);
	struct fl_json *meta = fl_json_ensure_object(c->a, c->obj, "metadata");
	enum verdict v = is(c, "namespaces") ? remove_namespace(c, meta, options)
			 : is(c, "pods")     ? remove_pod(c, meta, options)
					     : remove_any(c, meta, options);
	*ret_gone = v == DELETE_NOW;
	c->unchanged = v == UNCHANGED || (v == STAYS && fl_json_equal(c->obj, c->old_tree));
	if (*ret_gone && is(c, "services"))
		c->txn = fl_service_alloc_prepare_delete(c->s->alloc, c->old_tree);
	return true;
}
