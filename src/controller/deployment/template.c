// SPDX-License-Identifier: Apache-2.0
#include "controller/deployment/template.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rand.h"

// A copy without nulls and, in metadata.labels, without the hash.
static struct fl_json *normalized(struct fl_arena *a, const struct fl_json *template)
{
	struct fl_json *copy = fl_json_clone(a, template), *labels = fl_json_path(copy, "metadata", "labels", NULL);
	if (labels)
		fl_json_remove(labels, FL_LABEL_TEMPLATE_HASH);
	return copy;
}

static void drop_nulls(struct fl_json *j)
{
	struct fl_json *next;
	if (!fl_json_is(j, FL_JSON_OBJECT) && !fl_json_is(j, FL_JSON_ARRAY))
		return;
	for (struct fl_json *c = j->kids.first; c; c = next) {
		next = c->next;
		if (j->type == FL_JSON_OBJECT && c->type == FL_JSON_NULL)
			fl_json_remove_child(j, c);
		else
			drop_nulls(c);
	}
}

bool fl_podtemplate_equal(const struct fl_json *x, const struct fl_json *y)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	if (!x || !y)
		return x == y;
	struct fl_json *nx = normalized(&a, x), *ny = normalized(&a, y);
	drop_nulls(nx);
	drop_nulls(ny);
	return fl_json_equal(nx, ny);
}

static void fnv(uint32_t *h, const void *p, size_t n)
{
	for (const uint8_t *b = p, *end = b + n; b < end; b++)
		*h = (*h ^ *b) * 16777619u;
}

static int by_key(const void *x, const void *y)
{
	return strcmp((*(const struct fl_json *const *)x)->key, (*(const struct fl_json *const *)y)->key);
}

static void hash_node(uint32_t *h, const struct fl_json *j)
{
	if (j->type == FL_JSON_OBJECT) {
		const struct fl_json **kids = fl_calloc(j->kids.count + 1, sizeof(*kids));
		size_t n = 0;
		fl_json_each (c, j)
			kids[n++] = c;
		qsort(kids, n, sizeof(*kids), by_key);
		fnv(h, "{", 1);
		for (size_t i = 0; i < n; i++) {
			fnv(h, kids[i]->key, kids[i]->key_len + 1);
			hash_node(h, kids[i]);
		}
		fnv(h, "}", 1);
		free(kids);
	} else if (j->type == FL_JSON_ARRAY) {
		fnv(h, "[", 1);
		fl_json_each (c, j)
			hash_node(h, c);
		fnv(h, "]", 1);
	} else {
		AUTO(fl_buf_deinit) struct fl_buf b = {0};
		fl_json_write(&b, j);
		fnv(h, b.data, b.len + 1);
	}
}

void fl_podtemplate_hash(const struct fl_json *template, int64_t collisions, char buf[static 11])
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	uint32_t h = 2166136261u;
	struct fl_json *n = normalized(&a, template);
	drop_nulls(n);
	hash_node(&h, n);
	if (collisions) {
		char text[32];
		fnv(&h, text, (size_t)snprintf(text, sizeof(text), "%lld", (long long)collisions));
	}
	fl_safe_encode_u32(h, buf);
}
