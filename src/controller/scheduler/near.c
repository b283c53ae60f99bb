// SPDX-License-Identifier: Apache-2.0
// Each rule counts pods by the value that a node's label gives its topology key; a node is then judged by the counts of
// its own values.
#include "controller/scheduler/near.h"

#include <string.h>

#include "api/selector.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/vec.h"
#include "controller/meta.h"
#include "controller/scheduler/fit.h"

enum rule_kind { RULE_WITH, RULE_APART, RULE_RATHER, RULE_EVEN };

struct rule {
	enum rule_kind kind;
	const struct fl_json *term, *owner; // owner: the pod whose term it is
	const struct fl_selector *selector, *ns_selector;
	const char *key;
	int64_t weight;  // RULE_RATHER: below zero it is repelled
	bool self;       // the pod itself is one of those that it looks for
	bool hard;       // RULE_EVEN: DoNotSchedule
	struct fl_map n; // value of the key -> count + 1
};

struct fl_near {
	struct fl_arena *a;
	const struct fl_json *pod;
	fl_near_ns_labels ns_labels;
	void *arg;
	FL_VEC(struct rule *) rules;
	struct fl_map repelled; // "key=value" where another pod does not want this one
	bool any_with;          // some pod is what all RULE_WITH look for
};

static const struct fl_json *spec_of(const struct fl_json *pod)
{
	return fl_json_get(pod, "spec");
}

static const struct fl_json *terms_of(const struct fl_json *pod, const char *which, const char *strength)
{
	return fl_json_path(spec_of(pod), "affinity", which, strength, NULL);
}

static const char required[] = "requiredDuringSchedulingIgnoredDuringExecution",
		  preferred[] = "preferredDuringSchedulingIgnoredDuringExecution";

bool fl_near_repels(const struct fl_json *pod)
{
	return fl_json_count(terms_of(pod, "podAntiAffinity", required)) > 0;
}

bool fl_near_depends(const struct fl_json *pod)
{
	return fl_near_repels(pod) || fl_json_count(terms_of(pod, "podAffinity", required)) ||
	       fl_json_count(terms_of(pod, "podAffinity", preferred)) ||
	       fl_json_count(terms_of(pod, "podAntiAffinity", preferred)) ||
	       fl_json_count(fl_json_get(spec_of(pod), "topologySpreadConstraints"));
}

// --- rules ---

static const struct fl_selector *selector(struct fl_arena *a, const struct fl_json *json)
{
	struct fl_selector *s = NULL;
	// The API has checked it; what cannot be read selects nothing.
	return fl_label_selector_from_json(a, json, &s, NULL) < 0 ? fl_label_selector_from_map(a, NULL) : s;
}

static struct rule read_rule(struct fl_arena *a, enum rule_kind kind, const struct fl_json *term,
			     const struct fl_json *owner)
{
	const struct fl_json *ns = fl_json_get(term, "namespaceSelector");
	return (struct rule){
	    .kind = kind,
	    .term = term,
	    .owner = owner,
	    .selector = selector(a, fl_json_get(term, "labelSelector")),
	    .ns_selector = ns ? selector(a, ns) : NULL,
	    .key = fl_json_str_or(term, "topologyKey", ""),
	};
}

static const char *ns_of(const struct fl_json *pod)
{
	return fl_json_str_or(fl_json_get(pod, "metadata"), "namespace", "default");
}

static bool covers_ns(const struct fl_near *n, const struct rule *r, const char *ns)
{
	const struct fl_json *list = fl_json_get(r->term, "namespaces");
	fl_json_each (name, list)
		if (fl_streq(fl_json_string(name), ns))
			return true;
	if (r->ns_selector)
		return fl_selector_is_everything(r->ns_selector) ||
		       fl_selector_matches(r->ns_selector, n->ns_labels(n->arg, ns));
	return !fl_json_count(list) && !strcmp(ns, ns_of(r->owner));
}

// matchLabelKeys and mismatchLabelKeys: as with the owner's own labels, or not.
static bool covers_keys(const struct rule *r, const struct fl_json *pod)
{
	fl_json_each (k, fl_json_get(r->term, "matchLabelKeys")) {
		const char *own = fl_meta_label(r->owner, fl_json_string(k));
		if (own && !fl_streq(own, fl_meta_label(pod, fl_json_string(k))))
			return false;
	}
	fl_json_each (k, fl_json_get(r->term, "mismatchLabelKeys")) {
		const char *own = fl_meta_label(r->owner, fl_json_string(k));
		if (own && fl_streq(own, fl_meta_label(pod, fl_json_string(k))))
			return false;
	}
	return true;
}

static bool covers(const struct fl_near *n, const struct rule *r, const struct fl_json *pod)
{
	return covers_ns(n, r, ns_of(pod)) &&
	       fl_selector_matches(r->selector, fl_json_path(pod, "metadata", "labels", NULL)) && covers_keys(r, pod);
}

static void add_rule(struct fl_near *n, struct rule r)
{
	struct rule *copy = fl_arena_alloc(n->a, sizeof(*copy));
	r.self = covers(n, &r, n->pod);
	*copy = r;
	fl_vec_push(&n->rules, copy);
}

static void add_terms(struct fl_near *n, const char *which, enum rule_kind kind)
{
	fl_json_each (t, terms_of(n->pod, which, required))
		add_rule(n, read_rule(n->a, kind, t, n->pod));
	fl_json_each (t, terms_of(n->pod, which, preferred)) {
		struct rule r = read_rule(n->a, RULE_RATHER, fl_json_get(t, "podAffinityTerm"), n->pod);
		r.weight = fl_json_int(t, "weight", 0) * (kind == RULE_WITH ? 1 : -1);
		add_rule(n, r);
	}
}

struct fl_near *fl_near_new(struct fl_arena *a, const struct fl_json *pod, fl_near_ns_labels ns_labels, void *arg)
{
	struct fl_near *n = FL_NEW(struct fl_near);
	n->a = a;
	n->pod = pod;
	n->ns_labels = ns_labels;
	n->arg = arg;
	add_terms(n, "podAffinity", RULE_WITH);
	add_terms(n, "podAntiAffinity", RULE_APART);
	fl_json_each (t, fl_json_get(spec_of(pod), "topologySpreadConstraints")) {
		struct rule r = read_rule(a, RULE_EVEN, t, pod);
		r.hard = fl_streq(fl_json_str_or(t, "whenUnsatisfiable", "DoNotSchedule"), "DoNotSchedule");
		add_rule(n, r);
	}
	return n;
}

void fl_near_free(struct fl_near **np)
{
	struct fl_near *n = TAKE_PTR(*np);
	if (!n)
		return;
	for (size_t i = 0; i < n->rules.n; i++)
		fl_map_deinit(&n->rules.v[i]->n);
	fl_vec_deinit(&n->rules);
	fl_map_deinit(&n->repelled);
	free(n);
}

// --- counting ---

static void count(struct rule *r, const char *value, uintptr_t more)
{
	uintptr_t now = (uintptr_t)fl_map_get(&r->n, value);
	fl_map_set(&r->n, value, (void *)((now ? now : 1) + more));
}

static int64_t counted(const struct rule *r, const char *value)
{
	uintptr_t now = (uintptr_t)fl_map_get(&r->n, value);
	return now ? (int64_t)now - 1 : 0;
}

static bool honours(const struct rule *r, const char *policy, const char *fallback)
{
	return fl_streq(fl_json_str_or(r->term, policy, fallback), "Honor");
}

// Whether pods on that node count for an even spread.
static bool is_eligible(const struct fl_near *n, const struct rule *r, const struct fl_json *node)
{
	for (size_t i = 0; i < n->rules.n; i++) { // of each strength all keys are needed
		const struct rule *other = n->rules.v[i];
		if (other->kind == RULE_EVEN && other->hard == r->hard && !fl_meta_label(node, other->key))
			return false;
	}
	return (!honours(r, "nodeAffinityPolicy", "Honor") || fl_fit_selects(n->pod, node)) &&
	       (!honours(r, "nodeTaintsPolicy", "Ignore") || !fl_fit_taint(n->a, n->pod, node));
}

void fl_near_node(struct fl_near *n, const struct fl_json *node)
{
	for (size_t i = 0; i < n->rules.n; i++)
		if (n->rules.v[i]->kind == RULE_EVEN && is_eligible(n, n->rules.v[i], node))
			count(n->rules.v[i], fl_meta_label(node, n->rules.v[i]->key), 0);
}

static const char *pair(struct fl_arena *a, const char *key, const char *value)
{
	return fl_arena_printf(a, "%s=%s", key, value);
}

static void note_repelling(struct fl_near *n, const struct fl_json *pod, const struct fl_json *node)
{
	fl_json_each (t, terms_of(pod, "podAntiAffinity", required)) {
		struct rule r = read_rule(n->a, RULE_APART, t, pod);
		const char *value = fl_meta_label(node, r.key);
		if (value && covers(n, &r, n->pod))
			fl_map_set(&n->repelled, pair(n->a, r.key, value), n);
	}
}

static bool covers_all_with(const struct fl_near *n, const struct fl_json *pod)
{
	for (size_t i = 0; i < n->rules.n; i++)
		if (n->rules.v[i]->kind == RULE_WITH && !covers(n, n->rules.v[i], pod))
			return false;
	return true;
}

void fl_near_pod(struct fl_near *n, const struct fl_json *pod, const struct fl_json *node)
{
	bool all_with = covers_all_with(n, pod);
	note_repelling(n, pod, node);
	for (size_t i = 0; i < n->rules.n; i++) {
		struct rule *r = n->rules.v[i];
		const char *value = fl_meta_label(node, r->key);
		bool counts = value && (r->kind == RULE_WITH ? all_with : covers(n, r, pod));
		if (r->kind == RULE_EVEN)
			counts = counts && !fl_meta_deleting(pod) && is_eligible(n, r, node);
		if (counts)
			count(r, value, 1);
		n->any_with = n->any_with || (counts && r->kind == RULE_WITH);
	}
}

// --- judgement ---

static int64_t least(const struct rule *r)
{
	int64_t min = INT64_MAX, domains = 0;
	for (struct fl_map_iter it = {0}; fl_map_next(&r->n, &it); domains++)
		if ((int64_t)(uintptr_t)it.value - 1 < min)
			min = (int64_t)(uintptr_t)it.value - 1;
	return domains == 0 || domains < fl_json_int(r->term, "minDomains", 1) ? 0 : min;
}

static const char *refuse_even(const struct rule *r, const struct fl_json *node)
{
	const char *value = fl_meta_label(node, r->key);
	if (!value)
		return "node(s) didn't match pod topology spread constraints (missing required label)";
	return counted(r, value) + r->self - least(r) > fl_json_int(r->term, "maxSkew", 1)
		   ? "node(s) didn't match pod topology spread constraints"
		   : NULL;
}

// The first pod of a group that wants to be together finds nobody.
static bool is_first(const struct fl_near *n)
{
	for (size_t i = 0; i < n->rules.n; i++)
		if (n->rules.v[i]->kind == RULE_WITH && !n->rules.v[i]->self)
			return false;
	return !n->any_with;
}

static const char *refuse_neighbours(const struct fl_near *n, const struct fl_json *node)
{
	const char *apart = NULL;
	for (size_t i = 0; i < n->rules.n; i++) {
		const struct rule *r = n->rules.v[i];
		const char *value = fl_meta_label(node, r->key);
		if (r->kind == RULE_WITH && (!value || (!counted(r, value) && !is_first(n))))
			return "node(s) didn't match pod affinity rules";
		if (r->kind == RULE_APART && value && counted(r, value))
			apart = "node(s) didn't match pod anti-affinity rules";
	}
	fl_json_each (l, fl_json_path(node, "metadata", "labels", NULL))
		if (!apart && fl_json_string(l) && fl_map_get(&n->repelled, pair(n->a, l->key, fl_json_string(l))))
			apart = "node(s) didn't satisfy existing pods anti-affinity rules";
	return apart;
}

const char *fl_near_refusal(const struct fl_near *n, const struct fl_json *node)
{
	const char *why = NULL;
	for (size_t i = 0; !why && i < n->rules.n; i++)
		if (n->rules.v[i]->kind == RULE_EVEN && n->rules.v[i]->hard)
			why = refuse_even(n->rules.v[i], node);
	return why ? why : refuse_neighbours(n, node);
}

int64_t fl_near_liking(const struct fl_near *n, const struct fl_json *node)
{
	int64_t sum = 0;
	for (size_t i = 0; i < n->rules.n; i++) {
		const struct rule *r = n->rules.v[i];
		const char *value = fl_meta_label(node, r->key);
		if (r->kind == RULE_RATHER && value)
			sum += r->weight * counted(r, value);
	}
	return sum;
}

int64_t fl_near_crowd(const struct fl_near *n, const struct fl_json *node)
{
	int64_t sum = 0;
	for (size_t i = 0; i < n->rules.n; i++) {
		const struct rule *r = n->rules.v[i];
		const char *value = fl_meta_label(node, r->key);
		if (r->kind == RULE_EVEN && !r->hard)
			sum += value ? counted(r, value) : 1000000; // behind each that has the label
	}
	return sum;
}
