// SPDX-License-Identifier: Apache-2.0
// What an update may change of a pod's spec: images, the deadline, tolerations more and longer; scheduling gates go
// away one by one, and while one is there the choice of nodes may be narrowed. (k8s: ValidatePodUpdate)
//
// Each of these is checked by itself and then put back to its old value: what differs after that was not allowed.
#include "api/hooks/pod.h"

#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

#define MAY_CHANGE                                                                                                     \
	"pod updates may not change fields other than "                                                                \
	"`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` "   \
	"(only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if "   \
	"it was previously negative)"
#define REQUIRED    "requiredDuringSchedulingIgnoredDuringExecution"
#define TERMS_FIELD "spec.affinity.nodeAffinity." REQUIRED ".nodeSelectorTerms"

static void take(struct fl_arena *a, struct fl_json *to, const struct fl_json *from, const char *key)
{
	fl_json_set(a, to, key, fl_json_clone(a, fl_json_get(from, key)));
}

static bool same(const struct fl_json *x, const struct fl_json *y)
{
	return x == y || (x && y && fl_json_equal(x, y));
}

static const struct fl_json *or_null(struct fl_arena *a, const struct fl_json *j)
{
	return j ? j : fl_json_new(a, FL_JSON_NULL);
}

static void validate_deadline(struct fl_causes *c, const struct fl_json *spec, const struct fl_json *old)
{
	static const char *const field = "spec.activeDeadlineSeconds";
	const struct fl_json *now = fl_json_get(spec, "activeDeadlineSeconds");
	const struct fl_json *was = fl_json_get(old, "activeDeadlineSeconds");

	if (was && !now)
		fl_cause_add(c, FL_CAUSE_INVALID, field, fl_json_new(c->arena, FL_JSON_NULL),
			     "must not update from a positive integer to nil value");
	else if (was && now->i > was->i)
		fl_cause_add(c, FL_CAUSE_INVALID, field, now, "must be less than or equal to previous value");
}

// All members of x but tolerationSeconds stand in y.
static bool stands_in(const struct fl_json *x, const struct fl_json *y)
{
	fl_json_each (m, x)
		if (!fl_streq(m->key, "tolerationSeconds") && !same(m, fl_json_get(y, m->key)))
			return false;
	return true;
}

static void validate_tolerations(struct fl_causes *c, const struct fl_json *now, const struct fl_json *old)
{
	fl_json_each (o, old) {
		bool found = false;

		fl_json_each (n, now)
			found = found || (stands_in(n, o) && stands_in(o, n));
		if (found)
			continue;
		fl_cause_add(c, FL_CAUSE_FORBIDDEN, "spec.tolerations", NULL,
			     "existing toleration can not be modified except its tolerationSeconds");
		return;
	}
}

static void validate_gates(struct fl_causes *c, const struct fl_json *now, const struct fl_json *old)
{
	AUTO(fl_map_deinit) struct fl_map names = {0};
	size_t i = 0;

	fl_json_each (g, old)
		fl_map_set(&names, fl_json_str_or(g, "name", ""), &names);
	fl_json_each (g, now) {
		const char *name = fl_json_str_or(g, "name", "");

		if (!fl_map_get(&names, name))
			fl_cause_add(c, FL_CAUSE_FORBIDDEN,
				     fl_arena_printf(c->arena, "spec.schedulingGates[%zu].name", i), NULL,
				     "only deletion is allowed, but found new scheduling gate '%s'", name);
		i++;
	}
}

static void validate_node_selector(struct fl_causes *c, const struct fl_json *now, const struct fl_json *old)
{
	fl_json_each (o, old) {
		if (same(fl_json_get(now, o->key), o))
			continue;
		fl_cause_add(c, FL_CAUSE_INVALID, "spec.nodeSelector", or_null(c->arena, now),
			     "only additions to spec.nodeSelector are allowed (no mutations or deletions)");
		return;
	}
}

// The old requirements come first and unchanged.
static bool begins_with(const struct fl_json *now, const struct fl_json *old)
{
	const struct fl_json *n = fl_json_index(now, 0);

	fl_json_each (o, old) {
		if (!n || !fl_json_equal(n, o))
			return false;
		n = n->next;
	}
	return true;
}

// An empty term matches nothing, so that a requirement in it would widen the choice.
static bool only_adds(const struct fl_json *now, const struct fl_json *old)
{
	const struct fl_json *exprs = fl_json_get(now, "matchExpressions"), *fields = fl_json_get(now, "matchFields");
	const struct fl_json *old_exprs = fl_json_get(old, "matchExpressions");
	const struct fl_json *old_fields = fl_json_get(old, "matchFields");

	if (!fl_json_count(old_exprs) && !fl_json_count(old_fields))
		return !fl_json_count(exprs) && !fl_json_count(fields);
	return begins_with(exprs, old_exprs) && begins_with(fields, old_fields);
}

static void validate_node_affinity(struct fl_causes *c, const struct fl_json *now, const struct fl_json *old)
{
	const struct fl_json *terms = fl_json_path(now, REQUIRED, "nodeSelectorTerms", NULL);
	const struct fl_json *old_terms = fl_json_path(old, REQUIRED, "nodeSelectorTerms", NULL);
	const struct fl_json *o = fl_json_index(old_terms, 0);
	size_t i = 0;

	if (!o)
		return;
	if (fl_json_count(terms) != fl_json_count(old_terms)) {
		fl_cause_add(c, FL_CAUSE_INVALID, TERMS_FIELD, or_null(c->arena, terms),
			     "no additions/deletions to non-empty NodeSelectorTerms list are allowed");
		return;
	}
	fl_json_each (term, terms) {
		if (!only_adds(term, o))
			fl_cause_add(c, FL_CAUSE_INVALID, fl_arena_printf(c->arena, TERMS_FIELD "[%zu]", i), term,
				     "only additions are allowed (no mutations or deletions)");
		o = o->next;
		i++;
	}
}

static void put_back_node_affinity(struct fl_arena *a, struct fl_json *s, const struct fl_json *old)
{
	const struct fl_json *was = fl_json_path(old, "affinity", "nodeAffinity", NULL);
	struct fl_json *affinity = was ? fl_json_ensure_object(a, s, "affinity") : fl_json_get(s, "affinity");

	if (!affinity)
		return;
	fl_json_set(a, affinity, "nodeAffinity", fl_json_clone(a, was));
	if (!fl_json_count(affinity) && !fl_json_get(old, "affinity"))
		fl_json_remove(s, "affinity");
}

static void put_back_images(struct fl_arena *a, struct fl_json *list, const struct fl_json *old)
{
	const struct fl_json *o = fl_json_index(old, 0);

	fl_json_each (ct, list) {
		take(a, ct, o, "image");
		o = o->next;
	}
}

static struct fl_json *with_allowed_put_back(struct fl_arena *a, const struct fl_json *spec, const struct fl_json *old,
					     bool gated)
{
	struct fl_json *s = fl_json_clone(a, spec);
	int64_t grace = fl_json_int(old, "terminationGracePeriodSeconds", 0);

	put_back_images(a, fl_json_get(s, "containers"), fl_json_get(old, "containers"));
	put_back_images(a, fl_json_get(s, "initContainers"), fl_json_get(old, "initContainers"));
	take(a, s, old, "activeDeadlineSeconds");
	take(a, s, old, "tolerations");
	take(a, s, old, "schedulingGates");
	if (grace < 0 && fl_json_int(s, "terminationGracePeriodSeconds", 0) == 1)
		fl_json_set_int(a, s, "terminationGracePeriodSeconds", grace);
	if (gated) {
		take(a, s, old, "nodeSelector");
		put_back_node_affinity(a, s, old);
	}
	return s;
}

static void list_differences(struct fl_buf *b, const struct fl_json *now, const struct fl_json *old)
{
	fl_json_each (m, now)
		if (!same(m, fl_json_get(old, m->key)))
			fl_buf_printf(b, "%sspec.%s", b->len ? ", " : "", m->key);
	fl_json_each (m, old)
		if (!fl_json_get(now, m->key))
			fl_buf_printf(b, "%sspec.%s", b->len ? ", " : "", m->key);
}

void fl_pod_validate_update(struct fl_causes *c, const struct fl_json *spec, const struct fl_json *old)
{
	static const char *const lists[] = {"containers", "initContainers"};
	bool gated = fl_json_count(fl_json_get(old, "schedulingGates"));
	AUTO(fl_buf_deinit) struct fl_buf changed = {0};
	struct fl_json *masked;

	for (size_t i = 0; i < FL_COUNT(lists); i++) {
		if (fl_json_count(fl_json_get(spec, lists[i])) == fl_json_count(fl_json_get(old, lists[i])))
			continue;
		fl_cause_add(c, FL_CAUSE_FORBIDDEN, fl_arena_printf(c->arena, "spec.%s", lists[i]), NULL,
			     "pod updates may not add or remove containers");
		return;
	}
	validate_deadline(c, spec, old);
	validate_tolerations(c, fl_json_get(spec, "tolerations"), fl_json_get(old, "tolerations"));
	validate_gates(c, fl_json_get(spec, "schedulingGates"), fl_json_get(old, "schedulingGates"));
	if (gated) {
		validate_node_selector(c, fl_json_get(spec, "nodeSelector"), fl_json_get(old, "nodeSelector"));
		validate_node_affinity(c, fl_json_path(spec, "affinity", "nodeAffinity", NULL),
				       fl_json_path(old, "affinity", "nodeAffinity", NULL));
	}
	masked = with_allowed_put_back(c->arena, spec, old, gated);
	if (fl_json_equal(masked, old))
		return;
	list_differences(&changed, masked, old);
	fl_cause_add(c, FL_CAUSE_FORBIDDEN, "spec", NULL, MAY_CHANGE "\nchanged: %s", changed.data ? changed.data : "");
}
