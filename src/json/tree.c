// SPDX-License-Identifier: Apache-2.0
// Reading and editing of the tree. Children are a singly linked list with a tail pointer: appending is O(1), finding a
// member O(members), which for the dozen members of an API object beats any index. Code that looks up many names in an
// object of a size that a client chose (merge patch, equality, the parser) makes itself an index.
#include <stdarg.h>
#include <string.h>

#include "json/json.h"

static struct fl_json *find(const struct fl_json *object, const char *key, size_t key_len, struct fl_json **ret_before)
{
	struct fl_json *before = NULL;
	for (struct fl_json *m = object->kids.first; m; before = m, m = m->next) {
		if (m->key_len == key_len && memcmp(m->key, key, key_len) == 0) {
			if (ret_before)
				*ret_before = before;
			return m;
		}
	}
	return NULL;
}

struct fl_json *fl_json_get(const struct fl_json *object, const char *key)
{
	return fl_json_is(object, FL_JSON_OBJECT) ? find(object, key, strlen(key), NULL) : NULL;
}

struct fl_json *fl_json_get_n(const struct fl_json *object, const char *key, size_t key_len)
{
	return fl_json_is(object, FL_JSON_OBJECT) ? find(object, key, key_len, NULL) : NULL;
}

struct fl_json *fl_json_path(const struct fl_json *j, const char *key, ...)
{
	va_list ap;
	va_start(ap, key);
	struct fl_json *found = NULL;
	for (; key; key = va_arg(ap, const char *)) {
		found = fl_json_get(j, key);
		j = found;
		if (!found)
			break;
	}
	va_end(ap);
	return found;
}

struct fl_json *fl_json_index(const struct fl_json *array, size_t i)
{
	if (!fl_json_is(array, FL_JSON_ARRAY) || i >= array->kids.count)
		return NULL;
	struct fl_json *e = array->kids.first;
	while (i--)
		e = e->next;
	return e;
}

bool fl_json_is_zero(const struct fl_json *j)
{
	switch (j->type) {
	case FL_JSON_NULL:
		return true;
	case FL_JSON_BOOL:
		return !j->b;
	case FL_JSON_INT:
		return j->i == 0;
	case FL_JSON_FLOAT:
		return j->f == 0;
	case FL_JSON_STRING:
		return j->str.len == 0;
	default:
		return false;
	}
}

size_t fl_json_count(const struct fl_json *j)
{
	return j && j->type >= FL_JSON_ARRAY ? j->kids.count : 0;
}

const char *fl_json_string(const struct fl_json *j)
{
	return fl_json_is(j, FL_JSON_STRING) ? j->str.s : NULL;
}

const char *fl_json_str(const struct fl_json *object, const char *key)
{
	return fl_json_string(fl_json_get(object, key));
}

const char *fl_json_str_or(const struct fl_json *object, const char *key, const char *otherwise)
{
	const char *s = fl_json_str(object, key);
	return s ? s : otherwise;
}

int64_t fl_json_int(const struct fl_json *object, const char *key, int64_t otherwise)
{
	const struct fl_json *j = fl_json_get(object, key);
	return fl_json_is(j, FL_JSON_INT) ? j->i : otherwise;
}

bool fl_json_bool(const struct fl_json *object, const char *key, bool otherwise)
{
	const struct fl_json *j = fl_json_get(object, key);
	return fl_json_is(j, FL_JSON_BOOL) ? j->b : otherwise;
}

bool fl_json_is(const struct fl_json *j, enum fl_json_type type)
{
	return j && j->type == type;
}

struct fl_json *fl_json_new(struct fl_arena *a, enum fl_json_type type)
{
	struct fl_json *j = fl_arena_zalloc(a, sizeof(*j));
	j->type = type;
	if (type == FL_JSON_STRING)
		j->str.s = "";
	return j;
}

struct fl_json *fl_json_new_str(struct fl_arena *a, const char *s)
{
	return fl_json_new_strn(a, s, strlen(s));
}

struct fl_json *fl_json_new_strn(struct fl_arena *a, const char *s, size_t n)
{
	struct fl_json *j = fl_json_new(a, FL_JSON_STRING);
	j->str.s = fl_arena_strndup(a, s, n);
	j->str.len = (uint32_t)n;
	return j;
}

struct fl_json *fl_json_new_int(struct fl_arena *a, int64_t i)
{
	struct fl_json *j = fl_json_new(a, FL_JSON_INT);
	j->i = i;
	return j;
}

struct fl_json *fl_json_new_bool(struct fl_arena *a, bool b)
{
	struct fl_json *j = fl_json_new(a, FL_JSON_BOOL);
	j->b = b;
	return j;
}

struct fl_json *fl_json_clone(struct fl_arena *a, const struct fl_json *j)
{
	if (!j)
		return NULL;
	struct fl_json *copy = fl_arena_alloc(a, sizeof(*copy));
	*copy = *j;
	copy->key = NULL;
	copy->key_len = 0;
	copy->next = NULL;
	if (j->type == FL_JSON_STRING) {
		copy->str.s = fl_arena_strndup(a, j->str.s, j->str.len);
	} else if (j->type >= FL_JSON_ARRAY) {
		copy->kids.first = copy->kids.last = NULL;
		for (const struct fl_json *k = j->kids.first; k; k = k->next) {
			struct fl_json *kid = fl_json_clone(a, k);
			if (k->key) {
				kid->key = fl_arena_strndup(a, k->key, k->key_len);
				kid->key_len = k->key_len;
			}
			if (copy->kids.last)
				copy->kids.last->next = kid;
			else
				copy->kids.first = kid;
			copy->kids.last = kid;
		}
	}
	return copy;
}

static void link_last(struct fl_json *parent, struct fl_json *child)
{
	child->next = NULL;
	if (parent->kids.last)
		parent->kids.last->next = child;
	else
		parent->kids.first = child;
	parent->kids.last = child;
	parent->kids.count++;
}

static void unlink_child(struct fl_json *parent, struct fl_json *child, struct fl_json *before)
{
	if (before)
		before->next = child->next;
	else
		parent->kids.first = child->next;
	if (parent->kids.last == child)
		parent->kids.last = before;
	parent->kids.count--;
	child->next = NULL;
}

struct fl_json *fl_json_set(struct fl_arena *a, struct fl_json *object, const char *key, struct fl_json *value)
{
	return fl_json_set_n(a, object, key, strlen(key), value);
}

struct fl_json *fl_json_set_n(struct fl_arena *a, struct fl_json *object, const char *key, size_t key_len,
			      struct fl_json *value)
{
	struct fl_json *before = NULL;
	struct fl_json *old = find(object, key, key_len, &before);
	if (old == value)
		return value;
	if (!value) {
		unlink_child(object, old, before);
		return NULL;
	}
	value->key_len = (uint32_t)key_len;
	if (!old) {
		value->key = fl_arena_strndup(a, key, key_len);
		link_last(object, value);
		return value;
	}
	value->key = old->key;
	value->next = old->next;
	if (before)
		before->next = value;
	else
		object->kids.first = value;
	if (object->kids.last == old)
		object->kids.last = value;
	old->next = NULL;
	return value;
}

struct fl_json *fl_json_set_str(struct fl_arena *a, struct fl_json *object, const char *key, const char *s)
{
	return fl_json_set(a, object, key, s ? fl_json_new_str(a, s) : NULL);
}

struct fl_json *fl_json_set_int(struct fl_arena *a, struct fl_json *object, const char *key, int64_t i)
{
	return fl_json_set(a, object, key, fl_json_new_int(a, i));
}

struct fl_json *fl_json_set_bool(struct fl_arena *a, struct fl_json *object, const char *key, bool b)
{
	return fl_json_set(a, object, key, fl_json_new_bool(a, b));
}

struct fl_json *fl_json_set_object(struct fl_arena *a, struct fl_json *object, const char *key)
{
	return fl_json_set(a, object, key, fl_json_new(a, FL_JSON_OBJECT));
}

struct fl_json *fl_json_set_array(struct fl_arena *a, struct fl_json *object, const char *key)
{
	return fl_json_set(a, object, key, fl_json_new(a, FL_JSON_ARRAY));
}

struct fl_json *fl_json_ensure_object(struct fl_arena *a, struct fl_json *object, const char *key)
{
	struct fl_json *j = fl_json_get(object, key);
	return fl_json_is(j, FL_JSON_OBJECT) ? j : fl_json_set_object(a, object, key);
}

bool fl_json_remove(struct fl_json *object, const char *key)
{
	struct fl_json *before = NULL;
	struct fl_json *old = fl_json_is(object, FL_JSON_OBJECT) ? find(object, key, strlen(key), &before) : NULL;
	if (old)
		unlink_child(object, old, before);
	return old;
}

struct fl_json *fl_json_append(struct fl_json *array, struct fl_json *value)
{
	value->key = NULL;
	value->key_len = 0;
	link_last(array, value);
	return value;
}

struct fl_json *fl_json_insert(struct fl_json *array, size_t i, struct fl_json *value)
{
	if (i >= array->kids.count)
		return fl_json_append(array, value);
	value->key = NULL;
	value->key_len = 0;
	struct fl_json **at = &array->kids.first;
	while (i--)
		at = &(*at)->next;
	value->next = *at;
	*at = value;
	array->kids.count++;
	return value;
}

bool fl_json_remove_child(struct fl_json *parent, const struct fl_json *child)
{
	if (!parent || parent->type < FL_JSON_ARRAY)
		return false;
	struct fl_json *before = NULL;
	for (struct fl_json *k = parent->kids.first; k; before = k, k = k->next) {
		if (k == child) {
			unlink_child(parent, k, before);
			return true;
		}
	}
	return false;
}
