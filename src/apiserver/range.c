// SPDX-License-Identifier: Apache-2.0
// A bitmap that grows in pages only where something is taken: a /12 has a million addresses, of which a node uses few.
#include <errno.h>
#include <string.h>

#include "apiserver/alloc.h"
#include "base/mem.h"
#include "base/rand.h"

#define PAGE_ITEMS 4096u

struct page {
	uint32_t used;
	uint64_t bits[PAGE_ITEMS / 64];
};

struct fl_range {
	uint64_t size, band, used, band_used;
	uint64_t n_pages;
	struct page **pages;
};

struct fl_range *fl_range_new(uint64_t size, uint64_t static_band)
{
	struct fl_range *r = FL_NEW(struct fl_range);
	r->size = size;
	r->band = static_band < size ? static_band : 0;
	r->n_pages = (size + PAGE_ITEMS - 1) / PAGE_ITEMS;
	r->pages = fl_calloc(r->n_pages ? r->n_pages : 1, sizeof(*r->pages));
	return r;
}

void fl_range_free(struct fl_range **r)
{
	if (!*r)
		return;
	for (uint64_t i = 0; i < (*r)->n_pages; i++)
		free((*r)->pages[i]);
	free((*r)->pages);
	free(*r);
	*r = NULL;
}

static bool taken(const struct fl_range *r, uint64_t i)
{
	const struct page *p = r->pages[i / PAGE_ITEMS];
	return p && (p->bits[i % PAGE_ITEMS / 64] >> (i % 64) & 1);
}

int fl_range_claim(struct fl_range *r, uint64_t i)
{
	if (i >= r->size)
		return -ERANGE;
	if (taken(r, i))
		return -EEXIST;
	struct page **p = &r->pages[i / PAGE_ITEMS];
	if (!*p)
		*p = FL_NEW(struct page);
	(*p)->bits[i % PAGE_ITEMS / 64] |= 1ull << (i % 64);
	(*p)->used++;
	r->used++;
	r->band_used += i < r->band;
	return 0;
}

void fl_range_release(struct fl_range *r, uint64_t i)
{
	if (i >= r->size || !taken(r, i))
		return;
	struct page **p = &r->pages[i / PAGE_ITEMS];
	(*p)->bits[i % PAGE_ITEMS / 64] &= ~(1ull << (i % 64));
	r->used--;
	r->band_used -= i < r->band;
	if (--(*p)->used == 0) {
		free(*p);
		*p = NULL;
	}
}

// The first free item at or after a random start within [low, high), wrapping.
static bool find_free(const struct fl_range *r, uint64_t low, uint64_t high, uint64_t *ret)
{
	if (low >= high)
		return false;
	uint64_t span = high - low, start = fl_random_below(span);
	for (uint64_t n = 0; n < span;) {
		uint64_t i = low + (start + n) % span;
		const struct page *p = r->pages[i / PAGE_ITEMS];
		if (p && p->used == PAGE_ITEMS) { // skip a full page
			n += PAGE_ITEMS - i % PAGE_ITEMS;
			continue;
		}
		if (!taken(r, i)) {
			*ret = i;
			return true;
		}
		n++;
	}
	return false;
}

int fl_range_next(struct fl_range *r, uint64_t *ret)
{
	uint64_t i;
	bool upper_full = r->used - r->band_used >= r->size - r->band;
	if ((upper_full || !find_free(r, r->band, r->size, &i)) && !find_free(r, 0, r->band, &i))
		return -ENOSPC;
	int rc = fl_range_claim(r, i);
	if (rc == 0)
		*ret = i;
	return rc;
}

uint64_t fl_range_used(const struct fl_range *r)
{
	return r->used;
}
