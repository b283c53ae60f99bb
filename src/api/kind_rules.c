// SPDX-License-Identifier: Apache-2.0
// What happens to a body of a kind between decoding and the store, in the order that kube-apiserver keeps
// (registry/rest BeforeCreate, BeforeUpdate and each kind's strategy), driven by the kind's document and hooks.
#include "api/kind.h"

#include "base/str.h"

static bool is_main(const char *subresource)
{
	return fl_str_empty(subresource);
}

static void take_from_old(struct fl_arena *a, struct fl_json *obj, const struct fl_json *old, const char *key)
{
	fl_json_set(a, obj, key, fl_json_clone(a, fl_json_get(old, key)));
}

// A write to status keeps everything of the old object but its status and, of metadata, what the client may say there:
// labels and annotations stay the old ones too where Kubernetes resets them with the spec; ownerReferences always.
static void keep_all_but_status(struct fl_arena *a, struct fl_json *obj, const struct fl_json *old)
{
	struct fl_json *meta = fl_json_ensure_object(a, obj, "metadata");
	const struct fl_json *old_meta = fl_json_get(old, "metadata");
	struct fl_json *next;

	for (struct fl_json *m = obj->kids.first; m; m = next) {
		next = m->next;
		if (!fl_streq(m->key, "status") && !fl_streq(m->key, "metadata") && !fl_json_get(old, m->key))
			fl_json_remove_child(obj, m);
	}
	fl_json_each (m, old)
		if (!fl_streq(m->key, "status") && !fl_streq(m->key, "metadata"))
			take_from_old(a, obj, old, m->key);
	take_from_old(a, meta, old_meta, "ownerReferences");
	take_from_old(a, meta, old_meta, "finalizers");
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

void fl_kind_validate(const struct fl_kind *k, struct fl_causes *c, const struct fl_json *obj,
		      const struct fl_json *old, const char *subresource)
{
	const struct fl_schema *schema = fl_kind_schema(k);
	struct fl_causes constraints = {.arena = c->arena};

	fl_object_validate_meta(c, k, obj, old);
	if (k->hooks->validate)
		k->hooks->validate(c, obj, old, subresource);
	// Constraints of the document that no rule above has put into its own words. status is written by our own
	// components and by nodes; Kubernetes checks next to nothing of it, and neither do we.
	fl_json_each (m, obj) {
		const struct fl_schema_prop *p = fl_schema_prop(schema, m->key);

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
