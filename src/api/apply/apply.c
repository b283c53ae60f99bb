// SPDX-License-Identifier: Apache-2.0
// Server-side apply.
#include <string.h>

#include "api/apply/managed.h"
#include "api/apply/managers.h"
#include "base/mem.h"
#include "base/str.h"

#define KUBECTL      "kubectl"
#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"

struct apply {
	const struct fl_kind *k;
	const struct fl_schema *s;
	struct fl_arena *a;
	const struct fl_json *patch, *live; // live: Go's zero value on create
	const struct fl_writer *w;
	struct managers m;
	struct fl_fieldset last, set; // what the applier named last time, and now
	struct fl_causes *causes;
	struct fl_status *refusal;
};

static bool refuse(struct apply *p, int code, const char *reason, const char *message)
{
	*p->refusal = (struct fl_status){.code = code, .reason = reason, .message = message};
	return false;
}

static bool check(struct apply *p)
{
	const char *version = fl_json_str_or(p->patch, "apiVersion", "");
	const struct fl_json *meta = fl_json_get(p->patch, "metadata");
	struct fl_err err = {0};

	if (!fl_streq(version, p->k->api_version) || !fl_streq(fl_json_str(p->patch, "kind"), p->k->kind))
		return refuse(p, 400, "BadRequest",
			      fl_arena_printf(p->a,
					      "Incorrect version specified in apply patch. Specified patch version: "
					      "%s, expected: %s",
					      version, p->k->api_version));
	if (fl_json_get(meta, "managedFields") && fl_json_get(meta, "managedFields")->type != FL_JSON_NULL)
		return refuse(p, 400, "BadRequest", "metadata.managedFields must be nil");
	if (fl_typed_check(p->s, p->a, p->patch, &err) < 0 || fl_typed_fields(p->s, p->a, p->patch, &p->set, &err) < 0)
		return refuse(p, 500, "",
			      fl_arena_printf(p->a, "failed to create typed patch object (%s/%s; %s, Kind=%s): %s",
					      fl_json_str_or(meta, "namespace", ""), fl_json_str_or(meta, "name", ""),
					      version, p->k->kind, err.text));
	return true;
}

// Objects that came without tracking: all that they have belongs to one entry.
static bool book_before_first(struct apply *p)
{
	struct fl_fieldset ignored = *fl_managed_ignored(p->k, NULL), all;
	struct fl_typed_diff d;
	struct manager *e;

	if (fl_typed_compare(p->s, p->a, fl_typed_zero(p->s, p->a), p->live, &d, NULL) < 0)
		return refuse(p, 500, "", "the live object cannot be divided into fields");
	all = fl_fieldset_union(p->a, &d.added, &d.modified);
	all = fl_fieldset_prune(p->a, &all, &ignored);
	e = fl_managers_entry(&p->m, "before-first-apply", false, p->k->api_version, NULL);
	e->set = fl_fieldset_difference(p->a, &all, &fl_managed_stripped);
	e->time = p->w->now;
	return true;
}

static bool fields_with_parents(struct apply *p, const struct fl_json *v, struct fl_fieldset *ret)
{
	if (fl_typed_fields(p->s, p->a, v, ret, NULL) < 0)
		return false;
	*ret = fl_typed_with_parents(p->s, p->a, ret);
	return true;
}

// `merged` without what the applier named last time and does not now, unless someone owns it, or something that nobody
// asked to remove is in it. NULL when a value cannot be divided into fields: then nothing may be removed by them.
// (merge.Updater prune)
static struct fl_json *prune(struct apply *p, const struct fl_json *merged)
{
	struct fl_fieldset last = fl_typed_with_parents(p->s, p->a, &p->last);
	struct fl_fieldset all, owned = p->set, keep, gone;
	struct fl_json *pruned;

	if (!p->last.n)
		return fl_json_clone(p->a, merged);
	if (!fields_with_parents(p, merged, &all))
		return NULL;
	pruned = fl_typed_remove(p->s, p->a, merged, &last);
	for (unsigned i = 0; i < p->m.n; i++)
		owned = fl_fieldset_union(p->a, &owned, &p->m.v[i].set);
	owned = fl_typed_with_parents(p->s, p->a, &owned);
	if (!fields_with_parents(p, pruned, &keep))
		return NULL;
	keep = fl_fieldset_union(p->a, &keep, &owned);
	gone = fl_fieldset_difference(p->a, &all, &keep);
	pruned = fl_typed_remove(p->s, p->a, merged, &gone);
	if (!fields_with_parents(p, pruned, &keep))
		return NULL;
	gone = fl_fieldset_difference(p->a, &all, &keep);
	gone = fl_fieldset_intersection(p->a, &gone, &last);
	return fl_typed_remove(p->s, p->a, merged, &gone);
}

// --- conflicts ---

// What kubectl's client-side apply wrote and what still stands so: kubectl may take it over without force.
static struct fl_fieldset last_applied_by_kubectl(struct apply *p)
{
	const char *text = fl_json_str(fl_json_path(p->live, "metadata", "annotations", NULL), LAST_APPLIED);
	struct fl_json *applied;
	struct fl_fieldset set;
	struct fl_typed_diff d;

	if (!text || !fl_streq(p->w->manager, KUBECTL) ||
	    fl_json_parse(p->a, text, strlen(text), NULL, &applied, NULL) < 0 ||
	    fl_schema_decode(p->s, p->a, applied, NULL) < 0)
		return (struct fl_fieldset){0};
	fl_schema_prune(p->s, applied, NULL, NULL);
	fl_kind_default(p->k, p->a, applied);
	if (fl_typed_fields(p->s, p->a, applied, &set, NULL) < 0 ||
	    fl_typed_compare(p->s, p->a, p->live, applied, &d, NULL) < 0)
		return (struct fl_fieldset){0};
	set = fl_fieldset_difference(p->a, &set, &d.modified);
	set = fl_fieldset_difference(p->a, &set, &d.added);
	return fl_fieldset_difference(p->a, &set, &d.removed);
}

struct conflict {
	struct apply *p;
	const char *manager;
	struct fl_buf lines; // of the message
};

static void on_conflict(void *arg, const char *path)
{
	struct conflict *c = arg;

	fl_cause_add(c->p->causes, FL_CAUSE_MANAGER_CONFLICT, path, NULL, "conflict with %s", c->manager);
	fl_buf_printf(&c->lines, "\n- %s", path);
}

static const char *shown(struct fl_arena *a, const struct manager *m)
{
	return fl_arena_printf(a, "\"%s\"%s%s%s%s%s", m->name, m->subresource ? " with subresource \"" : "",
			       m->subresource ? m->subresource : "", m->subresource ? "\"" : "",
			       m->apply ? "" : " using ", m->apply ? "" : m->version);
}

// False when somebody else owns what `changed` changes.
static bool check_conflicts(struct apply *p, const struct fl_fieldset *changed, const struct manager *own)
{
	struct fl_fieldset may = last_applied_by_kubectl(p), disputed = fl_fieldset_difference(p->a, changed, &may);
	struct conflict c = {.p = p};
	const char *message;

	for (unsigned i = 0; i < p->m.n; i++) {
		const struct manager *m = &p->m.v[i];
		struct fl_fieldset both = fl_fieldset_intersection(p->a, &m->set, &disputed);

		if (m == own || fl_fieldset_is_empty(&both) || !fl_streq(m->version, p->k->api_version))
			continue;
		c.manager = shown(p->a, m);
		fl_buf_printf(&c.lines, "%sconflicts with %s", c.lines.len ? "\n" : "", c.manager);
		fl_fieldset_paths(p->a, &both, on_conflict, &c);
	}
	if (!p->causes->n)
		return true;
	if (p->causes->n == 1)
		message = fl_arena_printf(p->a, "Apply failed with 1 conflict: conflict with %s: %s", c.manager,
					  p->causes->v[0].field);
	else
		message = fl_arena_printf(p->a, "Apply failed with %u conflicts: %s", p->causes->n, c.lines.data);
	fl_buf_deinit(&c.lines);
	(void)refuse(p, 409, "Conflict", message);
	p->refusal->causes = memcpy(fl_arena_alloc(p->a, sizeof(*p->causes)), p->causes, sizeof(*p->causes));
	return false;
}

// Where both ways of applying are mixed, the annotation of the client's way follows the server's.
static void follow_last_applied(struct apply *p, struct fl_json *obj)
{
	struct fl_json *annotations = fl_json_path(obj, "metadata", "annotations", NULL);
	struct fl_json *copy = fl_json_clone(p->a, p->patch), *own;
	AUTO(fl_buf_deinit) struct fl_buf b = {0};

	if (!fl_streq(p->w->manager, KUBECTL) || !fl_json_get(annotations, LAST_APPLIED))
		return;
	own = fl_json_path(copy, "metadata", "annotations", NULL);
	if (own)
		fl_json_remove(own, LAST_APPLIED);
	fl_json_write(&b, copy);
	fl_buf_putc(&b, '\n');
	fl_json_set_str(p->a, annotations, LAST_APPLIED, b.data);
}

static bool apply(struct apply *p, bool force, struct fl_json **ret)
{
	const struct fl_fieldset *ignored = fl_managed_ignored(p->k, p->w->subresource);
	struct manager *own = fl_managers_entry(&p->m, p->w->manager, true, p->k->api_version, p->w->subresource);
	struct fl_fieldset changed;
	struct fl_typed_diff d;
	struct fl_json *obj;

	p->last = own->set;
	p->set = own->set = fl_fieldset_prune(p->a, &p->set, ignored);
	own->version = p->k->api_version;
	own->time = p->w->now;
	obj = prune(p, fl_typed_merge(p->s, p->a, p->live, p->patch));
	if (!fl_json_is(obj, FL_JSON_OBJECT) || fl_typed_compare(p->s, p->a, p->live, obj, &d, NULL) < 0)
		return refuse(p, 500, "", "the live object cannot be divided into fields");
	changed = fl_fieldset_union(p->a, &d.added, &d.modified);
	changed = fl_fieldset_prune(p->a, &changed, ignored);
	d.removed = fl_fieldset_prune(p->a, &d.removed, ignored);
	if (!force && !check_conflicts(p, &changed, own))
		return false;
	fl_managers_take(&p->m, p->k->api_version, &changed, own);
	fl_managers_take(&p->m, p->k->api_version, &d.removed, own);
	own->set = fl_fieldset_difference(p->a, &own->set, &fl_managed_stripped);
	follow_last_applied(p, obj);
	fl_json_set(p->a, fl_json_ensure_object(p->a, obj, "metadata"), "managedFields", fl_managers_encode(&p->m));
	*ret = obj;
	return true;
}

bool fl_managed_apply(const struct fl_kind *k, struct fl_arena *a, const struct fl_json *patch,
		      const struct fl_json *live, const struct fl_writer *w, bool force, struct fl_json **ret,
		      struct fl_causes *causes, struct fl_status *ret_refusal)
{
	const struct fl_schema *s = fl_kind_schema(k);
	struct apply p = {.k = k,
			  .s = s,
			  .a = a,
			  .patch = patch,
			  .live = live ? live : fl_typed_zero(s, a),
			  .w = w,
			  .m = {.a = a},
			  .causes = causes,
			  .refusal = ret_refusal};

	if (!check(&p))
		return false;
	if (live && (!fl_managers_decode(&p.m, fl_json_path(live, "metadata", "managedFields", NULL)) || !p.m.n) &&
	    !book_before_first(&p))
		return false;
	return apply(&p, force, ret);
}
