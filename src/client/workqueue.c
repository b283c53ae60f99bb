// SPDX-License-Identifier: Apache-2.0
// Keys wait in a line (ready), in a heap ordered by time (delayed), or are under way; a key added meanwhile runs once
// more when it is done. One timer drives both: at once when the line may move, else when the first delay ends.
#include "client/workqueue.h"

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"

#define FIRST_BACKOFF_MS 5
#define MAX_BACKOFF_MS   60000
#define EAGER_FAILURES   3

struct item {
	struct item *next; // in the line
	uint64_t due_ms;   // heap
	size_t heap_at;    // position + 1; 0 = not delayed
	unsigned failures;
	bool queued, running, again;
	char key[];
};

struct fl_workqueue {
	uv_timer_t timer;
	void (*work)(void *arg, const char *key);
	void *arg;
	unsigned concurrency, running;
	struct fl_map items; // every item that waits, runs, or has failed
	struct item *first, *last;
	FL_VEC(struct item *) heap;
	bool paused, freed, draining;
};

static void on_timer(uv_timer_t *t);

struct fl_workqueue *fl_workqueue_new(uv_loop_t *loop, unsigned concurrency, void (*work)(void *arg, const char *key),
				      void *arg)
{
	struct fl_workqueue *q = FL_NEW(struct fl_workqueue);
	q->concurrency = concurrency;
	q->work = work;
	q->arg = arg;
	q->timer.data = q;
	uv_timer_init(loop, &q->timer);
	return q;
}

static void on_close(uv_handle_t *h)
{
	struct fl_workqueue *q = h->data;
	for (struct fl_map_iter it = {0}; fl_map_next(&q->items, &it);)
		free(it.value);
	fl_map_deinit(&q->items);
	fl_vec_deinit(&q->heap);
	free(q);
}

void fl_workqueue_free(struct fl_workqueue **qp)
{
	struct fl_workqueue *q = TAKE_PTR(*qp);
	if (!q)
		return;
	q->freed = true; // `work` may be on the stack: memory goes with the handle
	uv_close((uv_handle_t *)&q->timer, on_close);
}

static void heap_put(struct fl_workqueue *q, size_t at, struct item *i)
{
	q->heap.v[at] = i;
	i->heap_at = at + 1;
}

static void sift_up(struct fl_workqueue *q, size_t at)
{
	struct item *i = q->heap.v[at];
	for (; at && q->heap.v[(at - 1) / 2]->due_ms > i->due_ms; at = (at - 1) / 2)
		heap_put(q, at, q->heap.v[(at - 1) / 2]);
	heap_put(q, at, i);
}

static void sift_down(struct fl_workqueue *q, size_t at)
{
	struct item *i = q->heap.v[at];
	for (size_t child; (child = 2 * at + 1) < q->heap.n; at = child) {
		if (child + 1 < q->heap.n && q->heap.v[child + 1]->due_ms < q->heap.v[child]->due_ms)
			child++;
		if (q->heap.v[child]->due_ms >= i->due_ms)
			break;
		heap_put(q, at, q->heap.v[child]);
	}
	heap_put(q, at, i);
}

static void heap_remove(struct fl_workqueue *q, struct item *i)
{
	if (!i->heap_at)
		return;
	size_t at = i->heap_at - 1;
	struct item *moved = q->heap.v[--q->heap.n];
	i->heap_at = 0;
	if (moved == i)
		return;
	heap_put(q, at, moved);
	sift_down(q, at);
	sift_up(q, moved->heap_at - 1);
}

static void rearm(struct fl_workqueue *q)
{
	if (q->freed || q->draining)
		return;
	if (q->first && !q->paused && q->running < q->concurrency) {
		uv_timer_start(&q->timer, on_timer, 0, 0);
	} else if (q->heap.n) {
		uint64_t now = fl_mono_ms(), due = q->heap.v[0]->due_ms;
		uv_update_time(q->timer.loop);
		uv_timer_start(&q->timer, on_timer, due > now ? due - now : 0, 0);
	} else {
		uv_timer_stop(&q->timer);
	}
}

static struct item *obtain(struct fl_workqueue *q, const char *key)
{
	struct item *i = fl_map_get(&q->items, key);
	if (i)
		return i;
	size_t n = strlen(key);
	i = fl_calloc(1, sizeof(*i) + n + 1);
	memcpy(i->key, key, n + 1);
	fl_map_set(&q->items, key, i);
	return i;
}

static void append(struct fl_workqueue *q, struct item *i)
{
	heap_remove(q, i);
	i->queued = true;
	i->next = NULL;
	if (q->last)
		q->last->next = i;
	else
		q->first = i;
	q->last = i;
}

void fl_workqueue_add(struct fl_workqueue *q, const char *key)
{
	struct item *i = obtain(q, key);
	if (i->queued)
		return;
	if (i->running) {
		i->again = true;
		return;
	}
	append(q, i);
	rearm(q);
}

void fl_workqueue_add_after(struct fl_workqueue *q, const char *key, unsigned delay_ms)
{
	if (!delay_ms) {
		fl_workqueue_add(q, key);
		return;
	}
	struct item *i = obtain(q, key);
	uint64_t due = fl_mono_ms() + delay_ms;
	if (i->queued || (i->heap_at && i->due_ms <= due))
		return; // it runs earlier anyhow
	heap_remove(q, i);
	i->due_ms = due;
	fl_vec_push(&q->heap, i);
	i->heap_at = q->heap.n;
	sift_up(q, q->heap.n - 1);
	rearm(q);
}

void fl_workqueue_pause(struct fl_workqueue *q, bool pause)
{
	q->paused = pause;
	rearm(q);
}

static void drop_if_idle(struct fl_workqueue *q, struct item *i)
{
	if (i->queued || i->running || i->heap_at || i->failures)
		return;
	fl_map_del(&q->items, i->key);
	free(i);
}

void fl_workqueue_done(struct fl_workqueue *q, const char *key, int ok)
{
	struct item *i = fl_map_get(&q->items, key);
	if (!i || !i->running)
		return;
	i->running = false;
	q->running--;
	bool again = i->again;
	i->again = false;
	unsigned failures = i->failures;
	i->failures = ok ? 0 : failures + 1;
	if (again && (ok || failures < EAGER_FAILURES)) {
		append(q, i); // something changed since: worth another try at once, unless that never helped

	} else if (!ok) {
		unsigned delay = failures < 14 ? FIRST_BACKOFF_MS << failures : MAX_BACKOFF_MS;
		fl_workqueue_add_after(q, i->key, delay < MAX_BACKOFF_MS ? delay : MAX_BACKOFF_MS);
	}
	drop_if_idle(q, i);
	rearm(q);
}

static void on_timer(uv_timer_t *t)
{
	struct fl_workqueue *q = t->data;
	uint64_t now = fl_mono_ms();
	while (q->heap.n && q->heap.v[0]->due_ms <= now) {
		struct item *i = q->heap.v[0];
		heap_remove(q, i);
		if (i->running)
			i->again = true;
		else if (!i->queued)
			append(q, i);
	}
	// Only what waited at the start: keys that are added during the work run from a later turn.
	struct item *stop = q->last;
	q->draining = true;
	while (q->first && !q->paused && !q->freed && q->running < q->concurrency) {
		struct item *i = q->first;
		bool end = i == stop;
		q->first = i->next;
		if (!q->first)
			q->last = NULL;
		i->queued = false;
		i->running = true;
		q->running++;
		AUTO_FREE char *key = fl_strdup(i->key); // the item may go in done()
		q->work(q->arg, key);
		if (end)
			break;
	}
	q->draining = false;
	rearm(q);
}
