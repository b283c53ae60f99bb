// SPDX-License-Identifier: Apache-2.0
#include "controller/meta.h"

#include "base/clock.h"
#include "base/mem.h"

struct fl_json *fl_meta_controller(const struct fl_json *obj)
{
	fl_json_each (ref, fl_json_path(obj, "metadata", "ownerReferences", NULL))
		if (fl_json_bool(ref, "controller", false))
			return ref;
	return NULL;
}

bool fl_meta_controlled_by(const struct fl_json *obj, const char *uid)
{
	return fl_streq(fl_json_str(fl_meta_controller(obj), "uid"), uid);
}

struct fl_json *fl_meta_owner_ref(struct fl_arena *a, const struct fl_json *owner, const char *api_version,
				  const char *kind)
{
	const struct fl_json *meta = fl_json_get(owner, "metadata");
	struct fl_json *ref = fl_json_new(a, FL_JSON_OBJECT);
	fl_json_set_str(a, ref, "apiVersion", api_version);
	fl_json_set_str(a, ref, "kind", kind);
	fl_json_set_str(a, ref, "name", fl_json_str_or(meta, "name", ""));
	fl_json_set_str(a, ref, "uid", fl_json_str_or(meta, "uid", ""));
	fl_json_set_bool(a, ref, "controller", true);
	fl_json_set_bool(a, ref, "blockOwnerDeletion", true);
	return ref;
}

struct fl_pair *fl_meta_pairs(struct fl_arena *a, const struct fl_json *obj, size_t *ret_n)
{
	const char *uid = fl_json_str_or(fl_meta_controller(obj), "uid", "");
	const struct fl_json *labels = uid[0] ? NULL : fl_json_path(obj, "metadata", "labels", NULL);
	struct fl_pair *pairs = fl_index_pairs(a, labels, 1, ret_n);
	pairs[(*ret_n)++] = (struct fl_pair){FL_PAIR_CONTROLLER, uid};
	return pairs;
}

static struct fl_json *guarded(struct fl_arena *a, const struct fl_json *obj, struct fl_json **ret_meta)
{
	const struct fl_json *meta = fl_json_get(obj, "metadata");
	struct fl_json *patch = fl_json_new(a, FL_JSON_OBJECT);
	struct fl_json *m = fl_json_set_object(a, patch, "metadata");
	fl_json_set_str(a, m, "uid", fl_json_str_or(meta, "uid", ""));
	fl_json_set_str(a, m, "resourceVersion", fl_json_str_or(meta, "resourceVersion", ""));
	*ret_meta = m;
	return patch;
}

struct fl_json *fl_meta_adopt_patch(struct fl_arena *a, const struct fl_json *obj, struct fl_json *owner_ref)
{
	struct fl_json *meta, *patch = guarded(a, obj, &meta);
	struct fl_json *refs = fl_json_set_array(a, meta, "ownerReferences");
	fl_json_each (ref, fl_json_path(obj, "metadata", "ownerReferences", NULL))
		fl_json_append(refs, fl_json_clone(a, ref));
	fl_json_append(refs, owner_ref);
	return patch;
}

struct fl_json *fl_meta_release_patch(struct fl_arena *a, const struct fl_json *obj, const char *uid)
{
	struct fl_json *meta, *patch = guarded(a, obj, &meta);
	struct fl_json *refs = fl_json_set_array(a, meta, "ownerReferences");
	fl_json_each (ref, fl_json_path(obj, "metadata", "ownerReferences", NULL))
		if (!fl_streq(fl_json_str(ref, "uid"), uid))
			fl_json_append(refs, fl_json_clone(a, ref));
	return patch;
}

const char *fl_meta_label(const struct fl_json *obj, const char *key)
{
	return fl_json_str(fl_json_path(obj, "metadata", "labels", NULL), key);
}

const char *fl_meta_annotation(const struct fl_json *obj, const char *key)
{
	return fl_json_str(fl_json_path(obj, "metadata", "annotations", NULL), key);
}

bool fl_meta_deleting(const struct fl_json *obj)
{
	return fl_json_string(fl_json_path(obj, "metadata", "deletionTimestamp", NULL)) != NULL;
}

bool fl_meta_has_finalizer(const struct fl_json *obj, const char *finalizer)
{
	fl_json_each (f, fl_json_path(obj, "metadata", "finalizers", NULL))
		if (fl_streq(fl_json_string(f), finalizer))
			return true;
	return false;
}

int64_t fl_meta_time_ns(const char *rfc3339)
{
	int64_t ns = 0;
	return rfc3339 && fl_time_parse(rfc3339, &ns) ? ns : 0;
}

int64_t fl_meta_created_ns(const struct fl_json *obj)
{
	return fl_meta_time_ns(fl_json_str(fl_json_get(obj, "metadata"), "creationTimestamp"));
}

struct fl_json *fl_meta_condition(const struct fl_json *status, const char *type)
{
	fl_json_each (c, fl_json_get(status, "conditions"))
		if (fl_streq(fl_json_str(c, "type"), type))
			return c;
	return NULL;
}

struct fl_json *fl_meta_status_patch(struct fl_arena *a, const struct fl_json *old, const struct fl_json *now)
{
	struct fl_json *patch = fl_json_new(a, FL_JSON_OBJECT), *status = fl_json_set_object(a, patch, "status");
	fl_json_each (m, now) {
		const struct fl_json *before = fl_json_get(old, m->key);
		if (!before || !fl_json_equal(before, m))
			fl_json_set(a, status, m->key, fl_json_clone(a, m));
	}
	fl_json_each (m, old)
		if (!fl_json_get(now, m->key) && !fl_json_is(m, FL_JSON_NULL))
			fl_json_set(a, status, m->key, fl_json_new(a, FL_JSON_NULL));
	return fl_json_count(status) ? patch : NULL;
}

int64_t fl_meta_scaled(const struct fl_json *v, int64_t total, bool round_up, int64_t otherwise)
{
	if (fl_json_is(v, FL_JSON_INT))
		return v->i;
	const char *s = fl_json_string(v);
	if (!s)
		return otherwise;
	char *end;
	long long percent = strtoll(s, &end, 10);
	if (end == s || strcmp(end, "%") != 0)
		return otherwise;
	int64_t scaled = percent * total;
	return round_up ? (scaled + 99) / 100 : scaled / 100;
}
