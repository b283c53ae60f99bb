// SPDX-License-Identifier: Apache-2.0
// At most three quarters full. A deletion shifts the slots after it back to where they want to be, as in map.c. Hashes
// are not kept: they are made again when the table grows, shrinks or loses an item.
#include "base/set.h"

#include <assert.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

#define MIN_CAP ((size_t)8)

static size_t home(const struct fl_set *s, fl_set_key *key_of, const void *item)
{
	size_t n;
	const void *key = key_of(item, &n);

	return (size_t)fl_hash(key, n) & (s->cap - 1);
}

// The slot of the key, or the free one where it would stand.
static size_t find(const struct fl_set *s, fl_set_key *key_of, const void *key, size_t n)
{
	size_t i = (size_t)fl_hash(key, n) & (s->cap - 1);

	for (; s->slots[i]; i = (i + 1) & (s->cap - 1)) {
		size_t len;
		const void *there = key_of(s->slots[i], &len);

		if (len == n && memcmp(there, key, n) == 0)
			break;
	}
	return i;
}

static void rehash(struct fl_set *s, fl_set_key *key_of, size_t cap)
{
	struct fl_set now = {.slots = fl_calloc(cap, sizeof(*now.slots)), .n = s->n, .cap = cap};

	for (size_t i = 0; i < s->cap; i++) {
		if (!s->slots[i])
			continue;
		size_t at = home(&now, key_of, s->slots[i]);
		while (now.slots[at])
			at = (at + 1) & (cap - 1);
		now.slots[at] = s->slots[i];
	}
	free(s->slots);
	*s = now;
}

void fl_set_deinit(struct fl_set *s)
{
	free(s->slots);
	*s = (struct fl_set){0};
}

void *fl_set_find(const struct fl_set *s, fl_set_key *key_of, const void *key, size_t n)
{
	return s->n ? s->slots[find(s, key_of, key, n)] : NULL;
}

void fl_set_add(struct fl_set *s, fl_set_key *key_of, void *item)
{
	size_t n;
	const void *key = key_of(item, &n);

	if ((s->n + 1) * 4 > s->cap * 3)
		rehash(s, key_of, s->cap ? 2 * s->cap : MIN_CAP);
	size_t at = find(s, key_of, key, n);
	assert(!s->slots[at]);
	s->slots[at] = item;
	s->n++;
}

void *fl_set_remove(struct fl_set *s, fl_set_key *key_of, const void *key, size_t n)
{
	size_t mask = s->cap - 1, hole = s->n ? find(s, key_of, key, n) : 0;
	void *item = s->n ? s->slots[hole] : NULL;

	if (!item)
		return NULL;
	for (size_t i = (hole + 1) & mask; s->slots[i]; i = (i + 1) & mask) {
		if (((i - home(s, key_of, s->slots[i])) & mask) < ((i - hole) & mask))
			continue;
		s->slots[hole] = s->slots[i];
		hole = i;
	}
	s->slots[hole] = NULL;
	if (--s->n * 8 < s->cap && s->cap > MIN_CAP) // what a burst needed goes back
		rehash(s, key_of, s->cap / 2);
	return item;
}

void *fl_set_next(const struct fl_set *s, size_t *at)
{
	while (*at < s->cap) {
		void *item = s->slots[(*at)++];

		if (item)
			return item;
	}
	return NULL;
}
