// SPDX-License-Identifier: Apache-2.0
// Equality in value. Two serializations of one object mostly have their members in one order, so members are compared
// pairwise as long as the names agree; an object whose order differs is looked up by name, through an index when it is
// large, since a client chooses how large.
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "json/json.h"

#define INDEX_FROM 32 // members

static bool number_equal(const struct fl_json *a, const struct fl_json *b)
{
	if (a->type == b->type)
		return a->type == FL_JSON_INT ? a->i == b->i : a->f == b->f;
	const struct fl_json *i = a->type == FL_JSON_INT ? a : b, *f = i == a ? b : a;
	// Exact: 2^53 + 1 does not equal 2^53 merely because a double cannot tell.
	return f->f >= -0x1p63 && f->f < 0x1p63 && (int64_t)f->f == i->i && (double)(int64_t)f->f == f->f;
}

static bool same_key(const struct fl_json *a, const struct fl_json *b)
{
	return a->key_len == b->key_len && memcmp(a->key, b->key, a->key_len) == 0;
}

static bool rest_equal(const struct fl_json *a, const struct fl_json *b, uint32_t count)
{
	AUTO(fl_map_deinit) struct fl_map index = {0};
	if (count >= INDEX_FROM)
		for (const struct fl_json *m = b; m; m = m->next)
			fl_map_set_n(&index, m->key, m->key_len, (void *)m);
	for (; a; a = a->next) {
		const struct fl_json *m = b;
		if (count >= INDEX_FROM)
			m = fl_map_get_n(&index, a->key, a->key_len);
		else
			while (m && !same_key(a, m))
				m = m->next;
		if (!m || !fl_json_equal(a, m))
			return false;
	}
	return true;
}

bool fl_json_equal(const struct fl_json *a, const struct fl_json *b)
{
	if (a == b)
		return true;
	if (!a || !b)
		return false;
	bool a_num = a->type == FL_JSON_INT || a->type == FL_JSON_FLOAT;
	bool b_num = b->type == FL_JSON_INT || b->type == FL_JSON_FLOAT;
	if (a_num && b_num)
		return number_equal(a, b);
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case FL_JSON_BOOL:
		return a->b == b->b;
	case FL_JSON_STRING:
		return a->str.len == b->str.len && memcmp(a->str.s, b->str.s, a->str.len) == 0;
	case FL_JSON_ARRAY:
	case FL_JSON_OBJECT:
		break;
	default:
		return true;
	}
	if (a->kids.count != b->kids.count)
		return false;
	const struct fl_json *x = a->kids.first, *y = b->kids.first;
	uint32_t left = a->kids.count;
	for (; x && y; x = x->next, y = y->next, left--) {
		if (a->type == FL_JSON_OBJECT && !same_key(x, y))
			return rest_equal(x, y, left);
		if (!fl_json_equal(x, y))
			return false;
	}
	return true;
}
