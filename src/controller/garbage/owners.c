// SPDX-License-Identifier: Apache-2.0
#include "controller/garbage/owners.h"

#include "controller/meta.h"

bool fl_garbage_is_ending(const struct fl_json *object, const char *finalizer)
{
	return fl_meta_deleting(object) && fl_meta_has_finalizer(object, finalizer);
}

bool fl_garbage_blocks(const struct fl_json *object, const char *owner_uid)
{
	fl_json_each (ref, fl_json_path(object, "metadata", "ownerReferences", NULL))
		if (fl_streq(fl_json_str(ref, "uid"), owner_uid))
			return fl_json_bool(ref, "blockOwnerDeletion", false);
	return false;
}

struct fl_json *fl_garbage_unblock(struct fl_arena *a, const struct fl_json *object)
{
	struct fl_json *refs = fl_json_clone(a, fl_json_path(object, "metadata", "ownerReferences", NULL));
	bool changed = false;
	fl_json_each (ref, refs)
		if (fl_json_bool(ref, "blockOwnerDeletion", false)) {
			fl_json_set_bool(a, ref, "blockOwnerDeletion", false);
			changed = true;
		}
	return changed ? refs : NULL;
}

static struct fl_json *guarded(struct fl_arena *a, const struct fl_json *object, struct fl_json **ret_meta)
{
	const struct fl_json *meta = fl_json_get(object, "metadata");
	struct fl_json *patch = fl_json_new(a, FL_JSON_OBJECT);
	*ret_meta = fl_json_set_object(a, patch, "metadata");
	fl_json_set_str(a, *ret_meta, "uid", fl_json_str_or(meta, "uid", ""));
	fl_json_set_str(a, *ret_meta, "resourceVersion", fl_json_str_or(meta, "resourceVersion", ""));
	return patch;
}

struct fl_json *fl_garbage_refs_patch(struct fl_arena *a, const struct fl_json *object, struct fl_json *refs)
{
	struct fl_json *meta, *patch = guarded(a, object, &meta);
	fl_json_set(a, meta, "ownerReferences", refs);
	return patch;
}

struct fl_json *fl_garbage_finalizer_patch(struct fl_arena *a, const struct fl_json *object, const char *finalizer)
{
	struct fl_json *meta, *patch = guarded(a, object, &meta);
	struct fl_json *kept = fl_json_set_array(a, meta, "finalizers");
	fl_json_each (f, fl_json_path(object, "metadata", "finalizers", NULL))
		if (!fl_streq(fl_json_string(f), finalizer))
			fl_json_append(kept, fl_json_clone(a, f));
	return patch;
}

// An owner that still stands keeps the object, and the references to those that do not are taken out. Otherwise it
// goes: in the foreground where an owner waits for it and it has dependents itself, else as its finalizers say.
enum fl_garbage_verdict fl_garbage_judge(struct fl_arena *a, const struct fl_garbage_in *in, struct fl_json **ret_refs,
					 const char **ret_policy)
{
	const struct fl_json *refs = fl_json_path(in->object, "metadata", "ownerReferences", NULL);
	struct fl_json *solid = fl_json_new(a, FL_JSON_ARRAY);
	bool waiting = false, unknown = false;
	if (!fl_json_count(refs) || fl_meta_deleting(in->object))
		return FL_GARBAGE_KEEP;
	fl_json_each (ref, refs) {
		switch (in->state(in->arg, ref)) {
		case FL_OWNER_SOLID:
			fl_json_append(solid, fl_json_clone(a, ref));
			break;
		case FL_OWNER_WAITING:
			waiting = true;
			break;
		case FL_OWNER_ABSENT:
			break;
		case FL_OWNER_UNKNOWN:
			unknown = true;
			break;
		}
	}
	if (unknown)
		return FL_GARBAGE_ASK;
	if (fl_json_count(solid) == fl_json_count(refs))
		return FL_GARBAGE_KEEP;
	if (fl_json_count(solid)) {
		*ret_refs = solid;
		return FL_GARBAGE_TRIM;
	}
	*ret_policy = waiting && in->has_dependents                                ? "Foreground"
		      : fl_meta_has_finalizer(in->object, FL_FINALIZER_ORPHAN)     ? "Orphan"
		      : fl_meta_has_finalizer(in->object, FL_FINALIZER_FOREGROUND) ? "Foreground"
										   : "Background";
	return FL_GARBAGE_DELETE;
}
