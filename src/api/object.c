// SPDX-License-Identifier: Apache-2.0
// Objects at rest, and the interned names of resources.
#include "api/object.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/packed.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

#define USUAL_BYTES 1000 // of an object: room for it at once

const char *fl_resource_intern(const char *group, const char *plural)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct fl_map names;
	AUTO_FREE char *name = *group ? fl_asprintf("%s/%s", group, plural) : fl_strdup(plural);
	const char *interned;

	pthread_mutex_lock(&lock);
	interned = fl_map_get(&names, name);
	if (!interned) {
		interned = name;
		fl_map_set(&names, interned, name);
		name = NULL; // the map holds it for the life of the process
	}
	pthread_mutex_unlock(&lock);
	return interned;
}

static char *put_string(char *at, const char *s, const char **ret)
{
	size_t n = strlen(s) + 1;

	*ret = memcpy(at, s, n);
	return at + n;
}

struct fl_object *fl_object_new(const char *resource, const char *ns, const char *name, const char *uid,
				const char *json, size_t len, long rv_at, uint64_t rv)
{
	char digits[FL_U64_STRLEN];
	size_t n_digits = rv_at >= 0 ? fl_format_u64(digits, rv) : 0;
	size_t head = rv_at >= 0 ? (size_t)rv_at : len;
	size_t extra = strlen(ns) + strlen(name) + strlen(uid) + 3;
	struct fl_object *o = fl_malloc(sizeof(*o) + len + n_digits + 1 + extra);
	char *at = o->data;

	assert(head <= len);
	*o = (struct fl_object){.refs = 1, .len = (uint32_t)(len + n_digits), .rv = rv, .resource = resource};
	o->json = at;
	memcpy(at, json, head);
	memcpy(at + head, digits, n_digits);
	memcpy(at + head + n_digits, json + head, len - head);
	at += len + n_digits;
	*at++ = '\0';
	at = put_string(at, ns, &o->ns);
	at = put_string(at, name, &o->name);
	put_string(at, uid, &o->uid);
	return o;
}

// A member of another tree as one of `o`: its value is shared, so neither tree may be changed afterwards.
static void share(struct fl_arena *a, struct fl_json *o, const struct fl_json *m)
{
	struct fl_json *copy = fl_arena_alloc(a, sizeof(*copy));

	*copy = *m;
	copy->next = NULL;
	fl_json_set_n(a, o, m->key, m->key_len, copy);
}

static struct fl_json *slim(struct fl_arena *a, const struct fl_json *tree, const char *kind, const char *api_version)
{
	struct fl_json *o = fl_json_new(a, FL_JSON_OBJECT), *meta;

	fl_json_set_str(a, o, "kind", fl_json_str_or(tree, "kind", kind));
	fl_json_set_str(a, o, "apiVersion", fl_json_str_or(tree, "apiVersion", api_version));
	meta = fl_json_set_object(a, o, "metadata");
	fl_json_each (m, fl_json_get(tree, "metadata"))
		if (!fl_streq(m->key, "managedFields"))
			share(a, meta, m);
	fl_json_each (m, tree)
		if (!fl_streq(m->key, "kind") && !fl_streq(m->key, "apiVersion") && !fl_streq(m->key, "metadata"))
			share(a, o, m);
	return o;
}

static int check_meta(const char *resource, const struct fl_json *meta, uint64_t *ret_rv, struct fl_err *err)
{
	const char *name = fl_json_str(meta, "name"), *rv_text = fl_json_str(meta, "resourceVersion");
	unsigned long long rv;

	if (fl_str_empty(name))
		return fl_err_set(err, -EINVAL, "object of %s: metadata.name is missing", resource);
	if (!rv_text || !fl_parse_u64(rv_text, &rv))
		return fl_err_set(err, -EINVAL, "object of %s: %s: metadata.resourceVersion is no number", resource,
				  name);
	*ret_rv = rv;
	return 0;
}

int fl_object_parse(const char *resource, const char *json, size_t len, struct fl_object **ret, struct fl_err *err)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_json *meta;
	struct fl_json *root;
	uint64_t rv = 0;
	int r;

	r = fl_json_parse(&a, json, len, NULL, &root, err);
	if (r < 0)
		return fl_err_prefix(err, "object of %s", resource);
	meta = fl_json_get(root, "metadata");
	r = check_meta(resource, meta, &rv, err);
	if (r < 0)
		return r;
	*ret = fl_object_new(resource, fl_json_str_or(meta, "namespace", ""), fl_json_str(meta, "name"),
			     fl_json_str_or(meta, "uid", ""), json, len, -1, rv);
	return 0;
}

// Has what slim() would give it already.
static bool is_slim(const struct fl_json *tree, const struct fl_json *meta)
{
	return fl_json_string(fl_json_get(tree, "kind")) && fl_json_string(fl_json_get(tree, "apiVersion")) &&
	       !fl_json_get(meta, "managedFields");
}

static unsigned marks_of(const struct fl_json *meta)
{
	unsigned marks = 0;

	if (fl_json_count(fl_json_get(meta, "ownerReferences")))
		marks |= FL_OBJECT_OWNED;
	if (fl_json_string(fl_json_get(meta, "deletionTimestamp")))
		marks |= FL_OBJECT_DELETING;
	return marks;
}

int fl_object_pack(const char *resource, const struct fl_json *tree, const char *kind, const char *api_version,
		   struct fl_object **ret, struct fl_err *err)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	const struct fl_json *meta = fl_json_get(tree, "metadata");
	uint64_t rv = 0;
	int r = check_meta(resource, meta, &rv, err);

	if (r < 0)
		return r;
	struct fl_packed_names names = {
	    .ns = fl_json_str_or(meta, "namespace", ""),
	    .name = fl_json_str(meta, "name"),
	    .uid = fl_json_str_or(meta, "uid", ""),
	    .rv = rv,
	};
	fl_buf_reserve(&b, USUAL_BYTES);
	fl_buf_putc(&b, (char)marks_of(meta));
	fl_packed_write(&b, is_slim(tree, meta) ? tree : slim(&a, tree, kind, api_version), &names);
	*ret = fl_object_new(resource, names.ns, names.name, names.uid, b.data, b.len, -1, rv);
	(*ret)->json = NULL;
	return 0;
}

int fl_object_wrap(const char *resource, const struct fl_json *tree, struct fl_object **ret, struct fl_err *err)
{
	const struct fl_json *meta = fl_json_get(tree, "metadata");
	uint64_t rv = 0;
	int r = check_meta(resource, meta, &rv, err);

	if (r < 0)
		return r;
	*ret = fl_object_new(resource, fl_json_str_or(meta, "namespace", ""), fl_json_str(meta, "name"),
			     fl_json_str_or(meta, "uid", ""), (const char *)&tree, sizeof(tree), -1, rv);
	(*ret)->json = NULL;
	(*ret)->len = 0; // no packed form is empty
	return 0;
}

unsigned fl_object_marks(const struct fl_object *o)
{
	if (!o)
		return 0;
	return o->json || !o->len ? FL_OBJECT_OWNED | FL_OBJECT_DELETING : (uint8_t)o->data[0];
}

struct fl_object *fl_object_get(struct fl_object *o)
{
	if (o)
		atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
	return o;
}

void fl_object_put(struct fl_object **o)
{
	struct fl_object *victim = *o;

	*o = NULL;
	if (victim && atomic_fetch_sub_explicit(&victim->refs, 1, memory_order_acq_rel) == 1)
		free(victim);
}

struct fl_json *fl_object_tree(const struct fl_object *o, struct fl_arena *a)
{
	struct fl_json *root = NULL;

	if (!o->json && !o->len) {
		memcpy(&root, o->data, sizeof(root));
		return root;
	}
	if (!o->json) {
		struct fl_packed_names names = {.ns = o->ns, .name = o->name, .uid = o->uid, .rv = o->rv};
		return fl_packed_read(a, o->data + 1, o->len - 1, &names);
	}
	int r = fl_json_parse(a, o->json, o->len, NULL, &root, NULL);

	assert(r == 0);
	(void)r;
	return root;
}

// Moves the member to position `at` of the object, which counts the members already moved.
static void move_to_front(struct fl_json *object, struct fl_json **after, const char *key)
{
	struct fl_json *m = fl_json_get(object, key);

	if (!m)
		return;
	fl_json_remove_child(object, m);
	if (*after) {
		m->next = (*after)->next;
		(*after)->next = m;
	} else {
		m->next = object->kids.first;
		object->kids.first = m;
	}
	if (!m->next)
		object->kids.last = m;
	object->kids.count++;
	*after = m;
}

static void write_member(struct fl_buf *b, const struct fl_json *m, bool *first)
{
	if (!*first)
		fl_buf_putc(b, ',');
	*first = false;
	fl_json_write_string(b, m->key, m->key_len);
	fl_buf_putc(b, ':');
}

// metadata: the members before resourceVersion, the empty version, the others.
static void write_metadata(struct fl_buf *b, const struct fl_json *meta, long *ret_rv_at)
{
	static const char *const front[] = {"name", "generateName", "namespace", "uid"};
	bool first = true;

	fl_buf_putc(b, '{');
	for (size_t i = 0; i < FL_COUNT(front); i++) {
		const struct fl_json *m = fl_json_get(meta, front[i]);

		if (!m)
			continue;
		write_member(b, m, &first);
		fl_json_write(b, m);
	}
	fl_buf_puts(b, first ? "\"resourceVersion\":\"" : ",\"resourceVersion\":\"");
	first = false;
	*ret_rv_at = (long)b->len;
	fl_buf_putc(b, '"');
	fl_json_each (m, meta) {
		bool done = fl_streq(m->key, "resourceVersion");

		for (size_t i = 0; i < FL_COUNT(front) && !done; i++)
			done = fl_streq(m->key, front[i]);
		if (done)
			continue;
		write_member(b, m, &first);
		fl_json_write(b, m);
	}
	fl_buf_putc(b, '}');
}

void fl_object_serialize(struct fl_buf *b, struct fl_json *root, long *ret_rv_at)
{
	static const struct fl_json no_metadata = {.type = FL_JSON_OBJECT};
	struct fl_json *after = NULL;
	size_t start = b->len;
	bool first = true, seen = false;

	fl_buf_reserve(b, USUAL_BYTES);
	move_to_front(root, &after, "kind");
	move_to_front(root, &after, "apiVersion");
	move_to_front(root, &after, "metadata");
	fl_buf_putc(b, '{');
	fl_json_each (m, root) {
		write_member(b, m, &first);
		if (fl_streq(m->key, "metadata")) {
			seen = true;
			write_metadata(b, m, ret_rv_at);
		} else {
			fl_json_write(b, m);
		}
	}
	if (!seen) {
		fl_buf_puts(b, first ? "\"metadata\":" : ",\"metadata\":");
		write_metadata(b, &no_metadata, ret_rv_at);
	}
	fl_buf_putc(b, '}');
	*ret_rv_at -= (long)start;
}
