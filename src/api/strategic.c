// SPDX-License-Identifier: Apache-2.0
// Strategic merge patch, the applying half of apimachinery's strategicpatch: maps are merged member by member, lists
// whose schema says "merge" element by element, all else is replaced.
//
//   original [a b c]  +  patch [{c: 1} {d: 2}]     by merge key
//      -> merged [a b c+1 d]
//      -> elements of the patch (c, d) in the patch's order, the server's own (a, b) in theirs, interleaved so that
//         what the server had in front of a patched element stays in front of it
//
// Directives: $patch (replace, delete) in a map or a list element, $retainKeys, $deleteFromPrimitiveList/<list>,
// $setElementOrder/<list>. Lists are joined through hash maps, so that a long list costs its length, not its square.
// Refused: elements without their merge key, lists of lists, lists of mixed types, orders that contradict the patch.
#include "api/strategic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/vec.h"
#include "json/patch.h"

#define DELETE_PREFIX "$deleteFromPrimitiveList"
#define ORDER_PREFIX  "$setElementOrder"
#define RETAIN        "$retainKeys"
#define DIRECTIVE     "$patch"
#define PLAIN_FROM    32 // members

static int merge_map(struct fl_arena *a, const struct fl_schema *s, struct fl_json *target, struct fl_json *patch,
		     struct fl_json **ret, struct fl_err *err);

static bool is_parallel_list(const char *key)
{
	return fl_starts_with(key, DELETE_PREFIX) || fl_starts_with(key, ORDER_PREFIX);
}

// "$setElementOrder/ports" -> "ports"; NULL without a slash.
static const char *parallel_name(const char *key, const char *prefix)
{
	key += strlen(prefix);
	return *key == '/' ? key + 1 : NULL;
}

static const struct fl_schema *member_schema(const struct fl_schema *s, const char *key)
{
	if (!s)
		return NULL;
	if (s->type == FL_SCHEMA_MAP)
		return s->items;
	const struct fl_schema_prop *p = s->type == FL_SCHEMA_OBJECT ? fl_schema_prop(s, key) : NULL;
	return p ? p->schema : NULL;
}

// Takes all children out of `parent`, to be appended again one by one: a list is filtered in one pass.
static struct fl_json *detach_children(struct fl_json *parent)
{
	struct fl_json *first = parent->kids.first;

	parent->kids.first = parent->kids.last = NULL;
	parent->kids.count = 0;
	return first;
}

static void reattach(struct fl_json *parent, struct fl_json *child)
{
	child->next = NULL;
	if (parent->kids.last)
		parent->kids.last->next = child;
	else
		parent->kids.first = child;
	parent->kids.last = child;
	parent->kids.count++;
}

// What is newly added carries no nulls and no directives; false when the value is itself a directive and is not added.
static bool strip(struct fl_json *value)
{
	struct fl_json *next;

	if (fl_json_get(value, DIRECTIVE))
		return false;
	if (value->type < FL_JSON_ARRAY)
		return true;
	bool map = value->type == FL_JSON_OBJECT;
	for (struct fl_json *child = detach_children(value); child; child = next) {
		next = child->next;
		bool drop = map && (child->type == FL_JSON_NULL || is_parallel_list(child->key) ||
				    fl_streq(child->key, RETAIN));
		if (!drop && strip(child))
			reattach(value, child);
	}
	return true;
}

static void put(struct fl_arena *a, struct fl_json *target, const char *key, struct fl_json *value)
{
	if (strip(value))
		fl_json_set(a, target, key, fl_json_clone(a, value));
	else
		fl_json_remove(target, key);
}

// --- lists ---

#define NO_RANK SIZE_MAX

struct element {
	struct fl_json *node;
	const char *key; // serialized merge key, or the scalar itself
	size_t rank;     // in its order list; NO_RANK behind all that have one
	size_t seq;      // ties keep their sequence
};

typedef FL_VEC(struct element) elements;

struct merge {
	struct fl_arena *a;
	const struct fl_schema *schema; // of the list
	const char *name;
	struct fl_err *err;
	bool maps; // elements are maps joined by schema->merge_key, else scalars
};

static const char *serialize(struct fl_arena *a, const struct fl_json *j)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};

	fl_json_write(&b, j);
	return fl_arena_strndup(a, b.data, b.len);
}

static int element_of(const struct merge *m, struct fl_json *node, struct element *ret)
{
	const struct fl_json *key = m->maps ? fl_json_get(node, m->schema->merge_key) : node;

	if (!key)
		return fl_err_set(m->err, -EINVAL, "map: %.300s does not contain declared merge key: %s",
				  serialize(m->a, node), m->schema->merge_key);
	*ret = (struct element){.node = node, .key = serialize(m->a, key)};
	return 0;
}

static int collect(const struct merge *m, const struct fl_json *list, elements *ret)
{
	fl_json_each (node, list) {
		struct element e;
		int rc = element_of(m, node, &e);
		if (rc)
			return rc;
		fl_vec_push(ret, e);
	}
	return 0;
}

// All elements must be maps, or all scalars.
static int check_types(struct merge *m, const struct fl_json *one, const struct fl_json *two)
{
	const struct fl_json *lists[] = {one, two};
	bool seen = false;

	for (size_t i = 0; i < FL_COUNT(lists); i++) {
		fl_json_each (node, lists[i]) {
			bool map = node->type == FL_JSON_OBJECT;
			if (node->type == FL_JSON_ARRAY)
				return fl_err_set(m->err, -EINVAL, "%s: lists of lists are not supported", m->name);
			if (seen && map != m->maps)
				return fl_err_set(m->err, -EINVAL, "%s: list element types are not identical", m->name);
			m->maps = map;
			seen = true;
		}
	}
	if (m->maps && !m->schema->merge_key)
		return fl_err_set(m->err, -EINVAL, "%s: cannot merge lists without merge key", m->name);
	return 0;
}

// Position + 1 of each key of `order`; the first one counts.
static void index_keys(struct fl_map *ret, const elements *order)
{
	for (size_t i = order->n; i-- > 0;)
		fl_map_set(ret, order->v[i].key, (void *)(uintptr_t)(i + 1));
}

static size_t rank_of(const struct fl_map *index, const char *key) // 0: not in it
{
	return (size_t)(uintptr_t)fl_map_get(index, key);
}

static int by_rank(const void *a, const void *b)
{
	const struct element *x = a, *y = b;

	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

// Elements of `all` that `order` names, in its order; the others in the server's; both interleaved (see the top).
static void arrange(const elements *all, const struct fl_map *order, const struct fl_map *server, struct fl_json *ret)
{
	elements patched = {0}, own = {0};

	for (size_t i = 0; i < all->n; i++) {
		struct element e = all->v[i];
		size_t rank = rank_of(order, e.key);
		e.seq = i;
		if (rank) {
			e.rank = rank;
			fl_vec_push(&patched, e);
		} else {
			rank = rank_of(server, e.key);
			e.rank = rank ? rank : NO_RANK;
			fl_vec_push(&own, e);
		}
	}
	if (patched.n)
		qsort(patched.v, patched.n, sizeof(*patched.v), by_rank);
	if (own.n)
		qsort(own.v, own.n, sizeof(*own.v), by_rank);
	for (size_t i = 0, j = 0; i < own.n || j < patched.n;) {
		bool own_first = j == patched.n;
		if (i < own.n && j < patched.n) {
			size_t there = rank_of(server, patched.v[j].key);
			own_first = there && own.v[i].rank < there;
		}
		fl_json_append(ret, own_first ? own.v[i++].node : patched.v[j++].node);
	}
	fl_vec_deinit(&patched);
	fl_vec_deinit(&own);
}

static void remove_key(elements *list, const char *key)
{
	size_t n = 0;

	for (size_t i = 0; i < list->n; i++)
		if (strcmp(list->v[i].key, key) != 0)
			list->v[n++] = list->v[i];
	list->n = n;
}

// Takes the elements that are directives out of `patch` and obeys them.
static int obey_directives(const struct merge *m, elements *original, elements *patch)
{
	bool replace = false;
	size_t n = 0;

	for (size_t i = 0; i < patch->n; i++) {
		struct element e = patch->v[i];
		const struct fl_json *directive = fl_json_get(e.node, DIRECTIVE);
		const char *word = fl_json_string(directive);
		if (!directive) {
			patch->v[n++] = e;
		} else if (fl_streq(word, "delete")) {
			remove_key(original, e.key);
		} else if (fl_streq(word, "replace")) {
			replace = true;
		} else if (fl_streq(word, "merge")) {
			return fl_err_set(m->err, -EINVAL, "merging lists cannot yet be specified in the patch");
		} else {
			return fl_err_set(m->err, -EINVAL, "unknown patch type: %.300s in map: %.300s",
					  serialize(m->a, directive), serialize(m->a, e.node));
		}
	}
	patch->n = n;
	if (replace)
		original->n = 0;
	return 0;
}

// A "$patch: replace" element needs no merge key.
static int collect_patch(const struct merge *m, const struct fl_json *list, elements *ret)
{
	fl_json_each (node, list) {
		struct element e = {.node = node, .key = ""};
		if (!fl_streq(fl_json_str(node, DIRECTIVE), "replace")) {
			int rc = element_of(m, node, &e);
			if (rc)
				return rc;
		}
		fl_vec_push(ret, e);
	}
	return 0;
}

// Merges each element of `patch` into its peer of `all`, or adds it.
static int join(const struct merge *m, elements *all, const elements *patch)
{
	AUTO(fl_map_deinit) struct fl_map at = {0};

	index_keys(&at, all);
	for (size_t i = 0; i < patch->n; i++) {
		struct element e = patch->v[i];
		size_t pos = rank_of(&at, e.key);
		if (!pos) {
			strip(e.node);
			e.node = fl_json_clone(m->a, e.node);
			fl_vec_push(all, e);
			fl_map_set(&at, e.key, (void *)(uintptr_t)all->n);
		} else if (m->maps) {
			struct fl_json *merged = NULL;
			int rc = merge_map(m->a, m->schema->items, all->v[pos - 1].node, e.node, &merged, m->err);
			if (rc)
				return rc;
			all->v[pos - 1].node = merged;
		}
	}
	return 0;
}

// A directive that removes a map leaves {} behind, which has no key any more; a merge may not change a key.
static void refresh_keys(const struct merge *m, elements *all)
{
	for (size_t i = 0; m->maps && i < all->n; i++) {
		const struct fl_json *key = fl_json_get(all->v[i].node, m->schema->merge_key);
		if (!key)
			all->v[i].key = "";
	}
}

// `order` (may be NULL) is the $setElementOrder list; without one the patch gives the order.
static int merge_elements(struct merge *m, elements *original, elements *patch, const elements *order,
			  struct fl_json *ret)
{
	AUTO(fl_map_deinit) struct fl_map server = {0};
	AUTO(fl_map_deinit) struct fl_map wanted = {0};
	elements all = {0};

	int rc = m->maps ? obey_directives(m, original, patch) : 0;
	if (rc)
		return rc;
	index_keys(&server, original);
	index_keys(&wanted, order ? order : patch);
	fl_vec_reserve(&all, original->n + patch->n + 1);
	for (size_t i = 0; i < original->n; i++)
		if (m->maps || rank_of(&server, original->v[i].key) == i + 1) // scalars: each once
			fl_vec_push(&all, original->v[i]);
	rc = join(m, &all, patch);
	if (!rc) {
		refresh_keys(m, &all);
		arrange(&all, &wanted, &server, ret);
	}
	fl_vec_deinit(&all);
	return rc;
}

// Every element that the patch keeps must stand in the order list, in the same sequence.
static int check_order(const struct merge *m, const elements *patch, const elements *order)
{
	size_t at = 0;

	if (!order->n)
		return 0;
	for (size_t i = 0; i < patch->n; i++) {
		if (fl_json_get(patch->v[i].node, DIRECTIVE))
			continue;
		while (at < order->n && strcmp(order->v[at].key, patch->v[i].key) != 0)
			at++;
		if (at++ == order->n)
			return fl_err_set(m->err, -EINVAL, "the order in patch list %s doesn't match its %s list",
					  m->name, ORDER_PREFIX);
	}
	return 0;
}

static int merge_list(struct fl_arena *a, const struct fl_schema *s, const char *name, const struct fl_json *target,
		      const struct fl_json *patch, const struct fl_json *order, struct fl_json **ret,
		      struct fl_err *err)
{
	struct merge m = {.a = a, .schema = s, .name = name, .err = err};
	elements original = {0}, patched = {0}, wanted = {0};
	struct fl_json *out = fl_json_new(a, FL_JSON_ARRAY);

	int rc = check_types(&m, target, patch);
	if (!rc && order && !fl_json_count(target) && !fl_json_count(patch))
		m.maps = s->merge_key;
	if (!rc)
		rc = collect(&m, target, &original);
	if (!rc)
		rc = collect_patch(&m, patch, &patched);
	if (!rc && order)
		rc = collect(&m, order, &wanted);
	if (!rc && order)
		rc = check_order(&m, &patched, &wanted);
	if (!rc)
		rc = merge_elements(&m, &original, &patched, order ? &wanted : NULL, out);
	fl_vec_deinit(&original);
	fl_vec_deinit(&patched);
	fl_vec_deinit(&wanted);
	if (!rc)
		*ret = out;
	return rc;
}

static void delete_primitives(struct fl_json *list, const struct fl_json *doomed, struct fl_arena *a)
{
	AUTO(fl_map_deinit) struct fl_map gone = {0};
	struct fl_json *next;

	fl_json_each (d, doomed)
		fl_map_set(&gone, serialize(a, d), (void *)1);
	for (struct fl_json *child = detach_children(list); child; child = next) {
		next = child->next;
		if (!fl_map_get(&gone, serialize(a, child)))
			reattach(list, child);
	}
}

// --- maps ---

static int retain_keys(struct fl_json *target, struct fl_json *patch, struct fl_err *err)
{
	const struct fl_json *list = fl_json_get(patch, RETAIN);
	struct fl_map keep = {0};
	struct fl_json *next;
	int rc = 0;

	if (!list)
		return 0;
	if (!fl_json_is(list, FL_JSON_ARRAY))
		return fl_err_set(err, -EINVAL, "invalid patch format of retainKeys");
	fl_json_each (k, list)
		if (fl_json_string(k))
			fl_map_set(&keep, fl_json_string(k), (void *)1);
	fl_json_remove(patch, RETAIN);
	fl_json_each (p, patch) {
		if (p->type != FL_JSON_NULL && !is_parallel_list(p->key) && !fl_map_get(&keep, p->key))
			rc = fl_err_set(err, -EINVAL, "invalid patch format of retainKeys");
	}
	if (!rc) {
		for (struct fl_json *t = detach_children(target); t; t = next) {
			next = t->next;
			if (fl_map_get(&keep, t->key))
				reattach(target, t);
		}
	}
	fl_map_deinit(&keep);
	return rc;
}

// One $setElementOrder/<name> together with the patch's <name>, which is done with then.
static int merge_ordered(struct fl_arena *a, const struct fl_schema *s, struct fl_json *target, struct fl_json *patch,
			 const struct fl_json *order, struct fl_err *err)
{
	const char *name = parallel_name(order->key, ORDER_PREFIX);

	if (!name || !fl_json_is(order, FL_JSON_ARRAY))
		return fl_err_set(err, -EINVAL, "invalid patch format of setElementOrder list");
	const struct fl_schema *list = member_schema(s, name);
	struct fl_json *have = fl_json_get(target, name), *want = fl_json_get(patch, name), *merged = NULL;
	if (!have && !want)
		return 0;
	if ((have && have->type != FL_JSON_ARRAY) || (want && want->type != FL_JSON_ARRAY) || !list ||
	    list->type != FL_SCHEMA_ARRAY)
		return fl_err_set(err, -EINVAL, "invalid patch format of setElementOrder list");
	if (!list->patch_merge) {
		if (want) {
			put(a, target, name, want);
			fl_json_remove(patch, name);
		}
		return 0;
	}
	int rc = merge_list(a, list, name, have, want, order, &merged, err);
	if (rc)
		return rc;
	fl_json_set(a, target, name, merged);
	if (want)
		fl_json_remove(patch, name);
	return 0;
}

static int merge_member(struct fl_arena *a, const struct fl_schema *s, struct fl_json *target, struct fl_json *value,
			struct fl_err *err)
{
	const char *key = value->key;
	struct fl_json *merged = NULL;
	int rc = 0;

	if (fl_starts_with(key, DELETE_PREFIX)) {
		const char *name = parallel_name(key, DELETE_PREFIX);
		struct fl_json *list = name ? fl_json_get(target, name) : NULL;
		if (!name || !fl_json_is(value, FL_JSON_ARRAY))
			return fl_err_set(err, -EINVAL, "invalid patch format of primitive list");
		if (fl_json_is(list, FL_JSON_ARRAY))
			delete_primitives(list, value, a);
		return 0;
	}
	if (value->type == FL_JSON_NULL) {
		fl_json_remove(target, key);
		return 0;
	}
	struct fl_json *have = fl_json_get(target, key);
	const struct fl_schema *member = member_schema(s, key);
	if (!have || have->type != value->type || value->type < FL_JSON_ARRAY) {
		put(a, target, key, value);
		return 0;
	}
	if (value->type == FL_JSON_OBJECT) {
		rc = merge_map(a, member, have, value, &merged, err);
		if (!rc && merged != have)
			fl_json_set(a, target, key, merged);
	} else if (member && member->type == FL_SCHEMA_ARRAY && member->patch_merge) {
		rc = merge_list(a, member, key, have, value, NULL, &merged, err);
		if (!rc)
			fl_json_set(a, target, key, merged);
	} else {
		put(a, target, key, value);
	}
	return rc;
}

// Many scalars and no directive, as in a ConfigMap's data: the same as a merge patch, which does not search for each.
static bool is_long_and_plain(const struct fl_json *patch)
{
	if (patch->kids.count < PLAIN_FROM)
		return false;
	fl_json_each (p, patch)
		if (p->type >= FL_JSON_ARRAY || p->key[0] == '$')
			return false;
	return true;
}

static int merge_map(struct fl_arena *a, const struct fl_schema *s, struct fl_json *target, struct fl_json *patch,
		     struct fl_json **ret, struct fl_err *err)
{
	const struct fl_json *directive = fl_json_get(patch, DIRECTIVE);
	struct fl_json *next;

	if (directive) {
		const char *word = fl_json_string(directive);
		if (!fl_streq(word, "replace") && !fl_streq(word, "delete"))
			return fl_err_set(err, -EINVAL, "unknown patch type: %.300s in map: %.300s",
					  serialize(a, directive), serialize(a, patch));
		fl_json_remove(patch, DIRECTIVE);
		*ret = *word == 'r' ? fl_json_clone(a, patch) : fl_json_new(a, FL_JSON_OBJECT);
		return 0;
	}
	if (is_long_and_plain(patch)) {
		*ret = fl_json_merge_patch(a, target, patch);
		return 0;
	}
	int rc = retain_keys(target, patch, err);
	for (struct fl_json *p = patch->kids.first; p && !rc; p = next) {
		next = p->next;
		if (!fl_starts_with(p->key, ORDER_PREFIX))
			continue;
		rc = merge_ordered(a, s, target, patch, p, err);
		next = p->next; // the list that it ordered is gone from the patch, and may have been the next
		fl_json_remove_child(patch, p);
	}
	for (struct fl_json *p = patch->kids.first; p && !rc; p = next) {
		next = p->next;
		rc = merge_member(a, s, target, p, err);
	}
	if (!rc)
		*ret = target;
	return rc;
}

int fl_strategic_merge(struct fl_arena *a, const struct fl_schema *s, struct fl_json *target,
		       const struct fl_json *patch, struct fl_json **ret, struct fl_err *err)
{
	if (!fl_json_is(target, FL_JSON_OBJECT) || !fl_json_is(patch, FL_JSON_OBJECT))
		return fl_err_set(err, -EINVAL, "invalid JSON document");
	return merge_map(a, s, target, fl_json_clone(a, patch), ret, err); // directives are taken out of the copy
}
