// SPDX-License-Identifier: Apache-2.0
// JSON Merge Patch, RFC 7386 section 2. A member that changes is overwritten where it stands, so that the order of the
// target is kept; removals of a large patch are done in one sweep, so that no patch costs more than its size and the
// target's together.
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "json/patch.h"

#define INDEX_FROM 32 // members of a patch

static void merge_members(struct fl_arena *a, struct fl_json *target, const struct fl_json *patch);

// The value that `patch` leaves at a place where `old` (or nothing) stood.
static struct fl_json *merged(struct fl_arena *a, struct fl_json *old, const struct fl_json *patch)
{
	if (patch->type != FL_JSON_OBJECT)
		return fl_json_clone(a, patch);
	if (!fl_json_is(old, FL_JSON_OBJECT))
		old = fl_json_new(a, FL_JSON_OBJECT);
	merge_members(a, old, patch);
	return old;
}

static void overwrite(struct fl_json *node, const struct fl_json *value)
{
	struct fl_json new = *value;
	new.key = node->key;
	new.key_len = node->key_len;
	new.next = node->next;
	*node = new;
}

static void sweep(struct fl_json *target, const struct fl_map *index, const void *removed)
{
	struct fl_json **at = &target->kids.first, *last = NULL;
	uint32_t count = 0;
	while (*at) {
		if (fl_map_get_n(index, (*at)->key, (*at)->key_len) == removed) {
			*at = (*at)->next;
			continue;
		}
		last = *at;
		count++;
		at = &last->next;
	}
	target->kids.last = last;
	target->kids.count = count;
}

static void merge_members(struct fl_arena *a, struct fl_json *target, const struct fl_json *patch)
{
	static const char removed;
	bool indexed = patch->kids.count >= INDEX_FROM, any_removed = false;
	AUTO(fl_map_deinit) struct fl_map index = {0};
	if (indexed)
		fl_json_each (m, target)
			fl_map_set_n(&index, m->key, m->key_len, m);

	fl_json_each (m, patch) {
		// A name stands once in a patch, so what this loop appends need not enter the index.
		struct fl_json *old =
		    indexed ? fl_map_get_n(&index, m->key, m->key_len) : fl_json_get_n(target, m->key, m->key_len);
		if (m->type != FL_JSON_NULL) {
			struct fl_json *value = merged(a, old, m);
			if (!old) {
				value->key = fl_arena_strndup(a, m->key, m->key_len);
				value->key_len = m->key_len;
				value->next = NULL;
				if (target->kids.last)
					target->kids.last->next = value;
				else
					target->kids.first = value;
				target->kids.last = value;
				target->kids.count++;
			} else if (value != old) {
				overwrite(old, value);
			}
		} else if (old && indexed) {
			fl_map_set_n(&index, m->key, m->key_len, (void *)&removed);
			any_removed = true;
		} else if (old) {
			fl_json_remove_child(target, old);
		}
	}
	if (any_removed)
		sweep(target, &index, &removed);
}

struct fl_json *fl_json_merge_patch(struct fl_arena *a, struct fl_json *target, const struct fl_json *patch)
{
	return merged(a, target, patch);
}
