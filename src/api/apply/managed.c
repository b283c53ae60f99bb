// SPDX-License-Identifier: Apache-2.0
// Ownership under creates, updates and patches.
#include "api/apply/managed.h"

#include <ctype.h>
#include <string.h>

#include "api/apply/managers.h"
#include "base/str.h"

#define MAX_MANAGER_BYTES 128

const char *fl_manager_of_user_agent(struct fl_arena *a, const char *user_agent)
{
	size_t n = user_agent ? strcspn(user_agent, "/") : 0, len = 0;
	char *name = fl_arena_alloc(a, MAX_MANAGER_BYTES + 1);

	for (size_t i = 0; i < n && len < MAX_MANAGER_BYTES; i++)
		if (isprint((unsigned char)user_agent[i]))
			name[len++] = user_agent[i];
	name[len] = '\0';
	return name;
}

bool fl_manager_is_role(const char *user_agent)
{
	return user_agent && fl_starts_with(user_agent, "fairlead-");
}

void fl_managed_validate_options(struct fl_causes *c, const char *manager, const char *force, bool apply)
{
	static const char *const field = "fieldManager";

	if (force && !apply)
		fl_cause_add(c, FL_CAUSE_FORBIDDEN, "force", NULL, "may not be specified for non-apply patch");
	if (apply && fl_str_empty(manager))
		fl_cause_add(c, FL_CAUSE_REQUIRED, field, NULL, "is required for apply patch");
	if (manager && strlen(manager) > MAX_MANAGER_BYTES)
		fl_cause_add(c, FL_CAUSE_TOO_LONG, field, NULL, "may not be more than %d bytes", MAX_MANAGER_BYTES);
	for (const char *p = manager; p && *p; p++) {
		if ((unsigned char)*p < 0x80 && !isprint((unsigned char)*p)) {
			fl_cause_add(c, FL_CAUSE_INVALID, field, fl_json_new_str(c->arena, manager),
				     "should only contain printable characters");
			break;
		}
	}
}

// [{}] in an update: the client wants no tracking.
static bool is_reset(const struct fl_json *entries)
{
	const struct fl_json *first = fl_json_index(entries, 0);

	return fl_json_count(entries) == 1 && first->type == FL_JSON_OBJECT && !first->kids.count;
}

static const struct fl_json *entries_of(const struct fl_json *obj)
{
	return fl_json_path(obj, "metadata", "managedFields", NULL);
}

// The entries to go on with: those that the client sent, or where there are none, or none that can be read, the live
// object's.
static struct managers choose(struct fl_arena *a, const struct fl_json *sent, const struct fl_json *live,
			      const struct fl_writer *w)
{
	struct managers m = {.a = a};

	if (!live || (fl_str_empty(w->subresource) && is_reset(sent)))
		return m;
	if (fl_str_empty(w->subresource) && fl_json_count(sent) && fl_managers_decode(&m, sent) && m.n)
		return m;
	(void)fl_managers_decode(&m, entries_of(live)); // what cannot be read counts as nothing
	return m;
}

static void record(const struct fl_kind *k, struct managers *m, const struct fl_typed_diff *d,
		   const struct fl_writer *w)
{
	const struct fl_fieldset *ignored = fl_managed_ignored(k, w->subresource);
	struct fl_fieldset added = fl_fieldset_prune(m->a, &d->added, ignored);
	struct fl_fieldset modified = fl_fieldset_prune(m->a, &d->modified, ignored);
	struct fl_fieldset removed = fl_fieldset_prune(m->a, &d->removed, ignored);
	struct fl_fieldset taken = fl_fieldset_union(m->a, &added, &modified);
	struct manager *own;

	fl_managers_take(m, k->api_version, &taken, NULL);
	fl_managers_take(m, k->api_version, &removed, NULL);
	taken = fl_fieldset_difference(m->a, &taken, &fl_managed_stripped);
	if (w->unrecorded || fl_fieldset_is_empty(&taken))
		return;
	own = fl_managers_entry(m, fl_str_empty(w->manager) ? "unknown" : w->manager, false, k->api_version,
				w->subresource);
	own->set = fl_fieldset_union(m->a, &own->set, &taken);
	own->time = w->now;
}

void fl_managed_update(const struct fl_kind *k, struct fl_arena *a, struct fl_json *obj, const struct fl_json *live,
		       const struct fl_writer *w)
{
	const struct fl_schema *s = fl_kind_schema(k);
	struct fl_json *meta = fl_json_ensure_object(a, obj, "metadata");
	struct managers m = choose(a, fl_json_get(meta, "managedFields"), live, w);
	struct fl_typed_diff d;

	fl_json_remove(meta, "managedFields");
	// A view of objects that are stored as another kind would book its own names on them.
	if (k->stored_as)
		fl_json_set(a, meta, "managedFields", fl_json_clone(a, entries_of(live)));
	if (k->stored_as || (live ? !m.n : w->unrecorded))
		return;
	// What cannot be compared (a list's element without its key, from before a rule forbade it) changes no owner.
	if (fl_typed_compare(s, a, live ? live : fl_typed_zero(s, a), obj, &d, NULL) == 0)
		record(k, &m, &d, w);
	fl_json_set(a, meta, "managedFields", fl_managers_encode(&m));
}

static bool equal_but_times(const struct fl_json *x, const struct fl_json *y)
{
	const struct fl_json *f = y ? y->kids.first : NULL;

	if (fl_json_count(x) != fl_json_count(y))
		return false;
	fl_json_each (e, x) {
		if (!f)
			return false;
		fl_json_each (m, e)
			if (!fl_streq(m->key, "time") &&
			    (!fl_json_get(f, m->key) || !fl_json_equal(m, fl_json_get(f, m->key))))
				return false;
		if (fl_json_count(e) != fl_json_count(f))
			return false;
		f = f->next;
	}
	return true;
}

void fl_managed_keep_times(struct fl_arena *a, struct fl_json *obj, const struct fl_json *old)
{
	const struct fl_json *was = entries_of(old);
	struct fl_json *now = fl_json_path(obj, "metadata", "managedFields", NULL);

	if (!now || !was || fl_json_equal(now, was) || !equal_but_times(now, was))
		return;
	now = fl_json_clone(a, now);
	fl_json_set(a, fl_json_get(obj, "metadata"), "managedFields", fl_json_clone(a, was));
	if (!fl_json_equal(obj, old))
		fl_json_set(a, fl_json_get(obj, "metadata"), "managedFields", now);
}
