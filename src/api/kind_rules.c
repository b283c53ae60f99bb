// SPDX-License-Identifier: Apache-2.0
// What happens to a body of a kind between decoding and the store, in the order that kube-apiserver keeps
// (registry/rest BeforeCreate, BeforeUpdate and each kind's strategy), driven by the kind's document and hooks.
#include "api/kind.h"

#include "base/mem.h"
#include "base/str.h"

static bool is_main(const char *subresource)
{
	return fl_str_empty(subresource);
}

static void take_from_old(struct fl_arena *a, struct fl_json *obj, const struct fl_json *old, const char *key)
{
	fl_json_set(a, obj, key, fl_json_clone(a, fl_json_get(old, key)));
}

// A write to status keeps everything of the old object but its status and metadata, of which the client may say what it
// may in any write, finalizers too: a cloud controller writes its own with the addresses. (serviceStatusStrategy and
// its like reset the spec alone; what a kind keeps besides is in its hooks)
static void keep_all_but_status(struct fl_arena *a, struct fl_json *obj, const struct fl_json *old)
{
	struct fl_json *next;

	for (struct fl_json *m = obj->kids.first; m; m = next) {
		next = m->next;
		if (!fl_streq(m->key, "status") && !fl_streq(m->key, "metadata") && !fl_json_get(old, m->key))
			fl_json_remove_child(obj, m);
	}
	fl_json_each (m, old)
		if (!fl_streq(m->key, "status") && !fl_streq(m->key, "metadata"))
			take_from_old(a, obj, old, m->key);
}

void fl_kind_default(const struct fl_kind *k, struct fl_arena *a, struct fl_json *obj)
{
	fl_schema_default(fl_kind_schema(k), a, obj);
	if (k->hooks->set_defaults)
		k->hooks->set_defaults(a, obj);
}

void fl_kind_prepare(const struct fl_kind *k, struct fl_arena *a, struct fl_json *obj, const struct fl_json *old,
		     const char *subresource)
{
	if (fl_streq(subresource, "status") && old)
		keep_all_but_status(a, obj, old);
	else if (k->has_status && old)
		take_from_old(a, obj, old, "status");
	else if (k->has_status && is_main(subresource) && !k->status_on_create)
		fl_json_remove(obj, "status");
	fl_kind_default(k, a, obj);
	if (k->hooks->prepare)
		k->hooks->prepare(a, obj, old, subresource ? subresource : "");
}

void fl_kind_precheck(const struct fl_kind *k, struct fl_causes *c, const struct fl_json *obj,
		      const struct fl_json *old, const char *subresource)
{
	if (k->hooks->precheck && is_main(subresource))
		k->hooks->precheck(c, obj, old);
}

static bool reported(const struct fl_causes *c, const char *field)
{
	for (unsigned i = 0; i < c->n; i++)
		if (fl_streq(c->v[i].field, field))
			return true;
	return false;
}

static bool is_cut(const char *s, uint32_t len)
{
	return s && memchr(s, '\0', len);
}

// What is data, or written for people, may hold any character, as in Kubernetes. managedFields are our own
// book-keeping.
static bool is_free_text(const struct fl_json *root, const struct fl_json *parent, const struct fl_json *member)
{
	static const char *const of_root[] = {"data", "message", "note", "status"};

	if (fl_streq(parent->key, "metadata"))
		return fl_streq(member->key, "annotations") || fl_streq(member->key, "managedFields");
	for (unsigned i = 0; parent == root && i < FL_COUNT(of_root); i++)
		if (fl_streq(member->key, of_root[i]))
			return true;
	return false;
}

// Anywhere: what nearly no object has, found without a look at the names around it.
static bool any_nul(const struct fl_json *j)
{
	if (j->type == FL_JSON_STRING)
		return is_cut(j->str.s, j->str.len);
	fl_json_each (child, j)
		if (is_cut(child->key, child->key_len) || any_nul(child))
			return true;
	return false;
}

static bool holds_nul(const struct fl_json *root, const struct fl_json *j, bool free_text)
{
	if (j->type == FL_JSON_STRING)
		return !free_text && is_cut(j->str.s, j->str.len);
	fl_json_each (child, j)
		if (is_cut(child->key, child->key_len) ||
		    holds_nul(root, child, free_text || is_free_text(root, j, child)))
			return true;
	return false;
}

static void name_nuls(struct fl_causes *c, const struct fl_json *root, const struct fl_json *j, const char *path,
		      bool free_text)
{
	static const char why[] = "must not contain the character U+0000";
	unsigned i = 0;

	if (j->type == FL_JSON_STRING && !free_text && is_cut(j->str.s, j->str.len))
		fl_cause_add(c, FL_CAUSE_INVALID, path, j, why);
	fl_json_each (child, j) {
		const char *here = !child->key ? fl_arena_printf(c->arena, "%s[%u]", path, i)
				   : *path     ? fl_arena_printf(c->arena, "%s.%s", path, child->key)
					       : child->key;
		if (is_cut(child->key, child->key_len))
			fl_cause_add(c, FL_CAUSE_INVALID, path, fl_json_new_strn(c->arena, child->key, child->key_len),
				     why);
		else if (holds_nul(root, child, free_text || is_free_text(root, j, child)))
			name_nuls(c, root, child, here, free_text || is_free_text(root, j, child));
		i++;
	}
}

void fl_kind_validate(const struct fl_kind *k, struct fl_causes *c, const struct fl_json *obj,
		      const struct fl_json *old, const char *subresource)
{
	const struct fl_schema *schema = fl_kind_schema(k);
	struct fl_causes constraints = {.arena = c->arena};

	// All rules below read strings up to their first NUL: nothing that hides behind one may be stored.
	if (any_nul(obj) && holds_nul(obj, obj, false))
		name_nuls(c, obj, obj, "", false);
	fl_object_validate_meta(c, k, obj, old);
	if (k->hooks->validate)
		k->hooks->validate(c, obj, old, subresource);
	// Constraints of the document that no rule above has put into its own words. status is written by our own
	// components and by nodes; Kubernetes checks next to nothing of it, and neither do we.
	fl_json_each (m, obj) {
		const struct fl_schema_prop *p = fl_schema_prop_n(schema, m->key, m->key_len);

		if (p && !fl_streq(m->key, "status") && !fl_streq(m->key, "metadata"))
			fl_schema_validate(p->schema, m, m->key, &constraints);
	}
	for (unsigned i = 0; i < schema->n_props; i++)
		if (schema->props[i].required && !fl_json_get(obj, schema->props[i].name))
			fl_cause_add(&constraints, FL_CAUSE_REQUIRED, schema->props[i].name, NULL, NULL);
	for (unsigned i = 0; i < constraints.n; i++)
		if (!reported(c, constraints.v[i].field))
			fl_cause_add_made(c, &constraints.v[i]);
}

struct fl_json *fl_kind_to_stored(const struct fl_kind *k, struct fl_arena *a, struct fl_json *obj)
{
	return k->stored_as ? k->hooks->to_stored(a, obj) : obj;
}

struct fl_json *fl_kind_from_stored(const struct fl_kind *k, struct fl_arena *a, struct fl_json *obj)
{
	return k->stored_as ? k->hooks->from_stored(a, obj) : obj;
}
