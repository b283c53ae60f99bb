// SPDX-License-Identifier: Apache-2.0
// Sorted blocks of object pointers. A full block splits in half, except at the very end, where a load in order fills
// one block after the other; a block that becomes small joins its neighbour.
#include "store/index.h"

#include <string.h>

#define BLOCK_CAP 120 // with its head just below 1 KiB

struct fl_store_index_block {
	unsigned n;
	struct fl_object *v[BLOCK_CAP];
};

int fl_store_key_cmp(const char *a_ns, const char *a_name, const char *b_ns, const char *b_name)
{
	int c = strcmp(a_ns, b_ns);
	return c ? c : strcmp(a_name, b_name);
}

void fl_store_index_deinit(struct fl_store_index *ix)
{
	for (size_t i = 0; i < ix->blocks.n; i++) {
		struct fl_store_index_block *b = ix->blocks.v[i];
		for (unsigned j = 0; j < b->n; j++)
			fl_object_put(&b->v[j]);
		free(b);
	}
	fl_vec_deinit(&ix->blocks);
	ix->n = 0;
	ix->version++;
}

static int cmp_at(const struct fl_store_index_block *b, unsigned at, const char *ns, const char *name)
{
	return fl_store_key_cmp(b->v[at]->ns, b->v[at]->name, ns, name);
}

// Block that holds the key or would take it: the last one whose first key is not behind it. Only with blocks.n > 0.
static size_t find_block(const struct fl_store_index *ix, const char *ns, const char *name)
{
	size_t lo = 0, hi = ix->blocks.n; // first keys of [0, lo) are not behind the key, of [hi, n) are
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (cmp_at(ix->blocks.v[mid], 0, ns, name) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo ? lo - 1 : 0;
}

// First entry of the block not before the key.
static unsigned find_at(const struct fl_store_index_block *b, const char *ns, const char *name, bool *ret_equal)
{
	unsigned lo = 0, hi = b->n;
	*ret_equal = false;
	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;
		int c = cmp_at(b, mid, ns, name);
		if (c == 0) {
			*ret_equal = true;
			return mid;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct fl_object *fl_store_index_get(const struct fl_store_index *ix, const char *ns, const char *name)
{
	if (!ix->blocks.n)
		return NULL;
	const struct fl_store_index_block *b = ix->blocks.v[find_block(ix, ns, name)];
	bool equal;
	unsigned at = find_at(b, ns, name, &equal);
	return equal ? b->v[at] : NULL;
}

// A new block at place `i` of the vector.
static struct fl_store_index_block *add_block(struct fl_store_index *ix, size_t i)
{
	struct fl_store_index_block *b = fl_malloc(sizeof(*b));
	b->n = 0;
	fl_vec_push(&ix->blocks, b);
	memmove(&ix->blocks.v[i + 1], &ix->blocks.v[i], (ix->blocks.n - 1 - i) * sizeof(ix->blocks.v[0]));
	ix->blocks.v[i] = b;
	return b;
}

struct fl_object *fl_store_index_set(struct fl_store_index *ix, struct fl_object *obj)
{
	ix->version++;
	if (!ix->blocks.n) {
		struct fl_store_index_block *first = add_block(ix, 0);
		first->v[first->n++] = fl_object_get(obj);
		ix->n = 1;
		return NULL;
	}
	size_t i = find_block(ix, obj->ns, obj->name);
	struct fl_store_index_block *b = ix->blocks.v[i];
	bool equal;
	unsigned at = find_at(b, obj->ns, obj->name, &equal);
	if (equal) {
		struct fl_object *old = b->v[at];
		b->v[at] = fl_object_get(obj);
		return old;
	}
	if (b->n == BLOCK_CAP) {
		unsigned keep = at == BLOCK_CAP && i + 1 == ix->blocks.n ? BLOCK_CAP : BLOCK_CAP / 2;
		struct fl_store_index_block *right = add_block(ix, i + 1);
		right->n = b->n - keep;
		memcpy(right->v, b->v + keep, right->n * sizeof(b->v[0]));
		b->n = keep;
		if (at >= keep) {
			b = right;
			at -= keep;
		}
	}
	memmove(&b->v[at + 1], &b->v[at], (b->n - at) * sizeof(b->v[0]));
	b->v[at] = fl_object_get(obj);
	b->n++;
	ix->n++;
	return NULL;
}

static void drop_block(struct fl_store_index *ix, size_t i)
{
	free(ix->blocks.v[i]);
	fl_vec_remove(&ix->blocks, i);
}

// Keeps blocks from staying thin after many deletes: joins block i with the one behind it if both fit well in one.
static bool join(struct fl_store_index *ix, size_t i)
{
	if (i + 1 >= ix->blocks.n)
		return false;
	struct fl_store_index_block *a = ix->blocks.v[i], *b = ix->blocks.v[i + 1];
	if (a->n + b->n > BLOCK_CAP * 3 / 4)
		return false;
	memcpy(a->v + a->n, b->v, b->n * sizeof(a->v[0]));
	a->n += b->n;
	drop_block(ix, i + 1);
	return true;
}

struct fl_object *fl_store_index_remove(struct fl_store_index *ix, const char *ns, const char *name)
{
	if (!ix->blocks.n)
		return NULL;
	size_t i = find_block(ix, ns, name);
	struct fl_store_index_block *b = ix->blocks.v[i];
	bool equal;
	unsigned at = find_at(b, ns, name, &equal);
	if (!equal)
		return NULL;
	ix->version++;
	ix->n--;
	struct fl_object *old = b->v[at];
	b->n--;
	memmove(&b->v[at], &b->v[at + 1], (b->n - at) * sizeof(b->v[0]));
	if (b->n == 0)
		drop_block(ix, i);
	else if (b->n < BLOCK_CAP / 4 && !join(ix, i) && i > 0)
		join(ix, i - 1);
	return old;
}

struct fl_store_index_pos fl_store_index_seek(const struct fl_store_index *ix, const char *ns, const char *name,
					      bool after)
{
	struct fl_store_index_pos pos = {0};
	if (!ix->blocks.n)
		return pos;
	bool equal;
	pos.block = find_block(ix, ns, name);
	pos.at = find_at(ix->blocks.v[pos.block], ns, name, &equal);
	if (equal && after)
		pos.at++;
	return pos;
}

struct fl_object *fl_store_index_next(const struct fl_store_index *ix, struct fl_store_index_pos *pos)
{
	if (pos->block < ix->blocks.n && pos->at >= ix->blocks.v[pos->block]->n) {
		pos->block++;
		pos->at = 0;
	}
	if (pos->block >= ix->blocks.n)
		return NULL;
	return ix->blocks.v[pos->block]->v[pos->at++];
}

size_t fl_store_index_rank(const struct fl_store_index *ix, struct fl_store_index_pos pos)
{
	size_t n = pos.at;
	for (size_t i = 0; i < pos.block && i < ix->blocks.n; i++)
		n += ix->blocks.v[i]->n;
	return n;
}
