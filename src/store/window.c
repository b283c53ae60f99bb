// SPDX-License-Identifier: Apache-2.0
// A ring of events. What an event keeps alive on its own is the state that it superseded and, when it is a deletion,
// the last state; the current state is the index's anyway.
#include "store/window.h"

#include "base/mem.h"

void fl_store_window_init(struct fl_store_window *w, unsigned max, uint64_t floor)
{
	*w = (struct fl_store_window){.max = max, .floor = floor};
}

static size_t kept_bytes(const struct fl_store_slot *s)
{
	return (s->prev ? sizeof(*s->prev) + s->prev->len : 0) +
	       (s->type == FL_EVENT_DELETED ? sizeof(*s->obj) + s->obj->len : 0);
}

static void drop_oldest(struct fl_store_window *w)
{
	struct fl_store_slot *s = &w->ring[w->first];
	w->bytes -= kept_bytes(s);
	w->floor = s->rv;
	fl_object_put(&s->obj);
	fl_object_put(&s->prev);
	w->first = (w->first + 1) & (w->cap - 1);
	w->n--;
}

void fl_store_window_deinit(struct fl_store_window *w)
{
	while (w->n)
		drop_oldest(w);
	free(w->ring);
	w->ring = NULL;
	w->cap = w->first = 0;
}

static void grow(struct fl_store_window *w)
{
	size_t cap = w->cap ? 2 * w->cap : 64;
	struct fl_store_slot *ring = fl_malloc(cap * sizeof(*ring));
	for (size_t i = 0; i < w->n; i++)
		ring[i] = w->ring[(w->first + i) & (w->cap - 1)];
	free(w->ring);
	w->ring = ring;
	w->cap = cap;
	w->first = 0;
}

void fl_store_window_push(struct fl_store_window *w, enum fl_event_type type, uint64_t rv, struct fl_object *obj,
			  struct fl_object *prev)
{
	if (w->n == w->max)
		drop_oldest(w);
	if (w->n == w->cap)
		grow(w);
	struct fl_store_slot *s = &w->ring[(w->first + w->n) & (w->cap - 1)];
	*s = (struct fl_store_slot){.rv = rv, .obj = fl_object_get(obj), .prev = fl_object_get(prev), .type = type};
	w->n++;
	w->bytes += kept_bytes(s);
	while (w->bytes > FL_STORE_WINDOW_BYTES && w->n > 1)
		drop_oldest(w);
}

size_t fl_store_window_find(const struct fl_store_window *w, uint64_t rv)
{
	size_t lo = 0, hi = w->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (fl_store_window_at(w, mid)->rv <= rv)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct fl_store_slot *fl_store_window_at(const struct fl_store_window *w, size_t i)
{
	return &w->ring[(w->first + i) & (w->cap - 1)];
}
