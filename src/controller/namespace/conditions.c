// SPDX-License-Identifier: Apache-2.0
#include "controller/namespace/conditions.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "controller/meta.h"

struct fl_ns_rest {
	struct fl_arena *a;
	struct fl_json *resources, *finalizers; // objects: name -> number
	struct fl_json *failures;               // array of strings
	const char *discovery;
};

struct fl_ns_rest *fl_ns_rest_new(struct fl_arena *a)
{
	struct fl_ns_rest *r = fl_arena_zalloc(a, sizeof(*r));
	r->a = a;
	r->resources = fl_json_new(a, FL_JSON_OBJECT);
	r->finalizers = fl_json_new(a, FL_JSON_OBJECT);
	r->failures = fl_json_new(a, FL_JSON_ARRAY);
	return r;
}

static void count_one(struct fl_ns_rest *r, struct fl_json *map, const char *key, int64_t n)
{
	fl_json_set_int(r->a, map, key, fl_json_int(map, key, 0) + n);
}

void fl_ns_rest_count(struct fl_ns_rest *r, const char *resource, const struct fl_json *list)
{
	const struct fl_json *items = fl_json_get(list, "items");
	int64_t n = (int64_t)fl_json_count(items) + fl_json_int(fl_json_get(list, "metadata"), "remainingItemCount", 0);
	if (n)
		count_one(r, r->resources, resource, n);
	fl_json_each (o, items)
		fl_json_each (f, fl_json_path(o, "metadata", "finalizers", NULL))
			if (fl_json_string(f))
				count_one(r, r->finalizers, fl_json_string(f), 1);
}

void fl_ns_rest_delete_failed(struct fl_ns_rest *r, const char *message)
{
	fl_json_append(r->failures, fl_json_new_str(r->a, message));
}

void fl_ns_rest_discovery_failed(struct fl_ns_rest *r, const char *message)
{
	r->discovery = fl_arena_strdup(r->a, message);
}

bool fl_ns_rest_is_empty(const struct fl_ns_rest *r)
{
	return !fl_json_count(r->resources) && !fl_json_count(r->failures) && !r->discovery;
}

static int by_text(const void *x, const void *y)
{
	return strcmp(*(const char *const *)x, *(const char *const *)y);
}

static const char *joined(struct fl_arena *a, const struct fl_json *map, const char *format_tail, const char *join)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	size_t n = 0;
	const char **texts = fl_arena_alloc(a, (fl_json_count(map) + 1) * sizeof(*texts));
	fl_json_each (m, map)
		texts[n++] = fl_json_is(m, FL_JSON_INT)
				 ? fl_arena_printf(a, "%s %s %lld resource instances", m->key, join, (long long)m->i)
				 : fl_json_string(m);
	qsort(texts, n, sizeof(*texts), by_text);
	fl_buf_puts(&b, format_tail);
	for (size_t i = 0; i < n; i++)
		fl_buf_printf(&b, "%s%s", i ? ", " : "", texts[i]);
	return fl_arena_strndup(a, b.data, b.len);
}

static bool put(struct fl_arena *a, struct fl_json *conditions, const struct fl_json *old, const char *type, bool bad,
		const char *reason, const char *message, const char *now)
{
	const char *status = bad ? "True" : "False";
	const struct fl_json *had = fl_meta_condition(old, type);
	bool same_status = fl_streq(fl_json_str(had, "status"), status);
	struct fl_json *c = fl_json_append(conditions, fl_json_new(a, FL_JSON_OBJECT));
	fl_json_set_str(a, c, "type", type);
	fl_json_set_str(a, c, "status", status);
	fl_json_set_str(a, c, "lastTransitionTime", same_status ? fl_json_str_or(had, "lastTransitionTime", now) : now);
	fl_json_set_str(a, c, "reason", reason);
	fl_json_set_str(a, c, "message", message);
	return !same_status || !fl_streq(fl_json_str(had, "reason"), reason) ||
	       !fl_streq(fl_json_str(had, "message"), message);
}

struct fl_json *fl_ns_rest_patch(struct fl_arena *a, const struct fl_ns_rest *r, const struct fl_json *ns,
				 int64_t now_ns)
{
	char time[FL_TIME_STRLEN];
	const char *now = fl_time_format(now_ns, time);
	const struct fl_json *old = fl_json_get(ns, "status");
	struct fl_json *patch = fl_json_new(a, FL_JSON_OBJECT), *status = fl_json_set_object(a, patch, "status"),
		       *c = fl_json_set_array(a, status, "conditions");
	bool left = fl_json_count(r->resources), held = fl_json_count(r->finalizers),
	     failed = fl_json_count(r->failures), changed = false;
	changed |= put(a, c, old, "NamespaceDeletionDiscoveryFailure", r->discovery,
		       r->discovery ? "DiscoveryFailed" : "ResourcesDiscovered",
		       r->discovery ? r->discovery : "All resources successfully discovered", now);
	changed |= put(a, c, old, "NamespaceDeletionGroupVersionParsingFailure", false, "ParsedGroupVersions",
		       "All legacy kube types successfully parsed", now);
	changed |= put(a, c, old, "NamespaceDeletionContentFailure", failed,
		       failed ? "ContentDeletionFailed" : "ContentDeleted",
		       failed ? joined(a, r->failures,
				       fl_arena_printf(a, "Failed to delete all resource types, %zu remaining: ",
						       fl_json_count(r->failures)),
				       "")
			      : "All content successfully deleted, may be waiting on finalization",
		       now);
	changed |= put(a, c, old, "NamespaceContentRemaining", left, left ? "SomeResourcesRemain" : "ContentRemoved",
		       left ? joined(a, r->resources, "Some resources are remaining: ", "has")
			    : "All content successfully removed",
		       now);
	changed |=
	    put(a, c, old, "NamespaceFinalizersRemaining", held, held ? "SomeFinalizersRemain" : "ContentRemoved",
		held ? joined(a, r->finalizers, "Some finalizers are remaining: ", "in")
		     : "All content successfully removed",
		now);
	return changed ? patch : NULL;
}
