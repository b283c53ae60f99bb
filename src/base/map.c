// SPDX-License-Identifier: Apache-2.0
// Open addressing with linear probing over a power of two of slots, at most three quarters full. A deletion shifts the
// slots after it back to where they want to be, so there are no tombstones and lookups never slow down with age.
//
// A slot keeps 32 bits of the hash: they place it (so a map has at most 2^32 slots) and spare most key comparisons.
#include "base/map.h"

#include <string.h>

#include "base/mem.h"

#define MIN_CAP ((size_t)8)

struct fl_map_slot {
	char *key; // NULL: free
	void *value;
	uint32_t hash;
	uint32_t key_len;
};

static size_t find(const struct fl_map *m, const void *key, size_t n, uint32_t hash)
{
	size_t mask = m->cap - 1;
	size_t i = hash & mask;
	for (; m->slots[i].key; i = (i + 1) & mask) {
		const struct fl_map_slot *s = &m->slots[i];
		if (s->hash == hash && s->key_len == n && memcmp(s->key, key, n) == 0)
			break;
	}
	return i;
}

static void rehash(struct fl_map *m, size_t cap)
{
	struct fl_map_slot *slots = fl_calloc(cap, sizeof(*slots));
	for (size_t i = 0; i < m->cap; i++) {
		if (!m->slots[i].key)
			continue;
		size_t at = m->slots[i].hash & (cap - 1);
		while (slots[at].key)
			at = (at + 1) & (cap - 1);
		slots[at] = m->slots[i];
	}
	free(m->slots);
	m->slots = slots;
	m->cap = cap;
}

void fl_map_deinit(struct fl_map *m)
{
	for (size_t i = 0; i < m->cap; i++)
		free(m->slots[i].key);
	free(m->slots);
	*m = (struct fl_map){0};
}

void *fl_map_get(const struct fl_map *m, const char *key)
{
	return fl_map_get_n(m, key, strlen(key));
}

void *fl_map_get_n(const struct fl_map *m, const void *key, size_t n)
{
	if (!m->n)
		return NULL;
	return m->slots[find(m, key, n, (uint32_t)fl_hash(key, n))].value;
}

void *fl_map_set(struct fl_map *m, const char *key, void *value)
{
	return fl_map_set_n(m, key, strlen(key), value);
}

void *fl_map_set_n(struct fl_map *m, const void *key, size_t n, void *value)
{
	if (!m->cap)
		rehash(m, MIN_CAP);
	uint32_t hash = (uint32_t)fl_hash(key, n);
	size_t i = find(m, key, n, hash);
	if (m->slots[i].key) {
		void *old = m->slots[i].value;
		m->slots[i].value = value;
		return old;
	}
	if ((m->n + 1) * 4 > m->cap * 3) {
		rehash(m, 2 * m->cap);
		i = find(m, key, n, hash);
	}
	char *copy = fl_malloc(n + 1);
	if (n)
		memcpy(copy, key, n);
	copy[n] = '\0';
	m->slots[i] = (struct fl_map_slot){.key = copy, .value = value, .hash = hash, .key_len = (uint32_t)n};
	m->n++;
	return NULL;
}

void *fl_map_del(struct fl_map *m, const char *key)
{
	return fl_map_del_n(m, key, strlen(key));
}

void *fl_map_del_n(struct fl_map *m, const void *key, size_t n)
{
	if (!m->n)
		return NULL;
	size_t mask = m->cap - 1;
	size_t hole = find(m, key, n, (uint32_t)fl_hash(key, n));
	if (!m->slots[hole].key)
		return NULL;
	void *old = m->slots[hole].value;
	free(m->slots[hole].key);
	m->n--;
	for (size_t i = (hole + 1) & mask; m->slots[i].key; i = (i + 1) & mask) {
		size_t home = m->slots[i].hash & mask;
		// A slot may move into the hole unless its home lies cyclically within (hole, i].
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			m->slots[hole] = m->slots[i];
			hole = i;
		}
	}
	m->slots[hole] = (struct fl_map_slot){0};
	if (m->cap > 64 && m->n * 8 < m->cap)
		rehash(m, m->cap / 4);
	return old;
}

bool fl_map_next(const struct fl_map *m, struct fl_map_iter *it)
{
	while (it->pos < m->cap) {
		const struct fl_map_slot *s = &m->slots[it->pos++];
		if (!s->key)
			continue;
		it->key = s->key;
		it->key_len = s->key_len;
		it->value = s->value;
		return true;
	}
	return false;
}
