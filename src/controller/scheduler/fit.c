// SPDX-License-Identifier: Apache-2.0
// A node that is not Ready counts as tainted, so that a pod which tolerates that may run there all the same.
#include "controller/scheduler/fit.h"

#include <stdlib.h>

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

static const char *refuse_taints(struct fl_arena *a, const struct fl_json *pod, const struct fl_json *node)
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

static bool matches_selectors(const struct fl_json *pod, const struct fl_json *node)
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

static bool is_full(const struct fl_json *node, size_t n_pods)
{
	const struct fl_json *v = fl_json_path(node, "status", "allocatable", "pods", NULL);
	unsigned long long max;
	if (fl_json_is(v, FL_JSON_INT))
		return n_pods >= (size_t)v->i;
	return fl_json_string(v) && fl_parse_u64(fl_json_string(v), &max) && n_pods >= max;
}

const char *fl_fit_refusal(struct fl_arena *a, const struct fl_json *pod, const struct fl_json *node, size_t n_pods)
{
	static const char cordon[] = "node.kubernetes.io/unschedulable";
	if (fl_json_bool(fl_json_get(node, "spec"), "unschedulable", false) &&
	    !fl_fit_tolerates(pod, cordon, "", "NoSchedule"))
		return "node(s) were unschedulable";
	if (!matches_selectors(pod, node))
		return "node(s) didn't match Pod's node affinity/selector";
	const char *taint = refuse_taints(a, pod, node);
	if (taint)
		return taint;
	return is_full(node, n_pods) ? "Too many pods" : NULL;
}
