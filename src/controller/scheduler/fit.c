// SPDX-License-Identifier: Apache-2.0
// A node that is not Ready counts as tainted, so that a pod which tolerates that may run there all the same.
#include "controller/scheduler/fit.h"

#include <stdlib.h>

#include "api/quantity.h"
#include "controller/meta.h"

bool fl_fit_toleration_covers(const struct fl_json *t, const char *key, const char *value, const char *effect)
{
	const char *t_effect = fl_json_str_or(t, "effect", ""), *t_key = fl_json_str_or(t, "key", ""),
		   *op = fl_json_str_or(t, "operator", "Equal");
	if (t_effect[0] && strcmp(t_effect, effect) != 0)
		return false;
	if (t_key[0] && strcmp(t_key, key) != 0)
		return false;
	if (!strcmp(op, "Exists"))
		return true;
	return t_key[0] && !strcmp(fl_json_str_or(t, "value", ""), value);
}

bool fl_fit_tolerates(const struct fl_json *pod, const char *key, const char *value, const char *effect)
{
	fl_json_each (t, fl_json_path(pod, "spec", "tolerations", NULL))
		if (fl_fit_toleration_covers(t, key, value, effect))
			return true;
	return false;
}

static const char *untolerated(struct fl_arena *a, const char *key, const char *value)
{
	return fl_arena_printf(a, "node(s) had untolerated taint {%s: %s}", key, value);
}

const char *fl_fit_taint(struct fl_arena *a, const struct fl_json *pod, const struct fl_json *node)
{
	fl_json_each (t, fl_json_path(node, "spec", "taints", NULL)) {
		const char *effect = fl_json_str_or(t, "effect", ""), *key = fl_json_str_or(t, "key", ""),
			   *value = fl_json_str_or(t, "value", "");
		if (strcmp(effect, "PreferNoSchedule") != 0 && !fl_fit_tolerates(pod, key, value, effect))
			return untolerated(a, key, value);
	}
	const struct fl_json *ready = fl_meta_condition(fl_json_get(node, "status"), "Ready");
	const char *status = fl_json_str_or(ready, "status", "False");
	if (!strcmp(status, "True"))
		return NULL;
	const char *key =
	    !strcmp(status, "Unknown") ? "node.kubernetes.io/unreachable" : "node.kubernetes.io/not-ready";
	return fl_fit_tolerates(pod, key, "", "NoSchedule") ? NULL : untolerated(a, key, "");
}

static bool contains(const struct fl_json *values, const char *s)
{
	fl_json_each (v, values)
		if (fl_streq(fl_json_string(v), s))
			return true;
	return false;
}

static bool matches_expression(const struct fl_json *e, const char *value)
{
	const char *op = fl_json_str_or(e, "operator", "");
	const struct fl_json *values = fl_json_get(e, "values");
	if (!strcmp(op, "In"))
		return value && contains(values, value);
	if (!strcmp(op, "NotIn"))
		return !value || !contains(values, value);
	if (!strcmp(op, "Exists"))
		return value != NULL;
	if (!strcmp(op, "DoesNotExist"))
		return !value;
	const char *bound = fl_json_string(fl_json_index(values, 0));
	char *end_v, *end_b;
	if (!value || !bound)
		return false;
	long long v = strtoll(value, &end_v, 10), b = strtoll(bound, &end_b, 10);
	if (end_v == value || *end_v || end_b == bound || *end_b)
		return false;
	return !strcmp(op, "Gt") ? v > b : !strcmp(op, "Lt") && v < b;
}

// All of a term's expressions; a term without any matches nothing.
static bool matches_term(const struct fl_json *term, const struct fl_json *node)
{
	const struct fl_json *expressions = fl_json_get(term, "matchExpressions"),
			     *fields = fl_json_get(term, "matchFields");
	if (!fl_json_count(expressions) && !fl_json_count(fields))
		return false;
	fl_json_each (e, expressions)
		if (!matches_expression(e, fl_meta_label(node, fl_json_str_or(e, "key", ""))))
			return false;
	fl_json_each (e, fields)
		if (!fl_streq(fl_json_str(e, "key"), "metadata.name") ||
		    !matches_expression(e, fl_json_str(fl_json_get(node, "metadata"), "name")))
			return false;
	return true;
}

bool fl_fit_selects(const struct fl_json *pod, const struct fl_json *node)
{
	const struct fl_json *spec = fl_json_get(pod, "spec"),
			     *required = fl_json_path(spec, "affinity", "nodeAffinity",
						      "requiredDuringSchedulingIgnoredDuringExecution", NULL);
	fl_json_each (s, fl_json_get(spec, "nodeSelector"))
		if (!fl_streq(fl_meta_label(node, s->key), fl_json_string(s)))
			return false;
	if (!required)
		return true;
	fl_json_each (term, fl_json_get(required, "nodeSelectorTerms"))
		if (matches_term(term, node))
			return true;
	return false;
}

static __int128 nano_of(const struct fl_json *v)
{
	struct fl_quantity q;
	if (fl_json_is(v, FL_JSON_INT))
		return (__int128)v->i * 1000000000;
	return fl_json_string(v) && fl_quantity_parse(fl_json_string(v), &q) ? q.nano : 0;
}

static void refuse_resources(struct fl_arena *a, const struct fl_demand *demand, const struct fl_json *node,
			     const struct fl_room *taken, fl_refusals *ret)
{
	const struct fl_json *has = fl_json_path(node, "status", "allocatable", NULL), *pods = fl_json_get(has, "pods");
	if (pods && (__int128)taken->pods * 1000000000 >= nano_of(pods))
		fl_vec_push(ret, "Too many pods");
	for (size_t i = 0; i < demand->amounts.n; i++) {
		const struct fl_demand_amount *want = &demand->amounts.v[i];
		const struct fl_json *limit = fl_json_get(has, want->resource);
		if (!has || (!limit && !strchr(want->resource, '/')))
			continue;
		if (fl_room_taken(taken, want->resource) + want->nano > nano_of(limit))
			fl_vec_push(ret, fl_arena_printf(a, "Insufficient %s", want->resource));
	}
}

// The first that refuses ends it, in the order of Kubernetes' scheduler.
void fl_fit_refusals(struct fl_arena *a, const struct fl_json *pod, const struct fl_demand *demand,
		     const struct fl_json *node, const struct fl_room *taken, bool ports_free, fl_refusals *ret)
{
	static const char cordon[] = "node.kubernetes.io/unschedulable";
	const char *taint = fl_fit_taint(a, pod, node);
	if (fl_json_bool(fl_json_get(node, "spec"), "unschedulable", false) &&
	    !fl_fit_tolerates(pod, cordon, "", "NoSchedule"))
		fl_vec_push(ret, "node(s) were unschedulable");
	else if (taint)
		fl_vec_push(ret, taint);
	else if (!fl_fit_selects(pod, node))
		fl_vec_push(ret, "node(s) didn't match Pod's node affinity/selector");
	else if (!ports_free)
		fl_vec_push(ret, "node(s) didn't have free ports for the requested pod ports");
	else
		refuse_resources(a, demand, node, taken, ret);
}

int64_t fl_fit_unwanted_taints(const struct fl_json *pod, const struct fl_json *node)
{
	int64_t n = 0;
	fl_json_each (t, fl_json_path(node, "spec", "taints", NULL))
		n += fl_streq(fl_json_str(t, "effect"), "PreferNoSchedule") &&
		     !fl_fit_tolerates(pod, fl_json_str_or(t, "key", ""), fl_json_str_or(t, "value", ""),
				       "PreferNoSchedule");
	return n;
}

int64_t fl_fit_preference(const struct fl_json *pod, const struct fl_json *node)
{
	int64_t sum = 0;
	fl_json_each (p, fl_json_path(pod, "spec", "affinity", "nodeAffinity",
				      "preferredDuringSchedulingIgnoredDuringExecution", NULL)) {
		const struct fl_json *term = fl_json_get(p, "preference");
		bool empty = !fl_json_count(fl_json_get(term, "matchExpressions")) &&
			     !fl_json_count(fl_json_get(term, "matchFields"));
		if (empty || matches_term(term, node))
			sum += fl_json_int(p, "weight", 0);
	}
	return sum;
}
