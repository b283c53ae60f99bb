// SPDX-License-Identifier: Apache-2.0
// Keys to reconcile: each key is in the queue once, processed one at a time per key, again with exponential back-off
// when it failed.
#pragma once

#include <stdbool.h>
#include <uv.h>

struct fl_workqueue;

// `work` starts the reconcile of a key; it must call fl_workqueue_done(q, key, ok) once, at once or later. At most
// `concurrency` keys are under way.
struct fl_workqueue *fl_workqueue_new(uv_loop_t *loop, unsigned concurrency, void (*work)(void *arg, const char *key),
				      void *arg);
void fl_workqueue_free(struct fl_workqueue **q);
void fl_workqueue_add(struct fl_workqueue *q,
		      const char *key); // runs from a later turn of the loop; while under way, runs again after it
void fl_workqueue_add_after(struct fl_workqueue *q, const char *key, unsigned delay_ms);
void fl_workqueue_done(struct fl_workqueue *q, const char *key,
		       int ok); // not ok: again after 5 ms, 10 ms, ... at most 60 s; ok: back-off forgotten
void fl_workqueue_pause(struct fl_workqueue *q, bool pause); // keys gather and do not run: until caches are filled
